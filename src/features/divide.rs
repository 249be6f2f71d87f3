//! Features where memory is short: ranges of users, or of items, one after another, as many at a time as there are threads.
//!
//! A file that says `-- Divided by: user_id.` makes the rows of a user from that user's rows alone, so what it makes of each
//! range, put one after the other, is what it makes of all; `-- Divided by: item_id.` says the same of items. What is read is
//! divided over spill files once; of what comes in order of the column, as feature tables of users do, a range is looked up.
//! Files that read nothing of each other pass over the ranges together: what several of them read of a range is unpacked once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, col, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::try_join_all;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::engine::rows::{self, map};
use crate::engine::spool::{self, Dividing, Spooled, shared};
use crate::engine::{Engine, compact};
use crate::error::{Error, Result};
use crate::heap;
use crate::warehouse::{Table, TableWriter, table};

/// Who or what rows are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Users, in ranges with about as many events each.
    Users,
    /// Items, in ranges with about as many items each.
    Items,
}

/// How many times the bytes of its events a range of users takes: the events themselves, what our files make of them, and
/// the hash table of one of them.
const OF_EVENTS: usize = 4;

/// Bytes of memory for each item of a range, whose events pass by: sums, hash tables of joins, and what comes out; and how
/// many times the bytes that are read of an event, its id among them.
const OF_ITEM: (usize, usize) = (512, 8);

/// The share of the memory that rows on their way into ranges take, on each thread.
const DIVIDING: usize = 16;

/// The share of the memory that rows being sorted take, of all threads.
const SORTING: usize = 4;

/// Events of each day, and items of the catalogue for each day, by which ranges are found.
const SAMPLE: usize = 20_000;

impl By {
    /// What a file may be run for ranges of, if anything.
    pub fn of(sql: &str) -> Option<Self> {
        [By::Users, By::Items].into_iter().find(|by| {
            let mark = format!("-- Divided by: {}.", by.column());
            sql.lines().any(|line| line.trim() == mark)
        })
    }

    fn column(self) -> &'static str {
        match self {
            By::Users => "user_id",
            By::Items => "item_id",
        }
    }

    /// Where ranges begin, but the first: so many that each fits, as many at a time as there are threads, and what was made
    /// of one more. `read` are the columns that are read of events.
    async fn starts(
        self,
        engine: &Engine,
        threads: usize,
        read: &str,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Vec<String>> {
        let (mut sample, width) = self.sample(engine, read, window).await?;
        let (count, bytes) = match self {
            By::Users => (
                counted(engine, "select count(*) as n from events").await?,
                OF_EVENTS * width,
            ),
            By::Items => {
                let all = "select item_id from events union all select item_id from items";
                let n = "cast(approx_distinct(item_id) as bigint) as n";
                let (bytes, ids) = OF_ITEM;
                let items = counted(engine, &format!("select {n} from ({all})")).await?;
                (items, bytes + ids * width)
            }
        };
        let of_range = engine.memory() / (threads + 1) / bytes.max(1);
        let ranges = count.div_ceil(of_range.max(1)).max(1);
        if ranges == 1 {
            return Ok(vec![]);
        }
        if self == By::Items {
            let days = (window.1 - window.0).num_days() as usize + 1;
            sample.extend(self.catalogue(engine, SAMPLE * days).await?);
        }
        sample.sort_unstable();
        if self == By::Items {
            sample.dedup();
        }
        let first = |range: usize| sample.get(range * sample.len() / ranges).cloned();
        let mut first: Vec<String> = (1..ranges).filter_map(first).collect();
        first.dedup();
        Ok(first)
    }

    /// Users or items of events, by which ranges are found, and how many bytes a row of what is read of events takes in memory.
    async fn sample(
        self,
        engine: &Engine,
        read: &str,
        (from, to): (NaiveDate, NaiveDate),
    ) -> Result<(Vec<String>, usize)> {
        let (mut sample, mut rows, mut bytes) = (vec![], 0, 0);
        for day in from.iter_days().take_while(|d| *d <= to) {
            let some = format!("select {read} from events where ds = date '{day}' limit {SAMPLE}");
            for batch in engine.collect(&some).await? {
                bytes += get_record_batch_memory_size(&compact(&batch)?);
                rows += batch.num_rows();
                sample.extend(self.keys(&batch)?.iter().flatten().map(str::to_string));
            }
        }
        Ok((sample, bytes.div_ceil(rows.max(1))))
    }

    /// Items of the catalogue, of which most may have no events, by which ranges are found: so many or somewhat fewer.
    async fn catalogue(self, engine: &Engine, wanted: usize) -> Result<Vec<String>> {
        let count = counted(engine, "select count(*) as n from items").await?;
        let every = count / wanted.max(1) + 1;
        let mut items = engine.stream("select item_id from items").await?;
        let (mut sample, mut row) = (vec![], 0_usize);
        while let Some(batch) = items.next().await {
            let (of_batch, first) = (self.keys(&batch?)?, row);
            row += of_batch.len();
            let taken = (first.next_multiple_of(every)..row).step_by(every);
            sample.extend(taken.map(|row| of_batch.value(row - first).to_string()));
        }
        Ok(sample)
    }

    /// Whether a table comes in order of the column.
    fn orders(self, name: &str) -> bool {
        table(name).is_some_and(|table| table.order.first() == Some(&self.column()))
    }

    fn keys(self, batch: &RecordBatch) -> Result<StringViewArray> {
        rows::texts(batch, "what is divided", self.column())
    }
}

/// Rows by ranges.
#[derive(Clone)]
pub struct Divided {
    engine: Engine,
    by: By,
    /// Ranges that files run over at a time.
    threads: usize,
    /// Where the second and each further range begins.
    first: Arc<Vec<String>>,
    /// Rows of each range.
    tables: BTreeMap<String, Vec<Arc<Spooled>>>,
}

impl Divided {
    /// Divides what `files` read of tables that have the column and come in no order of it, but of those that are made
    /// `later`. The session holds of what sources feed what the window has. What fits is one range, and not divided.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn of(
        by: By,
        engine: &Engine,
        threads: usize,
        files: impl Iterator<Item = &str>,
        later: &BTreeSet<&str>,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Self> {
        let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sql in files {
            let plan = engine.query(sql).await?.into_optimized_plan()?;
            for (table, columns) in scanned(&plan)? {
                read.entry(table).or_default().extend(columns);
            }
        }
        read.retain(|name, _| !later.contains(name.as_str()) && !by.orders(name));
        let mut selects = BTreeMap::new();
        for (name, mut columns) in read {
            let has = engine.context().table(name.as_str()).await?;
            columns.insert(by.column().to_string());
            columns.retain(|column| has.schema().has_column_with_unqualified_name(column));
            if columns.contains(by.column()) {
                let columns: Vec<String> = columns.into_iter().collect();
                selects.insert(name, columns.join(", "));
            }
        }
        let of_events = selects.get("events").map_or(by.column(), String::as_str);
        let first = by.starts(engine, threads, of_events, window).await?;
        let mut divided = Divided {
            by,
            engine: engine.clone(),
            threads,
            first: Arc::new(first),
            tables: BTreeMap::new(),
        };
        for (name, columns) in selects {
            if divided.ranges() > 1 {
                let sql = format!("select {columns} from {name}");
                let rows = engine.query(&sql).await?.execute_stream_partitioned();
                let ranges = divided.spooled(rows.await?).await?;
                divided.tables.insert(name, ranges);
                heap::give_back();
            }
        }
        Ok(divided)
    }

    /// So many ranges.
    pub fn ranges(&self) -> usize {
        self.first.len() + 1
    }

    /// Divides rows, one thread for each stream of them, over the same spools, so that no more files are open than there are
    /// ranges.
    async fn spooled(&self, rows: Vec<SendableRecordBatchStream>) -> Result<Vec<Arc<Spooled>>> {
        let schema = rows.first().map(|rows| rows.schema());
        let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        let spool = |_| self.engine.spool(Arc::clone(&schema), 0);
        let spools = shared((0..self.ranges()).map(spool));
        let mut works = vec![];
        for rows in rows {
            let dividing = Dividing::over(Arc::clone(&spools), self.engine.memory() / DIVIDING);
            let work = tokio::spawn(divided(rows, self.by, Arc::clone(&self.first), dividing));
            works.push(work.map(|done| done.map_err(ended)?));
        }
        try_join_all(works).await?;
        Ok(spool::finish(spools)?.into_iter().map(Arc::new).collect())
    }

    /// Keeps what a step made of each range. Files that are not divided read the ranges one after the other.
    fn keep(&mut self, name: &str, ranges: Vec<Arc<Spooled>>) -> Result<()> {
        self.set_aside(name, ranges.clone())?;
        self.tables.insert(name.to_string(), ranges);
        Ok(())
    }

    /// Rows in the place of a table of the session.
    fn set_aside(&self, name: &str, rows: Vec<Arc<Spooled>>) -> Result<()> {
        self.engine.context().deregister_table(name)?;
        let rows = as_table(rows, None)?;
        self.engine.context().register_table(name, rows)?;
        Ok(())
    }

    /// Makes a step by a file that is not divided.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn step(&mut self, name: &str, sql: &str) -> Result<()> {
        let mut rows = self.engine.spilling_joins().stream(sql).await?;
        if rows.schema().index_of(self.by.column()).is_ok() {
            let ranges = self.spooled(vec![rows]).await?;
            return self.keep(name, ranges);
        }
        let mut spool = self.engine.spool(rows.schema(), 0);
        while let Some(batch) = rows.next().await {
            spool.push(&batch?)?;
        }
        self.set_aside(name, vec![Arc::new(spool.finish()?)])
    }

    /// Runs divided files that read nothing of each other over one range after another. Of those that make tables, returns
    /// the rows.
    ///
    /// # Errors
    /// As [`Engine::write`], and those of spill files.
    pub async fn pass(&mut self, files: Vec<File>) -> Result<Vec<(String, u64)>> {
        if files.is_empty() {
            return Ok(vec![]);
        }
        let mut made = vec![];
        for file in &files {
            made.push(
                Made::by(file, &self.engine)
                    .await
                    .map_err(|e| file.failed(e))?,
            );
        }
        let mut ranges = self.each(files).await?;
        while let Some(of_range) = ranges.next().await {
            for (made, rows) in made.iter_mut().zip(of_range?) {
                made.add(&rows, &self.engine)?;
            }
        }
        drop(ranges);
        let mut written = vec![];
        for made in made {
            match made {
                Made::Table(name, writer) => written.push((name, writer.finish()?)),
                Made::Step(name, _, ranges) => self.keep(&name, ranges)?,
            }
        }
        Ok(written)
    }

    /// What each of the files makes of each range, in the order of ranges.
    async fn each(
        &self,
        files: Vec<File>,
    ) -> Result<impl Stream<Item = Result<Vec<Vec<RecordBatch>>>> + Unpin> {
        let mut inputs: BTreeMap<String, Input> = BTreeMap::new();
        for file in &files {
            let plan = self.engine.query(&file.sql).await?.into_optimized_plan()?;
            let mut read = scanned(&plan)?;
            for name in self.engine.inputs(&file.sql)? {
                let input = inputs.entry(name.clone()).or_default();
                input.columns.extend(read.remove(&name).unwrap_or_default());
                input.readers += 1;
            }
        }
        let (divided, inputs, files) = (self.clone(), Arc::new(inputs), Arc::new(files));
        // What is made of one more range waits, or is being written.
        let (running, at_once) = (Arc::new(Semaphore::new(self.threads)), self.threads + 1);
        let works = stream::iter(0..self.ranges()).map(move |range| {
            let (divided, inputs, files) =
                (divided.clone(), Arc::clone(&inputs), Arc::clone(&files));
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                let _one = running.acquire().await;
                divided.range(range, &inputs, &files).await
            })
        });
        Ok(works.buffered(at_once).map(|done| done.map_err(ended)?))
    }

    /// What each of the files makes of a range.
    async fn range(
        &self,
        range: usize,
        inputs: &BTreeMap<String, Input>,
        files: &[File],
    ) -> Result<Vec<Vec<RecordBatch>>> {
        let session = self.engine.detached(None)?;
        for (name, input) in inputs {
            let rows = match self.tables.get(name) {
                Some(ranges) => {
                    let read = input.columns.iter().map(String::as_str);
                    let read = read.chain([self.by.column()]).collect();
                    let rows = as_table(vec![Arc::clone(&ranges[range])], Some(&read))?;
                    session.context().read_table(rows)?
                }
                None => self.looked_up(name, range).await?,
            };
            let rows = match input.readers {
                1 => rows,
                _ => rows.cache().await?,
            };
            session.context().register_table(name, rows.into_view())?;
        }
        let budget = self.engine.memory() / SORTING / self.threads;
        let mut made = vec![];
        for file in files {
            let rows = async {
                let rows = match &file.table {
                    Some((table, _)) => session.in_order_of(table, &file.sql, budget).await?,
                    None => session.stream(&file.sql).await?,
                };
                Ok(rows.try_collect().await?)
            };
            made.push(rows.await.map_err(|e| file.failed(e))?);
        }
        Ok(made)
    }

    /// The rows that a range has of a table, or all of one that has no such column.
    async fn looked_up(&self, name: &str, range: usize) -> Result<DataFrame> {
        let frame = self.engine.context().table(name).await?;
        match frame
            .schema()
            .has_column_with_unqualified_name(self.by.column())
        {
            true => self.within(frame, range),
            false => Ok(frame),
        }
    }

    /// The rows of a range.
    fn within(&self, mut frame: DataFrame, range: usize) -> Result<DataFrame> {
        if let Some(first) = range.checked_sub(1).and_then(|r| self.first.get(r)) {
            frame = frame.filter(col(self.by.column()).gt_eq(lit(first)))?;
        }
        if let Some(next) = self.first.get(range) {
            frame = frame.filter(col(self.by.column()).lt(lit(next)))?;
        }
        Ok(frame)
    }
}

/// A file that says it is divided.
pub struct File {
    /// Its name, which is that of its table or step.
    pub name: String,
    /// Where it lies, for errors.
    pub place: String,
    /// Its text.
    pub sql: String,
    /// The table that it makes and the folder of its partition; none for a step.
    pub table: Option<(&'static Table, PathBuf)>,
}

impl File {
    fn failed(&self, error: Error) -> Error {
        error.context(&self.place)
    }
}

/// What the files of a pass read of a table.
#[derive(Default)]
struct Input {
    columns: BTreeSet<String>,
    /// So many files.
    readers: usize,
}

/// What a file makes of all ranges: rows of a table, or a step, of which the rows of each range are kept.
enum Made {
    Table(String, Box<TableWriter>),
    Step(String, SchemaRef, Vec<Arc<Spooled>>),
}

impl Made {
    async fn by(file: &File, engine: &Engine) -> Result<Self> {
        let name = file.name.clone();
        Ok(match &file.table {
            Some((table, dir)) => {
                let writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
                Made::Table(name, Box::new(writer))
            }
            None => {
                let frame = engine.query(&file.sql).await?;
                Made::Step(name, Arc::clone(frame.schema().inner()), vec![])
            }
        })
    }

    fn add(&mut self, rows: &[RecordBatch], engine: &Engine) -> Result<()> {
        match self {
            Made::Table(_, writer) => rows.iter().try_for_each(|batch| writer.write(batch)),
            Made::Step(_, schema, ranges) => {
                let mut spool = engine.spool(Arc::clone(schema), 0);
                rows.iter().try_for_each(|batch| spool.push(batch))?;
                ranges.push(Arc::new(spool.finish()?));
                Ok(())
            }
        }
    }
}

/// Divides the rows of a stream over ranges, of which the second and each further begins with `first`.
async fn divided(
    mut rows: SendableRecordBatchStream,
    by: By,
    first: Arc<Vec<String>>,
    mut dividing: Dividing,
) -> Result<()> {
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let keys = by.keys(&batch)?;
        for row in 0..batch.num_rows() {
            let key = keys.value(row);
            let range = first.partition_point(|first| first.as_str() <= key);
            dividing.place(row, range);
        }
        dividing.push(batch)?;
    }
    dividing.end()
}

/// Rows as a table of one partition, with those of its columns that are read, or all.
fn as_table(
    rows: Vec<Arc<Spooled>>,
    read: Option<&BTreeSet<&str>>,
) -> Result<Arc<dyn TableProvider>> {
    let schema = rows.first().map(|rows| Arc::clone(rows.schema()));
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    let is_read = |name: &str| read.is_none_or(|read| read.contains(name));
    let columns: Vec<usize> = (0..schema.fields().len())
        .filter(|column| is_read(schema.field(*column).name()))
        .collect();
    let schema = Arc::new(schema.project(&columns)?);
    let chain = Chain {
        schema: Arc::clone(&schema),
        rows,
        columns,
    };
    Ok(Arc::new(StreamingTable::try_new(
        schema,
        vec![Arc::new(chain)],
    )?))
}

/// Some columns of the rows of one spool after those of another.
#[derive(Debug)]
struct Chain {
    schema: SchemaRef,
    rows: Vec<Arc<Spooled>>,
    columns: Vec<usize>,
}

impl PartitionStream for Chain {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns = self.columns.clone();
        let rows = stream::iter(self.rows.clone());
        let rows = rows.map(move |rows| Ok::<_, DataFusionError>(rows.rows_of(columns.clone())?));
        let rows = rows.try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}

async fn counted(engine: &Engine, sql: &str) -> Result<usize> {
    let count = map(&engine.collect(sql).await?, |row| row.count("n"))?;
    Ok(usize::try_from(count.iter().sum::<u64>()).unwrap_or(usize::MAX))
}

/// The tables that a plan reads, and their columns that it reads.
fn scanned(plan: &LogicalPlan) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = read.entry(scan.table_name.table().to_string()).or_default();
            let fields = scan.projected_schema.fields().iter();
            columns.extend(fields.map(|f| f.name().clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// A task that ended early.
pub(super) fn ended(error: tokio::task::JoinError) -> Error {
    Error::unexpected(format!("a worker ended early: {error}"))
}

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
use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlan, col, lit};
use futures::future::try_join_all;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::engine::kept::Kept;
use crate::engine::rows::{self, map};
use crate::engine::sample::{Sample, borders};
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

/// One in so many bytes of the memory is for rows on their way into ranges, on each thread.
const DIVIDING: usize = 16;

/// Ids by which ranges are found, of events and of the catalogue.
const SAMPLE: usize = 1 << 17;

/// Events by which it is found how wide they are.
const OF_WIDTH: usize = 20_000;

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
    async fn starts(self, engine: &Engine, threads: usize, read: &str) -> Result<Vec<String>> {
        let width = width(
            engine,
            &format!("select {read} from events limit {OF_WIDTH}"),
        )
        .await?;
        let mut events = Sample::of(SAMPLE);
        let (count, bytes) = match self {
            By::Users => (
                self.see(engine, "events", &mut events).await?,
                OF_EVENTS * width,
            ),
            By::Items => {
                let all = "select item_id from events union all select item_id from items";
                let n = "cast(approx_distinct(item_id) as bigint) as n";
                let counted = engine.collect(&format!("select {n} from ({all})")).await?;
                let items = map(&counted, |row| row.count("n"))?.iter().sum::<u64>();
                let (bytes, ids) = OF_ITEM;
                (items as usize, bytes + ids * width)
            }
        };
        let of_range = engine.memory() / (threads + 1) / bytes.max(1);
        let ranges = count.div_ceil(of_range.max(1)).max(1);
        if ranges == 1 {
            return Ok(vec![]);
        }
        let keys = match self {
            By::Users => events.sorted(),
            By::Items => {
                // Most items of the catalogue may have no events, and what events name may be in no catalogue.
                let mut listed = Sample::of(SAMPLE);
                self.see(engine, "events", &mut events).await?;
                self.see(engine, "items", &mut listed).await?;
                let mut items = [events.sorted(), listed.sorted()].concat();
                items.sort_unstable();
                items.dedup();
                items
            }
        };
        let mut first: Vec<String> = borders(&keys, ranges).cloned().collect();
        first.dedup();
        Ok(first)
    }

    /// Has a sample see whom or what the rows of a table are of; returns how many rows there are.
    async fn see(self, engine: &Engine, of: &str, sample: &mut Sample<String>) -> Result<usize> {
        let column = self.column();
        let mut all = engine.stream(&format!("select {column} from {of}")).await?;
        let mut rows = 0;
        while let Some(batch) = all.next().await {
            let keys = self.keys(&batch?)?;
            rows += keys.len();
            let known = keys.iter().flatten();
            known.for_each(|key| sample.see(|| key.to_string()));
        }
        Ok(rows)
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
        let first = by.starts(engine, threads, of_events).await?;
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
            let work = divided(rows, self.by, Arc::clone(&self.first), dividing);
            works.push(SpawnedTask::spawn(work).map(|done| done.map_err(ended)?));
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
        let rows = Arc::new(Kept::whole(rows));
        self.engine.context().register_table(name, rows)?;
        Ok(())
    }

    /// Makes a step by a file that is not divided.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn step(&mut self, name: &str, sql: &str) -> Result<()> {
        let rows = self.engine.spilling_joins().stream(sql).await?;
        if rows.schema().index_of(self.by.column()).is_ok() {
            let ranges = self.spooled(vec![rows]).await?;
            return self.keep(name, ranges);
        }
        let spool = self.engine.spool(rows.schema(), 0);
        self.set_aside(name, vec![Arc::new(spool.all(rows).await?)])
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
            SpawnedTask::spawn(async move {
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
            let mut table = self.of_range(name, range).await?;
            if input.readers > 1 {
                table = self.unpacked(&session, table, &input.columns).await?;
            }
            session.context().register_table(name, table)?;
        }
        let budget = self.engine.sorting() / self.threads;
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
    async fn of_range(&self, name: &str, range: usize) -> Result<Arc<dyn TableProvider>> {
        let mut frame = self.engine.context().table(name).await?;
        let column = self.by.column();
        if frame.schema().has_column_with_unqualified_name(column) {
            frame = self.within(frame, range)?;
        }
        let looked_up = frame.into_view();
        Ok(match self.tables.get(name) {
            Some(ranges) => Arc::new(Kept::some(looked_up, Arc::clone(&ranges[range]))),
            None => looked_up,
        })
    }

    /// A table of which some columns were unpacked, for several that read them.
    async fn unpacked(
        &self,
        session: &Engine,
        table: Arc<dyn TableProvider>,
        columns: &BTreeSet<String>,
    ) -> Result<Arc<dyn TableProvider>> {
        let frame = session.context().read_table(Arc::clone(&table))?;
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let rows = frame.select_columns(&columns)?.execute_stream().await?;
        let spool = self.engine.spool(rows.schema(), usize::MAX);
        Ok(Arc::new(Kept::some(
            table,
            Arc::new(spool.all(rows).await?),
        )))
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

/// How many bytes a row of a query takes in memory.
async fn width(engine: &Engine, sql: &str) -> Result<usize> {
    let (mut bytes, mut rows) = (0, 0_usize);
    for batch in engine.collect(sql).await? {
        bytes += get_record_batch_memory_size(&compact(&batch)?);
        rows += batch.num_rows();
    }
    Ok(bytes.div_ceil(rows.max(1)))
}

/// The tables that a plan reads, and their columns that it reads.
fn scanned(plan: &LogicalPlan) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = read.entry(scan.table_name.table().to_string()).or_default();
            let fields = scan.projected_schema.fields().iter();
            columns.extend(fields.map(|f| f.name().clone()));
            let filtered = scan.filters.iter().flat_map(Expr::column_refs);
            columns.extend(filtered.map(|c| c.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// A task that ended early.
pub(super) fn ended(error: tokio::task::JoinError) -> Error {
    Error::unexpected(format!("a worker ended early: {error}"))
}

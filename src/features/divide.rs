//! Features where memory is short: ranges of users one after another, as many at a time as there are threads.
//!
//! A file that says `-- Divided by: user_id.` makes the rows of a user from that user's rows alone, so what it makes of each
//! range, put one after the other, is what it makes of all. Events and users are divided over spill files once; of what
//! comes in order of users, as the feature tables do, a range is looked up. Files that read nothing of each other pass over
//! the ranges together: what several of them read of a range is unpacked once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, col, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::try_join_all;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::engine::rows::{self, map};
use crate::engine::spool::{self, Dividing, Spooled, shared};
use crate::error::{Error, Result};
use crate::warehouse::{Table, TableWriter};

/// Who the rows are divided by.
const BY: &str = "user_id";

/// The tables that sources feed and that have the column, in no order of it.
const SOURCES: [&str; 2] = ["events", "users"];

/// Bytes of memory for each event of a range: the event itself, what our files make of it, and the hash table of one of
/// them.
const BYTES: usize = 512;

/// The share of the memory that rows on their way into ranges take, on each thread.
const DIVIDING: usize = 16;

/// Users of each day by which the ranges are found.
const SAMPLE: usize = 20_000;

/// Whether a file may be run for ranges of users.
pub fn is_divided(sql: &str) -> bool {
    let mark = format!("-- Divided by: {BY}.");
    sql.lines().any(|line| line.trim() == mark)
}

/// The window's rows by ranges of users.
#[derive(Clone)]
pub struct Divided {
    engine: Engine,
    /// Ranges that files run over at a time.
    threads: usize,
    /// Where the second and each further range begins.
    first: Arc<Vec<String>>,
    /// Rows of each range.
    tables: BTreeMap<String, Vec<Arc<Spooled>>>,
}

impl Divided {
    /// Divides what `files` read of the tables that sources feed. The session holds of them what the window has.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn of(
        engine: &Engine,
        threads: usize,
        files: impl Iterator<Item = &str>,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Self> {
        let count = engine.collect("select count(*) as n from events").await?;
        let count = map(&count, |row| row.count("n"))?;
        let events = usize::try_from(count.iter().sum::<u64>()).unwrap_or(usize::MAX);
        let ranges = events
            .div_ceil(engine.memory() / (threads + 1) / BYTES)
            .max(1);
        let mut divided = Divided {
            engine: engine.clone(),
            threads,
            first: Arc::new(starts(engine, window, ranges).await?),
            tables: BTreeMap::new(),
        };
        let mut read: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for sql in files {
            let plan = engine.query(sql).await?.into_optimized_plan()?;
            for table in SOURCES {
                read.entry(table)
                    .or_default()
                    .extend(columns(&plan, table)?);
            }
        }
        for (table, mut columns) in read {
            if columns.is_empty() {
                continue;
            }
            columns.insert(BY.to_string());
            let has = engine.context().table(table).await?;
            columns.retain(|column| has.schema().has_column_with_unqualified_name(column));
            let columns: Vec<String> = columns.into_iter().collect();
            let sql = format!("select {} from {table}", columns.join(", "));
            let rows = engine.query(&sql).await?.execute_stream_partitioned();
            divided.put(table, rows.await?).await?;
        }
        Ok(divided)
    }

    fn ranges(&self) -> usize {
        self.first.len() + 1
    }

    /// Divides rows, which stand for the table `name` from now on, one thread for each stream of them, over the same spools,
    /// so that no more files are open than there are ranges.
    async fn put(&mut self, name: &str, rows: Vec<SendableRecordBatchStream>) -> Result<()> {
        let schema = rows.first().map(|rows| rows.schema());
        let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        let spool = |_| self.engine.spool(Arc::clone(&schema), 0);
        let spools = shared((0..self.ranges()).map(spool));
        let mut works = vec![];
        for rows in rows {
            let dividing = Dividing::over(Arc::clone(&spools), self.engine.memory() / DIVIDING);
            let work = tokio::spawn(divided(rows, Arc::clone(&self.first), dividing));
            works.push(work.map(|done| done.map_err(ended)?));
        }
        try_join_all(works).await?;
        let ranges = spool::finish(spools)?.into_iter().map(Arc::new).collect();
        self.keep(name, ranges)
    }

    fn keep(&mut self, name: &str, ranges: Vec<Arc<Spooled>>) -> Result<()> {
        // Files that are not divided read the ranges one after the other.
        if !SOURCES.contains(&name) {
            self.engine.context().deregister_table(name)?;
            self.engine
                .context()
                .register_table(name, as_table(ranges.clone(), None)?)?;
        }
        self.tables.insert(name.to_string(), ranges);
        Ok(())
    }

    /// Makes a step by a file that is not divided.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn step(&mut self, name: &str, sql: &str) -> Result<()> {
        let rows = self.engine.spilling_joins().stream(sql).await?;
        self.put(name, vec![rows]).await
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
            for name in self.engine.inputs(&file.sql)? {
                let read = columns(&plan, &name)?;
                let input = inputs.entry(name).or_default();
                input.columns.extend(read);
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
                    let rows = as_table(vec![Arc::clone(&ranges[range])], Some(&input.columns))?;
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
        let mut made = vec![];
        for file in files {
            let rows = async {
                let frame = match &file.table {
                    Some((table, _)) => session.fitting(&file.sql, table).await?,
                    None => session.query(&file.sql).await?,
                };
                Ok(frame.collect().await?)
            };
            made.push(rows.await.map_err(|e| file.failed(e))?);
        }
        Ok(made)
    }

    /// The rows that a range has of a table, or all of one that has no users.
    async fn looked_up(&self, name: &str, range: usize) -> Result<DataFrame> {
        let frame = self.engine.context().table(name).await?;
        match frame.schema().has_column_with_unqualified_name(BY) {
            true => self.within(frame, range),
            false => Ok(frame),
        }
    }

    /// The rows of a range.
    fn within(&self, mut frame: DataFrame, range: usize) -> Result<DataFrame> {
        if let Some(first) = range.checked_sub(1).and_then(|r| self.first.get(r)) {
            frame = frame.filter(col(BY).gt_eq(lit(first)))?;
        }
        if let Some(next) = self.first.get(range) {
            frame = frame.filter(col(BY).lt(lit(next)))?;
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
    first: Arc<Vec<String>>,
    mut dividing: Dividing,
) -> Result<()> {
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let users = users(&batch)?;
        for row in 0..batch.num_rows() {
            let user = users.value(row);
            let range = first.partition_point(|first| first.as_str() <= user);
            dividing.place(row, range);
        }
        dividing.push(batch)?;
    }
    dividing.end()
}

/// Rows as a table of one partition, with those of its columns that are read, or all.
fn as_table(
    rows: Vec<Arc<Spooled>>,
    read: Option<&BTreeSet<String>>,
) -> Result<Arc<dyn TableProvider>> {
    let schema = rows.first().map(|rows| Arc::clone(rows.schema()));
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    let is_read = |name: &String| read.is_none_or(|read| read.contains(name) || name == BY);
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

/// Where ranges with about as many events each begin, but the first.
async fn starts(
    engine: &Engine,
    (from, to): (NaiveDate, NaiveDate),
    ranges: usize,
) -> Result<Vec<String>> {
    let mut sample: Vec<String> = vec![];
    for day in from.iter_days().take_while(|d| *d <= to && ranges > 1) {
        let some = format!("select {BY} from events where ds = date '{day}' limit {SAMPLE}");
        for batch in engine.collect(&some).await? {
            sample.extend(users(&batch)?.iter().flatten().map(str::to_string));
        }
    }
    sample.sort_unstable();
    let first = |range: usize| sample.get(range * sample.len() / ranges).cloned();
    let mut first: Vec<String> = (1..ranges).filter_map(first).collect();
    first.dedup();
    Ok(first)
}

fn users(batch: &RecordBatch) -> Result<StringViewArray> {
    rows::texts(batch, "what is divided by users", BY)
}

/// The columns of a table that a plan reads.
fn columns(plan: &LogicalPlan, table: &str) -> Result<BTreeSet<String>> {
    let mut read = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.table() == table
        {
            let fields = scan.projected_schema.fields().iter();
            read.extend(fields.map(|f| f.name().clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// A task that ended early.
pub(super) fn ended(error: tokio::task::JoinError) -> Error {
    Error::unexpected(format!("a worker ended early: {error}"))
}

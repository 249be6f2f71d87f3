//! Features where memory is short: ranges of users one after another, as many at a time as there are threads.
//!
//! A file that says `-- Divided by: user_id.` makes the rows of a user from that user's rows alone, so what it makes of each
//! range, put one after the other, is what it makes of all. Events and users are divided over spill files once; of what
//! comes in order of users, as the feature tables do, a range is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
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

use crate::engine::Engine;
use crate::engine::rows::map;
use crate::engine::spool::{Spool, Spooled, divide};
use crate::error::{Error, Result};
use crate::warehouse::{Table, TableWriter};

/// Who the rows are divided by.
const BY: &str = "user_id";

/// The tables that sources feed and that have the column, in no order of it.
const SOURCES: [&str; 2] = ["events", "users"];

/// Bytes of memory for each event of a range, as the largest of our files needs them.
const BYTES: usize = 256;

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
    /// Ranges in memory: one for each thread, and one that is being written.
    at_once: usize,
    /// Where the second and each further range begins.
    first: Arc<Vec<String>>,
    /// Rows of each range.
    tables: BTreeMap<String, Vec<Vec<Arc<Spooled>>>>,
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
        let at_once = threads + 1;
        let ranges = events.div_ceil(engine.memory() / at_once / BYTES).max(1);
        let mut divided = Divided {
            engine: engine.clone(),
            at_once,
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

    /// Divides rows, which stand for the table `name` from now on, one thread for each stream of them.
    async fn put(&mut self, name: &str, rows: Vec<SendableRecordBatchStream>) -> Result<()> {
        let works = rows.into_iter().map(|rows| {
            let (first, spools) = (Arc::clone(&self.first), self.spools(&rows.schema()));
            tokio::spawn(spooled(rows, first, spools)).map(|done| done.map_err(ended)?)
        });
        let mut ranges = vec![vec![]; self.ranges()];
        for of_stream in try_join_all(works).await? {
            for (range, rows) in ranges.iter_mut().zip(of_stream) {
                range.push(rows);
            }
        }
        self.keep(name, ranges)
    }

    fn spools(&self, schema: &SchemaRef) -> Vec<Spool> {
        let spool = |_| self.engine.spool(Arc::clone(schema), 0);
        (0..self.ranges()).map(spool).collect()
    }

    fn keep(&mut self, name: &str, ranges: Vec<Vec<Arc<Spooled>>>) -> Result<()> {
        // Files that are not divided read the ranges one after the other.
        if !SOURCES.contains(&name) {
            self.engine.context().deregister_table(name)?;
            self.engine
                .context()
                .register_table(name, as_table(ranges.concat(), None)?)?;
        }
        self.tables.insert(name.to_string(), ranges);
        Ok(())
    }

    /// Makes a step that others read: range by range, or as a whole where its file is not divided.
    ///
    /// # Errors
    /// Those of SQL and of spill files.
    pub async fn step(&mut self, name: &str, sql: &str) -> Result<()> {
        if !is_divided(sql) {
            let rows = self.engine.spilling_joins().stream(sql).await?;
            return self.put(name, vec![rows]).await;
        }
        let schema = Arc::clone(self.engine.query(sql).await?.schema().inner());
        let mut made = vec![];
        let mut ranges = self.each(sql, None).await?;
        while let Some(rows) = ranges.next().await {
            let mut spool = self.engine.spool(Arc::clone(&schema), 0);
            rows?.iter().try_for_each(|batch| spool.push(batch))?;
            made.push(vec![Arc::new(spool.finish()?)]);
        }
        drop(ranges);
        self.keep(name, made)
    }

    /// Runs a divided file into one file of `dir`, in the order of `table`'s contract. Returns the rows.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub async fn write(&self, sql: &str, table: &'static Table, dir: &Path) -> Result<u64> {
        let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
        let mut ranges = self.each(sql, Some(table)).await?;
        while let Some(rows) = ranges.next().await {
            rows?.iter().try_for_each(|batch| writer.write(batch))?;
        }
        writer.finish()
    }

    /// The rows that a file makes of each range, in the order of ranges.
    async fn each(
        &self,
        sql: &str,
        table: Option<&'static Table>,
    ) -> Result<impl Stream<Item = Result<Vec<RecordBatch>>> + Unpin> {
        let plan = self.engine.query(sql).await?.into_optimized_plan()?;
        let mut inputs = BTreeMap::new();
        for input in self.engine.inputs(sql)? {
            let read = columns(&plan, &input)?;
            inputs.insert(input, read);
        }
        let (divided, inputs, sql) = (self.clone(), Arc::new(inputs), sql.to_string());
        let works = stream::iter(0..self.ranges()).map(move |range| {
            let (divided, inputs, sql) = (divided.clone(), Arc::clone(&inputs), sql.clone());
            tokio::spawn(async move { divided.range(range, &inputs, &sql, table).await })
        });
        Ok(works
            .buffered(self.at_once)
            .map(|done| done.map_err(ended)?))
    }

    /// What a file, which reads these columns of its inputs, makes of a range.
    async fn range(
        &self,
        range: usize,
        inputs: &BTreeMap<String, BTreeSet<String>>,
        sql: &str,
        table: Option<&'static Table>,
    ) -> Result<Vec<RecordBatch>> {
        let session = self.engine.detached(None)?;
        for (input, read) in inputs {
            let rows: Arc<dyn TableProvider> = match self.tables.get(input) {
                Some(ranges) => as_table(ranges[range].clone(), Some(read))?,
                None => {
                    let frame = self.engine.context().table(input).await?;
                    let by_user = frame.schema().has_column_with_unqualified_name(BY);
                    match by_user {
                        true => self.within(frame, range)?.into_view(),
                        false => frame.into_view(),
                    }
                }
            };
            session.context().register_table(input, rows)?;
        }
        let frame = match table {
            Some(table) => session.fitting(sql, table).await?,
            None => session.query(sql).await?,
        };
        Ok(frame.collect().await?)
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

/// Divides the rows of a stream over spools, one for each range, of which the second and each further begins with `first`.
async fn spooled(
    mut rows: SendableRecordBatchStream,
    first: Arc<Vec<String>>,
    mut spools: Vec<Spool>,
) -> Result<Vec<Arc<Spooled>>> {
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let users = users(&batch)?;
        let mut of_range: Vec<Vec<u32>> = vec![vec![]; spools.len()];
        for row in 0..batch.num_rows() {
            let user = users.value(row);
            let range = first.partition_point(|first| first.as_str() <= user);
            of_range[range].push(row as u32);
        }
        divide(&batch, of_range, &mut spools)?;
    }
    let spools = spools.into_iter();
    spools.map(|spool| Ok(Arc::new(spool.finish()?))).collect()
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
    let users = batch
        .column_by_name(BY)
        .ok_or_else(|| Error::config(format!("what is divided by {BY} has no such column")))?;
    Ok(cast(users, &DataType::Utf8View)?.as_string_view().clone())
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

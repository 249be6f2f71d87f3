//! The SQL engine: an embedded DataFusion session over one snapshot of the warehouse, with our functions and SQL files.

mod exact;
mod functions;
pub mod kept;
pub mod library;
mod ordered;
mod pool;
pub mod rows;
pub mod sample;
mod spill;
pub mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use chrono::{NaiveDate, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::common::config::{ConfigNonZeroUsize, ConfigOptions};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{LogicalPlan, Sort, SortExpr};
use datafusion::prelude::{DataFrame, SQLOptions, SessionConfig, SessionContext};
use url::Url;

use crate::config::Pipeline;
use crate::error::{Error, Result, nearest};
use crate::heap;
use crate::scratch;
use crate::warehouse::{TABLES, Table, TableWriter, ledgers};
pub(crate) use functions::{hex, to_text};
pub use library::Library;
use ordered::Order;
pub(crate) use ordered::compact;
pub use pool::Held;
use spool::Spool;

/// What a session needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes that a session may take, [the pool](pool_of()) of its queries among them.
    pub memory: usize,
    /// Threads of a query.
    pub threads: usize,
    /// Folder for spill files; `None` takes the system's.
    pub spill: Option<PathBuf>,
    /// Bytes that spill files may take together.
    pub spill_limit: u64,
    /// Numbers that SQL reads by `setting('name')`.
    pub settings: BTreeMap<String, f64>,
    /// Days after a window whose exports may still bring it events.
    pub lateness_days: u32,
    /// Last day of the data interval; SQL reads its end by `as_of()`.
    pub date: NaiveDate,
    /// First day of the month that is ingested, where it is one; SQL reads it by `period_start()` and `period_end()`.
    pub month: Option<NaiveDate>,
}

impl Options {
    /// The options that a pipeline file sets, for the night of `date`.
    pub fn of(pipeline: &Pipeline, date: NaiveDate) -> Self {
        Options {
            memory: pipeline.engine.memory.0,
            threads: pipeline.threads(),
            spill: pipeline.engine.spill.clone(),
            spill_limit: pipeline.engine.spill_limit.0 as u64,
            settings: pipeline.settings(),
            lateness_days: pipeline.run.lateness_days,
            date,
            month: None,
        }
    }
}

/// A session over one snapshot.
#[derive(Clone)]
pub struct Engine {
    ctx: SessionContext,
    options: Options,
}

impl Engine {
    /// A session in which every table of `snapshot` can be queried; a table that is not there yet is empty. A session sees
    /// the files that lie there when it first asks, so a stage that reads what another wrote opens its own.
    ///
    /// # Errors
    /// When the snapshot cannot be read or the spill folder cannot be made.
    pub fn open(options: &Options, snapshot: Option<&Path>, runs: Option<&Path>) -> Result<Engine> {
        let pool = tracked(pool::Pool::new(pool_of(options.memory)));
        // A stage rewrites files that it then reads: what lies in a folder is looked up each time.
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_object_list_cache_limit(0)
            .with_file_statistics_cache_limit(0);
        let mut files =
            DiskManagerBuilder::default().with_max_temp_directory_size(options.spill_limit);
        if let Some(spill) = &options.spill {
            std::fs::create_dir_all(spill)
                .map_err(|e| Error::io("cannot make the spill folder", spill, &e))?;
            files.set_mode(DiskManagerMode::Directories(vec![scratch::folder(spill)?]));
        } else if let Ok(spill) = scratch::folder(&std::env::temp_dir()) {
            // Where no file can be made, a query that spills none needs none.
            files.set_mode(DiskManagerMode::Directories(vec![spill]));
        }
        let files = spill::Counted {
            files: Arc::new(files.build()?),
            limit: options.spill_limit,
        };
        let runtime = runtime.with_disk_manager_builder(
            DiskManagerBuilder::default().with_temp_file_factory(Arc::new(files)),
        );
        let mut config = SessionConfig::new()
            .with_target_partitions(options.threads)
            .with_information_schema(true);
        let execution = &mut config.options_mut().execution;
        execution.time_zone = Some("UTC".into());
        // What each sort keeps for its merge is kept from the others.
        let kept = pool_of(options.memory) / 32;
        execution.sort_spill_reservation_bytes = kept.min(execution.sort_spill_reservation_bytes);
        let ctx = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        functions::register(&ctx, options);

        let engine = Engine {
            ctx,
            options: options.clone(),
        };
        for table in TABLES {
            if table.name == "runs" {
                let files = runs.map(ledgers::files).transpose()?;
                engine.register_files(table, &files.unwrap_or_default())?;
            } else {
                engine.register(table, snapshot.map(|s| s.join(table.name)).as_deref())?;
            }
        }
        Ok(engine)
    }

    /// The same session with one thread, for work that is divided outside of it.
    pub fn single(&self) -> Engine {
        self.set(|options| options.execution.target_partitions = 1)
    }

    /// The same session with joins that sort: slower than hashing, and they spill to disk where a hash table would have to
    /// fit the memory. With one thread there are no such joins: it has two.
    pub fn spilling_joins(&self) -> Engine {
        self.set(|options| {
            options.optimizer.prefer_hash_join = false;
            let threads = &mut options.execution.target_partitions;
            *threads = (*threads).max(2);
        })
    }

    /// The same session for a query that ran short of memory by `error`: with joins that spill, as few threads as such joins
    /// take, since each operator of a thread has a share of the memory of its own, and batches that fit a small one.
    fn after_shortage(&self, error: &Error) -> Result<Engine> {
        tracing::info!(%error, "once more with joins that spill");
        heap::give_back();
        let engine = self.set(|options| {
            options.optimizer.prefer_hash_join = false;
            options.execution.target_partitions = 2;
            if let Ok(rows) = ConfigNonZeroUsize::try_new(1024) {
                options.execution.batch_size = rows;
            }
        });
        engine.with(pool::Pool::careful(pool_of(self.options.memory)))
    }

    /// The same session, for who has a better way where memory is short: what can spill has half of the memory of queries while
    /// that is free.
    ///
    /// # Errors
    /// When the session cannot be made.
    pub fn generous(&self) -> Result<Engine> {
        self.set(|_| {})
            .with(pool::Pool::generous(pool_of(self.options.memory)))
    }

    /// The same session with another pool; of one that [was set](Self::set), whose catalogue is shared.
    fn with(self, pool: pool::Pool) -> Result<Engine> {
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.ctx.runtime_env());
        let runtime = runtime.with_memory_pool(tracked(pool)).build_arc()?;
        let state = SessionStateBuilder::new_from_existing(self.ctx.state())
            .with_runtime_env(runtime)
            .build();
        Ok(Engine {
            ctx: SessionContext::new_with_state(state),
            ..self
        })
    }

    /// Does work with this session, and where that runs short of memory does it once more with joins that spill.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn or_spilling<T>(&self, work: impl AsyncFn(&Engine) -> Result<T>) -> Result<T> {
        match work(self).await {
            Err(e) if e.is_short_of_memory() => work(&self.after_shortage(&e)?).await,
            done => done,
        }
    }

    /// The same session with other options.
    fn set(&self, change: impl FnOnce(&mut ConfigOptions)) -> Engine {
        // The catalogue is shared with this session: a new default one would take its place.
        let mut config = self
            .ctx
            .copied_config()
            .with_create_default_catalog_and_schema(false);
        change(config.options_mut());
        let state = SessionStateBuilder::new_from_existing(self.ctx.state())
            .with_config(config)
            .build();
        Engine {
            ctx: SessionContext::new_with_state(state),
            options: self.options.clone(),
        }
    }

    /// Runs a query and streams the rows whose timestamp `column` lies on `day`, in the order that the query asks for, with
    /// about `budget` bytes of them in memory.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn between(
        &self,
        sql: &str,
        (column, day): (&str, NaiveDate),
        budget: usize,
    ) -> Result<SendableRecordBatchStream> {
        let (frame, by) = unsorted(self.query(sql).await?);
        let rows = on_day(frame, column, day)?;
        if by.is_empty() {
            return Ok(rows.execute_stream().await?);
        }
        match ordered::order_of(&by, rows.schema().inner()) {
            Some(order) => self.in_order(rows, &order, budget).await,
            None => Ok(rows.sort(by)?.execute_stream().await?),
        }
    }

    /// A session without tables and with one thread, sharing this one's memory pool and functions, in which `month` is
    /// ingested.
    ///
    /// # Errors
    /// When the functions cannot be registered.
    pub fn detached(&self, month: Option<NaiveDate>) -> Result<Engine> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config
            .options_mut()
            .clone_from(self.ctx.state().config_options());
        config.options_mut().execution.target_partitions = 1;
        let ctx = SessionContext::new_with_config_rt(config, self.ctx.runtime_env());
        let options = Options {
            month,
            ..self.options.clone()
        };
        functions::register(&ctx, &options);
        Ok(Engine { ctx, options })
    }

    fn register(&self, table: &Table, dir: Option<&Path>) -> Result<()> {
        let dir = dir.filter(|d| d.is_dir());
        let url = dir.map(url_of);
        self.register_urls(table, url.transpose()?.into_iter().collect())
    }

    fn register_files(&self, table: &Table, files: &[PathBuf]) -> Result<()> {
        let urls = files.iter().map(|file| url_of(file));
        self.register_urls(table, urls.collect::<Result<_>>()?)
    }

    fn register_urls(&self, table: &Table, urls: Vec<ListingTableUrl>) -> Result<()> {
        let provider: Arc<dyn datafusion::catalog::TableProvider> = match urls.is_empty() {
            true => Arc::new(EmptyTable::new(table.schema())),
            false => {
                let mut options = ListingOptions::new(Arc::new(ParquetFormat::default()))
                    .with_file_extension(".parquet");
                if let Some(field) = table.partition.field() {
                    options = options.with_table_partition_cols(vec![(
                        field.name().clone(),
                        field.data_type().clone(),
                    )]);
                }
                let config = ListingTableConfig::new_with_multi_paths(urls)
                    .with_listing_options(options)
                    .with_schema(table.file_schema());
                Arc::new(ListingTable::try_new(config)?)
            }
        };
        self.ctx.register_table(table.name, provider)?;
        Ok(())
    }

    /// The session itself, for tables that a stage adds.
    pub fn context(&self) -> &SessionContext {
        &self.ctx
    }

    /// Plans a query. Only reading is allowed: no statement can write, define or set anything.
    ///
    /// # Errors
    /// `Kind::Config`, with the engine's own words, when the text does not parse or names what is not there.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        self.ctx
            .sql_with_options(sql, read_only)
            .await
            .map_err(|e| not_planned(&e.into()))
    }

    /// Runs a query and collects its rows; for results that are known to be small. What it takes on the way may be large: where
    /// it runs short of memory, it runs once more with joins that spill.
    ///
    /// # Errors
    /// As [`Engine::query`], and those of execution.
    pub async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        // As `or_spilling` does, whose future the compiler does not take for one that threads may share.
        match self.query(sql).await?.collect().await.map_err(Error::from) {
            Err(e) if e.is_short_of_memory() => {
                let frame = self.after_shortage(&e)?.query(sql).await?;
                Ok(frame.collect().await?)
            }
            done => done,
        }
    }

    /// Runs a query and streams its rows as one stream.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn stream(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        Ok(self.query(sql).await?.execute_stream().await?)
    }

    /// Streams the rows of a query in the order of the column `by`, nulls first, with about a quarter of the memory of
    /// them in memory.
    ///
    /// # Errors
    /// Those of starting it.
    pub async fn ordered(&self, rows: DataFrame, by: &str) -> Result<SendableRecordBatchStream> {
        self.by_columns(rows, &[by], self.sorting()).await
    }

    /// Streams rows in the order of columns, nulls first.
    async fn by_columns(
        &self,
        rows: DataFrame,
        by: &[&str],
        budget: usize,
    ) -> Result<SendableRecordBatchStream> {
        let schema = rows.schema().inner();
        let place = |column: &&str| Ok((schema.index_of(column)?, SortOptions::default()));
        let order: Order = by.iter().map(place).collect::<Result<_>>()?;
        self.in_order(rows, &order, budget).await
    }

    async fn in_order(
        &self,
        rows: DataFrame,
        order: &Order,
        budget: usize,
    ) -> Result<SendableRecordBatchStream> {
        let rows = rows.execute_stream().await?;
        let env = self.ctx.runtime_env();
        Ok(ordered::ordered(rows, order, budget, env)?)
    }

    /// A place for rows that are read later or more than once, with about `budget` bytes of them in memory.
    pub fn spool(&self, schema: SchemaRef, budget: usize) -> Spool {
        Spool::new(self.ctx.runtime_env(), schema, budget)
    }

    /// Counts what a stage holds beside its queries; `what` is in the plural.
    pub fn hold(&self, what: &'static str) -> Held {
        Held::new(what, &self.ctx.runtime_env().memory_pool)
    }

    /// Bytes that the session may take.
    pub fn memory(&self) -> usize {
        self.options.memory
    }

    /// Bytes of the memory that rows being sorted may take, of all that are sorted at a time.
    pub fn sorting(&self) -> usize {
        self.options.memory / 4
    }

    /// Bytes that the pages of one source file may take in memory at once: half the pool, shared by the files that are read
    /// at a time, and 64 MiB at least.
    pub fn memory_of_a_file(&self) -> u64 {
        let share = self.options.memory / (2 * self.options.threads.max(1));
        share.max(64 << 20) as u64
    }

    /// The folder for spill files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn spill(&self) -> Result<PathBuf> {
        let base = self.options.spill.clone();
        scratch::folder(&base.unwrap_or_else(std::env::temp_dir))
    }

    /// Bytes that spill files may take together.
    pub fn spill_limit(&self) -> u64 {
        self.options.spill_limit
    }

    /// Makes a view of a library file, so that others can select from it by its name.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn view(&self, name: &str, sql: &str) -> Result<()> {
        let plan = self.query(sql).await?;
        self.ctx.register_table(name, plan.into_view())?;
        Ok(())
    }

    /// Registers a table again from its folder in `snapshot`, which was written since the session was opened.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn reload(&self, table: &Table, snapshot: &Path) -> Result<()> {
        self.ctx.deregister_table(table.name)?;
        self.register(table, Some(&snapshot.join(table.name)))
    }

    /// Leaves of a table only the rows of which `predicate` is true.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn restrict(&self, name: &str, predicate: &str) -> Result<()> {
        self.replace(name, &format!("select * from {name} where {predicate}"))
            .await
    }

    /// Puts the rows of a query, which may read the table itself, in the place of a table.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn replace(&self, name: &str, sql: &str) -> Result<()> {
        self.replace_with(name, self.query(sql).await?)
    }

    /// Puts a frame in the place of a table or view.
    ///
    /// # Errors
    /// When the catalogue refuses it.
    pub fn replace_with(&self, name: &str, frame: DataFrame) -> Result<()> {
        self.ctx.deregister_table(name)?;
        self.ctx.register_table(name, frame.into_view())?;
        Ok(())
    }

    /// Leaves of the tables that sources feed what was known and had happened by the end of the window: events delivered
    /// in it, the newest snapshots of items and users by then.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn restrict_to(&self, window: (NaiveDate, NaiveDate)) -> Result<()> {
        self.restrict_by(window, 0).await
    }

    /// As [`restrict_to`](Self::restrict_to), with the events that were delivered after the window and are no more days late than
    /// they may be: what features, models and lists of a night are made from.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn restrict_to_night(&self, window: (NaiveDate, NaiveDate)) -> Result<()> {
        self.restrict_by(window, self.options.lateness_days).await
    }

    async fn restrict_by(
        &self,
        (first, last): (NaiveDate, NaiveDate),
        lateness: u32,
    ) -> Result<()> {
        let end = interval_end_us(last);
        let mut happened = format!(
            "ds between date '{first}' and date '{}'
             and event_time < arrow_cast({end}, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            last + TimeDelta::days(lateness.into()),
        );
        if lateness > 0 {
            let in_time =
                format!("event_time >= cast(ds as timestamp) - interval '{lateness} days'");
            happened = format!("{happened} and (ds <= date '{last}' or {in_time})");
        }
        self.restrict("events", &happened).await?;
        for name in ["items", "users"] {
            // Asked beforehand: of a day that is known, no other day's files are read.
            let newest = format!("select max(ds) as ds from {name} where ds <= date '{last}'");
            let newest = rows::map(&self.collect(&newest).await?, |row| row.day("ds"))?;
            let of_it = match newest.into_iter().flatten().next() {
                Some(day) => format!("ds = date '{day}'"),
                None => "false".to_string(),
            };
            self.restrict(name, &of_it).await?;
        }
        Ok(())
    }

    /// Runs a query that gives a column `ds` into the partitions of `table` for the days of `window`, replacing them all.
    /// Returns the rows.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub async fn write_days(
        &self,
        sql: &str,
        table: &'static Table,
        snapshot: &Path,
        window: (NaiveDate, NaiveDate),
    ) -> Result<u64> {
        use crate::warehouse::store::replace;
        let result = self
            .or_spilling(async |engine| Ok(engine.query(sql).await?.cache().await?))
            .await?;
        self.ctx
            .register_table("result_of_days", result.into_view())?;
        let mut rows = 0;
        for day in window.0.iter_days().take_while(|d| *d <= window.1) {
            let dir = replace(snapshot, table, &day.to_string())?;
            let sql = format!("select * from result_of_days where ds = date '{day}'");
            rows += self.write(&sql, table, &dir).await?;
        }
        self.ctx.deregister_table("result_of_days")?;
        Ok(rows)
    }

    /// Runs a query, in the order of `table`'s contract, into one file of `dir`; where it runs short of memory, once more with
    /// joins that spill. Returns the rows.
    ///
    /// # Errors
    /// Those of the query, and `Kind::Contract` when the result does not fit the table.
    pub async fn write(&self, sql: &str, table: &'static Table, dir: &Path) -> Result<u64> {
        let budget = self.sorting();
        self.or_spilling(async |engine| engine.write_once(sql, table, dir, budget).await)
            .await
    }

    /// As [`Engine::write`], with about `budget` bytes of rows to be sorted in memory, for who has a better way where memory is
    /// short.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub async fn write_once(
        &self,
        sql: &str,
        table: &'static Table,
        dir: &Path,
        budget: usize,
    ) -> Result<u64> {
        let rows = self.in_order_of(table, sql, budget).await?;
        let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
        writer.write_all(rows).await?;
        writer.finish()
    }

    /// Streams the rows of a query in the order of `table`'s contract, with about `budget` bytes of them in memory.
    ///
    /// # Errors
    /// As [`Engine::query`], and `Kind::Contract` when a column is lacking.
    pub async fn in_order_of(
        &self,
        table: &Table,
        sql: &str,
        budget: usize,
    ) -> Result<SendableRecordBatchStream> {
        let frame = self.complete(sql, table).await?;
        if table.order.is_empty() {
            return Ok(frame.execute_stream().await?);
        }
        self.by_columns(frame, table.order, budget).await
    }

    /// Plans a query that gives all columns of `table`.
    async fn complete(&self, sql: &str, table: &Table) -> Result<DataFrame> {
        let frame = self.query(sql).await?;
        for column in table.columns {
            if frame
                .schema()
                .field_with_unqualified_name(column.name)
                .is_err()
            {
                return Err(Error::contract(format!(
                    "table {}: the SQL gives no column {} ({})",
                    table.name,
                    column.name,
                    column.ty.name()
                ))
                .help("`recost tables` lists the columns of every table"));
            }
        }
        Ok(frame)
    }

    /// The tables that a query reads, sorted.
    ///
    /// # Errors
    /// `Kind::Config` when the text does not parse.
    pub fn inputs(&self, sql: &str) -> Result<Vec<String>> {
        let state = self.ctx.state();
        let statement = state
            .sql_to_statement(sql, &datafusion::config::Dialect::Generic)
            .map_err(|e| Error::config(format!("this SQL does not parse: {}", Error::from(e))))?;
        let mut names: Vec<String> = state
            .resolve_table_references(&statement)?
            .iter()
            .map(|t| t.table().to_string())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// A pool whose error names who has most of it.
fn tracked(pool: impl MemoryPool + 'static) -> Arc<dyn MemoryPool> {
    let named = std::num::NonZeroUsize::MIN.saturating_add(4);
    Arc::new(TrackConsumersPool::new(pool, named))
}

/// What queries may count of the memory of a session. A sort takes about twice what it counts, and pages of files being read
/// and written are not counted at all.
fn pool_of(memory: usize) -> usize {
    memory / 2
}

/// A frame without the order that its query asks for, and that order.
fn unsorted(frame: DataFrame) -> (DataFrame, Vec<SortExpr>) {
    let (state, plan) = frame.into_parts();
    let (plan, by) = match plan {
        LogicalPlan::Sort(Sort {
            expr,
            input,
            fetch: None,
        }) => (Arc::unwrap_or_clone(input), expr),
        other => (other, vec![]),
    };
    (DataFrame::new(state, plan), by)
}

/// The rows of a frame whose timestamp `column` lies on `day`.
fn on_day(frame: DataFrame, column: &str, day: NaiveDate) -> Result<DataFrame> {
    use datafusion::logical_expr::{ident, lit};
    let instant = |us: i64| {
        lit(ScalarValue::TimestampMicrosecond(
            Some(us),
            Some("UTC".into()),
        ))
    };
    let start = interval_end_us(day - TimeDelta::days(1));
    Ok(frame.filter(
        ident(column)
            .gt_eq(instant(start))
            .and(ident(column).lt(instant(interval_end_us(day)))),
    )?)
}

/// The engine's word on a query that it cannot plan, as one about the query and what to write instead.
fn not_planned(error: &Error) -> Error {
    let text = error.to_string();
    let text = text.trim_start_matches("Error during planning: ");
    if text.starts_with("DDL not supported") || text.contains("not supported: ") {
        return Error::config("only queries that read are allowed")
            .help("write a SELECT; `recost tables` lists what can be read");
    }
    if let Some(name) = text
        .strip_prefix("table 'datafusion.public.")
        .and_then(|rest| rest.strip_suffix("' not found"))
    {
        let error = Error::config(format!("there is no table {name}"));
        return match nearest(name, TABLES.iter().map(|t| t.name)) {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error.help("`recost tables` lists them"),
        };
    }
    let kind = match error.kind() {
        crate::error::Kind::Unexpected => crate::error::Kind::Config,
        kind => kind,
    };
    let planned = Error::new(kind, format!("this SQL cannot be planned: {text}"));
    match error.remedy() {
        Some(help) => planned.help(help),
        None => planned,
    }
}

/// The URL of a file or folder. Made of its path as it is: the engine's own reading of a path takes `*`, `?` and `[` in it for
/// a pattern, and finds nothing.
fn url_of(path: &Path) -> Result<ListingTableUrl> {
    let from = match path.is_dir() {
        true => Url::from_directory_path,
        false => Url::from_file_path,
    };
    let absolute = std::path::absolute(path).map_err(|e| Error::io("finding", path, &e))?;
    let url = from(absolute)
        .map_err(|()| Error::config(format!("{}: not a path to a file", path.display())))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

/// The end of the data interval of `date`: the next midnight, UTC, in microseconds.
pub fn interval_end_us(date: NaiveDate) -> i64 {
    (date + TimeDelta::days(1))
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros()
}

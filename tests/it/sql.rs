//! The SQL files against rows made by hand: `tests/sql/` holds one `.slt` beside each file of `sql/`.
//!
//! In a `.slt` every table of the warehouse is there, empty and typed by its contract, for `insert into`. A required
//! column that an insert leaves out holds a placeholder: `-`, 0, false, or the night of 2026-10-31. Every SQL file is a
//! view of its own name in a schema named after its folder (`features.sessions`, `drivers.gpu_ns`) and sees of the tables
//! what its stage lets it see on that night; `select * from features.sessions` alone runs the file as it stands, and only
//! there is its own order kept. A mapping is not a view: `create table source as …` delivers that table as an
//! export (a CSV where all of it is text, else Parquet), which is ingested; what came of it is `charges.focus`, and what
//! was rejected lies in `quarantine`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use chrono::NaiveDate;
use datafusion::catalog::MemTable;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, lit};
use datafusion::prelude::SQLOptions;
use parquet::arrow::ArrowWriter;
use recost::attribution::stage::restrict_days;
use recost::config::Pipeline;
use recost::engine::{Engine, Library, Options};
use recost::error::{Error, Result};
use recost::ingest;
use recost::pipeline::run::window;
use recost::warehouse::{Column, TABLES, Table, Type};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, strict_column_validator};
use tempfile::TempDir;

use crate::shop::{NIGHT, walk};

const SLT: &str = "tests/sql";
const SHIPPED: &str = "sql";
/// A project whose own mappings are tested like the shipped ones.
const EXAMPLE: &str = "pipelines/examples/online-retail/sql";

/// The connection of one `.slt`.
struct Session {
    /// The SQL file that it lies beside, below `sql/` and without ending.
    model: String,
    library: Library,
    options: Options,
    engine: Engine,
    /// The other SQL files by the names of their views.
    plans: BTreeMap<String, LogicalPlan>,
}

impl Session {
    async fn open(model: String) -> Result<Session> {
        let pipeline = Pipeline::load(Path::new("pipelines/nightly.toml"))?;
        let night = night();
        let mut options = Options::of(&pipeline, night);
        options.threads = 1;
        let engine = Engine::open(&options, None, None)?;
        let mut session = Session {
            model,
            library: Library::load(Path::new(EXAMPLE))?,
            options,
            engine,
            plans: BTreeMap::new(),
        };
        let mut tables = vec![];
        for table in TABLES {
            tables.push((table.name, Arc::new(empty(table)?)));
        }
        session.put(&tables)?;
        session.views(window(&pipeline, night)).await?;
        // The views keep the tables as they were restricted; statements see them whole.
        session.put(&tables)?;
        // Amounts are written as decimals; in the SQL files a literal such as 1e12 stays a double.
        session
            .execute("set datafusion.sql_parser.parse_float_as_decimal = true")
            .await?;
        Ok(session)
    }

    fn put(&self, tables: &[(&str, Arc<MemTable>)]) -> Result<()> {
        for (name, table) in tables {
            let context = self.engine.context();
            context.deregister_table(*name)?;
            context.register_table(*name, Arc::clone(table) as _)?;
        }
        Ok(())
    }

    /// Makes the views. Files that read what happened see the days of the window, the others whole tables, which here hold
    /// one billing period.
    async fn views(&mut self, window: (NaiveDate, NaiveDate)) -> Result<()> {
        let (mut views, mut by_day) = (vec![], vec![]);
        recost::attribution::close::hashes(&self.engine, &self.library).await?;
        let making = self.library.get("attribution/making_costs.sql")?;
        self.engine.view("making_costs", making).await?;
        // Every closed period is looked at here.
        let closed = "select distinct billing_period from snapshots";
        self.engine.view("restated_periods", closed).await?;
        let policy = "select 'EUR' as reporting_currency, date '2026-10-31' as closing_day, 7 as oldest_days";
        self.engine.view("policy", policy).await?;
        let rates = self.library.get("attribution/rates.sql")?;
        self.engine.view("rates", rates).await?;
        // No limit either, and everything is asked for.
        for (name, table) in [
            ("largest", "largest_allocations"),
            ("asked", "recommendation_costs"),
            ("closed_parts", "allocations"),
            ("late_parts", "late_allocations"),
            ("closed_charges", "charges"),
        ] {
            let all = format!("select * from {table}");
            self.engine.view(name, &all).await?;
        }
        let changes = self.library.get("explain/changes.sql")?;
        self.engine.view("changes", changes).await?;
        for folder in [
            "features",
            "content",
            "attribution",
            "attribution/drivers",
            "checks",
            "compare",
            "conformance",
            "explain",
            "exports",
            "reports",
            "tune",
        ] {
            let schema = last(folder);
            self.execute(&format!("create schema {schema}")).await?;
            for (name, sql) in self.library.folder(folder) {
                let view = format!("{schema}.{name}");
                let reads = self.engine.inputs(sql)?;
                let daily = ["events", "items", "users", "model_days", "seen_prices"];
                if name == "model_days" || reads.iter().any(|t| daily.contains(&t.as_str())) {
                    by_day.push((view, sql.to_string()));
                } else {
                    views.push((view, sql.to_string()));
                }
            }
        }
        for (view, sql) in views {
            self.view(view, &sql).await?;
        }
        let context = self.engine.context().clone();
        let mut newest = vec![];
        for name in ["items", "users"] {
            newest.push((name, context.table_provider(name).await?));
        }
        restrict_days(&self.engine, window).await?;
        let (first, last) = window;
        // The rows of an slt come when the stages have asked already which day is the newest.
        for (name, all) in newest {
            context.deregister_table(name)?;
            context.register_table(name, all)?;
            let day = format!("ds = (select max(ds) from {name} where ds <= date '{last}')");
            self.engine.restrict(name, &day).await?;
        }
        let within = format!("ds between date '{first}' and date '{last}'");
        for name in ["recommendation_costs", "served_days", "outcomes"] {
            self.engine.restrict(name, &within).await?;
        }
        for (name, sql) in self.library.ordered(&self.engine, "features")? {
            match recost::warehouse::table(name) {
                Some(_) => {
                    let of_day = format!("ds = date '{last}'");
                    self.engine.restrict(name, &of_day).await?;
                }
                // A step, which other files of the folder read.
                None => self.engine.view(name, sql).await?,
            }
        }
        let model_days = self.library.get("attribution/model_days.sql")?;
        self.engine.view("model_days", model_days).await?;
        for (view, sql) in by_day {
            self.view(view, &sql).await?;
        }
        Ok(())
    }

    async fn view(&mut self, name: String, sql: &str) -> Result<()> {
        let frame = self.engine.query(sql).await?;
        self.plans
            .insert(name.clone(), frame.logical_plan().clone());
        let context = self.engine.context();
        context.register_table(name, frame.into_view())?;
        Ok(())
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let context = self.engine.context();
        let frame = context.sql_with_options(sql, SQLOptions::new()).await?;
        frame.collect().await?;
        Ok(())
    }

    /// Ingests the table `source`, whole, by the mapping that the file lies beside.
    async fn deliver(&self) -> Result<()> {
        let Some((kind, dialect)) = self
            .model
            .strip_prefix("sources/")
            .and_then(|m| m.split_once('/'))
        else {
            return Err(Error::config(format!("{} is no mapping", self.model)));
        };
        let frame = self.engine.context().table("source").await?;
        let schema = Arc::clone(frame.schema().inner());
        let dir = TempDir::new().unwrap();
        let file = write(dir.path(), &schema, &frame.collect().await?);
        let mapping = self.library.get(&format!("{}.sql", self.model))?;
        let by_month = mapping.contains("period_start()");
        let text = format!(
            "name = \"slt\"\nwarehouse = \".\"\n[[sources]]\nname = \"source\"\nkind = \"{kind}\"\n\
             path = \"{file}\"\ndialect = \"{dialect}\"\n{}",
            // A bad row of a bill stops the run, as it does by default.
            match kind {
                "charges" if by_month => "interval = \"month\"",
                "charges" | "invoices" | "commitments" => "",
                _ => "max_rejected = 1.0",
            },
        );
        let pipeline = Pipeline::parse(&text, &dir.path().join("pipeline.toml"))?;
        let snapshot = dir.path().join("snapshot");
        let engine = Engine::open(&self.options, None, None)?;
        let survey = ingest::survey(&engine, &pipeline, &self.library, night()).await?;
        ingest::run(&engine, &snapshot, survey, night(), 1).await?;

        self.execute(&format!("create schema if not exists {kind}"))
            .await?;
        let ingested = Engine::open(&self.options, Some(&snapshot), None)?;
        for (table, name) in [
            (kind, format!("{kind}.{dialect}")),
            ("quarantine", "quarantine".into()),
        ] {
            let frame = ingested.query(&format!("select * from {table}")).await?;
            let schema = Arc::clone(frame.schema().inner());
            let rows = MemTable::try_new(schema, vec![frame.collect().await?])?;
            self.put(&[(&name, Arc::new(rows))])?;
        }
        Ok(())
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>> {
        let context = self.engine.context();
        let whole = sql.strip_prefix("select * from ");
        let plan = match whole.and_then(|name| self.plans.get(name)) {
            Some(plan) => plan.clone(),
            None => context.state().create_logical_plan(sql).await?,
        };
        let is_query = !matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Ddl(_));
        let is_source = matches!(
            &plan,
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(t)) if t.name.table() == "source"
        );
        let frame = context.execute_logical_plan(plan).await?;
        let types = frame.schema().fields().iter();
        let types = types.map(|f| column_type(f.data_type())).collect();
        let batches = frame.collect().await?;
        if is_source {
            self.deliver().await?;
        }
        if !is_query {
            return Ok(DBOutput::StatementComplete(0));
        }
        let mut rows = vec![];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|c| cell(c.as_ref(), row));
                rows.push(cells.collect::<Result<_>>()?);
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

/// The table of a contract, without rows.
fn empty(table: &Table) -> Result<MemTable> {
    let mut defaults: HashMap<String, Expr> = HashMap::new();
    for column in table.columns.iter().filter(|c| c.required) {
        defaults.insert(column.name.to_string(), lit(placeholder(column)?));
    }
    if let Some(column) = table.partition.column() {
        let value = match column {
            "ds" => NIGHT,
            _ => &NIGHT[..7],
        };
        defaults.insert(column.to_string(), lit(value));
    }
    let rows = MemTable::try_new(table.schema(), vec![vec![]])?;
    Ok(rows.with_column_defaults(defaults))
}

fn placeholder(column: &Column) -> Result<ScalarValue, DataFusionError> {
    match column.ty {
        Type::Text => Ok(ScalarValue::from("-")),
        Type::Timestamp | Type::Date => Ok(ScalarValue::from(NIGHT)),
        other => ScalarValue::new_default(&other.arrow()),
    }
}

/// Writes a delivery and returns its name.
fn write(dir: &Path, schema: &SchemaRef, batches: &[RecordBatch]) -> &'static str {
    let is_text = |t: &DataType| column_type(t) == DefaultColumnType::Text;
    if schema.fields().iter().all(|f| is_text(f.data_type())) {
        let file = File::create(dir.join("source.csv")).unwrap();
        let mut writer = arrow::csv::Writer::new(file);
        batches.iter().for_each(|b| writer.write(b).unwrap());
        return "source.csv";
    }
    let file = File::create(dir.join("source.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), None).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.close().unwrap();
    "source.parquet"
}

fn column_type(ty: &DataType) -> DefaultColumnType {
    match ty {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        _ if ty.is_integer() => DefaultColumnType::Integer,
        _ if ty.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Any,
    }
}

/// A value as a `.slt` shows it: decimals without the zeros that end them.
fn cell(column: &dyn Array, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("NULL".into());
    }
    let text = array_value_to_string(column, row)?;
    Ok(match column.data_type() {
        DataType::Decimal128(..) if text.contains('.') => {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ if text.is_empty() => "(empty)".into(),
        _ => text,
    })
}

fn night() -> NaiveDate {
    NIGHT.parse().unwrap()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Paths of the files below `root` that end in `ending`, without it.
fn names(root: &str, ending: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(Path::new(root), &mut |path| {
        let below = path.strip_prefix(root).unwrap().to_string_lossy();
        names.extend(below.strip_suffix(ending).map(str::to_string));
    });
    names
}

#[test]
fn every_sql_file_gives_what_its_slt_says() {
    let complete = std::env::var("RECOST_SLT").is_ok_and(|v| v == "complete");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut failures = vec![];
    for name in names(SLT, ".slt") {
        let file = format!("{SLT}/{name}.slt");
        let mut runner = Runner::new(|| Session::open(name.clone()));
        runner.with_column_validator(strict_column_validator);
        let failure = if complete {
            let done = runtime.block_on(runner.update_test_file(
                &file,
                " ",
                sqllogictest::default_validator,
                sqllogictest::default_normalizer,
                strict_column_validator,
            ));
            done.err().map(|e| e.to_string())
        } else {
            let done = runtime.block_on(runner.run_file_async(&file));
            done.err().map(|e| e.display(false).to_string())
        };
        failures.extend(failure);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_sql_file_has_an_slt_beside_it_that_asks_for_it() {
    let mut models = names(SHIPPED, ".sql");
    models.append(&mut names(EXAMPLE, ".sql"));
    let lacking: BTreeMap<&String, &str> = models
        .iter()
        .filter_map(|model| {
            let (folder, name) = model.rsplit_once('/')?;
            let asks = format!("from {}.{name}", last(folder));
            match std::fs::read_to_string(format!("{SLT}/{model}.slt")) {
                Err(_) => Some((model, "has no .slt")),
                Ok(text) if !text.contains(&asks) => Some((model, "is not asked for in its .slt")),
                Ok(_) => None,
            }
        })
        .collect();
    assert!(lacking.is_empty(), "{lacking:#?}");
    let stray: Vec<String> = names(SLT, ".slt").difference(&models).cloned().collect();
    assert_eq!(stray, ["functions"], "these .slt lie beside no SQL file");
}

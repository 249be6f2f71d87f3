//! The stage `attribute`: from the tables charges, usage and events to allocations and every cost table after them.
//!
//! Each billing period is attributed by itself; what recommendations cost is worked out day by day from the allocations
//! of all periods.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::NaiveDate;
use futures::StreamExt;

use super::allocate::{AllocationWriter, BatchColumns, ChargeBatch, Receiver};
use super::repeat::Inputs;
use super::{AttributeError, Attributor, RUN_TIME, RUNS, Routing, Taken, Warning};
use super::{close, convert, driver_query, outcomes, serve, served, version_ledger};
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::store::partition_dir;
use crate::warehouse::{Table, store, table};

/// What attribution did.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// Billing periods attributed.
    pub periods: Vec<String>,
    /// Closed billing periods whose bills came later.
    pub restated: Vec<String>,
    /// Charges read.
    pub charges: u64,
    /// Allocations written.
    pub allocations: u64,
    /// Recommendations that were given their cost.
    pub recommendations: u64,
    /// What each rule took, in their order, and at the end what no rule matched.
    pub rules: Vec<Taken>,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Adds what the rules took of one billing period.
    pub(super) fn add_rules(&mut self, seen: &super::Summary) -> Result<()> {
        self.rules.resize(seen.rules.len(), Taken::default());
        for (rule, taken) in self.rules.iter_mut().zip(&seen.rules) {
            rule.add(taken).map_err(|e| Error::check(e.to_string()))?;
        }
        Ok(())
    }

    /// Warns of the pipeline's own rules that no charge of the run's billing periods came to.
    fn warn_of_unused(&mut self, routing: &Routing) {
        let own = routing.rules[..routing.own].iter().zip(&self.rules);
        let unused: Vec<String> = own
            .filter(|(_, taken)| taken.charges == 0)
            .map(|(rule, _)| format!("`{}`", rule.name))
            .collect();
        if !unused.is_empty() {
            self.warnings.push(format!(
                "no charge came to these rules: {}; `recost plan` shows whether others take their charges",
                unused.join(", ")
            ));
        }
    }
}

/// The rules and cost pools of a pipeline, checked against its models and drivers.
///
/// # Errors
/// `Kind::Config`, naming each wrong rule.
pub fn routing(pipeline: &Pipeline, library: &Library) -> Result<Routing> {
    let routing = pipeline.attribution.routing();
    let drivers: Vec<String> = library
        .folder("attribution/drivers")
        .map(|(name, _)| name.to_string())
        .collect();
    let columns: Vec<String> = table("charges")
        .map(|t| {
            let own = t.columns.iter().map(|c| c.name);
            own.chain(t.partition.column())
                .map(str::to_string)
                .collect()
        })
        .unwrap_or_default();
    let models = models(pipeline);
    let known = super::validate::Known {
        models: &models,
        drivers: &drivers,
        columns: &columns,
    };
    let wrong = super::validate(&routing, known);
    if wrong.is_empty() {
        return Ok(routing);
    }
    let list: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(
        Error::config(format!("{}: {}", pipeline.file.display(), list.join("; "))).help(
            "correct `[[attribution.rules]]` or `[[attribution.pools]]`; models that are not trained here go under `[attribution] known_models`",
        ),
    )
}

/// The models that rules may name.
fn models(pipeline: &Pipeline) -> Vec<String> {
    let mut models: Vec<String> = pipeline.models.iter().map(|m| m.id.clone()).collect();
    models.extend(pipeline.attribution.known_models.iter().cloned());
    models
}

/// Attributes the billing periods of the window, those in `changed` and those never attributed; writes all cost tables
/// into the snapshot.
///
/// # Errors
/// Those of the rules, of SQL and of writing.
pub async fn run(
    pipeline: &Pipeline,
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    changed: &BTreeSet<String>,
) -> Result<Summary> {
    let routing = routing(pipeline, library)?;
    // A period that lost its last charge keeps no costs.
    let charged = store::partitions(snapshot, contract("charges")?)?;
    let mut done = store::partitions(snapshot, contract("allocations")?)?;
    done.retain(|period| !charged.contains(period));
    for period in &done {
        for name in [
            "allocations",
            "model_costs",
            "converted_costs",
            "reconciliation",
        ] {
            store::replace(snapshot, contract(name)?, period)?;
        }
    }
    let mut summary = Summary::default();
    let closed = crate::ingest::closed(&Engine::open(options, Some(snapshot), None)?).await?;
    for period in due(snapshot, window, changed, &closed)? {
        let engine = Engine::open(options, Some(snapshot), None)?;
        let filter = format!("billing_period = '{period}'");
        engine.restrict("charges", &filter).await?;
        let into = (contract("allocations")?, snapshot);
        period_of(
            pipeline,
            library,
            &engine,
            into,
            &routing,
            &period,
            &mut summary,
        )
        .await
        .map_err(|e| e.context(format!("billing period {period}")))?;
        repeatable(
            pipeline, library, options, &engine, snapshot, &routing, &period,
        )
        .await?;
        summary.periods.push(period);
    }

    // Closed periods whose bills are others today: those with late charges, and those that lost a delivery.
    let mut restated: BTreeSet<String> = store::partitions(snapshot, contract("late_charges")?)?
        .into_iter()
        .collect();
    restated.extend(closed.intersection(changed).cloned());
    for period in restated {
        let engine = Engine::open(options, Some(snapshot), None)?;
        close::stand_of_today(&engine, &period).await?;
        let into = (contract("late_allocations")?, snapshot);
        period_of(
            pipeline,
            library,
            &engine,
            into,
            &routing,
            &period,
            &mut summary,
        )
        .await
        .map_err(|e| e.context(format!("closed billing period {period}")))?;
        summary.restated.push(period);
    }
    if !summary.periods.is_empty() {
        summary.warn_of_unused(&routing);
    }
    if !summary.restated.is_empty() {
        let open = close::open_period(window.1, &closed);
        let rows = close::restate(library, options, snapshot, &summary.restated, &open).await?;
        if rows > 0 {
            summary.warnings.push(format!(
                "bills of closed periods ({}) came later; their difference is restated in {open}",
                summary.restated.join(", ")
            ));
        }
        if !summary.periods.contains(&open) {
            summary.periods.push(open);
        }
    }

    for period in &summary.periods {
        let engine = Engine::open(options, Some(snapshot), None)?;
        let filter = format!("billing_period = '{period}'");
        for name in [
            "charges",
            "allocations",
            "restatements",
            "deliveries",
            "quarantine",
        ] {
            let filter = match name {
                "deliveries" => "kind = 'charges'".to_string(),
                "quarantine" => quarantine_filter(&engine, period).await?,
                _ => filter.clone(),
            };
            engine.restrict(name, &filter).await?;
        }
        for name in ["model_costs", "reconciliation"] {
            let table = contract(name)?;
            let dir = store::replace(snapshot, table, period)?;
            let sql = library.get(&format!("attribution/{name}.sql"))?;
            engine.write(sql, table, &dir).await?;
        }
        convert::run(pipeline, library, &engine, snapshot, (period, window.1)).await?;
    }

    let threads = pipeline.threads();
    let engine = Engine::open(options, Some(snapshot), None)?;
    engine.restrict_to(window).await?;
    let mut shown = served::run(&engine, library, snapshot, window, threads).await?;

    let engine = Engine::open(options, Some(snapshot), None)?;
    let life = &pipeline.attribution.service_life;
    version_ledger::run(&engine, library, life, snapshot, window.1).await?;

    // Days of open periods before the window whose costs are others now are worked out again, too.
    let from = serve::stale_from(library, options, snapshot, window, &summary.periods).await?;
    let stale = from < window.0;
    let window = (from, window.1);
    if stale {
        let engine = Engine::open(options, Some(snapshot), None)?;
        engine.restrict_to(window).await?;
        shown = served::run(&engine, library, snapshot, window, threads).await?;
    }

    let engine = Engine::open(options, Some(snapshot), None)?;
    restrict_days(&engine, window).await?;
    engine
        .view("model_days", library.get("attribution/model_days.sql")?)
        .await?;
    summary.recommendations =
        serve::run(&engine, library, snapshot, (window, shown), threads).await?;

    let last_touch = pipeline.attribution.last_touch.0;
    outcomes::run(library, options, snapshot, window, last_touch).await?;

    let engine = Engine::open(options, Some(snapshot), None)?;
    restrict_days(&engine, window).await?;
    let within = format!("ds between date '{}' and date '{}'", window.0, window.1);
    for name in ["recommendation_costs", "served_days", "outcomes"] {
        engine.restrict(name, &within).await?;
    }
    engine
        .view("model_days", library.get("attribution/model_days.sql")?)
        .await?;
    let unit_costs = contract("unit_costs")?;
    let sql = library.get("attribution/unit_costs.sql")?;
    engine.write_days(sql, unit_costs, snapshot, window).await?;
    Ok(summary)
}

/// The open billing periods with charges that a run attributes: those of the window, those in `changed`, and those never
/// attributed.
pub(super) fn due(
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    changed: &BTreeSet<String>,
    closed: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let first = window.0.format("%Y-%m").to_string();
    let done = store::partitions(snapshot, contract("allocations")?)?;
    let mut due = store::partitions(snapshot, contract("charges")?)?;
    due.retain(|period| {
        let known = done.contains(period);
        !closed.contains(period) && (*period >= first || changed.contains(period) || !known)
    });
    Ok(due)
}

/// Leaves in the session what belongs to the days of the window: costs by day, events up to its end.
pub async fn restrict_days(engine: &Engine, window: (NaiveDate, NaiveDate)) -> Result<()> {
    let (first, last) = window;
    let within = format!("day between date '{first}' and date '{last}'");
    for name in ["allocations", "version_ledger"] {
        engine.restrict(name, &within).await?;
    }
    engine.restrict_to(window).await
}

/// Which quarantined charges belong to a period: those of its own deliveries, and those of undivided sources whose last
/// period it is.
async fn quarantine_filter(engine: &Engine, period: &str) -> Result<String> {
    let sql = format!(
        "select source from deliveries
         where kind = 'charges' and status = 'active' and \"interval\" = 'whole'
         and array_max(partitions) = '{period}'"
    );
    let mut sources = vec![];
    for batch in engine.collect(&sql).await? {
        let names = cast(batch.column(0), &DataType::Utf8View)?;
        sources.extend(
            names
                .as_string_view()
                .iter()
                .flatten()
                .map(|s| format!("'{s}'")),
        );
    }
    sources.push("''".into());
    Ok(format!(
        "kind = 'charges' and (\"interval\" = '{period}' or (\"interval\" = 'whole' and source in ({})))",
        sources.join(", ")
    ))
}

/// Attributes the charges of one billing period into `table` of the snapshot.
async fn period_of(
    pipeline: &Pipeline,
    library: &Library,
    engine: &Engine,
    (table, snapshot): (&'static Table, &Path),
    routing: &Routing,
    period: &str,
    summary: &mut Summary,
) -> Result<()> {
    let attributor = attributor(pipeline, library, engine, routing).await?;
    let dir = store::replace(snapshot, table, period)?;
    let mut writer = AllocationWriter::create(table, &dir.join("part-0.parquet"))?;
    let order = match table.name {
        "allocations" => Order::OfFiles,
        _ => Order::ById,
    };
    let seen = charges_of(library, engine, (period, order), attributor, &mut writer).await?;
    writer.finish()?;
    summary.charges += seen.charges;
    summary.allocations += seen.allocations;
    for (warning, count) in &seen.warnings {
        let text = match warning {
            Warning::TagCollision { key } => format!(
                "{period}: {count} charges have several tags that differ from `{key}` only in case or blanks; one was taken"
            ),
            Warning::UnknownStage { value } => format!(
                "{period}: {count} charges have the stage {value:?}, which is none; their cost went to operations"
            ),
            Warning::UnknownModel { model } => format!(
                "{period}: {count} charges are tagged with the model {model:?}, which the pipeline does not list"
            ),
        };
        summary.warnings.push(text);
    }
    if let Some(first) = seen.oversubscribed.first() {
        summary.warnings.push(format!(
            "{period}: {} charge periods are oversubscribed (more used than the capacity), first {} by {}",
            seen.oversubscribed.len(),
            first.resource_id,
            first.driver
        ));
    }
    summary.add_rules(&seen)
}

/// What attributes the charges of the session by the rules of the pipeline.
pub(super) async fn attributor(
    pipeline: &Pipeline,
    library: &Library,
    engine: &Engine,
    routing: &Routing,
) -> Result<Attributor> {
    let drivers = driver_query::drivers(library, engine, routing).await?;
    Attributor::new(routing, drivers, &models(pipeline)).map_err(failed)
}

/// The order in which charges are attributed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// That of the files of one table, which nothing has to sort.
    OfFiles,
    /// By row_id: rows of several tables come in no order of their own.
    ById,
}

/// Attributes the charges of the session, which are of one billing period.
pub(super) async fn charges_of(
    library: &Library,
    engine: &Engine,
    (period, order): (&str, Order),
    mut attributor: Attributor,
    into: &mut dyn Receiver,
) -> Result<super::Summary> {
    let lines = library.get("attribution/lines.sql")?;
    let mut lines = match order {
        Order::OfFiles => engine.in_file_order(lines).await?,
        Order::ById => engine.sorted(lines, &["row_id"]).await?,
    };
    while let Some(batch) = lines.next().await {
        let batch = ChargeBatch::new(batch?, period)?;
        for row in 0..batch.rows() {
            let columns = BatchColumns::new(&batch, row);
            let tags = batch.tags(row)?;
            let charge = batch.charge(row, &tags, &columns)?;
            into.charge(batch.issuer(row), &charge);
            attributor
                .push(&charge, &mut |a| into.allocation(a).map_err(Into::into))
                .map_err(failed)?;
        }
    }
    attributor
        .finish(&mut |a| into.allocation(a).map_err(Into::into))
        .map_err(failed)
}

/// Holds the allocations of a period against those that the same inputs gave before.
async fn repeatable(
    pipeline: &Pipeline,
    library: &Library,
    options: &Options,
    engine: &Engine,
    snapshot: &Path,
    routing: &Routing,
    period: &str,
) -> Result<()> {
    let mut sql = vec![library.get("attribution/lines.sql")?];
    let needed = routing.drivers();
    let drivers = library.folder("attribution/drivers");
    sql.extend(
        drivers
            .filter(|(name, _)| needed.contains(name))
            .map(|(_, sql)| sql),
    );
    let charged = driver_query::charged_days(engine).await?;
    let days = |table: &str| match table {
        // Recorded runs count whenever they were, so their drivers see all telemetry.
        "usage" if needed.contains(RUNS) || needed.contains(RUN_TIME) => None,
        _ => Some(charged),
    };
    let rules = format!("{routing:?} {:?}", models(pipeline));
    let inputs = Inputs::of(engine, options, snapshot, (period, &days), &sql, &rules)?;
    let output = partition_dir(snapshot, contract("allocations")?, period).join("part-0.parquet");
    inputs.gave(&pipeline.warehouse, period, &output)
}

fn failed(error: AttributeError) -> Error {
    match error {
        AttributeError::Sink(source) => match source.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::unexpected(other.to_string()),
        },
        AttributeError::Rules(_) => Error::config(error.to_string()),
        AttributeError::Split { .. } => Error::check(error.to_string()),
    }
}

/// The contract of a table that is known to exist.
pub fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

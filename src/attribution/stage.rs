//! The stage `attribute`: from the tables charges, usage and events to allocations and every cost table after them.
//!
//! Each billing period is attributed by itself; what recommendations cost is worked out day by day from the allocations
//! of all periods.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{Days, NaiveDate};
use futures::StreamExt;

use super::allocate::{AllocationWriter, BatchColumns, ChargeBatch};
use super::{AttributeError, Attributor, DriverRow, DriverTable, Rule, Warning};
use super::{close, outcomes, serve, served, version_ledger};
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
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
    /// What the user should look at.
    pub warnings: Vec<String>,
}

/// The rules of a pipeline, checked against its models and drivers.
///
/// # Errors
/// `Kind::Config`, naming each wrong rule.
pub fn rules(pipeline: &Pipeline, library: &Library) -> Result<Vec<Rule>> {
    let rules = pipeline.attribution.routing().effective_rules();
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
    let wrong = super::validate(&rules, known);
    if wrong.is_empty() {
        return Ok(rules);
    }
    let list: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(
        Error::config(format!("{}: {}", pipeline.file.display(), list.join("; "))).help(
            "correct `[[attribution.rules]]`; models that are not trained here go under `[attribution] known_models`",
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
    let rules = rules(pipeline, library)?;
    let charges = contract("charges")?;
    let allocations = contract("allocations")?;
    let first = window.0.format("%Y-%m").to_string();
    let done = store::partitions(snapshot, allocations)?;
    let charged = store::partitions(snapshot, charges)?;
    // A period that lost its last charge keeps no costs.
    for period in done.iter().filter(|p| !charged.contains(p)) {
        for name in ["allocations", "model_costs", "reconciliation"] {
            store::replace(snapshot, contract(name)?, period)?;
        }
    }
    let mut summary = Summary::default();
    let closed = crate::ingest::closed(&Engine::open(options, Some(snapshot), None)?).await?;
    for period in charged {
        let known = done.contains(&period);
        if closed.contains(&period) || (period < first && !changed.contains(&period) && known) {
            continue;
        }
        let engine = Engine::open(options, Some(snapshot), None)?;
        let filter = format!("billing_period = '{period}'");
        engine.restrict("charges", &filter).await?;
        let into = (contract("allocations")?, snapshot);
        period_of(
            pipeline,
            library,
            &engine,
            into,
            &rules,
            &period,
            &mut summary,
        )
        .await
        .map_err(|e| e.context(format!("billing period {period}")))?;
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
            &rules,
            &period,
            &mut summary,
        )
        .await
        .map_err(|e| e.context(format!("closed billing period {period}")))?;
        summary.restated.push(period);
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
         where kind = 'charges' and \"interval\" = 'whole'
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
    rules: &[Rule],
    period: &str,
    summary: &mut Summary,
) -> Result<()> {
    let drivers = drivers(library, engine, rules).await?;
    let models = models(pipeline);
    let mut attributor = Attributor::new(rules, drivers, &models).map_err(failed)?;
    let dir = store::replace(snapshot, table, period)?;
    let mut writer = AllocationWriter::create(table, &dir.join("part-0.parquet"))?;
    let mut lines = engine.stream(library.get("attribution/lines.sql")?).await?;
    while let Some(batch) = lines.next().await {
        let batch = ChargeBatch::new(batch?, period)?;
        for row in 0..batch.rows() {
            let columns = BatchColumns::new(&batch, row);
            let tags = batch.tags(row)?;
            let charge = batch.charge(row, &tags, &columns)?;
            writer.charge(batch.issuer(row), &charge);
            attributor
                .push(&charge, &mut |a| writer.push(a).map_err(Into::into))
                .map_err(failed)?;
        }
    }
    let seen = attributor
        .finish(&mut |a| writer.push(a).map_err(Into::into))
        .map_err(failed)?;
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
    Ok(())
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

/// Reads the drivers that the rules name, over the days that the charges of the session cover.
async fn drivers(
    library: &Library,
    engine: &Engine,
    rules: &[Rule],
) -> Result<std::collections::BTreeMap<String, DriverTable>> {
    let needed: BTreeSet<&str> = rules.iter().filter_map(|r| r.driver.as_deref()).collect();
    let (from, to) = charged_days(engine).await?;
    let session = engine.clone();
    session
        .restrict(
            "usage",
            &format!("ds between date '{from}' and date '{to}'"),
        )
        .await?;
    session.restrict_to((from, to)).await?;
    let mut drivers = std::collections::BTreeMap::new();
    for (name, sql) in library.folder("attribution/drivers") {
        if !needed.contains(name) {
            continue;
        }
        let table = read_driver(&session, sql)
            .await
            .map_err(|e| e.context(library.describe(&format!("attribution/drivers/{name}.sql"))))?;
        drivers.insert(name.to_string(), table);
    }
    Ok(drivers)
}

/// First and last day of the charge periods, a day wider at both ends for telemetry that came late.
async fn charged_days(engine: &Engine) -> Result<(NaiveDate, NaiveDate)> {
    let sql = "select date_part('epoch', min(charge_period_start)), date_part('epoch', max(charge_period_end)) from charges";
    for batch in engine.collect(sql).await? {
        let ends = [0, 1].map(|c| {
            let seconds = cast(batch.column(c), &DataType::Int64).ok()?;
            let seconds = seconds.as_primitive::<Int64Type>();
            let first = (!seconds.is_empty() && seconds.is_valid(0)).then(|| seconds.value(0))?;
            Some(chrono::DateTime::from_timestamp(first, 0)?.date_naive())
        });
        if let [Some(from), Some(to)] = ends {
            return Ok((
                from.checked_sub_days(Days::new(1)).unwrap_or(from),
                to.checked_add_days(Days::new(1)).unwrap_or(to),
            ));
        }
    }
    Ok((NaiveDate::default(), NaiveDate::default()))
}

async fn read_driver(engine: &Engine, sql: &str) -> Result<DriverTable> {
    let mut builder = DriverTable::builder();
    let mut rows = engine.stream(sql).await?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let text = |name: &str, needed: bool| -> Result<_> {
            match batch.column_by_name(name) {
                Some(column) => Ok(Some(cast(column, &DataType::Utf8View)?)),
                None if needed => Err(Error::config(format!("the driver gives no column {name}"))),
                None => Ok(None),
            }
        };
        let number = |name: &str, needed: bool| -> Result<_> {
            let column = match batch.column_by_name(name) {
                Some(column) if name.starts_with("period_") => {
                    let us = crate::warehouse::Type::Timestamp.arrow();
                    cast(&cast(column, &us)?, &DataType::Int64)?
                }
                Some(column) => cast(column, &DataType::Int64)?,
                None if needed => {
                    return Err(Error::config(format!("the driver gives no column {name}")));
                }
                None => return Ok(None),
            };
            Ok(Some(column.as_primitive::<Int64Type>().clone()))
        };
        let (resource, model) = (text("resource_id", false)?, text("model_id", true)?);
        let (version, stage) = (text("model_version", false)?, text("stage", false)?);
        let (start, end) = (number("period_start", true)?, number("period_end", true)?);
        let (weight, reserved) = (number("weight", true)?, number("reserved", false)?);
        let capacity = number("capacity", false)?;
        for row in 0..batch.num_rows() {
            fn at(column: &Option<arrow::array::ArrayRef>, row: usize) -> Option<&str> {
                let texts = column.as_ref()?.as_string_view();
                texts.is_valid(row).then(|| texts.value(row))
            }
            let count = |column: &Option<arrow::array::Int64Array>| {
                let column = column.as_ref()?;
                column.is_valid(row).then(|| column.value(row))
            };
            let natural = |value: Option<i64>| -> Result<Option<u64>> {
                value
                    .map(|v| {
                        u64::try_from(v).map_err(|_| {
                            Error::check(format!(
                                "the driver gives the weight {v}; weights are not negative"
                            ))
                        })
                    })
                    .transpose()
            };
            let (Some(model), Some(start), Some(end)) =
                (at(&model, row), count(&start), count(&end))
            else {
                continue;
            };
            let stage = at(&stage, row)
                .map(|s| {
                    s.parse()
                        .map_err(|e| Error::check(format!("the driver gives a {e}")))
                })
                .transpose()?;
            builder.push(&DriverRow {
                resource_id: at(&resource, row),
                start,
                end,
                model,
                version: at(&version, row),
                stage,
                weight: natural(count(&weight))?.unwrap_or(0),
                reserved: natural(count(&reserved))?,
                capacity: natural(count(&capacity))?,
            });
        }
    }
    Ok(builder.finish())
}

/// The contract of a table that is known to exist.
pub fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

//! One billing period: its charges to allocations, and from those the tables that hold the period's costs.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, col, lit, lower, trim};
use futures::StreamExt;

use super::allocate::{AllocationWriter, BatchColumns, ChargeBatch, read};
use super::repeat::Inputs;
use super::stage::Summary;
use super::work::{Work, contract};
use super::{AttributeError, Attributor, Charge, RUN_TIME, RUNS, Routing, Sink, Warning};
use super::{close, convert, driver_query};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::warehouse::store::{self, partition_dir};

/// The open billing periods with charges that a run attributes: those of the window, those in `changed`, and those never
/// attributed.
pub(super) fn due(
    work: &Work<'_>,
    changed: &BTreeSet<String>,
    closed: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let first = work.window.0.format("%Y-%m").to_string();
    let done = store::partitions(work.snapshot, contract("allocations")?)?;
    let mut due = store::partitions(work.snapshot, contract("charges")?)?;
    due.retain(|period| {
        let known = done.contains(period);
        !closed.contains(period) && (*period >= first || changed.contains(period) || !known)
    });
    Ok(due)
}

/// A session with the charges of one open billing period.
pub(super) async fn session(work: &Work<'_>, period: &str) -> Result<Engine> {
    let engine = work.session()?;
    let filter = format!("billing_period = '{period}'");
    engine.restrict("charges", &filter).await?;
    Ok(engine)
}

/// Attributes an open billing period into `allocations`.
pub(super) async fn open(
    work: &Work<'_>,
    routing: &Routing,
    period: &str,
    summary: &mut Summary,
) -> Result<()> {
    let engine = session(work, period).await?;
    write(work, &engine, routing, "allocations", period, summary)
        .await
        .map_err(|e| e.context(format!("billing period {period}")))?;
    repeatable(work, &engine, routing, period).await
}

/// Attributes a closed billing period, as its bills stand today, into `late_allocations`.
pub(super) async fn closed(
    work: &Work<'_>,
    routing: &Routing,
    period: &str,
    summary: &mut Summary,
) -> Result<()> {
    let engine = work.session()?;
    close::stand_of_today(&engine, period).await?;
    write(work, &engine, routing, "late_allocations", period, summary)
        .await
        .map_err(|e| e.context(format!("closed billing period {period}")))
}

/// Attributes the charges of the session into a table.
async fn write(
    work: &Work<'_>,
    engine: &Engine,
    routing: &Routing,
    table: &str,
    period: &str,
    summary: &mut Summary,
) -> Result<()> {
    let table = contract(table)?;
    let lines = lines(work, engine, routing).await?;
    let attributor = attributor(work, engine, routing, (&lines, period)).await?;
    let dir = store::replace(work.snapshot, table, period)?;
    let mut writer = AllocationWriter::create(table, &dir.join("part-0.parquet"))?;
    if table.name == "allocations" {
        writer = writer.with_digest(engine.hold("the largest allocations"));
    }
    let lines = engine.ordered(lines, "row_id").await?;
    let seen = charges_of(engine, (lines, period), attributor, &mut |a| {
        writer.write(a).map_err(Into::into)
    })
    .await?;
    if let Some(digest) = writer.finish()? {
        digest
            .write(work.library, engine, work.snapshot, period)
            .await?;
    }
    summary.charges += seen.charges;
    summary.allocations += seen.allocations;
    summary.warnings.extend(warnings(&seen, period));
    summary.add_rules(&seen)
}

/// What the user should look at in a period.
fn warnings(seen: &super::Summary, period: &str) -> Vec<String> {
    let told = seen.warnings.iter().map(|(warning, count)| match warning {
        Warning::TagCollision { key } => format!(
            "{period}: {count} charges have several tags that differ from `{key}` only in case or blanks; one was taken"
        ),
        Warning::UnknownStage { value } => format!(
            "{period}: {count} charges have the stage {value:?}, which is none; their cost went to operations"
        ),
        Warning::UnknownModel { model } => format!(
            "{period}: {count} charges are tagged with the model {model:?}, which the pipeline does not list"
        ),
    });
    let oversubscribed = seen.oversubscribed.first().map(|first| {
        format!(
            "{period}: {} charge periods are oversubscribed (more used than the capacity), first {} by {}",
            seen.oversubscribed.len(),
            first.resource_id,
            first.driver
        )
    });
    told.chain(oversubscribed).collect()
}

/// What attributes the charges of the session, which are of one billing period, by the rules of the pipeline. It knows
/// which of them follow others.
pub(super) async fn attributor(
    work: &Work<'_>,
    engine: &Engine,
    routing: &Routing,
    (lines, period): (&DataFrame, &str),
) -> Result<Attributor> {
    let drivers = driver_query::drivers(work.library, engine, routing).await?;
    let mut attributor = Attributor::new(routing, drivers, &work.models()).map_err(failed)?;
    let mut followers = lines.clone();
    if let Some(categories) = attributor.following() {
        let category = lower(trim(vec![col("charge_category")]));
        let named = categories.iter().map(lit).collect();
        followers = followers.filter(category.in_list(named, false))?;
    }
    let followers = followers.execute_stream().await?;
    let expect = &mut |attributor: &mut Attributor, charge: &Charge<'_>| {
        attributor.expect(charge);
        Ok(())
    };
    each(engine, (followers, period), &mut attributor, expect).await?;
    Ok(attributor)
}

/// The charges of the session, with the columns that attribution by these rules reads.
pub(super) async fn lines(
    work: &Work<'_>,
    engine: &Engine,
    routing: &Routing,
) -> Result<DataFrame> {
    let frame = engine
        .query(work.library.get("attribution/lines.sql")?)
        .await?;
    let schema = frame.schema().clone();
    let columns = schema.fields().iter().map(|f| f.name().as_str());
    Ok(frame.select_columns(&read(columns, routing))?)
}

/// Attributes charges, which are of one billing period. In the order of their ids, they are attributed to the same
/// allocations in the same order wherever they stood on the bill.
pub(super) async fn charges_of(
    engine: &Engine,
    lines: (SendableRecordBatchStream, &str),
    mut attributor: Attributor,
    sink: &mut Sink<'_>,
) -> Result<super::Summary> {
    let push = &mut |attributor: &mut Attributor, charge: &Charge<'_>| {
        attributor.push(charge, sink).map_err(failed)
    };
    each(engine, lines, &mut attributor, push).await?;
    attributor.finish(sink).map_err(failed)
}

/// Hands the charges of a billing period over, one by one. What the attributor comes to hold is counted in the session's memory.
async fn each(
    engine: &Engine,
    (mut lines, period): (SendableRecordBatchStream, &str),
    attributor: &mut Attributor,
    take: &mut dyn FnMut(&mut Attributor, &Charge<'_>) -> Result<()>,
) -> Result<()> {
    let held = engine.hold("what rules have to know of a bill");
    while let Some(batch) = lines.next().await {
        let batch = ChargeBatch::new(batch?, period)?;
        for row in 0..batch.rows() {
            let columns = BatchColumns::new(&batch, row);
            let tags = batch.tags(row)?;
            take(attributor, &batch.charge(row, &tags, &columns)?)?;
        }
        held.resize(attributor.bytes())?;
    }
    Ok(())
}

/// Holds the allocations of a period against those that the same inputs gave before.
async fn repeatable(
    work: &Work<'_>,
    engine: &Engine,
    routing: &Routing,
    period: &str,
) -> Result<()> {
    let mut sql = vec![work.library.get("attribution/lines.sql")?];
    let needed = routing.drivers();
    let drivers = work.library.folder("attribution/drivers");
    let drivers = drivers.filter(|(name, _)| needed.contains(name));
    sql.extend(drivers.map(|(_, sql)| sql));
    let charged = driver_query::charged_days(engine).await?;
    let days = |table: &str| match table {
        // Recorded runs count whenever they were, so their drivers see all telemetry.
        "usage" if needed.contains(RUNS) || needed.contains(RUN_TIME) => None,
        _ => Some(charged),
    };
    let rules = format!("{routing:?} {:?}", work.models());
    let of = (period, &days as &super::repeat::Days<'_>);
    let inputs = Inputs::of(engine, work.options, work.snapshot, of, &sql, &rules)?;
    let dir = partition_dir(work.snapshot, contract("allocations")?, period);
    inputs.gave(
        &work.pipeline.warehouse,
        period,
        &dir.join("part-0.parquet"),
    )
}

/// Writes the tables that hold a period's costs, from its allocations and restatements.
pub(super) async fn tables(work: &Work<'_>, period: &str) -> Result<()> {
    let engine = session(work, period).await?;
    let of_period = format!("billing_period = '{period}'");
    let quarantined = quarantine_filter(&engine, period).await?;
    for (name, filter) in [
        ("allocations", of_period.as_str()),
        ("allocation_days", &of_period),
        ("restatements", &of_period),
        ("deliveries", "kind = 'charges'"),
        ("quarantine", &quarantined),
    ] {
        engine.restrict(name, filter).await?;
    }
    for name in ["model_costs", "reconciliation"] {
        let table = contract(name)?;
        let dir = store::replace(work.snapshot, table, period)?;
        let sql = work.library.get(&format!("attribution/{name}.sql"))?;
        engine.write(sql, table, &dir).await?;
    }
    convert::run(work, &engine, period).await
}

/// Takes the costs of periods away that lost their last charge.
pub(super) fn remove_empty(work: &Work<'_>) -> Result<()> {
    let charged = store::partitions(work.snapshot, contract("charges")?)?;
    for period in store::partitions(work.snapshot, contract("allocations")?)? {
        if charged.contains(&period) {
            continue;
        }
        for name in [
            "allocations",
            "allocation_days",
            "largest_allocations",
            "model_costs",
            "converted_costs",
            "reconciliation",
        ] {
            store::replace(work.snapshot, contract(name)?, &period)?;
        }
    }
    Ok(())
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

//! Closed billing periods: the snapshot that a period is closed with, and what arrives for it later.
//!
//! A closed period's charges, allocations and cost tables are never written again. A delivery that comes later puts its
//! rows of that period into `late_charges`; the period is then attributed as its bills stand today (`late_allocations`),
//! and the difference from the snapshot is booked in the open period (`restatements`), so that for every model, version,
//! stage and category: snapshot + Σ restatements = today.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use chrono::{DateTime, Months, NaiveDate, Utc};

use super::explain::one_of;
use super::work::contract;
use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, store};

/// What a period was closed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Rows of its bills.
    pub charges: u64,
    /// SHA-256 over its snapshot and the restatements booked in it.
    pub hash: String,
}

/// The billing period in which restatements of a night are booked: that of its last day, or the first open one after it.
pub fn open_period(date: NaiveDate, closed: &BTreeSet<String>) -> String {
    let mut day = date;
    loop {
        let period = day.format("%Y-%m").to_string();
        match day.checked_add_months(Months::new(1)) {
            Some(next) if closed.contains(&period) => day = next,
            _ => return period,
        }
    }
}

/// Makes the session's `charges` those of a closed period as its bills stand today: what it was closed with, less the
/// deliveries that others replaced, and what came late.
///
/// # Errors
/// As [`Engine::query`].
pub async fn stand_of_today(engine: &Engine, period: &str) -> Result<()> {
    // By their names: a join with the deliveries might hold the charges in memory.
    let active = "select distinct delivery_id from deliveries where kind = 'charges' and status = 'active' order by 1";
    let active = map(&engine.collect(active).await?, |row| {
        row.needed("delivery_id")
    })?;
    let sql = format!(
        "select * from charges where billing_period = '{period}' and {}
         union all
         select * from late_charges where billing_period = '{period}'",
        one_of("delivery_id", &active)
    );
    engine.replace("charges", &sql).await
}

/// Writes the restatements of the closed periods `periods` that are booked in the period `open`. Returns their number.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn restate(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    periods: &[String],
    open: &str,
) -> Result<u64> {
    let table = contract("restatements")?;
    let engine = Engine::open(options, Some(snapshot), None)?;
    let elsewhere = format!("billing_period <> '{open}'");
    engine.restrict("restatements", &elsewhere).await?;
    let listed: Vec<String> = periods.iter().map(|p| format!("('{p}')")).collect();
    let listed = format!(
        "select * from (values {}) as t (billing_period)",
        listed.join(", ")
    );
    engine.view("restated_periods", &listed).await?;
    // The folder is emptied before it is filled, so the rows elsewhere are read first.
    let sql = library.get("attribution/restatements.sql")?;
    let rows = engine
        .or_spilling(async |engine| Ok(engine.query(sql).await?.cache().await?))
        .await?;
    engine.replace_with("result", rows)?;
    let dir = store::replace(snapshot, table, open)?;
    engine.write("select * from result", table, &dir).await
}

/// Closes a billing period in a staged snapshot.
///
/// # Errors
/// `Kind::Config` when there is no such period or it is closed already; those of SQL and of writing.
pub async fn close(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    period: &str,
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<Closed> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let before = engine
        .collect(&format!(
            "select closed_at, hash from closes where billing_period = '{period}'"
        ))
        .await?;
    if let Some((at, hash)) = map(&before, |row| {
        Ok((row.needed("closed_at")?, row.needed("hash")?))
    })?
    .first()
    {
        return Err(Error::config(format!(
            "the billing period {period} was closed on {at} with the hash {hash}"
        ))
        .help(
            "a closed period stays as it is: what arrives for it later is restated in the open one",
        ));
    }
    // A month may hold nothing but restatements.
    let there = store::partitions(snapshot, contract("reconciliation")?)?;
    if !there.iter().any(|p| p == period) {
        return Err(
            Error::config(format!("there are no costs of the billing period {period}"))
                .help(format!("there are: {}", there.join(", "))),
        );
    }

    let within = format!("billing_period = '{period}'");
    engine.restrict("allocations", &within).await?;
    engine.restrict("charges", &within).await?;
    let table = contract("snapshots")?;
    let dir = store::replace(snapshot, table, period)?;
    engine
        .write(library.get("attribution/snapshots.sql")?, table, &dir)
        .await?;
    let charges = map(
        &engine
            .collect("select count(*) as rows from charges")
            .await?,
        |row| row.count("rows"),
    )?;
    let charges = charges.first().copied().unwrap_or(0);

    let engine = Engine::open(options, Some(snapshot), None)?;
    hashes(&engine, library).await?;
    let found = engine
        .collect(&format!("select hash from snapshot_hashes where {within}"))
        .await?;
    let hash = map(&found, |row| row.needed("hash"))?
        .pop()
        .ok_or_else(|| Error::unexpected(format!("the snapshot of {period} has no row")))?;
    note(&engine, snapshot, period, charges, &hash, (run_id, now)).await?;
    Ok(Closed { charges, hash })
}

/// Makes the view `snapshot_hashes`.
///
/// # Errors
/// As [`Engine::query`].
pub async fn hashes(engine: &Engine, library: &Library) -> Result<()> {
    let sql = library.get("attribution/snapshot_hashes.sql")?;
    engine.view("snapshot_hashes", sql).await
}

/// Adds a row to `closes`.
async fn note(
    engine: &Engine,
    snapshot: &Path,
    period: &str,
    charges: u64,
    hash: &str,
    (run_id, now): (&str, DateTime<Utc>),
) -> Result<()> {
    let table = contract("closes")?;
    let text = |value: &str| Arc::new(StringViewArray::from(vec![value])) as ArrayRef;
    let at = TimestampMicrosecondArray::from(vec![now.timestamp_micros()]).with_timezone("UTC");
    let row = RecordBatch::try_from_iter([
        ("billing_period", text(period)),
        ("closed_at", Arc::new(at) as ArrayRef),
        ("run_id", text(run_id)),
        (
            "charges",
            Arc::new(Int64Array::from(vec![
                i64::try_from(charges).unwrap_or(i64::MAX),
            ])),
        ),
        ("hash", text(hash)),
    ])?;
    let mut rows = engine.collect("select * from closes").await?;
    rows.push(row);
    let rows = concat_batches(&table.file_schema(), &rows)?;
    // An older period may be closed after a newer one.
    let periods = sort_to_indices(rows.column(0), None, None)?;
    let dir = store::replace(snapshot, table, "")?;
    let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
    writer.write(&take_record_batch(&rows, &periods)?)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restatements_are_booked_in_the_first_open_period_from_the_night_on() {
        let closed: BTreeSet<String> = ["2026-10", "2026-12", "2027-01"].map(String::from).into();
        let open = |day: &str| open_period(day.parse().unwrap_or_default(), &closed);
        assert_eq!(open("2026-11-03"), "2026-11");
        assert_eq!(open("2026-10-31"), "2026-11");
        assert_eq!(open("2026-12-31"), "2027-02");
    }
}

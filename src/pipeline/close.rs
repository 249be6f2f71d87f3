//! Closing a billing period: checks, snapshot and hash, published in one step like a night.

use chrono::{Months, NaiveDate, TimeDelta, Utc};

use super::check::check;
use super::ledger::Ledger;
use super::run::lock_note;
use crate::attribution::close::{Closed, close};
use crate::config::Pipeline;
use crate::engine::{Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;

/// First and last day of a billing period written `YYYY-MM`.
///
/// # Errors
/// `Kind::Config` when it is none.
pub fn days_of(period: &str) -> Result<(NaiveDate, NaiveDate)> {
    let days = || {
        let first = NaiveDate::parse_from_str(&format!("{period}-01"), "%Y-%m-%d").ok()?;
        let next = first.checked_add_months(Months::new(1))?;
        Some((first, next - TimeDelta::days(1)))
    };
    days().filter(|_| period.len() == 7).ok_or_else(|| {
        Error::config(format!("`{period}` is no billing period")).help("write it as 2026-11")
    })
}

/// Closes `period` in the published tables.
///
/// # Errors
/// `Kind::Config` when nothing is published, the period has no costs or is closed already; `Kind::Check` when a check of
/// its data fails; `Kind::Locked` when a run is writing.
pub async fn run(pipeline: &Pipeline, library: &Library, period: &str) -> Result<Closed> {
    let days = days_of(period)?;
    let warehouse = Warehouse::of(pipeline)?;
    warehouse.published()?;
    let lock = warehouse.lock(&lock_note())?;
    let mut ledger = Ledger::start(&warehouse, days.1, "none")?;
    let options = Options::of(pipeline, days.1);
    ledger
        .record(async |ledger| {
            let staging = warehouse.stage(&ledger.run_id, &lock)?;
            let dir = staging.dir();
            ledger.begin("close")?;
            let (run_id, now) = (&ledger.run_id, Utc::now());
            let closed = close(library, &options, dir, period, run_id, now).await?;
            let message = format!("closed {period}, hash {}", closed.hash);
            ledger.end(Some(closed.charges), message)?;
            ledger.begin("check")?;
            let held = check(library, &options, dir, days, &[period.to_string()]).await?;
            ledger.end(None, format!("{held} checks hold"))?;
            ledger.publish(staging, pipeline.run.keep())?;
            Ok(closed)
        })
        .await
}

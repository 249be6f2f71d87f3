//! Closing a billing period: checks, snapshot and hash, published in one step like a night.

use std::path::PathBuf;

use chrono::{Months, NaiveDate, TimeDelta, Utc};

use super::ledger::Ledger;
use super::run::{check, lock_note};
use crate::attribution::close::{Closed, close};
use crate::config::Pipeline;
use crate::engine::{Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{Staging, Warehouse};

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
    let done = match warehouse.stage(&ledger.run_id, &lock) {
        Ok(staging) => stages(pipeline, library, period, staging, &mut ledger).await,
        Err(e) => Err(e),
    };
    if let Err(e) = &done {
        ledger.finish(Some(e))?;
    }
    done.map(|(closed, _)| closed)
}

async fn stages(
    pipeline: &Pipeline,
    library: &Library,
    period: &str,
    staging: Staging,
    ledger: &mut Ledger,
) -> Result<(Closed, PathBuf)> {
    let days = days_of(period)?;
    let options = Options::of(pipeline, days.1);
    let dir = staging.dir().to_path_buf();
    ledger.begin("close")?;
    let closed = close(library, &options, &dir, period, &ledger.run_id, Utc::now()).await?;
    ledger.end(
        Some(closed.charges),
        format!("closed {period}, hash {}", closed.hash),
    )?;
    ledger.begin("check")?;
    let held = check(library, &options, &dir, days, &[period.to_string()]).await?;
    ledger.end(None, format!("{held} checks hold"))?;
    let published = ledger.publish(staging, pipeline.run.keep())?;
    Ok((closed, published))
}

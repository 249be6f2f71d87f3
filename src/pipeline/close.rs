//! Closing a billing period: checks, snapshot and hash, published in one step like a night.

use std::path::PathBuf;

use chrono::{Months, NaiveDate, TimeDelta, Utc};

use super::check::check;
use super::ledger::Ledger;
use super::meter::Moment;
use super::run::lock_note;
use crate::attribution::close::{Closed, close};
use crate::config::Pipeline;
use crate::engine::{Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;
use crate::watch::{Observer, event};

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

/// Closes `period` in the published tables. Returns also the snapshot that is current then.
///
/// # Errors
/// `Kind::Config` when nothing is published, the period has no costs or is closed already; `Kind::Check` when a check of
/// its data fails; `Kind::Locked` when a run is writing.
pub async fn run(
    pipeline: &Pipeline,
    library: &Library,
    period: &str,
    observer: &mut Observer<'_>,
) -> Result<(Closed, PathBuf)> {
    let days = days_of(period)?;
    let warehouse = Warehouse::of(pipeline)?;
    warehouse.published()?;
    let lock = warehouse.lock(&lock_note())?;
    let since = Moment::now();
    let mut ledger = Ledger::start(&warehouse, days.1, "none")?;
    observer(&event::RunStarted {
        run_id: &ledger.run_id,
        device: "none",
    });
    let options = Options::of(pipeline, days.1);
    let (closed, snapshot) = ledger
        .record(async |ledger| {
            let staging = warehouse.stage(&ledger.run_id, &lock)?;
            let dir = staging.dir();
            observer(&event::StageBegan("close"));
            ledger.begin("close")?;
            let (run_id, now) = (&ledger.run_id, Utc::now());
            let closed = close(library, &options, dir, period, run_id, now).await?;
            let message = format!("closed {period}, hash {}", closed.hash);
            ledger.end(Some(closed.charges), message)?;
            say_ended(ledger, observer);
            observer(&event::StageBegan("check"));
            ledger.begin("check")?;
            let held = check(library, &options, dir, days, &[period.to_string()]).await?;
            ledger.end(None, format!("{held} checks hold"))?;
            say_ended(ledger, observer);
            let snapshot = ledger.publish(staging, pipeline.run.keep())?;
            Ok((closed, snapshot))
        })
        .await?;
    observer(&event::Published {
        snapshot: &snapshot.display().to_string(),
        seconds: (Utc::now() - since.at).as_seconds_f64(),
        periods: &[period.to_string()],
    });
    Ok((closed, snapshot))
}

/// Tells that the newest stage ended.
fn say_ended(ledger: &Ledger, observer: &mut Observer<'_>) {
    if let Some(entry) = ledger.entries.last() {
        observer(&entry.ended(None));
    }
}

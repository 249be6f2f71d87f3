//! Old days go: partitions of a table by day that are older than `[retention]` lets it keep.
//!
//! A table of money keeps all its days: what was billed and how it was divided is the books. What is dropped stays dropped,
//! since a night looks at the exports of its window alone, and no table may keep less than a window.

use std::path::Path;

use chrono::{Days, NaiveDate};

use crate::config::Pipeline;
use crate::disk::remove_dir;
use crate::error::Result;
use crate::pipeline::run::window;
use crate::warehouse::{Partition, TABLES, store, table};

/// Days of the longest month, and one.
const A_MONTH: u32 = 32;
/// Tables by day that are of money, or that a figure of money is checked against.
const MONEY: &[&str] = &[
    "exchange_rates",
    "conformance",
    "converted_costs",
    "served_days",
    "recommendation_costs",
    "unit_costs",
    "frontier",
];
/// Tables that bills of the window are divided by, on all days of their billing periods.
const DRIVERS: &[&str] = &["events", "usage", "items", "users", "quarantine"];
/// Tables of model versions into which nights may fold.
const VERSIONS: &[&str] = &["models"];

/// The tables that may drop old days.
pub fn tables() -> impl Iterator<Item = &'static str> {
    let by_day = TABLES.iter().filter(|t| t.partition == Partition::Day);
    by_day.map(|t| t.name).filter(|name| !MONEY.contains(name))
}

/// Days that a table keeps at least, and why.
///
/// # Errors
/// Why the table keeps all.
pub fn least(pipeline: &Pipeline, name: &str) -> Result<(u32, String), String> {
    let Some(table) = table(name) else {
        return Err("there is no such table".into());
    };
    if !tables().any(|known| known == name) {
        return Err(match table.partition {
            Partition::Day | Partition::BillingPeriod if name != "runs" => {
                "it is a table of money, which keeps all its days".into()
            }
            _ => "it is not divided by day".into(),
        });
    }
    let history = pipeline.run.history_days;
    if DRIVERS.contains(&name) {
        let touch = pipeline.attribution.last_touch.0.num_days();
        let touch = u32::try_from(touch).unwrap_or(0) + 1;
        let needed = history + A_MONTH.max(touch);
        let why = format!(
            "a night looks back {history} days, and divides the bills of each month that they touch, to its first day"
        );
        return Ok((needed, why));
    }
    let trained = pipeline.models.iter().map(|m| m.train_every).max();
    match trained.filter(|days| VERSIONS.contains(&name) && *days > history) {
        Some(days) => Ok((
            days + 1,
            format!("nights fold into versions of {days} days ago"),
        )),
        None => Ok((history, format!("a night looks back {history} days"))),
    }
}

/// The days of a table that go on a night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The table.
    pub table: &'static str,
    /// The days, oldest first.
    pub days: Vec<String>,
}

impl Dropped {
    /// In words.
    pub fn shown(&self) -> String {
        match self.days.as_slice() {
            [first, .., last] => format!(
                "{}: {} days from {first} to {last}",
                self.table,
                self.days.len()
            ),
            [only] => format!("{}: {only}", self.table),
            [] => self.table.to_string(),
        }
    }
}

/// What the night of `date` drops of a snapshot.
///
/// # Errors
/// Those of reading folders.
pub fn due(pipeline: &Pipeline, snapshot: &Path, date: NaiveDate) -> Result<Vec<Dropped>> {
    let mut due = vec![];
    for (name, keep) in &pipeline.retention.0 {
        let Some(table) = table(name) else { continue };
        let (_, last) = window(pipeline, date);
        let Some(oldest) = last.checked_sub_days(Days::new(u64::from(keep.0) - 1)) else {
            continue;
        };
        let oldest = oldest.to_string();
        let mut days = store::partitions(snapshot, table)?;
        days.retain(|day| *day < oldest);
        if !days.is_empty() {
            due.push(Dropped {
                table: table.name,
                days,
            });
        }
    }
    Ok(due)
}

/// Takes the days that are due out of a staged snapshot.
///
/// # Errors
/// Those of the file system.
pub fn apply(pipeline: &Pipeline, staged: &Path, date: NaiveDate) -> Result<Vec<Dropped>> {
    let due = due(pipeline, staged, date)?;
    for dropped in &due {
        let Some(table) = table(dropped.table) else {
            continue;
        };
        for day in &dropped.days {
            let dir = store::partition_dir(staged, table, day);
            remove_dir(&dir)?;
        }
    }
    Ok(due)
}

//! What lies on disk for the intervals of many nights, held against what was ingested of them.
//!
//! A run looks closely at the window of one night: it hashes every file. Over all nights that were ever run this looks at
//! names and times first, and hashes only what differs in those.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};

use super::deliveries::{Ledger, Row};
use super::files::{Glance, deliveries, glance};
use super::survey::content;
use crate::config::source::Interval;
use crate::config::{Pipeline, Source, SourceKind};
use crate::engine::Engine;
use crate::error::Result;

/// How the files of an interval stand to what was ingested of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What lies there is what was ingested.
    Ingested,
    /// It was never ingested.
    New,
    /// Other files lie there than those that were ingested.
    Changed,
    /// It was ingested, and its files are gone. Its rows stay.
    Gone,
    /// The pipeline file withdraws it, and its rows are still there.
    Withdrawn,
    /// Its delivery is not complete, and nothing was ingested of it.
    Incomplete,
}

impl Standing {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Ingested => "ingested",
            Standing::New => "new",
            Standing::Changed => "changed",
            Standing::Gone => "its export is gone, its rows stay",
            Standing::Withdrawn => "withdrawn",
            Standing::Incomplete => "not complete",
        }
    }
}

/// One interval of one source.
#[derive(Debug, Clone)]
pub struct Arrival<'a> {
    /// The source.
    pub source: &'a Source,
    /// Day `YYYY-MM-DD` or billing period `YYYY-MM`.
    pub interval: String,
    /// Its first day.
    pub day: NaiveDate,
    /// How its files stand to what was ingested.
    pub standing: Standing,
    /// Hash of the contents that a run would leave in the tables.
    pub content: String,
    /// Days before its own on which events of it happened, of what was ingested.
    pub late_days: Vec<NaiveDate>,
    /// When the newest of its files was written.
    pub received_at: Option<DateTime<Utc>>,
    /// Its files now.
    pub files: usize,
    /// Rows published of it.
    pub rows: u64,
    /// Rows rejected of it.
    pub quarantined: u64,
}

impl Arrival<'_> {
    /// Whether its rows are what features, models and lists are made from, and not costs alone.
    pub fn feeds_features(&self) -> bool {
        feeds_features(self.source.kind)
    }

    /// Whether what the tables have of it is what a run would leave in them.
    pub fn is_read(&self) -> bool {
        matches!(self.standing, Standing::Ingested | Standing::Gone)
    }

    /// Whether a run leaves a row of it in the tables.
    pub fn counts(&self) -> bool {
        match self.standing {
            Standing::Ingested | Standing::Gone => self.rows > 0,
            Standing::New | Standing::Changed => true,
            Standing::Withdrawn | Standing::Incomplete => false,
        }
    }
}

/// Whether features, models and lists are made from what this kind of source brings.
pub fn feeds_features(kind: SourceKind) -> bool {
    matches!(
        kind,
        SourceKind::Events | SourceKind::Items | SourceKind::Users
    )
}

/// Every interval from `first` to `last` that has files or was ingested, of the sources that are divided into days or
/// months, oldest first of each source.
///
/// # Errors
/// Those of reading the table `deliveries` and the files.
pub async fn arrivals<'a>(
    engine: &Engine,
    pipeline: &'a Pipeline,
    (first, last): (NaiveDate, NaiveDate),
) -> Result<Vec<Arrival<'a>>> {
    let ledger = Ledger::read(engine).await?;
    let mut arrivals = vec![];
    for source in &pipeline.sources {
        for (interval, day) in intervals(source, first, last) {
            arrivals.extend(arrival(source, &interval, day, &ledger)?);
        }
    }
    Ok(arrivals)
}

/// Names and first days of the intervals of a source between two days; none of one that is not divided.
fn intervals(source: &Source, first: NaiveDate, last: NaiveDate) -> BTreeMap<String, NaiveDate> {
    let days = first.iter_days().take_while(|day| *day <= last);
    match source.interval() {
        Interval::Day => days.map(|day| (day.to_string(), day)).collect(),
        Interval::Month => days
            .filter_map(|day| Some((day.format("%Y-%m").to_string(), day.with_day(1)?)))
            .collect(),
        Interval::Whole => BTreeMap::new(),
    }
}

fn arrival<'a>(
    source: &'a Source,
    interval: &str,
    day: NaiveDate,
    ledger: &Ledger,
) -> Result<Option<Arrival<'a>>> {
    // What was ingested of a source that meanwhile feeds another table is none of this one.
    let known: Vec<&Row> = ledger
        .of(&source.name, interval)
        .filter(|row| row.kind == source.kind.table())
        .collect();
    let found = glance(source, interval)?;
    let mut arrival = Arrival {
        source,
        day,
        standing: Standing::Ingested,
        content: known.iter().map(|row| row.content.as_str()).collect(),
        late_days: known.iter().flat_map(|row| row.late_days(day)).collect(),
        received_at: found.newest,
        files: found.files,
        rows: known.iter().map(|row| row.rows_out).sum(),
        quarantined: known.iter().map(|row| row.rows_quarantined).sum(),
        interval: interval.to_string(),
    };
    arrival.standing = match (source.withdraws(&arrival.interval), known.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => Standing::Withdrawn,
        (false, true) if found.files == 0 => return Ok(None),
        (false, false) if found.files == 0 => Standing::Gone,
        (false, false) if found == as_ingested(&known) => Standing::Ingested,
        _ => look(source, day, &known, &mut arrival)?,
    };
    Ok(Some(arrival))
}

/// What a glance at the files showed when they were ingested.
fn as_ingested(known: &[&Row]) -> Glance {
    let newest = known.iter().filter_map(|row| row.received_us).max();
    Glance {
        files: known
            .iter()
            .map(|row| usize::try_from(row.files).unwrap_or(0))
            .sum(),
        newest: newest.and_then(DateTime::from_timestamp_micros),
    }
}

/// Hashes the files of an interval.
fn look(
    source: &Source,
    day: NaiveDate,
    known: &[&Row],
    arrival: &mut Arrival<'_>,
) -> Result<Standing> {
    let found = deliveries(source, &arrival.interval, day)?;
    let complete = found.iter().filter(|d| d.lacking.is_none());
    let contents: Vec<String> = complete.map(content).collect();
    let same = contents
        .iter()
        .all(|content| known.iter().any(|row| row.content == *content));
    Ok(match (contents.is_empty(), known.is_empty(), same) {
        (true, true, _) => Standing::Incomplete,
        (false, true, _) => {
            arrival.content = contents.concat();
            Standing::New
        }
        (false, false, false) => {
            arrival.content = contents.concat();
            Standing::Changed
        }
        _ => Standing::Ingested,
    })
}

/// The last night whose window still holds an interval that begins on `day`.
pub fn last_night_of(source: &Source, day: NaiveDate, history_days: u32) -> Option<NaiveDate> {
    let last = match source.interval() {
        Interval::Month => {
            let next = day
                .with_day(1)?
                .checked_add_months(chrono::Months::new(1))?;
            next.pred_opt()?
        }
        _ => day,
    };
    last.checked_add_days(Days::new(u64::from(history_days.saturating_sub(1))))
}

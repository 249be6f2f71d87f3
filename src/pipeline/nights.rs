//! The state of nights: which are done, missing or failed, and which were made from other data than lies there today.
//!
//! That a night is done is read off the published tables, not off the ledger of runs, so that it is still true after an
//! older snapshot was made current again. What it was made from is in `night_inputs`. A delivery makes exactly those nights
//! stale that saw it, or would have seen it: events of a day the nights of its window, a snapshot of items or users those
//! until the next one.
//!
//! Costs are not a night's own. Every run works them out for its whole window, so telemetry or a bill that changed makes no
//! night stale while the next run still looks at it. What lies before that window is given to the last night that saw it,
//! for its costs alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::runs::{self, Run};
use super::{Selection, Stage};
use crate::config::source::Interval;
use crate::config::{Pipeline, SourceKind};
use crate::disk::is_empty;
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Result};
use crate::ingest::{Arrival, Standing, arrivals, last_night_of};
use crate::warehouse::{Warehouse, store, table};

/// How far a night came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its tables are published.
    Done,
    /// They are, but were made from other data than lies there today.
    Stale,
    /// It is being run.
    Running,
    /// It was tried, and is not published.
    Failed,
    /// It was never run, or what it published is no longer there.
    Missing,
}

impl State {
    /// All of them.
    pub const ALL: [State; 5] = [
        State::Done,
        State::Stale,
        State::Running,
        State::Failed,
        State::Missing,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Stale => "stale",
            State::Running => "running",
            State::Failed => "failed",
            State::Missing => "missing",
        }
    }
}

/// What became of a delivery since a night was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It came afterwards.
    Arrived,
    /// It was delivered again, with other content.
    Replaced,
    /// It counts no longer.
    Withdrawn,
}

/// A delivery that a night was not made from, or not as it lies there now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Name of the source.
    pub source: String,
    /// Day or billing period.
    pub interval: String,
    /// What became of it.
    pub how: How,
    /// Whether features, models and lists stay as they are.
    pub costs_only: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Arrived => "arrived later",
            How::Replaced => "was replaced",
            How::Withdrawn => "was withdrawn",
        };
        let costs = if self.costs_only { " (costs)" } else { "" };
        write!(f, "{} {} {how}{costs}", self.source, self.interval)
    }
}

/// A night and its state.
#[derive(Debug)]
pub struct Night {
    /// The last day of its data.
    pub night: NaiveDate,
    /// How far it came.
    pub state: State,
    /// Why it is stale.
    pub changes: Vec<Change>,
    /// Its newest run that published, or, where none did, its newest one.
    pub run: Option<Run>,
}

impl Night {
    /// Whether a backfill runs it.
    pub fn is_due(&self) -> bool {
        self.state != State::Done
    }

    /// What has to be run of it.
    pub fn selection(&self) -> Selection {
        if self.state == State::Stale && self.changes.iter().all(|c| c.costs_only) {
            costs()
        } else {
            Selection::default()
        }
    }

    /// Why it is as it is, in a few words.
    pub fn why(&self) -> String {
        match (self.state, &self.run) {
            (State::Stale, _) => match self.changes.as_slice() {
                [one] => one.to_string(),
                [one, .., last] if self.changes.len() > 3 => format!(
                    "{} deliveries are others now, from {one} to {last}",
                    self.changes.len()
                ),
                few => {
                    let few: Vec<String> = few.iter().map(Change::to_string).collect();
                    few.join(", ")
                }
            },
            (State::Missing, Some(_)) => "its tables are no longer there".into(),
            (State::Missing, None) => "it was never run".into(),
            (_, Some(run)) => run.how(),
            (_, None) => "from before runs were noted".into(),
        }
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        let changes: Vec<_> = self
            .changes
            .iter()
            .map(|c| {
                serde_json::json!({
                    "source": c.source, "interval": c.interval, "costs_only": c.costs_only,
                    "how": match c.how {
                        How::Arrived => "arrived",
                        How::Replaced => "replaced",
                        How::Withdrawn => "withdrawn",
                    },
                })
            })
            .collect();
        serde_json::json!({
            "night": self.night, "state": self.state.as_str(), "why": self.why(), "changes": changes,
            "run": self.run.as_ref().map(Run::json),
        })
    }
}

/// The stages that work out costs from what lies there, and leave models and lists alone.
pub fn costs() -> Selection {
    Selection(vec![Stage::Ingest, Stage::Attribute, Stage::Check])
}

/// The nights of a range, and what lies on disk for them.
#[derive(Debug)]
pub struct Nights<'a> {
    /// Every night of the range, oldest first.
    pub nights: Vec<Night>,
    /// The intervals that they see.
    pub arrivals: Vec<Arrival<'a>>,
    /// The newest night that is published, in the range or not.
    pub newest: Option<NaiveDate>,
    /// The night that was run last, in the range or not.
    pub last_run: Option<NaiveDate>,
    /// When each night was first run to its end.
    first_runs: BTreeMap<NaiveDate, DateTime<Utc>>,
}

impl Nights<'_> {
    /// The nights in a state.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = &Night> {
        self.nights.iter().filter(move |n| n.state == state)
    }

    /// The newest published night, where the last run of all was of an older one. What a source without days holds, and
    /// what costs are worked out from, is then as it stood on that older night, until the newest night's costs run again.
    pub fn set_back(&self) -> Option<NaiveDate> {
        self.newest
            .filter(|newest| self.last_run.is_some_and(|last| last < *newest))
    }

    /// When the night of an interval was run without it, where it came later than that.
    pub fn late(&self, arrival: &Arrival<'_>) -> Option<DateTime<Utc>> {
        if arrival.source.interval() != Interval::Day {
            return None;
        }
        let ran = self.first_runs.get(&arrival.day)?;
        arrival.received_at.filter(|at| at > ran).map(|_| *ran)
    }
}

/// The nights from `from` (by default the oldest that is published) to `to`. `engine` sees the snapshot and the ledger.
///
/// # Errors
/// Those of reading tables and files.
pub async fn nights<'a>(
    pipeline: &'a Pipeline,
    engine: &Engine,
    warehouse: &Warehouse,
    (from, to): (Option<NaiveDate>, NaiveDate),
) -> Result<Nights<'a>> {
    let snapshot = warehouse.snapshot();
    let published = match &snapshot {
        Some(snapshot) => published(pipeline, snapshot)?,
        None => BTreeSet::new(),
    };
    let from = from.or(published.first().copied()).unwrap_or(to).min(to);
    let runs = runs::newest(engine, warehouse, usize::try_from(i64::MAX).unwrap_or(0)).await?;
    let runs: Vec<Run> = runs.into_iter().filter(|r| r.kind == "night").collect();
    let history_days = pipeline.run.history_days;
    let mut inputs = inputs(engine).await?;
    if let Some(snapshot) = &snapshot {
        // A night that was made from nothing has a file without a row.
        for night in partitions(snapshot, "night_inputs")? {
            inputs.entry(night).or_insert(Inputs {
                history_days,
                ..Inputs::default()
            });
        }
    }

    let window = from - TimeDelta::days(i64::from(history_days) - 1);
    let known = inputs.range(from..=to).flat_map(|(_, inputs)| &inputs.rows);
    let oldest = known.map(|input| input.day).min();
    let range = (oldest.unwrap_or(window).min(window), to);
    let arrivals = arrivals(engine, pipeline, range).await?;

    let there = there(&arrivals);
    let mut costs = costs_of_the_past(&arrivals, to, history_days);
    let mut nights = vec![];
    for night in from.iter_days().take_while(|day| *day <= to) {
        let newest = runs.iter().find(|r| r.day == night.to_string());
        let done = runs
            .iter()
            .find(|r| r.day == night.to_string() && is_done(r));
        let mut changes = vec![];
        let state = if published.contains(&night) {
            if let Some(inputs) = inputs.get(&night) {
                changes = inputs.changes(night, &there);
            }
            changes.extend(costs.remove(&night).unwrap_or_default());
            changes.sort();
            if changes.is_empty() {
                State::Done
            } else {
                State::Stale
            }
        } else {
            match newest {
                Some(run) if run.status == runs::RUNNING => State::Running,
                Some(run) if run.is_lost() => State::Failed,
                _ => State::Missing,
            }
        };
        let run = match state {
            State::Done | State::Stale => done,
            _ => newest,
        };
        nights.push(Night {
            night,
            state,
            changes,
            run: run.cloned(),
        });
    }
    let last_run = runs.iter().find(|r| is_done(r));
    let last_run = last_run.and_then(|r| r.day.parse::<NaiveDate>().ok());
    let mut first_runs = BTreeMap::new();
    for run in runs.iter().filter(|r| is_done(r)) {
        if let (Ok(night), Some(at)) = (run.day.parse(), run.started_at) {
            // The runs are listed newest first.
            first_runs.insert(night, at);
        }
    }
    Ok(Nights {
        nights,
        arrivals,
        newest: published.last().copied(),
        last_run,
        first_runs,
    })
}

fn is_done(run: &Run) -> bool {
    run.status == super::ledger::Status::Done.as_str()
}

/// The nights whose features, and lists where the pipeline has models, are in a snapshot.
fn published(pipeline: &Pipeline, snapshot: &Path) -> Result<BTreeSet<NaiveDate>> {
    let features = partitions(snapshot, "interactions")?;
    if pipeline.models.is_empty() {
        return Ok(features);
    }
    let lists = partitions(snapshot, "recommendations")?;
    Ok(features.intersection(&lists).copied().collect())
}

/// The nights that a published snapshot has a partition of in a table. A partition that the next run brings may have its folder
/// already.
fn partitions(snapshot: &Path, name: &str) -> Result<BTreeSet<NaiveDate>> {
    let table = table(name).ok_or_else(|| Error::unexpected(format!("no table {name}")))?;
    let mut partitions = store::partitions(snapshot, table)?;
    partitions.retain(|p| !is_empty(&store::partition_dir(snapshot, table, p)));
    Ok(partitions.iter().filter_map(|ds| ds.parse().ok()).collect())
}

/// What a run of today finds of the sources by day that features are made from, by source and interval.
type There<'a> = BTreeMap<(&'a str, &'a str), &'a Arrival<'a>>;

fn there<'a>(arrivals: &'a [Arrival<'a>]) -> There<'a> {
    arrivals
        .iter()
        .filter(|a| a.feeds_features() && a.counts() && a.source.interval() == Interval::Day)
        .map(|a| ((a.source.name.as_str(), a.interval.as_str()), a))
        .collect()
}

/// The changes that only the costs of nights before the newest window would show, by the last night that sees them.
fn costs_of_the_past(
    arrivals: &[Arrival<'_>],
    to: NaiveDate,
    history_days: u32,
) -> BTreeMap<NaiveDate, Vec<Change>> {
    let mut changes: BTreeMap<NaiveDate, Vec<Change>> = BTreeMap::new();
    for arrival in arrivals {
        // A run removes what is withdrawn however old it is.
        let how = match arrival.standing {
            Standing::New => How::Arrived,
            Standing::Changed => How::Replaced,
            _ => continue,
        };
        let last = last_night_of(arrival.source, arrival.day, history_days);
        let Some(night) = last.filter(|n| *n < to && !arrival.feeds_features()) else {
            continue;
        };
        changes.entry(night).or_default().push(Change {
            source: arrival.source.name.clone(),
            interval: arrival.interval.clone(),
            how,
            costs_only: true,
        });
    }
    changes
}

/// A delivery that a night was made from.
#[derive(Debug)]
struct Input {
    source: String,
    kind: String,
    interval: String,
    day: NaiveDate,
    content: String,
}

/// What a night was made from.
#[derive(Debug, Default)]
struct Inputs {
    rows: Vec<Input>,
    history_days: u32,
}

/// The table `night_inputs`, by night.
async fn inputs(engine: &Engine) -> Result<BTreeMap<NaiveDate, Inputs>> {
    let rows = engine.collect("select * from night_inputs").await?;
    let mut nights: BTreeMap<NaiveDate, Inputs> = BTreeMap::new();
    for (night, days, row) in map(&rows, |row| {
        let interval = row.needed("interval")?;
        let day = interval
            .parse()
            .map_err(|_| Error::unexpected(format!("night_inputs: `{interval}` is no day")))?;
        let input = Input {
            source: row.needed("source")?,
            kind: row.needed("kind")?,
            content: row.needed("content_hash")?,
            day,
            interval,
        };
        Ok((row.day("ds")?, row.count("history_days")?, input))
    })? {
        let Some(night) = night else { continue };
        let inputs = nights.entry(night).or_default();
        inputs.history_days = u32::try_from(days).unwrap_or(u32::MAX);
        inputs.rows.push(row);
    }
    Ok(nights)
}

impl Inputs {
    /// What a run of the night would be made from today and was not, and the other way round.
    fn changes(&self, night: NaiveDate, there: &There<'_>) -> Vec<Change> {
        let change = |source: &str, interval: &str, how| Change {
            source: source.to_string(),
            interval: interval.to_string(),
            how,
            costs_only: false,
        };
        let mut changes = vec![];
        let mut seen = BTreeSet::new();
        for input in &self.rows {
            let key = (input.source.as_str(), input.interval.as_str());
            seen.insert(key);
            let how = match there.get(&key) {
                None => How::Withdrawn,
                Some(now) if now.content != input.content => How::Replaced,
                Some(_) => continue,
            };
            changes.push(change(key.0, key.1, how));
        }
        let newest = |kind: &str| {
            let of_kind = self.rows.iter().filter(|i| i.kind == kind);
            of_kind.map(|i| i.day).max()
        };
        let first = night - TimeDelta::days(i64::from(self.history_days.max(1)) - 1);
        for (&key, arrival) in there {
            let from = match arrival.source.kind {
                SourceKind::Events => Some(first),
                // A snapshot takes the place of the ones before it.
                kind => newest(kind.table()),
            };
            let in_sight = from.is_none_or(|from| from <= arrival.day) && arrival.day <= night;
            if in_sight && !seen.contains(&key) {
                changes.push(change(key.0, key.1, How::Arrived));
            }
        }
        changes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PIPELINE: &str = "name = \"shop\"\n\
        [[sources]]\nname = \"clicks\"\nkind = \"events\"\npath = \"clicks/{date}.csv\"\ndialect = \"recost\"\n\
        [[sources]]\nname = \"items\"\nkind = \"items\"\npath = \"items/{date}.csv\"\ndialect = \"recost\"\n\
        [[sources]]\nname = \"use\"\nkind = \"usage\"\npath = \"use/{date}.csv\"\ndialect = \"recost\"\n";

    fn october(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 10, day).unwrap()
    }

    /// The arrival of a day of October.
    fn arrival<'a>(of: &'a Pipeline, source: &str, day: u32, content: &str) -> Arrival<'a> {
        Arrival {
            source: of.sources.iter().find(|s| s.name == source).unwrap(),
            interval: october(day).to_string(),
            day: october(day),
            standing: Standing::Ingested,
            content: content.into(),
            received_at: None,
            files: 1,
            rows: 9,
            quarantined: 0,
        }
    }

    #[test]
    fn a_night_is_stale_by_what_it_saw_and_by_what_it_would_have_seen() {
        let pipeline = Pipeline::parse(PIPELINE, Path::new("pipeline.toml")).unwrap();
        let input = |source: &str, kind: &str, day: u32| Input {
            source: source.into(),
            kind: kind.into(),
            interval: october(day).to_string(),
            day: october(day),
            content: "as it was".into(),
        };
        // The night of the 10th, of three days. There was no file of the 9th; the catalogue is of the 7th.
        let inputs = Inputs {
            history_days: 3,
            rows: vec![
                input("clicks", "events", 8),
                input("clicks", "events", 10),
                input("items", "items", 7),
            ],
        };
        let of = |source: &str, day: u32, content: &str| arrival(&pipeline, source, day, content);
        let as_it_was = || {
            vec![
                of("clicks", 7, "before the window"),
                of("clicks", 8, "as it was"),
                of("clicks", 10, "as it was"),
                of("clicks", 11, "after the night"),
                of("items", 6, "an older catalogue"),
                of("items", 7, "as it was"),
                of("items", 11, "after the night"),
                of("use", 9, "costs alone"),
            ]
        };
        let changes = |arrivals: &[Arrival<'_>]| -> Vec<String> {
            let changes = inputs.changes(october(10), &there(arrivals));
            changes.iter().map(Change::to_string).collect()
        };
        assert_eq!(changes(&as_it_was()), Vec::<String>::new());

        let mut now = as_it_was();
        now[1].content = "delivered again".into();
        now[2].standing = Standing::Withdrawn;
        now.push(of("clicks", 9, "late"));
        now.push(of("items", 8, "a newer catalogue"));
        assert_eq!(
            changes(&now),
            [
                "clicks 2026-10-08 was replaced",
                "clicks 2026-10-10 was withdrawn",
                "clicks 2026-10-09 arrived later",
                "items 2026-10-08 arrived later"
            ]
        );
        // A file that is gone took nothing with it, and one without a row brought nothing.
        let mut now = as_it_was();
        now[1].standing = Standing::Gone;
        now.push(of("clicks", 9, "empty"));
        now[8].rows = 0;
        assert_eq!(changes(&now), Vec::<String>::new());
    }

    #[test]
    fn costs_before_the_newest_window_belong_to_the_last_night_that_saw_them() {
        let pipeline = Pipeline::parse(PIPELINE, Path::new("pipeline.toml")).unwrap();
        let mut arrivals: Vec<_> = (1..=9)
            .map(|day| arrival(&pipeline, "use", day, "x"))
            .collect();
        for arrival in &mut arrivals[4..] {
            arrival.standing = Standing::Changed;
        }
        // The window of the 10th holds the 8th and later days.
        let found = costs_of_the_past(&arrivals, october(10), 3);
        let found: Vec<_> = found
            .iter()
            .map(|(night, c)| (*night, c[0].to_string()))
            .collect();
        let said = |day: u32| format!("use 2026-10-0{day} was replaced (costs)");
        assert_eq!(
            found,
            [
                (october(7), said(5)),
                (october(8), said(6)),
                (october(9), said(7))
            ]
        );
    }
}

//! The state of nights: which are done, missing or failed, and which were made from other data than lies there today.
//!
//! That a night is done is read off the published tables, not off the ledger of runs, so that it is still true after an
//! older snapshot was made current again. What it was made from is in `night_inputs`. A delivery makes exactly those nights
//! stale that saw it, or would have seen it: events of a day the nights of its window, late ones those from their own day on
//! as far as `[run] lateness_days` says, a snapshot of items or users the nights until the next one.
//!
//! Costs are not a night's own. Every run works them out for its whole window, so telemetry or a bill that changed makes no
//! night stale while the next run still looks at it. What lies before that window is given to the last night that saw it,
//! for its costs alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::inputs::{Change, How, Inputs, costs_of_the_past, inputs, there};
use super::runs::{self, Run};
use super::{Selection, Stage};
use crate::config::Pipeline;
use crate::config::source::Interval;
use crate::disk::is_empty;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::ingest::{Arrival, arrivals};
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
            let none = || Inputs::none(&pipeline.run);
            inputs.entry(night).or_insert_with(none);
        }
    }

    let window = from - TimeDelta::days(i64::from(history_days) - 1);
    let known = inputs.range(from..=to);
    let oldest = known.filter_map(|(_, inputs)| inputs.first_day()).min();
    let known = inputs.range(from..=to);
    let latest = known.map(|(night, inputs)| inputs.last_day(*night)).max();
    let range = (
        oldest.unwrap_or(window).min(window),
        latest.unwrap_or(to).max(to),
    );
    let arrivals = arrivals(engine, pipeline, range).await?;
    // Of the days after the last night only what came late is of interest.
    let (arrivals, later): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|a| a.day <= to);

    let there = there(arrivals.iter().chain(&later));
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

//! The newest runs of the ledger, as they stand now.

use chrono::{DateTime, Utc};

use super::died::{DIED, is_alive};
use super::ledger::{Ledger, Status, file_of};
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::Result;
use crate::warehouse::{Warehouse, ledgers};

/// What a run does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Job {
    /// It runs a night.
    #[default]
    Night,
    /// It searches for hyperparameters.
    Tune,
    /// It closes a billing period.
    Close,
}

impl Job {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Job::Night => "night",
            Job::Tune => "tune",
            Job::Close => "close",
        }
    }
}

/// A run of the ledger: a night, a search, or the closing of a billing period.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// `night`, `tune` or `close`.
    pub kind: &'static str,
    /// The night or the billing period.
    pub of: String,
    /// The column `ds`.
    pub day: String,
    /// As in the table `runs`; `running` while it goes on.
    pub status: String,
    /// Wall clock.
    pub started_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// What it did, or why it ended.
    pub message: Option<String>,
}

impl Run {
    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "run_id": self.id, "kind": self.kind, "of": self.of, "ds": self.day, "status": self.status,
            "started_at": self.started_at, "seconds": self.seconds, "message": self.message,
        })
    }

    /// Whether it ended without publishing.
    pub fn is_lost(&self) -> bool {
        let lost = [Status::Failed, Status::Interrupted, Status::Killed];
        lost.iter().any(|s| s.as_str() == self.status)
    }

    /// Status, time and the message's first line.
    pub fn how(&self) -> String {
        let since = self.started_at.filter(|_| self.status == RUNNING);
        let since = since.map_or(String::new(), |t| {
            format!(" since {}", t.format("%F %T UTC"))
        });
        let seconds = self.seconds.map_or(String::new(), |s| format!(" {s:.1} s"));
        let message = self.message.as_ref().map_or(String::new(), |m| {
            format!("  {}", m.lines().next().unwrap_or(""))
        });
        format!("{}{since}{seconds}{message}", self.status)
    }
}

/// The status of a run that goes on.
pub const RUNNING: &str = "running";

/// When a run last published a night, by the ledger.
///
/// # Errors
/// Those of reading.
pub fn last_success(warehouse: &Warehouse) -> Result<Option<DateTime<Utc>>> {
    for ledger in all(warehouse)? {
        let ledger = ledger?;
        let run = ledger.entries.iter().find(|e| e.stage == "run");
        let done = run.filter(|run| run.status == Status::Done);
        if let Some(run) = done.filter(|_| job(&ledger) == Job::Night) {
            return Ok(run.ended_at);
        }
    }
    Ok(None)
}

/// The ledger of a run, if there is one.
///
/// # Errors
/// Those of reading.
pub fn of(warehouse: &Warehouse, run_id: &str) -> Result<Option<Ledger>> {
    let file = file_of(warehouse, run_id);
    if file.exists() {
        return Ledger::read(&file).map(Some);
    }
    let month = ledgers::month_of(run_id).map(|m| ledgers::of_month(&warehouse.runs(), &m));
    let Some(file) = month.filter(|file| file.exists()) else {
        return Ok(None);
    };
    let runs = Ledger::read_all(&file)?;
    Ok(runs.into_iter().find(|run| run.run_id == run_id))
}

/// The ledgers of all runs, newest first; those in one file for a month after the others of that month. Each file is read when
/// it is asked for.
///
/// # Errors
/// Those of listing.
pub fn all(warehouse: &Warehouse) -> Result<impl Iterator<Item = Result<Ledger>>> {
    let files = ledgers::files(&warehouse.runs())?.into_iter().rev();
    Ok(files.flat_map(|file| match Ledger::read_all(&file) {
        Ok(runs) => runs.into_iter().rev().map(Ok).collect(),
        Err(e) => vec![Err(e)],
    }))
}

/// What a run does.
pub fn job(ledger: &Ledger) -> Job {
    let has = |stage: &str| ledger.entries.iter().any(|e| e.stage == stage);
    match (has("close"), has("tune")) {
        (true, _) => Job::Close,
        (_, true) => Job::Tune,
        _ => Job::Night,
    }
}

/// The newest `most` runs, newest first. `engine` sees the ledger.
///
/// # Errors
/// Those of reading.
pub async fn newest(engine: &Engine, warehouse: &Warehouse, most: usize) -> Result<Vec<Run>> {
    let kinds = engine
        .collect("select distinct run_id, stage from runs where stage in ('close', 'tune')")
        .await?;
    let kinds = map(&kinds, |row| {
        Ok((row.needed("run_id")?, row.needed("stage")?))
    })?;
    let sql = format!(
        "select run_id, ds, status, started_at, seconds, message from runs where stage = 'run'
         order by run_id desc limit {most}"
    );
    map(&engine.collect(&sql).await?, |row| {
        let day = row.day("ds")?.map(|d| d.to_string()).unwrap_or_default();
        let id = row.needed("run_id")?;
        let other = kinds.iter().find(|(run, _)| *run == id);
        // The date of a close is the last day of its billing period.
        let (job, of) = match other.map(|(_, stage)| stage.as_str()) {
            Some("close") => (Job::Close, day.chars().take("YYYY-MM".len()).collect()),
            Some(_) => (Job::Tune, day.clone()),
            None => (Job::Night, day.clone()),
        };
        let mut run = Run {
            kind: job.as_str(),
            of,
            day,
            status: row.needed("status")?,
            started_at: row.time("started_at")?,
            seconds: row.float("seconds")?,
            message: row.text("message")?,
            id,
        };
        // The ledger of a run that goes on or has just died says that it started.
        if run.status == Status::Started.as_str() {
            if is_alive(warehouse, &run.id) {
                run.status = RUNNING.into();
            } else {
                run.status = Status::Killed.to_string();
                run.message = Some(DIED.into());
            }
        }
        Ok(run)
    })
}

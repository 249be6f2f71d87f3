//! The ledger of runs: one small Parquet file per run, written when it starts, again after each stage, and when it ends.
//! Beside it lies a lock as long as the run lives, so that of one that died it is known. Those of old months are put together
//! ([`super::compact`]).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, NaiveDate, Utc};

use serde::{Deserialize, Serialize};

use super::died::note_what_became;
use super::interrupt::{Runs, commit, whole};
use super::meter::{Moment, peak_rss};
use crate::alive::Alive;
use crate::config::Keep;
use crate::decoder;
use crate::engine::rows::map;
use crate::error::{Error, Result};
use crate::ingest::Read;
use crate::privacy::secrets::hidden;
use crate::warehouse::{Staging, TableWriter, Warehouse, table};
use crate::watch::event::StageEnded;

/// How far a run or a stage of it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It goes on, or its process died and no run has begun since that would have noted so.
    Started,
    /// It did what it was to do.
    Done,
    /// It ended with an error.
    Failed,
    /// Ctrl-C, SIGTERM or its deadline ended it.
    Interrupted,
    /// Its process died.
    Killed,
}

impl Status {
    const ALL: [Status; 5] = [
        Status::Started,
        Status::Done,
        Status::Failed,
        Status::Interrupted,
        Status::Killed,
    ];

    /// As the table `runs` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Started => "started",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
            Status::Killed => "killed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One stage of a run, or the whole (`run`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Stage, or `run`.
    pub stage: String,
    /// How far it came.
    pub status: Status,
    /// Wall clock.
    pub started_at: DateTime<Utc>,
    /// Wall clock.
    pub ended_at: Option<DateTime<Utc>>,
    /// Rows written.
    pub rows: Option<u64>,
    /// What was read of exports, where that is the stage's work.
    #[serde(default)]
    pub read: Option<Read>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_rss: Option<u64>,
    /// CPU time of the process meanwhile, user and system.
    pub cpu_seconds: Option<f64>,
    /// Bytes that the process wrote to spill files meanwhile.
    #[serde(default)]
    pub spilled: Option<u64>,
    /// What it did, or why it failed.
    pub message: Option<String>,
    /// What the user should look at, one a line.
    #[serde(default)]
    pub warnings: Option<String>,
    /// When it began; of another process it is not known.
    #[serde(skip)]
    since: Option<Moment>,
}

impl Entry {
    fn begin(stage: &str, since: Moment) -> Self {
        Entry {
            stage: stage.to_string(),
            status: Status::Started,
            started_at: since.at,
            ended_at: None,
            rows: None,
            read: None,
            peak_rss: None,
            cpu_seconds: None,
            spilled: None,
            message: None,
            warnings: None,
            since: Some(since),
        }
    }

    fn close(&mut self, status: Status, ended_at: Option<DateTime<Utc>>) {
        (self.status, self.ended_at) = (status, ended_at);
        // Of another process it cannot be known.
        self.peak_rss = ended_at.and_then(|_| peak_rss());
        let cpu = self.since.and_then(|since| since.cpu_ns_since());
        self.cpu_seconds = cpu.map(|ns| ns as f64 / 1e9);
        self.spilled = self.since.map(|since| since.spilled_since());
    }

    /// The part of `threads` cores that was busy, 0 to 1.
    pub fn utilisation(&self, threads: usize) -> Option<f64> {
        let available = self.seconds()? * threads as f64;
        (available > 0.0).then_some(self.cpu_seconds? / available)
    }

    /// That it ended, in this run or in another that this one goes on with.
    pub(crate) fn ended<'a>(&'a self, resumed_from: Option<&'a str>) -> StageEnded<'a> {
        StageEnded {
            stage: &self.stage,
            seconds: self.seconds().unwrap_or(0.0),
            cpu_seconds: self.cpu_seconds,
            spilled: self.spilled,
            peak_rss: self.peak_rss,
            rows: self.rows.unwrap_or(0),
            message: self.message.as_deref().unwrap_or_default(),
            resumed_from,
        }
    }

    /// Seconds that it took.
    pub fn seconds(&self) -> Option<f64> {
        let took = self.ended_at? - self.started_at;
        Some(took.num_microseconds()? as f64 / 1e6)
    }
}

/// The ledger of one run.
#[derive(Debug)]
pub struct Ledger {
    /// Id of the run: its start in UTC and the process's number.
    pub run_id: String,
    /// The night; of a close, the last day of its billing period.
    pub date: NaiveDate,
    /// What computed.
    pub device: String,
    /// Of the program.
    pub version: String,
    /// Hash of what the whole night is made from.
    pub(super) fingerprint: Option<String>,
    file: PathBuf,
    /// `None` once it has ended, and of one that was read.
    alive: Option<Alive>,
    /// The whole run first, then its stages.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Starts the ledger of a run and writes its first row. Runs that died before are noted as such.
    ///
    /// # Errors
    /// Those of writing.
    pub fn start(warehouse: &Warehouse, date: NaiveDate, device: &str) -> Result<Self> {
        Self::start_since(warehouse, date, device, Moment::now(), None)
    }

    /// [`Ledger::start`] of a run that began to work before, and of a whole night with the hash of what it is made from.
    pub(super) fn start_since(
        warehouse: &Warehouse,
        date: NaiveDate,
        device: &str,
        since: Moment,
        fingerprint: Option<String>,
    ) -> Result<Self> {
        let mut runs = whole();
        note_what_became(warehouse, &runs)?;
        let now = Utc::now();
        let run_id = format!("{}-{}", now.format("%Y%m%dT%H%M%S%3fZ"), std::process::id());
        let file = file_of(warehouse, &run_id);
        let mut ledger = Ledger {
            run_id,
            date,
            device: device.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            alive: Some(Alive::begin(lock_of(&file))?),
            file,
            fingerprint,
            entries: vec![Entry::begin("run", since)],
        };
        runs.begin(&ledger.file);
        ledger.write(&runs).inspect_err(|_| {
            runs.end(&ledger.file);
            ledger.alive.take().map(Alive::end);
        })?;
        Ok(ledger)
    }

    /// Reads the ledger of another run.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn read(file: &Path) -> Result<Self> {
        let first = Self::read_all(file)?.into_iter().next();
        first.ok_or_else(|| no_ledger(file, "no row"))
    }

    /// Reads the ledgers of all runs that a file has, in their order there.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn read_all(file: &Path) -> Result<Vec<Self>> {
        let wrong = |what: &str| no_ledger(file, what);
        let batches = decoder::read(file)?.collect::<Result<Vec<_>>>()?;
        let rows = map(&batches, |row| {
            let status = row.needed("status")?;
            let status = Status::ALL.into_iter().find(|s| s.as_str() == status);
            let time = row.time("started_at")?;
            // Ledgers of earlier versions do not have all columns.
            let count = |column| {
                let number = row.int(column).unwrap_or_default();
                number.and_then(|n| u64::try_from(n).ok())
            };
            let entry = Entry {
                read: count("rows_read")
                    .zip(count("bytes_read"))
                    .map(|(rows, bytes)| Read { rows, bytes }),
                cpu_seconds: row.float("cpu_seconds").unwrap_or_default(),
                warnings: row.text("warnings").unwrap_or_default(),
                spilled: count("spilled_bytes"),
                since: None,
                stage: row.needed("stage")?,
                status: status.ok_or_else(|| wrong("unknown status"))?,
                started_at: time.ok_or_else(|| wrong("no start"))?,
                ended_at: row.time("ended_at")?,
                rows: row.int("rows")?.and_then(|n| u64::try_from(n).ok()),
                peak_rss: row
                    .int("peak_rss_bytes")?
                    .and_then(|n| u64::try_from(n).ok()),
                message: row.text("message")?,
            };
            let date = row.day("ds")?.ok_or_else(|| wrong("no night"))?;
            let device = row.text("device")?.unwrap_or_default();
            let version = row.needed("version")?;
            let fingerprint = row.text("fingerprint").unwrap_or_default();
            Ok(Ledger {
                run_id: row.needed("run_id")?,
                date,
                device,
                version,
                fingerprint,
                file: file.to_path_buf(),
                alive: None,
                entries: vec![entry],
            })
        })?;
        let mut ledgers: Vec<Ledger> = vec![];
        for row in rows {
            match ledgers.last_mut().filter(|last| last.run_id == row.run_id) {
                Some(last) => last.entries.extend(row.entries),
                None => ledgers.push(row),
            }
        }
        Ok(ledgers)
    }

    /// Notes that a stage starts.
    ///
    /// # Errors
    /// Those of writing.
    pub fn begin(&mut self, stage: &str) -> Result<()> {
        self.begin_since(stage, Moment::now())
    }

    /// [`Ledger::begin`] of a stage that began before.
    pub(super) fn begin_since(&mut self, stage: &str, since: Moment) -> Result<()> {
        self.entries.push(Entry::begin(stage, since));
        self.write(&whole())
    }

    /// Notes a stage that the run `run_id` did.
    pub(super) fn take_over(&mut self, entry: &Entry, run_id: &str) -> Result<()> {
        let message = entry.message.as_deref().unwrap_or_default();
        self.entries.push(Entry {
            message: Some(format!("resumed from run {run_id}: {message}")),
            ..entry.clone()
        });
        self.write(&whole())
    }

    /// Notes of the newest stage what the user should look at; it is written with its end.
    pub(super) fn warn(&mut self, warnings: &[String]) {
        if let Some(entry) = self.entries.last_mut().filter(|_| !warnings.is_empty()) {
            let lines: Vec<String> = warnings.iter().map(|w| w.replace('\n', " ")).collect();
            entry.warnings = Some(hidden(&lines.join("\n")).into_owned());
        }
    }

    /// Notes of the newest stage what it read of exports; it is written with its end.
    pub(super) fn read_of_exports(&mut self, read: Option<Read>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.read = read;
        }
    }

    /// Notes how the newest stage ended.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(&mut self, rows: Option<u64>, message: String) -> Result<()> {
        if let Some(entry) = self.entries.last_mut() {
            entry.close(Status::Done, Some(Utc::now()));
            (entry.rows, entry.message) = (rows, Some(message));
        }
        self.write(&whole())
    }

    /// Does the work of the run, and notes where it fails.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn record<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Ledger) -> Result<T>,
    ) -> Result<T> {
        let done = work(self).await;
        if let Err(failure) = &done
            && let Err(e) = self.finish(Some(failure))
        {
            tracing::warn!(error = %e, "the ledger does not say that the run failed");
        }
        done
    }

    /// Publishes what the run staged and notes that it is done: in the folder both, or by an interrupt neither. A store may have
    /// the tables without, and then the next run makes up for it.
    ///
    /// # Errors
    /// Those of publishing.
    pub fn publish(&mut self, staging: Staging, keep: Keep) -> Result<PathBuf> {
        // What takes its time is done before, where an interrupt need not wait for it.
        let committed = commit(staging.prepare()?, keep)?;
        let mut runs = whole();
        let snapshot = runs.publish(committed)?;
        if let Err(e) = self.finish_within(None, &mut runs) {
            // The tables are there, so the run did not fail. Its lock stays, by which the next one finds out.
            runs.end(&self.file);
            tracing::warn!(error = %e, "the tables are published, and the ledger does not say so until the next run begins");
        }
        Ok(snapshot)
    }

    /// Notes how the whole run ended. On failure, the stage that was running failed too.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(&mut self, failure: Option<&Error>) -> Result<()> {
        self.finish_within(failure, &mut whole())
    }

    fn finish_within(&mut self, failure: Option<&Error>, runs: &mut Runs) -> Result<()> {
        let message = failure.map(|e| hidden(&e.to_string()).into_owned());
        let status = match failure {
            None => Status::Done,
            Some(_) => Status::Failed,
        };
        self.close(status, Some(Utc::now()), message.as_deref());
        self.write(runs)?;
        runs.end(&self.file);
        self.alive.take().map_or(Ok(()), Alive::end)
    }

    /// Closes what is still under way; without an end what another process left so.
    pub(super) fn close(
        &mut self,
        status: Status,
        ended_at: Option<DateTime<Utc>>,
        message: Option<&str>,
    ) {
        for entry in &mut self.entries {
            if entry.status == Status::Started {
                entry.close(status, ended_at);
                entry.message = message.map(str::to_string);
            }
        }
    }

    /// Writes the file anew, in one step.
    pub(super) fn write(&self, _whole: &Runs) -> Result<()> {
        write(&self.file, std::slice::from_ref(self))
    }

    fn batch(&self) -> Result<RecordBatch> {
        let text = |f: &dyn Fn(&Entry) -> Option<String>| -> ArrayRef {
            Arc::new(self.entries.iter().map(f).collect::<StringViewArray>())
        };
        let number = |f: &dyn Fn(&Entry) -> Option<u64>| -> ArrayRef {
            let values = self
                .entries
                .iter()
                .map(|e| f(e).and_then(|n| i64::try_from(n).ok()));
            Arc::new(values.collect::<Int64Array>())
        };
        let time = |f: &dyn Fn(&Entry) -> Option<DateTime<Utc>>| -> ArrayRef {
            let values = self
                .entries
                .iter()
                .map(|e| f(e).map(|t| t.timestamp_micros()));
            Arc::new(
                values
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            )
        };
        let days = arrow::datatypes::Date32Type::from_naive_date(self.date);
        let ds = Date32Array::from_iter_values(self.entries.iter().map(|_| days));
        let seconds: Float64Array = self.entries.iter().map(Entry::seconds).collect();
        let cpu: Float64Array = self.entries.iter().map(|e| e.cpu_seconds).collect();
        Ok(RecordBatch::try_from_iter([
            ("run_id", text(&|_| Some(self.run_id.clone()))),
            ("ds", Arc::new(ds) as ArrayRef),
            ("stage", text(&|e| Some(e.stage.clone()))),
            ("status", text(&|e| Some(e.status.as_str().to_string()))),
            ("started_at", time(&|e| Some(e.started_at))),
            ("ended_at", time(&|e| e.ended_at)),
            ("seconds", Arc::new(seconds)),
            ("rows", number(&|e| e.rows)),
            ("rows_read", number(&|e| e.read.map(|read| read.rows))),
            ("bytes_read", number(&|e| e.read.map(|read| read.bytes))),
            ("peak_rss_bytes", number(&|e| e.peak_rss)),
            ("cpu_seconds", Arc::new(cpu)),
            ("spilled_bytes", number(&|e| e.spilled)),
            ("warnings", text(&|e| e.warnings.clone())),
            ("device", text(&|_| Some(self.device.clone()))),
            ("message", text(&|e| e.message.clone())),
            ("version", text(&|_| Some(self.version.clone()))),
            ("fingerprint", text(&|_| self.fingerprint.clone())),
        ])?)
    }
}

/// Writes ledgers, which are in the order of their ids, into a file, in one step.
pub(super) fn write(file: &Path, ledgers: &[Ledger]) -> Result<()> {
    let table = table("runs").ok_or_else(|| Error::unexpected("no table runs"))?;
    let new = file.with_extension("new");
    let mut writer = TableWriter::create(table, &new)?;
    for ledger in ledgers {
        writer.write(&ledger.batch()?)?;
    }
    writer.finish()?;
    std::fs::rename(&new, file).map_err(|e| Error::io("cannot replace", file, &e))
}

fn no_ledger(file: &Path, what: &str) -> Error {
    Error::contract(format!("{}: {what}: this is no ledger", file.display()))
}

/// The ledger of a run.
pub(super) fn file_of(warehouse: &Warehouse, run_id: &str) -> PathBuf {
    warehouse.runs().join(format!("{run_id}.parquet"))
}

/// The lock beside a ledger.
pub(super) fn lock_of(ledger: &Path) -> PathBuf {
    ledger.with_extension("lock")
}

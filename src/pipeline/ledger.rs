//! The ledger of runs: one small Parquet file per run, written when it starts, again after each stage, and when it ends.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, NaiveDate, Utc};

use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, Warehouse, table};

/// One stage of a run, or the whole (`run`).
#[derive(Debug, Clone)]
pub struct Entry {
    /// Stage, or `run`.
    pub stage: String,
    /// started, done or failed.
    pub status: &'static str,
    /// Wall clock.
    pub started_at: DateTime<Utc>,
    /// Wall clock.
    pub ended_at: Option<DateTime<Utc>>,
    /// Rows written.
    pub rows: Option<u64>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_rss: Option<u64>,
    /// What it did, or why it failed.
    pub message: Option<String>,
}

impl Entry {
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
    date: NaiveDate,
    device: String,
    file: PathBuf,
    /// The whole run first, then its stages.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Starts the ledger of a run and writes its first row.
    ///
    /// # Errors
    /// Those of writing.
    pub fn start(warehouse: &Warehouse, date: NaiveDate, device: &str) -> Result<Self> {
        let now = Utc::now();
        let run_id = format!("{}-{}", now.format("%Y%m%dT%H%M%S%3fZ"), std::process::id());
        let file = warehouse.runs().join(format!("{run_id}.parquet"));
        let mut ledger = Ledger {
            run_id,
            date,
            device: device.to_string(),
            file,
            entries: vec![],
        };
        ledger.begin("run")?;
        Ok(ledger)
    }

    /// Notes that a stage starts.
    ///
    /// # Errors
    /// Those of writing.
    pub fn begin(&mut self, stage: &str) -> Result<()> {
        self.entries.push(Entry {
            stage: stage.to_string(),
            status: "started",
            started_at: Utc::now(),
            ended_at: None,
            rows: None,
            peak_rss: None,
            message: None,
        });
        self.write()
    }

    /// Notes how the newest stage ended.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(&mut self, rows: Option<u64>, message: String) -> Result<()> {
        if let Some(entry) = self.entries.last_mut() {
            close(entry, "done", rows, Some(message));
        }
        self.write()
    }

    /// Notes how the whole run ended. On failure, the stage that was running failed too.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(&mut self, failure: Option<&Error>) -> Result<()> {
        let message = failure.map(ToString::to_string);
        let status = if failure.is_some() { "failed" } else { "done" };
        for entry in &mut self.entries {
            if entry.status == "started" {
                close(entry, status, None, message.clone());
            }
        }
        self.write()
    }

    /// Writes the file anew, in one step.
    fn write(&self) -> Result<()> {
        let table = table("runs").ok_or_else(|| Error::unexpected("no table runs"))?;
        let new = self.file.with_extension("new");
        let mut writer = TableWriter::create(table, &new)?;
        writer.write(&self.batch()?)?;
        writer.finish()?;
        std::fs::rename(&new, &self.file).map_err(|e| Error::io("cannot replace", &self.file, &e))
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
        Ok(RecordBatch::try_from_iter([
            ("run_id", text(&|_| Some(self.run_id.clone()))),
            ("ds", Arc::new(ds) as ArrayRef),
            ("stage", text(&|e| Some(e.stage.clone()))),
            ("status", text(&|e| Some(e.status.to_string()))),
            ("started_at", time(&|e| Some(e.started_at))),
            ("ended_at", time(&|e| e.ended_at)),
            ("seconds", Arc::new(seconds)),
            ("rows", number(&|e| e.rows)),
            ("peak_rss_bytes", number(&|e| e.peak_rss)),
            ("device", text(&|_| Some(self.device.clone()))),
            ("message", text(&|e| e.message.clone())),
            (
                "version",
                text(&|_| Some(env!("CARGO_PKG_VERSION").to_string())),
            ),
        ])?)
    }
}

fn close(entry: &mut Entry, status: &'static str, rows: Option<u64>, message: Option<String>) {
    entry.status = status;
    entry.ended_at = Some(Utc::now());
    entry.rows = rows;
    entry.peak_rss = peak_rss();
    entry.message = message;
}

/// Peak resident memory of this process in bytes, where the system tells.
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// CPU time of this process so far in nanoseconds, where the system tells.
pub fn cpu_ns() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold blanks; it ends with the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Linux counts these in hundredths of a second on every common system.
    Some((user + system) * 10_000_000)
}

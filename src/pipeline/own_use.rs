//! What a run's own computing used, as rows of `usage`, so that the bill for the machine it runs on is attributed like any
//! other.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use chrono::{DateTime, TimeDelta, Utc};

use crate::compute::Device;
use crate::disk::make_dir;
use crate::error::{Error, Result};
use crate::warehouse::store::partition_dir;
use crate::warehouse::{TableWriter, table};

/// Start of the names of the files in `usage` that runs write about themselves.
pub const OWN_USE: &str = "recost-run";

/// Who computed, for what, on which machine.
pub struct Account<'a> {
    /// The machine, as the bill names it.
    pub resource_id: &'a str,
    /// Version that it was for: the night.
    pub version: &'a str,
    /// Stage of the model's life.
    pub stage: &'a str,
    /// Id of the run.
    pub run_id: &'a str,
}

/// What was used for a model.
#[derive(Debug, Clone, Copy)]
pub struct Spent<'a> {
    /// The model's id.
    pub model_id: &'a str,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Seconds of the device.
    pub seconds: f64,
    /// CPU time.
    pub cpu_ns: i64,
}

impl Account<'_> {
    /// Writes a file of `usage` below `snapshot`, in the partition of the first row's start; nothing where there is no row.
    ///
    /// # Errors
    /// Those of writing.
    pub fn record(&self, snapshot: &Path, device: &dyn Device, spent: &[Spent<'_>]) -> Result<()> {
        let Some(first) = spent.first() else {
            return Ok(());
        };
        let usage = table("usage").ok_or_else(|| Error::unexpected("no table usage"))?;
        let dir = partition_dir(snapshot, usage, &first.started.date_naive().to_string());
        make_dir(&dir)?;
        let path = dir.join(format!("{OWN_USE}.{}.{}.parquet", self.run_id, self.stage));
        let same = |text: &str| -> ArrayRef {
            Arc::new(
                spent
                    .iter()
                    .map(|_| Some(text))
                    .collect::<StringViewArray>(),
            )
        };
        let number = |f: &dyn Fn(&Spent<'_>) -> Option<i64>| -> ArrayRef {
            Arc::new(spent.iter().map(f).collect::<Int64Array>())
        };
        let time = |f: &dyn Fn(&Spent<'_>) -> DateTime<Utc>| -> ArrayRef {
            let micros = spent.iter().map(|s| f(s).timestamp_micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
        };
        let ids: StringViewArray = spent.iter().map(|s| Some(s.model_id)).collect();
        let gpu = device.info().kind.is_gpu();
        let least = TimeDelta::microseconds(1);
        let mut writer = TableWriter::create(usage, &path)?;
        writer.write(&RecordBatch::try_from_iter([
            ("usage_start", time(&|s| s.started)),
            ("usage_end", time(&|s| s.ended.max(s.started + least))),
            ("resource_id", same(self.resource_id)),
            ("model_id", Arc::new(ids) as ArrayRef),
            ("model_version", same(self.version)),
            ("stage", same(self.stage)),
            ("run_id", same(self.run_id)),
            (
                "gpu_ns",
                number(&|s| gpu.then_some((s.seconds * 1e9) as i64)),
            ),
            ("cpu_ns", number(&|s| Some(s.cpu_ns))),
            ("bytes", number(&|_| None)),
            ("requests", number(&|_| None)),
            ("reserved_ns", number(&|_| None)),
            ("capacity_ns", number(&|_| None)),
        ])?)?;
        writer.finish()?;
        Ok(())
    }
}

//! Writes the rows of one source file to the partitions they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;

use crate::disk::make_dir;
use crate::error::{Error, Result};
use crate::warehouse::store::partition_dir;
use crate::warehouse::{Table, TableWriter, table};

/// Files open at once for one source file; rows come mostly in order of time, so few are needed.
const OPEN_FILES: usize = 32;

/// How the partition of a row is found.
#[derive(Debug, Clone)]
pub enum Target {
    /// All rows belong to one partition.
    Fixed(String),
    /// The day of this timestamp column.
    DayOf(&'static str),
    /// The month of this timestamp column.
    MonthOf(&'static str),
    /// The billing period of a charge.
    BillingPeriod {
        /// Rows of these periods go to `late_charges` instead.
        closed: Arc<BTreeSet<String>>,
        /// Rows of these are in `charges`, where the period was closed with them, and are not written again.
        there: BTreeSet<String>,
    },
}

/// A writer of one source file's rows.
pub struct PartitionedWriter {
    table: &'static Table,
    snapshot: PathBuf,
    target: Target,
    /// Start of the names of the files written.
    stem: String,
    open: BTreeMap<String, TableWriter>,
    written: BTreeMap<String, Vec<PathBuf>>,
}

impl PartitionedWriter {
    /// A writer below `snapshot` whose files are named `<stem>.<n>.parquet`.
    pub fn new(table: &'static Table, snapshot: &Path, target: Target, stem: String) -> Self {
        PartitionedWriter {
            table,
            snapshot: snapshot.to_path_buf(),
            target,
            stem,
            open: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// Those of the file system and of the table's contract.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (column, format) = match &self.target {
            Target::Fixed(value) => {
                let value = value.clone();
                return self.writer(value)?.write(batch);
            }
            Target::DayOf(column) => (*column, "%Y-%m-%d"),
            Target::MonthOf(column) => (*column, "%Y-%m"),
            Target::BillingPeriod { .. } => ("billing_period_start", "%Y-%m"),
        };
        let times: ArrayRef = batch
            .column_by_name(column)
            .cloned()
            .ok_or_else(|| Error::unexpected(format!("no column {column} to partition by")))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut rows: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        // Neighbours mostly share their day, so its text is kept.
        let mut last: Option<(i64, String)> = None;
        for row in 0..times.len() {
            let day = times.value(row).div_euclid(86_400_000_000);
            let value = match &last {
                Some((d, value)) if *d == day => value.clone(),
                _ => DateTime::from_timestamp_micros(times.value(row))
                    .map(|t| t.format(format).to_string())
                    .ok_or_else(|| {
                        Error::unexpected("a timestamp out of range reached the writer")
                    })?,
            };
            last = Some((day, value.clone()));
            rows.entry(value)
                .or_insert_with(|| vec![false; times.len()])[row] = true;
        }
        for (value, mask) in rows {
            if matches!(&self.target, Target::BillingPeriod { there, .. } if there.contains(&value))
            {
                self.written.entry(value).or_default();
                continue;
            }
            let part = filter_record_batch(batch, &BooleanArray::from(mask))?;
            self.writer(value)?.write(&part)?;
        }
        Ok(())
    }

    fn writer(&mut self, value: String) -> Result<&mut TableWriter> {
        if !self.open.contains_key(&value) {
            if self.open.len() >= OPEN_FILES {
                self.close_all()?;
            }
            let written = self.written.entry(value.clone()).or_default();
            let table = match &self.target {
                Target::BillingPeriod { closed, .. } if closed.contains(&value) => {
                    table("late_charges")
                        .ok_or_else(|| Error::unexpected("no table late_charges"))?
                }
                _ => self.table,
            };
            let dir = partition_dir(&self.snapshot, table, &value);
            make_dir(&dir)?;
            let path = dir.join(format!("{}.{:03}.parquet", self.stem, written.len()));
            written.push(path.clone());
            let writer = TableWriter::create(table, &path)?;
            self.open.insert(value.clone(), writer);
        }
        self.open
            .get_mut(&value)
            .ok_or_else(|| Error::unexpected("a writer went missing"))
    }

    fn close_all(&mut self) -> Result<()> {
        for (_, writer) in std::mem::take(&mut self.open) {
            writer.finish()?;
        }
        Ok(())
    }

    /// Ends all files. Returns the partitions written to, with the files of each in order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        self.close_all()?;
        Ok(self.written)
    }
}

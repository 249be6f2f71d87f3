//! Rejected rows: why, where, and as they were delivered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringViewArray};
use chrono::NaiveDate;

use super::reader::{SourceFile, WHOLE_ROW};
use crate::disk::make_dir;
use crate::error::{Error, Result};
use crate::privacy::Guard;
use crate::warehouse::store::partition_dir;
use crate::warehouse::{TableWriter, Type, table};

/// A row that was rejected.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Row number in the file, from 1.
    pub row: i64,
    /// Column that is wrong.
    pub column: String,
    /// What is wrong.
    pub reason: String,
    /// For charges: what the row says of its amounts.
    pub amounts: Option<Amounts>,
}

/// What a rejected charge says of its amounts, as far as it can be read.
#[derive(Debug, Clone, Default)]
pub struct Amounts {
    /// Currency, as delivered.
    pub currency: Option<String>,
    /// Billed cost, as delivered.
    pub raw_billed: Option<String>,
    /// Effective cost, as delivered.
    pub raw_effective: Option<String>,
    /// Billed cost in units of 10⁻¹⁸.
    pub billed: Option<i128>,
    /// Effective cost in units of 10⁻¹⁸.
    pub effective: Option<i128>,
}

impl Rejected {
    /// A rejected row without amounts.
    pub fn new(row: i64, column: String, reason: String) -> Self {
        Rejected {
            row,
            column,
            reason,
            amounts: None,
        }
    }
}

/// The rejected rows of one delivery.
pub struct Rejects<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Kind of the source.
    pub kind: &'a str,
    /// Interval of the delivery.
    pub interval: &'a str,
    /// Id of the delivery.
    pub delivery_id: &'a str,
    /// Partition of the quarantine.
    pub day: NaiveDate,
    /// Of people who have pseudonyms: what gives them.
    pub guard: Option<&'a Guard>,
    /// The files and what was rejected of each, in order.
    pub files: Vec<(Arc<SourceFile>, Vec<Rejected>)>,
}

impl Rejects<'_> {
    /// Rows rejected.
    pub fn len(&self) -> usize {
        self.files.iter().map(|(_, r)| r.len()).sum()
    }

    /// Counts by column and reason, most frequent first, and the first row of each, for messages.
    pub fn describe(&self) -> String {
        let mut reasons: BTreeMap<(&str, &str), (usize, String)> = BTreeMap::new();
        for (file, rejected) in &self.files {
            for r in rejected {
                reasons
                    .entry((&r.column, &r.reason))
                    .or_insert_with(|| (0, format!("{} row {}", file.input.path.display(), r.row)))
                    .0 += 1;
            }
        }
        let mut lines: Vec<_> = reasons.into_iter().collect();
        lines.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let more = lines.len().saturating_sub(5);
        let mut text: Vec<String> = lines
            .into_iter()
            .take(5)
            .map(|((column, reason), (count, first))| {
                format!("  {count} × column {column} {reason} (first: {first})")
            })
            .collect();
        if more > 0 {
            text.push(format!("  and {more} further reasons"));
        }
        text.join("\n")
    }

    /// Writes the rows, each as it was delivered, to the quarantine of the snapshot. `stem` starts the file's name.
    ///
    /// # Errors
    /// Those of reading the rows again and of writing.
    pub fn write(&mut self, snapshot: &Path, stem: &str) -> Result<()> {
        if self.len() == 0 {
            return Ok(());
        }
        let table = table("quarantine").ok_or_else(|| Error::unexpected("no table quarantine"))?;
        let dir = partition_dir(snapshot, table, &self.day.to_string());
        make_dir(&dir)?;
        let mut writer = TableWriter::create(table, &dir.join(format!("{stem}.parquet")))?;
        let (source, kind, interval) = (self.source, self.kind, self.interval);
        let delivery = self.delivery_id;
        self.files
            .sort_by(|(a, _), (b, _)| a.input.name.cmp(&b.input.name));
        for (file, rejected) in &mut self.files {
            rejected.sort_by(|a, b| (a.row, &a.column).cmp(&(b.row, &b.column)));
            let mut numbers: Vec<i64> = rejected.iter().map(|r| r.row).collect();
            numbers.dedup();
            let mut raw = file.raw(&numbers)?;
            if let Some(guard) = self.guard {
                for r in rejected.iter() {
                    // Of a row of another width it is not known which field is which.
                    let shifted = r.column == WHOLE_ROW;
                    if let Some(text) = raw.get_mut(&r.row) {
                        *text = guard.raw(text, shifted);
                    }
                }
            }
            let text = |f: &dyn Fn(&Rejected) -> Option<String>| -> ArrayRef {
                Arc::new(rejected.iter().map(f).collect::<StringViewArray>())
            };
            let money = |f: &dyn Fn(&Amounts) -> Option<i128>| -> ArrayRef {
                let array: Decimal128Array = rejected
                    .iter()
                    .map(|r| r.amounts.as_ref().and_then(f))
                    .collect();
                Arc::new(array.with_data_type(Type::Money.arrow()))
            };
            let of = |f: fn(&Amounts) -> &Option<String>| {
                text(&move |r| r.amounts.as_ref().and_then(|a| f(a).clone()))
            };
            let rows: Int64Array = rejected.iter().map(|r| Some(r.row)).collect();
            writer.write(&RecordBatch::try_from_iter([
                ("source", text(&|_| Some(source.to_string()))),
                ("kind", text(&|_| Some(kind.to_string()))),
                ("interval", text(&|_| Some(interval.to_string()))),
                ("delivery_id", text(&|_| Some(delivery.to_string()))),
                ("file", text(&|_| Some(file.input.name.clone()))),
                ("row", Arc::new(rows) as ArrayRef),
                ("column", text(&|r| Some(r.column.clone()))),
                ("reason", text(&|r| Some(r.reason.clone()))),
                (
                    "raw",
                    text(&|r| Some(raw.get(&r.row).cloned().unwrap_or_default())),
                ),
                ("currency", of(|a| &a.currency)),
                ("raw_billed", of(|a| &a.raw_billed)),
                ("raw_effective", of(|a| &a.raw_effective)),
                ("billed", money(&|a| a.billed)),
                ("effective", money(&|a| a.effective)),
            ])?)?;
        }
        writer.finish()?;
        Ok(())
    }
}

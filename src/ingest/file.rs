//! Ingests one source file: mapping, conversion, checks, and the rows on to their partitions.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::compute::{cast, filter, filter_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use chrono::NaiveDate;
use futures::StreamExt;

use super::convert::convert;
use super::dedupe::{self, Held};
use super::ids::{Ids, Known};
use super::late::Late;
use super::mapping::Mapping;
use super::oddities::Oddities;
use super::partitions::{PartitionedWriter, Target};
use super::quarantine::Rejected;
use super::reader::{PART, REJECT, ROW, SourceFile};
use super::rules::{self, Limits};
use super::seen::Seen;
use super::sums::Sums;
use crate::engine::{Engine, to_text};
use crate::error::{Error, Result};
use crate::privacy::Guard;

/// What is to be done with one file.
pub struct FileJob {
    /// The mapping.
    pub mapping: Arc<Mapping>,
    /// What stands between people and the tables.
    pub guard: Arc<Guard>,
    /// The file.
    pub file: Arc<SourceFile>,
    /// Place of the file in (interval, file) order over all files of the kind.
    pub ordinal: usize,
    /// Name of the source.
    pub source: String,
    /// Id of the delivery.
    pub delivery_id: String,
    /// The interval that the delivery is for.
    pub interval: String,
    /// The file or manifest that the delivery is known by, of an export whose deliveries add up.
    pub name: String,
    /// Column that must not repeat, and its scope.
    pub key: Option<(&'static str, u64)>,
    /// Partition of the rows.
    pub target: Target,
    /// Start of the names of the files written.
    pub stem: String,
    /// Instants from here on have not happened yet (µs); such rows are rejected.
    pub not_after_us: i64,
    /// Rows from here on belong to later nights (µs of `event_time`) and are left for them.
    pub later_us: Option<i64>,
    /// Events before this are late (µs).
    pub late_before_us: Option<i64>,
    /// Billing periods that start elsewhere belong to other intervals (µs).
    pub only_us: Option<Range<i64>>,
    /// First day of the month that is ingested, of sources by month or by day.
    pub month: Option<NaiveDate>,
}

/// What became of one file.
#[derive(Debug, Default)]
pub struct FileOutcome {
    /// Rows written.
    pub rows_out: u64,
    /// Charges that the mapping made of a row besides its first one.
    pub rows_further: u64,
    /// What is worth a look in a bill.
    pub oddities: Oddities,
    /// What a bill adds up to.
    pub sums: Sums,
    /// Rows that belong to later nights.
    pub rows_later: u64,
    /// Rows written that happened before the day of their export.
    pub late: Late,
    /// Partitions written to.
    pub partitions: Vec<String>,
    /// Rows rejected.
    pub rejected: Vec<Rejected>,
    /// Rows whose key may repeat.
    pub held: Option<Held>,
    /// Of charges: the rows that have ids.
    pub known: Known,
    /// The files written, in order.
    pub written: Vec<PathBuf>,
}

impl FileJob {
    /// Adds the hash of every key of the file.
    ///
    /// # Errors
    /// Those of reading, mapping and spilling.
    pub async fn keys(
        &self,
        engine: &Engine,
        (column, scope): (&str, u64),
        seen: &Mutex<Seen>,
    ) -> Result<()> {
        let planned = self.mapping.plan(engine, &self.file).await?;
        let watched = self.guard.watches(self.mapping.table);
        let mut columns = vec![column];
        columns.extend(Some("user_id").filter(|user| watched && *user != column));
        let mut stream = planned
            .frame
            .select_columns(&columns)?
            .execute_stream()
            .await?;
        while let Some(batch) = stream.next().await {
            let mut batch = batch?;
            if watched {
                batch = self.guard.pseudonymised(&batch)?;
            }
            let keys = cast(batch.column(0), &DataType::Utf8View)?;
            let keys = keys.as_string_view();
            let hashes: Vec<u64> = keys
                .iter()
                .flatten()
                .map(|k| dedupe::hash(k, scope))
                .collect();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.add(hashes.into_iter())?;
        }
        Ok(())
    }

    /// Ingests the file, setting aside rows whose key hash is among `repeated`.
    ///
    /// # Errors
    /// Those of reading, mapping and writing.
    pub async fn run(
        &self,
        engine: &Engine,
        snapshot: &Path,
        repeated: &HashSet<u64>,
    ) -> Result<FileOutcome> {
        let mut writer = PartitionedWriter::new(
            self.mapping.table,
            snapshot,
            self.target.clone(),
            self.stem.clone(),
        );
        let mut held = vec![];
        let (mut late, mut out) = (Late::default(), 0);
        let table = self.mapping.table;
        let mut ids = table.column("row_id").map(|_| {
            Ids::new(table, &self.source, &self.interval, &self.name)
                .counted(engine.hold("ids of charges"))
        });
        let mut outcome = self
            .each(engine, &mut |rows| {
                let rows = match self.key {
                    Some((column, scope)) => {
                        let (rows, aside) = dedupe::set_aside(&rows, column, scope, repeated)?;
                        held.extend(aside);
                        rows
                    }
                    None => rows,
                };
                let rows = match &mut ids {
                    Some(ids) => ids.give(&rows)?,
                    None => rows,
                };
                late.add(self.late(&rows));
                out += rows.num_rows() as u64;
                writer.write(&rows)
            })
            .await?;
        outcome.late = late;
        outcome.rows_out = out;
        outcome.known = ids.map(Ids::finish).unwrap_or_default();
        for (partition, files) in writer.finish()? {
            outcome.partitions.push(partition);
            outcome.written.extend(files);
        }
        if let (Some((_, scope)), Some(rows)) = (self.key, dedupe::concat(&held)?) {
            outcome.held = Some(Held {
                scope,
                file: self.ordinal,
                rows,
            });
        }
        self.file.input.check_unchanged()?;
        Ok(outcome)
    }

    /// Reads the file without writing, for what it holds.
    ///
    /// # Errors
    /// Those of reading and mapping.
    pub async fn measure(&self, engine: &Engine) -> Result<FileOutcome> {
        self.each(engine, &mut |_| Ok(())).await
    }

    /// Passes the rows that are right to `visit`, batch by batch.
    async fn each(
        &self,
        engine: &Engine,
        visit: &mut (dyn FnMut(RecordBatch) -> Result<()> + Send),
    ) -> Result<FileOutcome> {
        let planned = self.mapping.plan(engine, &self.file).await?;
        let mut stream = planned.frame.execute_stream().await?;
        let mut outcome = FileOutcome::default();
        let mut defects = BTreeMap::new();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            defects.extend(self.file.take_defects());
            visit(self.clean(&batch, &mut defects, &mut outcome)?)?;
        }
        defects.extend(self.file.take_defects());
        for (row, (column, reason)) in defects {
            outcome.rejected.push(Rejected::new(row, column, reason));
        }
        if self.guard.key_id(self.mapping.table).is_some() {
            for rejected in &mut outcome.rejected {
                rejected.reason = self.guard.reason(&rejected.reason);
            }
        }
        if self.mapping.table.name == "charges" {
            for rejected in &outcome.rejected {
                outcome.sums.reject(rejected)?;
            }
        }
        Ok(outcome)
    }

    /// Writes rows that were set aside and stay.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_held(&self, snapshot: &Path, rows: &RecordBatch) -> Result<Vec<String>> {
        let stem = format!("{}.held", self.stem);
        let mut writer =
            PartitionedWriter::new(self.mapping.table, snapshot, self.target.clone(), stem);
        writer.write(rows)?;
        Ok(writer.finish()?.into_keys().collect())
    }

    /// Rows that happened before the day of their export.
    pub fn late(&self, rows: &RecordBatch) -> Late {
        let times = rows.column_by_name("event_time");
        match self.late_before_us.zip(times) {
            Some((before, times)) => {
                let times = times.as_primitive::<TimestampMicrosecondType>();
                Late::of(times.values(), before)
            }
            None => Late::default(),
        }
    }

    /// Converts a batch of the mapping to the contract's columns, without the rows that are rejected or belong to later
    /// nights.
    fn clean(
        &self,
        batch: &RecordBatch,
        defects: &mut BTreeMap<i64, super::reader::Defect>,
        outcome: &mut FileOutcome,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let table = self.mapping.table;
        let numbers = batch
            .column_by_name(ROW)
            .ok_or_else(|| Error::unexpected("the row number went missing"))?;
        let numbers = cast(numbers, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        let parts = match batch.column_by_name(PART) {
            Some(parts) if table.name == "charges" => {
                let parts = cast(parts, &DataType::Int32)?;
                Some(parts.as_primitive::<Int32Type>().clone())
            }
            _ => None,
        };
        outcome.rows_further += parts
            .iter()
            .flat_map(|p| p.iter().flatten())
            .filter(|p| *p > 0)
            .count() as u64;
        let mut bad = vec![false; rows];
        let mut rejects: Vec<(usize, String, String)> = vec![];
        if !defects.is_empty() {
            for (row, (number, bad)) in numbers.values().iter().zip(&mut bad).enumerate() {
                if let Some((column, reason)) = defects.remove(number) {
                    *bad = true;
                    rejects.push((row, column, reason));
                }
            }
        }

        if let Some(reasons) = batch.column_by_name(REJECT) {
            let reasons = to_text(reasons)?;
            for (row, reason) in reasons.as_string_view().iter().enumerate() {
                let Some(reason) = reason else { continue };
                if !std::mem::replace(&mut bad[row], true) {
                    let (column, reason) = reason.split_once(' ').unwrap_or((reason, "is wrong"));
                    rejects.push((row, column.to_string(), reason.to_string()));
                }
            }
        }

        let mut names = vec![];
        let mut columns: Vec<ArrayRef> = vec![];
        for column in self.mapping.given() {
            names.push(column.name);
            let Some(given) = batch.column_by_name(column.name) else {
                columns.push(arrow::array::new_null_array(&column.ty.arrow(), rows));
                continue;
            };
            let converted = convert(given, column.ty)?;
            for (row, reason) in converted.bad {
                if !std::mem::replace(&mut bad[row], true) {
                    rejects.push((row, column.name.to_string(), reason));
                }
            }
            columns.push(converted.array);
            let rounding = match column.name {
                "billed_cost" => "billed_rounding",
                "effective_cost" => "effective_rounding",
                _ => continue,
            };
            if table.column(rounding).is_some() {
                names.push(rounding);
                columns.push(converted.residue.unwrap_or_else(|| {
                    arrow::array::new_null_array(&crate::warehouse::Type::Residue.arrow(), rows)
                }));
            }
        }
        let fields: Vec<_> = names
            .iter()
            .zip(&columns)
            .map(|(n, c)| arrow::datatypes::Field::new(*n, c.data_type().clone(), true))
            .collect();
        let mut typed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let theirs = if self.guard.watches(table) {
            let theirs = self.guard.forgotten(&typed)?;
            typed = self.guard.pseudonymised(&typed)?;
            Some(theirs)
        } else {
            None
        };

        let limits = Limits {
            not_after_us: self.not_after_us,
        };
        for (row, column, reason) in rules::broken(&typed, table, limits, &bad) {
            bad[row] = true;
            rejects.push((row, column.to_string(), reason));
        }
        // Of who is forgotten the quarantine keeps nothing.
        rejects.retain(|(row, ..)| !theirs.as_ref().is_some_and(|t| t.value(*row)));
        let starts = typed.column_by_name("billing_period_start");
        let starts = starts.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let elsewhere = |row: usize| match (&self.only_us, starts) {
            (Some(only), Some(starts)) => {
                starts.is_valid(row) && !only.contains(&starts.value(row))
            }
            _ => false,
        };
        rejects.retain(|(row, ..)| !elsewhere(*row));
        for (row, column, reason) in rejects {
            let mut rejected = Rejected::new(numbers.value(row), column, reason);
            if table.name == "charges" {
                rejected.amounts = Some(amounts(batch, &typed, row)?);
            }
            outcome.rejected.push(rejected);
        }

        let mut keep: Vec<bool> = bad.iter().map(|b| !b).collect();
        if let (Some(later), Some(times)) = (self.later_us, typed.column_by_name("event_time")) {
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for (row, keep) in keep.iter_mut().enumerate() {
                if *keep && times.value(row) >= later {
                    *keep = false;
                    outcome.rows_later += 1;
                }
            }
        }
        for (row, keep) in keep.iter_mut().enumerate() {
            *keep &= !elsewhere(row);
        }
        let all_kept = keep.iter().all(|k| *k);
        let full = self.filled(typed, numbers, parts)?;
        let keep = BooleanArray::from(keep);
        let mut kept = if all_kept {
            full
        } else {
            filter_record_batch(&full, &keep)?
        };
        if let Some(theirs) = theirs {
            let theirs = filter(&theirs, &keep)?;
            kept = self.guard.without(table, kept, theirs.as_boolean())?;
        }
        if table.name == "charges" {
            outcome.oddities.look(&kept);
            outcome.sums.look(&kept)?;
        }
        Ok(kept)
    }

    /// The batch with the columns of `charges` and `invoices` that ingest fills.
    fn filled(
        &self,
        typed: RecordBatch,
        numbers: &Int64Array,
        parts: Option<Int32Array>,
    ) -> Result<RecordBatch> {
        if !self.mapping.fills() {
            return Ok(typed);
        }
        let rows = typed.num_rows();
        let repeat = |text: &str| -> ArrayRef {
            Arc::new((0..rows).map(|_| Some(text)).collect::<StringViewArray>())
        };
        let whole = || arrow::array::new_null_array(&DataType::Int32, rows);
        let filled: [(&str, ArrayRef); 5] = [
            ("delivery_id", repeat(&self.delivery_id)),
            ("source", repeat(&self.source)),
            ("file", repeat(&self.file.input.name)),
            ("row", Arc::new(numbers.clone())),
            ("part", parts.map_or_else(whole, |p| Arc::new(p) as _)),
        ];
        let mut fields: Vec<_> = typed.schema().fields().iter().cloned().collect();
        let mut columns = typed.columns().to_vec();
        let wanted = |name: &str| self.mapping.table.column(name).is_some();
        for (name, column) in filled.into_iter().filter(|(name, _)| wanted(name)) {
            fields.push(Arc::new(arrow::datatypes::Field::new(
                name,
                column.data_type().clone(),
                name == "part",
            )));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }
}

/// What a rejected charge says of its amounts.
fn amounts(
    given: &RecordBatch,
    typed: &RecordBatch,
    row: usize,
) -> Result<super::quarantine::Amounts> {
    let text = |name: &str| -> Result<Option<String>> {
        let Some(column) = given.column_by_name(name) else {
            return Ok(None);
        };
        let column = to_text(&column.slice(row, 1))?;
        let column = column.as_string_view();
        Ok(column.is_valid(0).then(|| column.value(0).to_string()))
    };
    let money = |name: &str| {
        typed.column_by_name(name).and_then(|c| {
            let c = c.as_primitive::<arrow::datatypes::Decimal128Type>();
            c.is_valid(row).then(|| c.value(row))
        })
    };
    Ok(super::quarantine::Amounts {
        currency: text("billing_currency")?,
        raw_billed: text("billed_cost")?,
        raw_effective: text("effective_cost")?,
        billed: money("billed_cost"),
        effective: money("effective_cost"),
    })
}

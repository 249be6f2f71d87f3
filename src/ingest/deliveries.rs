//! The table `deliveries`: which interval of which source is in the warehouse, in which version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, ListBuilder, RecordBatch, StringBuilder, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, table};

/// One interval of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub source: String,
    pub kind: String,
    pub interval: String,
    pub partitions: Vec<String>,
    pub delivery_id: String,
    pub files: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_skipped: u64,
    pub rows_duplicate: u64,
    pub rows_late: u64,
    pub rows_quarantined: u64,
}

impl Row {
    /// A row without counts.
    pub fn of(source: &str, kind: &str, interval: &str, delivery_id: &str) -> Self {
        Row {
            source: source.into(),
            kind: kind.into(),
            interval: interval.into(),
            delivery_id: delivery_id.into(),
            ..Row::default()
        }
    }
}

/// The billing periods that are closed.
///
/// # Errors
/// Those of the query.
pub async fn closed(engine: &Engine) -> Result<BTreeSet<String>> {
    let found = engine.collect("select billing_period from closes").await?;
    Ok(map(&found, |row| row.needed("billing_period"))?
        .into_iter()
        .collect())
}

/// The whole table.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: BTreeMap<(String, String), Row>,
}

impl Ledger {
    /// Reads the published table.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn read(engine: &Engine) -> Result<Self> {
        let mut ledger = Ledger::default();
        for batch in engine.collect("select * from deliveries").await? {
            let text = |name: &str| -> Result<StringViewArray> {
                Ok(cast(column(&batch, name)?, &DataType::Utf8View)?
                    .as_string_view()
                    .clone())
            };
            let number = |name: &str| -> Result<Int64Array> {
                Ok(cast(column(&batch, name)?, &DataType::Int64)?
                    .as_primitive::<Int64Type>()
                    .clone())
            };
            let (source, kind, interval) = (text("source")?, text("kind")?, text("interval")?);
            let delivery_id = text("delivery_id")?;
            let partitions = column(&batch, "partitions")?.as_list::<i32>().clone();
            let counts = ["files", "rows_in", "rows_out", "rows_skipped"]
                .into_iter()
                .chain(["rows_duplicate", "rows_late", "rows_quarantined"])
                .map(number)
                .collect::<Result<Vec<_>>>()?;
            for i in 0..batch.num_rows() {
                let count = |n: usize| counts[n].value(i).unsigned_abs();
                let values = cast(&partitions.value(i), &DataType::Utf8View)?;
                ledger.replace(Row {
                    source: source.value(i).into(),
                    kind: kind.value(i).into(),
                    interval: interval.value(i).into(),
                    partitions: values
                        .as_string_view()
                        .iter()
                        .flatten()
                        .map(str::to_string)
                        .collect(),
                    delivery_id: delivery_id.value(i).into(),
                    files: count(0),
                    rows_in: count(1),
                    rows_out: count(2),
                    rows_skipped: count(3),
                    rows_duplicate: count(4),
                    rows_late: count(5),
                    rows_quarantined: count(6),
                });
            }
        }
        Ok(ledger)
    }

    /// Every interval that is in the warehouse.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// What is known of an interval.
    pub fn get(&self, source: &str, interval: &str) -> Option<&Row> {
        self.rows.get(&(source.to_string(), interval.to_string()))
    }

    /// Forgets an interval.
    pub fn remove(&mut self, row: &Row) {
        self.rows
            .remove(&(row.source.clone(), row.interval.clone()));
    }

    /// Puts a row in the place of an earlier one of the same source and interval, which it gives back.
    pub fn replace(&mut self, row: Row) -> Option<Row> {
        self.rows
            .insert((row.source.clone(), row.interval.clone()), row)
    }

    /// Writes the table into a snapshot.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, snapshot: &Path) -> Result<()> {
        let table = table("deliveries").ok_or_else(|| Error::unexpected("no table deliveries"))?;
        let dir = snapshot.join(table.name);
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("cannot make the folder", &dir, &e))?;
        let path = dir.join("part-0.parquet");
        let mut partitions = ListBuilder::new(StringBuilder::new());
        for row in self.rows.values() {
            partitions.append_value(row.partitions.iter().map(Some));
        }
        let text = |f: fn(&Row) -> &str| -> ArrayRef {
            Arc::new(
                self.rows
                    .values()
                    .map(|r| Some(f(r)))
                    .collect::<StringViewArray>(),
            )
        };
        let number = |f: fn(&Row) -> u64| -> ArrayRef {
            let values = self
                .rows
                .values()
                .map(|r| i64::try_from(f(r)).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(values))
        };
        let batch = RecordBatch::try_from_iter([
            ("source", text(|r| &r.source)),
            ("kind", text(|r| &r.kind)),
            ("interval", text(|r| &r.interval)),
            ("partitions", Arc::new(partitions.finish()) as ArrayRef),
            ("delivery_id", text(|r| &r.delivery_id)),
            ("files", number(|r| r.files)),
            ("rows_in", number(|r| r.rows_in)),
            ("rows_out", number(|r| r.rows_out)),
            ("rows_skipped", number(|r| r.rows_skipped)),
            ("rows_duplicate", number(|r| r.rows_duplicate)),
            ("rows_late", number(|r| r.rows_late)),
            ("rows_quarantined", number(|r| r.rows_quarantined)),
        ])?;
        let mut writer = TableWriter::create(table, &path)?;
        writer.write(&batch)?;
        writer.finish()?;
        Ok(())
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::unexpected(format!("the table deliveries lost its column {name}")))
}

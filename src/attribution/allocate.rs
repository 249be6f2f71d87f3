//! Between Arrow batches and the plain rows of attribution: charges in, allocations out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, RecordBatch, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, TimestampMicrosecondType};

use super::digest::{self, Digest};
use super::{Allocation, Charge, Columns, Routing, Target};
use crate::engine::{Held, to_text};
use crate::error::{Error, Result};
use crate::money::{Currency, Money};
use crate::warehouse::{Table, TableWriter, Type};

/// The issuer of a bill that names none.
const UNKNOWN: &str = "unknown";

/// Rows of a batch of allocations.
const BATCH_ROWS: usize = 16 * 1024;

/// A batch of charges with their category and issuer, columns found once.
pub struct ChargeBatch {
    batch: RecordBatch,
    texts: HashMap<&'static str, ArrayRef>,
    period: String,
}

const TEXTS: &[&str] = &[
    "row_id",
    "billing_currency",
    "invoice_id",
    "invoice_issuer_name",
    "billing_account_id",
    "resource_id",
    "service_name",
    "charge_category",
    "category",
    "stage",
    "issuer",
    "allocated_method_id",
    "allocated_tags",
    "tags",
];

/// Columns beside texts, all needed.
const OTHERS: &[&str] = &[
    "charge_period_start",
    "charge_period_end",
    "billed_cost",
    "effective_cost",
];

/// Of the columns of `attribution/lines.sql`, those that attribution by these rules reads.
pub fn read<'a>(columns: impl Iterator<Item = &'a str>, routing: &Routing) -> Vec<&'a str> {
    let matched = routing.matched();
    columns
        .filter(|c| TEXTS.contains(c) || OTHERS.contains(c) || matched.contains(c))
        .collect()
}

impl ChargeBatch {
    /// Finds the columns of a batch of `attribution/lines.sql`.
    ///
    /// # Errors
    /// `Kind::Config` when one is missing.
    pub fn new(batch: RecordBatch, period: &str) -> Result<Self> {
        let mut texts = HashMap::new();
        for name in TEXTS {
            match batch.column_by_name(name) {
                Some(column) => {
                    texts.insert(*name, cast(column, &DataType::Utf8View)?);
                }
                None if *name == "stage" => {}
                None => {
                    return Err(Error::config(format!(
                        "attribution/lines.sql gives no column {name}"
                    )));
                }
            }
        }
        Ok(ChargeBatch {
            batch,
            texts,
            period: period.to_string(),
        })
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn text(&self, name: &'static str, row: usize) -> Option<&str> {
        let texts = self.texts.get(name)?.as_string_view();
        texts.is_valid(row).then(|| texts.value(row))
    }

    /// Who sent the bill.
    fn issuer(&self, row: usize) -> &str {
        self.text("issuer", row).unwrap_or(UNKNOWN)
    }

    /// The row's own tags and those that the provider allocated by, as texts.
    ///
    /// # Errors
    /// `Kind::Check` when they are no JSON objects, which ingest has seen to.
    pub fn tags(&self, row: usize) -> Result<[Vec<(String, String)>; 2]> {
        Ok([
            parse_tags(self.text("tags", row))?,
            parse_tags(self.text("allocated_tags", row))?,
        ])
    }

    /// The row as attribution reads it.
    ///
    /// # Errors
    /// `Kind::Check` when a category or currency is none.
    pub fn charge<'a>(
        &'a self,
        row: usize,
        tags: &'a [Vec<(String, String)>; 2],
        columns: &'a dyn Columns,
    ) -> Result<Charge<'a>> {
        let needed = |name: &'static str| {
            self.text(name, row)
                .ok_or_else(|| Error::check(format!("a charge has no {name}")))
        };
        let time = |name: &str| -> Result<i64> {
            let column = self.column(name)?;
            Ok(column.as_primitive::<TimestampMicrosecondType>().value(row))
        };
        let money = |name: &str| -> Result<Money> {
            let column = self.column(name)?;
            Ok(Money(column.as_primitive::<Decimal128Type>().value(row)))
        };
        let currency = Currency::parse(needed("billing_currency")?)
            .map_err(|e| Error::check(e.to_string()))?;
        let category = needed("category")?
            .parse()
            .map_err(|e| Error::check(format!("attribution/lines.sql: {e}")))?;
        let stage = self.text("stage", row).map(str::parse).transpose();
        let stage = stage.map_err(|e| Error::check(format!("attribution/lines.sql: {e}")))?;
        Ok(Charge {
            row_id: needed("row_id")?,
            period_start: time("charge_period_start")?,
            period_end: time("charge_period_end")?,
            billing_period: &self.period,
            currency,
            invoice_id: self.text("invoice_id", row),
            invoice_issuer: Some(self.issuer(row)),
            billing_account_id: self.text("billing_account_id", row),
            resource_id: self.text("resource_id", row),
            service_name: self.text("service_name", row),
            charge_category: needed("charge_category")?,
            tags: &tags[0],
            category,
            stage,
            billed: money("billed_cost")?,
            effective: money("effective_cost")?,
            allocated_method_id: self.text("allocated_method_id", row),
            allocated_tags: &tags[1],
            columns,
        })
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| Error::config(format!("attribution/lines.sql gives no column {name}")))
    }
}

/// Any other column of one charge, as text.
pub struct BatchColumns<'a> {
    batch: &'a ChargeBatch,
    row: usize,
}

impl<'a> BatchColumns<'a> {
    /// The columns of one row.
    pub fn new(batch: &'a ChargeBatch, row: usize) -> Self {
        BatchColumns { batch, row }
    }
}

impl Columns for BatchColumns<'_> {
    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        let column = self.batch.batch.column_by_name(name)?;
        if let Some(texts) = column.as_string_view_opt() {
            return texts
                .is_valid(self.row)
                .then(|| Cow::Borrowed(texts.value(self.row)));
        }
        let text = to_text(&column.slice(self.row, 1)).ok()?;
        let text = text.as_string_view();
        text.is_valid(0)
            .then(|| Cow::Owned(text.value(0).to_string()))
    }
}

/// The tags of a charge, by key; a value that is no text as its JSON.
///
/// # Errors
/// `Kind::Check` when they are no JSON object.
pub(crate) fn parse_tags(text: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(text) = text else {
        return Ok(vec![]);
    };
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|e| Error::check(format!("the tags of a charge are no JSON object: {e}")))?;
    Ok(object
        .into_iter()
        .filter_map(|(key, value)| {
            let value = match value {
                serde_json::Value::Null => return None,
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            Some((key, value))
        })
        .collect())
}

/// Writes allocations, in the order in which they come.
pub struct AllocationWriter {
    writer: TableWriter,
    rows: Rows,
    digest: Option<Digest>,
}

/// Columns of allocations being filled, in the order of [`TEXT_COLUMNS`] and [`AMOUNT_COLUMNS`].
#[derive(Default)]
struct Rows {
    texts: [StringViewBuilder; TEXT_COLUMNS.len()],
    amounts: [Vec<i128>; AMOUNT_COLUMNS.len()],
    days: Vec<i32>,
}

/// First what one row has to itself, then what a line of the [`Digest`] is by.
const TEXT_COLUMNS: [&str; 3 + digest::TEXTS.len()] = [
    "row_id",
    "issuer",
    "via",
    digest::TEXTS[0],
    digest::TEXTS[1],
    digest::TEXTS[2],
    digest::TEXTS[3],
    digest::TEXTS[4],
    digest::TEXTS[5],
    digest::TEXTS[6],
    digest::TEXTS[7],
    digest::TEXTS[8],
    digest::TEXTS[9],
    digest::TEXTS[10],
    digest::TEXTS[11],
];

const AMOUNT_COLUMNS: [(&str, Type); 4] = [
    ("weight", Type::Whole),
    ("weight_total", Type::Whole),
    ("billed", Type::Money),
    ("effective", Type::Money),
];

/// Weight, sum of the weights, billed and effective, as columns hold them.
fn amounts(a: &Allocation<'_>) -> Result<[i128; 4]> {
    let weight = |w: u128| {
        i128::try_from(w)
            .map_err(|_| Error::check(format!("the weight {w} of {} is too large", a.row_id)))
    };
    Ok([
        weight(a.weight)?,
        weight(a.weight_total)?,
        a.billed.0,
        a.effective.0,
    ])
}

/// Who sent the bill of an allocation, as the table has it.
pub(super) fn issuer<'a>(a: &Allocation<'a>) -> &'a str {
    a.issuer.unwrap_or(UNKNOWN)
}

/// What a line of the digest is by, of an allocation.
fn line_of<'a>(a: &'a Allocation<'_>) -> digest::Texts<'a> {
    let (target, model, reason) = match a.target {
        Target::Model(model) => ("model", Some(model), None),
        Target::Idle { .. } | Target::IdlePools => ("idle", None, None),
        Target::Unallocated { reason } => ("unallocated", None, Some(reason.as_str())),
    };
    // A charge that no rule matched is still the doing of something with a name.
    let (rule, version) = match a.rule {
        "" => ("no rule matched", "1"),
        rule => (rule, a.rule_version),
    };
    [
        Some(a.currency.code()),
        Some(target),
        model.map(|m| m.model.as_ref()),
        model.and_then(|m| m.version.as_deref()),
        model.map(|m| m.stage.as_str()),
        reason,
        Some(a.category.as_str()),
        Some(a.charge_category),
        Some(rule),
        Some(version),
        a.driver,
        Some(a.basis.as_str()),
    ]
}

impl Rows {
    fn push(&mut self, a: &Allocation<'_>, line: &digest::Texts<'_>, amounts: [i128; 4]) {
        let own = [Some(a.row_id), Some(issuer(a)), a.via];
        for (column, text) in self.texts.iter_mut().zip(own.iter().chain(line)) {
            column.append_option(*text);
        }
        for (column, amount) in self.amounts.iter_mut().zip(amounts) {
            column.push(amount);
        }
        self.days.push(a.day);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![];
        for (name, texts) in TEXT_COLUMNS.iter().zip(&mut self.texts) {
            columns.push((name, Arc::new(texts.finish())));
        }
        for ((name, ty), amounts) in AMOUNT_COLUMNS.iter().zip(self.amounts) {
            let array = Decimal128Array::from(amounts).with_data_type(ty.arrow());
            columns.push((name, Arc::new(array)));
        }
        columns.push(("day", Arc::new(Date32Array::from(self.days))));
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

impl AllocationWriter {
    /// A writer of the file `path`.
    ///
    /// # Errors
    /// Those of creating it.
    pub fn create(table: &'static Table, path: &Path) -> Result<Self> {
        Ok(AllocationWriter {
            writer: TableWriter::create(table, path)?,
            rows: Rows::default(),
            digest: None,
        })
    }

    /// The same writer, which also gathers a digest of what it writes.
    pub fn with_digest(self, held: Held) -> Self {
        AllocationWriter {
            digest: Some(Digest::new(held)),
            ..self
        }
    }

    /// Writes one allocation.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&mut self, a: &Allocation<'_>) -> Result<()> {
        let (line, amounts) = (line_of(a), amounts(a)?);
        self.rows.push(a, &line, amounts);
        if let Some(digest) = &mut self.digest {
            digest.add(&line, a, amounts)?;
        }
        if self.rows.days.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.rows).finish()?;
        self.writer.write(&batch)
    }

    /// Ends the file. Returns the digest, where one was asked for.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> Result<Option<Digest>> {
        self.flush()?;
        self.writer.finish()?;
        Ok(self.digest)
    }
}

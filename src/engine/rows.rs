//! Reads the rows of small results by column name.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, Utc};

use crate::error::{Error, Result};

/// One row of a result.
pub struct Row<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

/// What each row of `batches` becomes, in order.
///
/// # Errors
/// Those of `make`.
pub fn map<T>(batches: &[RecordBatch], make: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut out = vec![];
    for batch in batches {
        for at in 0..batch.num_rows() {
            out.push(make(&Row { batch, at })?);
        }
    }
    Ok(out)
}

/// A column of what `sql` gives.
///
/// # Errors
/// `Kind::Config` when there is none of that name.
pub fn column<'a>(batch: &'a RecordBatch, sql: &str, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::config(format!("{sql} gives no column {name}")))
}

/// A text column of what `sql` gives, whatever its type in memory.
///
/// # Errors
/// As [`column`].
pub fn texts(batch: &RecordBatch, sql: &str, name: &str) -> Result<StringViewArray> {
    let found = cast(column(batch, sql, name)?, &DataType::Utf8View)?;
    Ok(found.as_string_view().clone())
}

/// The text of a row, where it has one.
pub fn valid(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// A batch with its decimals as text: most JSON parsers read a number as a double, which cannot hold an amount.
///
/// # Errors
/// Those of the cast.
pub fn exact(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let column = if field.data_type().is_decimal() {
            cast(column, &DataType::Utf8)?
        } else {
            std::sync::Arc::clone(column)
        };
        columns.push((field.name(), column));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The rows of a small result as JSON objects, decimals as text.
///
/// # Errors
/// Those of writing JSON.
pub fn exact_json(
    batches: &[RecordBatch],
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>> {
    let mut rows = vec![];
    for batch in batches.iter().filter(|b| b.num_rows() > 0) {
        let mut writer = arrow::json::ArrayWriter::new(Vec::new());
        writer.write(&exact(batch)?)?;
        writer.finish()?;
        let more: Vec<_> = serde_json::from_slice(&writer.into_inner())
            .map_err(|e| Error::unexpected(format!("a result is no JSON: {e}")))?;
        rows.extend::<Vec<_>>(more);
    }
    Ok(rows)
}

impl Row<'_> {
    fn value(&self, name: &str, ty: &DataType) -> Result<Option<ArrayRef>> {
        let column = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| Error::config(format!("the SQL gives no column {name}")))?;
        if column.is_null(self.at) {
            return Ok(None);
        }
        Ok(Some(cast(&column.slice(self.at, 1), ty)?))
    }

    /// A text.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let value = self.value(name, &DataType::Utf8View)?;
        Ok(value.map(|v| v.as_string_view().value(0).to_string()))
    }

    /// A text that every row has.
    ///
    /// # Errors
    /// When it is null.
    pub fn needed(&self, name: &str) -> Result<String> {
        self.text(name)?
            .ok_or_else(|| Error::check(format!("the column {name} has a null where none may be")))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        let value = self.value(name, &DataType::Int64)?;
        Ok(value.map(|v| v.as_primitive::<Int64Type>().value(0)))
    }

    /// A count; null is 0.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn count(&self, name: &str) -> Result<u64> {
        Ok(self.int(name)?.unwrap_or(0).unsigned_abs())
    }

    /// A number.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        let value = self.value(name, &DataType::Float64)?;
        Ok(value.map(|v| v.as_primitive::<Float64Type>().value(0)))
    }

    /// A day.
    ///
    /// # Errors
    /// When there is no such column or the value is out of range.
    pub fn day(&self, name: &str) -> Result<Option<NaiveDate>> {
        let value = self.value(name, &DataType::Date32)?;
        Ok(value
            .and_then(|v| Date32Type::to_naive_date_opt(v.as_primitive::<Date32Type>().value(0))))
    }

    /// A time.
    ///
    /// # Errors
    /// When there is no such column or the value is out of range.
    pub fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let value = self.value(name, &utc)?;
        Ok(value.and_then(|v| {
            DateTime::from_timestamp_micros(v.as_primitive::<TimestampMicrosecondType>().value(0))
        }))
    }

    /// The units of a decimal with `scale` places.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn decimal(&self, name: &str, scale: i8) -> Result<Option<i128>> {
        let value = self.value(name, &DataType::Decimal128(38, scale))?;
        Ok(value.map(|v| v.as_primitive::<Decimal128Type>().value(0)))
    }
}

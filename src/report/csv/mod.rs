//! One CSV file per table: a header that names units, all digits, and no cell that a spreadsheet would run.

mod costs;
mod making;
mod night;
mod proof;
mod units;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

use super::ReportError;
use super::data::{Basis, Line, ReportData, Target};

/// A rendered file.
pub struct CsvFile {
    /// Such as `costs.csv`.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Text as a cell. One that a spreadsheet would take for a formula gets an
/// apostrophe before it; a plain number is left as it is.
pub fn safe(text: &str) -> String {
    let risky = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(risky) && !is_number(text) {
        return format!("'{text}");
    }
    text.to_owned()
}

/// A batch for a CSV file: texts and heads as [`safe`] has them, all else as it is.
///
/// # Errors
/// None that is known.
pub fn safe_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (vec![], vec![]);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column: ArrayRef = match column.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Dictionary(..) => {
                let texts = cast(column, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>().iter();
                Arc::new(texts.map(|text| text.map(safe)).collect::<StringArray>())
            }
            _ => Arc::clone(column),
        };
        fields.push(Field::new(
            safe(field.name()),
            column.data_type().clone(),
            true,
        ));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(fraction)
}

struct Sheet {
    name: &'static str,
    writer: ::csv::Writer<Vec<u8>>,
}

impl Sheet {
    fn new(name: &'static str, head: &[&str]) -> Result<Self, ReportError> {
        let mut sheet = Self {
            name,
            writer: ::csv::Writer::from_writer(Vec::new()),
        };
        sheet.record(head.iter().map(|cell| (*cell).to_owned()).collect())?;
        Ok(sheet)
    }

    fn record(&mut self, cells: Vec<String>) -> Result<(), ReportError> {
        let written = self
            .writer
            .write_record(cells.iter().map(|cell| safe(cell)));
        written.map_err(|source| ReportError::Csv {
            name: self.name.to_owned(),
            source,
        })
    }

    fn done(self) -> Result<CsvFile, ReportError> {
        let name = self.name;
        let bytes = self.writer.into_inner().map_err(|error| ReportError::Csv {
            name: name.to_owned(),
            source: error.into_error().into(),
        })?;
        Ok(CsvFile { name, bytes })
    }
}

/// Empty where there is no value.
fn some<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn target(target: &Target) -> [String; 2] {
    match target {
        Target::Model(id) => ["model".to_owned(), id.clone()],
        Target::Idle => ["idle".to_owned(), String::new()],
        Target::Unallocated => ["unallocated".to_owned(), String::new()],
    }
}

fn basis(basis: Basis) -> String {
    match basis {
        Basis::Usage => "usage",
        Basis::Allocation => "allocation",
    }
    .to_owned()
}

fn line(line: Line) -> String {
    match line {
        Line::Bill => "bill",
        Line::Attributed => "attributed",
        Line::Idle => "idle",
        Line::Unallocated => "unallocated",
        Line::Difference => "difference",
        Line::Quarantined => "quarantined",
        Line::Restated => "restated",
        Line::IngestRounding => "ingest_rounding",
    }
    .to_owned()
}

/// All files, in a fixed order. `[currency]` after a head means: in the currency of the row.
pub fn tables(data: &ReportData) -> Result<Vec<CsvFile>, ReportError> {
    Ok(vec![
        costs::lines(data)?,
        costs::daily(data)?,
        units::daily(data)?,
        units::by_model(data)?,
        making::roll_forward(data)?,
        making::versions(data)?,
        costs::reconciliation(data)?,
        proof::converted(data)?,
        proof::rates(data)?,
        proof::conformance(data)?,
        costs::losses(data, "idle_and_unallocated.csv", |section| {
            &section.resources
        })?,
        costs::losses(data, "idle_and_unallocated_services.csv", |section| {
            &section.services
        })?,
        costs::bridge(data)?,
        costs::machines(data)?,
        costs::movers(data)?,
        costs::restatements(data)?,
        night::quality(data)?,
        units::frontier(data)?,
        night::pairs(data)?,
        night::models(data)?,
        night::sources(data)?,
        night::quarantine(data)?,
        night::stages(data)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn formulas_are_made_text_and_numbers_are_left() {
        for risky in [
            "=1+1",
            "+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "-",
            "＝1",
            "-1e5x",
        ] {
            assert_eq!(safe(risky), format!("'{risky}"));
        }
        for plain in ["-12.50", "+3", "7", "home", "", "a=b"] {
            assert_eq!(safe(plain), plain);
        }
    }
}

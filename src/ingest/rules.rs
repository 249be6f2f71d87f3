//! Holds the rows of a batch against the checks of the table's contract.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use chrono::NaiveDate;

use crate::money::Currency;
use crate::warehouse::{Check, Column, Table};

/// What checks need to know besides the row.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Instants at or after this have not happened yet (µs since 1970, UTC).
    pub not_after_us: i64,
}

/// The first rule that each bad row breaks: index in the batch, column, reason. `batch` has the contract's columns and
/// types; `known_bad` rows are left out.
pub fn broken(
    batch: &RecordBatch,
    table: &'static Table,
    limits: Limits,
    known_bad: &[bool],
) -> Vec<(usize, &'static str, String)> {
    let mut bad: Vec<(usize, &'static str, String)> = vec![];
    let mut seen = known_bad.to_vec();
    seen.resize(batch.num_rows(), false);
    let mut note = |row: usize, column: &Column, reason: String| {
        if !seen[row] {
            seen[row] = true;
            bad.push((row, column.name, reason));
        }
    };
    for column in table.columns {
        let Some(array) = batch.column_by_name(column.name) else {
            continue;
        };
        if column.required && array.null_count() > 0 {
            for row in (0..array.len()).filter(|r| array.is_null(*r)) {
                note(row, column, "is missing".into());
            }
        }
        for check in column.checks {
            apply(*check, column, array.as_ref(), batch, limits, &mut note);
        }
    }
    bad.sort_by_key(|(row, ..)| *row);
    bad
}

fn apply(
    check: Check,
    column: &Column,
    array: &dyn Array,
    batch: &RecordBatch,
    limits: Limits,
    note: &mut impl FnMut(usize, &Column, String),
) {
    let valid = || (0..array.len()).filter(|r| array.is_valid(*r));
    match check {
        Check::OneOf(words) => {
            let texts = array.as_string_view();
            for row in valid().filter(|r| !words.contains(&texts.value(*r))) {
                let reason = format!(
                    "{} is none of {}",
                    shown(texts.value(row)),
                    words.join(", ")
                );
                note(row, column, reason);
            }
        }
        Check::Currency => {
            let texts = array.as_string_view();
            let mut last_good = String::new();
            for row in valid() {
                let code = texts.value(row);
                if code == last_good {
                    continue;
                }
                match Currency::parse(code) {
                    Ok(c) if c.code() == code => code.clone_into(&mut last_good),
                    _ => note(
                        row,
                        column,
                        format!("{} is no ISO 4217 currency code", shown(code)),
                    ),
                }
            }
        }
        Check::NotNegative => at_least(array, 0, column, note),
        Check::Positive => at_least(array, 1, column, note),
        Check::RequiredWhen(other, words) => {
            let Some(others) = batch.column_by_name(other) else {
                return;
            };
            let others = others.as_string_view();
            if array.null_count() == 0 {
                return;
            }
            for row in (0..array.len()).filter(|r| array.is_null(*r)) {
                if others.is_valid(row) && words.contains(&others.value(row)) {
                    note(
                        row,
                        column,
                        format!("is missing, and a {} needs it", others.value(row)),
                    );
                }
            }
        }
        Check::HasHappened => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            let first = year_start(2000);
            let last = limits.not_after_us.min(year_start(2100));
            for row in valid() {
                let time = times.value(row);
                if time < first {
                    note(row, column, "is before the year 2000".into());
                } else if time >= last {
                    note(row, column, "lies after the interval of its export".into());
                }
            }
        }
        Check::PlausibleTime => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            let range = year_start(2000)..year_start(2100);
            for row in valid().filter(|r| !range.contains(&times.value(*r))) {
                note(row, column, "is not between the years 2000 and 2100".into());
            }
        }
        Check::After(other) => {
            let Some(others) = batch.column_by_name(other) else {
                return;
            };
            let starts = others.as_primitive::<TimestampMicrosecondType>();
            let ends = array.as_primitive::<TimestampMicrosecondType>();
            for row in valid().filter(|r| starts.is_valid(*r)) {
                if ends.value(row) <= starts.value(row) {
                    note(row, column, format!("is not after {other}"));
                }
            }
        }
        Check::JsonObject => {
            let texts = array.as_string_view();
            for row in valid() {
                let text = texts.value(row);
                if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_err()
                {
                    note(row, column, format!("{} is no JSON object", shown(text)));
                }
            }
        }
    }
}

fn at_least(
    array: &dyn Array,
    least: i128,
    column: &Column,
    note: &mut impl FnMut(usize, &Column, String),
) {
    let value: Box<dyn Fn(usize) -> i128> = if let Some(a) = array.as_primitive_opt::<Int32Type>() {
        Box::new(|r| i128::from(a.value(r)))
    } else if let Some(a) = array.as_primitive_opt::<Int64Type>() {
        Box::new(|r| i128::from(a.value(r)))
    } else if let Some(a) = array.as_primitive_opt::<Decimal128Type>() {
        Box::new(|r| a.value(r))
    } else {
        return;
    };
    for row in (0..array.len()).filter(|r| array.is_valid(*r)) {
        if value(row) < least {
            let reason = match (least, array.data_type()) {
                (0, _) => "is negative",
                (_, DataType::Decimal128(..)) => "is not above zero",
                _ => "is less than one",
            };
            note(row, column, reason.into());
        }
    }
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    format!("{cut:?}")
}

/// The first instant of a year, in microseconds since 1970.
fn year_start(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1).map_or(0, |d| {
        d.and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_micros()
    })
}

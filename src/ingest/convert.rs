//! Brings the columns that a mapping gives to the types of the table's contract, and tells the rows that do not fit.
//!
//! A column that is copied from a Parquet file must have a type that converts without loss; whatever the mapping
//! computes, and all that comes from a CSV, may be text and is read row by row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, StringViewArray,
    TimestampMicrosecondBuilder, new_null_array,
};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float64Type, Int32Type, Int64Type,
};
use chrono::Utc;

use crate::engine::to_text;
use crate::error::Result;
use crate::money::{Money, MoneyError, Residue};
use crate::warehouse::Type;

/// A column in the contract's type; rows that could not be read are null in it and listed.
pub struct Converted {
    /// The column.
    pub array: ArrayRef,
    /// What rounding took from each amount; `None` where it took nothing.
    pub residue: Option<ArrayRef>,
    /// Index in the batch and reason of each row that could not be read.
    pub bad: Vec<(usize, String)>,
}

/// Whether a column of type `found` can be read as `wanted`: without loss, or, where `parse` allows it, row by row from
/// text.
pub fn fits(found: &DataType, wanted: Type, parse: bool) -> bool {
    use DataType as D;
    let text = matches!(found, D::Utf8 | D::LargeUtf8 | D::Utf8View);
    if matches!(found, D::Null) {
        return true;
    }
    if let D::Dictionary(_, values) = found {
        return fits(values, wanted, parse);
    }
    let textlike = |f: &arrow::datatypes::FieldRef| {
        matches!(
            f.data_type(),
            D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Null
        )
    };
    match wanted {
        Type::Text => text || found.is_integer(),
        Type::Int32 | Type::Int64 | Type::Whole => {
            found.is_integer() || matches!(found, D::Decimal128(_, 0)) || (parse && text)
        }
        Type::Float32 | Type::Float64 => found.is_numeric() || (parse && text),
        Type::Bool => matches!(found, D::Boolean) || (parse && text),
        Type::Money | Type::Price | Type::Residue => {
            found.is_integer()
                || found.is_floating()
                || matches!(
                    found,
                    D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..)
                )
                || (parse && text)
        }
        Type::Timestamp => {
            matches!(found, D::Timestamp(..) | D::Date32 | D::Date64) || (parse && text)
        }
        Type::Date => matches!(found, D::Date32) || (parse && text),
        Type::TextList => match found {
            D::List(f) | D::LargeList(f) | D::ListView(f) => textlike(f),
            _ => false,
        },
        Type::TextMap => match found {
            D::Map(entries, _) => match entries.data_type() {
                D::Struct(fields) => fields.iter().all(textlike),
                _ => false,
            },
            _ => false,
        },
        Type::Vector => matches!(found, D::List(_) | D::FixedSizeList(..)),
    }
}

/// Converts a column that [`fits`].
///
/// # Errors
/// When the type does not fit after all.
pub fn convert(array: &ArrayRef, wanted: Type) -> Result<Converted> {
    let target = wanted.arrow();
    let plain = |array| Converted {
        array,
        residue: None,
        bad: vec![],
    };
    // A column without a value, such as an optional one that the file lacks, has any type.
    if array.logical_null_count() == array.len() {
        return Ok(plain(new_null_array(&target, array.len())));
    }
    if let DataType::Dictionary(_, values) = array.data_type() {
        return convert(&cast(array, values)?, wanted);
    }
    let from_text = matches!(
        array.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    match wanted {
        Type::Money | Type::Price => amounts(array, wanted, from_text),
        _ if *array.data_type() == target => Ok(plain(Arc::clone(array))),
        Type::Timestamp if from_text => {
            let texts = cast(array, &DataType::Utf8View)?;
            timestamps(texts.as_string_view())
        }
        Type::Date if from_text => {
            let texts = cast(array, &DataType::Utf8View)?;
            parsed::<Date32Type>(texts.as_string_view(), "a date such as 2026-11-23", |t| {
                // A time of day may follow.
                let (day, rest) = t.split_at_checked(10)?;
                if !rest.is_empty() && !rest.starts_with(['T', ' ']) {
                    return None;
                }
                Some(Date32Type::from_naive_date(day.parse().ok()?))
            })
        }
        Type::Int32 if from_text => integers::<Int32Type>(array),
        Type::Int64 if from_text => integers::<Int64Type>(array),
        Type::Float64 if from_text => {
            let texts = cast(array, &DataType::Utf8View)?;
            parsed::<Float64Type>(texts.as_string_view(), "a number", |t| t.parse().ok())
        }
        Type::Bool if from_text => booleans(array),
        Type::Timestamp => {
            // A timestamp without a zone is UTC.
            let strict = CastOptions {
                safe: true,
                ..Default::default()
            };
            let plain_type = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            let utc = match array.data_type() {
                DataType::Timestamp(_, Some(_)) => cast_with_options(array, &target, &strict)?,
                _ => cast(&cast_with_options(array, &plain_type, &strict)?, &target)?,
            };
            Ok(lossy_rows(array, utc, "is out of the range of timestamps"))
        }
        _ => {
            let safe = CastOptions {
                safe: true,
                ..Default::default()
            };
            let converted = cast_with_options(array, &target, &safe)?;
            Ok(lossy_rows(array, converted, "is out of range"))
        }
    }
}

/// Rows that were there before a cast and are not after it.
fn lossy_rows(before: &ArrayRef, after: ArrayRef, reason: &str) -> Converted {
    let bad = if after.null_count() > before.null_count() {
        (0..before.len())
            .filter(|i| after.is_null(*i) && before.is_valid(*i))
            .map(|i| (i, reason.to_string()))
            .collect()
    } else {
        vec![]
    };
    Converted {
        array: after,
        residue: None,
        bad,
    }
}

fn amounts(array: &ArrayRef, wanted: Type, from_text: bool) -> Result<Converted> {
    let rows = array.len();
    let mut out = Decimal128Builder::with_capacity(rows).with_data_type(wanted.arrow());
    let mut residues: Option<Vec<i128>> = None;
    let mut bad = vec![];
    let mut push = |row: usize, amount: Option<Result<(Money, Residue), MoneyError>>| {
        let amount = amount.map(|a| a.and_then(|a| in_type(a, wanted)));
        match amount {
            None => out.append_null(),
            Some(Ok((units, residue))) => {
                if residue.0 != 0 {
                    residues.get_or_insert_with(|| vec![0; rows])[row] = residue.0;
                }
                out.append_value(units);
            }
            Some(Err(e)) => {
                out.append_null();
                bad.push((row, e.to_string()));
            }
        }
    };
    if from_text {
        let texts = cast(array, &DataType::Utf8View)?;
        for (row, text) in texts.as_string_view().iter().enumerate() {
            let text = text.filter(|t| !t.trim().is_empty());
            push(row, text.map(Money::parse));
        }
    } else if array.data_type().is_floating() {
        let doubles = to_text(array)?;
        for (row, text) in doubles.as_string_view().iter().enumerate() {
            push(row, text.map(Money::parse));
        }
    } else {
        let (decimals, scale) = match array.data_type() {
            DataType::Decimal128(_, scale) => (Arc::clone(array), *scale),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                (cast(array, &DataType::Decimal128(38, *scale))?, *scale)
            }
            _ => (cast(array, &DataType::Decimal128(38, 0))?, 0),
        };
        let decimals = decimals.as_primitive::<arrow::datatypes::Decimal128Type>();
        for (row, value) in decimals.iter().enumerate() {
            push(row, value.map(|v| Money::from_decimal(v, scale)));
        }
    }
    let residue = residues.map(|r| {
        let array: arrow::array::Decimal128Array =
            r.into_iter().map(|v| (v != 0).then_some(v)).collect();
        Arc::new(array.with_data_type(Type::Residue.arrow())) as ArrayRef
    });
    Ok(Converted {
        array: Arc::new(out.finish()),
        residue,
        bad,
    })
}

/// An amount in the units of the contract's type.
fn in_type(
    (money, residue): (Money, Residue),
    wanted: Type,
) -> Result<(i128, Residue), MoneyError> {
    if wanted == Type::Money {
        return Ok((money.0, residue));
    }
    let DataType::Decimal128(precision, scale) = wanted.arrow() else {
        return Ok((money.0, residue));
    };
    let digits = u32::try_from(scale).unwrap_or(0);
    let units = money.round(digits)?.0 / 10_i128.pow(crate::money::SCALE - digits);
    if units.unsigned_abs() >= 10_u128.pow(u32::from(precision)) {
        return Err(MoneyError::TooLarge {
            text: money.to_string(),
        });
    }
    Ok((units, residue))
}

fn timestamps(texts: &StringViewArray) -> Result<Converted> {
    let mut out = TimestampMicrosecondBuilder::with_capacity(texts.len()).with_timezone("UTC");
    let mut bad = vec![];
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text.map(str::trim).filter(|t| !t.is_empty()) else {
            out.append_null();
            continue;
        };
        match string_to_datetime(&Utc, text) {
            Ok(instant) => out.append_value(instant.timestamp_micros()),
            Err(_) => {
                out.append_null();
                bad.push((row, not_a(text, "a timestamp such as 2026-11-23T08:15:00Z")));
            }
        }
    }
    Ok(Converted {
        array: Arc::new(out.finish()),
        residue: None,
        bad,
    })
}

fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<Converted>
where
    T::Native: std::str::FromStr,
{
    let texts = cast(array, &DataType::Utf8View)?;
    parsed::<T>(texts.as_string_view(), "a whole number", |t| t.parse().ok())
}

fn parsed<T: ArrowPrimitiveType>(
    texts: &StringViewArray,
    what: &str,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<Converted> {
    let mut out = PrimitiveBuilder::<T>::with_capacity(texts.len());
    let mut bad = vec![];
    for (row, text) in texts.iter().enumerate() {
        let text = text.map(str::trim).filter(|t| !t.is_empty());
        let value = text.and_then(&parse);
        if let (Some(text), None) = (text, value) {
            bad.push((row, not_a(text, what)));
        }
        out.append_option(value);
    }
    Ok(Converted {
        array: Arc::new(out.finish()),
        residue: None,
        bad,
    })
}

fn booleans(array: &ArrayRef) -> Result<Converted> {
    let texts = cast(array, &DataType::Utf8View)?;
    let mut out = BooleanBuilder::with_capacity(texts.len());
    let mut bad = vec![];
    for (row, text) in texts.as_string_view().iter().enumerate() {
        let text = text.map(str::trim).filter(|t| !t.is_empty());
        let value = text.and_then(|t| match t.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Some(true),
            "false" | "f" | "0" | "no" => Some(false),
            _ => None,
        });
        if let (Some(text), None) = (text, value) {
            bad.push((row, not_a(text, "true or false")));
        }
        out.append_option(value);
    }
    Ok(Converted {
        array: Arc::new(out.finish()),
        residue: None,
        bad,
    })
}

/// A reason that shows what was found, cut short.
fn not_a(text: &str, what: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("{shown:?} is not {what}")
}

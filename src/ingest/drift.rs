//! What changed in the columns of an export since the delivery before it.
//!
//! A column more passes and is said once; a column less passes where the dialect calls it optional, and is said too. Types
//! that became wider pass unsaid. One that became narrower in a column that the dialect reads stops the run: what it lost
//! cannot be seen in the values that are left.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};

use super::deliveries::Row;
use super::mapping::Mapping;
use crate::config::Source;
use crate::error::{Error, Result};
use crate::warehouse::Type;

/// The columns of a file as `deliveries` keeps them: name, a blank, and type.
pub(super) fn columns(schema: &Schema) -> Vec<String> {
    let shown =
        |f: &arrow::datatypes::FieldRef| format!("{} {}", f.name(), type_name(f.data_type()));
    schema.fields().iter().map(shown).collect()
}

/// A type without what makes no difference to its values.
fn type_name(ty: &DataType) -> String {
    use DataType as D;
    match ty {
        D::Utf8 | D::LargeUtf8 | D::Utf8View => "text".into(),
        D::Dictionary(_, values) => type_name(values),
        D::Decimal32(_, s) | D::Decimal64(_, s) | D::Decimal128(_, s) | D::Decimal256(_, s) => {
            format!("decimal({s})")
        }
        D::Timestamp(..) => "timestamp".into(),
        D::Date32 | D::Date64 => "date".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// A type of that name, the inverse of [`type_name`] as far as a mapping is planned by it.
pub(super) fn type_of(name: &str) -> DataType {
    use DataType as D;
    match name {
        "boolean" => D::Boolean,
        "int8" => D::Int8,
        "int16" => D::Int16,
        "int32" => D::Int32,
        "int64" => D::Int64,
        "uint8" => D::UInt8,
        "uint16" => D::UInt16,
        "uint32" => D::UInt32,
        "uint64" => D::UInt64,
        "float32" => D::Float32,
        "float64" => D::Float64,
        "date" => D::Date32,
        "timestamp" => Type::Timestamp.arrow(),
        name if name.starts_with("decimal(") => {
            let scale = name.trim_start_matches("decimal(").trim_end_matches(')');
            D::Decimal128(38, scale.parse().unwrap_or_default())
        }
        name if name.starts_with("map(") => Type::TextMap.arrow(),
        name if name.starts_with("list(") => Type::TextList.arrow(),
        _ => D::Utf8View,
    }
}

/// Whether values of the type `to` cannot hold all that those of the type `from` could. A whole number instead of a double
/// says nothing: some writers choose by whether a value is missing.
fn is_narrower(from: &str, to: &str) -> bool {
    let scale =
        |ty: &str| -> Option<i32> { ty.strip_prefix("decimal(")?.strip_suffix(')')?.parse().ok() };
    let bits = |kind: &str, ty: &str| ty.strip_prefix(kind).and_then(|n| n.parse::<u32>().ok());
    if let Some(before) = scale(from) {
        let whole = to.starts_with("int") || to.starts_with("uint");
        return scale(to).map_or(
            bits("float", to).is_some() || (whole && before > 0),
            |now| now < before,
        );
    }
    for kind in ["float", "int", "uint"] {
        if let (Some(before), Some(now)) = (bits(kind, from), bits(kind, to)) {
            return now < before;
        }
    }
    from == "timestamp" && to == "date"
}

/// What a delivery has otherwise than the one before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Drift {
    more: Vec<String>,
    less: Vec<String>,
    narrower: Vec<(String, String, String)>,
}

fn drift(before: &[String], now: &[String]) -> Drift {
    // Files of one delivery may have a column in several types.
    fn types(columns: &[String]) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, ty) in columns.iter().filter_map(|c| c.rsplit_once(' ')) {
            types.entry(name).or_default().insert(ty);
        }
        types
    }
    let (before, now) = (types(before), types(now));
    let mut drift = Drift::default();
    for (name, after) in &now {
        let Some(known) = before.get(name) else {
            drift.more.push(name.to_string());
            continue;
        };
        for to in after.difference(known) {
            if let Some(from) = known.iter().find(|from| is_narrower(from, to)) {
                let change = (name.to_string(), from.to_string(), to.to_string());
                drift.narrower.push(change);
            }
        }
    }
    let less = before.keys().filter(|name| !now.contains_key(*name));
    drift.less = less.map(ToString::to_string).collect();
    drift
}

/// What to say of a delivery's columns, held against the delivery of the interval before it.
///
/// # Errors
/// `Kind::Contract` for a column that the mapping reads and whose type became narrower.
pub(super) fn warnings(
    source: &Source,
    mapping: &Mapping,
    before: Option<&Row>,
    now: &Row,
    shown: &str,
) -> Result<Vec<String>> {
    let Some(before) = before else {
        return Ok(vec![]);
    };
    let drift = drift(&before.columns, &now.columns);
    let read = drift.narrower.iter().find(|(name, ..)| mapping.names(name));
    if let Some((name, from, to)) = read.filter(|_| !source.may_narrow) {
        return Err(Error::contract(format!(
            "source `{}`, {}: the column {name} is {to} now, and was {from} in the delivery of {}: {shown}",
            source.name, now.interval, before.interval
        ))
        .help(format!(
            "deliver the column as {from} again, or set `may_narrow = true` for this source"
        )));
    }
    let said = |columns: &[String], what: &str| {
        (!columns.is_empty()).then(|| {
            format!(
                "source `{}`: from {} on it has {what} {}",
                source.name,
                now.interval,
                columns.join(", ")
            )
        })
    };
    let more = said(&drift.more, "the new columns");
    let less = said(&drift.less, "no longer the columns");
    Ok(more.into_iter().chain(less).collect())
}

/// A word on the columns that only some files of a delivery have.
pub(super) fn between_files(row: &Row, files: &[Vec<String>]) -> Option<String> {
    let name = |column: &str| column.rsplit_once(' ').map_or(column, |c| c.0).to_string();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for column in files.iter().flatten() {
        *counted.entry(name(column)).or_default() += 1;
    }
    let some: Vec<String> = counted
        .into_iter()
        .filter(|(_, n)| *n < files.len())
        .map(|(name, n)| format!("{name} ({n} of {})", files.len()))
        .collect();
    (!some.is_empty()).then(|| {
        format!(
            "source `{}`, {}: only some of its files have the columns {}",
            row.source,
            row.interval,
            some.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_more_and_less_and_narrower_types_are_told_apart() {
        let before = columns(&[
            "id text",
            "price decimal(18)",
            "at timestamp",
            "old name int64",
        ]);
        let now = columns(&["id text", "price float64", "at date", "new name int64"]);
        assert_eq!(
            drift(&before, &now),
            Drift {
                more: columns(&["new name"]),
                less: columns(&["old name"]),
                narrower: vec![
                    ("at".into(), "timestamp".into(), "date".into()),
                    ("price".into(), "decimal(18)".into(), "float64".into())
                ],
            }
        );
        assert_eq!(drift(&before, &before), Drift::default());
        // One file of several is enough; a type that was there before is none that is new.
        let mixed = columns(&["at date", "at timestamp"]);
        assert_eq!(drift(&columns(&["at timestamp"]), &mixed).narrower.len(), 1);
        assert_eq!(drift(&mixed, &columns(&["at date"])), Drift::default());
    }

    #[test]
    fn what_holds_every_value_is_not_narrower() {
        for (from, to) in [
            ("int32", "int64"),
            ("int32", "uint32"),
            ("float32", "float64"),
            ("float64", "int64"),
            ("decimal(2)", "decimal(18)"),
            ("decimal(0)", "int64"),
            ("date", "timestamp"),
            ("text", "date"),
        ] {
            assert!(!is_narrower(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("float64", "float32"),
            ("int64", "int32"),
            ("uint16", "uint8"),
            ("decimal(18)", "decimal(2)"),
            ("decimal(2)", "int64"),
            ("decimal(2)", "float64"),
            ("timestamp", "date"),
        ] {
            assert!(is_narrower(from, to), "{from} {to}");
        }
    }

    #[test]
    fn types_that_hold_the_same_values_have_one_name() {
        let of = |ty: DataType| type_name(&ty);
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(of(dictionary), of(DataType::LargeUtf8));
        assert_eq!(
            of(DataType::Decimal128(38, 2)),
            of(DataType::Decimal64(18, 2))
        );
        assert_eq!(of(DataType::Float32), "float32");
        assert_eq!(of(DataType::Int64), "int64");
    }
}

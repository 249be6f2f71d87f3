//! `items/` and `users/`: a snapshot for every day. Nothing in them changes over the days, so each is made once and copied.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Decimal128Builder, ListBuilder, MapBuilder, MapFieldNames,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::{Datelike, NaiveDate};

use super::Progress;
use super::batch::{BATCH, item_id, user_id};
use super::catalogue::Catalogue;
use super::error::GenerateError;
use super::parquet_out::{Table, field};
use super::spec::Spec;
use super::stream::{Domain, Stream};
use super::words::{AGE_BANDS, COUNTRIES, GENDERS, USER_TAGS};
use crate::random::mix;

const DAY: i64 = 86_400_000_000;
/// Days from 0001-01-01 to 1970-01-01, to turn a day of the common era into Arrow's date.
const EPOCH: i32 = 719_163;

/// Writes the catalogue.
pub(super) fn write_items(
    spec: &Spec,
    catalogue: &Catalogue,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), GenerateError> {
    let mut table: Option<Table> = None;
    let first = snapshot(spec, "items", spec.start());
    let midnight = spec
        .start()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros();
    for from in (0..catalogue.items.len()).step_by(BATCH) {
        let to = (from + BATCH).min(catalogue.items.len());
        let batch = items(catalogue, from, to, midnight)?;
        write_to(&mut table, &first, &batch)?;
        progress(Progress {
            stage: "items",
            done: to as u64,
            total: spec.items,
        });
    }
    close(table)?;
    repeat(spec, "items")
}

/// Writes the users.
pub(super) fn write_users(
    spec: &Spec,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), GenerateError> {
    let mut table: Option<Table> = None;
    let first = snapshot(spec, "users", spec.start());
    for from in (0..spec.users).step_by(BATCH) {
        let to = (from + BATCH as u64).min(spec.users);
        let batch = users(spec, from, to)?;
        write_to(&mut table, &first, &batch)?;
        progress(Progress {
            stage: "users",
            done: to,
            total: spec.users,
        });
    }
    close(table)?;
    repeat(spec, "users")
}

fn snapshot(spec: &Spec, kind: &str, date: NaiveDate) -> PathBuf {
    spec.out
        .join(kind)
        .join(format!("ds={date}"))
        .join("part-00000.parquet")
}

fn write_to(
    table: &mut Option<Table>,
    path: &Path,
    batch: &RecordBatch,
) -> Result<(), GenerateError> {
    let mut open = match table.take() {
        Some(open) => open,
        None => Table::create(
            path.to_path_buf(),
            batch.schema(),
            &["item_id", "user_id", "title", "description"],
        )?,
    };
    open.write(batch)?;
    *table = Some(open);
    Ok(())
}

fn close(table: Option<Table>) -> Result<(), GenerateError> {
    table.map_or(Ok(()), Table::close)
}

fn repeat(spec: &Spec, kind: &str) -> Result<(), GenerateError> {
    let first = snapshot(spec, kind, spec.start());
    for date in spec.dates().skip(1) {
        let path = snapshot(spec, kind, date);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|e| GenerateError::io("create the folder", folder, e))?;
        }
        fs::copy(&first, &path).map_err(|e| GenerateError::io("write", &path, e))?;
    }
    Ok(())
}

fn items(
    catalogue: &Catalogue,
    from: usize,
    to: usize,
    midnight: i64,
) -> Result<RecordBatch, GenerateError> {
    let mut text = String::new();
    let mut ids = StringBuilder::new();
    let mut title = StringBuilder::new();
    let mut description = StringBuilder::new();
    let mut category = StringBuilder::new();
    let mut brand = StringBuilder::new();
    let mut price = Decimal128Builder::new().with_data_type(DataType::Decimal128(18, 4));
    let mut unit_cost = Decimal128Builder::new().with_data_type(DataType::Decimal128(18, 4));
    let mut currency = StringBuilder::new();
    // The names that Parquet's specification gives to a map's parts.
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut attributes = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    let mut created = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    for (number, item) in catalogue.items.iter().enumerate().take(to).skip(from) {
        item_id(&mut text, number as u64);
        ids.append_value(&text);
        text.clear();
        item.write_title(&mut text);
        title.append_value(&text);
        text.clear();
        item.write_description(&mut text);
        description.append_value(&text);
        category.append_value(item.category());
        brand.append_value(item.brand());
        price.append_value(i128::from(item.cents) * 100);
        unit_cost.append_value(i128::from(item.unit_cost()));
        currency.append_value("USD");
        let mut pair = |key: &str, value: &str| {
            attributes.keys().append_value(key);
            attributes.values().append_value(value);
        };
        pair("type", item.niche());
        pair("style", item.style());
        if let Some(colour) = item.colour() {
            pair("colour", colour);
        }
        attributes.append(true)?;
        created.append_value(
            midnight - i64::from(item.age_days) * DAY + (mix(number as u64) % DAY as u64) as i64,
        );
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("item_id", Arc::new(ids.finish())),
        ("title", Arc::new(title.finish())),
        ("description", Arc::new(description.finish())),
        ("category", Arc::new(category.finish())),
        ("brand", Arc::new(brand.finish())),
        ("price", Arc::new(price.finish())),
        ("unit_cost", Arc::new(unit_cost.finish())),
        ("currency", Arc::new(currency.finish())),
        ("attributes", Arc::new(attributes.finish())),
        ("created_at", Arc::new(created.finish())),
    ];
    batch(columns)
}

fn users(spec: &Spec, from: u64, to: u64) -> Result<RecordBatch, GenerateError> {
    let mut text = String::new();
    let mut ids = StringBuilder::new();
    let mut age_band = StringBuilder::new();
    let mut gender = StringBuilder::new();
    let mut country = StringBuilder::new();
    let mut signup = Date32Builder::new();
    let mut tags = ListBuilder::new(StringBuilder::new());
    let first = spec.start().num_days_from_ce() - EPOCH;
    // A stream of a user's own, apart from the one that decides their taste.
    for user in from..to {
        let mut stream = Stream::new(mix(spec.seed), Domain::Users, user);
        user_id(&mut text, user);
        ids.append_value(&text);
        let known = stream.chance(0.85);
        age_band.append_option(known.then(|| *stream.pick(&AGE_BANDS)));
        let known = stream.chance(0.80);
        gender.append_option(known.then(|| {
            if stream.chance(0.04) {
                GENDERS[2]
            } else {
                *stream.pick(&GENDERS[..2])
            }
        }));
        // Half at home, the others abroad.
        country.append_value(if stream.chance(0.5) {
            COUNTRIES[0]
        } else {
            *stream.pick(&COUNTRIES)
        });
        signup.append_value(first - 1 - stream.below(1_500) as i32);
        for tag in USER_TAGS {
            if stream.chance(0.15) {
                tags.values().append_value(tag);
            }
        }
        tags.append(true);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(ids.finish())),
        ("age_band", Arc::new(age_band.finish())),
        ("gender", Arc::new(gender.finish())),
        ("country", Arc::new(country.finish())),
        ("signup_date", Arc::new(signup.finish())),
        ("tags", Arc::new(tags.finish())),
    ];
    batch(columns)
}

/// Columns as a batch, every field nullable.
pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, GenerateError> {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| field(name, column.data_type().clone()))
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, column)| column).collect(),
    )?)
}

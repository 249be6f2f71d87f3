//! The exports held against their truth: read back row by row and recomputed without the generator's own arithmetic.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use chrono::NaiveDate;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

mod bills;
mod clicks;

const DAY: i64 = 86_400_000_000;

/// Three days over the end of a month, with more faults than a real shop would have.
fn spec(out: &Path) -> Spec {
    Spec {
        users: 400,
        items: 150,
        events: 30_000,
        days: 3,
        rates: Rates {
            duplicates: 0.01,
            redelivered: 0.005,
            late: 0.02,
            malformed: 0.01,
            unknown_item: 0.003,
        },
        ..Spec::preset(
            Scale::Small,
            out,
            NaiveDate::from_ymd_opt(2026, 12, 1).unwrap(),
            11,
        )
    }
}

fn generated(spec: &Spec) -> Totals {
    generate(spec, &mut |_| {}).unwrap().totals
}

/// Files under a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder)
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(folder).unwrap().to_path_buf(),
                fs::read(&path).unwrap(),
            )
        })
        .collect()
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let values = batch.column_by_name(column).unwrap().as_string::<i32>();
    values.is_valid(row).then(|| values.value(row))
}

fn time(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let values = batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    values.is_valid(row).then(|| values.value(row))
}

fn money(batch: &RecordBatch, column: &str, row: usize) -> i128 {
    batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Decimal128Type>()
        .value(row)
}

fn number(batch: &RecordBatch, column: &str, row: usize) -> i64 {
    batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .value(row)
}

fn epoch_day(path: &Path) -> i64 {
    let folder = path
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let date: NaiveDate = folder.strip_prefix("ds=").unwrap().parse().unwrap();
    (date - NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days()
}

#[test]
fn the_same_spec_gives_the_same_bytes_with_one_thread_and_with_four() {
    let dir = tempfile::tempdir().unwrap();
    let with = |name: &str, threads| {
        // Enough events for several files a day.
        let spec = Spec {
            threads,
            events: 1_100_000,
            days: 2,
            ..spec(&dir.path().join(name))
        };
        generated(&spec);
        contents(&spec.out)
    };
    let (one, four) = (with("one", 1), with("four", 4));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        four.keys().collect::<Vec<_>>()
    );
    assert!(one.contains_key(Path::new("events/ds=2026-11-30/part-00001.parquet")));
    for (path, bytes) in &one {
        assert!(four[path] == *bytes, "{} differs", path.display());
    }
    let other = Spec {
        seed: 12,
        ..spec(&dir.path().join("other"))
    };
    generated(&other);
    assert!(
        contents(&other.out)[Path::new("events/ds=2026-12-01/part-00000.parquet")]
            != one[Path::new("events/ds=2026-12-01/part-00000.parquet")]
    );
}

#[test]
fn only_a_folder_of_our_own_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("exports");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.txt"), "irreplaceable").unwrap();
    let refused = generate(&spec(&out), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, GenerateError::NotOurs(_)), "{refused}");
    assert_eq!(files(&out).len(), 1);

    fs::remove_file(out.join("thesis.txt")).unwrap();
    generated(&spec(&out));
    let stale = out.join("events/ds=2026-11-29/part-00000.parquet");
    assert!(stale.exists());
    fs::write(out.join("notes.txt"), "kept").unwrap();
    generated(&Spec {
        days: 2,
        ..spec(&out)
    });
    assert!(!stale.exists() && out.join("notes.txt").exists());
}

#[test]
fn a_spec_that_makes_no_sense_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let base = spec(&dir.path().join("x"));
    for (bad, field) in [
        (
            Spec {
                users: 0,
                ..base.clone()
            },
            "users",
        ),
        (
            Spec {
                items: 3,
                ..base.clone()
            },
            "items",
        ),
        (
            Spec {
                days: 0,
                ..base.clone()
            },
            "days",
        ),
        (
            Spec {
                events: 5,
                ..base.clone()
            },
            "events",
        ),
        (
            Spec {
                rates: Rates {
                    late: f64::NAN,
                    ..base.rates
                },
                ..base.clone()
            },
            "rates.late",
        ),
    ] {
        let message = generate(&bad, &mut |_| {}).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`{field}` is ")), "{message}");
        assert!(!bad.out.exists());
    }
}

#[test]
fn true_tastes_are_far_ahead_of_popularity() {
    let dir = tempfile::tempdir().unwrap();
    let end = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
    let margin = generated(&Spec::preset(Scale::Small, dir.path().join("x"), end, 1))
        .margin
        .unwrap();
    assert!(
        margin.users > 100 && margin.ratio.unwrap() > 2.0,
        "{margin:?}"
    );
}

#[test]
fn every_item_has_a_unit_cost_below_its_price_and_a_niche_one_share() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(&dir.path().join("x"));
    generated(&spec);
    let items = read(&spec.out.join("items/ds=2026-11-30/part-00000.parquet"));
    let mut shares: BTreeMap<String, i128> = BTreeMap::new();
    for row in 0..items.num_rows() {
        let (price, cost) = (money(&items, "price", row), money(&items, "unit_cost", row));
        assert!(0 < cost && cost < price, "{cost} of {price}");
        assert_eq!(cost * 100 % price, 0);
        let attributes = items.column_by_name("attributes").unwrap().as_map();
        let kind = attributes.value(row);
        let kind = kind.column(1).as_string::<i32>().value(0).to_owned();
        let share = *shares.entry(kind).or_insert(cost * 100 / price);
        assert_eq!(cost * 100 / price, share);
    }
    assert!(shares.values().collect::<BTreeSet<_>>().len() > 3);
}

#[test]
fn an_alias_table_draws_by_weight() {
    let weights = [1.0, 0.0, 5.0, 4.0];
    let alias = stream::Alias::new(&weights);
    let mut random = stream::Stream::new(3, stream::Domain::Sessions, 0);
    let mut counts = [0u32; 4];
    for _ in 0..100_000 {
        counts[alias.sample(&mut random) as usize] += 1;
    }
    assert_eq!(counts[1], 0);
    for (count, weight) in counts.iter().zip(weights) {
        assert!(
            (f64::from(*count) - weight * 10_000.0).abs() < 600.0,
            "{counts:?}"
        );
    }
}

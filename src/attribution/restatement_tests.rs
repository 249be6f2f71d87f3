//! Restatements of random nights, by the SQL that books them: thousands of closed periods at once, corrected three times.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, RecordBatch, StringViewArray};
use arrow::datatypes::Decimal128Type;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::night_tests::{bill, night};
use super::test_support::*;
use super::*;
use crate::engine::{Engine, Library, Options};
use crate::warehouse::Type;

/// Period, then currency, target, model, version, stage and category.
type Key = [Option<String>; 7];
/// Billed and effective, usage and allocation basis.
type Amounts = [i128; 4];

const KEYS: [&str; 6] = [
    "currency",
    "target",
    "model_id",
    "model_version",
    "stage",
    "category",
];

fn key(period: &str, row: &Out) -> Key {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut parts = row.to.split('/');
    let [model, version, stage] = [0; 3].map(|_| parts.next());
    let (target, model) = match stage {
        Some(_) => ("model", model),
        None => (row.to.split(':').next().unwrap(), None),
    };
    [
        text(period),
        text(&row.currency),
        text(target),
        model.and_then(text),
        version.and_then(text),
        stage.and_then(text),
        text(row.category.as_str()),
    ]
}

fn add(sums: &mut BTreeMap<Key, Amounts>, key: Key, amounts: Amounts) {
    let sum = sums.entry(key).or_default();
    for (sum, amount) in sum.iter_mut().zip(amounts) {
        *sum += amount;
    }
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringViewArray>())
}

fn money(values: impl Iterator<Item = i128>) -> ArrayRef {
    let values = Decimal128Array::from_iter_values(values);
    Arc::new(values.with_data_type(Type::Money.arrow()))
}

/// A table of keys and amounts; `period` names its column of closed periods.
fn costs(period: &str, rows: &[(Key, Amounts)], booked_in: Option<&str>) -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = vec![];
    for (at, name) in [period].iter().chain(&KEYS).enumerate() {
        columns.push((*name, texts(rows.iter().map(|(key, _)| key[at].as_deref()))));
    }
    if let Some(open) = booked_in {
        columns.push(("billing_period", texts(rows.iter().map(|_| Some(open)))));
    }
    let names = [
        "usage_billed",
        "usage_effective",
        "allocation_billed",
        "allocation_effective",
    ];
    for (at, name) in names.into_iter().enumerate() {
        columns.push((name, money(rows.iter().map(|(_, amounts)| amounts[at]))));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

/// The columns of `late_allocations` that matter here.
fn allocations(rows: &[(String, Out)]) -> RecordBatch {
    let keys: Vec<Key> = rows.iter().map(|(period, row)| key(period, row)).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![];
    for (at, name) in ["billing_period"].iter().chain(&KEYS).enumerate() {
        columns.push((*name, texts(keys.iter().map(|key| key[at].as_deref()))));
    }
    columns.push((
        "basis",
        texts(rows.iter().map(|(_, row)| Some(row.basis.as_str()))),
    ));
    columns.push(("billed", money(rows.iter().map(|(_, row)| row.billed))));
    columns.push((
        "effective",
        money(rows.iter().map(|(_, row)| row.effective)),
    ));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

fn read(batches: &[RecordBatch]) -> Vec<(Key, Amounts)> {
    let mut rows = vec![];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |at: usize| {
                let column = arrow::compute::cast(batch.column(at), &Type::Text.arrow()).unwrap();
                let column = column.as_string_view().clone();
                (!arrow::array::Array::is_null(&column, row)).then(|| column.value(row).to_owned())
            };
            let amount = |at: usize| batch.column(at).as_primitive::<Decimal128Type>().value(row);
            rows.push(([0, 1, 2, 3, 4, 5, 6].map(text), [7, 8, 9, 10].map(amount)));
        }
    }
    rows
}

#[tokio::test]
async fn snapshot_and_restatements_are_todays_costs() {
    let options = Options {
        month: None,
        lateness_days: 0,
        memory: 1 << 30,
        threads: 2,
        spill: None,
        spill_limit: u64::MAX,
        settings: BTreeMap::new(),
        date: chrono::NaiveDate::default(),
    };
    let engine = Engine::open(&options, None, None).unwrap();
    let library = Library::load(Path::new("no such folder")).unwrap();
    let put = |name: &str, batch: RecordBatch| {
        let frame = engine.context().read_batch(batch).unwrap();
        let _ = engine.context().deregister_table(name);
        engine
            .context()
            .register_table(name, frame.into_view())
            .unwrap();
    };

    // Each night as it was closed, and as three corrections left it: rows gone, rows new.
    let mut runner = TestRunner::deterministic();
    let corrected = (night(), proptest::collection::vec(bill(), 3));
    let mut versions: [Vec<(String, Out)>; 4] = Default::default();
    for number in 0..cases().cases {
        let (mut night, more) = corrected.new_tree(&mut runner).unwrap().current();
        let period = format!("P{number}");
        for (version, rows) in versions.iter_mut().enumerate() {
            if version > 0 {
                let mut added = more[version - 1].clone();
                added.row_id = format!("late {version}");
                night.bills.push(added);
                let mut at = 0;
                night.bills.retain(|_| {
                    at += 1;
                    (at + version) % 5 != 0
                });
            }
            let (out, _) = run(&night.rules, &night.uses, &night.bills);
            rows.extend(out.into_iter().map(|row| (period.clone(), row)));
        }
    }

    let today = |rows: &[(String, Out)]| {
        let mut sums = BTreeMap::new();
        for (period, row) in rows {
            let usage = if row.basis == Basis::Usage { 1 } else { 0 };
            let amounts = [
                row.billed * usage,
                row.effective * usage,
                row.billed,
                row.effective,
            ];
            add(&mut sums, key(period, row), amounts);
        }
        sums
    };
    let snapshot: Vec<(Key, Amounts)> = today(&versions[0]).into_iter().collect();
    put("snapshots", costs("billing_period", &snapshot, None));
    let mut booked: Vec<(String, Vec<(Key, Amounts)>)> = vec![("none".into(), vec![])];
    let mut led_to: BTreeMap<Key, Amounts> = snapshot.iter().cloned().collect();
    for (round, rows) in versions.iter().enumerate().skip(1) {
        put("late_allocations", allocations(rows));
        let periods: std::collections::BTreeSet<&str> = versions
            .iter()
            .flatten()
            .map(|(period, _)| period.as_str())
            .collect();
        let periods =
            RecordBatch::try_from_iter([("billing_period", texts(periods.into_iter().map(Some)))])
                .unwrap();
        put("restated_periods", periods);
        let all = |booked: &[(String, Vec<(Key, Amounts)>)]| {
            let batches: Vec<RecordBatch> = booked
                .iter()
                .map(|(open, rows)| costs("restated_period", rows, Some(open)))
                .collect();
            arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
        };
        put("restatements", all(&booked));
        let found = engine
            .collect(library.get("attribution/restatements.sql").unwrap())
            .await
            .unwrap();
        let found = read(&found);
        assert!(!found.is_empty());
        for (key, amounts) in &found {
            add(&mut led_to, key.clone(), *amounts);
        }
        booked.push((format!("open {round}"), found));
        let costing = |sums: &BTreeMap<Key, Amounts>| -> BTreeMap<Key, Amounts> {
            sums.iter()
                .filter(|(_, amounts)| **amounts != [0; 4])
                .map(|(key, amounts)| (key.clone(), *amounts))
                .collect()
        };
        assert!(costing(&led_to) == costing(&today(rows)), "round {round}");
        // And the check that says so holds.
        put("restatements", all(&booked));
        let broken = engine
            .collect(
                library
                    .get("checks/restatements_lead_to_today.sql")
                    .unwrap(),
            )
            .await
            .unwrap();
        assert_eq!(broken.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}

//! The clickstream's planted faults, found by brute force.

use super::*;

/// What a reader finds wrong with a row of the events, if anything: written from the contract.
fn flaw(batch: &RecordBatch, row: usize) -> Option<(&'static str, &'static str)> {
    let kind = text(batch, "event_type", row).unwrap();
    let priced = ["view", "click", "cart", "purchase"].contains(&kind);
    let quantity = batch
        .column_by_name("quantity")
        .unwrap()
        .as_primitive::<Int32Type>();
    let valid = 1_577_836_800_000_000..4_102_444_800_000_000; // 2020 to 2100
    match time(batch, "event_time", row) {
        None => return Some(("event_time", "null_time")),
        Some(t) if !valid.contains(&t) => return Some(("event_time", "time_out_of_range")),
        _ => {}
    }
    if text(batch, "user_id", row).is_none() {
        Some(("user_id", "null_user"))
    } else if !["view", "search", "impression", "click", "cart", "purchase"].contains(&kind) {
        Some(("event_type", "unknown_event_type"))
    } else if priced && text(batch, "item_id", row).is_none() {
        Some(("item_id", "missing_item"))
    } else if priced && money(batch, "price", row) < 0 {
        Some(("price", "negative_price"))
    } else if priced && text(batch, "currency", row) != Some("USD") {
        Some(("currency", "bad_currency"))
    } else if kind == "purchase" && quantity.value(row) == 0 {
        Some(("quantity", "zero_quantity"))
    } else {
        None
    }
}

#[test]
fn every_planted_fault_is_found_in_the_files_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(&dir.path().join("x"));
    let totals = generated(&spec).events;

    let mut copies: BTreeMap<String, u32> = BTreeMap::new();
    let mut rows_of: BTreeMap<String, String> = BTreeMap::new();
    let mut malformed = BTreeSet::new();
    let (mut rows, mut late, mut unknown, mut sound) = (0, 0, 0, 0);
    let mut ranks = BTreeSet::new();
    for path in files(&spec.out.join("events")) {
        let batch = read(&path);
        let day = epoch_day(&path);
        let mut before = i64::MIN;
        for row in 0..batch.num_rows() {
            rows += 1;
            let id = text(&batch, "event_id", row).unwrap().to_owned();
            let whole = format!("{:?}", batch.slice(row, 1).columns());
            assert_eq!(
                *rows_of.entry(id.clone()).or_insert_with(|| whole.clone()),
                whole,
                "copies of {id} differ"
            );
            *copies.entry(id.clone()).or_default() += 1;
            let first = copies[&id] == 1;
            if let Some((column, kind)) = flaw(&batch, row) {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                malformed.insert((
                    day,
                    name,
                    row as u64,
                    column.to_owned(),
                    kind.to_owned(),
                    id,
                ));
                continue;
            }
            let at = time(&batch, "event_time", row).unwrap();
            assert!(
                at >= before,
                "row {row} of {} is out of order",
                path.display()
            );
            before = at;
            let lag = day - at.div_euclid(DAY);
            assert!((0..=2).contains(&lag));
            if !first {
                continue;
            }
            late += u64::from(lag > 0);
            sound += u64::from(lag == 0);
            unknown += u64::from(
                text(&batch, "item_id", row)
                    .is_some_and(|i| i[1..].parse::<u64>().unwrap() >= spec.items),
            );
            if text(&batch, "event_type", row) == Some("impression") {
                let rank = batch
                    .column_by_name("rank")
                    .unwrap()
                    .as_primitive::<Int32Type>()
                    .value(row);
                assert!(ranks.insert((text(&batch, "request_id", row).unwrap().to_owned(), rank)));
            }
        }
    }
    assert_eq!(rows, totals.rows);
    assert_eq!(copies.len() as u64, totals.distinct);
    assert_eq!(totals.distinct, spec.events);
    assert_eq!((late, unknown), (totals.late, totals.unknown_items));
    assert!(late > 100 && unknown > 10 && sound > 20_000);

    let truth = read(&spec.out.join("truth/duplicates.parquet"));
    let extra = truth
        .column_by_name("extra_copies")
        .unwrap()
        .as_primitive::<UInt32Type>();
    let planted: BTreeMap<String, u32> = (0..truth.num_rows())
        .map(|r| {
            (
                text(&truth, "event_id", r).unwrap().to_owned(),
                extra.value(r) + 1,
            )
        })
        .collect();
    copies.retain(|_, count| *count > 1);
    assert_eq!(planted, copies);
    assert_eq!(
        u64::from(extra.values().iter().sum::<u32>()),
        totals.duplicates
    );
    assert!(
        spec.out
            .join("events/ds=2026-12-01/redelivered.parquet")
            .exists()
    );

    let truth = read(&spec.out.join("truth/malformed.parquet"));
    let days = truth
        .column_by_name("ds")
        .unwrap()
        .as_primitive::<Date32Type>();
    let positions = truth
        .column_by_name("row")
        .unwrap()
        .as_primitive::<UInt64Type>();
    let own = |column, r| text(&truth, column, r).unwrap().to_owned();
    let planted: BTreeSet<_> = (0..truth.num_rows())
        .map(|r| {
            (
                i64::from(days.value(r)),
                own("file", r),
                positions.value(r),
                own("column", r),
                own("kind", r),
                own("event_id", r),
            )
        })
        .collect();
    assert_eq!(planted, malformed);
    assert_eq!(
        totals.malformed.values().sum::<u64>(),
        malformed.len() as u64
    );
    assert!(
        totals.malformed.values().all(|count| *count > 5),
        "{:?}",
        totals.malformed
    );
}

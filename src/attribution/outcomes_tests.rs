//! Crediting outcomes, against a twin that compares every outcome with every impression.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Int32Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use chrono::{NaiveDate, TimeDelta};
use futures::TryStreamExt;
use proptest::prelude::*;

use super::outcome_parts::Parts;
use super::outcomes::Outcomes;
use super::served::Shown as ServedShown;
use crate::engine::spool::{Spool, Spooled};

const HOUR: i64 = 3_600_000_000;

#[derive(Debug, Clone)]
struct Shown {
    hour: i64,
    user: &'static str,
    item: &'static str,
    request: &'static str,
    model: Option<&'static str>,
    version: Option<&'static str>,
    rank: i32,
}

#[derive(Debug, Clone)]
struct Done {
    hour: i64,
    user: &'static str,
    item: &'static str,
    request: Option<&'static str>,
}

fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringViewArray>())
}

fn times(hours: impl Iterator<Item = i64>) -> ArrayRef {
    let times = TimestampMicrosecondArray::from_iter_values(hours.map(|h| h * HOUR));
    Arc::new(times.with_timezone("UTC"))
}

fn impressions(rows: &[Shown]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("event_time", times(rows.iter().map(|r| r.hour)), false),
        ("user_id", text(rows.iter().map(|r| Some(r.user))), false),
        ("item_id", text(rows.iter().map(|r| Some(r.item))), false),
        (
            "request_id",
            text(rows.iter().map(|r| Some(r.request))),
            true,
        ),
        ("model_id", text(rows.iter().map(|r| r.model)), true),
        ("model_version", text(rows.iter().map(|r| r.version)), true),
        ("surface", text(rows.iter().map(|_| None)), true),
        (
            "rank",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.rank))),
            true,
        ),
    ])
    .unwrap()
}

fn candidates(rows: &[Done]) -> RecordBatch {
    let ids: Vec<String> = (0..rows.len()).map(|n| format!("{n:03}")).collect();
    let money = || -> ArrayRef {
        let none = Decimal128Array::from(vec![None; rows.len()]);
        Arc::new(none.with_precision_and_scale(38, 18).unwrap())
    };
    RecordBatch::try_from_iter_with_nullable([
        (
            "event_id",
            text(ids.iter().map(|i| Some(i.as_str()))),
            false,
        ),
        (
            "event_type",
            text(rows.iter().map(|_| Some("purchase"))),
            false,
        ),
        ("event_time", times(rows.iter().map(|r| r.hour)), false),
        ("user_id", text(rows.iter().map(|r| Some(r.user))), false),
        ("item_id", text(rows.iter().map(|r| Some(r.item))), false),
        ("request_id", text(rows.iter().map(|r| r.request)), true),
        ("currency", text(rows.iter().map(|_| None)), true),
        ("revenue", money(), true),
        ("margin", money(), true),
        ("margin_revenue", money(), true),
    ])
    .unwrap()
}

fn day(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(1970, 1, n).unwrap()
}

/// Event, how, impression: hour, request, model, version.
type Credit = (String, String, i64, String, String, Option<String>);

fn credit(batches: &[&[Shown]], done: &[Done], hours: i64, window: (u32, u32)) -> Vec<Credit> {
    let batches: Vec<RecordBatch> = batches.iter().map(|rows| impressions(rows)).collect();
    credit_of(candidates(done), &batches, hours, window)
}

/// The same, with outcomes and impressions divided by item.
fn in_parts(shown: &[Shown], done: &[Done], hours: i64, window: (u32, u32)) -> Vec<Credit> {
    let (outcomes, impressions) = (candidates(done), impressions(shown));
    let schemas = (&outcomes.schema(), &impressions.schema());
    let spool = |schema: &SchemaRef| Spool::new(Arc::default(), Arc::clone(schema), usize::MAX);
    let mut parts = Parts::new(3, done.len(), schemas, spool);
    parts.add_outcomes(&outcomes).unwrap();
    parts.add_impressions(&impressions).unwrap();
    let (parts, responses) = parts.finish().unwrap();
    let rows = |spooled: &Spooled| -> Vec<RecordBatch> {
        futures::executor::block_on(spooled.rows().unwrap().try_collect()).unwrap()
    };
    let mut found = vec![];
    for part in parts {
        let own = concat_batches(schemas.0, &rows(&part.outcomes)).unwrap();
        let seen = [rows(&part.impressions), rows(&responses)].concat();
        found.extend(credit_of(own, &seen, hours, window));
    }
    found.sort();
    found
}

fn credit_of(
    candidates: RecordBatch,
    impressions: &[RecordBatch],
    hours: i64,
    window: (u32, u32),
) -> Vec<Credit> {
    let mut outcomes = Outcomes::new(candidates, TimeDelta::hours(hours)).unwrap();
    for batch in impressions {
        outcomes.see(batch).unwrap();
    }
    let window = (day(window.0), day(window.1));
    let days = outcomes.credit(window, &Default::default()).unwrap();
    let mut found = vec![];
    for (day, rows) in days {
        let texts = |name: &str| rows.column_by_name(name).unwrap().as_string_view().clone();
        let (id, by) = (texts("event_id"), texts("credited_by"));
        let (request, model, version) = (
            texts("request_id"),
            texts("model_id"),
            texts("model_version"),
        );
        let time = rows.column_by_name("impression_time").unwrap();
        let time = time.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            let hour = time.value(row) / HOUR;
            assert_eq!(day, self::day(hour as u32 / 24 + 1));
            let version = version.iter().nth(row).unwrap().map(str::to_string);
            found.push((
                id.value(row).to_string(),
                by.value(row).to_string(),
                hour,
                request.value(row).to_string(),
                model.value(row).to_string(),
                version,
            ));
        }
    }
    found.sort();
    found
}

/// The rule as it is written in docs/attribution.md, outcome by outcome.
fn twin(shown: &[Shown], done: &[Done], hours: i64, window: (u32, u32)) -> Vec<Credit> {
    let mut credits = vec![];
    for (n, outcome) in done.iter().enumerate() {
        let of_model = || shown.iter().filter(|s| s.model.is_some());
        let named: Vec<&Shown> = of_model()
            .filter(|s| Some(s.request) == outcome.request && s.item == outcome.item)
            .collect();
        let known = shown.iter().any(|s| Some(s.request) == outcome.request);
        let (how, mut found) = if !named.is_empty() {
            ("request", named)
        } else if known || hours == 0 {
            continue;
        } else {
            let touched = of_model().filter(|s| {
                let age = outcome.hour - s.hour;
                s.user == outcome.user && s.item == outcome.item && age >= 0 && age <= hours
            });
            ("last_touch", touched.collect())
        };
        found.sort_by_key(|s| {
            let after = s.hour > outcome.hour;
            (
                after,
                (outcome.hour - s.hour).abs(),
                s.rank,
                s.model,
                s.version,
                s.request,
            )
        });
        let Some(best) = found.first() else { continue };
        let day = best.hour as u32 / 24 + 1;
        if day >= window.0 && day <= window.1 {
            credits.push((
                format!("{n:03}"),
                how.to_string(),
                best.hour,
                best.request.to_string(),
                best.model.unwrap_or_default().to_string(),
                best.version.map(str::to_string),
            ));
        }
    }
    credits
}

fn shown() -> impl Strategy<Value = Shown> {
    let pick = |values: &'static [&'static str]| prop::sample::select(values);
    (
        0_i64..96,
        pick(&["u1", "u2"]),
        pick(&["shoe", "hat"]),
        pick(&["r1", "r2", "r3", "r4"]),
        prop::option::weighted(0.8, pick(&["als", "top"])),
        prop::option::of(pick(&["v1", "v2"])),
        0_i32..3,
    )
        .prop_map(|(hour, user, item, request, model, version, rank)| Shown {
            hour,
            user,
            item,
            request,
            model,
            version,
            rank,
        })
}

fn done() -> impl Strategy<Value = Done> {
    let pick = |values: &'static [&'static str]| prop::sample::select(values);
    (
        0_i64..120,
        pick(&["u1", "u2"]),
        pick(&["shoe", "hat"]),
        prop::option::of(pick(&["r1", "r2", "r9"])),
    )
        .prop_map(|(hour, user, item, request)| Done {
            hour,
            user,
            item,
            request,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn each_outcome_is_credited_once_and_as_the_rule_says(
        mut shown in prop::collection::vec(shown(), 0..12), done in prop::collection::vec(done(), 0..8),
        hours in prop_oneof![Just(0_i64), 1_i64..48], cut in 0_usize..12, window in (1_u32..4, 1_u32..5)) {
        let expected = twin(&shown, &done, hours, window);
        let (first, second) = shown.split_at(cut.min(shown.len()));
        prop_assert_eq!(&credit(&[first, second], &done, hours, window), &expected);
        prop_assert_eq!(&in_parts(&shown, &done, hours, window), &expected);
        shown.reverse();
        prop_assert_eq!(&credit(&[&shown], &done, hours, window), &expected);
    }
}

#[test]
fn a_request_in_the_log_is_an_answer_and_one_that_is_not_leaves_the_last_touch() {
    let shown = |hour, item, request, model| Shown {
        hour,
        user: "u1",
        item,
        request,
        model,
        version: None,
        rank: 1,
    };
    let log = [
        shown(1, "shoe", "home", Some("als")),
        shown(3, "shoe", "search", None),
        shown(5, "hat", "home2", Some("als")),
    ];
    let done = |hour, item, request| Done {
        hour,
        user: "u1",
        item,
        request,
    };
    let outcomes = [
        // A search result that was bought: the shoe shown at 1 has no part in it.
        done(4, "shoe", Some("search")),
        // The checkout's own request is none of the log's.
        done(6, "shoe", Some("checkout")),
        // 24 hours are the window, its end included; later is too late.
        done(25, "shoe", None),
        done(26, "shoe", None),
        // A request says so, however late.
        done(90, "hat", Some("home2")),
    ];
    let found = credit(&[&log], &outcomes, 24, (1, 1));
    let found: Vec<_> = found
        .iter()
        .map(|c| (c.0.as_str(), c.1.as_str(), c.3.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("001", "last_touch", "home"),
            ("002", "last_touch", "home"),
            ("004", "request", "home2")
        ]
    );
}

#[test]
fn what_came_of_a_repeated_showing_is_credited_to_the_recommendation_as_it_was_shown_first() {
    let shown = |hour, version| Shown {
        hour,
        user: "u1",
        item: "shoe",
        request: "home",
        model: Some("als"),
        version: Some(version),
        rank: 1,
    };
    let done = [Done {
        hour: 4,
        user: "u1",
        item: "shoe",
        request: Some("home"),
    }];
    let mut outcomes = Outcomes::new(candidates(&done), TimeDelta::hours(24)).unwrap();
    for showing in [shown(1, "v1"), shown(3, "v2")] {
        outcomes.see(&impressions(&[showing])).unwrap();
    }
    let again = ServedShown::again(day(1), ("als", "home", "shoe"), ("v1", "cart"));
    let days = outcomes.credit((day(1), day(1)), &again).unwrap();
    let rows = &days[&day(1)];
    let text = |name: &str| rows.column_by_name(name).unwrap().as_string_view().value(0);
    assert_eq!((text("model_version"), text("surface")), ("v1", "cart"));
    // The showing itself is the one that was touched.
    let time = rows.column_by_name("impression_time").unwrap();
    let time = time.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(time.value(0), 3 * HOUR);
}

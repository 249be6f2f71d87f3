//! The unit view: what a version cost to make, rolled forward.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use proptest::prelude::*;

use super::service_life::*;

fn day(n: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 10, 1).unwrap() + Days::new(n)
}

/// Version (empty: none), day, value.
fn by_version<T: Copy + std::ops::AddAssign + Default>(rows: &[(&str, u64, T)]) -> ByVersion<T> {
    let mut map: ByVersion<T> = BTreeMap::new();
    for (version, at, value) in rows {
        let version = (!version.is_empty()).then(|| (*version).to_string());
        *map.entry(version).or_default().entry(day(*at)).or_default() += *value;
    }
    map
}

fn policy(text: &str) -> Policy {
    let life: ServiceLife = toml::from_str(text).unwrap();
    assert_eq!(life.mistake(), None);
    life.policy("m")
}

/// Day, version, incurred, transferred, recognised, written off, closing.
type Line = (u64, String, i128, i128, i128, i128, i128);

fn lines(
    policy: &Policy,
    incurred: &[(&str, u64, i128)],
    served: &[(&str, u64, u64)],
    through: u64,
) -> Vec<Line> {
    let moves = roll_forward(
        policy,
        &by_version(incurred),
        &by_version(served),
        day(through),
    );
    let line = |m: Movement| {
        let at = (m.day - day(0)).num_days().unsigned_abs();
        let version = m.version.unwrap_or_default();
        (
            at,
            version,
            m.incurred,
            m.transferred,
            m.recognised,
            m.written_off,
            m.closing,
        )
    };
    moves.unwrap().into_iter().map(line).collect()
}

fn line(at: u64, version: &str, amounts: [i128; 5]) -> Line {
    let [incurred, transferred, recognised, written_off, closing] = amounts;
    (
        at,
        version.into(),
        incurred,
        transferred,
        recognised,
        written_off,
        closing,
    )
}

#[test]
fn a_life_of_days_is_straight_and_its_last_day_takes_the_rest() {
    let served: Vec<_> = (2..7).map(|d| ("v1", d, 9)).collect();
    let found = lines(
        &policy("days = 3"),
        &[("v1", 0, 70), ("v1", 1, 30)],
        &served,
        9,
    );
    assert_eq!(
        found,
        [
            line(0, "v1", [70, 0, 0, 0, 70]),
            line(1, "v1", [30, 0, 0, 0, 100]),
            line(2, "v1", [0, 0, 33, 0, 67]),
            line(3, "v1", [0, 0, 34, 0, 33]),
            line(4, "v1", [0, 0, 33, 0, 0]),
        ]
    );
}

#[test]
fn a_life_of_recommendations_goes_with_what_was_served_and_not_beyond() {
    let served = [("v1", 0, 30), ("v1", 1, 10), ("v1", 2, 500)];
    let found = lines(
        &policy("recommendations = 100"),
        &[("v1", 0, 1000)],
        &served,
        9,
    );
    assert_eq!(
        found,
        [
            line(0, "v1", [1000, 0, 300, 0, 700]),
            line(1, "v1", [0, 0, 100, 0, 600]),
            line(2, "v1", [0, 0, 600, 0, 0]),
        ]
    );
}

#[test]
fn what_comes_later_goes_over_what_is_left_and_after_the_end_at_once() {
    let served: Vec<_> = (0..4).map(|d| ("v1", d, 1)).collect();
    let costs = [("v1", 0, 40), ("v1", 2, 20), ("v1", 6, 7), ("v1", 8, -3)];
    let found = lines(&policy("days = 4"), &costs, &served, 9);
    assert_eq!(
        found,
        [
            line(0, "v1", [40, 0, 10, 0, 30]),
            line(1, "v1", [0, 0, 10, 0, 20]),
            line(2, "v1", [20, 0, 20, 0, 20]),
            line(3, "v1", [0, 0, 20, 0, 0]),
            line(6, "v1", [7, 0, 7, 0, 0]),
            line(8, "v1", [-3, 0, -3, 0, 0]),
        ]
    );
}

#[test]
fn a_version_that_never_served_keeps_its_cost_in_sight() {
    let found = lines(
        &policy(""),
        &[("x", 0, 5), ("x", 3, 6)],
        &[("v1", 0, 1)],
        900,
    );
    assert_eq!(
        found,
        [
            line(0, "x", [5, 0, 0, 0, 5]),
            line(3, "x", [6, 0, 0, 0, 11])
        ]
    );
}

#[test]
fn a_superseded_version_is_written_off_and_what_comes_later_for_it_too() {
    let served = [("v1", 0, 1), ("v2", 1, 1), ("v2", 9, 1)];
    let found = lines(
        &policy("days = 10\nsuperseded_after_days = 3"),
        &[("v1", 0, 100), ("v1", 5, 4)],
        &served,
        9,
    );
    assert_eq!(
        found,
        [
            line(0, "v1", [100, 0, 10, 0, 90]),
            line(3, "v1", [0, 0, 0, 90, 0]),
            line(5, "v1", [4, 0, 0, 4, 0]),
        ]
    );
}

#[test]
fn a_pause_of_the_whole_shop_supersedes_nobody() {
    let served = [("v1", 0, 1), ("v1", 8, 1)];
    let policy = policy("days = 2\nsuperseded_after_days = 3");
    let found = lines(&policy, &[("v1", 0, 10)], &served, 9);
    assert_eq!(
        found,
        [
            line(0, "v1", [10, 0, 5, 0, 5]),
            line(8, "v1", [0, 0, 5, 0, 0])
        ]
    );
}

#[test]
fn a_version_shown_again_after_its_write_off_goes_on_with_what_is_left_of_its_life() {
    let served = [("v1", 0, 1), ("v2", 1, 1), ("v1", 6, 1)];
    let policy = policy("days = 3\nsuperseded_after_days = 2");
    let found = lines(&policy, &[("v1", 0, 30), ("v1", 6, 8)], &served, 9);
    assert_eq!(
        found,
        [
            line(0, "v1", [30, 0, 10, 0, 20]),
            line(2, "v1", [0, 0, 0, 20, 0]),
            line(6, "v1", [8, 0, 4, 0, 4]),
        ]
    );
}

#[test]
fn a_date_retires_a_version_whatever_is_shown() {
    let policy =
        policy("days = 10\n[models.m]\nretired = { v1 = 2026-10-03, \"7\" = \"2026-12-01\" }");
    let served: Vec<_> = (0..6).map(|d| ("v1", d, 1)).collect();
    let found = lines(&policy, &[("v1", 0, 100)], &served, 9);
    assert_eq!(
        found,
        [
            line(0, "v1", [100, 0, 10, 0, 90]),
            line(1, "v1", [0, 0, 10, 0, 80]),
            line(2, "v1", [0, 0, 0, 80, 0]),
        ]
    );
}

#[test]
fn cost_without_a_version_waits_for_the_next_one_and_moves_to_it() {
    let costs = [("", 0, 60), ("v1", 1, 4), ("", 2, 20), ("", 3, 9)];
    let served = [("v1", 2, 3), ("v1", 3, 3), ("v2", 5, 1), ("v3", 5, 2)];
    let found = lines(&policy("days = 2"), &costs, &served, 9);
    assert_eq!(
        found,
        [
            line(0, "", [60, 0, 0, 0, 60]),
            line(1, "v1", [4, 0, 0, 0, 4]),
            line(2, "", [20, -80, 0, 0, 0]),
            line(2, "v1", [0, 80, 42, 0, 42]),
            line(3, "", [9, 0, 0, 0, 9]),
            line(3, "v1", [0, 0, 42, 0, 0]),
            line(5, "", [0, -9, 0, 0, 0]),
            line(5, "v2", [0, 3, 2, 0, 1]),
            line(5, "v3", [0, 6, 3, 0, 3]),
        ]
    );
    let at_once = policy("days = 2\nwithout_version = \"at_once\"");
    let found = lines(&at_once, &[("", 0, 60)], &served, 9);
    assert_eq!(found, [line(0, "", [60, 0, 60, 0, 0])]);
}

#[test]
fn a_log_without_versions_is_a_version_of_its_own() {
    let found = lines(
        &policy("days = 2"),
        &[("", 0, 60)],
        &[("", 1, 5), ("", 2, 5)],
        9,
    );
    assert_eq!(
        found,
        [
            line(0, "", [60, 0, 0, 0, 60]),
            line(1, "", [0, 0, 30, 0, 30]),
            line(2, "", [0, 0, 30, 0, 0]),
        ]
    );
}

#[test]
fn a_model_has_its_own_life_and_mistakes_are_named() {
    let life: ServiceLife = toml::from_str(
        "days = 90\n[models.m]\nrecommendations = 5\n[models.n]\nsuperseded_after_days = 1",
    )
    .unwrap();
    let texts = ["m", "n", "o"].map(|m| life.policy(m).to_string());
    assert_eq!(
        texts,
        [
            "recommendations=5 superseded_after_days=30 without_version=next_version",
            "days=90 superseded_after_days=1 without_version=next_version",
            "days=90 superseded_after_days=30 without_version=next_version",
        ]
    );
    let mistake = |text: &str| toml::from_str::<ServiceLife>(text).unwrap().mistake();
    assert!(
        mistake("days = 1\nrecommendations = 1")
            .unwrap()
            .contains("both")
    );
    assert!(
        mistake("[models.m]\ndays = 0")
            .unwrap()
            .contains("models.m")
    );
    assert!(mistake("superseded_after_days = 0").is_some());
    let wrong = toml::from_str::<ServiceLife>("[models.m]\nretired = { v1 = \"soon\" }");
    assert!(wrong.unwrap_err().to_string().contains("soon"));
    assert!(toml::from_str::<ServiceLife>("dais = 3").is_err());
}

fn amount() -> impl Strategy<Value = i128> {
    prop_oneof![
        Just(0),
        -9_i128..99,
        (any::<i128>(), 24_u32..128).prop_map(|(value, shift)| value >> shift),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", "v1", "v2", "v3"][..])
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let life = prop_oneof![
        (1_u64..9).prop_map(Life::Days),
        (1_u64..60).prop_map(Life::Recommendations),
        any::<u64>().prop_map(|n| Life::Recommendations(n.max(1))),
    ];
    let retired = prop::option::weighted(0.3, 0_u64..20);
    (life, 1_u32..6, any::<bool>(), retired).prop_map(|(life, after, at_once, retired)| Policy {
        life,
        superseded_after_days: after,
        without_version: match at_once {
            true => WithoutVersion::AtOnce,
            false => WithoutVersion::NextVersion,
        },
        retired: retired
            .map(|at| ("v1".to_string(), day(at)))
            .into_iter()
            .collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_history_closes(policy in any_policy(),
        costs in prop::collection::vec((name(), 0_u64..20, amount()), 0..12),
        shown in prop::collection::vec((name(), 0_u64..20, 0_u64..30), 0..16), cut in 0_u64..22) {
        let (incurred, served) = (by_version(&costs), by_version(&shown));
        let moves = roll_forward(&policy, &incurred, &served, day(30)).unwrap();
        let mut closing: BTreeMap<Option<String>, (i128, u64)> = BTreeMap::new();
        let mut moved: BTreeMap<NaiveDate, i128> = BTreeMap::new();
        for m in &moves {
            let before = closing.get(&m.version);
            prop_assert_eq!(m.opening, before.map_or(0, |b| b.0));
            prop_assert_eq!(m.opening + m.incurred + m.transferred - m.recognised - m.written_off, m.closing);
            prop_assert!(before.is_none_or(|b| m.life_before <= b.1));
            prop_assert_eq!(m.life_before - m.used, m.life_after);
            let available = m.closing + m.recognised + m.written_off;
            prop_assert!(m.recognised.abs() <= available.abs());
            prop_assert!(m.recognised.signum() * available.signum() >= 0);
            prop_assert!(m.life_after > 0 || m.closing == 0);
            closing.insert(m.version.clone(), (m.closing, m.life_after));
            *moved.entry(m.day).or_default() += m.transferred;
        }
        // Every day of the input is in some movement, and nothing else is.
        let total: i128 = costs.iter().map(|c| c.2).sum();
        prop_assert_eq!(moves.iter().map(|m| m.incurred).sum::<i128>(), total);
        prop_assert!(moved.values().all(|sum| *sum == 0));
        let left: i128 = closing.values().map(|c| c.0).sum();
        let gone: i128 = moves.iter().map(|m| m.recognised + m.written_off).sum();
        prop_assert_eq!(gone + left, total);

        // What was reported up to a day stays whatever comes after it.
        let until = |rows: &[(&'static str, u64, i128)]| rows.iter().copied().filter(|r| r.1 <= cut).collect::<Vec<_>>();
        let seen: Vec<_> = shown.iter().copied().filter(|s| s.1 <= cut).collect();
        let then = roll_forward(&policy, &by_version(&until(&costs)), &by_version(&seen), day(cut)).unwrap();
        let now: Vec<_> = moves.iter().filter(|m| m.day <= day(cut)).cloned().collect();
        prop_assert_eq!(then, now);

        // A reversal of all costs is the reverse of the ledger.
        let reversed: Vec<_> = costs.iter().map(|c| (c.0, c.1, -c.2)).collect();
        let back = roll_forward(&policy, &by_version(&reversed), &served, day(30)).unwrap();
        let recognised = |moves: &[Movement]| moves.iter().map(|m| (m.day, m.version.clone(), m.recognised, m.written_off)).collect::<Vec<_>>();
        let negated: Vec<_> = recognised(&moves).into_iter().map(|m| (m.0, m.1, -m.2, -m.3)).collect();
        prop_assert_eq!(recognised(&back), negated);
    }
}

//! Whole random nights: what must hold whatever the bill, the rules and the drivers.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::test_support::*;
use super::*;
use crate::money::Money;

fn amount() -> impl Strategy<Value = Money> {
    prop_oneof![
        Just(Money::ZERO),
        (-20_i128..100).prop_map(Money),
        (any::<i128>(), 20_u32..128).prop_map(|(value, shift)| Money(value >> shift)),
        (-5_000_i128..100_000).prop_map(|cents| Money(cents * 10_i128.pow(16))),
    ]
}

fn text(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(values).prop_map(str::to_owned)
}

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::of(text(values))
}

fn some_tags() -> impl Strategy<Value = Tags> {
    let key = text(&["model", "Model ", "stage", "model_version", "team"]);
    let value = text(&["A", "b", "nobody", "training", "x", " "]);
    let tags = prop::collection::vec((key, value), 0..4);
    prop_oneof![3 => Just(Vec::new()), 2 => tags]
}

pub(super) fn bill() -> impl Strategy<Value = Bill> {
    let start =
        (0_i64..2, 0_i64..24, prop::bool::weighted(0.8)).prop_map(
            |(day, hour, daily)| match daily {
                true => (day * DAY, (day + 1) * DAY),
                false => (day * DAY + hour * HOUR, day * DAY + (hour + 1) * HOUR),
            },
        );
    let parties = (
        maybe(&["i1", "i2", "i3"]),
        maybe(&["aws", "gcp"]),
        maybe(&["acc1", "acc2"]),
    );
    let what = (
        maybe(&["gpu1", "gpu1", "gpu2", "cpu1", "bucket", "other"]),
        maybe(&["ec2", "s3"]),
        select(
            &[
                "Usage",
                "usage",
                "Usage",
                "Purchase",
                "Tax",
                "Credit",
                "Adjustment",
            ][..],
        ),
        select(&Category::ALL[..3]),
    );
    let split = (
        prop::option::weighted(0.1, text(&["eks"])),
        some_tags(),
        maybe(&["Used", "Unused"]),
    );
    let when = (
        start,
        text(&["2026-10", "2026-11"]),
        select(&["USD", "EUR"][..]),
    );
    (
        when,
        parties,
        what,
        some_tags(),
        split,
        (amount(), amount()),
    )
        .prop_map(|(when, parties, what, tags, split, amounts)| Bill {
            row_id: String::new(),
            period: when.0,
            billing_period: when.1,
            currency: when.2,
            invoice: parties.0,
            issuer: parties.1,
            account: parties.2,
            resource: what.0,
            service: what.1,
            charge_category: what.2,
            category: what.3,
            tags,
            allocated_method: split.0,
            allocated_tags: split.1,
            columns: split
                .2
                .map(|status| ("commitment_discount_status".to_owned(), status))
                .into_iter()
                .collect(),
            billed: amounts.0,
            effective: amounts.1,
        })
}

fn usage_row() -> impl Strategy<Value = Use> {
    let weight = || prop_oneof![Just(0_u64), 1_u64..20, any::<u64>()];
    (
        select(
            &[
                "gpu_ns",
                "gpu_ns",
                "cpu_ns",
                "bytes",
                "requests",
                "timesheet",
            ][..],
        ),
        maybe(&["gpu1", "gpu1", "gpu2", "cpu1", "bucket"]),
        0_i64..48,
        text(&["A", "B", "C", "a"]),
        prop::option::of(select(Stage::ALL)),
        (
            weight(),
            prop::option::of(weight()),
            prop::option::of(weight()),
        ),
    )
        .prop_map(|(driver, resource, hour, model, stage, amounts)| Use {
            driver,
            resource,
            start: hour * HOUR,
            model,
            stage,
            weight: amounts.0,
            reserved: amounts.1,
            capacity: amounts.2,
        })
}

fn rule() -> impl Strategy<Value = Rule> {
    let target = prop_oneof![
        Just(Rule::new("", RuleTarget::Idle)),
        Just(Rule::new("", RuleTarget::Unallocated)),
        Just(Rule::new("", RuleTarget::Credit)),
        Just(Rule::new("", RuleTarget::Tax)),
        Just(Rule {
            model: Some("C".to_owned()),
            ..Rule::new("", RuleTarget::Model)
        }),
        (0_u64..=100).prop_map(|share| {
            let percent = |percent| Percent(percent * 1_000_000);
            let shares = [
                ("A".to_owned(), percent(share)),
                ("B".to_owned(), percent(100 - share)),
            ];
            Rule {
                shares: Some(shares.into()),
                ..Rule::new("", RuleTarget::Model)
            }
        }),
        Just(Rule {
            models: Some(["C", "A", "B"].map(str::to_owned).into()),
            ..Rule::new("", RuleTarget::Model).driven_by("even")
        }),
        Just(Rule::new("", RuleTarget::Pool).driven_by("timesheet")),
        Just(Rule {
            stage: Some(Stage::Upgrade),
            ..Rule::new("", RuleTarget::Machine).driven_by("gpu_ns")
        }),
    ];
    let matched = prop_oneof![
        text(&["e*2", "s3", ""]).prop_map(|pattern| ("service_name", pattern)),
        text(&["gpu1", "buck*", "*"]).prop_map(|pattern| ("resource_id", pattern)),
        text(&["x", "*"]).prop_map(|pattern| ("tags.team", pattern)),
    ];
    (target, matched).prop_map(|(rule, (column, pattern))| rule.matching(column, &[&pattern]))
}

#[derive(Debug, Clone)]
pub(super) struct Night {
    pub rules: Vec<Rule>,
    pub uses: Vec<Use>,
    pub bills: Vec<Bill>,
}

pub(super) fn night() -> impl Strategy<Value = Night> {
    let parts = (
        prop::collection::vec(rule(), 0..3),
        prop::collection::vec(usage_row(), 0..16),
        prop::collection::vec(bill(), 0..20),
    );
    parts.prop_map(|(mut rules, uses, mut bills)| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("own {index}");
        }
        for (index, bill) in bills.iter_mut().enumerate() {
            bill.row_id = format!("row {index}");
        }
        rules.extend(default_rules());
        Night { rules, uses, bills }
    })
}

fn sums<K: Ord>(rows: impl Iterator<Item = (K, i128, i128)>) -> BTreeMap<K, (i128, i128)> {
    let mut sums = BTreeMap::new();
    for (key, billed, effective) in rows {
        let sum = sums.entry(key).or_insert((0, 0));
        *sum = (sum.0 + billed, sum.1 + effective);
    }
    sums
}

fn sorted(mut rows: Vec<Out>) -> Vec<Out> {
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_unit_ends_exactly_once(night in night()) {
        let (rows, _) = run(&night.rules, &night.uses, &night.bills);
        let usage = || rows.iter().filter(|row| row.basis == Basis::Usage);
        let bills = night.bills.iter();
        // I1: per row, billed and effective.
        let billed = sums(bills.clone().map(|bill| (bill.row_id.clone(), bill.billed.0, bill.effective.0)));
        prop_assert_eq!(sums(usage().map(|row| (row.row_id.clone(), row.billed, row.effective))), billed);
        // I2: per currency and billing period, on both bases.
        let key = |currency: &str, period: &str| (currency.to_owned(), period.to_owned());
        let total = sums(bills.clone().map(|bill| (key(bill.currency, &bill.billing_period), bill.billed.0, bill.effective.0)));
        let by_period = |row: &Out| (key(&row.currency, &row.billing_period), row.billed, row.effective);
        prop_assert_eq!(&sums(rows.iter().map(by_period)), &total);
        prop_assert_eq!(&sums(usage().map(by_period)), &total);
        // I5: each part is in the currency of its row.
        let currencies: BTreeMap<&str, &str> = bills.map(|bill| (bill.row_id.as_str(), bill.currency)).collect();
        for row in usage() {
            prop_assert_eq!(currencies[row.row_id.as_str()], &row.currency);
        }
    }

    /// I5: what is billed in one currency decides nothing about another.
    #[test]
    fn currencies_do_not_meet(night in night()) {
        let of = |rows: Vec<Out>, currency: &str| sorted(rows.into_iter().filter(|row| row.currency == currency).collect());
        let (all, _) = run(&night.rules, &night.uses, &night.bills);
        for currency in ["USD", "EUR"] {
            let bills: Vec<Bill> = night.bills.iter().filter(|bill| bill.currency == currency).cloned().collect();
            let (alone, _) = run(&night.rules, &night.uses, &bills);
            prop_assert_eq!(of(all.clone(), currency), sorted(alone));
        }
    }

    /// A bill with every sign turned is attributed with every sign turned, where nothing follows amounts that are positive.
    #[test]
    fn a_bill_turned_over_is_attributed_turned_over(mut night in night()) {
        let turned = |amount: Money| Money(amount.0.checked_neg().unwrap_or(0));
        night.rules.retain(|rule| !matches!(rule.target, RuleTarget::Tax | RuleTarget::Credit));
        for bill in &mut night.bills {
            if ["Tax", "Credit"].contains(&bill.charge_category) {
                bill.charge_category = "Adjustment";
            }
            // The smallest amount of all has no opposite.
            bill.billed = turned(turned(bill.billed));
            bill.effective = turned(turned(bill.effective));
        }
        let (rows, _) = run(&night.rules, &night.uses, &night.bills);
        for bill in &mut night.bills {
            (bill.billed, bill.effective) = (turned(bill.billed), turned(bill.effective));
        }
        let (over, _) = run(&night.rules, &night.uses, &night.bills);
        let rows: Vec<Out> = rows.into_iter().map(|row| Out { billed: -row.billed, effective: -row.effective, ..row }).collect();
        prop_assert_eq!(rows, over);
    }

    #[test]
    fn moved_idle_adds_up_to_zero_and_leaves_no_pool_idle(night in night()) {
        let (rows, _) = run(&night.rules, &night.uses, &night.bills);
        let moved = || rows.iter().filter(|row| row.basis == Basis::Allocation);
        let part = |row: &Out| ((row.row_id.clone(), row.day, row.billing_period.clone(), row.category), row.billed, row.effective);
        prop_assert!(sums(moved().map(part)).values().all(|sum| *sum == (0, 0)));
        for row in moved() {
            prop_assert!(!row.to.starts_with("unallocated"));
            prop_assert!(row.driver.is_some() && row.weight.0 <= row.weight.1);
        }
        // What is moved is what the usage basis left idle, tax and credits included.
        let pooled = rows.iter().filter(|row| row.pooled);
        let left = sums(pooled.map(|row| {
            let group = (row.currency.clone(), row.day, row.billing_period.clone(), row.category);
            (group, row.billed, row.effective)
        }));
        prop_assert!(left.values().all(|sum| *sum == (0, 0)), "{:?}", left);
        // A pool's whole idle is split as one amount, whatever its parts.
        let pools: BTreeSet<&str> = moved().map(|row| row.row_id.as_str()).collect();
        for pool in pools {
            let rows = || moved().filter(|row| row.row_id == pool);
            let idle: i128 = rows().filter(|row| row.to == "idle").map(|row| -row.effective).sum();
            let busy = || rows().filter(|row| row.to != "idle");
            // In the order written, which is key order; text order would put stages by name.
            let mut keys: Vec<(String, u128)> = Vec::new();
            for row in busy() {
                if keys.iter().all(|key| key.0 != row.to) {
                    keys.push((row.to.clone(), row.weight.0));
                }
            }
            let taken = sums(busy().map(|row| (row.to.clone(), row.billed, row.effective)));
            let weights: Vec<u128> = keys.iter().map(|key| key.1).collect();
            let expected = split(idle, &weights).unwrap().unwrap();
            for ((key, _), expected) in keys.iter().zip(expected) {
                prop_assert_eq!(taken[key].1, expected);
            }
        }
    }

    #[test]
    fn every_allocation_has_its_lineage(night in night()) {
        let (rows, _) = run(&night.rules, &night.uses, &night.bills);
        let versions: BTreeMap<String, String> = night.rules.iter().map(|rule| (rule.name.clone(), rule.version())).collect();
        for row in &rows {
            match versions.get(&row.rule) {
                Some(version) => prop_assert_eq!(version, &row.rule_version),
                None => prop_assert_eq!(row.to.as_str(), "unallocated: no_rule"),
            }
            prop_assert!(row.weight.0 > 0 && row.weight.0 <= row.weight.1);
        }
    }

    #[test]
    fn order_of_charges_and_drivers_decides_nothing(
        (night, bills, uses) in night().prop_flat_map(|night| {
            let (bills, uses) = (night.bills.clone(), night.uses.clone());
            (Just(night), Just(bills).prop_shuffle(), Just(uses).prop_shuffle())
        })
    ) {
        let (rows, summary) = run(&night.rules, &night.uses, &night.bills);
        // The same input gives the same rows in the same order; shuffled drivers too.
        let (again, _) = run(&night.rules, &uses, &night.bills);
        prop_assert_eq!(&rows, &again);
        let (shuffled, other) = run(&night.rules, &uses, &bills);
        prop_assert_eq!(sorted(rows), sorted(shuffled));
        prop_assert_eq!(summary.warnings, other.warnings);
        prop_assert_eq!(summary.oversubscribed, other.oversubscribed);
    }
}

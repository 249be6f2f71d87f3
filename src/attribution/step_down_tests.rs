//! Cost pools that feed models and each other.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::rules::RoutingConfig;
use super::test_support::*;
use super::*;

fn routing(toml: &str) -> Routing {
    toml::from_str::<RoutingConfig>(toml).unwrap().routing()
}

/// Platform feeds data preparation and A; data preparation is split by bytes.
const PLATFORM: &str = r#"
    [[rules]]
    name = "cluster"
    match = { service_name = "eks" }
    target = "pool"
    pool = "platform"

    [[pools]]
    name = "platform"
    version = 3
    target = "model"
    shares = { "data preparation" = 40, A = 60 }
    stage = "deployment"

    [[pools]]
    name = "data preparation"
    version = 1
    target = "pool"
    driver = "bytes"
    stage = "training"
"#;

fn uses(driver: &'static str, resource: &str, model: &str, weight: u64) -> Use {
    Use {
        driver,
        resource: Some(resource.to_owned()),
        start: 0,
        model: model.to_owned(),
        stage: None,
        weight,
        reserved: None,
        capacity: None,
    }
}

fn eks(row_id: &str, amount: &str) -> Bill {
    Bill {
        service: Some("eks".to_owned()),
        ..Bill::new(row_id, amount)
    }
}

fn ends(rows: &[Out]) -> Vec<(&str, i128)> {
    rows.iter()
        .map(|row| (row.to.as_str(), row.effective))
        .collect()
}

#[test]
fn a_pool_feeds_the_next_and_each_part_says_how_it_came() {
    let uses = [uses("bytes", "lake", "A", 3), uses("bytes", "lake", "B", 1)];
    let (rows, _) = run_with(&routing(PLATFORM), &uses, &[eks("1", "100")]);
    let unit = 10_i128.pow(18);
    assert_eq!(
        ends(&rows),
        [
            ("A//deployment", 60 * unit),
            ("A//training", 30 * unit),
            ("B//training", 10 * unit),
        ]
    );
    assert!(rows.iter().all(|row| row.rule == "cluster"));
    assert_eq!(
        rows[0].via.as_deref(),
        Some(r#"[{"pool":"platform","version":"3","driver":null,"weight":1,"weight_total":1}]"#)
    );
    assert_eq!(
        rows[2].via.as_deref(),
        Some(
            r#"[{"pool":"platform","version":"3","driver":null,"weight":1,"weight_total":1},{"pool":"data preparation","version":"1","driver":"shares","weight":40000000,"weight_total":100000000}]"#
        )
    );
    let steps: serde_json::Value = serde_json::from_str(rows[2].via.as_deref().unwrap()).unwrap();
    assert_eq!(steps[1]["pool"], "data preparation");
    assert_eq!(
        (rows[2].driver.as_deref(), rows[2].weight),
        (Some("bytes"), (1, 4))
    );
}

#[test]
fn a_pool_that_nobody_used_leaves_its_part_unallocated() {
    let (rows, _) = run_with(&routing(PLATFORM), &[], &[eks("1", "100")]);
    let unit = 10_i128.pow(18);
    assert_eq!(
        ends(&rows),
        [
            ("A//deployment", 60 * unit),
            ("unallocated: no_driver", 40 * unit),
        ]
    );
    assert!(rows[1].via.is_some());
}

#[test]
fn a_consumer_that_is_closed_already_takes_nothing_back() {
    // Data preparation runs on the cluster, and so does the platform itself.
    let by_cpu = PLATFORM.replace(
        "target = \"model\"\n    shares = { \"data preparation\" = 40, A = 60 }\n    stage = \"deployment\"",
        "target = \"pool\"\n    driver = \"cpu_ns\"",
    );
    let uses = [
        uses("cpu_ns", "node", "platform", 50),
        uses("cpu_ns", "node", "Data Preparation", 30),
        uses("cpu_ns", "node", "A", 10),
        uses("bytes", "lake", "platform", 7),
        uses("bytes", "lake", "B", 1),
    ];
    let (rows, summary) = run_with(&routing(&by_cpu), &uses, &[eks("1", "40")]);
    let unit = 10_i128.pow(18);
    assert_eq!(
        ends(&rows),
        [("A//operations", 10 * unit), ("B//training", 30 * unit)]
    );
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
}

#[test]
fn tags_shares_and_machines_reach_a_pool_by_its_name_and_idle_goes_the_same_way() {
    let routing = routing(PLATFORM);
    let mut busy = uses("cpu_ns", "node", "platform", 6);
    busy.capacity = Some(10);
    let uses = [busy, uses("bytes", "lake", "B", 1)];
    let bills = [
        Bill::new("tagged", "10").tagged(&[("model", "Platform")]),
        Bill::new("node", "10").on("node"),
    ];
    let (rows, _) = run_with(&routing, &uses, &bills);
    let unit = 10_i128.pow(18);
    let mut sums = BTreeMap::new();
    for row in &rows {
        *sums.entry((row.basis, row.to.as_str())).or_insert(0) += row.effective;
    }
    assert_eq!(
        sums.into_iter().collect::<Vec<_>>(),
        [
            ((Basis::Usage, "A//deployment"), 96 * unit / 10),
            ((Basis::Usage, "B//training"), 64 * unit / 10),
            ((Basis::Usage, "idle"), 4 * unit),
            ((Basis::Allocation, "A//deployment"), 24 * unit / 10),
            ((Basis::Allocation, "B//training"), 16 * unit / 10),
            ((Basis::Allocation, "idle"), -4 * unit),
        ]
    );
}

#[test]
fn a_pool_s_split_changes_with_its_dates() {
    let dated = |name: &str, dates: &str, model: &str| {
        format!("[[pools]]\nname = \"{name}\"\n{dates}\ntarget = \"model\"\nmodel = \"{model}\"\n")
    };
    let text = format!(
        "[[rules]]\nname = \"r\"\ntarget = \"pool\"\npool = \"p\"\n{}{}",
        dated("p", "to = 1970-01-02", "A"),
        dated("p", "from = 1970-01-02\nto = 1970-01-03", "B"),
    );
    let on = |day: i64| Bill {
        period: (day * DAY, (day + 1) * DAY),
        ..Bill::new(&day.to_string(), "1")
    };
    let (rows, _) = run_with(&routing(&text), &[], &[on(0), on(1), on(2)]);
    let to: Vec<&str> = rows.iter().map(|row| row.to.as_str()).collect();
    assert_eq!(
        to,
        ["A//operations", "B//operations", "unallocated: no_driver"]
    );
}

fn wrong(toml: &str) -> String {
    let models = ["A".to_owned(), "B".to_owned()];
    let drivers = ["bytes", "gpu_ns", "cpu_ns", "requests", "runs", "run_time"].map(str::to_owned);
    let known = Known {
        models: &models,
        drivers: &drivers,
        columns: &[],
    };
    let errors = validate(&routing(toml), known);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

#[test]
fn a_cycle_is_drawn() {
    let pool = |name: &str, into: &str| {
        format!(
            "[[pools]]\nname = \"{name}\"\ntarget = \"model\"\nshares = {{ {into} = 50, A = 50 }}\n"
        )
    };
    let circle = [pool("x", "y"), pool("y", "z"), pool("z", "y")].concat();
    assert!(wrong(&circle).contains("y → z → y"), "{}", wrong(&circle));
    assert!(wrong(&pool("x", "x")).contains("x → x"));
}

#[test]
fn what_is_wrong_with_a_pool_is_said() {
    assert!(wrong("[[pools]]\nname = \"a\"\ntarget = \"model\"\nmodel = \"B\"").contains("model"));
    assert!(wrong("[[pools]]\nname = \"p\"\ntarget = \"idle\"").contains("\"idle\""));
    assert!(
        wrong("[[pools]]\nname = \"p\"\ntarget = \"model\"\nmodel = \"A\"\nmatch = { x = \"y\" }")
            .contains("`match`")
    );
    assert!(
        wrong("[[rules]]\nname = \"r\"\ntarget = \"pool\"\npool = \"platfrom\"\n[[pools]]\nname = \"platform\"\ntarget = \"model\"\nmodel = \"A\"")
            .contains("did you mean \"platform\"")
    );
}

#[test]
fn a_rule_behind_one_that_takes_all_it_could_match_is_refused() {
    let rules = |first: &str, second: &str| {
        format!(
            "[[rules]]\nname = \"first\"\ntarget = \"idle\"\n{first}\n[[rules]]\nname = \"second\"\ntarget = \"unallocated\"\n{second}"
        )
    };
    let s3 = "match = { service_name = [\"s3\", \"ec2\"] }";
    let narrow = "match = { service_name = \"s3\", resource_id = \"x\" }";
    for (first, second) in [("", s3), (s3, narrow), (s3, s3)] {
        let error = wrong(&rules(first, second));
        assert!(error.contains("\"second\" can never match"), "{error}");
    }
    let fine = |first: &str, second: &str| {
        let routing = routing(&rules(first, second));
        Attributor::new(&routing, tables(&[]), &[]).is_ok()
    };
    assert!(fine(narrow, s3));
    assert!(fine(&format!("{s3}\nto = 2026-02-01"), s3));
    assert!(fine(
        s3,
        &format!("{s3}\nfrom = 2026-01-01").replace("s3", "gcs")
    ));
}

#[test]
fn a_run_s_tag_names_the_models_it_worked_for() {
    let uses = [
        uses("runs", "run-7", "A", 3),
        uses("runs", "run-7", "B", 1),
        uses("runs", "run-8", "B", 1),
    ];
    let later = Bill {
        period: (400 * DAY, 401 * DAY),
        ..Bill::new("1", "4").tagged(&[("Run", " run-7 ")])
    };
    let unknown = Bill::new("2", "4").tagged(&[("run", "run-9")]);
    let (rows, _) = run(&default_rules(), &uses, &[later, unknown]);
    let unit = 10_i128.pow(18);
    assert_eq!(
        ends(&rows),
        [
            ("A//operations", 3 * unit),
            ("B//operations", unit),
            ("unallocated: no_rule", 4 * unit),
        ]
    );
    assert_eq!(rows[0].rule, "default: run tag");
}

/// Pools `p0`, `p1`, … each of which feeds some of the later ones and the models.
fn pools() -> impl Strategy<Value = Vec<Rule>> {
    let shares = || prop::collection::vec(0_u64..1_000, 6);
    prop::collection::vec((shares(), any::<bool>()), 1..4).prop_map(|pools| {
        let count = pools.len();
        let pool = |(index, (weights, driven)): (usize, (Vec<u64>, bool))| {
            let name = format!("p{index}");
            if driven {
                return Rule::new(&name, RuleTarget::Pool).driven_by("bytes");
            }
            let later = (index + 1..count).map(|later| format!("p{later}"));
            let to: Vec<String> = ["A", "B", "C"]
                .map(str::to_owned)
                .into_iter()
                .chain(later)
                .collect();
            let sum: u64 = weights[..to.len()].iter().sum();
            let mut left = Percent::WHOLE.0;
            let mut shares: BTreeMap<String, Percent> = BTreeMap::new();
            for (to, weight) in to.iter().zip(&weights).skip(1) {
                let share = (Percent::WHOLE.0 * weight).checked_div(sum).unwrap_or(0);
                left -= share;
                shares.insert(to.clone(), Percent(share));
            }
            shares.insert(to[0].clone(), Percent(left));
            Rule {
                shares: Some(shares),
                ..Rule::new(&name, RuleTarget::Model)
            }
        };
        pools.into_iter().enumerate().map(pool).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nothing_is_lost_in_pools(
        pools in pools(),
        weights in prop::collection::vec((0_usize..6, 0_u64..50), 0..6),
        amounts in prop::collection::vec((any::<i64>(), 0_i64..3), 1..6),
    ) {
        let names = ["A", "B", "C", "p0", "p1", "p2"];
        let uses: Vec<Use> = weights.iter().map(|(name, weight)| uses("bytes", "lake", names[*name], *weight)).collect();
        let bills: Vec<Bill> = amounts.iter().enumerate().map(|(index, (amount, pool))| {
            let mut bill = Bill::new(&index.to_string(), "0").tagged(&[("model", &format!("p{pool}"))]);
            bill.effective.0 = i128::from(*amount);
            bill.billed.0 = -i128::from(*amount) * 3;
            bill
        }).collect();
        let routing = Routing { rules: default_rules(), pools, own: 0 };
        let (rows, _) = run_with(&routing, &uses, &bills);
        for bill in &bills {
            let of = || rows.iter().filter(|row| row.row_id == bill.row_id);
            prop_assert_eq!(of().map(|row| row.effective).sum::<i128>(), bill.effective.0);
            prop_assert_eq!(of().map(|row| row.billed).sum::<i128>(), bill.billed.0);
        }
        let pooled = rows.iter().filter(|row| row.via.is_some());
        prop_assert!(pooled.clone().all(|row| !row.to.starts_with("p0")));
        for row in pooled {
            let steps: Vec<serde_json::Value> = serde_json::from_str(row.via.as_deref().unwrap()).unwrap();
            let path: Vec<&str> = steps.iter().map(|step| step["pool"].as_str().unwrap()).collect();
            prop_assert!(path.is_sorted() && !path.is_empty());
        }
    }
}

//! Data that tests render: a plausible fortnight of a shop, and the same with hostile names.

#![allow(clippy::unwrap_used)]

use super::data::*;
use crate::attribution::compare::{Answer, Comparison, Costs, InCurrency, Side, Subject, Worth};
use crate::attribution::interval::{Interval, difference, share};
use crate::money::{Currency, Money, Residue};
use chrono::NaiveDate;
use std::collections::BTreeMap;

const MODELS: [(&str, i128); 3] = [
    ("als-home", 46),
    ("two-tower-product", 31),
    ("popular-email", 3),
];
const STAGES: [(&str, &str, i128); 6] = [
    ("training", "compute", 34),
    ("training", "storage", 4),
    ("deployment", "compute", 41),
    ("deployment", "network", 7),
    ("development", "labour", 11),
    ("operations", "licence", 3),
];

/// Uneven digits down to the last place, so that rounding has work to do.
fn money(cents: i128, seed: i128) -> Money {
    Money(cents * 10_i128.pow(16) + (seed * 7_919_777_333_111 + 123_456_789) % 10_i128.pow(16))
}

fn day(place: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 9).unwrap() + chrono::Days::new(u64::from(place))
}

fn add(costs: &mut BTreeMap<(Target, String), CostLine>, line: CostLine) {
    let key = (
        line.target.clone(),
        format!("{:?}{}{:?}", line.stage, line.category, line.reason),
    );
    let known = costs.entry(key).or_insert_with(|| CostLine {
        usage_billed: Money(0),
        usage_effective: Money(0),
        allocation_billed: Money(0),
        allocation_effective: Money(0),
        ..line.clone()
    });
    known.usage_billed.0 += line.usage_billed.0;
    known.usage_effective.0 += line.usage_effective.0;
    known.allocation_billed.0 += line.allocation_billed.0;
    known.allocation_effective.0 += line.allocation_effective.0;
}

fn section(code: &str, scale: i128, models: &[(&str, i128)]) -> CurrencyData {
    let mut costs = BTreeMap::new();
    let mut daily: BTreeMap<(NaiveDate, Target), DayCost> = BTreeMap::new();
    let mut units = Vec::new();
    for place in 0..14_u32 {
        let weekend = if place % 7 >= 5 { 7 } else { 10 };
        let mut put = |target: Target,
                       stage: Option<&str>,
                       category: &str,
                       reason: Option<&str>,
                       cents: i128,
                       share: i128| {
            let seed = i128::from(place) * 31 + cents;
            let usage = money(cents, seed);
            let allocated = Money(usage.0 + share * 10_i128.pow(16));
            let line = CostLine {
                target: target.clone(),
                model_version: matches!(target, Target::Model(_)).then(|| "2026-11-08".to_owned()),
                stage: stage.map(str::to_owned),
                category: category.to_owned(),
                reason: reason.map(str::to_owned),
                usage_billed: Money(usage.0 * 9 / 10),
                usage_effective: usage,
                allocation_billed: Money(allocated.0 * 9 / 10),
                allocation_effective: allocated,
            };
            let sum = daily
                .entry((day(place), target.clone()))
                .or_insert(DayCost {
                    day: day(place),
                    target,
                    usage_effective: Money(0),
                    allocation_effective: Money(0),
                });
            sum.usage_effective.0 += line.usage_effective.0;
            sum.allocation_effective.0 += line.allocation_effective.0;
            add(&mut costs, line);
        };
        let mut moved = 0;
        for (id, weight) in models {
            for (stage, category, part) in STAGES {
                let cents = weight * part * weekend * scale / 10;
                let share = if category == "compute" { cents / 20 } else { 0 };
                moved += share;
                put(
                    Target::Model((*id).to_owned()),
                    Some(stage),
                    category,
                    None,
                    cents,
                    share,
                );
            }
        }
        put(
            Target::Idle,
            None,
            "compute",
            None,
            moved + 40 * scale,
            -moved,
        );
        put(
            Target::Unallocated,
            None,
            "network",
            Some("no rule matches"),
            60 * scale + i128::from(place),
            0,
        );
        put(
            Target::Unallocated,
            None,
            "other",
            Some("tax_no_base"),
            9 * scale,
            0,
        );
        // A credit: negative, in a place of its own.
        put(
            Target::Unallocated,
            None,
            "other",
            Some("credit of an unknown service"),
            -11 * scale,
            0,
        );
    }
    for row in daily.values() {
        let Target::Model(id) = &row.target else {
            continue;
        };
        for (surface, part) in [("home", 5_u64), ("product", 3), ("email", 2)] {
            let silent = id == "popular-email" && surface == "home";
            let served = if silent { 0 } else { part * 41_300 };
            let full = if surface == "home" {
                row.allocation_effective.0
                    - row.allocation_effective.0 * 3 / 10
                    - row.allocation_effective.0 * 2 / 10
            } else {
                row.allocation_effective.0 * i128::from(part) / 10
            };
            units.push(UnitCost {
                day: row.day,
                model_id: id.clone(),
                model_version: Some("2026-11-08".to_owned()),
                surface: Some(surface.to_owned()),
                served,
                requests: served / 10,
                clicks: served / 37,
                purchases: if surface == "email" { 0 } else { served / 900 },
                conversions: if surface == "email" { 0 } else { served / 1000 },
                clicked_requests: served / 50,
                converted_requests: if surface == "email" { 0 } else { served / 1200 },
                revenue: (surface != "email").then(|| money(i128::from(served / 900) * 3499, 5)),
                margin: (surface != "email").then(|| money(i128::from(served / 900) * 1201, 8)),
                margin_revenue: (surface != "email")
                    .then(|| money(i128::from(served / 900) * 3490, 5)),
                run_cost: Money(full * 51 / 100),
                overhead_cost: Money(full * 17 / 100),
                making_cost: Money(full - full * 51 / 100 - full * 17 / 100),
                full_cost: Money(full),
            });
        }
    }
    let costs: Vec<CostLine> = costs.into_values().collect();
    let reconciliation = reconcile(&costs);
    let resource =
        |target, id: &str, service: &str, reason: Option<&str>, cents: i128| ResourceCost {
            target,
            resource_id: Some(id.to_owned()),
            service: Some(service.to_owned()),
            account: None,
            resources: 1,
            reason: reason.map(str::to_owned),
            rows: 336,
            billed: money(cents * scale * 9 / 10, 3),
            effective: money(cents * scale, 3),
        };
    let resources = vec![
        resource(
            Target::Idle,
            "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc1234def567890",
            "EC2 g5.2xlarge",
            None,
            1700,
        ),
        resource(Target::Idle, "gpu-pool-2", "Kubernetes", None, 420),
        resource(
            Target::Unallocated,
            "nat-0f00",
            "NAT gateway",
            Some("no rule matches"),
            610,
        ),
    ];
    let currency = Currency::parse(code).unwrap();
    CurrencyData {
        currency,
        costs,
        daily: daily.into_values().collect(),
        units,
        reconciliation,
        services: vec![ResourceCost {
            account: Some("web shop".to_owned()),
            resources: 12,
            resource_id: None,
            ..resource(Target::Unallocated, "", "NAT gateway", Some("no_rule"), 700)
        }],
        resources,
        bridge: vec![BridgeLine {
            what: "Purchases that cover later charges".to_owned(),
            rows: 3,
            billed: money(4200 * scale, 3),
            effective: Money::ZERO,
        }],
        machines: vec![
            Machine {
                resource_id: Some(
                    "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc1234def567890".to_owned(),
                ),
                machines: 1,
                rows: 336,
                used: money(2600 * scale, 5),
                idle: money(1700 * scale, 3),
                unallocated: Money::ZERO,
            },
            Machine {
                resource_id: None,
                machines: 7,
                rows: 902,
                used: money(730 * scale, 6),
                idle: money(420 * scale, 3),
                unallocated: money(11 * scale, 4),
            },
        ],
        restatements: vec![
            restated(
                scale,
                Target::Model("als-home".to_owned()),
                Some("training"),
                900,
                31,
            ),
            restated(scale, Target::Idle, None, 400, -12),
            restated(scale, Target::Unallocated, None, 0, 5),
        ],
        versions: models
            .iter()
            .flat_map(|(id, weight)| versions(id, weight * scale))
            .collect(),
        roll_forward: models
            .iter()
            .flat_map(|(id, weight)| months(id, weight * scale))
            .collect(),
        movers: vec![
            Mover {
                target: Target::Model("als-home".to_owned()),
                stage: Some("training".to_owned()),
                category: "compute".to_owned(),
                before: money(9000 * scale, 1),
                after: Money(money(9000 * scale, 1).0 + 3 * money(500 * scale, 9).0),
                bill: Money(2 * money(500 * scale, 9).0),
                share: Money(-money(500 * scale, 9).0),
                appeared: Money(2 * money(500 * scale, 9).0),
                ended: Money::ZERO,
            },
            Mover {
                target: Target::Unallocated,
                stage: None,
                category: "network".to_owned(),
                before: money(700 * scale, 2),
                after: Money::ZERO,
                bill: Money::ZERO,
                share: Money::ZERO,
                appeared: Money::ZERO,
                ended: Money(-money(700 * scale, 2).0),
            },
        ],
    }
}

fn restated(
    scale: i128,
    target: Target,
    stage: Option<&str>,
    before: i128,
    change: i128,
) -> Restatement {
    Restatement {
        period: "2026-10".to_owned(),
        booked: "2026-11".to_owned(),
        model_version: stage.map(|_| "2026-10-08".to_owned()),
        stage: stage.map(str::to_owned),
        category: "compute".to_owned(),
        before: [1, 2, 3, 4].map(|seed| money(before * scale, seed)),
        change: [5, 6, 7, 8].map(|seed| money(change * scale, seed)),
        target,
    }
}

/// A version in service, one that never shipped, one that was retired, and what waits for the next.
fn versions(model: &str, scale: i128) -> Vec<VersionCost> {
    let version =
        |name: Option<&str>, served: u64, [incurred, transferred, recognised, off]: [Money; 4]| {
            VersionCost {
                model_id: model.to_owned(),
                model_version: name.map(str::to_owned),
                first_cost: Some(day(0)),
                first_served: (served > 0).then(|| day(1)),
                last_served: (served > 0).then(|| day(13)),
                served,
                incurred,
                transferred,
                recognised,
                written_off: off,
                closing: Money(incurred.0 + transferred.0 - recognised.0 - off.0),
                life_left: 17,
                life_unit: "days".to_owned(),
                policy: "30 days; superseded after 7 days".to_owned(),
            }
        };
    let handed = money(40 * scale, 12);
    vec![
        version(
            Some("2026-10-01"),
            800_000,
            [
                money(900 * scale, 1),
                Money::ZERO,
                money(700 * scale, 2),
                Money(money(900 * scale, 1).0 - money(700 * scale, 2).0),
            ],
        ),
        version(
            Some("2026-11-08"),
            413_000,
            [
                money(1100 * scale, 3),
                handed,
                money(301 * scale, 4),
                Money::ZERO,
            ],
        ),
        version(
            Some("2026-11-10-experiment"),
            0,
            [money(333 * scale, 5), Money::ZERO, Money::ZERO, Money::ZERO],
        ),
        version(
            None,
            0,
            [
                money(55 * scale, 6),
                Money(-handed.0),
                Money::ZERO,
                Money::ZERO,
            ],
        ),
    ]
}

/// Two months that add up to [`versions`].
fn months(model: &str, scale: i128) -> Vec<ModelMonth> {
    let all = versions(model, scale);
    let sum = |of: fn(&VersionCost) -> Money| Money(all.iter().map(|version| of(version).0).sum());
    let whole = [
        sum(|version| version.incurred),
        sum(|version| version.transferred),
        sum(|version| version.recognised),
        sum(|version| version.written_off),
    ];
    let first = whole.map(|money| Money(money.0 / 3));
    let month = |month: &str,
                 [incurred, transferred, recognised, written_off]: [Money; 4],
                 opening: Money| {
        ModelMonth {
            model_id: model.to_owned(),
            month: month.to_owned(),
            incurred,
            transferred,
            recognised,
            written_off,
            closing: Money(opening.0 + incurred.0 + transferred.0 - recognised.0 - written_off.0),
        }
    };
    let october = month("2026-10", first, Money::ZERO);
    let rest = [0, 1, 2, 3].map(|place| Money(whole[place].0 - first[place].0));
    let november = month("2026-11", rest, october.closing);
    vec![october, november]
}

fn side(version: &str, converted: u64) -> Side {
    Side {
        subject: Subject {
            model_id: "als-home".to_owned(),
            model_version: Some(version.to_owned()),
        },
        first_day: Some(day(0)),
        last_day: Some(day(13)),
        days: 14,
        served: 578_200,
        requests: 57_820,
        clicks: 15_600,
        purchases: 640,
        conversions: 570,
        converted_requests: converted,
        conversion: share(converted, 57_820),
    }
}

fn comparison() -> Comparison {
    let sides = [side("2026-10-01", 471), side("2026-11-08", 563)];
    let both = sides[0].conversion.zip(sides[1].conversion);
    let costs = |seed: i128| Costs {
        run_cost: money(60_000, seed),
        making_cost: money(20_000, seed),
        full_cost: money(90_000, seed),
        revenue: Some(money(2_200_000, seed)),
        margin: None,
        margin_revenue: None,
        made: money(1_900_000, seed),
        written_off: Money::ZERO,
        unrecognised: money(800_000, seed),
    };
    let around = |low: f64, high: f64| Interval {
        estimate: (low + high) / 2.0,
        low,
        high,
    };
    Comparison {
        difference: both.map(|(a, b)| difference(a, b)),
        sides,
        days_in_common: 13,
        currencies: vec![InCurrency {
            currency: "USD".to_owned(),
            costs: [costs(1), costs(2)],
            run_cost_per_conversion: [Some(money(127, 1)), Some(money(106, 2))],
            full_cost_per_conversion: [Some(money(191, 1)), None],
            incremental: Some(money(12, 3)),
            worth: Some(Worth {
                conversions: around(31.0, 154.0),
                value: money(3_907, 4),
                is_margin: false,
                total: around(1_211.0, 6_016.0),
                answer: Answer::Open,
            }),
        }],
    }
}

/// Dollars in euros.
fn converted() -> Converted {
    let line = |kind, from: &str, target: Option<Target>, cents: i128| ConvertedLine {
        kind,
        from: from.to_owned(),
        target,
        original: match kind {
            ConvertedKind::ExchangeDifference => [Money::ZERO; 4],
            _ => [1, 2, 3, 4].map(|seed| money(cents, seed)),
        },
        amounts: [5, 6, 7, 8].map(|seed| money(cents * 9 / 10, seed)),
    };
    let model = || Some(Target::Model("als-home".to_owned()));
    Converted {
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![
            line(ConvertedKind::Cost, "EUR", model(), 1_200),
            line(ConvertedKind::Cost, "USD", model(), 99_900),
            line(ConvertedKind::Cost, "USD", Some(Target::Idle), 7_001),
            line(ConvertedKind::Cost, "USD", Some(Target::Unallocated), 333),
            line(ConvertedKind::ExchangeDifference, "USD", None, -77),
            line(ConvertedKind::Restatement, "USD", model(), 31),
        ],
        rates: vec![Rate {
            from: "USD".to_owned(),
            rate_id: "ecb-2026-11-09".to_owned(),
            rate: Money(9 * Money::ONE.0 / 10 + 123_456),
            first_day: day(0),
            last_day: day(13),
            rows: 1_734,
        }],
    }
}

fn conformance() -> Vec<Conformance> {
    let row = |rule: &str, subject: &str, unit: &str, stated: Money, found: Money| Conformance {
        rule: rule.to_owned(),
        subject: subject.to_owned(),
        issuer: Some("Amazon Web Services".to_owned()),
        unit: unit.to_owned(),
        rows: 1_480,
        stated,
        found,
        difference: Money(stated.0 - found.0),
        tolerance: Money::ONE,
        holds: (stated.0 - found.0).abs() <= Money::ONE.0,
    };
    vec![
        row(
            "invoice_ties_to_charges",
            "INV-2026-11-7",
            "USD",
            money(50_000, 1),
            money(40_000, 2),
        ),
        row(
            "invoice_ties_to_charges",
            "INV-2026-11-8",
            "USD",
            money(40_000, 1),
            money(40_000, 2),
        ),
        row(
            "split_is_whole",
            "i-0abc1234def567890",
            "ratio",
            Money::ONE,
            Money(Money::ONE.0 - 1),
        ),
    ]
}

fn reconcile(costs: &[CostLine]) -> Vec<ReconciliationLine> {
    let mut lines = Vec::new();
    for basis in [Basis::Usage, Basis::Allocation] {
        let pair = |wanted: fn(&Target) -> bool| {
            let found = costs.iter().filter(|line| wanted(&line.target));
            found.fold((0, 0), |(billed, effective), line| match basis {
                Basis::Usage => (
                    billed + line.usage_billed.0,
                    effective + line.usage_effective.0,
                ),
                Basis::Allocation => (
                    billed + line.allocation_billed.0,
                    effective + line.allocation_effective.0,
                ),
            })
        };
        let parts = [
            (Line::Bill, pair(|_| true), 1480),
            (
                Line::Attributed,
                pair(|target| matches!(target, Target::Model(_))),
                1102,
            ),
            (Line::Idle, pair(|target| *target == Target::Idle), 336),
            (
                Line::Unallocated,
                pair(|target| *target == Target::Unallocated),
                42,
            ),
            (Line::Difference, (0, 0), 0),
            (
                Line::Quarantined,
                (5 * 10_i128.pow(18), 5 * 10_i128.pow(18)),
                2,
            ),
            (Line::IngestRounding, (0, 0), 17),
        ];
        // Two issuers, of which the first has nine tenths.
        for (issuer, tenths) in [("Amazon Web Services", 9), ("Colocation ledger", 1)] {
            for (line, (billed, effective), rows) in parts {
                let share = |all: i128| {
                    if tenths == 9 {
                        all - all / 10
                    } else {
                        all / 10
                    }
                };
                let unreadable = line == Line::Quarantined && tenths == 1;
                lines.push(ReconciliationLine {
                    period: "2026-11".to_owned(),
                    issuer: issuer.to_owned(),
                    basis,
                    line,
                    rows: if line == Line::Quarantined && tenths == 9 {
                        1
                    } else {
                        rows
                    },
                    billed: (!unreadable).then(|| Money(share(billed))),
                    effective: (!unreadable).then(|| Money(share(effective))),
                    billed_rounding: (line == Line::IngestRounding).then_some(Residue(-12_345)),
                    effective_rounding: (line == Line::IngestRounding).then_some(Residue(777)),
                });
            }
        }
    }
    // Tenths are rounded part by part: the first issuer's bill follows its parts, as a real one does.
    balance(&mut lines);
    lines
}

fn balance(lines: &mut [ReconciliationLine]) {
    let parts = [Line::Attributed, Line::Idle, Line::Unallocated];
    for place in 0..lines.len() {
        if lines[place].line != Line::Bill {
            continue;
        }
        let same: Vec<&ReconciliationLine> = lines
            .iter()
            .filter(|line| {
                line.issuer == lines[place].issuer
                    && line.basis == lines[place].basis
                    && parts.contains(&line.line)
            })
            .collect();
        let billed = same
            .iter()
            .filter_map(|line| line.billed)
            .map(|money| money.0)
            .sum();
        let effective = same
            .iter()
            .filter_map(|line| line.effective)
            .map(|money| money.0)
            .sum();
        (lines[place].billed, lines[place].effective) =
            (Some(Money(billed)), Some(Money(effective)));
    }
}

fn metric(model: &str, name: &str, k: u32, value: f64, interval: bool) -> QualityMetric {
    QualityMetric {
        model_id: model.to_owned(),
        model_version: "2026-11-08".to_owned(),
        is_baseline: model == "popularity",
        metric: name.to_owned(),
        k,
        value,
        low: interval.then_some(value * 0.93),
        high: interval.then_some(value * 1.06),
        users: 4_812,
        protocol: "the last 7 days held out, full ranking".to_owned(),
    }
}

/// A family large, small and compressed, one model that is dominated and one that no bill names.
fn frontier() -> Vec<FrontierPoint> {
    let point = |model: &str, dim: u64, compression: Option<&str>, recall: f64, cents: i128| {
        let cost = Money(cents * 10_i128.pow(16));
        FrontierPoint {
            model_id: model.to_owned(),
            model_version: "2026-11-22".to_owned(),
            family: if dim == 1 { "popular" } else { "als" }.to_owned(),
            dim: (dim > 1).then_some(dim),
            made_from: compression.map(|_| "als-home".to_owned()),
            compression: compression.map(str::to_owned),
            bytes: 40_000 * dim * if compression.is_some() { 1 } else { 4 },
            scoring_seconds: Some(0.001 * dim as f64),
            basis: "written".to_owned(),
            k: Some(20),
            recall: Some(recall),
            recall_low: Some(recall * 0.95),
            recall_high: Some(recall * 1.05),
            ndcg: Some(recall * 0.5),
            ndcg_low: None,
            ndcg_high: None,
            currency: Some("USD".to_owned()),
            cost_from: Some("2026-11-15".to_owned()),
            cost_to: Some("2026-11-21".to_owned()),
            own_cost: Some(Money(cost.0 * 3)),
            parent_cost: Some(Money::ZERO),
            cost: Some(Money(cost.0 * 3)),
            recommendations: Some(3_000),
            cost_per_1000: Some(cost),
            dominated_by: None,
            recall_differs: None,
        }
    };
    vec![
        point("popular-email", 1, None, 0.0612, 4),
        point(
            "als-home-int8",
            64,
            Some(r#"{"numbers":"int8"}"#),
            0.1118,
            31,
        ),
        FrontierPoint {
            dominated_by: Some("als-home-int8".to_owned()),
            recall_differs: Some(false),
            ..point("als-home-16", 16, None, 0.1016, 38)
        },
        point("als-home", 64, None, 0.1124, 47),
        FrontierPoint {
            currency: None,
            cost_from: None,
            cost_to: None,
            own_cost: None,
            parent_cost: None,
            cost: None,
            recommendations: None,
            cost_per_1000: None,
            ..point("als-new", 64, None, 0.1, 1)
        },
    ]
}

/// Every two models; nearer than 0.01, none is shown to differ.
fn pairs(quality: &[QualityMetric]) -> Vec<QualityPair> {
    let mut pairs = Vec::new();
    for one in quality {
        let like = |other: &&QualityMetric| {
            other.model_id != one.model_id && (&other.metric, other.k) == (&one.metric, one.k)
        };
        for other in quality.iter().filter(like) {
            let difference = one.value - other.value;
            pairs.push(QualityPair {
                model_id: one.model_id.clone(),
                other_id: other.model_id.clone(),
                metric: one.metric.clone(),
                k: one.k,
                difference,
                low: difference - 0.01,
                high: difference + 0.01,
                differs: difference.abs() > 0.01,
                users: one.users,
            });
        }
    }
    pairs
}

/// USD and EUR, three models of which one fails its baseline, nulls, a credit, rejected rows.
pub fn shop() -> ReportData {
    let mut quality = Vec::new();
    for (model, recall) in [
        ("als-home", 0.1124),
        ("two-tower-product", 0.1391),
        ("popular-email", 0.0487),
        ("popularity", 0.0612),
    ] {
        quality.push(metric(
            model,
            "recall",
            10,
            recall * 0.62,
            model != "popularity",
        ));
        quality.push(metric(model, "recall", 20, recall, true));
        quality.push(metric(model, "ndcg", 10, recall * 0.51, false));
    }
    let verdict = |model: &str, beats: Option<bool>| ModelVerdict {
        model_id: model.to_owned(),
        model_version: "2026-11-08".to_owned(),
        family: "als".to_owned(),
        beats_baseline: beats,
    };
    let source = |source: &str, kind: &str, rows: u64, bad: u64| SourceRows {
        source: source.to_owned(),
        kind: kind.to_owned(),
        files: 14,
        rows_in: rows,
        rows_out: rows - bad - rows / 500,
        rows_skipped: 0,
        rows_duplicate: rows / 500,
        rows_late: rows / 900,
        rows_quarantined: bad,
    };
    let stage = |stage: &str, seconds: f64, rows: u64, device: Option<&str>| StageRun {
        stage: stage.to_owned(),
        status: "done".to_owned(),
        seconds: Some(seconds),
        rows: Some(rows),
        peak_rss_bytes: Some(812 << 20),
        device: device.map(str::to_owned),
        message: None,
    };
    ReportData {
        name: "Northwind Outfitters".to_owned(),
        run_id: "2026-11-22T02:00:04Z-7f3a".to_owned(),
        date: day(13),
        first_day: day(0),
        last_day: day(13),
        version: "recost 0.1.0".to_owned(),
        generated_at: None,
        currencies: vec![section("USD", 17, &MODELS), section("EUR", 2, &MODELS[..1])],
        models: vec![
            verdict("als-home", Some(true)),
            verdict("two-tower-product", Some(true)),
            verdict("popular-email", Some(false)),
        ],
        pairs: pairs(&quality),
        quality,
        frontier: frontier(),
        sources: vec![
            source("clicks", "events", 2_000_431, 37),
            source("aws", "charges", 1_482, 2),
            source("catalogue", "items", 20_000, 0),
        ],
        quarantine: vec![
            QuarantineGroup {
                source: "clicks".to_owned(),
                column: "event_time".to_owned(),
                reason: "is in the year 9999, outside 1970 to 2100".to_owned(),
                rows: 30,
                example: "events-2026-11-12.parquet, row 18,224".to_owned(),
            },
            QuarantineGroup {
                source: "clicks".to_owned(),
                column: "price".to_owned(),
                reason: "is negative".to_owned(),
                rows: 7,
                example: "events-2026-11-14.parquet, row 3".to_owned(),
            },
            QuarantineGroup {
                source: "aws".to_owned(),
                column: "BilledCost".to_owned(),
                reason: "is not a finite number".to_owned(),
                rows: 2,
                example: "focus-2026-11.csv, row 911".to_owned(),
            },
        ],
        without_currency: 0,
        lost: None,
        stages: vec![
            stage("ingest", 1.91, 2_016_874, None),
            stage("features", 0.62, 1_204_511, None),
            stage("train", 3.4, 70_000, Some("NVIDIA L4 (Vulkan)")),
            stage("score", 2.75, 2_500_000, Some("NVIDIA L4 (Vulkan)")),
            stage("evaluate", 0.3, 12, Some("cpu")),
            stage("attribute", 0.48, 1_734_600, None),
            stage("run", 9.52, 7_525_997, None),
        ],
        closed: vec![("2026-10".to_owned(), day(0))],
        compared: Some(("2026-10".to_owned(), "2026-11".to_owned())),
        period: None,
        comparisons: vec![comparison()],
        conformance: conformance(),
        converted: vec![converted()],
    }
}

/// [`shop`] with names that attack the page and the spreadsheets, and with missing values.
pub fn hostile() -> ReportData {
    const NAMES: [&str; 6] = [
        "<script>alert(1)</script>",
        "=1+1",
        "\"quoted\" & 'single' </style><img src=x onerror=alert(1)>",
        "line\nbreak\ttab \u{202e}turned\u{0}",
        "@SUM(A1:A9) --> ]]>",
        "-2+3|cmd",
    ];
    let long = format!("arn:{}", "x".repeat(10_000));
    let mut data = shop();
    data.name = NAMES[0].to_owned();
    data.run_id = NAMES[2].to_owned();
    for (place, stage) in data.stages.iter_mut().enumerate() {
        stage.message = Some(NAMES[place % NAMES.len()].to_owned());
        stage.rows = None;
    }
    data.lost = Some((NAMES[0].to_owned(), NAMES[2].to_owned()));
    data.stages[0].status = "failed".to_owned();
    data.stages[0].seconds = None;
    for (group, name) in data.quarantine.iter_mut().zip(NAMES) {
        group.reason = name.to_owned();
        group.column = long.clone();
    }
    data.sources[0].source = NAMES[1].to_owned();
    data.quality[0].value = f64::NAN;
    data.quality[1].protocol = NAMES[4].to_owned();
    let hostile = |id: &mut String| {
        let place = MODELS
            .iter()
            .position(|(known, _)| known == id)
            .unwrap_or(3);
        *id = [NAMES[0], NAMES[1], long.as_str(), NAMES[5]][place].to_owned();
    };
    for section in &mut data.currencies {
        for target in section
            .costs
            .iter_mut()
            .map(|line| &mut line.target)
            .chain(section.daily.iter_mut().map(|line| &mut line.target))
            .chain(section.movers.iter_mut().map(|line| &mut line.target))
            .chain(section.restatements.iter_mut().map(|line| &mut line.target))
        {
            if let Target::Model(id) = target {
                hostile(id);
            }
        }
        section
            .units
            .iter_mut()
            .for_each(|unit| hostile(&mut unit.model_id));
        section.resources[0].resource_id = Some(long.clone());
        section.resources[1].resource_id = Some(NAMES[3].to_owned());
        section.resources[2].reason = Some(NAMES[2].to_owned());
        section.resources[2].resource_id = None;
        section.services[0].account = Some(NAMES[1].to_owned());
        section.machines[0].resource_id = Some(NAMES[1].to_owned());
        section.restatements[0].model_version = Some(NAMES[4].to_owned());
        section.movers[0].category = NAMES[5].to_owned();
        section.costs[0].category = NAMES[2].to_owned();
        section.units[0].surface = Some(NAMES[4].to_owned());
        section.reconciliation[0].issuer = "Amazon Web Services".to_owned();
    }
    for section in &mut data.currencies {
        section
            .versions
            .iter_mut()
            .for_each(|version| hostile(&mut version.model_id));
        section
            .roll_forward
            .iter_mut()
            .for_each(|month| hostile(&mut month.model_id));
        section.versions[0].model_version = Some(NAMES[0].to_owned());
        section.versions[1].policy = NAMES[1].to_owned();
    }
    for (row, name) in data.conformance.iter_mut().zip(NAMES) {
        row.subject = name.to_owned();
        row.rule = NAMES[5].to_owned();
    }
    for side in &mut data.comparisons[0].sides {
        side.subject.model_id = NAMES[2].to_owned();
    }
    data.converted[0].rates[0].rate_id = NAMES[1].to_owned();
    for line in &mut data.converted[0].lines {
        if let Some(Target::Model(id)) = &mut line.target {
            hostile(id);
        }
    }
    data.models
        .iter_mut()
        .for_each(|model| hostile(&mut model.model_id));
    data.frontier.iter_mut().for_each(|point| {
        hostile(&mut point.model_id);
        hostile(&mut point.family);
        point.compression.iter_mut().for_each(&hostile);
        point.dominated_by.iter_mut().for_each(&hostile);
    });
    data.quality
        .iter_mut()
        .filter(|metric| !metric.is_baseline)
        .for_each(|metric| hostile(&mut metric.model_id));
    for pair in &mut data.pairs {
        for id in [&mut pair.model_id, &mut pair.other_id] {
            if id != "popularity" {
                hostile(id);
            }
        }
    }
    data
}

/// Nothing at all happened.
pub fn empty() -> ReportData {
    ReportData {
        currencies: Vec::new(),
        models: Vec::new(),
        quality: Vec::new(),
        frontier: Vec::new(),
        pairs: Vec::new(),
        sources: Vec::new(),
        quarantine: Vec::new(),
        stages: Vec::new(),
        lost: None,
        closed: Vec::new(),
        compared: None,
        comparisons: Vec::new(),
        conformance: Vec::new(),
        converted: Vec::new(),
        ..shop()
    }
}

//! What the shop cost in a currency: by target and day, by version and month, and the proof against the bill.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{day, money};
use crate::money::{Currency, Money, Residue};
use crate::report::data::*;

const STAGES: [(&str, &str, i128); 6] = [
    ("training", "compute", 34),
    ("training", "storage", 4),
    ("deployment", "compute", 41),
    ("deployment", "network", 7),
    ("development", "labour", 11),
    ("operations", "licence", 3),
];

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

pub(super) fn section(code: &str, scale: i128, models: &[(&str, i128)]) -> CurrencyData {
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

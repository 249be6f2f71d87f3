//! Data that tests render: a plausible fortnight of a shop, and the same with hostile names.

#![allow(clippy::unwrap_used)]

use super::data::*;
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
                revenue: (surface != "email").then(|| money(i128::from(served / 900) * 3499, 5)),
                run_cost: Money(full * 51 / 100),
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
        quality,
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
    data.models
        .iter_mut()
        .for_each(|model| hostile(&mut model.model_id));
    data.quality
        .iter_mut()
        .filter(|metric| !metric.is_baseline)
        .for_each(|metric| hostile(&mut metric.model_id));
    data
}

/// Nothing at all happened.
pub fn empty() -> ReportData {
    ReportData {
        currencies: Vec::new(),
        models: Vec::new(),
        quality: Vec::new(),
        sources: Vec::new(),
        quarantine: Vec::new(),
        stages: Vec::new(),
        closed: Vec::new(),
        compared: None,
        ..shop()
    }
}

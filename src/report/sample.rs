//! Data that tests render: a plausible fortnight of a shop, and the same with hostile names.

#![allow(clippy::unwrap_used)]

mod costs;

use super::data::*;
use crate::attribution::compare::{Answer, Comparison, Costs, InCurrency, Side, Subject, Worth};
use crate::attribution::interval::{Interval, difference, share};
use crate::money::{Currency, Money};
use chrono::NaiveDate;
use costs::section;

const MODELS: [(&str, i128); 3] = [
    ("als-home", 46),
    ("two-tower-product", 31),
    ("popular-email", 3),
];
/// Uneven digits down to the last place, so that rounding has work to do.
fn money(cents: i128, seed: i128) -> Money {
    Money(cents * 10_i128.pow(16) + (seed * 7_919_777_333_111 + 123_456_789) % 10_i128.pow(16))
}

fn day(place: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 9).unwrap() + chrono::Days::new(u64::from(place))
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

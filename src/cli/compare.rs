//! `recost compare`: two models or versions side by side.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::print::{Printer, columns, thousands};
use super::{load, parse_date, yesterday};
use crate::attribution::compare::{Comparison, InCurrency, METHOD, Side, Subject, Worth, compare};
use crate::attribution::interval::Interval;
use crate::engine::Options;
use crate::error::{Error, Result};
use crate::money::{Currency, Money};
use crate::warehouse::Warehouse;

/// Arguments of `recost compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// What the other is held against: a model, or one version of it.
    #[arg(value_name = "MODEL[@VERSION]")]
    first: Subject,
    /// The model or version in question.
    #[arg(value_name = "MODEL[@VERSION]")]
    second: Subject,
    /// First day compared [default: the first there is].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    from: Option<NaiveDate>,
    /// Last day compared [default: the last there is].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    to: Option<NaiveDate>,
    /// How it is written to standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library) = load(&args.pipeline)?;
    if args.from.zip(args.to).is_some_and(|(from, to)| from > to) {
        return Err(Error::config("--from is after --to"));
    }
    let snapshot = Warehouse::new(&pipeline.warehouse).published()?;
    let options = Options::of(&pipeline, yesterday());
    let subjects = [args.first.clone(), args.second.clone()];
    let days = (args.from, args.to);
    let found = compare((&options, &snapshot), &library, subjects, days).await?;
    let text = match args.format {
        Format::Text => text(&found),
        Format::Json => serde_json::to_string_pretty(&as_json(&found))
            .map_err(|e| Error::unexpected(format!("the comparison is no JSON: {e}")))?,
    };
    printer.result(&text);
    Ok(())
}

/// An amount in the currency's own digits; a dash where there is none.
fn amount(currency: &str, money: Option<Money>) -> String {
    let digits = Currency::parse(currency).map_or(2, Currency::digits);
    money
        .and_then(|m| m.fixed(digits).ok())
        .unwrap_or_else(|| "–".into())
}

fn percent(interval: Option<Interval>) -> String {
    interval.map_or("–".into(), |i| {
        format!(
            "{:.2} % ({:.2} to {:.2})",
            i.estimate * 100.0,
            i.low * 100.0,
            i.high * 100.0
        )
    })
}

fn text(found: &Comparison) -> String {
    let [a, b] = &found.sides;
    let row = |what: &str, of: &dyn Fn(&Side) -> String| vec![what.to_string(), of(a), of(b)];
    let day = |day: Option<NaiveDate>| day.map_or("–".into(), |d| d.to_string());
    let mut rows = vec![
        row("", &|s| s.subject.to_string()),
        row("first day shown", &|s| day(s.first_day)),
        row("last day shown", &|s| day(s.last_day)),
        row("days shown", &|s| thousands(s.days)),
        row("recommendations", &|s| thousands(s.served)),
        row("clicked", &|s| thousands(s.clicks)),
        row("bought", &|s| thousands(s.conversions)),
        row("requests", &|s| thousands(s.requests)),
        row("converted requests", &|s| thousands(s.converted_requests)),
        row("conversion (95 %)", &|s| percent(s.conversion)),
    ];
    for c in &found.currencies {
        let money = |what: &str, of: [Option<Money>; 2]| {
            let cells = of.map(|m| amount(&c.currency, m)).into_iter();
            let what = format!("{what}, {}", c.currency);
            std::iter::once(what).chain(cells).collect::<Vec<_>>()
        };
        let [x, y] = &c.costs;
        rows.push(money("run cost", [Some(x.run_cost), Some(y.run_cost)]));
        rows.push(money("full cost", [Some(x.full_cost), Some(y.full_cost)]));
        let made = [Some(x.making_cost), Some(y.making_cost)];
        rows.push(money("  of it cost to make", made));
        rows.push(money(
            "run cost per converted request",
            c.run_cost_per_conversion,
        ));
        rows.push(money(
            "full cost per converted request",
            c.full_cost_per_conversion,
        ));
        rows.push(money("revenue", [x.revenue, y.revenue]));
        rows.push(money("margin, where known", [x.margin, y.margin]));
        rows.push(money("cost to make, in all", [Some(x.made), Some(y.made)]));
        let left = [Some(x.unrecognised), Some(y.unrecognised)];
        rows.push(money("  not recognised yet", left));
        rows.push(money(
            "  written off",
            [Some(x.written_off), Some(y.written_off)],
        ));
    }
    let mut lines = columns(&rows, 1);
    lines.push(String::new());
    lines.extend(sentences(found));
    lines.push(String::new());
    lines.push(format!("Method: {METHOD}."));
    lines.push(caution(found));
    lines.join("\n")
}

/// What the interval does not know.
fn caution(found: &Comparison) -> String {
    let shared = match found.days_in_common {
        0 => "They were never shown on the same day: the season is part of the difference.".into(),
        n => format!("They were shown on {} days in common.", thousands(n)),
    };
    format!(
        "{shared} Requests of one user are not independent, and without users drawn by lot other differences count, too."
    )
}

fn sentences(found: &Comparison) -> Vec<String> {
    let [a, b] = &found.sides;
    let Some(d) = found.difference else {
        return vec!["One of the two was not shown in these days: nothing to compare.".into()];
    };
    let points = |x: f64| format!("{:+.2}", x * 100.0);
    let seen = if d.leaves_out_zero() {
        "which is a difference"
    } else {
        "which may be none"
    };
    let mut lines = vec![format!(
        "{} converts {} percentage points of its requests more than {} (95 %: {} to {}), {seen}.",
        b.subject,
        points(d.estimate),
        a.subject,
        points(d.low),
        points(d.high)
    )];
    for c in &found.currencies {
        let currency = &c.currency;
        if let Some(more) = c.incremental {
            lines.push(format!(
                "One more converted request costs {} {currency}.",
                amount(currency, Some(more))
            ));
        }
        if let Some(worth) = &c.worth {
            lines.push(worth_in_words(b, c, worth));
        }
    }
    lines
}

fn worth_in_words(side: &Side, c: &InCurrency, worth: &Worth) -> String {
    let answer = worth.answer.in_words();
    let statistic =
        |i: Interval| format!("{:.0} (95 %: {:.0} to {:.0})", i.estimate, i.low, i.high);
    format!(
        "{} cost {} {currency} to make. On its {} requests that is {} converted requests more, at {} {currency} of {} each {} {currency}: {answer}.",
        side.subject,
        amount(&c.currency, Some(c.costs[1].made)),
        thousands(side.requests),
        statistic(worth.conversions),
        amount(&c.currency, Some(worth.value)),
        if worth.is_margin { "margin" } else { "revenue" },
        statistic(worth.total),
        currency = c.currency
    )
}

/// Amounts are texts with all their digits.
fn as_json(found: &Comparison) -> Value {
    let exact = |money: Option<Money>| money.map(|m| m.to_string());
    let currencies = found.currencies.iter().map(|c| {
        let sides = [0, 1].map(|at| {
            let costs = &c.costs[at];
            json!({
                "run_cost": costs.run_cost.to_string(),
                "making_cost": costs.making_cost.to_string(),
                "full_cost": costs.full_cost.to_string(),
                "run_cost_per_converted_request": exact(c.run_cost_per_conversion[at]),
                "full_cost_per_converted_request": exact(c.full_cost_per_conversion[at]),
                "revenue": exact(costs.revenue),
                "margin": exact(costs.margin),
                "margin_revenue": exact(costs.margin_revenue),
                "made": costs.made.to_string(),
                "written_off": costs.written_off.to_string(),
                "unrecognised": costs.unrecognised.to_string(),
            })
        });
        let worth = c.worth.as_ref().map(|w| {
            json!({
                "converted_requests": w.conversions,
                "value_per_converted_request": w.value.to_string(),
                "value_is": if w.is_margin { "margin" } else { "revenue" },
                "value": w.total,
                "cost_to_make": c.costs[1].made.to_string(),
                "answer": w.answer,
            })
        });
        json!({
            "currency": c.currency,
            "sides": sides,
            "full_cost_per_additional_converted_request": exact(c.incremental),
            "worth": worth,
        })
    });
    json!({
        "sides": found.sides,
        "days_in_common": found.days_in_common,
        "difference": found.difference,
        "confidence": 0.95,
        "unit": "request",
        "method": METHOD,
        "currencies": currencies.collect::<Vec<_>>(),
    })
}

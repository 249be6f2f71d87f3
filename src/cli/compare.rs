//! `recost compare`: two models or versions side by side.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::print::{Printer, columns, thousands};
use super::{load, parse_date, yesterday};
use crate::attribution::compare::words::{CAUTION, Style, sentences};
use crate::attribution::compare::{Comparison, METHOD, Side, Subject, compare};
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
        Format::Text => text(&found)?,
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

fn text(found: &Comparison) -> Result<String> {
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
    lines.extend(sentences(found, &Plain)?);
    lines.push(String::new());
    lines.push(format!("Method: {METHOD}. {CAUTION}"));
    Ok(lines.join("\n"))
}

/// Words for a terminal: currencies after their amounts.
struct Plain;

impl Style for Plain {
    type Error = Error;

    fn subject(&self, subject: &Subject) -> String {
        subject.to_string()
    }

    fn amount(&self, currency: &str, money: Money) -> Result<String> {
        Ok(format!("{} {currency}", amount(currency, Some(money))))
    }

    fn estimate(&self, value: f64) -> String {
        let sign = if value.round() < 0.0 { "-" } else { "" };
        format!("{sign}{}", thousands(value.abs().round() as u64))
    }

    fn estimate_of(&self, currency: &str, range: &str) -> String {
        format!("{range} {currency}")
    }

    fn points(&self, value: f64) -> String {
        format!("{value:.2}")
    }
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

//! Versions and models side by side: was the newer one worth what it cost to make?

use super::section;
use crate::attribution::compare::words::{CAUTION, Style, sentences};
use crate::attribution::compare::{Comparison, Costs, InCurrency, METHOD, Side, Subject};
use crate::attribution::interval::Interval;
use crate::money::{Currency, Money};
use crate::report::ReportError;
use crate::report::data::ReportData;
use crate::report::round::{fit, less};
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count, counted, escape, label, score, shorten};

/// The section; nothing where there is nothing to compare.
pub fn html(data: &ReportData, id: &str, heading: &str) -> Result<String, ReportError> {
    let mut body = String::new();
    for found in &data.comparisons {
        body.push_str(&pair(found)?);
    }
    if body.is_empty() {
        let none = "One version of one model served, so there is nothing to compare.";
        return Ok(section(id, heading, none, ""));
    }
    let intro = format!(
        "The last two versions of each model that served, then the two models that served most; other pairs: <code>recost compare</code>. A request converts when something that it showed is bought. Method: {}. {CAUTION}",
        escape(METHOD)
    );
    Ok(section(id, heading, &intro, &body))
}

fn percent(value: f64) -> String {
    format!("{:.2}\u{a0}%", value * 100.0).replace('-', "−")
}

/// A share with its interval.
fn share(interval: Option<Interval>) -> Cell {
    Cell::number(interval.map(|found| {
        let (low, high) = (percent(found.low), percent(found.high));
        format!("{} ({low} to {high})", percent(found.estimate))
    }))
}

const PARTS: [&str; 4] = ["Run cost", "Overhead", "Making, recognised", "Full cost"];

/// Run, overhead, making and full cost in cents, as the tables per model round them.
fn full_cost(costs: &Costs, digits: u32) -> Result<[Money; 4], ReportError> {
    let overhead = less(less(costs.full_cost, costs.run_cost)?, costs.making_cost)?;
    let full = costs.full_cost.round(digits)?;
    let parts = fit(&[costs.run_cost, overhead, costs.making_cost], full, digits)?;
    Ok([parts[0], parts[1], parts[2], full])
}

fn pair(found: &Comparison) -> Result<String, ReportError> {
    let names = found.sides.each_ref().map(|side| side.subject.to_string());
    let [first, second] = names.each_ref().map(|name| label(name));
    let mut table = Table::new(format!("{second} against {first}"))
        .words("What")
        .numbers(&names[0], "")
        .numbers(&names[1], "");
    let mut row = |what: &str, cells: [Cell; 2]| {
        let [left, right] = cells;
        table.row(Row::Leaf, vec![Cell::Name(what.to_owned()), left, right]);
    };
    let sides = |of: &dyn Fn(&Side) -> Cell| [of(&found.sides[0]), of(&found.sides[1])];
    row(
        "Shown",
        sides(&|side| {
            let days = counted(side.days, "day", "days");
            match (side.first_day, side.last_day) {
                (Some(first), Some(last)) => Cell::Number(format!("{first} to {last}, {days}")),
                _ => Cell::Missing,
            }
        }),
    );
    row(
        "Recommendations served",
        sides(&|side| Cell::Number(count(side.served))),
    );
    row(
        "Requests",
        sides(&|side| Cell::Number(count(side.requests))),
    );
    row(
        "Requests that converted",
        sides(&|side| Cell::Number(count(side.converted_requests))),
    );
    row("Conversion (95 %)", sides(&|side| share(side.conversion)));
    for own in &found.currencies {
        let digits = Currency::parse(&own.currency).map_or(2, Currency::digits);
        let mut money = |what: &str, of: [Option<Money>; 2]| -> Result<(), ReportError> {
            let text = |money: Option<Money>| money.map(|money| amount(money, digits)).transpose();
            let [left, right] = of;
            let cells = [Cell::number(text(left)?), Cell::number(text(right)?)];
            row(&format!("{what}, {}", own.currency), cells);
            Ok(())
        };
        let both = |of: fn(&InCurrency, usize) -> Option<Money>| [of(own, 0), of(own, 1)];
        let parts = [
            full_cost(&own.costs[0], digits)?,
            full_cost(&own.costs[1], digits)?,
        ];
        for (place, what) in PARTS.into_iter().enumerate() {
            money(what, [Some(parts[0][place]), Some(parts[1][place])])?;
        }
        money(
            "Full cost per request that converted",
            own.full_cost_per_conversion,
        )?;
        money("Revenue", both(|own, at| own.costs[at].revenue))?;
        money("Margin, where known", both(|own, at| own.costs[at].margin))?;
        money(
            "Cost to make, in all",
            both(|own, at| Some(own.costs[at].made)),
        )?;
    }
    let mut out = table.html();
    let says = sentences(found, &Page)?;
    out.push_str(&format!("<p class=\"legend\">{}</p>\n", says.join(" ")));
    Ok(out)
}

/// Words for the page: names shortened and escaped, currencies before their amounts.
struct Page;

impl Style for Page {
    type Error = ReportError;

    fn subject(&self, subject: &Subject) -> String {
        escape(&shorten(&subject.to_string(), 60))
    }

    fn amount(&self, currency: &str, money: Money) -> Result<String, ReportError> {
        let digits = Currency::parse(currency).map_or(2, Currency::digits);
        Ok(format!(
            "{}\u{a0}{}",
            escape(currency),
            amount(money, digits)?
        ))
    }

    fn estimate(&self, value: f64) -> String {
        score(value.round()).trim_end_matches(".0000").to_owned()
    }

    fn estimate_of(&self, currency: &str, range: &str) -> String {
        format!("{}\u{a0}{range}", escape(currency))
    }

    fn points(&self, value: f64) -> String {
        format!("{value:.2}").replace('-', "−")
    }
}

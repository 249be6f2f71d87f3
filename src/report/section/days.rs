//! What each day cost, by owner.

use super::section;
use crate::money::Money;
use crate::report::ReportError;
use crate::report::charts::{Segment, Stack, columns, key};
use crate::report::data::Target;
use crate::report::marks::{Marks, name};
use crate::report::round::sum;
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, shorten};
use crate::report::view::{View, agree};
use chrono::{Datelike, NaiveDate};
use std::collections::{BTreeMap, BTreeSet};

/// Days from first to last up to which each has a column of its own; more are shown by month.
const MOST_DAYS: i64 = 120;
/// Months up to which those without data are drawn as gaps; beyond, only those with data are.
const MOST_MONTHS: i64 = 60;

/// The section of one currency.
pub fn html(view: &View, marks: &Marks, id: &str, heading: &str) -> Result<String, ReportError> {
    let days: BTreeSet<NaiveDate> = view.data.daily.iter().map(|day| day.day).collect();
    let (first, last) = (days.first().copied(), days.last().copied());
    let span = first
        .zip(last)
        .map_or(0, |(first, last)| (last - first).num_days());
    let by_month = span >= MOST_DAYS;
    let bin = |day: NaiveDate| {
        if by_month {
            day.with_day(1).unwrap_or(day)
        } else {
            day
        }
    };
    let mut sums: BTreeMap<(&Target, NaiveDate), Money> = BTreeMap::new();
    for day in &view.data.daily {
        let total = sums.entry((&day.target, bin(day.day))).or_default();
        *total = total.checked_add(day.usage_effective)?;
    }
    let bins: BTreeSet<NaiveDate> = days.into_iter().map(bin).collect();
    if bins.is_empty() {
        return Ok(section(
            id,
            heading,
            "There are no daily costs in this period.",
            "",
        ));
    }
    let owners = owners(view);
    let mut shown: BTreeMap<(&Target, NaiveDate), Money> = BTreeMap::new();
    for owner in &owners {
        let exact: Vec<Money> = bins
            .iter()
            .map(|&day| sums.get(&(*owner, day)).copied().unwrap_or_default())
            .collect();
        for (&day, money) in bins.iter().zip(agree(view, owner, 0, &exact)?) {
            shown.insert((*owner, day), money);
        }
    }
    let text = |day: NaiveDate| {
        day.format(if by_month { "%b %Y" } else { "%-d %b" })
            .to_string()
    };
    let cell =
        |owner: &Target, day: NaiveDate| shown.get(&(owner, day)).copied().unwrap_or_default();
    let mut stacks = Vec::new();
    let drawn: BTreeSet<NaiveDate> = match first.zip(last) {
        // Time is drawn to scale: a day without data is a gap, not left out.
        Some((first, last)) if span < MOST_MONTHS * 31 => first
            .iter_days()
            .take_while(|day| *day <= last)
            .map(bin)
            .collect(),
        _ => bins.clone(),
    };
    for &day in &drawn {
        let mut segments = Vec::new();
        for owner in &owners {
            let money = cell(owner, day);
            let tip = format!(
                "{}, {}: {} {}",
                text(day),
                shorten(name(owner), 60),
                view.code(),
                amount(money, view.digits)?
            );
            segments.push(Segment {
                mark: marks.target(owner),
                amount: money,
                tip,
            });
        }
        stacks.push(Stack {
            label: text(day),
            note: String::new(),
            segments,
        });
    }
    let every = if by_month { "month" } else { "day" };
    let entries: Vec<_> = owners
        .iter()
        .map(|owner| (marks.target(owner), name(owner).to_owned()))
        .collect();
    let title = format!("Effective cost by {every} and owner, usage basis");
    let about = format!(
        "Stacked columns, one per {every}, with a gap where there are no costs. The table below has the figures."
    );
    let chart = figure(&title, &about, &key(&entries), |svg| {
        columns(svg, &stacks, view.code())
    });

    let mut table = Table::new(format!(
        "By {every} and owner <small>{}</small> · effective, usage basis",
        view.code()
    ))
    .words(if by_month { "Month" } else { "Day" });
    for owner in &owners {
        table = table.numbers(name(owner), "");
    }
    table = table.numbers("Total", "");
    let row = |title: String, amounts: Vec<Money>| -> Result<Vec<Cell>, ReportError> {
        let total = sum(amounts.iter().copied())?;
        let cells = amounts
            .into_iter()
            .chain([total])
            .map(|money| Ok(Cell::Number(amount(money, view.digits)?)));
        std::iter::once(Ok(Cell::Name(title)))
            .chain(cells)
            .collect()
    };
    for &day in &bins {
        let title = if by_month { text(day) } else { day.to_string() };
        table.row(
            Row::Leaf,
            row(title, owners.iter().map(|owner| cell(owner, day)).collect())?,
        );
    }
    let totals = owners
        .iter()
        .map(|owner| sum(bins.iter().map(|&day| cell(owner, day))));
    table.row(
        Row::Total,
        row("Total".to_owned(), totals.collect::<Result<_, _>>()?)?,
    );
    let body = format!(
        "{chart}<details><summary>The figures by {every}</summary>\n{}</details>\n",
        table.html()
    );
    Ok(section(
        id,
        heading,
        "Cost on the day of its charge, whatever day the invoice came.",
        &body,
    ))
}

/// In the order of the cost tables, then what only the days know.
fn owners<'a>(view: &'a View) -> Vec<&'a Target> {
    let mut owners: Vec<&Target> = view.targets.iter().map(|found| &found.target).collect();
    let more: BTreeSet<&Target> = view.data.daily.iter().map(|day| &day.target).collect();
    for target in more {
        if !owners.contains(&target) {
            owners.push(target);
        }
    }
    owners
}

//! What quality costs: every model of the night against every other, on each basis and in each currency.

use super::section;
use crate::model::compress::Compression;
use crate::report::ReportError;
use crate::report::charts::key;
use crate::report::data::{FrontierPoint, ReportData};
use crate::report::frontier::{Spot, draw};
use crate::report::marks::Mark;
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{
    amount, bytes, count, escape, label, list, ratio_digits, score, seconds, shorten,
};

/// The section; `None` where no model was made.
pub fn html(data: &ReportData) -> Result<Option<String>, ReportError> {
    if data.frontier.is_empty() {
        return Ok(None);
    }
    let mut families: Vec<&str> = data.frontier.iter().map(|p| p.family.as_str()).collect();
    families.sort_unstable();
    families.dedup();
    let mut body = String::new();
    let mut rest: &[FrontierPoint] = &data.frontier;
    let mut without = vec![];
    while let Some(first) = rest.first() {
        let same = |point: &&FrontierPoint| {
            (&point.basis, &point.currency) == (&first.basis, &first.currency)
        };
        let (group, others) = rest.split_at(rest.iter().take_while(same).count());
        match &first.currency {
            Some(code) => body.push_str(&group_html(group, code, &families)?),
            None => without.extend(group.iter().map(|point| label(&point.model_id))),
        }
        rest = others;
    }
    if !without.is_empty() {
        body.push_str(&format!(
            "<p class=\"legend\">No bill names these models yet, so that nothing can be said of their cost: {}.</p>\n",
            list(&without)
        ));
    }
    let intro = "What a model is worth against what it costs per 1,000 recommendations, full cost. A model is <em>dominated</em> \
                 (hollow in the chart) where another costs no more and finds no less, <em>by cost alone</em> where the \
                 two find the same but for noise; the others are the frontier, among which it is a matter of how much quality is worth. Costs per 1,000 shown and per 1,000 written are never \
                 compared.";
    Ok(Some(section("frontier", "Quality for money", intro, &body)))
}

/// Chart and table of one basis in one currency, whose points come in the order of their cost.
fn group_html(
    group: &[FrontierPoint],
    code: &str,
    families: &[&str],
) -> Result<String, ReportError> {
    let served = group.iter().any(|point| point.basis == "served");
    let what = if served { "shown" } else { "written" };
    let costs: Vec<_> = group
        .iter()
        .filter_map(|point| point.cost_per_1000)
        .collect();
    let digits = ratio_digits(&costs, 2);
    let k = group.iter().find_map(|point| point.k).unwrap_or(20);
    let quality = format!("recall@{k}");
    let cost = format!("{code} per 1,000 {what}, full cost");
    let mut spots = vec![];
    for (place, point) in group.iter().enumerate() {
        let (Some(per_1000), Some(value)) = (point.cost_per_1000, point.recall) else {
            continue;
        };
        if per_1000.0 < 0 {
            continue;
        }
        spots.push(Spot {
            number: place + 1,
            name: point.model_id.clone(),
            class: mark(families, &point.family).class,
            cost: per_1000,
            value,
            low: point.recall_low,
            high: point.recall_high,
            dominated: point.dominated_by.is_some(),
            tip: format!(
                "{}: {quality} {}, {code} {} per 1,000",
                shorten(&point.model_id, 60),
                score(value),
                amount(per_1000, digits)?
            ),
        });
    }
    let mut out = String::new();
    if spots.is_empty() {
        out.push_str(&format!(
            "<p>No model that was evaluated has a cost per 1,000 {what} in {}.</p>\n",
            escape(code)
        ));
    } else {
        let title =
            format!("{quality} against {code} per 1,000 {what}: better is up and to the left");
        let about = "A numbered point per model, as in the table below; vertical lines are 95 % intervals, the stepped line is the frontier, hollow points are dominated.";
        let shown: Vec<(Mark, String)> = families
            .iter()
            .filter(|family| group.iter().any(|point| point.family == **family))
            .map(|family| (mark(families, family), (*family).to_owned()))
            .collect();
        out.push_str(&figure(&title, about, &key(&shown), |svg| {
            draw(svg, &spots, &cost, &quality)
        }));
    }
    out.push_str(&table(group, code, what, &quality, digits)?);
    Ok(out)
}

fn table(
    group: &[FrontierPoint],
    code: &str,
    what: &str,
    quality: &str,
    digits: u32,
) -> Result<String, ReportError> {
    let mut table = Table::new(format!(
        "The same in figures <small>{}</small> · per 1,000 {what}",
        escape(code)
    ))
    .words("Model")
    .numbers("No.", "in the chart")
    .numbers(quality, "")
    .numbers("95 % interval", "")
    .numbers("Cost", "per 1,000")
    .words("Dominated by")
    .words("Family")
    .numbers("Dimensions", "")
    .words("Made smaller by")
    .numbers("Size", "without ids")
    .numbers("Scoring", "s per 1,000 users")
    .numbers("NDCG", "")
    .numbers("Cost", "in all")
    .numbers(if what == "shown" { "Shown" } else { "Written" }, "");
    for (place, point) in group.iter().enumerate() {
        let interval = match (point.recall_low, point.recall_high) {
            (Some(low), Some(high)) => Cell::Number(format!("{} to {}", score(low), score(high))),
            _ => Cell::Missing,
        };
        let money = |money: Option<crate::money::Money>, digits| -> Result<Cell, ReportError> {
            Ok(Cell::number(
                money.map(|money| amount(money, digits)).transpose()?,
            ))
        };
        let dominated = match (&point.dominated_by, point.recall_differs) {
            (None, _) if point.recall.is_none() => Cell::Missing,
            (None, _) => Cell::Html("– <small>frontier</small>".to_owned()),
            (Some(by), Some(false)) => {
                Cell::Html(format!("{} <small>by cost alone</small>", label(by)))
            }
            (Some(by), _) => Cell::Name(by.clone()),
        };
        table.row(
            Row::Leaf,
            vec![
                Cell::Name(point.model_id.clone()),
                Cell::Number((place + 1).to_string()),
                Cell::number(point.recall.map(score)),
                interval,
                money(point.cost_per_1000, digits)?,
                dominated,
                Cell::Name(point.family.clone()),
                Cell::number(point.dim.map(count)),
                Cell::name(compression(point).as_deref()),
                Cell::Number(size(point.bytes)),
                Cell::number(point.scoring_seconds.map(seconds)),
                Cell::number(point.ndcg.map(score)),
                money(point.cost, 2)?,
                Cell::number(point.recommendations.map(count)),
            ],
        );
    }
    Ok(table.sortable().html())
}

/// How a model was made smaller, in words.
fn compression(point: &FrontierPoint) -> Option<String> {
    let text = point.compression.as_ref()?;
    let read: Result<Compression, _> = serde_json::from_str(text);
    Some(read.map_or_else(|_| text.clone(), |read| read.words()))
}

/// Small tables in KiB, which MiB would show as 0.
fn size(value: u64) -> String {
    if value < 1 << 20 {
        let tenths = value * 10 / 1024;
        return format!("{}.{}\u{a0}KiB", tenths / 10, tenths % 10);
    }
    bytes(value)
}

/// The colour of a family; its letter is left out, since points are numbered.
fn mark(families: &[&str], family: &str) -> Mark {
    let place = families.iter().position(|known| *known == family);
    Mark {
        class: place
            .filter(|place| *place < 6)
            .map_or_else(|| "sx".to_owned(), |place| format!("s{place}")),
        letter: String::new(),
    }
}

//! Where the money went: by target, stage and category, down to the leaves, and where to look first.

use super::{bridge, losses, machines, marked, periods, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::charts::{Segment, Stack, bars, key};
use crate::report::data::{CostLine, ReportData, Target};
use crate::report::marks::{Marks, name};
use crate::report::round::sum;
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, label, reason, shorten, tenths};
use crate::report::view::{Kind, Leaf, View};
use std::collections::BTreeSet;

const NONE: &str = "none";

/// The section of one currency.
pub fn html(
    data: &ReportData,
    view: &View,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    if view.leaves.is_empty() {
        return Ok(section(
            id,
            heading,
            "There are no costs in this period.",
            "",
        ));
    }
    let mut body = basis_chart(view, marks)?;
    body.push_str(&target_table(view, marks)?);
    body.push_str(&periods::html(data, view)?);
    body.push_str(&bridge::html(view)?);
    body.push_str(&matrix(view, marks, "stage", |line| {
        line.stage.as_deref().unwrap_or(NONE)
    })?);
    body.push_str(&matrix(view, marks, "category", |line| &line.category)?);
    body.push_str(&machines::html(view)?);
    body.push_str(&losses::reasons(view)?);
    body.push_str(&losses::html(view)?);
    body.push_str(&leaf_table(view, marks)?);
    let intro = "Effective cost unless a column says billed. Cents are rounded by largest remainder, first over the owners, then over each owner's lines in the full list below, so every subtotal is the sum of the lines shown.";
    Ok(section(id, heading, intro, &body))
}

fn basis_chart(view: &View, marks: &Marks) -> Result<String, ReportError> {
    let mut stacks = Vec::new();
    for (place, basis) in [(0, "Usage basis"), (1, "Allocation basis")] {
        let mut segments = Vec::new();
        for found in &view.targets {
            let shown = found.shown[place];
            segments.push(Segment {
                mark: marks.target(&found.target),
                amount: shown,
                tip: format!(
                    "{}: {} {}",
                    shorten(name(&found.target), 60),
                    view.code(),
                    amount(shown, view.digits)?
                ),
            });
        }
        let total = amount(
            sum(segments.iter().map(|segment| segment.amount))?,
            view.digits,
        )?;
        stacks.push(Stack {
            label: basis.to_owned(),
            note: format!("{} {total}", view.code()),
            segments,
        });
    }
    let entries: Vec<_> = view
        .targets
        .iter()
        .map(|found| (marks.target(&found.target), name(&found.target).to_owned()))
        .collect();
    let about = "Two stacked bars of effective cost by model, idle and unallocated, one per basis. The table below has the figures.";
    Ok(figure(
        "Effective cost by owner, on both bases",
        about,
        &key(&entries),
        |svg| bars(svg, &stacks),
    ))
}

/// Amounts as cells.
pub fn numbers(view: &View, amounts: &[Money]) -> Result<Vec<Cell>, ReportError> {
    amounts
        .iter()
        .map(|&money| Ok(Cell::Number(amount(money, view.digits)?)))
        .collect()
}

/// The currency, for a caption. HTML.
pub fn unit(view: &View) -> String {
    format!(" <small>{}</small>", view.code())
}

fn target_table(view: &View, marks: &Marks) -> Result<String, ReportError> {
    let mut table = Table::new(format!("By owner{}", unit(view)))
        .words("Owner")
        .numbers("Effective", "usage basis")
        .numbers("Share", "")
        .numbers("Effective", "allocation basis")
        .numbers("Billed", "usage basis")
        .numbers("Billed", "allocation basis");
    let row =
        |title: Cell, shown: [Money; 4], share: Option<String>| -> Result<Vec<Cell>, ReportError> {
            let mut cells = numbers(view, &shown)?;
            cells.insert(0, title);
            cells.insert(2, Cell::number(share));
            Ok(cells)
        };
    let owners = view
        .targets
        .iter()
        .filter(|found| found.exact[0].0 != 0)
        .count();
    let text = |share: i128, exact: Money| {
        let exactly = match share {
            0 => exact.0 == 0,
            _ => owners == 1,
        };
        tenths(share, exactly)
    };
    for (place, found) in view.targets.iter().enumerate() {
        let part = view
            .shares
            .as_ref()
            .and_then(|parts| parts.get(place))
            .copied();
        let title = Cell::Html(marked(&marks.target(&found.target), name(&found.target)));
        let after_models = place > 0 && matches!(view.targets[place - 1].target, Target::Model(_));
        if after_models && !matches!(found.target, Target::Model(_)) {
            subtotal(view, &mut table, row)?;
        }
        table.row(
            Row::Leaf,
            row(
                title,
                found.shown,
                part.map(|part| text(part, found.exact[0])),
            )?,
        );
    }
    let all_models = view
        .targets
        .last()
        .is_some_and(|last| matches!(last.target, Target::Model(_)));
    if all_models {
        subtotal(view, &mut table, row)?;
    }
    let title = Cell::Name("Total".to_owned());
    table.row(
        Row::Total,
        row(title, view.kind(Kind::All)?.1, view.share(Kind::All))?,
    );
    Ok(table.html())
}

fn subtotal(
    view: &View,
    table: &mut Table,
    row: impl Fn(Cell, [Money; 4], Option<String>) -> Result<Vec<Cell>, ReportError>,
) -> Result<(), ReportError> {
    let title = Cell::Name("All models".to_owned());
    table.row(
        Row::Subtotal,
        row(title, view.kind(Kind::Models)?.1, view.share(Kind::Models))?,
    );
    Ok(())
}

/// Owner × something, usage basis effective, with totals both ways.
fn matrix<'a>(
    view: &View<'a>,
    marks: &Marks,
    what: &str,
    of: impl Fn(&'a CostLine) -> &'a str,
) -> Result<String, ReportError> {
    let heads: BTreeSet<&str> = view.leaves.iter().map(|leaf| of(leaf.line)).collect();
    let mut heads: Vec<&str> = heads.into_iter().collect();
    heads.sort_by_key(|head| order(head));
    let mut table = Table::new(format!(
        "Owner by {what}{} · effective, usage basis",
        unit(view)
    ))
    .words("Owner");
    for head in &heads {
        table = table.numbers(
            &if *head == NONE {
                format!("no {what}")
            } else {
                (*head).to_owned()
            },
            "",
        );
    }
    table = table.numbers("Total", "");
    let shown = |leaf: &Leaf| leaf.shown[0];
    let sum_of = |owner: Option<&Target>, head: Option<&str>| {
        let wanted = view.leaves.iter().filter(|leaf| {
            owner.is_none_or(|owner| leaf.line.target == *owner)
                && head.is_none_or(|head| of(leaf.line) == head)
        });
        sum(wanted.map(shown))
    };
    let mut line = |kind: Row, title: Cell, owner: Option<&Target>| -> Result<(), ReportError> {
        let mut cells = vec![title];
        for head in &heads {
            let money = sum_of(owner, Some(head))?;
            cells.push(if money.0 == 0 {
                Cell::Html("–".to_owned())
            } else {
                Cell::Number(amount(money, view.digits)?)
            });
        }
        cells.push(Cell::Number(amount(sum_of(owner, None)?, view.digits)?));
        table.row(kind, cells);
        Ok(())
    };
    for found in &view.targets {
        let title = Cell::Html(marked(&marks.target(&found.target), name(&found.target)));
        line(Row::Leaf, title, Some(&found.target))?;
    }
    line(Row::Total, Cell::Name("Total".to_owned()), None)?;
    Ok(table.html())
}

/// Stages in the order of a model's life; what has no stage comes last.
fn order(head: &str) -> usize {
    let stages = [
        "development",
        "training",
        "deployment",
        "operations",
        "upgrade",
    ];
    let other = if head == NONE {
        stages.len() + 1
    } else {
        stages.len()
    };
    stages
        .iter()
        .position(|stage| *stage == head)
        .unwrap_or(other)
}

fn leaf_table(view: &View, marks: &Marks) -> Result<String, ReportError> {
    let mut table = Table::new(format!("Every line, rounded to cents{}", unit(view)))
        .words("Stage")
        .words("Category")
        .words("Version or reason")
        .numbers("Effective", "usage basis")
        .numbers("Effective", "allocation basis")
        .numbers("Billed", "usage basis")
        .numbers("Billed", "allocation basis");
    for found in &view.targets {
        for leaf in view
            .leaves
            .iter()
            .filter(|leaf| leaf.line.target == found.target)
        {
            let line = leaf.line;
            let more = line
                .model_version
                .as_deref()
                .or(line.reason.as_deref().map(reason));
            let mut cells = vec![
                Cell::Name(line.stage.clone().unwrap_or_else(|| "–".to_owned())),
                Cell::Name(line.category.clone()),
                Cell::name(more),
            ];
            cells.extend(numbers(view, &leaf.shown)?);
            table.row(Row::Leaf, cells);
        }
        let title = marked(&marks.target(&found.target), name(&found.target));
        let mut cells = vec![Cell::Html(title), Cell::Empty, Cell::Empty];
        cells.extend(numbers(view, &found.shown)?);
        table.row(Row::Subtotal, cells);
    }
    let mut cells = vec![Cell::Name("Total".to_owned()), Cell::Empty, Cell::Empty];
    cells.extend(numbers(view, &view.kind(Kind::All)?.1)?);
    table.row(Row::Total, cells);
    let lines = crate::report::text::counted(
        u64::try_from(view.leaves.len()).unwrap_or(u64::MAX),
        "line",
        "lines",
    );
    Ok(format!(
        "<details><summary>The full list: {lines} by {}</summary>\n{}</details>\n",
        label("version, stage and category"),
        table.html()
    ))
}

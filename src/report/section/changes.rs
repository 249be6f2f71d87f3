//! What changed: since the previous billing period, with reasons; and in closed periods, by later bills.

use super::{marked, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::ReportData;
use crate::report::marks::{Marks, name};
use crate::report::round::{less, sum};
use crate::report::shown;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, counted, label};
use crate::report::view::View;
use chrono::NaiveDate;

/// Movers that the page lists; the workbook and the CSV file have all.
const MOST_MOVERS: usize = 15;
/// Restatements of one closed period that the page lists.
const MOST_RESTATED: usize = 40;
const NONE: &str = "–";

/// The section of one currency.
pub fn html(
    data: &ReportData,
    view: &View,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    let mut body = movers(data, view, marks)?;
    body.push_str(&restatements(view, marks)?);
    let intro = "Effective cost, usage basis. Why a cost moved is told in four parts that add up to the change: the bills of the same resources became other ones, the share of them did, resources are new, or they ended.";
    Ok(section(id, heading, intro, &body))
}

/// An amount with its sign, for what is a change.
fn signed(money: Money, digits: u32) -> Result<Cell, ReportError> {
    let text = amount(money, digits)?;
    Ok(Cell::Number(match money.0 {
        0 => NONE.to_owned(),
        1.. => format!("+{text}"),
        _ => text,
    }))
}

fn movers(data: &ReportData, view: &View, marks: &Marks) -> Result<String, ReportError> {
    let Some((before, newest)) = &data.compared else {
        return Ok("<p>There is no earlier billing period to compare with.</p>\n".to_owned());
    };
    let moved = shown::movers(view)?;
    if moved.is_empty() {
        return Ok(format!(
            "<p>Nothing changed from {} to {}.</p>\n",
            label(before),
            label(newest)
        ));
    }
    let mut table = Table::new(format!(
        "Top movers from {} to {} <small>{}</small>",
        label(before),
        label(newest),
        view.code()
    ))
    .words("Owner")
    .words("Stage")
    .words("Category")
    .numbers(before, "")
    .numbers(newest, "")
    .numbers("Change", "")
    .numbers("of which bills", "same resources")
    .numbers("share of them", "")
    .numbers("new", "resources")
    .numbers("ended", "resources");
    for line in moved.iter().take(MOST_MOVERS) {
        let mover = line.mover;
        let mut cells = vec![
            Cell::Html(marked(&marks.target(&mover.target), name(&mover.target))),
            Cell::Name(mover.stage.clone().unwrap_or_else(|| NONE.to_owned())),
            Cell::Name(mover.category.clone()),
            Cell::Number(amount(line.before, view.digits)?),
            Cell::Number(amount(line.after, view.digits)?),
            signed(less(line.after, line.before)?, view.digits)?,
        ];
        for part in line.parts {
            cells.push(signed(part, view.digits)?);
        }
        table.row(Row::Leaf, cells);
    }
    let mut out = table.html();
    let rest = moved.len().saturating_sub(MOST_MOVERS);
    if rest > 0 {
        let rest = counted(
            u64::try_from(rest).unwrap_or(u64::MAX),
            "smaller change",
            "smaller changes",
        );
        out.push_str(&format!(
            "<p class=\"legend\">And {rest}, in the workbook and in movers.csv.</p>\n"
        ));
    }
    // A month under way has fewer days of cost than the one before it.
    let month = |day: Option<NaiveDate>| day.map(|day| day.format("%Y-%m").to_string());
    let under_way = [Some(data.date), data.date.succ_opt()].map(month);
    if under_way.iter().all(|month| month.as_ref() == Some(newest)) {
        out.push_str(&format!(
            "<p class=\"legend\">{} runs to {} so far; {} is a whole month.</p>\n",
            label(newest),
            data.date,
            label(before)
        ));
    }
    Ok(out)
}

fn restatements(view: &View, marks: &Marks) -> Result<String, ReportError> {
    let mut out = String::new();
    for group in shown::restatements(view)? {
        let Some(first) = group.first().map(|restated| restated.line) else {
            continue;
        };
        let mut table = Table::new(format!(
            "Restated: {}, booked in {} <small>{}</small>",
            label(&first.period),
            label(&first.booked),
            view.code()
        ))
        .words("Owner")
        .words("Version")
        .words("Stage")
        .words("Category")
        .numbers("Before", "effective")
        .numbers("Change", "effective")
        .numbers("After", "effective")
        .numbers("Change", "allocation basis")
        .numbers("Change", "billed");
        let mut order: Vec<&shown::Restated> = group.iter().collect();
        order.sort_by_key(|restated| std::cmp::Reverse(restated.line.change[0].0.unsigned_abs()));
        let (listed, rest) = order.split_at(order.len().min(MOST_RESTATED));
        for restated in listed {
            let line = restated.line;
            let mut cells = vec![
                Cell::Html(marked(&marks.target(&line.target), name(&line.target))),
                Cell::name(line.model_version.as_deref()),
                Cell::Name(line.stage.clone().unwrap_or_else(|| NONE.to_owned())),
                Cell::Name(line.category.clone()),
            ];
            cells.extend(amounts(view, std::slice::from_ref(restated))?);
            table.row(Row::Leaf, cells);
        }
        let mut total =
            |row: Row, title: String, of: &[&shown::Restated]| -> Result<(), ReportError> {
                let mut cells = vec![Cell::Name(title), Cell::Empty, Cell::Empty, Cell::Empty];
                cells.extend(amounts(view, of)?);
                table.row(row, cells);
                Ok(())
            };
        if !rest.is_empty() {
            let count = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            total(
                Row::Leaf,
                counted(count, "smaller line", "smaller lines"),
                rest,
            )?;
        }
        total(Row::Total, "Total".to_owned(), &order)?;
        out.push_str(&table.html());
    }
    if out.is_empty() {
        out.push_str("<p>No closed period was restated.</p>\n");
    } else {
        out.push_str("<p class=\"legend\">A closed period never changes: what came later is booked in the period that was open. Before is what the period stood at, after is what it costs by the bills of today.</p>\n");
    }
    Ok(out)
}

/// Before, change and after, effective on the usage basis; change on the allocation basis; change of billed.
fn amounts<'a, T>(view: &View, lines: &[T]) -> Result<Vec<Cell>, ReportError>
where
    T: std::borrow::Borrow<shown::Restated<'a>>,
{
    let total =
        |of: &dyn Fn(&shown::Restated) -> Money| sum(lines.iter().map(|line| of(line.borrow())));
    let before = total(&|line| line.before[0])?;
    let change = total(&|line| line.change[0])?;
    Ok(vec![
        Cell::Number(amount(before, view.digits)?),
        signed(change, view.digits)?,
        Cell::Number(amount(before.checked_add(change)?, view.digits)?),
        signed(total(&|line| line.change[1])?, view.digits)?,
        signed(total(&|line| line.change[2])?, view.digits)?,
    ])
}

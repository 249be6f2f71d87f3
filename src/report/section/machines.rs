//! How much of each machine was used.

use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::{shares, sum};
use crate::report::shown;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count, counted, tenths};
use crate::report::view::View;

/// Machines that the page lists; the others share a row.
const MOST: usize = 15;

/// The table; empty where nothing is a machine.
pub fn html(view: &View) -> Result<String, ReportError> {
    let machines = shown::machines(view)?;
    if machines.is_empty() {
        return Ok(String::new());
    }
    let mut table = Table::new(format!(
        "Utilisation of machines <small>{}</small> · effective, usage basis",
        view.code()
    ))
    .words("Machine")
    .numbers("Bill rows", "")
    .numbers("Used", "by models")
    .numbers("Idle", "")
    .numbers("Unallocated", "")
    .numbers("Cost", "")
    .numbers("Utilisation", "used of cost");
    let listed = machines
        .iter()
        .filter(|shown| shown.machine.resource_id.is_some());
    let listed = listed.count().min(MOST);
    for shown in &machines[..listed] {
        let title = shown.machine.resource_id.clone().unwrap_or_default();
        table.row(
            Row::Leaf,
            cells(view, title, shown.machine.rows, shown.parts)?,
        );
    }
    let add = |of: &[shown::ShownMachine]| -> Result<(u64, [Money; 3]), ReportError> {
        let rows = of.iter().map(|shown| shown.machine.rows).sum();
        let mut totals = [Money::ZERO; 3];
        for (place, total) in totals.iter_mut().enumerate() {
            *total = sum(of.iter().map(|shown| shown.parts[place]))?;
        }
        Ok((rows, totals))
    };
    let rest = &machines[listed..];
    if !rest.is_empty() {
        let others = rest.iter().map(|shown| shown.machine.machines).sum();
        let (rows, totals) = add(rest)?;
        let title = counted(others, "other machine", "other machines");
        table.row(Row::Leaf, cells(view, title, rows, totals)?);
    }
    let (rows, totals) = add(&machines)?;
    table.row(
        Row::Total,
        cells(view, "All machines".to_owned(), rows, totals)?,
    );
    Ok(table.html())
}

fn cells(
    view: &View,
    title: String,
    rows: u64,
    parts: [Money; 3],
) -> Result<Vec<Cell>, ReportError> {
    let mut cells = vec![Cell::Name(title), Cell::Number(count(rows))];
    for money in parts.into_iter().chain([sum(parts)?]) {
        cells.push(Cell::Number(amount(money, view.digits)?));
    }
    let used = shares(&parts)?.and_then(|shares| shares.first().copied());
    let exactly = |share: i128| match share {
        0 => parts[0].0 == 0,
        1000 => parts[1].0 == 0 && parts[2].0 == 0,
        _ => true,
    };
    cells.push(Cell::number(
        used.map(|share| tenths(share, exactly(share))),
    ));
    Ok(cells)
}

//! The period view: what each billing period cost, and whether it is closed.

use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{Basis, Line, ReportData};
use crate::report::round::sum;
use crate::report::shown;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count};
use crate::report::view::View;

/// One row per billing period; empty where there is no bill.
pub fn html(data: &ReportData, view: &View) -> Result<String, ReportError> {
    let bills = shown::bills(view)?;
    if bills.is_empty() {
        return Ok(String::new());
    }
    let mut table = Table::new(format!(
        "By billing period <small>{}</small> · usage basis",
        view.code()
    ))
    .words("Billing period")
    .words("State")
    .numbers("Bill rows", "")
    .numbers("Billed", "")
    .numbers("Effective", "")
    .numbers("to models", "effective")
    .numbers("idle", "effective")
    .numbers("unallocated", "effective")
    .numbers("Restated here", "for closed periods");
    let mut all = (0, [Money::ZERO; 6]);
    for group in bills.chunk_by(|a, b| a.period == b.period) {
        let Some(period) = group.first().map(|bill| bill.period) else {
            continue;
        };
        let part = |place: usize, at: usize| sum(group.iter().map(|bill| bill.parts[place][at]));
        let effective = [part(0, 0)?, part(0, 1)?, part(0, 2)?];
        let billed = sum([part(2, 0)?, part(2, 1)?, part(2, 2)?])?;
        let restated = view.data.reconciliation.iter().filter(|line| {
            line.line == Line::Restated && line.basis == Basis::Usage && line.period == period
        });
        let restated = sum(restated.filter_map(|line| line.effective))?.round(view.digits)?;
        let amounts = [
            billed,
            sum(effective)?,
            effective[0],
            effective[1],
            effective[2],
            restated,
        ];
        let rows = group.iter().map(|bill| bill.rows).sum::<u64>();
        let closed = data.closed.iter().find(|(closed, _)| closed == period);
        let state = closed.map_or("open".to_owned(), |(_, day)| format!("closed {day}"));
        table.row(Row::Leaf, cells(view, period, state, rows, &amounts)?);
        all.0 += rows;
        for (total, amount) in all.1.iter_mut().zip(amounts) {
            *total = total.checked_add(amount)?;
        }
    }
    table.row(
        Row::Total,
        cells(view, "Total", String::new(), all.0, &all.1)?,
    );
    Ok(table.html())
}

fn cells(
    view: &View,
    title: &str,
    state: String,
    rows: u64,
    amounts: &[Money],
) -> Result<Vec<Cell>, ReportError> {
    let mut cells = vec![
        Cell::Name(title.to_owned()),
        Cell::Html(state),
        Cell::Number(count(rows)),
    ];
    for &money in amounts {
        cells.push(Cell::Number(amount(money, view.digits)?));
    }
    Ok(cells)
}

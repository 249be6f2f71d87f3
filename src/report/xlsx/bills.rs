//! The bills: three ways that must agree (billed, effective, attributed), and why effective is not billed.

use std::collections::BTreeSet;

use super::Book;
use super::sheet::{Cell, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{Basis, Line};
use crate::report::round::{less, sum};
use crate::report::section::bridge::UNEXPLAINED;
use crate::report::shown;
use crate::report::view::{self, View};

/// Columns of the reconciliation from `Billed` on.
const BILLED: usize = 5;

/// One row per currency × period × issuer × basis: billed, what makes it effective, and where both went.
pub fn reconciliation(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Reconciliation",
        "Billed, effective, attributed: one row per bill and basis",
        "Both differences are 0 when everything ties. Cents by largest remainder, so a bill may differ from its own rounding by one; reconciliation.csv has every digit.",
    )
    .words("Currency", 10)
    .words("Billing period", 12)
    .words("Issuer", 28)
    .words("Basis", 12)
    .numbers(&[
        "Bill rows",
        "Billed",
        "Billed to models",
        "Billed idle",
        "Billed unallocated",
        "Difference, billed",
        "Billed to effective",
        "Effective",
        "Effective to models",
        "Effective idle",
        "Effective unallocated",
        "Difference, effective",
        "Restated here, effective (beside the bill)",
        "Rejected rows (beside the bill)",
        "Rejected, effective (beside the bill)",
    ]);
    for view in book.views {
        let bills = shown::bills(view)?;
        let of_bills: BTreeSet<_> = bills.iter().map(|b| (b.period, b.issuer)).collect();
        for (place, basis) in [(0, Basis::Usage), (1, Basis::Allocation)] {
            let title = if place == 0 { "usage" } else { "allocation" };
            let first = sheet.next();
            // What is on no bill: restatements of closed periods, and rejected rows, which only their source names.
            let others = view.data.reconciliation.iter().filter(|found| {
                matches!(found.line, Line::Restated | Line::Quarantined) && found.basis == basis
            });
            let others: BTreeSet<_> = others
                .map(|found| (found.period.as_str(), found.issuer.as_str()))
                .collect();
            let nothing = [Money::ZERO; 3];
            let of_bill = bills.iter().map(|bill| {
                let parts = [bill.parts[place], bill.parts[place + 2]];
                (bill.period, bill.issuer, bill.rows, parts)
            });
            let beside_bills = others
                .difference(&of_bills)
                .map(|(period, issuer)| (*period, *issuer, 0, [nothing; 2]));
            for (period, issuer, bill_rows, [effective, billed]) in of_bill.chain(beside_bills) {
                let row = sheet.next();
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(period),
                    Cell::text(issuer),
                    Cell::text(title),
                    Cell::count(bill_rows),
                ];
                let totals = [sum(billed)?, sum(effective)?];
                cells.extend(side(row, BILLED, totals[0], billed, view.digits));
                let formula = format!("{}-{}", at(BILLED + 6, row), at(BILLED, row));
                cells.push(Cell::formula(
                    &formula,
                    less(totals[1], totals[0])?,
                    view.digits,
                ));
                cells.extend(side(row, BILLED + 6, totals[1], effective, view.digits));
                cells.extend(beside(view, basis, period, issuer)?);
                sheet.row(Kind::Leaf, cells)?;
            }
            let rows: Vec<usize> = (first..sheet.next()).collect();
            if rows.is_empty() {
                continue;
            }
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text("Total"),
                Cell::Empty,
                Cell::text(title),
            ];
            for column in BILLED - 1..sheet.columns.len() {
                let amounts: Vec<Money> = rows
                    .iter()
                    .map(|&row| sheet.amount(column, row))
                    .collect::<Result<_, _>>()?;
                let counts = column == BILLED - 1 || column == BILLED + 12;
                let cell = sum_of(
                    None,
                    column,
                    &rows,
                    amounts,
                    if counts { 0 } else { view.digits },
                )?;
                cells.push(cell);
            }
            sheet.row(Kind::Total, cells)?;
        }
    }
    Ok(Some(sheet))
}

/// A total, its three parts and the difference between them, from `column` on.
fn side(row: usize, column: usize, total: Money, parts: [Money; 3], digits: u32) -> Vec<Cell> {
    let mut cells = vec![Cell::amount(total, digits)];
    cells.extend(parts.map(|part| Cell::amount(part, digits)));
    let (whole, first, last) = (at(column, row), at(column + 1, row), at(column + 3, row));
    cells.push(Cell::formula(
        &format!("{whole}-SUM({first}:{last})"),
        Money::ZERO,
        digits,
    ));
    cells
}

/// What stands beside a bill: restated, rejected rows, rejected amount; an amount is empty where there is none or none can be read.
fn beside(view: &View, basis: Basis, period: &str, issuer: &str) -> Result<[Cell; 3], ReportError> {
    let of = |line: Line| {
        view.data.reconciliation.iter().filter(move |found| {
            found.line == line
                && found.basis == basis
                && found.period == period
                && found.issuer == issuer
        })
    };
    let amount = |line: Line| -> Result<Cell, ReportError> {
        let known: Vec<Money> = of(line).filter_map(|found| found.effective).collect();
        let total = (!known.is_empty()).then(|| sum(known)).transpose()?;
        Cell::rounded(total, view.digits)
    };
    let rows = of(Line::Quarantined).map(|found| found.rows).sum();
    Ok([
        amount(Line::Restated)?,
        Cell::count(rows),
        amount(Line::Quarantined)?,
    ])
}

/// From billed to effective, kind of charge by kind of charge.
pub fn bridge(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Bridge",
        "From billed to effective",
        "Each line is what a kind of charge adds to the billed amount, or takes from it.",
    )
    .words("Currency", 10)
    .words("What", 48)
    .numbers(&["Bill rows", "Amount"]);
    for view in book.views {
        let all = view.kind(view::Kind::All)?.1;
        let code = || Cell::text(view.code());
        let first = sheet.row(
            Kind::Subtotal,
            vec![
                code(),
                Cell::text("Billed"),
                Cell::Empty,
                Cell::amount(all[2], view.digits),
            ],
        )?;
        let (differences, rest) = shown::bridge(view)?;
        for (line, difference) in view.data.bridge.iter().zip(&differences) {
            sheet.row(
                Kind::Leaf,
                vec![
                    code(),
                    Cell::text(&line.what),
                    Cell::count(line.rows),
                    Cell::amount(*difference, view.digits),
                ],
            )?;
        }
        if rest != Money::ZERO {
            let what = Cell::text(UNEXPLAINED);
            sheet.row(
                Kind::Leaf,
                vec![code(), what, Cell::Empty, Cell::amount(rest, view.digits)],
            )?;
        }
        let rows: Vec<usize> = (first..sheet.next()).collect();
        let amounts = differences.into_iter().chain([all[2], rest]);
        let total = sum_of(None, 3, &rows, amounts, view.digits)?;
        sheet.row(
            Kind::Total,
            vec![code(), Cell::text("Effective"), Cell::Empty, total],
        )?;
    }
    Ok(Some(sheet))
}

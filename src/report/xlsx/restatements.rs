//! What later bills changed in closed periods.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::marks::name;
use crate::report::shown;

const FIRST_AMOUNT: usize = 7;
/// Heads and places among the measures: effective on both bases, billed on the usage basis.
const SHOWN: [(&str, usize); 3] = [
    ("effective, usage basis", 0),
    ("effective, allocation basis", 1),
    ("billed, usage basis", 2),
];

/// One row per restatement: before, change, after; a total per closed period and period of booking.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let heads: Vec<String> = SHOWN
        .iter()
        .flat_map(|(what, _)| ["Before", "Change", "After"].map(|when| format!("{when}, {what}")))
        .collect();
    let mut sheet = Sheet::new(
        "Restatements",
        "What later bills changed in closed periods",
        "A closed period never changes: the difference is booked in the period that was open. Before is the closed amount and what was restated earlier.",
    )
    .words("Currency", 10)
    .words("Closed period", 12)
    .words("Booked in", 12)
    .words("Owner", 30)
    .words("Version", 16)
    .words("Stage", 14)
    .words("Category", 14)
    .numbers(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for view in book.views {
        for group in shown::restatements(view)? {
            let first = sheet.next();
            for restated in &group {
                let line = restated.line;
                let row = sheet.next();
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(&line.period),
                    Cell::text(&line.booked),
                    Cell::text(name(&line.target)),
                    Cell::some(line.model_version.as_deref()),
                    Cell::some(line.stage.as_deref()),
                    Cell::text(&line.category),
                ];
                for (place, &(_, measure)) in SHOWN.iter().enumerate() {
                    let (before, change) = (restated.before[measure], restated.change[measure]);
                    let column = FIRST_AMOUNT + place * 3;
                    let formula = format!("{}+{}", at(column, row), at(column + 1, row));
                    cells.push(Cell::amount(before, view.digits));
                    cells.push(Cell::amount(change, view.digits));
                    cells.push(Cell::formula(
                        &formula,
                        before.checked_add(change)?,
                        view.digits,
                    ));
                }
                sheet.row(Kind::Leaf, cells)?;
            }
            let Some(line) = group.first().map(|restated| restated.line) else {
                continue;
            };
            let rows: Vec<usize> = (first..sheet.next()).collect();
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(&line.period),
                Cell::text(&line.booked),
                Cell::text("Total"),
            ];
            cells.resize(FIRST_AMOUNT, Cell::Empty);
            for column in FIRST_AMOUNT..sheet.columns.len() {
                let amounts: Vec<Money> = rows
                    .iter()
                    .map(|&row| sheet.amount(column, row))
                    .collect::<Result<_, _>>()?;
                cells.push(sum_of(None, column, &rows, amounts, view.digits)?);
            }
            sheet.row(Kind::Total, cells)?;
        }
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

//! Owner × stage × category, effective cost on both bases.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::marks::name;
use crate::report::round::sum;
use crate::report::view::Leaf;
use std::collections::BTreeSet;

const FIRST_AMOUNT: usize = 3;
const BASES: [&str; 2] = ["usage basis", "allocation basis"];

/// One row per owner and stage, a subtotal per owner, a total per currency.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let leaves = || book.views.iter().flat_map(|view| &view.leaves);
    let categories: BTreeSet<&str> = leaves().map(|leaf| leaf.line.category.as_str()).collect();
    if categories.is_empty() {
        return Ok(None);
    }
    let mut sheet = Sheet::new(
        "Models",
        "Effective cost by owner, stage and category",
        "Usage basis: idle has a line of its own. Allocation basis: idle has moved on to those who used the machine.",
    )
    .words("Currency", 10)
    .words("Owner", 30)
    .words("Stage", 16);
    for basis in BASES {
        let heads = categories.iter().copied().chain(["Total"]);
        let heads: Vec<String> = heads.map(|head| format!("{head}, {basis}")).collect();
        sheet = sheet.numbers(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let width = categories.len() + 1;
    for view in book.views {
        let mut all = Vec::new();
        for found in &view.targets {
            let own = |leaf: &Leaf| leaf.line.target == found.target;
            let stages: BTreeSet<Option<&str>> = view
                .leaves
                .iter()
                .filter(|leaf| own(leaf))
                .map(|leaf| leaf.line.stage.as_deref())
                .collect();
            let first = sheet.next();
            for stage in stages {
                let row = sheet.next();
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(name(&found.target)),
                    Cell::some(stage),
                ];
                for measure in 0..BASES.len() {
                    let mut total = Vec::new();
                    for category in &categories {
                        let wanted = |leaf: &Leaf| {
                            own(leaf)
                                && leaf.line.stage.as_deref() == stage
                                && leaf.line.category == *category
                        };
                        let there: Vec<Money> = view
                            .leaves
                            .iter()
                            .filter(|leaf| wanted(leaf))
                            .map(|leaf| leaf.shown[measure])
                            .collect();
                        total.extend(there.iter().copied());
                        cells.push(if there.is_empty() {
                            Cell::Empty
                        } else {
                            book.lines.sum(view, measure, wanted)?
                        });
                    }
                    cells.push(across(
                        row,
                        measure * width,
                        width - 1,
                        sum(total)?,
                        view.digits,
                    ));
                }
                sheet.row(Kind::Leaf, cells)?;
            }
            let rows: Vec<usize> = (first..sheet.next()).collect();
            all.extend(rows.iter().copied());
            totals(
                &mut sheet,
                Kind::Subtotal,
                view.code(),
                name(&found.target),
                &rows,
                view.digits,
            )?;
        }
        if !all.is_empty() {
            totals(
                &mut sheet,
                Kind::Total,
                view.code(),
                "Total",
                &all,
                view.digits,
            )?;
        }
    }
    Ok(Some(sheet))
}

/// The total of one row's categories on one basis.
fn across(row: usize, from: usize, count: usize, total: Money, digits: u32) -> Cell {
    use super::sheet::at;
    let first = at(FIRST_AMOUNT + from, row);
    let last = at(FIRST_AMOUNT + from + count - 1, row);
    Cell::formula(&format!("SUM({first}:{last})"), total, digits)
}

/// Sums down of every column over `rows`, whose values are read back from their cells.
fn totals(
    sheet: &mut Sheet,
    kind: Kind,
    code: &str,
    title: &str,
    rows: &[usize],
    digits: u32,
) -> Result<(), ReportError> {
    let mut cells = vec![Cell::text(code), Cell::text(title), Cell::Empty];
    for column in FIRST_AMOUNT..sheet.columns.len() {
        let amounts: Vec<Money> = rows
            .iter()
            .map(|&row| sheet.amount(column, row))
            .collect::<Result<_, _>>()?;
        cells.push(sum_of(None, column, rows, amounts, digits)?);
    }
    sheet.row(kind, cells)?;
    Ok(())
}

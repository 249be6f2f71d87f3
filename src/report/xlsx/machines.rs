//! Idle and utilisation, machine by machine.

use super::Book;
use super::sheet::{Cell, Format, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::sum;
use crate::report::shown;

const PARTS: usize = 4;

/// One row per machine, the dearest first; the total per currency.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Machines",
        "Idle and utilisation of machines",
        "Effective cost, usage basis. Utilisation is the used part of what the machine cost. Tax and credits are not in it.",
    )
    .words("Currency", 10)
    .words("Machine", 48)
    .numbers(&["Machines", "Bill rows", "Used", "Idle", "Unallocated", "Cost", "Utilisation"]);
    for view in book.views {
        let machines = shown::machines(view)?;
        let first = sheet.next();
        let mut totals = [Money::ZERO; 3];
        for shown in &machines {
            let machine = shown.machine;
            let others = "All other machines".to_owned();
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::Text(machine.resource_id.clone().unwrap_or(others)),
                Cell::count(machine.machines),
                Cell::count(machine.rows),
            ];
            cells.extend(shown.parts.map(|part| Cell::amount(part, view.digits)));
            let row = sheet.next();
            cells.extend(cost(row, shown.parts, view.digits)?);
            sheet.row(Kind::Leaf, cells)?;
            for (total, part) in totals.iter_mut().zip(shown.parts) {
                *total = total.checked_add(part)?;
            }
        }
        let rows: Vec<usize> = (first..sheet.next()).collect();
        if rows.is_empty() {
            continue;
        }
        let mut cells = vec![
            Cell::text(view.code()),
            Cell::text("Total"),
            Cell::Empty,
            Cell::Empty,
        ];
        for (place, &total) in totals.iter().enumerate() {
            cells.push(sum_of(None, PARTS + place, &rows, [total], view.digits)?);
        }
        let row = sheet.next();
        cells.extend(cost(row, totals, view.digits)?);
        sheet.row(Kind::Total, cells)?;
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

/// Cost of a row, and how much of it was used.
fn cost(row: usize, parts: [Money; 3], digits: u32) -> Result<[Cell; 2], ReportError> {
    let total = sum(parts)?;
    let formula = format!("SUM({}:{})", at(PARTS, row), at(PARTS + 2, row));
    let millionths = parts[0]
        .0
        .checked_mul(1_000_000)
        .and_then(|used| used.checked_div(total.0));
    let value = millionths.map_or_else(String::new, |share| {
        Money(share * 10_i128.pow(12)).to_string()
    });
    let (used, all) = (at(PARTS, row), at(PARTS + 3, row));
    Ok([
        Cell::formula(&formula, total, digits),
        Cell::Formula(
            format!("IF({all}=0,\"\",{used}/{all})"),
            value,
            Format::Percent,
        ),
    ])
}

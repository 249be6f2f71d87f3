//! The unit view: the roll-forward of what models cost to make, and what each version cost.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::making::{roll_forward, state, versions};

const MOVEMENTS: [&str; 4] = ["Incurred", "Transferred", "Recognised", "Written off"];
/// Column of the opening amount; the movements and the closing amount follow it.
const OPENING: usize = 3;

/// Opening and movements from `first` on, and the closing amount that a spreadsheet makes of them.
fn closing(row: usize, first: usize, closing: Money, digits: u32) -> Cell {
    let [opening, incurred, transferred, recognised, written_off] =
        std::array::from_fn(|place| at(first + place, row));
    let formula = format!("{opening}+{incurred}+{transferred}-{recognised}-{written_off}");
    Cell::formula(&formula, closing, digits)
}

/// One row per model and month, a subtotal per model, a total per currency.
pub fn rolled(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "RollForward",
        "What models cost to make, rolled forward",
        "Development, training and upgrade: effective, allocation basis. Opening + incurred + transferred - recognised - written off = closing, and each opening is the closing before it.",
    )
    .words("Currency", 10)
    .words("Model", 30)
    .words("Month", 12)
    .numbers(&["Opening"])
    .numbers(&MOVEMENTS)
    .numbers(&["Closing"]);
    for view in book.views {
        let mut ends = Vec::new();
        for model in roll_forward(view)? {
            let head = |month: &str| {
                vec![
                    Cell::text(view.code()),
                    Cell::text(model.model_id),
                    Cell::text(month),
                ]
            };
            let wanted = |month: &str| book.data.period.as_deref().is_none_or(|p| p == month);
            let mut rows = Vec::new();
            for month in model.months.iter().filter(|month| wanted(month.month)) {
                let row = sheet.next();
                let mut cells = head(month.month);
                cells.push(match rows.last() {
                    Some(&before) => {
                        Cell::formula(&at(OPENING + 5, before), month.opening, view.digits)
                    }
                    None => Cell::amount(month.opening, view.digits),
                });
                let moved = month.moved.map(|money| Cell::amount(money, view.digits));
                cells.extend(moved);
                cells.push(closing(row, OPENING, month.closing, view.digits));
                rows.push(sheet.row(Kind::Leaf, cells)?);
            }
            let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
                continue;
            };
            let mut cells = head("all months");
            let opening = sheet.amount(OPENING, first)?;
            cells.push(Cell::formula(&at(OPENING, first), opening, view.digits));
            for column in OPENING + 1..OPENING + 5 {
                cells.push(total(&sheet, column, &rows, view.digits)?);
            }
            let left = sheet.amount(OPENING + 5, last)?;
            cells.push(closing(sheet.next(), OPENING, left, view.digits));
            ends.push(sheet.row(Kind::Subtotal, cells)?);
        }
        if ends.is_empty() {
            continue;
        }
        let mut cells = vec![
            Cell::text(view.code()),
            Cell::text("All models"),
            Cell::Empty,
        ];
        for column in OPENING..OPENING + 6 {
            cells.push(total(&sheet, column, &ends, view.digits)?);
        }
        sheet.row(Kind::Total, cells)?;
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

fn total(sheet: &Sheet, column: usize, rows: &[usize], digits: u32) -> Result<Cell, ReportError> {
    let amounts = rows
        .iter()
        .map(|&row| sheet.amount(column, row))
        .collect::<Result<Vec<_>, _>>()?;
    sum_of(None, column, rows, amounts, digits)
}

/// Column of what a version cost; the other movements and the closing amount follow it.
const INCURRED: usize = 8;

/// One row per version, a subtotal per model.
pub fn by_version(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Versions",
        "What each version cost to make, and what became of it",
        "From its first cost to the end of the report. A version that served nothing never shipped: what it cost stays in closing until it is written off. A row without a version is what waits for the next one.",
    )
    .words("Currency", 10)
    .words("Model", 30)
    .words("Version", 18)
    .words("State", 22)
    .numbers(&["First cost", "First served", "Last served", "Served"])
    .numbers(&MOVEMENTS)
    .numbers(&["Closing", "Life left"])
    .words("Unit of life", 16)
    .words("Policy", 36);
    for view in book.views {
        for model in versions(view)? {
            let first = sheet.next();
            for (version, moved, left) in &model.versions {
                let row = sheet.next();
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(model.model_id),
                    Cell::some(version.model_version.as_deref()),
                    Cell::text(state(version)),
                ];
                let days = [
                    version.first_cost,
                    version.first_served,
                    version.last_served,
                ];
                cells.extend(days.map(|day| day.map_or(Cell::Empty, Cell::day)));
                cells.push(Cell::count(version.served));
                cells.extend(moved.map(|money| Cell::amount(money, view.digits)));
                cells.push(ends_with(row, *left, view.digits));
                cells.push(Cell::count(version.life_left));
                cells.push(Cell::text(&version.life_unit));
                cells.push(Cell::text(&version.policy));
                sheet.row(Kind::Leaf, cells)?;
            }
            let rows: Vec<usize> = (first..sheet.next()).collect();
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(model.model_id),
                Cell::text("all versions"),
            ];
            cells.resize(INCURRED - 1, Cell::Empty);
            cells.push(total(&sheet, INCURRED - 1, &rows, 0)?);
            for column in INCURRED..INCURRED + 5 {
                cells.push(total(&sheet, column, &rows, view.digits)?);
            }
            sheet.row(Kind::Subtotal, cells)?;
        }
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

/// A version begins with nothing.
fn ends_with(row: usize, closing: Money, digits: u32) -> Cell {
    let [incurred, transferred, recognised, written_off] =
        std::array::from_fn(|place| at(INCURRED + place, row));
    let formula = format!("{incurred}+{transferred}-{recognised}-{written_off}");
    Cell::formula(&formula, closing, digits)
}

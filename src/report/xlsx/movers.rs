//! What changed since the previous billing period, and why.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, at};
use crate::report::ReportError;
use crate::report::marks::name;
use crate::report::round::less;
use crate::report::shown;

const BEFORE: usize = 4;

/// One row per owner × stage × category that changed, largest change first.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let Some((before, newest)) = &book.data.compared else {
        return Ok(None);
    };
    let mut sheet = Sheet::new(
        "Movers",
        &format!("What changed from {before} to {newest}"),
        "Effective cost, usage basis. The four reasons add up to the change: bills of the same resources at the former share, another share of them, resources that are new, resources that ended.",
    )
    .words("Currency", 10)
    .words("Owner", 30)
    .words("Stage", 14)
    .words("Category", 14)
    .numbers(&[
        before,
        newest,
        "Change",
        "Bill of the same resources",
        "Share of them",
        "New resources",
        "Ended resources",
    ]);
    for view in book.views {
        for moved in shown::movers(view)? {
            let mover = moved.mover;
            let row = sheet.next();
            let change = format!("{}-{}", at(BEFORE + 1, row), at(BEFORE, row));
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(name(&mover.target)),
                Cell::some(mover.stage.as_deref()),
                Cell::text(&mover.category),
                Cell::amount(moved.before, view.digits),
                Cell::amount(moved.after, view.digits),
                Cell::formula(&change, less(moved.after, moved.before)?, view.digits),
            ];
            cells.extend(moved.parts.map(|part| Cell::amount(part, view.digits)));
            sheet.row(Kind::Leaf, cells)?;
        }
    }
    sheet.filter();
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

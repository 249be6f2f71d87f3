//! Who owes what, per currency, and that it ties to the bill.

use super::Book;
use super::sheet::{Cell, Format, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{Basis, Line, Target};
use crate::report::marks::name;
use crate::report::round::less;
use crate::report::view::{self, View};

const FIRST_AMOUNT: usize = 2;

/// The owners of each currency, their totals, the bill, and the difference.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let data = book.data;
    let mut sheet = Sheet::new(
        "Summary",
        &format!("{}: what recommendations cost", data.name),
        &format!(
            "{} to {}, run {}, {}. Difference is the bill less all owners; it is 0 when everything ties.",
            data.first_day, data.last_day, data.run_id, data.version
        ),
    )
    .words("Currency", 10)
    .words("Owner", 34)
    .numbers(&[
        "Effective, usage basis",
        "Effective, allocation basis",
        "Billed, usage basis",
        "Billed, allocation basis",
        "Share of effective, usage basis",
    ]);
    for view in book.views {
        currency(book, view, &mut sheet)?;
    }
    Ok(Some(sheet))
}

fn currency(book: &Book, view: &View, sheet: &mut Sheet) -> Result<(), ReportError> {
    let first = sheet.next();
    let models = |target: &Target| matches!(target, Target::Model(_));
    let count = view
        .targets
        .iter()
        .filter(|found| models(&found.target))
        .count();
    // Subtotal of models after them, then idle and unallocated, then the total.
    let total = first + view.targets.len() + 1;
    let share = |row: usize, own: Money, all: Money| {
        let percent = own
            .0
            .checked_mul(1_000_000)
            .and_then(|own| own.checked_div(all.0));
        let value = percent.map_or_else(String::new, |millionths| {
            Money(millionths * 10_i128.pow(12)).to_string()
        });
        let (own, all) = (at(FIRST_AMOUNT, row), at(FIRST_AMOUNT, total));
        Cell::Formula(
            format!("IF({all}=0,\"\",{own}/{all})"),
            value,
            Format::Percent,
        )
    };
    let all = view.kind(view::Kind::All)?.1;
    let head = |title: &str| vec![Cell::text(view.code()), Cell::text(title)];
    let mut rows = Vec::new();
    for (place, found) in view.targets.iter().enumerate() {
        if place == count {
            models_row(view, sheet, first, count, &share)?;
        }
        let mut cells = head(name(&found.target));
        for measure in 0..4 {
            cells.push(
                book.lines
                    .sum(view, measure, |leaf| leaf.line.target == found.target)?,
            );
        }
        cells.push(share(sheet.next(), found.shown[0], all[0]));
        rows.push(sheet.row(Kind::Leaf, cells)?);
    }
    if count == view.targets.len() {
        models_row(view, sheet, first, count, &share)?;
    }
    let mut cells = head("Total");
    for measure in 0..4 {
        let shown = view.targets.iter().map(|found| found.shown[measure]);
        cells.push(sum_of(
            None,
            FIRST_AMOUNT + measure,
            &rows,
            shown,
            view.digits,
        )?);
    }
    cells.push(share(total, all[0], all[0]));
    let total = sheet.row(Kind::Total, cells)?;

    let (mut bill, mut difference) = (head("The bill"), head("Difference"));
    let number = sheet.next();
    for (measure, basis) in [
        Basis::Usage,
        Basis::Allocation,
        Basis::Usage,
        Basis::Allocation,
    ]
    .into_iter()
    .enumerate()
    {
        let mut pair = view.line(basis, Line::Bill)?;
        if pair.rows == 0 {
            pair = view.line(Basis::Usage, Line::Bill)?;
        }
        let exact = if measure < 2 {
            pair.effective
        } else {
            pair.billed
        };
        let shown = exact.round(view.digits)?;
        bill.push(Cell::amount(shown, view.digits));
        let column = FIRST_AMOUNT + measure;
        let formula = format!("{}-{}", at(column, number), at(column, total));
        difference.push(Cell::formula(
            &formula,
            less(shown, all[measure])?,
            view.digits,
        ));
    }
    sheet.row(Kind::Leaf, bill)?;
    sheet.row(Kind::Subtotal, difference)?;
    Ok(())
}

fn models_row(
    view: &View,
    sheet: &mut Sheet,
    first: usize,
    count: usize,
    share: &impl Fn(usize, Money, Money) -> Cell,
) -> Result<(), ReportError> {
    let (models, all) = (
        view.kind(view::Kind::Models)?.1,
        view.kind(view::Kind::All)?.1,
    );
    let rows: Vec<usize> = (first..first + count).collect();
    let mut cells = vec![Cell::text(view.code()), Cell::text("All models")];
    for (measure, &model) in models.iter().enumerate() {
        cells.push(sum_of(
            None,
            FIRST_AMOUNT + measure,
            &rows,
            [model],
            view.digits,
        )?);
    }
    cells.push(share(first + count, models[0], all[0]));
    sheet.row(Kind::Subtotal, cells)?;
    Ok(())
}

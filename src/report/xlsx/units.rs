//! What a recommendation costs, and what came of it: per model and surface.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::per;
use crate::report::shown;
use crate::report::text::ratio_digits;
use crate::report::view::UnitSum;

const COUNTS: usize = 3;
const AMOUNTS: usize = 7;

/// Cost over count; `None` where nothing was counted.
type Ratio = fn(&UnitSum) -> Result<Option<Money>, ReportError>;

/// Ratios are made of exact costs, not of cents, so they are numbers and no formulas.
const RATIOS: [(&str, Ratio); 5] = [
    ("Run cost per 1,000 served", UnitSum::run_per_1000),
    ("Full cost per 1,000 served", UnitSum::full_per_1000),
    ("Full cost per request", |unit| {
        per(unit.full_cost, 1, unit.requests)
    }),
    ("Full cost per click", |unit| {
        per(unit.full_cost, 1, unit.clicks)
    }),
    ("Full cost per purchase", |unit| {
        per(unit.full_cost, 1, unit.purchases)
    }),
];

/// One row per model and surface, a subtotal per model.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Recommendations",
        "What a recommendation costs, and what came of it",
        "Run cost: deployment and operations, usage basis, without tax. Full cost: all that the model cost, allocation basis. A ratio is empty, never 0, where nothing was served.",
    )
    .words("Currency", 10)
    .words("Model", 30)
    .words("Surface", 16)
    .numbers(&["Served", "Requests", "Clicks", "Purchases", "Revenue", "Run cost", "Full cost"])
    .numbers(&RATIOS.map(|(head, _)| head));
    for view in book.views {
        let mut digits = [2; RATIOS.len()];
        for (digits, (_, of)) in digits.iter_mut().zip(RATIOS) {
            let all = view.surfaces.iter().chain(&view.models).map(of);
            let all: Vec<Money> = all
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect();
            *digits = ratio_digits(&all, view.digits);
        }
        let ratios = |unit: &UnitSum| -> Result<Vec<Cell>, ReportError> {
            let cells = RATIOS.iter().zip(digits);
            cells
                .map(|((_, of), digits)| Cell::rounded(of(unit)?, digits))
                .collect()
        };
        for shown::Surfaces { model, parts } in shown::surfaces(view)? {
            let first = sheet.next();
            for part in &parts {
                let unit = part.unit;
                let surface = unit.surface.as_deref().unwrap_or("no surface");
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(&unit.model_id),
                    Cell::text(surface),
                ];
                cells.extend(
                    [unit.served, unit.requests, unit.clicks, unit.purchases].map(Cell::count),
                );
                cells.push(
                    part.revenue
                        .map_or(Cell::Empty, |money| Cell::amount(money, view.digits)),
                );
                cells.extend([part.run, part.full].map(|money| Cell::amount(money, view.digits)));
                cells.extend(ratios(unit)?);
                sheet.row(Kind::Leaf, cells)?;
            }
            let rows: Vec<usize> = (first..sheet.next()).collect();
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(&model.model_id),
                Cell::Empty,
            ];
            for column in COUNTS..AMOUNTS + 3 {
                let amounts: Vec<Money> = rows
                    .iter()
                    .map(|&row| sheet.amount(column, row))
                    .collect::<Result<_, _>>()?;
                let digits = if column < AMOUNTS { 0 } else { view.digits };
                let unknown = column == AMOUNTS && parts.iter().all(|part| part.revenue.is_none());
                cells.push(if unknown {
                    Cell::Empty
                } else {
                    sum_of(None, column, &rows, amounts, digits)?
                });
            }
            cells.extend(ratios(model)?);
            sheet.row(Kind::Subtotal, cells)?;
        }
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

//! What a recommendation costs, and what came of it: per model and surface.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, at, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::per;
use crate::report::shown;
use crate::report::text::ratio_digits;
use crate::report::view::UnitSum;

/// The first count, the first amount, and the first ratio.
const COUNTS: usize = 3;
const AMOUNTS: usize = 8;
const FIRST_RATIO: usize = 14;

/// Cost over count; `None` where nothing was counted.
type Ratio = fn(&UnitSum) -> Result<Option<Money>, ReportError>;

/// Ratios are made of exact costs, not of cents, so they are numbers and no formulas.
const RATIOS: [(&str, Ratio); 9] = [
    ("Run cost per 1,000 served", UnitSum::run_per_1000),
    ("Full cost per 1,000 served", UnitSum::full_per_1000),
    ("Full cost per request", |unit| {
        per(unit.full_cost, 1, unit.requests)
    }),
    ("Run cost per click", |unit| {
        per(unit.run_cost, 1, unit.clicks)
    }),
    ("Full cost per click", |unit| {
        per(unit.full_cost, 1, unit.clicks)
    }),
    ("Run cost per conversion", |unit| {
        per(unit.run_cost, 1, unit.conversions)
    }),
    ("Full cost per conversion", |unit| {
        per(unit.full_cost, 1, unit.conversions)
    }),
    ("Revenue / full cost", |unit| Ok(unit.return_on_cost())),
    ("Margin / full cost", |unit| Ok(unit.margin_on_cost())),
];

/// One row per model and surface, a subtotal per model.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Recommendations",
        "What a recommendation costs, and what came of it",
        "Run cost: deployment and operations, usage basis, without tax. Overhead: tax on running and the share of idle. Making: recognised of the cost to make. Full cost: the three. Margin is of the revenue whose items have a unit cost. A ratio is empty, never 0, where nothing was served.",
    )
    .words("Currency", 10)
    .words("Model", 30)
    .words("Surface", 16)
    .numbers(&[
        "Served",
        "Requests",
        "Clicks",
        "Conversions",
        "Purchases",
        "Revenue",
        "Margin",
        "Run cost",
        "Overhead",
        "Making",
        "Full cost",
    ])
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
                let counts = [
                    unit.served,
                    unit.requests,
                    unit.clicks,
                    unit.conversions,
                    unit.purchases,
                ];
                cells.extend(counts.map(Cell::count));
                let amount = |money: Money| Cell::amount(money, view.digits);
                let known = [part.revenue, part.margin];
                cells.extend(known.map(|money| money.map_or(Cell::Empty, amount)));
                cells.extend(part.costs.map(amount));
                let row = sheet.next();
                let (run, making) = (at(FIRST_RATIO - 4, row), at(FIRST_RATIO - 2, row));
                cells.push(Cell::formula(
                    &format!("SUM({run}:{making})"),
                    part.full,
                    view.digits,
                ));
                cells.extend(ratios(unit)?);
                sheet.row(Kind::Leaf, cells)?;
            }
            let rows: Vec<usize> = (first..sheet.next()).collect();
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(&model.model_id),
                Cell::Empty,
            ];
            for column in COUNTS..FIRST_RATIO {
                let amounts: Vec<Money> = rows
                    .iter()
                    .map(|&row| sheet.amount(column, row))
                    .collect::<Result<_, _>>()?;
                let digits = if column < AMOUNTS { 0 } else { view.digits };
                let unknown = match column - COUNTS {
                    5 => parts.iter().all(|part| part.revenue.is_none()),
                    6 => parts.iter().all(|part| part.margin.is_none()),
                    _ => false,
                };
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

//! What has no owner and why, and the dearest resources that are idle or have no owner.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, sum_of};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::Target;
use crate::report::marks::name;
use crate::report::shown;
use crate::report::text::reason;
use crate::report::view;
use std::collections::BTreeSet;

/// One row per reason.
pub fn reasons(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Unallocated",
        "Why it is unallocated",
        "No rule found an owner. It is never spread to make a total look complete.",
    )
    .words("Currency", 10)
    .words("Reason", 48)
    .numbers(&["Effective", "Billed"]);
    for view in book.views {
        let open = || {
            view.leaves
                .iter()
                .filter(|leaf| leaf.line.target == Target::Unallocated)
        };
        let codes: BTreeSet<Option<&str>> =
            open().map(|leaf| leaf.line.reason.as_deref()).collect();
        let first = sheet.next();
        for code in codes {
            let mut cells = vec![
                Cell::text(view.code()),
                Cell::text(code.map_or("no reason given", reason)),
            ];
            for measure in [0, 2] {
                cells.push(book.lines.sum(view, measure, |leaf| {
                    leaf.line.target == Target::Unallocated && leaf.line.reason.as_deref() == code
                })?);
            }
            sheet.row(Kind::Leaf, cells)?;
        }
        let rows: Vec<usize> = (first..sheet.next()).collect();
        if rows.is_empty() {
            continue;
        }
        let total = view.kind(view::Kind::Unallocated)?.1;
        let mut cells = vec![Cell::text(view.code()), Cell::text("Unallocated")];
        for (column, measure) in [(2, 0), (3, 2)] {
            cells.push(sum_of(None, column, &rows, [total[measure]], view.digits)?);
        }
        sheet.row(Kind::Total, cells)?;
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

/// The dearest idle and unallocated resources of each currency, and all others.
pub fn resources(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Resources",
        "The dearest idle and unallocated resources",
        "Effective and billed cost, usage basis.",
    )
    .words("Currency", 10)
    .words("What", 14)
    .words("Resource", 48)
    .words("Service", 28)
    .words("Reason", 30)
    .numbers(&["Bill rows", "Effective", "Billed"]);
    for view in book.views {
        for kind in [view::Kind::Idle, view::Kind::Unallocated] {
            let lost = shown::lost(view, &view.data.resources, kind)?;
            let Some((first, _)) = lost.listed.first() else {
                continue;
            };
            let owner = name(&first.target);
            let start = sheet.next();
            let mut totals = lost.rest;
            for (resource, amounts) in &lost.listed {
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(owner),
                    Cell::text(resource.resource_id.as_deref().unwrap_or("no resource")),
                    Cell::some(resource.service.as_deref()),
                    Cell::some(resource.reason.as_deref().map(reason)),
                    Cell::count(resource.rows),
                ];
                cells.extend(amounts.map(|amount| Cell::amount(amount, view.digits)));
                sheet.row(Kind::Leaf, cells)?;
                for (total, amount) in totals.iter_mut().zip(amounts) {
                    *total = total.checked_add(*amount)?;
                }
            }
            let row = |title: &str, amounts: [Cell; 2]| {
                let mut cells = vec![
                    Cell::text(view.code()),
                    Cell::text(owner),
                    Cell::text(title),
                ];
                cells.resize(6, Cell::Empty);
                cells.extend(amounts);
                cells
            };
            if lost.rest != [Money::ZERO; 2] {
                let amounts = lost.rest.map(|amount| Cell::amount(amount, view.digits));
                sheet.row(Kind::Leaf, row("All others", amounts))?;
            }
            let rows: Vec<usize> = (start..sheet.next()).collect();
            let amounts = [
                sum_of(None, 6, &rows, [totals[0]], view.digits)?,
                sum_of(None, 7, &rows, [totals[1]], view.digits)?,
            ];
            sheet.row(Kind::Total, row("Total", amounts))?;
        }
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

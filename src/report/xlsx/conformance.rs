//! Sums of the bills that were held against others.

use super::Book;
use super::sheet::{Cell, Format, Kind, Sheet, at};
use crate::money::{Currency, Money};
use crate::report::ReportError;
use crate::report::round::less;
use crate::report::section::conformance::rule;
use crate::report::text::places;

const STATED: usize = 5;

/// One row per rule and what it judges; what does not hold first.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Conformance",
        "Whether the sums of the bills hang together",
        "Rules of the FOCUS specification: invoices, commitments and rows split by their provider. What breaks one is a fault of the bill, which is attributed as it was sent.",
    )
    .words("Rule", 40)
    .words("About", 40)
    .words("Issuer", 24)
    .words("Unit", 8)
    .numbers(&["Charges", "Stated", "Found", "Difference", "Tolerance"])
    .words("Holds", 8);
    for row in &book.data.conformance {
        let least = Currency::parse(&row.unit).map_or(0, Currency::digits);
        let amounts = [row.stated, row.found, row.difference, row.tolerance];
        let needed = amounts.into_iter().map(places).max().unwrap_or(0);
        // A spreadsheet keeps some 15 digits, of which some stand before the point.
        let digits = u32::try_from(needed).unwrap_or(0).clamp(least, 9);
        let [stated, found, tolerance] =
            [row.stated, row.found, row.tolerance].map(|money| money.round(digits));
        let (stated, found, tolerance) = (stated?, found?, tolerance?);
        let amount = |money: Money| Cell::Number(money.to_string(), Format::Decimal(digits));
        let number = sheet.next();
        let formula = format!("{}-{}", at(STATED, number), at(STATED + 1, number));
        let difference = less(stated, found)?;
        let cells = vec![
            Cell::text(rule(&row.rule)),
            Cell::text(&row.subject),
            Cell::some(row.issuer.as_deref()),
            Cell::text(&row.unit),
            Cell::count(row.rows),
            amount(stated),
            amount(found),
            Cell::formula(&formula, difference, digits),
            amount(tolerance),
            Cell::text(if row.holds { "yes" } else { "no" }),
        ];
        sheet.row(Kind::Leaf, cells)?;
    }
    sheet.filter();
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

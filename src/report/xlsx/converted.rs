//! All currencies in the reporting currency: what was converted, at which rates.

use super::Book;
use super::sheet::{Cell, Format, Kind, Sheet, sum_of};
use crate::money::Currency;
use crate::report::ReportError;
use crate::report::converted::{KINDS, bill, owners, parts};
use crate::report::data::ConvertedKind;
use crate::report::marks::name;

const FIRST_AMOUNT: usize = 4;
/// Digits after the point that rates are shown with.
const RATE_DIGITS: u32 = 8;

/// Per reporting currency: each line by original currency, the bill at closing rates, and cost by owner.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "OneCurrency",
        "All currencies in the reporting currency",
        "Each cost at the rate of its day. Cost + exchange difference = the bill at the rate of the closing day; restatements stand beside it.",
    )
    .words("Currency", 10)
    .words("Line", 44)
    .words("From", 10)
    .numbers(&[
        "Effective, usage basis, as it was",
        "Effective, usage basis",
        "Effective, allocation basis",
        "Billed, usage basis",
        "Billed, allocation basis",
    ]);
    for all in &book.data.converted {
        let (code, digits) = (all.currency.code(), all.currency.digits());
        let parts = parts(all)?;
        let mut rows = Vec::new();
        let put = |sheet: &mut Sheet, kind: ConvertedKind, title: &str| {
            let mut own = Vec::new();
            for part in parts.iter().filter(|part| part.kind == kind) {
                let of = Currency::parse(&part.from).map_or(2, Currency::digits);
                let original = match kind {
                    ConvertedKind::ExchangeDifference => Cell::Empty,
                    _ => Cell::rounded(Some(part.original[0]), of)?,
                };
                let mut cells = vec![
                    Cell::text(code),
                    Cell::text(title),
                    Cell::text(&part.from),
                    original,
                ];
                cells.extend(part.shown.map(|money| Cell::amount(money, digits)));
                own.push(sheet.row(Kind::Leaf, cells)?);
            }
            Ok::<_, ReportError>(own)
        };
        for (kind, title) in KINDS {
            if kind == ConvertedKind::Restatement {
                let mut cells = vec![Cell::text(code), Cell::text("The bill at closing rates")];
                cells.resize(FIRST_AMOUNT, Cell::Empty);
                for (place, total) in bill(&parts)?.into_iter().enumerate() {
                    cells.push(sum_of(None, FIRST_AMOUNT + place, &rows, [total], digits)?);
                }
                sheet.row(Kind::Total, cells)?;
            }
            rows.extend(put(&mut sheet, kind, title)?);
        }
        let owners = owners(all)?;
        let mut rows = Vec::new();
        for owner in &owners {
            let mut cells = vec![Cell::text(code), Cell::text(name(&owner.target))];
            cells.resize(FIRST_AMOUNT, Cell::Empty);
            cells.extend(owner.shown.map(|money| Cell::amount(money, digits)));
            rows.push(sheet.row(Kind::Leaf, cells)?);
        }
        let mut cells = vec![Cell::text(code), Cell::text("Cost of all owners")];
        cells.resize(FIRST_AMOUNT, Cell::Empty);
        for place in 0..4 {
            let amounts = owners.iter().map(|owner| owner.shown[place]);
            cells.push(sum_of(None, FIRST_AMOUNT + place, &rows, amounts, digits)?);
        }
        sheet.row(Kind::Total, cells)?;
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

/// One row per rate.
pub fn rates(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        "Rates",
        "Exchange rates that were taken",
        "What one unit of a currency is worth in the reporting currency, and the days that took the rate.",
    )
    .words("To", 10)
    .words("From", 10)
    .words("Rate", 24)
    .numbers(&["Value", "First day", "Last day", "Amounts converted"]);
    for all in &book.data.converted {
        for rate in &all.rates {
            let cells = vec![
                Cell::text(all.currency.code()),
                Cell::text(&rate.from),
                Cell::text(&rate.rate_id),
                Cell::Number(rate.rate.to_string(), Format::Decimal(RATE_DIGITS)),
                Cell::day(rate.first_day),
                Cell::day(rate.last_day),
                Cell::count(rate.rows),
            ];
            sheet.row(Kind::Leaf, cells)?;
        }
    }
    Ok((!sheet.rows.is_empty()).then_some(sheet))
}

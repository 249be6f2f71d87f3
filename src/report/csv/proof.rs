//! The reporting currency and its rates, and the conformance of the bills.

use super::{CsvFile, Sheet, some, target};
use crate::report::ReportError;
use crate::report::data::{ConvertedKind, ReportData};

/// What was converted, by line, original currency and owner.
pub fn converted(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "reporting_currency",
        "line",
        "currency",
        "target",
        "model_id",
        "original_usage_effective [currency]",
        "original_allocation_effective [currency]",
        "original_usage_billed [currency]",
        "original_allocation_billed [currency]",
        "usage_effective [reporting_currency]",
        "allocation_effective [reporting_currency]",
        "usage_billed [reporting_currency]",
        "allocation_billed [reporting_currency]",
    ];
    let mut sheet = Sheet::new("converted_costs.csv", &head)?;
    for all in &data.converted {
        for line in &all.lines {
            let kind = match line.kind {
                ConvertedKind::Cost => "cost",
                ConvertedKind::ExchangeDifference => "exchange_difference",
                ConvertedKind::Restatement => "restatement",
            };
            let mut cells = vec![
                all.currency.code().to_owned(),
                kind.to_owned(),
                line.from.clone(),
            ];
            cells.extend(line.target.as_ref().map(target).unwrap_or_default());
            cells.extend(line.original.map(|money| money.to_string()));
            cells.extend(line.amounts.map(|money| money.to_string()));
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

/// The rates.
pub fn rates(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "reporting_currency",
        "rate_id",
        "rate [reporting_currency / currency]",
        "first_day",
        "last_day",
        "amounts",
    ];
    let mut sheet = Sheet::new("rates.csv", &head)?;
    for all in &data.converted {
        for rate in &all.rates {
            sheet.record(vec![
                rate.from.clone(),
                all.currency.code().to_owned(),
                rate.rate_id.clone(),
                rate.rate.to_string(),
                rate.first_day.to_string(),
                rate.last_day.to_string(),
                rate.rows.to_string(),
            ])?;
        }
    }
    sheet.done()
}

/// Every sum that was held against another.
pub fn conformance(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "rule",
        "subject",
        "issuer",
        "unit",
        "rows [bill rows]",
        "stated [unit]",
        "found [unit]",
        "difference [unit]",
        "tolerance [unit]",
        "holds",
    ];
    let mut sheet = Sheet::new("conformance.csv", &head)?;
    for row in &data.conformance {
        let mut cells = vec![
            row.rule.clone(),
            row.subject.clone(),
            some(row.issuer.as_ref()),
            row.unit.clone(),
            row.rows.to_string(),
        ];
        let amounts = [row.stated, row.found, row.difference, row.tolerance];
        cells.extend(amounts.map(|money| money.to_string()));
        cells.push(row.holds.to_string());
        sheet.record(cells)?;
    }
    sheet.done()
}

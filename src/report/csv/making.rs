//! The unit view: what versions cost to make.

use super::{CsvFile, Sheet, some};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::ReportData;
use crate::report::making::state;

/// By model and month; opening + incurred + transferred − recognised − written_off = closing.
pub fn roll_forward(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "model_id",
        "month",
        "opening [currency]",
        "incurred [currency]",
        "transferred [currency]",
        "recognised [currency]",
        "written_off [currency]",
        "closing [currency]",
    ];
    let mut sheet = Sheet::new("roll_forward.csv", &head)?;
    for section in &data.currencies {
        let mut before: Option<(&str, Money)> = None;
        for row in &section.roll_forward {
            let opening = before.filter(|(model, _)| *model == row.model_id);
            let opening = opening.map_or(Money::ZERO, |(_, closing)| closing);
            before = Some((&row.model_id, row.closing));
            if data
                .period
                .as_ref()
                .is_some_and(|period| *period != row.month)
            {
                continue;
            }
            let mut cells = vec![
                section.currency.code().to_owned(),
                row.model_id.clone(),
                row.month.clone(),
            ];
            let amounts = [
                opening,
                row.incurred,
                row.transferred,
                row.recognised,
                row.written_off,
                row.closing,
            ];
            cells.extend(amounts.map(|money| money.to_string()));
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

/// By version.
pub fn versions(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "model_id",
        "model_version",
        "state",
        "first_cost",
        "first_served",
        "last_served",
        "served [recommendations]",
        "incurred [currency]",
        "transferred [currency]",
        "recognised [currency]",
        "written_off [currency]",
        "closing [currency]",
        "life_left [life_unit]",
        "life_unit",
        "policy",
    ];
    let mut sheet = Sheet::new("versions.csv", &head)?;
    for section in &data.currencies {
        for version in &section.versions {
            let mut cells = vec![
                section.currency.code().to_owned(),
                version.model_id.clone(),
                some(version.model_version.as_ref()),
                state(version).to_owned(),
                some(version.first_cost),
                some(version.first_served),
                some(version.last_served),
                version.served.to_string(),
            ];
            let amounts = [
                version.incurred,
                version.transferred,
                version.recognised,
                version.written_off,
                version.closing,
            ];
            cells.extend(amounts.map(|money| money.to_string()));
            cells.push(version.life_left.to_string());
            cells.push(version.life_unit.clone());
            cells.push(version.policy.clone());
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

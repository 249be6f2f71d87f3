//! Costs to the last digit: by target and day, the proof against the bill, what has no owner, what moved and what was restated.

use super::{CsvFile, Sheet, basis, line, some, target};
use crate::money::{Money, Residue};
use crate::report::ReportError;
use crate::report::data::{CurrencyData, ReportData, ResourceCost};

pub fn lines(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "target",
        "model_id",
        "model_version",
        "stage",
        "category",
        "reason",
        "usage_effective [currency]",
        "allocation_effective [currency]",
        "usage_billed [currency]",
        "allocation_billed [currency]",
    ];
    let mut sheet = Sheet::new("costs.csv", &head)?;
    for section in &data.currencies {
        for cost in &section.costs {
            let [kind, model] = target(&cost.target);
            sheet.record(vec![
                section.currency.code().to_owned(),
                kind,
                model,
                some(cost.model_version.as_ref()),
                some(cost.stage.as_ref()),
                cost.category.clone(),
                some(cost.reason.as_ref()),
                cost.usage_effective.to_string(),
                cost.allocation_effective.to_string(),
                cost.usage_billed.to_string(),
                cost.allocation_billed.to_string(),
            ])?;
        }
    }
    sheet.done()
}

pub fn daily(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "day",
        "currency",
        "target",
        "model_id",
        "usage_effective [currency]",
        "allocation_effective [currency]",
    ];
    let mut sheet = Sheet::new("daily_costs.csv", &head)?;
    for section in &data.currencies {
        for day in &section.daily {
            let [kind, model] = target(&day.target);
            sheet.record(vec![
                day.day.to_string(),
                section.currency.code().to_owned(),
                kind,
                model,
                day.usage_effective.to_string(),
                day.allocation_effective.to_string(),
            ])?;
        }
    }
    sheet.done()
}

pub fn reconciliation(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "billing_period",
        "issuer",
        "basis",
        "line",
        "rows [bill rows]",
        "billed [currency]",
        "effective [currency]",
        "billed_rounding [currency]",
        "effective_rounding [currency]",
    ];
    let mut sheet = Sheet::new("reconciliation.csv", &head)?;
    for section in &data.currencies {
        for row in &section.reconciliation {
            let rounding = |residue: Option<Residue>| some(residue);
            let money = |amount: Option<Money>| some(amount);
            sheet.record(vec![
                section.currency.code().to_owned(),
                row.period.clone(),
                row.issuer.clone(),
                basis(row.basis),
                line(row.line),
                row.rows.to_string(),
                money(row.billed),
                money(row.effective),
                rounding(row.billed_rounding),
                rounding(row.effective_rounding),
            ])?;
        }
    }
    sheet.done()
}

/// What is idle or unallocated, by resource or by service.
pub fn losses(
    data: &ReportData,
    name: &'static str,
    of: fn(&CurrencyData) -> &[ResourceCost],
) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "target",
        "resource_id",
        "service",
        "account",
        "resources",
        "reason",
        "rows [bill rows]",
        "effective [currency]",
        "billed [currency]",
    ];
    let mut sheet = Sheet::new(name, &head)?;
    for section in &data.currencies {
        for resource in of(section) {
            let [kind, _] = target(&resource.target);
            sheet.record(vec![
                section.currency.code().to_owned(),
                kind,
                some(resource.resource_id.as_ref()),
                some(resource.service.as_ref()),
                some(resource.account.as_ref()),
                resource.resources.to_string(),
                some(resource.reason.as_ref()),
                resource.rows.to_string(),
                resource.effective.to_string(),
                resource.billed.to_string(),
            ])?;
        }
    }
    sheet.done()
}

pub fn bridge(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "what",
        "rows [bill rows]",
        "billed [currency]",
        "effective [currency]",
    ];
    let mut sheet = Sheet::new("billed_to_effective.csv", &head)?;
    for section in &data.currencies {
        for line in &section.bridge {
            sheet.record(vec![
                section.currency.code().to_owned(),
                line.what.clone(),
                line.rows.to_string(),
                line.billed.to_string(),
                line.effective.to_string(),
            ])?;
        }
    }
    sheet.done()
}

pub fn machines(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "resource_id",
        "machines",
        "rows [bill rows]",
        "used_effective [currency]",
        "idle_effective [currency]",
        "unallocated_effective [currency]",
    ];
    let mut sheet = Sheet::new("machines.csv", &head)?;
    for section in &data.currencies {
        for machine in &section.machines {
            sheet.record(vec![
                section.currency.code().to_owned(),
                some(machine.resource_id.as_ref()),
                machine.machines.to_string(),
                machine.rows.to_string(),
                machine.used.to_string(),
                machine.idle.to_string(),
                machine.unallocated.to_string(),
            ])?;
        }
    }
    sheet.done()
}

pub fn movers(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "period_before",
        "period",
        "target",
        "model_id",
        "stage",
        "category",
        "before_effective [currency]",
        "effective [currency]",
        "change_bill [currency]",
        "change_share [currency]",
        "change_new_resources [currency]",
        "change_ended_resources [currency]",
    ];
    let mut sheet = Sheet::new("movers.csv", &head)?;
    let (before, newest) = data.compared.clone().unwrap_or_default();
    for section in &data.currencies {
        for mover in &section.movers {
            let [kind, model] = target(&mover.target);
            let mut cells = vec![
                section.currency.code().to_owned(),
                before.clone(),
                newest.clone(),
                kind,
                model,
                some(mover.stage.as_ref()),
                mover.category.clone(),
            ];
            let parts = [mover.bill, mover.share, mover.appeared, mover.ended];
            cells.extend([mover.before, mover.after].map(|money| money.to_string()));
            cells.extend(parts.map(|money| money.to_string()));
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

pub fn restatements(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "closed_period",
        "booked_in",
        "target",
        "model_id",
        "model_version",
        "stage",
        "category",
        "before_usage_effective [currency]",
        "before_allocation_effective [currency]",
        "before_usage_billed [currency]",
        "before_allocation_billed [currency]",
        "change_usage_effective [currency]",
        "change_allocation_effective [currency]",
        "change_usage_billed [currency]",
        "change_allocation_billed [currency]",
    ];
    let mut sheet = Sheet::new("restatements.csv", &head)?;
    for section in &data.currencies {
        for line in &section.restatements {
            let [kind, model] = target(&line.target);
            let mut cells = vec![
                section.currency.code().to_owned(),
                line.period.clone(),
                line.booked.clone(),
                kind,
                model,
                some(line.model_version.as_ref()),
                some(line.stage.as_ref()),
                line.category.clone(),
            ];
            let amounts = line.before.into_iter().chain(line.change);
            cells.extend(amounts.map(|money| money.to_string()));
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

//! One CSV file per table: a header that names units, all digits, and no cell that a spreadsheet would run.

mod making;
mod proof;
mod units;

use super::ReportError;
use super::data::{Basis, CurrencyData, Line, ReportData, ResourceCost, Target};
use crate::money::{Money, Residue};

/// A rendered file.
pub struct CsvFile {
    /// Such as `costs.csv`.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Text as a cell. One that a spreadsheet would take for a formula gets an
/// apostrophe before it; a plain number is left as it is.
pub fn safe(text: &str) -> String {
    let risky = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(risky) && !is_number(text) {
        return format!("'{text}");
    }
    text.to_owned()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(fraction)
}

struct Sheet {
    name: &'static str,
    writer: ::csv::Writer<Vec<u8>>,
}

impl Sheet {
    fn new(name: &'static str, head: &[&str]) -> Result<Self, ReportError> {
        let mut sheet = Self {
            name,
            writer: ::csv::Writer::from_writer(Vec::new()),
        };
        sheet.record(head.iter().map(|cell| (*cell).to_owned()).collect())?;
        Ok(sheet)
    }

    fn record(&mut self, cells: Vec<String>) -> Result<(), ReportError> {
        let written = self
            .writer
            .write_record(cells.iter().map(|cell| safe(cell)));
        written.map_err(|source| ReportError::Csv {
            name: self.name.to_owned(),
            source,
        })
    }

    fn done(self) -> Result<CsvFile, ReportError> {
        let name = self.name;
        let bytes = self.writer.into_inner().map_err(|error| ReportError::Csv {
            name: name.to_owned(),
            source: error.into_error().into(),
        })?;
        Ok(CsvFile { name, bytes })
    }
}

/// Empty where there is no value.
fn some<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn target(target: &Target) -> [String; 2] {
    match target {
        Target::Model(id) => ["model".to_owned(), id.clone()],
        Target::Idle => ["idle".to_owned(), String::new()],
        Target::Unallocated => ["unallocated".to_owned(), String::new()],
    }
}

fn basis(basis: Basis) -> String {
    match basis {
        Basis::Usage => "usage",
        Basis::Allocation => "allocation",
    }
    .to_owned()
}

fn line(line: Line) -> String {
    match line {
        Line::Bill => "bill",
        Line::Attributed => "attributed",
        Line::Idle => "idle",
        Line::Unallocated => "unallocated",
        Line::Difference => "difference",
        Line::Quarantined => "quarantined",
        Line::Restated => "restated",
        Line::IngestRounding => "ingest_rounding",
    }
    .to_owned()
}

/// All files, in a fixed order. `[currency]` after a head means: in the currency of the row.
pub fn tables(data: &ReportData) -> Result<Vec<CsvFile>, ReportError> {
    Ok(vec![
        costs(data)?,
        daily(data)?,
        units::daily(data)?,
        units::by_model(data)?,
        making::roll_forward(data)?,
        making::versions(data)?,
        reconciliation(data)?,
        proof::converted(data)?,
        proof::rates(data)?,
        proof::conformance(data)?,
        losses(data, "idle_and_unallocated.csv", |section| {
            &section.resources
        })?,
        losses(data, "idle_and_unallocated_services.csv", |section| {
            &section.services
        })?,
        bridge(data)?,
        machines(data)?,
        movers(data)?,
        restatements(data)?,
        quality(data)?,
        units::frontier(data)?,
        pairs(data)?,
        models(data)?,
        sources(data)?,
        quarantine(data)?,
        stages(data)?,
    ])
}

fn costs(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn daily(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn reconciliation(data: &ReportData) -> Result<CsvFile, ReportError> {
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
fn losses(
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

fn bridge(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn machines(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn movers(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn restatements(data: &ReportData) -> Result<CsvFile, ReportError> {
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

fn quality(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "model_id",
        "model_version",
        "is_baseline",
        "metric",
        "k [items]",
        "value",
        "low_95",
        "high_95",
        "judged [users]",
        "protocol",
    ];
    let mut sheet = Sheet::new("quality.csv", &head)?;
    for metric in &data.quality {
        sheet.record(vec![
            metric.model_id.clone(),
            metric.model_version.clone(),
            metric.is_baseline.to_string(),
            metric.metric.clone(),
            metric.k.to_string(),
            metric.value.to_string(),
            some(metric.low),
            some(metric.high),
            metric.users.to_string(),
            metric.protocol.clone(),
        ])?;
    }
    sheet.done()
}

fn pairs(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "model_id",
        "other_id",
        "metric",
        "k [items]",
        "difference",
        "low_95",
        "high_95",
        "differs",
        "judged [users]",
    ];
    let mut sheet = Sheet::new("quality_pairs.csv", &head)?;
    for pair in &data.pairs {
        sheet.record(vec![
            pair.model_id.clone(),
            pair.other_id.clone(),
            pair.metric.clone(),
            pair.k.to_string(),
            pair.difference.to_string(),
            pair.low.to_string(),
            pair.high.to_string(),
            pair.differs.to_string(),
            pair.users.to_string(),
        ])?;
    }
    sheet.done()
}

fn models(data: &ReportData) -> Result<CsvFile, ReportError> {
    let mut sheet = Sheet::new(
        "models.csv",
        &["model_id", "model_version", "family", "beats_baseline"],
    )?;
    for model in &data.models {
        sheet.record(vec![
            model.model_id.clone(),
            model.model_version.clone(),
            model.family.clone(),
            some(model.beats_baseline),
        ])?;
    }
    sheet.done()
}

fn sources(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "source",
        "table",
        "files",
        "read [rows]",
        "published [rows]",
        "skipped [rows]",
        "duplicates [rows]",
        "late [rows]",
        "quarantined [rows]",
    ];
    let mut sheet = Sheet::new("sources.csv", &head)?;
    for source in &data.sources {
        let counts = [
            source.files,
            source.rows_in,
            source.rows_out,
            source.rows_skipped,
            source.rows_duplicate,
            source.rows_late,
            source.rows_quarantined,
        ];
        let mut cells = vec![source.source.clone(), source.kind.clone()];
        cells.extend(counts.map(|count| count.to_string()));
        sheet.record(cells)?;
    }
    sheet.done()
}

fn quarantine(data: &ReportData) -> Result<CsvFile, ReportError> {
    let mut sheet = Sheet::new(
        "quarantine.csv",
        &["source", "column", "reason", "rejected [rows]", "example"],
    )?;
    for group in &data.quarantine {
        sheet.record(vec![
            group.source.clone(),
            group.column.clone(),
            group.reason.clone(),
            group.rows.to_string(),
            group.example.clone(),
        ])?;
    }
    sheet.done()
}

fn stages(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "stage",
        "status",
        "duration [s]",
        "written [rows]",
        "peak memory [bytes]",
        "device",
        "message",
    ];
    let mut sheet = Sheet::new("stages.csv", &head)?;
    for stage in &data.stages {
        sheet.record(vec![
            stage.stage.clone(),
            stage.status.clone(),
            some(stage.seconds),
            some(stage.rows),
            some(stage.peak_rss_bytes),
            some(stage.device.as_ref()),
            some(stage.message.as_ref()),
        ])?;
    }
    sheet.done()
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn formulas_are_made_text_and_numbers_are_left() {
        for risky in [
            "=1+1",
            "+cmd|' /C calc'!A0",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "-",
            "＝1",
            "-1e5x",
        ] {
            assert_eq!(safe(risky), format!("'{risky}"));
        }
        for plain in ["-12.50", "+3", "7", "home", "", "a=b"] {
            assert_eq!(safe(plain), plain);
        }
    }
}

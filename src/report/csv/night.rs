//! The night: how well the models did, what came in and was set aside, and what its stages took.

use super::{CsvFile, Sheet, some};
use crate::report::ReportError;
use crate::report::data::ReportData;

pub fn quality(data: &ReportData) -> Result<CsvFile, ReportError> {
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

pub fn pairs(data: &ReportData) -> Result<CsvFile, ReportError> {
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

pub fn models(data: &ReportData) -> Result<CsvFile, ReportError> {
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

pub fn sources(data: &ReportData) -> Result<CsvFile, ReportError> {
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

pub fn quarantine(data: &ReportData) -> Result<CsvFile, ReportError> {
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

pub fn stages(data: &ReportData) -> Result<CsvFile, ReportError> {
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

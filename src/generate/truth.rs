//! `truth/`: what a reader of the exports should find.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, StringArray, UInt32Array, UInt64Array};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use super::batch::hex_id;
use super::bills::{Bill, Costs};
use super::charges::{Amounts, Target};
use super::error::GenerateError;
use super::events::Clicks;
use super::faults::Malformed;
use super::margin::Margin;
use super::parquet_out::write_once;
use super::serving::Owner;
use super::snapshots::batch;
use super::spec::Spec;

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH: i32 = 719_163;

/// One delivery: an issuer's rows of a billing period. Amounts are decimal text with 18 digits after the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryTotals {
    /// `northcloud`, `eastgrid` or `finance` (the ledger).
    pub issuer: String,
    /// `YYYY-MM`.
    pub period: String,
    /// Always `USD`.
    pub currency: String,
    /// Rows of the delivery.
    pub rows: u64,
    /// Σ BilledCost.
    pub billed: String,
    /// Σ EffectiveCost.
    pub effective: String,
}

/// What was planted in the clickstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTotals {
    /// Rows in all files: `distinct + duplicates`.
    pub rows: u64,
    /// Distinct event ids.
    pub distinct: u64,
    /// Extra copies of events, in the same file or in the next day's export.
    pub duplicates: u64,
    /// Events whose time lies before the day of the export that carries them first.
    pub late: u64,
    /// Events of items that the catalogue lacks.
    pub unknown_items: u64,
    /// Malformed rows by kind.
    pub malformed: BTreeMap<Malformed, u64>,
}

/// The figures of `truth/totals.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// The clickstream.
    pub events: EventTotals,
    /// The bills and the ledger as delivered.
    pub deliveries: Vec<DeliveryTotals>,
    /// The later delivery under `restated/`, which replaces the one of the same issuer and period.
    pub restated: DeliveryTotals,
    /// How far the true tastes are ahead of popularity.
    pub margin: Option<Margin>,
}

/// Writes `truth/` and returns the totals.
pub(super) fn write(
    spec: &Spec,
    bill: &Bill,
    deliveries: Vec<DeliveryTotals>,
    clicks: &Clicks,
    margin: Option<Margin>,
) -> Result<Totals, GenerateError> {
    let folder = spec.out.join("truth");
    write_once(
        &folder.join("model_costs.parquet"),
        &costs(&bill.costs)?,
        &[],
    )?;
    write_once(
        &folder.join("restated_model_costs.parquet"),
        &costs(&bill.restated_costs)?,
        &[],
    )?;
    write_once(
        &folder.join("duplicates.parquet"),
        &duplicates(clicks)?,
        &["event_id"],
    )?;
    write_once(
        &folder.join("malformed.parquet"),
        &malformed(clicks)?,
        &["event_id"],
    )?;

    let mut by_kind: BTreeMap<Malformed, u64> =
        Malformed::ALL.iter().map(|kind| (*kind, 0)).collect();
    for row in &clicks.malformed {
        *by_kind.entry(row.kind).or_default() += 1;
    }
    let totals = Totals {
        events: EventTotals {
            rows: clicks.rows,
            distinct: spec.events,
            duplicates: clicks.duplicates.iter().map(|d| u64::from(d.1)).sum(),
            late: clicks.late,
            unknown_items: clicks.unknown_items,
            malformed: by_kind,
        },
        deliveries,
        restated: bill.restated.clone(),
        margin,
    };
    let path = folder.join("totals.json");
    let text = serde_json::to_string_pretty(&totals)
        .map_err(|e| GenerateError::io("write", &path, e.into()))?;
    fs::write(&path, text + "\n").map_err(|e| GenerateError::io("write", &path, e))?;
    Ok(totals)
}

fn costs(costs: &Costs) -> Result<arrow::array::RecordBatch, GenerateError> {
    let owner = |target: &Target| match target {
        Target::Model(owner) => Some(*owner),
        _ => None,
    };
    let text = |f: fn(Owner) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter(
            costs.keys().map(|(_, target)| owner(target).map(f)),
        ))
    };
    let money = |f: fn(&Amounts) -> i128| -> Result<ArrayRef, GenerateError> {
        Ok(Arc::new(
            Decimal128Array::from_iter_values(costs.values().map(f))
                .with_precision_and_scale(38, 18)?,
        ))
    };
    let targets = costs.keys().map(|(_, target)| match target {
        Target::Model(_) => "model",
        Target::Idle => "idle",
        Target::Unallocated => "unallocated",
    });
    batch(vec![
        ("day", days(costs.keys().map(|(day, _)| *day))),
        ("target", Arc::new(StringArray::from_iter_values(targets))),
        ("model_id", text(|o| o.model)),
        ("model_version", text(|o| o.version)),
        ("stage", text(|o| o.stage.name())),
        ("billed", money(|a| a.billed)?),
        ("effective", money(|a| a.effective)?),
    ])
}

fn duplicates(clicks: &Clicks) -> Result<arrow::array::RecordBatch, GenerateError> {
    batch(vec![
        ("event_id", event_ids(clicks.duplicates.iter().map(|d| d.0))),
        (
            "extra_copies",
            Arc::new(UInt32Array::from_iter_values(
                clicks.duplicates.iter().map(|d| d.1),
            )),
        ),
    ])
}

fn malformed(clicks: &Clicks) -> Result<arrow::array::RecordBatch, GenerateError> {
    let rows = &clicks.malformed;
    batch(vec![
        ("ds", days(rows.iter().map(|r| r.ds))),
        (
            "file",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|r| r.file.as_str()),
            )),
        ),
        (
            "row",
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.row))),
        ),
        (
            "column",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|r| r.kind.column()),
            )),
        ),
        (
            "kind",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|r| r.kind.name()),
            )),
        ),
        ("event_id", event_ids(rows.iter().map(|r| r.event))),
    ])
}

fn days(dates: impl Iterator<Item = NaiveDate>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(
        dates.map(|date| date.num_days_from_ce() - EPOCH),
    ))
}

fn event_ids(numbers: impl Iterator<Item = u64>) -> ArrayRef {
    let ids = numbers.map(|number| {
        let mut text = String::new();
        hex_id(&mut text, 'e', number);
        text
    });
    Arc::new(StringArray::from_iter_values(ids))
}

//! A row of each file of `sql/reports/` as a value of the report.

use super::data::{
    Basis, BridgeLine, Conformance, ConvertedKind, ConvertedLine, CostLine, DayCost, FrontierPoint,
    Line, Machine, ModelMonth, QuarantineGroup, Rate, ReconciliationLine, ResourceCost,
    Restatement, SourceRows, StageRun, Target, UnitCost, VersionCost,
};
use super::movers::Part;
use crate::engine::rows::Row;
use crate::error::{Error, Result};
use crate::money::{Money, Residue};

pub(super) fn money(row: &Row<'_>, name: &str) -> Result<Option<Money>> {
    Ok(row.decimal(name, 18)?.map(Money))
}

pub(super) fn amount(row: &Row<'_>, name: &str) -> Result<Money> {
    Ok(money(row, name)?.unwrap_or_default())
}

pub(super) fn target(row: &Row<'_>) -> Result<Target> {
    Ok(match row.needed("target")?.as_str() {
        "model" => Target::Model(row.needed("model_id")?),
        "idle" => Target::Idle,
        _ => Target::Unallocated,
    })
}

pub(super) fn cost(row: &Row<'_>) -> Result<CostLine> {
    Ok(CostLine {
        target: target(row)?,
        model_version: row.text("model_version")?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        reason: row.text("reason")?,
        usage_billed: amount(row, "usage_billed")?,
        usage_effective: amount(row, "usage_effective")?,
        allocation_billed: amount(row, "allocation_billed")?,
        allocation_effective: amount(row, "allocation_effective")?,
    })
}

pub(super) fn day(row: &Row<'_>) -> Result<DayCost> {
    Ok(DayCost {
        day: row.day("day")?.unwrap_or_default(),
        target: target(row)?,
        usage_effective: amount(row, "usage_effective")?,
        allocation_effective: amount(row, "allocation_effective")?,
    })
}

pub(super) fn unit(row: &Row<'_>) -> Result<UnitCost> {
    Ok(UnitCost {
        day: row.day("ds")?.unwrap_or_default(),
        model_id: row.needed("model_id")?,
        model_version: row.text("model_version")?,
        surface: row.text("surface")?,
        served: row.count("served")?,
        requests: row.count("requests")?,
        clicks: row.count("clicks")?,
        purchases: row.count("purchases")?,
        conversions: row.count("conversions")?,
        clicked_requests: row.count("clicked_requests")?,
        converted_requests: row.count("converted_requests")?,
        revenue: money(row, "revenue")?,
        margin: money(row, "margin")?,
        margin_revenue: money(row, "margin_revenue")?,
        run_cost: amount(row, "run_cost")?,
        overhead_cost: amount(row, "overhead_cost")?,
        making_cost: amount(row, "making_cost")?,
        full_cost: amount(row, "full_cost")?,
    })
}

pub(super) fn frontier(row: &Row<'_>) -> Result<FrontierPoint> {
    let number = |name: &str| -> Result<Option<u64>> {
        row.float(name)?.map(|_| row.count(name)).transpose()
    };
    Ok(FrontierPoint {
        model_id: row.needed("model_id")?,
        model_version: row.needed("model_version")?,
        family: row.needed("family")?,
        dim: number("dim")?,
        made_from: row.text("made_from")?,
        compression: row.text("compression")?,
        bytes: row.count("bytes")?,
        scoring_seconds: row.float("scoring_seconds_per_1000")?,
        basis: row.needed("basis")?,
        k: number("k")?,
        recall: row.float("recall")?,
        recall_low: row.float("recall_low")?,
        recall_high: row.float("recall_high")?,
        ndcg: row.float("ndcg")?,
        ndcg_low: row.float("ndcg_low")?,
        ndcg_high: row.float("ndcg_high")?,
        currency: row.text("currency")?,
        cost_from: row.text("cost_from")?,
        cost_to: row.text("cost_to")?,
        own_cost: money(row, "own_cost")?,
        parent_cost: money(row, "parent_cost")?,
        cost: money(row, "cost")?,
        recommendations: number("recommendations")?,
        cost_per_1000: money(row, "cost_per_1000")?,
        dominated_by: row.text("dominated_by")?,
        recall_differs: row.text("recall_differs")?.map(|text| text == "true"),
    })
}

pub(super) fn resource(row: &Row<'_>) -> Result<ResourceCost> {
    Ok(ResourceCost {
        target: lost(row)?,
        resource_id: row.text("resource_id")?,
        service: row.text("service_name")?,
        account: None,
        resources: 1,
        reason: row.text("reason")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

pub(super) fn service(row: &Row<'_>) -> Result<ResourceCost> {
    Ok(ResourceCost {
        target: lost(row)?,
        resource_id: None,
        service: row.text("service_name")?,
        account: row.text("account")?,
        resources: row.count("resources")?,
        reason: row.text("reason")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

/// Idle or unallocated.
pub(super) fn lost(row: &Row<'_>) -> Result<Target> {
    Ok(match row.needed("target")?.as_str() {
        "idle" => Target::Idle,
        _ => Target::Unallocated,
    })
}

pub(super) fn bridge(row: &Row<'_>) -> Result<BridgeLine> {
    Ok(BridgeLine {
        what: row.needed("what")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

pub(super) fn machine(row: &Row<'_>) -> Result<Machine> {
    Ok(Machine {
        resource_id: row.text("resource_id")?,
        machines: row.count("machines")?,
        rows: row.count("rows")?,
        used: amount(row, "used")?,
        idle: amount(row, "idle")?,
        unallocated: amount(row, "unallocated")?,
    })
}

pub(super) fn restatement(row: &Row<'_>) -> Result<Restatement> {
    Ok(Restatement {
        period: row.needed("restated_period")?,
        booked: row.needed("booked_period")?,
        target: target(row)?,
        model_version: row.text("model_version")?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        before: [
            amount(row, "usage_effective_before")?,
            amount(row, "allocation_effective_before")?,
            amount(row, "usage_billed_before")?,
            amount(row, "allocation_billed_before")?,
        ],
        change: [
            amount(row, "usage_effective")?,
            amount(row, "allocation_effective")?,
            amount(row, "usage_billed")?,
            amount(row, "allocation_billed")?,
        ],
    })
}

pub(super) fn part(row: &Row<'_>) -> Result<Part> {
    let flag = |name| -> Result<bool> { Ok(row.text(name)?.as_deref() == Some("true")) };
    Ok(Part {
        target: target(row)?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        before: amount(row, "before")?,
        after: amount(row, "after")?,
        line_before: amount(row, "line_before")?,
        line_after: amount(row, "line_after")?,
        was_there: flag("was_there")?,
        is_there: flag("is_there")?,
    })
}

pub(super) fn reconciliation(row: &Row<'_>) -> Result<ReconciliationLine> {
    let residue = |name| -> Result<_> { Ok(row.decimal(name, 38)?.map(Residue)) };
    let line = row.needed("line")?;
    Ok(ReconciliationLine {
        period: row.needed("billing_period")?,
        issuer: row.needed("issuer")?,
        basis: match row.needed("basis")?.as_str() {
            "allocation" => Basis::Allocation,
            _ => Basis::Usage,
        },
        line: match line.as_str() {
            "bill" => Line::Bill,
            "attributed" => Line::Attributed,
            "idle" => Line::Idle,
            "unallocated" => Line::Unallocated,
            "difference" => Line::Difference,
            "restated" => Line::Restated,
            "quarantined" => Line::Quarantined,
            "ingest_rounding" => Line::IngestRounding,
            _ => {
                return Err(Error::contract(format!(
                    "reconciliation has a line `{line}` that the report does not know"
                )));
            }
        },
        rows: row.count("rows")?,
        billed: money(row, "billed")?,
        effective: money(row, "effective")?,
        billed_rounding: residue("billed_rounding")?,
        effective_rounding: residue("effective_rounding")?,
    })
}

pub(super) fn source(row: &Row<'_>) -> Result<SourceRows> {
    Ok(SourceRows {
        source: row.needed("source")?,
        kind: row.needed("kind")?,
        files: row.count("files")?,
        rows_in: row.count("rows_in")?,
        rows_out: row.count("rows_out")?,
        rows_skipped: row.count("rows_skipped")?,
        rows_duplicate: row.count("rows_duplicate")?,
        rows_late: row.count("rows_late")?,
        rows_quarantined: row.count("rows_quarantined")?,
    })
}

pub(super) fn group(row: &Row<'_>) -> Result<QuarantineGroup> {
    Ok(QuarantineGroup {
        source: row.needed("source")?,
        column: row.needed("column")?,
        reason: row.needed("reason")?,
        rows: row.count("rows")?,
        example: row.needed("example")?,
    })
}

pub(super) fn stage(row: &Row<'_>) -> Result<StageRun> {
    Ok(StageRun {
        stage: row.needed("stage")?,
        status: row.needed("status")?,
        seconds: row.float("seconds")?,
        rows: row.int("rows")?.map(i64::unsigned_abs),
        peak_rss_bytes: row.int("peak_rss_bytes")?.map(i64::unsigned_abs),
        device: row.text("device")?,
        message: row.text("message")?,
    })
}

pub(super) fn version(row: &Row<'_>) -> Result<VersionCost> {
    Ok(VersionCost {
        model_id: row.needed("model_id")?,
        model_version: row.text("model_version")?,
        first_cost: row.day("first_cost")?,
        first_served: row.day("first_served")?,
        last_served: row.day("last_served")?,
        served: row.count("served")?,
        incurred: amount(row, "incurred")?,
        transferred: amount(row, "transferred")?,
        recognised: amount(row, "recognised")?,
        written_off: amount(row, "written_off")?,
        closing: amount(row, "closing")?,
        life_left: row.count("life_left")?,
        life_unit: row.text("life_unit")?.unwrap_or_default(),
        policy: row.text("policy")?.unwrap_or_default(),
    })
}

pub(super) fn month(row: &Row<'_>) -> Result<ModelMonth> {
    Ok(ModelMonth {
        model_id: row.needed("model_id")?,
        month: row.needed("month")?,
        incurred: amount(row, "incurred")?,
        transferred: amount(row, "transferred")?,
        recognised: amount(row, "recognised")?,
        written_off: amount(row, "written_off")?,
        closing: amount(row, "closing")?,
    })
}

/// A converted line and the currency that it is in.
pub(super) fn converted(row: &Row<'_>) -> Result<(String, ConvertedLine)> {
    let kind = row.needed("line")?;
    let kind = match kind.as_str() {
        "cost" => ConvertedKind::Cost,
        "restatement" => ConvertedKind::Restatement,
        "exchange_difference" => ConvertedKind::ExchangeDifference,
        _ => {
            return Err(Error::contract(format!(
                "converted_costs has a line `{kind}` that the report does not know"
            )));
        }
    };
    let line = ConvertedLine {
        kind,
        from: row.needed("currency")?,
        target: match row.text("target")? {
            Some(_) => Some(target(row)?),
            None => None,
        },
        original: [
            amount(row, "original_usage_effective")?,
            amount(row, "original_allocation_effective")?,
            amount(row, "original_usage_billed")?,
            amount(row, "original_allocation_billed")?,
        ],
        amounts: [
            amount(row, "usage_effective")?,
            amount(row, "allocation_effective")?,
            amount(row, "usage_billed")?,
            amount(row, "allocation_billed")?,
        ],
    };
    Ok((row.needed("reporting_currency")?, line))
}

/// A rate and the currency that it leads to.
pub(super) fn rate(row: &Row<'_>) -> Result<(String, Rate)> {
    let rate = Rate {
        from: row.needed("currency")?,
        rate_id: row.needed("rate_id")?,
        rate: amount(row, "rate")?,
        first_day: row.day("first_day")?.unwrap_or_default(),
        last_day: row.day("last_day")?.unwrap_or_default(),
        rows: row.count("rows")?,
    };
    Ok((row.needed("reporting_currency")?, rate))
}

pub(super) fn conformance(row: &Row<'_>) -> Result<Conformance> {
    Ok(Conformance {
        rule: row.needed("rule")?,
        subject: row.needed("subject")?,
        issuer: row.text("issuer")?,
        unit: row.needed("unit")?,
        rows: row.count("rows")?,
        stated: amount(row, "stated")?,
        found: amount(row, "found")?,
        difference: amount(row, "difference")?,
        tolerance: amount(row, "tolerance")?,
        holds: row.text("holds")?.as_deref() == Some("true"),
    })
}

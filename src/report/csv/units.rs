//! What recommendations cost and brought: by day, model, version and surface, and by model with the ratios.

use super::{CsvFile, Sheet, some};
use crate::report::ReportError;
use crate::report::data::ReportData;
use crate::report::round::per;
use crate::report::view::View;

/// Every numerator and denominator.
pub fn daily(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "day",
        "currency",
        "model_id",
        "model_version",
        "surface",
        "served [recommendations]",
        "requests [responses]",
        "clicks [recommendations]",
        "purchases [purchases]",
        "conversions [recommendations]",
        "clicked_requests [responses]",
        "converted_requests [responses]",
        "revenue [currency]",
        "margin [currency]",
        "margin_revenue [currency]",
        "run_cost [currency]",
        "overhead_cost [currency]",
        "making_cost [currency]",
        "full_cost [currency]",
    ];
    let mut sheet = Sheet::new("unit_costs.csv", &head)?;
    for section in &data.currencies {
        for unit in &section.units {
            let counts = [
                unit.served,
                unit.requests,
                unit.clicks,
                unit.purchases,
                unit.conversions,
                unit.clicked_requests,
                unit.converted_requests,
            ];
            let costs = [
                unit.run_cost,
                unit.overhead_cost,
                unit.making_cost,
                unit.full_cost,
            ];
            let mut cells = vec![
                unit.day.to_string(),
                section.currency.code().to_owned(),
                unit.model_id.clone(),
                some(unit.model_version.as_ref()),
                some(unit.surface.as_ref()),
            ];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend([unit.revenue, unit.margin, unit.margin_revenue].map(some));
            cells.extend(costs.map(|money| money.to_string()));
            sheet.record(cells)?;
        }
    }
    sheet.done()
}

/// Per model, with the ratios; empty where their denominator is 0.
pub fn by_model(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "currency",
        "model_id",
        "served [recommendations]",
        "run_cost [currency]",
        "run_cost_per_1000 [currency]",
        "full_cost [currency]",
        "full_cost_per_1000 [currency]",
        "overhead_cost [currency]",
        "making_cost [currency]",
        "requests [responses]",
        "full_cost_per_request [currency]",
        "clicks [recommendations]",
        "run_cost_per_click [currency]",
        "full_cost_per_click [currency]",
        "conversions [recommendations]",
        "run_cost_per_conversion [currency]",
        "full_cost_per_conversion [currency]",
        "purchases [purchases]",
        "revenue [currency]",
        "return_on_cost [revenue / full_cost]",
        "margin [currency]",
        "margin_revenue [currency]",
        "margin_on_cost [margin / full_cost]",
    ];
    let mut sheet = Sheet::new("cost_per_1000.csv", &head)?;
    for section in &data.currencies {
        for unit in &View::new(section)?.models {
            sheet.record(vec![
                section.currency.code().to_owned(),
                unit.model_id.clone(),
                unit.served.to_string(),
                unit.run_cost.to_string(),
                some(unit.run_per_1000()?),
                unit.full_cost.to_string(),
                some(unit.full_per_1000()?),
                unit.overhead_cost.to_string(),
                unit.making_cost.to_string(),
                unit.requests.to_string(),
                some(per(unit.full_cost, 1, unit.requests)?),
                unit.clicks.to_string(),
                some(per(unit.run_cost, 1, unit.clicks)?),
                some(per(unit.full_cost, 1, unit.clicks)?),
                unit.conversions.to_string(),
                some(per(unit.run_cost, 1, unit.conversions)?),
                some(per(unit.full_cost, 1, unit.conversions)?),
                unit.purchases.to_string(),
                some(unit.revenue),
                some(unit.return_on_cost()),
                some(unit.margin),
                some(unit.margin_revenue),
                some(unit.margin_on_cost()),
            ])?;
        }
    }
    sheet.done()
}

/// What each model of the newest night is worth and costs.
pub fn frontier(data: &ReportData) -> Result<CsvFile, ReportError> {
    let head = [
        "basis",
        "currency",
        "model_id",
        "model_version",
        "family",
        "dim [values]",
        "made_from",
        "compression",
        "size [bytes]",
        "scoring [s per 1,000 users]",
        "k [items]",
        "recall [0 to 1]",
        "recall_low_95 [0 to 1]",
        "recall_high_95 [0 to 1]",
        "ndcg [0 to 1]",
        "ndcg_low_95 [0 to 1]",
        "ndcg_high_95 [0 to 1]",
        "cost_from",
        "cost_to",
        "own_cost [currency]",
        "parent_cost [currency]",
        "cost [currency]",
        "recommendations",
        "cost_per_1000 [currency]",
        "dominated_by",
        "recall_differs",
    ];
    let mut sheet = Sheet::new("frontier.csv", &head)?;
    for point in &data.frontier {
        sheet.record(vec![
            point.basis.clone(),
            some(point.currency.as_ref()),
            point.model_id.clone(),
            point.model_version.clone(),
            point.family.clone(),
            some(point.dim),
            some(point.made_from.as_ref()),
            some(point.compression.as_ref()),
            point.bytes.to_string(),
            some(point.scoring_seconds),
            some(point.k),
            some(point.recall),
            some(point.recall_low),
            some(point.recall_high),
            some(point.ndcg),
            some(point.ndcg_low),
            some(point.ndcg_high),
            some(point.cost_from.as_ref()),
            some(point.cost_to.as_ref()),
            some(point.own_cost),
            some(point.parent_cost),
            some(point.cost),
            some(point.recommendations),
            some(point.cost_per_1000),
            some(point.dominated_by.as_ref()),
            some(point.recall_differs),
        ])?;
    }
    sheet.done()
}

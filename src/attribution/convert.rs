//! Costs in the reporting currency: each at the exchange rate of its day, the exchange difference apart.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{Months, NaiveDate};

use super::work::{Work, contract};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::warehouse::store;

/// Writes `converted_costs` of a billing period, whose `model_costs` and `restatements` the session has. Without a
/// reporting currency the period has none.
///
/// # Errors
/// `Kind::Check` naming the currency and the day without an exchange rate.
pub(super) async fn run(work: &Work<'_>, engine: &Engine, period: &str) -> Result<()> {
    let table = contract("converted_costs")?;
    let dir = store::replace(work.snapshot, table, period)?;
    let policy = &work.pipeline.attribution;
    let Some(into) = &policy.reporting_currency else {
        return Ok(());
    };
    engine.reload(contract("model_costs")?, work.snapshot)?;
    let of_period = format!("billing_period = '{period}'");
    engine.restrict("model_costs", &of_period).await?;
    let oldest = policy.oldest_rate_days;
    let closing = closing_day(period, work.window.1);
    let policy = format!(
        "select '{into}' as reporting_currency, date '{closing}' as closing_day, {oldest} as oldest_days"
    );
    engine.view("policy", &policy).await?;
    engine
        .view("rates", work.library.get("attribution/rates.sql")?)
        .await?;
    let missing = "select currency, cast(day as varchar) as asked from rates where rate is null order by day, currency limit 1";
    for batch in engine.collect(missing).await? {
        let texts = [0, 1].map(|c| cast(batch.column(c), &DataType::Utf8View));
        let [from, day] = texts;
        let (from, day) = (from?, day?);
        if let (Some(from), Some(day)) = (
            from.as_string_view().iter().flatten().next(),
            day.as_string_view().iter().flatten().next(),
        ) {
            return Err(Error::check(format!(
                "there is no exchange rate from {from} to {into} for {day}, nor for the {oldest} days before it"
            ))
            .help(
                "deliver the rate in a source of kind `exchange_rates`, or raise `[attribution] oldest_rate_days`",
            ));
        }
    }
    let sql = work.library.get("attribution/converted_costs.sql")?;
    engine.write(sql, table, &dir).await?;
    Ok(())
}

/// The last day of a billing period, or the night while the period is not over.
fn closing_day(period: &str, night: NaiveDate) -> NaiveDate {
    let first = NaiveDate::parse_from_str(&format!("{period}-01"), "%Y-%m-%d").ok();
    let last = first
        .and_then(|first| first.checked_add_months(Months::new(1)))
        .and_then(|next| next.pred_opt());
    last.map_or(night, |last| last.min(night))
}

//! How nights, sources and costs stand once a run has ended, for its metrics.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::config::Pipeline;
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::Result;
use crate::money::Money;
use crate::pipeline::freshness::end_of;
use crate::pipeline::nights::State;
use crate::pipeline::stand::Stand;

/// Newest billing periods whose costs are told.
const PERIODS: usize = 2;

/// How nights, sources and costs stand.
#[derive(Debug, Default)]
pub struct Standing {
    /// How many nights are in each state, from the oldest that is published to yesterday.
    pub nights: Vec<(&'static str, usize)>,
    /// Those of them that are not done and whose time is over.
    pub overdue: usize,
    /// The newest night that is published.
    pub newest: Option<NaiveDate>,
    /// The sources of the pipeline.
    pub sources: Vec<Source>,
    /// Of the newest billing periods.
    pub costs: Vec<Cost>,
}

/// How a source stands.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The end of its newest day; where it has no days, when its newest file was written.
    pub newest: Option<DateTime<Utc>>,
    /// Rows published.
    pub rows: u64,
    /// Rows rejected.
    pub quarantined: u64,
    /// Days that should be there and are not.
    pub missing: usize,
    /// Intervals that came after their night was run.
    pub late: usize,
    /// Intervals that lie there and are not in the tables as they are now.
    pub waiting: usize,
    /// Whether a run fails without it.
    pub required: bool,
}

/// A line of the reconciliation: effective cost on the usage basis.
#[derive(Debug)]
pub struct Cost {
    /// ISO 4217.
    pub currency: String,
    /// Such as `2026-10`.
    pub period: String,
    /// `bill`, `attributed`, `idle`, `unallocated`, …
    pub line: String,
    /// In that currency.
    pub amount: Money,
}

/// How all of it stands at the time `now`, as `recost status` shows it.
///
/// # Errors
/// Those of reading tables and files.
pub async fn standing(pipeline: &Pipeline, now: DateTime<Utc>) -> Result<Standing> {
    let yesterday = now.date_naive() - TimeDelta::days(1);
    let stand = Stand::of(pipeline, (None, yesterday), now).await?;
    let (nights, sources) = (&stand.nights, &stand.sources);
    let due = |day| end_of(day) + pipeline.run.late_after.0 <= now;
    let overdue = nights.nights.iter().filter(|n| n.is_due() && due(n.night));
    let counted = State::ALL.map(|state| (state.as_str(), nights.in_state(state).count()));
    Ok(Standing {
        nights: counted.to_vec(),
        overdue: overdue.count(),
        newest: nights.newest,
        sources: sources
            .iter()
            .map(|of| Source {
                name: of.source.name.clone(),
                newest: of.age.map(|age| now - age),
                rows: of.rows,
                quarantined: of.quarantined,
                missing: of.missing.len(),
                late: of.late.len(),
                waiting: of.waiting.len(),
                required: of.source.required,
            })
            .collect(),
        costs: costs(&stand.engine).await?,
    })
}

async fn costs(engine: &Engine) -> Result<Vec<Cost>> {
    let sql =
        "select currency, billing_period, line, sum(effective) as effective from reconciliation
               where basis = 'usage' group by 1, 2, 3 order by 2 desc, 1, 3";
    let rows = map(&engine.collect(sql).await?, |row| {
        let amount = row.decimal("effective", 18)?.map(Money);
        let (currency, period) = (row.needed("currency")?, row.needed("billing_period")?);
        let line = row.needed("line")?;
        // What is not known of a currency, such as a restatement without a rate, has no sample.
        Ok(amount.map(|amount| Cost {
            currency,
            period,
            line,
            amount,
        }))
    })?;
    let rows: Vec<Cost> = rows.into_iter().flatten().collect();
    let mut periods: Vec<String> = rows.iter().map(|cost| cost.period.clone()).collect();
    periods.dedup();
    periods.truncate(PERIODS);
    Ok(rows
        .into_iter()
        .filter(|cost| periods.contains(&cost.period))
        .collect())
}

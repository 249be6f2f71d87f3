//! What the rules of a pipeline would take of the bill, before anything is written.

use std::collections::BTreeSet;

use super::Taken;
use super::period::{attributor, charges_of, due, lines, session};
use super::stage::{Summary, late};
use super::work::{Work, routing};
use crate::error::Result;

/// What each rule would take.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The billing periods that a run would attribute.
    pub periods: Vec<String>,
    /// Closed billing periods whose bills are others today: the difference would be restated.
    pub restated: Vec<String>,
    /// Charges in the periods to be attributed.
    pub charges: u64,
    /// The rules in the order in which they are tried, with their version and whether the user wrote them; at the end
    /// what no rule matches.
    pub rules: Vec<(String, String, bool, Taken)>,
}

/// Attributes what a run would, with the bills and telemetry of the snapshot, and keeps only what each rule took.
///
/// # Errors
/// Those of the rules and of SQL.
pub async fn preview(work: Work<'_>, changed: &BTreeSet<String>) -> Result<Preview> {
    let routing = routing(work.pipeline, work.library)?;
    let mut summary = Summary::default();
    let closed = crate::ingest::closed(&work.session()?).await?;
    for period in due(&work, changed, &closed)? {
        let engine = session(&work, &period).await?;
        let lines = lines(&work, &engine, &routing).await?;
        let attributor = attributor(&work, &engine, &routing, (&lines, &period)).await?;
        let attributor = attributor.counting_lost();
        // What rules take adds up to the same in any order.
        let lines = lines.execute_stream().await?;
        let seen = charges_of(&engine, (lines, &period), attributor, &mut |_| Ok(())).await?;
        summary.charges += seen.charges;
        summary.add_rules(&seen)?;
        summary.periods.push(period);
    }
    let named = routing.rules.iter().enumerate();
    let named = named.map(|(place, rule)| (rule.name.clone(), rule.version(), place < routing.own));
    let rest = ("no rule matched".to_owned(), "1".to_owned(), false);
    let named = named.chain([rest]);
    Ok(Preview {
        periods: summary.periods,
        restated: late(&work, changed, &closed)?.into_iter().collect(),
        charges: summary.charges,
        rules: named
            .zip(summary.rules)
            .map(|((name, version, own), taken)| (name, version, own, taken))
            .collect(),
    })
}

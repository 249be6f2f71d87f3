//! What the rules of a pipeline would take of the bill, before anything is written.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::NaiveDate;

use super::allocate::Receiver;
use super::stage::{Order, Summary, attributor, charges_of, due, routing};
use super::{Allocation, Charge, Taken};
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::Result;

/// What each rule would take.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The billing periods that a run would attribute.
    pub periods: Vec<String>,
    /// Charges in them.
    pub charges: u64,
    /// The rules in the order in which they are tried, with their version and whether the user wrote them; at the end
    /// what no rule matches.
    pub rules: Vec<(String, String, bool, Taken)>,
}

/// Nobody: a preview keeps nothing.
struct Nowhere;

impl Receiver for Nowhere {
    fn charge(&mut self, _: &str, _: &Charge<'_>) {}

    fn allocation(&mut self, _: &Allocation<'_>) -> Result<()> {
        Ok(())
    }
}

/// Attributes what a run would, with the bills and telemetry of `snapshot`, and keeps only what each rule took.
///
/// # Errors
/// Those of the rules and of SQL.
pub async fn preview(
    pipeline: &Pipeline,
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    changed: &BTreeSet<String>,
) -> Result<Preview> {
    let routing = routing(pipeline, library)?;
    let mut summary = Summary::default();
    let closed = crate::ingest::closed(&Engine::open(options, Some(snapshot), None)?).await?;
    for period in due(snapshot, window, changed, &closed)? {
        let engine = Engine::open(options, Some(snapshot), None)?;
        let filter = format!("billing_period = '{period}'");
        engine.restrict("charges", &filter).await?;
        let attributor = attributor(pipeline, library, &engine, &routing).await?;
        let attributor = attributor.counting_lost();
        let seen = charges_of(
            library,
            &engine,
            (&period, Order::OfFiles),
            attributor,
            &mut Nowhere,
        )
        .await?;
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
        charges: summary.charges,
        rules: named
            .zip(summary.rules)
            .map(|((name, version, own), taken)| (name, version, own, taken))
            .collect(),
    })
}

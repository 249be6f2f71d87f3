//! The stage `attribute`: from the tables charges, usage and events to allocations and every cost table after them.
//!
//! Each billing period is attributed by itself; what recommendations cost is worked out day by day from the allocations
//! of all periods.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::work::contract;
pub use super::work::{Work, routing};
use super::{Routing, Taken};
use super::{close, frontier, outcomes, period, serve, served, version_ledger};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::heap;
use crate::warehouse::store;

/// What attribution did.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// Billing periods attributed.
    pub periods: Vec<String>,
    /// Closed billing periods whose bills came later.
    pub restated: Vec<String>,
    /// Charges read.
    pub charges: u64,
    /// Allocations written.
    pub allocations: u64,
    /// Recommendations that were given their cost.
    pub recommendations: u64,
    /// What each rule took, in their order, and at the end what no rule matched.
    pub rules: Vec<Taken>,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Adds what the rules took of one billing period.
    pub(super) fn add_rules(&mut self, seen: &super::Summary) -> Result<()> {
        self.rules.resize(seen.rules.len(), Taken::default());
        for (rule, taken) in self.rules.iter_mut().zip(&seen.rules) {
            rule.add(taken).map_err(|e| Error::check(e.to_string()))?;
        }
        Ok(())
    }

    /// Warns of the pipeline's own rules that no charge of the run's billing periods came to.
    fn warn_of_unused(&mut self, routing: &Routing) {
        let own = routing.rules[..routing.own].iter().zip(&self.rules);
        let unused: Vec<String> = own
            .filter(|(_, taken)| taken.charges == 0)
            .map(|(rule, _)| format!("`{}`", rule.name))
            .collect();
        if !unused.is_empty() {
            self.warnings.push(format!(
                "no charge came to these rules: {}; `recost plan` shows whether others take their charges",
                unused.join(", ")
            ));
        }
    }
}

/// Attributes the billing periods of the window, those in `changed` and those never attributed; writes all cost tables
/// into the snapshot. Where a catalogue was `corrected`, margins of past days may rest on the one before it.
///
/// # Errors
/// Those of the rules, of SQL and of writing.
pub async fn run(work: Work<'_>, changed: &BTreeSet<String>, corrected: bool) -> Result<Summary> {
    let routing = routing(work.pipeline, work.library)?;
    let mut summary = Summary::default();
    period::remove_empty(&work)?;
    let closed = crate::ingest::closed(&work.session()?).await?;
    for of in period::due(&work, changed, &closed)? {
        period::open(&work, &routing, &of, &mut summary).await?;
        summary.periods.push(of);
    }
    if !summary.periods.is_empty() {
        summary.warn_of_unused(&routing);
    }
    restate(&work, &routing, changed, &closed, &mut summary).await?;
    for of in &summary.periods {
        period::tables(&work, of).await?;
    }
    days(work, corrected, &mut summary).await?;
    frontier::run(&work).await?;
    Ok(summary)
}

/// The closed periods whose bills are others today: those with late charges, and those that lost a delivery.
pub(super) fn late(
    work: &Work<'_>,
    changed: &BTreeSet<String>,
    closed: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let late = store::partitions(work.snapshot, contract("late_charges")?)?;
    let mut others: BTreeSet<String> = late.into_iter().collect();
    others.extend(closed.intersection(changed).cloned());
    Ok(others)
}

/// Attributes the closed periods whose bills are others today, and books the difference in the open period.
async fn restate(
    work: &Work<'_>,
    routing: &Routing,
    changed: &BTreeSet<String>,
    closed: &BTreeSet<String>,
    summary: &mut Summary,
) -> Result<()> {
    for of in late(work, changed, closed)? {
        period::closed(work, routing, &of, summary).await?;
        summary.restated.push(of);
    }
    if summary.restated.is_empty() {
        return Ok(());
    }
    let open = close::open_period(work.window.1, closed);
    let of = &summary.restated;
    let rows = close::restate(work.library, work.options, work.snapshot, of, &open).await?;
    if rows > 0 {
        summary.warnings.push(format!(
            "bills of closed periods ({}) came later; their difference is restated in {open}",
            summary.restated.join(", ")
        ));
    }
    if !summary.periods.contains(&open) {
        summary.periods.push(open);
    }
    Ok(())
}

/// Writes the tables by day: what was served, what versions cost to make, and what each recommendation cost and brought.
async fn days(mut work: Work<'_>, corrected: bool, summary: &mut Summary) -> Result<()> {
    let (library, options, snapshot) = (work.library, work.options, work.snapshot);
    let threads = work.pipeline.threads();
    let engine = work.session()?;
    engine.restrict_to(work.window).await?;
    let mut shown = served::run(&engine, library, snapshot, work.window, threads).await?;

    let life = &work.pipeline.attribution.service_life;
    version_ledger::run(&work.session()?, library, life, snapshot, work.window.1).await?;

    // Days of open periods before the window whose costs or margins are others now are worked out again, too.
    let of = (summary.periods.as_slice(), corrected);
    let from = serve::stale_from(library, options, snapshot, work.window, of).await?;
    if from < work.window.0 {
        work.window.0 = from;
        let engine = work.session()?;
        engine.restrict_to(work.window).await?;
        drop(shown);
        shown = served::run(&engine, library, snapshot, work.window, threads).await?;
    }

    let window = work.window;
    let engine = with_model_days(&work).await?;
    let served = std::mem::take(&mut shown.days);
    summary.recommendations = serve::run(&engine, snapshot, window, served, threads).await?;

    heap::give_back();
    let last_touch = work.pipeline.attribution.last_touch.0;
    outcomes::run(library, options, snapshot, (window, &shown), last_touch).await?;

    heap::give_back();
    unit_costs(&work).await
}

/// Writes `unit_costs`, whose rows of a day are made from that day's rows alone: of all days at once, or of so many as fit
/// the memory.
async fn unit_costs(work: &Work<'_>) -> Result<()> {
    /// How many times the bytes of its file a table takes in memory.
    const UNPACKED: u64 = 8;
    let (library, snapshot, window) = (work.library, work.snapshot, work.window);
    let sql = library.get("attribution/unit_costs.sql")?;
    let room = work.options.memory as u64 / 4 / UNPACKED;
    let mut spans: Vec<(NaiveDate, NaiveDate)> = vec![];
    let mut bytes = 0;
    for day in window.0.iter_days().take_while(|d| *d <= window.1) {
        let of_day = store::bytes_by_day(snapshot, contract("outcomes")?, (day, day))?;
        bytes += of_day.iter().sum::<u64>();
        match spans.last_mut().filter(|_| bytes <= room) {
            Some(span) => span.1 = day,
            None => {
                spans.push((day, day));
                bytes = of_day.iter().sum();
            }
        }
    }
    let whole = spans.len() == 1;
    for span in spans {
        let work = Work {
            window: span,
            ..*work
        };
        let engine = with_model_days(&work).await?;
        let within = format!("ds between date '{}' and date '{}'", span.0, span.1);
        for name in ["recommendation_costs", "served_days", "outcomes"] {
            engine.restrict(name, &within).await?;
        }
        // Fewer operators at a time share the memory, and aggregates that begin with single rows spill early.
        let engine = if whole { engine } else { engine.single() };
        engine
            .write_days(sql, contract("unit_costs")?, snapshot, span)
            .await?;
    }
    Ok(())
}

/// A session with the days of the window, and the view of what each model cost on each.
async fn with_model_days(work: &Work<'_>) -> Result<Engine> {
    let engine = work.session()?;
    restrict_days(&engine, work.window).await?;
    let sql = work.library.get("attribution/model_days.sql")?;
    engine.view("model_days", sql).await?;
    Ok(engine)
}

/// Leaves in the session what belongs to the days of the window: costs by day, events up to its end.
pub async fn restrict_days(engine: &Engine, window: (NaiveDate, NaiveDate)) -> Result<()> {
    let (first, last) = window;
    let within = format!("day between date '{first}' and date '{last}'");
    for name in ["allocations", "allocation_days", "version_ledger"] {
        engine.restrict(name, &within).await?;
    }
    engine.restrict_to(window).await
}

//! Cost pools that feed each other, by the step-down method: pools are closed one after another in a fixed order, each
//! over models and the pools that come after it, never back.
//!
//! A charge comes into a pool by a rule, or wherever a model may be named and a pool is: in shares, tags, the resource
//! map, or as the consumer in a driver's rows. It is split charge by charge, so that every row of the bill keeps its own
//! exact parts; [`Allocation::via`](super::Allocation::via) says through which pools a part came:
//!
//! ```json
//! [{"pool":"platform","version":"3","driver":null,"weight":1,"weight_total":1},
//!  {"pool":"data","version":"1","driver":"cpu_ns","weight":40,"weight_total":100}]
//! ```
//!
//! Each step has the version of the pool's own split, and what the amount that came into it was split by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attribute::{Attributor, By, Row};
use super::charge::Sink;
use super::compile::{Action, CompiledRule};
use super::rules::Rule;
use super::summary::AttributeError;
use super::target::Reason;
use super::validate::RuleError;

/// Source: the step-down (sequential) method of cost accounting, with the order from the pools' own references.
///
/// The names of the pools such that each comes before all that it feeds by name; otherwise as they are written.
///
/// # Errors
/// A cycle, drawn.
pub(super) fn closing_order(pools: &[Rule]) -> Result<Vec<String>, RuleError> {
    let mut names: Vec<&str> = Vec::new();
    let mut feeds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pool in pools {
        let name = pool.name.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
        feeds.entry(name).or_default().extend(pool.consumers());
    }
    let mut order = Vec::new();
    while !names.is_empty() {
        let is_fed = |name: &str| names.iter().any(|other| feeds[other].contains(name));
        match names.iter().position(|name| !is_fed(name)) {
            Some(first) => order.push(names.remove(first).to_owned()),
            None => return Err(cycle(&names, &feeds)),
        }
    }
    Ok(order)
}

/// Follows what feeds what, against the direction of the money, until a pool comes again.
fn cycle(names: &[&str], feeds: &BTreeMap<&str, BTreeSet<&str>>) -> RuleError {
    let mut path = vec![names[0]];
    loop {
        let last = path[path.len() - 1];
        // All that are left are fed by another that is left.
        let from = names.iter().find(|name| feeds[*name].contains(last));
        let from = from.copied().unwrap_or(last);
        let seen = path.iter().position(|name| *name == from);
        path.push(from);
        if let Some(start) = seen {
            let mut drawn = path.split_off(start);
            drawn.reverse();
            return RuleError::Cycle {
                drawn: drawn.join(" → "),
            };
        }
    }
}

/// The pools of a run.
#[derive(Debug, Default)]
pub(super) struct CostPools {
    /// Per pool, in the order in which they are closed: its entries in [`Self::splits`].
    pools: Vec<(String, Vec<usize>)>,
    splits: Vec<CompiledRule>,
}

impl CostPools {
    pub fn new(order: &[String], splits: Vec<CompiledRule>) -> Self {
        let of = |name: &String| {
            let mine =
                |(index, split): (usize, &CompiledRule)| (split.name == *name).then_some(index);
            splits.iter().enumerate().filter_map(mine).collect()
        };
        let pools = order.iter().map(|name| (name.clone(), of(name))).collect();
        Self { pools, splits }
    }
}

impl Attributor {
    /// Splits what came into a pool over models and the pools after it. What the pool has no split or no weight for on
    /// that day is unallocated.
    pub(super) fn close(
        &mut self,
        pool: u32,
        row: &Row<'_>,
        by: By<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), AttributeError> {
        let pools = Arc::clone(&self.cost_pools);
        let (name, entries) = &pools.pools[pool as usize];
        let entry = entries
            .iter()
            .map(|&index| (index, &pools.splits[index]))
            .find(|(_, split)| split.matcher.covers(row.period.0));
        let version = entry.map_or("", |(_, split)| split.version.as_str());
        let via = step(row.via, name, version, by);
        let row = Row {
            via: Some(&via),
            ..*row
        };
        let mut parts = Vec::new();
        let mut driven = None;
        if let Some((index, split)) = entry {
            match &split.action {
                Action::Whole(target) => parts.push((*target, 1)),
                Action::Fixed {
                    driver,
                    parts: fixed,
                } => {
                    driven = Some(*driver);
                    parts.clone_from(fixed);
                }
                Action::Pool { driver, .. } => {
                    driven = Some(driver.name.as_str());
                    // Lookups of pools come after those of rules.
                    let index = self.rules.len() + index;
                    let weights = self.weights(index, driver, None, row.period, false);
                    let later = |target| self.targets.pool(target).is_none_or(|other| other > pool);
                    let busy = weights.iter().flat_map(|weights| &weights.busy);
                    parts.extend(busy.filter(|part| later(part.0)));
                }
                // `validate` lets a pool have no other target.
                _ => {}
            }
        }
        if parts.iter().all(|part| part.1 == 0) {
            let target = self.unallocated(Reason::NoDriver);
            let whole = (row.billed, row.effective);
            return self.give(&row, target, (driven, 1, 1), whole, sink);
        }
        self.allocate(&row, driven, &parts, sink)
    }
}

/// The path with one step more.
fn step(via: Option<&str>, pool: &str, version: &str, (driver, weight, total): By<'_>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let before = via.and_then(|via| via.strip_suffix(']'));
    let before = before.map_or("[".to_owned(), |before| format!("{before},"));
    format!(
        r#"{before}{{"pool":{},"version":{},"driver":{},"weight":{weight},"weight_total":{total}}}]"#,
        text(pool),
        text(version),
        driver.map_or("null".to_owned(), text),
    )
}

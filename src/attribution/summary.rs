//! What a run tells beside its allocations: errors, warnings, a summary.

use std::collections::{BTreeMap, BTreeSet};

use super::charge::BoxError;
use super::split::SplitError;
use super::validate::RuleError;
use crate::money::{Currency, Money, MoneyError};

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    #[error("the attribution rules are not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<RuleError>),
    #[error("charge {row_id}: {source}")]
    Split { row_id: String, source: SplitError },
    #[error("an allocation could not be written")]
    Sink(#[source] BoxError),
}

/// What a run should tell its user, though it goes on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Several tag keys differ only by case or blanks; the exact one, else the first in text order, was taken.
    TagCollision { key: String },
    /// A stage tag that is no stage; the cost went to `operations`.
    UnknownStage { value: String },
    /// A tag names a model that this pipeline does not have; the cost went to it all the same.
    UnknownModel { model: String },
}

/// A machine whose busy weights exceeded its capacity in some interval of a charge period.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oversubscribed {
    pub driver: String,
    pub resource_id: String,
    /// µs since the epoch.
    pub period_start: i64,
    pub period_end: i64,
}

/// What a rule took of the bill.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Charges that it matched first.
    pub charges: u64,
    /// What those cost, billed and effective.
    pub costs: BTreeMap<Currency, (Money, Money)>,
    /// Charges that it would match, by the place of the rule before it that took them; only when asked for.
    pub lost: BTreeMap<usize, u64>,
}

impl Taken {
    /// Adds what another period has.
    ///
    /// # Errors
    /// When a sum is too large.
    pub fn add(&mut self, other: &Taken) -> Result<(), MoneyError> {
        self.charges += other.charges;
        for (currency, (billed, effective)) in &other.costs {
            let sum = self.costs.entry(*currency).or_default();
            *sum = (sum.0.checked_add(*billed)?, sum.1.checked_add(*effective)?);
        }
        for (rule, charges) in &other.lost {
            *self.lost.entry(*rule).or_default() += charges;
        }
        Ok(())
    }
}

/// What a run saw.
#[derive(Debug, Default)]
pub struct Summary {
    /// Per rule, and at the end what no rule matched.
    pub rules: Vec<Taken>,
    pub charges: u64,
    pub allocations: u64,
    pub idle_pools: u64,
    /// With the number of charges concerned.
    pub warnings: BTreeMap<Warning, u64>,
    pub oversubscribed: BTreeSet<Oversubscribed>,
}

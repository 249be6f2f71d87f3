//! What a run tells beside its allocations: errors, warnings, a summary.

use std::collections::{BTreeMap, BTreeSet};

use super::charge::BoxError;
use super::split::SplitError;
use super::validate::RuleError;

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

/// What a run saw.
#[derive(Debug, Default)]
pub struct Summary {
    pub charges: u64,
    pub allocations: u64,
    pub idle_pools: u64,
    /// With the number of charges concerned.
    pub warnings: BTreeMap<Warning, u64>,
    pub oversubscribed: BTreeSet<Oversubscribed>,
}

//! From bill rows to models: every unit ends at a model, idle, or unallocated with a reason.
//!
//! [`Attributor`] takes [`Charge`]s in any order and gives [`Allocation`]s as a
//! stream. Memory is bounded by the targets, the idle pools and what there is to
//! follow: tax rows and credits, which follow other rows, are announced first by
//! [`Attributor::expect`] and kept back until [`Attributor::finish`].
//!
//! # Two bases in one stream
//! Rows of [`Basis::Usage`] add up to their charge, exactly, row by row; idle is a
//! target of its own. When a machine is idle for part of a charge period and
//! somebody was busy on it, that idle is an *idle pool* (rule × resource × charge
//! period × currency). At the end, once tax and credits have been added to it,
//! each pool is moved to those who were busy by rows of [`Basis::Allocation`]:
//! one that takes the idle away and one per busy target, which add up to zero. So
//!
//! - the usage basis is the rows of [`Basis::Usage`],
//! - the allocation basis is the sum of *all* rows,
//! - adding everything up gives the bill, always.
//!
//! A pool is split once, as a whole; where it has several parts (day, billing
//! period, category) they are split in that order as running totals
//! ([`split_running`]), so that parts and total are both exact. If nothing was
//! busy, idle stays idle.
//!
//! # Tax and credits
//! A tax weighs its targets by their effective usage-basis amounts, credits
//! counted, on the same invoice and currency; without an invoice id, or when
//! nothing else is on the invoice, on the same issuer, billing period and
//! currency. A credit takes the target of its own tags, else weighs the charges
//! (neither tax nor credit) of the same billing period and currency that share
//! its resource, else its service within the billing account, else its billing
//! account: the first of these that has a positive amount. Only targets with a
//! positive net amount count. The idle pools of machines are one target there; what rows that
//! follow the same charges leave to it, per day and category, is shared out over
//! the pools with a positive net amount as one amount.
//!
//! # Order
//! Nothing depends on the order of charges, driver rows or map iteration: parts
//! are split in key order (models by id, version, stage; then idle; then
//! unallocated), and what `finish` writes is sorted by row and pool.

pub(crate) mod allocate;
mod attribute;
mod changes;
mod charge;
pub mod close;
pub mod compare;
mod compile;
mod convert;
mod defaults;
mod digest;
mod driver;
mod driver_query;
pub mod explain;
mod finish;
mod follow;
mod frontier;
pub mod interval;
mod map;
pub(crate) mod matching;
mod outcome_parts;
mod outcomes;
mod period;
mod pool;
pub mod preview;
mod recommendation;
mod repeat;
mod route;
mod rules;
mod serve;
mod served;
mod service_life;
mod split;
pub mod stage;
mod step_down;
mod summary;
mod target;
pub(crate) mod validate;
mod version_ledger;
mod wide;
mod work;

#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod night_tests;
#[cfg(test)]
mod outcomes_tests;
#[cfg(test)]
mod restatement_tests;
#[cfg(test)]
mod service_life_tests;
#[cfg(test)]
mod step_down_tests;
#[cfg(test)]
mod test_support;

pub use attribute::Attributor;
pub use charge::{Allocation, Basis, BoxError, Charge, Columns, Sink};
pub use defaults::{MACHINE_DRIVERS, POOL_DRIVERS, RUN_TIME, RUNS, default_rules};
pub use driver::{DriverRow, DriverTable, DriverTableBuilder, Usage};
pub use rules::{Deployed, Matches, Percent, Routing, RoutingConfig, Rule, RuleTarget, TagKeys};
pub use service_life::{Life, ModelLife, Policy, ServiceLife, WithoutVersion};
pub use split::{SplitError, Splitter, split, split_running, total_weight};
pub use summary::{AttributeError, Oversubscribed, Summary, Taken, Warning};
pub use target::{Category, ModelTarget, Reason, Stage, Target, UnknownName};
pub use validate::{Known, RuleError, validate};

//! How good ranked lists are, and how sure that is.

pub mod metrics;
pub mod stage;

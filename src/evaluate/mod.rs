//! How good ranked lists are, and how sure that is.

pub mod binary;
pub mod metrics;
pub mod stage;

//! How good ranked lists are, and how sure that is.
//!
//! A [`protocol`] divides what happened into folds, each with what models learn from and what they are judged by; a fitted
//! model is ranked over all items ([`judge`]), its lists become values per user ([`evaluation`]), and those become means with
//! intervals, alone and against another model on the same users ([`bootstrap`]).

pub mod binary;
pub mod bootstrap;
mod cold;
pub mod evaluation;
pub mod held_out;
pub mod judge;
pub mod metric;
pub mod protocol;
mod rows;
pub mod stage;

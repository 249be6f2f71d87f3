//! Search for a model's hyperparameters: successive halving over a space, judged on interactions held back from training.
//!
//! [`space`] draws settings, [`halving`] says how many of them get how many passes, [`search`] does one trial after the other
//! and needs nothing but interactions; [`settings`] is its part of the pipeline file, [`budget`] says when it ends,
//! [`run`] is the command: it reads the tables, and publishes trials and what they cost.

pub mod budget;
pub mod halving;
pub mod run;
pub mod search;
pub mod settings;
pub mod space;
mod table;

//! recost: nightly recommendations from a shop's clickstream, and what each of them cost, exact to the bill's last digit.
//!
//! Data flows one way, from stage to stage, and nothing but tables passes between them:
//! [`ingest`] → [`features`] → [`model`] → [`recommend`] → [`evaluate`] → [`attribution`] → [`report`]. The [`pipeline`]
//! runs the stages over a staged snapshot of the [`warehouse`] and publishes it in one step, with [`watch`] looking on; [`cli`] is
//! the command line.

pub mod alive;
pub mod attribution;
pub mod cli;
pub mod compute;
pub mod config;
mod decoder;
pub mod descriptors;
pub mod disk;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod features;
#[doc(hidden)]
pub mod fuzzing;
pub mod generate;
pub mod heap;
pub mod ingest;
pub mod model;
pub mod money;
pub mod pipeline;
pub mod privacy;
pub mod random;
pub mod recommend;
pub mod report;
pub mod scratch;
pub mod tune;
pub mod warehouse;
pub mod watch;

//! What is known of a run from outside: its log and its metrics.
//!
//! [`event`] has one struct for each thing that happens, which says how it is logged and what it counts; [`counts`] is what
//! was counted, [`standing`] how nights and sources stand at the end, and [`metrics`] writes both for Prometheus.
//! [`lineage`] tells of runs and their datasets by OpenLineage, [`trace`] of what took how long by OpenTelemetry.

pub mod counts;
pub mod event;
pub mod lineage;
pub mod metrics;
mod post;
pub mod standing;
pub mod trace;

pub use counts::Counts;
pub use event::{Event, Observer};

//! Synthetic exports of a shop with a known truth: clickstream, catalogue, usage telemetry, cloud bills and a finance ledger, at any scale.
//!
//! [`generate`] streams everything to Parquet under one folder. Every random choice comes from a stream that is named by the
//! seed and by what it decides (a day's file, an item, a user), so the same [`Spec`] gives the same bytes whatever the thread
//! count. Beside the exports lies `truth/`: the exact cost of every model, every planted duplicate and malformed row, and the
//! margin by which the latent tastes beat popularity.

mod batch;
mod bills;
mod catalogue;
mod charges;
mod cloud;
mod error;
mod events;
mod faults;
mod focus;
mod folder;
mod ledger;
mod margin;
mod parquet_out;
mod prices;
mod serving;
mod sessions;
mod snapshots;
mod spec;
mod stream;
mod taste;
mod tax;
#[cfg(test)]
mod tests;
mod truth;
mod usage;
mod words;

use std::time::Instant;

pub use error::GenerateError;
pub use faults::Malformed;
pub use margin::Margin;
pub use spec::{Rates, Scale, Spec};
pub use truth::{DeliveryTotals, EventTotals, Totals};

use catalogue::Catalogue;

/// How far the generator has come; handed to the caller's callback from the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being written: `items`, `users`, `usage`, `billing` or `events`.
    pub stage: &'static str,
    /// Rows (events) or days (everything else) done.
    pub done: u64,
    /// Rows or days in all.
    pub total: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The figures that also lie in `truth/totals.json`.
    pub totals: Totals,
    /// Files written under the output folder, the marker not counted.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Writes the exports that `spec` describes, with their truth, to `spec.out`.
///
/// The folder is created when it is missing, and replaced when an earlier call made it; any other folder that holds something
/// is refused. Memory is bounded by the size of the catalogue and one file's events per thread, not by the number of events.
///
/// # Errors
/// [`GenerateError`] when the specification makes no sense, the folder is not ours, or a file cannot be written.
pub fn generate(spec: &Spec, progress: &mut dyn FnMut(Progress)) -> Result<Summary, GenerateError> {
    let started = Instant::now();
    spec.validate()?;
    folder::claim(spec)?;

    let catalogue = Catalogue::new(spec);
    snapshots::write_items(spec, &catalogue, progress)?;
    snapshots::write_users(spec, progress)?;
    let (bill, deliveries) = bills::write(spec, progress)?;
    let clicks = events::write(spec, &catalogue, progress)?;
    let margin = margin::measure(spec, &catalogue, &clicks);
    let totals = truth::write(spec, &bill, deliveries, &clicks, margin)?;

    let (files, bytes) = folder::finish(spec)?;
    Ok(Summary {
        totals,
        files,
        bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

//! How a pipeline stands: its nights and its sources, looked up in one go for whoever shows them or counts them.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};

use super::freshness::{Freshness, freshness};
use super::nights::{Nights, nights};
use crate::config::Pipeline;
use crate::engine::{Engine, Options};
use crate::error::Result;
use crate::warehouse::Warehouse;

/// Nights and sources as they stand.
pub struct Stand<'a> {
    /// The tables.
    pub warehouse: Warehouse,
    /// The snapshot that is current.
    pub snapshot: Option<PathBuf>,
    /// A session on it that sees the ledger of runs.
    pub engine: Engine,
    /// The nights of the range.
    pub nights: Nights<'a>,
    /// The sources, as of its last night.
    pub sources: Vec<Freshness<'a>>,
}

impl<'a> Stand<'a> {
    /// From the first night of the range, or the oldest that is published, to its last, as it is at the time `now`.
    ///
    /// # Errors
    /// Those of reading tables and files.
    pub async fn of(
        pipeline: &'a Pipeline,
        (from, to): (Option<NaiveDate>, NaiveDate),
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let warehouse = Warehouse::new(&pipeline.warehouse);
        let snapshot = warehouse.snapshot();
        let options = Options::of(pipeline, to);
        let engine = Engine::open(&options, snapshot.as_deref(), Some(&warehouse.runs()))?;
        let nights = nights(pipeline, &engine, &warehouse, (from, to)).await?;
        let sources = freshness(pipeline, &engine, &nights, to, now).await?;
        Ok(Stand {
            warehouse,
            snapshot,
            engine,
            nights,
            sources,
        })
    }
}

//! The keys of events that earlier nights published.

use std::collections::HashSet;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{NaiveDate, TimeDelta};
use futures::StreamExt;

use super::dedupe;
use super::seen::Seen;
use crate::engine::Engine;
use crate::error::Result;

/// Days around an interval in which a repeated event is looked for.
const DEDUPE_DAYS: i64 = 7;

/// The events published near the days that are being ingested, those days themselves left out.
pub(super) struct Published {
    predicate: String,
}

impl Published {
    pub(super) fn near(days: &[NaiveDate]) -> Self {
        let (Some(first), Some(last)) = (days.iter().min(), days.iter().max()) else {
            return Published {
                predicate: "false".into(),
            };
        };
        let range = TimeDelta::days(DEDUPE_DAYS);
        let listed: Vec<String> = days.iter().map(|d| format!("date '{d}'")).collect();
        Published {
            predicate: format!(
                "ds between date '{}' and date '{}' and ds not in ({})",
                *first - range,
                *last + range,
                listed.join(", ")
            ),
        }
    }

    async fn each(&self, engine: &Engine, mut visit: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let sql = format!("select event_id from events where {}", self.predicate);
        let mut stream = engine.stream(&sql).await?;
        while let Some(batch) = stream.next().await {
            let keys = cast(batch?.column(0), &DataType::Utf8View)?;
            keys.as_string_view()
                .iter()
                .flatten()
                .try_for_each(&mut visit)?;
        }
        Ok(())
    }

    /// Adds the hashes of all keys.
    pub(super) async fn hashes(&self, engine: &Engine, seen: &mut Seen) -> Result<()> {
        self.each(engine, |key| {
            seen.add(std::iter::once(dedupe::hash(key, 0)))
        })
        .await
    }

    /// The keys whose hash is among `marked`.
    pub(super) async fn keys(
        &self,
        engine: &Engine,
        marked: &HashSet<u64>,
    ) -> Result<HashSet<String>> {
        let mut keys = HashSet::new();
        self.each(engine, |key| {
            if marked.contains(&dedupe::hash(key, 0)) {
                keys.insert(key.to_string());
            }
            Ok(())
        })
        .await?;
        Ok(keys)
    }
}

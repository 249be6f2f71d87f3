//! The table `trials`: what a search tried, as it is read back to go on.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use chrono::DateTime;
use toml::Table;

use super::search::{Search, Trial};
use crate::engine::rows::map;
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::evaluate::bootstrap::Estimate;

/// What all trials of a search have in common.
pub(super) struct Of<'a> {
    pub model_id: &'a str,
    pub family: &'a str,
    pub search_id: &'a str,
    pub metric: &'a str,
}

/// The trials of a search, by rung and number.
///
/// # Errors
/// Those of the family.
pub(super) fn batch(of: &Of<'_>, search: &Search, trials: &[Trial]) -> Result<RecordBatch> {
    let mut trials: Vec<&Trial> = trials.iter().collect();
    trials.sort_by_key(|t| (t.rung, t.trial));
    let mut hyperparameters = vec![];
    for trial in &trials {
        hyperparameters.push(search.hyperparameters(trial)?);
    }
    let same = |text: &str| -> ArrayRef {
        Arc::new(
            trials
                .iter()
                .map(|_| Some(text))
                .collect::<StringViewArray>(),
        )
    };
    let text = |texts: Vec<String>| -> ArrayRef {
        Arc::new(texts.iter().map(Some).collect::<StringViewArray>())
    };
    let number = |f: &dyn Fn(&Trial) -> usize| -> ArrayRef {
        let numbers = trials
            .iter()
            .map(|t| i32::try_from(f(t)).unwrap_or(i32::MAX));
        Arc::new(Int32Array::from_iter_values(numbers))
    };
    let figure = |f: fn(Estimate) -> f64| -> ArrayRef {
        Arc::new(
            trials
                .iter()
                .map(|t| t.value.map(f))
                .collect::<Float64Array>(),
        )
    };
    let mut settings = vec![];
    for trial in &trials {
        let json = serde_json::to_string(&trial.settings);
        settings.push(json.map_err(|e| Error::unexpected(format!("settings: {e}")))?);
    }
    let users = trials
        .iter()
        .map(|t| t.value.map(|v| i64::try_from(v.users).unwrap_or(i64::MAX)));
    let seconds = trials.iter().map(|t| t.seconds);
    let started = trials.iter().map(|t| t.started.timestamp_micros());
    let started = TimestampMicrosecondArray::from_iter_values(started).with_timezone("UTC");
    let cpu = trials
        .iter()
        .map(|t| t.cpu_ns.and_then(|n| i64::try_from(n).ok()));
    let state = trials.iter().map(|t| {
        Some(if t.value.is_some() {
            "done"
        } else {
            "diverged"
        })
    });
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("model_id", same(of.model_id), true),
        ("search_id", same(of.search_id), true),
        ("family", same(of.family), true),
        ("rung", number(&|t| t.rung), true),
        ("trial", number(&|t| t.trial), true),
        ("settings", text(settings), true),
        ("hyperparameters", text(hyperparameters), true),
        ("passes", number(&|t| t.passes), true),
        ("metric", same(of.metric), true),
        ("value", figure(|v| v.mean), true),
        ("low", figure(|v| v.low), true),
        ("high", figure(|v| v.high), true),
        (
            "users",
            Arc::new(users.collect::<Int64Array>()) as ArrayRef,
            true,
        ),
        ("started_at", Arc::new(started), true),
        (
            "seconds",
            Arc::new(Float64Array::from_iter_values(seconds)),
            true,
        ),
        ("cpu_ns", Arc::new(cpu.collect::<Int64Array>()), true),
        ("state", Arc::new(state.collect::<StringViewArray>()), true),
    ])?)
}

/// The trials of a search that are published.
///
/// # Errors
/// Those of SQL, and of rows that are damaged.
pub(super) async fn read(
    options: &Options,
    snapshot: &Path,
    search_id: &str,
) -> Result<Vec<Trial>> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let sql = format!("select * from trials where search_id = '{search_id}' order by rung, trial");
    let place = |n: Option<i64>| usize::try_from(n.unwrap_or(0)).unwrap_or(0);
    map(&engine.collect(&sql).await?, |row| {
        let damaged = |what: &str| Error::check(format!("a row of trials has a damaged {what}"));
        let ends = (row.float("low")?, row.float("high")?);
        let value = match (row.float("value")?, ends) {
            (Some(mean), (Some(low), Some(high))) => Some(Estimate {
                mean,
                low,
                high,
                users: place(row.int("users")?),
            }),
            _ => None,
        };
        let settings = serde_json::from_str::<Table>(&row.needed("settings")?);
        Ok(Trial {
            rung: place(row.int("rung")?),
            trial: place(row.int("trial")?),
            passes: place(row.int("passes")?),
            settings: settings.map_err(|_| damaged("settings"))?,
            value,
            started: row
                .int("started_at")?
                .and_then(DateTime::from_timestamp_micros)
                .ok_or_else(|| damaged("started_at"))?,
            seconds: row.float("seconds")?.unwrap_or(0.0),
            cpu_ns: row.int("cpu_ns")?.and_then(|n| u64::try_from(n).ok()),
        })
    })
}

//! What every step of the stage needs: the pipeline, its SQL, the snapshot being built, and the days of the night.

use std::path::Path;

use chrono::NaiveDate;

use super::Routing;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{Table, table};

/// What attribution works on.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its SQL.
    pub library: &'a Library,
    /// Limits and settings of sessions.
    pub options: &'a Options,
    /// The snapshot that is read and written.
    pub snapshot: &'a Path,
    /// First and last day that the night sees.
    pub window: (NaiveDate, NaiveDate),
}

impl Work<'_> {
    /// A session on the snapshot as it is now.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn session(&self) -> Result<Engine> {
        Engine::open(self.options, Some(self.snapshot), None)
    }

    /// The models that rules may name.
    pub fn models(&self) -> Vec<String> {
        models(self.pipeline)
    }
}

/// The rules and cost pools of a pipeline, checked against its models and drivers.
///
/// # Errors
/// `Kind::Config`, naming each wrong rule.
pub fn routing(pipeline: &Pipeline, library: &Library) -> Result<Routing> {
    let routing = pipeline.attribution.routing();
    let drivers: Vec<String> = library
        .folder("attribution/drivers")
        .map(|(name, _)| name.to_string())
        .collect();
    let columns: Vec<String> = table("charges")
        .map(|t| {
            let own = t.columns.iter().map(|c| c.name);
            own.chain(t.partition.column())
                .map(str::to_string)
                .collect()
        })
        .unwrap_or_default();
    let models = models(pipeline);
    let known = super::validate::Known {
        models: &models,
        drivers: &drivers,
        columns: &columns,
    };
    let wrong = super::validate(&routing, known);
    if wrong.is_empty() {
        return Ok(routing);
    }
    let list: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(
        Error::config(format!("{}: {}", pipeline.file.display(), list.join("; "))).help(
            "correct `[[attribution.rules]]` or `[[attribution.pools]]`; models that are not trained here go under `[attribution] known_models`",
        ),
    )
}

/// The models that rules may name.
fn models(pipeline: &Pipeline) -> Vec<String> {
    let mut models: Vec<String> = pipeline.models.iter().map(|m| m.id.clone()).collect();
    models.extend(pipeline.attribution.known_models.iter().cloned());
    models
}

/// The contract of a table that is known to exist.
pub fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

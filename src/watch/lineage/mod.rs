//! OpenLineage events of runs: what was read, what was published, and which columns came from which.
//!
//! A run is a START and one of COMPLETE, FAIL, ABORT, of one job, the pipeline; a stage is so, too, of a job of its own whose
//! parent is the run, as a run of a backfill or of a scheduler is a part of that one ([`parent`]). What a stage made is told when
//! the run has published, by an event OTHER, for before it no reader sees it. Spec: <https://openlineage.io/spec/2-0-2/OpenLineage.json>. An event that cannot be sent is a warning, never a failed run.

pub mod columns;
mod datasets;
mod fields;
pub(crate) mod parent;

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{NaiveDate, SecondsFormat, Utc};
use serde_json::{Value, json};

pub use datasets::{of_stage, outputs};
use parent::{Named, Parent};

use super::post::post;
use crate::config::Pipeline;
use crate::config::lineage::Lineage as Config;
use crate::error::{Error, Kind, Result};
use crate::pipeline::Stage;
use crate::pipeline::freshness::end_of;
use crate::pipeline::runs::Job;
use crate::privacy::secrets::hidden;

/// Who made an event or a facet: a URI, with the version.
const PRODUCER: &str = concat!("urn:recost:", env!("CARGO_PKG_VERSION"));

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It began.
    Start,
    /// It published.
    Complete,
    /// It ended with an error.
    Fail,
    /// A signal or its deadline ended it.
    Abort,
    /// Something more is known of it.
    Other,
}

impl State {
    /// How a run that ended with `error` ended.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Interrupted | Kind::Deadline => State::Abort,
            _ => State::Fail,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            State::Start => "START",
            State::Complete => "COMPLETE",
            State::Fail => "FAIL",
            State::Abort => "ABORT",
            State::Other => "OTHER",
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it does.
    pub job: Job,
    /// Its id.
    pub id: String,
    /// The night; of a close, the last day of its billing period.
    pub date: NaiveDate,
}

/// Nights that are run one after the other: a run of its own, of which those of the nights are parts. The ledger has none.
#[derive(Debug, Clone)]
pub struct Backfill {
    id: String,
    nights: (NaiveDate, NaiveDate),
}

impl Backfill {
    /// One of the nights from the first to the last that begins now.
    pub fn begin(nights: (NaiveDate, NaiveDate)) -> Self {
        let (now, process) = (Utc::now(), std::process::id());
        let id = format!("backfill/{}-{process}", now.format("%Y%m%dT%H%M%S%3fZ"));
        Backfill { id, nights }
    }
}

/// What is told of a run or of a stage of it.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// The stage; `None` for the whole run.
    pub stage: Option<&'a str>,
    /// How it is.
    pub state: State,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// Datasets that were read. A run of a night has read the sources, which need not be named here.
    pub inputs: Value,
    /// Datasets that were published.
    pub outputs: Value,
}

impl<'a> Told<'a> {
    /// That the run, or a stage of it, is in a state, without datasets.
    pub fn of(stage: Option<&'a str>, state: State) -> Self {
        let (inputs, outputs) = (json!([]), json!([]));
        Told {
            stage,
            state,
            error: None,
            inputs,
            outputs,
        }
    }
}

/// Tells of the runs of a pipeline.
#[derive(Debug, Clone)]
pub struct Lineage {
    config: Config,
    pipeline: String,
    sources: Value,
    /// The backfill that the runs are parts of.
    backfill: Option<Backfill>,
    /// Whether the last event that was to be posted was taken. Stages are not told of to an endpoint that takes nothing.
    taken: Arc<AtomicBool>,
}

/// What an event is of.
struct Subject {
    run: Named,
    parent: Option<Parent>,
    kind: &'static str,
    nights: (NaiveDate, NaiveDate),
}

impl Lineage {
    /// Of the runs of `pipeline`, where its file asks for it; of those of a backfill, if they are.
    pub fn of(pipeline: &Pipeline, backfill: Option<&Backfill>) -> Option<Self> {
        let config = &pipeline.lineage;
        (config.file.is_some() || config.url.is_some()).then(|| Lineage {
            pipeline: pipeline.name.clone(),
            sources: datasets::inputs(pipeline),
            config: config.clone(),
            backfill: backfill.cloned(),
            taken: Arc::new(AtomicBool::new(true)),
        })
    }

    /// A run by its id, of a job: the pipeline, what else than a night is done with it, and a stage.
    fn named(&self, id: &str, what: Option<&str>, stage: Option<&str>) -> Named {
        let parts = [Some(self.pipeline.as_str()), what, stage];
        let job: Vec<&str> = parts.into_iter().flatten().collect();
        let namespace = self.config.namespace.as_deref().unwrap_or("recost");
        let id = stage.map_or_else(|| id.to_string(), |stage| format!("{id}/{stage}"));
        Named {
            namespace: namespace.to_string(),
            job: job.join("."),
            run: uuid(&id),
        }
    }

    /// Tells of a run.
    ///
    /// # Errors
    /// Those of writing the file and of sending.
    pub fn tell(&self, run: &Run, told: &Told<'_>) -> Result<()> {
        if told.stage == Some(run.job.as_str()) {
            // It is the whole run.
            return Ok(());
        }
        let outer = Parent::from_env();
        let above = match &self.backfill {
            Some(all) => Some(Parent::to_parts(self.of_backfill(all), outer.as_ref())),
            None => outer,
        };
        let what = (run.job != Job::Night).then_some(run.job.as_str());
        let whole = self.named(&run.id, what, None);
        let nights = (run.date, run.date);
        let (subject, reads_sources) = match told.stage {
            Some(stage) => {
                let subject = Subject {
                    run: self.named(&run.id, what, Some(stage)),
                    parent: Some(Parent::to_parts(whole, above.as_ref())),
                    kind: "TASK",
                    nights,
                };
                (subject, stage == Stage::Ingest.name())
            }
            None => {
                let subject = Subject {
                    run: whole,
                    parent: above,
                    kind: "PIPELINE",
                    nights,
                };
                (subject, run.job == Job::Night)
            }
        };
        let inputs = match reads_sources {
            true => &self.sources,
            false => &told.inputs,
        };
        self.send(&subject, told, inputs)
    }

    /// Tells of the backfill.
    ///
    /// # Errors
    /// Those of writing the file and of sending.
    pub fn tell_backfill(&self, told: &Told<'_>) -> Result<()> {
        let Some(backfill) = &self.backfill else {
            return Ok(());
        };
        let subject = Subject {
            run: self.of_backfill(backfill),
            parent: Parent::from_env(),
            kind: "PIPELINE",
            nights: backfill.nights,
        };
        self.send(&subject, told, &told.inputs)
    }

    fn of_backfill(&self, backfill: &Backfill) -> Named {
        self.named(&backfill.id, Some("backfill"), None)
    }

    fn send(&self, of: &Subject, told: &Told<'_>, inputs: &Value) -> Result<()> {
        let time = |at: chrono::DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut facets = json!({
            "nominalTime": facet("1-0-1/NominalTimeRunFacet", json!({
                "nominalStartTime": time(end_of(of.nights.0) - chrono::TimeDelta::days(1)),
                "nominalEndTime": time(end_of(of.nights.1)),
            })),
            "processing_engine": facet("1-1-1/ProcessingEngineRunFacet", json!({
                "name": "recost", "version": env!("CARGO_PKG_VERSION"),
            })),
        });
        if let Some(error) = told.error {
            facets["errorMessage"] = facet(
                "1-0-1/ErrorMessageRunFacet",
                json!({
                    "message": hidden(error), "programmingLanguage": "Rust",
                }),
            );
        }
        if let Some(parent) = &of.parent {
            facets["parent"] = parent.facet();
        }
        let job_type = facet(
            "2-0-3/JobTypeJobFacet",
            json!({"processingType": "BATCH", "integration": "RECOST", "jobType": of.kind}),
        );
        let event = json!({
            "eventType": told.state.as_str(),
            "eventTime": time(Utc::now()),
            "producer": PRODUCER,
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": of.run.run, "facets": facets},
            "job": {
                "namespace": of.run.namespace, "name": of.run.job, "facets": {"jobType": job_type},
            },
            "inputs": inputs,
            "outputs": told.outputs,
        });
        let line = hidden(&event.to_string()).into_owned();
        if let Some(file) = &self.config.file {
            let mut options = OpenOptions::new();
            let open = options.create(true).append(true).open(file);
            // One write, so that lines of several processes do not mix.
            open.and_then(|mut open| open.write_all(format!("{line}\n").as_bytes()))
                .map_err(|e| Error::io("cannot write", file, &e))?;
        }
        let Some((url, token)) = self.config.endpoint()? else {
            return Ok(());
        };
        if told.stage.is_some() && !self.taken.load(Ordering::Relaxed) {
            return Ok(());
        }
        let token = token.map(|token| ("authorization".into(), format!("Bearer {token}")));
        let posted = post(url, token.into_iter().collect(), line);
        self.taken.store(posted.is_ok(), Ordering::Relaxed);
        posted
    }
}

/// A facet: what it says, who made it, and its schema, by version and name.
fn facet(schema: &str, mut says: Value) -> Value {
    let name = schema.rsplit('/').next().unwrap_or_default();
    let url = format!("https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}");
    says["_producer"] = PRODUCER.into();
    says["_schemaURL"] = url.into();
    says
}

/// The run as a UUID, the same whenever it is asked for: version 8 of RFC 9562, of a hash.
fn uuid(run_id: &str) -> String {
    let mut bits = xxhash_rust::xxh3::xxh3_128(run_id.as_bytes());
    bits = bits & !(0xf << 76) | (8 << 76);
    bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_same_uuid_each_time_and_another_run_another() {
        let id = uuid("20261101T031502123Z-4711");
        assert_eq!(id, uuid("20261101T031502123Z-4711"));
        assert_ne!(id, uuid("20261101T031502123Z-4712"));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "8");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}

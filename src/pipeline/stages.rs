//! The stages of a night: each a function over what all of them share, that says what it did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Stage;
use super::check::check;
use super::devices::Devices;
use super::meter::Moment;
use super::own_use::{Account, Spent};
use super::run::Night;
use crate::attribution;
use crate::compute::Device;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::features;
use crate::ingest::{self, Read, Survey};
use crate::model;
use crate::recommend;
use crate::watch::event::Warned;
use crate::watch::{Event, Observer};

/// What the stages of a night share.
pub(super) struct Context<'a> {
    /// The night.
    pub night: &'a Night<'a>,
    /// Limits and settings of sessions.
    pub options: Options,
    /// First and last day that the night sees.
    pub window: (NaiveDate, NaiveDate),
    /// Id of the run.
    pub run_id: String,
    /// The snapshot that is read and written.
    pub dir: PathBuf,
    /// Where to compute.
    pub devices: Devices<'a>,
    /// What of the sources is new; looked up where it is not there.
    pub survey: Option<Survey<'a>>,
    /// Hash of what was found of the sources.
    pub exports: String,
    /// What stages so far left to those after them.
    pub carried: Carried,
    /// Who is told.
    pub observer: &'a mut Observer<'a>,
}

/// What a stage leaves to later ones beside its tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    /// Billing periods whose charges are new or changed.
    pub charged: BTreeSet<String>,
    /// Whether a catalogue is another than the one that margins of past days rest on.
    #[serde(default)]
    pub corrected: bool,
    /// Billing periods that were attributed.
    pub attributed: Vec<String>,
    /// Whether the device failed and the CPU goes on.
    pub on_cpu: bool,
}

/// What a stage did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// Rows that it wrote; of train and evaluate, models.
    pub rows: u64,
    /// What it read of exports, if that is its work.
    pub read: Option<Read>,
    /// For the ledger, in a few words.
    pub message: String,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

impl Done {
    fn new(rows: u64, message: String) -> Self {
        Done {
            rows,
            read: None,
            message,
            warnings: vec![],
        }
    }
}

/// Runs a stage.
///
/// # Errors
/// Those of the stage.
pub(super) async fn run(stage: Stage, night: &mut Context<'_>) -> Result<Done> {
    match stage {
        Stage::Ingest => ingest(night).await,
        Stage::Features => features(night).await,
        Stage::Train => train(night).await,
        Stage::Score => score(night).await,
        Stage::Evaluate => evaluate(night).await,
        Stage::Attribute => attribute(night).await,
        Stage::Check => checks(night).await,
    }
}

async fn ingest(cx: &mut Context<'_>) -> Result<Done> {
    let (pipeline, library, date) = (cx.night.pipeline, &cx.night.library, cx.night.date);
    let engine = Engine::open(&cx.options, Some(&cx.dir), None)?;
    let survey = match cx.survey.take() {
        Some(survey) => survey,
        None => ingest::survey(&engine, pipeline, library, date).await?,
    };
    cx.exports = survey.digest();
    let threads = pipeline.threads();
    let mut read = ingest::run(&engine, &cx.dir, survey, date, threads).await?;
    if !read.charged_periods.is_empty() && !cx.night.selection.has(Stage::Attribute) {
        return Err(Error::config(
            "bills are new or changed, and the selection leaves out the stage that attributes them",
        )
        .help("select `ingest+`, which runs all stages from there on"));
    }
    if read.billed {
        let said = ingest::conformance(library, &cx.options, &cx.dir).await?;
        read.warnings.extend(said);
    }
    let message = read.describe();
    cx.carried.charged.extend(read.charged_periods);
    cx.carried.corrected |= read.corrected;
    Ok(Done {
        read: Some(read.read),
        warnings: read.warnings,
        ..Done::new(read.rows_out, message)
    })
}

async fn features(cx: &mut Context<'_>) -> Result<Done> {
    let written = features::stage::run(&cx.night.library, &cx.options, &cx.dir, cx.window).await?;
    let tables: Vec<String> = written.iter().map(|(t, n)| format!("{n} {t}")).collect();
    let rows = written.iter().map(|(_, rows)| rows).sum();
    Ok(Done::new(rows, tables.join(", ")))
}

async fn train(cx: &mut Context<'_>) -> Result<Done> {
    let since = Moment::now();
    let trained = cx.compute(model::stage::run).await?;
    let work: Vec<Work> = trained
        .iter()
        .map(|t| (t.model_id.as_str(), t.seconds))
        .collect();
    cx.record_use("training", &work, since)?;
    let models = trained.iter().map(|t| match t.folded_into {
        None => format!("{} {:.2} s", t.model_id, t.seconds),
        Some(night) => format!("{} {:.2} s, folded into {night}", t.model_id, t.seconds),
    });
    let message = models.collect::<Vec<_>>().join(", ");
    Ok(Done::new(trained.len() as u64, message))
}

async fn score(cx: &mut Context<'_>) -> Result<Done> {
    let since = Moment::now();
    let scored = cx.compute(recommend::stage::run).await?;
    let work: Vec<Work> = scored
        .iter()
        .map(|s| (s.model_id.as_str(), s.seconds))
        .collect();
    cx.record_use("deployment", &work, since)?;
    let models: Vec<String> = work.iter().map(|(m, s)| format!("{m} {s:.2} s")).collect();
    Ok(Done::new(
        scored.iter().map(|s| s.rows).sum(),
        models.join(", "),
    ))
}

async fn evaluate(cx: &mut Context<'_>) -> Result<Done> {
    let verdict = cx.compute(evaluate::stage::run).await?;
    let k = verdict.k;
    let below = verdict.below().map(|(model, recall)| {
        format!(
            "model `{model}` does not beat popularity: recall@{k} {recall:.4} against {:.4}",
            verdict.baseline
        )
    });
    let message = if verdict.users == 0 {
        "no user to judge by".into()
    } else {
        let models = verdict.models.iter().map(|(m, r)| format!("{m} {r:.4}"));
        let models = models.collect::<Vec<_>>().join(", ");
        let (baseline, users) = (verdict.baseline, verdict.users);
        format!("recall@{k}: {models}, popularity {baseline:.4}, {users} users")
    };
    Ok(Done {
        warnings: below.collect(),
        ..Done::new(verdict.models.len() as u64, message)
    })
}

async fn attribute(cx: &mut Context<'_>) -> Result<Done> {
    let work = attribution::stage::Work {
        pipeline: cx.night.pipeline,
        library: &cx.night.library,
        options: &cx.options,
        snapshot: &cx.dir,
        window: cx.window,
    };
    let done = attribution::stage::run(work, &cx.carried.charged, cx.carried.corrected).await?;
    let message = format!(
        "{} charges, {} allocations, {} recommendations served; periods {}",
        done.charges,
        done.allocations,
        done.recommendations,
        done.periods.join(", ")
    );
    cx.carried.attributed = done.periods;
    Ok(Done {
        warnings: done.warnings,
        ..Done::new(done.allocations + done.recommendations, message)
    })
}

async fn checks(cx: &mut Context<'_>) -> Result<Done> {
    let periods = &cx.carried.attributed;
    let held = check(&cx.night.library, &cx.options, &cx.dir, cx.window, periods).await?;
    Ok(Done::new(0, format!("{held} checks hold")))
}

/// A model, and the seconds that were spent on it.
type Work<'w> = (&'w str, f64);

impl Context<'_> {
    /// Tells who looks on.
    pub fn say(&mut self, event: &dyn Event) {
        (self.observer)(event);
    }

    /// Tells of what the user should look at.
    pub fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.say(&Warned(warning));
        }
    }

    /// Goes on with what an earlier run's stages left.
    pub fn carry(&mut self, carried: Carried) {
        if carried.on_cpu {
            self.devices.fall_back();
        }
        self.carried = carried;
    }

    /// Runs what computes on the device of now.
    async fn compute<T>(
        &mut self,
        stage: impl AsyncFn(
            &Pipeline,
            &Library,
            &Options,
            &Path,
            (NaiveDate, NaiveDate),
            &dyn Device,
        ) -> Result<T>,
    ) -> Result<T> {
        let Context {
            night,
            options,
            window,
            dir,
            devices,
            carried,
            observer,
            ..
        } = self;
        let (pipeline, library) = (night.pipeline, &night.library);
        let on = async |device: &dyn Device| {
            stage(pipeline, library, options, dir, *window, device).await
        };
        let done = devices.compute(*observer, on).await;
        carried.on_cpu = devices.fell_back();
        done
    }

    /// Writes the run's own computing into `usage`, under the resource that the pipeline file names. CPU time since the stage
    /// began goes to its models by their seconds.
    fn record_use(&self, stage: &str, work: &[Work<'_>], since: Moment) -> Result<()> {
        let total: f64 = work.iter().map(|w| w.1).sum();
        if total <= 0.0 {
            return Ok(());
        }
        let used = since.cpu_ns_since().unwrap_or(0);
        let (started, ended) = (since.at, Utc::now());
        let spent = |&(model_id, seconds)| Spent {
            model_id,
            started,
            ended,
            seconds,
            cpu_ns: (used as f64 * seconds / total) as i64,
        };
        let account = Account {
            resource_id: &self.night.pipeline.run.resource_id,
            version: &self.night.date.to_string(),
            stage,
            run_id: &self.run_id,
        };
        let spent: Vec<Spent<'_>> = work.iter().map(spent).collect();
        account.record(&self.dir, self.devices.now(), &spent)
    }
}

//! The pipeline file: types, defaults, validation.
//!
//! [`Pipeline::load`] reads one TOML file. Unknown keys are refused with the nearest known one named; relative paths
//! are taken from the file's own folder; `${NAME}` in a path is read from the environment.

pub mod lineage;
mod parse;
pub mod privacy;
pub mod source;
pub mod store;
pub mod trace;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::evaluate::protocol::Protocol;
use crate::model::Family;
pub use crate::model::compress::Compression;
pub use privacy::{Privacy, Retention};
pub use source::{Kind as SourceKind, Source};
pub use store::{Keep, Store};

/// A pipeline file as its user wrote it, checked, with paths made absolute.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The shop's name, shown in reports.
    pub name: String,
    /// Folder that holds the published tables.
    #[serde(default = "defaults::warehouse")]
    pub warehouse: PathBuf,
    /// The object store that the published tables are mirrored to.
    pub store: Option<Store>,
    /// Folder with SQL files of the project's own; a file of a built-in one's path replaces it.
    #[serde(default = "defaults::sql")]
    pub sql: PathBuf,
    /// Memory, threads, spilling.
    #[serde(default)]
    pub engine: Engine,
    /// What a nightly run covers and where it computes.
    #[serde(default)]
    pub run: Run,
    /// Where the exports lie.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Sources that were once in this file and are gone: what they brought is removed from the tables.
    #[serde(default)]
    pub retired_sources: Vec<String>,
    /// Weights and windows of the features.
    #[serde(default)]
    pub features: Features,
    /// The models to train, in order.
    #[serde(default)]
    pub models: Vec<Model>,
    /// What to recommend.
    #[serde(default)]
    pub recommend: Recommend,
    /// How models are judged.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// Routing rules and policies of cost attribution.
    #[serde(default)]
    pub attribution: Attribution,
    /// Where the report goes after a run.
    #[serde(default)]
    pub report: Report,
    /// Where OpenLineage events go.
    #[serde(default)]
    pub lineage: lineage::Lineage,
    /// Where traces go.
    #[serde(default)]
    pub trace: trace::Trace,
    /// How little is known of people.
    #[serde(default)]
    pub privacy: Privacy,
    /// Days that tables keep.
    #[serde(default)]
    pub retention: Retention,
    /// The file this was read from.
    #[serde(skip)]
    pub file: PathBuf,
}

/// `[engine]`: the limits of the SQL engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// What the process may take, such as `"4GiB"`, beside its program's own pages.
    pub memory: Bytes,
    /// Threads; by default all cores.
    pub threads: Option<usize>,
    /// Folder for spill files; by default the system's temporary folder.
    pub spill: Option<PathBuf>,
    /// What spill files may take together.
    pub spill_limit: Bytes,
}

/// The most that `[run] lateness_days` may be; days of lateness up to this are told apart.
pub const LATEST: u32 = 31;

/// `[run]`: what a nightly run covers and where it computes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Days of history that models see; days of the window that the warehouse lacks are ingested too.
    pub history_days: u32,
    /// Days after a night whose exports may still bring it events: such a night is stale, and is made from them when it is run
    /// again.
    pub lateness_days: u32,
    /// `auto`, `cpu`, `gpu`, or part of an adapter's name.
    pub device: String,
    /// What becomes of a night whose device fails.
    pub on_device_failure: OnDeviceFailure,
    /// The resource under which the run's own computing is recorded in `usage`, as the bill names it.
    pub resource_id: String,
    /// How long after the end of its day a night, and each of its exports, is expected.
    pub late_after: TimeSpan,
    /// Published snapshots that are kept beside the current one, for readers that still hold them.
    pub keep_snapshots: usize,
    /// How long a snapshot stays at least once it is no longer the current one.
    pub keep_for: Option<TimeSpan>,
    /// How often stages begin again in one run after trouble that passes.
    pub retries: u32,
    /// How long a run may take; by default as long as it takes.
    pub deadline: Option<TimeSpan>,
    /// File of metrics for the textfile collector of Prometheus' node exporter; by default none.
    pub metrics: Option<PathBuf>,
}

/// What becomes of a night whose GPU is lost, out of memory or refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDeviceFailure {
    /// It ends with the error, and nothing is published.
    Stop,
    /// The stage begins again on the CPU, and the stages after it run there.
    Cpu,
}

/// `[features]`: weights and windows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Days after which an event weighs half.
    pub half_life_days: f64,
    /// Minutes without an event that end a session, where the export names no session.
    pub session_gap_minutes: f64,
    /// Weight of each event type in `interactions`.
    pub weights: EventWeights,
}

/// `[features.weights]`: what each event type says about taste.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventWeights {
    /// A product page seen.
    pub view: f64,
    /// A click on a recommendation or a search result.
    pub click: f64,
    /// An item put in the cart.
    pub cart: f64,
    /// An item bought.
    pub purchase: f64,
}

/// `[[models]]`: one model to train each night, or to make from another.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "parse::DeclaredModel")]
pub struct Model {
    /// The model's id, as serving logs and tags name it.
    pub id: String,
    /// How it learns; see `docs/models.md`. That of a compressed model is what it was made from, or its student's.
    pub family: Family,
    /// Hyperparameters of the family; see `docs/configuration.md`.
    pub params: toml::Table,
    /// Whether training starts from the newest earlier version and takes a third of its passes.
    pub warm_start: bool,
    /// Days from one training to the next, 1 to 365; on the nights between, what is new is folded in.
    pub train_every: u32,
    /// Whether users and items without interactions get a vector from what the exports say of them.
    pub content: bool,
    /// Whether items that few have taken up are fused with what content says of them.
    pub fusion: bool,
    /// How `recost tune` searches for better hyperparameters.
    pub search: Option<crate::tune::settings::Settings>,
    /// What it is made from, where it is not trained itself.
    pub compressed: Option<Compressed>,
}

impl Model {
    /// Whether its file leaves out users and items that have no vector.
    pub fn is_sparse(&self) -> bool {
        let compressed = self.compressed.as_ref();
        compressed.is_some_and(|c| c.compression.min_interactions.is_some())
    }
}

/// How a model is made from another.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// Id of the other model, which is trained itself.
    pub from: String,
    /// What is left out of it.
    pub compression: Compression,
}

/// `[recommend]`: what goes into each user's list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recommend {
    /// Length of each list.
    pub k: usize,
    /// Which items a user is not shown again.
    pub exclude: Exclude,
    /// Leave out items that the newest catalogue lacks.
    pub available_only: bool,
    /// Leave out items that score less.
    pub min_score: Option<f32>,
    /// Items of the user's history that each recommendation names as its reasons, at most; 0 for none.
    pub reasons: usize,
}

/// Which of a user's past items are left out of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exclude {
    /// Nothing is left out.
    None,
    /// Items the user bought.
    Bought,
    /// Items the user viewed, clicked, put in the cart or bought.
    Seen,
}

/// `[evaluation]`: how a test is held out, and its metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// Whether models are evaluated each night (a second training without the test).
    pub enabled: bool,
    /// How the test is held out.
    pub protocol: Protocol,
    /// Of `temporal`: days at the end of the history that are the test.
    pub holdout_days: u32,
    /// Of `cross_validation`: parts, 5 where it is not said; each costs a training.
    pub folds: Option<u32>,
    /// Cut-offs of the metrics.
    pub k: Vec<usize>,
    /// Whether a model that does not beat popularity is published all the same.
    pub publish_below_baseline: bool,
}

/// `[attribution]`: routing rules and policies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attribution {
    /// Ordered rules, the first match wins.
    pub rules: Vec<crate::attribution::Rule>,
    /// Which resources and sub-accounts belong to which model, tried after tags and telemetry.
    pub resources: Vec<crate::attribution::Deployed>,
    /// Cost pools, which rules and other pools fill.
    pub pools: Vec<crate::attribution::Rule>,
    /// Whether the built-in rules follow the ones written here.
    pub default_rules: bool,
    /// Model ids beyond `[[models]]` that rules may name.
    pub known_models: Vec<String>,
    /// ISO 4217 code of the currency into which `converted_costs` converts; by default nothing is converted.
    pub reporting_currency: Option<String>,
    /// Days for which the last exchange rate before a day without one still holds.
    pub oldest_rate_days: u32,
    /// How long a showing may be credited with what the user did to the item, where the event names no request.
    pub last_touch: TimeSpan,
    /// Over what the cost to make a version is recognised.
    pub service_life: crate::attribution::ServiceLife,
}

/// `[report]`: the report written after a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Folder for the report.
    pub out: PathBuf,
    /// Whether `recost run` writes it.
    pub after_run: bool,
}

/// A length of time, written as `"600s"`, `"90m"`, `"24h"` or `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub chrono::TimeDelta);

/// A number of bytes, written as `"512MiB"` or `"4GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

mod defaults {
    use super::PathBuf;

    pub fn warehouse() -> PathBuf {
        "warehouse".into()
    }
    pub fn sql() -> PathBuf {
        "sql".into()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            memory: Bytes(2 << 30),
            threads: None,
            spill: None,
            spill_limit: Bytes(100 << 30),
        }
    }
}

impl Default for Run {
    fn default() -> Self {
        Run {
            history_days: 30,
            lateness_days: 0,
            device: "auto".into(),
            on_device_failure: OnDeviceFailure::Stop,
            resource_id: "recost-nightly".into(),
            late_after: TimeSpan(chrono::TimeDelta::zero()),
            keep_snapshots: 2,
            keep_for: None,
            retries: 3,
            deadline: None,
            metrics: None,
        }
    }
}

impl Default for Features {
    fn default() -> Self {
        Features {
            half_life_days: 30.0,
            session_gap_minutes: 30.0,
            weights: EventWeights::default(),
        }
    }
}

impl Default for EventWeights {
    fn default() -> Self {
        EventWeights {
            view: 1.0,
            click: 2.0,
            cart: 4.0,
            purchase: 8.0,
        }
    }
}

impl Default for Recommend {
    fn default() -> Self {
        Recommend {
            k: 50,
            exclude: Exclude::Bought,
            available_only: true,
            min_score: None,
            reasons: 3,
        }
    }
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation {
            enabled: true,
            protocol: Protocol::Temporal,
            holdout_days: 1,
            folds: None,
            k: vec![10, 20, 50],
            publish_below_baseline: true,
        }
    }
}

impl Evaluation {
    /// Parts of cross-validation.
    pub fn folds(&self) -> u32 {
        self.folds.unwrap_or(5)
    }
}

impl Default for Attribution {
    fn default() -> Self {
        Attribution {
            rules: vec![],
            resources: vec![],
            pools: vec![],
            default_rules: true,
            known_models: vec![],
            reporting_currency: None,
            oldest_rate_days: 7,
            last_touch: TimeSpan(chrono::TimeDelta::hours(24)),
            service_life: crate::attribution::ServiceLife::default(),
        }
    }
}

impl Attribution {
    /// The rules and pools in the form that attribution takes.
    pub fn routing(&self) -> crate::attribution::Routing {
        crate::attribution::RoutingConfig {
            rules: self.rules.clone(),
            resources: self.resources.clone(),
            pools: self.pools.clone(),
            default_rules: self.default_rules,
        }
        .routing()
    }
}

impl Default for Report {
    fn default() -> Self {
        Report {
            out: "report".into(),
            after_run: true,
        }
    }
}

impl Pipeline {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// `Kind::Config`, naming the key, the line and the remedy.
    pub fn load(file: &Path) -> Result<Pipeline> {
        let text = std::fs::read_to_string(file).map_err(|e| {
            Error::config(format!(
                "cannot read the pipeline file {}: {e}",
                file.display()
            ))
            .help("give the path of a pipeline file, or make one with `recost init`")
        })?;
        Self::parse(&text, file)
    }

    /// Parses and checks the text of a pipeline file that lies (or would lie) at `file`.
    ///
    /// # Errors
    /// As [`Pipeline::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Pipeline> {
        let mut pipeline: Pipeline = parse::from_toml(text, file)?;
        let home = std::path::absolute(file)
            .ok()
            .and_then(|f| f.parent().map(Path::to_path_buf))
            .unwrap_or_default();
        pipeline.file = file.to_path_buf();
        for path in [
            &mut pipeline.warehouse,
            &mut pipeline.sql,
            &mut pipeline.report.out,
        ] {
            *path = home.join(parse::expand_env(&path.to_string_lossy())?);
        }
        let optional = [
            &mut pipeline.engine.spill,
            &mut pipeline.run.metrics,
            &mut pipeline.lineage.file,
        ];
        for path in optional.into_iter().flatten() {
            *path = home.join(parse::expand_env(&path.to_string_lossy())?);
        }
        for source in &mut pipeline.sources {
            source.resolve(&home)?;
        }
        pipeline.privacy.resolve()?;
        pipeline.validate()?;
        pipeline.check_retention()?;
        pipeline.resolve_models()?;
        Ok(pipeline)
    }

    /// Numbers of `[features]`, the days of history and of lateness, and the smallest group, that SQL files read with `setting('name')`.
    pub fn settings(&self) -> BTreeMap<String, f64> {
        let f = &self.features;
        [
            ("half_life_days", f.half_life_days),
            ("history_days", f64::from(self.run.history_days)),
            ("lateness_days", f64::from(self.run.lateness_days)),
            ("min_group", f64::from(self.privacy.min_group)),
            ("session_gap_minutes", f.session_gap_minutes),
            ("weight_view", f.weights.view),
            ("weight_click", f.weights.click),
            ("weight_cart", f.weights.cart),
            ("weight_purchase", f.weights.purchase),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into()
    }

    /// Sources of one kind, in the order of the file.
    pub fn sources_of(&self, kind: SourceKind) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(move |s| s.kind == kind)
    }

    /// Threads to use: as configured, else the machine's cores.
    pub fn threads(&self) -> usize {
        self.engine.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        })
    }
}

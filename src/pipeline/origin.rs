//! What the tables of a night are made from, as hashes: by them a run knows what was done before and need not be done
//! again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::sync::OnceLock;

use super::Stage;
use super::run::Night;
use crate::compute::DeviceInfo;
use crate::config::{Attribution, Evaluation, Features, Pipeline, Recommend};
use crate::disk::hashed;
use crate::engine::Library;
use crate::error::{Error, Result};

/// What a stage works with beside the tables of the stages before it: a hash of each, by what it is called in messages.
pub(super) type Ingredients = BTreeMap<String, String>;

/// What a night is made from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    stages: Vec<(Stage, Ingredients)>,
    fingerprint: String,
}

impl Origin {
    /// Of the stages that `night` selects, where `device` computes.
    ///
    /// # Errors
    /// When the program's own file cannot be read.
    pub fn of(night: &Night<'_>, device: &DeviceInfo) -> Result<Self> {
        let (pipeline, library) = (night.pipeline, &night.library);
        let mut stages = vec![];
        for stage in night.selection.stages(pipeline) {
            let settings = settings(stage, pipeline);
            let mut made_from = vec![
                ("the program", program()?),
                ("the night", night.date.to_string()),
                ("the pipeline file", hash(&settings)),
                ("the SQL", hash(&sql(stage, library))),
            ];
            if matches!(stage, Stage::Train | Stage::Score | Stage::Evaluate) {
                // Sums of floats may come out otherwise when they are divided otherwise.
                made_from.push(("the device", hash(&(device, pipeline.threads()))));
            }
            let made_from = made_from.into_iter().map(|(k, v)| (k.to_string(), v));
            stages.push((stage, made_from.collect()));
        }
        // Reports are no tables; after a change of their SQL a run is expected to write them anew.
        let every = library.files().collect::<Vec<_>>();
        let fingerprint = hash(&(&stages, every));
        Ok(Origin {
            stages,
            fingerprint,
        })
    }

    /// The stages, in order, with what each is made from.
    pub fn stages(&self) -> &[(Stage, Ingredients)] {
        &self.stages
    }

    /// Adds what was found of the exports, by its hash.
    pub fn exports(&mut self, hash: &str) {
        let ingest = self.stages.iter_mut().find(|(s, _)| *s == Stage::Ingest);
        if let Some((_, made_from)) = ingest {
            made_from.extend(Self::of_exports(hash));
        }
    }

    /// The exports as an ingredient.
    pub fn of_exports(hash: &str) -> Option<(String, String)> {
        Some(("what is new of the exports".into(), hash.into()))
    }

    /// A hash of everything but the exports.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The pipeline as far as a stage reads it, or one before it does. A key that is not known here to come into play only
/// later counts from the first stage on.
fn settings(stage: Stage, pipeline: &Pipeline) -> Pipeline {
    let mut read = pipeline.clone();
    // How it is done, not what is done.
    let run = crate::config::Run::default();
    read.engine = crate::config::Engine::default();
    read.report = crate::config::Report::default();
    // Where tables go as well; credentials may be others every hour.
    read.store = None;
    read.run.device = run.device;
    read.run.keep_snapshots = run.keep_snapshots;
    read.run.keep_for = run.keep_for;
    read.run.late_after = run.late_after;
    read.run.retries = run.retries;
    read.run.deadline = run.deadline;
    read.run.metrics = run.metrics;
    read.lineage = crate::config::lineage::Lineage::default();
    read.trace = crate::config::trace::Trace::default();
    read.file = std::path::PathBuf::new();
    if stage < Stage::Features {
        read.run.lateness_days = run.lateness_days;
        read.features = Features::default();
    }
    if stage < Stage::Train {
        read.models.clear();
    }
    if stage < Stage::Score {
        read.recommend = Recommend::default();
    }
    if stage < Stage::Evaluate {
        read.evaluation = Evaluation::default();
    }
    if stage < Stage::Attribute {
        read.attribution = Attribution::default();
    }
    read
}

/// The first stage that reads the SQL of a folder below `sql/`; `None` for what only reports and commands read.
fn first_reader(folder: &str) -> Option<Stage> {
    match folder {
        "features" => Some(Stage::Features),
        "content" => Some(Stage::Train),
        "evaluation" => Some(Stage::Evaluate),
        "attribution" => Some(Stage::Attribute),
        "checks" => Some(Stage::Check),
        "compare" | "explain" | "exports" | "reports" | "tune" => None,
        _ => Some(Stage::Ingest),
    }
}

/// The SQL that a stage reads first.
fn sql(stage: Stage, library: &Library) -> Vec<(&str, &str)> {
    let read = |path: &str| path.split('/').next().and_then(first_reader) == Some(stage);
    library.files().filter(|(path, _)| read(path)).collect()
}

/// Hash of the program that runs: of its file, since between two releases the version stays the same.
///
/// # Errors
/// When the file cannot be read.
fn program() -> Result<String> {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    if let Some(known) = PROGRAM.get() {
        return Ok(known.clone());
    }
    let path = std::env::current_exe()
        .map_err(|e| Error::unexpected(format!("cannot tell where this program lies: {e}")))?;
    // Linux still has the file of a program that was replaced since it began.
    let running = std::path::Path::new("/proc/self/exe");
    let open = File::open(running).or_else(|_| File::open(&path));
    let found = open
        .and_then(hashed)
        .map_err(|e| Error::io("cannot read the program", &path, &e))?;
    let found = format!("{:032x}", found.digest128());
    Ok(PROGRAM.get_or_init(|| found).clone())
}

/// Hash of a value by its derived `Debug`, in which no field can be forgotten.
fn hash(value: &impl Debug) -> String {
    format!(
        "{:032x}",
        xxhash_rust::xxh3::xxh3_128(format!("{value:?}").as_bytes())
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compute::{CpuDevice, Device};
    use crate::config::TimeSpan;
    use crate::pipeline::Selection;
    use crate::pipeline::run::Start;

    type Change = fn(&mut Pipeline);

    /// The store that a pipeline file names.
    fn with_store(text: &str) -> Option<crate::config::Store> {
        let text = format!("name = \"shop\"\n{text}\n");
        let pipeline = Pipeline::parse(&text, Path::new("/shop/pipeline.toml")).unwrap();
        assert!(pipeline.store.is_some());
        pipeline.store
    }

    /// A night of the pipeline that ships, changed.
    fn origin(change: impl Fn(&mut Pipeline), project: &Path) -> Origin {
        let text = include_str!("../../pipelines/nightly.toml");
        let mut pipeline = Pipeline::parse(text, Path::new("/shop/pipeline.toml")).unwrap();
        change(&mut pipeline);
        let night = Night {
            pipeline: &pipeline,
            library: Library::load(project).unwrap(),
            date: chrono::NaiveDate::from_ymd_opt(2026, 10, 31).unwrap(),
            selection: Selection::default(),
            device: crate::compute::Choice::Cpu,
            start: Start::Auto,
        };
        Origin::of(&night, CpuDevice::new().info()).unwrap()
    }

    #[test]
    fn a_change_counts_from_the_first_stage_that_reads_it() {
        let none = tempfile::tempdir().unwrap();
        let before = origin(|_| {}, none.path());
        let first = |now: &Origin| {
            let stages = before.stages.iter().zip(&now.stages);
            let mut changed = stages.filter(|(a, b)| a != b);
            changed.next().map(|(a, _)| a.0)
        };
        let of = |change: Change| first(&origin(change, none.path()));
        let expected: [(Change, Option<Stage>); 10] = [
            (|p| p.sources[0].required ^= true, Some(Stage::Ingest)),
            (|p| p.run.history_days += 1, Some(Stage::Ingest)),
            (|p| p.run.lateness_days += 1, Some(Stage::Features)),
            (|p| p.features.half_life_days += 1.0, Some(Stage::Features)),
            (|p| p.models[0].warm_start ^= true, Some(Stage::Train)),
            (|p| p.engine.threads = Some(77), Some(Stage::Train)),
            (|p| p.recommend.k += 1, Some(Stage::Score)),
            (|p| p.evaluation.holdout_days += 1, Some(Stage::Evaluate)),
            (
                |p| p.attribution.oldest_rate_days += 1,
                Some(Stage::Attribute),
            ),
            (
                |p| {
                    p.engine.memory.0 *= 2;
                    p.report.after_run ^= true;
                    p.run.retries += 1;
                    p.run.deadline = Some(TimeSpan(chrono::TimeDelta::hours(1)));
                    p.run.keep_snapshots += 1;
                    p.run.metrics = Some("recost.prom".into());
                    p.lineage.file = Some("lineage.jsonl".into());
                    p.trace.url = Some("http://collector:4318".into());
                    p.file = "elsewhere.toml".into();
                    p.store = with_store("[store]\nurl = \"s3://shop/x\"\npatience = \"7s\"");
                },
                None,
            ),
        ];
        for (change, stage) in expected {
            assert_eq!(of(change), stage);
        }
        let same = origin(|p| p.run.retries += 1, none.path());
        assert_eq!(same.fingerprint, before.fingerprint);

        let files = [
            ("sources/events/mine.sql", Some(Stage::Ingest)),
            ("mine/table.sql", Some(Stage::Ingest)),
            ("features/sessions.sql", Some(Stage::Features)),
            ("content/items.sql", Some(Stage::Train)),
            ("evaluation/test.sql", Some(Stage::Evaluate)),
            ("attribution/lines.sql", Some(Stage::Attribute)),
            ("checks/mine.sql", Some(Stage::Check)),
            ("reports/costs.sql", None),
        ];
        for (path, stage) in files {
            let project = tempfile::tempdir().unwrap();
            let file = project.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "select 1").unwrap();
            let now = origin(|_| {}, project.path());
            assert_eq!(first(&now), stage, "{path}");
            assert_ne!(now.fingerprint, before.fingerprint, "{path}");
        }
        // Every folder that ships is known.
        for (path, _) in crate::engine::library::SHIPPED {
            let folder = path.split('/').next().unwrap();
            let known = ["sources", "conformance"].contains(&folder);
            assert_eq!(first_reader(folder) == Some(Stage::Ingest), known, "{path}");
        }
    }
}

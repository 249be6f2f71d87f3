//! `recost run`: stages over a staged snapshot, checks, and one step to publish.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::devices::Devices;
use super::ledger::{Entry, Ledger, cpu_ns, peak_rss};
use super::own_use::{Account, Spent};
use super::{Selection, Stage};
use crate::attribution;
use crate::compute::{self, Choice, CpuDevice, Device};
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::evaluate;
use crate::features;
use crate::ingest;
use crate::model;
use crate::privacy::retention;
use crate::recommend;
use crate::warehouse::store::{Staging, Warehouse};

/// What is said while a run goes on; the command line decides how to show it.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A stage begins.
    Begin(Stage),
    /// A stage ended.
    End(Stage, &'a Entry),
    /// Something that the user should look at.
    Warning(&'a str),
    /// Days that tables drop, because they are older than `[retention]` lets them keep.
    Dropped(&'a [retention::Dropped]),
}

/// What a run did.
#[derive(Debug)]
pub struct Outcome {
    /// Id of the run.
    pub run_id: String,
    /// The night.
    pub date: NaiveDate,
    /// The snapshot that is current now.
    pub snapshot: PathBuf,
    /// The run and its stages.
    pub entries: Vec<Entry>,
    /// Device that computed.
    pub device: String,
    /// What ingest did.
    pub ingest: ingest::Summary,
    /// What evaluation found.
    pub verdict: evaluate::stage::Verdict,
    /// What attribution did.
    pub attribution: attribution::stage::Summary,
    /// Peak resident memory, bytes.
    pub peak_rss: Option<u64>,
}

/// A night about to run.
pub struct Night<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its SQL.
    pub library: Library,
    /// Last day of the data interval.
    pub date: NaiveDate,
    /// Stages to run.
    pub selection: Selection,
    /// Where to compute.
    pub device: Choice,
}

/// First and last day whose events a night of `pipeline` sees.
pub fn window(pipeline: &Pipeline, date: NaiveDate) -> (NaiveDate, NaiveDate) {
    (
        date - TimeDelta::days(i64::from(pipeline.run.history_days) - 1),
        date,
    )
}

/// What the lock file says of its holder.
pub(crate) fn lock_note() -> String {
    format!(
        "process {} since {}",
        std::process::id(),
        Utc::now().format("%F %T UTC")
    )
}

impl Night<'_> {
    /// Runs the night: locks, stages, checks, publishes. Whatever fails, the published tables stay as they were.
    ///
    /// # Errors
    /// Those of the stages; `Kind::Locked` when another run holds the warehouse.
    pub async fn run(&self, observer: &mut (dyn FnMut(Progress<'_>) + Send)) -> Result<Outcome> {
        // What can be known to be wrong is said before anything is touched.
        attribution::stage::routing(self.pipeline, &self.library)?;
        let device = compute::open(&self.device)?;
        let warehouse = Warehouse::of(self.pipeline)?;
        if warehouse.snapshot().is_none() && !self.selection.has(Stage::Ingest) {
            return Err(Error::new(
                Kind::NothingToDo,
                "nothing was ingested yet, so there is nothing for the selected stage to do",
            )
            .help("run all stages first: leave out --select"));
        }
        let lock = warehouse.lock(&lock_note())?;
        let mut ledger = Ledger::start(&warehouse, self.date, &device.info().name)?;
        let cpu = CpuDevice::new();
        let devices = Devices::new(device.as_ref(), &cpu, self.pipeline.run.on_device_failure);
        let result = match warehouse.stage(&ledger.run_id, &lock) {
            Ok(staging) => self.stages(staging, &mut ledger, devices, observer).await,
            Err(e) => Err(e),
        };
        if let Err(e) = &result {
            ledger.finish(Some(e))?;
        }
        let (snapshot, ingest, verdict, attribution) = result?;
        Ok(Outcome {
            run_id: ledger.run_id.clone(),
            date: self.date,
            snapshot,
            entries: ledger.entries,
            device: device.info().name.clone(),
            ingest,
            verdict,
            attribution,
            peak_rss: peak_rss(),
        })
    }

    async fn stages<'d>(
        &self,
        staging: Staging,
        ledger: &mut Ledger,
        mut devices: Devices<'d>,
        observer: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(
        PathBuf,
        ingest::Summary,
        evaluate::stage::Verdict,
        attribution::stage::Summary,
    )> {
        let options = Options::of(self.pipeline, self.date);
        let window = window(self.pipeline, self.date);
        let dir = staging.dir().to_path_buf();
        let mut ingested = ingest::Summary::default();
        let mut verdict = evaluate::stage::Verdict::default();
        let mut attributed = attribution::stage::Summary::default();
        for stage in Stage::ALL {
            if !stage.applies(self.pipeline) || !self.selection.has(stage) {
                continue;
            }
            observer(Progress::Begin(stage));
            ledger.begin(stage.name())?;
            let (started, cpu) = (Utc::now(), cpu_ns());
            let (rows, message) = match stage {
                Stage::Ingest => {
                    let engine = Engine::open(&options, Some(&dir), None)?;
                    let survey =
                        ingest::survey(&engine, self.pipeline, &self.library, self.date).await?;
                    let threads = self.pipeline.threads();
                    ingested = ingest::run(&engine, &dir, survey, self.date, threads).await?;
                    if !ingested.charged_periods.is_empty() && !self.selection.has(Stage::Attribute)
                    {
                        return Err(Error::config(
                            "bills are new or changed, and the selection leaves out the stage that attributes them",
                        )
                        .help("select `ingest+`, which runs all stages from there on"));
                    }
                    if ingested.billed {
                        let said = ingest::conformance(&self.library, &options, &dir).await?;
                        ingested.warnings.extend(said);
                    }
                    for warning in &ingested.warnings {
                        observer(Progress::Warning(warning));
                    }
                    let s = &ingested;
                    let message = format!(
                        "{} rows in, {} duplicates, {} quarantined; {} intervals new or changed, {} unchanged",
                        s.rows_in, s.duplicates, s.quarantined, s.intervals, s.unchanged
                    );
                    (s.rows_out, message)
                }
                Stage::Features => {
                    let written =
                        features::stage::run(&self.library, &options, &dir, window).await?;
                    let parts: Vec<String> =
                        written.iter().map(|(n, r)| format!("{r} {n}")).collect();
                    (written.iter().map(|(_, r)| r).sum(), parts.join(", "))
                }
                Stage::Train => {
                    let train = |device: &'d dyn Device| {
                        let (pipeline, library) = (self.pipeline, &self.library);
                        model::stage::run(pipeline, library, &options, &dir, window, device)
                    };
                    let trained = devices.compute(observer, train).await?;
                    let work: Vec<_> = trained
                        .iter()
                        .map(|t| (t.model_id.as_str(), t.seconds))
                        .collect();
                    self.record_use(
                        &dir,
                        &ledger.run_id,
                        "training",
                        &work,
                        (started, cpu),
                        devices.now(),
                    )?;
                    let parts = trained.iter().map(|t| match t.folded_into {
                        None => format!("{} {:.2} s", t.model_id, t.seconds),
                        Some(night) => {
                            format!("{} {:.2} s, folded into {night}", t.model_id, t.seconds)
                        }
                    });
                    let message = parts.collect::<Vec<_>>().join(", ");
                    (trained.len() as u64, message)
                }
                Stage::Score => {
                    let score = |device: &'d dyn Device| {
                        let (pipeline, library) = (self.pipeline, &self.library);
                        recommend::stage::run(pipeline, library, &options, &dir, window, device)
                    };
                    let scored = devices.compute(observer, score).await?;
                    let work: Vec<_> = scored
                        .iter()
                        .map(|s| (s.model_id.as_str(), s.seconds))
                        .collect();
                    self.record_use(
                        &dir,
                        &ledger.run_id,
                        "deployment",
                        &work,
                        (started, cpu),
                        devices.now(),
                    )?;
                    (scored.iter().map(|s| s.rows).sum(), models(&work))
                }
                Stage::Evaluate => {
                    let evaluate = |device: &'d dyn Device| {
                        let (pipeline, library) = (self.pipeline, &self.library);
                        evaluate::stage::run(pipeline, library, &options, &dir, window, device)
                    };
                    verdict = devices.compute(observer, evaluate).await?;
                    for (model, recall) in verdict.below() {
                        observer(Progress::Warning(&format!(
                            "model `{model}` does not beat popularity: recall@{} {recall:.4} against {:.4}",
                            verdict.k, verdict.baseline
                        )));
                    }
                    let found: Vec<String> = verdict
                        .models
                        .iter()
                        .map(|(m, r)| format!("{m} {r:.4}"))
                        .collect();
                    let message = if verdict.users == 0 {
                        "no user to judge by".to_string()
                    } else {
                        format!(
                            "recall@{}: {}, popularity {:.4}, {} users",
                            verdict.k,
                            found.join(", "),
                            verdict.baseline,
                            verdict.users
                        )
                    };
                    (verdict.models.len() as u64, message)
                }
                Stage::Attribute => {
                    let changed: BTreeSet<String> =
                        ingested.charged_periods.iter().cloned().collect();
                    let work = attribution::stage::Work {
                        pipeline: self.pipeline,
                        library: &self.library,
                        options: &options,
                        snapshot: &dir,
                        window,
                    };
                    attributed = attribution::stage::run(work, &changed).await?;
                    for warning in &attributed.warnings {
                        observer(Progress::Warning(warning));
                    }
                    let a = &attributed;
                    let message = format!(
                        "{} charges, {} allocations, {} recommendations served; periods {}",
                        a.charges,
                        a.allocations,
                        a.recommendations,
                        a.periods.join(", ")
                    );
                    (a.allocations + a.recommendations, message)
                }
                Stage::Check => {
                    let held =
                        check(&self.library, &options, &dir, window, &attributed.periods).await?;
                    (0, format!("{held} checks hold"))
                }
            };
            ledger.end(Some(rows), message)?;
            if let Some(entry) = ledger.entries.last() {
                observer(Progress::End(stage, entry));
            }
        }
        let dropped = retention::apply(self.pipeline, &dir, self.date)?;
        if !dropped.is_empty() {
            ledger.begin("retention")?;
            let days = dropped.iter().map(|d| d.days.len() as u64).sum();
            let shown: Vec<String> = dropped.iter().map(retention::Dropped::shown).collect();
            ledger.end(Some(days), shown.join("; "))?;
            observer(Progress::Dropped(&dropped));
        }
        let snapshot = ledger.publish(staging, self.pipeline.run.keep())?;
        Ok((snapshot, ingested, verdict, attributed))
    }

    /// Writes the run's own computing into `usage`, under the resource that the pipeline file names. CPU time of the stage
    /// goes to its models by their seconds.
    fn record_use(
        &self,
        snapshot: &Path,
        run_id: &str,
        stage: &str,
        work: &[(&str, f64)],
        (started, cpu): (DateTime<Utc>, Option<u64>),
        device: &dyn Device,
    ) -> Result<()> {
        let total: f64 = work.iter().map(|w| w.1).sum();
        if total <= 0.0 {
            return Ok(());
        }
        let used = cpu_ns().zip(cpu);
        let used = used.map_or(0, |(after, before)| after.saturating_sub(before));
        let ended = Utc::now();
        let spent = |&(model_id, seconds)| Spent {
            model_id,
            started,
            ended,
            seconds,
            cpu_ns: (used as f64 * seconds / total) as i64,
        };
        let account = Account {
            resource_id: &self.pipeline.run.resource_id,
            version: &self.date.to_string(),
            stage,
            run_id,
        };
        account.record(
            snapshot,
            device,
            &work.iter().map(spent).collect::<Vec<_>>(),
        )
    }
}

fn models(work: &[(&str, f64)]) -> String {
    let parts: Vec<String> = work.iter().map(|(m, s)| format!("{m} {s:.2} s")).collect();
    parts.join(", ")
}

/// Runs every check of the library over the billing periods and days given. Returns how many hold.
///
/// # Errors
/// `Kind::Check`, naming the check and the first rows that break it.
pub async fn check(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    periods: &[String],
) -> Result<usize> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let listed: Vec<String> = periods.iter().map(|p| format!("'{p}'")).collect();
    if !listed.is_empty() {
        let within = format!("billing_period in ({})", listed.join(", "));
        for name in [
            "charges",
            "allocations",
            "allocation_days",
            "largest_allocations",
            "model_costs",
            "reconciliation",
        ] {
            engine.restrict(name, &within).await?;
        }
        // A delivery may hold several periods; it is counted whole only where all of them are looked at.
        let all = format!(
            "array_has_all(make_array({}), partitions)",
            listed.join(", ")
        );
        engine.restrict("deliveries", &all).await?;
    }
    attribution::close::hashes(&engine, library).await?;
    let days = Engine::open(options, Some(snapshot), None)?;
    attribution::stage::restrict_days(&days, window).await?;
    let (first, last) = window;
    days.restrict(
        "recommendation_costs",
        &format!("ds between date '{first}' and date '{last}'"),
    )
    .await?;
    days.view("model_days", library.get("attribution/model_days.sql")?)
        .await?;
    let whole = Engine::open(options, Some(snapshot), None)?;
    let making = library.get("attribution/making_costs.sql")?;
    whole.view("making_costs", making).await?;
    let mut held = 0;
    for (name, sql) in library.folder("checks") {
        // A check that reads costs by day sees the days of the window, one of the ledger of versions all there is; others
        // see whole billing periods.
        let inputs = engine.inputs(sql)?;
        let reads = |name: &str| inputs.iter().any(|t| t == name);
        let session = if reads("model_days") {
            &days
        } else if reads("version_ledger") {
            &whole
        } else {
            &engine
        };
        let place = library.describe(&format!("checks/{name}.sql"));
        let broken = session
            .collect(&format!(
                "select * from ({}) limit 5",
                sql.trim_end().trim_end_matches(';')
            ))
            .await
            .map_err(|e| e.context(&place))?;
        let rows: usize = broken.iter().map(RecordBatch::num_rows).sum();
        if rows > 0 {
            let shown = arrow::util::pretty::pretty_format_batches(&broken)?;
            return Err(Error::new(
                Kind::Check,
                format!("the check {name} fails; the first rows that break it:\n{shown}"),
            )
            .help(format!(
                "{place} says what must hold; a run that fails publishes nothing"
            )));
        }
        held += 1;
    }
    Ok(held)
}

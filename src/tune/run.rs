//! `recost tune`: a search over what the published tables hold. Trials are published as they come, and what they cost is
//! recorded as the model's development.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, TimeDelta, Utc};
use toml::Table;
use xxhash_rust::xxh3::xxh3_128;

use super::budget::{self, Budget, Price};
use super::halving::Plan;
use super::search::{Search, Trial};
use super::settings::Settings;
use super::table::{self, Of};
use crate::compute::{self, Choice, Device};
use crate::config::{Model, Pipeline};
use crate::disk::make_dir;
use crate::engine::{Library, Options};
use crate::error::{Error, Kind, Result, nearest};
use crate::evaluate::held_out::HeldOut;
use crate::evaluate::protocol::Source;
use crate::features::interactions::Interactions;
use crate::pipeline::interrupt::{commit, whole};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::meter::Moment;
use crate::pipeline::own_use::{Account, Spent};
use crate::pipeline::run::{lock_note, window};
use crate::warehouse::store::partition_dir;
use crate::warehouse::{TableWriter, Warehouse, table as contract};
use crate::watch::{Event, event};

/// Trials are published no more often than this, since each time makes a snapshot.
const PUBLISHED_EVERY: Duration = Duration::from_secs(30);
/// How long the end of a search waits for a run that holds the warehouse.
const PATIENCE: Duration = Duration::from_secs(600);

/// A search about to run.
pub struct Tuning<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its SQL.
    pub library: Library,
    /// Last day of the data.
    pub date: NaiveDate,
    /// The model's id.
    pub model: &'a str,
    /// Where to compute.
    pub device: Choice,
}

/// What is said while a search goes on.
pub enum Said<'a> {
    /// How much there is to do, and until when.
    Plan(&'a Plan, &'a str),
    /// A trial ended.
    Tried(&'a Trial),
    /// What happens in every run.
    Happened(&'a dyn Event),
}

/// What a search came to.
pub struct Outcome {
    /// Its id in `trials`.
    pub search_id: String,
    /// The snapshot with the newest trials, where this run published some.
    pub snapshot: Option<PathBuf>,
    /// All its trials, those of earlier runs first.
    pub trials: Vec<Trial>,
    /// Trials of this run.
    pub new: usize,
    /// Whether it went to its end.
    pub finished: bool,
    /// The best trial so far.
    pub best: Option<Trial>,
    /// The trial of what the model has now, of the same rung or the highest that it reached.
    pub now: Option<Trial>,
}

impl Tuning<'_> {
    /// Searches until the plan or the budget ends; what was tried before with the same data and settings is not tried again.
    ///
    /// # Errors
    /// `Kind::Config` for a model or a search that cannot be, `Kind::Check` where there is nothing to judge by; those of the
    /// device and of writing. What was published stays.
    pub async fn run(&self, said: &mut (dyn FnMut(Said<'_>) + Send)) -> Result<Outcome> {
        let model = self.model()?;
        let settings = model.search.clone().unwrap_or_default();
        let wrong = |e: String| {
            Error::config(format!(
                "{}: model `{}`: search: {e}",
                self.pipeline.file.display(),
                model.id
            ))
        };
        settings.validate(model).map_err(wrong)?;
        let (target, space) = (
            settings.target().map_err(wrong)?,
            settings.space(model.family, &model.params).map_err(wrong)?,
        );
        let plan = budget::plan(&settings, model.family, passes(model)?)?;
        let search = Search::new(
            model.family,
            &model.params,
            &space,
            &plan,
            target,
            settings.seed,
        );
        let device = compute::open(&self.device)?;
        let warehouse = Warehouse::of(self.pipeline)?;
        let snapshot = warehouse.published()?;
        let options = Options::of(self.pipeline, self.date);
        let (until, words) = self.budget(&settings, &options, &snapshot).await?;
        let training = self.training(&options, &snapshot).await?;
        let examples = training.examples();
        let data = HeldOut::new(&examples, settings.validation, settings.seed)?;
        let data = data.ok_or_else(|| {
            Error::check(format!(
                "holding back {} of {} interactions leaves no user to judge settings by",
                settings.validation,
                examples.weights.nnz()
            ))
            .help("raise `validation` of the search, or wait for more interactions")
        })?;
        let search_id = self.id(
            model,
            &settings,
            search.plan(),
            &space.to_string(),
            &training.hash,
        );
        let mut trials = table::read(&options, &snapshot, &search_id).await?;
        let earlier = trials.len();
        drop(training);

        said(Said::Plan(search.plan(), &words));
        let mut book = Book {
            tuning: self,
            model,
            of: Of {
                model_id: &model.id,
                family: model.family.name(),
                search_id: &search_id,
                metric: &settings.metric,
            },
            search: &search,
            warehouse,
            ledger: None,
            published: earlier,
            snapshots: 0,
            snapshot: None,
            newest: Instant::now(),
        };
        let since = Moment::now();
        if search.next(&trials).is_some_and(|_| until.allows(&trials)) {
            book.begin(device.as_ref(), said)?;
        }
        let searched = async {
            while let Some(next) = search.next(&trials).filter(|_| until.allows(&trials)) {
                let trial = search.try_out(device.as_ref(), &data, next);
                let trial = trial.map_err(|e| e.context(format!("model `{}`", model.id)))?;
                said(Said::Tried(&trial));
                trials.push(trial);
                if book.newest.elapsed() >= PUBLISHED_EVERY
                    && !book.publish(device.as_ref(), &trials)?
                {
                    said(Said::Happened(&event::Warned(
                        "another run is writing; trials are published when it has ended",
                    )));
                }
            }
            Ok(())
        }
        .await;
        let published = book.publish_all(device.as_ref(), &trials).await;
        let failure = searched.err().or(published.err());
        book.finish(failure.as_ref(), &trials, said)?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(snapshot) = &book.snapshot {
            said(Said::Happened(&event::Published {
                snapshot: &snapshot.display().to_string(),
                seconds: (Utc::now() - since.at).as_seconds_f64(),
                periods: &[],
            }));
        }
        let snapshot = book.snapshot.take();
        let best = search.best(&trials).cloned();
        let now = trials
            .iter()
            .filter(|t| t.trial == 0)
            .max_by_key(|t| t.rung);
        Ok(Outcome {
            new: trials.len() - earlier,
            finished: search.next(&trials).is_none(),
            now: now.cloned(),
            best,
            search_id,
            snapshot,
            trials,
        })
    }

    fn model(&self) -> Result<&Model> {
        let models = &self.pipeline.models;
        let found = models.iter().find(|m| m.id == self.model);
        if let Some(compressed) = found.and_then(|m| m.compressed.as_ref()) {
            return Err(Error::config(format!(
                "{}: model `{}` is made from `{}` and has no hyperparameters of its own",
                self.pipeline.file.display(),
                self.model,
                compressed.from
            ))
            .help(format!("tune `{}`", compressed.from)));
        }
        found.ok_or_else(|| {
            let error = Error::config(format!(
                "{}: there is no model `{}`",
                self.pipeline.file.display(),
                self.model
            ));
            match nearest(self.model, models.iter().map(|m| m.id.as_str())) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help("name one of `[[models]]`"),
            }
        })
    }

    /// When the search ends, and that in words.
    async fn budget(
        &self,
        settings: &Settings,
        options: &Options,
        snapshot: &Path,
    ) -> Result<(Budget, String)> {
        if let Some(span) = settings.budget {
            let seconds = span.0.num_milliseconds() as f64 / 1e3;
            return Ok((
                Budget::Seconds(seconds),
                format!("until {seconds:.0} s are spent"),
            ));
        }
        let Some(money) = &settings.budget_money else {
            return Ok((Budget::Plan, "to its end".into()));
        };
        let machine = &self.pipeline.run.resource_id;
        let price = Price::find(money, &self.library, options, snapshot, machine).await?;
        let (amount, currency, _) = money.read().map_err(Error::config)?;
        let seconds = price
            .seconds(amount)
            .ok_or_else(|| Error::config("`budget_money` is more than can be counted"))?;
        let words = format!(
            "until {currency} {amount}, which are {seconds:.0} s by {}, are spent",
            price.source
        );
        Ok((Budget::Seconds(seconds), words))
    }

    /// The interactions that the evaluation's training has: its test is never used to choose anything.
    async fn training(&self, options: &Options, snapshot: &Path) -> Result<Interactions> {
        let source = Source {
            pipeline: self.pipeline,
            library: &self.library,
            options,
            snapshot,
            window: window(self.pipeline, self.date),
        };
        let split = self.pipeline.evaluation.protocol.split(&source).await?;
        let mut folds = split.folds;
        let none = || {
            Error::check(format!(
                "there is no interaction to search with in the window that ends on {}",
                self.date
            ))
            .help("run the pipeline for that night first, or give another with --date")
        };
        let fold = folds.next().ok_or_else(none)??;
        if fold.train.weights.nnz() == 0 {
            return Err(none());
        }
        Ok(fold.train)
    }

    /// The same data and settings have the same id, whatever the budget in time or money.
    fn id(
        &self,
        model: &Model,
        settings: &Settings,
        plan: &Plan,
        space: &str,
        data: &str,
    ) -> String {
        let text = format!(
            "{} {} {} {plan:?} {space} {} {} {} {data}",
            model.id,
            model.family,
            model.params,
            settings.metric,
            settings.validation,
            settings.seed
        );
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }
}

/// Passes of the model's own settings; `None` for a family that does not train in passes.
fn passes(model: &Model) -> Result<Option<usize>> {
    let Some(key) = model.family.passes() else {
        return Ok(None);
    };
    let passes = model.family.configure(&model.params)?.whole_number(key)?;
    passes
        .map(Some)
        .ok_or_else(|| Error::unexpected(format!("the family {} has no {key}", model.family)))
}

/// Where trials and their cost are written.
struct Book<'a> {
    tuning: &'a Tuning<'a>,
    model: &'a Model,
    of: Of<'a>,
    search: &'a Search,
    warehouse: Warehouse,
    ledger: Option<Ledger>,
    /// How many trials are published.
    published: usize,
    /// How many snapshots were made.
    snapshots: usize,
    /// The newest of them.
    snapshot: Option<PathBuf>,
    /// When the newest was.
    newest: Instant,
}

impl Book<'_> {
    fn begin(
        &mut self,
        device: &dyn Device,
        said: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Result<()> {
        let device = &device.info().name;
        let mut ledger = Ledger::start(&self.warehouse, self.tuning.date, device)?;
        said(Said::Happened(&event::RunStarted {
            run_id: &ledger.run_id,
            device,
        }));
        said(Said::Happened(&event::StageBegan("tune")));
        ledger.begin("tune")?;
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Publishes what is new; `false` when another run is writing.
    fn publish(&mut self, device: &dyn Device, trials: &[Trial]) -> Result<bool> {
        let Some(ledger) = self
            .ledger
            .as_ref()
            .filter(|_| trials.len() > self.published)
        else {
            return Ok(true);
        };
        let lock = match self.warehouse.lock(&lock_note()) {
            Err(e) if e.kind() == Kind::Locked => return Ok(false),
            lock => lock?,
        };
        self.snapshots += 1;
        let run_id = format!("{}-{}", ledger.run_id, self.snapshots);
        let staging = self.warehouse.stage(&run_id, &lock)?;
        let table = contract("trials").ok_or_else(|| Error::unexpected("no table trials"))?;
        let night = self.tuning.date.to_string();
        let dir = partition_dir(staging.dir(), table, &night);
        make_dir(&dir)?;
        let file = dir.join(format!("{}.parquet", self.of.search_id));
        let mut writer = TableWriter::create(table, &file)?;
        writer.write(&table::batch(&self.of, self.search, trials)?)?;
        writer.finish()?;
        let account = Account {
            resource_id: &self.tuning.pipeline.run.resource_id,
            version: &night,
            stage: "development",
            run_id: &run_id,
        };
        let spent: Vec<Spent<'_>> = trials[self.published..]
            .iter()
            .map(|trial| Spent {
                model_id: &self.model.id,
                started: trial.started,
                ended: trial.started + TimeDelta::microseconds((trial.seconds * 1e6) as i64),
                seconds: trial.seconds,
                cpu_ns: i64::try_from(trial.cpu_ns.unwrap_or(0)).unwrap_or(i64::MAX),
            })
            .collect();
        // A day of `usage` holds what began on it.
        for day in spent.chunk_by(|a, b| a.started.date_naive() == b.started.date_naive()) {
            account.record(staging.dir(), device, day)?;
        }
        let committed = commit(staging.prepare()?, self.tuning.pipeline.run.keep())?;
        let snapshot = whole().publish(committed)?;
        self.snapshot = Some(snapshot);
        (self.published, self.newest) = (trials.len(), Instant::now());
        Ok(true)
    }

    /// Publishes the rest, waiting for a run that is writing.
    async fn publish_all(&mut self, device: &dyn Device, trials: &[Trial]) -> Result<()> {
        let since = Instant::now();
        while !self.publish(device, trials)? {
            if since.elapsed() > PATIENCE {
                return Err(Error::new(
                    Kind::Locked,
                    format!(
                        "the newest trials of `{}` could not be published: another run is writing",
                        self.model.id
                    ),
                )
                .help("run the same command again when it has ended"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        failure: Option<&Error>,
        trials: &[Trial],
        said: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Result<()> {
        let Some(ledger) = &mut self.ledger else {
            return Ok(());
        };
        if failure.is_none() {
            let message = format!("search {} of {}", self.of.search_id, self.model.id);
            ledger.end(Some(trials.len() as u64), message)?;
            if let Some(entry) = ledger.entries.last() {
                said(Said::Happened(&entry.ended(None)));
            }
        }
        ledger.finish(failure)
    }
}

/// The settings of a trial that differ from what the model has now.
pub fn changed(trial: &Trial, params: &Table) -> Table {
    let settings = trial.settings.iter();
    let differs = settings.filter(|(key, value)| params.get(*key) != Some(*value));
    differs
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

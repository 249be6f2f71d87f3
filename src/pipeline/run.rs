//! `recost run`: stages over a staged snapshot, checks, and one step to publish.
//!
//! A run whose result is there already does nothing. One that ended in the middle is gone on with, from the first stage that
//! it had not finished or that would come out otherwise now.

use std::path::PathBuf;

use chrono::{NaiveDate, TimeDelta, Utc};

use super::compact::compact;
use super::devices::Devices;
use super::died::note_what_became;
use super::interrupt::whole;
use super::ledger::{Entry, Ledger};
use super::meter::{Moment, peak_rss};
use super::origin::Origin;
use super::resume::{self, Book, Found};
use super::retry::Retries;
use super::stages::{self, Carried, Context, Done};
use super::unchanged::Unchanged;
use super::{Selection, Stage};
use crate::attribution;
use crate::compute::{self, Choice, CpuDevice, Device};
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::heap;
use crate::ingest::{self, Survey};
use crate::privacy::retention;
use crate::warehouse::store::{Lock, Staging, Warehouse};
use crate::watch::Observer;
use crate::watch::event;

/// What became of a night.
#[derive(Debug)]
pub enum Outcome {
    /// Its tables were published.
    Published(Published),
    /// They were there already.
    Unchanged(Unchanged),
}

/// What a run did.
#[derive(Debug)]
pub struct Published {
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
    /// Billing periods that were attributed.
    pub periods: Vec<String>,
    /// Peak resident memory, bytes.
    pub peak_rss: Option<u64>,
}

/// Where a run begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// Where an earlier run ended, if that can be; nowhere, if there is nothing to do.
    #[default]
    Auto,
    /// The same, and it is said where there is nothing to go on with.
    Resume,
    /// At the first stage.
    Anew,
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
    /// Where to begin.
    pub start: Start,
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

/// A night that is not there yet, and what its run holds.
struct Run<'a> {
    night: &'a Night<'a>,
    warehouse: &'a Warehouse,
    lock: Lock,
    device: &'a dyn Device,
    since: Moment,
    origin: Origin,
    survey: Option<Result<Survey<'a>>>,
    retries: Retries,
}

impl Night<'_> {
    /// Runs the night: locks, stages, checks, publishes. Whatever fails, the published tables stay as they were.
    ///
    /// # Errors
    /// Those of the stages; `Kind::Locked` when another run holds the warehouse.
    pub async fn run(&self, observer: &mut Observer<'_>) -> Result<Outcome> {
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
        let note = lock_note();
        let lock = warehouse.lock(&note)?;
        let since = Moment::now();
        note_what_became(&warehouse, &whole())?;
        let mut retries = Retries::new(self.pipeline.run.retries, note);
        let survey = match self.selection.has(Stage::Ingest) {
            true => Some(self.survey(&warehouse, &mut retries, observer).await),
            false => None,
        };
        if let Some(Ok(survey)) = &survey
            && self.start != Start::Anew
            && let Some(unchanged) = self.unchanged(&warehouse, survey, device.info())?
        {
            warehouse.sweep(&lock)?;
            resume::forget(&warehouse)?;
            for warning in &unchanged.warnings {
                observer(&event::Warned(warning));
            }
            observer(&event::RunSkipped {
                message: &unchanged.describe(),
                published_by: &unchanged.run_id,
            });
            return Ok(Outcome::Unchanged(unchanged));
        }
        let origin = Origin::of(self, device.info())?;
        let name = &device.info().name;
        let fingerprint = self.is_whole().then(|| origin.fingerprint().to_string());
        let mut ledger = Ledger::start_since(&warehouse, self.date, name, since, fingerprint)?;
        observer(&event::RunStarted {
            run_id: &ledger.run_id,
            device: name,
        });
        let run = Run {
            night: self,
            warehouse: &warehouse,
            lock,
            device: device.as_ref(),
            since,
            origin,
            survey,
            retries,
        };
        let (snapshot, periods) = ledger
            .record(async |ledger| run.publish(ledger, &mut *observer).await)
            .await?;
        observer(&event::Published {
            snapshot: &snapshot.display().to_string(),
            seconds: (Utc::now() - since.at).as_seconds_f64(),
            periods: &periods,
        });
        Ok(Outcome::Published(Published {
            run_id: ledger.run_id.clone(),
            date: self.date,
            snapshot,
            entries: ledger.entries,
            device: device.info().name.clone(),
            periods,
            peak_rss: peak_rss(),
        }))
    }

    /// Whether all stages are selected.
    pub(super) fn is_whole(&self) -> bool {
        self.selection == Selection::default()
    }

    async fn survey(
        &self,
        warehouse: &Warehouse,
        retries: &mut Retries,
        observer: &mut Observer<'_>,
    ) -> Result<Survey<'_>> {
        let options = Options::of(self.pipeline, self.date);
        loop {
            let engine = Engine::open(&options, warehouse.snapshot().as_deref(), None)?;
            match ingest::survey(&engine, self.pipeline, &self.library, self.date).await {
                Err(e) if retries.wait(&e, observer).await => {}
                found => return found,
            }
        }
    }
}

impl<'a> Run<'a> {
    /// Stages the night and publishes it. Returns the snapshot and the billing periods that were attributed.
    async fn publish(
        mut self,
        ledger: &mut Ledger,
        observer: &mut Observer<'_>,
    ) -> Result<(PathBuf, Vec<String>)> {
        let (night, warehouse) = (self.night, self.warehouse);
        let survey = match self.survey.take().transpose() {
            Ok(survey) => survey,
            Err(e) => {
                ledger.begin_since(Stage::Ingest.name(), self.since)?;
                return Err(e);
            }
        };
        let exports = survey.as_ref().map(Survey::digest).unwrap_or_default();
        self.origin.exports(&exports);
        let found = self.unfinished(observer)?;
        let mut staging = warehouse.stage(&ledger.run_id, &self.lock)?;
        let mut book = Book::open(warehouse, &ledger.run_id, &staging, found)?;
        let cpu = CpuDevice::new();
        let mut context = Context {
            night,
            options: Options::of(night.pipeline, night.date),
            window: window(night.pipeline, night.date),
            run_id: ledger.run_id.clone(),
            dir: staging.dir().to_path_buf(),
            devices: Devices::new(self.device, &cpu, night.pipeline.run.on_device_failure),
            survey,
            exports,
            carried: Carried::default(),
            observer,
        };
        for finished in book.finished() {
            ledger.take_over(&finished.entry, &finished.run_id)?;
            context.say(&finished.entry.ended(Some(&finished.run_id)));
            context.warn(&finished.warnings);
            context.carry(finished.carried.clone());
        }
        let done = self.stages(&mut context, &mut staging, &mut book, ledger);
        if let Err(e) = done.await {
            book.keep_or_discard();
            return Err(e);
        }
        drop_old_days(&mut context, ledger)?;
        let snapshot = ledger.publish(staging, night.pipeline.run.keep())?;
        book.discard();
        if let Err(e) = compact(warehouse, Utc::now().date_naive()) {
            tracing::warn!(error = %e, "the next run will try again to put old ledgers together");
        }
        Ok((snapshot, context.carried.attributed))
    }

    /// What an earlier run finished of this one, if any did.
    fn unfinished(&self, observer: &mut Observer<'_>) -> Result<Option<Found>> {
        if self.night.start == Start::Anew {
            return Ok(None);
        }
        let Some(mut found) = Found::newest(self.warehouse)? else {
            if self.night.start == Start::Resume {
                observer(&event::Resumed(
                    "no run ended in the middle: there is nothing to go on with",
                ));
            }
            return Ok(None);
        };
        let base = self.warehouse.run();
        let why = found.matching(base.as_deref(), self.origin.stages());
        observer(&event::Resumed(&found.describe(why)));
        Ok(Some(found))
    }

    async fn stages(
        &mut self,
        context: &mut Context<'_>,
        staging: &mut Staging,
        book: &mut Book,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let stages = self.origin.stages().to_vec();
        for (stage, mut made_from) in stages.into_iter().skip(book.finished().len()) {
            context.say(&event::StageBegan(stage.name()));
            let since = match stage {
                Stage::Ingest => self.since,
                _ => Moment::now(),
            };
            ledger.begin_since(stage.name(), since)?;
            let (carried, mut met) = (context.carried.clone(), vec![]);
            let Done {
                rows,
                read,
                mut message,
                warnings,
            } = loop {
                let done = stages::run(stage, context).await;
                heap::give_back();
                match done {
                    Err(e) if self.retries.wait(&e, context.observer).await => {
                        met.push(e.to_string());
                        book.put_back(staging)?;
                        context.dir = staging.dir().to_path_buf();
                        context.carried.clone_from(&carried);
                    }
                    done => break done?,
                }
            };
            if !met.is_empty() {
                message = format!("{message}; begun again after: {}", met.join("; "));
            }
            context.warn(&warnings);
            ledger.warn(&warnings);
            ledger.read_of_exports(read);
            ledger.end(Some(rows), message)?;
            if stage == Stage::Ingest {
                made_from.extend(Origin::of_exports(&context.exports));
            }
            let Some(entry) = ledger.entries.last() else {
                continue;
            };
            book.add(
                stage,
                &context.run_id,
                made_from,
                &context.carried,
                entry,
                warnings,
            )?;
            context.say(&entry.ended(None));
        }
        Ok(())
    }
}

/// Takes the days out of what was staged that are older than `[retention]` lets their tables keep.
fn drop_old_days(context: &mut Context<'_>, ledger: &mut Ledger) -> Result<()> {
    let night = context.night;
    let dropped = retention::apply(night.pipeline, &context.dir, night.date)?;
    if dropped.is_empty() {
        return Ok(());
    }
    ledger.begin("retention")?;
    let days = dropped.iter().map(|d| d.days.len() as u64).sum();
    let shown: Vec<String> = dropped.iter().map(retention::Dropped::shown).collect();
    ledger.end(Some(days), shown.join("; "))?;
    for dropped in shown {
        context.say(&event::DaysDropped(dropped));
    }
    Ok(())
}

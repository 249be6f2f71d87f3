//! `recost run`: stages over a staged snapshot, checks, and one step to publish.

use std::path::PathBuf;

use chrono::{NaiveDate, TimeDelta, Utc};

use super::devices::Devices;
use super::ledger::{Entry, Ledger, peak_rss};
use super::stages::{self, Carried, Context};
use super::{Selection, Stage};
use crate::attribution;
use crate::compute::{self, Choice, CpuDevice};
use crate::config::Pipeline;
use crate::engine::{Library, Options};
use crate::error::{Error, Kind, Result};
use crate::warehouse::store::Warehouse;

/// What is said while a run goes on; the command line decides how to show it.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A stage begins.
    Begin(Stage),
    /// A stage ended.
    End(Stage, &'a Entry),
    /// Something that the user should look at.
    Warning(&'a str),
}

/// Who is told what goes on.
pub type Observer<'o> = dyn FnMut(Progress<'_>) + Send + 'o;

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
    /// Billing periods that were attributed.
    pub periods: Vec<String>,
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
    pub async fn run(&self, observer: &mut Observer<'_>) -> Result<Outcome> {
        // What can be known to be wrong is said before anything is touched.
        attribution::stage::routing(self.pipeline, &self.library)?;
        let device = compute::open(&self.device)?;
        let warehouse = Warehouse::new(&self.pipeline.warehouse);
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
        let on_failure = self.pipeline.run.on_device_failure;
        let (snapshot, periods) = ledger
            .record(async |ledger| {
                let staging = warehouse.stage(&ledger.run_id, &lock)?;
                let mut context = Context {
                    night: self,
                    options: Options::of(self.pipeline, self.date),
                    window: window(self.pipeline, self.date),
                    run_id: ledger.run_id.clone(),
                    dir: staging.dir().to_path_buf(),
                    devices: Devices::new(device.as_ref(), &cpu, on_failure),
                    survey: None,
                    carried: Carried::default(),
                    observer,
                };
                self.stages(&mut context, ledger).await?;
                let snapshot = ledger.publish(staging, self.pipeline.run.keep_snapshots)?;
                Ok((snapshot, context.carried.attributed))
            })
            .await?;
        Ok(Outcome {
            run_id: ledger.run_id.clone(),
            date: self.date,
            snapshot,
            entries: ledger.entries,
            device: device.info().name.clone(),
            periods,
            peak_rss: peak_rss(),
        })
    }

    async fn stages(&self, context: &mut Context<'_>, ledger: &mut Ledger) -> Result<()> {
        for stage in self.selection.stages(self.pipeline) {
            context.say(Progress::Begin(stage));
            ledger.begin(stage.name())?;
            let done = stages::run(stage, context).await?;
            for warning in &done.warnings {
                context.say(Progress::Warning(warning));
            }
            ledger.end(Some(done.rows), done.message)?;
            if let Some(entry) = ledger.entries.last() {
                context.say(Progress::End(stage, entry));
            }
        }
        Ok(())
    }
}

//! A night that was published already, from the same exports and by the same means: a run has nothing to do.

use chrono::{DateTime, NaiveDate, Utc};

use super::ledger::Status;
use super::origin::Origin;
use super::run::Night;
use super::runs;
use crate::compute::DeviceInfo;
use crate::error::Result;
use crate::ingest::Survey;
use crate::warehouse::Warehouse;

/// A night that is published as a run would publish it.
#[derive(Debug)]
pub struct Unchanged {
    /// The night.
    pub date: NaiveDate,
    /// Run that published it.
    pub run_id: String,
    /// When that was.
    pub published_at: Option<DateTime<Utc>>,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

impl Unchanged {
    /// In words.
    pub fn describe(&self) -> String {
        let at = self
            .published_at
            .map(|t| t.format(" at %F %T UTC").to_string());
        format!(
            "Nothing to do: no export is new, and the night of {} was published by run {}{} from the same pipeline file and SQL, \
             by this program",
            self.date,
            self.run_id,
            at.unwrap_or_default()
        )
    }
}

impl Night<'_> {
    /// The run that published the current tables, if this one would publish them again.
    ///
    /// That is so where it is this night's whole run, nothing was published since (not by `tune` or `close` either: trials
    /// are use of machines, and a close moves what comes late), no export is new, changed or retired, and everything else
    /// that can change a table is as it was.
    ///
    /// # Errors
    /// When the program's own file cannot be read.
    pub fn unchanged(
        &self,
        warehouse: &Warehouse,
        survey: &Survey<'_>,
        device: &DeviceInfo,
    ) -> Result<Option<Unchanged>> {
        if !self.is_whole() || survey.brings_news() {
            return Ok(None);
        }
        let Some(name) = warehouse.run() else {
            return Ok(None);
        };
        // Without a ledger, or with one that nobody can read, the run is done again.
        let Some(ledger) = runs::of(warehouse, &name).ok().flatten() else {
            return Ok(None);
        };
        let origin = Origin::of(self, device)?;
        let run = ledger.entries.iter().find(|e| e.stage == "run");
        let run = run.filter(|run| run.status == Status::Done);
        let same = ledger.fingerprint.as_deref() == Some(origin.fingerprint());
        Ok(run.filter(|_| same).map(|run| Unchanged {
            date: self.date,
            run_id: name,
            published_at: run.ended_at,
            warnings: survey.warnings().to_vec(),
        }))
    }
}

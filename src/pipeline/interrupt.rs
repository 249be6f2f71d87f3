//! What a process that is told to end in the middle of a run still does.
//!
//! A stage may compute for minutes without looking up, so nothing waits for it: the ledger of the run is closed, and the
//! process ends where it is. Only what must be whole is waited for, which is what is done under [`whole`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::Utc;

use super::ledger::{Ledger, Status, lock_of};
use crate::config::{Keep, TimeSpan};
use crate::disk::remove_file;
use crate::error::{Error, Kind, Result};
use crate::warehouse::Prepared;

/// What an interrupt finds of this process's runs.
#[derive(Debug)]
pub struct Runs {
    /// Ledgers of those under way.
    ledgers: Vec<PathBuf>,
    /// Whether something was published.
    published: bool,
}

static RUNS: Mutex<Runs> = Mutex::new(Runs {
    ledgers: vec![],
    published: false,
});

impl Runs {
    pub(super) fn begin(&mut self, ledger: &Path) {
        self.ledgers.push(ledger.to_path_buf());
    }

    pub(super) fn end(&mut self, ledger: &Path) {
        self.ledgers.retain(|l| l != ledger);
    }

    /// Publishes what a run staged.
    ///
    /// # Errors
    /// Those of [`Prepared::publish`].
    pub fn publish(&mut self, prepared: Prepared, keep: Keep) -> Result<PathBuf> {
        let snapshot = prepared.publish(keep)?;
        self.published = true;
        Ok(snapshot)
    }
}

/// As long as this is held an interrupt waits. Only for what is short: writing a ledger, publishing.
pub fn whole() -> MutexGuard<'static, Runs> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes in the ledgers of this process that their runs were interrupted by `signal`. From then on nothing in this process
/// can publish or write a ledger: it is to end.
///
/// # Returns
/// What to hold until then, and what to say.
pub fn interrupt(signal: &str) -> (MutexGuard<'static, Runs>, Error) {
    let runs = whole();
    let said = match (runs.published, runs.ledgers.is_empty()) {
        (false, _) => "interrupted; the published tables are as they were",
        (true, false) => "interrupted; what was published before stays",
        (true, true) => "interrupted after the tables were published",
    };
    let mut error = Error::new(Kind::Interrupted, said);
    if runs.published && runs.ledgers.is_empty() {
        error = error.help("`recost report` writes the report, if it is missing");
    }
    end(runs, error, &format!("interrupted by {signal}"))
}

/// As [`interrupt`], of a run that has gone on for `span`, which is as long as it may. `None` where it was just done.
pub fn expire(span: TimeSpan) -> Option<(MutexGuard<'static, Runs>, Error)> {
    let runs = whole();
    if runs.published && runs.ledgers.is_empty() {
        return None;
    }
    let said =
        format!("the run passed its deadline of {span}; the published tables are as they were");
    let error = Error::new(Kind::Deadline, said)
        .help("the next run goes on after the last stage that was finished; where one alone takes longer, raise `[run] deadline`");
    Some(end(runs, error, &format!("passed its deadline of {span}")))
}

fn end(
    runs: MutexGuard<'static, Runs>,
    mut error: Error,
    message: &str,
) -> (MutexGuard<'static, Runs>, Error) {
    for file in &runs.ledgers {
        if let Err(e) = note(file, message, &runs) {
            error = error.help(format!("the ledger does not say so: {e}"));
        }
    }
    (runs, error)
}

fn note(file: &Path, message: &str, runs: &Runs) -> Result<()> {
    let mut ledger = Ledger::read(file)?;
    ledger.close(Status::Interrupted, Some(Utc::now()), Some(message));
    ledger.write(runs)?;
    remove_file(&lock_of(file))
}

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
use crate::warehouse::{Committed, Prepared};

/// What an interrupt finds of this process's runs.
#[derive(Debug)]
pub struct Runs {
    /// Ledgers of those under way.
    ledgers: Vec<PathBuf>,
    /// How often something was published.
    published: usize,
    /// How often before the night under way began.
    before: usize,
    /// Whether a store may name a snapshot that the folder does not name yet.
    committing: bool,
}

static RUNS: Mutex<Runs> = Mutex::new(Runs::new());

impl Runs {
    const fn new() -> Self {
        Runs {
            ledgers: vec![],
            published: 0,
            before: 0,
            committing: false,
        }
    }

    pub(super) fn begin(&mut self, ledger: &Path) {
        self.ledgers.push(ledger.to_path_buf());
    }

    pub(super) fn end(&mut self, ledger: &Path) {
        self.ledgers.retain(|l| l != ledger);
    }

    /// Publishes in the folder what [`commit`] has published in the store.
    ///
    /// # Errors
    /// Those of [`Committed::publish`].
    pub fn publish(&mut self, committed: Committed) -> Result<PathBuf> {
        let snapshot = committed.publish()?;
        self.committing = false;
        self.published += 1;
        Ok(snapshot)
    }

    /// Whether the night under way was published, with nothing left to do but its report.
    fn is_done(&self) -> bool {
        self.published > self.before && self.ledgers.is_empty() && !self.committing
    }

    /// What an interrupt leaves of the published tables.
    fn left(&self) -> &'static str {
        match (self.committing, self.published) {
            (true, _) => "whether the store has the new tables is not known",
            (false, 0) => "the published tables are as they were",
            (false, _) => "what was published before stays",
        }
    }
}

/// What is to be done about it where a store may or may not have what was to be published.
const FIND_OUT: &str = "run the same command again: it finds out, and publishes the tables if the store does not have them";

/// As long as this is held an interrupt waits. Only for what is short: writing a ledger, publishing in the folder.
pub fn whole() -> MutexGuard<'static, Runs> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a night begins. Gives how often something was published before.
pub fn begin() -> usize {
    let mut runs = whole();
    runs.before = runs.published;
    runs.before
}

/// Publishes what was prepared in the store, where there is one. An interrupt does not wait for it, since the store may take
/// its time to answer: if it ends the process here, the next run finds out what the store has.
///
/// # Errors
/// Those of [`Prepared::commit`].
pub fn commit(prepared: Prepared, keep: Keep) -> Result<Committed> {
    whole().committing = prepared.goes_to_store();
    let committed = prepared.commit(keep);
    committed.inspect_err(|e| whole().committing = e.kind() == Kind::Io)
}

/// Notes in the ledgers of this process that their runs were interrupted by `signal`. From then on nothing in this process
/// can publish or write a ledger: it is to end.
///
/// # Returns
/// What to hold until then, and what to say.
pub fn interrupt(signal: &str) -> (MutexGuard<'static, Runs>, Error) {
    let runs = whole();
    let error = match runs.is_done() {
        true => Error::new(
            Kind::Interrupted,
            "interrupted after the tables were published",
        )
        .help("`recost report` writes the report, if it is missing"),
        false => Error::new(Kind::Interrupted, format!("interrupted; {}", runs.left())),
    };
    let error = match runs.committing {
        true => error.help(FIND_OUT),
        false => error,
    };
    end(runs, error, &format!("interrupted by {signal}"))
}

/// As [`interrupt`], of a night that has gone on for `span`, which is as long as it may. `since` is what [`begin`] gave for it;
/// `None` where it was published meanwhile.
pub fn expire(span: TimeSpan, since: usize) -> Option<(MutexGuard<'static, Runs>, Error)> {
    expire_of(whole(), span, since)
}

fn expire_of(
    runs: MutexGuard<'static, Runs>,
    span: TimeSpan,
    since: usize,
) -> Option<(MutexGuard<'static, Runs>, Error)> {
    if runs.published > since {
        return None;
    }
    let said = format!("the run passed its deadline of {span}; {}", runs.left());
    let help = match runs.committing {
        true => FIND_OUT,
        false => {
            "the next run goes on after the last stage that was finished; where one alone takes longer, raise `[run] deadline`"
        }
    };
    let error = Error::new(Kind::Deadline, said).help(help);
    Some(end(runs, error, &format!("passed its deadline of {span}")))
}

fn end(
    runs: MutexGuard<'static, Runs>,
    mut error: Error,
    message: &str,
) -> (MutexGuard<'static, Runs>, Error) {
    for file in &runs.ledgers {
        if let Err(e) = note(file, message, &runs) {
            error = error.also(format!("the ledger does not say so: {e}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_done_by_its_own_publishing_and_not_by_that_of_a_night_before() {
        let mut runs = Runs::new();
        assert_eq!(runs.left(), "the published tables are as they were");
        runs.begin(Path::new("a"));
        runs.published += 1;
        assert!(!runs.is_done());
        runs.end(Path::new("a"));
        assert!(runs.is_done());
        // The next one hangs before it has a ledger.
        runs.before = runs.published;
        assert!(!runs.is_done());
        assert_eq!(runs.left(), "what was published before stays");
        runs.committing = true;
        assert!(runs.left().contains("not known"));
    }

    #[test]
    fn a_deadline_ends_a_night_of_a_backfill_that_has_published_others_and_no_remedy_is_lost() {
        let all: &'static Mutex<Runs> = Box::leak(Box::new(Mutex::new(Runs::new())));
        let span = TimeSpan(chrono::TimeDelta::hours(4));
        let ended = |since| expire_of(all.lock().unwrap(), span, since).map(|(_, error)| error);
        assert!(ended(0).is_some());
        all.lock().unwrap().published += 1;
        assert!(ended(0).is_none());
        // The next one, before it has a ledger, and with one that cannot be written.
        let error = ended(1).unwrap();
        assert!(error.to_string().contains("deadline of 4h"), "{error}");
        all.lock()
            .unwrap()
            .begin(Path::new("/nowhere/ledger.parquet"));
        let error = ended(1).unwrap();
        let remedy = error.remedy().unwrap();
        assert!(remedy.contains("raise `[run] deadline`"), "{remedy}");
        assert!(remedy.contains("the ledger does not say so"), "{remedy}");
    }
}

//! What became of runs that could not note it themselves: those whose process died, and those published by another.

use super::interrupt::Runs;
use super::ledger::{Ledger, Status, file_of, lock_of};
use crate::alive;
use crate::disk::{read_dir, remove_file};
use crate::error::Result;
use crate::warehouse::Warehouse;

/// Said of a run whose process died.
pub const DIED: &str = "its process died: a crash, kill -9, no memory, or the machine went down";

/// Whether the run `run_id` of `warehouse` goes on.
pub fn is_alive(warehouse: &Warehouse, run_id: &str) -> bool {
    alive::is_held(&lock_of(&file_of(warehouse, run_id)))
}

/// Notes of earlier runs what they could not note themselves.
pub(super) fn note_what_became(warehouse: &Warehouse, runs: &Runs) -> Result<()> {
    note_the_dead(warehouse, runs)?;
    note_the_published(warehouse, runs)
}

/// Notes of each run whose process died that it did.
fn note_the_dead(warehouse: &Warehouse, runs: &Runs) -> Result<()> {
    for lock in read_dir(&warehouse.runs())? {
        // What was to take the place of a ledger or a lock, by one that died just then.
        if lock.extension().is_some_and(|e| e == "new") && alive::is_abandoned(&lock) {
            remove_file(&lock)?;
        }
        if lock.extension().is_none_or(|e| e != "lock") || alive::is_held(&lock) {
            continue;
        }
        let file = lock.with_extension("parquet");
        if file.exists() {
            let mut ledger = Ledger::read(&file).map_err(|e| {
                e.context(format!("the ledger {} of a run that died", file.display()))
                    .help("remove the file")
            })?;
            let current = warehouse.snapshot();
            let published = current.is_some_and(|s| s.ends_with(&ledger.run_id));
            if published {
                let said = "published; then its process died, or could not write this";
                ledger.close(Status::Done, None, Some(said));
            } else {
                ledger.close(Status::Killed, None, Some(DIED));
            }
            ledger.write(runs)?;
        }
        remove_file(&file.with_extension("new"))?;
        remove_file(&lock)?;
    }
    Ok(())
}

/// Notes of the run whose snapshot is current that it is done: one that could not reach the store ended with an error, and
/// whoever took the lock next has published it since.
fn note_the_published(warehouse: &Warehouse, runs: &Runs) -> Result<()> {
    let file = warehouse.run().map(|run| file_of(warehouse, &run));
    let Some(mut ledger) = file
        .filter(|f| f.exists())
        .map(|f| Ledger::read(&f))
        .transpose()?
    else {
        return Ok(());
    };
    let Some(run) = ledger.entries.first_mut() else {
        return Ok(());
    };
    if [Status::Failed, Status::Interrupted, Status::Killed].contains(&run.status) {
        let before = run.message.take().unwrap_or_default();
        run.status = Status::Done;
        run.message = Some(format!("published later; when it ended: {before}"));
        ledger.write(runs)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::NaiveDate;

    use super::*;

    /// Status and message of the whole run, and its version.
    fn of(file: &Path) -> (Status, Option<String>, String) {
        let ledger = Ledger::read(file).unwrap();
        let run = &ledger.entries[0];
        (run.status, run.message.clone(), ledger.version)
    }

    #[test]
    fn a_ledger_that_cannot_be_written_after_publishing_is_no_failure_and_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        let lock = warehouse.lock("a test").unwrap();
        let night = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
        let mut ledger = Ledger::start(&warehouse, night, "cpu").unwrap();
        let staging = warehouse.stage(&ledger.run_id, &lock).unwrap();
        let file = file_of(&warehouse, &ledger.run_id);
        // As where there is no room for it.
        let there = file.with_extension("new");
        std::fs::create_dir(&there).unwrap();
        ledger.publish(staging, 3.into()).unwrap();
        assert_eq!(warehouse.run().as_deref(), Some(ledger.run_id.as_str()));
        assert_eq!(of(&file).0, Status::Started);
        drop(ledger);
        std::fs::remove_dir(&there).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        Ledger::start(&warehouse, night, "cpu")
            .unwrap()
            .finish(None)
            .unwrap();
        assert_eq!(of(&file).0, Status::Done);
        assert!(!lock_of(&file).exists());
    }

    #[test]
    fn a_run_that_died_is_noted_and_one_that_lives_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        let lock = warehouse.lock("a test").unwrap();
        let night = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
        let start = || {
            // An id is a process and a millisecond.
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ledger::start(&warehouse, night, "cpu").unwrap()
        };
        let file = |ledger: Ledger| file_of(&warehouse, &ledger.run_id);
        let mut killed = start();
        killed.begin("train").unwrap();
        killed.end(Some(1), "trained".into()).unwrap();
        killed.version = "0.0.1".into();
        killed.begin("score").unwrap();
        let (staged, living) = (start(), start());
        let staging = warehouse.stage(&staged.run_id, &lock).unwrap();
        staging.publish(3).unwrap();
        // Two die, one of them between publishing and noting so.
        let (killed, published) = (file(killed), file(staged));
        assert_eq!(of(&killed).0, Status::Started);
        start().finish(None).unwrap();
        assert_eq!(
            of(&killed),
            (Status::Killed, Some(DIED.into()), "0.0.1".into())
        );
        let stages = Ledger::read(&killed).unwrap().entries;
        let stages: Vec<_> = stages.iter().map(|e| (e.status, e.rows)).collect();
        assert_eq!(
            stages,
            [
                (Status::Killed, None),
                (Status::Done, Some(1)),
                (Status::Killed, None)
            ]
        );
        assert_eq!(of(&published).0, Status::Done);
        assert_eq!(of(&file_of(&warehouse, &living.run_id)).0, Status::Started);
        assert!(is_alive(&warehouse, &living.run_id));
        assert!(!lock_of(&killed).exists() && !lock_of(&published).exists());
        let before = Ledger::read(&killed).unwrap().entries[1].ended_at;
        start().finish(None).unwrap();
        assert_eq!(Ledger::read(&killed).unwrap().entries[1].ended_at, before);
        assert!(before.is_some());
    }
}

//! Old ledgers are put together: all ended runs of a month in one file, once the month after it is over as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{Datelike, Months, NaiveDate};

use super::ledger::{Ledger, Status, lock_of, write};
use crate::disk::{read_dir, remove_file, sync_dir};
use crate::error::Result;
use crate::warehouse::{Warehouse, ledgers};

/// Puts the ledgers of `warehouse` together, for whom `today` is. Needs the warehouse's lock. Whatever ends it in the middle,
/// each run is still there, and counts once ([`ledgers::files`]).
///
/// # Errors
/// Those of reading and writing. What cannot be read stays as it is.
pub fn compact(warehouse: &Warehouse, today: NaiveDate) -> Result<()> {
    let dir = warehouse.runs();
    let first_kept = today
        .with_day(1)
        .and_then(|first| first.checked_sub_months(Months::new(1)))
        .map(|first| first.format("%Y-%m").to_string())
        .unwrap_or_default();
    let mut due: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in ledgers::files(&dir)? {
        let run = file.file_stem().and_then(|s| s.to_str());
        let month = run.and_then(ledgers::month_of);
        if ledgers::month(&file).is_none()
            && let Some(month) = month.filter(|month| *month < first_kept)
            && !lock_of(&file).exists()
        {
            due.entry(month).or_default().push(file);
        }
    }
    for (month, files) in due {
        add(&dir, &month, &files)?;
    }
    for file in ledgers::twice(&dir, &read_dir(&dir)?)? {
        remove_file(&file)?;
    }
    Ok(())
}

/// Puts what has ended of `files` into the file of `month`.
fn add(dir: &Path, month: &str, files: &[PathBuf]) -> Result<()> {
    let whole = ledgers::of_month(dir, month);
    let mut runs = match whole.exists() {
        true => Ledger::read_all(&whole)?,
        false => vec![],
    };
    let before = runs.len();
    for file in files {
        match Ledger::read(file) {
            Ok(run) if run.entries.iter().all(|e| e.status != Status::Started) => runs.push(run),
            Ok(_) => {}
            Err(e) => tracing::warn!(error = %e, "a ledger that cannot be read stays as it is"),
        }
    }
    if runs.len() == before {
        return Ok(());
    }
    runs.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    write(&whole, &runs)?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;

    use super::*;
    use crate::engine::rows::map;
    use crate::engine::{Engine, Options};
    use crate::pipeline::ledger::file_of;
    use crate::pipeline::runs;

    const RUNS: [&str; 5] = [
        "20260930T231502123Z-7",
        "20261001T031502123Z-7",
        "20261002T031502123Z-7",
        "20261101T031502123Z-7",
        "20261201T031502123Z-7",
    ];

    /// A warehouse in which each of [`RUNS`] has ended, with a stage.
    fn warehouse() -> (tempfile::TempDir, Warehouse) {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        drop(warehouse.lock("a test").unwrap());
        for run in RUNS {
            let mut ledger = Ledger::start(&warehouse, day("2026-10-31"), "cpu").unwrap();
            ledger.begin("train").unwrap();
            ledger.end(Some(3), format!("trained by {run}")).unwrap();
            ledger.finish(None).unwrap();
            let written = file_of(&warehouse, &ledger.run_id);
            ledger.run_id = run.to_string();
            write(&file_of(&warehouse, run), &[ledger]).unwrap();
            std::fs::remove_file(written).unwrap();
        }
        (dir, warehouse)
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn files(warehouse: &Warehouse) -> Vec<String> {
        let paths = read_dir(&warehouse.runs()).unwrap();
        let names = paths.iter().map(|p| p.file_name().unwrap().to_str());
        names.map(|name| name.unwrap().to_string()).collect()
    }

    /// Rows of the table `runs`, by run, and whether those who read ledgers see the same.
    fn rows(warehouse: &Warehouse) -> Map<String, u64> {
        let options = Options {
            memory: 64 << 20,
            threads: 1,
            spill: None,
            spill_limit: u64::MAX,
            settings: Map::new(),
            date: day("2026-10-31"),
            month: None,
            lateness_days: 0,
        };
        let engine = Engine::open(&options, None, Some(&warehouse.runs())).unwrap();
        let sql = "select run_id, count(*) as rows, count(distinct stage) as stages from runs group by run_id";
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(engine.collect(sql)).unwrap();
        let found = map(&found, |row| {
            assert_eq!(row.count("rows")?, row.count("stages")?);
            Ok((row.needed("run_id")?, row.count("rows")?))
        });
        let found: Map<_, _> = found.unwrap().into_iter().collect();
        let seen: Vec<_> = runs::all(warehouse).unwrap().map(Result::unwrap).collect();
        let mut ids: Vec<_> = seen.iter().map(|l| &l.run_id).collect();
        // Of a month those that are not in its file come before all that are.
        ids.sort_by(|a, b| b.cmp(a));
        assert_eq!(ids, found.keys().rev().collect::<Vec<_>>());
        for ledger in seen {
            let of = runs::of(warehouse, &ledger.run_id).unwrap().unwrap();
            assert_eq!(of.entries.len() as u64, found[&ledger.run_id]);
            let message = of.entries.last().unwrap().message.clone();
            assert!(message.unwrap().ends_with(&ledger.run_id));
        }
        found
    }

    #[test]
    fn ended_runs_of_old_months_come_into_one_file_each_and_count_once() {
        let (_dir, warehouse) = warehouse();
        let before = rows(&warehouse);
        assert_eq!(before.len(), RUNS.len());
        compact(&warehouse, day("2026-10-31")).unwrap();
        assert_eq!(
            files(&warehouse).len(),
            RUNS.len(),
            "a month ago is not old"
        );
        compact(&warehouse, day("2026-12-01")).unwrap();
        let [.., november, december] = RUNS.map(|run| format!("{run}.parquet"));
        let whole = ["2026-09.parquet", "2026-10.parquet"].map(String::from);
        let expected = [&whole[0], &whole[1], &november, &december];
        assert_eq!(files(&warehouse).iter().collect::<Vec<_>>(), expected);
        assert_eq!(rows(&warehouse), before);
        compact(&warehouse, day("2026-12-31")).unwrap();
        assert_eq!(files(&warehouse).len(), 4);
        assert!(
            runs::of(&warehouse, "20261003T031502123Z-7")
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn one_that_was_cut_off_or_that_is_late_is_finished_by_the_next() {
        let (_dir, warehouse) = warehouse();
        let before = rows(&warehouse);
        // One goes on, and one is of a clock that was set back.
        let [living, late] = [RUNS[3], RUNS[2]].map(|run| file_of(&warehouse, run));
        std::fs::write(lock_of(&living), "").unwrap();
        let aside = late.with_extension("aside");
        std::fs::rename(&late, &aside).unwrap();
        let first = file_of(&warehouse, RUNS[0]);
        let copy = std::fs::read(&first).unwrap();
        compact(&warehouse, day("2027-01-31")).unwrap();
        assert!(living.exists() && !first.exists());
        // The file of the month is there, and those of its runs are not gone yet.
        std::fs::write(&first, copy).unwrap();
        std::fs::rename(&aside, &late).unwrap();
        assert_eq!(rows(&warehouse), before);
        std::fs::remove_file(lock_of(&living)).unwrap();
        compact(&warehouse, day("2027-01-31")).unwrap();
        let last = format!("{}.parquet", RUNS[4]);
        let whole = ["2026-09", "2026-10", "2026-11"].map(|m| format!("{m}.parquet"));
        let expected = whole.into_iter().chain([last]).collect::<Vec<_>>();
        assert_eq!(files(&warehouse), expected);
        assert_eq!(rows(&warehouse), before);
    }

    #[test]
    fn what_has_not_ended_or_cannot_be_read_stays_as_it_is() {
        let (_dir, warehouse) = warehouse();
        let broken = file_of(&warehouse, "20261003T031502123Z-7");
        std::fs::write(&broken, "no ledger").unwrap();
        let mut started = Ledger::read(&file_of(&warehouse, RUNS[1])).unwrap();
        started.entries[0].status = Status::Started;
        let started_file = file_of(&warehouse, RUNS[1]);
        write(&started_file, &[started]).unwrap();
        compact(&warehouse, day("2026-12-01")).unwrap();
        assert!(broken.exists() && started_file.exists());
        assert!(!file_of(&warehouse, RUNS[2]).exists());
        std::fs::remove_file(&broken).unwrap();
        assert_eq!(rows(&warehouse).len(), RUNS.len());
    }
}

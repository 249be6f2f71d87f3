//! The files of the ledger of runs: one per run, `<run>.parquet`, and one for all ended runs of an old month,
//! `YYYY-MM.parquet`.
//!
//! A month's file is written first and the files of its runs go then, so a run may lie in both for a moment, or after a crash
//! until the next run. It counts once: as the month's file has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;

use crate::decoder;
use crate::disk::read_dir;
use crate::error::Result;

/// The files of a folder of ledgers, oldest first, that together have each run once.
///
/// # Errors
/// Those of the file system; a month's file that is no ledger.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = read_dir(dir)?;
    files.retain(|file| file.extension().is_some_and(|e| e == "parquet"));
    let twice: BTreeSet<PathBuf> = twice(dir, &files)?.into_iter().collect();
    files.retain(|file| !twice.contains(file));
    // Both begin with the time; of a month its own file is the older one.
    files.sort_by_key(|file| stem(file).replace('-', ""));
    Ok(files)
}

/// The month that a file has all runs of, as `YYYY-MM`.
pub(crate) fn month(file: &Path) -> Option<&str> {
    let stem = stem(file);
    let (year, month) = stem.split_once('-')?;
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    (digits(year, 4) && digits(month, 2)).then_some(stem)
}

/// The month in which a run began, as `YYYY-MM`, by its id.
pub(crate) fn month_of(run_id: &str) -> Option<String> {
    let digits = run_id.get(..6)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| format!("{}-{}", &digits[..4], &digits[4..]))
}

/// The file of a month's runs.
pub(crate) fn of_month(dir: &Path, month: &str) -> PathBuf {
    dir.join(format!("{month}.parquet"))
}

/// Of the files those of runs that are in a month's file as well.
pub(crate) fn twice(dir: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut by_month: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(|file| month(file).is_none()) {
        if let Some(month) = month_of(stem(file)) {
            by_month.entry(month).or_default().push(file.clone());
        }
    }
    let mut twice = vec![];
    for (month, mut single) in by_month {
        let whole = of_month(dir, &month);
        if whole.exists() {
            let known = run_ids(&whole)?;
            single.retain(|file| known.contains(stem(file)));
            twice.extend(single);
        }
    }
    Ok(twice)
}

/// The runs that a file has.
fn run_ids(file: &Path) -> Result<BTreeSet<String>> {
    let opened = decoder::open(file)?;
    let mask = ProjectionMask::columns(opened.parquet_schema(), ["run_id"]);
    let mut ids = BTreeSet::new();
    for batch in decoder::rows(file, opened.with_projection(mask))? {
        for column in batch?.columns() {
            let column = cast(column, &DataType::Utf8View)?;
            ids.extend(column.as_string_view().iter().flatten().map(String::from));
        }
    }
    Ok(ids)
}

fn stem(file: &Path) -> &str {
    file.file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_told_from_a_run() {
        assert_eq!(month(Path::new("runs/2026-10.parquet")), Some("2026-10"));
        for run in [
            "20261101T031502123Z-4711",
            "run-01",
            "2026-1",
            "2026-10-01",
            "",
        ] {
            assert_eq!(
                month(&Path::new("runs").join(format!("{run}.parquet"))),
                None,
                "{run}"
            );
        }
        assert_eq!(
            month_of("20261101T031502123Z-4711").as_deref(),
            Some("2026-11")
        );
        assert_eq!(month_of("run-000001"), None);
    }
}

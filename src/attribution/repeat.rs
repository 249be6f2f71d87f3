//! A rerun is byte-identical: what the same inputs gave once, they must give again.
//!
//! Of each billing period the warehouse remembers, beside its snapshots, a hash of what its allocations were made of and one
//! of what came out. Inputs are the files of every table that the SQL reads, the SQL itself, the rules and the settings.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use xxhash_rust::xxh3::Xxh3;

use super::work::contract;
use crate::disk::{make_dir, write_whole};
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::warehouse::contract::Partition;
use crate::warehouse::store::{partition_dir, partitions};

/// Folder below the warehouse.
const FOLDER: &str = "repeats";

/// The first and last day of which a table is read; `None`: all.
pub type Days<'a> = dyn Fn(&str) -> Option<(NaiveDate, NaiveDate)> + 'a;

/// A hash of what the allocations of a period are made of.
pub struct Inputs(u128);

impl Inputs {
    /// Of the SQL files `sql`, run for `period` with a table's first to last of `days`, or all; `rules` is everything else
    /// that decides.
    ///
    /// # Errors
    /// Those of reading the tables' files.
    pub fn of(
        engine: &Engine,
        options: &Options,
        snapshot: &Path,
        (period, days): (&str, &Days<'_>),
        sql: &[&str],
        rules: &str,
    ) -> Result<Self> {
        let mut hasher = Xxh3::new();
        let version = env!("CARGO_PKG_VERSION");
        hasher.update(format!("{version}|{rules}|{:?}|", options.settings).as_bytes());
        let mut tables = std::collections::BTreeSet::new();
        for text in sql {
            hasher.update(text.as_bytes());
            if text.contains("as_of(") {
                hasher.update(options.date.to_string().as_bytes());
            }
            tables.extend(engine.inputs(text)?);
        }
        for table in tables {
            let Ok(table) = contract(&table) else {
                continue;
            };
            let wanted = |value: &String| match table.partition {
                Partition::BillingPeriod => value == period,
                Partition::Day => days(table.name)
                    .is_none_or(|(from, to)| (from.to_string()..=to.to_string()).contains(value)),
                Partition::None => true,
            };
            let values = match table.partition {
                Partition::None => vec![String::new()],
                _ => partitions(snapshot, table)?,
            };
            for value in values.iter().filter(|v| wanted(v)) {
                hasher.update(format!("|{}/{value}|", table.name).as_bytes());
                for file in files(&partition_dir(snapshot, table, value))? {
                    add(&mut hasher, &file)?;
                }
            }
        }
        Ok(Inputs(hasher.digest128()))
    }

    /// Holds what came out, the file `output`, against what the same inputs gave before, and remembers it.
    ///
    /// # Errors
    /// `Kind::Check` when it is something else; those of the file system.
    pub fn gave(&self, warehouse: &Path, period: &str, output: &Path) -> Result<()> {
        let mut hasher = Xxh3::new();
        if output.exists() {
            add(&mut hasher, output)?;
        }
        let mut inputs = String::new();
        let _ = write!(inputs, "{:032x}", self.0);
        let now = format!("{inputs} {:032x}\n", hasher.digest128());
        let folder = warehouse.join(FOLDER);
        let path = folder.join(period);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if before.starts_with(&inputs) && before != now {
            return Err(Error::check(format!(
                "the check rerun_is_identical fails: the allocations of {period} were made of the same bills, telemetry, rules and SQL as before, and came out otherwise"
            ))
            .help(format!(
                "look in sql/attribution/lines.sql and sql/attribution/drivers/ for what is not the same each time, such as random() or now(); after a change of the program itself remove {}",
                path.display()
            )));
        }
        make_dir(&folder)?;
        write_whole(&path, now.as_bytes())
    }
}

/// The Parquet files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io("cannot read the folder", folder, &e);
    let mut found = vec![];
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn add(hasher: &mut Xxh3, path: &Path) -> Result<()> {
    let failed = |e| Error::io("cannot read", path, &e);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

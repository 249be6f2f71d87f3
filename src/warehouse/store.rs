//! The warehouse on disk: snapshots, staging, and the one step in which all tables of a run change together.
//!
//! ```text
//! warehouse/
//!   current -> snapshots/<run>        what readers open; replaced by one rename
//!   current.json                      the same as a file, and which snapshots are kept beside it
//!   snapshots/<run>/<table>/<partition>/*.parquet
//!   snapshots/<run>.staging           what a run builds
//!   snapshots/<run>.stages            what its finished stages wrote, until it has published
//!   runs/<run>.parquet                the ledger: written when a run starts and again when it ends
//!   lock                              held by the run that writes
//! ```
//! A run stages a copy of the current snapshot made of hard links, so that what does not change costs directory entries
//! and no bytes, replaces partitions in it, and publishes it by pointing `current` at it. Files are never changed once
//! written, so a reader that holds the old snapshot keeps reading it.
//!
//! With a store beside it ([`Mirror`]) the folder is a working copy: what is published is what the store's pointer names.

mod current;
mod staging;

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;

use super::contract::Table;
use super::evolution;
use super::mirror::Mirror;
use crate::config::Pipeline;
use crate::disk::{make_dir, read_dir, remove_dir};
use crate::error::{Error, Kind, Result};

pub(super) use current::ORPHAN;
#[cfg(test)]
pub(super) use staging::link_tree;
pub use staging::{Committed, Prepared, Staging};

/// A warehouse folder.
#[derive(Debug, Clone)]
pub struct Warehouse {
    root: PathBuf,
    mirror: Option<Arc<Mirror>>,
}

/// Held while a run writes; another run is refused.
#[derive(Debug)]
pub struct Lock {
    mirror: Option<Arc<Mirror>>,
    _file: File,
}

impl Warehouse {
    /// The warehouse at `root`, which need not exist yet, without a store: for those who read, and for tests.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Warehouse {
            root: root.into(),
            mirror: None,
        }
    }

    /// The warehouse of a pipeline, for those who publish.
    ///
    /// # Errors
    /// `Kind::Config` when `[store]` is wrong.
    pub fn of(pipeline: &Pipeline) -> Result<Self> {
        let mut warehouse = Warehouse::new(&pipeline.warehouse);
        if let Some(store) = &pipeline.store {
            let mirror = Mirror::open(store, &warehouse.root, pipeline.run.keep())?;
            warehouse.mirror = Some(Arc::new(mirror));
        }
        Ok(warehouse)
    }

    /// The warehouse's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of the run ledger.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Folder of the snapshots, and of what runs build beside them.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// What readers open: `current`.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The published snapshot's own folder, or `None` before the first run.
    pub fn snapshot(&self) -> Option<PathBuf> {
        self.current().canonicalize().ok()
    }

    /// The run whose snapshot is published, or `None` before the first.
    pub fn run(&self) -> Option<String> {
        let link = fs::read_link(self.current()).ok()?;
        Some(link.file_name()?.to_str()?.to_string())
    }

    /// Folder of a run's snapshot.
    pub(super) fn snapshot_of(&self, run: &str) -> PathBuf {
        self.snapshots().join(run)
    }

    /// The published snapshot's own folder, or an error that says what to do.
    ///
    /// # Errors
    /// `Kind::Config` before the first run.
    pub fn published(&self) -> Result<PathBuf> {
        self.snapshot().ok_or_else(|| {
            Error::config(format!(
                "nothing was published in {} yet",
                self.root.display()
            ))
            .help("run the pipeline first: recost run PIPELINE")
        })
    }

    /// The URL of the store, where there is one.
    pub fn store(&self) -> Option<&str> {
        self.mirror.as_ref().map(|mirror| mirror.url())
    }

    /// Has the store hold what is published here and nothing older, nor what was sent and never published. Gives where those
    /// lay that are gone.
    ///
    /// # Errors
    /// `Kind::Locked` when another published meanwhile; those of the store.
    pub fn clear_store(&self, _lock: &Lock) -> Result<Vec<PathBuf>> {
        match (&self.mirror, self.run()) {
            (Some(mirror), Some(run)) => mirror.clear(&run),
            _ => Ok(vec![]),
        }
    }

    /// The files of the store that are not, by name and length, here as well: each where it can be read, for which it may be
    /// fetched into the folder `to`, and as messages name it.
    ///
    /// # Errors
    /// Those of the store and of the file system.
    pub fn only_in_store(&self, to: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mirror = self.mirror.as_ref();
        mirror.map_or(Ok(vec![]), |mirror| mirror.unlike(to))
    }

    /// Makes the folders and takes the lock; with a store that one's as well, and what was published there since is fetched, or
    /// what could not be published there is. What crashes left is removed.
    ///
    /// # Errors
    /// `Kind::Locked` with the holder's note when another run holds it; `Kind::Config` when the folder cannot be written, or it
    /// and the store both changed; `Kind::Contract` when this program's tables do not follow the published ones; those of the
    /// store.
    pub fn lock(&self, note: &str) -> Result<Lock> {
        for dir in [&self.root, &self.runs(), &self.snapshots()] {
            make_dir(dir)?;
        }
        let path = self.root.join("lock");
        let io = |e| Error::io("cannot use the lock file", &path, &e);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        // One that is ending, and a child of this process before it becomes a program of its own, hold it for a moment.
        let mut locked = file.try_lock();
        for _ in 0..10 {
            if matches!(locked, Err(TryLockError::WouldBlock)) {
                std::thread::sleep(Duration::from_millis(20));
                locked = file.try_lock();
            }
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It writes who it is once it has the lock.
                for _ in 0..10 {
                    file.rewind().map_err(io)?;
                    file.read_to_string(&mut holder).map_err(io)?;
                    if !holder.is_empty() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Err(Error::new(
                    Kind::Locked,
                    format!(
                        "another run is writing to {}: {}",
                        self.root.display(),
                        holder.trim()
                    ),
                )
                .help("wait until it has ended; the lock goes with its process"));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{note}").map_err(io)?;
        let lock = Lock {
            mirror: self.mirror.clone(),
            _file: file,
        };
        if let Some(mirror) = &self.mirror {
            mirror.begin(self, note)?;
        }
        self.remove_orphans()?;
        self.agree()?;
        if let Some(snapshot) = self.snapshot() {
            evolution::check(&snapshot)?;
        }
        Ok(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(mirror) = &self.mirror {
            mirror.end();
        }
    }
}

/// The folder of one partition of `table` below a snapshot. `partition` is `ds=…`, `billing_period=…`, or empty for a
/// table without partitions.
pub fn partition_dir(snapshot: &Path, table: &Table, partition: &str) -> PathBuf {
    let dir = snapshot.join(table.name);
    match table.partition.column() {
        Some(column) => dir.join(format!("{column}={partition}")),
        None => dir,
    }
}

/// The folder of one partition of `table` in a staged snapshot, emptied, for the caller to write into.
///
/// # Errors
/// Those of the file system.
pub fn replace(snapshot: &Path, table: &Table, partition: &str) -> Result<PathBuf> {
    let dir = partition_dir(snapshot, table, partition);
    remove_dir(&dir)?;
    make_dir(&dir)?;
    Ok(dir)
}

/// The values of the partitions that a snapshot has of `table`, sorted.
pub fn partitions(snapshot: &Path, table: &Table) -> Result<Vec<String>> {
    let Some(column) = table.partition.column() else {
        return Ok(vec![]);
    };
    let mut values: Vec<String> = read_dir(&snapshot.join(table.name))?
        .iter()
        .filter_map(|p| {
            p.file_name()?
                .to_str()?
                .strip_prefix(column)?
                .strip_prefix('=')
        })
        .map(str::to_string)
        .collect();
    values.sort();
    Ok(values)
}

/// Bytes of the files of `table` for each day of the window that has any.
///
/// # Errors
/// Those of the file system.
pub fn bytes_by_day(
    snapshot: &Path,
    table: &Table,
    window: (NaiveDate, NaiveDate),
) -> Result<Vec<u64>> {
    let window = (window.0.to_string(), window.1.to_string());
    let mut days = partitions(snapshot, table)?;
    days.retain(|day| *day >= window.0 && *day <= window.1);
    let bytes = |day: &String| -> Result<u64> {
        let files = read_dir(&partition_dir(snapshot, table, day))?;
        let sizes = files.iter().map(|file| {
            let size = file.metadata().map(|m| m.len());
            size.map_err(|e| Error::io("cannot look at", file, &e))
        });
        sizes.sum()
    };
    days.iter().map(bytes).collect()
}

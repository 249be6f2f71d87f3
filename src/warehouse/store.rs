//! The warehouse on disk: snapshots, staging, and the one step in which all tables of a run change together.
//!
//! ```text
//! warehouse/
//!   current -> snapshots/<run>        what readers open; replaced by one rename
//!   snapshots/<run>/<table>/<partition>/*.parquet
//!   snapshots/<run>.staging           what a run builds
//!   snapshots/<run>.stages            what its finished stages wrote, until it has published
//!   runs/<run>.parquet                the ledger: written when a run starts and again when it ends
//!   lock                              held by the run that writes
//! ```
//! A run stages a copy of the current snapshot made of hard links, so that what does not change costs directory entries
//! and no bytes, replaces partitions in it, and publishes it by pointing `current` at it. Files are never changed once
//! written, so a reader that holds the old snapshot keeps reading it.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::scratch;
use crate::warehouse::contract::Table;

/// A warehouse folder.
#[derive(Debug, Clone)]
pub struct Warehouse {
    root: PathBuf,
}

/// A snapshot that a run is building; removed when dropped without being published.
#[derive(Debug)]
pub struct Staging {
    warehouse: Warehouse,
    run_id: String,
    dir: PathBuf,
    published: bool,
}

/// Held while a run writes; another run is refused.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Warehouse {
    /// The warehouse at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Warehouse { root: root.into() }
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

    /// Name of the published snapshot, the id of the run that made it, or `None` before the first run.
    pub fn snapshot_name(&self) -> Option<String> {
        let snapshot = self.snapshot()?;
        Some(snapshot.file_name()?.to_string_lossy().into_owned())
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

    /// Makes the folders and takes the lock.
    ///
    /// # Errors
    /// `Kind::Locked` with the holder's note when another run holds it; `Kind::Config` when the folder cannot be written.
    pub fn lock(&self, note: &str) -> Result<Lock> {
        for dir in [self.root.clone(), self.runs(), self.snapshots()] {
            fs::create_dir_all(&dir).map_err(|e| Error::io("cannot make the folder", &dir, &e))?;
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
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
        Ok(Lock { _file: file })
    }

    /// Begins a snapshot for `run_id`: a copy of the current one made of hard links. Needs the [`Lock`], so that what a
    /// crashed run left behind can be removed first.
    pub fn stage(&self, run_id: &str, lock: &Lock) -> Result<Staging> {
        self.sweep(lock)?;
        let staging = Staging {
            warehouse: self.clone(),
            run_id: run_id.to_string(),
            dir: self.snapshots().join(format!("{run_id}.staging")),
            published: false,
        };
        staging.fill()?;
        Ok(staging)
    }

    /// Removes what crashed runs were building.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(&self, _lock: &Lock) -> Result<()> {
        let mut entries = read_dir(&self.snapshots())?;
        entries.retain(|path| path.extension().is_some_and(|e| e == "staging"));
        entries.iter().try_for_each(|dir| remove_dir(dir))
    }

    /// The published snapshot as links in a temporary folder, to try in it what a run would do; removed when dropped.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn draft(&self) -> Result<tempfile::TempDir> {
        let temp = scratch::folder(&std::env::temp_dir())?;
        let dir = tempfile::tempdir_in(&temp)
            .map_err(|e| Error::io("cannot make a folder in", &temp, &e))?;
        if let Some(current) = self.snapshot() {
            link_tree(&current, dir.path(), &|from, to| {
                std::os::unix::fs::symlink(from, to).map_err(|e| Error::io("cannot link", from, &e))
            })?;
        }
        Ok(dir)
    }
}

impl Staging {
    /// The folder being built.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Begins again with the current snapshot, in another folder: threads of what went wrong may still write into the old
    /// one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin_again(&mut self, attempt: usize) -> Result<()> {
        let name = format!("{}.{attempt}.staging", self.run_id);
        let old = std::mem::replace(&mut self.dir, self.warehouse.snapshots().join(name));
        if let Err(e) = remove_dir(&old) {
            tracing::warn!(error = %e, "what went wrong could not be removed; the next run will");
        }
        self.fill()
    }

    fn fill(&self) -> Result<()> {
        match self.warehouse.snapshot() {
            Some(current) => link_tree(&current, &self.dir, &link_or_copy),
            None => make_dir(&self.dir),
        }
    }

    /// Makes the staged snapshot the current one in a single rename, then removes snapshots beyond the newest `keep`
    /// older ones.
    pub fn publish(mut self, keep: usize) -> Result<PathBuf> {
        remove_empty_dirs(&self.dir)?;
        sync_tree(&self.dir)?;
        let snapshots = self.warehouse.snapshots();
        let done = snapshots.join(&self.run_id);
        fs::rename(&self.dir, &done).map_err(|e| Error::io("cannot rename", &self.dir, &e))?;
        self.published = true;
        sync_dir(&snapshots)?;
        let link = self.warehouse.root.join("current.new");
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).map_err(|e| Error::io("cannot remove", &link, &e))?;
        }
        std::os::unix::fs::symlink(Path::new("snapshots").join(&self.run_id), &link)
            .map_err(|e| Error::io("cannot make the link", &link, &e))?;
        let current = self.warehouse.current();
        fs::rename(&link, &current).map_err(|e| Error::io("cannot replace", &current, &e))?;
        sync_dir(&self.warehouse.root)?;

        let mut old: Vec<PathBuf> = read_dir(&snapshots)?;
        old.retain(|p| *p != done && p.extension().is_none());
        old.sort();
        let surplus = old.len().saturating_sub(keep);
        for dir in &old[..surplus] {
            remove_dir(dir)?;
        }
        Ok(done)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published
            && let Err(e) = remove_dir(&self.dir)
        {
            tracing::warn!(error = %e, "the staged snapshot could not be removed; the next run will");
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

/// Makes a folder and those above it.
///
/// # Errors
/// Those of the file system.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io("cannot make the folder", dir, &e))
}

/// Removes a folder and what is in it; one that is not there is no error.
///
/// # Errors
/// Those of the file system.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", dir, &e))
        }
        _ => Ok(()),
    }
}

/// The paths in a folder, sorted; empty where there is no such folder.
///
/// # Errors
/// Those of the file system.
pub(crate) fn read_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io("cannot list", dir, &e)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| Error::io("cannot list", dir, &e))?;
    paths.sort();
    Ok(paths)
}

/// Gives a file a second name; on a file system without hard links (some network shares) a copy.
///
/// # Errors
/// Those of the file system.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(|e| Error::io("cannot link or copy", from, &e))
}

/// Makes the folder `to` with what is in `from`, each file by `link`.
///
/// # Errors
/// Those of the file system.
pub(super) fn link_tree(
    from: &Path,
    to: &Path,
    link: &dyn Fn(&Path, &Path) -> Result<()>,
) -> Result<()> {
    make_dir(to)?;
    for path in read_dir(from)? {
        let Some(name) = path.file_name() else {
            continue;
        };
        let target = to.join(name);
        if path.is_dir() {
            link_tree(&path, &target, link)?;
        } else {
            link(&path, &target)?;
        }
    }
    Ok(())
}

/// Removes the folders below `dir` that have nothing in them.
///
/// # Errors
/// Those of the file system.
pub(super) fn remove_empty_dirs(dir: &Path) -> Result<()> {
    for path in read_dir(dir)? {
        if path.is_dir() {
            remove_empty_dirs(&path)?;
            if read_dir(&path)?.is_empty() {
                remove_dir(&path)?;
            }
        }
    }
    Ok(())
}

/// Puts the entries of a folder and of those below it on disk.
///
/// # Errors
/// Those of the file system.
pub(super) fn sync_tree(dir: &Path) -> Result<()> {
    for path in read_dir(dir)? {
        if path.is_dir() {
            sync_tree(&path)?;
        }
    }
    sync_dir(dir)
}

/// Puts the entries of a folder on disk.
///
/// # Errors
/// Those of the file system.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::io("cannot sync", dir, &e))
}

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

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{NaiveDate, Utc};

use super::evolution;
use super::mirror::Mirror;
use super::names;
use super::pointer::{self, Pointer, Previous, is_run};
use crate::config::{Keep, Pipeline};
use crate::error::{Error, Kind, Result};
use crate::scratch;
use crate::warehouse::contract::Table;

/// How long what nothing points to is left alone: it may be under way.
pub(super) const ORPHAN: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a reader may take to list the folders of a table.
const LISTING: Duration = Duration::from_millis(250);

/// A warehouse folder.
#[derive(Debug, Clone)]
pub struct Warehouse {
    root: PathBuf,
    mirror: Option<Arc<Mirror>>,
}

/// A snapshot that a run is building; removed when dropped without being published.
#[derive(Debug)]
pub struct Staging {
    warehouse: Warehouse,
    run_id: String,
    dir: PathBuf,
    published: bool,
}

/// A snapshot that is complete wherever it is to be published, and that no reader sees yet.
#[derive(Debug)]
pub struct Prepared {
    staging: Staging,
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

    /// Makes the folders and takes the lock; with a store that one's as well, and what was published there since is fetched, or
    /// what could not be published there is. What crashes left is removed.
    ///
    /// # Errors
    /// `Kind::Locked` with the holder's note when another run holds it; `Kind::Config` when the folder cannot be written, or it
    /// and the store both changed; `Kind::Contract` when this program's tables do not follow the published ones; those of the
    /// store.
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

    /// What `current` points to, and which snapshots are kept beside it.
    fn pointer(&self) -> Result<Option<Pointer>> {
        let Some(run) = self.run() else {
            return Ok(None);
        };
        let now = Utc::now();
        let path = self.root.join(pointer::NAME);
        let known = match fs::read(&path) {
            Ok(bytes) => Pointer::parse(&bytes, &path.display().to_string()).ok(),
            Err(_) => None,
        };
        Ok(Some(match known {
            Some(known) if known.run == run => known,
            // `current` was pointed elsewhere by hand, or a process died between the two.
            Some(known) => Pointer::to(&run, Some(&known), now),
            None => {
                let mut pointer = Pointer::to(&run, None, now);
                let mut older = self.whole()?;
                older.retain(|other| *other < run);
                pointer.previous = older
                    .into_iter()
                    .rev()
                    .map(|run| Previous { run, until: now })
                    .collect();
                pointer
            }
        }))
    }

    /// The runs that have a folder of a whole snapshot, oldest first.
    fn whole(&self) -> Result<Vec<String>> {
        let dirs = read_dir(&self.snapshots())?;
        let names = dirs.iter().filter_map(|d| d.file_name()?.to_str());
        Ok(names
            .filter(|name| is_run(name))
            .map(str::to_string)
            .collect())
    }

    /// Makes the snapshot of `run`, which is whole, the current one in a single rename. Removes those that need not stay.
    pub(super) fn switch(&self, run: &str, keep: Keep) -> Result<PathBuf> {
        let now = Utc::now();
        let before = self.pointer()?;
        let mut next = match before {
            Some(same) if same.run == run => same,
            before => Pointer::to(run, before.as_ref(), now),
        };
        let retired = next.retire(keep, now);
        // What can fail for want of room does so before anything is published.
        let file = self.root.join(pointer::NAME);
        let new = write_beside(&file, &next.to_bytes()?)?;
        let link = self.root.join("current.new");
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).map_err(|e| Error::io("cannot remove", &link, &e))?;
        }
        std::os::unix::fs::symlink(Path::new("snapshots").join(run), &link)
            .map_err(|e| Error::io("cannot make the link", &link, &e))?;
        let current = self.current();
        fs::rename(&link, &current).map_err(|e| Error::io("cannot replace", &current, &e))?;
        // It is published, so what fails now is no failure of the run: who takes the lock next makes it good.
        let pointed = fs::rename(&new, &file).map_err(|e| Error::io("cannot replace", &file, &e));
        let rest = retired.iter().map(|run| remove_dir(&self.snapshot_of(run)));
        for failed in std::iter::once(pointed).chain(rest).filter_map(Result::err) {
            tracing::warn!(error = %failed, "the next run will try again");
        }
        Ok(self.snapshot_of(run))
    }

    /// Has `current.json` say what `current` points to, where a process died between the two.
    fn agree(&self) -> Result<()> {
        let path = self.root.join(pointer::NAME);
        let Some(pointer) = self.pointer()?.map(|p| p.to_bytes()).transpose()? else {
            return Ok(());
        };
        match fs::read(&path) {
            Ok(known) if known == pointer => Ok(()),
            _ => write_whole(&path, &pointer),
        }
    }

    /// Removes what crashes left and nothing points to: a link or file that was to replace another, and snapshots that were
    /// never published or half fetched, once they are a day old.
    fn remove_orphans(&self) -> Result<()> {
        for name in ["current.new", "current.json.new"] {
            let path = self.root.join(name);
            if path.symlink_metadata().is_ok() {
                fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, &e))?;
            }
        }
        let pointer = self.pointer()?;
        let pending = self.mirror.as_ref().and_then(|m| m.pending());
        for dir in read_dir(&self.snapshots())? {
            let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let ours = is_run(name) || name.ends_with(".pulled");
            let needed =
                pointer.as_ref().is_some_and(|p| p.holds(name)) || pending.as_deref() == Some(name);
            let made = dir.metadata().and_then(|m| m.modified());
            let old = made.is_ok_and(|made| {
                SystemTime::now()
                    .duration_since(made)
                    .is_ok_and(|age| age > ORPHAN)
            });
            if ours && !needed && old {
                tracing::warn!(dir = %dir.display(), "a snapshot that was never published is removed");
                remove_dir(&dir)?;
            }
        }
        Ok(())
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
            evolution::migrate(&current, dir.path())?;
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
            Some(current) => {
                link_tree(&current, &self.dir, &link_or_copy)?;
                // Of partitions that were announced and never came.
                remove_empty_dirs(&self.dir)?;
                evolution::migrate(&current, &self.dir)
            }
            None => make_dir(&self.dir),
        }
    }

    /// Makes folders in the current snapshot, without anything in them, for the partitions that come. A reader that lists a
    /// table's folders just before `current` moves, and their files just after, then finds those of the new partitions, too,
    /// and not a part of the new table that looks like a whole one. Gives when the last was made.
    fn announce(&self) -> Result<Option<Instant>> {
        let mut announced = None;
        let Some(current) = self.warehouse.snapshot() else {
            return Ok(None);
        };
        for table in read_dir(&self.dir)? {
            let Some(there) = table.file_name().map(|name| current.join(name)) else {
                continue;
            };
            if !there.is_dir() {
                continue;
            }
            for partition in read_dir(&table)?.iter().filter(|p| p.is_dir()) {
                let coming = partition.file_name().map(|name| there.join(name));
                if let Some(coming) = coming.filter(|dir| !dir.is_dir()) {
                    make_dir(&coming)?;
                    announced = Some(Instant::now());
                }
            }
        }
        Ok(announced)
    }

    /// Makes what was staged whole and durable, and with a store sends it there. No reader sees it yet.
    ///
    /// # Errors
    /// Those of the file system and of the store. What could not be sent stays, and the next run goes on with it.
    pub fn prepare(mut self) -> Result<Prepared> {
        remove_empty_dirs(&self.dir)?;
        let announced = self.announce()?;
        names::settle(&self.dir, self.warehouse.snapshot().as_deref())?;
        evolution::record(&self.dir)?;
        sync_tree(&self.dir)?;
        if let Some(mirror) = self.warehouse.mirror.clone() {
            mirror.expect(&self.run_id)?;
            self.settle()?;
            mirror.send(&self.warehouse, &self.run_id)?;
        }
        if let Some(announced) = announced {
            std::thread::sleep(LISTING.saturating_sub(announced.elapsed()));
        }
        Ok(Prepared { staging: self })
    }

    /// [`Staging::prepare`] and [`Prepared::publish`].
    ///
    /// # Errors
    /// Those of both.
    pub fn publish(self, keep: impl Into<Keep>) -> Result<PathBuf> {
        self.prepare()?.publish(keep)
    }

    /// Gives the folder its own name.
    fn settle(&mut self) -> Result<()> {
        let done = self.warehouse.snapshot_of(&self.run_id);
        fs::rename(&self.dir, &done).map_err(|e| Error::io("cannot rename", &self.dir, &e))?;
        self.published = true;
        sync_dir(&self.warehouse.snapshots())
    }
}

impl Prepared {
    /// Makes the snapshot the current one: with a store first there, by replacing one small object, then in the folder, by
    /// renaming one link. Then removes the snapshots that `keep` does not want.
    ///
    /// # Errors
    /// `Kind::Locked` when another run published to the store meanwhile; those of the store and of the file system.
    pub fn publish(mut self, keep: impl Into<Keep>) -> Result<PathBuf> {
        let keep = keep.into();
        let warehouse = self.staging.warehouse.clone();
        match &warehouse.mirror {
            Some(mirror) => mirror.commit(&self.staging.run_id, keep)?,
            None => self.staging.settle()?,
        }
        let published = warehouse.switch(&self.staging.run_id, keep)?;
        sync_dir(&warehouse.root)?;
        Ok(published)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(mirror) = &self.mirror {
            mirror.end();
        }
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

/// Whether a folder has nothing in it, or is not there.
pub(crate) fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
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

/// Gives a file, which is on disk, a second name; on a file system without hard links (some network shares) a copy, on disk
/// as well.
///
/// # Errors
/// Those of the file system.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()))
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
        let target = to.join(names::written(&name.to_string_lossy()));
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

/// Writes a small file, durable and in one step.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = write_beside(path, bytes)?;
    fs::rename(&new, path).map_err(|e| Error::io("cannot write", path, &e))
}

/// Writes what is to replace a small file, durable, and gives where it lies.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let new = path.with_added_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| Error::io("cannot write", path, &e))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(warehouse: &Warehouse, run: &str, meanwhile: impl FnOnce()) -> Result<PathBuf> {
        let lock = warehouse.lock("a test")?;
        let staging = warehouse.stage(run, &lock)?;
        fs::write(staging.dir().join("table"), run).unwrap();
        meanwhile();
        staging.publish(0)
    }

    fn pointed(warehouse: &Warehouse) -> String {
        let bytes = fs::read(warehouse.root().join(pointer::NAME)).unwrap();
        Pointer::parse(&bytes, "here").unwrap().run
    }

    #[test]
    fn what_cannot_be_written_is_noticed_before_anything_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        publish(&warehouse, "run-1", || {}).unwrap();
        // As where there is no room for it.
        let there = dir.path().join("current.json.new");
        let failed = publish(&warehouse, "run-2", || fs::create_dir(&there).unwrap());
        assert!(failed.is_err());
        assert_eq!(warehouse.run().as_deref(), Some("run-1"));
        assert_eq!(pointed(&warehouse), "run-1");
        fs::remove_dir(&there).unwrap();
        publish(&warehouse, "run-3", || {}).unwrap();
        assert_eq!(pointed(&warehouse), "run-3");
    }

    #[test]
    fn a_listing_that_spans_a_publish_finds_all_partitions_of_the_new_run() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        let prepare = |run: &str, partitions: &[&str]| {
            let lock = warehouse.lock("a test").unwrap();
            let staging = warehouse.stage(run, &lock).unwrap();
            let table = staging.dir().join("t");
            remove_dir(&table).unwrap();
            for partition in partitions {
                make_dir(&table.join(partition)).unwrap();
                fs::write(table.join(partition).join("part-0.parquet"), run).unwrap();
            }
            staging.prepare().unwrap()
        };
        prepare("run-1", &["p=1", "p=2"]).publish(1).unwrap();
        let prepared = prepare("run-2", &["p=1", "p=3"]);
        let names = |below: &str| {
            let paths = read_dir(&warehouse.current().join(below)).unwrap();
            let names = paths.iter().map(|p| p.file_name().unwrap().to_str());
            names
                .map(|name| format!("{below}/{}", name.unwrap()))
                .collect::<Vec<_>>()
        };
        let folders = names("t");
        prepared.publish(1).unwrap();
        let files: Vec<String> = folders.iter().flat_map(|folder| names(folder)).collect();
        let all: Vec<String> = names("t").iter().flat_map(|folder| names(folder)).collect();
        assert_eq!((files.len(), &files), (2, &all));
        // One that was announced and did not come leaves nothing behind.
        drop(prepare("run-3", &["p=1", "p=4"]));
        assert!(warehouse.current().join("t/p=4").is_dir());
        let lock = warehouse.lock("a test").unwrap();
        let staging = warehouse.stage("run-4", &lock).unwrap();
        assert!(!staging.dir().join("t/p=4").exists());
        assert!(!staging.publish(0).unwrap().join("t/p=4").exists());
    }

    #[test]
    fn a_pointer_that_was_left_behind_follows_when_the_lock_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        publish(&warehouse, "run-1", || {}).unwrap();
        let before = fs::read(dir.path().join(pointer::NAME)).unwrap();
        publish(&warehouse, "run-2", || {}).unwrap();
        // As a process leaves it that dies between the link and the file.
        fs::write(dir.path().join(pointer::NAME), before).unwrap();
        drop(warehouse.lock("a test").unwrap());
        assert_eq!(pointed(&warehouse), "run-2");
        let settled = fs::read(dir.path().join(pointer::NAME)).unwrap();
        drop(warehouse.lock("a test").unwrap());
        assert_eq!(fs::read(dir.path().join(pointer::NAME)).unwrap(), settled);
    }
}

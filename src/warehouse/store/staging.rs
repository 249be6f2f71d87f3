//! The snapshot that a run builds beside the published one, and the steps in which it becomes that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Lock, Warehouse};
use crate::config::Keep;
use crate::disk::{
    link_or_copy, make_dir, read_dir, remove_dir, remove_empty_dirs, sync_dir, sync_tree,
};
use crate::error::{Error, Result};
use crate::scratch;
use crate::warehouse::{evolution, names};

/// How long a reader may take to list the folders of a table.
const LISTING: Duration = Duration::from_millis(250);

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

/// A snapshot that is the published one in the store, where there is one, and not yet in the folder.
#[derive(Debug)]
pub struct Committed {
    staging: Staging,
    keep: Keep,
}

impl Warehouse {
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
    /// Whether a store is told of it.
    pub fn goes_to_store(&self) -> bool {
        self.staging.warehouse.mirror.is_some()
    }

    /// With a store makes the snapshot the current one there, by replacing one small object.
    ///
    /// # Errors
    /// `Kind::Locked` when another run published to the store meanwhile; those of the store.
    pub fn commit(self, keep: impl Into<Keep>) -> Result<Committed> {
        let Prepared { staging } = self;
        let keep = keep.into();
        if let Some(mirror) = &staging.warehouse.mirror {
            mirror.commit(&staging.run_id, keep)?;
        }
        Ok(Committed { staging, keep })
    }

    /// [`Prepared::commit`] and [`Committed::publish`].
    ///
    /// # Errors
    /// Those of both.
    pub fn publish(self, keep: impl Into<Keep>) -> Result<PathBuf> {
        self.commit(keep)?.publish()
    }
}

impl Committed {
    /// Makes the snapshot the current one in the folder, by renaming one link. Then removes those that need not stay.
    ///
    /// # Errors
    /// Those of the file system. Where there is a store it is published there, and the next run makes up for the folder.
    pub fn publish(mut self) -> Result<PathBuf> {
        let warehouse = self.staging.warehouse.clone();
        if warehouse.mirror.is_none() {
            self.staging.settle()?;
        }
        let published = warehouse.switch(&self.staging.run_id, self.keep);
        let published = published.map_err(|e| match &warehouse.mirror {
            Some(mirror) => e
                .context(format!(
                    "the tables are published in {}, but not in the folder",
                    mirror.url()
                ))
                .also("run the same command again: it makes up for the folder"),
            None => e,
        })?;
        // What fails now is no failure of the run: its tables are there.
        if let Err(e) = sync_dir(&warehouse.root) {
            tracing::warn!(error = %e, "the tables are published; a power cut may undo it");
        }
        Ok(published)
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

/// Makes the folder `to` with what is in the snapshot `from`, each file by `link` and under the name that a run gives it.
///
/// # Errors
/// Those of the file system.
pub(in crate::warehouse) fn link_tree(
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

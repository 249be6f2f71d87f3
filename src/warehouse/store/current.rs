//! Which snapshot is the current one: the link that readers open, the file that says the same, and what goes when they move
//! on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::Utc;

use super::Warehouse;
use crate::config::Keep;
use crate::disk::{read_dir, remove_dir, remove_file, write_beside, write_whole};
use crate::error::{Error, Result};
use crate::warehouse::manifest::known_format;
use crate::warehouse::pointer::{self, Pointer, Previous, is_run};

/// How long what nothing points to is left alone: it may be under way.
pub(in crate::warehouse) const ORPHAN: Duration = Duration::from_secs(24 * 60 * 60);

impl Warehouse {
    /// What `current` points to, and which snapshots are kept beside it.
    fn pointer(&self) -> Result<Option<Pointer>> {
        let Some(run) = self.run() else {
            return Ok(None);
        };
        let now = Utc::now();
        let path = self.root.join(pointer::NAME);
        let known = match fs::read(&path) {
            Ok(bytes) => {
                known_format(&bytes, &path.display())?;
                // One that was damaged is made anew.
                Pointer::parse(&bytes, &path.display().to_string()).ok()
            }
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
    pub(in crate::warehouse) fn switch(&self, run: &str, keep: Keep) -> Result<PathBuf> {
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
        remove_file(&link)?;
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
    pub(super) fn agree(&self) -> Result<()> {
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
    pub(super) fn remove_orphans(&self) -> Result<()> {
        for name in ["current.new", "current.json.new"] {
            remove_file(&self.root.join(name))?;
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
    fn a_pointer_of_a_newer_program_stays_and_a_damaged_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::new(dir.path());
        publish(&warehouse, "run-1", || {}).unwrap();
        let file = dir.path().join(pointer::NAME);
        let newer = r#"{"format":2,"points_to":"run-1"}"#;
        fs::write(&file, newer).unwrap();
        let refused = warehouse.lock("a test").unwrap_err();
        assert!(
            refused.remedy().unwrap().starts_with("upgrade"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), newer);
        fs::write(&file, "{").unwrap();
        drop(warehouse.lock("a test").unwrap());
        assert_eq!(pointed(&warehouse), "run-1");
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

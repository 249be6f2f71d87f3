//! Folders for what a process needs only while it lives: spill files, drafts. They go when it ends or is interrupted; what a
//! crash leaves goes when the next process makes one beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::alive::{Alive, is_abandoned, is_held};
use crate::disk::make_dir;
use crate::error::{Error, Result};

/// Start of the folders' names.
const PREFIX: &str = "recost-scratch-";
/// The file in each that says whether its process lives.
const LOCK: &str = "lock";
/// End of the name of one that is being removed.
const GONE: &str = "gone";

/// Folders, by what they lie in.
type Folders = BTreeMap<PathBuf, (PathBuf, Alive)>;

/// The folders of this process; none once it ends, for a thread that goes on must not make one that stays.
static FOLDERS: Mutex<Option<Folders>> = Mutex::new(Some(BTreeMap::new()));

/// Bytes that this process has written to spill files.
static SPILLED: AtomicU64 = AtomicU64::new(0);

/// Bytes of the spill files that this process has now.
static HELD: AtomicU64 = AtomicU64::new(0);

/// What is said where spill files would take more than they may, all of this process together.
pub const FULL: &str = "spill files would take more than `[engine] spill_limit`";

/// The bytes of a spill file, which count as long as this is there.
#[derive(Debug, Default)]
pub struct Spilled(AtomicU64);

impl Spilled {
    /// Counts bytes that are to be written.
    ///
    /// # Errors
    /// [`FULL`] where the spill files of this process would take more than `limit`.
    pub fn add(&self, bytes: u64, limit: u64) -> std::io::Result<()> {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        SPILLED.fetch_add(bytes, Ordering::Relaxed);
        match held > limit {
            true => Err(std::io::Error::other(FULL)),
            false => Ok(()),
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        HELD.fetch_sub(*self.0.get_mut(), Ordering::Relaxed);
    }
}

/// Bytes that this process has written to spill files so far.
pub fn spilled() -> u64 {
    SPILLED.load(Ordering::Relaxed)
}

fn folders() -> MutexGuard<'static, Option<Folders>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process's folder in `base`, made where it is missing.
///
/// # Errors
/// Those of the file system; any once the process ends.
pub fn folder(base: &Path) -> Result<PathBuf> {
    let mut folders = folders();
    let Some(folders) = folders.as_mut() else {
        return Err(Error::unexpected("this process is about to end"));
    };
    if let Some((dir, _)) = folders.get(base) {
        return Ok(dir.clone());
    }
    make_dir(base)?;
    sweep(base);
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base);
    let dir = dir.map_err(|e| Error::io("cannot make a folder in", base, &e))?;
    let alive = Alive::begin(dir.path().join(LOCK))?;
    let dir = dir.keep();
    folders.insert(base.to_path_buf(), (dir.clone(), alive));
    Ok(dir)
}

/// Removes this process's folders, for it ends.
pub fn remove() {
    for (dir, _alive) in folders().take().unwrap_or_default().into_values() {
        discard(&dir);
    }
}

/// Removes what processes that died left in `base`.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let lock = dir.join(LOCK);
        let dead = match lock.exists() {
            true => !is_held(&lock),
            // Its process died before it had made the lock.
            false => is_abandoned(&dir),
        };
        if dir.extension().is_some_and(|e| e == GONE) || dead {
            discard(&dir);
        }
    }
}

/// Removes a folder, in which threads of this process may still want to make files.
fn discard(dir: &Path) {
    let gone = dir.with_extension(GONE);
    let removed = fs::rename(dir, &gone).and_then(|()| fs::remove_dir_all(&gone));
    if let Err(e) = removed
        // Another process was faster.
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(error = %e, dir = %dir.display(), "a scratch folder could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spill_files_share_one_limit_and_give_back_what_they_took() {
        const LIMIT: u64 = 1 << 40;
        let [one, other] = [(); 2].map(|()| Spilled::default());
        one.add(LIMIT - (1 << 39), LIMIT).unwrap();
        other.add(1 << 38, LIMIT).unwrap();
        let full = other
            .add(1 << 38, LIMIT)
            .and_then(|()| other.add(1 << 38, LIMIT));
        assert_eq!(full.unwrap_err().to_string(), FULL);
        drop(other);
        one.add(1 << 38, LIMIT).unwrap();
    }

    #[test]
    fn what_the_dead_left_is_swept_and_what_lives_or_is_not_ours_stays() {
        let base = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = base.path().join(name);
            fs::create_dir(&dir).unwrap();
            (Alive::begin(dir.join(LOCK)).unwrap(), dir)
        };
        let (dead, left) = make("recost-scratch-dead");
        let (_living, used) = make("recost-scratch-living");
        let (other, foreign) = make("datafusion-dead");
        fs::write(left.join("spilled"), "rows").unwrap();
        drop((dead, other));
        let half = base.path().join("recost-scratch-half.gone");
        fs::create_dir(&half).unwrap();
        let own = folder(base.path()).unwrap();
        assert!(!left.exists() && !half.exists());
        assert!(used.exists() && foreign.exists() && own.is_dir());
        assert_eq!(folder(base.path()).unwrap(), own);
    }
}

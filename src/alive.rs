//! A file that says whether the process that made it still lives: it is locked as long as that does, and no end of a
//! process, however sudden, leaves it locked.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::remove_file;
use crate::error::{Error, Result};

/// Far longer than it takes to make a file and lock it.
const MOMENT: Duration = Duration::from_secs(60);

/// Held by what lives. When it is dropped without [`Alive::end`], as in a crash, the file stays and tells of it.
#[derive(Debug)]
pub struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Makes the file `path`, locked.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(path: PathBuf) -> Result<Self> {
        // Under its own name it is never seen unlocked.
        let new = path.with_added_extension("new");
        let io = |e| Error::io("cannot make the lock file", &path, &e);
        let file = File::create(&new).map_err(io)?;
        file.lock().map_err(io)?;
        fs::rename(&new, &path).map_err(io)?;
        Ok(Alive { path, _file: file })
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn end(self) -> Result<()> {
        remove_file(&self.path)
    }
}

/// Whether a process that lives holds `path`. One that may not be opened, another user's, counts as held.
pub fn is_held(path: &Path) -> bool {
    // A shared lock is enough to be refused, and network file systems give one to who may only read.
    match File::open(path).map(|file| file.try_lock_shared()) {
        Ok(Ok(())) => false,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => true,
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Whether nobody holds `path`, and whoever made it has had the time to take hold of it: that one died in between.
pub fn is_abandoned(path: &Path) -> bool {
    let made = path.metadata().and_then(|about| about.modified());
    let age = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > MOMENT));
    age && !is_held(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_held_and_what_has_ended_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.lock");
        assert!(!is_held(&path));
        let alive = Alive::begin(path.clone()).unwrap();
        assert!(is_held(&path));
        drop(alive);
        assert!(!is_held(&path) && path.exists());
        let alive = Alive::begin(path.clone()).unwrap();
        assert!(is_held(&path));
        alive.end().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_made_and_never_held_is_abandoned_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.lock.new");
        let made = File::create(&path).unwrap();
        assert!(!is_abandoned(&path) && !is_abandoned(&dir.path().join("none")));
        let before = std::time::SystemTime::now() - 2 * MOMENT;
        made.set_modified(before).unwrap();
        assert!(is_abandoned(&path));
        made.lock().unwrap();
        assert!(!is_abandoned(&path));
    }
}

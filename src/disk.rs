//! Folders and small files on disk: made, listed, linked and removed with errors that name them, and put there for good.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Whether a folder has nothing in it, or is not there.
pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// What a file holds, hashed piece by piece.
///
/// # Errors
/// Those of reading.
pub fn hashed(file: File) -> io::Result<Xxh3> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut hasher = Xxh3::new();
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            return Ok(hasher);
        }
        hasher.update(read);
        let length = read.len();
        reader.consume(length);
    }
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
pub fn remove_dir(dir: &Path) -> Result<()> {
    gone(fs::remove_dir_all(dir), dir)
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// Those of the file system.
pub fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

fn gone(removed: io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("cannot remove", path, &e)),
        _ => Ok(()),
    }
}

/// The paths in a folder, sorted; empty where there is no such folder.
///
/// # Errors
/// Those of the file system.
pub fn read_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io("cannot list", dir, &e)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|e| Error::io("cannot list", dir, &e))?;
    paths.sort();
    Ok(paths)
}

/// Gives a file, which is on disk, a second name; on a file system without hard links (some network shares) a copy, on disk
/// as well.
///
/// # Errors
/// Those of the file system.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()))
        .map_err(|e| Error::io("cannot link or copy", from, &e))
}

/// Removes the folders below `dir` that have nothing in them.
///
/// # Errors
/// Those of the file system.
pub fn remove_empty_dirs(dir: &Path) -> Result<()> {
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
pub fn sync_tree(dir: &Path) -> Result<()> {
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
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::io("cannot sync", dir, &e))
}

/// Writes a small file, durable and in one step.
///
/// # Errors
/// Those of the file system.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = write_beside(path, bytes)?;
    fs::rename(&new, path).map_err(|e| Error::io("cannot write", path, &e))
}

/// Writes what is to replace a small file, durable, and gives where it lies: beside it, with `.new` at the end.
///
/// # Errors
/// Those of the file system.
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let new = path.with_added_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| Error::io("cannot write", path, &e))?;
    Ok(new)
}

//! What a snapshot consists of: each file with its length and hash, so that a copy elsewhere can be made and proven.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::read_dir;
use crate::engine::hex;
use crate::error::{Error, Kind, Result};

/// The version of what is written here and in `current.json`.
pub const FORMAT: u32 = 1;
/// The manifest's name in a snapshot of the store.
pub const NAME: &str = "manifest.json";

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Below the snapshot, with `/` between its parts.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The files of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// The run that made the snapshot.
    pub run: String,
    /// Sorted by path.
    pub files: Vec<Entry>,
}

impl Manifest {
    /// Of the snapshot of `run` that lies in `dir`. The hash of a file that is a hard link into the snapshot `known`, which
    /// has a manifest, is taken from there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(run: &str, dir: &Path, known: Option<(&Path, &Manifest)>) -> Result<Manifest> {
        let hashes = known
            .map(|(_, manifest)| manifest.by_path())
            .unwrap_or_default();
        let mut files = vec![];
        walk(dir, "", &mut |path, file| {
            let meta = fs::metadata(file).map_err(|e| Error::io("cannot read", file, &e))?;
            let same = known.zip(hashes.get(path)).filter(|((other, _), _)| {
                let other = fs::metadata(other.join(path));
                other.is_ok_and(|o| (o.dev(), o.ino()) == (meta.dev(), meta.ino()))
            });
            files.push(Entry {
                path: path.to_string(),
                bytes: meta.len(),
                sha256: match same {
                    Some((_, entry)) => entry.sha256.clone(),
                    None => hash(file)?,
                },
            });
            Ok(())
        })?;
        files.sort();
        Ok(Manifest {
            format: FORMAT,
            run: run.to_string(),
            files,
        })
    }

    /// Reads a manifest that says it is of `run`; `place` is where it came from.
    ///
    /// # Errors
    /// `Kind::Contract` when it is none, is of another run or of a newer program, or names a file outside its snapshot.
    pub fn parse(bytes: &[u8], run: &str, place: &dyn Display) -> Result<Manifest> {
        known_format(bytes, place)?;
        let wrong = |what: &str| Error::contract(format!("{place}: {what}"));
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|e| wrong(&format!("this is no manifest: {e}")))?;
        if manifest.run != run {
            return Err(wrong(&format!(
                "it is of the run {} and not of {run}",
                manifest.run
            )));
        }
        if let Some(file) = manifest.files.iter().find(|f| !f.lies_below()) {
            return Err(wrong(&format!(
                "it names {:?}, which lies outside of a snapshot",
                file.path
            )));
        }
        Ok(manifest)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::unexpected(e.to_string()))
    }

    /// The files by their paths.
    pub fn by_path(&self) -> BTreeMap<&str, &Entry> {
        self.files.iter().map(|f| (f.path.as_str(), f)).collect()
    }
}

/// Refuses what a newer program wrote, whatever that has in it.
///
/// # Errors
/// `Kind::Contract` when one did.
pub fn known_format(bytes: &[u8], place: &dyn Display) -> Result<()> {
    #[derive(Deserialize)]
    struct Of {
        format: u32,
    }
    match serde_json::from_slice::<Of>(bytes) {
        Ok(of) if of.format > FORMAT => {
            let message = format!("{place}: a newer recost wrote this");
            Err(Error::contract(message).help("upgrade this machine's recost as well"))
        }
        _ => Ok(()),
    }
}

impl Entry {
    /// Whether the path leads to a place below where it begins.
    fn lies_below(&self) -> bool {
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
        !self.path.is_empty()
            && Path::new(&self.path).components().all(plain)
            && !self.path.contains(['\\', '\0'])
            && self
                .path
                .split('/')
                .all(|part| !part.is_empty() && part != ".")
    }

    /// Holds what was read from `place` against what it should be.
    ///
    /// # Errors
    /// `Kind::Io` when it is something else.
    pub fn confirm(&self, bytes: u64, sha256: &str, place: &dyn Display) -> Result<()> {
        if bytes == self.bytes && sha256 == self.sha256 {
            return Ok(());
        }
        let message = format!(
            "{place}: found {bytes} bytes with SHA-256 {sha256}, and the manifest says {} and {}",
            self.bytes, self.sha256
        );
        Err(Error::new(Kind::Io, message)
            .help("a transfer that was cut off passes when it is tried again; if it does not, the file was damaged or changed where it lies"))
    }

    /// Whether the file `path` has the length and hash.
    pub fn is(&self, path: &Path) -> bool {
        let length = fs::metadata(path).is_ok_and(|m| m.len() == self.bytes);
        length && hash(path).is_ok_and(|found| found == self.sha256)
    }
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// Those of reading.
pub fn hash(path: &Path) -> Result<String> {
    let io = |e| Error::io("cannot read", path, &e);
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Calls `visit` with each file below `dir`, by its path from there.
pub(super) fn walk(
    dir: &Path,
    below: &str,
    visit: &mut dyn FnMut(&str, &Path) -> Result<()>,
) -> Result<()> {
    for path in read_dir(dir)? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                Error::unexpected(format!("{} has a name that is no text", path.display()))
            })?;
        let below = if below.is_empty() {
            name.to_string()
        } else {
            format!("{below}/{name}")
        };
        if path.is_dir() {
            walk(&path, &below, visit)?;
        } else {
            visit(&below, &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_files_below_its_snapshot_and_nothing_else() {
        let manifest = |path: &str| {
            format!(
                r#"{{"format":1,"run":"r","files":[{{"path":{path:?},"bytes":1,"sha256":"00"}}]}}"#
            )
        };
        let parse = |text: &str| Manifest::parse(text.as_bytes(), "r", &"here");
        assert!(parse(&manifest("events/ds=2026-10-31/a.parquet")).is_ok());
        for path in [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "",
            "a\\b",
        ] {
            let error = parse(&manifest(path)).unwrap_err();
            assert_eq!(error.kind(), Kind::Contract, "{path}");
        }
        assert!(
            parse("{").is_err() && parse(&manifest("a").replace("1,\"run", "2,\"run")).is_err()
        );
        assert!(Manifest::parse(manifest("a").as_bytes(), "other", &"here").is_err());
    }

    #[test]
    fn hashes_of_links_are_taken_over_and_others_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for at in [old.join("t"), new.join("t")] {
            fs::create_dir_all(at).unwrap();
        }
        fs::write(old.join("t/same"), "same").unwrap();
        fs::write(old.join("t/other"), "old").unwrap();
        fs::hard_link(old.join("t/same"), new.join("t/same")).unwrap();
        fs::write(new.join("t/other"), "new").unwrap();
        let mut known = Manifest::of("old", &old, None).unwrap();
        assert_eq!(known.files[1].sha256, hash(&old.join("t/same")).unwrap());
        for file in &mut known.files {
            file.sha256 = "taken over".into();
        }
        let made = Manifest::of("new", &new, Some((&old, &known))).unwrap();
        assert_eq!(made.files[0].path, "t/other");
        assert!(made.files[0].is(&new.join("t/other")));
        assert_eq!(made.files[1].sha256, "taken over");
    }
}

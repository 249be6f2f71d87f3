//! What the files of a published snapshot are called.
//!
//! A run writes `part-0.parquet`; published, the file is `part-0.x<hash>.parquet`. A reader that expands a glob and then opens
//! what it found resolves `current` each time. Were names the same in every snapshot, a publish in between would give it
//! files of two runs, and nothing would tell. As it is, it finds exactly the content that it listed or no file at all.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::store::read_dir;
use crate::error::{Error, Result};

const END: &str = ".parquet";
const MARK: &str = ".x";
const DIGITS: usize = 16;

/// What a run calls the file that is published as `name`.
pub fn written(name: &str) -> String {
    let stem = name.strip_suffix(END).and_then(|stem| {
        let (stem, hash) = stem.rsplit_once(MARK)?;
        let is_hash = hash.len() == DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(stem)
    });
    stem.map_or_else(|| name.to_string(), |stem| format!("{stem}{END}"))
}

/// What the file `name` is published as. Only tables are read by globs.
fn published(name: &str, hash: u64) -> String {
    let name = written(name);
    match name.strip_suffix(END) {
        Some(stem) => format!("{stem}{MARK}{hash:016x}{END}"),
        None => name,
    }
}

/// Gives the files below `dir` the names under which they are published. Those that are links into the snapshot `before` keep
/// the names that they have there.
///
/// # Errors
/// Those of the file system.
pub fn settle(dir: &Path, before: Option<&Path>) -> Result<()> {
    let known = before.map(names_in).transpose()?.unwrap_or_default();
    for path in read_dir(dir)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.is_dir() {
            settle(&path, before.map(|b| b.join(name)).as_deref())?;
            continue;
        }
        let settled = match known.get(&file_of(&path)?) {
            Some(known) => known.clone(),
            None if name.ends_with(END) => published(name, hash(&path)?),
            None => continue,
        };
        if settled != name {
            fs::rename(&path, dir.join(settled))
                .map_err(|e| Error::io("cannot rename", &path, &e))?;
        }
    }
    Ok(())
}

/// The names of the files in a folder, by which file each is.
fn names_in(dir: &Path) -> Result<HashMap<(u64, u64), String>> {
    let mut names = HashMap::new();
    for path in read_dir(dir)? {
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            names.insert(file_of(&path)?, name.to_string());
        }
    }
    Ok(names)
}

/// What a file is, by whatever name: its device and number there.
fn file_of(path: &Path) -> Result<(u64, u64)> {
    let meta = fs::metadata(path).map_err(|e| Error::io("cannot read", path, &e))?;
    Ok((meta.dev(), meta.ino()))
}

fn hash(path: &Path) -> Result<u64> {
    let io = |e| Error::io("cannot read", path, &e);
    let mut file = File::open(path).map_err(io)?;
    let (mut hasher, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hasher.digest()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_name_is_that_of_its_content_and_leads_back_to_the_written_one() {
        let name = published("part-0.parquet", 7);
        assert_eq!(name, "part-0.x0000000000000007.parquet");
        assert_eq!(written(&name), "part-0.parquet");
        assert_eq!(published(&name, 8), "part-0.x0000000000000008.parquet");
        for plain in [
            "a.x1.parquet",
            "a.xyz0000000000000007.parquet",
            "m.safetensors",
            "x.parquet",
        ] {
            assert_eq!(written(plain), plain);
        }
        assert_eq!(published("m.safetensors", 7), "m.safetensors");
    }

    #[test]
    fn what_has_not_changed_keeps_its_name_and_what_has_gets_another() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old/t"), dir.path().join("new/t"));
        fs::create_dir_all(&old).unwrap();
        fs::create_dir_all(&new).unwrap();
        // As it was published before files had such names.
        fs::write(old.join("same.parquet"), "same").unwrap();
        fs::hard_link(old.join("same.parquet"), new.join("same.parquet")).unwrap();
        fs::write(new.join("part-0.parquet"), "one").unwrap();
        let list = |dir: &Path| {
            let names = read_dir(dir).unwrap();
            names
                .iter()
                .map(|p| p.file_name().unwrap().to_str().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        let settle = || settle(&dir.path().join("new"), Some(&dir.path().join("old"))).unwrap();
        settle();
        let first = list(&new);
        assert!(
            first[0].starts_with("part-0.x") && first[1] == "same.parquet",
            "{first:?}"
        );
        settle();
        assert_eq!(list(&new), first);
        fs::write(new.join("part-0.parquet"), "two").unwrap();
        fs::remove_file(new.join(&first[0])).unwrap();
        settle();
        assert_ne!(list(&new)[0], first[0]);
    }
}

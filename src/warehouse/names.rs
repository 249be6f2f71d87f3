//! What the files of a published snapshot are called.
//!
//! A run writes `part-0.parquet`; published, the file is `part-0.x<hash>.parquet`, where the hash is of all files of its
//! partition. A reader that expands a glob and then opens what it found resolves `current` each time. Were names the same in
//! every snapshot, a publish in between would give it files of two runs, and nothing would tell. As it is, two snapshots have
//! either the same files of a partition or no name in common, so what was listed is opened as it was or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::disk::{hashed, read_dir};
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

/// Gives the tables' files below `dir` the names under which they are published. A partition that has the files of the
/// snapshot `before` keeps the names that they have there.
///
/// # Errors
/// Those of the file system.
pub fn settle(dir: &Path, before: Option<&Path>) -> Result<()> {
    let mut files = BTreeMap::new();
    for path in read_dir(dir)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.is_dir() {
            settle(&path, before.map(|b| b.join(name)).as_deref())?;
        } else if name.ends_with(END) {
            files.insert(written(name), path);
        }
    }
    let known = before.map(names_in).transpose()?.unwrap_or_default();
    let mut names = vec![];
    for path in files.values() {
        names.extend(known.get(&file_of(path)?).cloned());
    }
    if names.len() < files.len() || known.len() > files.len() {
        let hash = hash_of(&files)?;
        names = files.keys().map(|name| published(name, hash)).collect();
    }
    for (path, name) in files.values().zip(names) {
        let settled = dir.join(name);
        if settled != *path {
            fs::rename(path, settled).map_err(|e| Error::io("cannot rename", path, &e))?;
        }
    }
    Ok(())
}

/// The names of a table's files in a folder, by which file each is.
fn names_in(dir: &Path) -> Result<HashMap<(u64, u64), String>> {
    let mut names = HashMap::new();
    for path in read_dir(dir)? {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| name.ends_with(END)) {
            names.insert(file_of(&path)?, name.to_string());
        }
    }
    Ok(names)
}

/// A hash of the files of a partition: of one file that of its content, of several that of their names and hashes.
fn hash_of(files: &BTreeMap<String, PathBuf>) -> Result<u64> {
    let mut all = Xxh3::new();
    for (name, path) in files {
        let content = hash(path)?;
        if files.len() == 1 {
            return Ok(content);
        }
        all.update(name.as_bytes());
        all.update(&content.to_le_bytes());
    }
    Ok(all.digest())
}

/// What a file is, by whatever name: its device and number there.
fn file_of(path: &Path) -> Result<(u64, u64)> {
    let meta = fs::metadata(path).map_err(|e| Error::io("cannot read", path, &e))?;
    Ok((meta.dev(), meta.ino()))
}

fn hash(path: &Path) -> Result<u64> {
    let content = File::open(path).and_then(hashed);
    let content = content.map_err(|e| Error::io("cannot read", path, &e))?;
    Ok(content.digest())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
    fn a_partition_keeps_its_names_or_has_none_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old/t"), dir.path().join("new/t"));
        let write = |dir: &Path, name: &str, text: &str| {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join(name), text).unwrap();
        };
        let list = || -> BTreeSet<String> {
            let names = read_dir(&new).unwrap();
            let names = names.iter().map(|p| p.file_name().unwrap().to_str());
            names.map(|name| name.unwrap().to_string()).collect()
        };
        let settle = || settle(&dir.path().join("new"), Some(&dir.path().join("old"))).unwrap();
        // As it was published before files had such names.
        write(&old, "part-0.parquet", "one");
        write(&old, "model.safetensors", "m");
        let link = || {
            let _ = fs::remove_dir_all(&new);
            fs::create_dir_all(&new).unwrap();
            for path in read_dir(&old).unwrap() {
                let name = written(path.file_name().unwrap().to_str().unwrap());
                fs::hard_link(&path, new.join(name)).unwrap();
            }
        };
        link();
        settle();
        let plain = list();
        assert_eq!(
            plain,
            ["model.safetensors", "part-0.parquet"]
                .map(String::from)
                .into()
        );
        // A second file beside one that stays; another content; back to one file.
        write(&new, "part-1.parquet", "two");
        settle();
        let two = list();
        assert_eq!(two.intersection(&plain).count(), 1, "{two:?}");
        settle();
        assert_eq!(list(), two);
        fs::remove_dir_all(&old).unwrap();
        fs::rename(&new, &old).unwrap();
        link();
        settle();
        assert_eq!(list(), two);
        fs::remove_file(new.join("part-1.parquet")).unwrap_err();
        for (path, name) in [
            ("part-0.x", "part-0.parquet"),
            ("part-1.x", "part-1.parquet"),
        ] {
            link();
            for file in list().iter().filter(|f| f.starts_with(path)) {
                fs::remove_file(new.join(file)).unwrap();
            }
            let _ = fs::remove_file(new.join(name));
            settle();
            let one = list();
            assert_eq!(
                (one.len(), one.intersection(&two).count()),
                (2, 1),
                "{one:?}"
            );
            write(&new, name, "three");
            settle();
            let again = list();
            assert_eq!(again.intersection(&one).count(), 1, "{again:?}");
            assert_eq!(again.intersection(&two).count(), 1, "{again:?}");
        }
        // What is written anew with the same bytes has the same names.
        fs::remove_dir_all(&new).unwrap();
        write(&new, "part-0.parquet", "one");
        write(&new, "part-1.parquet", "two");
        write(&new, "model.safetensors", "m");
        settle();
        assert_eq!(list(), two);
    }
}

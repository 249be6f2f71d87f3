//! What each stage of a run changed in the snapshot being built, kept beside it as a layer: with the published snapshot
//! below them, the layers give the snapshot as it was after any of the stages.
//!
//! Files are never changed once written, so a layer is hard links and a list of what is gone.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{
    link_or_copy, make_dir, read_dir, remove_dir, remove_empty_dirs, remove_file, sync_tree,
};
use crate::error::{Error, Result};

/// The files below a folder.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// By their path below it; what tells a file from another that takes its place.
    files: BTreeMap<PathBuf, Identity>,
    /// Folders without anything in them.
    empty: Vec<PathBuf>,
}

/// Inode, bytes, time of the last change (s and ns since 1970).
type Identity = (u64, u64, i64, i64);

impl Listing {
    /// What lies below `root` now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(root: &Path) -> Result<Self> {
        let mut listing = Listing::default();
        listing.add(root, Path::new(""))?;
        Ok(listing)
    }

    fn add(&mut self, root: &Path, below: &Path) -> Result<()> {
        let paths = read_dir(&root.join(below))?;
        if paths.is_empty() {
            self.empty.push(below.to_path_buf());
        }
        for path in paths {
            let Some(name) = path.file_name() else {
                continue;
            };
            let below = below.join(name);
            let about = path
                .symlink_metadata()
                .map_err(|e| Error::io("cannot look at", &path, &e))?;
            if about.is_dir() {
                self.add(root, &below)?;
            } else {
                let written = (about.mtime(), about.mtime_nsec());
                let identity = (about.ino(), about.len(), written.0, written.1);
                self.files.insert(below, identity);
            }
        }
        Ok(())
    }
}

/// What a stage changed: the files that it wrote lie in a folder of their own, this is the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Files that are gone, by their path below the snapshot.
    gone: Vec<PathBuf>,
    /// Folders that had nothing in them afterwards.
    empty: Vec<PathBuf>,
}

impl Layer {
    /// Keeps in the folder `layer` what in the snapshot `root` is no longer as it was `before`, on disk whatever happens
    /// next. Also gives what lies there now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(root: &Path, before: &Listing, layer: &Path) -> Result<(Self, Listing)> {
        remove_dir(layer)?;
        make_dir(layer)?;
        let now = Listing::of(root)?;
        for (path, identity) in &now.files {
            if before.files.get(path) != Some(identity) {
                let (from, to) = (root.join(path), layer.join(path));
                to.parent().map_or(Ok(()), make_dir)?;
                link_or_copy(&from, &to)?;
            }
        }
        sync_tree(layer)?;
        let gone = before.files.keys().filter(|p| !now.files.contains_key(*p));
        let kept = Layer {
            gone: gone.cloned().collect(),
            empty: now.empty.clone(),
        };
        Ok((kept, now))
    }

    /// Puts `layers`, each with its folder and in their order, onto the snapshot `root`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lay<'l>(
        root: &Path,
        layers: impl IntoIterator<Item = (&'l Layer, PathBuf)>,
    ) -> Result<()> {
        let mut last = None;
        for (layer, folder) in layers {
            for path in &layer.gone {
                remove_file(&root.join(path))?;
            }
            for path in Listing::of(&folder)?.files.keys() {
                let to = root.join(path);
                to.parent().map_or(Ok(()), make_dir)?;
                remove_file(&to)?;
                link_or_copy(&folder.join(path), &to)?;
            }
            last = Some(layer);
        }
        if let Some(layer) = last {
            remove_empty_dirs(root)?;
            for path in &layer.empty {
                make_dir(&root.join(path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Path and text of each file, and the empty folders.
    fn seen(root: &Path) -> (BTreeMap<PathBuf, String>, Vec<PathBuf>) {
        let listing = Listing::of(root).unwrap();
        let read = |path: &PathBuf| fs::read_to_string(root.join(path)).unwrap();
        let files = listing.files.keys().map(|p| (p.clone(), read(p)));
        (files.collect(), listing.empty)
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As the writer of tables does: never into a file that is there.
        let _ = fs::remove_file(&path);
        fs::write(path, text).unwrap();
    }

    #[test]
    fn layers_on_what_was_there_give_what_was_there_after_each_stage() {
        let home = tempfile::tempdir().unwrap();
        let (base, root) = (home.path().join("base"), home.path().join("root"));
        let layer = |n: usize| home.path().join(format!("layer-{n}"));
        for (path, text) in [("events/a", "1"), ("models/a", "1"), ("charges/x/a", "1")] {
            write(base.join(path), text);
        }
        let begin = || {
            remove_dir(&root).unwrap();
            crate::warehouse::store::link_tree(&base, &root, &link_or_copy).unwrap();
        };
        begin();
        let before = Listing::of(&root).unwrap();
        // The first stage moves, removes and adds; the second changes what the first wrote, with as many bytes.
        write(root.join("models/b"), "one");
        fs::create_dir_all(root.join("late/x")).unwrap();
        fs::rename(root.join("charges/x/a"), root.join("late/x/a")).unwrap();
        fs::remove_file(root.join("events/a")).unwrap();
        let first = seen(&root);
        assert_eq!(first.1, ["charges/x", "events"].map(PathBuf::from));
        let (one, now) = Layer::keep(&root, &before, &layer(1)).unwrap();
        write(root.join("models/b"), "two");
        write(root.join("events/b"), "2");
        remove_dir(&root.join("charges")).unwrap();
        let second = seen(&root);
        let (two, _) = Layer::keep(&root, &now, &layer(2)).unwrap();
        assert!(
            !layer(2).join("late").exists(),
            "what stayed is in no layer"
        );
        // A third leaves half of its work.
        write(root.join("models/b"), "half");
        fs::remove_file(root.join("models/a")).unwrap();

        begin();
        Layer::lay(&root, [(&one, layer(1))]).unwrap();
        assert_eq!(seen(&root), first);
        begin();
        Layer::lay(&root, [(&one, layer(1)), (&two, layer(2))]).unwrap();
        assert_eq!(seen(&root), second);
        // Nor was anything written into a file that is published.
        assert_eq!(fs::read_to_string(base.join("models/a")).unwrap(), "1");
    }
}

//! The stages that a run finished, kept until it has published, so that a run after it goes on where it ended.
//!
//! ```text
//! snapshots/<run>.stages/
//!   stages.json          each finished stage: what it was made from, what it left to others, its row of the ledger
//!   <stage>/…            the files that it wrote, as hard links
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Stage;
use super::ledger::Entry;
use super::origin::Ingredients;
use super::stages::Carried;
use crate::disk::{make_dir, read_dir, remove_dir, sync_dir, write_whole};
use crate::error::{Error, Result};
use crate::warehouse::layers::{Layer, Listing};
use crate::warehouse::{Staging, Warehouse};

/// End of the folders' names.
const FOLDER: &str = "stages";
/// The file in each.
const FILE: &str = "stages.json";

/// A finished stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    stage: String,
    /// Run that did the work.
    pub run_id: String,
    made_from: Ingredients,
    layer: Layer,
    /// What it and those before it left to the stages after it.
    pub carried: Carried,
    /// Its row of the ledger.
    pub entry: Entry,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

/// The finished stages of a run.
#[derive(Debug)]
pub(super) struct Book {
    folder: PathBuf,
    /// Name of the snapshot on which the run builds; none of a new warehouse.
    base: Option<String>,
    finished: Vec<Finished>,
    /// The snapshot being built.
    dir: PathBuf,
    /// What is staged after the newest of them.
    staged: Listing,
    /// How often something was staged.
    attempts: usize,
}

/// The book on disk.
#[derive(Serialize, Deserialize)]
struct Written<F> {
    base: Option<String>,
    finished: F,
}

/// Whether a text is a book of finished stages.
pub(crate) fn readable(text: &str) -> bool {
    serde_json::from_str::<Written<Vec<Finished>>>(text).is_ok()
}

/// What a run found of one that ended in the middle.
#[derive(Debug)]
pub(super) struct Found {
    folder: PathBuf,
    /// Id of the run.
    pub run_id: String,
    base: Option<String>,
    finished: Vec<Finished>,
}

impl Found {
    /// The newest run of `warehouse` that left finished stages. Needs the lock: nobody else works there.
    ///
    /// # Errors
    /// Those of the file system. A file that cannot be understood, another version's, is none.
    pub fn newest(warehouse: &Warehouse) -> Result<Option<Self>> {
        let Some(folder) = folders(warehouse)?.pop() else {
            return Ok(None);
        };
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io("cannot read", &file, &e))?,
        };
        let Ok(written) = serde_json::from_str::<Written<Vec<Finished>>>(&text) else {
            return Ok(None);
        };
        let run_id = folder.file_stem().unwrap_or_default();
        Ok(Some(Found {
            run_id: run_id.to_string_lossy().into_owned(),
            base: written.base,
            finished: written.finished,
            folder,
        })
        .filter(|found| !found.finished.is_empty()))
    }

    /// Leaves of the finished stages those that a run of `stages` would do again with the same result. Says why it is not
    /// all of them.
    pub fn matching(
        &mut self,
        base: Option<&str>,
        stages: &[(Stage, Ingredients)],
    ) -> Option<String> {
        let mut why = None;
        let mut same = 0;
        if self.base.as_deref() != base {
            why = Some("other tables were published since".to_string());
        } else {
            for (n, finished) in self.finished.iter().enumerate() {
                let name = &finished.stage;
                match stages.get(n) {
                    Some((stage, _)) if stage.name() != name => {
                        why = Some(format!("this run begins with {stage}, not with {name}"));
                    }
                    None => why = Some(format!("{name} is not selected")),
                    Some((_, made_from)) => why = differs(&finished.made_from, made_from, name),
                }
                if why.is_some() {
                    break;
                }
                same += 1;
            }
        }
        self.finished.truncate(same);
        why
    }

    /// In words: what is taken over, and `why` it is not all.
    pub fn describe(&self, why: Option<String>) -> String {
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        match self.finished.last() {
            Some(last) => format!("going on after {} of run {}{why}", last.stage, self.run_id),
            None => format!("nothing is taken over from run {}{why}", self.run_id),
        }
    }
}

/// What of `now` is not as it was when `stage` finished.
fn differs(before: &Ingredients, now: &Ingredients, stage: &str) -> Option<String> {
    let other = now
        .iter()
        .filter(|(what, hash)| before.get(*what) != Some(hash));
    let other: Vec<&str> = other.map(|(what, _)| what.as_str()).collect();
    (!other.is_empty()).then(|| {
        let be = match other.len() {
            1 => "is not what it was",
            _ => "are not what they were",
        };
        format!("{} of {stage} {be}", other.join(" and "))
    })
}

impl Book {
    /// The book of the run that stages `staging` on the current snapshot, with the stages that it takes over from
    /// `found`, whose files are put into the staged snapshot.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(
        warehouse: &Warehouse,
        run_id: &str,
        staging: &Staging,
        found: Option<Found>,
    ) -> Result<Self> {
        let mut book = Book {
            folder: warehouse.snapshots().join(format!("{run_id}.{FOLDER}")),
            base: warehouse.run(),
            finished: vec![],
            dir: staging.dir().to_path_buf(),
            staged: Listing::default(),
            attempts: 1,
        };
        match found.filter(|found| !found.finished.is_empty()) {
            Some(found) => {
                fs::rename(&found.folder, &book.folder)
                    .map_err(|e| Error::io("cannot rename", &found.folder, &e))?;
                book.finished = found.finished;
            }
            None => make_dir(&book.folder)?,
        }
        for other in folders(warehouse)?.iter().filter(|f| **f != book.folder) {
            remove_dir(other)?;
        }
        book.write()?;
        book.lay(staging.dir())?;
        Ok(book)
    }

    /// The finished stages, in order.
    pub fn finished(&self) -> &[Finished] {
        &self.finished
    }

    /// Notes that a stage is finished, with all that a run after this one needs in order not to do it again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn add(
        &mut self,
        stage: Stage,
        run_id: &str,
        made_from: Ingredients,
        carried: &Carried,
        entry: &Entry,
        warnings: Vec<String>,
    ) -> Result<()> {
        let folder = self.folder.join(stage.name());
        let (layer, staged) = Layer::keep(&self.dir, &self.staged, &folder)?;
        self.finished.push(Finished {
            stage: stage.name().into(),
            run_id: run_id.into(),
            made_from,
            layer,
            carried: carried.clone(),
            entry: entry.clone(),
            warnings,
        });
        self.staged = staged;
        self.write()
    }

    /// Puts the staged snapshot back to what it was after the newest finished stage.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put_back(&mut self, staging: &mut Staging) -> Result<()> {
        self.attempts += 1;
        staging.begin_again(self.attempts)?;
        self.lay(staging.dir())
    }

    fn lay(&mut self, dir: &Path) -> Result<()> {
        let layers = self.finished.iter();
        Layer::lay(dir, layers.map(|f| (&f.layer, self.folder.join(&f.stage))))?;
        (self.dir, self.staged) = (dir.to_path_buf(), Listing::of(dir)?);
        Ok(())
    }

    /// Keeps what a later run can go on with, or leaves nothing where there is nothing.
    pub fn keep_or_discard(self) {
        if self.finished.is_empty() {
            self.discard();
        }
    }

    /// Removes it.
    pub fn discard(self) {
        if let Err(e) = remove_dir(&self.folder) {
            tracing::warn!(error = %e, "finished stages could not be removed; the next run will");
        }
    }

    /// Writes the book anew, in one step and on disk.
    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec(&Written {
            base: self.base.clone(),
            finished: &self.finished,
        })
        .map_err(|e| Error::unexpected(format!("the finished stages cannot be noted: {e}")))?;
        write_whole(&self.folder.join(FILE), &text)?;
        sync_dir(&self.folder)
    }
}

/// Removes what runs that ended in the middle left. Needs the lock: nobody else works there.
///
/// # Errors
/// Those of the file system.
pub(crate) fn forget(warehouse: &Warehouse) -> Result<()> {
    folders(warehouse)?
        .iter()
        .try_for_each(|dir| remove_dir(dir))
}

/// The folders of finished stages, oldest first.
fn folders(warehouse: &Warehouse) -> Result<Vec<PathBuf>> {
    let mut folders = read_dir(&warehouse.snapshots())?;
    folders.retain(|path| path.extension().is_some_and(|e| e == FOLDER));
    Ok(folders)
}

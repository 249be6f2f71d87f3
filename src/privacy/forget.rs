//! `recost forget`: takes people out of everything that lies in the warehouse and the report, and shows that they are gone.
//!
//! In this order, so that the command can be given again wherever it was cut off: the people are noted as pending, so that
//! no ingest brings them back from then on; a snapshot without them is staged and published in one step; what older
//! snapshots, ledgers and reports hold of them goes, and all of a store that is not published; everything is searched; they
//! are noted as done.

use std::path::{Path, PathBuf};

use chrono::Utc;

use super::forgotten::State;
use super::search::{Hit, Searched, files_below};
use super::{Forgotten, People, erase};
use crate::config::{Keep, Pipeline, SourceKind};
use crate::disk::{read_dir, remove_dir, remove_file};
use crate::engine::rows::map;
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::ingest;
use crate::pipeline::forget_unfinished;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::run::lock_note;
use crate::scratch;
use crate::warehouse::Warehouse;

/// What was done and what was found.
#[derive(Debug)]
pub struct Outcome {
    /// People who were named.
    pub people: usize,
    /// Of these, those with an id too short to be told from other words.
    pub indistinct: usize,
    /// What the tables lost.
    pub erased: erase::Erased,
    /// The new snapshot; `None` where the current one held nobody.
    pub published: Option<PathBuf>,
    /// Older snapshots that are gone, and those of a store that were never published.
    pub snapshots: Vec<PathBuf>,
    /// Ledgers and files of the report that were rewritten or removed.
    pub others: Vec<PathBuf>,
    /// The folders that were searched at the end, and the store.
    pub folders: Vec<PathBuf>,
    /// What was found there.
    pub searched: Searched,
    /// Files of exports that still hold them, and those that were looked at.
    pub exports: (Vec<PathBuf>, usize),
}

impl Outcome {
    /// Where somebody is still named.
    pub fn left(&self) -> &[Hit] {
        &self.searched.hits
    }
}

/// Forgets people, by their ids as the shop knows them.
///
/// # Errors
/// `Kind::Config` when nothing is published, or tables hold pseudonyms by a key that the pipeline file does not name;
/// `Kind::Locked` when a run is writing; those of reading and writing. What was begun is done by giving the command again.
pub async fn run(pipeline: &Pipeline, ids: &[String]) -> Result<Outcome> {
    let people = People::new(ids.iter().map(String::as_str), pipeline.privacy.keys())?;
    let warehouse = Warehouse::of(pipeline)?;
    let lock = warehouse.lock(&lock_note())?;
    let snapshot = warehouse.published()?;
    known_keys(pipeline, &snapshot).await?;
    let mut list = Forgotten::read(warehouse.root())?;
    // Before anyone is noted as forgotten: a run would go on with what an earlier one had read of them.
    warehouse.sweep(&lock)?;
    forget_unfinished(&warehouse)?;
    list.note(warehouse.root(), &people, State::Pending)?;

    // What lies in a store is not searched snapshot by snapshot: none of them stays.
    let keep = match pipeline.store {
        Some(_) => Keep::from(0),
        None => pipeline.run.keep(),
    };
    let mut ledger = Ledger::start(&warehouse, Utc::now().date_naive(), "none")?;
    let staged = warehouse.stage(&ledger.run_id, &lock);
    let done = staged.and_then(|staging| {
        ledger.begin("forget")?;
        let erased = erase::snapshot(staging.dir(), &people)?;
        let rows = erased.rows.iter().map(|(_, n)| n).sum::<u64>() + erased.nobodys;
        ledger.end(Some(rows), format!("{} people forgotten", ids.len()))?;
        if erased.files == 0 && pipeline.store.is_none() {
            drop(staging);
            ledger.finish(None)?;
            return Ok((erased, None));
        }
        let published = ledger.publish(staging, keep)?;
        Ok((erased, Some(published)))
    });
    if let Err(e) = &done {
        ledger.finish(Some(e))?;
    }
    let (erased, published) = done?;

    let mut snapshots = without_older_snapshots(&warehouse, &people)?;
    let mut others = vec![];
    for path in files_below(&warehouse.runs())? {
        if path.extension().is_some_and(|e| e == "parquet") && erase::ledger(&path, &people)? {
            others.push(path);
        }
    }
    others.extend(without_report(&pipeline.report.out, &people)?);
    // What died with its process goes when the next one looks.
    if let Some(spill) = &pipeline.engine.spill {
        scratch::folder(spill)?;
    }

    let there = |e: Error| {
        e.context("the tables are published without them, but the store may still have older ones")
    };
    snapshots.extend(warehouse.clear_store(&lock).map_err(there)?);

    let mut folders = vec![warehouse.root().to_path_buf(), pipeline.report.out.clone()];
    let mut searched = Searched::default();
    let fetched = scratch::folder(&std::env::temp_dir())?;
    let fetched = tempfile::tempdir_in(&fetched)
        .map_err(|e| Error::io("cannot make a folder in", &fetched, &e))?;
    // Before the folders are searched: a file that is known by its number on the disk must not take that of one that went.
    let only_there = warehouse.only_in_store(fetched.path()).map_err(there)?;
    for folder in &folders {
        searched.folder(folder, &people)?;
    }
    for (file, name) in only_there {
        searched.file_of(&file, &name, &people)?;
    }
    folders.extend(warehouse.store().map(PathBuf::from));
    if searched.hits.is_empty() {
        list.note(warehouse.root(), &people, State::Done)?;
    }
    Ok(Outcome {
        people: ids.len(),
        indistinct: people.indistinct(),
        erased,
        published,
        snapshots,
        others,
        folders,
        searched,
        exports: exports(pipeline, &people)?,
    })
}

/// Whether every key by which tables have pseudonyms is at hand: without it a person cannot be found in them.
async fn known_keys(pipeline: &Pipeline, snapshot: &Path) -> Result<()> {
    let options = Options::of(pipeline, Utc::now().date_naive());
    let engine = Engine::open(&options, Some(snapshot), None)?;
    let sql =
        "select distinct pseudonym_key from deliveries where pseudonym_key is not null order by 1";
    let used: Vec<String> = map(&engine.collect(sql).await?, |row| {
        row.needed("pseudonym_key")
    })?;
    let known: Vec<String> = pipeline.privacy.keys().iter().map(super::Key::id).collect();
    match used.iter().find(|id| !known.contains(id)) {
        None => Ok(()),
        Some(id) => Err(Error::config(format!(
            "{}: the warehouse holds pseudonyms by the key {id}, which `[privacy]` does not name: nobody can be found by it",
            pipeline.file.display()
        ))
        .help("name it: previous_keys = [\"${NAME}\"], with that key in the environment variable NAME")),
    }
}

/// Removes the snapshots beside the current one that hold any of the people, and what runs that died were staging.
fn without_older_snapshots(warehouse: &Warehouse, people: &People) -> Result<Vec<PathBuf>> {
    let current = warehouse.snapshot();
    let mut others = read_dir(&warehouse.snapshots())?;
    others.retain(|path| path.is_dir() && current != path.canonicalize().ok());
    let mut removed = vec![];
    for path in others {
        let mut own = Searched::default();
        let staged = path.extension().is_some();
        if !staged {
            own.folder(&path, people)?;
        }
        if staged || !own.hits.is_empty() {
            remove_dir(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Removes the files of the report that name any of the people; `recost report` writes them anew.
fn without_report(out: &Path, people: &People) -> Result<Vec<PathBuf>> {
    let mut searched = Searched::default();
    searched.folder(out, people)?;
    let found: Vec<PathBuf> = searched
        .found()
        .into_iter()
        .map(Path::to_path_buf)
        .collect();
    for path in &found {
        remove_file(path)?;
    }
    Ok(found)
}

/// The files of exports of people that hold any of them: those are the shop's, and stay as they are.
fn exports(pipeline: &Pipeline, people: &People) -> Result<(Vec<PathBuf>, usize)> {
    let mut searched = Searched::default();
    for kind in [SourceKind::Events, SourceKind::Users] {
        for source in pipeline.sources_of(kind) {
            for path in ingest::exported(source)? {
                searched.file(&path, people)?;
            }
        }
    }
    let found = searched
        .found()
        .into_iter()
        .map(Path::to_path_buf)
        .collect();
    Ok((found, searched.files))
}

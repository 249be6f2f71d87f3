//! The stage `features`: every file of `sql/features/` that is named after a table becomes it, as of the run's day; others are
//! steps, which files read and nobody else.
//!
//! The session in which the files run holds events of the window only and nothing that happened after it, so no file, not
//! even one of the user's own, can let the future into a feature.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{NaiveDate, TimeDelta};
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};

use super::divide::{By, Divided, File, ended};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::heap;
use crate::privacy::EVERYBODY_ELSE;
use crate::warehouse::{Table, store, table};

/// Table and rows of each feature table written, by name.
pub type Written = Vec<(String, u64)>;

/// Runs the files over the window that ends on `window.1` and writes their partitions of that day.
///
/// # Errors
/// Those of SQL, with the file's name, and `Kind::Config` for a file that no table's contract knows and no other file reads.
pub async fn run(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
) -> Result<Written> {
    let stage = || Making::of(library, options, snapshot, window);
    if !is_tight(options, snapshot, window)? {
        match stage().await?.at_once().await {
            Err(e) if e.is_short_of_memory() => {
                tracing::info!(error = %e, "features: once more by ranges of users");
                heap::give_back();
            }
            done => return done,
        }
    }
    stage().await?.by_ranges(options.threads).await
}

/// The files being run.
struct Making<'a> {
    library: &'a Library,
    snapshot: &'a Path,
    ds: String,
    /// Each after what it reads.
    files: Vec<Sql<'a>>,
    engine: Engine,
}

impl<'a> Making<'a> {
    async fn of(
        library: &'a Library,
        options: &Options,
        snapshot: &'a Path,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Self> {
        let engine = Engine::open(options, Some(snapshot), None)?;
        engine.restrict_to_night(window).await?;
        engine.restrict("events", EVERYBODY_ELSE).await?;
        let all = Making {
            library,
            snapshot,
            ds: window.1.to_string(),
            files: library.ordered(&engine, "features")?,
            engine,
        };
        all.without_unread_steps()
    }

    fn place(&self, name: &str) -> String {
        self.library.describe(&path(name))
    }

    /// A file that is named after no table is a step, a view for the others. One of the project's that none of them reads is
    /// refused, one of ours left out: a file of the project's may have taken the place of its reader.
    fn without_unread_steps(mut self) -> Result<Self> {
        let mut read = BTreeSet::new();
        let mut files = vec![];
        while let Some((name, sql)) = self.files.pop() {
            if table(name).is_some() || read.contains(name) {
                read.extend(self.engine.inputs(sql)?);
                files.push((name, sql));
            } else if self.library.is_own(&path(name)) {
                return Err(Error::config(format!(
                    "{}: there is no table `{name}`, and no other file reads it",
                    self.place(name)
                ))
                .help("name the file after a table of `recost tables`"));
            }
        }
        files.reverse();
        self.files = files;
        Ok(self)
    }

    fn steps(&self) -> impl DoubleEndedIterator<Item = &Sql<'_>> {
        self.files.iter().filter(|(name, _)| table(name).is_none())
    }

    /// Makes the steps views of what the session has now.
    async fn view_steps(&self) -> Result<()> {
        for (name, sql) in self.steps() {
            let view = self.engine.query(sql).await;
            let view = view.and_then(|frame| self.engine.replace_with(name, frame));
            view.map_err(|e| e.context(self.place(name)))?;
        }
        Ok(())
    }

    /// Works out the steps that files read, be it through others, and holds them in memory: several may read one. They count
    /// as memory of no query, which would spill the more for it; [`is_tight`] sees to it that they are few.
    async fn hold_steps(&self, files: &[Sql<'_>]) -> Result<()> {
        let mut read = BTreeSet::new();
        for (_, sql) in files {
            read.extend(self.engine.inputs(sql)?);
        }
        for (name, sql) in self.steps().rev() {
            if read.contains(*name) {
                read.extend(self.engine.inputs(sql)?);
            }
        }
        for (name, sql) in self.steps().filter(|(name, _)| read.contains(*name)) {
            let failed = |e: Error| e.context(self.place(name));
            let rows = self.engine.query(sql).await.map_err(failed)?.cache().await;
            let rows = rows.map_err(|e| failed(e.into()))?;
            self.engine.replace_with(name, rows).map_err(failed)?;
        }
        Ok(())
    }

    /// Files that read nothing of each other run side by side: sorting and writing of one keeps one core busy.
    async fn at_once(&self) -> Result<Written> {
        let mut written = vec![];
        let engine = self.engine.generous()?;
        for wave in waves(&self.engine, &self.files)? {
            self.hold_steps(&wave).await?;
            let budget = self.engine.sorting() / wave.len().max(1);
            let mut works = vec![];
            for (name, sql) in &wave {
                let place = self.place(name);
                let table = contract(name)?;
                let dir = store::replace(self.snapshot, table, &self.ds)?;
                let engine = engine.clone();
                let (name, sql) = ((*name).to_string(), (*sql).to_string());
                works.push(async move {
                    let rows = engine.write_once(&sql, table, &dir, budget).await;
                    Ok((name, rows.map_err(|e| e.context(place))?))
                });
            }
            let at_once = works.len().max(1);
            let running = stream::iter(works).map(|work| tokio::spawn(work).map_err(ended));
            let of_wave: Vec<Result<_>> = running.buffered(at_once).try_collect().await?;
            written.extend(of_wave.into_iter().collect::<Result<Written>>()?);
            for (name, _) in wave {
                self.reload(name).await?;
            }
        }
        written.sort();
        Ok(written)
    }

    /// The files run over ranges of users: where there is room that takes a little longer, and otherwise it is the only way.
    async fn by_ranges(&self, threads: usize) -> Result<Written> {
        self.view_steps().await?;
        let files = self.files.iter().map(|(_, sql)| *sql);
        let files = files.filter(|sql| By::of(sql) == Some(By::Users));
        let later = self.files.iter().map(|(name, _)| *name).collect();
        let engine = &self.engine;
        let mut divided = Divided::of(By::Users, engine, threads, files, &later).await?;
        let mut written = vec![];
        for (together, alone) in passes(&self.engine, &self.files)? {
            let files = together.iter().map(|file| self.file(file));
            let of_pass = divided.pass(files.collect::<Result<_>>()?).await?;
            for (name, _) in &of_pass {
                self.reload(name).await?;
            }
            written.extend(of_pass);
            heap::give_back();
            for (name, sql) in alone {
                let rows = match (table(name), By::of(sql)) {
                    (None, _) => divided.step(name, sql).await.map(|()| None),
                    (Some(table), Some(By::Items)) => {
                        self.by_items(table, sql, threads).await.map(Some)
                    }
                    (Some(table), _) => {
                        let dir = store::replace(self.snapshot, table, &self.ds)?;
                        let engine = self.engine.spilling_joins();
                        engine.write(sql, table, &dir).await.map(Some)
                    }
                };
                if let Some(rows) = rows.map_err(|e| e.context(self.place(name)))? {
                    written.push((name.to_string(), rows));
                    self.reload(name).await?;
                }
                heap::give_back();
            }
        }
        written.sort();
        Ok(written)
    }

    /// Makes a table by a file that is divided by items: as a whole where all items fit, else over ranges of them.
    async fn by_items(&self, table: &'static Table, sql: &str, threads: usize) -> Result<u64> {
        let (engine, files) = (&self.engine, [sql].into_iter());
        let none = BTreeSet::new();
        let mut divided = Divided::of(By::Items, engine, threads, files, &none).await?;
        if divided.ranges() == 1 {
            let dir = store::replace(self.snapshot, table, &self.ds)?;
            return engine.write(sql, table, &dir).await;
        }
        let written = divided.pass(vec![self.file(&(table.name, sql))?]).await?;
        Ok(written.iter().map(|(_, rows)| rows).sum())
    }

    /// A file that is run over ranges, and the empty folder of its table's partition of the day.
    fn file(&self, (name, sql): &Sql<'_>) -> Result<File> {
        let table = match table(name) {
            Some(table) => Some((table, store::replace(self.snapshot, table, &self.ds)?)),
            None => None,
        };
        Ok(File {
            name: (*name).to_string(),
            place: self.place(name),
            sql: (*sql).to_string(),
            table,
        })
    }

    /// Those that come after read this day's rows, from the file just written.
    async fn reload(&self, name: &str) -> Result<()> {
        self.engine.reload(contract(name)?, self.snapshot)?;
        let of_day = format!("ds = date '{}'", self.ds);
        self.engine.restrict(name, &of_day).await
    }
}

/// Whether the window's events and the newest catalogue are too many for several files at once. Where they are not, but what they come to is, as when
/// each event is of another user, sums and sorts spill, and joins end short of memory.
fn is_tight(options: &Options, snapshot: &Path, window: (NaiveDate, NaiveDate)) -> Result<bool> {
    /// How many times the bytes of the events' files the files take in memory together: three times were seen.
    const UNPACKED: u64 = 4;
    let bytes = |name: &str, window| store::bytes_by_day(snapshot, contract(name)?, window);
    let newest = bytes("items", window)?
        .into_iter()
        .rfind(|bytes| *bytes > 0);
    let late = TimeDelta::days(options.lateness_days.into());
    let events = bytes("events", (window.0, window.1 + late))?;
    let read = events.iter().sum::<u64>() + newest.unwrap_or(0);
    let unpacked = UNPACKED.saturating_mul(read);
    Ok(unpacked > options.memory as u64 / 4 * 3)
}

fn path(name: &str) -> String {
    format!("features/{name}.sql")
}

fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::config(format!("there is no table `{name}`")))
}

/// Name and text of a SQL file.
type Sql<'a> = (&'a str, &'a str);

/// The files that make tables in groups, each of which reads nothing, be it through steps, but what the groups before it make.
fn waves<'a>(engine: &Engine, files: &[Sql<'a>]) -> Result<Vec<Vec<Sql<'a>>>> {
    let mut waves: Vec<Vec<Sql>> = vec![];
    let mut of_steps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, sql) in files {
        let mut inputs = engine.inputs(sql)?;
        let through = inputs.iter().filter_map(|i| of_steps.get(i.as_str()));
        let through: Vec<String> = through.flatten().cloned().collect();
        inputs.extend(through);
        if table(name).is_none() {
            of_steps.insert(name, inputs);
            continue;
        }
        let made_in = |wave: &Vec<Sql>| {
            wave.iter()
                .any(|(made, _)| inputs.iter().any(|i| i == made))
        };
        let after = waves.iter().rposition(made_in).map_or(0, |last| last + 1);
        match waves.get_mut(after) {
            Some(wave) => wave.push((name, sql)),
            None => waves.push(vec![(name, sql)]),
        }
    }
    Ok(waves)
}

/// Files that pass over the ranges of users together, and those that run afterwards, as a whole and one by one.
type Pass<'a> = (Vec<Sql<'a>>, Vec<Sql<'a>>);

/// The files in passes over users. What is divided by them reads nothing but what passes before it make; what is not may read
/// what its own makes.
fn passes<'a>(engine: &Engine, files: &[Sql<'a>]) -> Result<Vec<Pass<'a>>> {
    let mut passes: Vec<Pass> = vec![];
    let mut made_in: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, sql) in files {
        let inputs = engine.inputs(sql)?;
        let last = inputs.iter().filter_map(|i| made_in.get(i.as_str())).max();
        let is_divided = By::of(sql) == Some(By::Users);
        let pass = match is_divided {
            true => last.map_or(0, |last| last + 1),
            false => last.copied().unwrap_or(0),
        };
        passes.resize_with(passes.len().max(pass + 1), Pass::default);
        match is_divided {
            true => passes[pass].0.push((name, sql)),
            false => passes[pass].1.push((name, sql)),
        }
        made_in.insert(name, pass);
    }
    Ok(passes)
}

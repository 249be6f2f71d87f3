//! The stage `features`: every file of `sql/features/` becomes a table, as of the run's day.
//!
//! The session in which the files run holds events of the window only and nothing that happened after it, so no file, not
//! even one of the user's own, can let the future into a feature.

use std::path::Path;

use chrono::NaiveDate;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};

use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::privacy::EVERYBODY_ELSE;
use crate::warehouse::{Table, store, table};

/// Table and rows of each feature table written, by name.
pub type Written = Vec<(String, u64)>;

/// Runs the files over the window that ends on `window.1` and writes their partitions of that day.
///
/// # Errors
/// Those of SQL, with the file's name, and `Kind::Config` for a file that no table's contract knows.
pub async fn run(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
) -> Result<Written> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    engine.restrict_to(window).await?;
    engine.restrict("events", EVERYBODY_ELSE).await?;
    let tight = is_tight(options.memory, snapshot, window)?;
    let ds = window.1.to_string();
    let mut written = vec![];
    for wave in waves(&engine, library.ordered(&engine, "features")?)? {
        // The files of a wave read nothing of each other. Sorting and writing of one file keeps one core busy.
        let at_once = if tight { 1 } else { wave.len() };
        let mut works = vec![];
        for (name, sql) in &wave {
            let place = library.describe(&format!("features/{name}.sql"));
            let table = contract(name, &place)?;
            let dir = store::replace(snapshot, table, &ds)?;
            let engine = match tight {
                true => engine.spilling_joins(),
                false => engine.clone(),
            };
            let (name, sql) = ((*name).to_string(), (*sql).to_string());
            works.push(async move {
                let rows = engine.write(&sql, table, &dir).await;
                Ok((name, rows.map_err(|e| e.context(place))?))
            });
        }
        let running = stream::iter(works).map(|work| tokio::spawn(work).map_err(ended));
        let of_wave: Vec<Result<_>> = running.buffered(at_once.max(1)).try_collect().await?;
        written.extend(of_wave.into_iter().collect::<Result<Written>>()?);
        // Those that come after read this day's rows, from the files just written.
        for (name, _) in wave {
            engine.reload(contract(name, name)?, snapshot)?;
            engine.restrict(name, &format!("ds = date '{ds}'")).await?;
        }
    }
    written.sort();
    Ok(written)
}

/// Whether the window's events are too many for hash tables of several files at once. Then the files run one after another,
/// with joins that sort: where there is room that takes a little longer, and otherwise it is the only way.
fn is_tight(memory: usize, snapshot: &Path, window: (NaiveDate, NaiveDate)) -> Result<bool> {
    /// How many times the bytes of its file a table takes in memory.
    const UNPACKED: u64 = 8;
    let events = store::bytes_by_day(snapshot, contract("events", "events")?, window)?;
    let unpacked = UNPACKED.saturating_mul(events.iter().sum());
    Ok(unpacked > memory as u64 / 2)
}

fn ended(error: tokio::task::JoinError) -> Error {
    Error::unexpected(format!("a worker ended early: {error}"))
}

fn contract(name: &str, place: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| {
        Error::config(format!("{place}: there is no table `{name}`"))
            .help("name the file after a table of `recost tables`")
    })
}

/// Name and text of a SQL file.
type Sql<'a> = (&'a str, &'a str);

/// The files in groups, each of which reads nothing but what the groups before it make.
fn waves<'a>(engine: &Engine, files: Vec<Sql<'a>>) -> Result<Vec<Vec<Sql<'a>>>> {
    let mut waves: Vec<Vec<Sql>> = vec![];
    for (name, sql) in files {
        let inputs = engine.inputs(sql)?;
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

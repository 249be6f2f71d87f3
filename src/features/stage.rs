//! The stage `features`: every file of `sql/features/` becomes a table, as of the run's day.
//!
//! The session in which the files run holds events of the window only and nothing that happened after it, so no file, not
//! even one of the user's own, can let the future into a feature.

use std::path::Path;

use chrono::NaiveDate;

use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{store, table};

/// Table and rows of each feature table written, in order.
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
    let ds = window.1.to_string();
    let mut written = vec![];
    for (name, sql) in library.ordered(&engine, "features")? {
        let place = || library.describe(&format!("features/{name}.sql"));
        let table = table(name).ok_or_else(|| {
            Error::config(format!("{}: there is no table `{name}`", place()))
                .help("name the file after a table of `recost tables`")
        })?;
        let dir = store::replace(snapshot, table, &ds)?;
        let rows = engine
            .write(sql, table, &dir)
            .await
            .map_err(|e| e.context(place()))?;
        written.push((name.to_string(), rows));
        // Those that come after read this day's rows of it, from the file just written.
        engine.reload(table, snapshot)?;
        engine.restrict(name, &format!("ds = date '{ds}'")).await?;
    }
    Ok(written)
}

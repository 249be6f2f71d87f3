//! The report: one HTML file that opens from disk without a network, and a CSV file per table.
//!
//! [`data`] says what is shown, [`html`] and [`section`] how it reads, [`charts`]
//! and [`plot`] draw it, [`csv`] writes the tables for a spreadsheet.

pub mod charts;
pub mod csv;
pub mod data;
pub mod html;
pub mod load;
pub mod marks;
pub mod movers;
pub mod plot;
pub mod round;
pub mod section;
pub mod svg;
pub mod table;
pub mod text;
pub mod view;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use crate::money::MoneyError;
use data::ReportData;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report's amounts cannot be added up: {0}")]
    Money(#[from] MoneyError),
    #[error("the CSV file {name} cannot be made: {source}")]
    Csv { name: String, source: ::csv::Error },
    #[error("the report cannot be written to {}: {source}; choose a folder that can be written with --out", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub html: PathBuf,
    /// `csv/<table>.csv`, in the order of [`csv::tables`].
    pub csv: Vec<PathBuf>,
}

/// Makes the folder `out` and tries whether it can be written, for those who end a long work with a report.
pub fn prepare(out: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(out)
        .and_then(|()| tempfile::tempfile_in(out))
        .map(drop)
        .map_err(|source| ReportError::Io {
            path: out.to_owned(),
            source,
        })
}

/// Writes `report.html` and `csv/*.csv` under `out`, which is made where it is missing.
///
/// All of it is rendered before the first file is touched, and each file is
/// replaced by a rename. The same data give the same bytes.
pub fn write(data: &ReportData, out: &Path) -> Result<Written, ReportError> {
    let page = html::page(data)?;
    let tables = csv::tables(data)?;
    let html = out.join("report.html");
    replace(&html, page.as_bytes())?;
    let mut written = Vec::with_capacity(tables.len());
    for table in &tables {
        let path = out.join("csv").join(table.name);
        replace(&path, &table.bytes)?;
        written.push(path);
    }
    Ok(Written { html, csv: written })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let partial = path.with_extension("partial");
    let done = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&partial, bytes))
        .and_then(|()| fs::rename(&partial, path));
    done.map_err(|source| ReportError::Io {
        path: path.to_owned(),
        source,
    })
}

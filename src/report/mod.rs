//! The report: one HTML file that opens from disk without a network, a workbook for finance, and a CSV file per table.
//!
//! [`data`] says what is shown and [`load`] reads it ([`rows`], row by row); [`view`] and [`shown`] sum and round it, once for all forms;
//! [`html`] and [`section`] are the page, [`charts`] and [`plot`] draw it, [`xlsx`] is the workbook, [`csv`] has every
//! digit. [`run`] is a page of its own, on how the last run went, with its [`timeline`].

pub mod charts;
pub mod converted;
pub mod csv;
pub mod data;
pub mod frontier;
pub mod html;
pub mod load;
pub mod making;
pub mod marks;
pub mod movers;
pub mod plot;
pub mod round;
mod rows;
pub mod run;
pub mod section;
pub mod showback;
pub mod shown;
mod side_by_side;
pub mod svg;
pub mod table;
pub mod text;
mod timeline;
pub mod view;
pub mod xlsx;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::money::MoneyError;
use data::ReportData;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report's amounts cannot be added up: {0}")]
    Money(#[from] MoneyError),
    #[error(
        "the sheet {sheet} has more rows than a spreadsheet holds; take `--period`, or `--format csv`"
    )]
    TooManyRows { sheet: &'static str },
    #[error("the workbook cannot be made: {0}")]
    Workbook(std::io::Error),
    #[error("the CSV file {name} cannot be made: {source}")]
    Csv { name: String, source: ::csv::Error },
    #[error("the report cannot be written to {}: {source}; choose a folder that can be written with --out", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Says that no costs are published of a billing period, or of any, where there are those of `published`.
fn no_costs(period: Option<&str>, published: &[String]) -> Error {
    let of = period.map_or(String::new(), |period| {
        format!(" of the billing period {period}")
    });
    Error::config(format!("no costs{of} are published")).help(match published {
        [] => "a run publishes them once a source of kind `charges` has delivered a bill".into(),
        _ => format!("there are: {}", published.join(", ")),
    })
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One page for reading: report.html.
    Html,
    /// A workbook for finance: report.xlsx.
    Xlsx,
    /// A file per table, with every digit: csv/.
    Csv,
}

impl Format {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Html, Self::Xlsx, Self::Csv];
}

/// The files of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// `report.html`, where it was asked for.
    pub html: Option<PathBuf>,
    /// `report.xlsx`, where it was asked for.
    pub xlsx: Option<PathBuf>,
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

/// Writes the report in the forms asked for under `out`, which is made where it is missing.
///
/// All of it is rendered before the first file is touched, and each file is
/// replaced by a rename. The same data give the same bytes.
pub fn write(data: &ReportData, out: &Path, formats: &[Format]) -> Result<Written, ReportError> {
    let asked = |format: Format| formats.contains(&format).then_some(());
    let page = asked(Format::Html).map(|()| html::page(data)).transpose()?;
    let book = asked(Format::Xlsx)
        .map(|()| xlsx::workbook(data))
        .transpose()?;
    let tables = asked(Format::Csv).map(|()| csv::tables(data)).transpose()?;
    let put = |name: &str, bytes: &[u8]| -> Result<PathBuf, ReportError> {
        let path = out.join(name);
        replace(&path, bytes)?;
        Ok(path)
    };
    Ok(Written {
        html: page
            .map(|page| put("report.html", page.as_bytes()))
            .transpose()?,
        xlsx: book.map(|book| put("report.xlsx", &book)).transpose()?,
        csv: tables
            .unwrap_or_default()
            .iter()
            .map(|table| put(&format!("csv/{}", table.name), &table.bytes))
            .collect::<Result<_, _>>()?,
    })
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

//! The workbook for finance: a sheet per view, native numbers, totals that a spreadsheet computes again.
//!
//! [`lines`] has the leaves, rounded to cents as on the page; the other views of cost are sums over them. Sheets are made
//! by [`sheet`], written by [`write`] and packed by [`zip`]. A further view is a file with a `sheet` function and a line
//! in [`VIEWS`].

mod bills;
mod conformance;
mod converted;
mod lines;
mod losses;
mod machines;
mod making;
mod models;
mod movers;
mod notes;
mod restatements;
mod sheet;
mod summary;
#[cfg(test)]
mod tests;
mod units;
mod write;
mod zip;

use super::ReportError;
use super::data::ReportData;
use super::view::View;
use lines::Lines;
use sheet::Sheet;

/// What a view is made from.
struct Book<'a> {
    data: &'a ReportData,
    views: &'a [View<'a>],
    lines: &'a Lines<'a>,
}

/// A sheet, or nothing where there is nothing to show.
type MakeSheet = fn(&Book) -> Result<Option<Sheet>, ReportError>;

/// The views in the order of their tabs.
const VIEWS: &[MakeSheet] = &[
    summary::sheet,
    models::sheet,
    bills::reconciliation,
    bills::bridge,
    machines::sheet,
    losses::reasons,
    losses::resources,
    restatements::sheet,
    movers::sheet,
    making::rolled,
    making::by_version,
    units::sheet,
    converted::sheet,
    converted::rates,
    conformance::sheet,
    lines::sheet,
    notes::sheet,
];

/// The workbook's bytes; the same data give the same bytes.
pub fn workbook(data: &ReportData) -> Result<Vec<u8>, ReportError> {
    let views: Vec<View> = data
        .currencies
        .iter()
        .map(View::new)
        .collect::<Result<_, _>>()?;
    let lines = Lines::new(&views);
    let book = Book {
        data,
        views: &views,
        lines: &lines,
    };
    let mut sheets = Vec::new();
    for make in VIEWS {
        sheets.extend(make(&book)?);
    }
    let title = format!("{}: what recommendations cost", data.name);
    let properties = write::Properties {
        title: &title,
        subject: &format!("{} to {}", data.first_day, data.last_day),
        creator: &data.version,
        created: &data.last_day.to_string(),
    };
    write::workbook(&sheets, &properties).map_err(ReportError::Workbook)
}

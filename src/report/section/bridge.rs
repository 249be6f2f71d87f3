//! From billed to effective cost: the first thing that someone who pays invoices asks.

use crate::report::ReportError;
use crate::report::shown;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count};
use crate::report::view::{Kind, View};

/// Stands for what no line of the bridge explains.
pub const UNEXPLAINED: &str = "Not explained by these lines";

/// A table that leads from the billed total to the effective one; empty where they are the same.
pub fn html(view: &View) -> Result<String, ReportError> {
    let lines = &view.data.bridge;
    if lines.is_empty() {
        return Ok(String::new());
    }
    let shown = view.kind(Kind::All)?.1;
    let (rounded, rest) = shown::bridge(view)?;
    let mut table = Table::new(format!(
        "From billed to effective <small>{}</small>",
        view.code()
    ))
    .words("What")
    .numbers("Bill rows", "")
    .numbers("Amount", "");
    let cell = |money| Ok::<_, ReportError>(Cell::Number(amount(money, view.digits)?));
    let name = |text: &str| Cell::Name(text.to_owned());
    table.row(
        Row::Subtotal,
        vec![name("Billed"), Cell::Empty, cell(shown[2])?],
    );
    for (line, difference) in lines.iter().zip(rounded) {
        table.row(
            Row::Leaf,
            vec![
                name(&line.what),
                Cell::Number(count(line.rows)),
                cell(difference)?,
            ],
        );
    }
    if rest.0 != 0 {
        table.row(
            Row::Alert,
            vec![name(UNEXPLAINED), Cell::Empty, cell(rest)?],
        );
    }
    table.row(
        Row::Total,
        vec![name("Effective"), Cell::Empty, cell(shown[0])?],
    );
    Ok(table.html())
}

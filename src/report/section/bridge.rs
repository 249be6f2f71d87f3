//! From billed to effective cost: the first thing that someone who pays invoices asks.

use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::{fit, less, sum};
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count};
use crate::report::view::{Kind, View};

/// A table that leads from the billed total to the effective one; empty where they are the same.
pub fn html(view: &View) -> Result<String, ReportError> {
    let lines = &view.data.bridge;
    if lines.is_empty() {
        return Ok(String::new());
    }
    let (exact, shown) = view.kind(Kind::All)?;
    let differences = lines
        .iter()
        .map(|line| less(line.effective, line.billed))
        .collect::<Result<Vec<Money>, _>>()?;
    // Shown so that they add up to the totals shown, as long as they do so exactly.
    let rounded = if sum(differences.iter().copied())? == less(exact[0], exact[2])? {
        fit(&differences, less(shown[0], shown[2])?, view.digits)?
    } else {
        view.data.currency.cents(&differences)?
    };
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
    table.row(
        Row::Total,
        vec![name("Effective"), Cell::Empty, cell(shown[0])?],
    );
    Ok(table.html())
}

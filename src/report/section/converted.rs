//! All currencies in the reporting currency, with the rates that were taken.

use super::{marked, section};
use crate::money::{Currency, Money};
use crate::report::ReportError;
use crate::report::converted::{KINDS, bill, owners, parts};
use crate::report::data::{Converted, ConvertedKind};
use crate::report::marks::{Marks, name};
use crate::report::round::sum;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count, escape, group, label};

/// The section of one reporting currency.
pub fn html(
    all: &Converted,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    let mut body = by_line(all)?;
    body.push_str(&by_owner(all, marks)?);
    body.push_str(&rates(all));
    let intro = "Amounts of several currencies are never added as they are. Here each cost is converted at the rate of its day. What the whole bill of a currency is worth at the rate of the closing day, less that, is the exchange difference, so cost and exchange difference are the bill at one rate, to the last digit.";
    Ok(section(id, heading, intro, &body))
}

fn heads(table: Table) -> Table {
    table
        .numbers("Effective", "usage basis")
        .numbers("Effective", "allocation basis")
        .numbers("Billed", "usage basis")
        .numbers("Billed", "allocation basis")
}

fn amounts(shown: &[Money], digits: u32) -> Result<Vec<Cell>, ReportError> {
    let cells = shown.iter();
    cells
        .map(|&money| Ok(Cell::Number(amount(money, digits)?)))
        .collect()
}

fn by_line(all: &Converted) -> Result<String, ReportError> {
    let code = all.currency.code();
    let digits = all.currency.digits();
    let mut table = heads(
        Table::new(format!("In one currency <small>{code}</small>"))
            .words("Line")
            .words("From")
            .numbers("Effective", "usage basis, as it was"),
    );
    let parts = parts(all)?;
    let mut total = Some(bill(&parts)?);
    for (kind, title) in KINDS {
        let own: Vec<_> = parts.iter().filter(|part| part.kind == kind).collect();
        if kind == ConvertedKind::Restatement {
            put_bill(&mut table, total.take(), digits)?;
        }
        for part in own {
            let digits_from = Currency::parse(&part.from).map_or(2, Currency::digits);
            let original = match kind {
                ConvertedKind::ExchangeDifference => Cell::Empty,
                _ => Cell::Number(format!(
                    "{} {}",
                    part.from,
                    amount(part.original[0], digits_from)?
                )),
            };
            let mut row = vec![
                Cell::Name(title.to_owned()),
                Cell::Name(part.from.clone()),
                original,
            ];
            row.extend(amounts(&part.shown, digits)?);
            table.row(Row::Leaf, row);
        }
    }
    Ok(table.html())
}

fn put_bill(table: &mut Table, total: Option<[Money; 4]>, digits: u32) -> Result<(), ReportError> {
    if let Some(total) = total {
        let title = Cell::Name("The bill at closing rates".to_owned());
        let mut row = vec![title, Cell::Empty, Cell::Empty];
        row.extend(amounts(&total, digits)?);
        table.row(Row::Total, row);
    }
    Ok(())
}

fn by_owner(all: &Converted, marks: &Marks) -> Result<String, ReportError> {
    let digits = all.currency.digits();
    let mut table = heads(
        Table::new(format!(
            "Cost by owner in one currency <small>{}</small>",
            all.currency.code()
        ))
        .words("Owner"),
    );
    let owners = owners(all)?;
    for owner in &owners {
        let title = Cell::Html(marked(&marks.target(&owner.target), name(&owner.target)));
        let mut row = vec![title];
        row.extend(amounts(&owner.shown, digits)?);
        table.row(Row::Leaf, row);
    }
    let mut row = vec![Cell::Name("Cost".to_owned())];
    for place in 0..4 {
        let total = sum(owners.iter().map(|owner| owner.shown[place]))?;
        row.push(Cell::Number(amount(total, digits)?));
    }
    table.row(Row::Total, row);
    Ok(table.html())
}

fn rates(all: &Converted) -> String {
    let code = all.currency.code();
    let mut table = Table::new("Exchange rates taken")
        .words("Rate")
        .words("From")
        .numbers("1 of it is", "")
        .words("First day")
        .words("Last day")
        .numbers("Amounts", "converted");
    for rate in &all.rates {
        table.row(
            Row::Leaf,
            vec![
                Cell::Html(label(&rate.rate_id)),
                Cell::Name(rate.from.clone()),
                Cell::Number(format!("{code} {}", group(&rate.rate.to_string()))),
                Cell::Html(escape(&rate.first_day.to_string())),
                Cell::Html(escape(&rate.last_day.to_string())),
                Cell::Number(count(rate.rows)),
            ],
        );
    }
    if table.is_empty() {
        return "<p>Nothing had to be converted.</p>\n".to_owned();
    }
    table.html()
}

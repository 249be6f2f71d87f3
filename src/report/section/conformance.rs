//! Whether the sums of the bills hang together: invoices, commitments, and rows that their provider has split.

use super::{alert, section};
use crate::money::{Currency, Money};
use crate::report::data::{Conformance, ReportData};
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{count, counted, escape, group, places};

/// Rows that the page lists; the workbook and the CSV file have all.
const MOST_ROWS: usize = 40;

/// A rule in words; one of the project's own stays as it is.
pub fn rule(name: &str) -> &str {
    match name {
        "invoice_ties_to_charges" => "Invoice: its lines, and its charges",
        "commitment_is_used_up" => "Commitment: what was billed, and its usage",
        "commitment_keeps_its_cost" => "Commitment: what its term costs, and its usage",
        "commitment_is_used_in_its_term" => "Commitment: 0, and its usage outside of its term",
        "split_is_whole" => "Split row: 1, and the ratios of its parts",
        own => own,
    }
}

/// All digits, and at least those of the minor unit.
fn exact(money: Money, unit: &str) -> String {
    let least = Currency::parse(unit).map_or(0, Currency::digits);
    let places = places(money).max(least as usize);
    group(&format!("{money:.places$}"))
}

/// The section.
pub fn html(data: &ReportData, id: &str, heading: &str) -> String {
    let all = &data.conformance;
    let intro = "Rules of the FOCUS specification say how bills hang together; with them a figure can be followed up to its invoice. What breaks one is a fault of the bill, which is attributed as it was sent. All bills, whatever the period of this report.";
    if all.is_empty() {
        let none = "No invoice, commitment or split row was there to judge. Invoices come from a source of the kind <code>invoices</code>, what commitments cost from one of the kind <code>commitments</code>.";
        return section(id, heading, none, "");
    }
    let broken = all.iter().filter(|row| !row.holds).count() as u64;
    let mut body = if broken == 0 {
        let says = match all.len() {
            1 => "The one sum that could be judged is what it should be, within its tolerance."
                .to_owned(),
            many => format!(
                "All {} are what they should be, within their tolerance.",
                counted(many as u64, "sum", "sums")
            ),
        };
        format!("<p class=\"proof\"><strong>✓ Holds.</strong> {says}</p>\n")
    } else {
        alert(&format!(
            "{} of {} differ by more than their tolerance.",
            count(broken),
            counted(all.len() as u64, "sum", "sums")
        ))
    };
    let mut table = Table::new("What was held against what")
        .fine()
        .words("Rule")
        .words("About")
        .words("Issuer")
        .words("Unit")
        .numbers("Charges", "")
        .numbers("Stated", "")
        .numbers("Found", "")
        .numbers("Difference", "")
        .numbers("Tolerance", "")
        .words("Holds");
    for row in all.iter().take(MOST_ROWS) {
        table.row(if row.holds { Row::Leaf } else { Row::Alert }, cells(row));
    }
    body.push_str(&table.html());
    if all.len() > MOST_ROWS {
        body.push_str(&format!(
            "<p class=\"legend\">{} more, all of which are in the workbook and in conformance.csv.</p>\n",
            count((all.len() - MOST_ROWS) as u64)
        ));
    }
    section(id, heading, intro, &body)
}

fn cells(row: &Conformance) -> Vec<Cell> {
    let amounts = [row.stated, row.found, row.difference, row.tolerance];
    let mut cells = vec![
        Cell::Html(escape(rule(&row.rule))),
        Cell::Name(row.subject.clone()),
        Cell::name(row.issuer.as_deref()),
        Cell::Name(row.unit.clone()),
        Cell::Number(count(row.rows)),
    ];
    cells.extend(amounts.map(|money| Cell::Number(exact(money, &row.unit))));
    cells.push(Cell::Html(
        if row.holds { "✓ yes" } else { "▲ no" }.to_owned(),
    ));
    cells
}

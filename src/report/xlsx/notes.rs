//! What a reader of the workbook has to know.

use super::Book;
use super::sheet::{Cell, Kind, Sheet};
use crate::report::ReportError;

const NOTES: [(&str, &str); 13] = [
    ("Billed", "What the invoice asks for (FOCUS BilledCost)."),
    (
        "Effective",
        "Cost as incurred, with purchases spread over what they cover (FOCUS EffectiveCost).",
    ),
    ("Usage basis", "What was used. Idle has a line of its own."),
    (
        "Allocation basis",
        "Idle has moved on to those who used the machine.",
    ),
    (
        "Unallocated",
        "No rule found an owner. It is never dropped or spread.",
    ),
    (
        "Run cost",
        "Deployment and operations of a model, usage basis, without tax.",
    ),
    (
        "Full cost",
        "Run cost, overhead (tax on running and the share of idle) and what is recognised of the cost to make the versions. It is not the model's cost of the period, which has the cost to make when it is incurred.",
    ),
    (
        "Cost to make",
        "Development, training and upgrade, effective, allocation basis. Recognised over the service life of the version; written off where the version is retired before its end.",
    ),
    (
        "Conversion",
        "A recommendation that was bought, however often.",
    ),
    (
        "Cents",
        "By largest remainder: every total is the sum of the lines that make it, so a single line may differ from its own rounding by a cent.",
    ),
    (
        "Totals",
        "Formulas, rounded to the currency's minor unit so that no binary residue is left. A spreadsheet computes them again when it opens the file.",
    ),
    (
        "Exact amounts",
        "A spreadsheet keeps some 15 digits. All 18 decimal places are in the CSV files beside this workbook and in the tables of the warehouse.",
    ),
    (
        "Currencies",
        "Amounts of different currencies are never added. With a reporting currency, OneCurrency has each amount at the rate of its day, and what the closing rate makes of the bill beyond that.",
    ),
];

/// Words, and the facts of the run.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let data = book.data;
    let mut sheet = Sheet::new("Notes", "How to read this workbook", "")
        .words("Word", 20)
        .words("Meaning", 120);
    for (word, meaning) in NOTES {
        sheet.row(Kind::Leaf, vec![Cell::text(word), Cell::text(meaning)])?;
    }
    for (fact, value) in [("Run", &data.run_id), ("Made by", &data.version)] {
        sheet.row(
            Kind::Leaf,
            vec![Cell::text(fact), Cell::Text(value.clone())],
        )?;
    }
    for (fact, day) in [
        ("Data of", data.date),
        ("First day", data.first_day),
        ("Last day", data.last_day),
    ] {
        sheet.row(Kind::Leaf, vec![Cell::text(fact), Cell::day(day)])?;
    }
    for (period, day) in &data.closed {
        let fact = format!("{period} closed on");
        sheet.row(Kind::Leaf, vec![Cell::Text(fact), Cell::day(*day)])?;
    }
    Ok(Some(sheet))
}

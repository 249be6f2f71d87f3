//! The workbook read back by a reader of its own: what is a number, what is a formula, and what the formulas give.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::DeflateDecoder;

use super::workbook;
use crate::money::Money;
use crate::report::data::{Basis, Line, ReportData, Target};
use crate::report::round::sum;
use crate::report::sample::{empty, hostile, shop};
use crate::report::view::View;

/// Files of a ZIP container by its central directory, each checked against its length and CRC-32.
fn unzip(bytes: &[u8]) -> BTreeMap<String, String> {
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let end = bytes.len() - 22;
    assert_eq!(&bytes[end..end + 4], b"PK\x05\x06");
    let mut at = long(end + 16) as usize;
    let mut files = BTreeMap::new();
    for _ in 0..short(end + 10) {
        assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
        let name = std::str::from_utf8(&bytes[at + 46..at + 46 + short(at + 28)]).unwrap();
        let local = long(at + 42) as usize;
        assert_eq!(&bytes[local..local + 4], b"PK\x03\x04");
        let start = local + 30 + short(local + 26) + short(local + 28);
        let packed = &bytes[start..start + long(at + 20) as usize];
        let mut content = Vec::new();
        DeflateDecoder::new(packed)
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(content.len(), long(at + 24) as usize);
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        assert_eq!(crc.sum(), long(at + 16), "CRC of {name}");
        let known = files.insert(name.to_owned(), String::from_utf8(content).unwrap());
        assert!(known.is_none());
        at += 46 + short(at + 28) + short(at + 30) + short(at + 32);
    }
    files
}

#[derive(Debug, Clone, PartialEq)]
enum Found {
    Text(String),
    Number(String),
    Formula(String, String),
}

type Cells = BTreeMap<(usize, usize), Found>;

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let start = text.find(open)? + open.len();
    Some(&text[start..start + text[start..].find(close)?])
}

fn unescape(text: &str) -> String {
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    text.replace("&#39;", "'").replace("&amp;", "&")
}

/// Column (from 0) and row of a reference such as `AB12`.
fn place(reference: &str) -> (usize, usize) {
    let digits = reference.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = &reference[..reference.len() - digits.len()];
    let column = letters.bytes().fold(0, |column, letter| {
        column * 26 + usize::from(letter - b'A') + 1
    });
    (column - 1, digits.parse().unwrap())
}

fn cells(xml: &str) -> Cells {
    let mut found = Cells::new();
    for cell in xml.split("<c r=\"").skip(1) {
        let reference = &cell[..cell.find('"').unwrap()];
        let end = cell.find("</c>").or_else(|| cell.find("/>")).unwrap();
        let cell = &cell[..end];
        let value = || between(cell, "<v>", "</v>").unwrap().to_owned();
        let content = if let Some(formula) = between(cell, "<f>", "</f>") {
            Found::Formula(unescape(formula), value())
        } else if cell.contains("inlineStr") {
            Found::Text(unescape(between(cell, "preserve\">", "</t>").unwrap()))
        } else if cell.contains("<v>") {
            Found::Number(value())
        } else {
            continue;
        };
        found.insert(place(reference), content);
    }
    found
}

/// Sheets by name.
struct Book(BTreeMap<String, Cells>);

impl Book {
    fn of(data: &ReportData) -> Self {
        let files = unzip(&workbook(data).unwrap());
        let mut sheets = BTreeMap::new();
        for (number, sheet) in files["xl/workbook.xml"]
            .split("<sheet name=\"")
            .skip(1)
            .enumerate()
        {
            let name = &sheet[..sheet.find('"').unwrap()];
            let xml = &files[&format!("xl/worksheets/sheet{}.xml", number + 1)];
            sheets.insert(name.to_owned(), cells(xml));
        }
        Book(sheets)
    }

    /// Exact value of a cell, its formulas computed anew; empty is 0, as in a spreadsheet.
    fn value(&self, sheet: &str, at: (usize, usize)) -> Money {
        match self.0[sheet].get(&at) {
            None => Money::ZERO,
            Some(Found::Number(text)) => Money::parse(text).unwrap().0,
            Some(Found::Formula(formula, _)) => self.compute(sheet, formula),
            Some(Found::Text(text)) => panic!("{text:?} of {sheet} is summed"),
        }
    }

    /// `ROUND(expression,digits)`, where the expression adds and subtracts sums and cells.
    fn compute(&self, sheet: &str, formula: &str) -> Money {
        let inner = formula
            .strip_prefix("ROUND(")
            .unwrap()
            .strip_suffix(')')
            .unwrap();
        let (expression, digits) = inner.rsplit_once(',').unwrap();
        let mut total = Money::ZERO;
        let mut rest = expression;
        let mut sign = 1;
        while !rest.is_empty() {
            let (term, after) = match rest.strip_prefix("SUM(") {
                Some(after) => after.split_once(')').unwrap(),
                None => rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len())),
            };
            for argument in term.split(',') {
                total.0 += sign * self.range(sheet, argument).0;
            }
            sign = if after.starts_with('-') { -1 } else { 1 };
            rest = after.get(1..).unwrap_or("");
        }
        total.round(digits.parse().unwrap()).unwrap()
    }

    fn range(&self, sheet: &str, argument: &str) -> Money {
        let (sheet, cells) = argument.split_once('!').unwrap_or((sheet, argument));
        let (first, last) = cells.split_once(':').unwrap_or((cells, cells));
        let ((left, top), (right, bottom)) = (place(first), place(last));
        let all = (left..=right).flat_map(|column| (top..=bottom).map(move |row| (column, row)));
        sum(all.map(|at| self.value(sheet, at))).unwrap()
    }

    /// Columns by their heads, from 0.
    fn column(&self, sheet: &str, head: &str) -> usize {
        let heads = self.0[sheet].iter().filter(|((_, row), _)| *row == 3);
        let found = heads
            .into_iter()
            .find(|(_, cell)| **cell == Found::Text(head.to_owned()));
        found.unwrap_or_else(|| panic!("{sheet} has no {head}")).0.0
    }

    /// Row of the first cell in column 1 that reads `title` and has `currency` before it.
    fn row(&self, sheet: &str, currency: &str, title: &str) -> usize {
        let found = self.0[sheet].iter().find(|((column, row), cell)| {
            let before = self.0[sheet].get(&(0, *row));
            *column == 1
                && **cell == Found::Text(title.to_owned())
                && before == Some(&Found::Text(currency.to_owned()))
        });
        found
            .unwrap_or_else(|| panic!("{sheet} has no {title} in {currency}"))
            .0
            .1
    }
}

#[test]
fn every_formula_gives_what_is_written_beside_it() {
    for data in [shop(), hostile()] {
        let book = Book::of(&data);
        let mut checked = 0;
        for (name, sheet) in &book.0 {
            for (at, cell) in sheet {
                if let Found::Formula(formula, written) = cell
                    && formula.starts_with("ROUND")
                {
                    let computed = book.compute(name, formula);
                    assert_eq!(
                        computed,
                        Money::parse(written).unwrap().0,
                        "{name} {at:?}: {formula}"
                    );
                    checked += 1;
                }
            }
        }
        assert!(checked > 200, "only {checked} formulas were there to check");
    }
}

#[test]
fn totals_are_those_of_the_page() {
    let data = shop();
    let book = Book::of(&data);
    for section in &data.currencies {
        let view = View::new(section).unwrap();
        for found in &view.targets {
            let title = crate::report::marks::name(&found.target);
            let row = book.row("Summary", view.code(), title);
            for (place, shown) in found.shown.into_iter().enumerate() {
                assert_eq!(book.value("Summary", (2 + place, row)), shown, "{title}");
            }
        }
        let total = book.row("Summary", view.code(), "Total");
        let bill = book.row("Reconciliation", view.code(), "Total");
        let shown = view.kind(crate::report::view::Kind::All).unwrap().1;
        let effective = book.column("Reconciliation", "Effective");
        assert_eq!(book.value("Summary", (2, total)), shown[0]);
        assert_eq!(book.value("Reconciliation", (effective, bill)), shown[0]);
        let difference = book.row("Summary", view.code(), "Difference");
        assert_eq!(book.value("Summary", (2, difference)), Money::ZERO);
        let bridge = book.row("Bridge", view.code(), "Effective");
        assert_eq!(book.value("Bridge", (3, bridge)), shown[0]);
        let models = book.row("Models", view.code(), "Total");
        let usage = book.column("Models", "Total, usage basis");
        assert_eq!(book.value("Models", (usage, models)), shown[0]);
        let idle = book.column("Reconciliation", "Effective idle");
        let found = view
            .targets
            .iter()
            .find(|found| found.target == Target::Idle)
            .unwrap();
        assert_eq!(book.value("Reconciliation", (idle, bill)), found.shown[0]);
    }
}

#[test]
fn amounts_are_numbers_and_texts_are_never_formulas() {
    let book = Book::of(&hostile());
    let mut texts = Vec::new();
    for sheet in book.0.values() {
        for ((_, row), cell) in sheet {
            match cell {
                Found::Text(text) if *row > 3 => texts.push(text.as_str()),
                Found::Formula(formula, _) => {
                    assert!(
                        formula.starts_with("ROUND(") || formula.starts_with("IF("),
                        "{formula}"
                    );
                }
                _ => {}
            }
        }
    }
    for hostile in ["=1+1", "-2+3|cmd", "@SUM(A1:A9) --> ]]>"] {
        assert!(texts.contains(&hostile), "{hostile} is not there as a text");
    }
    for text in texts {
        let plain = text.replace(',', "");
        assert!(
            plain.parse::<f64>().is_err(),
            "{text:?} is a number as a text"
        );
        assert!(!text.contains(['\u{0}', '\t', '\u{202e}']), "{text:?}");
    }
}

/// They are under the closed period's name and the source's, which no bill has.
#[test]
fn restatements_and_rejected_rows_are_lines_of_the_reconciliation() {
    let mut data = shop();
    let mut others = data.currencies[0].reconciliation[0].clone();
    for (issuer, line, amount) in [
        ("closed period 2026-09", Line::Restated, Some(10)),
        ("ledger", Line::Quarantined, Some(3)),
    ] {
        others.issuer = issuer.to_owned();
        others.basis = Basis::Usage;
        others.line = line;
        others.rows = 2;
        others.effective = amount.map(|units| Money(units * Money::ONE.0));
        data.currencies[0].reconciliation.push(others.clone());
    }
    let book = Book::of(&data);
    let sheet = &book.0["Reconciliation"];
    for (issuer, column, amount) in [("closed period 2026-09", 16, 10), ("ledger", 18, 3)] {
        let is_issuer = |found: &Found| matches!(found, Found::Text(text) if text == issuer);
        let row = sheet
            .iter()
            .find(|(_, found)| is_issuer(found))
            .unwrap()
            .0
            .1;
        let found = book.value("Reconciliation", (column, row));
        assert_eq!(found, Money(amount * Money::ONE.0), "{issuer}");
    }
}

/// Whoever edits such a cell would make a formula of it, had it no quote before it.
#[test]
fn texts_that_look_like_formulas_carry_a_quote() {
    let files = unzip(&workbook(&hostile()).unwrap());
    let styles: Vec<&str> = files["xl/styles.xml"].split("<xf ").collect();
    let lines = files.values().find(|xml| xml.contains(">=1+1<")).unwrap();
    let cell = lines
        .split("<c r=")
        .find(|cell| cell.contains(">=1+1<"))
        .unwrap();
    let style: usize = between(cell, "s=\"", "\"").unwrap().parse().unwrap();
    // Before the cells' own there are the head and the one of cellStyleXfs.
    assert!(
        styles[style + 2].contains("quotePrefix"),
        "{}",
        styles[style + 2]
    );
}

#[test]
fn the_format_s_own_escapes_are_escaped() {
    let mut data = shop();
    data.name = "_x0041_ _x000D_".to_owned();
    let files = unzip(&workbook(&data).unwrap());
    assert!(files["xl/worksheets/sheet1.xml"].contains("_x005F_x0041_ _x005F_x000D_"));
}

#[test]
fn every_sheet_prints_well_and_keeps_its_heads_in_view() {
    let files = unzip(&workbook(&shop()).unwrap());
    let sheets: Vec<&String> = (1..)
        .map_while(|n| files.get(&format!("xl/worksheets/sheet{n}.xml")))
        .collect();
    assert_eq!(sheets.len(), 17);
    for xml in sheets {
        for setting in [
            "state=\"frozen\"",
            "fitToPage=\"1\"",
            "orientation=\"landscape\"",
            "fitToHeight=\"0\"",
            "Page &amp;P of &amp;N",
        ] {
            assert!(xml.contains(setting), "{setting}");
        }
    }
    assert_eq!(
        files["xl/workbook.xml"]
            .matches("_xlnm.Print_Titles")
            .count(),
        17
    );
    assert!(files["docProps/core.xml"].contains("2026-11-22T00:00:00Z"));
}

#[test]
fn nothing_at_all_is_still_a_workbook() {
    let book = Book::of(&empty());
    assert!(book.0.contains_key("Summary") && book.0.contains_key("Notes"));
}

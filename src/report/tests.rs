//! The report as a whole: safe, self-contained, well-formed, adding up, and the same every time.

#![allow(clippy::unwrap_used)]

use super::data::{Basis, CostLine, DayCost, Line, ReportData, Target};
use super::sample::{empty, hostile, shop};
use super::{Format, csv, html, write};
use crate::money::Money;
use std::collections::BTreeMap;

/// Elements by open and close; fails where they do not nest.
fn check_nesting(page: &str) {
    const VOID: [&str; 2] = ["meta", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').unwrap();
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<'), "a bare < before {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed where {open:?} is open");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(
            tag.matches('"').count().is_multiple_of(2),
            "quotes of {tag}"
        );
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).unwrap()..];
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn tags_nest_whatever_the_data() {
    for data in [shop(), hostile(), empty()] {
        check_nesting(&html::page(&data).unwrap());
    }
}

#[test]
#[should_panic(expected = "is open")]
fn the_nesting_check_finds_what_is_wrong() {
    check_nesting("<p><b>x</p></b>");
}

#[test]
fn data_cannot_become_markup() {
    let page = html::page(&hostile()).unwrap();
    let lower = page.to_lowercase();
    assert_eq!(
        lower.matches("<script").count(),
        1,
        "only the page's own script"
    );
    assert_eq!(lower.matches("</style").count(), 1);
    assert!(!lower.contains("<img"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{0}'));
    assert!(!page.contains(&"x".repeat(200)), "long names are shortened");
}

#[test]
fn the_page_refers_to_nothing_outside_itself() {
    for data in [shop(), hostile()] {
        let page = html::page(&data).unwrap().to_lowercase();
        for outside in [
            "http:", "https:", " src=\"", "@import", "<link", "<iframe", "<base", "fetch(",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        for (at, _) in page.match_indices("url(") {
            assert!(page[at..].starts_with("url(#"), "{}", &page[at..at + 20]);
        }
        for (at, _) in page.match_indices("href=\"") {
            let target = &page[at + 6..];
            let target = &target[..target.find('"').unwrap()];
            let id = target.strip_prefix('#').unwrap();
            assert_eq!(
                page.matches(&format!("id=\"{id}\"")).count(),
                1,
                "{target} has one place"
            );
        }
    }
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let written = folders
        .each_ref()
        .map(|folder| write(&hostile(), folder.path(), &Format::ALL).unwrap());
    let [left, right] = &written;
    assert_eq!(left.csv.len(), 23);
    let pairs = left
        .csv
        .iter()
        .zip(&right.csv)
        .chain(left.html.iter().zip(&right.html))
        .chain(left.xlsx.iter().zip(&right.xlsx));
    for (left, right) in pairs {
        let bytes = std::fs::read(left).unwrap();
        assert!(!bytes.is_empty());
        assert_eq!(bytes, std::fs::read(right).unwrap());
    }
    // The order of the rows that come in does not matter to the page's cents.
    let mut turned = shop();
    turned
        .currencies
        .iter_mut()
        .for_each(|section| section.costs.reverse());
    assert_eq!(html::page(&turned).unwrap(), html::page(&shop()).unwrap());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "x").unwrap();
    let error = write(&shop(), &file, &Format::ALL).unwrap_err().to_string();
    assert!(
        error.contains("a file") && error.contains("--out"),
        "{error}"
    );
}

type TableRow = (String, Vec<String>);

/// Tables of the page as rows of `(class, cells' text)`, by caption.
fn tables(page: &str) -> Vec<(String, Vec<TableRow>)> {
    let mut found = Vec::new();
    for table in page.split("<table ").skip(1) {
        let table = &table[..table.find("</table>").unwrap()];
        let caption = &table
            [table.find("<caption><span>").unwrap() + 15..table.find("</span></caption>").unwrap()];
        let body = &table[table.find("<tbody>").unwrap()..];
        let mut rows = Vec::new();
        for row in body.split("<tr").skip(1) {
            let class = row[..row.find('>').unwrap()]
                .trim()
                .trim_start_matches("class=\"")
                .trim_end_matches('"');
            let cells = row.split("</td>").flat_map(|part| part.split("</th>"));
            let text = |cell: &str| {
                let mut out = String::new();
                let mut inside = false;
                for c in cell.chars() {
                    match c {
                        '<' => inside = true,
                        '>' => {
                            inside = false;
                            out.clear_if_cell();
                        }
                        _ if !inside => out.push(c),
                        _ => {}
                    }
                }
                out.trim().to_owned()
            };
            let mut cells: Vec<String> = cells.map(text).collect();
            cells.pop();
            rows.push((class.to_owned(), cells));
        }
        found.push((caption.to_owned(), rows));
    }
    found
}

trait ClearIfCell {
    fn clear_if_cell(&mut self);
}

impl ClearIfCell for String {
    /// What stands before a cell's own tag (the rest of the row's tag) is not its text.
    fn clear_if_cell(&mut self) {
        if self.starts_with('>') || self.starts_with(" class") {
            self.clear();
        }
    }
}

/// Cents of a shown amount; `None` for what is no amount.
fn cents(text: &str) -> Option<i128> {
    let plain = text.replace(',', "").replace('−', "-");
    if plain == "–" {
        return Some(0);
    }
    let (whole, fraction) = plain.split_once('.')?;
    if fraction.len() != 2 || text.contains('%') {
        return None;
    }
    format!("{whole}{fraction}").parse().ok()
}

/// Holds each subtotal against the leaves since the one before, and each total against the leaves of the whole table.
fn check_sums(
    caption: &str,
    rows: &[(String, Vec<String>)],
    columns: &[usize],
    from_start: bool,
) -> usize {
    let mut checked = 0;
    let (mut since, mut all) = (
        BTreeMap::<usize, i128>::new(),
        BTreeMap::<usize, i128>::new(),
    );
    for (class, cells) in rows {
        for &column in columns {
            let Some(shown) = cells.get(column).and_then(|cell| cents(cell)) else {
                continue;
            };
            let expected = match class.as_str() {
                "sub" => since.get(&column).copied().unwrap_or(0),
                "total" => all.get(&column).copied().unwrap_or(0),
                _ => {
                    *since.entry(column).or_default() += shown;
                    *all.entry(column).or_default() += shown;
                    continue;
                }
            };
            assert_eq!(shown, expected, "{caption}: {cells:?}, column {column}");
            checked += 1;
        }
        if class == "sub" && !from_start {
            since.clear();
        }
    }
    checked
}

#[test]
fn every_shown_subtotal_is_the_sum_of_its_shown_leaves() {
    for data in [shop(), hostile()] {
        let found = tables(&html::page(&data).unwrap());
        let mut checked = 0;
        for (caption, rows) in &found {
            let (columns, from_start): (Vec<usize>, bool) = match caption {
                _ if caption.starts_with("By owner") => (vec![1, 3, 4, 5], true),
                _ if caption.starts_with("Owner by") => ((1..20).collect(), false),
                _ if caption.starts_with("Every line") => (vec![3, 4, 5, 6], false),
                _ if caption.starts_with("Why it is") => (vec![1, 2], false),
                _ if caption.starts_with("Where to look") => (vec![5, 6], false),
                _ if caption.starts_with("The dearest") => (vec![4, 5], false),
                _ if caption.starts_with("By day") => ((1..20).collect(), false),
                _ if caption.starts_with("By billing period") => ((3..9).collect(), true),
                _ if caption.starts_with("Utilisation") => ((2..6).collect(), true),
                _ if caption.starts_with("Restated") => (vec![4, 6], true),
                _ if caption.starts_with("By model and surface") => ((7..13).collect(), false),
                _ if caption.starts_with("Roll-forward") => ((3..7).collect(), false),
                _ if caption.starts_with("What each version") => ((6..11).collect(), false),
                _ if caption.starts_with("Cost by owner in one") => ((1..5).collect(), true),
                _ if caption.starts_with("In one currency") => ((3..7).collect(), true),
                _ => continue,
            };
            checked += check_sums(caption, rows, &columns, from_start);
        }
        assert!(checked > 100, "only {checked} sums were there to check");
    }
}

#[test]
fn all_tables_show_one_total_for_one_model() {
    let found = tables(&html::page(&shop()).unwrap());
    let cell = |caption: &str, row: &str, column: usize| {
        let (_, rows) = found
            .iter()
            .find(|(known, _)| known.starts_with(caption))
            .unwrap();
        let (_, cells) = rows
            .iter()
            .rev()
            .find(|(_, cells)| cells[0].ends_with(row))
            .unwrap();
        cells[column].clone()
    };
    let usage = cell("By owner", "als-home", 1);
    assert_eq!(cell("Owner by stage", "als-home", 6).len(), usage.len());
    let (_, by_stage) = found
        .iter()
        .find(|(caption, _)| caption.starts_with("Owner by stage"))
        .unwrap();
    assert_eq!(by_stage[0].1.last(), Some(&usage));
    let (_, by_day) = found
        .iter()
        .find(|(caption, _)| caption.starts_with("By day"))
        .unwrap();
    assert_eq!(by_day.last().unwrap().1[1], usage);
    let full = cell("By owner", "als-home", 3);
    assert_eq!(cell("Cost per 1,000", "als-home", 6), full);
    assert_eq!(cell("By model and surface", "als-home", 12), full);
    for (here, there) in [(2, 9), (4, 10), (5, 11)] {
        let part = cell("By model and surface", "als-home", there);
        assert_eq!(cell("Cost per 1,000", "als-home", here), part);
    }
    let closing = cell("Roll-forward", "als-home", 7);
    assert_eq!(cell("What each version", "als-home", 10), closing);
    assert_eq!(
        cell("What each version", "als-home", 6),
        cell("Roll-forward", "als-home", 3)
    );
}

/// Ten lines of 0.4 cents and ten of 0.6: their owners get 4 and 6 cents, whatever the lines alone would round to.
#[test]
fn days_follow_the_totals_that_the_cost_tables_show() {
    let mut section = shop().currencies.remove(0);
    let (line, day) = (section.costs[0].clone(), section.daily[0].clone());
    (section.costs, section.daily) = (Vec::new(), Vec::new());
    for (model, tenths) in [("a", 4), ("b", 6)] {
        let target = Target::Model(model.to_owned());
        for place in 0..10 {
            let amount = Money(tenths * 10_i128.pow(15));
            section.costs.push(CostLine {
                target: target.clone(),
                category: place.to_string(),
                usage_effective: amount,
                ..line.clone()
            });
            section.daily.push(DayCost {
                day: day.day + chrono::Days::new(place),
                target: target.clone(),
                usage_effective: amount,
                ..day.clone()
            });
        }
    }
    let data = ReportData {
        currencies: vec![section],
        ..shop()
    };
    let found = tables(&html::page(&data).unwrap());
    let last = |caption: &str, name: &str| {
        let (_, rows) = found
            .iter()
            .find(|(known, _)| known.starts_with(caption))
            .unwrap();
        rows.iter()
            .rev()
            .find(|(_, cells)| cells[0].ends_with(name))
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(
        [&last("By owner", " a")[1], &last("By owner", " b")[1]],
        ["0.04", "0.06"]
    );
    assert_eq!(
        last("By day", "Total")[1..],
        ["0.06", "0.04", "0.10"].map(str::to_owned)[..]
    );
}

#[test]
fn shares_of_the_owners_add_up_to_all() {
    let mut data = shop();
    // Credits have no share, so they go.
    for section in &mut data.currencies {
        section.costs.retain(|line| line.usage_effective.0 > 0);
    }
    let found = tables(&html::page(&data).unwrap());
    let (_, rows) = found
        .iter()
        .find(|(caption, _)| caption.starts_with("By owner"))
        .unwrap();
    let tenths = |row: &(String, Vec<String>)| {
        row.1[2]
            .trim_end_matches(" %")
            .trim_end_matches("\u{a0}%")
            .replace('.', "")
            .parse::<i64>()
            .unwrap()
    };
    let sum: i64 = rows.iter().filter(|row| row.0.is_empty()).map(tenths).sum();
    assert_eq!(sum, 1000);
}

#[test]
fn nothing_served_reads_as_not_available() {
    let mut data = shop();
    for unit in data
        .currencies
        .iter_mut()
        .flat_map(|section| &mut section.units)
    {
        if unit.model_id == "als-home" {
            (unit.served, unit.requests, unit.clicks) = (0, 0, 0);
            (unit.purchases, unit.conversions) = (0, 0);
        }
    }
    let page = html::page(&data).unwrap();
    let found = tables(&page);
    let (_, rows) = found
        .iter()
        .find(|(caption, _)| caption.starts_with("Cost per 1,000"))
        .unwrap();
    assert_eq!(rows[0].1[1], "0");
    assert_eq!([&rows[0].1[3], &rows[0].1[7]], ["n/a", "n/a"]);
    let (_, rows) = found
        .iter()
        .find(|(caption, _)| caption.starts_with("What a recommendation costs and returns"))
        .unwrap();
    let (_, own) = rows.iter().find(|(class, _)| class == "sub").unwrap();
    assert!(
        own[1..]
            .iter()
            .all(|cell| cell.trim_end_matches('*') == "n/a"),
        "{own:?}"
    );
    let files = csv::tables(&data).unwrap();
    let file = files
        .iter()
        .find(|file| file.name == "cost_per_1000.csv")
        .unwrap();
    let mut reader = ::csv::Reader::from_reader(file.bytes.as_slice());
    let first = reader.records().next().unwrap().unwrap();
    assert_eq!(
        [&first[1], &first[2], &first[4], &first[6]],
        ["als-home", "0", "", ""]
    );
}

/// Every row of what is rolled forward closes as it is shown, and opens where the one before it closed.
#[test]
fn the_roll_forward_closes_in_the_cents_that_are_shown() {
    for data in [shop(), hostile()] {
        let found = tables(&html::page(&data).unwrap());
        let mut checked = 0;
        for (caption, rows) in &found {
            let (opening, first) = match caption {
                _ if caption.starts_with("Roll-forward") => (Some(2), 3),
                _ if caption.starts_with("What each version") => (None, 6),
                _ => continue,
            };
            let mut before: Option<(&str, i128)> = None;
            for (class, cells) in rows {
                let at = |column: usize| cents(&cells[column]).unwrap();
                let start = opening.map_or(0, at);
                let [incurred, transferred, recognised, written_off, closing] =
                    std::array::from_fn(|place| at(first + place));
                assert_eq!(
                    start + incurred + transferred - recognised - written_off,
                    closing,
                    "{cells:?}"
                );
                if class.is_empty() && opening.is_some() {
                    let (model, closed) = before.unwrap_or((&cells[0], 0));
                    assert_eq!(start, if model == cells[0] { closed } else { 0 });
                    before = Some((&cells[0], closing));
                }
                checked += 1;
            }
        }
        assert!(checked > 20, "only {checked} rows were there to check");
    }
}

#[test]
fn one_period_opens_with_what_earlier_ones_left() {
    let whole = html::page(&shop()).unwrap();
    let data = ReportData {
        period: Some("2026-11".to_owned()),
        ..shop()
    };
    let of = |page: &str| {
        let mut found = tables(page);
        let at = found
            .iter()
            .position(|(caption, _)| caption.starts_with("Roll-forward"))
            .unwrap();
        found.swap_remove(at).1
    };
    let (all, one) = (of(&whole), of(&html::page(&data).unwrap()));
    assert!(one.iter().all(|(_, cells)| cells[1] != "2026-10"));
    assert_ne!(one[0].1[2], "0.00");
    assert_eq!(one[0].1, all[1].1);
    let files = csv::tables(&data).unwrap();
    let file = files.iter().find(|file| file.name == "roll_forward.csv");
    let mut reader = ::csv::Reader::from_reader(file.unwrap().bytes.as_slice());
    let first = reader.records().next().unwrap().unwrap();
    let october = &shop().currencies[0].roll_forward[0];
    assert_eq!(
        [&first[2], &first[3]],
        ["2026-11", &october.closing.to_string()]
    );
}

#[test]
fn what_does_not_conform_is_loud_and_all_new_views_are_there() {
    let page = html::page(&shop()).unwrap();
    assert!(page.contains("1\u{a0}sum is not what the bills state"));
    assert!(page.contains("never shipped"));
    assert!(page.contains("Newcombe (1998)"));
    assert!(page.contains("The bill at closing rates"));
    let mut data = shop();
    data.conformance.retain(|row| row.holds);
    let page = html::page(&data).unwrap();
    assert!(page.contains("✓ Holds.") && !page.contains("not what the bills state"));
    let empty = html::page(&empty()).unwrap();
    assert!(!empty.contains("id=\"converted"));
}

#[test]
fn a_model_below_its_baseline_and_rejected_charges_are_loud() {
    let page = html::page(&shop()).unwrap();
    assert!(page.contains(
        "Model <b>popular-email</b> (version 2026-11-08) does not beat the popularity baseline"
    ));
    assert!(page.contains("were rejected and are in none of these figures"));
    assert!(page.contains("▼ worse"));
    assert!(page.contains("no difference shown"));
    assert!(page.contains("amounts that cannot be read"));
}

fn off_by_one(change: impl Fn(&mut ReportData)) -> String {
    let mut data = shop();
    change(&mut data);
    html::page(&data).unwrap()
}

#[test]
fn a_last_digit_that_is_off_is_said_first() {
    let ties = html::page(&shop()).unwrap();
    assert!(ties.contains("Every cent of") && ties.contains("✓ Ties."));
    assert!(!ties.contains("not tie"));
    let gap = "USD 0.000000000000000001";
    let cost = off_by_one(|data| data.currencies[0].costs[0].usage_effective.0 -= 1);
    let bill = off_by_one(|data| {
        data.currencies[0].reconciliation[0]
            .effective
            .as_mut()
            .unwrap()
            .0 += 1
    });
    let stated = off_by_one(|data| {
        let mut lines = data.currencies[0].reconciliation.iter_mut();
        let line = lines
            .find(|line| line.line == Line::Difference && line.basis == Basis::Usage)
            .unwrap();
        line.effective = Some(Money(1));
    });
    for page in [cost, bill, stated] {
        assert!(page.contains("it does not tie to the bill") && page.contains(gap));
        assert_eq!(
            page.matches("Every cent of").count(),
            1,
            "the other currency still ties"
        );
    }
    let without = off_by_one(|data| data.currencies[0].reconciliation.clear());
    assert!(without.contains("there is no bill to reconcile with"));
}

#[test]
fn reconciliation_shows_every_digit() {
    let data = shop();
    let page = html::page(&data)
        .unwrap()
        .replace("<span class=\"dim\">", "")
        .replace("</span>", "");
    let section = &data.currencies[0];
    let idle: i128 = section
        .costs
        .iter()
        .filter(|line| line.target == Target::Idle)
        .map(|line| line.usage_effective.0)
        .sum();
    let text = super::text::group(&format!("{:.18}", Money(idle)));
    assert!(page.contains(&text), "{text}");
}

#[test]
fn csv_files_are_whole_and_safe() {
    for data in [shop(), hostile(), empty()] {
        for file in csv::tables(&data).unwrap() {
            let mut reader = ::csv::Reader::from_reader(file.bytes.as_slice());
            let width = reader.headers().unwrap().len();
            for row in reader.records() {
                let row = row.unwrap();
                assert_eq!(row.len(), width, "{}", file.name);
                for cell in &row {
                    let number = cell.parse::<f64>().is_ok() && !cell.starts_with('+');
                    assert!(
                        number || !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                        "{}: {cell}",
                        file.name
                    );
                }
            }
        }
    }
    let files = csv::tables(&hostile()).unwrap();
    let costs = String::from_utf8(files[0].bytes.clone()).unwrap();
    assert!(costs.contains("'=1+1"));
    assert!(
        costs
            .lines()
            .next()
            .unwrap()
            .contains("usage_effective [currency]")
    );
    let first = &shop().currencies[0].costs[0];
    let plain = String::from_utf8(csv::tables(&shop()).unwrap()[0].bytes.clone()).unwrap();
    assert!(
        plain.contains(&first.usage_effective.to_string()),
        "all digits"
    );
}

/// Leaves the reports where a person can look at them: `RECOST_REPORT_DIR=… cargo test`.
#[test]
fn reports_can_be_looked_at() {
    let Some(folder) = std::env::var_os("RECOST_REPORT_DIR").map(std::path::PathBuf::from) else {
        return;
    };
    for (name, data) in [("shop", shop()), ("hostile", hostile()), ("empty", empty())] {
        write(&data, &folder.join(name), &Format::ALL).unwrap();
    }
}

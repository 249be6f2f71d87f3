//! HTML tables: a caption, heads with units, subtotals, and cells that escape what they hold.

use super::text::{MISSING, escape, label, shorten};
use std::fmt::Write as _;

/// Characters of a column's head; heads may be names from the data.
const HEAD_CHARS: usize = 28;

/// Content of a cell.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A name from the data: shortened and escaped.
    Name(String),
    /// A number as it is to be read.
    Number(String),
    /// Not known, or a ratio without a denominator.
    Missing,
    /// HTML of our own, whose data are escaped already.
    Html(String),
    Empty,
}

impl Cell {
    /// A number, or [`Cell::Missing`].
    pub fn number(value: Option<String>) -> Self {
        value.map_or(Self::Missing, Self::Number)
    }

    /// A name, or nothing.
    pub fn name(value: Option<&str>) -> Self {
        value.map_or(Self::Empty, |text| Self::Name(text.to_owned()))
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Leaf,
    Subtotal,
    Total,
    /// A warning that stands out.
    Alert,
}

/// A table under construction.
pub struct Table {
    caption: String,
    class: &'static str,
    heads: Vec<(String, &'static str, bool)>,
    rows: Vec<(Row, Vec<Cell>)>,
}

impl Table {
    /// `caption` is HTML of our own, whose data are escaped already.
    pub fn new(caption: impl Into<String>) -> Self {
        Self {
            caption: caption.into(),
            class: "",
            heads: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Lets a reader sort the rows where scripts run; not for tables with subtotals.
    pub fn sortable(mut self) -> Self {
        self.class = "sortable";
        self
    }

    /// Smaller digits, for amounts with all their places.
    pub fn fine(mut self) -> Self {
        self.class = "fine";
        self
    }

    /// A column of words.
    pub fn words(mut self, head: &str) -> Self {
        self.heads
            .push((label(&shorten(head, HEAD_CHARS)), "", false));
        self
    }

    /// A column of numbers, and their unit.
    pub fn numbers(mut self, head: &str, unit: &'static str) -> Self {
        self.heads
            .push((label(&shorten(head, HEAD_CHARS)), unit, true));
        self
    }

    /// Adds a row; the first cell is its head.
    pub fn row(&mut self, row: Row, cells: Vec<Cell>) {
        self.rows.push((row, cells));
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in a box that scrolls sideways where it must.
    pub fn html(&self) -> String {
        let mut out = format!(
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"{}\"><caption><span>{}</span></caption><thead><tr>",
            self.class, self.caption
        );
        for (head, unit, numeric) in &self.heads {
            let class = if *numeric { " class=\"n\"" } else { "" };
            let _ = write!(out, "<th scope=\"col\"{class}>{head}");
            if !unit.is_empty() {
                let _ = write!(out, " <small>{unit}</small>");
            }
            out.push_str("</th>");
        }
        out.push_str("</tr></thead><tbody>\n");
        for (row, cells) in &self.rows {
            let class = match row {
                Row::Leaf => "",
                Row::Subtotal => " class=\"sub\"",
                Row::Total => " class=\"total\"",
                Row::Alert => " class=\"alert\"",
            };
            let _ = write!(out, "<tr{class}>");
            for (place, cell) in cells.iter().enumerate() {
                let numeric = self.heads.get(place).is_some_and(|head| head.2);
                let class = if numeric { " class=\"n\"" } else { "" };
                let (open, close) = if place == 0 {
                    (format!("<th scope=\"row\"{class}>"), "</th>")
                } else {
                    (format!("<td{class}>"), "</td>")
                };
                let _ = write!(out, "{open}{}{close}", content(cell));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        out
    }
}

fn content(cell: &Cell) -> String {
    match cell {
        Cell::Name(text) => label(text),
        Cell::Number(text) => escape(text),
        Cell::Html(text) => text.clone(),
        Cell::Missing => format!("<span class=\"na\">{MISSING}</span>"),
        Cell::Empty => String::new(),
    }
}

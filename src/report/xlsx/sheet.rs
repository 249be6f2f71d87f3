//! A sheet under construction: columns, rows of typed cells, and references to them for formulas.

use chrono::NaiveDate;

use crate::money::Money;
use crate::report::ReportError;
use crate::report::round::sum;

/// Rows that a sheet of any spreadsheet holds.
const MOST_ROWS: usize = 1_048_576;
/// Characters that a formula may have.
const MOST_FORMULA: usize = 8_000;
/// Arguments that a function may have.
const MOST_ARGUMENTS: usize = 250;
/// Rows above the data: title, note, heads.
const ABOVE: usize = 3;

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Text,
    Count,
    /// With so many decimal places.
    Decimal(u32),
    Percent,
    Date,
}

/// A value, and how it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Empty,
    /// Never a formula, whatever it begins with.
    Text(String),
    /// A plain decimal.
    Number(String, Format),
    /// A formula without its `=`, and the plain decimal that it gives (empty where it gives no number).
    Formula(String, String, Format),
}

impl Cell {
    /// A text, or nothing.
    pub fn some(text: Option<&str>) -> Self {
        text.map_or(Self::Empty, |text| Self::Text(text.to_owned()))
    }

    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A count.
    pub fn count(value: u64) -> Self {
        Self::Number(value.to_string(), Format::Count)
    }

    /// An amount that is rounded to `digits` places already.
    pub fn amount(money: Money, digits: u32) -> Self {
        Self::Number(money.to_string(), Format::Decimal(digits))
    }

    /// An amount, rounded here half-even to `digits` places; empty where there is none.
    pub fn rounded(money: Option<Money>, digits: u32) -> Result<Self, ReportError> {
        let text = money.map(|money| money.fixed(digits)).transpose()?;
        Ok(text.map_or(Self::Empty, |text| {
            Self::Number(text, Format::Decimal(digits))
        }))
    }

    /// A day.
    pub fn day(day: NaiveDate) -> Self {
        // Day 1 of the 1900 date system is 1 January 1900, and it knows a 29 February 1900.
        let epoch = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap_or_default();
        Self::Number((day - epoch).num_days().to_string(), Format::Date)
    }

    /// `formula`, which gives `money`, rounded to `digits` places so that no binary residue is left.
    pub fn formula(formula: &str, money: Money, digits: u32) -> Self {
        let format = match digits {
            0 => Format::Count,
            digits => Format::Decimal(digits),
        };
        Self::Formula(
            format!("ROUND({formula},{digits})"),
            money.to_string(),
            format,
        )
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Leaf,
    Subtotal,
    Total,
}

/// A column's head and width in characters.
#[derive(Debug, Clone)]
pub struct Column {
    pub head: String,
    pub width: u32,
    pub numeric: bool,
}

/// A sheet: a title, a note, heads that stay in view, and rows.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Letters only, so that references to it need no quotes.
    pub name: &'static str,
    pub title: String,
    pub note: String,
    pub columns: Vec<Column>,
    pub rows: Vec<(Kind, Vec<Cell>)>,
    /// Rows that the filter covers, if any: those from the first on.
    pub filtered: Option<usize>,
}

impl Sheet {
    /// A sheet without columns and rows.
    pub fn new(name: &'static str, title: &str, note: &str) -> Self {
        Self {
            name,
            title: title.to_owned(),
            note: note.to_owned(),
            columns: Vec::new(),
            rows: Vec::new(),
            filtered: None,
        }
    }

    /// A column of words.
    pub fn words(mut self, head: &str, width: u32) -> Self {
        self.columns.push(Column {
            head: head.to_owned(),
            width,
            numeric: false,
        });
        self
    }

    /// Columns of numbers.
    pub fn numbers(mut self, heads: &[&str]) -> Self {
        self.columns.extend(heads.iter().map(|head| Column {
            head: (*head).to_owned(),
            width: 16,
            numeric: true,
        }));
        self
    }

    /// Adds a row and returns its number, as formulas name it.
    ///
    /// # Errors
    /// When the sheet is full.
    pub fn row(&mut self, kind: Kind, cells: Vec<Cell>) -> Result<usize, ReportError> {
        self.rows.push((kind, cells));
        let number = self.rows.len() + ABOVE;
        if number > MOST_ROWS {
            return Err(ReportError::TooManyRows { sheet: self.name });
        }
        Ok(number)
    }

    /// The number that the next row gets.
    pub fn next(&self) -> usize {
        self.rows.len() + ABOVE + 1
    }

    /// The number in a cell; 0 where there is none.
    ///
    /// # Errors
    /// When it is no plain decimal.
    pub fn amount(&self, column: usize, row: usize) -> Result<Money, ReportError> {
        let cell = row
            .checked_sub(ABOVE + 1)
            .and_then(|place| self.rows.get(place)?.1.get(column));
        match cell {
            Some(Cell::Number(value, _) | Cell::Formula(_, value, _)) if !value.is_empty() => {
                Ok(Money::parse(value)?.0)
            }
            _ => Ok(Money::ZERO),
        }
    }

    /// Lets a reader filter the rows that are there by now.
    pub fn filter(&mut self) {
        self.filtered = (!self.rows.is_empty()).then_some(self.rows.len());
    }
}

/// Letters of a column, from 0.
pub fn letters(column: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        let digit = u8::try_from((rest - 1) % 26).unwrap_or(0);
        letters.push(char::from(b'A' + digit));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect()
}

/// `B7`: a cell by its column, from 0, and its row's number.
pub fn at(column: usize, row: usize) -> String {
    format!("{}{row}", letters(column))
}

/// A sum of the cells of `column` in `rows`, of another sheet where one is named, which gives the sum of `amounts`.
///
/// Rows that follow each other become one range. Where a spreadsheet could not read so long a formula, the sum itself is
/// written.
pub fn sum_of(
    sheet: Option<&str>,
    column: usize,
    rows: &[usize],
    amounts: impl IntoIterator<Item = Money>,
    digits: u32,
) -> Result<Cell, ReportError> {
    let total = sum(amounts)?;
    let sheet = sheet.map_or_else(String::new, |name| format!("{name}!"));
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &row in rows {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => ranges.push((row, row)),
        }
    }
    let letters = letters(column);
    let arguments: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => format!("{sheet}{letters}{first}"),
            false => format!("{sheet}{letters}{first}:{letters}{last}"),
        })
        .collect();
    let formula = format!("SUM({})", arguments.join(","));
    if arguments.is_empty() || arguments.len() > MOST_ARGUMENTS || formula.len() > MOST_FORMULA {
        return Ok(Cell::amount(total, digits));
    }
    Ok(Cell::formula(&formula, total, digits))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        let named = [0, 25, 26, 51, 52, 701, 702].map(letters);
        assert_eq!(named, ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
    }

    #[test]
    fn rows_that_follow_each_other_are_one_range() {
        let cents = |cents: i128| Money(cents * 10_i128.pow(16));
        let cell = sum_of(Some("Lines"), 7, &[4, 5, 6, 9], [cents(5), cents(-7)], 2).unwrap();
        let Cell::Formula(formula, value, _) = cell else {
            panic!("{cell:?}")
        };
        assert_eq!(
            (formula.as_str(), value.as_str()),
            ("ROUND(SUM(Lines!H4:H6,Lines!H9),2)", "-0.02")
        );
    }

    #[test]
    fn a_sum_too_long_for_a_spreadsheet_is_written_as_it_is() {
        let rows: Vec<usize> = (0..300).map(|place| place * 2 + 4).collect();
        let cell = sum_of(None, 0, &rows, [Money::ONE], 2).unwrap();
        assert_eq!(cell, Cell::Number("1".to_owned(), Format::Decimal(2)));
    }

    #[test]
    fn days_are_numbers() {
        let day = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
        assert_eq!(
            Cell::day(day),
            Cell::Number("46326".to_owned(), Format::Date)
        );
    }
}

//! Every line of cost in cents: the leaves that all other sums are made of.

use super::Book;
use super::sheet::{Cell, Kind, Sheet, sum_of};
use crate::report::ReportError;
use crate::report::data::Target;
use crate::report::marks::name;
use crate::report::text::reason;
use crate::report::view::{Leaf, View};

const NAME: &str = "Lines";
const FIRST_AMOUNT: usize = 7;
/// Row of the first line.
const FIRST_ROW: usize = 4;

/// The leaves in the order of their rows, so that most sums are over one range.
pub struct Lines<'a> {
    leaves: Vec<(&'a str, u32, &'a Leaf<'a>)>,
}

impl<'a> Lines<'a> {
    /// Currency by currency, owner by owner; what is unallocated by its reason.
    pub fn new(views: &'a [View<'a>]) -> Self {
        let mut leaves = Vec::new();
        for view in views {
            let start = leaves.len();
            for found in &view.targets {
                let own = view
                    .leaves
                    .iter()
                    .filter(|leaf| leaf.line.target == found.target);
                leaves.extend(own.map(|leaf| (view.code(), view.digits, leaf)));
            }
            let rank = |leaf: &Leaf| {
                let place = view
                    .targets
                    .iter()
                    .position(|found| found.target == leaf.line.target);
                place.unwrap_or(usize::MAX)
            };
            leaves[start..].sort_by(|(_, _, a), (_, _, b)| {
                let key = |leaf: &'a Leaf<'a>| {
                    let line = leaf.line;
                    (
                        &line.reason,
                        &line.stage,
                        &line.category,
                        &line.model_version,
                    )
                };
                rank(a).cmp(&rank(b)).then_with(|| key(a).cmp(&key(b)))
            });
        }
        Self { leaves }
    }

    /// The sum of a measure (by its place) over the lines of a currency that `wanted` takes, as a formula.
    pub fn sum(
        &self,
        view: &View,
        measure: usize,
        wanted: impl Fn(&Leaf) -> bool,
    ) -> Result<Cell, ReportError> {
        let found = self
            .leaves
            .iter()
            .enumerate()
            .filter(|(_, (code, _, leaf))| *code == view.code() && wanted(leaf));
        let (rows, amounts): (Vec<usize>, Vec<_>) = found
            .map(|(place, (_, _, leaf))| (place + FIRST_ROW, leaf.shown[measure]))
            .unzip();
        sum_of(
            Some(NAME),
            FIRST_AMOUNT + measure,
            &rows,
            amounts,
            view.digits,
        )
    }
}

/// One row per line.
pub fn sheet(book: &Book) -> Result<Option<Sheet>, ReportError> {
    let mut sheet = Sheet::new(
        NAME,
        "Every line of cost",
        "Rounded to cents by largest remainder: first over the owners, then over each owner's lines. Never add across currencies.",
    )
    .words("Currency", 10)
    .words("Owner", 30)
    .words("Kind", 12)
    .words("Version", 16)
    .words("Stage", 14)
    .words("Category", 14)
    .words("Reason", 30)
    .numbers(&[
        "Effective, usage basis",
        "Effective, allocation basis",
        "Billed, usage basis",
        "Billed, allocation basis",
    ]);
    for (code, digits, leaf) in &book.lines.leaves {
        let line = leaf.line;
        let kind = match line.target {
            Target::Model(_) => "model",
            Target::Idle => "idle",
            Target::Unallocated => "unallocated",
        };
        let mut cells = vec![
            Cell::text(code),
            Cell::text(name(&line.target)),
            Cell::text(kind),
            Cell::some(line.model_version.as_deref()),
            Cell::some(line.stage.as_deref()),
            Cell::text(&line.category),
            Cell::some(line.reason.as_deref().map(reason)),
        ];
        cells.extend(leaf.shown.map(|money| Cell::amount(money, *digits)));
        sheet.row(Kind::Leaf, cells)?;
    }
    sheet.filter();
    let first = sheet.next();
    debug_assert_eq!(first, FIRST_ROW + book.lines.leaves.len());
    for view in book.views.iter().filter(|view| !view.leaves.is_empty()) {
        let mut cells = vec![Cell::text(view.code()), Cell::text("Total")];
        cells.resize(FIRST_AMOUNT, Cell::Empty);
        for measure in 0..4 {
            cells.push(own_total(book.lines, view, measure)?);
        }
        sheet.row(Kind::Total, cells)?;
    }
    Ok(Some(sheet))
}

fn own_total(lines: &Lines, view: &View, measure: usize) -> Result<Cell, ReportError> {
    Ok(match lines.sum(view, measure, |_| true)? {
        Cell::Formula(formula, value, format) => {
            Cell::Formula(formula.replace("Lines!", ""), value, format)
        }
        other => other,
    })
}

//! Holds the rows of a file against the order that the table's contract promises.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, DynComparator, make_comparator};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

use super::contract::Table;

/// As the engine sorts: ascending, nulls first.
const ASCENDING: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

/// The order of one file, and how far it was seen.
pub(super) struct Order {
    /// Places of the columns that decide, the first first.
    by: Vec<usize>,
    /// Of these columns, the last row.
    last: Vec<ArrayRef>,
}

impl Order {
    /// The order of a table's files.
    pub(super) fn of(table: &Table) -> Order {
        let place = |name: &&str| table.columns.iter().position(|c| c.name == *name);
        Order {
            by: table.order.iter().filter_map(place).collect(),
            last: vec![],
        }
    }

    /// Takes note of the next rows, given by all columns of the table. The first row, counted from 0, that should have come
    /// before the one ahead of it.
    ///
    /// # Errors
    /// For types that have no order.
    pub(super) fn next(&mut self, columns: &[ArrayRef]) -> Result<Option<usize>, ArrowError> {
        let now: Vec<&ArrayRef> = self.by.iter().filter_map(|at| columns.get(*at)).collect();
        let rows = now.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(None);
        }
        let border = comparators(self.last.iter().zip(now.iter().copied()))?;
        let within = comparators(now.iter().map(|column| (*column, *column)))?;
        let wrong = match is_after(&border, 0, 0) {
            true => Some(0),
            false => (1..rows).find(|row| is_after(&within, row - 1, *row)),
        };
        self.last = now.iter().map(|c| c.slice(rows - 1, 1)).collect();
        Ok(wrong)
    }
}

fn comparators<'a>(
    pairs: impl Iterator<Item = (&'a ArrayRef, &'a ArrayRef)>,
) -> Result<Vec<DynComparator>, ArrowError> {
    pairs
        .map(|(left, right)| make_comparator(left, right, ASCENDING))
        .collect()
}

/// Whether row `left` belongs after row `right`.
fn is_after(by: &[DynComparator], left: usize, right: usize) -> bool {
    let decided = by.iter().map(|compare| compare(left, right));
    decided.into_iter().find(|o| o.is_ne()) == Some(Ordering::Greater)
}

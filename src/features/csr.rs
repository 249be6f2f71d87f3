//! Compressed sparse rows: who interacted with what, and how much.

/// A sparse `[rows, cols]` matrix in compressed sparse row form.
///
/// Row `r` holds `indices[indptr[r]..indptr[r + 1]]` (column numbers, strictly ascending) and the
/// values beside them. Every `Csr` is valid: the fields are read-only outside this module.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    rows: usize,
    cols: usize,
    indptr: Vec<u64>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// What is wrong with the arrays given for a [`Csr`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CsrError {
    /// `indptr` must hold one offset per row and a last one.
    #[error("indptr has {found} offsets, {rows} rows need {}", .rows + 1)]
    IndptrLength { rows: usize, found: usize },
    /// Offsets start at 0, never fall and end at the number of indices.
    #[error("indptr is not ascending from 0 to the number of entries: see row {row}")]
    IndptrOrder { row: usize },
    /// One value per index.
    #[error("{indices} column indices, but {values} values")]
    ValuesLength { indices: usize, values: usize },
    /// Columns must be below `cols`.
    #[error("row {row} names column {column}, but there are {cols} columns")]
    ColumnRange {
        row: usize,
        column: u32,
        cols: usize,
    },
    /// Columns of a row must be strictly ascending: sort them and sum duplicates.
    #[error("row {row}: column {column} is out of order or twice there")]
    ColumnOrder { row: usize, column: u32 },
    /// Values must be finite.
    #[error("row {row}, column {column}: the value {value} is not finite")]
    Value { row: usize, column: u32, value: f32 },
    /// A triplet names a row outside the matrix.
    #[error("a triplet names row {row}, but there are {rows} rows")]
    RowRange { row: u32, rows: usize },
    /// Rows and columns are numbered with `u32`.
    #[error("{rows} rows × {cols} columns: more than u32 can number")]
    TooLarge { rows: usize, cols: usize },
}

impl Csr {
    /// Checks the arrays and takes them as they are.
    pub fn new(
        rows: usize,
        cols: usize,
        indptr: Vec<u64>,
        indices: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self, CsrError> {
        check_size(rows, cols)?;
        if indptr.len() != rows + 1 {
            let found = indptr.len();
            return Err(CsrError::IndptrLength { rows, found });
        }
        if indices.len() != values.len() {
            return Err(CsrError::ValuesLength {
                indices: indices.len(),
                values: values.len(),
            });
        }
        if indptr.first() != Some(&0) {
            return Err(CsrError::IndptrOrder { row: 0 });
        }
        for (row, pair) in indptr.windows(2).enumerate() {
            if pair[0] > pair[1] || pair[1] > indices.len() as u64 {
                return Err(CsrError::IndptrOrder { row });
            }
        }
        if indptr.last() != Some(&(indices.len() as u64)) {
            return Err(CsrError::IndptrOrder { row: rows });
        }
        let csr = Self {
            rows,
            cols,
            indptr,
            indices,
            values,
        };
        for row in 0..rows {
            let (columns, values) = csr.row(row);
            let mut before = None;
            for (&column, &value) in columns.iter().zip(values) {
                if column as usize >= cols {
                    return Err(CsrError::ColumnRange { row, column, cols });
                }
                if before.is_some_and(|b| b >= column) {
                    return Err(CsrError::ColumnOrder { row, column });
                }
                if !value.is_finite() {
                    return Err(CsrError::Value { row, column, value });
                }
                before = Some(column);
            }
        }
        Ok(csr)
    }

    /// Sorts `(row, column, value)` triplets; the values of one cell are summed, smallest first, in `f64`,
    /// so that the result does not depend on the order of the triplets.
    pub fn from_triplets(
        rows: usize,
        cols: usize,
        triplets: &[(u32, u32, f32)],
    ) -> Result<Self, CsrError> {
        check_size(rows, cols)?;
        let mut indptr = vec![0u64; rows + 1];
        for &(row, _, _) in triplets {
            match indptr.get_mut(row as usize + 1) {
                Some(count) => *count += 1,
                None => return Err(CsrError::RowRange { row, rows }),
            }
        }
        for row in 0..rows {
            indptr[row + 1] += indptr[row];
        }
        let mut next = indptr.clone();
        let mut cells = vec![(0u32, 0f32); triplets.len()];
        for &(row, column, value) in triplets {
            let at = &mut next[row as usize];
            cells[*at as usize] = (column, value);
            *at += 1;
        }
        let mut indices = Vec::with_capacity(cells.len());
        let mut values = Vec::with_capacity(cells.len());
        let mut merged = Vec::with_capacity(rows + 1);
        merged.push(0);
        for row in 0..rows {
            let cells = &mut cells[indptr[row] as usize..indptr[row + 1] as usize];
            cells.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            for cell in cells.chunk_by(|a, b| a.0 == b.0) {
                let sum: f64 = cell.iter().map(|c| f64::from(c.1)).sum();
                indices.push(cell[0].0);
                values.push(sum as f32);
            }
            merged.push(indices.len() as u64);
        }
        Self::new(rows, cols, merged, indices, values)
    }

    /// The `[cols, rows]` matrix: the same entries by column, rows ascending.
    pub fn transpose(&self) -> Self {
        let mut indptr = vec![0u64; self.cols + 1];
        for &column in &self.indices {
            indptr[column as usize + 1] += 1;
        }
        for column in 0..self.cols {
            indptr[column + 1] += indptr[column];
        }
        let mut next = indptr.clone();
        let mut indices = vec![0u32; self.indices.len()];
        let mut values = vec![0f32; self.values.len()];
        for row in 0..self.rows {
            let (columns, weights) = self.row(row);
            for (&column, &weight) in columns.iter().zip(weights) {
                let at = next[column as usize] as usize;
                next[column as usize] += 1;
                indices[at] = row as u32;
                values[at] = weight;
            }
        }
        Self {
            rows: self.cols,
            cols: self.rows,
            indptr,
            indices,
            values,
        }
    }

    /// Columns and values of one row; columns ascend.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.indices[range.clone()], &self.values[range])
    }

    /// The same cells with other values.
    ///
    /// # Errors
    /// [`CsrError::Value`] where a new value is not finite.
    pub fn map_values(&self, of: impl Fn(f32) -> f32) -> Result<Self, CsrError> {
        Self::new(
            self.rows,
            self.cols,
            self.indptr.clone(),
            self.indices.clone(),
            self.values.iter().map(|&value| of(value)).collect(),
        )
    }

    /// The same cells in a `[rows, cols]` matrix: row `r` becomes row `row_of[r]`, column `c` column `column_of[c]`; both
    /// ascend.
    ///
    /// # Errors
    /// [`CsrError`] when they do not, or lie outside.
    pub fn widened(
        &self,
        row_of: &[u32],
        rows: usize,
        column_of: &[u32],
        cols: usize,
    ) -> Result<Self, CsrError> {
        let mut indptr = vec![0; rows + 1];
        for (row, &to) in row_of.iter().enumerate() {
            let length = self.indptr[row + 1] - self.indptr[row];
            *indptr
                .get_mut(to as usize + 1)
                .ok_or(CsrError::RowRange { row: to, rows })? = length;
        }
        for row in 0..rows {
            indptr[row + 1] += indptr[row];
        }
        let column = |&c: &u32| column_of.get(c as usize).copied().unwrap_or(u32::MAX);
        let indices = self.indices.iter().map(column).collect();
        Self::new(rows, cols, indptr, indices, self.values.clone())
    }

    /// The same matrix with only those cells whose place among [`Csr::indices`] `keep` accepts.
    pub fn filtered(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut indptr = vec![0];
        let (mut indices, mut values) = (vec![], vec![]);
        for row in 0..self.rows {
            for at in self.indptr[row] as usize..self.indptr[row + 1] as usize {
                if keep(at) {
                    indices.push(self.indices[at]);
                    values.push(self.values[at]);
                }
            }
            indptr.push(indices.len() as u64);
        }
        Self {
            rows: self.rows,
            cols: self.cols,
            indptr,
            indices,
            values,
        }
    }

    /// Some rows as a matrix of their own, in the order given, with the same columns.
    pub fn gathered(&self, which: impl IntoIterator<Item = usize>) -> Self {
        let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
        for row in which {
            let (columns, of_row) = self.row(row);
            indices.extend_from_slice(columns);
            values.extend_from_slice(of_row);
            indptr.push(indices.len() as u64);
        }
        Self {
            rows: indptr.len() - 1,
            cols: self.cols,
            indptr,
            indices,
            values,
        }
    }

    /// The rows of a range as a matrix of their own, with the same columns.
    pub fn slice_rows(&self, range: std::ops::Range<usize>) -> Self {
        let (from, to) = (self.indptr[range.start], self.indptr[range.end]);
        let entries = from as usize..to as usize;
        Self {
            rows: range.len(),
            cols: self.cols,
            indptr: self.indptr[range.start..=range.end]
                .iter()
                .map(|offset| offset - from)
                .collect(),
            indices: self.indices[entries.clone()].to_vec(),
            values: self.values[entries].to_vec(),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of stored entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// `[rows + 1]` offsets into [`Csr::indices`] and [`Csr::values`].
    pub fn indptr(&self) -> &[u64] {
        &self.indptr
    }

    /// `[nnz]` column numbers, row after row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// `[nnz]` values beside [`Csr::indices`].
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

fn check_size(rows: usize, cols: usize) -> Result<(), CsrError> {
    let limit = u32::MAX as usize;
    if rows >= limit || cols >= limit {
        return Err(CsrError::TooLarge { rows, cols });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_filtered_matrix_keeps_the_places_that_were_asked_for() {
        let cells = [(0, 0, 1.0), (0, 2, 2.0), (2, 1, 3.0)];
        let whole = Csr::from_triplets(3, 3, &cells).unwrap();
        let kept = whole.filtered(|at| at != 1);
        let expected = Csr::from_triplets(3, 3, &[cells[0], cells[2]]).unwrap();
        assert_eq!(kept, expected);
        assert_eq!(whole.filtered(|_| true), whole);
    }

    #[test]
    fn a_widened_matrix_has_its_cells_in_their_new_places() {
        let small = Csr::from_triplets(2, 2, &[(0, 1, 2.0), (1, 0, 3.0)]).unwrap();
        let wide = small.widened(&[1, 3], 4, &[0, 2], 3).unwrap();
        let expected = Csr::from_triplets(4, 3, &[(1, 2, 2.0), (3, 0, 3.0)]).unwrap();
        assert_eq!(wide, expected);
        assert!(small.widened(&[1, 4], 4, &[0, 2], 3).is_err());
        assert!(small.widened(&[1, 3], 4, &[0, 3], 3).is_err());
        assert!(small.widened(&[1, 3], 4, &[0], 3).is_err());
    }

    #[test]
    fn invalid_arrays_are_named() {
        let new = |indptr: &[u64], indices: &[u32], values: &[f32]| {
            Csr::new(2, 3, indptr.to_vec(), indices.to_vec(), values.to_vec()).unwrap_err()
        };
        assert!(matches!(
            new(&[0, 1], &[0], &[1.0]),
            CsrError::IndptrLength { .. }
        ));
        assert!(matches!(
            new(&[0, 2, 1], &[0], &[1.0]),
            CsrError::IndptrOrder { row: 0 }
        ));
        assert!(matches!(
            new(&[1, 1, 1], &[0], &[1.0]),
            CsrError::IndptrOrder { row: 0 }
        ));
        assert!(matches!(
            new(&[0, 0, 0], &[0], &[1.0]),
            CsrError::IndptrOrder { row: 2 }
        ));
        assert!(matches!(
            new(&[0, 1, 1], &[0], &[]),
            CsrError::ValuesLength { .. }
        ));
        assert!(matches!(
            new(&[0, 0, 1], &[3], &[1.0]),
            CsrError::ColumnRange { row: 1, .. }
        ));
        assert!(matches!(
            new(&[0, 2, 2], &[1, 1], &[1.0, 1.0]),
            CsrError::ColumnOrder { row: 0, column: 1 }
        ));
        assert!(matches!(
            new(&[0, 1, 1], &[1], &[f32::NAN]),
            CsrError::Value { .. }
        ));
        assert!(matches!(
            Csr::from_triplets(2, 3, &[(2, 0, 1.0)]),
            Err(CsrError::RowRange { row: 2, rows: 2 })
        ));
    }

    fn cells() -> impl Strategy<Value = Vec<(u32, u32, f32)>> {
        proptest::collection::vec((0u32..9, 0u32..7, 0u8..9), 0..80).prop_map(|cells| {
            cells
                .into_iter()
                .map(|(r, c, v)| (r, c, f32::from(v) * 0.37))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn triplets_in_any_order_give_the_summed_cells(cells in cells()) {
            let mut expected: BTreeMap<(u32, u32), f64> = BTreeMap::new();
            for &(r, c, v) in &cells {
                *expected.entry((r, c)).or_default() += f64::from(v);
            }
            let csr = Csr::from_triplets(9, 7, &cells).unwrap();
            let mut reversed = cells.clone();
            reversed.reverse();
            prop_assert_eq!(&csr, &Csr::from_triplets(9, 7, &reversed).unwrap());
            prop_assert_eq!(csr.nnz(), expected.len());
            for r in 0..9 {
                let (columns, values) = csr.row(r);
                for (&c, &v) in columns.iter().zip(values) {
                    prop_assert!((f64::from(v) - expected[&(r as u32, c)]).abs() < 1e-5);
                }
            }
        }

        #[test]
        fn transposing_swaps_the_cells_and_twice_is_the_same(cells in cells()) {
            let csr = Csr::from_triplets(9, 7, &cells).unwrap();
            let flipped: Vec<_> = cells.iter().map(|&(r, c, v)| (c, r, v)).collect();
            prop_assert_eq!(&csr.transpose(), &Csr::from_triplets(7, 9, &flipped).unwrap());
            prop_assert_eq!(&csr.transpose().transpose(), &csr);
        }

        #[test]
        fn a_slice_holds_the_rows_of_its_range(cells in cells(), from in 0usize..9, n in 0usize..9) {
            let csr = Csr::from_triplets(9, 7, &cells).unwrap();
            let to = (from + n).min(9);
            let part = csr.slice_rows(from..to);
            for r in from..to {
                prop_assert_eq!(part.row(r - from), csr.row(r));
            }
            let valid = Csr::new(part.rows(), 7, part.indptr().to_vec(), part.indices().to_vec(), part.values().to_vec());
            prop_assert_eq!(valid.unwrap(), part);
        }
    }
}

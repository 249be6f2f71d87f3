//! Row-major `f32` tables.

use super::ComputeError;

/// A row-major table `[rows, cols]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

/// Rows of a [`Matrix`] owned by somebody else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixView<'a> {
    rows: usize,
    cols: usize,
    data: &'a [f32],
}

impl Matrix {
    /// Takes `data` `[rows * cols]`, row after row.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self, ComputeError> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(ComputeError::shape(format!(
                "a [{rows}, {cols}] matrix cannot hold {} values",
                data.len()
            )));
        }
        Ok(Self { rows, cols, data })
    }

    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            data: vec![0.0; rows * cols],
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

    /// All values, row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, row after row.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row, to be written.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// Some rows, in the order given.
    pub fn gathered(&self, which: impl IntoIterator<Item = usize>) -> Self {
        let (mut rows, mut data) = (0, vec![]);
        for row in which {
            data.extend_from_slice(self.row(row));
            rows += 1;
        }
        let cols = self.cols;
        Self { rows, cols, data }
    }

    /// A table of `rows` in which row `r` of this one is row `places[r]`, where it has a place; the others are zero.
    pub fn placed(&self, places: &[Option<usize>], rows: usize) -> Self {
        let mut placed = Self::zeros(rows, self.cols);
        for (row, place) in places.iter().enumerate() {
            if let Some(at) = place {
                placed.data[at * self.cols..(at + 1) * self.cols].copy_from_slice(self.row(row));
            }
        }
        placed
    }

    /// Whether all values of a row are 0, as of a user or an item without a vector.
    pub fn is_zero(&self, row: usize) -> bool {
        self.view().is_zero(row)
    }

    /// The whole table, borrowed.
    pub fn view(&self) -> MatrixView<'_> {
        MatrixView {
            rows: self.rows,
            cols: self.cols,
            data: &self.data,
        }
    }

    /// Some rows, borrowed.
    pub fn rows_view(&self, range: std::ops::Range<usize>) -> MatrixView<'_> {
        self.view().rows_range(range)
    }
}

impl<'a> MatrixView<'a> {
    /// Whether all values of a row are 0.
    pub fn is_zero(self, row: usize) -> bool {
        self.row(row).iter().all(|&value| value == 0.0)
    }

    /// Number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// All values, row after row.
    pub fn data(self) -> &'a [f32] {
        self.data
    }

    /// One row.
    pub fn row(self, row: usize) -> &'a [f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// Some rows.
    pub fn rows_range(self, range: std::ops::Range<usize>) -> MatrixView<'a> {
        MatrixView {
            rows: range.len(),
            cols: self.cols,
            data: &self.data[range.start * self.cols..range.end * self.cols],
        }
    }
}

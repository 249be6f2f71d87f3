//! Tables laid out for SIMD: rows padded with zeros to whole vectors, every row on a cache-line boundary.

use super::matrix::MatrixView;
use rayon::prelude::*;

/// Floats in a vector of [`super::simd::F32x16`].
pub(crate) const LANES: usize = 16;

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [f32; LANES]);

/// A zeroed array of floats on a cache-line boundary, a whole number of lines long.
#[derive(Debug, Clone)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    /// At least `floats` zeros.
    pub fn zeros(floats: usize) -> Self {
        Self(vec![Line([0.0; LANES]); floats.div_ceil(LANES)])
    }

    pub fn floats(&self) -> &[f32] {
        let len = self.0.len() * LANES;
        // SAFETY: `Line` is `repr(C)` around `[f32; LANES]` and as large as it, so the lines are `len` floats in a row.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) }
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        let len = self.0.len() * LANES;
        // SAFETY: as in `floats`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

/// A copy of a table with rows `stride` floats apart.
#[derive(Debug)]
pub(crate) struct AlignedTable {
    data: Aligned,
    pub rows: usize,
    pub stride: usize,
}

impl AlignedTable {
    pub fn new(table: MatrixView<'_>) -> Self {
        let stride = Self::stride(table.cols());
        let mut data = Aligned::zeros(table.rows() * stride);
        data.floats_mut()
            .par_chunks_mut(stride)
            .enumerate()
            .with_min_len(1024)
            .for_each(|(row, out)| out[..table.cols()].copy_from_slice(table.row(row)));
        Self {
            data,
            rows: table.rows(),
            stride,
        }
    }

    /// Floats between rows of a table with `cols` columns.
    pub fn stride(cols: usize) -> usize {
        cols.next_multiple_of(LANES).max(LANES)
    }

    pub fn floats(&self) -> &[f32] {
        self.data.floats()
    }

    pub fn into_data(self) -> Aligned {
        self.data
    }
}

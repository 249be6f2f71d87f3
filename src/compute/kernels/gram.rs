//! `YᵀY + λI` on the CPU, twin of `gram.wgsl`.
//!
//! Roofline: 2·rows·dim² flops over 4·rows·dim bytes: bound by arithmetic. Blocks of rows stay in the first-level cache
//! while tiles of 4 rows × 1 or 2 vectors of the result stay in registers; tiles below the diagonal are mirrored.

use crate::compute::aligned::{Aligned, AlignedTable, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa};
use rayon::prelude::*;

/// The GPU's kernels: `partial` and `reduce`.
pub const WGSL: &str = include_str!("gram.wgsl");

/// What the shader reads: see `gram.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub start: u32,
    pub end: u32,
    pub rows_per_split: u32,
    pub splits: u32,
    pub quads: u32,
    pub dim: u32,
    pub first: u32,
    pub last: u32,
    pub lambda: f32,
}

/// Rows of the result that a register tile covers.
const TILE: usize = 4;

/// Rows per partial sum. It depends on the size of the table alone, so that the order of a sum does not depend on the
/// device's limits or the number of threads; at most `splits` partial sums are made.
pub fn rows_per_split(rows: usize, splits: usize) -> usize {
    rows.div_ceil(splits).next_multiple_of(64).max(256)
}

/// `[stride, stride]`, padded with zeros from `dim` on.
pub(crate) fn cpu(isa: Isa, table: &AlignedTable, dim: usize, lambda: f32) -> Aligned {
    let stride = table.stride;
    // Large matrices get fewer splits: the partial sums of 16 are 64 MiB at 1,024 dimensions.
    let splits = if stride > 256 { 16 } else { 64 };
    let rows = rows_per_split(table.rows, splits);
    let partials: Vec<Aligned> = table
        .floats()
        .par_chunks(rows * stride)
        .map(|part| {
            let mut out = Aligned::zeros(stride * stride);
            let sums: &mut [f32] = out.floats_mut();
            // 16 KiB of rows at a time: half of a usual first-level cache.
            let block = (4096 / stride).max(8) * stride;
            for rows in part.chunks(block) {
                add_block(isa, rows, stride, sums);
            }
            out
        })
        .collect();
    let mut total = Aligned::zeros(stride * stride);
    let sums = total.floats_mut();
    for partial in &partials {
        for (sum, part) in sums.iter_mut().zip(partial.floats()) {
            *sum += part;
        }
    }
    for i in 0..stride {
        for j in 0..i {
            sums[i * stride + j] = sums[j * stride + i];
        }
    }
    for i in 0..dim {
        sums[i * stride + i] += lambda;
    }
    total
}

fn add_block(isa: Isa, rows: &[f32], stride: usize, sums: &mut [f32]) {
    assert!(stride.is_multiple_of(LANES) && sums.len() == stride * stride);
    assert!(rows.len().is_multiple_of(stride));
    by_isa!(isa, block(rows: &[f32], stride: usize, sums: &mut [f32]));
}

/// Adds the products of a block of rows to the upper triangle of `sums`.
#[inline(always)]
unsafe fn block<V: F32x16, const MR: usize, const NV: usize>(
    rows: &[f32],
    stride: usize,
    sums: &mut [f32],
) {
    let count = rows.len() / stride;
    let width = NV * LANES;
    for i in (0..stride).step_by(TILE) {
        // An odd number of vectors ends with a tile one vector wide.
        let mut j = i / width * width;
        while j + width <= stride {
            // SAFETY: i + TILE and j + width are at most `stride`, which divides the slices' lengths.
            unsafe { tile::<V, NV>(rows.as_ptr(), count, stride, i, j, sums.as_mut_ptr()) };
            j += width;
        }
        while j < stride {
            // SAFETY: as above.
            unsafe { tile::<V, 1>(rows.as_ptr(), count, stride, i, j, sums.as_mut_ptr()) };
            j += LANES;
        }
    }
}

#[inline(always)]
unsafe fn tile<V: F32x16, const NV: usize>(
    rows: *const f32,
    count: usize,
    stride: usize,
    i: usize,
    j: usize,
    sums: *mut f32,
) {
    // SAFETY: the caller keeps `i + TILE` and `j + NV * LANES` within `stride` and `count` within the rows.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; TILE];
        for r in 0..count {
            let row = rows.add(r * stride);
            let mut right = [V::splat(0.0); NV];
            for (v, right) in right.iter_mut().enumerate() {
                *right = V::load(row.add(j + v * LANES));
            }
            for (t, acc) in acc.iter_mut().enumerate() {
                let left = V::splat(*row.add(i + t));
                for (acc, right) in acc.iter_mut().zip(right) {
                    *acc = left.mul_add(right, *acc);
                }
            }
        }
        for (t, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                let at = sums.add((i + t) * stride + j + v * LANES);
                acc.add(V::load(at)).store(at);
            }
        }
    }
}

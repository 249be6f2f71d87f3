//! Dense products on the CPU, twin of `product.wgsl`: `C = A·B` and `C += A·B`.
//!
//! Roofline: 2·rows·columns·depth flops: bound by arithmetic. `MR` rows × `NV` vectors of the result stay in registers
//! while the depth passes by in order.

use crate::compute::aligned::LANES;
use crate::compute::simd::F32x16;

/// The GPU's kernel: `multiply`.
pub const WGSL: &str = include_str!("product.wgsl");

/// What the shader reads: see `product.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: u32,
    pub depth: u32,
    pub quads: u32,
    pub row_stride: u32,
    pub depth_stride: u32,
    pub add: u32,
    pub first_row: u32,
}

/// A left factor: element `(row, k)` lies at `row * row_stride + k * depth_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub depth_stride: usize,
}

/// A right factor or a result: rows `stride` floats apart.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub rows: usize,
    pub depth: usize,
    /// A whole number of vectors.
    pub columns: usize,
    /// Between rows of the right factor.
    pub right_stride: usize,
    /// Between rows of the result.
    pub out_stride: usize,
}

/// `out = left · right`, or `out += left · right`.
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
pub(crate) unsafe fn multiply<V: F32x16, const MR: usize, const NV: usize>(
    left: Left<'_>,
    right: &[f32],
    out: &mut [f32],
    shape: Shape,
    add: bool,
) {
    let Shape {
        rows,
        depth,
        columns,
        right_stride,
        out_stride,
    } = shape;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns.is_multiple_of(LANES) && columns <= right_stride && columns <= out_stride);
    assert!(out.len() >= (rows - 1) * out_stride + columns);
    if depth > 0 {
        assert!(right.len() >= (depth - 1) * right_stride + columns);
        assert!(left.data.len() > (rows - 1) * left.row_stride + (depth - 1) * left.depth_stride);
    }
    let mut column = 0;
    while column < columns {
        let wide = column + NV * LANES <= columns;
        let mut row = 0;
        while row < rows {
            let tall = row + MR <= rows;
            // SAFETY: the lengths are checked above; a tile stays within `rows` and `columns`.
            unsafe {
                let a = left.data.as_ptr().add(row * left.row_stride);
                let b = right.as_ptr().add(column);
                let c = out.as_mut_ptr().add(row * out_stride + column);
                let steps = (left.row_stride, left.depth_stride, right_stride, out_stride);
                match (tall, wide) {
                    (true, true) => tile::<V, MR, NV>(a, b, c, depth, steps, add),
                    (true, false) => tile::<V, MR, 1>(a, b, c, depth, steps, add),
                    (false, true) => tile::<V, 1, NV>(a, b, c, depth, steps, add),
                    (false, false) => tile::<V, 1, 1>(a, b, c, depth, steps, add),
                }
            }
            row += if tall { MR } else { 1 };
        }
        column += LANES * if wide { NV } else { 1 };
    }
}

#[inline(always)]
unsafe fn tile<V: F32x16, const MR: usize, const NV: usize>(
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    depth: usize,
    (row_stride, depth_stride, right_stride, out_stride): (usize, usize, usize, usize),
    add: bool,
) {
    // SAFETY: `multiply` keeps the tile within the factors and the result.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        for k in 0..depth {
            let mut right = [V::splat(0.0); NV];
            for (v, right) in right.iter_mut().enumerate() {
                *right = V::load(b.add(k * right_stride + v * LANES));
            }
            for (m, acc) in acc.iter_mut().enumerate() {
                let left = V::splat(*a.add(m * row_stride + k * depth_stride));
                for (acc, right) in acc.iter_mut().zip(right) {
                    *acc = left.mul_add(right, *acc);
                }
            }
        }
        for (m, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                let to = c.add(m * out_stride + v * LANES);
                if add {
                    V::load(to).add(acc).store(to);
                } else {
                    acc.store(to);
                }
            }
        }
    }
}

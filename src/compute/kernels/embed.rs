//! The vectors that a batch computes with, on the CPU, twin of `embed.wgsl`: rows of a table gathered, dropped out and
//! scaled to length 1.
//!
//! Roofline: bound by memory, 8·dim bytes a row.

use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa};
use crate::compute::training::{TINY, dropped};
use rayon::prelude::*;

/// The GPU's kernel: `embed`.
pub const WGSL: &str = concat!(
    include_str!("dropout.wgsl"),
    include_str!("reduce.wgsl"),
    include_str!("embed.wgsl"),
);

/// What the shader reads: see `embed.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub count: u32,
    pub quads: u32,
    pub key: u32,
    pub dropout: f32,
    pub cosine: u32,
    pub width: u32,
    pub first: u32,
}

/// Rows made ready.
pub(crate) struct Embedded {
    /// `[rows, stride]`.
    pub rows: Aligned,
    /// 1 / length before scaling; 1 where vectors are not scaled.
    pub inverse: Vec<f32>,
}

/// How rows are made ready.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub cosine: bool,
    pub dropout: f32,
    pub key: u32,
}

pub(crate) fn cpu(isa: Isa, table: &[f32], stride: usize, ids: &[u32], how: How) -> Embedded {
    let mut rows = Aligned::zeros(ids.len() * stride);
    let mut inverse = vec![1.0; ids.len()];
    rows.floats_mut()
        .par_chunks_mut(64 * stride)
        .zip(inverse.par_chunks_mut(64))
        .zip(ids.par_chunks(64))
        .for_each(|((rows, inverse), ids)| {
            assert!(stride.is_multiple_of(LANES));
            for ((row, inverse), &id) in rows.chunks_exact_mut(stride).zip(inverse).zip(ids) {
                row.copy_from_slice(&table[id as usize * stride..][..stride]);
                by_isa!(isa, ready(row: &mut [f32], inverse: &mut f32, id: u32, how: How));
            }
        });
    Embedded { rows, inverse }
}

#[inline(always)]
unsafe fn ready<V: F32x16, const MR: usize, const NV: usize>(
    row: &mut [f32],
    inverse: &mut f32,
    id: u32,
    how: How,
) {
    mask(row, id, how);
    if how.cosine {
        // SAFETY: the row is a whole number of vectors.
        unsafe {
            let squares = dot::<V>(row, row);
            *inverse = 1.0 / (squares + TINY).sqrt();
            scale::<V>(row, *inverse);
        }
    }
}

/// Takes dropped elements as 0 and scales the others up.
#[inline(always)]
pub(super) fn mask(row: &mut [f32], id: u32, how: How) {
    if how.dropout > 0.0 {
        let keep = 1.0 / (1.0 - how.dropout);
        for (column, value) in row.iter_mut().enumerate() {
            let factor = if dropped(how.key, id, column as u32, how.dropout) {
                0.0
            } else {
                keep
            };
            *value *= factor;
        }
    }
}

/// Dot product with one running sum per lane.
#[inline(always)]
pub(super) unsafe fn dot<V: F32x16>(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: both slices are a whole number of vectors, equally long.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..a.len()).step_by(LANES) {
            sum = V::load(a.as_ptr().add(at)).mul_add(V::load(b.as_ptr().add(at)), sum);
        }
        sum.sum()
    }
}

#[inline(always)]
unsafe fn scale<V: F32x16>(row: &mut [f32], by: f32) {
    // SAFETY: the row is a whole number of vectors.
    unsafe {
        let by = V::splat(by);
        for at in (0..row.len()).step_by(LANES) {
            let p = row.as_mut_ptr().add(at);
            V::load(p).mul(by).store(p);
        }
    }
}

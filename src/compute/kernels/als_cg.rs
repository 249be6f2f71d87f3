//! One half of an ALS iteration on the CPU, twin of `als_cg.wgsl`.
//!
//! Implicit feedback (Hu, Koren, Volinsky, ICDM 2008): preference 1 with confidence `c = 1 + alpha·w` for every stored
//! weight `w`, preference 0 with confidence 1 elsewhere. A row solves
//! `(YᵀY + λI + Σ (c−1) y yᵀ) x = Σ c y`, here by a few conjugate-gradient steps from its former value
//! (Takács, Pilászy, Tikk, RecSys 2011), never forming the matrix.
//!
//! Roofline: per step 4·dim flops an entry and 2·dim² a row. A row's neighbours are read from memory once and from
//! cache in later steps; up to 128 dimensions the direction and the sums stay in registers.

use crate::compute::Matrix;
use crate::compute::aligned::{Aligned, AlignedTable, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa, prefetch};
use crate::features::csr::Csr;
use rayon::prelude::*;

/// The GPU's kernel: `solve`.
pub const WGSL: &str = concat!(include_str!("reduce.wgsl"), include_str!("als_cg.wgsl"),);

/// What the shader reads: see `als_cg.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: u32,
    pub first_row: u32,
    pub offset: u32,
    pub steps: u32,
}

/// How a half iteration solves its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlsSolve {
    /// Confidence is `1 + alpha·w`.
    pub alpha: f32,
    /// L2 regularisation λ, the same for every row.
    pub lambda: f32,
    /// Conjugate-gradient steps per row.
    pub steps: usize,
}

/// Squared residual below which a row counts as solved.
const SOLVED: f32 = 1e-20;

/// Neighbours summed apart before they join the row's sum, which keeps rounding small in long rows.
const RUN: usize = 64;

/// Entries between asking for a neighbour and using it: about a short row.
const AHEAD: usize = 16;

/// Rows that a thread takes at a time: short enough to balance rows of very different lengths.
const ROWS: usize = 32;

pub(crate) fn cpu(
    isa: Isa,
    table: &AlignedTable,
    gram: &Aligned,
    interactions: &Csr,
    solve: AlsSolve,
    x: &mut Matrix,
) {
    let dim = x.cols();
    if dim == 0 {
        return;
    }
    let stride = table.stride;
    x.data_mut()
        .par_chunks_mut(ROWS * dim)
        .enumerate()
        .for_each_init(
            || (Aligned::zeros(5 * stride), Vec::new()),
            |(scratch, weights), (chunk, x)| {
                for (i, x) in x.chunks_exact_mut(dim).enumerate() {
                    let row = chunk * ROWS + i;
                    let (columns, values) = interactions.row(row);
                    let start = interactions.indptr()[row] as usize;
                    if columns.is_empty() {
                        x.fill(0.0);
                        continue;
                    }
                    weights.clear();
                    weights.extend(values.iter().map(|w| solve.alpha * w));
                    let row = Row {
                        table: table.floats(),
                        gram: gram.floats(),
                        stride,
                        columns,
                        weights,
                        coming: interactions.indices().get(start + AHEAD..).unwrap_or(&[]),
                    };
                    solve_row(isa, &row, solve.steps, x, scratch.floats_mut());
                }
            },
        );
}

/// The system of one row.
struct Row<'a> {
    /// `[rows, stride]`.
    table: &'a [f32],
    /// `[stride, stride]`, with λ on the diagonal.
    gram: &'a [f32],
    stride: usize,
    /// Rows of `table`.
    columns: &'a [u32],
    /// `c − 1` of each.
    weights: &'a [f32],
    /// The columns from [`AHEAD`] on, into the rows after this one: in order, they are soon needed.
    coming: &'a [u32],
}

fn solve_row(isa: Isa, row: &Row<'_>, steps: usize, x: &mut [f32], scratch: &mut [f32]) {
    let stride = row.stride;
    assert!(stride.is_multiple_of(LANES) && x.len() <= stride && scratch.len() == 5 * stride);
    assert!(row.gram.len() >= stride * stride && row.columns.len() == row.weights.len());
    assert!(
        row.columns
            .last()
            .is_none_or(|&last| (last as usize + 1) * stride <= row.table.len())
    );
    by_isa!(
        isa,
        conjugate_gradients(row: &Row<'_>, steps: usize, x: &mut [f32], scratch: &mut [f32])
    );
}

#[inline(always)]
unsafe fn conjugate_gradients<V: F32x16, const MR: usize, const NV: usize>(
    row: &Row<'_>,
    steps: usize,
    x: &mut [f32],
    scratch: &mut [f32],
) {
    // SAFETY: `solve_row` has checked the lengths; columns ascend in a `Csr`, so the last is the largest.
    unsafe {
        match row.stride / LANES {
            1 => iterate::<V, 1>(row, steps, x, scratch),
            2 => iterate::<V, 2>(row, steps, x, scratch),
            3 => iterate::<V, 3>(row, steps, x, scratch),
            4 => iterate::<V, 4>(row, steps, x, scratch),
            6 => iterate::<V, 6>(row, steps, x, scratch),
            8 => iterate::<V, 8>(row, steps, x, scratch),
            _ => iterate::<V, 0>(row, steps, x, scratch),
        }
    }
}

/// `N` is the number of vectors in a row, 0 when it is not known at compile time.
#[inline(always)]
unsafe fn iterate<V: F32x16, const N: usize>(
    row: &Row<'_>,
    steps: usize,
    x: &mut [f32],
    scratch: &mut [f32],
) {
    let stride = row.stride;
    let (solution, rest) = scratch.split_at_mut(stride);
    let (residual, rest) = rest.split_at_mut(stride);
    let (direction, rest) = rest.split_at_mut(stride);
    let (product, run) = rest.split_at_mut(stride);
    solution.fill(0.0);
    solution[..x.len()].copy_from_slice(x);
    // SAFETY: all five parts are `stride` long, a whole number of vectors.
    unsafe {
        apply::<V, N>(row, solution, product, run, 1.0);
        for (r, a) in residual.iter_mut().zip(&*product) {
            *r = -a;
        }
        direction.copy_from_slice(residual);
        let mut norm = dot::<V>(residual, residual);
        for _ in 0..steps {
            if norm <= SOLVED {
                break;
            }
            apply::<V, N>(row, direction, product, run, 0.0);
            let curvature = dot::<V>(direction, product);
            if curvature.is_nan() || curvature <= 0.0 {
                break;
            }
            let alpha = norm / curvature;
            axpy::<V>(alpha, direction, solution);
            axpy::<V>(-alpha, product, residual);
            let next = dot::<V>(residual, residual);
            let beta = next / norm;
            norm = next;
            let beta = V::splat(beta);
            for at in (0..stride).step_by(LANES) {
                let p = direction.as_mut_ptr().add(at);
                beta.mul_add(V::load(p), V::load(residual.as_ptr().add(at)))
                    .store(p);
            }
        }
    }
    x.copy_from_slice(&solution[..x.len()]);
}

/// `product = A · direction − shift · b`.
#[inline(always)]
unsafe fn apply<V: F32x16, const N: usize>(
    row: &Row<'_>,
    direction: &[f32],
    product: &mut [f32],
    run: &mut [f32],
    shift: f32,
) {
    // SAFETY: lengths are checked by `solve_row`; see `iterate`.
    unsafe {
        if N == 0 {
            return apply_long::<V>(row, direction, product, run, shift);
        }
        let mut sum = [V::splat(0.0); N];
        for (j, &d) in direction.iter().enumerate() {
            let d = V::splat(d);
            let gram = row.gram.as_ptr().add(j * row.stride);
            for (v, sum) in sum.iter_mut().enumerate() {
                *sum = d.mul_add(V::load(gram.add(v * LANES)), *sum);
            }
        }
        let mut along = [V::splat(0.0); N];
        for (v, along) in along.iter_mut().enumerate() {
            *along = V::load(direction.as_ptr().add(v * LANES));
        }
        let mut coming = row.coming.iter();
        for (columns, weights) in row.columns.chunks(RUN).zip(row.weights.chunks(RUN)) {
            let mut run = [V::splat(0.0); N];
            for (&column, &weight) in columns.iter().zip(weights) {
                let y = row.table.as_ptr().add(column as usize * row.stride);
                // Only the first pass over a row's neighbours reaches beyond the cache.
                if shift != 0.0
                    && let Some(&column) = coming.next()
                {
                    let y = row.table.as_ptr().add(column as usize * row.stride);
                    for v in 0..N {
                        prefetch(y.add(v * LANES));
                    }
                }
                let mut dots = V::splat(0.0);
                for (v, &along) in along.iter().enumerate() {
                    dots = V::load(y.add(v * LANES)).mul_add(along, dots);
                }
                let scale = V::splat(weight * dots.sum() - shift * (1.0 + weight));
                for (v, run) in run.iter_mut().enumerate() {
                    *run = scale.mul_add(V::load(y.add(v * LANES)), *run);
                }
            }
            for (sum, run) in sum.iter_mut().zip(run) {
                *sum = sum.add(run);
            }
        }
        for (v, sum) in sum.iter().enumerate() {
            sum.store(product.as_mut_ptr().add(v * LANES));
        }
    }
}

/// [`apply`] for rows too long for registers.
#[inline(always)]
unsafe fn apply_long<V: F32x16>(
    row: &Row<'_>,
    direction: &[f32],
    product: &mut [f32],
    run: &mut [f32],
    shift: f32,
) {
    const BLOCK: usize = 4;
    let stride = row.stride;
    // SAFETY: lengths are checked by `solve_row`; see `iterate`.
    unsafe {
        let mut at = 0;
        while at < stride {
            let vectors = BLOCK.min((stride - at) / LANES);
            let mut sum = [V::splat(0.0); BLOCK];
            for (j, &d) in direction.iter().enumerate() {
                let d = V::splat(d);
                let gram = row.gram.as_ptr().add(j * stride + at);
                for (v, sum) in sum.iter_mut().enumerate().take(vectors) {
                    *sum = d.mul_add(V::load(gram.add(v * LANES)), *sum);
                }
            }
            for (v, sum) in sum.iter().enumerate().take(vectors) {
                sum.store(product.as_mut_ptr().add(at + v * LANES));
            }
            at += vectors * LANES;
        }
        for (columns, weights) in row.columns.chunks(RUN).zip(row.weights.chunks(RUN)) {
            run.fill(0.0);
            for (&column, &weight) in columns.iter().zip(weights) {
                let y = row.table.as_ptr().add(column as usize * stride);
                let y = std::slice::from_raw_parts(y, stride);
                let scale = weight * dot::<V>(y, direction) - shift * (1.0 + weight);
                axpy::<V>(scale, y, run);
            }
            axpy::<V>(1.0, run, product);
        }
    }
}

/// Dot product with one running sum per lane.
#[inline(always)]
unsafe fn dot<V: F32x16>(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: both slices are a whole number of vectors, equally long.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..a.len()).step_by(LANES) {
            sum = V::load(a.as_ptr().add(at)).mul_add(V::load(b.as_ptr().add(at)), sum);
        }
        sum.sum()
    }
}

/// `y += a · x`.
#[inline(always)]
unsafe fn axpy<V: F32x16>(a: f32, x: &[f32], y: &mut [f32]) {
    // SAFETY: both slices are a whole number of vectors, equally long.
    unsafe {
        let a = V::splat(a);
        for at in (0..x.len()).step_by(LANES) {
            let to = y.as_mut_ptr().add(at);
            a.mul_add(V::load(x.as_ptr().add(at)), V::load(to))
                .store(to);
        }
    }
}

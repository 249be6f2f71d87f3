//! Gradients of a table's rows on the CPU, twin of `gather_grad.wgsl`: what a batch's occurrences of a row add up to,
//! taken back through scaling and dropout.
//!
//! Roofline: bound by memory, 4·dim bytes an occurrence. A row's occurrences are added in the order of the batch, in
//! runs of [`RUN`]: no atomics, the same bits on every run.

use super::embed::{Embedded, How, dot, mask};
use super::sample_loss::Outcome;
use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa};
use crate::compute::training::{Plan, RUN};
use rayon::prelude::*;

/// The GPU's kernel: `gather`.
pub const WGSL: &str = concat!(
    include_str!("dropout.wgsl"),
    include_str!("reduce.wgsl"),
    include_str!("gather_grad.wgsl"),
);

/// What the shader reads: see `gather_grad.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: u32,
    pub samples: u32,
    pub is_users: u32,
    pub quads: u32,
    pub key: u32,
    pub dropout: f32,
    pub cosine: u32,
    pub first: u32,
}

/// Where a row's gradients lie.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// Places are samples.
    Users { users: &'a Embedded },
    /// Places are samples, then negatives.
    Items {
        users: &'a Embedded,
        positives: &'a Embedded,
        negatives: &'a Embedded,
    },
}

/// `[plan.rows, stride]`.
pub(crate) fn cpu(
    isa: Isa,
    plan: &Plan,
    outcome: &Outcome,
    side: Side<'_>,
    stride: usize,
    how: How,
) -> Aligned {
    let mut out = Aligned::zeros(plan.rows.len() * stride);
    out.floats_mut()
        .par_chunks_mut(stride)
        .enumerate()
        .with_min_len(64)
        .for_each_init(
            || vec![0.0; stride],
            |run, (row, out)| {
                let places =
                    &plan.occurrences[plan.starts[row] as usize..plan.starts[row + 1] as usize];
                let id = plan.rows[row];
                let run = &mut run[..];
                by_isa!(
                    isa,
                    gather(
                        id: u32,
                        places: &[u32],
                        outcome: &Outcome,
                        side: Side<'_>,
                        how: How,
                        run: &mut [f32],
                        out: &mut [f32],
                    )
                );
            },
        );
    out
}

#[inline(always)]
unsafe fn gather<V: F32x16, const MR: usize, const NV: usize>(
    id: u32,
    places: &[u32],
    outcome: &Outcome,
    side: Side<'_>,
    how: How,
    run: &mut [f32],
    out: &mut [f32],
) {
    let stride = out.len();
    let row = |table: &'_ Aligned, at: usize| -> *const f32 {
        table.floats()[at * stride..(at + 1) * stride].as_ptr()
    };
    let samples = outcome.positive.len();
    for places in places.chunks(RUN) {
        run.fill(0.0);
        for &place in places {
            let place = place as usize;
            let (scale, from) = match side {
                Side::Users { .. } => (1.0, row(&outcome.users, place)),
                Side::Items { users, .. } if place < samples => {
                    (outcome.positive[place], row(&users.rows, place))
                }
                Side::Items { .. } => (1.0, row(&outcome.negatives, place - samples)),
            };
            // SAFETY: both rows are `stride` floats, whole vectors.
            unsafe {
                let scale = V::splat(scale);
                for at in (0..stride).step_by(LANES) {
                    let to = run.as_mut_ptr().add(at);
                    scale.mul_add(V::load(from.add(at)), V::load(to)).store(to);
                }
            }
        }
        out.iter_mut().zip(&*run).for_each(|(out, run)| *out += run);
    }
    if how.cosine {
        // All occurrences of a row have the same vector.
        let place = places[0] as usize;
        let (embedded, place) = match side {
            Side::Users { users } => (users, place),
            Side::Items { positives, .. } if place < samples => (positives, place),
            Side::Items { negatives, .. } => (negatives, place - samples),
        };
        let y = &embedded.rows.floats()[place * stride..(place + 1) * stride];
        // d(x/|x|) = (g − (g·y) y) / |x|.
        // SAFETY: as above.
        unsafe {
            let along = V::splat(-dot::<V>(out, y));
            let inverse = V::splat(embedded.inverse[place]);
            for at in (0..stride).step_by(LANES) {
                let to = out.as_mut_ptr().add(at);
                along
                    .mul_add(V::load(y.as_ptr().add(at)), V::load(to))
                    .mul(inverse)
                    .store(to);
            }
        }
    }
    mask(out, id, how);
}

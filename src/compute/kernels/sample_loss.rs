//! Losses of a batch and their slopes on the CPU, twin of `sample_loss.wgsl`.
//!
//! For each sample: its logits against the negatives, the loss, and the loss's slope at every logit; then the gradients
//! `dU = slopes·V` of the users and `dV = slopesᵀ·U` of the negatives. The definitions are those of
//! [`Loss`](crate::compute::Loss).
//!
//! Roofline: 6·samples·negatives·dim flops: bound by arithmetic. A block of samples keeps its logits in the second-level
//! cache through all three products. Sums over samples are made of fixed chunks, added in order.

use super::embed::{Embedded, dot};
use super::product::{Left, Shape, multiply};
use crate::compute::Loss;
use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa, exp};
use crate::compute::training::{Batch, MASKED};
use rayon::prelude::*;

/// The GPU's kernel: `slopes`.
pub const WGSL: &str = concat!(
    include_str!("reduce.wgsl"),
    include_str!("sample_loss.wgsl"),
);

/// What the shader reads: see `sample_loss.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub samples: u32,
    pub negatives: u32,
    pub width: u32,
    pub quads: u32,
    /// See [`code`].
    pub loss: u32,
    pub first: f32,
    pub second: f32,
    pub first_sample: u32,
}

/// A loss as the shader reads it: `(number, first parameter, second parameter)`.
pub fn code(loss: Loss) -> (u32, f32, f32) {
    match loss {
        Loss::Softmax { temperature, power } => (0, temperature, power),
        Loss::Logistic { negative_weight } => (1, negative_weight, 0.0),
        Loss::Squared { negative_weight } => (2, negative_weight, 0.0),
        Loss::Bpr => (3, 0.0, 0.0),
        Loss::Contrastive {
            margin,
            negative_weight,
        } => (4, margin, negative_weight),
    }
}

/// Samples whose logits are held at once: a multiple of every tile's height (4, 6, 12).
const BLOCK: usize = 48;

/// What a batch does to the vectors it was computed with.
pub(crate) struct Outcome {
    /// Mean of `weight · loss`.
    pub loss: f64,
    /// `[samples]`: slope at the logit of the item taken up, with which the user's vector is the item's gradient.
    pub positive: Vec<f32>,
    /// `[samples, stride]`: gradient of the users' vectors.
    pub users: Aligned,
    /// `[negatives, stride]`: gradient of the negatives' vectors.
    pub negatives: Aligned,
}

/// A batch made ready for the loop over blocks.
struct Work<'a> {
    loss: Loss,
    batch: &'a Batch<'a>,
    stride: usize,
    users: &'a [f32],
    positives: &'a [f32],
    negatives: &'a [f32],
    /// `[stride, width]`: negatives, transposed.
    across: &'a [f32],
    /// Negatives rounded up to whole tiles.
    padded: usize,
    /// Between rows of logits: rows a power of two apart would share cache lines.
    width: usize,
    /// `(item, place)` of the negatives, ascending.
    places: &'a [(u32, u32)],
}

pub(crate) fn cpu(
    isa: Isa,
    loss: Loss,
    batch: &Batch<'_>,
    stride: usize,
    [users, positives, negatives]: [&Embedded; 3],
) -> Outcome {
    let (samples, count) = (batch.users.len(), batch.negatives.len());
    let padded = count.next_multiple_of(96);
    let width = padded + LANES;
    let mut across = Aligned::zeros(stride * width);
    let floats = negatives.rows.floats();
    across
        .floats_mut()
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(k, row)| {
            for (place, value) in row[..count].iter_mut().enumerate() {
                *value = floats[place * stride + k];
            }
        });
    let mut places: Vec<(u32, u32)> = batch.negatives.iter().copied().zip(0..).collect();
    places.sort_unstable();
    let work = Work {
        loss,
        batch,
        stride,
        users: users.rows.floats(),
        positives: positives.rows.floats(),
        negatives: floats,
        across: across.floats(),
        padded,
        width,
        places: &places,
    };
    // At most sixteen sums over samples, whatever the threads.
    let chunk = samples.div_ceil(16).next_multiple_of(BLOCK).max(4 * BLOCK);
    let mut positive = vec![0.0; samples];
    let mut gradient = Aligned::zeros(samples * stride);
    let parts: Vec<(f64, Aligned)> = positive
        .par_chunks_mut(chunk)
        .zip(gradient.floats_mut().par_chunks_mut(chunk * stride))
        .enumerate()
        .map(|(n, (positive, gradient))| {
            let mut negatives = Aligned::zeros(padded * stride);
            let mut logits = Aligned::zeros(BLOCK * width);
            let mut loss = 0.0;
            let blocks = positive
                .chunks_mut(BLOCK)
                .zip(gradient.chunks_mut(BLOCK * stride));
            for (b, (positive, gradient)) in blocks.enumerate() {
                let first = n * chunk + b * BLOCK;
                let (work, loss) = (&work, &mut loss);
                let (logits, negatives) = (logits.floats_mut(), negatives.floats_mut());
                by_isa!(
                    isa,
                    block(
                        work: &Work<'_>,
                        first: usize,
                        logits: &mut [f32],
                        positive: &mut [f32],
                        gradient: &mut [f32],
                        negatives: &mut [f32],
                        loss: &mut f64,
                    )
                );
            }
            (loss, negatives)
        })
        .collect();
    let mut total = Aligned::zeros(count * stride);
    total
        .floats_mut()
        .par_chunks_mut(64 * stride)
        .enumerate()
        .for_each(|(n, out)| {
            for (_, part) in &parts {
                let part = &part.floats()[n * 64 * stride..];
                for (out, part) in out.iter_mut().zip(part) {
                    *out += part;
                }
            }
        });
    let sum: f64 = parts.iter().map(|(loss, _)| loss).sum();
    Outcome {
        loss: sum / samples as f64,
        positive,
        users: gradient,
        negatives: total,
    }
}

/// One block of samples: logits, slopes, and both gradients.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<V: F32x16, const MR: usize, const NV: usize>(
    work: &Work<'_>,
    first: usize,
    logits: &mut [f32],
    positive: &mut [f32],
    gradient: &mut [f32],
    negatives: &mut [f32],
    loss: &mut f64,
) {
    let (stride, width, count) = (work.stride, work.width, work.batch.negatives.len());
    let rows = positive.len();
    let users = &work.users[first * stride..(first + rows) * stride];
    let left = Left {
        data: users,
        row_stride: stride,
        depth_stride: 1,
    };
    let shape = Shape {
        rows,
        depth: stride,
        columns: work.padded,
        right_stride: width,
        out_stride: width,
    };
    // SAFETY: the instruction set is the caller's; slices are checked where they are used.
    unsafe { multiply::<V, MR, NV>(left, work.across, logits, shape, false) };
    for (row, (positive, gradient)) in positive
        .iter_mut()
        .zip(gradient.chunks_exact_mut(stride))
        .enumerate()
    {
        let sample = first + row;
        let item = &work.positives[sample * stride..(sample + 1) * stride];
        let user = &users[row * stride..(row + 1) * stride];
        let logits = &mut logits[row * width..row * width + work.padded];
        let own = work.batch.items[sample];
        let at = work.places.partition_point(|&(item, _)| item < own);
        let clashes = work.places[at..]
            .iter()
            .take_while(|&&(item, _)| item == own)
            .map(|&(_, place)| place as usize)
            .chain(count..work.padded);
        let weight = work.batch.weights[sample];
        let scale = weight / work.batch.users.len() as f32;
        // SAFETY: all slices are whole vectors.
        unsafe {
            let logit = dot::<V>(user, item);
            let (slope, value) = match work.loss {
                Loss::Softmax { temperature, power } => {
                    let (inverse, corrections) = (1.0 / temperature, work.batch.corrections);
                    for (logit, correction) in logits.iter_mut().zip(corrections) {
                        *logit = *logit * inverse + correction;
                    }
                    clashes.for_each(|place| logits[place] = MASKED);
                    softmax::<V>(logits, logit * inverse, power, scale, inverse)
                }
                Loss::Logistic { negative_weight } => {
                    clashes.for_each(|place| logits[place] = MASKED);
                    let each = negative_weight / count as f32;
                    let sum = softplus::<V>(logits, 0.0, each * scale).1;
                    let slope = -scale / (1.0 + logit.exp());
                    let value = soft(-f64::from(logit)) + f64::from(each) * sum;
                    (slope, value)
                }
                Loss::Bpr => {
                    clashes.for_each(|place| logits[place] = MASKED);
                    let each = 1.0 / count as f32;
                    let (slopes, sum) = softplus::<V>(logits, logit, each * scale);
                    (-slopes, f64::from(each) * sum)
                }
                Loss::Squared { negative_weight } => {
                    clashes.for_each(|place| logits[place] = 0.0);
                    let each = negative_weight / count as f32;
                    let sum = squares::<V>(logits, 2.0 * each * scale);
                    let miss = logit - work.batch.target(sample);
                    let value = f64::from(miss).powi(2) + f64::from(each) * sum;
                    (2.0 * scale * miss, value)
                }
                Loss::Contrastive {
                    margin,
                    negative_weight,
                } => {
                    clashes.for_each(|place| logits[place] = MASKED);
                    let each = negative_weight / count as f32;
                    let sum = hinge::<V>(logits, margin, each * scale);
                    (-scale, f64::from(1.0 - logit) + f64::from(each) * sum)
                }
            };
            *positive = slope;
            *loss += f64::from(weight) * value;
            let slope = V::splat(slope);
            for at in (0..stride).step_by(LANES) {
                let to = gradient.as_mut_ptr().add(at);
                slope.mul(V::load(item.as_ptr().add(at))).store(to);
            }
        }
    }
    let to_users = Shape {
        rows,
        depth: count,
        columns: stride,
        right_stride: stride,
        out_stride: stride,
    };
    let left = Left {
        data: logits,
        row_stride: width,
        depth_stride: 1,
    };
    // SAFETY: as above.
    unsafe { multiply::<V, MR, NV>(left, work.negatives, gradient, to_users, true) };
    let to_negatives = Shape {
        rows: work.padded,
        depth: rows,
        ..to_users
    };
    let left = Left {
        data: logits,
        row_stride: 1,
        depth_stride: width,
    };
    // SAFETY: as above.
    unsafe { multiply::<V, MR, NV>(left, users, negatives, to_negatives, true) };
}

/// Turns logits into slopes `scale · power · inverse · softmax`; returns the slope at the positive logit and the loss.
#[inline(always)]
unsafe fn softmax<V: F32x16>(
    logits: &mut [f32],
    positive: f32,
    power: f32,
    scale: f32,
    inverse: f32,
) -> (f32, f64) {
    // SAFETY: logits are whole vectors.
    unsafe {
        let mut most = V::splat(MASKED);
        for at in (0..logits.len()).step_by(LANES) {
            most = most.max(V::load(logits.as_ptr().add(at)));
        }
        let mut lanes = [0.0f32; LANES];
        most.store(lanes.as_mut_ptr());
        let most = lanes.into_iter().fold(MASKED, f32::max);
        if most <= MASKED {
            // Nothing is a negative of this sample.
            logits.fill(0.0);
            return (-scale * inverse, -f64::from(positive));
        }
        let (shift, mut sum) = (V::splat(most), V::splat(0.0));
        for at in (0..logits.len()).step_by(LANES) {
            let p = logits.as_mut_ptr().add(at);
            let e = exp(V::load(p).sub(shift));
            e.store(p);
            sum = sum.add(e);
        }
        let sum = sum.sum();
        let by = V::splat(scale * power * inverse / sum);
        for at in (0..logits.len()).step_by(LANES) {
            let p = logits.as_mut_ptr().add(at);
            V::load(p).mul(by).store(p);
        }
        let log = f64::from(most) + f64::from(sum).ln();
        (
            -scale * inverse,
            f64::from(power) * log - f64::from(positive),
        )
    }
}

/// Turns logits `s` into slopes `scale · σ(s − shift)`; returns their sum and `Σ log(1 + e^(s − shift))`.
#[inline(always)]
unsafe fn softplus<V: F32x16>(logits: &mut [f32], shift: f32, scale: f32) -> (f32, f64) {
    // SAFETY: logits are whole vectors.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let (shift, scale) = (V::splat(shift), V::splat(scale));
        let (mut slopes, mut above) = (zero, zero);
        let mut logs = 0.0;
        // log(1 + e^s) = max(s, 0) + log(1 + e^-|s|); factors of at most 2 are multiplied up before a logarithm.
        for run in logits.chunks_mut(64 * LANES) {
            let mut product = one;
            for at in (0..run.len()).step_by(LANES) {
                let p = run.as_mut_ptr().add(at);
                let s = V::load(p).sub(shift);
                let e = exp(s.min(zero.sub(s)));
                let below = one.add(e);
                // σ(s) = 1 / (1 + e^-s) for s ≥ 0, e^s / (1 + e^s) below: the larger exponent decides.
                let up = exp(s.min(zero));
                let slope = up.div(below).mul(scale);
                slope.store(p);
                slopes = slopes.add(slope);
                above = above.add(s.max(zero));
                product = product.mul(below);
            }
            let mut lanes = [0.0f32; LANES];
            product.store(lanes.as_mut_ptr());
            logs += lanes.iter().map(|&l| f64::from(l).ln()).sum::<f64>();
        }
        (slopes.sum(), f64::from(above.sum()) + logs)
    }
}

/// Turns logits `s` into slopes `scale · s`; returns `Σ s²`.
#[inline(always)]
unsafe fn squares<V: F32x16>(logits: &mut [f32], scale: f32) -> f64 {
    // SAFETY: logits are whole vectors.
    unsafe {
        let (scale, mut sum) = (V::splat(scale), V::splat(0.0));
        for at in (0..logits.len()).step_by(LANES) {
            let p = logits.as_mut_ptr().add(at);
            let s = V::load(p);
            sum = s.mul_add(s, sum);
            s.mul(scale).store(p);
        }
        f64::from(sum.sum())
    }
}

/// Turns logits into slopes `scale` where they exceed the margin, else 0; returns `Σ max(0, s − margin)`.
#[inline(always)]
unsafe fn hinge<V: F32x16>(logits: &mut [f32], margin: f32, scale: f32) -> f64 {
    // SAFETY: logits are whole vectors.
    unsafe {
        let (margin, zero, mut sum) = (V::splat(margin), V::splat(0.0), V::splat(0.0));
        for at in (0..logits.len()).step_by(LANES) {
            let p = logits.as_mut_ptr().add(at);
            let over = V::load(p).sub(margin).max(zero);
            sum = sum.add(over);
            let above = over.greater(zero);
            let slopes: [f32; LANES] =
                std::array::from_fn(|lane| if above >> lane & 1 == 1 { scale } else { 0.0 });
            V::load(slopes.as_ptr()).store(p);
        }
        f64::from(sum.sum())
    }
}

/// `log(1 + e^x)`.
fn soft(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

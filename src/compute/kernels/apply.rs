//! A step of the optimiser on the CPU, twin of `apply.wgsl`: moves the rows of a batch by their gradients.
//!
//! Roofline: bound by memory, up to 28·dim bytes a row (table, gradient and two moments).

use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa};
use crate::compute::training::{BETA1, BETA2, EPSILON, Optimizer, Plan, Recipe};

/// The GPU's kernel: `move_rows`.
pub const WGSL: &str = include_str!("apply.wgsl");

/// What the shader reads: see `apply.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: u32,
    pub quads: u32,
    pub optimizer: u32,
    pub rate: f32,
    pub l2: f32,
    pub l1: f32,
    pub first: u32,
}

/// An optimiser's number in the shader.
pub fn code(optimizer: Optimizer) -> u32 {
    match optimizer {
        Optimizer::Sgd => 0,
        Optimizer::Adagrad => 1,
        Optimizer::Adam => 2,
    }
}

/// Some rows of a table with their optimiser state.
struct Part<'a> {
    /// Table row of the first.
    base: usize,
    rows: &'a mut [f32],
    /// Empty unless the optimiser keeps it, as is `second`.
    first: &'a mut [f32],
    second: &'a mut [f32],
}

/// `gradient` is `[plan.rows, stride]`.
pub(crate) fn cpu(
    isa: Isa,
    recipe: &Recipe,
    rate: f32,
    plan: &Plan,
    gradient: &Aligned,
    stride: usize,
    [rows, first, second]: [&mut Aligned; 3],
) {
    let part = Part {
        base: 0,
        rows: rows.floats_mut(),
        first: first.floats_mut(),
        second: second.floats_mut(),
    };
    let step = Step {
        isa,
        recipe,
        rate,
        stride,
    };
    step.split(&plan.rows, &plan.scales, gradient.floats(), part);
}

#[derive(Clone, Copy)]
struct Step<'a> {
    isa: Isa,
    recipe: &'a Recipe,
    rate: f32,
    stride: usize,
}

impl Step<'_> {
    /// Halves the rows, and the table between them, until a half is worth a thread.
    fn split(self, ids: &[u32], scales: &[[f32; 2]], gradient: &[f32], part: Part<'_>) {
        let stride = self.stride;
        if ids.len() <= 128 {
            for ((&id, &scale), gradient) in
                ids.iter().zip(scales).zip(gradient.chunks_exact(stride))
            {
                let at = (id as usize - part.base) * stride;
                let state = |state: &'_ mut [f32]| -> *mut f32 {
                    if state.is_empty() {
                        std::ptr::null_mut()
                    } else {
                        state[at..at + stride].as_mut_ptr()
                    }
                };
                let row = &mut part.rows[at..at + stride];
                let moments = [state(part.first), state(part.second)];
                let isa = self.isa;
                let step = self;
                by_isa!(
                    isa,
                    move_row(
                        step: Step<'_>,
                        scale: [f32; 2],
                        gradient: &[f32],
                        row: &mut [f32],
                        moments: [*mut f32; 2],
                    )
                );
            }
            return;
        }
        let half = ids.len() / 2;
        let at = (ids[half] as usize - part.base) * stride;
        let cut = |state: &'_ mut [f32]| if state.is_empty() { 0 } else { at };
        let base = ids[half] as usize;
        let (first_cut, second_cut) = (cut(part.first), cut(part.second));
        let (rows, more_rows) = part.rows.split_at_mut(at);
        let (first, more_first) = part.first.split_at_mut(first_cut);
        let (second, more_second) = part.second.split_at_mut(second_cut);
        let lower = Part {
            base: part.base,
            rows,
            first,
            second,
        };
        let upper = Part {
            base,
            rows: more_rows,
            first: more_first,
            second: more_second,
        };
        let (lower_gradient, upper_gradient) = gradient.split_at(half * stride);
        rayon::join(
            || self.split(&ids[..half], &scales[..half], lower_gradient, lower),
            || self.split(&ids[half..], &scales[half..], upper_gradient, upper),
        );
    }
}

/// Moments are null where the optimiser keeps none, else as long as the row.
#[inline(always)]
unsafe fn move_row<V: F32x16, const MR: usize, const NV: usize>(
    step: Step<'_>,
    scale: [f32; 2],
    gradient: &[f32],
    row: &mut [f32],
    [first, second]: [*mut f32; 2],
) {
    let recipe = step.recipe;
    // SAFETY: row, gradient and moments are whole vectors, equally long.
    unsafe {
        let (rate, l2) = (V::splat(-step.rate), V::splat(recipe.l2));
        let (epsilon, zero) = (V::splat(EPSILON), V::splat(0.0));
        let shrink = V::splat(step.rate * recipe.l1);
        for at in (0..row.len()).step_by(LANES) {
            let to = row.as_mut_ptr().add(at);
            let x = V::load(to);
            let g = l2.mul_add(x, V::load(gradient.as_ptr().add(at)));
            let direction = match recipe.optimizer {
                Optimizer::Sgd => g,
                Optimizer::Adagrad => {
                    let sum = g.mul_add(g, V::load(first.add(at)));
                    sum.store(first.add(at));
                    g.div(sum.sqrt().add(epsilon))
                }
                Optimizer::Adam => {
                    let m = V::load(first.add(at)).mul(V::splat(BETA1));
                    let m = g.mul_add(V::splat(1.0 - BETA1), m);
                    m.store(first.add(at));
                    let v = V::load(second.add(at)).mul(V::splat(BETA2));
                    let v = g.mul(g).mul_add(V::splat(1.0 - BETA2), v);
                    v.store(second.add(at));
                    let root = v.mul(V::splat(scale[1])).sqrt();
                    m.mul(V::splat(scale[0])).div(root.add(epsilon))
                }
            };
            let mut x = rate.mul_add(direction, x);
            if recipe.l1 > 0.0 {
                x = x.sub(shrink).max(zero).add(x.add(shrink).min(zero));
            }
            x.store(to);
        }
    }
}

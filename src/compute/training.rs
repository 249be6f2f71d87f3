//! Training two tables of embeddings by gradient: what a batch is, what a loss is, and what both devices plan alike.
//!
//! A batch has B samples, each a user and an item that it took up, and N negatives that all of them share: the B × N
//! logits and the gradients are matrix products. Every sum has one order, and every random bit comes from a counter, so
//! the same batches give the same bits.

use super::{ComputeError, Matrix};
use std::sync::LazyLock;

/// What a sample's logits should look like. `s⁺` is the logit of the item taken up, `s_j` that of negative `j`; logits
/// are inner products, of unit vectors when [`Recipe::cosine`] is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// `−s⁺/τ + p · log Σ_j exp(s_j/τ + c_j)` with the sampling corrections `c_j` of [`Batch::corrections`]. `p = 1` is
    /// the softmax loss, another `p` its bilateral form (Wu et al., ICDE 2024), where `p = τ₁/τ₂`.
    Softmax { temperature: f32, power: f32 },
    /// Binary cross-entropy: `−log σ(s⁺) − w/N · Σ_j log σ(−s_j)`.
    Logistic { negative_weight: f32 },
    /// `(t − s⁺)² + w/N · Σ_j s_j²` with the targets `t` of [`Batch::targets`].
    Squared { negative_weight: f32 },
    /// `−1/N · Σ_j log σ(s⁺ − s_j)` (Rendle et al., UAI 2009).
    Bpr,
    /// `1 − s⁺ + w/N · Σ_j max(0, s_j − m)` (Mao et al., CIKM 2021).
    Contrastive { margin: f32, negative_weight: f32 },
}

/// How a gradient moves a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// `x −= rate · g`.
    Sgd,
    /// Per-element rates by summed squares (Duchi et al., JMLR 2011).
    Adagrad,
    /// Adam (Kingma and Ba, ICLR 2015) that only touches the rows of a batch; bias is corrected by each row's own steps.
    Adam,
}

/// Everything about training that does not change from batch to batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    pub loss: Loss,
    /// Whether vectors are scaled to length 1 before they are multiplied.
    pub cosine: bool,
    pub optimizer: Optimizer,
    /// `l2 · x` is added to the gradient of each row of a batch.
    pub l2: f32,
    /// Each element of a row moves towards 0 by `rate · l1` after its step, and stops there.
    pub l1: f32,
    /// Share of a row's elements that a batch takes as 0, the others being scaled up.
    pub dropout: f32,
    /// Of the dropout's random bits.
    pub seed: u64,
}

/// A step's samples and negatives.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[B]`, row of the user table.
    pub users: &'a [u32],
    /// `[B]`, row of the item table.
    pub items: &'a [u32],
    /// `[B]`: what a sample counts for; the gradient is that of `Σ_i weight_i · loss_i / B`.
    pub weights: &'a [f32],
    /// `[B]`: what a sample's logit should be by [`Loss::Squared`]; empty where it is 1 for all.
    pub targets: &'a [f32],
    /// `[N]`, rows of the item table; one that is a sample's own item does not count as a negative of it.
    pub negatives: &'a [u32],
    /// `[N]`, added to the logits of the negatives by [`Loss::Softmax`].
    pub corrections: &'a [f32],
    /// `[items]`: which rows of the item table the step leaves as they are; empty where it moves all of its rows.
    pub held: &'a [bool],
}

/// Tables and optimiser on a device: see [`super::Device::trainer`].
pub trait Trainer {
    /// Moves the tables by one batch at the learning rate `rate`. The device may still be at it afterwards; what goes wrong
    /// there is told by a later call.
    fn step(&mut self, batch: &Batch<'_>, rate: f32) -> Result<(), ComputeError>;

    /// Mean losses of the steps since this was asked last, each before its step.
    fn losses(&mut self) -> Result<Vec<f64>, ComputeError>;

    /// The tables `(users, items)` as they are now.
    fn tables(&self) -> Result<(Matrix, Matrix), ComputeError>;
}

/// Most samples of a batch, and most negatives: a software adapter leaves longer loops early.
pub const MOST_SAMPLES: usize = 16_384;

/// Adam's constants.
pub(crate) const BETA1: f32 = 0.9;
pub(crate) const BETA2: f32 = 0.999;
/// Keeps a division by a root from one by zero.
pub(crate) const EPSILON: f32 = 1e-8;
/// Added to a squared length before it is divided by.
pub(crate) const TINY: f32 = 1e-12;
/// The logit of what is no negative of a sample.
pub(crate) const MASKED: f32 = -1e30;
/// Occurrences of a row that are summed apart before they join its sum.
pub(crate) const RUN: usize = 64;

impl Batch<'_> {
    /// What the logit of a sample should be.
    pub(crate) fn target(&self, sample: usize) -> f32 {
        self.targets.get(sample).copied().unwrap_or(1.0)
    }
}

impl Recipe {
    /// Vectors of optimiser state per table.
    pub(crate) fn states(&self) -> usize {
        match self.optimizer {
            Optimizer::Sgd => 0,
            Optimizer::Adagrad => 1,
            Optimizer::Adam => 2,
        }
    }

    /// Key of the dropout of one table in one step.
    pub(crate) fn key(&self, step: u32, table: u32) -> u32 {
        let seed = (self.seed ^ (self.seed >> 32)) as u32;
        scramble(scramble(seed ^ 0x9e37_79b9).wrapping_add(step) ^ table.wrapping_mul(0x85eb_ca6b))
    }
}

/// A hash of 32 bits (Wellons, "Prospecting for hash functions", lowbias32).
#[inline(always)]
pub(crate) fn scramble(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Whether dropout takes an element as 0: uniform 24 bits against the rate.
#[inline(always)]
pub(crate) fn dropped(key: u32, row: u32, column: u32, dropout: f32) -> bool {
    let bits = scramble(scramble(key ^ row.wrapping_mul(0x9e37_79b9)) ^ column);
    ((bits >> 8) as f32) < dropout * 16_777_216.0
}

/// Which rows of a table a batch moves, and where in the batch each occurs.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Ascending.
    pub rows: Vec<u32>,
    /// `[rows + 1]`, into `occurrences`.
    pub starts: Vec<u32>,
    /// Places in the batch, ascending per row.
    pub occurrences: Vec<u32>,
    /// Adam's corrections per row: what the first and the second moment are multiplied by.
    pub scales: Vec<[f32; 2]>,
}

impl Plan {
    /// Of the table rows `ids` but those that are `held`; `steps` `[table rows]` counts how often each row has moved, this
    /// batch included afterwards.
    pub fn new(ids: impl Iterator<Item = u32>, held: &[bool], steps: &mut [u32]) -> Self {
        let is_held = |row: u32| held.get(row as usize).is_some_and(|&held| held);
        let mut order: Vec<u64> = ids
            .enumerate()
            .filter(|&(_, row)| !is_held(row))
            .map(|(place, row)| u64::from(row) << 32 | place as u64)
            .collect();
        order.sort_unstable();
        let mut plan = Self::default();
        for entry in order {
            let row = (entry >> 32) as u32;
            if plan.rows.last() != Some(&row) {
                plan.rows.push(row);
                plan.starts.push(plan.occurrences.len() as u32);
                let step = &mut steps[row as usize];
                *step = step.saturating_add(1);
                plan.scales.push(corrections(*step));
            }
            plan.occurrences.push(entry as u32);
        }
        plan.starts.push(plan.occurrences.len() as u32);
        plan
    }
}

/// What Adam multiplies the moments of a row by that has moved `steps` times.
fn corrections(steps: u32) -> [f32; 2] {
    /// From here on both are 1.
    const MOST: usize = 1 << 15;
    static TABLE: LazyLock<Vec<[f32; 2]>> = LazyLock::new(|| {
        let correction = |beta: f32, n: f64| (1.0 / (1.0 - f64::from(beta).powf(n))) as f32;
        (0..MOST)
            .map(|n| [BETA1, BETA2].map(|beta| correction(beta, n as f64)))
            .collect()
    });
    TABLE.get(steps as usize).copied().unwrap_or([1.0; 2])
}

/// Checks a batch against tables of so many rows.
pub(crate) fn check(batch: &Batch<'_>, users: usize, items: usize) -> Result<(), ComputeError> {
    let (samples, negatives) = (batch.users.len(), batch.negatives.len());
    if batch.items.len() != samples || batch.weights.len() != samples {
        return Err(ComputeError::shape(
            "a batch needs an item and a weight for each user",
        ));
    }
    if !batch.targets.is_empty() && batch.targets.len() != samples {
        return Err(ComputeError::shape(
            "a batch needs a target for each sample, or none",
        ));
    }
    if batch.corrections.len() != negatives {
        return Err(ComputeError::shape(
            "a batch needs a correction for each negative",
        ));
    }
    if !batch.held.is_empty() && batch.held.len() != items {
        return Err(ComputeError::shape(format!(
            "a batch says of {} rows whether they are held, and there are {items} items",
            batch.held.len()
        )));
    }
    if samples == 0 || negatives == 0 || samples.max(negatives) > MOST_SAMPLES {
        return Err(ComputeError::shape(format!(
            "a batch of {samples} samples and {negatives} negatives; it takes 1 to {MOST_SAMPLES} of each"
        )));
    }
    let beyond = |ids: &[u32], rows: usize| ids.iter().any(|&id| id as usize >= rows);
    if beyond(batch.users, users) || beyond(batch.items, items) || beyond(batch.negatives, items) {
        return Err(ComputeError::shape(format!(
            "a batch names a row beyond {users} users and {items} items"
        )));
    }
    Ok(())
}

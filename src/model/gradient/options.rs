//! Hyperparameters that every family trained by gradient has.

use crate::compute::{MOST_SAMPLES, Optimizer};
use crate::model::{ModelError, params};
use serde::{Deserialize, Serialize};

/// Where a batch's negatives come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Every item alike.
    Uniform,
    /// Items by their number of interactions to the power of `popularity_power`.
    Popularity,
    /// The items of the batch's other samples, which is popularity to the power of 1 for free.
    InBatch,
    /// Every item in every step, which makes `softmax` the full softmax; for catalogues of up to 16,384 items.
    All,
}

/// How the learning rate goes from its value at the first step to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 in a straight line.
    Linear,
    /// It falls to 0 along half a cosine wave (Loshchilov and Hutter, ICLR 2017).
    Cosine,
}

/// Hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Length of an embedding, 1 to 1,024.
    pub dim: usize,
    /// Passes over the interactions, 1 to 10,000.
    pub epochs: usize,
    /// Samples of a step, 1 to 16,384; by default so many that a pass has some 500 steps, 32 to 2,048.
    pub batch: Option<usize>,
    /// Negatives that the samples of a step share, 1 to 16,384; no more than there are items. `in_batch` has as many as
    /// the batch has samples, `all` as many as there are items.
    pub negatives: usize,
    /// Where negatives come from.
    pub sampling: Sampling,
    /// Power of an item's number of interactions with which `popularity` draws it, 0 to 1.
    pub popularity_power: f32,
    /// How gradients move embeddings.
    pub optimizer: Optimizer,
    /// Learning rate at the first step, above 0.
    pub learning_rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// Weight decay added to the gradients of the rows of a batch, 0 and above.
    pub l2: f32,
    /// How far each element moves towards 0 per step, in learning rates, 0 and above.
    pub l1: f32,
    /// Share of an embedding's elements that a step takes as 0, below 1.
    pub dropout: f32,
    /// Whether embeddings are scaled to length 1.
    pub cosine: bool,
    /// A sample counts for its interaction's weight to this power, over the mean; 0 counts all alike, 0 to 1.
    pub weight_power: f32,
    /// Share of the interactions held back, the newest ones, to find the best number of passes; 0 to below 1. The model
    /// is then trained again on all of them.
    pub validation: f32,
    /// Passes without a better validation after which training stops, at least 1.
    pub patience: usize,
    /// Seed of embeddings, order, negatives and dropout.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dim: 64,
            epochs: 30,
            batch: None,
            negatives: 512,
            sampling: Sampling::Uniform,
            popularity_power: 0.75,
            optimizer: Optimizer::Adam,
            learning_rate: 0.03,
            schedule: Schedule::Cosine,
            l2: 0.0,
            l1: 0.0,
            dropout: 0.0,
            cosine: true,
            weight_power: 0.0,
            validation: 0.0,
            patience: 3,
            seed: 7,
        }
    }
}

impl Options {
    /// Names the first parameter that is out of range.
    ///
    /// # Errors
    /// [`ModelError::Parameter`].
    pub fn validate(&self) -> Result<(), ModelError> {
        params::within("dim", self.dim, 1, 1024)?;
        params::within("epochs", self.epochs, 1, 10_000)?;
        if let Some(batch) = self.batch {
            params::within("batch", batch, 1, MOST_SAMPLES)?;
        }
        params::within("negatives", self.negatives, 1, MOST_SAMPLES)?;
        params::within("patience", self.patience, 1, 10_000)?;
        params::above_zero("learning_rate", self.learning_rate)?;
        params::between("popularity_power", self.popularity_power, 0.0, ONE)?;
        params::between("weight_power", self.weight_power, 0.0, ONE)?;
        params::between("l2", self.l2, 0.0, f32::INFINITY)?;
        params::between("l1", self.l1, 0.0, f32::INFINITY)?;
        params::between("dropout", self.dropout, 0.0, 1.0)?;
        params::between("validation", self.validation, 0.0, 1.0)
    }

    /// Samples of a step over so many interactions.
    pub(super) fn batch_for(&self, interactions: usize) -> usize {
        self.batch
            .unwrap_or_else(|| (interactions / 512).next_power_of_two().clamp(32, 2048))
    }

    /// The learning rate at step `at` of `steps`.
    pub(super) fn rate(&self, at: usize, steps: usize) -> f32 {
        let left = 1.0 - at as f64 / steps.max(1) as f64;
        let share = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => left,
            Schedule::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * left).cos(),
        };
        (f64::from(self.learning_rate) * share) as f32
    }
}

/// The end of a range that holds 1.
const ONE: f32 = 1.0 + f32::EPSILON;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_range_are_named() {
        let ok = Options::default();
        assert!(ok.validate().is_ok());
        let refused = |options: Options| options.validate().unwrap_err().to_string();
        for (options, start) in [
            (Options { dim: 0, ..ok }, "dim = 0"),
            (Options { dim: 10_000, ..ok }, "dim = 10000"),
            (Options { epochs: 0, ..ok }, "epochs = 0"),
            (
                Options {
                    batch: Some(0),
                    ..ok
                },
                "batch = 0",
            ),
            (
                Options {
                    negatives: 20_000,
                    ..ok
                },
                "negatives = 20000",
            ),
            (Options { patience: 0, ..ok }, "patience = 0"),
            (
                Options {
                    learning_rate: 0.0,
                    ..ok
                },
                "learning_rate = 0",
            ),
            (
                Options {
                    popularity_power: 2.0,
                    ..ok
                },
                "popularity_power = 2",
            ),
            (
                Options {
                    weight_power: -1.0,
                    ..ok
                },
                "weight_power = -1",
            ),
            (Options { l2: f32::NAN, ..ok }, "l2 = NaN"),
            (Options { l1: -1.0, ..ok }, "l1 = -1"),
            (Options { dropout: 1.0, ..ok }, "dropout = 1"),
            (
                Options {
                    validation: 1.0,
                    ..ok
                },
                "validation = 1",
            ),
        ] {
            assert!(refused(options).starts_with(start), "{}", refused(options));
        }
        assert!(
            Options {
                weight_power: 1.0,
                ..ok
            }
            .validate()
            .is_ok()
        );
    }

    #[test]
    fn schedules_start_at_the_rate_and_end_near_zero_or_at_the_rate() {
        let rate = |schedule, at| {
            Options {
                schedule,
                ..Options::default()
            }
            .rate(at, 100)
        };
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
            assert!((rate(schedule, 0) - 0.03).abs() < 1e-9);
        }
        assert!((rate(Schedule::Constant, 99) - 0.03).abs() < 1e-9);
        assert!((rate(Schedule::Linear, 50) - 0.015).abs() < 1e-8);
        assert!((rate(Schedule::Cosine, 50) - 0.015).abs() < 1e-8);
        assert!(rate(Schedule::Cosine, 99) < 1e-5);
    }

    #[test]
    fn a_batch_follows_the_number_of_interactions() {
        let options = Options::default();
        assert_eq!(options.batch_for(0), 32);
        assert_eq!(options.batch_for(100_000), 256);
        assert_eq!(options.batch_for(10_000_000), 2048);
        let batch = Some(7);
        assert_eq!(Options { batch, ..options }.batch_for(10_000_000), 7);
    }
}

//! Embeddings trained by gradient: what the families `softmax`, `logistic`, `squared`, `bpr` and `ccl` share.
//!
//! A family gives a loss; sampling, optimiser, schedule and early stopping are here, the arithmetic in
//! [`crate::compute`].

mod options;
mod sample;
#[cfg(test)]
mod tests;
mod train;

pub use options::{Options, Sampling, Schedule};

use super::{Examples, Fitted, Held, Learner, ModelError, Progress, params, sizes};
use crate::compute::{Device, Loss, Optimizer};
use crate::features::csr::Csr;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A loss with its own hyperparameters.
pub trait Objective: Serialize + DeserializeOwned + Copy + Send + Sync + 'static {
    /// Names the first parameter that is out of range.
    ///
    /// # Errors
    /// [`ModelError::Parameter`].
    fn validate(&self) -> Result<(), ModelError>;

    /// The loss that training lowers, over so many items.
    fn loss(&self, items: usize) -> Loss;

    /// Whether weights are ratings, so that a score should be the weight over the greatest one; otherwise 1.
    fn ratings(&self) -> bool {
        false
    }
}

/// What an objective asks of training on some data.
#[derive(Debug, Clone, Copy)]
struct Goal {
    loss: Loss,
    ratings: bool,
}

/// The hyperparameters of a family: those that all share beside its own.
#[derive(Debug, Clone, Copy, Serialize)]
struct Gradient<O> {
    #[serde(flatten)]
    objective: O,
    #[serde(flatten)]
    options: Options,
}

/// Lays `given` over a family's defaults and checks the result.
///
/// # Errors
/// A key that is unknown, of another type, or out of range.
pub fn configure<O: Objective>(
    objective: O,
    options: Options,
    given: &toml::Table,
) -> Result<Box<dyn Learner>, ModelError> {
    let (own, shared) = (params::object(&objective)?, params::object(&options)?);
    params::refuse_unknown(given, own.keys().chain(shared.keys()))?;
    let configured = Gradient::<O> {
        objective: params::overlay(own, given)?,
        options: params::overlay(shared, given)?,
    };
    configured.objective.validate()?;
    configured.options.validate()?;
    Ok(Box::new(configured))
}

impl<O: Objective> Gradient<O> {
    fn goal(&self, examples: &Examples<'_>) -> Goal {
        Goal {
            loss: self.objective.loss(examples.weights.cols()),
            ratings: self.objective.ratings(),
        }
    }
}

impl<O: Objective> Learner for Gradient<O> {
    fn hyperparameters(&self) -> Result<String, ModelError> {
        params::json(self)
    }

    fn bytes(&self, weights: &Csr) -> u64 {
        let (n, users, items) = sizes(weights);
        let dim = self.options.dim;
        let (row, padded) = (4 * dim as u64, 4 * dim.next_multiple_of(16) as u64);
        let tables = match self.options.optimizer {
            Optimizer::Sgd => 1,
            Optimizer::Adagrad => 2,
            Optimizer::Adam => 3,
        };
        // Samples and their order, and of each row the embedding as it was, with its moments, and counts and offsets.
        16 * n + (tables * padded + row + 12) * (users + items)
    }

    fn train(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        train::train(
            device,
            examples,
            self.goal(examples),
            &self.options,
            observer,
        )
    }

    fn fold_in(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        held: &Held<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        let goal = self.goal(examples);
        train::fold_in(device, examples, held, goal, &self.options, observer)
    }
}

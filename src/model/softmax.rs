//! Softmax loss over sampled negatives: each item taken up against all the negatives of its batch at once.
//!
//! With unit vectors this is SL (Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", ACM
//! TOIS 42(4), 2024); with a `power` other than 1 it is BSL (Wu et al., "BSL: Understanding and Improving Softmax Loss for
//! Recommendation", ICDE 2024).

use super::gradient::{self, Objective, Options};
use super::{Definition, Family, ModelError, params};
use crate::compute::Loss;

/// `softmax` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "softmax",
    personal: true,
    configure: |given| gradient::configure(Softmax::default(), Options::default(), given),
});

/// Its own hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Softmax {
    /// What logits are divided by, above 0.
    temperature: f32,
    /// Weight of the negatives against the item taken up, above 0.
    power: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self {
            temperature: 0.1,
            power: 1.0,
        }
    }
}

impl Objective for Softmax {
    fn validate(&self) -> Result<(), ModelError> {
        params::above_zero("temperature", self.temperature)?;
        params::above_zero("power", self.power)
    }

    fn loss(&self) -> Loss {
        Loss::Softmax {
            temperature: self.temperature,
            power: self.power,
        }
    }
}

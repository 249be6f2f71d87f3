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
    passes: Some("epochs"),
    space: r#"
        learning_rate = { min = 0.003, max = 0.1, scale = "log" }
        temperature = { min = 0.05, max = 0.3, scale = "log" }
        power = { min = 0.9, max = 1.4 }
        dropout = [0.0, 0.1, 0.2]
        negatives = [256, 512, 1024]
    "#,
    configure: |given| gradient::configure(Softmax::default(), options(), given),
});

fn options() -> Options {
    Options {
        epochs: 100,
        learning_rate: 0.01,
        dropout: 0.1,
        ..Options::default()
    }
}

/// Its own hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Softmax {
    /// What cosines are divided by, above 0; by default 1 / ln(items): an item with cosine 1 then weighs as much as all
    /// others with cosine 0 together.
    temperature: Option<f32>,
    /// Weight of the negatives against the item taken up, above 0.
    power: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self {
            temperature: None,
            power: 1.1,
        }
    }
}

impl Objective for Softmax {
    fn validate(&self) -> Result<(), ModelError> {
        if let Some(temperature) = self.temperature {
            params::above_zero("temperature", temperature)?;
        }
        params::above_zero("power", self.power)
    }

    fn loss(&self, items: usize) -> Loss {
        // Fewer than three items would give more than 1.
        let usual = || (1.0 / (items as f64).ln().max(1.0)) as f32;
        Loss::Softmax {
            temperature: self.temperature.unwrap_or_else(usual),
            power: self.power,
        }
    }
}

//! Binary cross-entropy: the sigmoid of an inner product is the chance that a user takes to an item.

use super::gradient::{self, Objective, Options};
use super::{Definition, Family, ModelError, params};
use crate::compute::Loss;

/// `logistic` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "logistic",
    personal: true,
    passes: Some("epochs"),
    space: r#"
        learning_rate = { min = 0.003, max = 0.1, scale = "log" }
        l2 = { min = 0.00001, max = 0.01, scale = "log" }
        negative_weight = { min = 0.3, max = 30.0, scale = "log" }
        negatives = [256, 512, 1024]
    "#,
    configure: |given| gradient::configure(Logistic::default(), options(), given),
});

fn options() -> Options {
    Options {
        cosine: false,
        epochs: 20,
        l2: 0.000_5,
        ..Options::default()
    }
}

/// Its own hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Logistic {
    /// Weight of all negatives together against the item taken up, above 0.
    negative_weight: f32,
}

impl Default for Logistic {
    fn default() -> Self {
        Self {
            negative_weight: 1.0,
        }
    }
}

impl Objective for Logistic {
    fn validate(&self) -> Result<(), ModelError> {
        params::above_zero("negative_weight", self.negative_weight)
    }

    fn loss(&self, _: usize) -> Loss {
        Loss::Logistic {
            negative_weight: self.negative_weight,
        }
    }
}

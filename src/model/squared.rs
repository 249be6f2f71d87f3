//! Squared error: 1 for an item taken up, or its rating; 0 for the negatives.

use super::gradient::{self, Objective, Options};
use super::{Definition, Family, ModelError, params};
use crate::compute::Loss;

/// `squared` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "squared",
    personal: true,
    passes: Some("epochs"),
    space: r#"
        learning_rate = { min = 0.003, max = 0.1, scale = "log" }
        l2 = { min = 0.00001, max = 0.01, scale = "log" }
        negative_weight = { min = 1.0, max = 100.0, scale = "log" }
        negatives = [256, 512, 1024]
    "#,
    configure: |given| gradient::configure(Squared::default(), options(), given),
});

fn options() -> Options {
    Options {
        cosine: false,
        epochs: 20,
        l2: 0.001,
        ..Options::default()
    }
}

/// Its own hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Squared {
    /// Weight of all negatives together against the item taken up, above 0; with `ratings` 0 and above.
    negative_weight: f32,
    /// Whether weights are ratings that scores should foretell, over the greatest.
    ratings: bool,
}

impl Default for Squared {
    fn default() -> Self {
        Self {
            negative_weight: 10.0,
            ratings: false,
        }
    }
}

impl Objective for Squared {
    fn validate(&self) -> Result<(), ModelError> {
        if self.ratings {
            return params::between("negative_weight", self.negative_weight, 0.0, f32::INFINITY);
        }
        params::above_zero("negative_weight", self.negative_weight)
    }

    fn loss(&self, _: usize) -> Loss {
        Loss::Squared {
            negative_weight: self.negative_weight,
        }
    }

    fn ratings(&self) -> bool {
        self.ratings
    }
}

//! Cosine contrastive loss: an item taken up as near as can be, negatives no nearer than a margin (Mao et al., "SimpleX: A
//! Simple and Strong Baseline for Collaborative Filtering", CIKM 2021).

use super::gradient::{self, Objective, Options};
use super::{Definition, Family, ModelError, params};
use crate::compute::Loss;

/// `ccl` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "ccl",
    personal: true,
    passes: Some("epochs"),
    space: r#"
        learning_rate = { min = 0.003, max = 0.1, scale = "log" }
        margin = { min = 0.1, max = 0.9 }
        negative_weight = { min = 1.0, max = 50.0, scale = "log" }
        negatives = [256, 512, 1024]
    "#,
    configure: |given| gradient::configure(Contrastive::default(), Options::default(), given),
});

/// Its own hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Contrastive {
    /// Cosine above which a negative is pushed away, 0 to below 1.
    margin: f32,
    /// Weight of all negatives together against the item taken up, above 0.
    negative_weight: f32,
}

impl Default for Contrastive {
    fn default() -> Self {
        Self {
            margin: 0.4,
            negative_weight: 5.0,
        }
    }
}

impl Objective for Contrastive {
    fn validate(&self) -> Result<(), ModelError> {
        params::between("margin", self.margin, 0.0, 1.0)?;
        params::above_zero("negative_weight", self.negative_weight)
    }

    fn loss(&self, _: usize) -> Loss {
        Loss::Contrastive {
            margin: self.margin,
            negative_weight: self.negative_weight,
        }
    }
}

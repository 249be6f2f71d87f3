//! Bayesian personalised ranking: an item taken up above each negative (Rendle et al., UAI 2009).

use super::gradient::{self, Objective, Options};
use super::{Definition, Family, ModelError};
use crate::compute::Loss;

/// `bpr` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "bpr",
    personal: true,
    passes: Some("epochs"),
    space: r#"
        learning_rate = { min = 0.003, max = 0.1, scale = "log" }
        l2 = { min = 0.00001, max = 0.01, scale = "log" }
        negatives = [256, 512, 1024]
    "#,
    configure: |given| gradient::configure(Bpr {}, options(), given),
});

fn options() -> Options {
    Options {
        cosine: false,
        epochs: 20,
        l2: 0.000_5,
        ..Options::default()
    }
}

/// It has no hyperparameters of its own.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Bpr {}

impl Objective for Bpr {
    fn validate(&self) -> Result<(), ModelError> {
        Ok(())
    }

    fn loss(&self, _: usize) -> Loss {
        Loss::Bpr
    }
}

//! The same order for everyone: items by the sum of their interactions' weights.

use super::{Definition, Examples, Family, Fitted, Learner, ModelError, Progress, params};
use crate::compute::Device;
use crate::features::csr::Csr;

/// `popular` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "popular",
    personal: false,
    passes: None,
    space: "",
    configure: |given| Ok(Box::new(params::fill(PopularParams {}, given)?)),
});

/// It has no hyperparameters.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PopularParams {}

impl Learner for PopularParams {
    fn hyperparameters(&self) -> Result<String, ModelError> {
        params::json(self)
    }

    fn bytes(&self, weights: &Csr) -> u64 {
        16 * weights.cols() as u64
    }

    fn train(
        &self,
        _: &dyn Device,
        examples: &Examples<'_>,
        _: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        Ok(Fitted::Popular(Popular::train(examples.weights)))
    }
}

/// Popularity of every item; weights already carry time decay.
#[derive(Debug, Clone, PartialEq)]
pub struct Popular {
    /// `[items]`: column sums of the interactions.
    scores: Vec<f32>,
    /// Items by (score descending, item ascending).
    order: Vec<u32>,
}

impl Popular {
    /// Sums the columns of `interactions` `[users, items]`, in `f64`.
    pub fn train(interactions: &Csr) -> Self {
        let mut sums = vec![0f64; interactions.cols()];
        for (&item, &weight) in interactions.indices().iter().zip(interactions.values()) {
            sums[item as usize] += f64::from(weight);
        }
        Self::new(sums.into_iter().map(|sum| sum as f32).collect())
    }

    /// From scores `[items]`.
    pub fn new(scores: Vec<f32>) -> Self {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            let (score_a, score_b) = (scores[a as usize] + 0.0, scores[b as usize] + 0.0);
            score_b.total_cmp(&score_a).then(a.cmp(&b))
        });
        Self { scores, order }
    }

    /// `[items]`.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Items by (score descending, item ascending).
    pub fn order(&self) -> &[u32] {
        &self.order
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn items_are_ordered_by_weight_then_number() {
        let cells = [(0, 2, 1.0), (1, 2, 1.5), (0, 3, 2.5), (2, 0, 0.25)];
        let popular = Popular::train(&Csr::from_triplets(3, 5, &cells).unwrap());
        assert_eq!(popular.scores(), [0.25, 0.0, 2.5, 2.5, 0.0]);
        assert_eq!(popular.order(), [2, 3, 0, 1, 4]);
    }
}

//! Interactions held back from training, to tell when to stop.

use crate::compute::{Device, Matrix, Query};
use crate::evaluate::evaluation::{Evaluation, Judged};
use crate::evaluate::metric::Metric;
use crate::features::csr::Csr;
use crate::model::{Examples, ModelError, held_out};

/// Length of the lists that are judged.
const K: usize = 20;
/// Users of a batch.
const BATCH: usize = 4096;

/// A training part and what was held back from it.
pub(super) struct Split {
    pub train: Csr,
    /// `[users, items]`.
    held: Csr,
}

impl Split {
    /// Holds back the newest `share` of the interactions, or without times that share of them at random.
    pub fn new(examples: &Examples<'_>, share: f32, seed: u64) -> Result<Self, ModelError> {
        let weights = examples.weights;
        let count = (weights.nnz() as f64 * f64::from(share)) as usize;
        if count == 0 || count == weights.nnz() {
            return Err(ModelError::Interactions(format!(
                "validation = {share} of {} interactions leaves nothing to judge by or to train on: write another share, \
                 or 0 to train a fixed number of passes",
                weights.nnz()
            )));
        }
        let is_held = held_out::newest(examples, f64::from(share), seed);
        let train = weights.filtered(|at| !is_held[at]);
        let mut held = weights.filtered(|at| is_held[at]);
        // Who or what is new in the part held back cannot be ranked yet.
        let mut known = vec![false; train.cols()];
        train
            .indices()
            .iter()
            .for_each(|&item| known[item as usize] = true);
        let mut cells = vec![];
        for user in (0..held.rows()).filter(|&user| !train.row(user).0.is_empty()) {
            let (items, values) = held.row(user);
            let rankable = items
                .iter()
                .zip(values)
                .filter(|(item, _)| known[**item as usize]);
            cells.extend(rankable.map(|(&item, &value)| (user as u32, item, value)));
        }
        held = Csr::from_triplets(held.rows(), held.cols(), &cells)
            .map_err(|error| ModelError::Interactions(error.to_string()))?;
        if held.nnz() == 0 {
            return Err(ModelError::Interactions(format!(
                "validation = {share} holds back only users or items that no other interaction knows: write a larger share, \
                 or 0 to train a fixed number of passes"
            )));
        }
        Ok(Self { train, held })
    }

    /// NDCG@20 of vectors over the users with interactions held back; items of the training part are left out.
    pub fn judge(
        &self,
        device: &dyn Device,
        users: &Matrix,
        items: &Matrix,
    ) -> Result<f64, ModelError> {
        let judged = Judged::new(&self.train, &self.held, None);
        let mut evaluation = Evaluation::new(&[Metric::Ndcg], &[K], items.rows());
        let scorer = device.scorer(items.view(), None)?;
        for first_user in (0..users.rows()).step_by(BATCH) {
            let lists = scorer.top_k(&Query {
                users: users.rows_view(first_user..users.rows().min(first_user + BATCH)),
                exclude: Some(&self.train),
                first_user,
                min_score: None,
                k: K,
            })?;
            evaluation.add(&judged, first_user, &lists);
        }
        let values = evaluation.values(Metric::Ndcg, K).unwrap_or_default();
        Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::csr;

    #[test]
    fn the_newest_interactions_are_held_back() {
        let weights = csr(40, 10, 6, 1);
        let times: Vec<i64> = (0..weights.nnz() as i64).rev().collect();
        let examples = Examples {
            times: Some(&times),
            ..Examples::new(&weights)
        };
        let split = Split::new(&examples, 0.2, 7).unwrap();
        let held = (weights.nnz() as f64 * f64::from(0.2f32)) as usize;
        assert_eq!(split.train.nnz(), weights.nnz() - held);
        // The newest are the first rows, which training then does not know.
        assert!(split.train.row(0).0.is_empty());
        assert_eq!(split.train.row(39), weights.row(39));
    }

    #[test]
    fn without_times_a_random_share_is_held_back_the_same_for_a_seed() {
        let weights = csr(60, 10, 6, 1);
        let examples = Examples::new(&weights);
        let held = |seed| Split::new(&examples, 0.25, seed).unwrap().held;
        assert_eq!(held(1), held(1));
        assert_ne!(held(1), held(2));
        assert!(held(1).nnz() > weights.nnz() / 6);
    }

    #[test]
    fn a_split_without_rows_is_refused() {
        let weights = Csr::from_triplets(2, 3, &[(0, 1, 1.0), (1, 2, 1.0)]).unwrap();
        let times = [1, 2];
        for (share, times) in [(0.1, None), (0.5, Some(&times[..]))] {
            let examples = Examples {
                times,
                ..Examples::new(&weights)
            };
            let error = Split::new(&examples, share, 7).err().unwrap().to_string();
            assert!(
                error.starts_with(&format!("validation = {share}")),
                "{error}"
            );
        }
    }
}

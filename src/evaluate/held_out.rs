//! Interactions held back from training, to choose by: settings, the number of passes, how much content counts for.

use super::evaluation::{Evaluation, Judged};
use super::metric::Metric;
use super::protocol::Test;
use crate::compute::{ComputeError, Device};
use crate::error::Result;
use crate::features::csr::Csr;
use crate::model::random::Stream;
use crate::model::{Examples, Fitted};
use crate::recommend::rank::rank;
use crate::recommend::topk::Filters;

/// Length of the lists that [`HeldOut::ndcg`] judges.
const K: usize = 20;
/// Purpose of the random numbers.
const HELD_OUT: u64 = 2;

/// A training part and what it is judged by.
#[derive(Debug)]
pub struct HeldOut {
    train: Csr,
    times: Option<Vec<i64>>,
    /// What was held back of users and items that the training part knows.
    pub test: Test,
}

impl HeldOut {
    /// Holds back the newest `share` of the interactions, or without times that share of them at random; `None` where that
    /// leaves nobody to judge by.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(examples: &Examples<'_>, share: f64, seed: u64) -> Result<Option<Self>> {
        let weights = examples.weights;
        let is_held = newest(examples, share, seed);
        let train = weights.filtered(|at| !is_held[at]);
        let times = examples.times.map(|times| {
            let kept = times.iter().zip(&is_held).filter(|(_, held)| !**held);
            kept.map(|(&time, _)| time).collect()
        });
        let held = weights.filtered(|at| is_held[at]);
        let pairs: Vec<(u32, u32)> = (0..held.rows())
            .flat_map(|user| {
                held.row(user)
                    .0
                    .iter()
                    .map(move |&item| (user as u32, item))
            })
            .collect();
        let test = Test::new(&train, &pairs)?;
        let found = Self { train, times, test };
        Ok((!found.test.users.is_empty()).then_some(found))
    }

    /// What is trained on.
    pub fn examples(&self) -> Examples<'_> {
        Examples {
            times: self.times.as_deref(),
            ..Examples::new(&self.train)
        }
    }

    /// Mean NDCG@20 over the users of the test, all items ranked but those of the training part.
    ///
    /// # Errors
    /// Those of the device.
    pub fn ndcg<E: From<ComputeError>>(
        &self,
        device: &dyn Device,
        fitted: &Fitted,
    ) -> Result<f64, E> {
        let (train, test) = (&self.train, &self.test);
        let judged = Judged::new(train, &test.relevant, Some(&test.users));
        let mut evaluation = Evaluation::new(&[Metric::Ndcg], &[K], train.cols());
        let filters = Filters {
            exclude: Some(&test.seen),
            available: test.open.as_deref(),
            k: K,
            ..Filters::default()
        };
        rank::<E>(
            device,
            fitted,
            train,
            &test.users,
            &filters,
            |first, lists| {
                evaluation.add(&judged, first, &lists);
                Ok(())
            },
        )?;
        let values = evaluation.values(Metric::Ndcg, K).unwrap_or_default();
        Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
    }
}

/// Of each entry of the weights, whether it is among the newest `share` of them; without times, that share at random.
/// Entries of one moment are told apart at random, so that no user's are held back together for their place.
fn newest(examples: &Examples<'_>, share: f64, seed: u64) -> Vec<bool> {
    let entries = examples.weights.nnz();
    let count = (entries as f64 * share) as usize;
    let stream = Stream::new(seed, HELD_OUT);
    let mut order: Vec<usize> = (0..entries).collect();
    order.sort_unstable_by_key(|&at| {
        let time = examples.times.map_or(0, |times| times[at]);
        (time, stream.bits(at as u64), at)
    });
    let mut held = vec![false; entries];
    order
        .iter()
        .rev()
        .take(count)
        .for_each(|&at| held[at] = true);
    held
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::csr;

    #[test]
    fn the_newest_are_held_back_with_the_times_of_the_others() {
        let weights = csr(40, 10, 6, 1);
        let times: Vec<i64> = (0..weights.nnz() as i64)
            .map(|at| at * 7919 % 1000)
            .collect();
        let examples = Examples {
            times: Some(&times),
            ..Examples::new(&weights)
        };
        let held = HeldOut::new(&examples, 0.2, 7).unwrap().unwrap();
        let kept = held.examples();
        let count = (weights.nnz() as f64 * 0.2) as usize;
        assert_eq!(kept.weights.nnz(), weights.nnz() - count);
        let newest_kept = kept.times.unwrap().iter().max().unwrap();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        assert_eq!(*newest_kept, sorted[weights.nnz() - count - 1]);
        assert_eq!(kept.times.unwrap().len(), kept.weights.nnz());
        for (row, &user) in held.test.users.iter().enumerate() {
            let had = kept.weights.row(user as usize).0;
            let relevant = held.test.relevant.row(row).0;
            assert!(relevant.iter().all(|item| !had.contains(item)));
        }
    }

    #[test]
    fn without_times_a_seed_gives_the_same_split() {
        let weights = csr(60, 10, 6, 1);
        let relevant = |seed| {
            let held = HeldOut::new(&Examples::new(&weights), 0.25, seed)
                .unwrap()
                .unwrap();
            held.test.relevant.clone()
        };
        assert_eq!(relevant(1), relevant(1));
        assert_ne!(relevant(1), relevant(2));
    }

    #[test]
    fn nobody_to_judge_by_is_none() {
        for cells in [&[][..], &[(0, 1, 1.0), (1, 2, 1.0)]] {
            let weights = Csr::from_triplets(2, 3, cells).unwrap();
            let held = HeldOut::new(&Examples::new(&weights), 0.5, 7).unwrap();
            assert!(held.is_none());
        }
    }
}

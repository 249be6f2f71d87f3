//! Interactions held back from training, to tell settings apart.

use crate::error::{Error, Result};
use crate::evaluate::protocol::Test;
use crate::features::csr::Csr;
use crate::model::Examples;
use crate::model::random::Stream;

/// Purpose of the random numbers of a split without times.
const SPLIT: u64 = 5;

/// A training part and what it is judged by.
#[derive(Debug)]
pub struct HeldOut {
    train: Csr,
    times: Option<Vec<i64>>,
    /// What was held back of users and items that the training part knows.
    pub test: Test,
}

impl HeldOut {
    /// Holds back the newest `share` of the interactions, or without times that share of them at random.
    ///
    /// # Errors
    /// `Kind::Check` when that leaves nothing to judge by.
    pub fn new(examples: &Examples<'_>, share: f64, seed: u64) -> Result<Self> {
        let weights = examples.weights;
        let count = (weights.nnz() as f64 * share) as usize;
        let stream = Stream::new(seed, SPLIT);
        let mut order: Vec<usize> = (0..weights.nnz()).collect();
        order.sort_unstable_by_key(|&at| match examples.times {
            // Entries of one moment are told apart at random, so that no user's are held back together for their place.
            Some(times) => (times[at], stream.bits(at as u64), at),
            None => (0, stream.bits(at as u64), at),
        });
        let mut held = vec![false; weights.nnz()];
        order
            .iter()
            .rev()
            .take(count)
            .for_each(|&at| held[at] = true);
        let (mut cells, mut pairs, mut times, mut at) = (vec![], vec![], vec![], 0);
        for user in 0..weights.rows() {
            let (items, values) = weights.row(user);
            for (&item, &value) in items.iter().zip(values) {
                if held[at] {
                    pairs.push((user as u32, item));
                } else {
                    cells.push((user as u32, item, value));
                    times.extend(examples.times.map(|times| times[at]));
                }
                at += 1;
            }
        }
        let train = Csr::from_triplets(weights.rows(), weights.cols(), &cells)
            .map_err(|e| Error::unexpected(e.to_string()))?;
        let test = Test::new(&train, &pairs)?;
        if test.users.is_empty() {
            return Err(Error::check(format!(
                "holding back {share} of {} interactions leaves no user to judge settings by",
                weights.nnz()
            ))
            .help("raise `validation` of the search, or wait for more interactions"));
        }
        Ok(Self {
            train,
            times: examples.times.map(|_| times),
            test,
        })
    }

    /// What settings are trained on.
    pub fn examples(&self) -> Examples<'_> {
        Examples {
            times: self.times.as_deref(),
            ..Examples::new(&self.train)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::csr;
    use crate::error::Kind;

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
        let held = HeldOut::new(&examples, 0.2, 7).unwrap();
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
            let held = HeldOut::new(&Examples::new(&weights), 0.25, seed).unwrap();
            held.test.relevant.clone()
        };
        assert_eq!(relevant(1), relevant(1));
        assert_ne!(relevant(1), relevant(2));
    }

    #[test]
    fn nothing_to_judge_by_is_an_error() {
        for cells in [&[][..], &[(0, 1, 1.0), (1, 2, 1.0)]] {
            let weights = Csr::from_triplets(2, 3, cells).unwrap();
            let error = HeldOut::new(&Examples::new(&weights), 0.5, 7).unwrap_err();
            assert_eq!(error.kind(), Kind::Check);
            assert!(
                error
                    .to_string()
                    .contains("leaves no user to judge settings by")
            );
        }
    }
}

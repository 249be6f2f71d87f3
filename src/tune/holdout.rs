//! Interactions held back from training, to tell settings apart.

use crate::error::{Error, Result};
use crate::evaluate::protocol::Test;
use crate::features::csr::Csr;
use crate::model::{Examples, held_out};

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
        let is_held = held_out::newest(examples, share, seed);
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
        if test.users.is_empty() {
            return Err(Error::check(format!(
                "holding back {share} of {} interactions leaves no user to judge settings by",
                weights.nnz()
            ))
            .help("raise `validation` of the search, or wait for more interactions"));
        }
        Ok(Self { train, times, test })
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

//! How sure a mean over users is: percentile bootstrap intervals, of one list of values or of the difference of two.
//!
//! Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: users are drawn with replacement, and the
//! interval holds the middle 95 % of the resampled figures. Two models are resampled by the same draws of the same users, so
//! what makes a user easy or hard for both cancels out of their difference.

use rayon::prelude::*;

use crate::random::{SplitMix64, scatter};

/// Seed with which models are judged: intervals are the same from run to run.
pub const SEED: u64 = 20_080_401;

/// A mean over users with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean over users that counted; 0 without any.
    pub mean: f64,
    /// Lower end of the 95 % percentile bootstrap interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Users that counted.
    pub users: usize,
}

impl Estimate {
    /// Of nobody.
    const NONE: Self = Self {
        mean: 0.0,
        low: 0.0,
        high: 0.0,
        users: 0,
    };

    fn of(mean: f64, mut resampled: Vec<f64>, users: usize) -> Self {
        resampled.sort_unstable_by(f64::total_cmp);
        Self {
            mean,
            low: resampled[RESAMPLES * 25 / 1000],
            high: resampled[RESAMPLES * 975 / 1000 - 1],
            users,
        }
    }

    /// Whether 0 lies outside of the interval.
    pub fn excludes_zero(&self) -> bool {
        self.users > 0 && (self.low > 0.0 || self.high < 0.0)
    }
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Values per user in columns, and the mean of each column over every resample.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    means: Vec<f64>,
    users: Vec<usize>,
    /// `[columns][RESAMPLES]`; empty without users.
    resampled: Vec<Vec<f64>>,
}

impl Resampled {
    /// Of `values` `[users, columns]`; a user without a value of a column has NaN there and does not count for it. The
    /// same seed and number of users give the same draws.
    pub fn new(values: &[f64], columns: usize, seed: u64) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let mean = |places: &mut dyn Iterator<Item = usize>| {
            let (mut sums, mut counts) = (vec![0.0; columns], vec![0usize; columns]);
            for place in places {
                let row = &values[place * columns..(place + 1) * columns];
                for ((sum, count), value) in sums.iter_mut().zip(&mut counts).zip(row) {
                    let there = !value.is_nan();
                    *sum += if there { *value } else { 0.0 };
                    *count += usize::from(there);
                }
            }
            let means = sums.iter().zip(&counts).map(|(s, &c)| s / c.max(1) as f64);
            (means.collect::<Vec<f64>>(), counts)
        };
        let (means, users) = mean(&mut (0..rows));
        let mut resampled = vec![Vec::new(); columns];
        if rows > 0 {
            let found: Vec<Vec<f64>> = (0..RESAMPLES as u64)
                .into_par_iter()
                .map(|resample| mean(&mut draws(rows, seed, resample)).0)
                .collect();
            for (column, values) in resampled.iter_mut().enumerate() {
                values.extend(found.iter().map(|means| means[column]));
            }
        }
        Self {
            means,
            users,
            resampled,
        }
    }

    /// The mean of a column.
    pub fn estimate(&self, column: usize) -> Estimate {
        match self.users[column] {
            0 => Estimate::NONE,
            users => Estimate::of(self.means[column], self.resampled[column].clone(), users),
        }
    }

    /// The mean of a column less that of another's, which has the same users and was made with the same seed.
    pub fn less(&self, other: &Self, column: usize) -> Estimate {
        match self.users[column].min(other.users[column]) {
            0 => Estimate::NONE,
            users => {
                let pairs = self.resampled[column].iter().zip(&other.resampled[column]);
                let resampled = pairs.map(|(a, b)| a - b).collect();
                Estimate::of(self.means[column] - other.means[column], resampled, users)
            }
        }
    }
}

/// Mean of `values` with its interval.
pub fn bootstrap(values: &[f64], seed: u64) -> Estimate {
    Resampled::new(values, 1, seed).estimate(0)
}

/// Any figure of `values` with its interval; `users` is then the number of values.
pub(super) fn bootstrap_of<T: Copy + Sync>(
    values: &[T],
    seed: u64,
    of: impl Fn(&[T]) -> f64 + Sync,
) -> Estimate {
    if values.is_empty() {
        return Estimate::NONE;
    }
    let resampled = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let places = draws(values.len(), seed, resample);
            of(&places.map(|at| values[at]).collect::<Vec<T>>())
        })
        .collect();
    Estimate::of(of(values), resampled, values.len())
}

/// As many places below `count`, with replacement.
fn draws(count: usize, seed: u64, resample: u64) -> impl Iterator<Item = usize> {
    let mut random = SplitMix64(scatter(seed ^ scatter(resample)));
    (0..count).map(move |_| {
        // Lemire's multiply-shift: uniform to within 2⁻³² for any number of users that fits memory.
        ((u128::from(random.draw()) * count as u128) >> 64) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_interval_is_that_of_the_normal_approximation_and_repeats() {
        let values: Vec<f64> = (0..2000).map(|i| f64::from(i % 4 == 0)).collect();
        let estimate = bootstrap(&values, 1);
        assert_eq!(estimate, bootstrap(&values, 1));
        assert_ne!(estimate, bootstrap(&values, 2));
        let half = 1.96 * (0.25f64 * 0.75 / 2000.0).sqrt();
        assert!(close(estimate.mean, 0.25));
        assert!(
            (estimate.low - (0.25 - half)).abs() < 0.2 * half,
            "{estimate:?}"
        );
        assert!(
            (estimate.high - (0.25 + half)).abs() < 0.2 * half,
            "{estimate:?}"
        );
    }

    #[test]
    fn a_paired_interval_is_that_of_the_differences_and_narrower_than_either_mean() {
        // Users differ much, the models little: 0.01 for every other user.
        let base: Vec<f64> = (0..400).map(|u| f64::from(u % 10) / 10.0).collect();
        let better: Vec<f64> = base
            .iter()
            .zip(0..)
            .map(|(v, u)| v + if u % 2 == 0 { 0.01 } else { 0.0 })
            .collect();
        let (a, b) = (Resampled::new(&better, 1, 7), Resampled::new(&base, 1, 7));
        let paired = a.less(&b, 0);
        assert!(paired.excludes_zero() && paired.low > 0.004 && paired.high < 0.006);
        let differences: Vec<f64> = better.iter().zip(&base).map(|(a, b)| a - b).collect();
        let direct = bootstrap(&differences, 7);
        assert!((paired.low - direct.low).abs() < 1e-12 && close(paired.mean, direct.mean));
        let backwards = b.less(&a, 0);
        assert!(close(backwards.mean, -paired.mean) && backwards.high < 0.0);
        // Alone, neither could be told from the other.
        assert!(a.estimate(0).low < b.estimate(0).high);
        assert!(!a.less(&a, 0).excludes_zero());
    }

    #[test]
    fn a_user_without_a_value_does_not_count_for_its_column() {
        let values = [1.0, 0.25, 3.0, f64::NAN, 2.0, 0.75];
        let resampled = Resampled::new(&values, 2, 7);
        let (first, second) = (resampled.estimate(0), resampled.estimate(1));
        assert!(close(first.mean, 2.0) && close(second.mean, 0.5));
        assert_eq!((first.users, second.users), (3, 2));
    }

    #[test]
    fn nobody_has_no_estimate_and_shows_no_difference() {
        let none = Resampled::new(&[], 2, 7);
        assert_eq!(none.estimate(1), Estimate::NONE);
        assert!(!none.less(&none, 0).excludes_zero());
        assert_eq!(Resampled::new(&[f64::NAN], 1, 7).estimate(0).users, 0);
    }
}

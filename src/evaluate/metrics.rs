//! Ranking metrics over full lists, with bootstrap intervals.
//!
//! A user counts when there is at least one relevant item; a list shorter than `k` counts as it is, the missing ranks as
//! misses. Relevance is binary. Definitions follow Järvelin and Kekäläinen, ACM TOIS 20(4), 2002 (DCG), Voorhees, TREC-8,
//! 1999 (reciprocal rank) and the protocol of LightGCN (He et al., SIGIR 2020) for recall and NDCG.

use crate::compute::TopK;
use crate::features::csr::Csr;

/// What is measured at a list length `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Hits in the first `k` / number of relevant items.
    Recall,
    /// Hits in the first `k` / `k`.
    Precision,
    /// `Σ 1/log2(rank + 1)` over hits in the first `k` / the same sum with all of the first `min(k, relevant)` ranks hit.
    Ndcg,
    /// 1 if there is a hit in the first `k`, else 0.
    HitRate,
    /// 1 / rank of the first hit in the first `k`, 0 without one.
    Mrr,
}

impl Metric {
    /// Every metric per user.
    pub const ALL: [Self; 5] = [
        Self::Recall,
        Self::Precision,
        Self::Ndcg,
        Self::HitRate,
        Self::Mrr,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::Ndcg => "ndcg",
            Self::HitRate => "hit_rate",
            Self::Mrr => "mrr",
        }
    }

    /// The value for one user: `list` best first, `relevant` ascending and not empty.
    fn of(self, list: &[u32], relevant: &[u32], k: usize) -> f64 {
        let list = &list[..list.len().min(k)];
        let hits = list
            .iter()
            .enumerate()
            .filter(|(_, item)| relevant.binary_search(item).is_ok())
            .map(|(rank, _)| rank);
        let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
        match self {
            Self::Recall => hits.count() as f64 / relevant.len() as f64,
            Self::Precision => hits.count() as f64 / k as f64,
            Self::Ndcg => {
                let ideal: f64 = (0..k.min(relevant.len())).map(gain).sum();
                hits.map(gain).sum::<f64>() / ideal
            }
            Self::HitRate => f64::from(u8::from({ hits }.next().is_some())),
            Self::Mrr => { hits }.next().map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
        }
    }
}

/// A mean over users with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean over users with relevant items; 0 without any.
    pub mean: f64,
    /// Lower end of the 95 % percentile bootstrap interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Users that counted.
    pub users: usize,
}

/// Values per user collected batch by batch, so that lists need not be kept.
#[derive(Debug, Clone)]
pub struct Evaluation {
    ks: Vec<usize>,
    /// `[ks × metrics][users]`.
    values: Vec<Vec<f64>>,
    /// `[ks][items]`: whether an item was in anyone's first `k`.
    shown: Vec<Vec<bool>>,
}

impl Evaluation {
    /// For lists over `items` items, measured at each of `ks` (zeros are left out).
    pub fn new(items: usize, ks: &[usize]) -> Self {
        let ks: Vec<usize> = ks.iter().copied().filter(|&k| k > 0).collect();
        Self {
            values: vec![Vec::new(); ks.len() * Metric::ALL.len()],
            shown: vec![vec![false; items]; ks.len()],
            ks,
        }
    }

    /// Adds the lists of users `first_user..`; `relevant` `[users, items]` holds what they turned out to want.
    pub fn add(&mut self, first_user: usize, lists: &TopK, relevant: &Csr) {
        for row in 0..lists.rows() {
            let (list, _) = lists.row(row);
            let (wanted, _) = relevant.row(first_user + row);
            if wanted.is_empty() {
                continue;
            }
            for (at, &k) in self.ks.iter().enumerate() {
                for &item in &list[..list.len().min(k)] {
                    self.shown[at][item as usize] = true;
                }
                for (m, metric) in Metric::ALL.into_iter().enumerate() {
                    let values = &mut self.values[at * Metric::ALL.len() + m];
                    values.push(metric.of(list, wanted, k));
                }
            }
        }
    }

    /// `(metric, k, estimate)` of every metric and length; the same seed gives the same intervals.
    pub fn estimates(&self, seed: u64) -> Vec<(Metric, usize, Estimate)> {
        let pairs = self
            .ks
            .iter()
            .flat_map(|&k| Metric::ALL.into_iter().map(move |metric| (metric, k)));
        pairs
            .zip(&self.values)
            .map(|((metric, k), values)| (metric, k, bootstrap(values, seed)))
            .collect()
    }

    /// `(k, share)`: items in the first `k` of at least one counted user / all items.
    pub fn coverage(&self) -> Vec<(usize, f64)> {
        let share = |shown: &Vec<bool>| {
            let count = shown.iter().filter(|&&shown| shown).count();
            count as f64 / shown.len().max(1) as f64
        };
        self.ks
            .iter()
            .copied()
            .zip(self.shown.iter().map(share))
            .collect()
    }

    /// The values per user of one metric, in the order in which users were added; for paired comparisons.
    pub fn values(&self, metric: Metric, k: usize) -> Option<&[f64]> {
        let at = self.ks.iter().position(|&known| known == k)?;
        let m = Metric::ALL.iter().position(|&known| known == metric)?;
        Some(&self.values[at * Metric::ALL.len() + m])
    }
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Mean and 95 % percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): users
/// are drawn with replacement, and the interval holds the middle 95 % of the resampled means.
pub fn bootstrap(values: &[f64], seed: u64) -> Estimate {
    let users = values.len();
    if users == 0 {
        return Estimate {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
            users,
        };
    }
    use rayon::prelude::*;
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let mut state = mix(seed ^ mix(resample));
            let mut sum = 0.0;
            for _ in 0..users {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                // Lemire's multiply-shift: uniform to within 2⁻³² for any number of users that fits memory.
                let at = (u128::from(mix(state)) * users as u128) >> 64;
                sum += values[at as usize];
            }
            sum / users as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Estimate {
        mean: values.iter().sum::<f64>() / users as f64,
        low: means[RESAMPLES * 25 / 1000],
        high: means[RESAMPLES * 975 / 1000 - 1],
        users,
    }
}

/// SplitMix64's output function.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn metrics_of_a_list_worked_out_by_hand() {
        // Hits at ranks 2 and 4 of five; three items are relevant.
        let (list, relevant) = ([9, 3, 7, 1, 8], [1, 3, 5]);
        let of = |metric: Metric, k| metric.of(&list, &relevant, k);
        assert!(close(of(Metric::Recall, 5), 2.0 / 3.0));
        assert!(close(of(Metric::Recall, 3), 1.0 / 3.0));
        assert!(close(of(Metric::Precision, 5), 2.0 / 5.0));
        assert!(close(of(Metric::Precision, 10), 2.0 / 10.0));
        assert!(close(of(Metric::HitRate, 1), 0.0));
        assert!(close(of(Metric::HitRate, 2), 1.0));
        assert!(close(of(Metric::Mrr, 5), 0.5));
        assert!(close(of(Metric::Mrr, 1), 0.0));
        let dcg = 1.0 / 3f64.log2() + 1.0 / 5f64.log2();
        let ideal = 1.0 + 1.0 / 3f64.log2() + 0.5;
        assert!(close(of(Metric::Ndcg, 5), dcg / ideal));
        let ideal_two = 1.0 + 1.0 / 3f64.log2();
        assert!(close(of(Metric::Ndcg, 2), (1.0 / 3f64.log2()) / ideal_two));
    }

    #[test]
    fn a_perfect_list_has_full_marks() {
        for metric in Metric::ALL {
            assert!(close(metric.of(&[4, 2], &[2, 4], 2), 1.0), "{metric:?}");
        }
    }

    fn lists(rows: &[&[u32]]) -> TopK {
        let mut lists = TopK::default();
        for row in rows {
            lists.push(row.iter().map(|&item| (item, 0.0)));
        }
        lists
    }

    #[test]
    fn only_users_with_relevant_items_count() {
        let relevant = Csr::from_triplets(4, 10, &[(1, 5, 1.0), (3, 6, 1.0)]).unwrap();
        let mut evaluation = Evaluation::new(10, &[2]);
        evaluation.add(0, &lists(&[&[1, 2], &[5, 3]]), &relevant);
        evaluation.add(2, &lists(&[&[7, 8], &[3, 4]]), &relevant);
        let estimates = evaluation.estimates(7);
        assert_eq!(estimates.len(), 5);
        let (metric, k, recall) = estimates[0];
        assert_eq!((metric, k, recall.users), (Metric::Recall, 2, 2));
        assert!(close(recall.mean, 0.5));
        assert_eq!(evaluation.values(Metric::Recall, 2).unwrap(), [1.0, 0.0]);
        // Items 3, 4 and 5 of ten were shown to users that count.
        assert_eq!(evaluation.coverage(), [(2, 0.3)]);
    }

    #[test]
    fn nobody_to_evaluate_is_zero_not_a_panic() {
        let evaluation = Evaluation::new(0, &[0, 10]);
        assert_eq!(evaluation.estimates(1)[0].2.users, 0);
        assert_eq!(evaluation.coverage(), [(10, 0.0)]);
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
}

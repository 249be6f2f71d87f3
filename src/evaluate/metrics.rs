//! Ranking metrics over full lists, with bootstrap intervals.
//!
//! A user counts when there is at least one relevant item; a list shorter than `k` counts as it is, the missing ranks as
//! misses. Relevance is binary. Definitions follow Järvelin and Kekäläinen, ACM TOIS 20(4), 2002 (DCG), Voorhees, TREC-8,
//! 1999 (reciprocal rank), Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8 (F1, average
//! precision), Vargas and Castells, RecSys 2011 (novelty), Fleder and Hosanagar, Management Science 55(5), 2009 (Gini), and
//! the protocol of LightGCN (He et al., SIGIR 2020) for recall and NDCG.

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
    /// `2 · precision · recall / (precision + recall)`, 0 without a hit.
    F1,
    /// `Σ precision@rank` over hits in the first `k` / `min(k, relevant)`.
    Map,
    /// Mean over the first `k` of the share of users who do not have the item; 0 for an empty list.
    Novelty,
}

impl Metric {
    /// Every metric per user.
    pub const ALL: [Self; 8] = [
        Self::Recall,
        Self::Precision,
        Self::Ndcg,
        Self::HitRate,
        Self::Mrr,
        Self::F1,
        Self::Map,
        Self::Novelty,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::Ndcg => "ndcg",
            Self::HitRate => "hit_rate",
            Self::Mrr => "mrr",
            Self::F1 => "f1",
            Self::Map => "map",
            Self::Novelty => "novelty",
        }
    }

    /// The value for one user: `list` best first, `relevant` ascending and not empty, `owned` `[items]` the share of users
    /// who have an item.
    fn of(self, list: &[u32], relevant: &[u32], k: usize, owned: &[f64]) -> f64 {
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
            // The harmonic mean of hits/k and hits/relevant.
            Self::F1 => 2.0 * hits.count() as f64 / (k + relevant.len()) as f64,
            Self::Map => {
                let precisions = hits
                    .enumerate()
                    .map(|(n, rank)| (n + 1) as f64 / (rank + 1) as f64);
                precisions.sum::<f64>() / k.min(relevant.len()) as f64
            }
            Self::Novelty => {
                let new = list.iter().map(|&item| 1.0 - owned[item as usize]);
                new.sum::<f64>() / list.len().max(1) as f64
            }
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
    /// `[ks][items]`: in how many lists' first `k` an item was.
    shown: Vec<Vec<u32>>,
    /// `[items]`: share of users who have an item.
    owned: Vec<f64>,
}

impl Evaluation {
    /// For lists over the columns of `known` `[users, items]`, what users had when the lists were made; measured at each
    /// of `ks` (zeros are left out).
    pub fn new(known: &Csr, ks: &[usize]) -> Self {
        let ks: Vec<usize> = ks.iter().copied().filter(|&k| k > 0).collect();
        let mut owned = vec![0.0; known.cols()];
        for &item in known.indices() {
            owned[item as usize] += 1.0 / known.rows() as f64;
        }
        Self {
            values: vec![Vec::new(); ks.len() * Metric::ALL.len()],
            shown: vec![vec![0; known.cols()]; ks.len()],
            ks,
            owned,
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
                    self.shown[at][item as usize] += 1;
                }
                for (m, metric) in Metric::ALL.into_iter().enumerate() {
                    let values = &mut self.values[at * Metric::ALL.len() + m];
                    values.push(metric.of(list, wanted, k, &self.owned));
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
        self.over_items(|shown| {
            let count = shown.iter().filter(|&&shown| shown > 0).count();
            count as f64 / shown.len().max(1) as f64
        })
    }

    /// `(k, Gini index)` of how often each of all items is in the first `k` of counted users: 0 when all are there alike,
    /// near 1 when a few are in every list.
    pub fn gini(&self) -> Vec<(usize, f64)> {
        self.over_items(|shown| {
            let mut ascending = shown.to_vec();
            ascending.sort_unstable();
            let (count, total) = (
                shown.len() as f64,
                ascending.iter().map(|&s| f64::from(s)).sum::<f64>(),
            );
            if total == 0.0 {
                return 0.0;
            }
            let ranked = ascending.iter().zip(1u32..);
            let weighed = ranked
                .map(|(&shown, rank)| (2.0 * f64::from(rank) - count - 1.0) * f64::from(shown));
            weighed.sum::<f64>() / (count * total)
        })
    }

    fn over_items(&self, of: impl Fn(&[u32]) -> f64) -> Vec<(usize, f64)> {
        let values = self.shown.iter().map(|shown| of(shown));
        self.ks.iter().copied().zip(values).collect()
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
    let resampled = |places: &mut dyn Iterator<Item = usize>| {
        places.map(|at| values[at]).sum::<f64>() / values.len() as f64
    };
    resample(values.len(), seed, resampled)
}

/// [`bootstrap`] of any figure of `values`, whose `users` are then the number of values.
pub(super) fn bootstrap_of<T: Copy + Sync>(
    values: &[T],
    seed: u64,
    of: impl Fn(&[T]) -> f64 + Sync,
) -> Estimate {
    let resampled = |places: &mut dyn Iterator<Item = usize>| {
        let drawn: Vec<T> = places.map(|at| values[at]).collect();
        of(&drawn)
    };
    resample(values.len(), seed, resampled)
}

fn resample(
    count: usize,
    seed: u64,
    of: impl Fn(&mut dyn Iterator<Item = usize>) -> f64 + Sync,
) -> Estimate {
    if count == 0 {
        return Estimate {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
            users: 0,
        };
    }
    use rayon::prelude::*;
    let mut found: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let mut state = mix(seed ^ mix(resample));
            let mut places = (0..count).map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                // Lemire's multiply-shift: uniform to within 2⁻³² for any number of users that fits memory.
                ((u128::from(mix(state)) * count as u128) >> 64) as usize
            });
            of(&mut places)
        })
        .collect();
    found.sort_unstable_by(f64::total_cmp);
    Estimate {
        mean: of(&mut (0..count)),
        low: found[RESAMPLES * 25 / 1000],
        high: found[RESAMPLES * 975 / 1000 - 1],
        users: count,
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
        let owned: Vec<f64> = (0..10).map(|item| f64::from(item) / 10.0).collect();
        let of = |metric: Metric, k| metric.of(&list, &relevant, k, &owned);
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
        // Precision 2/5, recall 2/3.
        assert!(close(of(Metric::F1, 5), 0.5));
        assert!(close(of(Metric::F1, 1), 0.0));
        assert!(close(of(Metric::Map, 5), (1.0 / 2.0 + 2.0 / 4.0) / 3.0));
        assert!(close(of(Metric::Map, 2), (1.0 / 2.0) / 2.0));
        assert!(close(of(Metric::Novelty, 2), 1.0 - (0.9 + 0.3) / 2.0));
        let ideal_two = 1.0 + 1.0 / 3f64.log2();
        assert!(close(of(Metric::Ndcg, 2), (1.0 / 3f64.log2()) / ideal_two));
    }

    #[test]
    fn a_perfect_list_has_full_marks() {
        for metric in Metric::ALL {
            assert!(
                close(metric.of(&[4, 2], &[2, 4], 2, &[0.0; 5]), 1.0),
                "{metric:?}"
            );
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
        let known = Csr::from_triplets(2, 10, &[(0, 3, 1.0), (1, 3, 1.0), (1, 5, 1.0)]).unwrap();
        let mut evaluation = Evaluation::new(&known, &[2]);
        evaluation.add(0, &lists(&[&[1, 2], &[5, 3]]), &relevant);
        evaluation.add(2, &lists(&[&[7, 8], &[3, 4]]), &relevant);
        let estimates = evaluation.estimates(7);
        assert_eq!(estimates.len(), 8);
        let (metric, k, recall) = estimates[0];
        assert_eq!((metric, k, recall.users), (Metric::Recall, 2, 2));
        assert!(close(recall.mean, 0.5));
        assert_eq!(evaluation.values(Metric::Recall, 2).unwrap(), [1.0, 0.0]);
        // Items 3, 4 and 5 of ten were shown to users that count.
        assert_eq!(evaluation.coverage(), [(2, 0.3)]);
        assert_eq!(evaluation.values(Metric::Novelty, 2).unwrap(), [0.25, 0.5]);
        // Shown 2, 1 and 1 times out of ten items: (2·10 − 11)·2 + (2·9 − 11) + (2·8 − 11) over 10 · 4.
        assert!(close(evaluation.gini()[0].1, 30.0 / 40.0));
    }

    #[test]
    fn the_gini_index_is_zero_for_even_lists_and_high_for_one_item() {
        let known = Csr::from_triplets(2, 4, &[]).unwrap();
        let relevant =
            Csr::from_triplets(4, 4, &[(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0)])
                .unwrap();
        let gini = |rows: &[&[u32]]| {
            let mut evaluation = Evaluation::new(&known, &[1]);
            evaluation.add(0, &lists(rows), &relevant);
            evaluation.gini()[0].1
        };
        assert!(close(gini(&[&[0], &[1], &[2], &[3]]), 0.0));
        assert!(close(gini(&[&[2], &[2], &[2], &[2]]), 0.75));
    }

    #[test]
    fn nobody_to_evaluate_is_zero_not_a_panic() {
        let evaluation = Evaluation::new(&Csr::from_triplets(0, 0, &[]).unwrap(), &[0, 10]);
        assert_eq!(evaluation.estimates(1)[0].2.users, 0);
        assert_eq!(evaluation.coverage(), [(10, 0.0)]);
        assert_eq!(evaluation.gini(), [(10, 0.0)]);
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

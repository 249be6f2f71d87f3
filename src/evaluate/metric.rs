//! What is measured of one user's ranked list.
//!
//! A list shorter than `k` counts as it is, the missing ranks as misses. Relevance is binary. Definitions follow Järvelin and
//! Kekäläinen, ACM TOIS 20(4), 2002 (DCG), Voorhees, TREC-8, 1999 (reciprocal rank), Manning, Raghavan and Schütze,
//! Introduction to Information Retrieval, 2008, chapter 8 (F1, average precision), Vargas and Castells, RecSys 2011
//! (novelty), Abdollahpouri et al., RMSE workshop at RecSys 2019 (popularity lift), Ziegler et al., WWW 2005 (intra-list
//! similarity), Fawcett, Pattern Recognition Letters 27(8), 2006 (area under the ROC curve), and the protocol of LightGCN
//! (He et al., SIGIR 2020) for recall and NDCG.

use crate::features::csr::Csr;

/// What is measured, at a list length `k` or of the whole ranking.
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
    /// Mean popularity (share of users who have the item) of the first `k` / that of the user's own history, less 1: 0
    /// when the list is as mainstream as the user, above when it is more so. An empty list has none.
    PopularityLift,
    /// 1 less the mean cosine of all pairs of the first `k`, between the sets of users who have each; a list of fewer than
    /// two items has none.
    Diversity,
    /// The chance that a relevant item is ranked before one that is not, over all items that the user does not have; ties
    /// count half.
    Auc,
}

impl Metric {
    /// Every metric per user.
    pub const ALL: [Self; 11] = [
        Self::Recall,
        Self::Precision,
        Self::Ndcg,
        Self::HitRate,
        Self::Mrr,
        Self::F1,
        Self::Map,
        Self::Novelty,
        Self::PopularityLift,
        Self::Diversity,
        Self::Auc,
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
            Self::PopularityLift => "popularity_lift",
            Self::Diversity => "diversity",
            Self::Auc => "auc",
        }
    }

    /// Whether it is measured at a list length; otherwise it is of the whole ranking.
    pub fn has_cutoff(self) -> bool {
        self != Self::Auc
    }

    /// Whether a higher value is what one wants of a model; of the others it depends.
    pub fn is_accuracy(self) -> bool {
        !matches!(self, Self::Novelty | Self::PopularityLift | Self::Diversity)
    }

    /// The value of a list, best first; NaN where there is none.
    pub(super) fn of(self, list: &[u32], user: &User<'_>, k: usize) -> f64 {
        let list = &list[..list.len().min(k)];
        let relevant = user.relevant;
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
                let new = list.iter().map(|&item| 1.0 - user.owned[item as usize]);
                new.sum::<f64>() / list.len().max(1) as f64
            }
            Self::PopularityLift => {
                let mean = |items: &[u32]| {
                    let owned = items.iter().map(|&item| user.owned[item as usize]);
                    owned.sum::<f64>() / items.len() as f64
                };
                if list.is_empty() || user.history.is_empty() {
                    return f64::NAN;
                }
                mean(list) / mean(user.history) - 1.0
            }
            // These are not worked out list by list and length by length.
            Self::Diversity | Self::Auc => f64::NAN,
        }
    }
}

/// What a list is judged by.
pub(super) struct User<'a> {
    /// Ascending and not empty.
    pub relevant: &'a [u32],
    /// What the user had, ascending.
    pub history: &'a [u32],
    /// `[items]`: share of users who have an item.
    pub owned: &'a [f64],
}

/// Pairwise similarity of items by the users who have them, prefix by prefix of a list.
pub(super) struct Similarity<'a> {
    /// `[items, users]`.
    holders: &'a Csr,
    /// `[users]`: the sum of the unit vectors of the items so far; zero between lists.
    sum: Vec<f64>,
}

impl<'a> Similarity<'a> {
    pub fn new(holders: &'a Csr) -> Self {
        Self {
            holders,
            sum: vec![0.0; holders.cols()],
        }
    }

    /// [`Metric::Diversity`] of the first `k` of `list`, for each of `ks`.
    pub fn diversity(&mut self, list: &[u32], ks: &[usize]) -> Vec<f64> {
        let unit = |items: &[u32]| 1.0 / (items.len() as f64).sqrt();
        let longest = ks.iter().copied().max().unwrap_or(0).min(list.len());
        // Cosines of each item with all before it, which is one product with the sum of their vectors.
        let mut pairs = vec![0.0; longest + 1];
        for (n, &item) in list[..longest].iter().enumerate() {
            let users = self.holders.row(item as usize).0;
            let unit = unit(users);
            let mut cosines = 0.0;
            for &user in users {
                let sum = &mut self.sum[user as usize];
                cosines += *sum * unit;
                *sum += unit;
            }
            pairs[n + 1] = pairs[n] + cosines;
        }
        for &item in &list[..longest] {
            for &user in self.holders.row(item as usize).0 {
                self.sum[user as usize] = 0.0;
            }
        }
        let of = |&k: &usize| match k.min(list.len()) {
            0 | 1 => f64::NAN,
            n => 1.0 - 2.0 * pairs[n] / (n * (n - 1)) as f64,
        };
        ks.iter().map(of).collect()
    }
}

/// [`Metric::Auc`] from the scores of all items. No candidates are those of `closed` and what the user `had`, where they are
/// not relevant; all three ascend. 0.5 when every candidate is relevant.
pub(super) fn auc(scores: &[f32], had: &[u32], relevant: &[u32], closed: &[u32]) -> f64 {
    let mut wanted: Vec<f32> = relevant.iter().map(|&i| scores[i as usize]).collect();
    wanted.sort_unstable_by(f32::total_cmp);
    let Some(&least) = wanted.first() else {
        return 0.5;
    };
    // Twice the relevant items that stand above a score, and once those beside it: whole numbers, added in any order.
    let wins = |score: f32| -> u64 {
        if score < least {
            return 2 * wanted.len() as u64;
        }
        let below = wanted.partition_point(|&w| w < score);
        let up_to = wanted.partition_point(|&w| w <= score);
        (2 * wanted.len() - below - up_to) as u64
    };
    let of = |items: &[u32]| items.iter().map(|&i| wins(scores[i as usize])).sum::<u64>();
    // Each item is taken out once.
    let less = |items: &[u32], others: &[u32]| -> Vec<u32> {
        let items = items.iter().copied();
        items
            .filter(|item| others.binary_search(item).is_err())
            .collect()
    };
    let had = less(had, relevant);
    let closed = less(&less(closed, relevant), &had);
    let others = scores.len() - had.len() - relevant.len() - closed.len();
    if others == 0 {
        return 0.5;
    }
    let all: u64 = scores.iter().map(|&score| wins(score)).sum();
    let wins = all - of(&had) - of(relevant) - of(&closed);
    wins as f64 / (2.0 * others as f64 * wanted.len() as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn metrics_of_a_list_worked_out_by_hand() {
        // Hits at ranks 2 and 4 of five; three items are relevant.
        let (list, relevant) = ([9, 3, 7, 1, 8], [1, 3, 5]);
        let owned: Vec<f64> = (0..10).map(|item| f64::from(item) / 10.0).collect();
        let user = User {
            relevant: &relevant,
            history: &[2, 4],
            owned: &owned,
        };
        let of = |metric: Metric, k| metric.of(&list, &user, k);
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
        // The list's first two are in 0.6 of the histories, the user's own two in 0.3.
        assert!(close(of(Metric::PopularityLift, 2), 1.0));
        assert!(Metric::PopularityLift.of(&[], &user, 2).is_nan());
    }

    #[test]
    fn a_perfect_list_has_full_marks() {
        let user = User {
            relevant: &[2, 4],
            history: &[1],
            owned: &[0.0; 5],
        };
        for metric in Metric::ALL.into_iter().filter(|m| m.is_accuracy()) {
            if metric.has_cutoff() {
                assert!(close(metric.of(&[4, 2], &user, 2), 1.0), "{metric:?}");
            }
        }
        assert_eq!(auc(&[0.1, 9.0, 0.8, 0.1, 0.7], &[1], &[2, 4], &[]), 1.0);
    }

    #[test]
    fn diversity_is_one_less_the_mean_cosine_of_pairs() {
        // Item 0: users 0, 1; item 1: users 1, 2; item 2: users 0, 1; item 3: nobody.
        let cells = [(0, 0), (1, 0), (1, 1), (2, 1), (0, 2), (1, 2)];
        let known = cells.map(|(user, item)| (user, item, 3.0));
        let holders = Csr::from_triplets(3, 4, &known).unwrap().transpose();
        let mut similarity = Similarity::new(&holders);
        let found = similarity.diversity(&[0, 1, 2], &[1, 2, 3, 9]);
        assert!(found[0].is_nan());
        // cos(0,1) = cos(1,2) = 1/2, cos(0,2) = 1.
        assert!(close(found[1], 0.5));
        assert!(close(found[2], 1.0 - 2.0 / 3.0) && close(found[3], found[2]));
        // Nothing is left over from the list before, and an item that nobody has is like no other.
        assert!(close(similarity.diversity(&[0, 1], &[2])[0], 0.5));
        assert!(close(similarity.diversity(&[0, 3], &[2])[0], 1.0));
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(
            scores in prop::collection::vec(0u8..6, 2..40),
            kinds in prop::collection::vec(0u8..4, 40),
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let of = |kind: u8| -> Vec<u32> {
                (0..scores.len() as u32).filter(|&i| kinds[i as usize] == kind).collect()
            };
            let (had, relevant, closed) = (of(0), of(1), of(3));
            prop_assume!(!relevant.is_empty());
            let (mut wins, mut pairs) = (0.0, 0.0);
            for &r in &relevant {
                for o in of(2) {
                    let (r, o) = (scores[r as usize], scores[o as usize]);
                    wins += if r > o { 1.0 } else if r == o { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            let wanted = if pairs == 0.0 { 0.5 } else { wins / pairs };
            let found = auc(&scores, &had, &relevant, &closed);
            prop_assert!(close(found, wanted), "{} {}", found, wanted);
        }
    }
}

//! Values per user of ranked lists, collected batch by batch and pooled over folds, so that lists need not be kept.

use std::collections::HashMap;

use rayon::prelude::*;

use super::bootstrap::{Estimate, Resampled};
use super::metric::{Metric, Similarity, User};
use crate::compute::TopK;
use crate::features::csr::Csr;
use crate::random::nth;

/// Users at most for whom diversity and the area under the ROC curve are worked out: both cost more than a list. They are the
/// same for every model.
const SAMPLE: usize = 2_000;
/// Lists that one thread judges at a time.
const CHUNK: usize = 64;

/// What the lists of some users are judged by: the users are the rows of `relevant`, and a user counts when there is at
/// least one relevant item.
#[derive(Debug)]
pub struct Judged<'a> {
    relevant: &'a Csr,
    known: &'a Csr,
    /// Row of `known` of each row of `relevant`; by default the same.
    users: Option<&'a [u32]>,
    /// `[items]`: share of users who have an item.
    owned: Vec<f64>,
    /// `[items, users]`, where diversity is measured.
    holders: Option<Csr>,
    /// Rows of `relevant` for whom what is costly is measured, ascending.
    sample: Vec<usize>,
}

impl<'a> Judged<'a> {
    /// `known` `[all users, items]` is what users had when the lists were made, `relevant` `[users, items]` what they
    /// turned out to want; row `i` of `relevant` belongs to row `users[i]` of `known`, or to row `i`.
    pub fn new(known: &'a Csr, relevant: &'a Csr, users: Option<&'a [u32]>) -> Self {
        let mut owned = vec![0.0; known.cols()];
        for &item in known.indices() {
            owned[item as usize] += 1.0 / known.rows() as f64;
        }
        Self {
            relevant,
            known,
            users,
            owned,
            holders: None,
            sample: vec![],
        }
    }

    /// The same with what [`Metric::Diversity`] and [`Metric::Auc`] need.
    pub fn in_full(mut self) -> Self {
        let counts = |row: &usize| !self.relevant.row(*row).0.is_empty();
        let mut rows: Vec<usize> = (0..self.relevant.rows()).filter(counts).collect();
        if rows.len() > SAMPLE {
            rows.sort_unstable_by_key(|&row| (nth(u64::from(self.user(row))), row));
            rows.truncate(SAMPLE);
            rows.sort_unstable();
        }
        self.sample = rows;
        self.holders = Some(self.known.transpose());
        self
    }

    /// Rows of `relevant` for whom what is costly is measured, ascending; none unless [`Judged::in_full`].
    pub fn sample(&self) -> &[usize] {
        &self.sample
    }

    fn user(&self, row: usize) -> u32 {
        self.users.map_or(row as u32, |users| users[row])
    }

    fn judge(&self, row: usize) -> User<'_> {
        User {
            relevant: self.relevant.row(row).0,
            history: self.known.row(self.user(row) as usize).0,
            owned: &self.owned,
        }
    }
}

/// Values per user. A user who is judged in several folds counts once, by the mean over them.
#[derive(Debug, Clone)]
pub struct Evaluation {
    ks: Vec<usize>,
    columns: Vec<(Metric, usize)>,
    /// Place of each user among the rows of `sums`.
    places: HashMap<u32, usize>,
    /// `[users, columns]`, over folds.
    sums: Vec<f64>,
    /// `[users, columns]`: folds.
    counts: Vec<u32>,
    /// `[ks][items]`: in how many lists' first `k` an item was.
    shown: Vec<Vec<u32>>,
}

impl Evaluation {
    /// Of some metrics at each of `ks` (zeros are left out), over lists of `items`. The whole ranking has `k` 0.
    pub fn new(metrics: &[Metric], ks: &[usize], items: usize) -> Self {
        let ks: Vec<usize> = ks.iter().copied().filter(|&k| k > 0).collect();
        let at = |k: usize, cutoff: bool| {
            let metrics = metrics.iter().filter(move |m| m.has_cutoff() == cutoff);
            metrics.map(move |&metric| (metric, k))
        };
        let mut columns: Vec<_> = ks.iter().flat_map(|&k| at(k, true)).collect();
        columns.extend(at(0, false));
        Self {
            shown: vec![vec![0; items]; ks.len()],
            ks,
            columns,
            places: HashMap::new(),
            sums: vec![],
            counts: vec![],
        }
    }

    /// Adds the lists of the rows `first_row..` of what they are judged by.
    pub fn add(&mut self, judged: &Judged<'_>, first_row: usize, lists: &TopK) {
        let wanted: Vec<usize> = (0..lists.rows())
            .filter(|row| !judged.relevant.row(first_row + row).0.is_empty())
            .collect();
        let found: Vec<Vec<f64>> = wanted
            .par_chunks(CHUNK)
            .flat_map_iter(|rows| {
                let mut similarity = judged.holders.as_ref().map(Similarity::new);
                let judge = |&row: &usize| {
                    let sampled = judged.sample.binary_search(&(first_row + row)).is_ok();
                    let similarity = similarity.as_mut().filter(|_| sampled);
                    self.values_of(lists.row(row).0, &judged.judge(first_row + row), similarity)
                };
                rows.iter().map(judge).collect::<Vec<_>>()
            })
            .collect();
        for (row, values) in wanted.into_iter().zip(found) {
            let list = lists.row(row).0;
            for (shown, &k) in self.shown.iter_mut().zip(&self.ks) {
                for &item in &list[..list.len().min(k)] {
                    shown[item as usize] += 1;
                }
            }
            let first = self.place(judged.user(first_row + row)) * self.columns.len();
            for (at, value) in (first..).zip(values).filter(|(_, v)| !v.is_nan()) {
                self.sums[at] += value;
                self.counts[at] += 1;
            }
        }
    }

    /// Adds the area under the ROC curve of a row whose list was added.
    pub fn add_auc(&mut self, judged: &Judged<'_>, row: usize, value: f64) {
        let Some(column) = self.column(Metric::Auc, 0) else {
            return;
        };
        let at = self.place(judged.user(row)) * self.columns.len() + column;
        self.sums[at] += value;
        self.counts[at] += 1;
    }

    fn values_of(
        &self,
        list: &[u32],
        user: &User<'_>,
        similarity: Option<&mut Similarity<'_>>,
    ) -> Vec<f64> {
        let diversity = similarity.map(|s| s.diversity(list, &self.ks));
        let of = |&(metric, k): &(Metric, usize)| match (metric, &diversity) {
            (Metric::Diversity, Some(values)) => {
                let at = self.ks.iter().position(|&known| known == k);
                at.map_or(f64::NAN, |at| values[at])
            }
            _ => metric.of(list, user, k),
        };
        self.columns.iter().map(of).collect()
    }

    fn place(&mut self, user: u32) -> usize {
        let next = self.places.len();
        let place = *self.places.entry(user).or_insert(next);
        let cells = (place + 1) * self.columns.len();
        if self.sums.len() < cells {
            self.sums.resize(cells, 0.0);
            self.counts.resize(cells, 0);
        }
        place
    }

    fn column(&self, metric: Metric, k: usize) -> Option<usize> {
        self.columns.iter().position(|&known| known == (metric, k))
    }

    /// Users that count.
    pub fn users(&self) -> usize {
        self.places.len()
    }

    /// Metrics and lengths, in the order of [`Evaluation::resampled`]'s columns.
    pub fn columns(&self) -> &[(Metric, usize)] {
        &self.columns
    }

    /// `[users, columns]`: every value, in the order in which users were added; NaN where a user has none.
    pub fn all_values(&self) -> Vec<f64> {
        let cells = self.sums.iter().zip(&self.counts);
        cells
            .map(|(sum, &count)| match count {
                0 => f64::NAN,
                count => sum / f64::from(count),
            })
            .collect()
    }

    /// The values per user of one metric, in the order in which users were added; NaN where a user has none.
    pub fn values(&self, metric: Metric, k: usize) -> Option<Vec<f64>> {
        let column = self.column(metric, k)?;
        let values = self.all_values();
        Some(
            values
                .into_iter()
                .skip(column)
                .step_by(self.columns.len())
                .collect(),
        )
    }

    /// Every metric and length over the same resamples of users; the same seed gives the same ones.
    pub fn resampled(&self, seed: u64) -> Resampled {
        Resampled::new(&self.all_values(), self.columns.len(), seed)
    }

    /// `(metric, k, estimate)` of every metric and length.
    pub fn estimates(&self, seed: u64) -> Vec<(Metric, usize, Estimate)> {
        let resampled = self.resampled(seed);
        let columns = self.columns.iter().enumerate();
        columns
            .map(|(at, &(metric, k))| (metric, k, resampled.estimate(at)))
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
    /// near 1 when a few are in every list (Fleder and Hosanagar, Management Science 55(5), 2009).
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
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
        let had = [(0, 3, 1.0), (1, 3, 1.0), (1, 5, 1.0)];
        let known = Csr::from_triplets(2, 10, &had).unwrap();
        let judged = Judged::new(&known, &relevant, Some(&[0, 1, 0, 0]));
        let mut evaluation = Evaluation::new(&Metric::ALL, &[2], 10);
        evaluation.add(&judged, 0, &lists(&[&[1, 2], &[5, 3]]));
        let other = Judged::new(&known, &relevant, Some(&[0, 0, 1, 0]));
        evaluation.add(&other, 2, &lists(&[&[7, 8], &[3, 4]]));
        let estimates = evaluation.estimates(7);
        assert_eq!(estimates.len(), 11);
        let (metric, k, recall) = estimates[0];
        assert_eq!((metric, k, recall.users), (Metric::Recall, 2, 2));
        assert!(close(recall.mean, 0.5));
        assert_eq!(evaluation.values(Metric::Recall, 2).unwrap(), [1.0, 0.0]);
        // Items 3, 4 and 5 of ten were shown to users that count.
        assert_eq!(evaluation.coverage(), [(2, 0.3)]);
        assert_eq!(evaluation.values(Metric::Novelty, 2).unwrap(), [0.25, 0.5]);
        // Shown 2, 1 and 1 times out of ten items: (2·10 − 11)·2 + (2·9 − 11) + (2·8 − 11) over 10 · 4.
        assert!(close(evaluation.gini()[0].1, 30.0 / 40.0));
        // What is costly was not asked for.
        assert!(estimates[9..].iter().all(|(_, _, e)| e.users == 0));
    }

    #[test]
    fn a_user_of_two_folds_counts_once_by_the_mean() {
        let relevant = Csr::from_triplets(2, 4, &[(0, 1, 1.0), (1, 2, 1.0)]).unwrap();
        let known = Csr::from_triplets(3, 4, &[(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0)]).unwrap();
        let mut evaluation = Evaluation::new(&[Metric::Recall], &[1], 4);
        let fold = Judged::new(&known, &relevant, Some(&[0, 2]));
        evaluation.add(&fold, 0, &lists(&[&[1], &[3]]));
        let fold = Judged::new(&known, &relevant, Some(&[2, 1]));
        evaluation.add(&fold, 0, &lists(&[&[1], &[2]]));
        assert_eq!(evaluation.users(), 3);
        assert_eq!(
            evaluation.values(Metric::Recall, 1).unwrap(),
            [1.0, 0.5, 1.0]
        );
    }

    #[test]
    fn what_is_costly_is_measured_for_a_sample_of_users_that_does_not_change() {
        let count = SAMPLE as u32 + 500;
        let cells: Vec<_> = (0..count).map(|user| (user, user % 3, 1.0)).collect();
        let relevant = Csr::from_triplets(count as usize, 4, &cells).unwrap();
        let known: Vec<_> = (0..count).map(|user| (user, 3, 1.0)).collect();
        let known = Csr::from_triplets(count as usize, 4, &known).unwrap();
        let judged = Judged::new(&known, &relevant, None).in_full();
        assert_eq!(judged.sample().len(), SAMPLE);
        let again = Judged::new(&known, &relevant, None).in_full();
        assert_eq!(judged.sample(), again.sample());
        let mut evaluation = Evaluation::new(&Metric::ALL, &[2], 4);
        let mut all = TopK::default();
        (0..count).for_each(|_| all.push([(0, 0.0), (3, 0.0)]));
        evaluation.add(&judged, 0, &all);
        let of = |metric| {
            let values = evaluation.values(metric, 2).unwrap();
            values.into_iter().filter(|v| !v.is_nan()).count()
        };
        assert_eq!(of(Metric::Diversity), SAMPLE);
        assert_eq!(of(Metric::Recall), count as usize);
    }

    #[test]
    fn the_gini_index_is_zero_for_even_lists_and_high_for_one_item() {
        let known = Csr::from_triplets(4, 4, &[]).unwrap();
        let relevant =
            Csr::from_triplets(4, 4, &[(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0)])
                .unwrap();
        let gini = |rows: &[&[u32]]| {
            let mut evaluation = Evaluation::new(&Metric::ALL, &[1], 4);
            evaluation.add(&Judged::new(&known, &relevant, None), 0, &lists(rows));
            evaluation.gini()[0].1
        };
        assert!(close(gini(&[&[0], &[1], &[2], &[3]]), 0.0));
        assert!(close(gini(&[&[2], &[2], &[2], &[2]]), 0.75));
    }

    #[test]
    fn nobody_to_evaluate_is_zero_not_a_panic() {
        let evaluation = Evaluation::new(&Metric::ALL, &[0, 10], 0);
        assert_eq!(evaluation.estimates(1)[0].2.users, 0);
        assert_eq!(evaluation.coverage(), [(10, 0.0)]);
        assert_eq!(evaluation.gini(), [(10, 0.0)]);
    }
}

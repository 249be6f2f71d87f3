//! Lists from items that go with the user's own: `score(u, i) = Σ_j w_uj · weights[j, i]`, on the processor.
//!
//! Roofline: 8 bytes per neighbour of each item of a history: bound by memory; no score of an item without a neighbour in
//! the history is ever touched.

use super::topk::Filters;
use crate::compute::{ComputeError, TopK};
use crate::features::csr::Csr;
use crate::model::Neighbours;
use rayon::prelude::*;

/// The best items with a score above 0, of each of `users` (rows of `history`), whose exclusions start at row `first`.
/// Order (score descending, item ascending); a list ends where scores do.
pub(super) fn top_k(
    neighbours: &Neighbours,
    history: &Csr,
    users: &[u32],
    first: usize,
    filters: &Filters<'_>,
) -> Result<TopK, ComputeError> {
    let items = neighbours.weights.cols();
    if history.cols() != items || filters.available.is_some_and(|mask| mask.len() != items) {
        return Err(ComputeError::Shape(format!(
            "histories or the availability mask do not fit {items} items"
        )));
    }
    let lists: Vec<Vec<(u32, f32)>> = users
        .par_iter()
        .enumerate()
        .map_init(
            || (vec![0f32; items], vec![]),
            |(scores, touched), (at, &user)| {
                add_up(neighbours, history.row(user as usize), scores, touched);
                let excluded = filters.exclude.map_or(&[][..], |csr| csr.row(first + at).0);
                let least = filters.min_score.unwrap_or(f32::MIN_POSITIVE);
                let mut list: Vec<(u32, f32)> = touched
                    .iter()
                    .map(|&item| (item, scores[item as usize]))
                    .filter(|&(_, score)| score > 0.0 && score >= least)
                    .filter(|&(item, _)| filters.available.is_none_or(|mask| mask[item as usize]))
                    .filter(|(item, _)| excluded.binary_search(item).is_err())
                    .collect();
                for item in touched.drain(..) {
                    scores[item as usize] = 0.0;
                }
                let better =
                    |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
                if filters.k > 0 && list.len() > filters.k {
                    list.select_nth_unstable_by(filters.k - 1, better);
                }
                list.truncate(filters.k);
                list.sort_unstable_by(better);
                list
            },
        )
        .collect();
    let mut found = TopK::default();
    lists.into_iter().for_each(|list| found.push(list));
    Ok(found)
}

/// Adds what each item of a history says to `scores` `[items]`, and notes in `touched` which have one, each at least
/// once.
pub(crate) fn add_up(
    neighbours: &Neighbours,
    (items, weights): (&[u32], &[f32]),
    scores: &mut [f32],
    touched: &mut Vec<u32>,
) {
    for (&had, &weight) in items.iter().zip(weights) {
        let count = neighbours.count(weight);
        let (others, values) = neighbours.weights.row(had as usize);
        for (&other, &value) in others.iter().zip(values) {
            let score = &mut scores[other as usize];
            // Exactly 0 is untouched; a sum that comes back to it may be noted twice and is taken once below.
            if *score == 0.0 {
                touched.push(other);
            }
            *score += count * value;
        }
    }
    touched.sort_unstable();
    touched.dedup();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::csr;

    #[test]
    fn lists_are_those_of_brute_force() {
        let (history, weights) = (csr(25, 40, 6, 1), csr(40, 40, 7, 2));
        let available: Vec<bool> = (0..40).map(|item| item % 7 != 3).collect();
        let neighbours = Neighbours {
            weights,
            weight_power: 0.5,
        };
        let filters = Filters {
            exclude: Some(&history),
            available: Some(&available),
            min_score: Some(0.2),
            k: 4,
        };
        let users: Vec<u32> = (5..25).collect();
        let exclude = history.slice_rows(3..25);
        let filters_of_batch = Filters {
            exclude: Some(&exclude),
            ..filters
        };
        let found = top_k(&neighbours, &history, &users, 2, &filters_of_batch).unwrap();
        for (row, &user) in users.iter().enumerate() {
            let (had, values) = history.row(user as usize);
            let mut expected: Vec<(u32, f32)> = (0..40u32)
                .filter(|item| available[*item as usize] && !had.contains(item))
                .map(|item| {
                    let score = had.iter().zip(values).fold(0.0, |sum, (&h, &w)| {
                        let (others, said) = neighbours.weights.row(h as usize);
                        let at = others.binary_search(&item);
                        sum + at.map_or(0.0, |at| w.powf(0.5) * said[at])
                    });
                    (item, score)
                })
                .filter(|&(_, score)| score >= 0.2)
                .collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            expected.truncate(4);
            let (items, scores) = found.row(row);
            let found: Vec<_> = items.iter().copied().zip(scores.iter().copied()).collect();
            assert_eq!(found, expected, "user {user}");
        }
        assert!(found.items().len() > 20);
    }
}

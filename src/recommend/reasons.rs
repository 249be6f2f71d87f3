//! Which items of a user's history speak most for a recommendation.

use crate::compute::TopK;
use crate::features::csr::Csr;
use crate::model::Contributions;
use rayon::prelude::*;

/// The reasons of one recommendation: items of the history with their shares of all that speaks for it, greatest first.
pub type Because = Vec<(u32, f32)>;

/// At most `most` reasons of each entry of `lists`, list after list; `history` holds the users' rows from `first` on. What
/// adds nothing to the score, or takes from it, is no reason.
pub fn reasons(
    of: &dyn Contributions,
    history: &Csr,
    first: usize,
    lists: &TopK,
    most: usize,
) -> Vec<Because> {
    let per_user: Vec<Vec<Because>> = (0..lists.rows())
        .into_par_iter()
        .map(|row| {
            let (had, weights) = history.row(first + row);
            let items = lists.row(row).0;
            if had.is_empty() || items.is_empty() {
                return vec![vec![]; items.len()];
            }
            let parts = of.of((had, weights), items);
            let each = parts.chunks_exact(had.len());
            each.map(|parts| greatest(had, parts, most)).collect()
        })
        .collect();
    per_user.into_iter().flatten().collect()
}

/// The `most` greatest of `parts` above 0, equal ones by item.
fn greatest(had: &[u32], parts: &[f32], most: usize) -> Because {
    let positive = || had.iter().zip(parts).filter(|(_, part)| **part > 0.0);
    let total: f64 = positive().map(|(_, &part)| f64::from(part)).sum();
    let mut found: Because = positive().map(|(&item, &part)| (item, part)).collect();
    found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    found.truncate(most);
    for (_, part) in &mut found {
        *part = (f64::from(*part) / total) as f32;
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// An item adds its number times the weight, less the other's number.
    struct Numbers;

    impl Contributions for Numbers {
        fn of(&self, (had, weights): (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
            let each = items.iter().flat_map(|&item| {
                let parts = had.iter().zip(weights);
                parts.map(move |(&h, &w)| h as f32 * w - item as f32)
            });
            each.collect()
        }
    }

    #[test]
    fn the_greatest_come_first_with_their_shares_of_what_speaks_for_it() {
        let cells = [(1, 2, 1.0), (1, 3, 2.0), (1, 5, 1.0), (2, 4, 1.0)];
        let history = Csr::from_triplets(3, 6, &cells).unwrap();
        let mut lists = TopK::default();
        lists.push([(1, 0.9), (3, 0.8)]);
        lists.push([]);
        let found = reasons(&Numbers, &history, 1, &lists, 2);
        // 2 − 1, 6 − 1 and 5 − 1; then 2 − 3, 6 − 3 and 5 − 3.
        assert_eq!(found, [vec![(3, 0.5), (5, 0.4)], vec![(3, 0.6), (5, 0.4)]]);
        // A user without a history has none.
        assert_eq!(reasons(&Numbers, &history, 0, &lists, 2)[0], []);
        // What does not speak for it is no reason.
        let mut high = TopK::default();
        high.push([(9, 0.1)]);
        assert_eq!(reasons(&Numbers, &history, 2, &high, 2), [vec![]]);
    }
}

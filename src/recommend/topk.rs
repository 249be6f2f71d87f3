//! Top-k lists under filters: items had already, items not for sale, a least score.

use crate::compute::{ComputeError, Device, Matrix, MatrixView, Query, TopK};
use crate::features::csr::Csr;
use crate::model::popular::Popular;

/// What may enter a list, and how long it may get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filters<'a> {
    /// `[users, items]`: items that a user must not get, such as those had already. Values do not matter.
    pub exclude: Option<&'a Csr>,
    /// `[items]`: false for items that nobody must get.
    pub available: Option<&'a [bool]>,
    /// Scores below it are left out.
    pub min_score: Option<f32>,
    /// Length of a list at most.
    pub k: usize,
}

/// Users of a batch: their lists are held in memory together.
pub const BATCH: usize = 16_384;

/// Ranks all `items` `[items, dim]` for all `users` `[users, dim]` by inner product, order (score descending, item
/// ascending), and gives the lists to `sink(first_user, lists)` in batches of [`BATCH`], users ascending.
/// A user without a vector (all zeros) gets an empty list: see [`without_vector`] and [`popular_k`].
/// It ends with the first error, of the device or of the sink.
pub fn top_k<E: From<ComputeError>>(
    device: &dyn Device,
    users: &Matrix,
    items: &Matrix,
    filters: &Filters<'_>,
    mut sink: impl FnMut(usize, TopK) -> Result<(), E>,
) -> Result<(), E> {
    check_exclusions(filters, users.rows(), items.rows())?;
    let scorer = device.scorer(items.view(), filters.available)?;
    for first_user in (0..users.rows()).step_by(BATCH) {
        let batch: MatrixView<'_> =
            users.rows_view(first_user..users.rows().min(first_user + BATCH));
        let lists = scorer.top_k(&Query {
            users: batch,
            exclude: filters.exclude,
            first_user,
            min_score: filters.min_score,
            k: filters.k,
        })?;
        let lists = if without_vector(batch).is_empty() {
            lists
        } else {
            // All scores are 0: the order would be that of the items' numbers.
            let mut kept = TopK::default();
            for row in 0..lists.rows() {
                let (items, scores) = lists.row(row);
                let length = if batch.is_zero(row) { 0 } else { items.len() };
                kept.push(
                    items
                        .iter()
                        .copied()
                        .zip(scores.iter().copied())
                        .take(length),
                );
            }
            kept
        };
        sink(first_user, lists)?;
    }
    Ok(())
}

/// Users whose vector is all zeros: those whom training saw without interactions.
pub fn without_vector(users: MatrixView<'_>) -> Vec<u32> {
    (0..users.rows() as u32)
        .filter(|&user| users.is_zero(user as usize))
        .collect()
}

/// The most popular items for each of some users (rows of `filters.exclude`) under the same filters, order (score
/// descending, item ascending): for users without a vector. What nobody took up is not popular. List `i` belongs to `users[i]`.
pub fn popular_k(
    popular: &Popular,
    users: &[u32],
    filters: &Filters<'_>,
) -> Result<TopK, ComputeError> {
    let items = popular.scores().len();
    let last = users.iter().max().map_or(0, |&user| user as usize + 1);
    check_exclusions(filters, last, items)?;
    if let Some(mask) = filters.available
        && mask.len() != items
    {
        return Err(ComputeError::Shape(format!(
            "the availability mask has {} entries for {items} items",
            mask.len()
        )));
    }
    let mut lists = TopK::default();
    for &user in users {
        let excluded = filters
            .exclude
            .map_or(&[][..], |csr| csr.row(user as usize).0);
        let list = popular
            .order()
            .iter()
            .map(|&item| (item, popular.scores()[item as usize]))
            .take_while(|&(_, score)| {
                score > 0.0 && filters.min_score.is_none_or(|least| score >= least)
            })
            .filter(|&(item, _)| filters.available.is_none_or(|mask| mask[item as usize]))
            .filter(|(item, _)| excluded.binary_search(item).is_err())
            .take(filters.k);
        lists.push(list);
    }
    Ok(lists)
}

pub(super) fn check_exclusions(
    filters: &Filters<'_>,
    users: usize,
    items: usize,
) -> Result<(), ComputeError> {
    match filters.exclude {
        Some(exclude) if exclude.cols() != items || exclude.rows() < users => {
            Err(ComputeError::Shape(format!(
                "exclusions are [{}, {}] for {users} users and {items} items",
                exclude.rows(),
                exclude.cols()
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::{csr, matrix};

    #[test]
    fn batches_cover_all_users_in_order_with_their_own_exclusions() {
        let users = matrix(BATCH + 100, 3, 1);
        let items = matrix(40, 3, 2);
        let exclude = csr(BATCH + 100, 40, 10, 3);
        let filters = Filters {
            exclude: Some(&exclude),
            k: 5,
            ..Filters::default()
        };
        let mut next = 0;
        top_k(
            &CpuDevice::new(),
            &users,
            &items,
            &filters,
            |first, lists| {
                assert_eq!(first, next);
                for row in 0..lists.rows() {
                    let (ids, _) = lists.row(row);
                    assert_eq!(ids.len(), 5);
                    let excluded = exclude.row(first + row).0;
                    assert!(ids.iter().all(|id| !excluded.contains(id)));
                }
                next += lists.rows();
                Ok::<_, ComputeError>(())
            },
        )
        .unwrap();
        assert_eq!(next, BATCH + 100);
    }

    #[test]
    fn users_without_a_vector_get_empty_lists_and_are_named() {
        let mut users = matrix(5, 3, 1);
        users.data_mut()[3..6].fill(0.0);
        users.data_mut()[12..15].fill(0.0);
        let filters = Filters {
            k: 2,
            ..Filters::default()
        };
        assert_eq!(without_vector(users.view()), [1, 4]);
        top_k(
            &CpuDevice::new(),
            &users,
            &matrix(9, 3, 2),
            &filters,
            |_, lists| {
                let lengths: Vec<_> = (0..5).map(|row| lists.row(row).0.len()).collect();
                assert_eq!(lengths, [2, 0, 2, 2, 0]);
                Ok::<_, ComputeError>(())
            },
        )
        .unwrap();
    }

    #[test]
    fn an_error_of_the_sink_ends_the_work() {
        let mut calls = 0;
        let filters = Filters {
            k: 1,
            ..Filters::default()
        };
        let (users, items) = (matrix(3 * BATCH, 1, 1), matrix(2, 1, 2));
        let result = top_k(&CpuDevice::new(), &users, &items, &filters, |_, _| {
            calls += 1;
            Err(ComputeError::Shape("full".to_owned()))
        });
        assert_eq!(result.unwrap_err().to_string(), "full");
        assert_eq!(calls, 1);
    }

    #[test]
    fn popular_lists_obey_the_same_filters() {
        let popular = Popular::new(vec![1.0, 5.0, 3.0, 5.0, 0.5]);
        let exclude = Csr::from_triplets(2, 5, &[(1, 1, 1.0), (1, 3, 1.0)]).unwrap();
        let filters = Filters {
            exclude: Some(&exclude),
            available: Some(&[true, true, false, true, true]),
            min_score: Some(1.0),
            k: 2,
        };
        let lists = popular_k(&popular, &[0, 1, 0], &filters).unwrap();
        assert_eq!(lists.row(0), (&[1, 3][..], &[5.0, 5.0][..]));
        assert_eq!(lists.row(1), (&[0][..], &[1.0][..]));
        assert_eq!(lists.row(2), lists.row(0));
    }

    #[test]
    fn exclusions_of_another_shape_are_refused() {
        let exclude = csr(5, 9, 2, 1);
        let filters = Filters {
            exclude: Some(&exclude),
            k: 2,
            ..Filters::default()
        };
        let sink = |_, _| Ok::<_, ComputeError>(());
        let device = CpuDevice::new();
        assert!(top_k(&device, &matrix(5, 2, 1), &matrix(8, 2, 1), &filters, sink).is_err());
        assert!(top_k(&device, &matrix(6, 2, 1), &matrix(9, 2, 1), &filters, sink).is_err());
        assert!(popular_k(&Popular::new(vec![0.0; 9]), &[5], &filters).is_err());
        assert!(popular_k(&Popular::new(vec![0.0; 9]), &[4], &filters).is_ok());
    }
}

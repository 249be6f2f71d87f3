//! Lists from any fitted model.

use super::neighbours;
use super::topk::{BATCH, Filters, check_exclusions, popular_k, top_k, without_vector};
use crate::compute::{ComputeError, Device, Matrix, TopK};
use crate::features::csr::Csr;
use crate::model::Fitted;

/// Ranks all items for `users`, rows of `history` `[all users, items]`, and gives the lists to `sink(first, lists)` in
/// batches of [`BATCH`]: list `i` of a batch is that of `users[first + i]`. Row `i` of `filters.exclude` belongs to
/// `users[i]`. A user of whom the model knows nothing ([`Fitted::knows`]) gets an empty list.
///
/// # Errors
/// The first of the device or of the sink.
pub fn rank<E: From<ComputeError>>(
    device: &dyn Device,
    fitted: &Fitted,
    history: &Csr,
    users: &[u32],
    filters: &Filters<'_>,
    mut sink: impl FnMut(usize, TopK) -> Result<(), E>,
) -> Result<(), E> {
    match fitted {
        Fitted::Factors(factors) => {
            let all = users.len() == factors.users.rows() && users.is_sorted();
            let chosen;
            let vectors = if all {
                &factors.users
            } else {
                chosen = factors
                    .users
                    .gathered(users.iter().map(|&user| user as usize));
                &chosen
            };
            let available = with_vector(&factors.items, filters.available);
            let filters = Filters {
                available: available.as_deref().or(filters.available),
                ..*filters
            };
            top_k(device, vectors, &factors.items, &filters, sink)
        }
        Fitted::Neighbours(neighbours) => {
            check_exclusions(filters, users.len(), history.cols())?;
            for (n, some) in users.chunks(BATCH).enumerate() {
                let first = n * BATCH;
                let lists = neighbours::top_k(neighbours, history, some, first, filters)?;
                sink(first, lists)?;
            }
            Ok(())
        }
        Fitted::Popular(popular) => {
            // min_score is on the scale of a personal score.
            let filters = Filters {
                min_score: None,
                ..*filters
            };
            let places: Vec<u32> = (0..).take(users.len()).collect();
            for some in places.chunks(BATCH) {
                sink(some[0] as usize, popular_k(popular, some, &filters)?)?;
            }
            Ok(())
        }
    }
}

/// Which items may be recommended, where some have no vector: their score of 0 would stand above those below 0.
fn with_vector(items: &Matrix, available: Option<&[bool]>) -> Option<Vec<bool>> {
    let without = without_vector(items.view());
    if without.is_empty() {
        return None;
    }
    let mut mask = available.map_or_else(|| vec![true; items.rows()], <[bool]>::to_vec);
    for item in without {
        if let Some(entry) = mask.get_mut(item as usize) {
            *entry = false;
        }
    }
    Some(mask)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::{csr, matrix};
    use crate::model::popular::Popular;
    use crate::model::{Factors, Neighbours};

    #[test]
    fn an_item_without_a_vector_is_in_no_list() {
        let mut items = matrix(4, 2, 1);
        items
            .data_mut()
            .copy_from_slice(&[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, -2.0, 0.0]);
        let fitted = Fitted::Factors(Factors {
            users: Matrix::new(1, 2, vec![1.0, 0.0]).unwrap(),
            items,
        });
        let filters = Filters {
            available: Some(&[true, true, true, false]),
            k: 4,
            ..Filters::default()
        };
        let history = csr(1, 4, 1, 1);
        rank::<ComputeError>(
            &CpuDevice::new(),
            &fitted,
            &history,
            &[0],
            &filters,
            |_, lists| {
                assert_eq!(lists.items(), [2, 0]);
                Ok(())
            },
        )
        .unwrap();
    }

    #[test]
    fn some_users_get_the_lists_they_get_among_all() {
        let history = csr(30, 20, 4, 1);
        let factors = Factors {
            users: matrix(30, 3, 1),
            items: matrix(20, 3, 2),
        };
        let neighbours = Neighbours {
            weights: csr(20, 20, 5, 3),
            weight_power: 1.0,
        };
        for fitted in [
            Fitted::Factors(factors),
            Fitted::Neighbours(neighbours),
            Fitted::Popular(Popular::train(&history)),
        ] {
            let lists = |users: &[u32]| {
                let mut found = vec![];
                let had: Vec<_> = users.iter().zip(0..).collect();
                let cells: Vec<(u32, u32, f32)> = had
                    .iter()
                    .flat_map(|&(&user, at)| {
                        let items = history.row(user as usize).0.iter();
                        items.map(move |&item| (at, item, 1.0))
                    })
                    .collect();
                let exclude = Csr::from_triplets(users.len(), 20, &cells).unwrap();
                let filters = Filters {
                    exclude: Some(&exclude),
                    k: 5,
                    ..Filters::default()
                };
                let device = CpuDevice::new();
                rank::<ComputeError>(&device, &fitted, &history, users, &filters, |_, lists| {
                    for row in 0..lists.rows() {
                        let (items, scores) = lists.row(row);
                        found.push((items.to_vec(), scores.to_vec()));
                    }
                    Ok(())
                })
                .unwrap();
                found
            };
            let all: Vec<u32> = (0..30).collect();
            let (of_all, of_some) = (lists(&all), lists(&[17, 4, 29]));
            assert!(of_all.iter().any(|list| !list.0.is_empty()));
            for (list, user) in of_some.iter().zip([17, 4, 29]) {
                assert_eq!(*list, of_all[user], "{}", fitted.reason());
            }
        }
    }
}

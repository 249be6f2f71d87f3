//! Fewer rows: users and items with few interactions get no vector, and a file holds only rows that have one.

use super::super::{Factors, ModelError};
use crate::compute::Matrix;
use crate::features::csr::Csr;

/// Clears the vectors of users with fewer than `least` items and of items with fewer than `least` users in `weights`
/// `[users, items]`.
///
/// # Errors
/// [`ModelError::Interactions`] where no user or no item is left.
pub fn prune(factors: &mut Factors, weights: &Csr, least: usize) -> Result<(), ModelError> {
    let mut of_items = vec![0usize; weights.cols()];
    let mut of_users = Vec::with_capacity(weights.rows());
    for user in 0..weights.rows() {
        let (items, _) = weights.row(user);
        of_users.push(items.len());
        items.iter().for_each(|&item| of_items[item as usize] += 1);
    }
    for (table, counts, what) in [
        (&mut factors.users, of_users, "user"),
        (&mut factors.items, of_items, "item"),
    ] {
        let dim = table.cols().max(1);
        for (row, &count) in table.data_mut().chunks_exact_mut(dim).zip(&counts) {
            if count < least {
                row.fill(0.0);
            }
        }
        if !with_vector(table).contains(&true) {
            let most = counts.iter().max().copied().unwrap_or(0);
            return Err(ModelError::Interactions(format!(
                "`min_interactions = {least}` leaves no {what}: the one with the most interactions has {most}"
            )));
        }
    }
    Ok(())
}

/// `[rows]`: which rows have a vector, one that is not all zeros.
pub fn with_vector(table: &Matrix) -> Vec<bool> {
    (0..table.rows()).map(|row| !table.is_zero(row)).collect()
}

/// The rows that have a vector, with their ids.
pub fn gather(ids: &[String], table: &Matrix) -> (Vec<String>, Matrix) {
    let rows = with_vector(table).into_iter().enumerate();
    let kept: Vec<usize> = rows.filter_map(|(row, has)| has.then_some(row)).collect();
    let ids = kept.iter().map(|&row| ids[row].clone()).collect();
    (ids, table.gathered(kept))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;
    use crate::features::ids::places;

    fn ids(names: &str) -> Vec<String> {
        names.chars().map(String::from).collect()
    }

    #[test]
    fn rows_with_few_interactions_lose_their_vector_and_the_others_keep_it() {
        let weights = Csr::from_triplets(
            3,
            3,
            &[
                (0, 0, 1.0),
                (0, 1, 1.0),
                (1, 0, 1.0),
                (2, 0, 1.0),
                (2, 1, 1.0),
                (2, 2, 1.0),
            ],
        )
        .unwrap();
        let whole = Factors {
            users: matrix(3, 2, 1),
            items: matrix(3, 2, 2),
        };
        let mut pruned = whole.clone();
        prune(&mut pruned, &weights, 2).unwrap();
        assert_eq!(with_vector(&pruned.users), [true, false, true]);
        assert_eq!(with_vector(&pruned.items), [true, true, false]);
        assert_eq!(pruned.users.row(2), whole.users.row(2));
        assert_eq!(pruned.items.row(1), whole.items.row(1));
    }

    #[test]
    fn to_leave_nothing_is_an_error_that_says_how_much_there_is() {
        let weights = Csr::from_triplets(2, 2, &[(0, 0, 1.0), (1, 0, 1.0)]).unwrap();
        let mut factors = Factors {
            users: matrix(2, 2, 1),
            items: matrix(2, 2, 2),
        };
        let error = prune(&mut factors, &weights, 2).unwrap_err().to_string();
        assert_eq!(
            error,
            "`min_interactions = 2` leaves no user: the one with the most interactions has 1"
        );
        let weights = Csr::from_triplets(1, 2, &[(0, 0, 1.0), (0, 1, 1.0)]).unwrap();
        let mut factors = Factors {
            users: matrix(1, 2, 1),
            items: matrix(2, 2, 2),
        };
        let error = prune(&mut factors, &weights, 2).unwrap_err().to_string();
        assert!(error.contains("leaves no item"), "{error}");
    }

    #[test]
    fn what_was_gathered_goes_back_to_its_place() {
        let mut table = matrix(4, 3, 1);
        table.data_mut()[3..6].fill(0.0);
        let (kept, rows) = gather(&ids("abcd"), &table);
        assert_eq!((kept.as_slice(), rows.rows()), (ids("acd").as_slice(), 3));
        let again = rows.placed(&places(&kept, &ids("abcd")), 4);
        assert_eq!(again, table);
    }
}

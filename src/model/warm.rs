//! A warm start: yesterday's factors on today's users and items.

use super::file::ModelFile;
use super::{Factors, Fitted, ModelError};
use crate::compute::Matrix;
use crate::features::csr::Csr;
use crate::features::ids::places;

/// Passes of a warm start, of the `full` ones that training from nothing takes.
pub fn passes(full: usize) -> usize {
    full.div_ceil(3)
}

/// Share of today's interactions between a user and an item with former factors, below which they say too little of today.
const LEAST_KNOWN: f64 = 0.5;

/// The factors of `previous` on the rows `users` and `items` (ascending) of `weights`, zero for those that it does not know;
/// `None` where it is of another kind, or knows less than half of today's interactions.
///
/// # Errors
/// [`ModelError::WarmStart`] where it has other dimensions than `dim`, or is of another family.
pub fn align(
    previous: &ModelFile,
    family: &str,
    dim: Option<usize>,
    (users, items): (&[String], &[String]),
    weights: &Csr,
) -> Result<Option<Factors>, ModelError> {
    let said = |key: &str| previous.metadata.get(key).cloned().unwrap_or_default();
    let refuse = |reason: String| {
        Err(ModelError::WarmStart {
            version: said("model_version"),
            reason,
        })
    };
    if said("family") != family {
        return refuse(format!(
            "it is of the family {}, and today's is {family}",
            said("family")
        ));
    }
    let Fitted::Factors(factors) = &previous.fitted else {
        return Ok(None);
    };
    if let Some(dim) = dim.filter(|&dim| dim != factors.items.cols()) {
        return refuse(format!(
            "it has {} dimensions, and today's has {dim}",
            factors.items.cols()
        ));
    }
    let placed =
        |table: &Matrix, had: &[String], now: &[String]| table.placed(&places(had, now), now.len());
    let aligned = Factors {
        users: placed(&factors.users, &previous.user_ids, users),
        items: placed(&factors.items, &previous.item_ids, items),
    };
    let known_items: Vec<bool> = (0..items.len())
        .map(|item| !aligned.items.is_zero(item))
        .collect();
    let known = (0..users.len())
        .filter(|&user| !aligned.users.is_zero(user))
        .flat_map(|user| weights.row(user).0)
        .filter(|&&item| known_items[item as usize])
        .count();
    let enough = known as f64 >= LEAST_KNOWN * weights.nnz() as f64;
    Ok(enough.then_some(aligned))
}

/// Puts the rows of `former` that are not zero in place of those of `table`.
///
/// # Errors
/// Tables of other shapes.
pub(super) fn lay_over(former: &Matrix, table: &mut Matrix) -> Result<(), ModelError> {
    let shape = [former.rows(), former.cols()];
    if shape != [table.rows(), table.cols()] {
        return Err(ModelError::Interactions(format!(
            "a warm start from {shape:?} factors for {:?}",
            [table.rows(), table.cols()]
        )));
    }
    let dim = table.cols().max(1);
    for (at, row) in table.data_mut().chunks_exact_mut(dim).enumerate() {
        if !former.is_zero(at) {
            row.copy_from_slice(former.row(at));
        }
    }
    Ok(())
}

/// Mean cosine between the item vectors of a version and those that it started from, over items with both: near 1 when the
/// space stayed as it was, so that vectors of the two versions can be compared. `None` without such items.
pub fn agreement(before: &Matrix, after: &Matrix) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for row in 0..before.rows().min(after.rows()) {
        let pairs = || {
            let (x, y) = (before.row(row).iter(), after.row(row).iter());
            x.zip(y).map(|(&x, &y)| (f64::from(x), f64::from(y)))
        };
        let product: f64 = pairs().map(|(x, y)| x * y).sum();
        let squares = pairs().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x * x, sum.1 + y * y));
        if squares.0 > 0.0 && squares.1 > 0.0 {
            sum += product / (squares.0 * squares.1).sqrt();
            count += 1;
        }
    }
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;
    use crate::model::compress::Numbers;
    use std::collections::BTreeMap;

    fn ids(of: &[&str]) -> Vec<String> {
        of.iter().map(|id| (*id).to_string()).collect()
    }

    fn previous() -> ModelFile {
        let metadata = [("family", "als"), ("model_version", "2026-01-31")];
        ModelFile {
            numbers: Numbers::F32,
            fitted: Fitted::Factors(Factors {
                users: matrix(3, 2, 1),
                items: matrix(3, 2, 2),
            }),
            user_ids: ids(&["a", "c", "e"]),
            item_ids: ids(&["k", "l", "n"]),
            content_items: vec![],
            metadata: metadata
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .into(),
        }
    }

    #[test]
    fn rows_go_to_their_ids_and_new_ones_have_nothing() {
        let weights =
            Csr::from_triplets(3, 3, &[(0, 1, 1.0), (1, 0, 1.0), (2, 2, 1.0), (2, 1, 1.0)]);
        let today = (ids(&["a", "b", "e"]), ids(&["l", "m", "n"]));
        let found = align(
            &previous(),
            "als",
            Some(2),
            (&today.0, &today.1),
            &weights.unwrap(),
        );
        // Of four interactions (a, m), (b, l), (e, n) and (e, m) one is known: too few.
        assert_eq!(found.unwrap(), None);
        let weights = Csr::from_triplets(3, 3, &[(0, 0, 1.0), (1, 0, 1.0)]).unwrap();
        let found = align(&previous(), "als", Some(2), (&today.0, &today.1), &weights);
        let found = found.unwrap().unwrap();
        assert_eq!(found.users.row(0), matrix(3, 2, 1).row(0));
        assert_eq!(found.users.row(1), [0.0, 0.0]);
        assert_eq!(found.users.row(2), matrix(3, 2, 1).row(2));
        assert_eq!(found.items.row(0), matrix(3, 2, 2).row(1));
        assert_eq!(found.items.row(1), [0.0, 0.0]);
    }

    #[test]
    fn another_family_or_dimension_is_refused_with_the_remedy() {
        let weights = Csr::from_triplets(1, 1, &[(0, 0, 1.0)]).unwrap();
        let today = (ids(&["a"]), ids(&["k"]));
        let refused = |previous: &ModelFile, family, dim| {
            let found = align(previous, family, Some(dim), (&today.0, &today.1), &weights);
            found.unwrap_err().to_string()
        };
        let error = refused(&previous(), "als", 64);
        assert!(
            error.contains("version 2026-01-31")
                && error.contains("2 dimensions, and today's has 64"),
            "{error}"
        );
        assert!(error.contains("warm_start = false"), "{error}");
        assert!(refused(&previous(), "softmax", 2).contains("family als"));
        let nameless = ModelFile {
            metadata: BTreeMap::new(),
            ..previous()
        };
        assert!(align(&nameless, "als", None, (&today.0, &today.1), &weights).is_err());
    }

    #[test]
    fn agreement_is_one_for_a_table_and_its_multiple() {
        let table = matrix(5, 3, 1);
        let mut other = table.clone();
        other.data_mut().iter_mut().for_each(|v| *v *= 2.0);
        other.data_mut()[..3].fill(0.0);
        assert!((agreement(&table, &other).unwrap() - 1.0).abs() < 1e-9);
        other.data_mut().iter_mut().for_each(|v| *v = -*v);
        assert!((agreement(&table, &other).unwrap() + 1.0).abs() < 1e-9);
        assert_eq!(agreement(&table, &Matrix::zeros(5, 3)), None);
    }
}

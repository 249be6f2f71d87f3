//! What a fold-in holds of an earlier version.

use super::Factors;
use crate::compute::Matrix;
use crate::features::csr::Csr;

/// Vectors of an earlier version on the users and items of today, and which of the items' were learnt.
#[derive(Debug, Clone)]
pub struct Held<'a> {
    factors: &'a Factors,
    /// `[items]`.
    learnt: Vec<bool>,
}

impl<'a> Held<'a> {
    /// Holds the items of `factors` that have a vector and that `learnt` accepts.
    pub fn new(factors: &'a Factors, learnt: impl Fn(usize) -> bool) -> Self {
        let items = &factors.items;
        let learnt = (0..items.rows()).map(|item| !items.is_zero(item) && learnt(item));
        Self {
            factors,
            learnt: learnt.collect(),
        }
    }

    /// Whether the vector of an item stands.
    pub fn holds(&self, item: usize) -> bool {
        self.learnt[item]
    }

    /// `[items]`: the items whose vectors stand.
    pub fn mask(&self) -> &[bool] {
        &self.learnt
    }

    /// `[items, dim]`: the vectors that stand; the others are zero.
    pub fn items(&self) -> Matrix {
        let mut items = self.factors.items.clone();
        for item in (0..items.rows()).filter(|&item| !self.holds(item)) {
            items.row_mut(item).fill(0.0);
        }
        items
    }

    /// Where a search for the others may begin: the former vectors, and for a user or an item without one the mean of the
    /// former vectors of what it has to do with. Zero where it has to do with nothing known.
    pub fn start(&self, interactions: &Csr) -> Factors {
        let former = self.factors;
        Factors {
            users: with_means(&former.users, interactions, &former.items),
            items: with_means(&former.items, &interactions.transpose(), &former.users),
        }
    }
}

/// `table` with the mean of the rows of `others` that its entries name in place of each row that is zero.
fn with_means(table: &Matrix, entries: &Csr, others: &Matrix) -> Matrix {
    let mut filled = table.clone();
    for row in (0..table.rows()).filter(|&row| table.is_zero(row)) {
        let named = entries.row(row).0.iter().map(|&other| other as usize);
        let known: Vec<usize> = named.filter(|&other| !others.is_zero(other)).collect();
        for &other in &known {
            let pairs = filled.row_mut(row).iter_mut().zip(others.row(other));
            pairs.for_each(|(sum, value)| *sum += value / known.len() as f32);
        }
    }
    filled
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_stands_and_the_rest_begins_with_means() {
        let factors = Factors {
            users: Matrix::new(3, 2, vec![1.0, 2.0, 0.0, 0.0, 3.0, 4.0]).unwrap(),
            items: Matrix::new(4, 2, vec![2.0, 0.0, 4.0, 2.0, 0.0, 0.0, 8.0, 8.0]).unwrap(),
        };
        let held = Held::new(&factors, |item| item != 3);
        assert_eq!(held.mask(), [true, true, false, false]);
        assert!(held.holds(0) && !held.holds(3));
        let items = held.items();
        assert_eq!(items.row(1), [4.0, 2.0]);
        assert!(items.is_zero(3));
        // User 1 is new and has items 0, 1 and the new item 2, which users 0 and 1 have.
        let cells = [(0, 2, 1.0), (1, 0, 1.0), (1, 1, 1.0), (1, 2, 1.0)];
        let interactions = Csr::from_triplets(3, 4, &cells).unwrap();
        let start = held.start(&interactions);
        assert_eq!(start.users.data(), [1.0, 2.0, 3.0, 1.0, 3.0, 4.0]);
        assert_eq!(start.items.row(2), [1.0, 2.0]);
        assert_eq!(start.items.row(3), [8.0, 8.0]);
        let nothing = Csr::from_triplets(3, 4, &[]).unwrap();
        assert!(held.start(&nothing).users.is_zero(1));
    }
}

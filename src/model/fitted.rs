//! What training gives: something that ranks items.

use super::ModelError;
use super::popular::Popular;
use crate::compute::Matrix;
use crate::features::csr::Csr;

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitted {
    /// A vector for each user and item.
    Factors(Factors),
    /// What each item of a user's history says for others.
    Neighbours(Neighbours),
    /// The same order for everyone.
    Popular(Popular),
}

/// Vectors of users and items: `score = users[u] · items[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// `[users, dim]`; zero for a user without interactions.
    pub users: Matrix,
    /// `[items, dim]`; zero for an item without interactions.
    pub items: Matrix,
}

/// Items by the items that go with them: `score(u, i) = Σ_j w_uj · weights[j, i]` over the history of `u`.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// `[items, items]`: what having the row's item says for the column's.
    pub weights: Csr,
    /// A user's weight of an item counts to this power; 0 counts all alike.
    pub weight_power: f32,
}

impl Neighbours {
    /// What an interaction's weight counts for.
    pub fn count(&self, weight: f32) -> f32 {
        if self.weight_power == 0.0 {
            1.0
        } else {
            weight.powf(self.weight_power)
        }
    }
}

impl Fitted {
    /// Why it recommends what it does, as the table `recommendations` says it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Factors(_) => "factors",
            Self::Neighbours(_) => "neighbours",
            Self::Popular(_) => "popular",
        }
    }

    /// Whether it can rank for the user whose row of `history` `[users, items]` this is.
    pub fn knows(&self, user: usize, history: &Csr) -> bool {
        match self {
            Self::Factors(factors) => !factors.users.is_zero(user),
            Self::Neighbours(neighbours) => {
                let mut had = history.row(user).0.iter();
                had.any(|&item| !neighbours.weights.row(item as usize).0.is_empty())
            }
            Self::Popular(_) => true,
        }
    }
}

/// Euclidean length.
pub(super) fn length(row: &[f32]) -> f64 {
    let squares = row.iter().map(|&v| f64::from(v).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Scales a row to length 1, where it has any.
pub(super) fn to_unit_length(row: &mut [f32]) {
    let length = length(row);
    if length > 0.0 {
        row.iter_mut()
            .for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
}

/// Names the first row that is not finite.
///
/// # Errors
/// [`ModelError::Diverged`] with the remedy.
pub(super) fn check_finite(table: &Matrix, remedy: &'static str) -> Result<(), ModelError> {
    match table.data().iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(ModelError::Diverged {
            row: at / table.cols(),
            remedy,
        }),
    }
}

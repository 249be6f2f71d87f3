//! What training gives: something that ranks items.

use super::ModelError;
use super::popular::Popular;
use crate::compute::Matrix;

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitted {
    /// A list of one's own for each user.
    Factors(Factors),
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

impl Fitted {
    /// As a model file holds it: popularity is one column of the items, without users.
    ///
    /// # Errors
    /// None that can happen.
    pub fn into_factors(self) -> Result<Factors, ModelError> {
        match self {
            Self::Factors(factors) => Ok(factors),
            Self::Popular(popular) => {
                let scores = popular.scores().to_vec();
                Ok(Factors {
                    users: Matrix::zeros(0, 1),
                    items: Matrix::new(scores.len(), 1, scores)?,
                })
            }
        }
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

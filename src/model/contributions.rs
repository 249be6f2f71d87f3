//! Why an item scores as it does: what each item of the user's history adds to it.

use super::normal::Normal;
use super::{Fitted, Neighbours};
use crate::compute::Matrix;

/// What each item of a history adds to the score of others. Below 0 it speaks against them.
pub trait Contributions: Sync {
    /// `[items, history]`, row after row, of one user: a history's items (ascending) with their weights, and the items that
    /// were recommended.
    fn of(&self, history: (&[u32], &[f32]), items: &[u32]) -> Vec<f32>;
}

/// What speaks for items of a fitted model where the family has no closed form: see [`Alike`] and [`Stated`].
pub(super) fn of_fitted(fitted: &Fitted) -> Option<Box<dyn Contributions + '_>> {
    match fitted {
        Fitted::Factors(factors) => Some(Box::new(Alike(&factors.items))),
        Fitted::Neighbours(neighbours) => Some(Box::new(Stated(neighbours))),
        Fitted::Popular(_) => None,
    }
}

/// The inner product of the two items' vectors, where the user's own vector is no function of the history.
struct Alike<'a>(&'a Matrix);

impl Contributions for Alike<'_> {
    fn of(&self, (had, _): (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let mut found = Vec::with_capacity(items.len() * had.len());
        for &item in items {
            let wanted = self.0.row(item as usize);
            for &other in had {
                found.push(dot(wanted, self.0.row(other as usize)));
            }
        }
        found
    }
}

/// `w_uj · b_ji`, whose sum is the score.
struct Stated<'a>(&'a Neighbours);

impl Contributions for Stated<'_> {
    fn of(&self, (had, weights): (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let mut found = Vec::with_capacity(items.len() * had.len());
        for &item in items {
            for (&other, &weight) in had.iter().zip(weights) {
                let (others, values) = self.0.weights.row(other as usize);
                let at = others.binary_search(&item);
                found.push(at.map_or(0.0, |at| self.0.count(weight) * values[at]));
            }
        }
        found
    }
}

/// `c_uj · y_iᵀ (YᵀY + λI + Σ_j (c_uj − 1) y_j y_jᵀ)⁻¹ y_j`, whose sum is the score of the user's exact solution (Hu,
/// Koren, Volinsky, ICDM 2008, section 5).
pub(super) struct Solved<'a>(pub Normal<'a>);

impl Contributions for Solved<'_> {
    fn of(&self, (had, weights): (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let Some(system) = self.0.factorised((had, weights)) else {
            return vec![0.0; items.len() * had.len()];
        };
        // c_j · A⁻¹ y_j of each item of the history; then an inner product per recommendation.
        let solved: Vec<Vec<f32>> = had
            .iter()
            .zip(weights)
            .map(|(&other, &weight)| {
                let mut y = self.0.vector(other);
                system.solve(&mut y);
                let confidence = self.0.confidence(weight);
                y.into_iter().map(|x| (confidence * x) as f32).collect()
            })
            .collect();
        let mut found = Vec::with_capacity(items.len() * had.len());
        for &item in items {
            let wanted = self.0.row(item);
            found.extend(solved.iter().map(|solved| dot(wanted, solved)));
        }
        found
    }
}

/// What each feature of a row adds to the score of items, where its vector is made of its features.
pub(super) struct Described<'a> {
    /// `[features, dim]`.
    pub embeddings: Matrix,
    /// `[items, dim]`.
    pub items: &'a Matrix,
}

impl Contributions for Described<'_> {
    fn of(&self, (features, values): (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let mut found = Vec::with_capacity(items.len() * features.len());
        for &item in items {
            let wanted = self.items.row(item as usize);
            let parts = features.iter().zip(values);
            found.extend(parts.map(|(&feature, &value)| {
                value * dot(wanted, self.embeddings.row(feature as usize))
            }));
        }
        found
    }
}

/// An inner product in eight sums, which the compiler keeps in vector registers.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (x, x_rest) = x.as_chunks::<8>();
    let (y, y_rest) = y.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in x.iter().zip(y) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::{csr, exact_als, matrix};
    use crate::compute::{AlsSolve, CpuDevice};
    use crate::features::csr::Csr;
    use crate::model::Factors;

    const USERS: usize = 12;
    const ITEMS: usize = 20;

    /// Σ over a history is the score that `score(user, item)` gives.
    fn adds_up(of: &dyn Contributions, history: &Csr, score: impl Fn(usize, usize) -> f64) {
        let items: Vec<u32> = (0..ITEMS as u32).collect();
        for user in (0..USERS).filter(|&user| !history.row(user).0.is_empty()) {
            let found = of.of(history.row(user), &items);
            let each = history.row(user).0.len();
            for (item, parts) in found.chunks_exact(each).enumerate() {
                let sum: f64 = parts.iter().map(|&p| f64::from(p)).sum();
                let wanted = score(user, item);
                assert!(
                    (sum - wanted).abs() < 1e-4,
                    "{user}, {item}: {sum} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn those_of_als_add_up_to_the_score_of_the_exact_solution() {
        let (history, lambda, alpha) = (csr(USERS, ITEMS, 4, 1), 0.3, 5.0);
        let factors = Factors {
            users: matrix(USERS, 6, 1),
            items: matrix(ITEMS, 6, 2),
        };
        let solve = AlsSolve {
            alpha,
            lambda,
            steps: 1,
        };
        let exact = exact_als(&factors.items, &history, solve);
        let items = &factors.items;
        let normal = Normal::new(&CpuDevice::new(), items, alpha, lambda).unwrap();
        adds_up(&Solved(normal), &history, |user, item| {
            let y = factors.items.row(item).iter().map(|&y| f64::from(y));
            exact[user].iter().zip(y).map(|(x, y)| x * y).sum()
        });
    }

    #[test]
    fn those_of_neighbours_add_up_to_the_score() {
        let history = csr(USERS, ITEMS, 4, 1);
        let fitted = Fitted::Neighbours(Neighbours {
            weights: csr(ITEMS, ITEMS, 5, 2),
            weight_power: 0.5,
        });
        let Fitted::Neighbours(neighbours) = &fitted else {
            unreachable!()
        };
        adds_up(&*of_fitted(&fitted).unwrap(), &history, |user, item| {
            let (had, weights) = history.row(user);
            let said = |had: u32| {
                let (others, values) = neighbours.weights.row(had as usize);
                let at = others.iter().position(|&o| o as usize == item);
                at.map_or(0.0, |at| f64::from(values[at]))
            };
            let parts = had.iter().zip(weights);
            parts.map(|(&j, &w)| f64::from(w).sqrt() * said(j)).sum()
        });
    }
}

//! Fewer dimensions: both tables are turned so that the first dimensions hold most of the scores, and the rest is cut off.
//!
//! The scores of all users and items, `U Vᵀ`, have a singular value decomposition; cut after `r` values it is the matrix of
//! rank `r` nearest to them in the sum of squares (Eckart and Young, Psychometrika 1(3), 1936). It is found from the two
//! `[dim, dim]` Gram matrices alone: with `G = UᵀU`, `H = VᵀV` and `H½ G H½ = P Σ² Pᵀ`,
//!
//! ```text
//! U Vᵀ = (U H½ P Σ^-½) (V H^-½ P Σ^½)ᵀ
//! ```
//!
//! where the columns of both factors are orthogonal and those of one dimension have the same length √σ in both.

use super::super::{Factors, ModelError};
use crate::compute::Matrix;
use rayon::prelude::*;

/// Singular values below this share of the largest are rounding.
const NOTHING: f64 = 1e-6;

/// The best `keep` dimensions of `factors`, most important first.
///
/// # Errors
/// None that can happen.
pub fn prune(factors: &Factors, keep: usize) -> Result<Factors, ModelError> {
    let dim = factors.users.cols();
    let (square, root, inverse) = {
        let items = Eigen::of(gram(&factors.items), dim);
        let least = items.values.first().copied().unwrap_or(0.0) * NOTHING * NOTHING;
        let power = |p: f64| items.map(|v| if v > least { v.powf(p) } else { 0.0 });
        let (root, inverse) = (power(0.5), power(-0.5));
        let users = gram(&factors.users);
        (
            product(&product(&root, &users, dim), &root, dim),
            root,
            inverse,
        )
    };
    let shared = Eigen::of(square, dim);
    let least = shared.values.first().copied().unwrap_or(0.0) * NOTHING * NOTHING;
    // Σ is the root of the values, so Σ^½ their fourth root.
    let turn = |from: &[f64], power: f64| -> Vec<f64> {
        let mut turn = product(from, &shared.vectors, dim);
        for row in turn.chunks_exact_mut(dim) {
            for (x, &value) in row.iter_mut().zip(&shared.values) {
                *x *= if value > least {
                    value.powf(power)
                } else {
                    0.0
                };
            }
        }
        turn
    };
    let (users, items) = (turn(&root, -0.25), turn(&inverse, 0.25));
    Ok(Factors {
        users: apply(&factors.users, &users, keep)?,
        items: apply(&factors.items, &items, keep)?,
    })
}

/// `table · turn`, the first `keep` columns.
fn apply(table: &Matrix, turn: &[f64], keep: usize) -> Result<Matrix, ModelError> {
    let dim = table.cols();
    let mut out = Matrix::zeros(table.rows(), keep);
    out.data_mut()
        .par_chunks_mut(keep)
        .enumerate()
        .with_min_len(256)
        .for_each(|(row, out)| {
            let mut sums = vec![0.0f64; keep];
            for (&x, turn) in table.row(row).iter().zip(turn.chunks_exact(dim)) {
                for (sum, t) in sums.iter_mut().zip(turn) {
                    *sum += f64::from(x) * t;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                #[allow(clippy::cast_possible_truncation)] // rounded to what tables hold
                let rounded = sum as f32;
                *out = rounded;
            }
        });
    Ok(out)
}

/// `TᵀT`, `[dim, dim]`, in 64 bits: blocks of rows of one size are added up in their order.
fn gram(table: &Matrix) -> Vec<f64> {
    const BLOCK: usize = 4096;
    let dim = table.cols();
    let blocks: Vec<Vec<f64>> = table
        .data()
        .par_chunks((BLOCK * dim).max(1))
        .map(|rows| {
            let mut sum = vec![0.0; dim * dim];
            for row in rows.chunks_exact(dim) {
                for (&x, sums) in row.iter().zip(sum.chunks_exact_mut(dim)) {
                    for (&y, sum) in row.iter().zip(sums) {
                        *sum += f64::from(x) * f64::from(y);
                    }
                }
            }
            sum
        })
        .collect();
    let mut total = vec![0.0; dim * dim];
    for block in blocks {
        for (total, part) in total.iter_mut().zip(block) {
            *total += part;
        }
    }
    total
}

/// `a · b`, all `[dim, dim]`.
fn product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let mut out = vec![0.0; dim * dim];
    out.par_chunks_mut(dim.max(1))
        .zip(a.par_chunks(dim.max(1)))
        .for_each(|(out, a)| {
            for (&x, b) in a.iter().zip(b.chunks_exact(dim)) {
                for (out, &y) in out.iter_mut().zip(b) {
                    *out += x * y;
                }
            }
        });
    out
}

/// Eigenvalues of a symmetric matrix, largest first, and their vectors as columns.
struct Eigen {
    values: Vec<f64>,
    /// `[dim, dim]`; the entry of a column that is largest in size is positive.
    vectors: Vec<f64>,
}

impl Eigen {
    /// By Jacobi's rotations, row by row (Golub and Van Loan, *Matrix Computations*, 4th ed., 8.5).
    fn of(mut matrix: Vec<f64>, dim: usize) -> Self {
        const SWEEPS: usize = 60;
        // Eigenvectors are kept as rows, so that a rotation touches memory in a line.
        let mut vectors = vec![0.0; dim * dim];
        for i in 0..dim {
            vectors[i * dim + i] = 1.0;
        }
        let size: f64 = matrix.iter().map(|x| x * x).sum();
        for _ in 0..SWEEPS {
            let off: f64 = (0..dim)
                .flat_map(|p| (0..p).map(move |q| (p, q)))
                .map(|(p, q)| matrix[p * dim + q] * matrix[p * dim + q])
                .sum();
            if off <= size * 1e-30 {
                break;
            }
            for p in 0..dim {
                for q in p + 1..dim {
                    rotate(&mut matrix, &mut vectors, dim, (p, q));
                }
            }
        }
        let mut order: Vec<usize> = (0..dim).collect();
        let value = |i: usize| matrix[i * dim + i];
        order.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(a.cmp(&b)));
        let mut columns = vec![0.0; dim * dim];
        for (column, &from) in order.iter().enumerate() {
            let vector = &vectors[from * dim..(from + 1) * dim];
            let largest =
                vector.iter().fold(
                    0.0f64,
                    |largest, &x| {
                        if x.abs() > largest.abs() { x } else { largest }
                    },
                );
            for (row, &x) in vector.iter().enumerate() {
                columns[row * dim + column] = if largest < 0.0 { -x } else { x };
            }
        }
        Self {
            values: order.iter().map(|&i| value(i).max(0.0)).collect(),
            vectors: columns,
        }
    }

    /// The matrix with `f` of each eigenvalue in its place.
    fn map(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let dim = self.values.len();
        let scaled: Vec<f64> = self.values.iter().map(|&v| f(v)).collect();
        let mut out = vec![0.0; dim * dim];
        for (a, out) in self
            .vectors
            .chunks_exact(dim)
            .zip(out.chunks_exact_mut(dim))
        {
            for (b, out) in self.vectors.chunks_exact(dim).zip(out) {
                *out = a
                    .iter()
                    .zip(b)
                    .zip(&scaled)
                    .map(|((a, b), s)| a * b * s)
                    .sum();
            }
        }
        out
    }
}

/// Turns the plane of `p` and `q` so that their entry becomes 0.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], dim: usize, (p, q): (usize, usize)) {
    let between = matrix[p * dim + q];
    if between == 0.0 {
        return;
    }
    let tau = (matrix[q * dim + q] - matrix[p * dim + p]) / (2.0 * between);
    let t = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for rows in [&mut *matrix, vectors] {
        let (low, high) = rows.split_at_mut(q * dim);
        for (x, y) in low[p * dim..(p + 1) * dim].iter_mut().zip(&mut high[..dim]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    }
    for row in matrix.chunks_exact_mut(dim) {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    // Exactly, so that rounding does not gather there.
    matrix[p * dim + q] = 0.0;
    matrix[q * dim + p] = 0.0;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;

    fn factors(users: usize, items: usize, dim: usize) -> Factors {
        let mut factors = Factors {
            users: matrix(users, dim, 1),
            items: matrix(items, dim, 2),
        };
        // Dimensions of very different weight, in no order.
        for table in [&mut factors.users, &mut factors.items] {
            for row in table.data_mut().chunks_exact_mut(dim) {
                for (q, x) in row.iter_mut().enumerate() {
                    *x *= 1.0 / (1.0 + ((q * 5 + 3) % dim) as f32);
                }
            }
        }
        factors
    }

    fn score(factors: &Factors, user: usize, item: usize) -> f64 {
        let pairs = factors.users.row(user).iter().zip(factors.items.row(item));
        pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    }

    /// Sum of squares of the difference of all scores.
    fn distance(a: &Factors, b: &Factors) -> f64 {
        let (users, items) = (a.users.rows(), a.items.rows());
        let pairs = (0..users).flat_map(|u| (0..items).map(move |i| (u, i)));
        pairs
            .map(|(u, i)| (score(a, u, i) - score(b, u, i)).powi(2))
            .sum()
    }

    #[test]
    fn all_dimensions_give_the_same_scores() {
        let whole = factors(40, 30, 6);
        let turned = prune(&whole, 6).unwrap();
        for (u, i) in [(0, 0), (7, 3), (39, 29)] {
            let (before, after) = (score(&whole, u, i), score(&turned, u, i));
            assert!((before - after).abs() < 1e-5, "{before} {after}");
        }
    }

    #[test]
    fn what_is_cut_off_is_the_least_that_can_be() {
        let whole = factors(40, 30, 6);
        for keep in 1..6 {
            let best = prune(&whole, keep).unwrap();
            // The distance is the sum of the squares of the singular values cut off: those of the full turn.
            let turned = prune(&whole, 6).unwrap();
            let lengths = gram(&turned.users);
            let rest: f64 = (keep..6).map(|q| lengths[q * 6 + q].powi(2)).sum();
            let found = distance(&whole, &best);
            assert!(
                (found - rest).abs() < 1e-3 * rest.max(1e-6),
                "{found} {rest}"
            );
            // And no choice of the given dimensions comes closer.
            for first in 0..6 {
                let mut axes = whole.clone();
                for table in [&mut axes.users, &mut axes.items] {
                    for row in table.data_mut().chunks_exact_mut(6) {
                        for q in (0..6).filter(|&q| (q + 6 - first) % 6 >= keep) {
                            row[q] = 0.0;
                        }
                    }
                }
                assert!(distance(&whole, &axes) >= found * 0.999);
            }
        }
    }

    #[test]
    fn dimensions_that_say_nothing_and_rows_of_zeros_do_no_harm() {
        let mut whole = factors(40, 30, 6);
        // Two dimensions alike, one empty; a user and an item without a vector.
        for table in [&mut whole.users, &mut whole.items] {
            for row in table.data_mut().chunks_exact_mut(6) {
                row[1] = row[0];
                row[2] = 0.0;
            }
            table.data_mut()[..6].fill(0.0);
        }
        let pruned = prune(&whole, 4).unwrap();
        assert!(distance(&whole, &pruned) < 1e-6);
        assert_eq!(pruned.users.row(0), [0.0; 4]);
        assert!(pruned.users.data().iter().all(|x| x.is_finite()));
        let nothing = Factors {
            users: Matrix::zeros(3, 4),
            items: Matrix::zeros(2, 4),
        };
        let pruned = prune(&nothing, 2).unwrap();
        assert_eq!(pruned.items, Matrix::zeros(2, 2));
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let whole = factors(9000, 5000, 5);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| prune(&whole, 3).unwrap())
        };
        assert_eq!(with(1), with(3));
    }
}

//! Vectors for rows without interactions, from their content: a ridge regression of the vectors that were learnt on the
//! features of their rows (Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme, "Learning Attribute-to-Feature Mappings
//! for Cold-Start Recommendations", ICDM 2010).
//!
//! `W = (FᵀF + λI)⁻¹ FᵀV` over the rows with a vector, so that a new row's vector is the sum of its features' embeddings.
//! It works with any family that gives vectors, and takes nothing from those of rows that have interactions. λ is the
//! one of a few that foretells a fifth of the rows best.

use super::contributions::Described;
use super::fitted::{length, to_unit_length};
use super::{Contributions, Factors, Fitted};
use crate::compute::Matrix;
use crate::error::{Error, Result};
use crate::features::content::{Content, Contents};
use crate::features::csr::Csr;
use crate::features::ids::{places, union};
use crate::random::nth;
use rayon::prelude::*;

/// λ is chosen among these.
const LAMBDAS: [f64; 4] = [0.3, 1.0, 3.0, 10.0];
/// Conjugate-gradient steps at most; the system is well conditioned by λ.
const STEPS: usize = 50;
/// Relative residual at which they end.
const CLOSE: f64 = 1e-6;

/// A table of vectors, with those made of content.
#[derive(Debug, Clone, PartialEq)]
pub struct Extended {
    /// `[rows]`, ascending.
    pub ids: Vec<String>,
    /// `[rows, dim]`.
    pub table: Matrix,
    /// λ of the regression; `None` where there was nothing to learn from.
    pub lambda: Option<f64>,
}

/// Factors with rows for the users and items that have no interactions, and the ids of all rows.
pub fn extend_both(
    factors: &Factors,
    (users, items): (&[String], &[String]),
    contents: &Contents,
) -> (Fitted, Vec<String>, Vec<String>) {
    let users = extend(&factors.users, users, &contents.users);
    let items = extend(&factors.items, items, &contents.items);
    tracing::debug!(users = ?users.lambda, items = ?items.lambda, "vectors from content");
    let factors = Factors {
        users: users.table,
        items: items.table,
    };
    (Fitted::Factors(factors), users.ids, items.ids)
}

/// The rows `ids` (ascending) of `table` with every row of `content` that they lack. A row whose vector is zero gets one of
/// its features, zero still where it has none that another row has.
pub fn extend(table: &Matrix, ids: &[String], content: &Content) -> Extended {
    let all = union(ids, &content.ids);
    let mut extended = table.placed(&places(ids, &all), all.len());
    let map = Map::learn(&extended, &all, content);
    if let Some(map) = &map {
        let dim = extended.cols();
        for (row, vector) in extended.data_mut().chunks_exact_mut(dim).enumerate() {
            if vector.iter().all(|&value| value == 0.0) {
                map.write(row, vector);
            }
        }
    }
    Extended {
        ids: all,
        table: extended,
        lambda: map.map(|map| map.lambda),
    }
}

/// Which features speak for what is recommended to users whose vectors are made of their features.
pub struct Reasons<'a> {
    /// Name of each feature.
    pub names: &'a [String],
    /// `[users, features]`, of those users alone.
    pub features: Csr,
    /// What a feature adds; the constant one is no reason.
    pub of: Box<dyn Contributions + 'a>,
}

impl<'a> Reasons<'a> {
    /// Of `factors`, which [`extend_both`] gave the rows `users` (ascending) without a `history` `[users, items]`; `None`
    /// where there are none.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(
        factors: &'a Factors,
        users: &[String],
        history: &Csr,
        content: &'a Content,
    ) -> Result<Option<Self>> {
        let mut learnt = factors.users.clone();
        let mut cells = vec![];
        let places = places(users, &content.ids);
        let dim = learnt.cols();
        for (row, vector) in learnt.data_mut().chunks_exact_mut(dim).enumerate() {
            if !history.row(row).0.is_empty() || vector.iter().all(|&value| value == 0.0) {
                continue;
            }
            vector.fill(0.0);
            let features = places[row].map(|at| content.features.row(at));
            let features = features.into_iter().flat_map(|(f, v)| f.iter().zip(v));
            let user = u32::try_from(row).map_err(|_| Error::check("more than 4 billion users"))?;
            cells.extend(features.map(|(&feature, &value)| (user, feature, value)));
        }
        if cells.is_empty() {
            return Ok(None);
        }
        let Some(map) = Map::learn(&learnt, users, content) else {
            return Ok(None);
        };
        let (rows, columns) = (users.len(), content.names.len());
        Ok(Some(Self {
            names: &content.names,
            features: Csr::from_triplets(rows, columns, &cells)
                .map_err(|e| Error::unexpected(e.to_string()))?,
            of: Box::new(Described {
                embeddings: map.embeddings(),
                items: &factors.items,
            }),
        }))
    }
}

/// What the features of every row of a table foretell of its vector.
pub(super) struct Map<'a> {
    features: &'a Csr,
    /// Where a row's features are.
    rows: Vec<Option<usize>>,
    /// `[dim][features + 1]`.
    weights: Vec<Vec<f64>>,
    /// Whether every vector that was learnt has length 1; then so has what is foretold.
    unit: bool,
    lambda: f64,
}

impl<'a> Map<'a> {
    /// Learns from the rows `ids` (ascending) of `table` that have a vector and features; `None` where none has.
    pub fn learn(table: &Matrix, ids: &[String], content: &'a Content) -> Option<Self> {
        let features = &content.features;
        let mut rows: Vec<Option<usize>> = vec![None; ids.len()];
        for (row, at) in places(&content.ids, ids).into_iter().enumerate() {
            if let Some(at) = at {
                rows[at] = Some(row);
            }
        }
        // Rows of the table and of the features.
        let known: Vec<(usize, usize)> = rows
            .iter()
            .enumerate()
            .filter_map(|(row, of_content)| Some((row, (*of_content)?)))
            .filter(|&(row, _)| !table.is_zero(row))
            .collect();
        if known.is_empty() || features.nnz() == 0 {
            return None;
        }
        let held = |row: &&(usize, usize)| nth(row.1 as u64).is_multiple_of(5);
        let (test, train): (Vec<_>, Vec<_>) = known.iter().partition(held);
        let lambda = LAMBDAS
            .into_iter()
            .map(|lambda| {
                let weights = regress(table, &train, features, lambda);
                let error: f64 = test
                    .iter()
                    .map(|&(row, of)| miss(table, row, &weights, features, of))
                    .sum();
                (error, lambda)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))?
            .1;
        let mut vectors = known.iter().map(|&(row, _)| table.row(row));
        Some(Self {
            features,
            unit: vectors.all(|vector| (length(vector) - 1.0).abs() < 1e-4),
            weights: regress(table, &known, features, lambda),
            rows,
            lambda,
        })
    }

    /// Writes the vector that a row's features foretell; `false` where it has none.
    pub fn write(&self, row: usize, into: &mut [f32]) -> bool {
        let Some(of_content) = self.rows[row] else {
            return false;
        };
        if self.features.row(of_content).0.is_empty() {
            return false;
        }
        let vector = foretell(&self.weights, self.features, of_content, into.len());
        let scale = match length_of(&vector) {
            length if self.unit && length > 0.0 => 1.0 / length,
            _ => 1.0,
        };
        for (into, value) in into.iter_mut().zip(vector) {
            *into = (value * scale) as f32;
        }
        true
    }

    /// `[features, dim]`.
    fn embeddings(&self) -> Matrix {
        let mut table = Matrix::zeros(self.features.cols(), self.weights.len());
        let dim = self.weights.len().max(1);
        for (feature, row) in table.data_mut().chunks_exact_mut(dim).enumerate() {
            for (value, weights) in row.iter_mut().zip(&self.weights) {
                *value = weights[feature] as f32;
            }
        }
        table
    }

    /// `table` with every row that has features a mean of its own vector, which counts as often as `counts` says the row
    /// was taken up, and of what is foretold of it, which counts `trust` times.
    pub fn blend(&self, table: &Matrix, counts: &[u32], trust: f64) -> Matrix {
        let mut blended = table.clone();
        let dim = table.cols();
        blended
            .data_mut()
            .par_chunks_exact_mut(dim)
            .enumerate()
            .for_each(|(row, vector)| {
                let mut told = vec![0.0; dim];
                if trust == 0.0 || counts[row] == 0 || !self.write(row, &mut told) {
                    return;
                }
                let own = f64::from(counts[row]) / (f64::from(counts[row]) + trust);
                for (value, told) in vector.iter_mut().zip(told) {
                    *value = (own * f64::from(*value) + (1.0 - own) * f64::from(told)) as f32;
                }
                if self.unit {
                    to_unit_length(vector);
                }
            });
        blended
    }
}

fn length_of(row: &[f64]) -> f64 {
    row.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Squared distance of a row's vector from what its features foretell.
fn miss(
    table: &Matrix,
    row: usize,
    weights: &[Vec<f64>],
    features: &Csr,
    of_content: usize,
) -> f64 {
    let told = foretell(weights, features, of_content, table.cols());
    let pairs = told.iter().zip(table.row(row));
    pairs
        .map(|(told, &is)| (told - f64::from(is)).powi(2))
        .sum()
}

/// The vector `[dim]` of a row of features; `weights` `[dim][features + 1]`, the last one for every row.
fn foretell(weights: &[Vec<f64>], features: &Csr, row: usize, dim: usize) -> Vec<f64> {
    let (columns, values) = features.row(row);
    let mut vector = vec![0.0; dim];
    for (value, weights) in vector.iter_mut().zip(weights) {
        *value = weights[features.cols()];
        for (&column, &x) in columns.iter().zip(values) {
            *value += f64::from(x) * weights[column as usize];
        }
    }
    vector
}

/// `W`, `[dim][features + 1]`, by conjugate gradients, one dimension at a time; the last feature is 1 for every row.
fn regress(table: &Matrix, known: &[(usize, usize)], features: &Csr, lambda: f64) -> Vec<Vec<f64>> {
    let width = features.cols() + 1;
    // FᵀF x, row by row.
    let normal = |x: &[f64]| {
        let mut sum: Vec<f64> = x.iter().map(|x| lambda * x).collect();
        for &(_, of_content) in known {
            let (columns, values) = features.row(of_content);
            let pairs = || columns.iter().zip(values);
            let told: f64 = pairs().map(|(&c, &v)| f64::from(v) * x[c as usize]).sum();
            let told = told + x[width - 1];
            pairs().for_each(|(&c, &v)| sum[c as usize] += f64::from(v) * told);
            sum[width - 1] += told;
        }
        sum
    };
    (0..table.cols())
        .into_par_iter()
        .map(|d| {
            let mut residual = vec![0.0; width];
            for &(row, of_content) in known {
                let value = f64::from(table.row(row)[d]);
                let (columns, values) = features.row(of_content);
                for (&column, &v) in columns.iter().zip(values) {
                    residual[column as usize] += f64::from(v) * value;
                }
                residual[width - 1] += value;
            }
            conjugate_gradients(normal, residual)
        })
        .collect()
}

/// Solves `A x = b` from `x = 0` (Hestenes and Stiefel, 1952).
fn conjugate_gradients(a: impl Fn(&[f64]) -> Vec<f64>, b: Vec<f64>) -> Vec<f64> {
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let mut x = vec![0.0; b.len()];
    let (mut residual, mut direction) = (b.clone(), b);
    let mut squares = dot(&residual, &residual);
    let end = squares * CLOSE * CLOSE;
    for _ in 0..STEPS {
        if squares <= end {
            break;
        }
        let moved = a(&direction);
        let step = squares / dot(&direction, &moved);
        x.iter_mut()
            .zip(&direction)
            .for_each(|(x, d)| *x += step * d);
        residual
            .iter_mut()
            .zip(&moved)
            .for_each(|(r, m)| *r -= step * m);
        let before = std::mem::replace(&mut squares, dot(&residual, &residual));
        let keep = squares / before;
        direction
            .iter_mut()
            .zip(&residual)
            .for_each(|(d, r)| *d = r + keep * *d);
    }
    x
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ids(of: impl Iterator<Item = usize>) -> Vec<String> {
        of.map(|n| format!("i{n:03}")).collect()
    }

    /// Rows of three features each, whose vectors are the sums of the features' embeddings.
    fn shop(scale: impl Fn(usize) -> f32) -> (Content, Matrix) {
        let features = |row: usize| [row % 5, 5 + row % 7, 12 + row % 3];
        let cells: Vec<(u32, u32, f32)> = (0..100u32)
            .flat_map(|row| features(row as usize).map(|f| (row, f as u32, 1.0)))
            .collect();
        let content = Content {
            ids: ids(0..100),
            names: ids(0..15),
            features: Csr::from_triplets(100, 15, &cells).unwrap(),
        };
        let embedding = |f: usize, d: usize| (nth((f * 8 + d) as u64) >> 40) as f32 / 1e7 - 0.8;
        let mut table = Matrix::zeros(100, 4);
        for (row, vector) in table.data_mut().chunks_exact_mut(4).enumerate() {
            for (d, value) in vector.iter_mut().enumerate() {
                let sum: f32 = features(row).iter().map(|&f| embedding(f, d)).sum();
                *value = sum * scale(row);
            }
        }
        (content, table)
    }

    #[test]
    fn a_new_row_gets_the_sum_of_its_features() {
        let (content, truth) = shop(|_| 1.0);
        // The table knows the rows 0 to 79, and one that is in no catalogue any more.
        let mut names = ids(0..80);
        names.push("zzz".into());
        let mut values = truth.data()[..320].to_vec();
        values.extend([9.0; 4]);
        // One of them without interactions.
        values[40..44].fill(0.0);
        let table = Matrix::new(81, 4, values).unwrap();
        let extended = extend(&table, &names, &content);
        assert_eq!(extended.ids.len(), 101);
        assert!(extended.ids.is_sorted());
        assert_eq!(extended.ids[100], "zzz");
        assert_eq!(extended.table.row(100), [9.0; 4]);
        for row in 0..100 {
            let pairs = extended.table.row(row).iter().zip(truth.row(row));
            let error: f32 = pairs.map(|(a, b)| (a - b).abs()).sum();
            let learnt = row < 80 && row != 10;
            assert!(
                if learnt { error == 0.0 } else { error < 0.1 },
                "{row}: {error}"
            );
        }
        assert_eq!(extended.lambda, Some(0.3));
    }

    #[test]
    fn a_blend_counts_interactions_against_trust() {
        let (content, truth) = shop(|_| 1.0);
        let mut table = truth.clone();
        table.data_mut()[..4].copy_from_slice(&[5.0, -5.0, 5.0, -5.0]);
        let names = ids(0..100);
        let map = Map::learn(&truth, &names, &content).unwrap();
        let mut counts = vec![1_000_000; 100];
        (counts[0], counts[1]) = (1, 0);
        let blended = map.blend(&table, &counts, 3.0);
        let mut told = [0.0; 4];
        assert!(map.write(0, &mut told));
        for (is, (own, told)) in blended.row(0).iter().zip(table.row(0).iter().zip(told)) {
            assert!((is - (0.25 * own + 0.75 * told)).abs() < 1e-5);
        }
        // Nothing was learnt of the second row, and much of the third.
        assert_eq!(blended.row(1), table.row(1));
        let near = blended.row(2).iter().zip(table.row(2));
        assert!(near.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
        assert_eq!(map.blend(&table, &counts, 0.0), table);
    }

    #[test]
    fn features_of_a_user_without_a_history_add_up_to_the_score_but_for_what_all_users_share() {
        let (content, truth) = shop(|_| 1.0);
        let known = Matrix::new(90, 4, truth.data()[..360].to_vec()).unwrap();
        let extended = extend(&known, &ids(0..90), &content);
        let factors = Factors {
            users: extended.table,
            items: crate::compute::testing::matrix(7, 4, 3),
        };
        let had: Vec<(u32, u32, f32)> = (0..90).map(|user| (user, 0, 1.0)).collect();
        let history = Csr::from_triplets(100, 7, &had).unwrap();
        let reasons = Reasons::new(&factors, &extended.ids, &history, &content)
            .unwrap()
            .unwrap();
        assert_eq!(reasons.names, content.names);
        assert!(reasons.features.row(5).0.is_empty());
        let items: Vec<u32> = (0..7).collect();
        let rests: Vec<Vec<f64>> = (90..100)
            .map(|user| {
                let features = reasons.features.row(user);
                assert_eq!(features.0, content.features.row(user).0);
                let parts = reasons.of.of(features, &items);
                let sums = parts.chunks_exact(3).map(|parts| parts.iter().sum::<f32>());
                let scores = items.iter().map(|&item| {
                    let pairs = factors
                        .users
                        .row(user)
                        .iter()
                        .zip(factors.items.row(item as usize));
                    pairs.map(|(x, y)| x * y).sum::<f32>()
                });
                sums.zip(scores)
                    .map(|(sum, score)| f64::from(score - sum))
                    .collect()
            })
            .collect();
        // What is left is the constant's, the same for every user.
        for rest in &rests {
            let pairs = rest.iter().zip(&rests[0]);
            assert!(
                pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4),
                "{rests:?}"
            );
        }
        let everyone =
            Csr::from_triplets(100, 7, &(0..100).map(|u| (u, 0, 1.0)).collect::<Vec<_>>());
        let none = Reasons::new(&factors, &extended.ids, &everyone.unwrap(), &content);
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn vectors_of_length_one_stay_so() {
        let (_, raw) = shop(|_| 1.0);
        let (content, truth) = shop(|row| (1.0 / length(raw.row(row))) as f32);
        let table = Matrix::new(90, 4, truth.data()[..360].to_vec()).unwrap();
        let extended = extend(&table, &ids(0..90), &content);
        for row in 90..100 {
            assert!((length(extended.table.row(row)) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn what_says_nothing_leaves_rows_without_a_vector() {
        let (content, truth) = shop(|_| 1.0);
        let none = Content {
            ids: ids(0..100),
            names: vec![],
            features: Csr::from_triplets(100, 0, &[]).unwrap(),
        };
        let table = Matrix::new(50, 4, truth.data()[..200].to_vec()).unwrap();
        let extended = extend(&table, &ids(0..50), &none);
        assert_eq!(extended.lambda, None);
        assert_eq!(extended.table.row(70), [0.0; 4]);
        let nobody = extend(&Matrix::zeros(0, 4), &[], &content);
        assert_eq!((nobody.ids.len(), nobody.lambda), (100, None));
    }
}

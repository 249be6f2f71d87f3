//! Test data and oracles: plain `f64` code without SIMD, blocks or threads.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use super::select::adapters;
use super::{AlsSolve, GpuDevice, GpuLimits, Matrix, Query};
use crate::features::csr::Csr;
use crate::random::SplitMix64;

pub(crate) struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(SplitMix64(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// Uniform in [-1, 1).
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

pub(crate) fn matrix(rows: usize, cols: usize, seed: u64) -> Matrix {
    let mut random = Random::new(seed);
    let data = (0..rows * cols).map(|_| random.float()).collect();
    Matrix::new(rows, cols, data).unwrap()
}

/// Uniform in ±0.05, as factors are when training starts.
pub(crate) fn small_matrix(rows: usize, cols: usize, seed: u64) -> Matrix {
    let mut out = matrix(rows, cols, seed);
    out.data_mut().iter_mut().for_each(|value| *value *= 0.05);
    out
}

/// About `per_row` entries a row; every seventh row is empty.
pub(crate) fn csr(rows: usize, cols: usize, per_row: usize, seed: u64) -> Csr {
    let mut random = Random::new(seed);
    let mut triplets = Vec::new();
    for row in 0..rows {
        if row % 7 == 3 {
            continue;
        }
        for _ in 0..random.below(2 * per_row) + 1 {
            let weight = random.float().abs() * 3.0;
            triplets.push((row as u32, random.below(cols) as u32, weight));
        }
    }
    Csr::from_triplets(rows, cols, &triplets).unwrap()
}

/// `YᵀY + λI`.
pub(crate) fn gram(table: &Matrix, lambda: f32) -> Vec<f64> {
    let dim = table.cols();
    let mut out = vec![0.0; dim * dim];
    for row in 0..table.rows() {
        let y = table.row(row);
        for i in 0..dim {
            for j in 0..dim {
                out[i * dim + j] += f64::from(y[i]) * f64::from(y[j]);
            }
        }
    }
    for i in 0..dim {
        out[i * dim + i] += f64::from(lambda);
    }
    out
}

/// The exact minimum of every row by Cholesky factorisation, `[rows, dim]`.
pub(crate) fn exact_als(fixed: &Matrix, interactions: &Csr, solve: AlsSolve) -> Vec<Vec<f64>> {
    let dim = fixed.cols();
    let gram = gram(fixed, solve.lambda);
    (0..interactions.rows())
        .map(|row| {
            let (columns, weights) = interactions.row(row);
            let mut a = gram.clone();
            let mut b = vec![0.0; dim];
            for (&column, &weight) in columns.iter().zip(weights) {
                let y = fixed.row(column as usize);
                let extra = f64::from(solve.alpha) * f64::from(weight);
                for i in 0..dim {
                    b[i] += (1.0 + extra) * f64::from(y[i]);
                    for j in 0..dim {
                        a[i * dim + j] += extra * f64::from(y[i]) * f64::from(y[j]);
                    }
                }
            }
            cholesky_solve(&mut a, b)
        })
        .collect()
}

fn cholesky_solve(a: &mut [f64], mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            a[j * n + j] -= a[j * n + k] * a[j * n + k];
        }
        a[j * n + j] = a[j * n + j].sqrt();
        for i in j + 1..n {
            for k in 0..j {
                a[i * n + j] -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] /= a[j * n + j];
        }
    }
    for i in 0..n {
        for k in 0..i {
            b[i] -= a[i * n + k] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= a[k * n + i] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    b
}

/// A list by scoring and sorting everything: `(item, score)`.
pub(crate) fn brute_top_k(
    items: &Matrix,
    available: Option<&[bool]>,
    query: &Query<'_>,
    user: usize,
) -> Vec<(u32, f64)> {
    let excluded = query.exclude.map(|csr| csr.row(query.first_user + user).0);
    let mut list: Vec<(u32, f64)> = (0..items.rows() as u32)
        .filter(|&item| available.is_none_or(|mask| mask[item as usize]))
        .filter(|item| excluded.is_none_or(|excluded| !excluded.contains(item)))
        .map(|item| {
            let pairs = query.users.row(user).iter().zip(items.row(item as usize));
            let score: f64 = pairs.map(|(&u, &i)| f64::from(u) * f64::from(i)).sum();
            // -0 and 0 are the same score.
            (item, score + 0.0)
        })
        .filter(|&(_, score)| {
            query
                .min_score
                .is_none_or(|least| score >= f64::from(least))
        })
        .collect();
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    list.truncate(query.k);
    list
}

pub(crate) fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The largest `|a − b| / |b|` over rows, by Euclidean norms.
pub(crate) fn row_error(a: &Matrix, b: &Matrix) -> f64 {
    assert_eq!((a.rows(), a.cols()), (b.rows(), b.cols()));
    (0..a.rows())
        .map(|row| {
            let pairs = a.row(row).iter().zip(b.row(row));
            let difference = norm(pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
            let size = norm(b.row(row).iter().map(|&b| f64::from(b)));
            if difference == 0.0 {
                0.0
            } else {
                difference / size
            }
        })
        .fold(0.0, f64::max)
}

/// Any adapter, software ones too; tests of GPU code pass without one, and say so.
pub(crate) fn gpu(limits: impl FnOnce(GpuLimits) -> GpuLimits) -> Option<GpuDevice> {
    let Some(adapter) = adapters().into_iter().next() else {
        // The test harness holds back what `println!` writes in a test that passes.
        let test = std::thread::current()
            .name()
            .unwrap_or("a test")
            .to_string();
        let text = format!(
            "{test}: skipped, there is no Vulkan adapter (install a driver, or lavapipe)\n"
        );
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        return None;
    };
    Some(GpuDevice::open(&adapter, limits).unwrap())
}

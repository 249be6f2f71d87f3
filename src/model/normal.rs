//! The normal equations of a row of `als`, solved exactly: `(YᵀY + λI + Σ_j (c_j − 1) y_j y_jᵀ) x = Σ_j c_j y_j` with
//! `c_j = 1 + alpha·w_j` over the row's entries (Hu, Koren, Volinsky, ICDM 2008), in 64 bits, on the processor.

use super::ModelError;
use crate::compute::{Cholesky, Device, Matrix};
use crate::features::csr::Csr;
use rayon::prelude::*;

/// What the systems of all rows share.
pub(super) struct Normal<'a> {
    /// Y, `[entries' side, dim]`.
    fixed: &'a Matrix,
    /// `YᵀY + λI`, `[dim, dim]`.
    gram: Vec<f64>,
    alpha: f64,
}

impl<'a> Normal<'a> {
    /// # Errors
    /// Those of the device, which computes `YᵀY + λI`.
    pub fn new(
        device: &dyn Device,
        fixed: &'a Matrix,
        alpha: f32,
        lambda: f32,
    ) -> Result<Self, ModelError> {
        let gram = device.gram(fixed.view(), lambda)?;
        Ok(Self {
            fixed,
            gram: gram.data().iter().map(|&value| f64::from(value)).collect(),
            alpha: f64::from(alpha),
        })
    }

    /// `c` of an entry.
    pub fn confidence(&self, weight: f32) -> f64 {
        1.0 + self.alpha * f64::from(weight)
    }

    /// The vector of an entry as it is.
    pub fn row(&self, entry: u32) -> &[f32] {
        self.fixed.row(entry as usize)
    }

    /// The vector of an entry, to be solved for.
    pub fn vector(&self, entry: u32) -> Vec<f64> {
        let row = self.row(entry).iter();
        row.map(|&value| f64::from(value)).collect()
    }

    /// The system of a row, factorised; `None` where the last bits of huge weights leave it indefinite.
    pub fn factorised(&self, (entries, weights): (&[u32], &[f32])) -> Option<Cholesky> {
        let dim = self.fixed.cols();
        let mut system = self.gram.clone();
        for (&entry, &weight) in entries.iter().zip(weights) {
            let (extra, y) = (self.confidence(weight) - 1.0, self.vector(entry));
            for (i, row) in system.chunks_exact_mut(dim).enumerate() {
                let factor = extra * y[i];
                let pairs = row[i..].iter_mut().zip(&y[i..]);
                pairs.for_each(|(a, y)| *a += factor * y);
            }
        }
        Cholesky::new(system, dim)
    }

    /// The solution of every row of `interactions` into `x` `[rows, dim]`: zero for a row without entries, and not a number
    /// for one that cannot be solved.
    pub fn solve(&self, interactions: &Csr, x: &mut Matrix) {
        let dim = self.fixed.cols();
        x.data_mut()
            .par_chunks_exact_mut(dim)
            .enumerate()
            .for_each(|(row, x)| {
                let (entries, weights) = interactions.row(row);
                if entries.is_empty() {
                    return x.fill(0.0);
                }
                let Some(system) = self.factorised((entries, weights)) else {
                    return x.fill(f32::NAN);
                };
                let mut b = vec![0.0; dim];
                for (&entry, &weight) in entries.iter().zip(weights) {
                    let confidence = self.confidence(weight);
                    let pairs = b.iter_mut().zip(self.row(entry));
                    pairs.for_each(|(b, &y)| *b += confidence * f64::from(y));
                }
                system.solve(&mut b);
                x.iter_mut().zip(b).for_each(|(x, b)| *x = b as f32);
            });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::{csr, exact_als, matrix};
    use crate::compute::{AlsSolve, CpuDevice};

    #[test]
    fn rows_are_the_exact_minimum_and_empty_ones_zero() {
        let (fixed, interactions) = (matrix(30, 6, 1), csr(15, 30, 5, 2));
        let (alpha, lambda) = (4.0, 0.2);
        let mut x = matrix(15, 6, 3);
        let normal = Normal::new(&CpuDevice::new(), &fixed, alpha, lambda).unwrap();
        normal.solve(&interactions, &mut x);
        let solve = AlsSolve {
            alpha,
            lambda,
            steps: 1,
        };
        for (row, exact) in exact_als(&fixed, &interactions, solve).iter().enumerate() {
            let pairs = x.row(row).iter().zip(exact);
            let error: f64 = pairs.map(|(&x, e)| (f64::from(x) - e).abs()).sum();
            assert!(error < 1e-4, "row {row}: {error}");
        }
        assert!(interactions.row(3).0.is_empty());
        assert_eq!(x.row(3), [0.0; 6]);
    }
}

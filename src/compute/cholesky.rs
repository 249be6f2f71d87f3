//! Small dense systems, solved exactly: Cholesky's factorisation in 64 bits.

/// `A = UᵀU` of a symmetric positive definite matrix `[n, n]`.
#[derive(Debug)]
pub(crate) struct Cholesky {
    n: usize,
    /// `[n, n]`, row-major; only the upper triangle is read.
    upper: Vec<f64>,
}

impl Cholesky {
    /// Factorises the upper triangle of `matrix` `[n, n]`, row-major; `None` when it is not positive definite.
    pub fn new(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        for k in 0..n {
            let (done, below) = matrix.split_at_mut((k + 1) * n);
            let row = &mut done[k * n + k..];
            let root = row[0].sqrt();
            if !(root.is_finite() && root > 0.0) {
                return None;
            }
            row.iter_mut().for_each(|value| *value /= root);
            for (i, target) in below.chunks_exact_mut(n).enumerate() {
                let factor = row[i + 1];
                let pairs = target[k + 1 + i..].iter_mut().zip(&row[i + 1..]);
                pairs.for_each(|(t, r)| *t -= factor * r);
            }
        }
        Some(Self { n, upper: matrix })
    }

    /// Turns `b` `[n]` into the solution of `A x = b`.
    pub fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        for k in 0..n {
            let row = &self.upper[k * n..(k + 1) * n];
            b[k] /= row[k];
            let (done, rest) = b.split_at_mut(k + 1);
            let pairs = rest.iter_mut().zip(&row[k + 1..]);
            pairs.for_each(|(r, u)| *r -= done[k] * u);
        }
        for k in (0..n).rev() {
            let row = &self.upper[k * n..(k + 1) * n];
            let pairs = row[k + 1..].iter().zip(&b[k + 1..n]);
            let known: f64 = pairs.map(|(u, x)| u * x).sum();
            b[k] = (b[k] - known) / row[k];
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;

    #[test]
    fn a_solution_gives_the_right_hand_side() {
        for n in [1, 2, 7, 40] {
            let table = matrix(n + 3, n, 5);
            let mut system = vec![0.0; n * n];
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let product = |row: usize| f64::from(table.row(row)[i] * table.row(row)[j]);
                system[i * n + j] = (0..n + 3).map(product).sum();
                system[i * n + j] += if i == j { 0.5 } else { 0.0 };
            }
            let b: Vec<f64> = (0..n).map(|i| i as f64 - 1.5).collect();
            let mut x = b.clone();
            Cholesky::new(system.clone(), n).unwrap().solve(&mut x);
            for i in 0..n {
                let pairs = system[i * n..(i + 1) * n].iter().zip(&x);
                let found: f64 = pairs.map(|(a, x)| a * x).sum();
                assert!((found - b[i]).abs() < 1e-10, "{n}: {found} for {}", b[i]);
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
        assert!(Cholesky::new(vec![0.0], 1).is_none());
    }
}

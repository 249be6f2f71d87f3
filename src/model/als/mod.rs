//! Implicit-feedback alternating least squares (Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback
//! Datasets", ICDM 2008), solved by conjugate gradients (Takács, Pilászy, Tikk, RecSys 2011).
//!
//! Minimises `Σ_{u,i} c_ui (p_ui − x_u·y_i)² + λ(Σ|x_u|² + Σ|y_i|²)` over all users × items, where a stored weight `w`
//! means preference 1 with confidence `1 + alpha·w` and an absent one preference 0 with confidence 1.

mod fold_in;

use super::contributions::{self, Solved};
use super::fitted::check_finite;
use super::normal::Normal;
use super::{
    Contributions, Definition, Examples, Factors, Family, Fitted, Held, Learner, ModelError,
    Progress, check_weights, params, sizes, warm,
};
use crate::compute::{AlsSolve, Device, Interactions, Matrix, Side};
use crate::features::csr::Csr;
use crate::random::nth;
use std::time::Instant;

/// `als` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "als",
    personal: true,
    passes: Some("iterations"),
    space: r#"
        alpha = { min = 1.0, max = 100.0, scale = "log" }
        regularization = { min = 0.001, max = 10.0, scale = "log" }
    "#,
    configure: |given| {
        let params: AlsParams = params::fill(AlsParams::default(), given)?;
        params.validate()?;
        Ok(Box::new(params))
    },
});

/// What to change when factors are not finite.
const REMEDY: &str = "Raise the regularization or lower alpha";

/// How a row is solved while the other side is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// A few steps from its former value, on the device.
    ConjugateGradients,
    /// Exactly, on the processor.
    Cholesky,
}

/// Hyperparameters; unknown keys are refused.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlsParams {
    /// Length of a factor, 1 to 1,024.
    pub dim: usize,
    /// Passes over both sides, at least 1.
    pub iterations: usize,
    /// L2 regularisation λ, above 0.
    pub regularization: f32,
    /// Confidence per unit of weight, above 0.
    pub alpha: f32,
    /// How a row is solved.
    pub solver: Solver,
    /// Conjugate-gradient steps per row and iteration, 1 to 100.
    pub cg_steps: usize,
    /// Seed of the initial factors.
    pub seed: u64,
}

impl Default for AlsParams {
    fn default() -> Self {
        Self {
            dim: 64,
            iterations: 10,
            regularization: 0.01,
            alpha: 10.0,
            solver: Solver::ConjugateGradients,
            cg_steps: 3,
            seed: 7,
        }
    }
}

impl AlsParams {
    /// Names the first parameter that is out of range.
    pub fn validate(&self) -> Result<(), ModelError> {
        params::within("dim", self.dim, 1, 1024)?;
        params::within("iterations", self.iterations, 1, 10_000)?;
        params::within("cg_steps", self.cg_steps, 1, 100)?;
        params::above_zero("regularization", self.regularization)?;
        params::above_zero("alpha", self.alpha)
    }

    fn solve(&self) -> AlsSolve {
        AlsSolve {
            alpha: self.alpha,
            lambda: self.regularization,
            steps: self.cg_steps,
        }
    }
}

impl Learner for AlsParams {
    fn hyperparameters(&self) -> Result<String, ModelError> {
        params::json(self)
    }

    fn bytes(&self, weights: &Csr) -> u64 {
        let (n, users, items) = sizes(weights);
        let (row, padded) = (
            4 * self.dim as u64,
            4 * self.dim.next_multiple_of(16) as u64,
        );
        // The interactions by item, both tables with their offsets, and the side that is held in cache lines of its own.
        8 * n + (row + 8) * (users + items) + padded * users.max(items)
    }

    fn train(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        let mut seen = |pass, seconds| {
            observer(Progress {
                pass,
                seconds,
                loss: None,
                validation: None,
            });
        };
        train(device, examples, self, &mut seen).map(Fitted::Factors)
    }

    fn fold_in(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        held: &Held<'_>,
        _: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        fold_in::fold_in(device, examples.weights, held, self).map(Fitted::Factors)
    }

    fn contributions<'a>(
        &self,
        device: &dyn Device,
        fitted: &'a Fitted,
    ) -> Result<Option<Box<dyn Contributions + 'a>>, ModelError> {
        let Fitted::Factors(factors) = fitted else {
            return Ok(contributions::of_fitted(fitted));
        };
        let items = &factors.items;
        let normal = Normal::new(device, items, self.alpha, self.regularization)?;
        Ok(Some(Box::new(Solved(normal))))
    }
}

/// Trains on examples whose weights must not be negative. The same input gives the same bits on the same device. `observer`
/// gets the iteration, from 1, and the seconds since training began.
pub fn train(
    device: &dyn Device,
    examples: &Examples<'_>,
    params: &AlsParams,
    observer: &mut dyn FnMut(usize, f64),
) -> Result<Factors, ModelError> {
    params.validate()?;
    check_weights(examples.weights)?;
    let start = Instant::now();
    let interactions = examples.weights;
    let by_item = interactions.transpose();
    let mut users = Matrix::zeros(interactions.rows(), params.dim);
    let mut items = initial(interactions.cols(), params);
    let mut iterations = params.iterations;
    if let Some(former) = examples.start {
        warm::lay_over(&former.users, &mut users)?;
        warm::lay_over(&former.items, &mut items)?;
        iterations = warm::passes(iterations);
    }
    let mut done = |iteration| observer(iteration, start.elapsed().as_secs_f64());
    match params.solver {
        Solver::ConjugateGradients => {
            let both = Interactions {
                by_user: interactions,
                by_item: &by_item,
            };
            let mut als = device.als(both, users, items, params.solve())?;
            for iteration in 1..=iterations {
                als.half(Side::Users)?;
                als.half(Side::Items)?;
                done(iteration);
            }
            (users, items) = als.tables()?;
        }
        Solver::Cholesky => {
            for iteration in 1..=iterations {
                solve(device, &items, interactions, params, 0, &mut users)?;
                solve(device, &users, &by_item, params, 0, &mut items)?;
                done(iteration);
            }
        }
    }
    for table in [&users, &items] {
        check_finite(table, REMEDY)?;
    }
    Ok(Factors { users, items })
}

/// Improves every row of `x` `[interactions.rows, dim]`, from its former value on, while `fixed` `[interactions.cols, dim]` is
/// held: by so many conjugate-gradient steps, or to the exact solution. A row depends on its own interactions alone, not on
/// the rows beside it.
fn solve(
    device: &dyn Device,
    fixed: &Matrix,
    interactions: &Csr,
    params: &AlsParams,
    steps: usize,
    x: &mut Matrix,
) -> Result<(), ModelError> {
    match params.solver {
        Solver::ConjugateGradients => {
            let solve = AlsSolve {
                steps,
                ..params.solve()
            };
            device.als_half(fixed.view(), interactions, solve, x)?;
        }
        Solver::Cholesky => {
            Normal::new(device, fixed, params.alpha, params.regularization)?.solve(interactions, x);
        }
    }
    Ok(())
}

/// Uniform in ±0.5/√dim: every entry from its own position, so a table's size does not change its first rows.
fn initial(rows: usize, params: &AlsParams) -> Matrix {
    let mut table = Matrix::zeros(rows, params.dim);
    let scale = 1.0 / (params.dim as f32).sqrt();
    for (at, value) in table.data_mut().iter_mut().enumerate() {
        let bits = nth(params.seed.wrapping_add(at as u64)) >> 40;
        *value = (bits as f32 / (1u32 << 24) as f32 - 0.5) * scale;
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::{csr, gpu, norm, row_error};

    const PARAMS: AlsParams = AlsParams {
        dim: 8,
        iterations: 6,
        regularization: 0.1,
        alpha: 5.0,
        solver: Solver::ConjugateGradients,
        cg_steps: 3,
        seed: 7,
    };

    fn quiet(_: usize, _: f64) {}

    /// The objective of the module's head comment, over every cell.
    fn loss(factors: &Factors, interactions: &Csr, params: &AlsParams) -> f64 {
        let mut total = 0.0;
        for u in 0..interactions.rows() {
            let (columns, weights) = interactions.row(u);
            let mut next = 0;
            for i in 0..interactions.cols() {
                let pairs = factors.users.row(u).iter().zip(factors.items.row(i));
                let score: f64 = pairs.map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
                if columns.get(next) == Some(&(i as u32)) {
                    let confidence = 1.0 + f64::from(params.alpha) * f64::from(weights[next]);
                    total += confidence * (1.0 - score).powi(2);
                    next += 1;
                } else {
                    total += score * score;
                }
            }
        }
        let squares = |table: &Matrix| norm(table.data().iter().map(|&v| f64::from(v))).powi(2);
        total
            + f64::from(params.regularization) * (squares(&factors.users) + squares(&factors.items))
    }

    #[test]
    fn every_iteration_lowers_the_loss() {
        let interactions = csr(60, 50, 5, 1);
        let losses: Vec<f64> = (1..=6)
            .map(|iterations| {
                let params = AlsParams {
                    iterations,
                    ..PARAMS
                };
                let factors = train(
                    &CpuDevice::new(),
                    &Examples::new(&interactions),
                    &params,
                    &mut quiet,
                )
                .unwrap();
                loss(&factors, &interactions, &params)
            })
            .collect();
        assert!(losses.windows(2).all(|l| l[1] < l[0]), "{losses:?}");
    }

    #[test]
    fn training_twice_gives_the_same_bits_and_another_seed_gives_others() {
        let interactions = csr(60, 50, 5, 1);
        let train = |seed| {
            let params = AlsParams { seed, ..PARAMS };
            train(
                &CpuDevice::new(),
                &Examples::new(&interactions),
                &params,
                &mut quiet,
            )
            .unwrap()
        };
        assert_eq!(train(7), train(7));
        assert_ne!(train(7), train(8));
    }

    #[test]
    fn a_gpu_trains_the_same_model() {
        let Some(device) = gpu(|limits| limits) else {
            return;
        };
        let interactions = csr(60, 50, 5, 1);
        let params = AlsParams {
            iterations: 2,
            regularization: 1.0,
            ..PARAMS
        };
        let train = |device: &dyn Device| {
            train(device, &Examples::new(&interactions), &params, &mut quiet).unwrap()
        };
        let (a, b) = (train(&device), train(&CpuDevice::new()));
        assert!(row_error(&a.users, &b.users) < 1e-4);
        assert!(row_error(&a.items, &b.items) < 1e-4);
    }

    #[test]
    fn blocks_of_users_and_items_are_told_apart() {
        // Users and items of the same parity belong together; one pair was never seen.
        let cells: Vec<_> = (0..20u32)
            .flat_map(|u| (0..20u32).map(move |i| (u, i, 1.0)))
            .filter(|&(u, i, _)| u % 2 == i % 2 && (u, i) != (4, 6))
            .collect();
        let interactions = Csr::from_triplets(20, 20, &cells).unwrap();
        let factors = train(
            &CpuDevice::new(),
            &Examples::new(&interactions),
            &AlsParams { dim: 2, ..PARAMS },
            &mut quiet,
        )
        .unwrap();
        let score = |u: usize, i: usize| -> f32 {
            let pairs = factors.users.row(u).iter().zip(factors.items.row(i));
            pairs.map(|(x, y)| x * y).sum()
        };
        assert!(score(4, 6) > 0.5, "{}", score(4, 6));
        assert!(score(4, 7) < 0.1, "{}", score(4, 7));
    }

    #[test]
    fn a_warm_start_takes_a_third_of_the_passes_and_is_as_good() {
        let (interactions, device) = (csr(80, 60, 6, 1), CpuDevice::new());
        let params = AlsParams {
            iterations: 9,
            ..PARAMS
        };
        let full = train(&device, &Examples::new(&interactions), &params, &mut quiet).unwrap();
        // Yesterday's: a seventh of the users were not there yet.
        let mut former = full.clone();
        let dim = params.dim;
        for row in former.users.data_mut().chunks_exact_mut(dim).step_by(7) {
            row.fill(0.0);
        }
        for row in former.items.data_mut().chunks_exact_mut(dim).step_by(9) {
            row.fill(0.0);
        }
        let mut passes = 0;
        let examples = Examples {
            start: Some(&former),
            ..Examples::new(&interactions)
        };
        let warm = train(&device, &examples, &params, &mut |pass, _| passes = pass).unwrap();
        assert_eq!(passes, 3);
        let (full, warm) = (
            loss(&full, &interactions, &params),
            loss(&warm, &interactions, &params),
        );
        assert!(warm < 1.01 * full, "{warm} after {full}");
    }

    #[test]
    fn solved_exactly_it_comes_to_no_worse_a_loss() {
        let interactions = csr(60, 50, 5, 1);
        let with = |solver| {
            let params = AlsParams { solver, ..PARAMS };
            let examples = Examples::new(&interactions);
            let factors = train(&CpuDevice::new(), &examples, &params, &mut quiet).unwrap();
            loss(&factors, &interactions, &params)
        };
        let (exact, steps) = (with(Solver::Cholesky), with(Solver::ConjugateGradients));
        assert!(exact < 1.01 * steps, "{exact}, {steps}");
    }

    #[test]
    fn the_observer_sees_every_iteration() {
        let mut seen = Vec::new();
        let mut observer = |iteration, seconds: f64| seen.push((iteration, seconds >= 0.0));
        train(
            &CpuDevice::new(),
            &Examples::new(&csr(9, 9, 3, 1)),
            &PARAMS,
            &mut observer,
        )
        .unwrap();
        assert_eq!(seen, (1..=6).map(|i| (i, true)).collect::<Vec<_>>());
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let refused = |params: AlsParams| params.validate().unwrap_err().to_string();
        let ok = AlsParams::default();
        assert!(ok.validate().is_ok());
        assert!(refused(AlsParams { dim: 0, ..ok }).starts_with("dim = 0"));
        assert!(refused(AlsParams { dim: 1025, ..ok }).starts_with("dim = 1025"));
        assert!(
            refused(AlsParams {
                iterations: 0,
                ..ok
            })
            .starts_with("iterations = 0")
        );
        assert!(refused(AlsParams { cg_steps: 0, ..ok }).starts_with("cg_steps = 0"));
        let regularization = f32::NAN;
        assert!(
            refused(AlsParams {
                regularization,
                ..ok
            })
            .starts_with("regularization = NaN")
        );
        assert!(refused(AlsParams { alpha: -1.0, ..ok }).starts_with("alpha = -1"));
    }

    #[test]
    fn parameters_have_defaults_and_unknown_keys_are_refused() {
        let params: AlsParams = serde_json::from_str(r#"{"dim": 32}"#).unwrap();
        assert_eq!(
            params,
            AlsParams {
                dim: 32,
                ..AlsParams::default()
            }
        );
        let error = serde_json::from_str::<AlsParams>(r#"{"dims": 32}"#).unwrap_err();
        assert!(error.to_string().contains("dims"), "{error}");
    }

    #[test]
    fn a_negative_weight_is_refused_with_its_place() {
        let interactions = Csr::from_triplets(3, 3, &[(0, 1, 1.0), (2, 1, -0.5)]).unwrap();
        let error = train(
            &CpuDevice::new(),
            &Examples::new(&interactions),
            &PARAMS,
            &mut quiet,
        )
        .unwrap_err();
        assert!(error.to_string().starts_with("row 2, column 1"), "{error}");
    }
}

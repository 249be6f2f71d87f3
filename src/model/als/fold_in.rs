//! Rows that arrive after the training: while one side is held, each row of the other has one solution, and that is its vector.

use super::{AlsParams, REMEDY, solve};
use crate::compute::{Device, Matrix};
use crate::features::csr::Csr;
use crate::model::fitted::check_finite;
use crate::model::{Factors, Held, ModelError, check_weights};

/// Conjugate-gradient steps for rows that start from nothing: enough that the result no longer depends on the start.
const STEPS: usize = 20;
/// Those after which a vector is right to three digits.
const FIRST_STEPS: usize = 8;

/// Users against the items that are held, the other items against the users, and then users against all items, so that a
/// user's vector is the solution of all that the user has.
pub(super) fn fold_in(
    device: &dyn Device,
    interactions: &Csr,
    held: &Held<'_>,
    params: &AlsParams,
) -> Result<Factors, ModelError> {
    params.validate()?;
    check_weights(interactions)?;
    let mut items = held.items();
    let mut users = Matrix::zeros(interactions.rows(), params.dim);
    let mut steps = STEPS;
    let at_least = |steps: usize| params.cg_steps.max(steps);
    let by_item = interactions.transpose();
    let new = |&item: &usize| !held.holds(item) && !by_item.row(item).0.is_empty();
    let new: Vec<usize> = (0..items.rows()).filter(new).collect();
    if !new.is_empty() {
        solve(
            device,
            &items,
            interactions,
            params,
            at_least(FIRST_STEPS),
            &mut users,
        )?;
        steps -= FIRST_STEPS;
        let rows = by_item.gathered(new.iter().copied());
        let mut found = Matrix::zeros(new.len(), params.dim);
        solve(device, &users, &rows, params, at_least(STEPS), &mut found)?;
        for (&item, row) in new.iter().zip(0..) {
            items.row_mut(item).copy_from_slice(found.row(row));
        }
    }
    let steps = at_least(steps);
    solve(device, &items, interactions, params, steps, &mut users)?;
    for table in [&users, &items] {
        check_finite(table, REMEDY)?;
    }
    Ok(Factors { users, items })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Solver, train};
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::{csr, exact_als, gpu, norm, row_error};
    use crate::model::Examples;

    const PARAMS: AlsParams = AlsParams {
        dim: 8,
        iterations: 6,
        regularization: 0.1,
        alpha: 5.0,
        solver: Solver::ConjugateGradients,
        cg_steps: 3,
        seed: 7,
    };

    /// What was there at the training: not the users and items whose number ends in 3.
    fn before(interactions: &Csr) -> Csr {
        let row_of = |at: usize| {
            let ends = interactions.indptr();
            ends.partition_point(|&end| end <= at as u64) - 1
        };
        interactions.filtered(|at| row_of(at) % 10 != 3 && interactions.indices()[at] % 10 != 3)
    }

    fn trained(interactions: &Csr) -> Factors {
        let examples = Examples::new(interactions);
        train(&CpuDevice::new(), &examples, &PARAMS, &mut |_, _| {}).unwrap()
    }

    /// Largest distance of a row from the solution that `exact_als` gives, relative to that.
    fn error(found: &Matrix, fixed: &Matrix, interactions: &Csr) -> f64 {
        let exact = exact_als(fixed, interactions, PARAMS.solve());
        let rows = exact.iter().zip(0..).map(|(exact, row)| {
            let pairs = found.row(row).iter().zip(exact);
            let distance = norm(pairs.map(|(&x, e)| f64::from(x) - e));
            distance / norm(exact.iter().copied()).max(1e-12)
        });
        rows.fold(0.0, f64::max)
    }

    #[test]
    fn the_same_interactions_give_the_exact_half_iteration_and_leave_items_alone() {
        let (interactions, device) = (csr(60, 50, 5, 1), CpuDevice::new());
        let former = trained(&interactions);
        for (solver, most) in [(Solver::ConjugateGradients, 1e-3), (Solver::Cholesky, 1e-5)] {
            let params = AlsParams { solver, ..PARAMS };
            let held = Held::new(&former, |_| true);
            let folded = fold_in(&device, &interactions, &held, &params).unwrap();
            assert_eq!(folded.items, former.items);
            let error = error(&folded.users, &former.items, &interactions);
            assert!(error < most, "{solver:?}: {error}");
        }
    }

    #[test]
    fn new_users_and_items_get_the_exact_solution_and_others_theirs() {
        let (interactions, device) = (csr(60, 50, 5, 1), CpuDevice::new());
        let former = trained(&before(&interactions));
        assert!(former.items.is_zero(13) && former.users.is_zero(23));
        let params = AlsParams {
            solver: Solver::Cholesky,
            ..PARAMS
        };
        let held = Held::new(&former, |_| true);
        let folded = fold_in(&device, &interactions, &held, &params).unwrap();
        // Of users with interactions none is without a vector, known or new.
        for user in (0..60).filter(|&user| !interactions.row(user).0.is_empty()) {
            assert!(!folded.users.is_zero(user), "{user}");
        }
        assert!(error(&folded.users, &folded.items, &interactions) < 1e-5);
        // New items are solved against the users as the items that were held have them.
        let mut users = Matrix::zeros(60, PARAMS.dim);
        solve(
            &device,
            &former.items,
            &interactions,
            &params,
            0,
            &mut users,
        )
        .unwrap();
        let by_item = interactions.transpose();
        let new: Vec<usize> = (0..50)
            .filter(|&item| former.items.is_zero(item) && !by_item.row(item).0.is_empty())
            .collect();
        assert!(new.len() >= 5);
        let found = folded.items.gathered(new.iter().copied());
        assert!(error(&found, &users, &by_item.gathered(new.iter().copied())) < 1e-5);
        for item in (0..50).filter(|item| !new.contains(item)) {
            assert_eq!(folded.items.row(item), former.items.row(item), "{item}");
        }
    }

    #[test]
    fn a_users_vector_does_not_depend_on_who_else_is_folded_in() {
        let (interactions, device) = (csr(60, 50, 5, 1), CpuDevice::new());
        let former = trained(&interactions);
        let held = Held::new(&former, |_| true);
        let all = fold_in(&device, &interactions, &held, &PARAMS).unwrap();
        let alone = fold_in(&device, &interactions.slice_rows(5..6), &held, &PARAMS).unwrap();
        assert_eq!(alone.users.row(0), all.users.row(5));
    }

    #[test]
    fn an_item_whose_vector_was_not_learnt_is_solved_anew() {
        let (interactions, device) = (csr(60, 50, 5, 1), CpuDevice::new());
        let former = trained(&interactions);
        let held = Held::new(&former, |item| item != 7);
        let folded = fold_in(&device, &interactions, &held, &PARAMS).unwrap();
        for item in 0..50 {
            let stands = folded.items.row(item) == former.items.row(item);
            assert_eq!(stands, item != 7, "{item}");
        }
        assert!(!folded.items.is_zero(7));
    }

    #[test]
    fn a_gpu_folds_in_the_same() {
        let Some(device) = gpu(|limits| limits) else {
            return;
        };
        let interactions = csr(60, 50, 5, 1);
        let former = trained(&before(&interactions));
        let held = Held::new(&former, |_| true);
        let params = AlsParams {
            regularization: 1.0,
            ..PARAMS
        };
        let fold = |device: &dyn Device| fold_in(device, &interactions, &held, &params).unwrap();
        let (a, b) = (fold(&device), fold(&CpuDevice::new()));
        assert_eq!(a, fold(&device));
        assert!(row_error(&a.users, &b.users) < 1e-4);
        assert!(row_error(&a.items, &b.items) < 1e-4);
    }
}

//! CPU kernels against their oracles.
#![allow(clippy::unwrap_used)]

use super::testing::{brute_top_k, csr, exact_als, gram, matrix, norm, row_error, small_matrix};
use super::*;
use proptest::prelude::*;

/// Instruction sets of this machine.
fn devices() -> Vec<CpuDevice> {
    [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar]
        .into_iter()
        .filter(|isa| isa.is_available())
        .map(CpuDevice::with_isa)
        .collect()
}

fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(run)
}

const SOLVE: AlsSolve = AlsSolve {
    alpha: 10.0,
    lambda: 0.1,
    steps: 3,
};

#[test]
fn gram_is_the_sum_of_outer_products() {
    for device in devices() {
        for (rows, dim) in [(0, 3), (1, 1), (100, 7), (1000, 64), (777, 33), (300, 130)] {
            let table = matrix(rows, dim, 1);
            let expected = gram(&table, 0.5);
            let found = device.gram(table.view(), 0.5).unwrap();
            for (i, (&found, expected)) in found.data().iter().zip(expected).enumerate() {
                let scale = (rows as f64).sqrt().max(1.0);
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5 * scale,
                    "[{rows}, {dim}] at {i}: {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn enough_conjugate_gradient_steps_reach_the_exact_solution() {
    for device in devices() {
        for dim in [1, 5, 16, 24, 48, 64, 96, 100, 128, 150] {
            let fixed = matrix(400, dim, 2);
            let interactions = csr(40, 400, 8, 3);
            let solve = AlsSolve {
                lambda: 5.0,
                steps: 2 * dim + 8,
                ..SOLVE
            };
            let exact = exact_als(&fixed, &interactions, solve);
            let mut x = small_matrix(40, dim, 4);
            device
                .als_half(fixed.view(), &interactions, solve, &mut x)
                .unwrap();
            for (row, exact) in exact.iter().enumerate() {
                let pairs = x.row(row).iter().zip(exact);
                let error = norm(pairs.map(|(&x, e)| f64::from(x) - e));
                let size = norm(exact.iter().copied());
                assert!(
                    error <= 1e-4 * size,
                    "{dim} dimensions, row {row}: {error} of {size}"
                );
            }
        }
    }
}

#[test]
fn every_step_lowers_the_distance_to_the_exact_solution() {
    let device = CpuDevice::new();
    let (fixed, interactions) = (matrix(300, 32, 2), csr(50, 300, 12, 3));
    let exact = exact_als(&fixed, &interactions, SOLVE);
    let error = |steps: usize| {
        let mut x = Matrix::zeros(50, 32);
        let solve = AlsSolve { steps, ..SOLVE };
        device
            .als_half(fixed.view(), &interactions, solve, &mut x)
            .unwrap();
        norm(
            x.data()
                .iter()
                .zip(exact.iter().flatten())
                .map(|(&x, e)| f64::from(x) - e),
        )
    };
    let errors: Vec<f64> = [0, 1, 3, 10].map(error).to_vec();
    assert!(errors.windows(2).all(|e| e[1] < e[0]), "{errors:?}");
}

#[test]
fn rows_without_interactions_become_zero() {
    let interactions = csr(20, 10, 3, 5);
    let mut x = small_matrix(20, 12, 6);
    CpuDevice::new()
        .als_half(matrix(10, 12, 7).view(), &interactions, SOLVE, &mut x)
        .unwrap();
    for row in 0..20 {
        let empty = interactions.row(row).0.is_empty();
        assert_eq!(x.row(row).iter().all(|&v| v == 0.0), empty, "row {row}");
    }
}

#[test]
fn a_row_with_a_hundred_thousand_neighbours_is_solved() {
    let n = 100_000u32;
    let triplets: Vec<_> = (0..n).map(|c| (0, c, 1.0)).collect();
    let interactions = Csr::from_triplets(1, n as usize, &triplets).unwrap();
    let fixed = matrix(n as usize, 16, 8);
    let solve = AlsSolve { steps: 40, ..SOLVE };
    let exact = exact_als(&fixed, &interactions, solve);
    let mut x = Matrix::zeros(1, 16);
    CpuDevice::new()
        .als_half(fixed.view(), &interactions, solve, &mut x)
        .unwrap();
    let pairs = x.data().iter().zip(&exact[0]);
    let error = norm(pairs.map(|(&x, e)| f64::from(x) - e));
    assert!(error < 1e-3 * norm(exact[0].iter().copied()), "{error}");
}

#[test]
fn results_depend_neither_on_threads_nor_on_fused_instruction_sets() {
    let (fixed, interactions) = (matrix(5000, 40, 9), csr(800, 5000, 15, 10));
    let users = matrix(800, 40, 11);
    let run = |device: &CpuDevice, threads: usize| {
        on_threads(threads, || {
            let mut x = small_matrix(800, 40, 12);
            device
                .als_half(fixed.view(), &interactions, SOLVE, &mut x)
                .unwrap();
            let query = Query {
                users: users.view(),
                exclude: Some(&interactions),
                first_user: 0,
                min_score: None,
                k: 10,
            };
            let top = device
                .scorer(fixed.view(), None)
                .unwrap()
                .top_k(&query)
                .unwrap();
            (device.gram(fixed.view(), 0.1).unwrap(), x, top)
        })
    };
    let expected = run(&CpuDevice::new(), 1);
    for device in devices() {
        for threads in [1, 2, 5] {
            let found = run(&device, threads);
            if device.info().backend == Isa::Scalar.name() {
                assert!(row_error(&found.1, &expected.1) < 1e-5);
            } else {
                assert!(found == expected, "{} × {threads}", device.info().backend);
            }
        }
    }
}

/// Small whole numbers give exact scores and many ties.
fn whole(rows: usize, cols: usize, seed: u64) -> Matrix {
    let mut table = matrix(rows, cols, seed);
    for value in table.data_mut() {
        *value = (*value * 2.0).round();
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lists_are_what_sorting_everything_gives(
        users in 1usize..40,
        items in 1usize..200,
        dim in 0usize..20,
        k in 0usize..60,
        first_user in 0usize..3,
        min_score in proptest::option::of(-2i8..6),
        mask in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (u, y) = (whole(users, dim, seed), whole(items, dim, seed ^ 1));
        let exclude = csr(users + first_user, items, 20, seed ^ 2);
        let available: Option<Vec<bool>> = mask.then(|| (0..items).map(|i| i % 3 != 1).collect());
        let query = Query {
            users: u.view(),
            exclude: Some(&exclude),
            first_user,
            min_score: min_score.map(f32::from),
            k,
        };
        for device in devices() {
            let scorer = device.scorer(y.view(), available.as_deref()).unwrap();
            let top = scorer.top_k(&query).unwrap();
            prop_assert_eq!(top.rows(), users);
            for user in 0..users {
                let (ids, scores) = top.row(user);
                let found: Vec<_> = ids.iter().zip(scores).map(|(&i, &s)| (i, f64::from(s))).collect();
                prop_assert_eq!(found, brute_top_k(&y, available.as_deref(), &query, user));
            }
        }
    }
}

#[test]
fn lists_over_many_items_survive_many_compactions() {
    // Ascending scores: every item enters the list.
    let items = Matrix::new(5000, 1, (0..5000).map(|i| i as f32).collect()).unwrap();
    let users = Matrix::new(3, 1, vec![1.0, -1.0, 0.0]).unwrap();
    let query = Query {
        users: users.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 7,
    };
    for device in devices() {
        let scorer = device.scorer(items.view(), None).unwrap();
        let top = scorer.top_k(&query).unwrap();
        assert_eq!(top.row(0).0, [4999, 4998, 4997, 4996, 4995, 4994, 4993]);
        assert_eq!(top.row(1).0, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(top.row(2).0, [0, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn users_who_must_get_nothing_get_empty_lists() {
    let items = matrix(50, 8, 1);
    let users = matrix(2, 8, 2);
    let all: Vec<_> = (0..50).map(|item| (0, item, 1.0)).collect();
    let exclude = Csr::from_triplets(2, 50, &all).unwrap();
    let query = Query {
        users: users.view(),
        exclude: Some(&exclude),
        first_user: 0,
        min_score: None,
        k: 100,
    };
    let device = CpuDevice::new();
    let top = device
        .scorer(items.view(), None)
        .unwrap()
        .top_k(&query)
        .unwrap();
    assert_eq!((top.row(0).0.len(), top.row(1).0.len()), (0, 50));
    let scorer = device.scorer(items.view(), Some(&[false; 50])).unwrap();
    assert_eq!(scorer.top_k(&query).unwrap().items().len(), 0);
}

#[test]
fn scores_that_are_not_numbers_are_never_listed() {
    let mut items = matrix(40, 4, 1);
    items.data_mut()[5 * 4] = f32::NAN;
    let users = matrix(1, 4, 2);
    let query = Query {
        users: users.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 40,
    };
    for device in devices() {
        let scorer = device.scorer(items.view(), None).unwrap();
        let top = scorer.top_k(&query).unwrap();
        assert_eq!(top.row(0).0.len(), 39);
        assert!(!top.row(0).0.contains(&5));
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let device = CpuDevice::new();
    let (items, users) = (matrix(10, 4, 1), matrix(2, 5, 2));
    assert!(Matrix::new(2, 2, vec![0.0; 3]).is_err());
    assert!(device.scorer(items.view(), Some(&[true; 9])).is_err());
    let query = Query {
        users: users.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 3,
    };
    let scorer = device.scorer(items.view(), None).unwrap();
    assert!(scorer.top_k(&query).is_err());
    let mut x = small_matrix(3, 4, 3);
    let interactions = csr(4, 10, 2, 4);
    assert!(
        device
            .als_half(items.view(), &interactions, SOLVE, &mut x)
            .is_err()
    );
}

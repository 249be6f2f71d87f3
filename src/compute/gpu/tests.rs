//! GPU kernels against their CPU twins, on whatever adapter is here; with small limits, so that all work is split.
#![allow(clippy::unwrap_used)]

use crate::compute::testing::{brute_top_k, csr, gpu, matrix, norm, row_error, small_matrix};
use crate::compute::*;
use crate::features::csr::Csr;
use std::time::Duration;

/// Bindings of 64 KiB, 40 workgroups, dispatches cut short at once.
fn small(limits: GpuLimits) -> GpuLimits {
    GpuLimits {
        binding_bytes: 64 << 10,
        groups: 40,
        dispatch_time: Duration::from_micros(500),
        ..limits
    }
}

fn as_offered(limits: GpuLimits) -> GpuLimits {
    limits
}

const SOLVE: AlsSolve = AlsSolve {
    alpha: 10.0,
    lambda: 0.1,
    steps: 3,
};

#[test]
fn gram_agrees_with_the_cpu() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    for (rows, dim) in [(0, 3), (1, 1), (600, 7), (3000, 64), (400, 130)] {
        let table = matrix(rows, dim, 1);
        let expected = CpuDevice::new().gram(table.view(), 0.5).unwrap();
        let found = device.gram(table.view(), 0.5).unwrap();
        assert!(row_error(&found, &expected) < 1e-5, "[{rows}, {dim}]");
    }
}

#[test]
fn als_agrees_with_the_cpu() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    for dim in [1, 6, 64, 130, 512] {
        let (fixed, interactions) = (matrix(300, dim, 2), csr(50, 300, 40, 3));
        let run = |device: &dyn Device| {
            let mut x = small_matrix(50, dim, 4);
            device
                .als_half(fixed.view(), &interactions, SOLVE, &mut x)
                .unwrap();
            x
        };
        let error = row_error(&run(&device), &run(&CpuDevice::new()));
        assert!(error < 1e-5, "{dim} dimensions: {error}");
    }
}

#[test]
fn a_long_row_agrees_with_the_cpu() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let n = 100_000u32;
    let triplets: Vec<_> = (0..n).map(|c| (1, c, 1.0)).collect();
    let interactions = Csr::from_triplets(3, n as usize, &triplets).unwrap();
    let fixed = matrix(n as usize, 8, 8);
    let run = |device: &dyn Device| {
        let mut x = small_matrix(3, 8, 9);
        device
            .als_half(fixed.view(), &interactions, SOLVE, &mut x)
            .unwrap();
        x
    };
    let error = row_error(&run(&device), &run(&CpuDevice::new()));
    assert!(error < 1e-5, "{error}");
}

#[test]
fn splitting_work_to_fit_the_adapter_changes_no_bit() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let Some(limited) = gpu(small) else { return };
    let (fixed, interactions) = (matrix(2000, 20, 2), csr(900, 2000, 10, 3));
    let users = matrix(900, 20, 5);
    let run = |device: &dyn Device| {
        let mut x = small_matrix(900, 20, 4);
        device
            .als_half(fixed.view(), &interactions, SOLVE, &mut x)
            .unwrap();
        let query = Query {
            users: users.view(),
            exclude: Some(&interactions),
            first_user: 0,
            min_score: None,
            k: 30,
        };
        let scorer = device.scorer(fixed.view(), None).unwrap();
        let top = scorer.top_k(&query).unwrap();
        (device.gram(fixed.view(), 0.1).unwrap(), x, top)
    };
    let expected = run(&device);
    assert!(run(&device) == expected, "a second run differs");
    assert!(run(&limited) == expected, "small limits differ");
}

/// Tables of 500 users and 200 items after three iterations.
fn iterate(device: &dyn Device, by_user: &Csr, dim: usize) -> (Matrix, Matrix) {
    let by_item = by_user.transpose();
    let both = Interactions {
        by_user,
        by_item: &by_item,
    };
    let (users, items) = (small_matrix(500, dim, 1), small_matrix(200, dim, 2));
    let mut als = device.als(both, users, items, SOLVE).unwrap();
    for _ in 0..3 {
        als.half(Side::Users).unwrap();
        als.half(Side::Items).unwrap();
    }
    als.tables().unwrap()
}

#[test]
fn als_on_the_device_gives_the_bits_of_als_by_halves() {
    let (Some(device), Some(limited)) = (gpu(as_offered), gpu(small)) else {
        return;
    };
    for dim in [1, 20, 48] {
        let interactions = csr(500, 200, 20, 3);
        let found = iterate(&device, &interactions, dim);
        // Users of 48 dimensions are too many for it to keep.
        assert!(iterate(&limited, &interactions, dim) == found, "{dim}");
        let (users, items) = iterate(&CpuDevice::new(), &interactions, dim);
        assert!(row_error(&found.0, &users) < 1e-3, "{dim}");
        assert!(row_error(&found.1, &items) < 1e-3, "{dim}");
    }
}

#[test]
fn tables_larger_than_a_binding_are_streamed() {
    let Some(device) = gpu(small) else { return };
    // 16 times the binding: neither the fixed side nor the items can stay on the device.
    let (fixed, interactions) = (matrix(20_000, 12, 2), csr(120, 20_000, 30, 3));
    let users = matrix(120, 12, 5);
    let run = |device: &dyn Device| {
        let mut x = small_matrix(120, 12, 4);
        device
            .als_half(fixed.view(), &interactions, SOLVE, &mut x)
            .unwrap();
        x
    };
    let error = row_error(&run(&device), &run(&CpuDevice::new()));
    assert!(error < 1e-5, "{error}");
    check_lists(&device, &users, &fixed, Some(&interactions), None, None, 20);
}

#[test]
fn a_row_too_long_for_the_adapter_is_solved_by_the_cpu() {
    let Some(device) = gpu(small) else { return };
    // 9,000 entries take 72 kB, more than the binding.
    let triplets: Vec<_> = (0..9000)
        .flat_map(|c| [(2, c, 1.0), (3, c % 50, 1.0)])
        .collect();
    let interactions = Csr::from_triplets(5, 9000, &triplets).unwrap();
    let fixed = matrix(9000, 4, 2);
    let run = |device: &dyn Device| {
        let mut x = small_matrix(5, 4, 1);
        device
            .als_half(fixed.view(), &interactions, SOLVE, &mut x)
            .unwrap();
        x
    };
    let (found, expected) = (run(&device), run(&CpuDevice::new()));
    assert!(row_error(&found, &expected) < 1e-5);
    assert_eq!(found.row(2), expected.row(2));
}

/// Lists are right within 1e-6·|u||v| of each score, and exactly ordered.
fn check_lists(
    device: &dyn Device,
    users: &Matrix,
    items: &Matrix,
    exclude: Option<&Csr>,
    available: Option<&[bool]>,
    min_score: Option<f32>,
    k: usize,
) {
    let query = Query {
        users: users.view(),
        exclude,
        first_user: 0,
        min_score,
        k,
    };
    let scorer = device.scorer(items.view(), available).unwrap();
    let top = scorer.top_k(&query).unwrap();
    assert_eq!(top.rows(), users.rows());
    let size = |row: &[f32]| norm(row.iter().map(|&v| f64::from(v)));
    let widest = (0..items.rows())
        .map(|i| size(items.row(i)))
        .fold(0.0, f64::max);
    for user in 0..users.rows() {
        let tolerance = 1e-6 * size(users.row(user)) * widest;
        let expected = brute_top_k(items, available, &query, user);
        let (ids, scores) = top.row(user);
        assert_eq!(ids.len(), expected.len(), "user {user}");
        for (rank, (&id, &score)) in ids.iter().zip(scores).enumerate() {
            let (_, wanted) = expected[rank];
            assert!(
                (f64::from(score) - wanted).abs() <= tolerance,
                "user {user}, rank {rank}"
            );
            assert!(available.is_none_or(|mask| mask[id as usize]));
            assert!(!query.excluded(user).contains(&id));
            let pairs = users.row(user).iter().zip(items.row(id as usize));
            let exact: f64 = pairs.map(|(&u, &v)| f64::from(u) * f64::from(v)).sum();
            assert!(
                (f64::from(score) - exact).abs() <= tolerance,
                "user {user}, item {id}"
            );
            if rank > 0 {
                let before = (scores[rank - 1], ids[rank - 1]);
                assert!(before.0 > score || (before.0 == score && before.1 < id));
            }
        }
    }
}

#[test]
fn lists_agree_with_sorting_everything() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let (users, items) = (matrix(61, 30, 1), matrix(1500, 30, 2));
    let exclude = csr(61, 1500, 200, 3);
    let available: Vec<bool> = (0..1500).map(|i| i % 5 != 2).collect();
    for k in [1, 10, 200, 1000] {
        check_lists(
            &device,
            &users,
            &items,
            Some(&exclude),
            Some(&available),
            None,
            k,
        );
    }
    check_lists(&device, &users, &items, None, None, Some(1.5), 50);
    check_lists(&device, &users, &matrix(20, 30, 4), None, None, None, 50);
}

#[test]
fn lists_need_no_full_panel_of_users_and_no_full_tile_of_items() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    for (users, items, dim) in [
        (1, 1, 1),
        (63, 255, 8),
        (64, 256, 9),
        (65, 257, 17),
        (130, 700, 3),
    ] {
        let (users, items) = (matrix(users, dim, 1), matrix(items, dim, 2));
        check_lists(&device, &users, &items, None, None, None, 20);
    }
}

#[test]
fn rising_scores_fill_a_list_again_and_again() {
    let (Some(device), Some(limited)) = (gpu(as_offered), gpu(small)) else {
        return;
    };
    // Every item enters the lists of half the users.
    let items = Matrix::new(5000, 1, (0..5000).map(|i| i as f32).collect()).unwrap();
    let users = Matrix::new(70, 1, (0..70).map(|u| [1.0, -1.0][u % 2]).collect()).unwrap();
    let query = Query {
        users: users.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 100,
    };
    for device in [&device, &limited] {
        let scorer = device.scorer(items.view(), None).unwrap();
        let top = scorer.top_k(&query).unwrap();
        for user in 0..70 {
            let expected: Vec<u32> = match user % 2 {
                0 => (4900..5000).rev().collect(),
                _ => (0..100).collect(),
            };
            assert_eq!(top.row(user).0, expected, "{user}");
        }
    }
}

#[test]
fn scores_that_are_not_numbers_are_never_listed() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let mut items = matrix(400, 4, 1);
    items.data_mut()[5 * 4] = f32::NAN;
    let users = matrix(3, 4, 2);
    let query = Query {
        users: users.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 400,
    };
    let scorer = device.scorer(items.view(), None).unwrap();
    let top = scorer.top_k(&query).unwrap();
    for user in 0..3 {
        assert_eq!(top.row(user).0.len(), 399);
        assert!(!top.row(user).0.contains(&5));
    }
}

#[test]
fn ties_go_to_the_lower_item() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    // Whole numbers: scores are exact, so lists must be equal, not near.
    let mut items = matrix(700, 6, 1);
    let mut users = matrix(33, 6, 2);
    for value in items.data_mut().iter_mut().chain(users.data_mut()) {
        *value = (*value * 2.0).round();
    }
    let exclude = csr(33, 700, 30, 3);
    let query = Query {
        users: users.view(),
        exclude: Some(&exclude),
        first_user: 0,
        min_score: Some(0.0),
        k: 40,
    };
    let run = |device: &dyn Device| {
        let scorer = device.scorer(items.view(), None).unwrap();
        scorer.top_k(&query).unwrap()
    };
    assert_eq!(run(&device), run(&CpuDevice::new()));
}

#[test]
fn a_lost_device_is_an_error_with_its_name_and_never_zeros() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let table = matrix(300, 8, 1);
    let scorer = device.scorer(table.view(), None).unwrap();
    device.gram(table.view(), 0.1).unwrap();
    device.destroy();
    let error = device.gram(table.view(), 0.1).unwrap_err();
    assert!(error.to_string().contains(&device.info().name), "{error}");
    let query = Query {
        users: table.view(),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 3,
    };
    assert!(scorer.top_k(&query).is_err());
}

#[test]
fn a_list_longer_than_shared_memory_is_refused() {
    let Some(device) = gpu(as_offered) else {
        return;
    };
    let table = matrix(20_000, 4, 1);
    let query = Query {
        users: table.rows_view(0..1),
        exclude: None,
        first_user: 0,
        min_score: None,
        k: 20_000,
    };
    let scorer = device.scorer(table.view(), None).unwrap();
    let error = scorer.top_k(&query).unwrap_err();
    assert!(matches!(error, ComputeError::TooLarge { .. }), "{error}");
}

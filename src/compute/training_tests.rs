//! Training steps against the loss's own slopes, against each other, and on whatever adapter is here.
#![allow(clippy::unwrap_used)]

use super::testing::{Random, gpu, matrix, row_error};
use super::training::{Plan, dropped};
use super::*;

const LOSSES: [Loss; 5] = [
    Loss::Softmax {
        temperature: 0.2,
        power: 1.1,
    },
    Loss::Logistic {
        negative_weight: 3.0,
    },
    Loss::Squared {
        negative_weight: 2.0,
    },
    Loss::Bpr,
    Loss::Contrastive {
        margin: 0.1,
        negative_weight: 5.0,
    },
];

fn recipe(loss: Loss, cosine: bool) -> Recipe {
    Recipe {
        loss,
        cosine,
        optimizer: Optimizer::Sgd,
        l2: 0.0,
        l1: 0.0,
        dropout: 0.0,
        seed: 7,
    }
}

/// A batch that owns its arrays; items, users and negatives repeat, and some negatives are some samples' own items.
struct Drawn {
    users: Vec<u32>,
    items: Vec<u32>,
    weights: Vec<f32>,
    targets: Vec<f32>,
    negatives: Vec<u32>,
    corrections: Vec<f32>,
}

fn draw(samples: usize, negatives: usize, (users, items): (usize, usize), seed: u64) -> Drawn {
    let mut random = Random::new(seed);
    let mut ids = |n: usize, below: usize| -> Vec<u32> {
        (0..n).map(|_| random.below(below) as u32).collect()
    };
    let (users, items, negatives) = (
        ids(samples, users),
        ids(samples, items),
        ids(negatives, items),
    );
    Drawn {
        weights: (0..samples).map(|i| 0.5 + (i % 4) as f32 * 0.25).collect(),
        targets: (0..samples).map(|i| 1.0 - (i % 5) as f32 * 0.2).collect(),
        corrections: (0..negatives.len())
            .map(|j| (j % 3) as f32 * 0.3 - 0.2)
            .collect(),
        users,
        items,
        negatives,
    }
}

impl Drawn {
    fn batch(&self) -> Batch<'_> {
        Batch {
            users: &self.users,
            items: &self.items,
            weights: &self.weights,
            targets: &self.targets,
            negatives: &self.negatives,
            corrections: &self.corrections,
            held: &[],
        }
    }
}

/// The mean loss by its definition, in `f64`; `users` and `items` are `[rows, dim]`.
fn loss(recipe: &Recipe, batch: &Batch<'_>, users: &[f64], items: &[f64], dim: usize) -> f64 {
    let vector = |table: &[f64], row: u32| -> Vec<f64> {
        let row = &table[row as usize * dim..(row as usize + 1) * dim];
        let length = row.iter().map(|v| v * v).sum::<f64>() + 1e-12;
        let by = if recipe.cosine { length.sqrt() } else { 1.0 };
        row.iter().map(|v| v / by).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let soft = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let count = batch.negatives.len() as f64;
    let mut total = 0.0;
    for i in 0..batch.users.len() {
        let user = vector(users, batch.users[i]);
        let positive = dot(&user, &vector(items, batch.items[i]));
        let negatives: Vec<(f64, f64)> = (0..batch.negatives.len())
            .filter(|&j| batch.negatives[j] != batch.items[i])
            .map(|j| {
                let s = dot(&user, &vector(items, batch.negatives[j]));
                (s, f64::from(batch.corrections[j]))
            })
            .collect();
        let each = |f: &dyn Fn(f64) -> f64| negatives.iter().map(|n| f(n.0)).sum::<f64>() / count;
        total += f64::from(batch.weights[i])
            * match recipe.loss {
                Loss::Softmax { temperature, power } => {
                    let t = f64::from(temperature);
                    let sum: f64 = negatives.iter().map(|(s, c)| (s / t + c).exp()).sum();
                    f64::from(power) * sum.ln() - positive / t
                }
                Loss::Logistic { negative_weight } => {
                    soft(-positive) + f64::from(negative_weight) * each(&soft)
                }
                Loss::Squared { negative_weight } => {
                    (f64::from(batch.targets[i]) - positive).powi(2)
                        + f64::from(negative_weight) * each(&|s| s * s)
                }
                Loss::Bpr => each(&|s| soft(s - positive)),
                Loss::Contrastive {
                    margin,
                    negative_weight,
                } => {
                    let hinge = |s: f64| (s - f64::from(margin)).max(0.0);
                    1.0 - positive + f64::from(negative_weight) * each(&hinge)
                }
            };
    }
    total / batch.users.len() as f64
}

fn doubles(table: &Matrix) -> Vec<f64> {
    table.data().iter().map(|&v| f64::from(v)).collect()
}

fn devices() -> Vec<CpuDevice> {
    [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar]
        .into_iter()
        .filter(|isa| isa.is_available())
        .map(CpuDevice::with_isa)
        .collect()
}

/// Some steps from the same start.
fn train(
    device: &dyn Device,
    recipe: Recipe,
    dim: usize,
    steps: u64,
) -> (Vec<f64>, Matrix, Matrix) {
    train_tables(device, recipe, (30, 50, dim), steps)
}

fn train_tables(
    device: &dyn Device,
    recipe: Recipe,
    (users, items, dim): (usize, usize, usize),
    steps: u64,
) -> (Vec<f64>, Matrix, Matrix) {
    let tables = (matrix(users, dim, 1), matrix(items, dim, 2));
    let mut trainer = device.trainer(&tables.0, &tables.1, recipe).unwrap();
    for step in 0..steps {
        let drawn = draw(130, 37, (users, items), 3 + step);
        trainer.step(&drawn.batch(), 0.05).unwrap();
    }
    let (users, items) = trainer.tables().unwrap();
    (trainer.losses().unwrap(), users, items)
}

#[test]
fn a_step_goes_down_the_finite_differences_of_the_loss() {
    let dim = 5;
    let (users, items) = (matrix(6, dim, 1), matrix(9, dim, 2));
    let drawn = draw(70, 11, (6, 9), 3);
    let batch = drawn.batch();
    for device in devices() {
        for (loss_kind, cosine) in LOSSES.iter().flat_map(|&l| [(l, false), (l, true)]) {
            let recipe = recipe(loss_kind, cosine);
            let mut trainer = device.trainer(&users, &items, recipe).unwrap();
            trainer.step(&batch, 1.0).unwrap();
            let found = trainer.losses().unwrap()[0];
            let (moved_users, moved_items) = trainer.tables().unwrap();
            let tables = [doubles(&users), doubles(&items)];
            let expected = loss(&recipe, &batch, &tables[0], &tables[1], dim);
            assert!(
                (found - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{recipe:?}: {found}, expected {expected}"
            );
            for (side, (before, after)) in [(&users, &moved_users), (&items, &moved_items)]
                .into_iter()
                .enumerate()
            {
                for at in 0..before.data().len() {
                    let at_distance = |h: f64| {
                        let mut tables = tables.clone();
                        tables[side][at] += h;
                        loss(&recipe, &batch, &tables[0], &tables[1], dim)
                    };
                    let slope = (at_distance(1e-5) - at_distance(-1e-5)) / 2e-5;
                    let step = f64::from(before.data()[at]) - f64::from(after.data()[at]);
                    assert!(
                        (step - slope).abs() < 2e-5 * slope.abs().max(1.0),
                        "{recipe:?}, side {side} at {at}: moved by {step}, slope {slope}"
                    );
                }
            }
        }
    }
}

#[test]
fn twenty_runs_on_any_number_of_threads_give_the_same_bits() {
    let recipe = Recipe {
        optimizer: Optimizer::Adam,
        dropout: 0.2,
        ..recipe(LOSSES[0], true)
    };
    let run = |threads: usize, isa: Isa| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let run = || train(&CpuDevice::with_isa(isa), recipe, 20, 6);
        pool.build().unwrap().install(run)
    };
    let expected = run(1, Isa::detect());
    for repeat in 0..20 {
        assert!(run(1 + repeat % 5, Isa::detect()) == expected, "{repeat}");
    }
    for isa in [Isa::Avx2, Isa::Avx512]
        .into_iter()
        .filter(|i| i.is_available())
    {
        let (_, users, items) = run(2, isa);
        assert!(row_error(&users, &expected.1) < 1e-4, "{}", isa.name());
        assert!(row_error(&items, &expected.2) < 1e-4, "{}", isa.name());
    }
}

#[test]
fn every_optimiser_lowers_every_loss() {
    for loss in LOSSES {
        for optimizer in [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam] {
            let recipe = Recipe {
                optimizer,
                ..recipe(loss, true)
            };
            let (users, items) = (matrix(30, 8, 1), matrix(50, 8, 2));
            let drawn = draw(130, 37, (30, 50), 3);
            let device = CpuDevice::new();
            let mut trainer = device.trainer(&users, &items, recipe).unwrap();
            let rate = if optimizer == Optimizer::Sgd {
                0.5
            } else {
                0.02
            };
            for _ in 0..40 {
                trainer.step(&drawn.batch(), rate).unwrap();
            }
            let losses = trainer.losses().unwrap();
            assert!(losses[39] < losses[0], "{recipe:?}: {losses:?}");
        }
    }
}

#[test]
fn adam_and_adagrad_are_their_definitions() {
    let (users, items) = (matrix(1, 3, 1), matrix(2, 3, 2));
    let drawn = Drawn {
        users: vec![0],
        items: vec![0],
        weights: vec![1.0],
        targets: vec![],
        negatives: vec![1],
        corrections: vec![0.0],
    };
    let device = CpuDevice::new();
    let moved = |optimizer| {
        let recipe = Recipe {
            optimizer,
            l2: 0.01,
            ..recipe(Loss::Bpr, false)
        };
        let mut trainer = device.trainer(&users, &items, recipe).unwrap();
        trainer.step(&drawn.batch(), 0.1).unwrap();
        trainer.tables().unwrap().0
    };
    // A first step of either moves every element by the rate, against its gradient's sign.
    for optimizer in [Optimizer::Adagrad, Optimizer::Adam] {
        let (plain, table) = (moved(Optimizer::Sgd), moved(optimizer));
        for ((&before, &sgd), &after) in users.data().iter().zip(plain.data()).zip(table.data()) {
            let expected = before - 0.1 * (before - sgd).signum();
            assert!(
                (after - expected).abs() < 1e-5,
                "{after}, expected {expected}"
            );
        }
    }
}

#[test]
fn l1_makes_exact_zeros_and_l2_shrinks() {
    let (users, items) = (matrix(30, 8, 1), matrix(50, 8, 2));
    let drawn = draw(130, 37, (30, 50), 3);
    let run = |l1: f32, l2: f32| {
        let device = CpuDevice::new();
        let recipe = Recipe {
            l1,
            l2,
            ..recipe(Loss::Bpr, false)
        };
        let mut trainer = device.trainer(&users, &items, recipe).unwrap();
        trainer.step(&drawn.batch(), 0.1).unwrap();
        trainer.tables().unwrap().1
    };
    let zeros = |t: &Matrix| t.data().iter().filter(|&&v| v == 0.0).count();
    let size = |t: &Matrix| t.data().iter().map(|v| v.abs()).sum::<f32>();
    assert_eq!(zeros(&run(0.0, 0.0)), 0);
    assert!(zeros(&run(5.0, 0.0)) > 100);
    assert!(size(&run(0.0, 1.0)) < size(&run(0.0, 0.0)));
}

#[test]
fn dropout_takes_its_share_and_other_elements_every_step() {
    let share = |key: u32| (0..10_000).filter(|&c| dropped(key, 3, c, 0.3)).count();
    assert!((2_800..3_200).contains(&share(1)), "{}", share(1));
    let same = (0..10_000).filter(|&c| dropped(1, 3, c, 0.3) == dropped(2, 3, c, 0.3));
    assert!((5_500..6_100).contains(&same.count()));
    assert!((0..10_000).all(|c| !dropped(1, 3, c, 0.0)));
}

#[test]
fn a_plan_lists_each_row_once_with_its_places() {
    let mut steps = vec![0, 0, 4, 0, 0, 0];
    let plan = Plan::new([5, 2, 5, 0, 2, 5].into_iter(), &[], &mut steps);
    assert_eq!(plan.rows, [0, 2, 5]);
    assert_eq!(plan.starts, [0, 1, 3, 6]);
    assert_eq!(plan.occurrences, [3, 1, 4, 0, 2, 5]);
    assert_eq!(steps, [1, 0, 5, 0, 0, 1]);
    assert!((plan.scales[0][0] - 10.0).abs() < 1e-4);
    let held = [true, false, true, false, false, false];
    let plan = Plan::new([5, 2, 5, 0, 2, 5].into_iter(), &held, &mut steps);
    assert_eq!(plan.rows, [5]);
    assert_eq!(plan.starts, [0, 3]);
    assert_eq!(plan.occurrences, [0, 2, 5]);
    assert_eq!(steps, [1, 0, 5, 0, 0, 2]);
}

/// One step from the same start with every third item held, or none.
fn step_holding(device: &dyn Device, recipe: Recipe, holds: bool) -> (Matrix, Matrix) {
    let (users, items) = (matrix(30, 20, 1), matrix(50, 20, 2));
    let held: Vec<bool> = (0..50).map(|item| holds && item % 3 == 0).collect();
    let mut trainer = device.trainer(&users, &items, recipe).unwrap();
    let drawn = draw(130, 37, (30, 50), 3);
    let batch = Batch {
        held: &held,
        ..drawn.batch()
    };
    trainer.step(&batch, 0.05).unwrap();
    trainer.tables().unwrap()
}

#[test]
fn items_that_are_held_stay_and_all_else_moves_as_ever() {
    let gpu = gpu(|limits| limits);
    let cpus = devices();
    let mut devices: Vec<&dyn Device> = cpus.iter().map(|d| d as &dyn Device).collect();
    devices.extend(gpu.as_ref().map(|d| d as &dyn Device));
    for device in devices {
        for optimizer in [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam] {
            let recipe = Recipe {
                optimizer,
                l2: 0.01,
                dropout: 0.2,
                ..recipe(LOSSES[0], true)
            };
            let (users, items) = step_holding(device, recipe, false);
            let (users_beside, items_held) = step_holding(device, recipe, true);
            assert_eq!(users_beside, users);
            let before = matrix(50, 20, 2);
            for item in 0..50 {
                let expected = if item % 3 == 0 { &before } else { &items };
                assert_eq!(items_held.row(item), expected.row(item), "{item}");
                assert_ne!(items.row(item), before.row(item), "{item}");
            }
        }
    }
}

#[test]
fn a_step_may_hold_every_item() {
    let gpu = gpu(|limits| limits);
    let cpu = CpuDevice::new();
    let mut devices: Vec<&dyn Device> = vec![&cpu];
    devices.extend(gpu.as_ref().map(|d| d as &dyn Device));
    let (users, items) = (matrix(30, 20, 1), matrix(50, 20, 2));
    for device in devices {
        let mut trainer = device
            .trainer(&users, &items, recipe(Loss::Bpr, false))
            .unwrap();
        let drawn = draw(130, 37, (30, 50), 3);
        let batch = Batch {
            held: &[true; 50],
            ..drawn.batch()
        };
        trainer.step(&batch, 0.05).unwrap();
        let (moved, stood) = trainer.tables().unwrap();
        assert_eq!(stood, items);
        assert_ne!(moved, users);
        let too_few = Batch {
            held: &[true; 49],
            ..drawn.batch()
        };
        assert!(trainer.step(&too_few, 0.05).is_err());
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let (users, items) = (matrix(3, 4, 1), matrix(5, 4, 2));
    let device = CpuDevice::new();
    let mut trainer = device
        .trainer(&users, &items, recipe(Loss::Bpr, false))
        .unwrap();
    let ok = draw(4, 2, (3, 5), 1);
    assert!(trainer.step(&ok.batch(), 0.1).is_ok());
    let mut refused = |change: &dyn Fn(&mut Drawn)| {
        let mut drawn = draw(4, 2, (3, 5), 1);
        change(&mut drawn);
        trainer.step(&drawn.batch(), 0.1).is_err()
    };
    assert!(refused(&|d| d.users[0] = 3));
    assert!(refused(&|d| d.negatives[0] = 5));
    assert!(refused(&|d| d.items.truncate(3)));
    assert!(refused(&|d| d.corrections.truncate(1)));
    assert!(refused(&|d| {
        d.negatives.clear();
        d.corrections.clear();
    }));
    assert!(
        device
            .trainer(&users, &matrix(5, 3, 1), recipe(Loss::Bpr, false))
            .is_err()
    );
}

#[test]
fn a_gpu_moves_the_tables_as_the_cpu_does() {
    let small = |limits: GpuLimits| GpuLimits {
        groups: 20,
        ..limits
    };
    for limits in [None, Some(small)] {
        let Some(device) = gpu(|l| limits.map_or(l, |limit| limit(l))) else {
            return;
        };
        for (loss, dim) in LOSSES.into_iter().zip([1, 6, 20, 64, 130]) {
            // One dimension scaled to length 1 has no slope but rounding.
            for cosine in [false, dim > 1] {
                let recipe = recipe(loss, cosine);
                let run = |device: &dyn Device| train(device, recipe, dim, 1);
                let (found, expected) = (run(&device), run(&CpuDevice::new()));
                assert!((found.0[0] - expected.0[0]).abs() < 1e-5 * expected.0[0].abs().max(1.0));
                for (found, expected) in [(found.1, expected.1), (found.2, expected.2)] {
                    let error = row_error(&found, &expected);
                    assert!(error < 1e-6, "{recipe:?}, {dim} dimensions: {error}");
                }
            }
        }
    }
}

#[test]
fn a_gpu_follows_the_cpu_through_dropout_and_every_optimiser() {
    let Some(device) = gpu(|limits| limits) else {
        return;
    };
    for optimizer in [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam] {
        let recipe = Recipe {
            optimizer,
            l2: 0.01,
            l1: 0.001,
            dropout: 0.2,
            ..recipe(LOSSES[1], true)
        };
        let run = |device: &dyn Device| train(device, recipe, 20, 5);
        let (found, expected) = (run(&device), run(&CpuDevice::new()));
        for (found, expected) in [(found.1, expected.1), (found.2, expected.2)] {
            let error = row_error(&found, &expected);
            assert!(error < 1e-3, "{recipe:?}: {error}");
        }
    }
}

#[test]
fn twenty_runs_on_a_gpu_give_the_same_bits() {
    let Some(device) = gpu(|limits| limits) else {
        return;
    };
    let recipe = Recipe {
        optimizer: Optimizer::Adam,
        dropout: 0.2,
        ..recipe(LOSSES[0], true)
    };
    let expected = train(&device, recipe, 20, 3);
    assert!((0..20).all(|_| train(&device, recipe, 20, 3) == expected));
}

#[test]
fn losses_are_kept_until_they_are_asked_for() {
    let (users, items) = (matrix(30, 20, 1), matrix(50, 20, 2));
    let run = |device: &dyn Device, every: usize| {
        let recipe = recipe(LOSSES[0], true);
        let mut trainer = device.trainer(&users, &items, recipe).unwrap();
        let mut losses = Vec::new();
        for step in 0..12 {
            // The device has room for those of eight such batches.
            let drawn = draw(MOST_SAMPLES, 3, (30, 50), step);
            trainer.step(&drawn.batch(), 0.05).unwrap();
            if step as usize % every == every - 1 {
                losses.extend(trainer.losses().unwrap());
            }
        }
        assert_eq!(trainer.losses().unwrap(), Vec::<f64>::new());
        losses
    };
    let gpu = gpu(|limits| limits);
    let cpu = CpuDevice::new();
    let mut devices: Vec<&dyn Device> = vec![&cpu];
    devices.extend(gpu.as_ref().map(|d| d as &dyn Device));
    for device in devices {
        let losses = run(device, 12);
        assert_eq!(losses.len(), 12);
        assert_eq!(run(device, 1), losses);
        assert_eq!(run(device, 4), losses);
    }
}

/// 24 KiB hold what a batch of [`train_tables`] needs at 20 dimensions, and 307 rows of a table.
fn narrow(limits: GpuLimits) -> GpuLimits {
    GpuLimits {
        binding_bytes: 24 << 10,
        groups: 50,
        ..limits
    }
}

#[test]
fn tables_beyond_a_binding_get_the_bits_of_tables_on_the_device() {
    let (Some(wide), Some(narrow)) = (gpu(|limits| limits), gpu(narrow)) else {
        return;
    };
    for (users, items) in [(700, 900), (700, 60), (60, 900)] {
        for optimizer in [Optimizer::Sgd, Optimizer::Adagrad, Optimizer::Adam] {
            for (cosine, dropout) in [(true, 0.2), (false, 0.2), (true, 0.0)] {
                let recipe = Recipe {
                    optimizer,
                    dropout,
                    l2: 0.01,
                    l1: 0.001,
                    ..recipe(LOSSES[0], cosine)
                };
                let run = |device| train_tables(device, recipe, (users, items, 18), 4);
                let (found, expected) = (run(&narrow), run(&wide));
                assert!(found == expected, "{users} × {items}, {recipe:?}");
                let moved = |before: Matrix, after: &Matrix| {
                    let rows = 0..before.rows();
                    rows.filter(|&r| before.row(r) != after.row(r)).count()
                };
                // Four batches touch some rows of a large table, not all.
                if users == 700 {
                    assert!((200..600).contains(&moved(matrix(users, 18, 1), &found.1)));
                }
            }
        }
    }
}

#[test]
fn a_batch_beyond_a_binding_is_refused_with_the_adapters_name() {
    let Some(device) = gpu(narrow) else {
        return;
    };
    let (users, items) = (matrix(700, 20, 1), matrix(900, 20, 2));
    let recipe = recipe(Loss::Bpr, false);
    let mut trainer = device.trainer(&users, &items, recipe).unwrap();
    let drawn = draw(400, 37, (700, 900), 3);
    let error = trainer.step(&drawn.batch(), 0.1).unwrap_err().to_string();
    assert!(error.starts_with(&device.info().name), "{error}");
    assert!(error.contains("allows 24576"), "{error}");
}

#[test]
fn a_lost_device_is_an_error_with_tables_outside_it_too() {
    let Some(device) = gpu(narrow) else {
        return;
    };
    let (users, items) = (matrix(700, 20, 1), matrix(900, 20, 2));
    let recipe = recipe(Loss::Bpr, false);
    let mut trainer = device.trainer(&users, &items, recipe).unwrap();
    let drawn = draw(130, 37, (700, 900), 3);
    trainer.step(&drawn.batch(), 0.1).unwrap();
    device.destroy();
    let error = trainer.step(&drawn.batch(), 0.1).unwrap_err();
    assert!(
        matches!(&error, ComputeError::Lost { adapter, .. } if *adapter == device.info().name),
        "{error}"
    );
}

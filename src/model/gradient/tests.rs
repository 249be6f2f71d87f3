//! Families trained by gradient, from their hyperparameters to what they rank.
#![allow(clippy::unwrap_used)]

use crate::compute::testing::{gpu, row_error};
use crate::compute::{CpuDevice, Device};
use crate::features::csr::Csr;
use crate::model::{Examples, Factors, Family, Fitted, Held, Progress};

const FAMILIES: [&str; 5] = ["softmax", "logistic", "squared", "bpr", "ccl"];

/// Users and items of the same parity belong together; pairs `(u, u + 4)` were never seen.
fn blocks() -> Csr {
    let cells: Vec<_> = (0..40u32)
        .flat_map(|u| (0..40u32).map(move |i| (u, i, 1.0)))
        .filter(|&(u, i, _)| u % 2 == i % 2 && i != (u + 4) % 40)
        .collect();
    Csr::from_triplets(40, 40, &cells).unwrap()
}

fn fit(
    device: &dyn Device,
    family: &str,
    params: &str,
    weights: &Csr,
    times: Option<&[i64]>,
) -> (Factors, Vec<Progress>) {
    let learner = family
        .parse::<Family>()
        .unwrap()
        .configure(&params.parse().unwrap())
        .unwrap();
    let mut seen = vec![];
    let examples = Examples {
        times,
        ..Examples::new(weights)
    };
    let fitted = learner
        .train(device, &examples, &mut |progress| seen.push(progress))
        .unwrap();
    match fitted {
        Fitted::Factors(factors) => (factors, seen),
        _ => unreachable!(),
    }
}

fn score(factors: &Factors, user: usize, item: usize) -> f32 {
    let pairs = factors.users.row(user).iter().zip(factors.items.row(item));
    pairs.map(|(x, y)| x * y).sum()
}

#[test]
fn every_family_tells_blocks_apart_and_ranks_what_was_never_seen() {
    let weights = blocks();
    for family in FAMILIES {
        let params = "dim = 8\nepochs = 20\nlearning_rate = 0.02";
        let (factors, seen) = fit(&CpuDevice::new(), family, params, &weights, None);
        assert_eq!(seen.len(), 20);
        assert!(seen[19].loss < seen[0].loss, "{family}: {seen:?}");
        let right = (0..40)
            .filter(|&u| score(&factors, u, (u + 4) % 40) > score(&factors, u, (u + 5) % 40))
            .count();
        assert!(right >= 38, "{family}: {right}");
    }
}

#[test]
fn every_way_of_sampling_learns() {
    let weights = blocks();
    for sampling in ["uniform", "popularity", "in_batch", "all"] {
        let params = format!("dim = 8\nepochs = 20\nlearning_rate = 0.02\nsampling = '{sampling}'");
        let (factors, _) = fit(&CpuDevice::new(), "softmax", &params, &weights, None);
        let right = (0..40)
            .filter(|&u| score(&factors, u, (u + 4) % 40) > score(&factors, u, (u + 5) % 40))
            .count();
        assert!(right >= 38, "{sampling}: {right}");
    }
}

#[test]
fn training_twice_gives_the_same_bits_and_another_seed_gives_others() {
    let weights = blocks();
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let params = format!("dim = 8\nepochs = 2\nbatch = 512\ndropout = 0.1\nseed = {seed}");
        pool.build()
            .unwrap()
            .install(|| fit(&CpuDevice::new(), "softmax", &params, &weights, None).0)
    };
    assert_eq!(run(1, 7), run(3, 7));
    assert_ne!(run(1, 7), run(1, 8));
}

#[test]
fn a_warm_start_takes_a_third_of_the_passes_and_keeps_what_was_learnt() {
    let weights = blocks();
    for family in FAMILIES {
        let params = "dim = 8\nepochs = 20\nlearning_rate = 0.02";
        let (former, _) = fit(&CpuDevice::new(), family, params, &weights, None);
        let learner = family.parse::<Family>().unwrap();
        let learner = learner.configure(&params.parse().unwrap()).unwrap();
        let mut seen = vec![];
        let examples = Examples {
            start: Some(&former),
            ..Examples::new(&weights)
        };
        let fitted = learner.train(&CpuDevice::new(), &examples, &mut |p| seen.push(p.pass));
        let Ok(Fitted::Factors(factors)) = fitted else {
            unreachable!()
        };
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
        let right = (0..40)
            .filter(|&u| score(&factors, u, (u + 4) % 40) > score(&factors, u, (u + 5) % 40))
            .count();
        assert!(right >= 38, "{family}: {right}");
        let agreement = crate::model::warm::agreement(&former.items, &factors.items);
        assert!(agreement.unwrap() > 0.9, "{family}: {agreement:?}");
    }
}

/// The blocks without users 3, 13, 23, 33 and items 5, 15, 25, 35, and vectors learnt from that.
fn former(family: &str, params: &str) -> Factors {
    let all = blocks();
    let new = |user: usize, item: u32| user % 10 == 3 || item % 10 == 5;
    let cells: Vec<_> = (0..40)
        .flat_map(|user| all.row(user).0.iter().map(move |&item| (user, item)))
        .filter(|&(user, item)| !new(user, item))
        .map(|(user, item)| (user as u32, item, 1.0))
        .collect();
    let before = Csr::from_triplets(40, 40, &cells).unwrap();
    fit(&CpuDevice::new(), family, params, &before, None).0
}

fn fold(device: &dyn Device, family: &str, params: &str, former: &Factors) -> (Factors, usize) {
    let learner = family.parse::<Family>().unwrap();
    let learner = learner.configure(&params.parse().unwrap()).unwrap();
    let (weights, held) = (blocks(), Held::new(former, |_| true));
    let mut passes = 0;
    let folded = learner.fold_in(device, &Examples::new(&weights), &held, &mut |_| {
        passes += 1
    });
    let Ok(Fitted::Factors(folded)) = folded else {
        unreachable!()
    };
    (folded, passes)
}

#[test]
fn a_fold_in_leaves_items_alone_and_gives_new_rows_vectors_that_rank() {
    for family in FAMILIES {
        let params = "dim = 8\nepochs = 20\nlearning_rate = 0.02";
        let former = former(family, params);
        assert!(former.users.is_zero(13) && former.items.is_zero(25));
        let (folded, passes) = fold(&CpuDevice::new(), family, params, &former);
        assert_eq!(passes, 5);
        for item in 0..40 {
            let stands = folded.items.row(item) == former.items.row(item);
            assert_eq!(stands, item % 10 != 5, "{family}, {item}");
            assert!(!folded.items.is_zero(item));
        }
        assert!((0..40).all(|user| folded.users.row(user) != former.users.row(user)));
        let ranks = |u: usize| score(&folded, u, (u + 4) % 40) > score(&folded, u, (u + 5) % 40);
        let right = (0..40).filter(|&u| ranks(u)).count();
        assert!(right >= 38, "{family}: {right}");
        // New users, and those for whom it is a new item that was never seen.
        for user in (0..40).filter(|user| user % 10 == 3 || user % 10 == 1) {
            assert!(ranks(user), "{family}: {user}");
        }
    }
}

#[test]
fn a_fold_in_takes_no_more_passes_than_training_and_gives_the_same_bits() {
    let params = "dim = 8\nepochs = 2\ndropout = 0.1";
    let former = former("softmax", params);
    let run = || fold(&CpuDevice::new(), "softmax", params, &former);
    assert_eq!(run().1, 2);
    assert_eq!(run(), run());
}

#[test]
fn a_gpu_folds_in_the_same() {
    let Some(device) = gpu(|limits| limits) else {
        return;
    };
    let params = "dim = 8\nepochs = 1\noptimizer = 'sgd'\nlearning_rate = 0.1";
    let former = former("softmax", params);
    let run = |device: &dyn Device| fold(device, "softmax", params, &former).0;
    let (a, b) = (run(&device), run(&CpuDevice::new()));
    assert_eq!(a, run(&device));
    assert!(row_error(&a.users, &b.users) < 1e-4);
    assert!(row_error(&a.items, &b.items) < 1e-4);
}

#[test]
fn cosine_factors_have_length_one_and_unknown_rows_are_zero() {
    let weights = Csr::from_triplets(3, 4, &[(0, 1, 1.0), (0, 2, 1.0), (2, 2, 1.0)]).unwrap();
    let (factors, _) = fit(
        &CpuDevice::new(),
        "softmax",
        "dim = 5\nepochs = 3",
        &weights,
        None,
    );
    let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    for (row, known) in [(0, true), (1, false), (2, true)] {
        let wanted = f32::from(u8::from(known));
        assert!((length(factors.users.row(row)) - wanted).abs() < 1e-5);
    }
    assert!(factors.items.row(0).iter().all(|&v| v == 0.0));
    assert!((length(factors.items.row(2)) - 1.0).abs() < 1e-5);
}

#[test]
fn early_stopping_judges_every_pass_stops_and_trains_again_on_everything() {
    let weights = blocks();
    let params = "dim = 8\nepochs = 60\nlearning_rate = 0.05\nvalidation = 0.2\npatience = 2";
    let times: Vec<i64> = (0..weights.nnz() as i64)
        .map(|at| at * 7919 % 1000)
        .collect();
    for times in [None, Some(&times[..])] {
        let (_, seen) = fit(&CpuDevice::new(), "softmax", params, &weights, times);
        let judged: Vec<f64> = seen.iter().filter_map(|p| p.validation).collect();
        let again = seen.len() - judged.len();
        assert!(judged.len() < 60, "{judged:?}");
        assert_eq!(judged.len(), again + 2);
        let best = judged.iter().copied().fold(0.0, f64::max);
        assert_eq!(judged[again - 1], best);
        assert_eq!(seen.last().unwrap().pass, again);
    }
}

#[test]
fn a_gpu_trains_the_same_model() {
    let Some(device) = gpu(|limits| limits) else {
        return;
    };
    let weights = blocks();
    let params = "dim = 8\nepochs = 1\noptimizer = 'sgd'\nlearning_rate = 0.1";
    let run = |device: &dyn Device| fit(device, "softmax", params, &weights, None).0;
    let (a, b) = (run(&device), run(&CpuDevice::new()));
    assert!(row_error(&a.users, &b.users) < 1e-4);
    assert!(row_error(&a.items, &b.items) < 1e-4);
}

fn refused(family: &str, params: &str) -> String {
    let family: Family = family.parse().unwrap();
    let refused = family.configure(&params.parse().unwrap());
    refused.err().unwrap().to_string()
}

#[test]
fn hyperparameters_are_checked_with_their_names() {
    assert!(refused("softmax", "temperature = 0.0").starts_with("temperature = 0"));
    assert!(refused("softmax", "power = -1").starts_with("power = -1"));
    assert!(refused("ccl", "margin = 1.5").starts_with("margin = 1.5"));
    assert!(refused("logistic", "negative_weight = 0").starts_with("negative_weight = 0"));
    assert!(refused("squared", "negative_weight = nan").contains("negative_weight"));
    assert!(refused("bpr", "dim = 10000").starts_with("dim = 10000"));
    assert!(refused("bpr", "temperature = 0.1").contains("unknown field `temperature`"));
    assert!(refused("bpr", "sampling = 'some'").starts_with("`sampling`: unknown variant `some`"));
    assert!(refused("softmax", "temperature = 'warm'").starts_with("`temperature`: "));
    assert!(refused("softmax", "epochs = 2.5").starts_with("`epochs`: "));
}

#[test]
fn what_is_recorded_is_what_was_set_over_the_defaults() {
    let family: Family = "softmax".parse().unwrap();
    let learner = family
        .configure(&"temperature = 0.2\nepochs = 3".parse().unwrap())
        .unwrap();
    let json = learner.hyperparameters().unwrap();
    assert!(
        json.starts_with(r#"{"temperature":0.2,"power":1.1,"dim":64,"epochs":3,"#),
        "{json}"
    );
}

#[test]
fn interactions_that_cannot_be_learnt_from_are_refused() {
    let train = |weights: &Csr, params: &str| {
        let family: Family = "softmax".parse().unwrap();
        let learner = family.configure(&params.parse().unwrap()).unwrap();
        let examples = Examples::new(weights);
        let trained = learner.train(&CpuDevice::new(), &examples, &mut |_| {});
        trained.err().unwrap().to_string()
    };
    let of = |cells: &[(u32, u32, f32)], items| Csr::from_triplets(2, items, cells).unwrap();
    assert!(train(&of(&[], 3), "").contains("at least two items"));
    assert!(train(&of(&[(0, 0, 1.0)], 1), "").contains("at least two items"));
    assert!(train(&of(&[(1, 2, -1.0)], 3), "").contains("row 1, column 2"));
    let all = train(&of(&[(0, 0, 1.0)], 20_000), "sampling = 'all'");
    assert!(
        all.contains("takes up to 16384 items, and there are 20000"),
        "{all}"
    );
    let fast = "optimizer = 'sgd'\nlearning_rate = 1e30\ncosine = false";
    let error = train(&of(&[(0, 0, 1.0), (1, 1, 1.0)], 3), fast);
    assert!(error.starts_with("training diverged"), "{error}");
}

#[test]
fn one_user_and_two_items_are_enough() {
    let weights = Csr::from_triplets(1, 2, &[(0, 1, 1.0)]).unwrap();
    for family in FAMILIES {
        let (factors, _) = fit(&CpuDevice::new(), family, "dim = 4", &weights, None);
        assert!(score(&factors, 0, 1) > 0.0, "{family}");
    }
}

#[test]
fn a_validation_without_rows_is_refused() {
    let weights = Csr::from_triplets(2, 3, &[(0, 1, 1.0), (1, 2, 1.0)]).unwrap();
    // Nothing is held back, or a user whom nothing else is known of.
    for validation in [0.1f64, 0.5] {
        let family: Family = "softmax".parse().unwrap();
        let learner = family
            .configure(&toml::toml! { validation = validation })
            .unwrap();
        let error = learner
            .train(&CpuDevice::new(), &Examples::new(&weights), &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("validation = {validation} of 2 interactions")),
            "{error}"
        );
    }
}

#[test]
fn squared_foretells_ratings_that_it_has_not_seen() {
    // Five stars within a parity, one across; (u, u + 4) and (u, u + 5) were never rated.
    let stars = |u: u32, i: u32| if u % 2 == i % 2 { 5.0 } else { 1.0 };
    let cells: Vec<_> = (0..40u32)
        .flat_map(|u| (0..40u32).map(move |i| (u, i, stars(u, i))))
        .filter(|&(u, i, _)| i != (u + 4) % 40 && i != (u + 5) % 40)
        .collect();
    let weights = Csr::from_triplets(40, 40, &cells).unwrap();
    let params = "dim = 8\nepochs = 20\nratings = true\nnegative_weight = 0.0";
    let (factors, _) = fit(&CpuDevice::new(), "squared", params, &weights, None);
    let missed: f32 = (0..40u32)
        .flat_map(|u| [(u, (u + 4) % 40), (u, (u + 5) % 40)])
        .map(|(u, i)| (5.0 * score(&factors, u as usize, i as usize) - stars(u, i)).powi(2))
        .sum();
    let error = (missed / 80.0).sqrt();
    // Foretelling the mean of 3 misses by 2.
    assert!(error < 0.5, "{error}");
    assert!(refused("squared", "negative_weight = 0.0").contains("negative_weight"));
}

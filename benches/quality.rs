//! Trains models on a given split and ranks all items for every user of its test part.
//!
//! `cargo bench --bench quality -- FOLDER [--models popular,als,softmax] [--set key=value]… [--holdout SHARE]
//! [--search TRIALS] [--device cpu]`. The folder holds `train.txt` and `test.txt`, one user a line: the user's number, then
//! the numbers of the items, all counted from 0. `--set` changes hyperparameters from the families' defaults. `--holdout`
//! leaves `test.txt` alone and judges by a random share of the training interactions instead, which is how defaults are
//! chosen. `--search` does what `recost tune` does: so many settings of the family's own space, successive halving on a
//! tenth of the training interactions, then a training on all of them with the best. `--fold-in SHARE` also trains without
//! that share of the users, of the items and of the other interactions, folds them in, and says what that is worth, also for
//! the users who were not there. Threads: `RAYON_NUM_THREADS`.
#![allow(clippy::print_stdout)]

use recost::compute::{Choice, Device, open};
use recost::evaluate::binary::{Confusion, Example, auc, estimate};
use recost::evaluate::evaluation::{Evaluation, Judged};
use recost::evaluate::held_out::HeldOut;
use recost::evaluate::judge::judge;
use recost::evaluate::metric::Metric;
use recost::evaluate::protocol::Test;
use recost::features::csr::Csr;
use recost::model::{Examples, Factors, Family, Fitted, Held, Learner};
use recost::tune::halving::Plan;
use recost::tune::search::Search;
use recost::tune::space::Space;
use split::{SEED, mix};
use std::path::Path;
use std::time::Instant;

mod split;

type Failure = Box<dyn std::error::Error>;

const K: usize = 20;

struct Arguments {
    folder: String,
    models: Vec<String>,
    settings: toml::Table,
    holdout: f64,
    search: Option<usize>,
    fold_in: Option<f64>,
    device: Choice,
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let (train, test) = split::read(Path::new(&arguments.folder), arguments.holdout)?;
    let (users, items) = (train.rows(), train.cols());
    let device = open(&arguments.device)?;
    let info = device.info();
    println!(
        "device    {} ({}), {} threads",
        info.name,
        info.backend,
        rayon::current_num_threads()
    );
    println!(
        "data      {users} users × {items} items, {} to train on, {} to test on{}",
        train.nnz(),
        test.nnz(),
        if arguments.holdout > 0.0 {
            " (held out of the training part)"
        } else {
            ""
        }
    );
    for name in &arguments.models {
        try_out(name, &arguments, &*device, &train, &test)?;
    }
    Ok(())
}

fn try_out(
    name: &str,
    arguments: &Arguments,
    device: &dyn Device,
    train: &Csr,
    test: &Csr,
) -> Result<(), Failure> {
    let family: Family = name.parse()?;
    // What is set is set for the families that have it.
    let mut given = arguments.settings.clone();
    let learner = loop {
        match family.configure(&given) {
            Ok(learner) => break learner,
            Err(error) => {
                let text = error.to_string();
                let unknown = text.strip_prefix("unknown field `");
                let Some(key) = unknown.and_then(|rest| rest.split('`').next()) else {
                    return Err(error.into());
                };
                given.remove(key);
            }
        }
    };
    let examples = Examples::new(train);
    let learner = match arguments.search {
        Some(trials) if !family.space().is_empty() => {
            let best = search(family, &given, trials, device, &examples)?;
            family.configure(&best)?
        }
        _ => learner,
    };
    println!("{name:<9} {}", learner.hyperparameters()?);
    let (start, mut passes) = (Instant::now(), 0);
    let fitted = learner.train(device, &examples, &mut |progress| {
        passes += 1;
        let part = |name: &str, value: Option<f64>| {
            value.map_or(String::new(), |v| format!(", {name} {v:.5}"))
        };
        println!(
            "  pass {:>3}, {:.0} s{}{}",
            progress.pass,
            progress.seconds,
            part("loss", progress.loss),
            part("validation NDCG", progress.validation)
        );
    })?;
    let trained = start.elapsed().as_secs_f64();
    let start = Instant::now();
    // As published: whoever and whatever the test part has counts, known to the training or not.
    let users = 0..u32::try_from(test.rows())?;
    let part = Test {
        users: users.collect(),
        relevant: test.clone(),
        seen: train.clone(),
        open: None,
    };
    let judged = Judged::new(train, &part.relevant, None).in_full();
    let mut evaluation = Evaluation::new(&Metric::ALL, &[K], train.cols());
    judge(device, &fitted, train, &part, &judged, K, &mut evaluation)?;
    let chances = match &fitted {
        Fitted::Factors(factors) if family.name() == "logistic" => {
            Some(binary_examples(factors, train, test))
        }
        _ => None,
    };
    let ranked = start.elapsed().as_secs_f64();
    if let Some(examples) = chances {
        print_binary(&examples);
    }
    for (metric, k, e) in evaluation.estimates(SEED) {
        println!(
            "  {:<18} {:.4} [{:.4}, {:.4}] over {} users",
            if k == 0 {
                metric.name().to_owned()
            } else {
                format!("{}@{k}", metric.name())
            },
            e.mean,
            e.low,
            e.high,
            e.users
        );
    }
    for (name, values) in [
        ("coverage", evaluation.coverage()),
        ("gini", evaluation.gini()),
    ] {
        for (k, value) in values {
            println!("  {:<18} {value:.4}", format!("{name}@{k}"));
        }
    }
    let per_pass = trained / f64::from(passes.max(1));
    println!(
        "  trained in {trained:.1} s, {per_pass:.2} s a pass; ranked and judged in {ranked:.1} s"
    );
    match arguments.fold_in {
        Some(share) => fold_in(&*learner, device, (train, test), &fitted, share),
        None => Ok(()),
    }
}

/// A share of the users, the items and the interactions comes after the training, and is folded in.
fn fold_in(
    learner: &dyn Learner,
    device: &dyn Device,
    (train, test): (&Csr, &Csr),
    full: &Fitted,
    share: f64,
) -> Result<(), Failure> {
    let later = |kind: u64, number: usize| {
        (mix(kind << 40 | number as u64) >> 11) as f64 / ((1u64 << 53) as f64) < share
    };
    let row_of: Vec<usize> = (0..train.rows())
        .flat_map(|user| std::iter::repeat_n(user, train.row(user).0.len()))
        .collect();
    let before = train.filtered(|at| {
        !later(1, row_of[at]) && !later(2, train.indices()[at] as usize) && !later(3, at)
    });
    let Fitted::Factors(former) = learner.train(device, &Examples::new(&before), &mut |_| {})?
    else {
        return Err("only vectors can be folded in".into());
    };
    let start = Instant::now();
    let held = Held::new(&former, |_| true);
    let folded = learner.fold_in(device, &Examples::new(train), &held, &mut |_| {})?;
    println!(
        "  {} of {} interactions were there before; the others were folded in in {:.1} s",
        before.nnz(),
        train.nnz(),
        start.elapsed().as_secs_f64()
    );
    let everyone: Vec<u32> = (0..u32::try_from(test.rows())?).collect();
    let new = |user: &u32| before.row(*user as usize).0.is_empty();
    let new: Vec<u32> = everyone.iter().copied().filter(new).collect();
    for (whose, users) in [("all", everyone), ("new", new)] {
        let rows = || users.iter().map(|&user| user as usize);
        let part = Test {
            relevant: test.gathered(rows()),
            seen: train.gathered(rows()),
            users,
            open: None,
        };
        for (how, fitted) in [
            ("in full", full),
            ("folded in", &folded),
            ("before", &Fitted::Factors(former.clone())),
        ] {
            let judged = Judged::new(train, &part.relevant, Some(&part.users));
            let mut evaluation =
                Evaluation::new(&[Metric::Recall, Metric::Ndcg], &[K], train.cols());
            judge(device, fitted, train, &part, &judged, K, &mut evaluation)?;
            let figures = evaluation
                .estimates(SEED)
                .into_iter()
                .map(|(metric, k, e)| {
                    let name = metric.name();
                    format!("{name}@{k} {:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high)
                });
            let figures: Vec<String> = figures.collect();
            println!("  {whose} users, {how:<9}  {}", figures.join("  "));
        }
    }
    Ok(())
}

/// The best settings of the family's own space on a part of the training interactions.
fn search(
    family: Family,
    given: &toml::Table,
    trials: usize,
    device: &dyn Device,
    examples: &Examples<'_>,
) -> Result<toml::Table, Failure> {
    let start = Instant::now();
    let all: serde_json::Value =
        serde_json::from_str(&family.configure(given)?.hyperparameters()?)?;
    let passes = family.passes().and_then(|key| all[key].as_u64());
    let plan = Plan::new(trials, passes.and_then(|n| usize::try_from(n).ok()));
    let space = Space::of_family(family, given)?;
    let search = Search::new(family, given, &space, &plan, (Metric::Ndcg, K), 7);
    let data = HeldOut::new(examples, 0.1, 7)?.ok_or("nobody to judge settings by")?;
    println!("{family:<9} search over {:?}", search.plan().rungs);
    let mut done = vec![];
    while let Some(next) = search.next(&done) {
        let trial = search.try_out(device, &data, next)?;
        println!(
            "  rung {} trial {:<3} {:>3} passes {:>6.1} s  NDCG {}  {:?}",
            trial.rung,
            trial.trial,
            trial.passes,
            trial.seconds,
            trial
                .value
                .map_or("diverged".into(), |v| format!("{:.4}", v.mean)),
            trial.settings
        );
        done.push(trial);
    }
    println!("  searched {:.0} s", start.elapsed().as_secs_f64());
    let best = search.best(&done).ok_or("every training diverged")?;
    Ok(best.settings.clone())
}

/// Chances of the test part's pairs, beside as many pairs that neither part has.
fn binary_examples(factors: &Factors, train: &Csr, test: &Csr) -> Vec<Example> {
    let example = |user: usize, item: u32, label: bool| {
        let (x, y) = (factors.users.row(user), factors.items.row(item as usize));
        let logit: f64 = x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum();
        let chance = 1.0 / (1.0 + (-logit).exp());
        Example { chance, label }
    };
    let (mut examples, mut place) = (vec![], 0);
    for user in 0..test.rows() {
        let has = |item: &u32| {
            [train, test]
                .iter()
                .any(|part| part.row(user).0.binary_search(item).is_ok())
        };
        for &item in test.row(user).0 {
            examples.push(example(user, item, true));
            // Enough tries for any user who does not have nearly everything.
            let drawn = (0..1000).find_map(|_| {
                place += 1;
                let item = (mix(place) % test.cols() as u64) as u32;
                (!has(&item)).then_some(item)
            });
            examples.extend(drawn.map(|item| example(user, item, false)));
        }
    }
    examples
}

/// A name and how it is reckoned.
type Figure = (&'static str, fn(&[Example]) -> f64);

fn print_binary(examples: &[Example]) {
    let counts = Confusion::at(0.5, examples);
    println!(
        "  majority   {:.4} of {} examples",
        counts.majority(),
        examples.len()
    );
    println!("  {counts:?}");
    let figures: [Figure; 5] = [
        ("accuracy", |e| Confusion::at(0.5, e).accuracy()),
        ("precision", |e| Confusion::at(0.5, e).precision()),
        ("recall", |e| Confusion::at(0.5, e).recall()),
        ("f1", |e| Confusion::at(0.5, e).f1()),
        ("auc", auc),
    ];
    for (name, of) in figures {
        // The area takes a sort per resample.
        if name == "auc" && examples.len() > 100_000 {
            println!("  {name:<10} {:.4}", of(examples));
            continue;
        }
        let e = estimate(examples, SEED, of);
        println!("  {name:<10} {:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high);
    }
}

fn arguments() -> Result<Arguments, Failure> {
    let mut arguments = Arguments {
        folder: String::new(),
        models: ["popular", "als", "softmax"].map(str::to_string).to_vec(),
        settings: toml::Table::new(),
        holdout: 0.0,
        search: None,
        fold_in: None,
        device: "cpu".parse()?,
    };
    let mut given = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--models" => arguments.models = value()?.split(',').map(str::to_string).collect(),
            "--set" => arguments.settings.extend(value()?.parse::<toml::Table>()?),
            "--holdout" => arguments.holdout = value()?.parse()?,
            "--search" => arguments.search = Some(value()?.parse()?),
            "--fold-in" => arguments.fold_in = Some(value()?.parse()?),
            "--device" => arguments.device = value()?.parse()?,
            folder if !folder.starts_with('-') => arguments.folder = folder.to_string(),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if arguments.folder.is_empty() {
        return Err("give the folder of train.txt and test.txt".into());
    }
    Ok(arguments)
}

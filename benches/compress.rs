//! Makes a model smaller in every way there is, and prints size, scoring time and quality of each next to models that were
//! trained small.
//!
//! `cargo bench --bench compress -- FOLDER [--family als] [--set key=value]… [--dims 32,16,8] [--holdout SHARE]
//! [--distil lists,weight]… [--device cpu]`. The folder is that of the bench `quality`: `train.txt` and `test.txt`, one user a
//! line. `--holdout` leaves `test.txt` alone and judges by a random share of the training interactions instead.
//! Threads: `RAYON_NUM_THREADS`.
#![allow(clippy::print_stdout)]

use recost::compute::{Choice, Device, open};
use recost::error::Error;
use recost::evaluate::evaluation::{Evaluation, Judged};
use recost::evaluate::metric::Metric;
use recost::features::csr::Csr;
use recost::model::compress::{Compression, Numbers};
use recost::model::{Examples, Factors, Family, Fitted};
use recost::recommend::topk::{Filters, top_k};
use split::SEED;
use std::path::Path;
use std::time::Instant;

mod split;

type Failure = Box<dyn std::error::Error>;

const K: usize = 20;
/// Scoring is timed this often, and the best is told.
const TIMES: usize = 3;

struct Arguments {
    folder: String,
    family: Family,
    settings: toml::Table,
    dims: Vec<usize>,
    /// Items of a teacher's list and their weight.
    distil: Vec<(usize, f32)>,
    holdout: f64,
    device: Choice,
}

struct Bench<'a> {
    device: &'a dyn Device,
    family: Family,
    settings: toml::Table,
    train: &'a Csr,
    test: &'a Csr,
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let (train, test) = split::read(Path::new(&arguments.folder), arguments.holdout)?;
    let (users, items) = (train.rows(), train.cols());
    let device = open(&arguments.device)?;
    let info = device.info();
    println!(
        "{} ({}), {} threads; {users} users × {items} items, {} to train on, {} to test on",
        info.name,
        info.backend,
        rayon::current_num_threads(),
        train.nnz(),
        test.nnz()
    );
    println!(
        "| model | MB | made in s | scored in s | recall@{K} | interval | NDCG@{K} | interval |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let bench = Bench {
        device: &*device,
        family: arguments.family,
        settings: arguments.settings,
        train: &train,
        test: &test,
    };
    let parent = bench.trained(&bench.settings, "")?;
    let base = Compression::default;
    for numbers in [Numbers::F16, Numbers::Int8] {
        bench.compressed(&parent, &Compression { numbers, ..base() }, numbers.name())?;
    }
    for dim in arguments.dims {
        let pruned = Compression {
            dimensions: Some(dim),
            ..base()
        };
        bench.compressed(&parent, &pruned, &format!("pruned to {dim}"))?;
        let both = Compression {
            numbers: Numbers::Int8,
            ..pruned
        };
        bench.compressed(&parent, &both, &format!("pruned to {dim}, int8"))?;
        for &(lists, weight) in &arguments.distil {
            let distil = toml::from_str(&format!(
                "dim = {dim}\nlists = {lists}\nweight = {weight:?}"
            ))?;
            let distil = Compression {
                distil: Some(distil),
                ..base()
            };
            let name = format!("distilled to {dim}, lists of {lists} at {weight}");
            bench.compressed(&parent, &distil, &name)?;
        }
        let mut small = bench.settings.clone();
        small.insert("dim".into(), i64::try_from(dim)?.into());
        bench.trained(&small, &format!(" at {dim}"))?;
    }
    Ok(())
}

impl Bench<'_> {
    fn examples(&self) -> Examples<'_> {
        Examples::new(self.train)
    }

    fn trained(&self, settings: &toml::Table, what: &str) -> Result<Fitted, Failure> {
        let start = Instant::now();
        let learner = self.family.configure(settings)?;
        let fitted = learner.train(self.device, &self.examples(), &mut |_| {})?;
        let made = start.elapsed().as_secs_f64();
        self.judge(
            &format!("{} trained{what}", self.family),
            &fitted,
            Numbers::F32,
            made,
        )?;
        Ok(fitted)
    }

    fn compressed(
        &self,
        parent: &Fitted,
        compression: &Compression,
        name: &str,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let (family, given) = compression.resolve(self.family, &self.settings)?;
        let made_of = (family, &given);
        let fitted = compression.apply(self.device, parent, &self.examples(), made_of)?;
        let made = start.elapsed().as_secs_f64();
        self.judge(name, &fitted, compression.numbers, made)
    }

    fn judge(
        &self,
        name: &str,
        fitted: &Fitted,
        numbers: Numbers,
        made: f64,
    ) -> Result<(), Failure> {
        let Fitted::Factors(Factors { users, items }) = fitted else {
            return Err(format!("{name} has no vectors").into());
        };
        let filters = Filters {
            exclude: Some(self.train),
            k: K,
            ..Filters::default()
        };
        let mut best = f64::INFINITY;
        for _ in 0..TIMES {
            let start = Instant::now();
            top_k::<Error>(self.device, users, items, &filters, |_, _| Ok(()))?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        let judged = Judged::new(self.train, self.test, None);
        let metrics = [Metric::Recall, Metric::Ndcg];
        let mut evaluation = Evaluation::new(&metrics, &[K], items.rows());
        top_k::<Error>(self.device, users, items, &filters, |first, lists| {
            evaluation.add(&judged, first, &lists);
            Ok(())
        })?;
        let rows = users.rows() + items.rows();
        let row = match numbers {
            Numbers::F32 => 4 * users.cols(),
            Numbers::F16 => 2 * users.cols(),
            Numbers::Int8 => users.cols() + 4,
        };
        print!(
            "| {name} | {:.1} | {made:.1} | {best:.2} |",
            (rows * row) as f64 / 1e6
        );
        let estimates = evaluation.estimates(SEED);
        for wanted in metrics {
            for (_, _, e) in estimates.iter().filter(|(metric, _, _)| *metric == wanted) {
                print!(" {:.4} | {:.4} to {:.4} |", e.mean, e.low, e.high);
            }
        }
        println!();
        Ok(())
    }
}

fn arguments() -> Result<Arguments, Failure> {
    let mut arguments = Arguments {
        folder: String::new(),
        family: "als".parse()?,
        settings: toml::Table::new(),
        dims: vec![32, 16, 8],
        distil: vec![],
        holdout: 0.0,
        device: "cpu".parse()?,
    };
    let mut given = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--family" => arguments.family = value()?.parse()?,
            "--set" => arguments.settings.extend(value()?.parse::<toml::Table>()?),
            "--dims" => {
                arguments.dims = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?;
            }
            "--distil" => {
                let text = value()?;
                let (lists, weight) = text.split_once(',').ok_or("--distil lists,weight")?;
                arguments.distil.push((lists.parse()?, weight.parse()?));
            }
            "--holdout" => arguments.holdout = value()?.parse()?,
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

//! Jobs timed beside what this machine can do at most: shared by the benches `compute` and `growth`.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recost::compute::{ComputeError, Device, Matrix};
use recost::features::csr::Csr;
use recost::model::als::{AlsParams, train};
use recost::model::{Examples, Factors, Family, Progress};
use recost::recommend::topk::{Filters, top_k};
use roofline::Roofline;
use std::time::Instant;

pub mod roofline;

pub type Failure = Box<dyn std::error::Error>;

/// Length of the lists that are made.
pub const K: usize = 100;

/// How much there is to compute with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub users: usize,
    pub items: usize,
    pub interactions: usize,
    pub dim: usize,
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// An iteration of ALS.
    Als,
    /// Lists for users, without the items already had.
    Lists,
    /// A pass of the softmax loss.
    Softmax,
}

impl Job {
    pub const ALL: [Self; 3] = [Self::Als, Self::Lists, Self::Softmax];

    pub fn name(self) -> &'static str {
        match self {
            Self::Als => "als pass",
            Self::Lists => "top-100",
            Self::Softmax => "softmax pass",
        }
    }
}

/// A job done.
#[derive(Debug, Clone)]
pub struct Done {
    pub job: Job,
    pub size: Size,
    /// Median.
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// Users or interactions.
    pub units: f64,
    /// Useful arithmetic.
    pub flops: f64,
    /// What has to come from memory or go there when every row is fetched as often as it is named, and then kept.
    pub bytes: f64,
    /// Largest resident set while it ran.
    pub peak_mib: f64,
}

impl Done {
    pub fn unit(&self) -> &'static str {
        match self.job {
            Job::Lists => "users",
            Job::Als | Job::Softmax => "interactions",
        }
    }

    /// The least seconds that the machine allows, and what bounds them.
    pub fn least(&self, roofline: &Roofline) -> (f64, &'static str) {
        let arithmetic = self.flops / roofline.flops;
        let memory = self.bytes / roofline.bandwidth;
        if arithmetic > memory {
            (arithmetic, "arithmetic")
        } else {
            (memory, "bandwidth")
        }
    }
}

/// The first line of a file of [`record`]s.
pub const COLUMNS: &str = "job,users,items,interactions,dim,seconds,cpu_seconds,unit,units_per_second,gflops,gbytes_per_second,bound_by,least_seconds,share,peak_mib";

pub fn record(done: &Done, roofline: &Roofline) -> String {
    let (least, bound) = done.least(roofline);
    let Size {
        users,
        items,
        interactions,
        dim,
    } = done.size;
    format!(
        "{},{users},{items},{interactions},{dim},{:.6},{:.3},{},{:.1},{:.3},{:.3},{bound},{least:.6},{:.4},{:.1}",
        done.job.name(),
        done.seconds,
        done.cpu_seconds,
        done.unit(),
        done.units / done.seconds,
        done.flops / done.seconds / 1e9,
        done.bytes / done.seconds / 1e9,
        least / done.seconds,
        done.peak_mib
    )
}

/// Seconds and CPU seconds of each run.
type Runs = Vec<(f64, f64)>;

/// Interactions to compute with, and the length of vectors.
pub struct Bench<'a> {
    pub device: &'a dyn Device,
    pub interactions: &'a Csr,
    pub dim: usize,
    /// Each job runs this often, once when it takes longer than some seconds; the median is told.
    pub repeats: usize,
    /// Lists are made for so many users, from the first.
    pub scored: usize,
}

/// A job that takes longer than so many seconds is not repeated.
const LONG: f64 = 10.0;

impl Bench<'_> {
    pub fn run(&self, job: Job) -> Result<Done, Failure> {
        start_peak();
        let (n, d) = (self.interactions.nnz() as f64, self.dim as f64);
        let (users, items) = (self.interactions.rows(), self.interactions.cols());
        let rows = (users + items) as f64;
        let (runs, units, flops, bytes) = match job {
            Job::Als => {
                let params = AlsParams::default();
                let passes = (params.cg_steps + 1) as f64;
                let flops = 8.0 * n * d * passes + rows * 2.0 * d * d * (passes + 1.0);
                // Entries with the row that each names, and both tables read and written.
                (
                    self.als()?,
                    n,
                    flops,
                    2.0 * n * (4.0 * d + 8.0) + 8.0 * rows * d,
                )
            }
            Job::Lists => {
                let users = self.scored.min(users) as f64;
                let flops = 2.0 * users * items as f64 * d;
                let bytes = 4.0 * d * (users + items as f64) + 8.0 * users * K as f64;
                (self.lists()?, users, flops, bytes)
            }
            Job::Softmax => {
                let (runs, batch, negatives) = self.softmax()?;
                let negatives = negatives.min(items) as f64;
                let steps = (n / batch as f64).ceil();
                // Adam reads and writes a row and two moments, and reads it once more for the batch.
                let bytes = 28.0 * d * (2.0 * n + steps * negatives);
                (runs, n, 6.0 * n * negatives * d, bytes)
            }
        };
        let (seconds, cpu_seconds) = median(runs);
        Ok(Done {
            job,
            size: Size {
                users,
                items,
                interactions: self.interactions.nnz(),
                dim: self.dim,
            },
            seconds,
            cpu_seconds,
            units,
            flops,
            bytes,
            peak_mib: peak_mib(),
        })
    }

    /// Seconds and CPU seconds of each pass but the first, which gets memory from the system.
    fn als(&self) -> Result<Runs, Failure> {
        let params = AlsParams {
            dim: self.dim,
            iterations: 1 + self.repeats,
            ..AlsParams::default()
        };
        let mut clock = Clock::default();
        train(
            self.device,
            &Examples::new(self.interactions),
            &params,
            &mut |_, _| clock.lap(),
        )?;
        Ok(clock.later())
    }

    fn lists(&self) -> Result<Runs, Failure> {
        let users = self.scored.min(self.interactions.rows());
        let factors = factors(users, self.interactions.cols(), self.dim)?;
        let filters = Filters {
            exclude: Some(self.interactions),
            k: K,
            ..Filters::default()
        };
        let mut clock = Clock::default();
        clock.lap();
        for _ in 0..self.repeats {
            top_k(
                self.device,
                &factors.users,
                &factors.items,
                &filters,
                |_, lists| {
                    std::hint::black_box(lists.items().len());
                    Ok::<_, ComputeError>(())
                },
            )?;
            clock.lap();
            if clock.last() > LONG {
                break;
            }
        }
        Ok(clock.later())
    }

    /// Runs as those of ALS, beside samples of a batch and negatives.
    fn softmax(&self) -> Result<(Runs, usize, usize), Failure> {
        let family: Family = "softmax".parse()?;
        let mut given = toml::Table::new();
        given.insert("dim".into(), i64::try_from(self.dim)?.into());
        given.insert("epochs".into(), i64::try_from(1 + self.repeats)?.into());
        // What the default comes to for most data: a pass of some 500 steps.
        let batch = (self.interactions.nnz() / 512).next_power_of_two();
        let batch = batch.clamp(32, 2048);
        given.insert("batch".into(), i64::try_from(batch)?.into());
        let learner = family.configure(&given)?;
        let negatives = learner.whole_number("negatives")?.unwrap_or_default();
        let mut clock = Clock::default();
        let mut seen = |_: Progress| clock.lap();
        learner.train(self.device, &Examples::new(self.interactions), &mut seen)?;
        Ok((clock.later(), batch, negatives))
    }
}

/// Times of laps.
#[derive(Default)]
struct Clock {
    laps: Vec<(Option<Instant>, f64)>,
}

impl Clock {
    fn lap(&mut self) {
        self.laps.push((Some(Instant::now()), cpu_seconds()));
    }

    /// Seconds of the last lap.
    fn last(&self) -> f64 {
        self.later().last().map_or(0.0, |lap| lap.0)
    }

    /// Seconds and CPU seconds of each lap after the first.
    fn later(&self) -> Runs {
        let laps = self.laps.windows(2);
        laps.filter_map(|pair| {
            let wall = pair[1].0?.duration_since(pair[0].0?);
            Some((wall.as_secs_f64(), pair[1].1 - pair[0].1))
        })
        .collect()
    }
}

/// The run of median seconds.
fn median(mut runs: Runs) -> (f64, f64) {
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs.get(runs.len() / 2).copied().unwrap_or((f64::NAN, 0.0))
}

/// Random vectors of users and items.
pub fn factors(users: usize, items: usize, dim: usize) -> Result<Factors, ComputeError> {
    Ok(Factors {
        users: vectors(users, dim, 1)?,
        items: vectors(items, dim, 2)?,
    })
}

fn vectors(rows: usize, dim: usize, seed: u64) -> Result<Matrix, ComputeError> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let values = (0..rows * dim).map(|_| random.random::<f32>() - 0.5);
    Matrix::new(rows, dim, values.collect())
}

/// About so many interactions, row by row: users and items have long tails, as shops have.
pub fn interactions(size: Size) -> Result<Csr, Failure> {
    let mean = size.interactions as f64 / size.users.max(1) as f64;
    let mut indptr = Vec::with_capacity(size.users + 1);
    indptr.push(0);
    let mut indices: Vec<u32> = Vec::with_capacity(size.interactions);
    let (mut random, mut row) = (Pcg64Mcg::seed_from_u64(1), Vec::new());
    for _ in 0..size.users {
        let count = (-mean * (1.0 - random.random::<f64>()).ln()).round() as usize;
        row.clear();
        row.extend(
            (0..count.min(size.items))
                .map(|_| (random.random::<f64>().powi(3) * size.items as f64) as u32),
        );
        row.sort_unstable();
        row.dedup();
        indices.extend_from_slice(&row);
        indptr.push(indices.len() as u64);
    }
    let values = indices.iter().map(|_| 1.0 + random.random::<f32>());
    let values = values.collect();
    Ok(Csr::new(size.users, size.items, indptr, indices, values)?)
}

/// CPU time of this process, all threads; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

/// Forgets the largest resident set so far, where the system can.
fn start_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident set since, in MiB; 0 where the system does not tell.
pub fn peak_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

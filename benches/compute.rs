//! Times training and scoring at one size against what this machine can do at most.
//!
//! `cargo bench --bench compute -- [users] [items] [interactions] [dim] [device] [--jobs als,lists,softmax]
//! [--repeats 3] [--scored USERS] [--data FOLDER] [--write FOLDER] [--lists FOLDER] [--csv FILE]`; defaults 50000 20000
//! 1000000 64 cpu. `--scored` makes lists for the first users only and says what all of them would take. `--data` takes
//! `train.txt` and `test.txt` of a folder instead of random data, `--write` writes the data as such a folder and ends.
//! `--lists` writes vectors and lists as raw numbers, for `beside_torch.py`, and ends. Threads: `RAYON_NUM_THREADS`.
#![allow(clippy::print_stdout)]

use machine::roofline::Roofline;
use machine::{Bench, COLUMNS, Failure, Job, K, Size};
use recost::compute::{Choice, Device, open};
use recost::features::csr::Csr;
use recost::recommend::topk::{Filters, top_k};
use std::io::Write as _;
use std::path::{Path, PathBuf};

mod machine;
mod split;

struct Arguments {
    size: Size,
    device: Choice,
    jobs: Vec<Job>,
    repeats: usize,
    scored: usize,
    data: Option<PathBuf>,
    write: Option<PathBuf>,
    lists: Option<PathBuf>,
    csv: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let interactions = match &arguments.data {
        Some(folder) => split::read(folder, 0.0)?.0,
        None => machine::interactions(arguments.size)?,
    };
    if let Some(folder) = &arguments.write {
        return write(&interactions, folder);
    }
    let dim = arguments.size.dim;
    println!(
        "data      {} users × {} items, {} interactions, {dim} dimensions ({:.0} MiB peak to make)",
        interactions.rows(),
        interactions.cols(),
        interactions.nnz(),
        machine::peak_mib()
    );
    let device = open(&arguments.device)?;
    println!(
        "device    {} ({})",
        device.info().name,
        device.info().backend
    );
    if let Some(folder) = &arguments.lists {
        return write_lists(&*device, &interactions, (arguments.scored, dim), folder);
    }
    let roofline = Roofline::measure();
    println!("machine   {roofline}");
    let bench = Bench {
        device: &*device,
        interactions: &interactions,
        dim,
        repeats: arguments.repeats,
        scored: arguments.scored,
    };
    let mut records = vec![COLUMNS.to_owned()];
    for &job in &arguments.jobs {
        let done = bench.run(job)?;
        let (least, bound) = done.least(&roofline);
        println!(
            "{:<12}  {:.3} s ({:.3} s of CPU), {:.0} {}/s, {:.1} GFLOP/s, {:.1} GB/s; {bound} allows {least:.3} s: {:.0} % reached; {:.0} MiB peak",
            job.name(),
            done.seconds,
            done.cpu_seconds,
            done.units / done.seconds,
            done.unit(),
            done.flops / done.seconds / 1e9,
            done.bytes / done.seconds / 1e9,
            100.0 * least / done.seconds,
            done.peak_mib
        );
        if job == Job::Lists && arguments.scored < interactions.rows() {
            println!(
                "              of {} users; all {}, extrapolated: {:.0} s",
                arguments.scored,
                interactions.rows(),
                done.seconds * interactions.rows() as f64 / arguments.scored as f64
            );
        }
        records.push(machine::record(&done, &roofline));
    }
    if let Some(path) = &arguments.csv {
        std::fs::write(path, records.join("\n") + "\n")?;
    }
    Ok(())
}

fn arguments() -> Result<Arguments, Failure> {
    let mut parsed = Arguments {
        size: Size {
            users: 50_000,
            items: 20_000,
            interactions: 1_000_000,
            dim: 64,
        },
        device: Choice::Cpu,
        jobs: Job::ALL.to_vec(),
        repeats: 3,
        scored: usize::MAX,
        data: None,
        write: None,
        lists: None,
        csv: None,
    };
    let mut places = 0;
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        if word == "--bench" {
            continue;
        }
        let Some(option) = word.strip_prefix("--") else {
            match places {
                0 => parsed.size.users = word.parse()?,
                1 => parsed.size.items = word.parse()?,
                2 => parsed.size.interactions = word.parse()?,
                3 => parsed.size.dim = word.parse()?,
                4 => parsed.device = word.parse()?,
                _ => return Err(format!("`{word}` is one argument too many").into()),
            }
            places += 1;
            continue;
        };
        let value = given
            .next()
            .ok_or_else(|| format!("`{word}` needs a value"))?;
        let path = || Some(PathBuf::from(&value));
        match option {
            "jobs" => parsed.jobs = value.split(',').map(job).collect::<Result<_, _>>()?,
            "repeats" => parsed.repeats = value.parse()?,
            "scored" => parsed.scored = value.parse()?,
            "data" => parsed.data = path(),
            "write" => parsed.write = path(),
            "lists" => parsed.lists = path(),
            "csv" => parsed.csv = path(),
            _ => return Err(format!("there is no option `{word}`").into()),
        }
    }
    Ok(parsed)
}

fn job(name: &str) -> Result<Job, Failure> {
    match name {
        "als" => Ok(Job::Als),
        "lists" => Ok(Job::Lists),
        "softmax" => Ok(Job::Softmax),
        _ => Err(format!("there is no job `{name}`: als, lists, softmax").into()),
    }
}

/// Writes `users.f32` `[users, dim]`, `items.f32` `[items, dim]`, and of lists of [`K`] `lists.u32` and `scores.f32`
/// `[users, K]`; places beyond a list's end are 0.
fn write_lists(
    device: &dyn Device,
    interactions: &Csr,
    (scored, dim): (usize, usize),
    folder: &Path,
) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let users = scored.min(interactions.rows());
    let factors = machine::factors(users, interactions.cols(), dim)?;
    let filters = Filters {
        exclude: Some(interactions),
        k: K,
        ..Filters::default()
    };
    let (mut items, mut scores) = (Vec::new(), Vec::new());
    top_k::<Failure>(
        device,
        &factors.users,
        &factors.items,
        &filters,
        |_, lists| {
            for row in 0..lists.rows() {
                let length = items.len() + K;
                items.extend_from_slice(lists.row(row).0);
                scores.extend_from_slice(lists.row(row).1);
                items.resize(length, 0);
                scores.resize(length, 0.0);
            }
            Ok(())
        },
    )?;
    let floats = |name: &str, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(folder.join(name), bytes)
    };
    floats("users.f32", factors.users.data())?;
    floats("items.f32", factors.items.data())?;
    floats("scores.f32", &scores)?;
    let bytes: Vec<u8> = items.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(std::fs::write(folder.join("lists.u32"), bytes)?)
}

/// Writes a folder that [`split::read`] reads: all to train on, nothing to test.
fn write(interactions: &Csr, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("train.txt"))?);
    for user in 0..interactions.rows() {
        write!(file, "{user}")?;
        for item in interactions.row(user).0 {
            write!(file, " {item}")?;
        }
        writeln!(file)?;
    }
    file.flush()?;
    Ok(std::fs::write(folder.join("test.txt"), "")?)
}

//! How training and scoring grow with users, items, interactions and dimensions, each doubled in turn.
//!
//! `cargo bench --bench growth -- [--base USERS,ITEMS,INTERACTIONS,DIM] [--points 4] [--repeats 3] [--device cpu]
//! [--csv FILE] [--charts FOLDER]`; the base is 30000,12000,600000,64. Threads: `RAYON_NUM_THREADS`.
#![allow(clippy::print_stdout)]

use chart::{Chart, Line};
use machine::roofline::Roofline;
use machine::{Bench, COLUMNS, Done, Failure, Job, Size};
use recost::compute::{Choice, Device, open};
use std::path::PathBuf;

mod chart;
mod machine;

/// What grows.
const SWEEPS: [&str; 4] = ["users", "items", "interactions", "dimensions"];

struct Arguments {
    base: Size,
    points: u32,
    repeats: usize,
    device: Choice,
    csv: Option<PathBuf>,
    charts: Option<PathBuf>,
}

/// The base with one of [`SWEEPS`] taken `by` times.
fn grown(base: Size, sweep: usize, by: usize) -> Size {
    let factor = |of: usize| if of == sweep { by } else { 1 };
    Size {
        users: base.users * factor(0),
        items: base.items * factor(1),
        interactions: base.interactions * factor(2),
        dim: base.dim * factor(3),
    }
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let device = open(&arguments.device)?;
    let roofline = Roofline::measure();
    println!(
        "{} ({}): {roofline}\n",
        device.info().name,
        device.info().backend
    );
    println!(
        "| grows | users | items | interactions | dim | job | s | thousand/s | GFLOP/s | GB/s | bound by | least s | reached | peak MiB |"
    );
    println!("|---|---:|---:|---:|---:|---|---:|---:|---:|---:|---|---:|---:|---:|");
    let run = |sweep: &str, size| measure(&*device, size, arguments.repeats, sweep, &roofline);
    let first = run("base", arguments.base)?;
    let mut records = vec![format!("sweep,{COLUMNS}")];
    let mut ends = vec![];
    for (at, sweep) in SWEEPS.into_iter().enumerate() {
        let mut points = vec![first.clone()];
        for doubling in 1..arguments.points {
            points.push(run(sweep, grown(arguments.base, at, 1 << doubling))?);
        }
        for done in points.iter().flatten() {
            records.push(format!("{sweep},{}", machine::record(done, &roofline)));
        }
        if let Some(folder) = &arguments.charts {
            std::fs::create_dir_all(folder)?;
            let svg = picture(sweep, at, &points, &roofline);
            std::fs::write(folder.join(format!("growth-{sweep}.svg")), svg)?;
        }
        ends.extend(points.pop());
    }
    summary(&arguments, &first, &ends, &roofline);
    if let Some(path) = &arguments.csv {
        std::fs::write(path, records.join("\n") + "\n")?;
    }
    Ok(())
}

/// Every job at one size.
fn measure(
    device: &dyn Device,
    size: Size,
    repeats: usize,
    sweep: &str,
    roofline: &Roofline,
) -> Result<Vec<Done>, Failure> {
    let interactions = machine::interactions(size)?;
    let bench = Bench {
        device,
        interactions: &interactions,
        dim: size.dim,
        repeats,
        scored: usize::MAX,
    };
    let mut all = vec![];
    for job in Job::ALL {
        let done = bench.run(job)?;
        let (least, bound) = done.least(roofline);
        println!(
            "| {sweep} | {} | {} | {} | {} | {} | {:.3} | {:.0} | {:.1} | {:.1} | {bound} | {least:.3} | {:.0} % | {:.0} |",
            size.users,
            size.items,
            done.size.interactions,
            size.dim,
            job.name(),
            done.seconds,
            done.units / done.seconds / 1e3,
            done.flops / done.seconds / 1e9,
            done.bytes / done.seconds / 1e9,
            100.0 * least / done.seconds,
            done.peak_mib
        );
        all.push(done);
    }
    Ok(all)
}

/// A row for each job: the base, and how many times its seconds the end of each sweep takes.
fn summary(arguments: &Arguments, first: &[Done], ends: &[Vec<Done>], roofline: &Roofline) {
    let by = 1 << arguments.points.saturating_sub(1);
    let sweeps = SWEEPS.map(|sweep| format!("{sweep} × {by}")).join(" | ");
    println!("\n| job | base s | GFLOP/s | GB/s | bound by | reached | {sweeps} |");
    println!("|---|---:|---:|---:|---|---:|---:|---:|---:|---:|");
    let reached = |done: &Done| 100.0 * done.least(roofline).0 / done.seconds;
    for (job, base) in first.iter().enumerate() {
        let grown = ends.iter().map(|end| {
            let times = end[job].seconds / base.seconds;
            format!("{times:.1} ({:.0} %)", reached(&end[job]))
        });
        println!(
            "| {} | {:.3} | {:.1} | {:.1} | {} | {:.0} % | {} |",
            base.job.name(),
            base.seconds,
            base.flops / base.seconds / 1e9,
            base.bytes / base.seconds / 1e9,
            base.least(roofline).1,
            reached(base),
            grown.collect::<Vec<_>>().join(" | ")
        );
    }
}

fn picture(sweep: &str, at: usize, points: &[Vec<Done>], roofline: &Roofline) -> String {
    let lines = Job::ALL.into_iter().enumerate().map(|(job, name)| {
        let done = points.iter().map(|point| &point[job]);
        Line {
            name: name.name(),
            measured: done.clone().map(|d| d.seconds).collect(),
            least: done.map(|d| d.least(roofline).0).collect(),
        }
    });
    let ticks = points.iter().map(|point| {
        let size = point[0].size;
        [size.users, size.items, size.interactions, size.dim][at] as f64
    });
    let chart = Chart {
        title: format!("Seconds as {sweep} grow"),
        across: sweep,
        ticks: ticks.collect(),
        lines: lines.collect(),
    };
    chart.svg()
}

fn arguments() -> Result<Arguments, Failure> {
    let mut parsed = Arguments {
        base: Size {
            users: 30_000,
            items: 12_000,
            interactions: 600_000,
            dim: 64,
        },
        points: 4,
        repeats: 3,
        device: Choice::Cpu,
        csv: None,
        charts: None,
    };
    let mut given = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(option) = given.next() {
        let value = given
            .next()
            .ok_or_else(|| format!("`{option}` needs a value"))?;
        match option.as_str() {
            "--base" => {
                let numbers: Vec<usize> =
                    value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                let &[users, items, interactions, dim] = &numbers[..] else {
                    return Err("--base takes users,items,interactions,dim".into());
                };
                parsed.base = Size {
                    users,
                    items,
                    interactions,
                    dim,
                };
            }
            "--points" => parsed.points = value.parse()?,
            "--repeats" => parsed.repeats = value.parse()?,
            "--device" => parsed.device = value.parse()?,
            "--csv" => parsed.csv = Some(value.into()),
            "--charts" => parsed.charts = Some(value.into()),
            _ => return Err(format!("there is no option `{option}`").into()),
        }
    }
    Ok(parsed)
}

//! Times ALS training and top-k scoring against what this machine can do at most.
//!
//! `cargo bench --bench compute -- [users] [items] [entries] [dim] [device]`; defaults 50000 20000 1000000 64 cpu.
//! Threads: `RAYON_NUM_THREADS`.
#![allow(clippy::print_stdout)]

use recost::compute::{Choice, ComputeError, open};
use recost::features::csr::Csr;
use recost::model::Examples;
use recost::model::als::{AlsParams, train};
use recost::recommend::topk::{Filters, top_k};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let number = |at: usize, default: usize| match arguments.get(at) {
        None => Ok(default),
        Some(text) => text.parse::<usize>(),
    };
    let (users, items) = (number(0, 50_000)?, number(1, 20_000)?);
    let (entries, dim) = (number(2, 1_000_000)?, number(3, 64)?);
    let choice: Choice = arguments.get(4).map_or("cpu", |text| text).parse()?;
    let device = open(&choice)?;
    println!(
        "device    {} ({})",
        device.info().name,
        device.info().backend
    );
    let bandwidth = copy_bandwidth();
    println!("copy      {bandwidth:.1} GB/s (read + write, one thread)");

    let interactions = interactions(users, items, entries)?;
    println!(
        "data      {users} users × {items} items, {} entries, {dim} dimensions",
        interactions.nnz()
    );
    let params = AlsParams {
        dim,
        ..AlsParams::default()
    };
    let mut seconds = Vec::new();
    let cpu = cpu_seconds();
    let factors = train(
        &*device,
        &Examples::new(&interactions),
        &params,
        &mut |_, at| seconds.push(at),
    )?;
    let cpu = cpu_seconds() - cpu;
    let total = seconds.last().copied().unwrap_or(0.0);
    let (rows, d) = ((users + items) as f64, dim as f64);
    let passes = (params.cg_steps + 1) as f64;
    let sparse = 2.0 * interactions.nnz() as f64 * passes;
    let flops = sparse * 4.0 * d + rows * 2.0 * d * d * (passes + 1.0);
    let flops = flops * params.iterations as f64;
    let bytes = sparse * (4.0 * d + 8.0) * params.iterations as f64;
    println!(
        "als       {total:.3} s for {} iterations ({cpu:.3} s of CPU): {:.1} GFLOP/s, {:.1} GB/s of rows gathered ({:.1} × copy)",
        params.iterations,
        flops / total / 1e9,
        bytes / total / 1e9,
        bytes / total / 1e9 / bandwidth
    );

    let filters = Filters {
        exclude: Some(&interactions),
        k: 50,
        ..Filters::default()
    };
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut listed = 0;
    top_k(
        &*device,
        &factors.users,
        &factors.items,
        &filters,
        |_, lists| {
            listed += lists.items().len();
            Ok::<_, ComputeError>(())
        },
    )?;
    let (total, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let flops = 2.0 * users as f64 * items as f64 * d;
    println!(
        "top-50    {total:.3} s for {listed} places ({cpu:.3} s of CPU): {:.1} GFLOP/s, {:.0} users/s",
        flops / total / 1e9,
        users as f64 / total
    );
    Ok(())
}

/// A long tail of items, as shops have.
fn interactions(
    users: usize,
    items: usize,
    entries: usize,
) -> Result<Csr, Box<dyn std::error::Error>> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let cells: Vec<_> = (0..entries)
        .map(|_| {
            let user = (uniform() * users as f64) as u32;
            let item = (uniform().powi(3) * items as f64) as u32;
            (user, item, 1.0 + uniform() as f32)
        })
        .collect();
    Ok(Csr::from_triplets(users, items, &cells)?)
}

/// GB/s of the best of five copies of 256 MiB.
fn copy_bandwidth() -> f64 {
    let from = vec![1u64; 32 << 20];
    let mut to = vec![0u64; 32 << 20];
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * 256.0 * 1024.0 * 1024.0 / best / 1e9
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

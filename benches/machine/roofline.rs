//! What this machine can do at most: bytes copied and fused multiply-adds per second, measured.

use rayon::prelude::*;
use recost::compute::Isa;
use std::time::Instant;

/// Measured limits.
#[derive(Debug, Clone, Copy)]
pub struct Roofline {
    pub threads: usize,
    /// Bytes per second read and written by copying, on one thread.
    pub bandwidth_one: f64,
    /// The same on all threads.
    pub bandwidth: f64,
    /// Floating-point operations per second in 32 bits, on all threads.
    pub flops: f64,
}

impl Roofline {
    pub fn measure() -> Self {
        let threads = rayon::current_num_threads();
        Self {
            threads,
            bandwidth_one: bandwidth(1),
            bandwidth: bandwidth(threads),
            flops: flops(threads),
        }
    }
}

impl std::fmt::Display for Roofline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "copy {:.1} GB/s on one thread, {:.1} GB/s on {}; peak {:.1} GFLOP/s",
            self.bandwidth_one / 1e9,
            self.bandwidth / 1e9,
            self.threads,
            self.flops / 1e9
        )
    }
}

/// Tries of which the best counts: short and many, so that some are free of what else the machine does.
const COPIES: usize = 40;
const BURSTS: usize = 200;

/// The best copy of 128 MiB, read and write counted.
fn bandwidth(threads: usize) -> f64 {
    const WORDS: usize = 16 << 20;
    let from = vec![1u64; WORDS];
    let mut to = vec![0u64; WORDS];
    let part = WORDS.div_ceil(threads);
    let best = (0..COPIES).map(|_| {
        let start = Instant::now();
        to.par_chunks_mut(part)
            .zip(std::hint::black_box(&from).par_chunks(part))
            .for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&mut to);
        start.elapsed().as_secs_f64()
    });
    16.0 * WORDS as f64 / best.fold(f64::INFINITY, f64::min)
}

/// Accumulators that do not wait for each other, more than any core's latency × width.
const CHAINS: usize = 16;

/// The best burst of some milliseconds on all threads.
fn flops(threads: usize) -> f64 {
    const ROUNDS: usize = 1 << 19;
    let isa = Isa::detect();
    let best = (0..BURSTS).map(|_| {
        let start = Instant::now();
        let lanes: usize = (0..threads)
            .into_par_iter()
            .with_max_len(1)
            .map(|_| multiply_add(isa, ROUNDS))
            .sum();
        let done = 2.0 * (lanes * CHAINS * ROUNDS) as f64;
        done / start.elapsed().as_secs_f64()
    });
    best.fold(0.0, f64::max)
}

/// Floats that one instruction takes, after `rounds` × [`CHAINS`] of them.
fn multiply_add(isa: Isa, rounds: usize) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            // SAFETY: the processor has it.
            std::hint::black_box(unsafe { avx512(rounds) });
            16
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            // SAFETY: as above.
            std::hint::black_box(unsafe { avx2(rounds) });
            8
        }
        _ => {
            std::hint::black_box(portable(rounds));
            4
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: usize) -> std::arch::x86_64::__m512 {
    use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_set1_ps};
    let (by, plus) = (_mm512_set1_ps(0.999), _mm512_set1_ps(0.001));
    let mut sums = [std::hint::black_box(plus); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, by, plus);
        }
    }
    sums.into_iter().fold(plus, |a, b| _mm512_add_ps(a, b))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: usize) -> std::arch::x86_64::__m256 {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_fmadd_ps, _mm256_set1_ps};
    let (by, plus) = (_mm256_set1_ps(0.999), _mm256_set1_ps(0.001));
    let mut sums = [std::hint::black_box(plus); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, by, plus);
        }
    }
    sums.into_iter().fold(plus, |a, b| _mm256_add_ps(a, b))
}

/// Four floats at a time, as NEON has; the compiler makes instructions of them.
fn portable(rounds: usize) -> f32 {
    let mut sums = std::hint::black_box([[0.001f32; 4]; CHAINS]);
    for _ in 0..rounds {
        for sum in sums.iter_mut().flatten() {
            *sum = if cfg!(target_arch = "aarch64") {
                sum.mul_add(0.999, 0.001)
            } else {
                *sum * 0.999 + 0.001
            };
        }
    }
    sums.iter().flatten().sum()
}

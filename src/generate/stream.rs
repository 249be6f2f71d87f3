//! Named random streams: what a stream decides is fixed by its name, never by the order in which threads reach it.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

use crate::random::mix;

/// What a stream decides; part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Domain {
    Niches = 1,
    Items,
    Users,
    Activity,
    Sessions,
    Usage,
    Bills,
}

/// A random stream.
pub(super) struct Stream(Pcg64Mcg);

impl Stream {
    /// The stream of `seed` that decides `domain` for the thing with number `index`.
    pub(super) fn new(seed: u64, domain: Domain, index: u64) -> Self {
        let high = mix(mix(seed) ^ mix((domain as u64).wrapping_mul(0xA24B_AED4_963E_E407)));
        let low = mix(high ^ mix(index.wrapping_add(0x9FB2_1C65_1E98_DF25)));
        Self(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..n by multiplication (Lemire 2019); its bias, below n / 2^64, is no matter here.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in low..=high.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(super) fn normal(&mut self) -> f32 {
        let value: f32 = StandardNormal.sample(&mut self.0);
        value
    }

    /// Exponential with this mean.
    pub(super) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// Draws an index with given weights in constant time (Walker's alias
/// method as set up by Vose 1991).
pub(super) struct Alias {
    /// Chance to stay, and where to go otherwise.
    cells: Vec<(f32, u32)>,
}

impl Alias {
    /// A sampler of 0..weights.len(), which must not be empty.
    pub(super) fn new(weights: &[f64]) -> Self {
        let n = weights.len();
        let sum: f64 = weights.iter().sum();
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * n as f64 / sum).collect();
        let mut cells: Vec<(f32, u32)> = (0..n).map(|i| (1.0, i as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..n).partition(|&i| scaled[i] < 1.0);
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            cells[s] = (scaled[s] as f32, l as u32);
            scaled[l] -= 1.0 - scaled[s];
            if scaled[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Self { cells }
    }

    pub(super) fn sample(&self, stream: &mut Stream) -> u32 {
        let bits = stream.next();
        let index = ((u128::from(bits) * self.cells.len() as u128) >> 64) as usize;
        let (stay, other) = self.cells[index];
        let coin = (stream.next() >> 40) as f32 * (1.0 / (1u32 << 24) as f32);
        if coin < stay { index as u32 } else { other }
    }
}

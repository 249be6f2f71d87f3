//! Streams of random numbers: a number depends on the seed and its place alone, never on what was drawn before it.

use crate::random::nth;

/// Numbers of one purpose: another `purpose` of the same seed gives others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    key: u64,
}

impl Stream {
    pub fn new(seed: u64, purpose: u64) -> Self {
        let key = nth(nth(seed) ^ purpose);
        Self { key }
    }

    /// 64 random bits.
    pub fn bits(self, place: u64) -> u64 {
        nth(self.key ^ nth(place))
    }

    /// Uniform in `0..n`.
    pub fn below(self, place: u64, n: usize) -> usize {
        // The high half of a product is as even as its bits (Lemire, ACM TOMACS 29(1), 2019).
        ((u128::from(self.bits(place)) * n as u128) >> 64) as usize
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(self, place: u64) -> f64 {
        (self.bits(place) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The numbers `0..n` in random order.
    pub fn shuffled(self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for at in (1..n).rev() {
            order.swap(at, self.below(at as u64, at + 1));
        }
        order
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_seed_and_purpose() {
        let draw = |seed, purpose| -> Vec<u64> {
            (0..5)
                .map(|place| Stream::new(seed, purpose).bits(place))
                .collect()
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn a_shuffle_holds_every_number_once_and_moves_most() {
        let order = Stream::new(7, 1).shuffled(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().zip(0..).all(|(&a, b)| a == b));
        assert!(order.iter().zip(0..).filter(|&(&a, b)| a == b).count() < 10);
    }

    #[test]
    fn draws_are_even() {
        let mut counts = [0; 7];
        for place in 0..7000 {
            counts[Stream::new(7, 1).below(place, 7)] += 1;
        }
        assert!(
            counts.iter().all(|&c| (850..1150).contains(&c)),
            "{counts:?}"
        );
        let mean: f64 = (0..7000).map(|p| Stream::new(7, 1).uniform(p)).sum::<f64>() / 7000.0;
        assert!((mean - 0.5).abs() < 0.02);
    }
}

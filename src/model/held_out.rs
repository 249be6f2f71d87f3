//! Which interactions are held back from training, to judge by.

use super::Examples;
use super::random::Stream;

/// Purpose of the random numbers.
const HELD_OUT: u64 = 2;

/// Of each entry of the weights, whether it is among the newest `share` of them; without times, that share at random.
/// Entries of one moment are told apart at random, so that no user's are held back together for their place.
pub fn newest(examples: &Examples<'_>, share: f64, seed: u64) -> Vec<bool> {
    let entries = examples.weights.nnz();
    let count = (entries as f64 * share) as usize;
    let stream = Stream::new(seed, HELD_OUT);
    let mut order: Vec<usize> = (0..entries).collect();
    order.sort_unstable_by_key(|&at| {
        let time = examples.times.map_or(0, |times| times[at]);
        (time, stream.bits(at as u64), at)
    });
    let mut held = vec![false; entries];
    order
        .iter()
        .rev()
        .take(count)
        .for_each(|&at| held[at] = true);
    held
}

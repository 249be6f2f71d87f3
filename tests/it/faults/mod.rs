//! Faults on purpose: nights that are killed, run out of disk, read damaged exports or lose their store, at moments and in an
//! order that a seed decides. Whatever happens, the published tables are those from before or those of a night that nothing
//! happened to, the ledger tells the truth, and the next run makes good without help.
//!
//! `RECOST_FAULTS` sets how many faults each test tries, `RECOST_SEED` the seed; a test that fails says which it had.
//! `RECOST_FAULTS_DEVICE` is the device that nights train on, `cpu` unless it is set.

mod calls;
mod dates;
mod disk;
mod exports;
mod kills;
mod oracle;
mod store;
mod together;
mod week;
mod world;

use recost::random::SplitMix64;

/// Numbers that follow from a seed.
pub struct Dice(SplitMix64);

impl Dice {
    /// Those of a test; which seed it has is said where it fails.
    #[allow(clippy::print_stdout)]
    pub fn of(test: &str) -> Self {
        let seed = match std::env::var("RECOST_SEED") {
            Ok(seed) => seed.parse().expect("RECOST_SEED is a whole number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        };
        println!("RECOST_SEED={seed} ({test})");
        Dice(SplitMix64(
            seed ^ xxhash_rust::xxh3::xxh3_64(test.as_bytes()),
        ))
    }

    fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// Of 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Of 0 to 1.
    pub fn share(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }

    pub fn of_these<'t, T>(&mut self, these: &'t [T]) -> &'t T {
        &these[self.below(these.len())]
    }
}

/// How many faults a test tries: `few` in the ordinary test command.
pub fn budget(few: usize) -> usize {
    match std::env::var("RECOST_FAULTS") {
        Ok(many) => many.parse().expect("RECOST_FAULTS is a whole number"),
        Err(_) => few,
    }
}

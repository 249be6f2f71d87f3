//! Random numbers from counters: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). A number depends on its place alone, never on what
//! was drawn before it.

/// What the counter grows by: 2⁶⁴ divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator, at its counter.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        scatter(self.0)
    }
}

/// What the generator that begins at 0 draws after `n` others.
pub fn nth(n: u64) -> u64 {
    mix(n.wrapping_mul(STEP))
}

/// The first that the generator draws which begins at `seed`. Different seeds give different numbers.
pub fn mix(seed: u64) -> u64 {
    SplitMix64(seed).draw()
}

/// The number of a counter: a bijection that takes neighbours far apart.
pub fn scatter(counter: u64) -> u64 {
    let mut z = counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers that the authors' own program gives for the seed 1234567.
    #[test]
    fn numbers_are_those_of_the_reference() {
        let mut random = SplitMix64(1_234_567);
        let drawn: [u64; 3] = std::array::from_fn(|_| random.draw());
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
        let mut random = SplitMix64(0);
        for n in 0..3 {
            assert_eq!(nth(n), random.draw());
        }
    }
}

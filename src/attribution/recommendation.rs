//! A model's cost of a day, over the recommendations that it served that day: [`split`](super::split()) over more weights
//! than are held in memory.
//!
//! Largest remainder needs of all remainders only one number: the smallest that still gets a unit, the threshold. It is
//! found like a quantile. A pass over the weights counts remainders by ranges of their value, the range in which the
//! threshold lies is looked at more closely in the next, and the remainders of one that holds few are gathered and
//! sorted. Then the part of each weight is known from the weight alone, but for ties, which are counted in order.

use super::split::signed;
use super::wide::mul_div_rem;

/// Bits by which a pass narrows the range of the threshold down.
const BITS: u32 = 16;
/// Remainders that are gathered rather than counted.
const GATHERED: u64 = 1 << 16;

/// What recommendations weigh: the computing time of each, in ns, as far as the serving log has it. Where it lacks one they
/// all weigh the same, since a time for some alone says nothing about the rest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weights {
    count: u64,
    /// ns
    total: u128,
    lacking: bool,
}

impl Weights {
    /// Adds a recommendation; 0 where no time was measured.
    pub fn add(&mut self, compute_ns: u64) {
        self.count += 1;
        self.total += u128::from(compute_ns);
        self.lacking |= compute_ns == 0;
    }

    /// How many recommendations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds those of another group.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.total += other.total;
        self.lacking |= other.lacking;
    }
}

/// The split of an amount over recommendations, which come in the same order in each pass: as long as it is not
/// [settled](Self::is_settled) they are shown to [`see`](Self::see), followed by [`end_pass`](Self::end_pass). Then
/// [`part`](Self::part) gives each its part, once and in order. The parts add up to the amount.
#[derive(Debug)]
pub struct ServedSplit {
    amount: i128,
    even: bool,
    total: u128,
    search: Search,
    bits: u32,
    gathered: u64,
}

/// How far the search for the threshold is.
#[derive(Debug)]
enum Search {
    /// Nothing was seen yet; quotients are added up so that the units left over are known.
    First { quotients: u128, within: Within },
    /// The units left over that the remainders of the range get.
    Next { units: u64, within: Within },
    /// Remainders above the threshold get a unit, and the first so many of those equal to it.
    Settled { threshold: u128, ties: u64 },
}

/// Remainders of `low` and the values after it.
#[derive(Debug)]
enum Within {
    /// How many are in each of the ranges of 2^`shift` values.
    Counted {
        low: u128,
        shift: u32,
        counts: Vec<u64>,
    },
    /// Those of the 2^`shift` values.
    Gathered {
        low: u128,
        shift: u32,
        found: Vec<u128>,
    },
}

impl ServedSplit {
    /// A split of `amount` over recommendations of which there is at least one.
    pub fn new(amount: i128, weights: &Weights) -> Self {
        Self::with(amount, weights, BITS, GATHERED)
    }

    fn with(amount: i128, weights: &Weights, bits: u32, gathered: u64) -> Self {
        let even = weights.lacking;
        let total = if even {
            u128::from(weights.count)
        } else {
            weights.total
        };
        let magnitude = amount.unsigned_abs();
        let search = if even || magnitude == 0 {
            // All remainders are equal.
            let left = magnitude.checked_rem(total).unwrap_or(0);
            Search::Settled {
                threshold: left,
                ties: u64::try_from(left).unwrap_or(u64::MAX),
            }
        } else {
            let shift = u128::BITS - total.leading_zeros();
            Search::First {
                quotients: 0,
                within: Within::new(0, shift, weights.count, bits, gathered),
            }
        };
        ServedSplit {
            amount,
            even,
            total,
            search,
            bits,
            gathered,
        }
    }

    /// Whether parts can be given.
    pub fn is_settled(&self) -> bool {
        matches!(self.search, Search::Settled { .. })
    }

    /// Quotient and remainder of a recommendation.
    fn of(&self, compute_ns: u64) -> (u128, u128) {
        let weight = if self.even { 1 } else { u128::from(compute_ns) };
        mul_div_rem(self.amount.unsigned_abs(), weight, self.total)
    }

    /// Looks at the next recommendation of a pass.
    pub fn see(&mut self, compute_ns: u64) {
        let (quotient, remainder) = self.of(compute_ns);
        match &mut self.search {
            Search::First { quotients, within } => {
                *quotients += quotient;
                within.add(remainder);
            }
            Search::Next { within, .. } => within.add(remainder),
            Search::Settled { .. } => {}
        }
    }

    /// Ends a pass over all recommendations.
    pub fn end_pass(&mut self) {
        let nobody = Search::Settled {
            threshold: u128::MAX,
            ties: 0,
        };
        let (units, within) = match std::mem::replace(&mut self.search, nobody) {
            Search::First { quotients, within } => {
                // The remainders add up to the units times the total and each is below it, so there are fewer units than rows.
                let left = self.amount.unsigned_abs() - quotients;
                (u64::try_from(left).unwrap_or(u64::MAX), within)
            }
            Search::Next { units, within } => (units, within),
            settled @ Search::Settled { .. } => {
                self.search = settled;
                return;
            }
        };
        if units > 0 {
            self.search = within.narrowed(units, self.bits, self.gathered);
        }
    }

    /// The part of the next recommendation.
    pub fn part(&mut self, compute_ns: u64) -> i128 {
        let (quotient, remainder) = self.of(compute_ns);
        let more = match &mut self.search {
            Search::Settled { threshold, ties } if remainder == *threshold && *ties > 0 => {
                *ties -= 1;
                true
            }
            Search::Settled { threshold, .. } => remainder > *threshold,
            _ => false,
        };
        signed(quotient + u128::from(more), self.amount)
    }
}

impl Within {
    /// A look at the `expected` remainders of the 2^`shift` values from `low` on.
    fn new(low: u128, shift: u32, expected: u64, bits: u32, gathered: u64) -> Self {
        if expected <= gathered {
            return Within::Gathered {
                low,
                shift,
                found: vec![],
            };
        }
        let bits = bits.min(shift);
        Within::Counted {
            low,
            shift: shift - bits,
            counts: vec![0; 1 << bits],
        }
    }

    fn add(&mut self, remainder: u128) {
        match self {
            Within::Counted { low, shift, counts } => {
                let above = remainder.checked_sub(*low).map(|above| above >> *shift);
                let range = above.and_then(|a| usize::try_from(a).ok());
                if let Some(count) = range.and_then(|r| counts.get_mut(r)) {
                    *count += 1;
                }
            }
            Within::Gathered { low, shift, found } => {
                let above = remainder.checked_sub(*low);
                if above.is_some_and(|above| above.checked_shr(*shift).unwrap_or(0) == 0) {
                    found.push(remainder);
                }
            }
        }
    }

    /// Where in what was seen the last of `units` goes, the largest remainder first.
    fn narrowed(self, mut units: u64, bits: u32, gathered: u64) -> Search {
        match self {
            Within::Counted { low, shift, counts } => {
                let mut range = counts.len() - 1;
                while range > 0 && counts[range] < units {
                    units -= counts[range];
                    range -= 1;
                }
                let low = low + ((range as u128) << shift);
                if shift == 0 {
                    return Search::Settled {
                        threshold: low,
                        ties: units,
                    };
                }
                let within = Within::new(low, shift, counts[range], bits, gathered);
                Search::Next { units, within }
            }
            Within::Gathered { mut found, .. } => {
                found.sort_unstable_by(|a, b| b.cmp(a));
                let last = usize::try_from(units)
                    .unwrap_or(usize::MAX)
                    .min(found.len());
                let threshold = last.checked_sub(1).map_or(u128::MAX, |at| found[at]);
                let above = found.partition_point(|remainder| *remainder > threshold);
                Search::Settled {
                    threshold,
                    ties: (last - above) as u64,
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::split::split;
    use super::*;
    use proptest::prelude::*;

    fn parts(amount: i128, compute_ns: &[u64], (bits, gathered): (u32, u64)) -> Vec<i128> {
        let mut weights = Weights::default();
        for ns in compute_ns {
            weights.add(*ns);
        }
        let mut split = ServedSplit::with(amount, &weights, bits, gathered);
        let mut passes = 0;
        while !split.is_settled() {
            compute_ns.iter().for_each(|ns| split.see(*ns));
            split.end_pass();
            passes += 1;
            assert!(passes <= 130 / bits + 2, "the search ends");
        }
        compute_ns.iter().map(|ns| split.part(*ns)).collect()
    }

    #[test]
    fn one_without_a_time_makes_the_day_even() {
        let usual = (BITS, GATHERED);
        assert_eq!(parts(-8, &[9, 0, 1], usual), [-3, -3, -2]);
        assert_eq!(parts(10, &[9, 1], usual), [9, 1]);
        assert_eq!(parts(0, &[9, 1], usual), [0, 0]);
    }

    proptest! {
        #![proptest_config(super::super::test_support::cases())]

        #[test]
        fn is_the_largest_remainder_however_few_are_held(
            amount in (any::<i128>(), 0_u32..128).prop_map(|(value, shift)| value >> shift),
            mut compute_ns in prop::collection::vec(prop_oneof![1_u64..9, any::<u64>()], 1..60),
            some_lack in any::<bool>(),
            bits in 1_u32..5, gathered in prop_oneof![Just(0_u64), 1_u64..8, Just(GATHERED)],
        ) {
            if some_lack {
                compute_ns[0] = 0;
            }
            let weight = |&ns: &u64| if some_lack { 1 } else { u128::from(ns) };
            let weights: Vec<u128> = compute_ns.iter().map(weight).collect();
            let parts = parts(amount, &compute_ns, (bits, gathered));
            prop_assert_eq!(&parts, &split(amount, &weights).unwrap().unwrap());
        }
    }
}

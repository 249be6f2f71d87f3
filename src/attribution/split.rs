//! Signed largest remainder: an amount over weights, exact to the last unit.
//!
//! With `W = Σ w`: `q_i = ⌊|C|·w_i / W⌋`; the `|C| − Σ q_i` largest remainders
//! `|C|·w_i mod W` get one unit more (ties: lower index first); the sign of `C`
//! comes back at the end. Hamilton's method of apportionment, on integers.

use super::wide::mul_div_rem;

/// Why an amount cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("the weights of a split add up to more than 2^128 - 1; give them in a larger unit")]
    WeightsTooLarge,
    #[error("an amount leaves the range of 128-bit integers while it is being added up")]
    AmountTooLarge,
}

/// Sum of weights.
pub fn total_weight(weights: &[u128]) -> Result<u128, SplitError> {
    let add = |sum: u128, weight: &u128| sum.checked_add(*weight);
    let total = weights.iter().try_fold(0, add);
    total.ok_or(SplitError::WeightsTooLarge)
}

/// Splits `amount` over `weights`, whose order is the order of keys; `None` when all weights are zero.
pub fn split(amount: i128, weights: &[u128]) -> Result<Option<Vec<i128>>, SplitError> {
    let mut parts = Vec::with_capacity(weights.len());
    let split = Splitter::default().split_into(amount, weights, &mut parts)?;
    Ok(split.then_some(parts))
}

/// [`split`] with its working memory kept from call to call.
#[derive(Debug, Default)]
pub struct Splitter {
    remainders: Vec<u128>,
    sorted: Vec<u128>,
}

impl Splitter {
    /// Replaces `parts` by the split, one part per weight; false (and no parts) when all weights are zero.
    pub fn split_into(
        &mut self,
        amount: i128,
        weights: &[u128],
        parts: &mut Vec<i128>,
    ) -> Result<bool, SplitError> {
        let total = total_weight(weights)?;
        parts.clear();
        if total == 0 {
            return Ok(false);
        }
        let magnitude = amount.unsigned_abs();
        let mut left = magnitude;
        self.remainders.clear();
        for &weight in weights {
            let (quotient, remainder) = mul_div_rem(magnitude, weight, total);
            left -= quotient;
            parts.push(signed(quotient, amount));
            self.remainders.push(remainder);
        }
        self.give(left, amount, parts);
        Ok(true)
    }

    /// Gives one unit to each of the `left` largest remainders, ties by index.
    fn give(&mut self, left: u128, amount: i128, parts: &mut [i128]) {
        // The remainders add up to left · W and each is below W, so left < parts.len().
        let left = usize::try_from(left).unwrap_or(usize::MAX).min(parts.len());
        if left == 0 {
            return;
        }
        self.sorted.clone_from(&self.remainders);
        let (larger, &mut threshold, _) = self
            .sorted
            .select_nth_unstable_by(left - 1, |a, b| b.cmp(a));
        let above = larger
            .iter()
            .filter(|&&remainder| remainder > threshold)
            .count();
        let mut ties = left - above;
        let unit = amount.signum();
        for (part, &remainder) in parts.iter_mut().zip(&self.remainders) {
            if remainder > threshold {
                *part += unit;
            } else if remainder == threshold && ties > 0 {
                ties -= 1;
                *part += unit;
            }
        }
    }
}

/// `sign(amount) · magnitude`, for a magnitude of at most `|amount|`.
pub(super) fn signed(magnitude: u128, amount: i128) -> i128 {
    // 2^127 wraps to the smallest i128, whose wrapped negation is itself.
    let value = magnitude as i128;
    if amount < 0 {
        value.wrapping_neg()
    } else {
        value
    }
}

/// Splits several amounts over the same weights so that every running total is
/// itself split exactly: row `j` is `split(Σ amounts[..=j]) − split(Σ amounts[..j])`.
///
/// So the rows add up to the split of the whole, each row adds up to its
/// amount, and rounding does not pile up on one weight. `None` when all weights are zero.
pub fn split_running(
    amounts: &[i128],
    weights: &[u128],
) -> Result<Option<Vec<Vec<i128>>>, SplitError> {
    let mut splitter = Splitter::default();
    let mut rows = Vec::with_capacity(amounts.len());
    let mut prefix = 0_i128;
    let mut before = vec![0_i128; weights.len()];
    let mut after = Vec::with_capacity(weights.len());
    for amount in amounts {
        prefix = prefix
            .checked_add(*amount)
            .ok_or(SplitError::AmountTooLarge)?;
        if !splitter.split_into(prefix, weights, &mut after)? {
            return Ok(None);
        }
        let row = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after.checked_sub(*before));
        let row: Option<Vec<i128>> = row.collect();
        rows.push(row.ok_or(SplitError::AmountTooLarge)?);
        std::mem::swap(&mut before, &mut after);
    }
    // Of no amounts there are no rows, yet weights of zero still say "no driver".
    Ok((total_weight(weights)? > 0).then_some(rows))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use num_bigint::{BigInt, BigUint};
    use proptest::prelude::*;
    use proptest::sample::SizeRange;

    fn amount() -> impl Strategy<Value = i128> {
        (any::<i128>(), 0_u32..128).prop_map(|(value, shift)| value >> shift)
    }

    /// Weights of every width, many zero and many equal.
    fn weights(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<u128>> {
        let weight = prop_oneof![
            Just(0_u128),
            0_u128..4,
            (any::<u128>(), 5_u32..128).prop_map(|(value, shift)| value >> shift),
        ];
        prop::collection::vec(weight, size)
    }

    fn parts(amount: i128, weights: &[u128]) -> Option<Vec<i128>> {
        split(amount, weights).unwrap()
    }

    /// The definition, word for word, on big integers.
    fn by_definition(amount: i128, weights: &[u128]) -> Option<Vec<i128>> {
        let total: BigUint = weights.iter().map(|&weight| BigUint::from(weight)).sum();
        if total == BigUint::ZERO {
            return None;
        }
        let magnitude = BigUint::from(amount.unsigned_abs());
        let products: Vec<BigUint> = weights.iter().map(|&weight| &magnitude * weight).collect();
        let mut quotients: Vec<BigUint> = products.iter().map(|product| product / &total).collect();
        let left = u64::try_from(&magnitude - quotients.iter().sum::<BigUint>()).unwrap();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| {
            (&products[b] % &total)
                .cmp(&(&products[a] % &total))
                .then(a.cmp(&b))
        });
        for &index in &order[..left as usize] {
            quotients[index] += 1_u32;
        }
        let sign = BigInt::from(amount.signum());
        let signed = quotients
            .into_iter()
            .map(|quotient| BigInt::from(quotient) * &sign);
        Some(signed.map(|part| i128::try_from(part).unwrap()).collect())
    }

    #[test]
    fn vectors() {
        assert_eq!(parts(10000, &[1, 1, 1]).unwrap(), [3334, 3333, 3333]);
        assert_eq!(parts(5, &[3, 7]).unwrap(), [2, 3]);
        assert_eq!(parts(-5000, &[4, 6]).unwrap(), [-2000, -3000]);
        assert_eq!(parts(5, &[0, 0]), None);
        assert_eq!(parts(5, &[]), None);
        assert_eq!(parts(i128::MIN, &[0, 9]).unwrap(), [0, i128::MIN]);
        assert_eq!(split(1, &[u128::MAX, 1]), Err(SplitError::WeightsTooLarge));
    }

    proptest! {
        #![proptest_config(super::super::test_support::cases())]

        #[test]
        fn follows_the_definition(amount in amount(), weights in weights(0..12)) {
            prop_assert_eq!(parts(amount, &weights), by_definition(amount, &weights));
        }

        #[test]
        fn sums_exactly_and_errs_by_less_than_a_unit(amount in amount(), weights in weights(1..12)) {
            if let Some(parts) = parts(amount, &weights) {
                let sum: BigInt = parts.iter().map(|&part| BigInt::from(part)).sum();
                prop_assert_eq!(sum, BigInt::from(amount));
                let total: BigInt = weights.iter().map(|&weight| BigInt::from(weight)).sum();
                for (&part, &weight) in parts.iter().zip(&weights) {
                    // |part − amount·weight/total| < 1, both sides times total.
                    let error = BigInt::from(part) * &total - BigInt::from(amount) * weight;
                    prop_assert!(error < total && error > -&total);
                    prop_assert!(weight > 0 || part == 0);
                }
            }
        }

        #[test]
        fn negative_amount_mirrors(amount in amount(), weights in weights(0..12)) {
            let amount = amount.max(-i128::MAX);
            let mirrored = parts(-amount, &weights).map(|parts| parts.iter().map(|part| -part).collect());
            prop_assert_eq!(parts(amount, &weights), mirrored);
        }

        #[test]
        fn key_order_decides_not_arrival(amount in amount(), (keyed, shuffled) in weights(1..12).prop_flat_map(|weights| {
            let keyed: Vec<(usize, u128)> = weights.into_iter().enumerate().collect();
            (Just(keyed.clone()), Just(keyed).prop_shuffle())
        })) {
            let by_key = |mut pairs: Vec<(usize, u128)>| {
                pairs.sort_unstable();
                let weights: Vec<u128> = pairs.iter().map(|pair| pair.1).collect();
                let keys = pairs.into_iter().map(|pair| pair.0);
                parts(amount, &weights).map(|parts| keys.zip(parts).collect::<Vec<_>>())
            };
            prop_assert_eq!(by_key(keyed), by_key(shuffled));
        }

        #[test]
        fn every_running_total_is_split_exactly(
            amounts in prop::collection::vec((any::<i128>(), 4_u32..128).prop_map(|(value, shift)| value >> shift), 0..8),
            weights in weights(1..8),
        ) {
            let rows = split_running(&amounts, &weights).unwrap();
            prop_assert_eq!(rows.is_some(), weights.iter().any(|&weight| weight > 0));
            let mut prefix = 0;
            let mut sums = vec![0_i128; weights.len()];
            for (row, amount) in rows.into_iter().flatten().zip(&amounts) {
                prop_assert_eq!(row.iter().sum::<i128>(), *amount);
                prefix += amount;
                sums.iter_mut().zip(&row).for_each(|(sum, part)| *sum += part);
                prop_assert_eq!(Some(sums.clone()), by_definition(prefix, &weights));
            }
        }
    }
}

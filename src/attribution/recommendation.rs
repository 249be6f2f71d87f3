//! A model's cost of a day, over the recommendations it served that day.

use super::split::{SplitError, Splitter};
use crate::money::Money;

/// Splits `amount` over the recommendations served of one day and model, in key
/// order, exactly: the parts add up to the amount.
///
/// `compute_ns` has one element per recommendation, 0 where the serving log
/// measured none. When every recommendation has a time it is the weight; when
/// any lacks it, all get an even share, since a time for some alone says nothing
/// about the rest. `None` when nothing was served: the cost stays with the model.
///
/// Linear in the number of recommendations; 40 bytes of working memory for each.
pub fn split_served(amount: Money, compute_ns: &[u64]) -> Result<Option<Vec<i128>>, SplitError> {
    if compute_ns.is_empty() {
        return Ok(None);
    }
    if compute_ns.contains(&0) {
        return Ok(Some(split_evenly(amount, compute_ns.len())));
    }
    let weights: Vec<u128> = compute_ns.iter().map(|&ns| u128::from(ns)).collect();
    let mut parts = Vec::with_capacity(weights.len());
    Splitter::default().split_into(amount.0, &weights, &mut parts)?;
    Ok(Some(parts))
}

/// All remainders are equal, so the first ones get the units that are left.
fn split_evenly(amount: Money, count: usize) -> Vec<i128> {
    let divisor = count as i128;
    let (part, left) = (amount.0 / divisor, amount.0 % divisor);
    let unit = left.signum();
    let more = left.unsigned_abs() as usize;
    let part = |index| if index < more { part + unit } else { part };
    (0..count).map(part).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::split::split;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_served_is_none_and_not_zero() {
        assert_eq!(split_served(Money(5), &[]).unwrap(), None);
    }

    #[test]
    fn one_without_a_time_makes_the_day_even() {
        assert_eq!(
            split_served(Money(-8), &[9, 0, 1]).unwrap().unwrap(),
            [-3, -3, -2]
        );
        assert_eq!(split_served(Money(10), &[9, 1]).unwrap().unwrap(), [9, 1]);
    }

    proptest! {
        #![proptest_config(super::super::test_support::cases())]

        #[test]
        fn is_the_largest_remainder(amount in -(10_i128.pow(33))..10_i128.pow(33),
            mut compute_ns in prop::collection::vec(prop_oneof![1_u64..9, any::<u64>()], 1..40), some_lack in any::<bool>()) {
            if some_lack {
                compute_ns[0] = 0;
            }
            let weight = |&ns: &u64| if some_lack { 1 } else { u128::from(ns) };
            let weights: Vec<u128> = compute_ns.iter().map(weight).collect();
            let parts = split_served(Money(amount), &compute_ns).unwrap();
            prop_assert_eq!(&parts, &split(amount, &weights).unwrap());
            prop_assert_eq!(parts.unwrap().iter().sum::<i128>(), amount);
        }
    }
}

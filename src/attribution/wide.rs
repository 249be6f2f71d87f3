//! `a · b / c` on unsigned integers, exact, through a 256-bit product.

/// Quotient and remainder of `a · b / divisor`, for `b ≤ divisor` and
/// `divisor > 0`; then the quotient is at most `a` and fits.
///
/// Knuth, The Art of Computer Programming 4.3.1, algorithm D, with two 64-bit
/// limbs in the divisor.
#[inline]
pub(super) fn mul_div_rem(a: u128, b: u128, divisor: u128) -> (u128, u128) {
    debug_assert!(b <= divisor && divisor > 0);
    if let Some(product) = a.checked_mul(b) {
        return div_rem(product, divisor);
    }
    if b == divisor {
        return (a, 0);
    }
    let (high, low) = widening_mul(a, b);
    // b < divisor and a < 2^128, so high < divisor: one narrowing division.
    narrowing_div(high, low, divisor)
}

/// Hardware division where both fit 64 bits; the general routine is many times slower.
#[inline]
fn div_rem(value: u128, divisor: u128) -> (u128, u128) {
    match (u64::try_from(value), u64::try_from(divisor)) {
        (Ok(value), Ok(divisor)) => (u128::from(value / divisor), u128::from(value % divisor)),
        _ => {
            let quotient = value / divisor;
            (quotient, value - quotient * divisor)
        }
    }
}

const LOW: u128 = u64::MAX as u128;

fn widening_mul(a: u128, b: u128) -> (u128, u128) {
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (low, cross) = (a0 * b0, a1 * b0);
    let middle = (low >> 64) + (cross & LOW) + a0 * b1;
    // a0·b1 ≤ (2^64 − 1)^2, which leaves room for two more limbs.
    let high = a1 * b1 + (cross >> 64) + (middle >> 64);
    (high, (middle << 64) | (low & LOW))
}

fn narrowing_div(high: u128, low: u128, divisor: u128) -> (u128, u128) {
    let shift = divisor.leading_zeros();
    let divisor = divisor << shift;
    let (high, low) = if shift == 0 {
        (high, low)
    } else {
        ((high << shift) | (low >> (128 - shift)), low << shift)
    };
    let (q1, rest) = narrowing_limb(high, low >> 64, divisor);
    let (q0, rest) = narrowing_limb(rest, low & LOW, divisor);
    ((q1 << 64) | q0, rest >> shift)
}

/// One quotient limb of `(rest · 2^64 + next) / divisor`; `rest < divisor`, and
/// the divisor's top bit is set.
fn narrowing_limb(rest: u128, next: u128, divisor: u128) -> (u128, u128) {
    let (d1, d0) = (divisor >> 64, divisor & LOW);
    let (mut quotient, mut partial) = (rest / d1, rest % d1);
    // At most two corrections, as the divisor is normalised.
    while quotient > LOW || quotient * d0 > ((partial << 64) | next) {
        quotient -= 1;
        partial += d1;
        if partial > LOW {
            break;
        }
    }
    // The true difference is below the divisor; the bits above 128 cancel.
    let shifted = (rest << 64) | next;
    (
        quotient,
        shifted.wrapping_sub(quotient.wrapping_mul(divisor)),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    fn any_width() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0_u32..128).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        #[test]
        fn agrees_with_big_integers(a in any_width(), b in any_width(), c in any_width()) {
            let (b, divisor) = (b.min(c), b.max(c).max(1));
            let (quotient, rest) = mul_div_rem(a, b, divisor);
            let product = BigUint::from(a) * BigUint::from(b);
            prop_assert_eq!(BigUint::from(quotient), &product / divisor);
            prop_assert_eq!(BigUint::from(rest), &product % divisor);
        }
    }

    #[test]
    fn agrees_with_big_integers_at_the_edges() {
        let edges: Vec<u128> = [0, 1, 1 << 32, LOW, 1 << 64, 1 << 127, u128::MAX]
            .into_iter()
            .flat_map(|edge: u128| [edge.saturating_sub(1), edge, edge.saturating_add(1)])
            .collect();
        for &a in &edges {
            for &b in &edges {
                for &divisor in edges.iter().filter(|&&divisor| divisor >= b.max(1)) {
                    let (quotient, rest) = mul_div_rem(a, b, divisor);
                    let product = BigUint::from(a) * BigUint::from(b);
                    assert_eq!(
                        BigUint::from(quotient),
                        &product / divisor,
                        "{a} {b} {divisor}"
                    );
                    assert_eq!(BigUint::from(rest), product % divisor, "{a} {b} {divisor}");
                }
            }
        }
    }
}

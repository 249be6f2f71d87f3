//! Exact amounts: [`Money`] at scale 18, how it is read, and how it is rounded for display.
//!
//! An amount is never held in a binary float. A double that comes from outside
//! is turned into its shortest round-trip decimal text and then into that exact
//! decimal.

mod currency;
mod text;

use std::fmt;
use std::iter::repeat_n;

use arrow::datatypes::i256;

pub use currency::Currency;
use text::{Parts, not_a_number};

/// Decimal places that [`Money`] keeps.
pub const SCALE: u32 = 18;
/// Decimal places that [`Residue`] keeps.
pub const RESIDUE_SCALE: u32 = 38;
const LIMIT: i128 = 10_i128.pow(33);
/// One unit of [`SCALE`] in units of [`RESIDUE_SCALE`].
const RESIDUE_UNIT: i128 = 10_i128.pow(RESIDUE_SCALE - SCALE);

/// Why a text, a double or a decimal is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("an amount is expected, the text is empty")]
    Empty,
    #[error(
        "{text:?} is not an amount; write digits with an optional sign, point and exponent, such as -12.50 or 1.2E-7"
    )]
    Syntax { text: String },
    #[error("{text} is not a finite number and cannot be an amount")]
    NotFinite { text: String },
    #[error("{text} is too large for an amount; the limit is 1e15, both ways")]
    TooLarge { text: String },
    #[error("a decimal of scale {scale} cannot be read; the largest scale is 38")]
    Scale { scale: i8 },
    #[error("a sum of amounts leaves the range of Decimal128(38, 18)")]
    Overflow,
    #[error("{digits} decimal places cannot be shown; at most 18 are kept")]
    Digits { digits: u32 },
    #[error("{text:?} is not a currency; use the three-letter code of ISO 4217, such as USD")]
    UnknownCurrency { text: String },
}

/// An amount in some currency, in units of 10⁻¹⁸ (`Decimal128(38, 18)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i128);

/// What rounding an amount to scale 18 took away: `exact = money + residue`, in
/// units of 10⁻³⁸ and never more than half a unit of scale 18.
///
/// Digits past 38 places (only doubles below about 10⁻²¹ have them) are rounded
/// half-even into the last place of the residue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Residue(pub i128);

impl Residue {
    /// Sum, or [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        let sum = self.0.checked_add(other.0);
        sum.map(Self).ok_or(MoneyError::Overflow)
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, RESIDUE_SCALE, None)
    }
}

impl Money {
    /// `self × factor / count`, half-even at scale 18; `None` when `count` is 0, for a ratio without a denominator is no 0.
    ///
    /// # Errors
    /// When `self × factor` leaves the range.
    pub fn per(self, factor: u64, count: u64) -> Result<Option<Money>, MoneyError> {
        if count == 0 {
            return Ok(None);
        }
        let product = self.0.checked_mul(i128::from(factor));
        let product = product.ok_or(MoneyError::Overflow)?;
        Ok(Some(Money(div_half_even(product, i128::from(count)))))
    }

    /// `self × factor`, the factor with 18 places like an amount, half-even at scale 18.
    ///
    /// # Errors
    /// When the product leaves the range.
    pub fn times(self, factor: Money) -> Result<Money, MoneyError> {
        // Two products of 127 bits fit 256.
        let product = i256::from_i128(self.0).wrapping_mul(i256::from_i128(factor.0));
        let rounded = wide_half_even(product, i256::from_i128(Self::ONE.0));
        rounded.map(Money).ok_or(MoneyError::Overflow)
    }

    /// `self / other`, half-even at scale 18, exact whatever their size; `None` when `other` is 0 or the ratio leaves the
    /// range of 128-bit integers.
    pub fn over(self, other: Self) -> Option<Money> {
        if other.0 == 0 {
            return None;
        }
        let dividend = i256::from_i128(self.0).wrapping_mul(i256::from_i128(Self::ONE.0));
        wide_half_even(dividend, i256::from_i128(other.0)).map(Money)
    }

    pub const ZERO: Self = Self(0);
    /// One unit of the currency.
    pub const ONE: Self = Self(10_i128.pow(SCALE));

    /// Sum, or [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        let sum = self.0.checked_add(other.0);
        sum.map(Self).ok_or(MoneyError::Overflow)
    }

    /// Negation, or [`MoneyError::Overflow`] for the smallest `i128`.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        self.0.checked_neg().map(Self).ok_or(MoneyError::Overflow)
    }

    /// Magnitude, or [`MoneyError::Overflow`] for the smallest `i128`.
    pub fn checked_abs(self) -> Result<Self, MoneyError> {
        self.0.checked_abs().map(Self).ok_or(MoneyError::Overflow)
    }

    /// Reads a plain or E-notation decimal; blanks around it are ignored.
    ///
    /// Digits past 18 places are rounded half-even, and what that took away is
    /// the residue.
    pub fn parse(text: &str) -> Result<(Self, Residue), MoneyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MoneyError::Empty);
        }
        let parts = Parts::parse(text).ok_or_else(|| not_a_number(text))?;
        parts.amount().ok_or_else(|| MoneyError::TooLarge {
            text: text.to_owned(),
        })
    }

    /// Reads a double as its shortest round-trip decimal text.
    ///
    /// NaN, infinities and magnitudes from 1e15 up are refused.
    pub fn from_f64(value: f64) -> Result<(Self, Residue), MoneyError> {
        if !value.is_finite() {
            return Err(MoneyError::NotFinite {
                text: value.to_string(),
            });
        }
        Self::parse(&format!("{value:e}"))
    }

    /// Reads an integer of units of 10^-`scale`, as a `Decimal128` holds it.
    pub fn from_decimal(value: i128, scale: i8) -> Result<(Self, Residue), MoneyError> {
        let too_large = || MoneyError::TooLarge {
            text: format!("{value}E{}", -i32::from(scale)),
        };
        let shift = i32::from(scale) - SCALE as i32;
        if shift <= 0 {
            let amount = 10_i128
                .checked_pow(shift.unsigned_abs())
                .and_then(|factor| value.checked_mul(factor));
            // Any power of ten of zero is zero.
            let amount = if value == 0 { Some(0) } else { amount };
            return match amount {
                Some(units) if units.unsigned_abs() < LIMIT.unsigned_abs() => {
                    Ok((Self(units), Residue(0)))
                }
                _ => Err(too_large()),
            };
        }
        if i32::from(scale) > RESIDUE_SCALE as i32 {
            return Err(MoneyError::Scale { scale });
        }
        let unit = 10_i128.pow(shift.unsigned_abs());
        let units = div_half_even(value, unit);
        // `checked_abs`: the smallest i128 at scale 19 is far above the limit.
        if value
            .checked_abs()
            .is_none_or(|magnitude| magnitude / unit >= LIMIT)
        {
            return Err(too_large());
        }
        // Wrapping: next to the ends of i128 the product leaves its range, the difference does not.
        let residue = value.wrapping_sub(units.wrapping_mul(unit)) * (RESIDUE_UNIT / unit);
        Ok((Self(units), Residue(residue)))
    }

    /// The amount rounded half-even to `digits` decimal places.
    pub fn round(self, digits: u32) -> Result<Self, MoneyError> {
        let unit = unit_of(digits)?;
        let units = div_half_even(self.0, unit);
        units
            .checked_mul(unit)
            .map(Self)
            .ok_or(MoneyError::Overflow)
    }

    /// Text with exactly `digits` decimal places, rounded half-even.
    pub fn fixed(self, digits: u32) -> Result<String, MoneyError> {
        let rounded = self.round(digits)?;
        Ok(format!("{rounded:.*}", digits as usize))
    }
}

/// Exact, trailing zeros trimmed. A precision pads with zeros, and never drops a digit that is not zero.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, SCALE, f.precision())
    }
}

fn write_decimal(
    f: &mut fmt::Formatter<'_>,
    value: i128,
    scale: u32,
    places: Option<usize>,
) -> fmt::Result {
    let unit = 10_u128.pow(scale);
    let (whole, fraction) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    let mut text = whole.to_string();
    let digits = format!("{fraction:0width$}", width = scale as usize);
    let kept = digits.trim_end_matches('0');
    let places = places.unwrap_or(0).max(kept.len());
    if places > 0 {
        text.push('.');
        text.push_str(kept);
        text.extend(repeat_n('0', places - kept.len()));
    }
    f.pad_integral(value >= 0, "", &text)
}

fn unit_of(digits: u32) -> Result<i128, MoneyError> {
    match SCALE.checked_sub(digits) {
        Some(places) => Ok(10_i128.pow(places)),
        None => Err(MoneyError::Digits { digits }),
    }
}

fn div_half_even(value: i128, unit: i128) -> i128 {
    let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
    let up = match rest.cmp(&(unit - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient & 1 == 1,
    };
    quotient + i128::from(up)
}

/// `value / unit`, half-even; `None` beyond 128 bits.
fn wide_half_even(value: i256, unit: i256) -> Option<i128> {
    let (whole, rest) = (value.wrapping_div(unit), value.wrapping_rem(unit));
    let whole = whole.to_i128()?;
    let (rest, unit_size) = (rest.wrapping_abs(), unit.wrapping_abs());
    let left = unit_size.wrapping_sub(rest);
    // The quotient is cut off towards zero.
    if rest > left || (rest == left && whole & 1 == 1) {
        let negative = (value < i256::ZERO) != (unit < i256::ZERO);
        return whole.checked_add(if negative { -1 } else { 1 });
    }
    Some(whole)
}

/// Rounds `leaves` to `digits` decimal places so that they add up to their
/// rounded (half-even) total: each is floored, and the largest remainders get
/// one unit more (ties: the earlier leaf).
pub fn present(leaves: &[Money], digits: u32) -> Result<Vec<Money>, MoneyError> {
    let unit = unit_of(digits)?;
    let mut total = Money::ZERO;
    for leaf in leaves {
        total = total.checked_add(*leaf)?;
    }
    let mut shown: Vec<i128> = leaves.iter().map(|leaf| leaf.0.div_euclid(unit)).collect();
    let missing = div_half_even(total.0, unit) - shown.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..leaves.len()).collect();
    order.sort_by_key(|&leaf| (-leaves[leaf].0.rem_euclid(unit), leaf));
    // The remainders add up to `missing` units, half a unit more or less, and
    // each is below one: so at most one unit per leaf, and none to an exact leaf.
    for &leaf in order.iter().take(usize::try_from(missing).unwrap_or(0)) {
        shown[leaf] += 1;
    }
    shown
        .into_iter()
        .map(|units| {
            units
                .checked_mul(unit)
                .map(Money)
                .ok_or(MoneyError::Overflow)
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    #[test]
    fn doubles_become_their_shortest_text() {
        let read = |value: f64| Money::from_f64(value).map(|read| read.0.to_string());
        assert_eq!(read(0.1).unwrap(), "0.1");
        assert_eq!(read(0.1 + 0.2).unwrap(), "0.30000000000000004");
        assert_eq!(read(-1.0e-7).unwrap(), "-0.0000001");
        assert_eq!(read(-0.0).unwrap(), "0");
        assert_eq!(read(999_999_999_999_999.9).unwrap(), "999999999999999.9");
        assert!(matches!(read(f64::NAN), Err(MoneyError::NotFinite { .. })));
        assert!(matches!(
            read(f64::NEG_INFINITY),
            Err(MoneyError::NotFinite { .. })
        ));
        assert!(matches!(read(-1e15), Err(MoneyError::TooLarge { .. })));
        assert!(matches!(read(f64::MAX), Err(MoneyError::TooLarge { .. })));
        assert_eq!(read(f64::MIN_POSITIVE).unwrap(), "0");
    }

    #[test]
    fn decimals_of_any_scale_are_read() {
        let read = |value, scale| {
            Money::from_decimal(value, scale).map(|read| (read.0.to_string(), read.1.to_string()))
        };
        let same = |text: &str, residue: &str| Ok((text.to_owned(), residue.to_owned()));
        assert_eq!(read(1234, 2), same("12.34", "0"));
        assert_eq!(read(-5, -3), same("-5000", "0"));
        assert_eq!(
            read(15, 19),
            same("0.000000000000000002", "-0.0000000000000000005")
        );
        assert_eq!(read(0, -128), same("0", "0"));
        assert_eq!(read(i128::MAX, 38).unwrap().0, "1.701411834604692317");
        // A file may hold it, whatever its type promises.
        for scale in [18, 19] {
            assert!(matches!(
                read(i128::MIN, scale),
                Err(MoneyError::TooLarge { .. })
            ));
        }
        assert!(matches!(read(1, -15), Err(MoneyError::TooLarge { .. })));
        assert!(matches!(
            read(i128::MAX, 0),
            Err(MoneyError::TooLarge { .. })
        ));
        assert_eq!(read(1, 39), Err(MoneyError::Scale { scale: 39 }));
    }

    #[test]
    fn a_ratio_of_amounts_is_exact_and_none_without_a_denominator() {
        let ratio = |a: &str, b: &str| {
            let amount = |text| Money::parse(text).unwrap().0;
            amount(a).over(amount(b)).map(|m| m.to_string())
        };
        assert_eq!(ratio("1", "3").unwrap(), "0.333333333333333333");
        assert_eq!(ratio("-2", "3").unwrap(), "-0.666666666666666667");
        assert_eq!(ratio("-7.5", "-2.5").unwrap(), "3");
        assert_eq!(ratio("0", "5").unwrap(), "0");
        // Half a unit goes to the even digit.
        assert_eq!(ratio("0.000000000000000001", "2").unwrap(), "0");
        assert_eq!(
            ratio("0.000000000000000003", "2").unwrap(),
            "0.000000000000000002"
        );
        assert_eq!(ratio("1", "0"), None);
        assert_eq!(ratio("900000000000000", "0.000000000000000001"), None);
        assert_eq!(
            ratio(
                "999999999999999.999999999999999999",
                "999999999999999.999999999999999999"
            )
            .unwrap(),
            "1"
        );
    }

    #[test]
    fn amounts_are_shown_whole_or_rounded() {
        assert_eq!(format!("{:.2}", Money::parse("7.5").unwrap().0), "7.50");
        // A precision never hides a digit; rounding is asked for by name.
        assert_eq!(format!("{:.2}", Money::parse("7.125").unwrap().0), "7.125");
        assert_eq!(Money::parse("7.125").unwrap().0.fixed(2).unwrap(), "7.12");
        assert_eq!(Money::parse("-7.135").unwrap().0.fixed(2).unwrap(), "-7.14");
        assert_eq!(Money::parse("2.5").unwrap().0.fixed(0).unwrap(), "2");
        assert_eq!(
            format!("{:>8}", Money::parse("-1.5").unwrap().0),
            "    -1.5"
        );
        assert_eq!(
            Money::ZERO.fixed(19),
            Err(MoneyError::Digits { digits: 19 })
        );
        assert_eq!(
            Money(i128::MIN).to_string(),
            "-170141183460469231731.687303715884105728"
        );
        assert_eq!(Money(i128::MIN).checked_neg(), Err(MoneyError::Overflow));
        assert_eq!(
            Money(i128::MAX).checked_add(Money(1)),
            Err(MoneyError::Overflow)
        );
    }

    #[test]
    fn a_product_rounds_half_to_even() {
        let at = |amount: i128, rate: i128| Money(amount).times(Money(rate)).unwrap().0;
        let half = Money::ONE.0 / 2;
        assert_eq!(
            [1, 3, 5, -1, -3, -5].map(|amount| at(amount, half)),
            [0, 2, 2, 0, -2, -2]
        );
        assert_eq!(
            at(Money::ONE.0 * 100, 1_082_500_000_000_000_000),
            108_250_000_000_000_000_000
        );
        assert!(Money(i128::MAX).times(Money(Money::ONE.0 * 2)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_product_is_the_nearest_amount(amount in any::<i128>().prop_map(|a| a >> 20), rate in 1_i128..10_i128.pow(24)) {
            let Ok(Money(found)) = Money(amount).times(Money(rate)) else { return Ok(()) };
            let exact = BigInt::from(amount) * rate;
            let off = BigInt::from(found) * Money::ONE.0 - exact;
            prop_assert!(off.magnitude() * 2_u32 <= BigInt::from(Money::ONE.0).magnitude().clone());
            prop_assert_eq!(Money(-amount).times(Money(rate)).unwrap().0, -found);
        }

        #[test]
        fn a_decimal_is_its_text(value in any::<i64>(), scale in 6_i8..=38) {
            let (by_value, by_text) = (Money::from_decimal(value.into(), scale), Money::parse(&format!("{value}e-{scale}")));
            prop_assert_eq!(by_value.unwrap(), by_text.unwrap());
        }

        #[test]
        fn a_double_below_the_limit_is_exact_to_its_text(value in -1e15_f64..1e15) {
            let (money, residue) = Money::from_f64(value).unwrap();
            let back: f64 = format!("{money}").parse().unwrap();
            prop_assert!(residue.0 != 0 || back == value, "{} {}", money, back);
        }

        #[test]
        fn shown_leaves_add_up(leaves in prop::collection::vec((any::<i128>(), 20_u32..128).prop_map(|(value, shift)| Money(value >> shift)), 0..12), digits in 0_u32..=18) {
            let shown = present(&leaves, digits).unwrap();
            let total = Money(leaves.iter().map(|leaf| leaf.0).sum());
            prop_assert_eq!(Money(shown.iter().map(|leaf| leaf.0).sum()), total.round(digits).unwrap());
            let unit = 10_i128.pow(18 - digits);
            for (shown, leaf) in shown.iter().zip(&leaves) {
                prop_assert!((shown.0 - leaf.0).abs() < unit && shown.0 % unit == 0);
            }
        }
    }
}

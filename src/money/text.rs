//! An amount from its text: every digit of a decimal in plain or E notation.

use super::{Money, MoneyError, RESIDUE_SCALE, RESIDUE_UNIT, Residue, SCALE};

/// Amounts read from outside must be smaller than 10 to this power.
const MAX_INTEGER_DIGITS: i64 = 15;

pub(super) fn not_a_number(text: &str) -> MoneyError {
    let word = text.trim_start_matches(['+', '-']);
    let not_finite = ["nan", "inf", "infinity"];
    let text = text.to_owned();
    if not_finite
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
    {
        MoneyError::NotFinite { text }
    } else {
        MoneyError::Syntax { text }
    }
}

/// A decimal text taken apart: `±(whole fraction) · 10^(exponent − len(fraction))`.
pub(super) struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Parts<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (negative, bytes) = sign(bytes);
        let (whole, rest) = digits(bytes);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => digits(rest),
            _ => (&rest[..0], rest),
        };
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => exponent(rest)?,
            Some(_) => return None,
        };
        let some_digit = !whole.is_empty() || !fraction.is_empty();
        some_digit.then_some(Self {
            negative,
            whole,
            fraction,
            exponent,
        })
    }

    /// Digit at `place` of the digits of both parts in one row; zero beyond them.
    fn digit(&self, place: i64) -> u8 {
        let Ok(place) = usize::try_from(place) else {
            return 0;
        };
        let digit = match place.checked_sub(self.whole.len()) {
            None => self.whole.get(place),
            Some(place) => self.fraction.get(place),
        };
        digit.map_or(0, |digit| digit - b'0')
    }

    /// `None` when the magnitude is 1e15 or more.
    pub(super) fn amount(&self) -> Option<(Money, Residue)> {
        let len = (self.whole.len() + self.fraction.len()) as i64;
        let Some(first) = (0..len).find(|&place| self.digit(place) != 0) else {
            return Some((Money::ZERO, Residue(0)));
        };
        let point = self.whole.len() as i64 + self.exponent;
        if point - first > MAX_INTEGER_DIGITS {
            return None;
        }
        let (money_end, residue_end) = (point + i64::from(SCALE), point + i64::from(RESIDUE_SCALE));
        let number = |from: i64, to: i64| {
            (from..to).fold(0_i128, |sum, place| {
                sum * 10 + i128::from(self.digit(place))
            })
        };
        let mut units = number(first, money_end);
        let mut residue = number(money_end.max(first), residue_end);
        let next = self.digit(residue_end);
        let beyond = (residue_end.max(-1) + 1..len).any(|place| self.digit(place) != 0);
        let half = RESIDUE_UNIT / 2;
        // Decided on all digits, so that the residue's own rounding cannot tip it.
        let up = residue > half || (residue == half && (next > 0 || beyond || units & 1 == 1));
        residue += i128::from(next > 5 || (next == 5 && (beyond || residue & 1 == 1)));
        if up {
            units += 1;
            residue -= RESIDUE_UNIT;
        }
        let sign = if self.negative { -1 } else { 1 };
        Some((Money(sign * units), Residue(sign * residue)))
    }
}

fn sign(bytes: &[u8]) -> (bool, &[u8]) {
    match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    }
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit());
    bytes.split_at(end.unwrap_or(bytes.len()))
}

fn exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, bytes) = sign(bytes);
    let (digits, rest) = digits(bytes);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    // Far outside every amount, yet harmless to add to a text's length.
    const CAP: i64 = 1 << 40;
    let value = digits.iter().fold(0_i64, |sum, digit| {
        (sum * 10 + i64::from(digit - b'0')).min(CAP)
    });
    Some(if negative { -value } else { value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn read(text: &str) -> (String, String) {
        let (money, residue) = Money::parse(text).unwrap();
        (money.to_string(), residue.to_string())
    }

    fn exact(text: &str) -> String {
        let (money, residue) = read(text);
        assert_eq!(residue, "0", "{text}");
        money
    }

    #[test]
    fn decimals_of_all_shapes_are_read() {
        for (text, expected) in [
            ("98.40", "98.4"),
            (" -12.5 ", "-12.5"),
            ("+7", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.2E-7", "0.00000012"),
            ("3e2", "300"),
            ("12.5e+1", "125"),
            ("0e999999999999", "0"),
            ("0001.10", "1.1"),
            (
                "999999999999999.999999999999999999",
                "999999999999999.999999999999999999",
            ),
            ("0.1e15", "100000000000000"),
            ("1000000000000000e-1", "100000000000000"),
            ("0.000000000000000001", "0.000000000000000001"),
        ] {
            assert_eq!(exact(text), expected, "{text}");
        }
    }

    #[test]
    fn digits_past_18_are_rounded_half_even_and_kept() {
        let half = "0.0000000000000000005";
        assert_eq!(read(half), ("0".to_owned(), half.to_owned()));
        assert_eq!(
            read("0.0000000000000000015"),
            ("0.000000000000000002".to_owned(), format!("-{half}"))
        );
        assert_eq!(
            read("-0.0000000000000000015"),
            ("-0.000000000000000002".to_owned(), half.to_owned())
        );
        assert_eq!(read("0.00000000000000000050001").0, "0.000000000000000001");
        // Only digits past 38 places tip it over the half.
        assert_eq!(
            read("0.00000000000000000050000000000000000000000001").0,
            "0.000000000000000001"
        );
        assert_eq!(read("1e-300"), ("0".to_owned(), "0".to_owned()));
        assert_eq!(
            read("1e-99999999999999999999"),
            ("0".to_owned(), "0".to_owned())
        );
        assert_eq!(read("6e-39").1, "0.00000000000000000000000000000000000001");
        assert_eq!(read("5e-39").1, "0");
    }

    #[test]
    fn what_is_no_amount_is_refused_by_name() {
        for text in [
            "1,000", "$5", "1e", "e5", ".", "-", "1.2.3", "(5)", "0x10", "1_000", "5 6", "--5", "١",
        ] {
            assert!(
                matches!(Money::parse(text), Err(MoneyError::Syntax { .. })),
                "{text}"
            );
        }
        assert_eq!(Money::parse(" "), Err(MoneyError::Empty));
        for text in ["NaN", "-inf", "Infinity"] {
            assert!(
                matches!(Money::parse(text), Err(MoneyError::NotFinite { .. })),
                "{text}"
            );
        }
        for text in [
            "1e15",
            "-1000000000000000",
            "1e99999999999999999999",
            "0.01e17",
        ] {
            assert!(
                matches!(Money::parse(text), Err(MoneyError::TooLarge { .. })),
                "{text}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_text_is_its_amount_and_residue(negative in any::<bool>(), whole in "[0-9]{1,11}", fraction in "[0-9]{0,28}", shift in -10_i32..5) {
            let text = format!("{}{whole}.{fraction}e{shift}", if negative { "-" } else { "" });
            let digits: BigInt = format!("{whole}{fraction}").parse().unwrap();
            let places = fraction.len() as i32 - shift;
            let (money, residue) = Money::parse(&text).unwrap();
            let exact = digits * BigInt::from(10).pow((38 - places) as u32) * if negative { -1 } else { 1 };
            prop_assert_eq!(BigInt::from(money.0) * RESIDUE_UNIT + residue.0, exact);
            prop_assert!(residue.0.abs() <= RESIDUE_UNIT / 2);
            prop_assert!(residue.0.abs() < RESIDUE_UNIT / 2 || money.0 % 2 == 0);
            // What is shown reads back.
            prop_assert_eq!(Money::parse(&money.to_string()).unwrap(), (money, Residue(0)));
        }
    }
}

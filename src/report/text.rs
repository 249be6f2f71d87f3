//! Text from data made safe for HTML, and numbers made easy to read.

use super::ReportError;
use crate::money::{Money, SCALE};
use std::fmt::Write as _;

/// What stands for a ratio whose denominator is zero, or a value that is not known.
pub const MISSING: &str = "n/a";
/// Characters of a name that are shown; CSV files have all of it.
const LABEL_CHARS: usize = 56;

/// Escapes text for an HTML element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('⏎'),
            _ if is_unseen(c) => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// Controls, breaks of lines, and marks that turn the direction of the text around them.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name of at most `chars` characters, the middle left out; not escaped.
pub fn shorten(text: &str, chars: usize) -> String {
    let count = text.chars().count();
    if count <= chars {
        return text.to_owned();
    }
    let head = chars.saturating_mul(2) / 3;
    let tail = chars.saturating_sub(head + 1);
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(count - tail));
    short
}

/// A name from the data, shortened and escaped; a blank one is named as such.
pub fn label(text: &str) -> String {
    if text.trim().is_empty() {
        return "(blank)".to_owned();
    }
    escape(&shorten(text, LABEL_CHARS))
}

/// Why something is unallocated, in words; a reason of the user's own stays as it is.
pub fn reason(code: &str) -> &str {
    match code {
        "no_rule" => "no rule matches",
        "by_rule" => "a rule says so",
        "no_driver" => "nothing measured to split it by",
        "provider_split_no_model" => "split by the provider, to no model of ours",
        "tax_no_base" => "tax with nothing taxed on the bill",
        "credit_no_base" => "credit with nothing that it belongs to",
        own => own,
    }
}

/// Puts commas into the whole part of a plain decimal, and a true minus sign before it.
pub fn group(plain: &str) -> String {
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("−", digits),
        None => ("", plain),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut out = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `12,345.67`, rounded half-even to `digits` places.
pub fn amount(money: Money, digits: u32) -> Result<String, ReportError> {
    Ok(group(&money.fixed(digits)?))
}

/// All digits, padded to `places`; those past `dim_after` places are set apart. HTML.
pub fn exact(money: Money, places: usize, dim_after: u32) -> String {
    let text = group(&format!("{money:.places$}"));
    let cut = text
        .find('.')
        .map_or(text.len(), |point| point + 1 + dim_after as usize);
    match (text.get(..cut), text.get(cut..)) {
        (Some(head), Some(tail)) if !tail.is_empty() => {
            format!("{head}<span class=\"dim\">{tail}</span>")
        }
        _ => text,
    }
}

/// Decimal places that the amount needs.
pub fn places(money: Money) -> usize {
    let text = money.to_string();
    text.split_once('.')
        .map_or(0, |(_, fraction)| fraction.len())
}

/// `1,234,567`.
pub fn count(value: u64) -> String {
    group(&value.to_string())
}

/// `3 models`, `1 model`.
pub fn counted(value: u64, one: &str, many: &str) -> String {
    let noun = if value == 1 { one } else { many };
    format!("{}\u{a0}{noun}", count(value))
}

/// Tenths of a per cent as `92.1 %`; `exactly` says whether nothing was rounded away.
///
/// What is not nothing never reads as 0.0 %, and what is not all never as 100.0 %.
pub fn tenths(value: i128, exactly: bool) -> String {
    match value {
        0 if !exactly => "< 0.1\u{a0}%".to_owned(),
        1000 if !exactly => "> 99.9\u{a0}%".to_owned(),
        _ => {
            let sign = if value < 0 { "−" } else { "" };
            let size = value.unsigned_abs();
            format!("{sign}{}.{}\u{a0}%", size / 10, size % 10)
        }
    }
}

/// `part` of `whole`, as `2.41 %`; [`MISSING`] when `whole` is 0.
pub fn rate(part: u64, whole: u64) -> String {
    if whole == 0 {
        return MISSING.to_owned();
    }
    let (part, whole) = (
        u128::from(part) * 20_000 + u128::from(whole),
        u128::from(whole) * 2,
    );
    let hundredths = part / whole;
    format!("{}.{:02}\u{a0}%", hundredths / 100, hundredths % 100)
}

/// Places with which the smallest of these amounts still shows three digits: 2 to 9.
pub fn ratio_digits(values: &[Money], least: u32) -> u32 {
    let smallest = values.iter().map(|value| value.0.unsigned_abs());
    let Some(smallest) = smallest.filter(|&value| value > 0).min() else {
        return least;
    };
    let magnitude = smallest.ilog10(); // SCALE for 1.0
    (SCALE + 2).saturating_sub(magnitude).clamp(least, 9)
}

/// `0.0432`, with four places.
pub fn score(value: f64) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let text = format!("{value:.4}");
    if text == "-0.0000" {
        return "0.0000".to_owned();
    }
    group(&text)
}

/// `12.3 s`, without the unit.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    group(&format!("{value:.2}"))
}

/// Bytes as MiB or GiB.
pub fn bytes(value: u64) -> String {
    const MIB: u64 = 1 << 20;
    let tenths = |unit: u64| {
        let tenths = u128::from(value) * 10 / u128::from(unit);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if value >= 1024 * MIB {
        format!("{}\u{a0}GiB", tenths(1024 * MIB))
    } else {
        format!("{}\u{a0}MiB", tenths(MIB))
    }
}

/// Joins escaped or fixed pieces as `a, b and c`.
pub fn list(pieces: &[String]) -> String {
    let mut out = String::new();
    for (place, piece) in pieces.iter().enumerate() {
        let separator = match place {
            0 => "",
            _ if place + 1 == pieces.len() => " and ",
            _ => ", ",
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "{separator}{piece}");
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_signed() {
        assert_eq!(group("1234567.125"), "1,234,567.125");
        assert_eq!(group("-999"), "−999");
        assert_eq!(group("-1000"), "−1,000");
        assert_eq!(count(0), "0");
        assert_eq!(
            amount(Money(12_345_675 * 10_i128.pow(15)), 2).unwrap(),
            "12,345.68"
        );
    }

    #[test]
    fn shares_never_hide_a_remainder() {
        assert_eq!(tenths(0, false), "< 0.1\u{a0}%");
        assert_eq!(tenths(0, true), "0.0\u{a0}%");
        assert_eq!(tenths(1000, false), "> 99.9\u{a0}%");
        assert_eq!(tenths(921, false), "92.1\u{a0}%");
        assert_eq!(rate(1, 3), "33.33\u{a0}%");
        assert_eq!(rate(0, 0), MISSING);
    }

    #[test]
    fn long_names_keep_both_ends() {
        let long = format!("{}END", "x".repeat(10_000));
        let short = shorten(&long, 30);
        assert_eq!(short.chars().count(), 30);
        assert!(short.starts_with("xxx") && short.ends_with("END"));
        assert_eq!(shorten("short", 30), "short");
    }

    #[test]
    fn markup_and_unseen_characters_are_harmless() {
        assert_eq!(
            escape("<a href='x' b=\"&\">"),
            "&lt;a href=&#39;x&#39; b=&quot;&amp;&quot;&gt;"
        );
        assert_eq!(escape("a\nb\u{0}\u{202e}"), "a⏎b\u{fffd}\u{fffd}");
    }

    #[test]
    fn exact_amounts_keep_every_digit() {
        let money = Money(1_234_500_000_000_000_000_001);
        assert_eq!(places(money), 18);
        assert_eq!(
            exact(money, 18, 2),
            "1,234.50<span class=\"dim\">0000000000000001</span>"
        );
        assert_eq!(exact(Money(0), 0, 2), "0");
    }

    #[test]
    fn ratios_get_the_places_they_need() {
        let milli = Money(12 * 10_i128.pow(15)); // 0.012
        assert_eq!(ratio_digits(&[milli], 2), 4);
        assert_eq!(ratio_digits(&[Money(0)], 2), 2);
        assert_eq!(ratio_digits(&[Money(5 * 10_i128.pow(20))], 2), 2);
    }
}

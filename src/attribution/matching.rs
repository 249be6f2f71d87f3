//! Rules made ready for matching: patterns, columns, dates, tags.

use std::borrow::Cow;

use chrono::{Datelike, NaiveDate};

use super::charge::Charge;
use super::rules::Rule;

/// `*` patterns, without case, on trimmed values.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Glob {
    /// `""`: absent or blank.
    Absent,
    /// `"*"`: neither.
    Present,
    Exact(String),
    /// Lower-case pieces between stars; the first and the last are anchored.
    Pieces(Vec<String>),
}

impl Glob {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.trim().to_lowercase();
        if pattern.is_empty() {
            Self::Absent
        } else if pattern.bytes().all(|byte| byte == b'*') {
            Self::Present
        } else if pattern.contains('*') {
            Self::Pieces(pattern.split('*').map(str::to_owned).collect())
        } else {
            Self::Exact(pattern)
        }
    }

    fn matches(&self, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::Absent => value.is_empty(),
            Self::Present => !value.is_empty(),
            Self::Exact(pattern) if value.is_ascii() => pattern.eq_ignore_ascii_case(value),
            Self::Exact(pattern) => value.to_lowercase() == *pattern,
            Self::Pieces(pieces) => pieces_match(pieces, &value.to_lowercase()),
        }
    }
}

fn pieces_match(pieces: &[String], value: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else {
        return false;
    };
    for piece in middle {
        match rest.find(piece.as_str()) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// Where a value is read: a field of the charge, a tag, or the rest of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    BillingAccountId,
    BillingCurrency,
    BillingPeriod,
    ChargeCategory,
    InvoiceId,
    InvoiceIssuer,
    ResourceId,
    ServiceName,
    AllocatedMethodId,
    Tag(String),
    Column(String),
}

impl Source {
    fn new(column: &str) -> Self {
        match column.trim() {
            "billing_account_id" => Self::BillingAccountId,
            "billing_currency" => Self::BillingCurrency,
            "billing_period" => Self::BillingPeriod,
            "charge_category" => Self::ChargeCategory,
            "invoice_id" => Self::InvoiceId,
            // FOCUS 1.0 to 1.2 call it a name.
            "invoice_issuer" | "invoice_issuer_name" => Self::InvoiceIssuer,
            "resource_id" => Self::ResourceId,
            "service_name" => Self::ServiceName,
            "allocated_method_id" => Self::AllocatedMethodId,
            column => match column.strip_prefix("tags.") {
                Some(key) => Self::Tag(key.trim().to_owned()),
                None => Self::Column(column.to_owned()),
            },
        }
    }

    fn read<'c>(&self, charge: &Charge<'c>) -> Option<Cow<'c, str>> {
        let field = match self {
            Self::BillingAccountId => charge.billing_account_id,
            Self::BillingPeriod => Some(charge.billing_period),
            Self::ChargeCategory => Some(charge.charge_category),
            Self::InvoiceId => charge.invoice_id,
            Self::InvoiceIssuer => charge.invoice_issuer,
            Self::ResourceId => charge.resource_id,
            Self::ServiceName => charge.service_name,
            Self::AllocatedMethodId => charge.allocated_method_id,
            Self::BillingCurrency => return Some(Cow::Owned(charge.currency.to_string())),
            Self::Tag(key) => find_tag(charge.tags, key).map(|tag| tag.value),
            Self::Column(name) => return charge.columns.column(name),
        };
        field.map(Cow::Borrowed)
    }
}

/// A tag's value, trimmed, and whether several keys differ only by case or blanks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub value: &'a str,
    pub collides: bool,
}

/// The tag of a key, whatever its case and the blanks around it; blank values count as absent.
///
/// Of several, the key written exactly so wins, else the first in text order.
pub(crate) fn find_tag<'a>(tags: &'a [(String, String)], key: &str) -> Option<Tag<'a>> {
    let same = |raw: &str| {
        let raw = raw.trim();
        raw.eq_ignore_ascii_case(key)
            || (!raw.is_ascii() && raw.to_lowercase() == key.to_lowercase())
    };
    let named = || {
        let filled = tags.iter().filter(|tag| !tag.1.trim().is_empty());
        filled.filter(|tag| same(&tag.0))
    };
    let first = named().next()?;
    if named().nth(1).is_none() {
        let value = first.1.trim();
        return Some(Tag {
            value,
            collides: false,
        });
    }
    let best = named().min_by_key(|tag| (tag.0 != key, &tag.0, &tag.1))?;
    let value = best.1.trim();
    Some(Tag {
        value,
        collides: true,
    })
}

/// The conditions of one rule.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// Days since the epoch of the first day, and of the first day no longer meant.
    days: (i32, i32),
    conditions: Vec<(Source, Vec<Glob>)>,
}

impl Matcher {
    /// Whether charges that start at this time, in µs, are meant.
    pub fn covers(&self, start: i64) -> bool {
        (self.days.0..self.days.1).contains(&day_of(start))
    }

    pub fn new(rule: &Rule) -> Self {
        let day = |date: NaiveDate| date.num_days_from_ce() - EPOCH_FROM_CE;
        let condition = |(column, patterns): (&String, &Vec<String>)| {
            let globs = patterns.iter().map(|pattern| Glob::new(pattern)).collect();
            (Source::new(column), globs)
        };
        Self {
            days: (
                rule.from.map_or(i32::MIN, day),
                rule.to.map_or(i32::MAX, day),
            ),
            conditions: rule.matches.0.iter().map(condition).collect(),
        }
    }

    pub fn matches(&self, charge: &Charge<'_>) -> bool {
        let all = |(source, globs): &(Source, Vec<Glob>)| {
            let value = source.read(charge);
            let value = value.as_deref().unwrap_or("");
            globs.iter().any(|glob| glob.matches(value))
        };
        self.covers(charge.period_start) && self.conditions.iter().all(all)
    }
}

/// 1970-01-01 in days from the common era.
const EPOCH_FROM_CE: i32 = 719_163;
const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a time in µs.
pub(super) fn day_of(micros: i64) -> i32 {
    // An i64 of µs holds 107 million days, both ways.
    micros.div_euclid(DAY_MICROS) as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_without_case_and_blanks() {
        let matches = |pattern: &str, value: &str| Glob::new(pattern).matches(value);
        for (pattern, value) in [
            ("Amazon EC2", " amazon ec2 "),
            ("amazon*", "Amazon S3"),
            ("*s3", "Amazon S3"),
            ("a*n*3", "Amazon S3"),
            ("*", "x"),
            ("**", "x"),
            ("", ""),
            ("", "  "),
            ("Ä*", "äpfel"),
            ("ÄPFEL", "äpfel"),
            ("*a*a*", "aa"),
        ] {
            assert!(matches(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [
            ("*", " "),
            ("", "x"),
            ("ab*b", "ab"),
            ("a", "ab"),
            ("*a*a*", "ab"),
            ("a*b", "abc"),
        ] {
            assert!(!matches(pattern, value), "{pattern} {value}");
        }
    }

    #[test]
    fn tags_collide_in_a_fixed_order() {
        let tag = |tags: &[(&str, &str)], key: &str| {
            let tags: Vec<_> = tags
                .iter()
                .map(|tag| (tag.0.to_owned(), tag.1.to_owned()))
                .collect();
            find_tag(&tags, key).map(|tag| (tag.value.to_owned(), tag.collides))
        };
        let found = |value: &str, collides| Some((value.to_owned(), collides));
        assert_eq!(tag(&[(" Org", " x ")], "org"), found("x", false));
        assert_eq!(tag(&[(" org", "1"), ("org", "2")], "org"), found("2", true));
        assert_eq!(tag(&[("oRg", "1"), ("ORG", "2")], "org"), found("2", true));
        assert_eq!(tag(&[("ORG", "2"), ("oRg", "1")], "org"), found("2", true));
        assert_eq!(tag(&[("org", " "), ("Org", "1")], "org"), found("1", false));
        assert_eq!(tag(&[("orgs", "1")], "org"), None);
    }

    /// The textbook recursion.
    fn slow(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                slow(rest, value) || (!value.is_empty() && slow(pattern, &value[1..]))
            }
            (Some((a, pattern)), Some((b, value))) => a == b && slow(pattern, value),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn stars_agree_with_the_textbook(pattern in "[ab*]{1,7}", value in "[ab]{1,9}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&value), slow(pattern.as_bytes(), value.as_bytes()));
        }
    }
}

//! A comparison in sentences: the same in the terminal and in the report, which differ in how they write names and numbers.

use super::{Answer, Comparison, InCurrency, Side, Subject, Worth};
use crate::attribution::interval::Interval;
use crate::money::Money;

/// What the interval does not know.
pub const CAUTION: &str = "Requests of one user are not independent, so the intervals are somewhat too narrow; and unless users were drawn by lot and both were shown on the same days, other differences count, too.";

/// How names and numbers are written.
pub trait Style {
    /// Why an amount cannot be written.
    type Error;

    /// A model or version.
    fn subject(&self, subject: &Subject) -> String;

    /// An amount with its currency.
    ///
    /// # Errors
    /// When it is out of range.
    fn amount(&self, currency: &str, money: Money) -> Result<String, Self::Error>;

    /// An estimate without decimals.
    fn estimate(&self, value: f64) -> String;

    /// An estimate with its range, of a currency.
    fn estimate_of(&self, currency: &str, range: &str) -> String;

    /// Percentage points with two decimals.
    fn points(&self, value: f64) -> String;
}

/// What was found, a sentence each.
///
/// # Errors
/// Those of the style.
pub fn sentences<S: Style>(found: &Comparison, style: &S) -> Result<Vec<String>, S::Error> {
    let Some(difference) = found.difference else {
        return Ok(vec![
            "One of the two was not shown in these days: nothing to compare.".to_owned(),
        ]);
    };
    let mut said = vec![of_difference(found, difference, style)];
    for own in &found.currencies {
        if let Some(more) = own.incremental {
            let amount = style.amount(&own.currency, more)?;
            said.push(format!("One more request that converts costs {amount}."));
        }
        if let Some(worth) = &own.worth {
            said.push(of_worth(&found.sides[1], own, worth, style)?);
        }
    }
    said.push(match found.days_in_common {
        0 => "They were never shown on the same day: the season is part of the difference."
            .to_owned(),
        1 => "Both were shown on 1 day.".to_owned(),
        days => format!("Both were shown on {days} days."),
    });
    Ok(said)
}

fn of_difference<S: Style>(found: &Comparison, difference: Interval, style: &S) -> String {
    let [first, second] = &found.sides;
    let points = 100.0;
    format!(
        "{} converts {} percentage points {} of its requests than {} (95 %: {} to {}); {}.",
        style.subject(&second.subject),
        style.points(difference.estimate.abs() * points),
        if difference.estimate < 0.0 {
            "fewer"
        } else {
            "more"
        },
        style.subject(&first.subject),
        style.points(difference.low * points),
        style.points(difference.high * points),
        if difference.leaves_out_zero() {
            "the interval leaves out 0: a difference"
        } else {
            "the interval has 0 in it: it may be none"
        }
    )
}

fn of_worth<S: Style>(
    side: &Side,
    own: &InCurrency,
    worth: &Worth,
    style: &S,
) -> Result<String, S::Error> {
    let range = |found: Interval| {
        format!(
            "{} (95 %: {} to {})",
            style.estimate(found.estimate),
            style.estimate(found.low),
            style.estimate(found.high)
        )
    };
    Ok(format!(
        "{} cost {} to make. On its {} requests the difference is {} requests that convert; at {} of {} each that is {}: {}.",
        style.subject(&side.subject),
        style.amount(&own.currency, own.costs[1].made)?,
        style.estimate(side.requests as f64),
        range(worth.conversions),
        style.amount(&own.currency, worth.value)?,
        if worth.is_margin { "margin" } else { "revenue" },
        style.estimate_of(&own.currency, &range(worth.total)),
        match worth.answer {
            Answer::Worth => "more than it cost to make, at the low end too",
            Answer::NotWorth => "less than it cost to make, at the high end too",
            Answer::Open => "so whether it was worth it is open",
        }
    ))
}

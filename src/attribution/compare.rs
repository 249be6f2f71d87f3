//! Two models or versions side by side: what each brought and cost, and whether the second was worth what it cost to make.
//!
//! The unit is the request: it converts when something of what it showed is bought. Items of one response share their user
//! and moment, so impressions are no independent trials; requests of one user are not wholly independent either, which
//! makes the interval a little too narrow. And unless the two were shown on the same days to users drawn by lot, a
//! difference of days or users is part of the difference found.

pub mod words;

use std::collections::BTreeMap;
use std::path::Path;

use chrono::NaiveDate;
use serde::Serialize;

use super::interval::{Interval, difference, share};
use crate::engine::rows::{Row, map};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result, nearest};
use crate::money::{Currency, Money, SCALE};

/// How the interval is made, for readers of a report.
pub const METHOD: &str = "difference of the shares of requests that convert; Newcombe (1998) hybrid score interval, two-sided 95 %";

/// A model, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    pub model_id: String,
    pub model_version: Option<String>,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.model_version {
            Some(version) => write!(f, "{}@{version}", self.model_id),
            None => f.write_str(&self.model_id),
        }
    }
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (model, version) = match text.rsplit_once('@') {
            Some((model, version)) => (model, Some(version.to_string())),
            None => (text, None),
        };
        if model.is_empty() || version.as_deref() == Some("") {
            return Err(format!(
                "`{text}` is no model; write MODEL or MODEL@VERSION"
            ));
        }
        Ok(Subject {
            model_id: model.to_string(),
            model_version: version,
        })
    }
}

/// What one side showed and brought over the days compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    #[serde(flatten)]
    pub subject: Subject,
    pub first_day: Option<NaiveDate>,
    pub last_day: Option<NaiveDate>,
    pub days: u64,
    pub served: u64,
    pub requests: u64,
    pub clicks: u64,
    pub purchases: u64,
    pub conversions: u64,
    pub converted_requests: u64,
    /// Converted requests / requests; absent where nothing was shown.
    pub conversion: Option<Interval>,
}

/// What one side cost and brought in, in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    pub run_cost: Money,
    /// Recognised of the cost to make it, part of `full_cost`.
    pub making_cost: Money,
    pub full_cost: Money,
    /// Absent where nothing was sold, or for unknown prices.
    pub revenue: Option<Money>,
    pub margin: Option<Money>,
    pub margin_revenue: Option<Money>,
    /// All that its versions cost to make up to the last day compared.
    pub made: Money,
    pub written_off: Money,
    pub unrecognised: Money,
}

/// Both sides in one currency.
#[derive(Debug, Clone, PartialEq)]
pub struct InCurrency {
    pub currency: String,
    pub costs: [Costs; 2],
    pub run_cost_per_conversion: [Option<Money>; 2],
    pub full_cost_per_conversion: [Option<Money>; 2],
    /// Full cost that one more converted request takes; absent where the second side has no more of them per request.
    pub incremental: Option<Money>,
    pub worth: Option<Worth>,
}

/// Whether what the second side brought more is worth what it cost to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// Converted requests more than the first side would have had on the second's requests.
    pub conversions: Interval,
    /// What a converted request of the second side brings.
    pub value: Money,
    /// Whether that is margin, or revenue for want of it.
    pub is_margin: bool,
    /// `conversions × value`; a statistic, not an amount of the books.
    pub total: Interval,
    pub answer: Answer,
}

/// What the interval allows to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Even the low end is more than it cost to make.
    Worth,
    /// Even the high end is less.
    NotWorth,
    /// What it cost to make lies within the interval.
    Open,
}

/// A comparison; the first side is what the second is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub sides: [Side; 2],
    /// Days on which both were shown.
    pub days_in_common: u64,
    /// Second − first; absent where one showed nothing.
    pub difference: Option<Interval>,
    pub currencies: Vec<InCurrency>,
}

/// Compares `subjects` over the days given, both ends included.
///
/// # Errors
/// `Kind::Config` when one of them is not known; those of SQL.
pub async fn compare(
    (options, snapshot): (&Options, &Path),
    library: &Library,
    subjects: [Subject; 2],
    days: (Option<NaiveDate>, Option<NaiveDate>),
) -> Result<Comparison> {
    let [first, second] = subjects;
    // Each side sees its own rows alone, in a session of its own.
    let open = || Engine::open(options, Some(snapshot), None);
    let first = side(&open()?, library, first, days).await?;
    let second = side(&open()?, library, second, days).await?;
    let days_in_common = first.2.iter().filter(|d| second.2.contains(d)).count() as u64;
    let sides = [first.0, second.0];
    let both = sides[0].conversion.zip(sides[1].conversion);
    let difference = both.map(|(a, b)| difference(a, b));
    let mut of_currency: BTreeMap<String, [Costs; 2]> = BTreeMap::new();
    for (at, costs) in [first.1, second.1].into_iter().enumerate() {
        for (currency, costs) in costs {
            of_currency.entry(currency).or_default()[at] = costs;
        }
    }
    let currencies = of_currency.into_iter().map(|(currency, costs)| {
        let per = |at: usize, cost: Money| {
            let ratio = cost.per(1, sides[at].converted_requests);
            ratio.map_err(|e| Error::check(e.to_string()))
        };
        Ok(InCurrency {
            run_cost_per_conversion: [per(0, costs[0].run_cost)?, per(1, costs[1].run_cost)?],
            full_cost_per_conversion: [per(0, costs[0].full_cost)?, per(1, costs[1].full_cost)?],
            incremental: incremental(&sides, &costs),
            worth: difference.and_then(|d| worth(&sides[1], &costs[1], d)),
            currency,
            costs,
        })
    });
    Ok(Comparison {
        currencies: currencies.collect::<Result<_>>()?,
        sides,
        days_in_common,
        difference,
    })
}

type Found = (Side, Vec<(String, Costs)>, Vec<NaiveDate>);

async fn side(
    engine: &Engine,
    library: &Library,
    subject: Subject,
    (from, to): (Option<NaiveDate>, Option<NaiveDate>),
) -> Result<Found> {
    known(engine, &subject).await?;
    let quoted = |text: &str| text.replace('\'', "''");
    let mut of = format!("model_id = '{}'", quoted(&subject.model_id));
    if let Some(version) = &subject.model_version {
        of.push_str(&format!(" and model_version = '{}'", quoted(version)));
    }
    let until = |column: &str| to.map(|d| format!(" and {column} <= date '{d}'"));
    let since = from.map(|d| format!(" and ds >= date '{d}'"));
    let days = [since, until("ds")].map(Option::unwrap_or_default).concat();
    engine
        .restrict("unit_costs", &format!("{of}{days}"))
        .await?;
    let made = format!("{of}{}", until("day").unwrap_or_default());
    engine.restrict("version_ledger", &made).await?;

    let counts = engine.collect(library.get("compare/counts.sql")?).await?;
    let counts = map(&counts, |row| {
        let (requests, converted) = (row.count("requests")?, row.count("converted_requests")?);
        Ok(Side {
            subject: subject.clone(),
            first_day: row.day("first_day")?,
            last_day: row.day("last_day")?,
            days: row.count("days")?,
            served: row.count("served")?,
            requests,
            clicks: row.count("clicks")?,
            purchases: row.count("purchases")?,
            conversions: row.count("conversions")?,
            converted_requests: converted,
            conversion: share(converted.min(requests), requests),
        })
    })?;
    let side = counts.into_iter().next();
    let side = side.ok_or_else(|| Error::unexpected("compare/counts.sql gives no row"))?;
    let costs = engine.collect(library.get("compare/costs.sql")?).await?;
    let mut costs = map(&costs, |row| Ok((row.needed("currency")?, costs_of(row)?)))?;
    // What was shown before the first bill has no cost as yet.
    costs.retain(|(currency, _)| currency != Currency::NONE);
    let shown = "select distinct ds from unit_costs where served > 0";
    let shown = map(&engine.collect(shown).await?, |row| row.day("ds"))?;
    Ok((side, costs, shown.into_iter().flatten().collect()))
}

fn costs_of(row: &Row<'_>) -> Result<Costs> {
    let some = |name| Ok::<_, Error>(row.decimal(name, SCALE as i8)?.map(Money));
    let amount = |name| Ok::<_, Error>(some(name)?.unwrap_or(Money::ZERO));
    Ok(Costs {
        run_cost: amount("run_cost")?,
        making_cost: amount("making_cost")?,
        full_cost: amount("full_cost")?,
        revenue: some("revenue")?,
        margin: some("margin")?,
        margin_revenue: some("margin_revenue")?,
        made: amount("made")?,
        written_off: amount("written_off")?,
        unrecognised: amount("unrecognised")?,
    })
}

/// Says so when there is nothing of a subject.
async fn known(engine: &Engine, subject: &Subject) -> Result<()> {
    let sql = "select distinct model_id, model_version from unit_costs
               union select distinct model_id, model_version from version_ledger";
    let rows = map(&engine.collect(sql).await?, |row| {
        Ok((row.needed("model_id")?, row.text("model_version")?))
    })?;
    let of_model = |row: &&(String, Option<String>)| row.0 == subject.model_id;
    let (names, what): (Vec<&str>, _) = if rows.iter().any(|row| of_model(&row)) {
        let version = &subject.model_version;
        if version.is_none() || rows.iter().any(|row| of_model(&row) && row.1 == *version) {
            return Ok(());
        }
        let versions = rows.iter().filter(of_model).filter_map(|r| r.1.as_deref());
        let version = version.clone().unwrap_or_default();
        let what = format!(
            "the model `{}` has no version `{version}`",
            subject.model_id
        );
        (versions.collect(), what)
    } else {
        let models = rows.iter().map(|row| row.0.as_str());
        let what = format!("nothing is known of a model `{}`", subject.model_id);
        (models.collect(), what)
    };
    let mut listed = names.clone();
    listed.sort_unstable();
    listed.dedup();
    let wanted = subject.model_version.as_ref().unwrap_or(&subject.model_id);
    Err(Error::config(what).help(match nearest(wanted, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", listed.join(", ")),
    }))
}

/// (cost per request of b − of a) / (conversions per request of b − of a), exact but for the last division.
fn incremental(sides: &[Side; 2], costs: &[Costs; 2]) -> Option<Money> {
    let [a, b] = sides;
    let cross = |x: i128, n: u64| x.checked_mul(i128::from(n));
    let cost = cross(costs[1].full_cost.0, a.requests)?
        .checked_sub(cross(costs[0].full_cost.0, b.requests)?)?;
    let more = cross(b.converted_requests.into(), a.requests)?
        .checked_sub(cross(a.converted_requests.into(), b.requests)?)?;
    let more = u64::try_from(more).ok()?;
    Money(cost).per(1, more).ok().flatten()
}

fn worth(side: &Side, costs: &Costs, difference: Interval) -> Option<Worth> {
    // Margin says more than revenue, where all of the revenue has one.
    let margin = costs
        .margin
        .filter(|_| costs.margin_revenue == costs.revenue);
    let value = margin.or(costs.revenue)?;
    let value = value.per(1, side.converted_requests).ok().flatten()?;
    let requests = side.requests as f64;
    let scaled = |by: f64| Interval {
        estimate: difference.estimate * by,
        low: difference.low * by,
        high: difference.high * by,
    };
    let units = |money: Money| money.0 as f64 / Money::ONE.0 as f64;
    let total = scaled(requests * units(value));
    let made = units(costs.made);
    let (low, high) = (total.low.min(total.high), total.low.max(total.high));
    Some(Worth {
        conversions: scaled(requests),
        value,
        is_margin: margin.is_some(),
        total,
        answer: if low > made {
            Answer::Worth
        } else if high < made {
            Answer::NotWorth
        } else {
            Answer::Open
        },
    })
}

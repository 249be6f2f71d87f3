//! What a version cost to make, recognised over its service life: the policy, and the roll-forward of one model.
//!
//! Development, training and upgrade of a version are its *cost to make*. Nothing of it is recognised before the version
//! is in service, that is before the first day on which it was shown. From then on each day recognises
//!
//! ```text
//! (opening + incurred + transferred) × units used on the day / units left of the life
//! ```
//!
//! (prospective straight-line: IAS 16.62, and IAS 8.36 for what arrives later), split exactly into the part recognised
//! and the rest; the last unit of the life takes what is left, so nothing is lost to rounding. A unit is a day on which
//! the version was shown, or a recommendation. What arrives when the life has ended is recognised at once. What is left
//! when a version is retired is written off.
//!
//! Every day depends on that day and those before it alone, so a longer history never changes what was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use chrono::{Days, NaiveDate};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::rules::day;
use super::split::{SplitError, split};

/// `[attribution.service_life]`: over what the cost to make a version is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceLife {
    /// Days of service, for models that say nothing else.
    pub days: Option<u64>,
    /// Recommendations served, in place of `days`.
    pub recommendations: Option<u64>,
    /// Days without being shown, while another version of the model was, after which a version counts as retired.
    pub superseded_after_days: u32,
    /// What becomes of a model's cost to make that names no version.
    pub without_version: WithoutVersion,
    /// What differs for a model, by its id.
    pub models: BTreeMap<String, ModelLife>,
}

impl Default for ServiceLife {
    fn default() -> Self {
        Self {
            days: None,
            recommendations: None,
            superseded_after_days: 30,
            without_version: WithoutVersion::default(),
            models: BTreeMap::new(),
        }
    }
}

/// `[attribution.service_life.models.ID]`: what differs for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelLife {
    /// Days of service.
    pub days: Option<u64>,
    /// Recommendations served, in place of `days`.
    pub recommendations: Option<u64>,
    /// As in [`ServiceLife`].
    pub superseded_after_days: Option<u32>,
    /// As in [`ServiceLife`].
    pub without_version: Option<WithoutVersion>,
    /// First day on which a version is retired, by version.
    #[serde(deserialize_with = "days_by_version")]
    pub retired: BTreeMap<String, NaiveDate>,
}

/// What becomes of a model's cost to make that names no version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutVersion {
    /// It waits on a line of the model's own for the next version that goes into service, and moves to it.
    #[default]
    NextVersion,
    /// It is recognised on the day on which it is incurred.
    AtOnce,
}

fn days_by_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, NaiveDate>, D::Error> {
    let table = BTreeMap::<String, toml::Value>::deserialize(deserializer)?;
    let dated = table
        .into_iter()
        .map(|(version, value)| Ok((version, day(value).map_err(D::Error::custom)?)));
    dated.collect()
}

/// Length of a service life where nothing else is said, in days of service.
const DAYS: u64 = 30;

/// Length of a service life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Days on which the version was shown.
    Days(u64),
    /// Recommendations served.
    Recommendations(u64),
}

impl Life {
    /// Name of its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Life::Days(_) => "days",
            Life::Recommendations(_) => "recommendations",
        }
    }

    fn length(self) -> u64 {
        match self {
            Life::Days(n) | Life::Recommendations(n) => n,
        }
    }

    /// Units that a day uses on which so many recommendations were served.
    fn used(self, served: u64) -> u64 {
        match self {
            Life::Days(_) => u64::from(served > 0),
            Life::Recommendations(_) => served,
        }
    }
}

/// What holds for one model. Its text is the id under which the ledger records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Length of the service life.
    pub life: Life,
    /// Days without being shown after which a version counts as retired.
    pub superseded_after_days: u32,
    /// What becomes of cost without a version.
    pub without_version: WithoutVersion,
    /// First day on which a version is retired.
    pub retired: BTreeMap<String, NaiveDate>,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self.without_version {
            WithoutVersion::NextVersion => "next_version",
            WithoutVersion::AtOnce => "at_once",
        };
        write!(
            f,
            "{}={} superseded_after_days={} without_version={without}",
            self.life.unit(),
            self.life.length(),
            self.superseded_after_days,
        )
    }
}

impl ServiceLife {
    /// The policy for a model.
    pub fn policy(&self, model: &str) -> Policy {
        let own = self.models.get(model).cloned().unwrap_or_default();
        let life = |days: Option<u64>, recommendations: Option<u64>| {
            recommendations
                .map(Life::Recommendations)
                .or(days.map(Life::Days))
        };
        Policy {
            life: life(own.days, own.recommendations)
                .or(life(self.days, self.recommendations))
                .unwrap_or(Life::Days(DAYS)),
            superseded_after_days: own
                .superseded_after_days
                .unwrap_or(self.superseded_after_days),
            without_version: own.without_version.unwrap_or(self.without_version),
            retired: own.retired,
        }
    }

    /// What is wrong with the keys, if anything.
    pub fn mistake(&self) -> Option<String> {
        let all = std::iter::once(("", self.days, self.recommendations)).chain(
            self.models
                .iter()
                .map(|(id, own)| (id.as_str(), own.days, own.recommendations)),
        );
        for (id, days, recommendations) in all {
            let place = match id {
                "" => "`[attribution.service_life]`".to_string(),
                id => format!("`[attribution.service_life.models.{id}]`"),
            };
            if days.is_some() && recommendations.is_some() {
                return Some(format!(
                    "{place} has both `days` and `recommendations`; a service life is one of them"
                ));
            }
            if days == Some(0) || recommendations == Some(0) {
                return Some(format!("{place}: a service life is at least 1 long"));
            }
        }
        let zero = |days: Option<u32>| days == Some(0);
        if zero(Some(self.superseded_after_days))
            || self.models.values().any(|m| zero(m.superseded_after_days))
        {
            return Some(
                "`[attribution.service_life]` superseded_after_days must be at least 1".into(),
            );
        }
        None
    }
}

/// Something per version of a model and day; `None` is what names no version.
pub type ByVersion<T> = BTreeMap<Option<String>, BTreeMap<NaiveDate, T>>;

/// A day of a version on which an amount moved. Amounts are units of 10⁻¹⁸, and
/// `opening + incurred + transferred − recognised − written_off = closing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    pub day: NaiveDate,
    pub version: Option<String>,
    pub opening: i128,
    pub incurred: i128,
    /// From the line without a version to the version that went into service; adds up to zero over a day.
    pub transferred: i128,
    pub recognised: i128,
    pub written_off: i128,
    pub closing: i128,
    /// Units of the life that the day used.
    pub used: u64,
    /// Units left before and after the day.
    pub life_before: u64,
    pub life_after: u64,
}

/// How far a version is.
#[derive(Debug, Default)]
struct Version {
    first_served: Option<NaiveDate>,
    /// Days from which on it is retired, and to which if it was shown again.
    retired: Vec<(NaiveDate, Option<NaiveDate>)>,
    balance: i128,
    used: u64,
}

/// Rolls one model's cost to make forward in one currency, from the first day to `through`, by day and version.
///
/// # Errors
/// When an amount leaves the range of 128-bit integers.
pub fn roll_forward(
    policy: &Policy,
    incurred: &ByVersion<i128>,
    served: &ByVersion<u64>,
    through: NaiveDate,
) -> Result<Vec<Movement>, SplitError> {
    let mut shown: BTreeMap<NaiveDate, BTreeSet<&Option<String>>> = BTreeMap::new();
    for (key, days) in served {
        for (day, _) in days.iter().filter(|d| *d.1 > 0) {
            shown.entry(*day).or_default().insert(key);
        }
    }
    let mut versions: BTreeMap<&Option<String>, Version> = BTreeMap::new();
    // On which days anything can happen to whom.
    let mut agenda = shown.clone();
    for key in incurred.keys().chain(served.keys()) {
        if versions.contains_key(key) {
            continue;
        }
        let version = Version::new(policy, key, served, &shown);
        let costs = incurred.get(key).into_iter().flat_map(|days| days.keys());
        for day in version.retired.iter().map(|r| &r.0).chain(costs) {
            agenda.entry(*day).or_default().insert(key);
        }
        versions.insert(key, version);
    }
    let mut movements = vec![];
    for (day, mut keys) in agenda.into_iter().take_while(|d| d.0 <= through) {
        let moved = transfers(policy, &versions, &keys, (incurred, served), day)?;
        keys.extend(moved.keys().copied());
        for key in keys {
            let Some(version) = versions.get_mut(key) else {
                continue;
            };
            let new = on(incurred, key, day);
            let new = (new, moved.get(key).copied().unwrap_or(0));
            let at_once = key.is_none() && policy.without_version == WithoutVersion::AtOnce;
            let movement =
                version.step(policy.life, key, day, new, on(served, key, day), at_once)?;
            movements.extend(movement);
        }
    }
    Ok(movements)
}

fn on<T: Copy + Default>(of: &ByVersion<T>, key: &Option<String>, day: NaiveDate) -> T {
    let value = of.get(key).and_then(|days| days.get(&day));
    value.copied().unwrap_or_default()
}

/// What moves on a day from the line without a version to the versions that go into service, by what they served.
fn transfers<'a>(
    policy: &Policy,
    versions: &BTreeMap<&'a Option<String>, Version>,
    today: &BTreeSet<&'a Option<String>>,
    (incurred, served): (&ByVersion<i128>, &ByVersion<u64>),
    day: NaiveDate,
) -> Result<BTreeMap<&'a Option<String>, i128>, SplitError> {
    let Some((own, line)) = versions.get_key_value(&None) else {
        return Ok(BTreeMap::new());
    };
    let amount = add(line.balance, on(incurred, own, day))?;
    if amount == 0 || policy.without_version == WithoutVersion::AtOnce {
        return Ok(BTreeMap::new());
    }
    let starts = |key: &Option<String>| {
        let version = versions.get(key);
        key.is_some() && version.is_some_and(|v| v.first_served == Some(day))
    };
    let starting: Vec<_> = today.iter().copied().filter(|key| starts(key)).collect();
    let weights = starting.iter().map(|key| u128::from(on(served, key, day)));
    let Some(parts) = split(amount, &weights.collect::<Vec<_>>())? else {
        return Ok(BTreeMap::new());
    };
    let mut moved: BTreeMap<_, _> = starting.into_iter().zip(parts).collect();
    moved.insert(own, negated(amount)?);
    Ok(moved)
}

impl Version {
    fn new(
        policy: &Policy,
        key: &Option<String>,
        served: &ByVersion<u64>,
        shown: &BTreeMap<NaiveDate, BTreeSet<&Option<String>>>,
    ) -> Self {
        let own = served.get(key).into_iter().flatten();
        let own: Vec<NaiveDate> = own.filter(|d| *d.1 > 0).map(|d| *d.0).collect();
        let mut retired = vec![];
        if let Some(version) = key {
            retired.extend(policy.retired.get(version).map(|from| (*from, None)));
            let patience = Days::new(u64::from(policy.superseded_after_days));
            for (at, last) in own.iter().enumerate() {
                let again = own.get(at + 1).copied();
                let mut later = shown.range((Bound::Excluded(*last), Bound::Unbounded));
                let other = later.find(|(_, keys)| keys.iter().any(|k| *k != key && k.is_some()));
                let (Some(due), Some((other, _))) = (last.checked_add_days(patience), other) else {
                    continue;
                };
                let from = due.max(*other);
                if again.is_none_or(|again| again > from) {
                    retired.push((from, again));
                }
            }
        }
        Version {
            first_served: own.first().copied(),
            retired,
            ..Version::default()
        }
    }

    fn is_retired(&self, day: NaiveDate) -> bool {
        let within = |(from, to): &(NaiveDate, Option<NaiveDate>)| {
            *from <= day && to.is_none_or(|to| day < to)
        };
        self.retired.iter().any(within)
    }

    fn step(
        &mut self,
        life: Life,
        key: &Option<String>,
        day: NaiveDate,
        (incurred, transferred): (i128, i128),
        served: u64,
        at_once: bool,
    ) -> Result<Option<Movement>, SplitError> {
        let opening = self.balance;
        let available = add(add(opening, incurred)?, transferred)?;
        let left = life.length().saturating_sub(self.used);
        let used = life.used(served).min(left);
        let in_service = self.first_served.is_some_and(|first| first <= day);
        let (recognised, written_off) = if at_once {
            (available, 0)
        } else if self.is_retired(day) {
            (0, available)
        } else if !in_service {
            (0, 0)
        } else if left == used {
            (available, 0)
        } else {
            let parts = split(available, &[used.into(), (left - used).into()])?;
            (parts.map_or(0, |p| p[0]), 0)
        };
        let closing = add(available, negated(add(recognised, written_off)?)?)?;
        self.balance = closing;
        self.used += used;
        let moved = [incurred, transferred, recognised, written_off]
            .iter()
            .any(|a| *a != 0);
        Ok(moved.then(|| Movement {
            day,
            version: key.clone(),
            opening,
            incurred,
            transferred,
            recognised,
            written_off,
            closing,
            used,
            life_before: left,
            life_after: left - used,
        }))
    }
}

fn add(a: i128, b: i128) -> Result<i128, SplitError> {
    a.checked_add(b).ok_or(SplitError::AmountTooLarge)
}

fn negated(a: i128) -> Result<i128, SplitError> {
    a.checked_neg().ok_or(SplitError::AmountTooLarge)
}

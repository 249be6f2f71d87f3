//! Which versions and models the report holds against each other.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::data::CurrencyData;
use crate::attribution::compare::Subject;

/// Models whose versions are compared: those with the most served.
const MOST_MODELS: usize = 6;

/// What a model or version showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    first: NaiveDate,
    last: NaiveDate,
    served: u64,
}

impl Shown {
    fn add(known: Option<Self>, other: Self) -> Self {
        known.map_or(other, |known| Self {
            first: known.first.min(other.first),
            last: known.last.max(other.last),
            served: known.served.saturating_add(other.served),
        })
    }
}

/// The last two versions of each model that served, then the two models that served most. The newer, or the one that
/// served more, is the second of its pair.
pub fn pairs(currencies: &[CurrencyData]) -> Vec<[Subject; 2]> {
    type Version<'a> = (&'a str, Option<&'a str>);
    let mut versions: BTreeMap<Version, Shown> = BTreeMap::new();
    for section in currencies {
        let mut found: BTreeMap<Version, Shown> = BTreeMap::new();
        for unit in section.units.iter().filter(|unit| unit.served > 0) {
            let key = (unit.model_id.as_str(), unit.model_version.as_deref());
            let day = Shown {
                first: unit.day,
                last: unit.day,
                served: unit.served,
            };
            let sum = Shown::add(found.get(&key).copied(), day);
            found.insert(key, sum);
        }
        // Each currency counts the same recommendations, so they are not added.
        for (key, shown) in found {
            let known = versions.entry(key).or_insert(shown);
            if known.served < shown.served {
                *known = shown;
            }
        }
    }
    let mut models: BTreeMap<&str, Vec<(Shown, &str)>> = BTreeMap::new();
    let mut served: BTreeMap<&str, u64> = BTreeMap::new();
    for ((model, version), shown) in versions {
        *served.entry(model).or_default() += shown.served;
        models
            .entry(model)
            .or_default()
            .extend(version.map(|version| (shown, version)));
    }
    let mut most: Vec<(&str, u64)> = served.into_iter().collect();
    most.sort_by_key(|&(model, served)| (std::cmp::Reverse(served), model));
    let of = |model: &str, version: Option<&str>| Subject {
        model_id: model.to_owned(),
        model_version: version.map(str::to_owned),
    };
    let mut pairs = Vec::new();
    for &(model, _) in most.iter().take(MOST_MODELS) {
        let mut own = models.remove(model).unwrap_or_default();
        own.sort_by_key(|&(shown, version)| (shown.last, shown.first, version));
        if let [.., (_, former), (_, newest)] = own[..] {
            pairs.push([of(model, Some(former)), of(model, Some(newest))]);
        }
    }
    if let [(first, _), (second, _), ..] = most[..] {
        pairs.push([of(second, None), of(first, None)]);
    }
    pairs
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::data::UnitCost;
    use crate::report::sample::shop;

    fn unit(of: &UnitCost, day: u32, model: &str, version: &str, served: u64) -> UnitCost {
        UnitCost {
            day: NaiveDate::from_ymd_opt(2026, 11, day).unwrap(),
            model_id: model.to_owned(),
            model_version: (!version.is_empty()).then(|| version.to_owned()),
            served,
            ..of.clone()
        }
    }

    #[test]
    fn the_last_two_versions_that_served_and_the_two_models_with_most_served() {
        let mut sections = shop().currencies;
        let one = sections[0].units[0].clone();
        let units = vec![
            unit(&one, 1, "a", "v1", 900),
            unit(&one, 2, "a", "v10", 5),
            unit(&one, 3, "a", "v9", 5),
            // Never shown.
            unit(&one, 4, "a", "v11", 0),
            unit(&one, 3, "b", "w1", 2_000),
            unit(&one, 3, "c", "", 1),
        ];
        for section in &mut sections {
            section.units = units.clone();
        }
        let names: Vec<[String; 2]> = pairs(&sections)
            .into_iter()
            .map(|pair| pair.map(|subject| subject.to_string()))
            .collect();
        assert_eq!(names, [["a@v10", "a@v9"], ["a", "b"]]);
        assert!(pairs(&[]).is_empty());
    }
}

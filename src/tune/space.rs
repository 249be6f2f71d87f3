//! Which hyperparameters are searched, and over what values.

use std::collections::BTreeMap;

use toml::{Table, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::Family;
use crate::model::random::Stream;

/// Digits of a drawn number: more would be read as meaning something.
const DIGITS: i32 = 3;

/// Hyperparameters by name, each with what it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Space(BTreeMap<String, Dimension>);

/// What a hyperparameter may be.
#[derive(Debug, Clone, PartialEq)]
enum Dimension {
    /// One of these.
    Choice(Vec<Value>),
    /// A number between two, both included.
    Range {
        min: f64,
        max: f64,
        /// Even in its logarithm.
        log: bool,
        /// Whether it is a whole number.
        whole: bool,
    },
}

impl Space {
    /// Reads `key = [values]` and `key = { min, max, scale }`, and holds every key and its ends against the family, laid
    /// over `params`.
    ///
    /// # Errors
    /// What is wrong and with which key.
    pub fn parse(table: &Table, family: Family, params: &Table) -> Result<Self, String> {
        if table.is_empty() {
            return Err("the search space has no members".into());
        }
        let mut space = BTreeMap::new();
        for (key, value) in table {
            if Some(key.as_str()) == family.passes() {
                return Err(format!(
                    "`{key}` is what the search spends; set it under `params`"
                ));
            }
            let dimension = Dimension::parse(value).map_err(|e| format!("`{key}`: {e}"))?;
            for end in dimension.ends() {
                let mut tried = params.clone();
                tried.insert(key.clone(), end);
                family.configure(&tried).map_err(|e| e.to_string())?;
            }
            space.insert(key.clone(), dimension);
        }
        Ok(Self(space))
    }

    /// The family's own space.
    ///
    /// # Errors
    /// A family that has none.
    pub fn of_family(family: Family, params: &Table) -> Result<Self, String> {
        let table = family.space().parse::<Table>().map_err(|e| e.to_string())?;
        if table.is_empty() {
            return Err(format!(
                "the family {family} has no hyperparameters to search"
            ));
        }
        Self::parse(&table, family, params)
    }

    /// The `count` first settings: what `params` say as it is, then drawn ones, none twice. A space with fewer gives what it
    /// has. Which settings come first does not depend on `count`.
    pub fn settings(&self, params: &Table, seed: u64, count: usize) -> Vec<Table> {
        let mut found = vec![params.clone()];
        // A small space is found out by chance; a large one hardly repeats.
        for draw in 0..count as u64 * 20 {
            if found.len() >= count {
                break;
            }
            let mut setting = params.clone();
            for (key, dimension) in &self.0 {
                let chance = Stream::new(seed, xxh3_64(key.as_bytes())).uniform(draw);
                setting.insert(key.clone(), dimension.at(chance));
            }
            if !found.contains(&setting) {
                found.push(setting);
            }
        }
        found
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Dimension {
    fn parse(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(values) if values.is_empty() => Err("it has no members".into()),
            Value::Array(values) => Ok(Self::Choice(values.clone())),
            Value::Table(table) => Self::range(table),
            _ => Err("write a list of values, or { min = …, max = …, scale = \"log\" }".into()),
        }
    }

    fn range(table: &Table) -> Result<Self, String> {
        if let Some(key) = table
            .keys()
            .find(|k| !["min", "max", "scale"].contains(&k.as_str()))
        {
            return Err(format!(
                "unknown field `{key}`, expected one of `min`, `max`, `scale`"
            ));
        }
        let number = |key: &str| match table.get(key) {
            Some(Value::Integer(n)) => Ok((*n as f64, true)),
            Some(Value::Float(n)) if n.is_finite() => Ok((*n, false)),
            Some(other) => Err(format!("{key} = {other}: write a number")),
            None => Err(format!("it has no `{key}`")),
        };
        let ((min, whole), (max, also)) = (number("min")?, number("max")?);
        if min > max {
            return Err(format!("min = {min} is above max = {max}"));
        }
        let log = match table.get("scale").map(Value::as_str) {
            None | Some(Some("linear")) => false,
            Some(Some("log")) => true,
            Some(_) => return Err("scale: write \"linear\" or \"log\"".into()),
        };
        if log && min <= 0.0 {
            return Err(format!(
                "min = {min}: with scale = \"log\" it must be above 0"
            ));
        }
        Ok(Self::Range {
            min,
            max,
            log,
            whole: whole && also,
        })
    }

    /// Values that stand for all: what is right for these is right for those between.
    fn ends(&self) -> Vec<Value> {
        match self {
            Self::Choice(values) => values.clone(),
            Self::Range { .. } => vec![self.at(0.0), self.at(1.0)],
        }
    }

    /// The value at a chance from 0 to 1.
    fn at(&self, chance: f64) -> Value {
        match self {
            Self::Choice(values) => {
                let at = (chance * values.len() as f64) as usize;
                values[at.min(values.len() - 1)].clone()
            }
            &Self::Range {
                min,
                max,
                log,
                whole,
            } => {
                let between = |min: f64, max: f64| min + chance * (max - min);
                let value = if log {
                    between(min.ln(), max.ln()).exp()
                } else {
                    between(min, max)
                };
                if whole {
                    return Value::Integer(value.round() as i64);
                }
                Value::Float(rounded(value).clamp(min, max))
            }
        }
    }
}

/// To [`DIGITS`] significant digits.
fn rounded(value: f64) -> f64 {
    let text = format!("{value:.*e}", (DIGITS - 1) as usize);
    text.parse().unwrap_or(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(family: &str, text: &str) -> Result<Space, String> {
        let family: Family = family.parse().unwrap();
        Space::parse(&text.parse().unwrap(), family, &Table::new())
    }

    #[test]
    fn every_family_has_a_space_of_its_own_or_nothing_to_search() {
        for family in Family::ALL {
            let space = Space::of_family(family, &Table::new());
            if family.name() == "popular" {
                let error = space.unwrap_err();
                assert_eq!(error, "the family popular has no hyperparameters to search");
                continue;
            }
            let space = space.unwrap();
            for setting in space.settings(&Table::new(), 7, 50) {
                family.configure(&setting).unwrap();
            }
        }
    }

    #[test]
    fn draws_repeat_lie_within_and_start_with_what_is_there() {
        let space = parse(
            "softmax",
            "learning_rate = { min = 0.003, max = 0.1, scale = 'log' }\nnegatives = [256, 512]\ndim = { min = 8, max = 12 }",
        )
        .unwrap();
        let params: Table = "dropout = 0.2".parse().unwrap();
        let drawn = space.settings(&params, 7, 200);
        assert_eq!(drawn[0], params);
        assert_eq!(drawn[..20], space.settings(&params, 7, 20)[..]);
        assert_ne!(drawn[1], space.settings(&params, 8, 2)[1]);
        let rates: Vec<f64> = drawn[1..]
            .iter()
            .map(|s| s["learning_rate"].as_float().unwrap())
            .collect();
        assert!(rates.iter().all(|r| (0.003..=0.1).contains(r)));
        // Even in the logarithm: the middle is at the root of the product of the ends.
        let below = rates.iter().filter(|r| **r < 0.01732).count();
        assert!((75..125).contains(&below), "{below}");
        for setting in &drawn[1..] {
            assert_eq!(setting["dropout"].as_float(), Some(0.2));
            assert!((8..=12).contains(&setting["dim"].as_integer().unwrap()));
            assert!([256, 512].contains(&setting["negatives"].as_integer().unwrap()));
        }
    }

    #[test]
    fn a_small_space_gives_each_of_its_settings_once() {
        let space = parse("als", "cg_steps = [2, 3, 4]").unwrap();
        let drawn = space.settings(&Table::new(), 7, 27);
        // What is there, and three values.
        assert_eq!(drawn.len(), 4);
        let same = parse("als", "alpha = { min = 5.0, max = 5.0 }").unwrap();
        assert_eq!(same.settings(&Table::new(), 7, 9).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (text, wanted) in [
            ("", "the search space has no members"),
            ("negatives = []", "`negatives`: it has no members"),
            (
                "learning_rate = { min = 0.1, max = 0.01 }",
                "`learning_rate`: min = 0.1 is above max = 0.01",
            ),
            (
                "learning_rate = { min = 0.0, max = 0.01, scale = 'log' }",
                "`learning_rate`: min = 0: with scale",
            ),
            (
                "learning_rate = { min = 0.1 }",
                "`learning_rate`: it has no `max`",
            ),
            (
                "learning_rate = { min = 0.1, mux = 0.2 }",
                "`learning_rate`: unknown field `mux`, expected one of",
            ),
            (
                "learning_rate = { min = nan, max = 0.2 }",
                "`learning_rate`: min = nan: write a number",
            ),
            (
                "learning_rate = { min = 0.1, max = 0.2, scale = 'ln' }",
                "`learning_rate`: scale: write",
            ),
            (
                "learning_rate = 0.1",
                "`learning_rate`: write a list of values",
            ),
            (
                "learning_rate = { min = -1.0, max = 0.2 }",
                "learning_rate = -1: write a number above 0",
            ),
            (
                "dim = [32, 10000]",
                "dim = 10000: write a whole number from 1 to 1024",
            ),
            (
                "sampling = ['uniform', 'some']",
                "`sampling`: unknown variant `some`",
            ),
            (
                "temperatur = [0.1]",
                "unknown field `temperatur`, expected one of",
            ),
            ("alpha = [1.0]", "unknown field `alpha`, expected one of"),
            ("epochs = [10, 20]", "`epochs` is what the search spends"),
        ] {
            let error = parse("softmax", text).unwrap_err();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }
}

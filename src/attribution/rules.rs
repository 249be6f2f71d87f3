//! Routing rules as the pipeline file writes them: `[[attribution.rules]]`.
//!
//! Rules are tried in order; the first that matches decides. A user's rules come
//! before the default ones (see [`default_rules`](super::default_rules)), which
//! `default_rules = false` leaves out.
//!
//! ```toml
//! [[attribution.rules]]
//! name = "feature store"
//! from = 2026-01-01                 # by charge period start, [from, to)
//! match = { service_name = "Amazon DynamoDB", "tags.team" = ["reco*", "search"] }
//! target = "model"
//! shares = { als-main = 60, logistic-new-users = 40 }
//! stage = "operations"
//! ```

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::target::{Category, Stage};

/// The `[attribution]` keys that routing needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingConfig {
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Which resources and sub-accounts belong to which model.
    #[serde(default)]
    pub resources: Vec<Deployed>,
    /// Cost pools: rules without a `match`, which charges reach by name.
    #[serde(default)]
    pub pools: Vec<Rule>,
    /// Whether the default rules follow the ones written here.
    #[serde(default = "yes")]
    pub default_rules: bool,
}

/// One entry of the resource map, `[[attribution.resources]]`: what runs on a resource or in a sub-account, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// Pattern of ResourceId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Pattern of SubAccountId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_account_id: Option<String>,
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// First charge period start that the entry is for.
    #[serde(
        default,
        deserialize_with = "date",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<NaiveDate>,
    /// First charge period start that it is no longer for.
    #[serde(
        default,
        deserialize_with = "date",
        skip_serializing_if = "Option::is_none"
    )]
    pub to: Option<NaiveDate>,
}

impl Deployed {
    /// The entry as a rule.
    fn rule(&self) -> Rule {
        let on = [
            ("resource_id", &self.resource_id),
            ("sub_account_id", &self.sub_account_id),
        ];
        let on: Vec<(&str, &str)> = on
            .into_iter()
            .filter_map(|(column, pattern)| Some((column, pattern.as_deref()?)))
            .collect();
        let name: Vec<&str> = on.iter().map(|(_, pattern)| *pattern).collect();
        let name = format!("resource map: {}", name.join(", "));
        let mut rule = Rule {
            model: Some(self.model.clone()),
            model_version: self.model_version.clone(),
            stage: self.stage,
            from: self.from,
            to: self.to,
            ..Rule::new(&name, RuleTarget::Model)
        };
        for (column, pattern) in on {
            rule = rule.matching(column, &[pattern]);
        }
        rule
    }
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            resources: Vec::new(),
            pools: Vec::new(),
            default_rules: true,
        }
    }
}

/// What decides where a charge goes.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Rules in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// How many of them, from the first, are the user's own `[[attribution.rules]]`.
    pub own: usize,
    /// Cost pools.
    pub pools: Vec<Rule>,
}

impl Routing {
    /// The names of the drivers that rules and pools split by.
    pub fn drivers(&self) -> BTreeSet<&str> {
        let named = self.rules.iter().chain(&self.pools);
        named.filter_map(|rule| rule.driver.as_deref()).collect()
    }

    /// The charge categories that the rules for tax and credits are limited to, in lower case; `None` when one of these
    /// rules may take others.
    pub fn following(&self) -> Option<BTreeSet<String>> {
        let follows = |rule: &&Rule| matches!(rule.target, RuleTarget::Tax | RuleTarget::Credit);
        let mut categories = BTreeSet::new();
        for rule in self.rules.iter().filter(follows) {
            for pattern in rule.matches.0.get("charge_category")? {
                let category = pattern.trim().to_lowercase();
                if category.is_empty() || category.contains('*') {
                    return None;
                }
                categories.insert(category);
            }
        }
        Some(categories)
    }

    /// The columns that rules and pools match on, and the tags, as they are written.
    pub fn matched(&self) -> BTreeSet<&str> {
        let named = self.rules.iter().chain(&self.pools);
        let columns = named.flat_map(|rule| rule.matches.0.keys());
        columns.map(|column| column.trim()).collect()
    }
}

/// Rules alone, none of them a user's own.
impl From<Vec<Rule>> for Routing {
    fn from(rules: Vec<Rule>) -> Self {
        Routing {
            rules,
            ..Routing::default()
        }
    }
}

impl RoutingConfig {
    /// All rules, the built-in ones and those of the resource map among them.
    pub fn routing(&self) -> Routing {
        let mut rules = self.rules.clone();
        let map = self.resources.iter().map(Deployed::rule);
        if self.default_rules {
            let mut defaults = super::default_rules();
            // What tags and telemetry say of a resource goes before the map, and the map before shared pools.
            let pools = defaults
                .iter()
                .position(|rule| rule.target == RuleTarget::Pool)
                .unwrap_or(defaults.len());
            defaults.splice(pools..pools, map);
            rules.extend(defaults);
        } else {
            rules.extend(map);
        }
        Routing {
            rules,
            own: self.rules.len(),
            pools: self.pools.clone(),
        }
    }
}

fn yes() -> bool {
    true
}

/// One routing rule: what it matches, and one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names the rule in every allocation. A name may come back only for dates that do not overlap.
    pub name: String,
    /// Version of the rule, text or integer; without one, a hash of the rule's content.
    #[serde(
        default,
        deserialize_with = "text_or_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// First charge period start that the rule is for.
    #[serde(
        default,
        deserialize_with = "date",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<NaiveDate>,
    /// First charge period start that it is no longer for.
    #[serde(
        default,
        deserialize_with = "date",
        skip_serializing_if = "Option::is_none"
    )]
    pub to: Option<NaiveDate>,
    #[serde(default, rename = "match")]
    pub matches: Matches,
    pub target: RuleTarget,
    /// `target = "model"`: the whole charge is this model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version of `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// `target = "model"`: percentages of several models, which add up to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<BTreeMap<String, Percent>>,
    /// `target = "model"` with `driver = "even"`: the same share for each of these models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// `target = "pool"`: the cost pool that the charge goes into, one of `[[attribution.pools]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// `target = "machine"`, `"pool"` or `"run"`: the driver table that splits the charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// `target = "pool"`: match only charges whose resource the driver has rows for, at any time.
    #[serde(default)]
    pub known_resource: bool,
    /// Stage of what this rule attributes, in place of what tags or driver rows say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Category of what this rule attributes, in place of the charge's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Which tags name model, version and stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_keys: Option<TagKeys>,
}

/// What a rule does with a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTarget {
    /// Paid for and used by nobody.
    Idle,
    /// The model that the charge's tags name; without a model tag the rule does not match.
    Tags,
    /// The models that a recorded run worked for, whose id is in the tag `run`; without such a
    /// tag, or when the driver does not know the run, the rule does not match.
    Run,
    /// Split by who was busy on the resource, idle apart; without driver rows for the
    /// resource in the charge period the rule does not match.
    Machine,
    /// Into a cost pool, or split over the driver's weights in the charge period: those of the
    /// resource when the driver knows it, else all.
    Pool,
    /// One model, or fixed shares of several.
    Model,
    Unallocated,
    /// Follows what it taxes.
    Tax,
    /// Follows its own tags, else the usage it reduces.
    Credit,
    /// Already split by the provider: routed by its `AllocatedTags`, never split again.
    ProviderSplit,
}

impl RuleTarget {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Tags => "tags",
            Self::Run => "run",
            Self::Machine => "machine",
            Self::Pool => "pool",
            Self::Model => "model",
            Self::Unallocated => "unallocated",
            Self::Tax => "tax",
            Self::Credit => "credit",
            Self::ProviderSplit => "provider_split",
        }
    }
}

/// Tag keys that name a model, its version and its stage, or a run; case and blanks do not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TagKeys {
    pub model: String,
    pub version: String,
    pub stage: String,
    pub run: String,
}

impl Default for TagKeys {
    fn default() -> Self {
        Self {
            model: "model".to_owned(),
            version: "model_version".to_owned(),
            stage: "stage".to_owned(),
            run: "run".to_owned(),
        }
    }
}

/// Columns (FOCUS names in snake_case) and `tags.<key>` to patterns, all of which must match.
///
/// A list of patterns matches when any of them does. Case and blanks around a
/// value do not matter; `*` stands for any characters. The pattern `""`
/// matches a value that is absent or blank, and `"*"` one that is neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Matches(pub BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for Matches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let mut columns = BTreeMap::new();
        for (column, value) in table {
            match value {
                // An unquoted `tags.key` reads as a table inside the table.
                toml::Value::Table(tags) if column == "tags" => {
                    for (key, value) in tags {
                        let column = format!("tags.{key}");
                        let patterns = patterns(&column, value).map_err(D::Error::custom)?;
                        columns.insert(column, patterns);
                    }
                }
                value => {
                    let patterns = patterns(&column, value).map_err(D::Error::custom)?;
                    columns.insert(column, patterns);
                }
            }
        }
        Ok(Self(columns))
    }
}

fn patterns(column: &str, value: toml::Value) -> Result<Vec<String>, String> {
    let one = |value| match value {
        toml::Value::String(pattern) => Ok(pattern),
        other => Err(format!(
            "`match` of {column:?} needs a pattern in quotes or a list of them, not {other}"
        )),
    };
    match value {
        toml::Value::Array(values) if values.is_empty() => Err(format!(
            "`match` of {column:?} has an empty list and could never match"
        )),
        toml::Value::Array(values) => values.into_iter().map(one).collect(),
        value => one(value).map(|pattern| vec![pattern]),
    }
}

/// A percentage in units of a millionth of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u64);

impl Percent {
    pub const WHOLE: Self = Self(100_000_000);
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}",
            crate::money::Money(i128::from(self.0) * PERCENT_UNIT)
        )
    }
}

/// A millionth, at the scale of `Money`.
const PERCENT_UNIT: i128 = 10_i128.pow(12);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            toml::Value::Integer(value) => value.to_string(),
            toml::Value::Float(value) => value.to_string(),
            other => return Err(D::Error::custom(format!("{other} is not a percentage"))),
        };
        let (value, residue) = crate::money::Money::parse(&text).map_err(D::Error::custom)?;
        let exact = residue.0 == 0 && value.0 % PERCENT_UNIT == 0;
        let units = u64::try_from(value.0 / PERCENT_UNIT).ok();
        match units.filter(|&units| exact && units <= Self::WHOLE.0) {
            Some(units) => Ok(Self(units)),
            None => Err(D::Error::custom(format!(
                "{text} is not a percentage from 0 to 100 with at most 6 decimal places"
            ))),
        }
    }
}

fn text_or_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(text)),
        toml::Value::Integer(number) => Ok(Some(number.to_string())),
        other => Err(D::Error::custom(format!(
            "{other} is not a version; write an integer or a text"
        ))),
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    day(value).map(Some).map_err(D::Error::custom)
}

/// A day, written as a TOML date or in quotes.
pub(super) fn day(value: toml::Value) -> Result<NaiveDate, String> {
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Datetime(date) => date.to_string(),
        other => other.to_string(),
    };
    let parsed = text.trim().parse();
    parsed.map_err(|_| format!("{text} is not a date; write 2026-01-31"))
}

impl Rule {
    /// A rule that matches everything, to be narrowed.
    pub fn new(name: &str, target: RuleTarget) -> Self {
        Self {
            name: name.to_owned(),
            version: None,
            from: None,
            to: None,
            matches: Matches::default(),
            target,
            model: None,
            model_version: None,
            shares: None,
            models: None,
            pool: None,
            driver: None,
            known_resource: false,
            stage: None,
            category: None,
            tag_keys: None,
        }
    }

    /// Adds a column that must match one of `patterns`.
    #[must_use]
    pub fn matching(mut self, column: &str, patterns: &[&str]) -> Self {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        self.matches.0.insert(column.to_owned(), patterns);
        self
    }

    /// The models and cost pools that the rule names.
    pub fn consumers(&self) -> impl Iterator<Item = &str> {
        let shared = self.shares.iter().flat_map(BTreeMap::keys);
        let even = self.models.iter().flatten();
        let one = self.model.iter().chain(&self.pool);
        one.chain(shared).chain(even).map(String::as_str)
    }

    /// Whether no charge that `other` could match would get past this rule: for each of its days, and whatever this
    /// one asks of a column `other` asks too, with no pattern beyond.
    pub fn takes_all_of(&self, other: &Rule) -> bool {
        let falls_through = match self.target {
            RuleTarget::Tags | RuleTarget::Run | RuleTarget::Machine => true,
            RuleTarget::Pool => self.known_resource,
            _ => false,
        };
        let from = self
            .from
            .is_none_or(|from| other.from.is_some_and(|other| from <= other));
        let to = self
            .to
            .is_none_or(|to| other.to.is_some_and(|other| other <= to));
        let mut columns = self.matches.0.iter();
        let asked = columns.all(|(column, patterns)| {
            let others = other.matches.0.get(column);
            others.is_some_and(|others| others.iter().all(|pattern| patterns.contains(pattern)))
        });
        !falls_through && from && to && asked
    }

    /// Names the driver.
    #[must_use]
    pub fn driven_by(mut self, driver: &str) -> Self {
        self.driver = Some(driver.to_owned());
        self
    }

    /// The stated version, else `h` and 16 hexadecimal digits: XXH3 of the rule's canonical TOML.
    pub fn version(&self) -> String {
        if let Some(version) = &self.version {
            return version.clone();
        }
        // Serializing these plain fields cannot fail; the debug text is as canonical.
        let text = toml::to_string(self).unwrap_or_else(|_| format!("{self:?}"));
        format!("h{:016x}", xxh3_64(text.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RoutingConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_whole_rule_reads_and_writes_back() {
        let config = read(
            r#"
            [[rules]]
            name = "feature store"
            version = 3
            from = 2026-01-01
            to = "2026-07-01"
            match = { service_name = "Amazon*", tags.team = ["reco*", "search"], "tags.env" = "" }
            target = "model"
            shares = { a = 60, b = 33.25, c = "6.75" }
            stage = "serving"
            category = "storage"
            "#,
        )
        .unwrap();
        let rule = &config.rules[0];
        assert_eq!(rule.version(), "3");
        assert_eq!(rule.from, NaiveDate::from_ymd_opt(2026, 1, 1));
        assert_eq!(rule.to, NaiveDate::from_ymd_opt(2026, 7, 1));
        assert_eq!(rule.matches.0["tags.team"], ["reco*", "search"]);
        assert_eq!(rule.matches.0["tags.env"], [""]);
        assert_eq!(rule.stage, Some(Stage::Deployment));
        let shares: u64 = rule.shares.iter().flatten().map(|share| share.1.0).sum();
        assert_eq!(Percent(shares), Percent::WHOLE);
        let again = read(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert!(config.default_rules && config.routing().rules.len() > 1);
    }

    #[test]
    fn mistakes_are_named() {
        let rule = |lines: &str| {
            let text = format!("[[rules]]\nname = \"r\"\ntarget = \"idle\"\n{lines}");
            read(&text).unwrap_err().to_string()
        };
        assert!(rule("modle = \"x\"").contains("modle"));
        assert!(rule("match = { service_name = 3 }").contains("service_name"));
        assert!(rule("match = { service_name = [] }").contains("never match"));
        assert!(rule("from = \"yesterday\"").contains("yesterday"));
        assert!(rule("shares = { a = 100.5 }").contains("100.5"));
        assert!(rule("shares = { a = 0.0000001 }").contains("percentage"));
        assert!(
            read("[[rules]]\nname = \"r\"\ntarget = \"idel\"")
                .unwrap_err()
                .to_string()
                .contains("idel")
        );
    }

    #[test]
    fn the_version_follows_the_content() {
        let rule = Rule::new("r", RuleTarget::Idle).matching("service_name", &["x"]);
        assert_eq!(rule.version(), rule.clone().version());
        assert_ne!(
            rule.version(),
            rule.clone().matching("service_name", &["y"]).version()
        );
        assert_ne!(
            rule.version(),
            Rule {
                category: Some(Category::Storage),
                ..rule.clone()
            }
            .version()
        );
    }
}

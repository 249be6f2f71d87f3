//! Checks of routing rules that need to know the models, drivers and columns there are.

use std::collections::BTreeSet;
use std::fmt;

use chrono::NaiveDate;

use super::rules::{Percent, Routing, Rule, RuleTarget};
use super::step_down::closing_order;

/// The driver name that splits evenly over a rule's `models`.
pub const EVEN: &str = "even";
const TAG_PREFIX: &str = "tags.";

/// What rules may refer to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    pub models: &'a [String],
    /// Driver tables; those of the default rules included.
    pub drivers: &'a [String],
    /// Columns of the charges table; when empty, columns are not checked.
    pub columns: &'a [String],
}

/// Of which list an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Rule,
    Pool,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Rule => "rule",
            What::Pool => "cost pool",
        })
    }
}

/// A rule or a cost pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub what: What,
    pub name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.what, self.name)
    }
}

/// What is wrong with a rule or cost pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{rule}: {given:?} is not a model or cost pool of this pipeline{}", meant(.nearest))]
    UnknownModel {
        rule: Named,
        given: String,
        nearest: Option<String>,
    },
    #[error("{rule}: there is no driver {given:?}{}", meant(.nearest))]
    UnknownDriver {
        rule: Named,
        given: String,
        nearest: Option<String>,
    },
    #[error(
        "{rule}: charges have no column {given:?}{}; a tag is written \"tags.{given}\"", meant(.nearest)
    )]
    UnknownColumn {
        rule: Named,
        given: String,
        nearest: Option<String>,
    },
    #[error(
        "{rule}: the shares add up to {sum} percent, not 100; give what is missing to a model or cost pool, or take away what is too much"
    )]
    Shares { rule: Named, sum: String },
    #[error(
        "{rule} is written twice for the same dates; give one another name, or dates that do not overlap"
    )]
    Duplicate { rule: Named },
    #[error(
        "{rule}: `from` {from} is not before `to` {to}; `to` is the first day that it is no longer for"
    )]
    Dates {
        rule: Named,
        from: NaiveDate,
        to: NaiveDate,
    },
    #[error("{rule}: target {target:?} needs {needs}")]
    Missing {
        rule: Named,
        target: &'static str,
        needs: &'static str,
    },
    #[error("{rule}: `{key}` has no meaning with target {target:?}; remove it")]
    Unused {
        rule: Named,
        target: &'static str,
        key: &'static str,
    },
    #[error(
        "{rule} can never match: {first:?} stands before it and takes all that it could; change their order, or narrow the first"
    )]
    Unreachable { rule: Named, first: String },
    #[error("cost pool {pool:?} has the name of a model; give it another")]
    PoolIsModel { pool: String },
    #[error(
        "cost pool {pool:?}: target {target:?} is not for a pool; use \"model\" with `model`, `shares` or `models`, or \"pool\" with `driver` or `pool`"
    )]
    PoolTarget { pool: String, target: &'static str },
    #[error(
        "cost pools feed each other in a circle: {drawn}; a pool is closed once, so take one of these steps away"
    )]
    Cycle { drawn: String },
    #[error(
        "cost pool {pool:?}: `{key}` is for rules; a pool takes what rules and pools send into it, so remove it"
    )]
    PoolKey { pool: String, key: &'static str },
    #[error("{what} number {number} has no name")]
    NoName { what: What, number: usize },
}

fn meant(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Checks rules in the order in which they are tried, and cost pools; an empty result means that all is well.
pub fn validate(routing: &Routing, known: Known<'_>) -> Vec<RuleError> {
    let mut errors = Vec::new();
    let pools = routing.pools.iter().map(|pool| pool.name.clone());
    let consumers: Vec<String> = known.models.iter().cloned().chain(pools).collect();
    let known = Names {
        consumers: &consumers,
        drivers: known.drivers,
        columns: known.columns,
    };
    for (what, list) in [(What::Rule, &routing.rules), (What::Pool, &routing.pools)] {
        for (index, rule) in list.iter().enumerate() {
            let named = || Named {
                what,
                name: rule.name.clone(),
            };
            if rule.name.trim().is_empty() {
                let number = index + 1;
                errors.push(RuleError::NoName { what, number });
            }
            if list[..index]
                .iter()
                .any(|earlier| same_name_and_days(earlier, rule))
            {
                errors.push(RuleError::Duplicate { rule: named() });
            }
            if let (Some(from), Some(to)) = (rule.from, rule.to)
                && from >= to
            {
                errors.push(RuleError::Dates {
                    rule: named(),
                    from,
                    to,
                });
            }
            check_keys(rule, &named, &mut errors);
            check_names(rule, &named, known, &mut errors);
        }
    }
    check_pools(
        routing,
        &consumers[..consumers.len() - routing.pools.len()],
        &mut errors,
    );
    check_reach(&routing.rules[..routing.own], &mut errors);
    errors
}

/// What only cost pools must keep to.
fn check_pools(routing: &Routing, models: &[String], errors: &mut Vec<RuleError>) {
    for pool in &routing.pools {
        let name = || pool.name.clone();
        let same = |other: &String| other.to_lowercase() == pool.name.to_lowercase();
        if models.iter().any(same) {
            errors.push(RuleError::PoolIsModel { pool: name() });
        }
        let target = pool.target;
        if !matches!(target, RuleTarget::Model | RuleTarget::Pool) {
            errors.push(RuleError::PoolTarget {
                pool: name(),
                target: target.as_str(),
            });
        }
        for (key, given) in [
            ("match", !pool.matches.0.is_empty()),
            ("known_resource", pool.known_resource),
            ("category", pool.category.is_some()),
        ] {
            if given {
                errors.push(RuleError::PoolKey { pool: name(), key });
            }
        }
    }
    errors.extend(closing_order(&routing.pools).err());
}

/// A rule behind one that takes all that it could match would never match.
fn check_reach(rules: &[Rule], errors: &mut Vec<RuleError>) {
    for (index, rule) in rules.iter().enumerate() {
        // That a name is there twice is said already.
        let hides = |first: &&Rule| first.name != rule.name && first.takes_all_of(rule);
        if let Some(first) = rules[..index].iter().find(hides) {
            errors.push(RuleError::Unreachable {
                rule: Named {
                    what: What::Rule,
                    name: rule.name.clone(),
                },
                first: first.name.clone(),
            });
        }
    }
}

fn same_name_and_days(a: &Rule, b: &Rule) -> bool {
    let starts_before_end = |start: &Rule, end: &Rule| match (start.from, end.to) {
        (Some(from), Some(to)) => from < to,
        _ => true,
    };
    a.name == b.name && starts_before_end(a, b) && starts_before_end(b, a)
}

/// What rules and pools may name.
#[derive(Clone, Copy)]
struct Names<'a> {
    /// Models and cost pools.
    consumers: &'a [String],
    drivers: &'a [String],
    columns: &'a [String],
}

fn check_names(
    rule: &Rule,
    named: &dyn Fn() -> Named,
    known: Names<'_>,
    errors: &mut Vec<RuleError>,
) {
    let unknown = |given: &&str| !known.consumers.iter().any(|consumer| consumer == given);
    for given in rule.consumers().filter(unknown) {
        let (nearest, given) = (nearest(given, known.consumers), given.to_owned());
        errors.push(RuleError::UnknownModel {
            rule: named(),
            given,
            nearest,
        });
    }
    let table = rule
        .driver
        .iter()
        .filter(|_| rule.target != RuleTarget::Model);
    for given in table
        .filter(|driver| !known.drivers.contains(driver))
        .cloned()
    {
        let nearest = nearest(&given, known.drivers);
        errors.push(RuleError::UnknownDriver {
            rule: named(),
            given,
            nearest,
        });
    }
    let columns = rule
        .matches
        .0
        .keys()
        .filter(|column| !column.starts_with(TAG_PREFIX));
    for given in columns
        .filter(|column| !known.columns.is_empty() && !known.columns.contains(column))
        .cloned()
    {
        let nearest = nearest(&given, known.columns);
        errors.push(RuleError::UnknownColumn {
            rule: named(),
            given,
            nearest,
        });
    }
    if let Some(shares) = &rule.shares {
        // At most 100 percent each, so even many shares stay far inside u64.
        let sum = Percent(shares.values().map(|share| share.0).sum());
        if sum != Percent::WHOLE {
            errors.push(RuleError::Shares {
                rule: named(),
                sum: sum.to_string(),
            });
        }
    }
}

/// Which keys a target needs, and which it would ignore.
fn check_keys(rule: &Rule, named: &dyn Fn() -> Named, errors: &mut Vec<RuleError>) {
    use RuleTarget::{
        Credit, Idle, Machine, Model, Pool, ProviderSplit, Run, Tags, Tax, Unallocated,
    };
    let target = rule.target.as_str();
    let by_table = matches!(rule.target, Machine | Pool | Run) && rule.pool.is_none();
    let by_tags = matches!(rule.target, Tags | Credit | ProviderSplit | Run);
    let is_model = rule.target == Model;
    let staged = !matches!(rule.target, Idle | Unallocated | Tax | Credit) && rule.pool.is_none();
    let keys = [
        ("model", rule.model.is_some(), is_model),
        (
            "model_version",
            rule.model_version.is_some(),
            is_model && rule.model.is_some(),
        ),
        ("shares", rule.shares.is_some(), is_model),
        ("models", rule.models.is_some(), is_model),
        (
            "driver",
            rule.driver.is_some(),
            by_table || (is_model && rule.models.is_some()),
        ),
        ("pool", rule.pool.is_some(), rule.target == Pool),
        (
            "known_resource",
            rule.known_resource,
            rule.target == Pool && by_table,
        ),
        ("stage", rule.stage.is_some(), staged),
        ("tag_keys", rule.tag_keys.is_some(), by_tags),
    ];
    for (key, given, meant) in keys {
        if given && !meant {
            errors.push(RuleError::Unused {
                rule: named(),
                target,
                key,
            });
        }
    }
    let mut missing = |needs| {
        let rule = named();
        errors.push(RuleError::Missing {
            rule,
            target,
            needs,
        });
    };
    if by_table && rule.driver.is_none() {
        missing("a `driver`, or for a pool its name as `pool`");
    }
    let ways = [
        rule.model.is_some(),
        rule.shares.is_some(),
        rule.models.is_some(),
    ];
    if is_model && ways.iter().filter(|&&given| given).count() != 1 {
        missing("one of `model`, `shares`, or `models` with `driver = \"even\"`");
    }
    if let Some(models) = rule.models.as_ref().filter(|_| is_model) {
        let distinct: BTreeSet<&String> = models.iter().collect();
        if rule.driver.as_deref() != Some(EVEN)
            || models.is_empty()
            || distinct.len() < models.len()
        {
            missing("`driver = \"even\"` and distinct `models`");
        }
    }
}

fn nearest(given: &str, known: &[String]) -> Option<String> {
    let given = given.to_lowercase();
    let distance = |name: &String| strsim::damerau_levenshtein(&given, &name.to_lowercase());
    let best = known.iter().map(|name| (distance(name), name)).min()?;
    (best.0 <= (given.len() / 3).max(2)).then(|| best.1.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rules::RoutingConfig;
    use super::*;

    fn check(toml: &str) -> Vec<String> {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let (models, drivers) = (
            names(&["als-main", "text"]),
            names(&["gpu_ns", "cpu_ns", "bytes", "requests"]),
        );
        let columns = names(&["service_name", "resource_id"]);
        let known = Known {
            models: &models,
            drivers: &drivers,
            columns: &columns,
        };
        let file: RoutingConfig =
            toml::from_str(&format!("default_rules = false\n{toml}")).unwrap();
        let file = file.routing();
        validate(&file, known)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn one(lines: &str) -> String {
        let errors = check(&format!("[[rules]]\nname = \"r\"\n{lines}"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("\"r\""), "{errors:?}");
        errors[0].clone()
    }

    #[test]
    fn each_mistake_names_its_rule_and_the_way_out() {
        assert!(
            one("target = \"model\"\nmodel = \"als-mian\"").contains("did you mean \"als-main\"")
        );
        assert!(one("target = \"machine\"\ndriver = \"gpu\"").contains("\"gpu\""));
        assert!(one("target = \"pool\"\ndriver = \"byte\"").contains("did you mean \"bytes\""));
        assert!(
            one("target = \"model\"\nshares = { als-main = 60, text = 30.5 }")
                .contains("90.5 percent")
        );
        assert!(
            one("target = \"idle\"\nfrom = 2026-02-01\nto = 2026-02-01").contains("not before")
        );
        assert!(
            one("target = \"idle\"\nmatch = { servicename = \"x\" }")
                .contains("did you mean \"service_name\"")
        );
        assert!(one("target = \"machine\"").contains("`driver`"));
        assert!(one("target = \"model\"").contains("`shares`"));
        assert!(one("target = \"model\"\nmodels = [\"text\", \"als-main\"]").contains("even"));
        assert!(one("target = \"tags\"\nmodel = \"text\"").contains("no meaning"));
        assert!(one("target = \"tax\"\nstage = \"training\"").contains("no meaning"));
        assert!(check("[[rules]]\nname = \" \"\ntarget = \"idle\"")[0].contains("number 1"));
    }

    #[test]
    fn a_name_may_come_back_for_other_dates_only() {
        let twice = |first: &str, second: &str| {
            check(&format!(
                "[[rules]]\nname = \"r\"\ntarget = \"idle\"\n{first}\n[[rules]]\nname = \"r\"\ntarget = \"idle\"\n{second}"
            ))
        };
        assert_eq!(
            twice("to = 2026-02-01", "from = 2026-02-01"),
            Vec::<String>::new()
        );
        assert_eq!(twice("to = 2026-02-02", "from = 2026-02-01").len(), 1);
        assert_eq!(twice("", "").len(), 1);
    }

    #[test]
    fn default_rules_are_valid_and_valid_ones_pass() {
        let defaults = Routing::from(super::super::default_rules());
        let drivers: Vec<String> = ["gpu_ns", "cpu_ns", "bytes", "requests", "runs", "run_time"]
            .map(str::to_owned)
            .into();
        let known = Known {
            drivers: &drivers,
            ..Known::default()
        };
        assert_eq!(validate(&defaults, known), []);
        let good = "[[rules]]\nname = \"r\"\ntarget = \"model\"\nmodels = [\"text\", \"als-main\"]\ndriver = \"even\"";
        assert_eq!(check(good), Vec::<String>::new());
    }
}

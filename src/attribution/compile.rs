//! Validated rules with their names resolved to targets and driver tables.

use std::collections::BTreeMap;

use super::driver::DriverTable;
use super::matching::Matcher;
use super::rules::{Rule, RuleTarget, TagKeys};
use super::target::{Category, Reason, Stage, Target, Targets};
use super::validate::EVEN;

/// Names of what weighs parts without a driver table.
pub(super) const SHARES: &str = "shares";
pub(super) const TAX_BASE: &str = "tax base";
pub(super) const CREDIT_BASE: &str = "credit base";

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub name: String,
    pub version: String,
    pub matcher: Matcher,
    pub action: Action,
    pub stage: Option<Stage>,
    pub category: Option<Category>,
}

#[derive(Debug)]
pub(super) enum Action {
    Whole(u32),
    Fixed {
        driver: &'static str,
        parts: Vec<(u32, u128)>,
    },
    Tags(TagKeys),
    ProviderSplit(TagKeys),
    Credit(TagKeys),
    Tax,
    Run {
        driver: Driver,
        key: String,
    },
    Machine(Driver),
    Pool {
        driver: Driver,
        known_resource: bool,
    },
}

/// A driver table as one rule sees it.
#[derive(Debug)]
pub(super) struct Driver {
    pub name: String,
    /// The driver's targets, with the rule's stage, in the run's ids.
    pub targets: Vec<u32>,
}

pub(super) fn compile(
    rule: &Rule,
    drivers: &BTreeMap<String, DriverTable>,
    targets: &mut Targets,
) -> CompiledRule {
    let keys = || rule.tag_keys.clone().unwrap_or_default();
    let action = match rule.target {
        RuleTarget::Idle => Action::Whole(targets.id(Target::Idle { pool: None })),
        RuleTarget::Unallocated => {
            let reason = Reason::ByRule;
            Action::Whole(targets.id(Target::Unallocated { reason }))
        }
        RuleTarget::Tags => Action::Tags(keys()),
        RuleTarget::ProviderSplit => Action::ProviderSplit(keys()),
        RuleTarget::Credit => Action::Credit(keys()),
        RuleTarget::Tax => Action::Tax,
        RuleTarget::Model => fixed(rule, targets),
        RuleTarget::Run => Action::Run {
            driver: driver(rule, drivers, targets),
            key: keys().run,
        },
        RuleTarget::Machine => Action::Machine(driver(rule, drivers, targets)),
        RuleTarget::Pool if let Some(pool) = &rule.pool => {
            Action::Whole(targets.model(pool, None, Stage::default()))
        }
        RuleTarget::Pool => Action::Pool {
            driver: driver(rule, drivers, targets),
            known_resource: rule.known_resource,
        },
    };
    CompiledRule {
        name: rule.name.clone(),
        version: rule.version(),
        matcher: Matcher::new(rule),
        action,
        stage: rule.stage,
        category: rule.category,
    }
}

fn fixed(rule: &Rule, targets: &mut Targets) -> Action {
    let stage = rule.stage.unwrap_or_default();
    if let Some(model) = &rule.model {
        return Action::Whole(targets.model(model, rule.model_version.as_deref(), stage));
    }
    let mut part = |model: &String, weight| (targets.model(model, None, stage), weight);
    let shares = rule.shares.iter().flatten();
    let mut parts: Vec<(u32, u128)> = shares
        .map(|(model, share)| part(model, u128::from(share.0)))
        .collect();
    let driver = if rule.models.is_some() { EVEN } else { SHARES };
    parts.extend(rule.models.iter().flatten().map(|model| part(model, 1)));
    parts.sort_by(|a, b| targets.compare(a.0, b.0));
    Action::Fixed { driver, parts }
}

fn driver(rule: &Rule, drivers: &BTreeMap<String, DriverTable>, targets: &mut Targets) -> Driver {
    let name = rule.driver.clone().unwrap_or_default();
    let of_driver = drivers.get(&name).map_or(&[][..], DriverTable::targets);
    let mut target = |target: &super::ModelTarget| {
        let stage = rule.stage.unwrap_or(target.stage);
        targets.model(&target.model, target.version.as_deref(), stage)
    };
    let targets = of_driver.iter().map(&mut target).collect();
    Driver { name, targets }
}

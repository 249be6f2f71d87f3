//! What a matching rule does with a charge: the targets and their weights.

use std::sync::Arc;

use super::attribute::Attributor;
use super::charge::Charge;
use super::compile::{Action, CompiledRule, Driver};
use super::follow::Class;
use super::matching::find_tag;
use super::pool::{PoolKey, Weights};
use super::rules::TagKeys;
use super::summary::{Oversubscribed, Warning};
use super::target::{Reason, Stage, Target};

/// Rule, resource (`None`: all) and period.
pub(super) type Lookup = (u32, Option<u32>, i64, i64);

/// Lookups are kept as long as they are few; charges of one resource and period come close together.
const MAX_LOOKUPS: usize = 1 << 14;

pub(super) enum Route<'r> {
    /// Over the parts found, weighed by this driver.
    Split(Option<&'r str>),
    /// Kept back until what it follows is known.
    Hold(Class),
}

impl Attributor {
    /// What a matching rule does with a charge; `None` when it does not match after all.
    pub(super) fn route<'r>(
        &mut self,
        index: usize,
        rule: &'r CompiledRule,
        charge: &Charge<'_>,
        parts: &mut Vec<(u32, u128)>,
    ) -> Option<Route<'r>> {
        match &rule.action {
            Action::Whole(target) => parts.push((*target, 1)),
            Action::Fixed {
                driver,
                parts: fixed,
            } => {
                parts.extend_from_slice(fixed);
                return Some(Route::Split(Some(driver)));
            }
            Action::Tags(keys) => {
                parts.push((self.tagged(charge, charge.tags, keys, rule.stage)?, 1))
            }
            Action::ProviderSplit(keys) => {
                let target = self.tagged(charge, charge.allocated_tags, keys, rule.stage);
                let target =
                    target.unwrap_or_else(|| self.unallocated(Reason::ProviderSplitNoModel));
                parts.push((target, 1));
            }
            Action::Credit(keys) => match self.tagged(charge, charge.tags, keys, None) {
                Some(target) => parts.push((target, 1)),
                None => return Some(Route::Hold(Class::Credit)),
            },
            Action::Tax => return Some(Route::Hold(Class::Tax)),
            Action::Run { driver, key } => {
                let run = find_tag(charge.tags, key)?;
                if run.collides {
                    self.warn(Warning::TagCollision { key: key.clone() });
                }
                let always = (i64::MIN, i64::MAX);
                let weights = self.weights(index, driver, Some(run.value), always, false)?;
                parts.extend_from_slice(&weights.busy);
                return Some(Route::Split(Some(&driver.name)));
            }
            Action::Machine(driver) => {
                let resource = charge.resource_id?;
                let period = (charge.period_start, charge.period_end);
                let weights = self.weights(index, driver, Some(resource), period, true)?;
                parts.extend_from_slice(&weights.busy);
                if weights.idle > 0 {
                    let pool = (!weights.busy.is_empty()).then(|| {
                        let key = PoolKey {
                            resource: self.texts.id(resource),
                            start: charge.period_start,
                            end: charge.period_end,
                            rule: index as u32,
                            currency: charge.currency,
                        };
                        self.pools.id(key)
                    });
                    parts.push((self.targets.id(Target::Idle { pool }), weights.idle));
                }
                return Some(Route::Split(Some(&driver.name)));
            }
            Action::Pool {
                driver,
                known_resource,
            } => {
                let table = self.drivers.get(&driver.name)?;
                let resource = charge.resource_id.filter(|resource| table.knows(resource));
                if *known_resource && resource.is_none() {
                    return None;
                }
                let period = (charge.period_start, charge.period_end);
                let weights = self.weights(index, driver, resource, period, false)?;
                parts.extend_from_slice(&weights.busy);
                return Some(Route::Split(Some(&driver.name)));
            }
        }
        Some(Route::Split(None))
    }

    /// What the driver of a rule weighs a resource's targets by in a period, as [`DriverTable`](super::DriverTable) has it.
    pub(super) fn weights(
        &mut self,
        rule: usize,
        driver: &Driver,
        resource: Option<&str>,
        period: (i64, i64),
        machine: bool,
    ) -> Option<Arc<Weights>> {
        let table = self.drivers.get(&driver.name)?;
        if resource.is_some_and(|resource| !table.knows(resource)) {
            return None;
        }
        let id = resource.map(|resource| self.texts.id(resource));
        let key = (rule as u32, id, period.0, period.1);
        if let Some(known) = self.lookups.get(&key) {
            return known.clone();
        }
        let usage = match resource.filter(|_| machine) {
            Some(resource) => table.machine(resource, period.0, period.1),
            None => Some(table.pool(resource, period.0, period.1)),
        };
        if let (Some(resource), Some(true)) =
            (resource, usage.as_ref().map(|usage| usage.oversubscribed))
        {
            self.summary.oversubscribed.insert(Oversubscribed {
                driver: driver.name.clone(),
                resource_id: resource.to_owned(),
                period_start: period.0,
                period_end: period.1,
            });
        }
        let weights = usage.map(|usage| {
            let mut busy: Vec<(u32, u128)> = usage
                .busy
                .iter()
                .map(|&(target, weight)| (driver.targets[target as usize], weight))
                .collect();
            // A rule's stage, or models that differ by case, can make one target of two.
            busy.sort_by(|a, b| self.targets.compare(a.0, b.0));
            busy.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0 };
                same
            });
            Arc::new(Weights {
                busy,
                idle: usage.idle,
            })
        });
        if self.lookups.len() >= MAX_LOOKUPS {
            self.lookups.clear();
        }
        self.lookups.insert(key, weights.clone());
        weights
    }

    /// The target that tags name; `None` without a model tag.
    fn tagged(
        &mut self,
        charge: &Charge<'_>,
        tags: &[(String, String)],
        keys: &TagKeys,
        stage: Option<Stage>,
    ) -> Option<u32> {
        let model = find_tag(tags, &keys.model)?;
        let version = find_tag(tags, &keys.version);
        let stage_tag = find_tag(tags, &keys.stage);
        let named = [
            (&keys.model, Some(model)),
            (&keys.version, version),
            (&keys.stage, stage_tag),
        ];
        for (key, tag) in named {
            if tag.is_some_and(|tag| tag.collides) {
                self.warn(Warning::TagCollision { key: key.clone() });
            }
        }
        let stage = stage.unwrap_or_else(|| match stage_tag.map(|tag| (tag, tag.value.parse())) {
            None => charge.stage.unwrap_or_default(),
            Some((_, Ok(stage))) => stage,
            Some((tag, Err(_))) => {
                self.warn(Warning::UnknownStage {
                    value: tag.value.to_owned(),
                });
                Stage::default()
            }
        });
        let target = self
            .targets
            .model(model.value, version.map(|tag| tag.value), stage);
        if !self.targets.is_known(target) {
            self.warn(Warning::UnknownModel {
                model: model.value.to_owned(),
            });
        }
        Some(target)
    }

    fn warn(&mut self, warning: Warning) {
        *self.summary.warnings.entry(warning).or_insert(0) += 1;
    }

    pub(super) fn unallocated(&mut self, reason: Reason) -> u32 {
        self.targets.id(Target::Unallocated { reason })
    }
}

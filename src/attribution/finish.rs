//! The end of a run: what was kept back, and idle moved to who was busy.

use std::sync::Arc;

use super::attribute::{Attributor, Held, Row};
use super::charge::{Allocation, Basis, Sink};
use super::compile::{Action, CREDIT_BASE, TAX_BASE};
use super::follow::{Base, Class, Followed, Scope};
use super::map::Map;
use super::split::{SplitError, Splitter};
use super::summary::{AttributeError, Summary};
use super::target::{Reason, Target};
use crate::money::Money;

impl Attributor {
    /// Writes what was kept back (credits, then tax, each by row id), then the
    /// rows of [`Basis::Allocation`], pool by pool.
    pub fn finish(mut self, sink: &mut Sink<'_>) -> Result<Summary, AttributeError> {
        let order = self.pools.in_order(&self.texts);
        let mut rank = vec![0_u32; order.len()];
        for (place, &pool) in order.iter().enumerate() {
            rank[pool as usize] = place as u32;
        }
        let mut held = std::mem::take(&mut self.held);
        held.sort_by(|a, b| a.row_id.cmp(&b.row_id));
        for class in [Class::Credit, Class::Tax] {
            self.follow(class, &held, &rank, sink)?;
        }
        self.pools.sort_parts(&self.texts);
        for &pool in &order {
            self.move_idle(pool, sink)?;
        }
        self.summary.idle_pools = order.len() as u64;
        Ok(self.summary)
    }

    fn follow(
        &mut self,
        class: Class,
        held: &[Held],
        rank: &[u32],
        sink: &mut Sink<'_>,
    ) -> Result<(), AttributeError> {
        let (name, missing) = match class {
            Class::Tax => (TAX_BASE, Reason::TaxNoBase),
            _ => (CREDIT_BASE, Reason::CreditNoBase),
        };
        let held = held
            .iter()
            .filter(|held| self.bases.get(held.scope).class == class);
        let held: Vec<&Held> = held.collect();
        let keys = |scope: Scope| -> Vec<Followed> {
            match class {
                Class::Tax => scope.taxed().collect(),
                _ => scope.credited().collect(),
            }
        };
        let credits = class == Class::Tax;
        let all = held
            .iter()
            .flat_map(|held| keys(self.bases.get(held.scope)));
        let there = self.bases.there(&all.collect(), credits);
        let followed = held.iter().flat_map(|held| {
            let keys = keys(self.bases.get(held.scope)).into_iter();
            let keys = keys.filter(|key| there.contains(key));
            keys.take(if class == Class::Tax { 1 } else { usize::MAX })
        });
        let wanted = followed.collect();
        let base = self
            .bases
            .base(&wanted, credits, &mut self.targets, rank)
            .map_err(|source| AttributeError::Split {
                row_id: name.to_owned(),
                source,
            })?;
        let rules = Arc::clone(&self.rules);
        for held in held {
            let scope = self.bases.get(held.scope);
            let bases = keys(scope).into_iter();
            let mut bases = bases.filter_map(|key| base.get(&key).map(|base| (key, &base.parts)));
            let found = match class {
                Class::Tax => bases.next().filter(|(_, parts)| !parts.is_empty()),
                _ => bases.find(|(_, parts)| !parts.is_empty()),
            };
            let billing_period = self.texts.get(scope.billing_period).to_owned();
            let row = Row {
                row_id: &held.row_id,
                day: held.day,
                billing_period: &billing_period,
                currency: scope.currency,
                category: held.category,
                rule: Some(&rules[held.rule]),
                billed: held.billed,
                effective: held.effective,
                scope: held.scope,
                follows: found.map(|(key, _)| key),
            };
            match found {
                Some((_, parts)) => self.allocate(&row, Some(name), parts, sink)?,
                None => {
                    let target = self.unallocated(missing);
                    self.allocate(&row, None, &[(target, 1)], sink)?;
                }
            }
        }
        self.share(&base)
    }

    /// Shares what the rows that follow others left to the idle of several machines out over their pools, once per
    /// followed set and part.
    fn share(&mut self, base: &Map<Followed, Base>) -> Result<(), AttributeError> {
        let mut splitter = Splitter::default();
        let (mut weights, mut billed, mut effective) = (vec![], vec![], vec![]);
        for ((followed, key), amounts) in std::mem::take(&mut self.shared) {
            let pools = base.get(&followed).map_or(&[][..], |base| &base.pools);
            weights.clear();
            weights.extend(pools.iter().map(|pool| pool.1));
            let mut give = || {
                splitter.split_into(amounts.0, &weights, &mut billed)?;
                splitter.split_into(amounts.1, &weights, &mut effective)?;
                for (pool, (&billed, &effective)) in pools.iter().zip(billed.iter().zip(&effective))
                {
                    if (billed, effective) != (0, 0) {
                        self.pools
                            .add(pool.0, key, Money(billed), Money(effective))?;
                    }
                }
                Ok(())
            };
            give().map_err(|source| AttributeError::Split {
                row_id: "idle of several machines".to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// Moves one pool's idle to those who were busy.
    fn move_idle(&mut self, pool_id: u32, sink: &mut Sink<'_>) -> Result<(), AttributeError> {
        let pool = self.pools.get(pool_id);
        let rule = &self.rules[pool.key.rule as usize];
        let row_id = pool.row_id(&rule.name, &self.texts);
        let fail = |source| AttributeError::Split {
            row_id: row_id.clone(),
            source,
        };
        let too_large = |_| fail(SplitError::AmountTooLarge);
        let driver = match &rule.action {
            Action::Machine(driver) => Some(driver.name.as_str()),
            _ => None,
        };
        let weight_total = pool.weights.busy.iter().map(|part| part.1).sum();
        let idle = Target::Idle {
            pool: Some(pool_id),
        };
        for (part, shares) in pool.parts.iter().zip(pool.shares().map_err(fail)?) {
            if (part.billed, part.effective) == (Money::ZERO, Money::ZERO) {
                continue;
            }
            let row = |target, weight, billed, effective| Allocation {
                row_id: &row_id,
                day: part.key.day,
                billing_period: self.texts.get(part.key.billing_period),
                currency: pool.key.currency,
                target,
                category: part.key.category,
                rule: &rule.name,
                rule_version: &rule.version,
                driver,
                weight,
                weight_total,
                billed,
                effective,
                basis: Basis::Allocation,
            };
            let billed = part.billed.checked_neg().map_err(too_large)?;
            let effective = part.effective.checked_neg().map_err(too_large)?;
            sink(&row(&idle, weight_total, billed, effective)).map_err(AttributeError::Sink)?;
            for (&(target, weight), (billed, effective)) in pool.weights.busy.iter().zip(shares) {
                let target = self.targets.get(target);
                let row = row(target, weight, Money(billed), Money(effective));
                sink(&row).map_err(AttributeError::Sink)?;
            }
            self.summary.allocations += 1 + pool.weights.busy.len() as u64;
        }
        Ok(())
    }
}

//! The end of a run: what was kept back, and idle moved to who was busy.

use std::sync::Arc;

use super::attribute::{Attributor, Held, Row};
use super::charge::{Basis, Sink};
use super::compile::{Action, CREDIT_BASE, TAX_BASE};
use super::follow::{Base, Bases, Class, Followed, IN_NONE, Scope};
use super::map::Map;
use super::pool::shares;
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
        let held: Vec<&Held> = held
            .iter()
            .filter(|held| held.scope.class == class)
            .collect();
        // A tax follows the first that has rows, a credit the first that has a positive amount.
        let choices = |bases: &Bases, scope: &Scope| -> Vec<Followed> {
            let choices = scope.follows();
            match class {
                Class::Tax => choices.filter(|&key| bases.has(key)).take(1).collect(),
                _ => choices.collect(),
            }
        };
        let wanted = held
            .iter()
            .flat_map(|held| choices(&self.bases, &held.scope));
        let base = self
            .bases
            .base(wanted, &mut self.targets, rank)
            .map_err(|source| AttributeError::Split {
                row_id: name.to_owned(),
                source,
            })?;
        let rules = Arc::clone(&self.rules);
        for held in held {
            let scope = &held.scope;
            let choices = choices(&self.bases, scope).into_iter();
            let mut found = choices.filter_map(|key| Some((key, &base.get(&key)?.parts)));
            let found = found.find(|(_, parts)| !parts.is_empty());
            let billing_period = self.texts.get(scope.billing_period).to_owned();
            let issuer = scope.issuer.map(|id| self.texts.get(id).to_owned());
            let charge_category = self.texts.get(held.charge_category).to_owned();
            let sets = self.bases.sets(scope);
            let row = Row {
                row_id: &held.row_id,
                basis: Basis::Usage,
                day: held.day,
                period: held.period,
                billing_period: &billing_period,
                currency: scope.currency,
                issuer: issuer.as_deref(),
                category: held.category,
                charge_category: &charge_category,
                rule: Some(&rules[held.rule]),
                billed: held.billed,
                effective: held.effective,
                via: None,
                sets,
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
        let rules = Arc::clone(&self.rules);
        let key = self.pools.key(pool_id);
        let rule = &rules[key.rule as usize];
        let Action::Machine(driver) = &rule.action else {
            return Ok(());
        };
        // Looked up again rather than kept: there are millions of pools.
        let resource = self.texts.get(key.resource).to_owned();
        let (index, period) = (key.rule as usize, (key.start, key.end));
        let weights = self.weights(index, driver, Some(&resource), period, true);
        let weights = weights.unwrap_or_default();
        let driver = Some(driver.name.as_str());
        let row_id = key.row_id(&rule.name, &self.texts);
        let fail = |source| AttributeError::Split {
            row_id: row_id.clone(),
            source,
        };
        let too_large = |_| fail(SplitError::AmountTooLarge);
        let weight_total = weights.busy.iter().map(|part| part.1).sum();
        let idle = self.targets.id(Target::Idle {
            pool: Some(pool_id),
        });
        let parts = self.pools.parts(pool_id, &self.texts);
        let shares = shares(&parts, &weights).map_err(fail)?;
        for (part, shares) in parts.into_iter().zip(shares) {
            let (part, billed, effective) = (part.key, part.billed, part.effective);
            if (billed, effective) == (Money::ZERO, Money::ZERO) {
                continue;
            }
            let billing_period = self.texts.get(part.billing_period).to_owned();
            let issuer = part.issuer.map(|id| self.texts.get(id).to_owned());
            let row = Row {
                row_id: &row_id,
                basis: Basis::Allocation,
                day: part.day,
                period: (key.start, key.end),
                billing_period: &billing_period,
                currency: key.currency,
                issuer: issuer.as_deref(),
                category: part.category,
                charge_category: "Usage",
                rule: Some(rule),
                billed,
                effective,
                via: None,
                sets: IN_NONE,
                follows: None,
            };
            let taken = (
                billed.checked_neg().map_err(too_large)?,
                effective.checked_neg().map_err(too_large)?,
            );
            self.give(
                &row,
                idle,
                (driver, weight_total, weight_total),
                taken,
                sink,
            )?;
            for (&(target, weight), (billed, effective)) in weights.busy.iter().zip(shares) {
                let amounts = (Money(billed), Money(effective));
                self.give(&row, target, (driver, weight, weight_total), amounts, sink)?;
            }
        }
        Ok(())
    }
}

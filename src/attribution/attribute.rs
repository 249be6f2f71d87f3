//! The stream from charges to allocations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::charge::{Allocation, Basis, Charge, Sink};
use super::compile::{Action, CompiledRule, compile};
use super::driver::DriverTable;
use super::follow::{Bases, Class, Followed, Scope, Sets, Texts};
use super::map::{Map, map_bytes};
use super::matching::day_of;
use super::pool::{PartKey, Pools, Weights};
use super::route::{Lookup, Route};
use super::rules::Routing;
use super::split::{SplitError, Splitter};
use super::step_down::CostPools;
use super::summary::{AttributeError, Summary, Taken};
use super::target::{Category, Reason, Target, Targets};
use super::validate::{Known, validate};
use crate::money::{Currency, Money};

/// Takes charges, gives allocations; see the module's head.
pub struct Attributor {
    pub(super) rules: Arc<[CompiledRule]>,
    pub(super) cost_pools: Arc<CostPools>,
    pub(super) drivers: BTreeMap<String, DriverTable>,
    pub(super) targets: Targets,
    pub(super) texts: Texts,
    pub(super) lookups: Map<Lookup, Option<Arc<Weights>>>,
    pub(super) bases: Bases,
    pub(super) pools: Pools,
    pub(super) held: Vec<Held>,
    /// What rows that follow others left to the idle of several machines.
    pub(super) shared: Map<(Followed, PartKey), (i128, i128)>,
    pub(super) summary: Summary,
    following: Option<BTreeSet<String>>,
    counts_lost: bool,
    splitter: Splitter,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    parts: Vec<(u32, u128)>,
    weights: Vec<u128>,
    billed: Vec<i128>,
    effective: Vec<i128>,
}

/// A tax or credit row that waits for what it follows.
pub(super) struct Held {
    pub(super) row_id: Box<str>,
    pub(super) day: i32,
    pub(super) period: (i64, i64),
    pub(super) scope: Scope,
    pub(super) rule: usize,
    pub(super) category: Category,
    /// A text's id.
    pub(super) charge_category: u32,
    pub(super) billed: Money,
    pub(super) effective: Money,
}

/// An amount to be split, and what all its parts share.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) row_id: &'a str,
    pub(super) basis: Basis,
    pub(super) day: i32,
    /// Charge period `[start, end)`, µs.
    pub(super) period: (i64, i64),
    pub(super) billing_period: &'a str,
    pub(super) currency: Currency,
    pub(super) issuer: Option<&'a str>,
    pub(super) category: Category,
    pub(super) charge_category: &'a str,
    pub(super) rule: Option<&'a CompiledRule>,
    pub(super) billed: Money,
    pub(super) effective: Money,
    /// The cost pools that it came through.
    pub(super) via: Option<&'a str>,
    /// Where tax and credits look for what they follow; none on the allocation basis.
    pub(super) sets: Sets,
    /// The charges that the row follows.
    pub(super) follows: Option<Followed>,
}

/// What a part was split by: driver, its weight and the sum of all weights.
pub(super) type By<'a> = (Option<&'a str>, u128, u128);

impl Attributor {
    /// Rules in the order in which they are tried and cost pools, `drivers` by name (one, be it
    /// empty, for each name that those use), and the ids of all models.
    pub fn new(
        routing: &Routing,
        drivers: BTreeMap<String, DriverTable>,
        models: &[String],
    ) -> Result<Self, AttributeError> {
        let names: Vec<String> = drivers.keys().cloned().collect();
        let known = Known {
            models,
            drivers: &names,
            columns: &[],
        };
        let errors = validate(routing, known);
        if !errors.is_empty() {
            return Err(AttributeError::Rules(errors));
        }
        let order = super::step_down::closing_order(&routing.pools)
            .map_err(|error| AttributeError::Rules(vec![error]))?;
        let mut targets = Targets::new(models, &order);
        let mut compiled = |rule| compile(rule, &drivers, &mut targets);
        let rules = routing.rules.iter().map(&mut compiled).collect();
        let pools = routing.pools.iter().map(&mut compiled).collect();
        Ok(Self {
            rules,
            cost_pools: Arc::new(CostPools::new(&order, pools)),
            drivers,
            targets,
            texts: Texts::default(),
            lookups: Map::default(),
            bases: Bases::default(),
            pools: Pools::default(),
            held: Vec::new(),
            summary: Summary {
                rules: vec![Taken::default(); routing.rules.len() + 1],
                ..Summary::default()
            },
            following: routing.following(),
            counts_lost: false,
            shared: Map::default(),
            splitter: Splitter::default(),
            buffers: Buffers::default(),
        })
    }

    /// Also counts the charges that a rule would match and an earlier one takes; see [`Taken::lost`](super::Taken::lost).
    #[must_use]
    pub fn counting_lost(mut self) -> Self {
        self.counts_lost = true;
        self
    }

    /// About how many bytes it holds of what rows of charges have left behind and of what drivers say, with what comes of
    /// these when it [finishes](Self::finish).
    pub fn bytes(&self) -> usize {
        let drivers = self.drivers.values().map(DriverTable::bytes);
        drivers.sum::<usize>()
            + self.texts.bytes()
            + self.bases.bytes()
            + self.pools.bytes()
            + self.held.capacity() * size_of::<Held>()
            + self.held.len() * 48
            + map_bytes(&self.lookups)
            + map_bytes(&self.shared)
            + self.summary.oversubscribed.len() * 2 * size_of::<super::summary::Oversubscribed>()
    }

    /// The charge categories that follow others, in lower case; `None` when any charge may.
    pub fn following(&self) -> Option<&BTreeSet<String>> {
        self.following.as_ref()
    }

    /// Notes what a charge may follow, if it follows others. All are expected before the first is pushed: what nobody
    /// expects to be followed is not kept.
    pub fn expect(&mut self, charge: &Charge<'_>) {
        for rule in self.rules.iter() {
            let class = match rule.action {
                Action::Credit(_) => Class::Credit,
                Action::Tax => Class::Tax,
                _ => continue,
            };
            if rule.matcher.matches(charge) {
                let scope = Scope::of(charge, class, &mut self.texts);
                self.bases.expect(&scope);
            }
        }
    }

    /// Attributes one charge, or keeps it back when it follows others.
    pub fn push(&mut self, charge: &Charge<'_>, sink: &mut Sink<'_>) -> Result<(), AttributeError> {
        self.summary.charges += 1;
        let rules = Arc::clone(&self.rules);
        let mut parts = std::mem::take(&mut self.buffers.parts);
        let mut decided = None;
        for (index, rule) in rules.iter().enumerate() {
            parts.clear();
            if rule.matcher.matches(charge)
                && let Some(route) = self.route(index, rule, charge, &mut parts)
            {
                decided = Some((index, rule, route));
                break;
            }
        }
        let place = decided.as_ref().map_or(rules.len(), |(index, ..)| *index);
        self.count(place, charge)?;
        let done = match decided {
            Some((index, rule, Route::Hold(class))) => {
                self.hold(index, rule, charge, class);
                Ok(())
            }
            Some((_, rule, Route::Split(driver))) => {
                let row = self.row(charge, Some(rule));
                self.allocate(&row, driver, &parts, sink)
            }
            None => {
                let row = self.row(charge, None);
                let target = self.unallocated(Reason::NoRule);
                self.allocate(&row, None, &[(target, 1)], sink)
            }
        };
        self.buffers.parts = parts;
        done
    }

    fn count(&mut self, place: usize, charge: &Charge<'_>) -> Result<(), AttributeError> {
        let taken = &mut self.summary.rules[place];
        taken.charges += 1;
        let sum = taken.costs.entry(charge.currency).or_default();
        let add = |a: Money, b| {
            a.checked_add(b).map_err(|_| AttributeError::Split {
                row_id: charge.row_id.to_owned(),
                source: SplitError::AmountTooLarge,
            })
        };
        *sum = (add(sum.0, charge.billed)?, add(sum.1, charge.effective)?);
        if self.counts_lost {
            for (index, rule) in self.rules.iter().enumerate().skip(place + 1) {
                if rule.matcher.matches(charge) {
                    *self.summary.rules[index].lost.entry(place).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn row<'a>(&mut self, charge: &Charge<'a>, rule: Option<&'a CompiledRule>) -> Row<'a> {
        let scope = Scope::of(charge, Class::of(charge), &mut self.texts);
        Row {
            row_id: charge.row_id,
            basis: Basis::Usage,
            day: day_of(charge.period_start),
            period: (charge.period_start, charge.period_end),
            billing_period: charge.billing_period,
            currency: charge.currency,
            issuer: charge.invoice_issuer,
            category: rule
                .and_then(|rule| rule.category)
                .unwrap_or(charge.category),
            charge_category: charge.charge_category,
            rule,
            billed: charge.billed,
            effective: charge.effective,
            via: None,
            sets: self.bases.sets(&scope),
            follows: None,
        }
    }

    fn hold(&mut self, index: usize, rule: &CompiledRule, charge: &Charge<'_>, class: Class) {
        let scope = Scope::of(charge, class, &mut self.texts);
        // It is there for a tax that follows it, whatever it is given to.
        self.bases.sets(&scope);
        self.held.push(Held {
            row_id: charge.row_id.into(),
            day: day_of(charge.period_start),
            period: (charge.period_start, charge.period_end),
            scope,
            rule: index,
            category: rule.category.unwrap_or(charge.category),
            charge_category: self.texts.id(charge.charge_category),
            billed: charge.billed,
            effective: charge.effective,
        });
    }

    /// Splits a row over `parts` (in key order) and writes it; without weight it is unallocated.
    pub(super) fn allocate(
        &mut self,
        row: &Row<'_>,
        driver: Option<&str>,
        parts: &[(u32, u128)],
        sink: &mut Sink<'_>,
    ) -> Result<(), AttributeError> {
        let fail = |source| AttributeError::Split {
            row_id: row.row_id.to_owned(),
            source,
        };
        if let [(target, weight)] = *parts
            && weight > 0
        {
            let whole = (row.billed, row.effective);
            return self.give(row, target, (driver, weight, weight), whole, sink);
        }
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.weights.clear();
        buffers.weights.extend(parts.iter().map(|part| part.1));
        let weights = &buffers.weights;
        let split = self
            .splitter
            .split_into(row.billed.0, weights, &mut buffers.billed)
            .map_err(fail)?;
        if !split {
            self.buffers = buffers;
            let target = self.unallocated(Reason::NoDriver);
            let whole = (row.billed, row.effective);
            return self.give(row, target, (driver, 1, 1), whole, sink);
        }
        self.splitter
            .split_into(row.effective.0, weights, &mut buffers.effective)
            .map_err(fail)?;
        let total = weights.iter().sum();
        let amounts = buffers.billed.iter().zip(&buffers.effective);
        for (&(target, weight), (&billed, &effective)) in parts.iter().zip(amounts) {
            if weight > 0 {
                let amounts = (Money(billed), Money(effective));
                self.give(row, target, (driver, weight, total), amounts, sink)?;
            }
        }
        self.buffers = buffers;
        Ok(())
    }

    /// Gives one part of a row to its target: writes it and books it where tax, credits and idle pools look, or
    /// closes the cost pool that the target stands for.
    pub(super) fn give(
        &mut self,
        row: &Row<'_>,
        target: u32,
        by: By<'_>,
        (billed, effective): (Money, Money),
        sink: &mut Sink<'_>,
    ) -> Result<(), AttributeError> {
        if let Some(pool) = self.targets.pool(target) {
            let row = Row {
                billed,
                effective,
                ..*row
            };
            return self.close(pool, &row, by, sink);
        }
        let (driver, weight, weight_total) = by;
        let to = self.targets.get(target);
        sink(&Allocation {
            row_id: row.row_id,
            day: row.day,
            billing_period: row.billing_period,
            currency: row.currency,
            issuer: row.issuer,
            target: &to,
            category: row.category,
            charge_category: row.charge_category,
            rule: row.rule.map_or("", |rule| &rule.name),
            rule_version: row.rule.map_or("", |rule| &rule.version),
            driver,
            via: row.via,
            weight,
            weight_total,
            billed,
            effective,
            basis: row.basis,
        })
        .map_err(AttributeError::Sink)?;
        self.summary.allocations += 1;
        if row.basis == Basis::Allocation {
            return Ok(());
        }
        let fail = |source| AttributeError::Split {
            row_id: row.row_id.to_owned(),
            source,
        };
        let mut key = || PartKey {
            day: row.day,
            billing_period: self.texts.id(row.billing_period),
            category: row.category,
            issuer: row.issuer.map(|issuer| self.texts.id(issuer)),
        };
        let is_pool = matches!(*to, Target::Idle { pool: Some(_) });
        match (&*to, row.follows) {
            (Target::Idle { pool: Some(pool) }, _) => {
                let key = key();
                self.pools
                    .add(*pool, key, billed, effective)
                    .map_err(fail)?;
            }
            (Target::IdlePools, Some(followed)) => {
                let key = key();
                let sums = self.shared.entry((followed, key)).or_default();
                for (sum, amount) in [(&mut sums.0, billed), (&mut sums.1, effective)] {
                    *sum = sum
                        .checked_add(amount.0)
                        .ok_or_else(|| fail(SplitError::AmountTooLarge))?;
                }
            }
            _ => {}
        }
        self.bases
            .add(&row.sets, target, is_pool, effective)
            .map_err(fail)
    }
}

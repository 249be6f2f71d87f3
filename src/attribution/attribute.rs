//! The stream from charges to allocations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::charge::{Allocation, Basis, Charge, Sink};
use super::compile::{CompiledRule, compile};
use super::driver::DriverTable;
use super::follow::{Bases, Class, Followed, Texts};
use super::map::Map;
use super::matching::day_of;
use super::pool::{PartKey, Pools, Weights};
use super::route::{Lookup, Route};
use super::rules::Rule;
use super::split::{SplitError, Splitter};
use super::summary::{AttributeError, Summary};
use super::target::{Category, Reason, Target, Targets};
use super::validate::{Known, validate};
use crate::money::{Currency, Money};

/// Takes charges, gives allocations; see the module's head.
pub struct Attributor {
    pub(super) rules: Arc<[CompiledRule]>,
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
    pub(super) scope: u32,
    pub(super) rule: usize,
    pub(super) category: Category,
    pub(super) billed: Money,
    pub(super) effective: Money,
}

/// What all parts of a charge share.
pub(super) struct Row<'a> {
    pub(super) row_id: &'a str,
    pub(super) day: i32,
    pub(super) billing_period: &'a str,
    pub(super) currency: Currency,
    pub(super) category: Category,
    pub(super) rule: Option<&'a CompiledRule>,
    pub(super) billed: Money,
    pub(super) effective: Money,
    pub(super) scope: u32,
    /// The charges that the row follows.
    pub(super) follows: Option<Followed>,
}

impl Attributor {
    /// `rules` in the order in which they are tried, `drivers` by name (one, be it empty, for
    /// each name that rules use), and the ids of all models.
    pub fn new(
        rules: &[Rule],
        drivers: BTreeMap<String, DriverTable>,
        models: &[String],
    ) -> Result<Self, AttributeError> {
        let names: Vec<String> = drivers.keys().cloned().collect();
        let known = Known {
            models,
            drivers: &names,
            columns: &[],
        };
        let errors = validate(rules, known);
        if !errors.is_empty() {
            return Err(AttributeError::Rules(errors));
        }
        let mut targets = Targets::new(models);
        let compiled = rules
            .iter()
            .map(|rule| compile(rule, &drivers, &mut targets));
        Ok(Self {
            rules: compiled.collect(),
            drivers,
            targets,
            texts: Texts::default(),
            lookups: Map::default(),
            bases: Bases::default(),
            pools: Pools::default(),
            held: Vec::new(),
            shared: Map::default(),
            summary: Summary::default(),
            splitter: Splitter::default(),
            buffers: Buffers::default(),
        })
    }

    /// Attributes one charge, or keeps it back when it follows others.
    pub fn push(&mut self, charge: &Charge<'_>, sink: &mut Sink<'_>) -> Result<(), AttributeError> {
        self.summary.charges += 1;
        let rules = Arc::clone(&self.rules);
        for (index, rule) in rules.iter().enumerate() {
            if !rule.matcher.matches(charge) {
                continue;
            }
            let mut parts = std::mem::take(&mut self.buffers.parts);
            parts.clear();
            let found = self.route(index, rule, charge, &mut parts);
            let done = match found {
                Some(Route::Hold(class)) => {
                    self.hold(index, rule, charge, class);
                    Ok(())
                }
                Some(Route::Split(driver)) => {
                    let row = self.row(charge, Some(rule));
                    self.allocate(&row, driver, &parts, sink)
                }
                None => {
                    self.buffers.parts = parts;
                    continue;
                }
            };
            self.buffers.parts = parts;
            return done;
        }
        let row = self.row(charge, None);
        let target = self.unallocated(Reason::NoRule);
        self.allocate(&row, None, &[(target, 1)], sink)
    }

    fn class(charge: &Charge<'_>) -> Class {
        let is = |category: &str| charge.charge_category.trim().eq_ignore_ascii_case(category);
        if is("tax") {
            Class::Tax
        } else if is("credit") {
            Class::Credit
        } else {
            Class::Charge
        }
    }

    fn row<'a>(&mut self, charge: &Charge<'a>, rule: Option<&'a CompiledRule>) -> Row<'a> {
        let class = Self::class(charge);
        Row {
            row_id: charge.row_id,
            day: day_of(charge.period_start),
            billing_period: charge.billing_period,
            currency: charge.currency,
            category: rule
                .and_then(|rule| rule.category)
                .unwrap_or(charge.category),
            rule,
            billed: charge.billed,
            effective: charge.effective,
            scope: self.bases.scope(charge, class, &mut self.texts),
            follows: None,
        }
    }

    fn hold(&mut self, index: usize, rule: &CompiledRule, charge: &Charge<'_>, class: Class) {
        self.held.push(Held {
            row_id: charge.row_id.into(),
            day: day_of(charge.period_start),
            scope: self.bases.scope(charge, class, &mut self.texts),
            rule: index,
            category: rule.category.unwrap_or(charge.category),
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
            return self.write(
                row,
                driver,
                (target, weight, weight),
                (row.billed, row.effective),
                sink,
            );
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
            return self.write(
                row,
                driver,
                (target, 1, 1),
                (row.billed, row.effective),
                sink,
            );
        }
        self.splitter
            .split_into(row.effective.0, weights, &mut buffers.effective)
            .map_err(fail)?;
        let total = weights.iter().sum();
        let amounts = buffers.billed.iter().zip(&buffers.effective);
        for (&(target, weight), (&billed, &effective)) in parts.iter().zip(amounts) {
            if weight > 0 {
                let amounts = (Money(billed), Money(effective));
                self.write(row, driver, (target, weight, total), amounts, sink)?;
            }
        }
        self.buffers = buffers;
        Ok(())
    }

    /// Writes one part of a row and books it where tax, credits and idle pools look.
    fn write(
        &mut self,
        row: &Row<'_>,
        driver: Option<&str>,
        (target, weight, weight_total): (u32, u128, u128),
        (billed, effective): (Money, Money),
        sink: &mut Sink<'_>,
    ) -> Result<(), AttributeError> {
        let to = self.targets.get(target);
        sink(&Allocation {
            row_id: row.row_id,
            day: row.day,
            billing_period: row.billing_period,
            currency: row.currency,
            target: to,
            category: row.category,
            rule: row.rule.map_or("", |rule| &rule.name),
            rule_version: row.rule.map_or("", |rule| &rule.version),
            driver,
            weight,
            weight_total,
            billed,
            effective,
            basis: Basis::Usage,
        })
        .map_err(AttributeError::Sink)?;
        self.summary.allocations += 1;
        let fail = |source| AttributeError::Split {
            row_id: row.row_id.to_owned(),
            source,
        };
        let key = PartKey {
            day: row.day,
            billing_period: self.bases.get(row.scope).billing_period,
            category: row.category,
        };
        match (to, row.follows) {
            (Target::Idle { pool: Some(pool) }, _) => {
                self.pools
                    .add(*pool, key, billed, effective)
                    .map_err(fail)?;
            }
            (Target::IdlePools, Some(followed)) => {
                let sums = self.shared.entry((followed, key)).or_default();
                for (sum, amount) in [(&mut sums.0, billed), (&mut sums.1, effective)] {
                    *sum = sum
                        .checked_add(amount.0)
                        .ok_or_else(|| fail(SplitError::AmountTooLarge))?;
                }
            }
            _ => {}
        }
        self.bases.add(row.scope, target, effective).map_err(fail)
    }
}

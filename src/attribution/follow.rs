//! What tax and credits follow: effective amounts by target, within an invoice,
//! an issuer's period, a resource, a service or an account.

use std::collections::HashSet;
use std::sync::Arc;

use super::charge::Charge;
use super::map::Map;
use super::split::SplitError;
use super::target::{Target, Targets};
use crate::money::{Currency, Money};

/// Texts by dense ids.
#[derive(Debug, Default)]
pub(super) struct Texts {
    ids: Map<Arc<str>, u32>,
    list: Vec<Arc<str>>,
}

impl Texts {
    pub fn id(&mut self, text: &str) -> u32 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = self.list.len() as u32;
        let text: Arc<str> = Arc::from(text);
        self.list.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    pub fn get(&self, id: u32) -> &str {
        &self.list[id as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Charge,
    Credit,
    Tax,
}

/// What charges have in common that others can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub class: Class,
    pub currency: Currency,
    pub billing_period: u32,
    invoice: Option<u32>,
    pub issuer: Option<u32>,
    account: Option<u32>,
    resource: Option<u32>,
    service: Option<u32>,
}

/// A set of charges that a tax or a credit follows; all within one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Followed {
    Invoice(u32, Currency),
    /// Issuer and billing period.
    Issuer(Option<u32>, u32, Currency),
    /// Resource and billing period.
    Resource(u32, u32, Currency),
    /// Billing account, service and billing period.
    Service(Option<u32>, u32, u32, Currency),
    /// Billing account and billing period.
    Account(u32, u32, Currency),
}

impl Scope {
    /// Whether others can follow its rows.
    fn is_base(&self, credits: bool) -> bool {
        match self.class {
            Class::Charge => true,
            Class::Credit => credits,
            Class::Tax => false,
        }
    }

    /// For a tax: the first of these that has rows.
    pub fn taxed(&self) -> impl Iterator<Item = Followed> {
        let invoice = self
            .invoice
            .map(|invoice| Followed::Invoice(invoice, self.currency));
        let issuer = Followed::Issuer(self.issuer, self.billing_period, self.currency);
        invoice.into_iter().chain([issuer])
    }

    /// For a credit: the first of these that has a positive amount.
    pub fn credited(&self) -> impl Iterator<Item = Followed> {
        let (period, currency) = (self.billing_period, self.currency);
        let resource = self
            .resource
            .map(|resource| Followed::Resource(resource, period, currency));
        let service = self
            .service
            .map(|service| Followed::Service(self.account, service, period, currency));
        let account = self
            .account
            .map(|account| Followed::Account(account, period, currency));
        [resource, service, account].into_iter().flatten()
    }
}

/// Effective usage-basis amounts by scope and target.
#[derive(Debug, Default)]
pub(super) struct Bases {
    ids: Map<Scope, u32>,
    scopes: Vec<Scope>,
    amounts: Map<(u32, u32), i128>,
}

/// What a set of charges ended at.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// The targets with their positive amounts as weights, in key order. The idle pools of machines are one of them: a
    /// tax on a month of machine hours would else have as many parts as there are machines and hours.
    pub parts: Vec<(u32, u128)>,
    /// The pools with a positive amount, by number: what they share of that one part.
    pub pools: Vec<(u32, u128)>,
}

impl Bases {
    pub fn scope(&mut self, charge: &Charge<'_>, class: Class, texts: &mut Texts) -> u32 {
        let fields = [
            Some(charge.billing_period),
            charge.invoice_id,
            charge.invoice_issuer,
            charge.billing_account_id,
            charge.resource_id,
            charge.service_name,
        ];
        let [period, invoice, issuer, account, resource, service] =
            fields.map(|field| field.map(|field| texts.id(field)));
        let scope = Scope {
            class,
            currency: charge.currency,
            billing_period: period.unwrap_or_default(),
            invoice,
            issuer,
            account,
            resource,
            service,
        };
        let next = self.scopes.len() as u32;
        let id = *self.ids.entry(scope).or_insert(next);
        if id == next {
            self.scopes.push(scope);
        }
        id
    }

    pub fn get(&self, scope: u32) -> Scope {
        self.scopes[scope as usize]
    }

    /// Tax is on nothing's account but its own: it is no base for other tax.
    pub fn add(&mut self, scope: u32, target: u32, effective: Money) -> Result<(), SplitError> {
        if self.get(scope).class == Class::Tax {
            return Ok(());
        }
        let sum = self.amounts.entry((scope, target)).or_insert(0);
        *sum = sum
            .checked_add(effective.0)
            .ok_or(SplitError::AmountTooLarge)?;
        Ok(())
    }

    /// Those of `wanted` that have any row.
    pub fn there(&self, wanted: &HashSet<Followed>, credits: bool) -> HashSet<Followed> {
        let scopes = self.scopes.iter().filter(|scope| scope.is_base(credits));
        let keys = scopes.flat_map(|scope| scope.taxed().chain(scope.credited()));
        keys.filter(|key| wanted.contains(key)).collect()
    }

    /// What `wanted` sets of charges ended at; a set without any rows is absent. Pools are in the order of their `rank`.
    pub fn base(
        &self,
        wanted: &HashSet<Followed>,
        credits: bool,
        targets: &mut Targets,
        rank: &[u32],
    ) -> Result<Map<Followed, Base>, SplitError> {
        let mut sums: Map<Followed, Map<u32, i128>> = Map::default();
        if wanted.is_empty() {
            return Ok(Map::default());
        }
        for (&(scope, target), &amount) in &self.amounts {
            let scope = self.get(scope);
            if !scope.is_base(credits) {
                continue;
            }
            for key in scope.taxed().chain(scope.credited()) {
                if wanted.contains(&key) {
                    let sum = sums.entry(key).or_default().entry(target).or_insert(0);
                    *sum = sum.checked_add(amount).ok_or(SplitError::AmountTooLarge)?;
                }
            }
        }
        let base = |(key, sums)| Ok((key, Base::of(sums, targets, rank)?));
        sums.into_iter().map(base).collect()
    }
}

impl Base {
    fn of(sums: Map<u32, i128>, targets: &mut Targets, rank: &[u32]) -> Result<Self, SplitError> {
        let positive = |amount| u128::try_from(amount).ok().filter(|&weight| weight > 0);
        let mut base = Self::default();
        let mut idle = 0_i128;
        for (target, amount) in sums {
            let pool = match *targets.get(target) {
                Target::Idle { pool: Some(pool) } => Some(pool),
                Target::IdlePools => None,
                _ => {
                    let weight = positive(amount);
                    base.parts.extend(weight.map(|weight| (target, weight)));
                    continue;
                }
            };
            idle = idle.checked_add(amount).ok_or(SplitError::AmountTooLarge)?;
            if let (Some(pool), Some(weight)) = (pool, positive(amount)) {
                base.pools.push((pool, weight));
            }
        }
        // Without a pool that could share it, idle stays idle.
        let target = match base.pools.is_empty() {
            true => Target::Idle { pool: None },
            false => Target::IdlePools,
        };
        if let Some(weight) = positive(idle) {
            let target = targets.id(target);
            match base.parts.iter_mut().find(|part| part.0 == target) {
                Some(part) => {
                    let sum = part.1.checked_add(weight);
                    part.1 = sum.ok_or(SplitError::WeightsTooLarge)?;
                }
                None => base.parts.push((target, weight)),
            }
        }
        base.parts.sort_by(|a, b| targets.compare(a.0, b.0));
        base.pools.sort_by_key(|part| rank[part.0 as usize]);
        Ok(base)
    }
}

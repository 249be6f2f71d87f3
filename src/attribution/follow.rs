//! What tax and credits follow: effective amounts by target, within an invoice,
//! an issuer's period, a resource, a service or an account.
//!
//! A bill has millions of resources, and few of them have a credit. So rows that follow others are expected first, and
//! amounts are kept of what they can follow alone.

use std::sync::Arc;

use super::charge::Charge;
use super::map::{Map, map_bytes};
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

    /// About how many bytes they take, with a text of some length and its counts.
    pub fn bytes(&self) -> usize {
        map_bytes(&self.ids) + self.list.len() * (size_of::<Arc<str>>() + 64)
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

impl Class {
    pub fn of(charge: &Charge<'_>) -> Self {
        let is = |category: &str| charge.charge_category.trim().eq_ignore_ascii_case(category);
        if is("tax") {
            Self::Tax
        } else if is("credit") {
            Self::Credit
        } else {
            Self::Charge
        }
    }
}

/// What charges have in common that others can follow.
#[derive(Debug, Clone, Copy)]
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
    pub fn of(charge: &Charge<'_>, class: Class, texts: &mut Texts) -> Self {
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
        Self {
            class,
            currency: charge.currency,
            billing_period: period.unwrap_or_default(),
            invoice,
            issuer,
            account,
            resource,
            service,
        }
    }

    /// What the row follows, the first choice first: a tax the first that has rows, a credit the first that has a
    /// positive amount.
    pub fn follows(&self) -> impl Iterator<Item = Followed> {
        let class = self.class;
        let of_tax = self.taxed().filter(move |_| class == Class::Tax);
        let of_credit = self.credited().filter(move |_| class == Class::Credit);
        of_tax.chain(of_credit)
    }

    /// The sets that the row is in: those of tax hold charges and credits, those of credits charges alone. Tax is on
    /// nothing's account but its own: it is no base for other tax.
    fn sets(&self) -> impl Iterator<Item = Followed> {
        let class = self.class;
        let of_tax = self.taxed().filter(move |_| class != Class::Tax);
        let of_credit = self.credited().filter(move |_| class == Class::Charge);
        of_tax.chain(of_credit)
    }

    fn taxed(&self) -> impl Iterator<Item = Followed> + use<> {
        let currency = self.currency;
        let invoice = self
            .invoice
            .map(|invoice| Followed::Invoice(invoice, currency));
        let issuer = Followed::Issuer(self.issuer, self.billing_period, currency);
        invoice.into_iter().chain([issuer])
    }

    fn credited(&self) -> impl Iterator<Item = Followed> + use<> {
        let (period, currency, account) = (self.billing_period, self.currency, self.account);
        let resource = self
            .resource
            .map(|resource| Followed::Resource(resource, period, currency));
        let service = self
            .service
            .map(|service| Followed::Service(account, service, period, currency));
        let account = account.map(|account| Followed::Account(account, period, currency));
        [resource, service, account].into_iter().flatten()
    }
}

/// The expected sets that a row is in, by number; the rest of the places is [`NO_SET`].
pub(super) type Sets = [u32; 5];

const NO_SET: u32 = u32::MAX;

/// No set.
pub(super) const IN_NONE: Sets = [NO_SET; 5];

/// Effective usage-basis amounts by target, of the sets that rows were expected to follow.
#[derive(Debug, Default)]
pub(super) struct Bases {
    expected: Map<Followed, u32>,
    /// Whether a set has any row.
    there: Vec<bool>,
    amounts: Map<(u32, u32), i128>,
    /// The sets that the rows of idle pools are in together: pools come by the million, and with few combinations.
    combinations: Map<Sets, u32>,
    /// By combination and pool's target.
    idle: Map<(u32, u32), i128>,
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
    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        map_bytes(&self.expected)
            + map_bytes(&self.amounts)
            + map_bytes(&self.idle)
            + map_bytes(&self.combinations)
            + self.there.capacity()
    }

    /// Notes what a row may follow.
    pub fn expect(&mut self, scope: &Scope) {
        for followed in scope.follows() {
            let next = self.there.len() as u32;
            if *self.expected.entry(followed).or_insert(next) == next {
                self.there.push(false);
            }
        }
    }

    /// The sets that a row is in, of those that others may follow.
    pub fn sets(&mut self, scope: &Scope) -> Sets {
        let mut sets = IN_NONE;
        let found = scope.sets().filter_map(|set| self.expected.get(&set));
        for (place, &set) in sets.iter_mut().zip(found) {
            *place = set;
            self.there[set as usize] = true;
        }
        sets
    }

    /// Adds what a row of these sets gave to a target, which may be an idle pool's.
    pub fn add(
        &mut self,
        sets: &Sets,
        target: u32,
        is_pool: bool,
        effective: Money,
    ) -> Result<(), SplitError> {
        let add = |sum: &mut i128| {
            *sum = sum
                .checked_add(effective.0)
                .ok_or(SplitError::AmountTooLarge)?;
            Ok(())
        };
        if is_pool && sets[0] != NO_SET {
            let next = self.combinations.len() as u32;
            let combination = *self.combinations.entry(*sets).or_insert(next);
            return add(self.idle.entry((combination, target)).or_default());
        }
        let sets = sets.iter().take_while(|set| **set != NO_SET);
        for &set in sets {
            add(self.amounts.entry((set, target)).or_default())?;
        }
        Ok(())
    }

    /// Whether a set has any row.
    pub fn has(&self, followed: Followed) -> bool {
        let set = self.expected.get(&followed);
        set.is_some_and(|&set| self.there[set as usize])
    }

    /// What `wanted` sets of charges ended at; a set without any amount is absent. Pools are in the order of their `rank`.
    pub fn base(
        &self,
        wanted: impl Iterator<Item = Followed>,
        targets: &mut Targets,
        rank: &[u32],
    ) -> Result<Map<Followed, Base>, SplitError> {
        let mut sums: Map<u32, Map<u32, i128>> = Map::default();
        let wanted = wanted.filter_map(|followed| Some((*self.expected.get(&followed)?, followed)));
        let wanted: Map<u32, Followed> = wanted.collect();
        let mut add = |set: u32, target, amount| {
            if wanted.contains_key(&set) {
                let sum: &mut i128 = sums.entry(set).or_default().entry(target).or_default();
                *sum = sum.checked_add(amount).ok_or(SplitError::AmountTooLarge)?;
            }
            Ok(())
        };
        for (&(set, target), &amount) in &self.amounts {
            add(set, target, amount)?;
        }
        let mut combinations = vec![IN_NONE; self.combinations.len()];
        for (sets, &combination) in &self.combinations {
            combinations[combination as usize] = *sets;
        }
        for (&(combination, target), &amount) in &self.idle {
            let sets = combinations[combination as usize].into_iter();
            for set in sets.take_while(|set| *set != NO_SET) {
                add(set, target, amount)?;
            }
        }
        let base = |(set, sums)| Ok((wanted[&set], Base::of(sums, targets, rank)?));
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

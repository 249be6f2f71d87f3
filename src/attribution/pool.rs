//! Idle pools: what a machine's idle cost, and who was busy on it meanwhile.

use std::hash::Hash;

use chrono::{DateTime, SecondsFormat};

use super::follow::Texts;
use super::map::{Map, map_bytes};
use super::split::{SplitError, split_running};
use super::target::Category;
use crate::money::{Currency, Money};

/// Weights of a charge: parts in key order, each above zero.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub busy: Vec<(u32, u128)>,
    pub idle: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub resource: u32,
    pub start: i64,
    pub end: i64,
    pub rule: u32,
    pub currency: Currency,
}

/// What stays apart within a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PartKey {
    pub day: i32,
    pub billing_period: u32,
    pub category: Category,
    pub issuer: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub key: PartKey,
    pub billed: Money,
    pub effective: Money,
}

/// Pools come by the million, with the hours of a month for periods: their keys and parts are kept short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ShortKey {
    resource: u32,
    period: u32,
    rule: u32,
    currency: Currency,
}

#[derive(Debug, Clone, Copy)]
struct ShortPart {
    /// Number of its key; [`NO_PART`] of a pool that has none as yet.
    key: u32,
    billed: Money,
    effective: Money,
}

const NO_PART: u32 = u32::MAX;

#[derive(Debug)]
struct Pool {
    key: ShortKey,
    /// Mostly there is but one.
    first: ShortPart,
}

#[derive(Debug, Default)]
pub(super) struct Pools {
    ids: Map<ShortKey, u32>,
    list: Vec<Pool>,
    /// The further parts of pools that have some: categories × billing periods × issuers of one resource and charge period.
    more: Map<u32, Vec<ShortPart>>,
    periods: Numbered<(i64, i64)>,
    part_keys: Numbered<PartKey>,
}

/// Values by dense numbers.
#[derive(Debug)]
struct Numbered<T> {
    numbers: Map<T, u32>,
    list: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            numbers: Map::default(),
            list: Vec::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        let next = self.list.len() as u32;
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            self.list.push(value);
        }
        number
    }
}

impl Pools {
    pub fn id(&mut self, key: PoolKey) -> u32 {
        let key = ShortKey {
            resource: key.resource,
            period: self.periods.number((key.start, key.end)),
            rule: key.rule,
            currency: key.currency,
        };
        let next = self.list.len() as u32;
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            let first = ShortPart {
                key: NO_PART,
                billed: Money::ZERO,
                effective: Money::ZERO,
            };
            self.list.push(Pool { key, first });
        }
        id
    }

    /// About how many bytes they take, with their order and ranks.
    pub fn bytes(&self) -> usize {
        self.list.capacity() * size_of::<Pool>()
            + self.list.len() * 2 * size_of::<u32>()
            + map_bytes(&self.ids)
            + self.more.len() * (size_of::<ShortPart>() + 64)
    }

    pub fn add(
        &mut self,
        pool: u32,
        key: PartKey,
        billed: Money,
        effective: Money,
    ) -> Result<(), SplitError> {
        let key = self.part_keys.number(key);
        let first = &mut self.list[pool as usize].first;
        let new = ShortPart {
            key,
            billed,
            effective,
        };
        if first.key == NO_PART {
            *first = new;
            return Ok(());
        }
        let part = if first.key == key {
            first
        } else {
            let more = self.more.entry(pool).or_default();
            match more.iter().position(|part| part.key == key) {
                Some(at) => &mut more[at],
                None => {
                    more.reserve_exact(1);
                    more.push(new);
                    return Ok(());
                }
            }
        };
        let sum = |a: Money, b| a.checked_add(b).map_err(|_| SplitError::AmountTooLarge);
        part.billed = sum(part.billed, billed)?;
        part.effective = sum(part.effective, effective)?;
        Ok(())
    }

    pub fn key(&self, pool: u32) -> PoolKey {
        let key = self.list[pool as usize].key;
        let (start, end) = self.periods.list[key.period as usize];
        PoolKey {
            resource: key.resource,
            start,
            end,
            rule: key.rule,
            currency: key.currency,
        }
    }

    /// All pools, in key order.
    pub fn in_order(&self, texts: &Texts) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.list.len() as u32).collect();
        order.sort_by(|&a, &b| {
            let key = |pool: u32| {
                let key = self.key(pool);
                (
                    texts.get(key.resource),
                    key.start,
                    key.end,
                    key.rule,
                    key.currency,
                )
            };
            key(a).cmp(&key(b))
        });
        order
    }

    /// The parts of a pool, in key order.
    pub fn parts(&self, pool: u32, texts: &Texts) -> Vec<Part> {
        let first = Some(&self.list[pool as usize].first).filter(|first| first.key != NO_PART);
        let more = self.more.get(&pool).into_iter().flatten();
        let part = |part: &ShortPart| Part {
            key: self.part_keys.list[part.key as usize],
            billed: part.billed,
            effective: part.effective,
        };
        let mut parts: Vec<Part> = first.into_iter().chain(more).map(part).collect();
        parts.sort_by(|a, b| {
            let order = |part: &Part| (part.key.day, texts.get(part.key.billing_period));
            let issuer = |part: &Part| part.key.issuer.map(|issuer| texts.get(issuer));
            order(a)
                .cmp(&order(b))
                .then(a.key.category.cmp(&b.key.category))
                .then_with(|| issuer(a).cmp(&issuer(b)))
        });
        parts
    }
}

impl PoolKey {
    /// `idle/rule/resource/start/end/currency`.
    pub fn row_id(&self, rule: &str, texts: &Texts) -> String {
        let time = |micros: i64| {
            DateTime::from_timestamp_micros(micros).map_or_else(
                || micros.to_string(),
                |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            )
        };
        let resource = texts.get(self.resource);
        let (start, end) = (time(self.start), time(self.end));
        format!("idle/{rule}/{resource}/{start}/{end}/{}", self.currency)
    }
}

/// Per part of a pool, per busy target of `weights`: (billed, effective) that the target takes over.
pub(super) fn shares(
    parts: &[Part],
    weights: &Weights,
) -> Result<Vec<Vec<(i128, i128)>>, SplitError> {
    let weights: Vec<u128> = weights.busy.iter().map(|part| part.1).collect();
    let rows = |amount: fn(&Part) -> i128| {
        let amounts: Vec<i128> = parts.iter().map(amount).collect();
        Ok(split_running(&amounts, &weights)?.unwrap_or_default())
    };
    let (billed, effective) = (rows(|part| part.billed.0)?, rows(|part| part.effective.0)?);
    let pair =
        |(billed, effective): (Vec<i128>, Vec<i128>)| billed.into_iter().zip(effective).collect();
    Ok(billed.into_iter().zip(effective).map(pair).collect())
}

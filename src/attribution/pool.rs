//! Idle pools: what a machine's idle cost, and who was busy on it meanwhile.

use chrono::{DateTime, SecondsFormat};

use super::follow::Texts;
use super::map::Map;
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

#[derive(Debug)]
pub(super) struct Part {
    pub key: PartKey,
    pub billed: Money,
    pub effective: Money,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub key: PoolKey,
    /// Few: categories × billing periods × issuers of one resource and charge period.
    pub parts: Vec<Part>,
}

#[derive(Debug, Default)]
pub(super) struct Pools {
    ids: Map<PoolKey, u32>,
    list: Vec<Pool>,
}

impl Pools {
    pub fn id(&mut self, key: PoolKey) -> u32 {
        let next = self.list.len() as u32;
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            self.list.push(Pool {
                key,
                parts: Vec::new(),
            });
        }
        id
    }

    pub fn add(
        &mut self,
        pool: u32,
        key: PartKey,
        billed: Money,
        effective: Money,
    ) -> Result<(), SplitError> {
        let parts = &mut self.list[pool as usize].parts;
        let Some(part) = parts.iter_mut().find(|part| part.key == key) else {
            // Mostly one or two, of millions of pools.
            parts.reserve_exact(1);
            parts.push(Part {
                key,
                billed,
                effective,
            });
            return Ok(());
        };
        let sum = |a: Money, b| a.checked_add(b).map_err(|_| SplitError::AmountTooLarge);
        part.billed = sum(part.billed, billed)?;
        part.effective = sum(part.effective, effective)?;
        Ok(())
    }

    pub fn get(&self, pool: u32) -> &Pool {
        &self.list[pool as usize]
    }

    /// All pools, in key order.
    pub fn in_order(&self, texts: &Texts) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.list.len() as u32).collect();
        order.sort_by(|&a, &b| {
            let key = |pool: u32| {
                let key = self.get(pool).key;
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

    /// Puts the parts of each pool in key order.
    pub fn sort_parts(&mut self, texts: &Texts) {
        for pool in &mut self.list {
            pool.parts.sort_by(|a, b| {
                let order = |part: &Part| (part.key.day, texts.get(part.key.billing_period));
                let issuer = |part: &Part| part.key.issuer.map(|issuer| texts.get(issuer));
                order(a)
                    .cmp(&order(b))
                    .then(a.key.category.cmp(&b.key.category))
                    .then_with(|| issuer(a).cmp(&issuer(b)))
            });
        }
    }
}

impl Pool {
    /// `idle/rule/resource/start/end/currency`.
    pub fn row_id(&self, rule: &str, texts: &Texts) -> String {
        let time = |micros: i64| {
            DateTime::from_timestamp_micros(micros).map_or_else(
                || micros.to_string(),
                |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            )
        };
        let resource = texts.get(self.key.resource);
        let (start, end) = (time(self.key.start), time(self.key.end));
        format!("idle/{rule}/{resource}/{start}/{end}/{}", self.key.currency)
    }

    /// Per part, per busy target of `weights`: (billed, effective) that the target takes over.
    pub fn shares(&self, weights: &Weights) -> Result<Vec<Vec<(i128, i128)>>, SplitError> {
        let weights: Vec<u128> = weights.busy.iter().map(|part| part.1).collect();
        let rows = |amount: fn(&Part) -> i128| {
            let amounts: Vec<i128> = self.parts.iter().map(amount).collect();
            Ok(split_running(&amounts, &weights)?.unwrap_or_default())
        };
        let (billed, effective) = (rows(|part| part.billed.0)?, rows(|part| part.effective.0)?);
        let pair = |(billed, effective): (Vec<i128>, Vec<i128>)| {
            billed.into_iter().zip(effective).collect()
        };
        Ok(billed.into_iter().zip(effective).map(pair).collect())
    }
}

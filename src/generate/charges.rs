//! A bill row, with the truth about whom it belongs to.

use std::collections::BTreeMap;

use chrono::{Datelike, Months, NaiveDate};

use super::serving::Owner;
use super::usage::Usage;

/// Where a part of a charge ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Model(Owner),
    Idle,
    Unallocated,
}

/// Units of 10⁻¹⁸ USD, billed and effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    pub(super) billed: i128,
    pub(super) effective: i128,
}

impl Amounts {
    pub(super) fn add(&mut self, other: Self) {
        self.billed += other.billed;
        self.effective += other.effective;
    }
}

/// Who bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Issuer {
    /// Folder and name of the issuer.
    pub(super) id: &'static str,
    pub(super) legal_name: &'static str,
    /// First letters of its invoice ids.
    pub(super) prefix: &'static str,
    pub(super) account: &'static str,
    pub(super) region: (&'static str, &'static str),
}

/// What a charge is for: the columns that do not depend on the day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) service_category: &'static str,
    pub(super) service_subcategory: &'static str,
    pub(super) service_name: &'static str,
    pub(super) publisher: Option<&'static str>,
    pub(super) resource_id: Option<&'static str>,
    pub(super) resource_type: Option<&'static str>,
    pub(super) description: &'static str,
    /// Unit of the quantity.
    pub(super) unit: Option<&'static str>,
    pub(super) sku: Option<&'static str>,
    /// `labour`, `licence` or `hardware` in the ledger.
    pub(super) source_kind: Option<&'static str>,
}

/// ChargeCategory of FOCUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Usage,
    Purchase,
    Tax,
    Credit,
}

impl Category {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Usage => "Usage",
            Self::Purchase => "Purchase",
            Self::Tax => "Tax",
            Self::Credit => "Credit",
        }
    }
}

/// Part that a commitment discount plays in a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commitment {
    None,
    /// The commitment's own fee.
    Fee,
    Used,
    Unused,
}

/// One row of a bill.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    pub(super) issuer: Issuer,
    pub(super) product: Product,
    pub(super) category: Category,
    pub(super) commitment: Commitment,
    /// First day of the billing period.
    pub(super) period: NaiveDate,
    /// µs since the epoch, half-open.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) amounts: Amounts,
    /// Whole units consumed, where the charge has any.
    pub(super) quantity: Option<i64>,
    /// Owner named by the tags.
    pub(super) tagged: Option<Owner>,
    /// Where each part of the amounts belongs; sums to `amounts`.
    pub(super) shares: Vec<(Target, Amounts)>,
    /// Number that decides harmless quirks of the row, 0..1000.
    pub(super) quirk: u16,
}

impl Charge {
    /// The whole charge goes to its tags' owner, or is unallocated without them.
    pub(super) fn direct(mut self) -> Self {
        let target = match self.commitment {
            Commitment::Unused => Target::Idle,
            _ => self.tagged.map_or(Target::Unallocated, Target::Model),
        };
        self.shares = vec![(target, self.amounts)];
        self
    }

    /// The charge of a machine: `rate` for each nanosecond of capacity, shared by what was busy; the rest is idle.
    /// `usage` holds the machine's rows within the charge period, an hour's rows next to each other.
    pub(super) fn machine<'a>(
        mut self,
        rate: i128,
        usage: impl Iterator<Item = &'a Usage>,
    ) -> Self {
        let mut shares: BTreeMap<Target, i128> = BTreeMap::new();
        let mut hour = None;
        for row in usage {
            if hour != Some(row.start) {
                hour = Some(row.start);
                *shares.entry(Target::Idle).or_default() += rate * i128::from(row.capacity_ns);
            }
            let cost = rate * i128::from(row.busy_ns());
            *shares.entry(Target::Model(row.owner)).or_default() += cost;
            *shares.entry(Target::Idle).or_default() -= cost;
        }
        self.share_out(shares);
        self
    }

    /// The charge of a pool: `rate` for each unit of weight, shared by weight.
    pub(super) fn pool<'a>(
        mut self,
        rate: i128,
        usage: impl Iterator<Item = &'a Usage>,
        weight: fn(&Usage) -> i64,
    ) -> Self {
        let mut shares: BTreeMap<Target, i128> = BTreeMap::new();
        let mut quantity = 0;
        for row in usage {
            quantity += weight(row);
            *shares.entry(Target::Model(row.owner)).or_default() += rate * i128::from(weight(row));
        }
        self.quantity = Some(quantity);
        self.share_out(shares);
        self
    }

    fn share_out(&mut self, shares: BTreeMap<Target, i128>) {
        self.shares = shares
            .into_iter()
            .map(|(target, cost)| {
                (
                    target,
                    Amounts {
                        billed: cost,
                        effective: cost,
                    },
                )
            })
            .collect();
        self.amounts = Amounts::default();
        for (_, share) in &self.shares {
            self.amounts.add(*share);
        }
    }

    /// The day on which the charge counts.
    pub(super) fn day(&self) -> NaiveDate {
        chrono::DateTime::from_timestamp_micros(self.start)
            .map_or(self.period, |time| time.date_naive())
    }

    pub(super) fn invoice_id(&self) -> String {
        format!("{}-{}", self.issuer.prefix, self.period.format("%Y%m"))
    }
}

/// The first day of a day's month, and of the month after.
pub(super) fn month(day: NaiveDate) -> (NaiveDate, NaiveDate) {
    let first = day.with_day(1).unwrap_or(day);
    (
        first,
        first.checked_add_months(Months::new(1)).unwrap_or(first),
    )
}

/// µs since the epoch at which the day begins.
pub(super) fn midnight(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros()
}

//! Owned charges and allocations for tests.
#![allow(clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::ProptestConfig;

use super::{
    Allocation, Attributor, Basis, Category, Charge, DriverRow, DriverTable, Routing, Rule, Stage,
    Summary, Target,
};
use crate::money::{Currency, Money};

/// Generated cases per property: 10,000, or as many as the environment's `PROPTEST_CASES` says.
pub(super) fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(10_000),
    }
}

pub(super) const HOUR: i64 = 3_600_000_000;
pub(super) const DAY: i64 = 24 * HOUR;

pub(super) type Tags = Vec<(String, String)>;

pub(super) fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|pair| (pair.0.to_owned(), pair.1.to_owned()))
        .collect()
}

pub(super) fn money(text: &str) -> Money {
    Money::parse(text)
        .map(|read| read.0)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[derive(Debug, Clone)]
pub(super) struct Bill {
    pub row_id: String,
    pub period: (i64, i64),
    pub billing_period: String,
    pub currency: &'static str,
    pub invoice: Option<String>,
    pub issuer: Option<String>,
    pub account: Option<String>,
    pub resource: Option<String>,
    pub service: Option<String>,
    pub charge_category: &'static str,
    pub tags: Tags,
    pub category: Category,
    pub billed: Money,
    pub effective: Money,
    pub allocated_method: Option<String>,
    pub allocated_tags: Tags,
    pub columns: BTreeMap<String, String>,
}

impl Bill {
    /// A usage row of the first day, billed as it is effective.
    pub fn new(row_id: &str, amount: &str) -> Self {
        Self {
            row_id: row_id.to_owned(),
            period: (0, DAY),
            billing_period: "1970-01".to_owned(),
            currency: "USD",
            invoice: Some("inv".to_owned()),
            issuer: Some("issuer".to_owned()),
            account: Some("account".to_owned()),
            resource: None,
            service: None,
            charge_category: "Usage",
            tags: Vec::new(),
            category: Category::Compute,
            billed: money(amount),
            effective: money(amount),
            allocated_method: None,
            allocated_tags: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    pub fn on(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    pub fn tagged(mut self, pairs: &[(&str, &str)]) -> Self {
        self.tags = tags(pairs);
        self
    }

    pub fn kind(mut self, charge_category: &'static str) -> Self {
        self.charge_category = charge_category;
        self
    }

    pub fn charge(&self) -> Charge<'_> {
        Charge {
            row_id: &self.row_id,
            period_start: self.period.0,
            period_end: self.period.1,
            billing_period: &self.billing_period,
            currency: Currency::parse(self.currency).unwrap_or_else(|error| panic!("{error}")),
            invoice_id: self.invoice.as_deref(),
            invoice_issuer: self.issuer.as_deref(),
            billing_account_id: self.account.as_deref(),
            resource_id: self.resource.as_deref(),
            service_name: self.service.as_deref(),
            charge_category: self.charge_category,
            tags: &self.tags,
            category: self.category,
            stage: None,
            billed: self.billed,
            effective: self.effective,
            allocated_method_id: self.allocated_method.as_deref(),
            allocated_tags: &self.allocated_tags,
            columns: &self.columns,
        }
    }
}

/// An allocation as a table would hold it: `to` is model/version/stage, `idle`, or `unallocated: reason`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Out {
    pub row_id: String,
    pub basis: Basis,
    pub to: String,
    /// Idle of a pool, which the allocation basis moves.
    pub pooled: bool,
    pub category: Category,
    pub charge_category: String,
    pub issuer: Option<String>,
    pub day: i32,
    pub billing_period: String,
    pub currency: String,
    pub rule: String,
    pub rule_version: String,
    pub driver: Option<String>,
    pub via: Option<String>,
    pub weight: (u128, u128),
    pub billed: i128,
    pub effective: i128,
}

impl From<&Allocation<'_>> for Out {
    fn from(row: &Allocation<'_>) -> Self {
        let to = match row.target {
            Target::Model(to) => match &to.version {
                Some(version) => format!("{}/{version}/{}", to.model, to.stage),
                None => format!("{}//{}", to.model, to.stage),
            },
            Target::Idle { .. } | Target::IdlePools => "idle".to_owned(),
            Target::Unallocated { reason } => format!("unallocated: {}", reason.as_str()),
        };
        Self {
            row_id: row.row_id.to_owned(),
            basis: row.basis,
            to,
            pooled: matches!(
                row.target,
                Target::Idle { pool: Some(_) } | Target::IdlePools
            ),
            category: row.category,
            charge_category: row.charge_category.to_owned(),
            issuer: row.issuer.map(str::to_owned),
            day: row.day,
            billing_period: row.billing_period.to_owned(),
            currency: row.currency.to_string(),
            rule: row.rule.to_owned(),
            rule_version: row.rule_version.to_owned(),
            driver: row.driver.map(str::to_owned),
            via: row.via.map(str::to_owned),
            weight: (row.weight, row.weight_total),
            billed: row.billed.0,
            effective: row.effective.0,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Use {
    pub driver: &'static str,
    pub resource: Option<String>,
    pub start: i64,
    pub model: String,
    pub stage: Option<Stage>,
    pub weight: u64,
    pub reserved: Option<u64>,
    pub capacity: Option<u64>,
}

pub(super) fn tables(rows: &[Use]) -> BTreeMap<String, DriverTable> {
    let table = |driver: &'static str| {
        let mut builder = DriverTable::builder();
        for row in rows.iter().filter(|row| row.driver == driver) {
            builder.push(&DriverRow {
                resource_id: row.resource.as_deref(),
                start: row.start,
                end: row.start + HOUR,
                model: &row.model,
                version: None,
                stage: row.stage,
                weight: row.weight,
                reserved: row.reserved,
                capacity: row.capacity,
            });
        }
        (driver.to_owned(), builder.finish())
    };
    [
        "gpu_ns",
        "cpu_ns",
        "bytes",
        "requests",
        "timesheet",
        "runs",
        "run_time",
    ]
    .map(table)
    .into()
}

pub(super) fn run(rules: &[Rule], uses: &[Use], bills: &[Bill]) -> (Vec<Out>, Summary) {
    run_with(&rules.to_vec().into(), uses, bills)
}

pub(super) fn run_with(routing: &Routing, uses: &[Use], bills: &[Bill]) -> (Vec<Out>, Summary) {
    let models = ["A", "B", "C"].map(str::to_owned);
    let mut out = Vec::new();
    let mut sink = |row: &Allocation<'_>| {
        out.push(Out::from(row));
        Ok(())
    };
    let mut attributor =
        Attributor::new(routing, tables(uses), &models).unwrap_or_else(|error| panic!("{error}"));
    for bill in bills {
        attributor.expect(&bill.charge());
    }
    for bill in bills {
        let done = attributor.push(&bill.charge(), &mut sink);
        done.unwrap_or_else(|error| panic!("{error}"));
    }
    let summary = attributor
        .finish(&mut sink)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(summary.allocations, out.len() as u64);
    (out, summary)
}

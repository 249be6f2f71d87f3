//! What goes in, one [`Charge`] per bill row, and what comes out, [`Allocation`]s.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::target::{Category, Stage, Target};
use crate::money::{Currency, Money};

/// A boxed error of whoever receives allocations.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Receives allocations; an error stops the run.
pub type Sink<'s> = dyn FnMut(&Allocation<'_>) -> Result<(), BoxError> + 's;

/// The columns of a charge that rules may read beyond the fields of [`Charge`].
pub trait Columns {
    /// The value as text; `None` when it is null or there is no such column.
    fn column(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// No further columns.
impl Columns for () {
    fn column(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}

impl Columns for BTreeMap<String, String> {
    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

/// One bill row, borrowed from the batch it was read in. Texts are null (`None`) rather than blank.
#[derive(Clone, Copy)]
pub struct Charge<'a> {
    pub row_id: &'a str,
    /// Charge period `[start, end)`, µs since the epoch, UTC.
    pub period_start: i64,
    pub period_end: i64,
    /// Passed through; its text order is the order in which parts of an idle pool are split.
    pub billing_period: &'a str,
    pub currency: Currency,
    pub invoice_id: Option<&'a str>,
    pub invoice_issuer: Option<&'a str>,
    pub billing_account_id: Option<&'a str>,
    pub resource_id: Option<&'a str>,
    pub service_name: Option<&'a str>,
    /// FOCUS `ChargeCategory`: Usage, Purchase, Tax, Credit, Adjustment.
    pub charge_category: &'a str,
    pub tags: &'a [(String, String)],
    pub category: Category,
    /// What the cost was for, where tags name a model and no stage.
    pub stage: Option<Stage>,
    pub billed: Money,
    pub effective: Money,
    /// Set when the provider split the row already.
    pub allocated_method_id: Option<&'a str>,
    pub allocated_tags: &'a [(String, String)],
    pub columns: &'a dyn Columns,
}

/// The two sets of rows that one stream carries; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    Usage,
    /// Moves idle to what was busy; adds up to zero per pool.
    Allocation,
}

impl Basis {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Allocation => "allocation",
        }
    }
}

/// A part of a charge, at its target.
#[derive(Debug, Clone, Copy)]
pub struct Allocation<'a> {
    /// The charge's; for [`Basis::Allocation`] the idle pool's, made of rule, resource, period and currency.
    pub row_id: &'a str,
    /// Days since 1970-01-01 of the charge period's start.
    pub day: i32,
    pub billing_period: &'a str,
    pub currency: Currency,
    /// Who sent the bill; of idle that moves on, the bill that it was on.
    pub issuer: Option<&'a str>,
    pub target: &'a Target,
    pub category: Category,
    /// The charge's, as the bill has it; `Usage` of idle that moves on.
    pub charge_category: &'a str,
    /// The rule that decided; empty when none matched.
    pub rule: &'a str,
    pub rule_version: &'a str,
    /// What weighed the parts: a driver table, `shares`, `even`, `tax base`, `credit base`; `None` for a whole row.
    pub driver: Option<&'a str>,
    /// The cost pools that the part came through, as JSON; see [`step_down`](super::step_down). `None`: none.
    pub via: Option<&'a str>,
    /// The part's weight and the sum of all; 1 of 1 for a whole row.
    pub weight: u128,
    pub weight_total: u128,
    pub billed: Money,
    pub effective: Money,
    pub basis: Basis,
}

//! `[[sources]]`: where an export lies, what it holds and how to read it.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::TimeSpan;
use super::parse::expand_env;
use crate::error::{Error, Result};

/// What an export holds; each kind feeds one canonical table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Clickstream.
    Events,
    /// Catalogue snapshots.
    Items,
    /// User snapshots.
    Users,
    /// Telemetry: resource × model × interval.
    Usage,
    /// Bills and the finance ledger.
    Charges,
    /// Exchange rates.
    #[serde(rename = "exchange_rates")]
    ExchangeRates,
    /// What the issuers' invoices ask for, to hold the bills against.
    Invoices,
    /// What was committed to spend or use, to hold the bills against.
    Commitments,
}

impl Kind {
    /// All kinds, in the order in which they are ingested.
    pub const ALL: [Kind; 8] = [
        Kind::Events,
        Kind::Items,
        Kind::Users,
        Kind::Usage,
        Kind::Charges,
        Kind::ExchangeRates,
        Kind::Invoices,
        Kind::Commitments,
    ];

    /// Whether it says what is to be paid.
    pub fn is_billing(self) -> bool {
        matches!(self, Kind::Charges | Kind::Invoices | Kind::Commitments)
    }

    /// The canonical table that this kind feeds.
    pub fn table(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Items => "items",
            Kind::Users => "users",
            Kind::Usage => "usage",
            Kind::Charges => "charges",
            Kind::ExchangeRates => "exchange_rates",
            Kind::Invoices => "invoices",
            Kind::Commitments => "commitments",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table())
    }
}

/// One export of the shop or of a cloud.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The source's name, unique in the file.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Path of its files; `{date}` (a day) or `{period}` (a month, `YYYY-MM`) selects the interval, `*` matches within one name.
    pub path: String,
    /// The SQL mapping `sources/<kind>/<dialect>.sql`.
    pub dialect: String,
    /// Of charges: whether a newer delivery replaces the one before it or adds to it.
    #[serde(default)]
    pub export: Export,
    /// Of charges: path of the manifest that says when a delivery is complete; with the placeholders of `path`.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Of charges: how a path without a placeholder is divided; by default not at all.
    #[serde(default)]
    pub interval: Option<Every>,
    /// The share of rows that may be quarantined before the run fails; by default 0.01, and 0 for charges, invoices and
    /// commitments.
    #[serde(default)]
    pub max_rejected: Option<f64>,
    /// Whether a bill of this source may come again with an issuer or half of an issuer's rows gone; by default not.
    #[serde(default)]
    pub may_shrink: bool,
    /// Whether a column that the dialect reads may come with a narrower type than before; by default not.
    #[serde(default)]
    pub may_narrow: bool,
    /// Intervals, such as `2026-10-31` or `2026-10`, that count no longer: the next run removes what they brought.
    #[serde(default)]
    pub withdrawn: Vec<String>,
    /// How long after the end of its day an export is expected, or how old the newest file of one without days may be.
    #[serde(default)]
    pub late_after: Option<TimeSpan>,
    /// Whether a missing night of this source stops the run; by default yes.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

/// What a newer delivery of an interval does to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Export {
    /// The newest complete one counts.
    #[default]
    Overwrite,
    /// All of them count.
    Append,
}

/// How the rows of one growing export are divided into intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// By billing period: each month of the window takes its own rows of the same files.
    Month,
}

/// The interval that a path pattern selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// `{date}`: one folder or file a day.
    Day,
    /// `{period}`: one a billing period.
    Month,
    /// Neither: one growing export.
    Whole,
}

impl Source {
    /// The interval that the path selects.
    pub fn interval(&self) -> Interval {
        if self.path.contains("{date}") {
            Interval::Day
        } else if self.path.contains("{period}") || self.interval == Some(Every::Month) {
            Interval::Month
        } else {
            Interval::Whole
        }
    }

    /// Whether the pipeline file says that an interval counts no longer.
    pub fn withdraws(&self, interval: &str) -> bool {
        self.withdrawn.iter().any(|w| w == interval)
    }

    /// The share of rows that may be quarantined.
    pub fn rejection_limit(&self) -> f64 {
        self.max_rejected
            .unwrap_or(if self.kind.is_billing() { 0.0 } else { 0.01 })
    }

    pub(super) fn resolve(&mut self, home: &Path) -> Result<()> {
        let name = &self.name;
        for pattern in std::iter::once(&mut self.path).chain(&mut self.manifest) {
            let path = expand_env(pattern).map_err(|e| e.context(format!("source `{name}`")))?;
            if path.contains("://") {
                return Err(Error::config(format!(
                    "source `{name}`: {path} is on an object store, which this version cannot read"
                ))
                .help("copy or mount the files on a local disk"));
            }
            *pattern = home.join(path).to_string_lossy().into_owned();
        }
        Ok(())
    }

    /// Whether an interval of this source can have this name.
    fn has_interval(&self, name: &str) -> bool {
        let day = |text: &str| text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok();
        match self.interval() {
            Interval::Day => day(name),
            Interval::Month => day(&format!("{name}-01")),
            Interval::Whole => name == "whole",
        }
    }

    /// What of the keys does not go together.
    pub(super) fn contradiction(&self) -> Option<String> {
        let name = &self.name;
        if self.path.contains("{date}") && self.path.contains("{period}") {
            return Some(format!(
                "source `{name}` has both {{date}} and {{period}} in its path"
            ));
        }
        if !(0.0..=1.0).contains(&self.rejection_limit()) {
            return Some(format!(
                "source `{name}`: max_rejected is a share between 0 and 1"
            ));
        }
        if let Some(wrong) = self.withdrawn.iter().find(|w| !self.has_interval(w)) {
            return Some(format!(
                "source `{name}`: `withdrawn` names {wrong:?}, and the source is divided into {}",
                match self.interval() {
                    Interval::Day => "days, such as \"2026-10-31\"",
                    Interval::Month => "months, such as \"2026-10\"",
                    Interval::Whole => "nothing: its one interval is \"whole\"",
                }
            ));
        }
        if self.kind != Kind::Charges {
            let set = [
                ("export", self.export != Export::Overwrite),
                ("manifest", self.manifest.is_some()),
                ("interval", self.interval.is_some()),
            ];
            return set.iter().find(|(_, set)| *set).map(|(key, _)| {
                format!("source `{name}`: `{key}` is for sources of the kind charges")
            });
        }
        if self.interval.is_some() && self.path.contains('{') {
            return Some(format!(
                "source `{name}`: `interval` is for a path without {{date}} and {{period}}, which divide it already"
            ));
        }
        let manifest = self.manifest.as_ref()?;
        ["{date}", "{period}"]
            .iter()
            .find(|p| self.path.contains(**p) != manifest.contains(**p))
            .map(|p| {
                format!("source `{name}`: {p} must be in both `path` and `manifest`, or in neither")
            })
    }
}

//! `[[sources]]`: where an export lies, what it holds and how to read it.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

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
}

impl Kind {
    /// All kinds, in the order in which they are ingested.
    pub const ALL: [Kind; 6] = [
        Kind::Events,
        Kind::Items,
        Kind::Users,
        Kind::Usage,
        Kind::Charges,
        Kind::ExchangeRates,
    ];

    /// The canonical table that this kind feeds.
    pub fn table(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Items => "items",
            Kind::Users => "users",
            Kind::Usage => "usage",
            Kind::Charges => "charges",
            Kind::ExchangeRates => "exchange_rates",
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
    /// The share of rows that may be quarantined before the run fails; by default 0.01, and 0 for charges.
    #[serde(default)]
    pub max_rejected: Option<f64>,
    /// Whether a bill of this source may come again with an issuer or half of an issuer's rows gone; by default not.
    #[serde(default)]
    pub may_shrink: bool,
    /// Whether a missing night of this source stops the run; by default yes.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
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
        } else if self.path.contains("{period}") {
            Interval::Month
        } else {
            Interval::Whole
        }
    }

    /// The share of rows that may be quarantined.
    pub fn rejection_limit(&self) -> f64 {
        self.max_rejected.unwrap_or(if self.kind == Kind::Charges {
            0.0
        } else {
            0.01
        })
    }

    pub(super) fn resolve(&mut self, home: &Path) -> Result<()> {
        let path =
            expand_env(&self.path).map_err(|e| e.context(format!("source `{}`", self.name)))?;
        if path.contains("://") {
            return Err(Error::config(format!(
                "source `{}`: {path} is on an object store, which this version cannot read",
                self.name
            ))
            .help("copy or mount the files on a local disk"));
        }
        self.path = home.join(path).to_string_lossy().into_owned();
        Ok(())
    }
}

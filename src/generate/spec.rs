//! What to generate: sizes, dates, seed and fault rates.

use std::path::PathBuf;

use chrono::{Datelike, Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::error::GenerateError;

/// Most rows of one events file, planted copies not counted.
const ROWS_PER_FILE: u64 = 500_000;

/// A size that needs no further thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// 2,000 users, 500 items, 60,000 events over 14 days: a second or two.
    Small,
    /// 50,000 users, 20,000 items, 2 million events over 7 days.
    Medium,
    /// 1 million users, 100,000 items, 20 million events over 7 days.
    Large,
}

/// Shares of events that get a planted fault; each event gets at most one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Events delivered more than once within a day's export, byte for byte the same.
    pub duplicates: f64,
    /// Events of which one more copy arrives in the next day's export.
    pub redelivered: f64,
    /// Events whose `event_time` lies one or two days before the export that carries them.
    pub late: f64,
    /// Events with one value that breaks the contract, spread evenly over the kinds of [`super::Malformed`].
    pub malformed: f64,
    /// Events of an item that the catalogue lacks. Unusual, yet not an error.
    pub unknown_item: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            duplicates: 0.002,
            redelivered: 0.000_2,
            late: 0.005,
            malformed: 0.000_5,
            unknown_item: 0.000_1,
        }
    }
}

impl Rates {
    /// No faults at all.
    pub const NONE: Self = Self {
        duplicates: 0.0,
        redelivered: 0.0,
        late: 0.0,
        malformed: 0.0,
        unknown_item: 0.0,
    };
}

/// Everything that decides the exports. The same specification (threads and folder apart) gives the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Folder to write to.
    #[serde(skip)]
    pub out: PathBuf,
    /// Users that exist, 10 to 50 million. Not all of them visit.
    pub users: u64,
    /// Items in the catalogue, 20 to 5 million.
    pub items: u64,
    /// Distinct events, planted copies not counted.
    pub events: u64,
    /// Days of exports, 1 to 366.
    pub days: u32,
    /// The last day.
    pub end: NaiveDate,
    /// Names the random streams.
    pub seed: u64,
    /// Fault rates.
    pub rates: Rates,
    /// Worker threads; 0 takes one per core. Has no effect on the bytes.
    #[serde(skip)]
    pub threads: usize,
}

impl Spec {
    /// The specification of a preset, with the usual fault rates.
    pub fn preset(scale: Scale, out: impl Into<PathBuf>, end: NaiveDate, seed: u64) -> Self {
        let (users, items, events, days) = match scale {
            Scale::Small => (2_000, 500, 60_000, 14),
            Scale::Medium => (50_000, 20_000, 2_000_000, 7),
            Scale::Large => (1_000_000, 100_000, 20_000_000, 7),
        };
        Self {
            out: out.into(),
            users,
            items,
            events,
            days,
            end,
            seed,
            rates: Rates::default(),
            threads: 0,
        }
    }

    /// The first day.
    pub fn start(&self) -> NaiveDate {
        self.end
            .checked_sub_days(Days::new(u64::from(self.days.saturating_sub(1))))
            .unwrap_or(NaiveDate::MIN)
    }

    /// Every day, first to last.
    pub fn dates(&self) -> impl Iterator<Item = NaiveDate> {
        self.start().iter_days().take(self.days as usize)
    }

    /// The index of the first day on which `home-als` serves its new version.
    pub(super) fn upgrade_day(&self) -> u32 {
        self.days / 2
    }

    /// Distinct events of the day with this index: an even share, the remainder on the first days.
    pub(super) fn events_of_day(&self, day: u32) -> u64 {
        share(self.events, u64::from(self.days), u64::from(day))
    }

    /// Files of one day's events.
    pub(super) fn files_per_day(&self) -> u32 {
        u32::try_from(self.events_of_day(0).div_ceil(ROWS_PER_FILE).max(1)).unwrap_or(u32::MAX)
    }

    /// How many times the smallest bill this shop's bill is: grows with the square root of the traffic.
    pub(super) fn bill_size(&self) -> i64 {
        i64::try_from((self.events_of_day(0) / 4_000).isqrt().max(1)).unwrap_or(1)
    }

    pub(super) fn validate(&self) -> Result<(), GenerateError> {
        let within = |field, value: u64, low: u64, high: u64, wanted| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(GenerateError::Spec {
                    field,
                    value: value.to_string(),
                    wanted,
                })
            }
        };
        within("users", self.users, 10, 50_000_000, "10 to 50,000,000")?;
        within("items", self.items, 20, 5_000_000, "20 to 5,000,000")?;
        within("days", u64::from(self.days), 1, 366, "1 to 366")?;
        within(
            "events",
            self.events,
            u64::from(self.days) * 10,
            10_000_000_000,
            "at least 10 a day and at most 10,000,000,000",
        )?;
        if !(2000..=2100).contains(&self.end.year()) {
            return Err(GenerateError::Spec {
                field: "end",
                value: self.end.to_string(),
                wanted: "a date in the years 2000 to 2100",
            });
        }
        let rates = [
            ("rates.duplicates", self.rates.duplicates),
            ("rates.redelivered", self.rates.redelivered),
            ("rates.late", self.rates.late),
            ("rates.malformed", self.rates.malformed),
            ("rates.unknown_item", self.rates.unknown_item),
        ];
        for (field, rate) in rates {
            // Malformed purchases are drawn more often than the rate so that every kind turns up; 0.02 keeps their share below one.
            let most = if field == "rates.malformed" {
                0.02
            } else {
                0.2
            };
            if !(0.0..=most).contains(&rate) {
                let wanted = if field == "rates.malformed" {
                    "0 to 0.02"
                } else {
                    "0 to 0.2"
                };
                return Err(GenerateError::Spec {
                    field,
                    value: rate.to_string(),
                    wanted,
                });
            }
        }
        Ok(())
    }
}

/// Part `index` of `total` in `parts` nearly equal parts; the first ones take the remainder.
pub(super) fn share(total: u64, parts: u64, index: u64) -> u64 {
    total / parts + u64::from(index < total % parts)
}

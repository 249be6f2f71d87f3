//! Which events get a planted fault, and of what kind.

use serde::{Deserialize, Serialize};

use super::sessions::Action;
use super::spec::Rates;
use super::stream::Stream;

/// One value that breaks the contract of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// `user_id` is null.
    NullUser,
    /// `event_type` is a word that the contract does not know.
    UnknownEventType,
    /// `event_time` is null.
    NullTime,
    /// `event_time` lies in 1970 or in 2150.
    TimeOutOfRange,
    /// `item_id` is null on a view, click, cart or purchase.
    MissingItem,
    /// `price` is negative.
    NegativePrice,
    /// `currency` is `XXX1`.
    BadCurrency,
    /// `quantity` is 0 on a purchase.
    ZeroQuantity,
}

impl Malformed {
    /// Every kind; the first four can befall any event, the next three only one that names an item, the last only a purchase.
    pub const ALL: [Self; 8] = [
        Self::NullUser,
        Self::UnknownEventType,
        Self::NullTime,
        Self::TimeOutOfRange,
        Self::MissingItem,
        Self::NegativePrice,
        Self::BadCurrency,
        Self::ZeroQuantity,
    ];

    /// The column whose value is wrong.
    pub fn column(self) -> &'static str {
        match self {
            Self::NullUser => "user_id",
            Self::UnknownEventType => "event_type",
            Self::NullTime | Self::TimeOutOfRange => "event_time",
            Self::MissingItem => "item_id",
            Self::NegativePrice => "price",
            Self::BadCurrency => "currency",
            Self::ZeroQuantity => "quantity",
        }
    }

    /// The kind's name in the truth, for example `null_user`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NullUser => "null_user",
            Self::UnknownEventType => "unknown_event_type",
            Self::NullTime => "null_time",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::MissingItem => "missing_item",
            Self::NegativePrice => "negative_price",
            Self::BadCurrency => "bad_currency",
            Self::ZeroQuantity => "zero_quantity",
        }
    }
}

/// What is wrong with one event, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Written this many times more in the same file.
    Duplicate(u8),
    /// Written once more in the next day's export.
    Redelivered,
    /// Its time is shifted back by this many days.
    Late(u8),
    /// Its item is not in the catalogue.
    UnknownItem,
    Malformed(Malformed),
}

/// Share of events that name an item and a price, and of purchases: what the sessions come to. A kind of fault that only these
/// can have is drawn that much more often among them, so that all kinds are about equally frequent.
const PRICED_SHARE: f64 = 0.40;
const PURCHASE_SHARE: f64 = 0.0144;

/// Draws faults.
pub(super) struct Faults {
    rates: Rates,
    /// Days by which an event of this export may be late: none on the first day, one on the second.
    latest: u8,
    /// Whether there is a next day to redeliver in.
    redeliver: bool,
}

impl Faults {
    pub(super) fn new(rates: Rates, day: u32, days: u32) -> Self {
        Self {
            rates,
            latest: day.min(2) as u8,
            redeliver: day + 1 < days,
        }
    }

    /// The fault of one event; one random number unless there is one.
    pub(super) fn draw(&self, action: Action, stream: &mut Stream) -> Fault {
        let mut coin = stream.unit();
        let mut hit = |rate: f64| {
            coin -= rate;
            coin < 0.0
        };
        if self.latest > 0 && hit(self.rates.late) {
            return Fault::Late(1 + stream.below(u64::from(self.latest)) as u8);
        }
        if hit(self.rates.duplicates) {
            return Fault::Duplicate(if stream.chance(0.1) { 2 } else { 1 });
        }
        if self.redeliver && hit(self.rates.redelivered) {
            return Fault::Redelivered;
        }
        let each = self.rates.malformed / Malformed::ALL.len() as f64;
        for kind in &Malformed::ALL[..4] {
            if hit(each) {
                return Fault::Malformed(*kind);
            }
        }
        if action.is_priced() {
            for kind in &Malformed::ALL[4..7] {
                if hit(each / PRICED_SHARE) {
                    return Fault::Malformed(*kind);
                }
            }
            if action == Action::Purchase && hit(each / PURCHASE_SHARE) {
                return Fault::Malformed(Malformed::ZeroQuantity);
            }
        }
        if action == Action::View && hit(self.rates.unknown_item / PRICED_SHARE) {
            return Fault::UnknownItem;
        }
        Fault::None
    }
}

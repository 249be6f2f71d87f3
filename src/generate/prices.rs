//! What things cost, as integers: amounts are units of 10⁻¹⁸ USD.
//!
//! Every rate is a whole multiple of 10 per unit of weight, so that a row's cost is `rate × Σ weights`, each share is `rate × weight`, and a
//! tax of one tenth falls on each share without a remainder: the truth needs no rounding, whoever computes it. Rates named
//! "at size 1" grow with [`super::spec::Spec::bill_size`].

/// One US cent.
const CENT: i128 = 10_000_000_000_000_000;

/// GPU node, per GPU nanosecond of capacity at size 1: 0.10 USD an hour.
pub(super) const GPU_NS: i128 = 27_780;
/// Serving fleet, per core nanosecond of capacity at size 1: half a cent an hour.
pub(super) const CPU_NS: i128 = 1_390;
/// Object storage, per byte and hour.
pub(super) const BYTE_HOUR: i128 = 500_000;
/// Edge gateway, per request.
pub(super) const REQUEST: i128 = 100_000_000_000_000;

/// A tax of one tenth.
pub(super) const TAX_DIVISOR: i128 = 10;

/// Fixed daily and monthly amounts at size 1.
pub(super) struct Fixed {
    size: i128,
}

impl Fixed {
    pub(super) fn new(size: i64) -> Self {
        Self {
            size: i128::from(size),
        }
    }

    /// This many cents at size 1.
    pub(super) fn cents(&self, cents: i128) -> i128 {
        cents * CENT * self.size
    }

    /// A rate at size 1, grown.
    pub(super) fn rate(&self, rate: i128) -> i128 {
        rate * self.size
    }
}

/// An amount as a decimal number with 18 digits after the point.
pub(super) fn decimal_text(amount: i128) -> String {
    let (sign, size) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
    format!(
        "{sign}{}.{:018}",
        size / 10u128.pow(18),
        size % 10u128.pow(18)
    )
}

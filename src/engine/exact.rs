//! The SQL functions that compute with money. DataFusion's own multiplication and division of decimals round where they run out
//! of places; these give the amount that is nearest to the exact one at scale 18, half-even.

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, UInt64Type};
use chrono::{Months, NaiveDate};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use crate::error::Error;
use crate::money::{Currency, Money, MoneyError};
use crate::warehouse::Type;

/// A function whose result is an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Exact {
    Per,
    Ratio,
    Times,
    Depreciated,
    InvoiceTolerance,
}

impl Exact {
    pub(super) const ALL: [Exact; 5] = [
        Exact::Per,
        Exact::Ratio,
        Exact::Times,
        Exact::Depreciated,
        Exact::InvoiceTolerance,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Exact::Per => "per",
            Exact::Ratio => "ratio",
            Exact::Times => "times",
            Exact::Depreciated => "depreciated",
            Exact::InvoiceTolerance => "invoice_tolerance",
        }
    }

    pub(super) fn arguments(self) -> usize {
        match self {
            Exact::Per => 3,
            Exact::Depreciated => 4,
            Exact::Ratio | Exact::Times | Exact::InvoiceTolerance => 2,
        }
    }

    /// The function, row by row; null where an argument is.
    pub(super) fn call(self, args: &[ColumnarValue]) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let types: &[DataType] = match self {
            Exact::Per => &[Type::Money.arrow(), DataType::UInt64, DataType::UInt64],
            Exact::Ratio | Exact::Times => &[Type::Money.arrow(), Type::Money.arrow()],
            Exact::Depreciated => &[
                Type::Money.arrow(),
                DataType::Date32,
                DataType::UInt64,
                DataType::Date32,
            ],
            Exact::InvoiceTolerance => &[DataType::Utf8View, DataType::UInt64],
        };
        let mut given: Vec<ArrayRef> = vec![];
        for (array, ty) in arrays.iter().zip(types) {
            given.push(cast(array, ty)?);
        }
        if given.len() != types.len() {
            return exec_err!("{}() takes {} arguments", self.name(), types.len());
        }
        let amount = |row: usize| -> Result<Option<i128>> {
            if given.iter().any(|a| a.is_null(row)) {
                return Ok(None);
            }
            let amount = self.of(&given, row);
            let amount = amount.map_err(|e| Error::check(format!("{}(): {e}", self.name())))?;
            Ok(amount.map(|m| m.0))
        };
        let rows = given.first().map_or(0, Array::len);
        let amounts = (0..rows).map(amount).collect::<Result<Decimal128Array>>()?;
        let amounts = amounts.with_data_type(Type::Money.arrow());
        let scalar = args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&amounts, 0)?)
        } else {
            ColumnarValue::Array(std::sync::Arc::new(amounts))
        })
    }

    fn of(self, given: &[ArrayRef], row: usize) -> std::result::Result<Option<Money>, MoneyError> {
        let money = |at: usize| Money(given[at].as_primitive::<Decimal128Type>().value(row));
        let count = |at: usize| given[at].as_primitive::<UInt64Type>().value(row);
        let day = |at: usize| {
            let days = given[at].as_primitive::<Date32Type>().value(row);
            Date32Type::to_naive_date_opt(days)
        };
        match self {
            Exact::Per => money(0).per(count(1), count(2)),
            // 38 digits is what the type holds.
            Exact::Ratio => Ok(money(0)
                .over(money(1))
                .filter(|ratio| ratio.0.unsigned_abs() < 10_u128.pow(38))),
            Exact::Times => money(0).times(money(1)).map(Some),
            Exact::Depreciated => match (day(1), day(3)) {
                (Some(from), Some(until)) => depreciated(money(0), from, count(2), until),
                _ => Ok(None),
            },
            Exact::InvoiceTolerance => {
                let currency = Currency::parse(given[0].as_string_view().value(row))?;
                Ok(Some(invoice_tolerance(currency, count(1))))
            }
        }
    }
}

/// What of `amount` is written off by the start of `until`, straight-line over `months` from the day `from`: each month of the
/// life, counted from that day, has the same share, and within it each day. Nothing before, all of it after; null where the
/// life is empty. As every day's cost is the difference of two such sums, the days add up to the amount exactly.
fn depreciated(
    amount: Money,
    from: NaiveDate,
    months: u64,
    until: NaiveDate,
) -> std::result::Result<Option<Money>, MoneyError> {
    let after = |n: u64| from.checked_add_months(Months::new(u32::try_from(n).ok()?));
    let (Some(end), true) = (after(months), months > 0) else {
        return Ok(None);
    };
    if until <= from {
        return Ok(Some(Money::ZERO));
    }
    if until >= end {
        return Ok(Some(amount));
    }
    // Months are 28 to 31 days long, so the number of whole ones is known but for one.
    let days = (until - from).num_days().unsigned_abs();
    let mut whole = days / 31;
    while after(whole + 1).is_some_and(|d| d <= until) {
        whole += 1;
    }
    let (Some(start), Some(next)) = (after(whole), after(whole + 1)) else {
        return Ok(None);
    };
    let length = (next - start).num_days().unsigned_abs();
    let passed = (until - start).num_days().unsigned_abs();
    amount.per(whole * length + passed, months * length)
}

/// By how much the charges of an invoice may differ from it: 100 minor units, or half a minor unit times the square root of
/// the number of charges where that is more (FOCUS 1.4, invoice reconciliation).
fn invoice_tolerance(currency: Currency, charges: u64) -> Money {
    let unit = Money::ONE.0 / 10_i128.pow(currency.digits());
    // The root to six places, rounded down.
    let root = (u128::from(charges) * 1_000_000_000_000).isqrt();
    let grown = unit / 2_000_000 * i128::try_from(root).unwrap_or(i128::MAX >> 64);
    Money(grown.max(100 * unit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap().0
    }

    #[test]
    fn a_life_that_starts_on_the_first_costs_the_same_each_calendar_month() {
        let by =
            |until: &str| depreciated(money("36000"), day("2026-10-01"), 36, day(until)).unwrap();
        assert_eq!(by("2026-10-01"), Some(Money::ZERO));
        assert_eq!(by("2026-11-01"), Some(money("1000")));
        assert_eq!(by("2027-03-01"), Some(money("5000")));
        // Half of February.
        assert_eq!(by("2027-02-15"), Some(money("4500")));
        assert_eq!(by("2029-10-01"), Some(money("36000")));
        assert_eq!(by("2035-01-01"), Some(money("36000")));
        assert_eq!(
            depreciated(money("1"), day("2026-10-01"), 0, day("2026-11-01")).unwrap(),
            None
        );
    }

    #[test]
    fn months_of_a_life_that_starts_on_the_31st_end_with_their_month() {
        let by = |until: &str| depreciated(money("3"), day("2026-01-31"), 3, day(until)).unwrap();
        assert_eq!(by("2026-02-28"), Some(money("1")));
        assert_eq!(by("2026-03-31"), Some(money("2")));
        assert_eq!(by("2026-04-30"), Some(money("3")));
    }

    #[test]
    fn the_tolerance_of_an_invoice_grows_with_the_root_of_its_charges() {
        let of = |code: &str, n| invoice_tolerance(Currency::parse(code).unwrap(), n).to_string();
        assert_eq!(of("USD", 20_000), "1");
        assert_eq!(of("USD", 40_000), "1");
        assert_eq!(of("USD", 1_000_000), "5");
        assert_eq!(of("JPY", 1_000_000), "500");
        assert_eq!(of("KWD", 4), "0.1");
        assert_eq!(of("USD", 2_000_000), "7.07106781");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_days_of_an_asset_add_up_to_it_and_none_is_negative(
            units in 0_i128..10_i128.pow(33),
            first in 0_i64..20_000,
            months in 1_u64..240,
        ) {
            let from = day("2000-01-01") + chrono::TimeDelta::days(first);
            let amount = Money(units);
            let end = from + Months::new(u32::try_from(months).unwrap());
            let (mut sum, mut before, mut at) = (0, Money::ZERO, from);
            while at < end {
                at += chrono::TimeDelta::days(1);
                let by = depreciated(amount, from, months, at).unwrap().unwrap();
                prop_assert!(by >= before);
                sum += by.0 - before.0;
                before = by;
            }
            prop_assert_eq!(sum, units);
        }
    }
}

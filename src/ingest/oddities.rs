//! What a bill may say and is worth a look all the same.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};

use crate::money::Money;

/// Counts of odd charges.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Oddities {
    /// Charges whose billed cost has decimals, purchases left out.
    precise: u64,
    /// Those of them whose effective cost is the same in whole units.
    rounded: u64,
    /// Purchases of what later charges use that have an effective cost of their own.
    prepaid: u64,
}

impl Oddities {
    /// Counts the rows of a batch of `charges`.
    pub fn look(&mut self, charges: &RecordBatch) {
        let money = |name: &str| {
            let column = charges.column_by_name(name)?;
            column.as_primitive_opt::<Decimal128Type>()
        };
        let text = |name: &str| charges.column_by_name(name)?.as_string_view_opt();
        let time = |name: &str| {
            let column = charges.column_by_name(name)?;
            column.as_primitive_opt::<TimestampMicrosecondType>()
        };
        let (Some(billed), Some(effective), Some(category), Some(commitment)) = (
            money("billed_cost"),
            money("effective_cost"),
            text("charge_category"),
            text("commitment_discount_id"),
        ) else {
            return;
        };
        let (Some(charged_until), Some(billed_until)) =
            (time("charge_period_end"), time("billing_period_end"))
        else {
            return;
        };
        for row in 0..charges.num_rows() {
            let (b, e) = (billed.value(row), effective.value(row));
            if category.value(row).trim().eq_ignore_ascii_case("purchase") {
                let later =
                    commitment.is_valid(row) || charged_until.value(row) > billed_until.value(row);
                self.prepaid += u64::from(later && e != 0);
            } else if b % Money::ONE.0 != 0 {
                self.precise += 1;
                let whole = e % Money::ONE.0 == 0 && (e - b).abs() < Money::ONE.0;
                self.rounded += u64::from(whole);
            }
        }
    }

    /// Adds the counts of another file.
    pub fn add(&mut self, other: Oddities) {
        self.precise += other.precise;
        self.rounded += other.rounded;
        self.prepaid += other.prepaid;
    }

    /// What to tell about an interval of a source.
    pub fn warnings(self, source: &str, interval: &str) -> Vec<String> {
        let mut told = vec![];
        // A single one may be what it says; most of a bill may not.
        if self.rounded * 2 > self.precise {
            told.push(format!(
                "source `{source}`, {interval}: {} of {} charges have an EffectiveCost in whole units beside a BilledCost \
                 with decimals; what is attributed is the EffectiveCost",
                self.rounded, self.precise
            ));
        }
        if self.prepaid > 0 {
            told.push(format!(
                "source `{source}`, {interval}: {} purchases that cover later charges have an EffectiveCost other than 0; \
                 with what they cover it counts twice",
                self.prepaid
            ));
        }
        told
    }
}

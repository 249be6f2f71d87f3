//! What a delivery of charges adds up to, by currency, and whether that is what its manifest says.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Decimal128Type;

use super::manifest::Manifest;
use super::quarantine::Rejected;
use crate::error::{Error, Result};
use crate::money::{Money, Residue};

/// Where the currency of a rejected charge cannot be read.
const UNKNOWN: &str = "unknown";

/// The charges of one currency; amounts in units of 10⁻¹⁸.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    pub rows: u64,
    pub billed: i128,
    pub effective: i128,
    pub rows_quarantined: u64,
    /// Of the rejected charges; none where one of them cannot be read.
    pub quarantined_billed: Option<i128>,
    pub quarantined_effective: Option<i128>,
    /// What the manifest says.
    pub stated_billed: Option<i128>,
    pub stated_effective: Option<i128>,
    /// What rounding took from the amounts while they were read; not kept.
    pub residues: [Residue; 2],
}

/// Sums by currency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<String, Amounts>);

impl Sums {
    /// Currencies and their sums.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Amounts)> {
        self.0.iter()
    }

    /// Sets the sums of a currency.
    pub fn put(&mut self, currency: String, amounts: Amounts) {
        self.0.insert(currency, amounts);
    }

    /// Adds the rows of a batch of `charges`.
    ///
    /// # Errors
    /// `Kind::Check` when a sum leaves the range of amounts.
    pub fn look(&mut self, charges: &RecordBatch) -> Result<()> {
        let money = |name: &str| {
            charges
                .column_by_name(name)?
                .as_primitive_opt::<Decimal128Type>()
        };
        let currency = charges.column_by_name("billing_currency");
        let (Some(billed), Some(effective), Some(currency)) = (
            money("billed_cost"),
            money("effective_cost"),
            currency.and_then(|c| c.as_string_view_opt()),
        ) else {
            return Ok(());
        };
        let roundings = ["billed_rounding", "effective_rounding"].map(money);
        for row in 0..charges.num_rows() {
            let code = currency.value(row);
            if !self.0.contains_key(code) {
                self.0.insert(code.to_string(), Amounts::default());
            }
            let Some(amounts) = self.0.get_mut(code) else {
                continue;
            };
            amounts.rows += 1;
            amounts.billed = plus(amounts.billed, billed.value(row))?;
            amounts.effective = plus(amounts.effective, effective.value(row))?;
            for (sum, residue) in amounts.residues.iter_mut().zip(roundings) {
                if let Some(residue) = residue.filter(|r| r.is_valid(row)) {
                    sum.0 = plus(sum.0, residue.value(row))?;
                }
            }
        }
        Ok(())
    }

    /// Adds a rejected charge.
    ///
    /// # Errors
    /// As [`Sums::look`].
    pub fn reject(&mut self, rejected: &Rejected) -> Result<()> {
        let read = rejected.amounts.clone().unwrap_or_default();
        let currency = read.currency.unwrap_or_else(|| UNKNOWN.into());
        let amounts = self.0.entry(currency).or_default();
        let first = amounts.rows_quarantined == 0;
        amounts.rows_quarantined += 1;
        for (sum, more) in [
            (&mut amounts.quarantined_billed, read.billed),
            (&mut amounts.quarantined_effective, read.effective),
        ] {
            let before = if first { Some(0) } else { *sum };
            *sum = before.zip(more).map(|(a, b)| plus(a, b)).transpose()?;
        }
        Ok(())
    }

    /// Adds the sums of another file.
    ///
    /// # Errors
    /// As [`Sums::look`].
    pub fn add(&mut self, other: &Sums) -> Result<()> {
        for (currency, more) in &other.0 {
            let sums = self.0.entry(currency.clone()).or_default();
            for (sum, amount) in [
                (&mut sums.quarantined_billed, more.quarantined_billed),
                (&mut sums.quarantined_effective, more.quarantined_effective),
            ] {
                *sum = match (sums.rows_quarantined, more.rows_quarantined) {
                    (_, 0) => *sum,
                    (0, _) => amount,
                    _ => sum.zip(amount).map(|(a, b)| plus(a, b)).transpose()?,
                };
            }
            sums.rows += more.rows;
            sums.rows_quarantined += more.rows_quarantined;
            sums.billed = plus(sums.billed, more.billed)?;
            sums.effective = plus(sums.effective, more.effective)?;
            for (sum, more) in sums.residues.iter_mut().zip(more.residues) {
                sum.0 = plus(sum.0, more.0)?;
            }
        }
        Ok(())
    }

    /// Notes what the manifest says of the sums.
    pub fn state(&mut self, manifest: &Manifest) {
        for (currency, stated) in &manifest.sums {
            let sums = self.0.entry(currency.clone()).or_default();
            sums.stated_billed = stated.billed.map(|m| m.0);
            sums.stated_effective = stated.effective.map(|m| m.0);
        }
    }

    /// How the sums differ from those that the manifest states; none where they do not.
    pub fn differ(&self, manifest: &Manifest) -> Option<String> {
        let none = Amounts::default();
        for (currency, stated) in &manifest.sums {
            let found = self.0.get(currency).unwrap_or(&none);
            let kinds = [
                (
                    "billed",
                    stated.billed,
                    found.billed,
                    found.quarantined_billed,
                ),
                (
                    "effective",
                    stated.effective,
                    found.effective,
                    found.quarantined_effective,
                ),
            ];
            for ((what, stated, sum, quarantined), residue) in kinds.into_iter().zip(found.residues)
            {
                let Some(stated) = stated else { continue };
                let rejected = match found.rows_quarantined {
                    0 => Some(0),
                    _ => quarantined,
                };
                let Some(total) = rejected.and_then(|q| total(sum, q, residue)) else {
                    return Some(format!(
                        "states {stated} {currency} {what}, and rejected rows of it have no amount"
                    ));
                };
                if total != stated {
                    return Some(format!(
                        "states {stated} {currency} {what}, and the files hold {total}"
                    ));
                }
            }
        }
        None
    }
}

fn total(sum: i128, quarantined: i128, residue: Residue) -> Option<Money> {
    let (rounded, _) = Money::from_decimal(residue.0, 38).ok()?;
    Some(Money(sum.checked_add(quarantined)?.checked_add(rounded.0)?))
}

fn plus(a: i128, b: i128) -> Result<i128> {
    a.checked_add(b).ok_or_else(|| {
        Error::check("the charges of a delivery add up to more than an amount can hold")
    })
}

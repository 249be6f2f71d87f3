//! The tax at the end of an invoice.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::charges::{
    Amounts, Category, Charge, Commitment, Issuer, Product, Target, midnight, month,
};
use super::cloud::product;
use super::prices::TAX_DIVISOR;

/// The tax of an invoice: a tenth of what each target comes to on it, on the days from `first` to before `end`.
pub(super) fn tax(charges: &[Charge], issuer: Issuer, first: NaiveDate, end: NaiveDate) -> Charge {
    let mut bases: BTreeMap<Target, i128> = BTreeMap::new();
    for (target, amounts) in charges.iter().flat_map(|charge| &charge.shares) {
        *bases.entry(*target).or_default() += amounts.effective;
    }
    let product = Product {
        resource_id: None,
        resource_type: None,
        unit: None,
        sku: None,
        ..product(
            ["Other", "Other (Other)", "Tax"],
            "tax",
            "",
            "Sales tax, 10 %",
        )
    };
    let shares: Vec<(Target, Amounts)> = bases
        .into_iter()
        .filter(|(_, base)| *base > 0)
        .map(|(target, base)| (target, base / TAX_DIVISOR))
        .map(|(target, tax)| {
            (
                target,
                Amounts {
                    billed: tax,
                    effective: tax,
                },
            )
        })
        .collect();
    let mut amounts = Amounts::default();
    for (_, share) in &shares {
        amounts.add(*share);
    }
    Charge {
        issuer,
        product,
        category: Category::Tax,
        commitment: Commitment::None,
        period: month(first).0,
        start: midnight(first),
        end: midnight(end),
        amounts,
        quantity: None,
        tagged: None,
        shares,
        quirk: 0,
    }
}

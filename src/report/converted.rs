//! Costs in the reporting currency, summed and in cents, once for every form of the report.

use std::collections::BTreeMap;

use super::ReportError;
use super::data::{Converted, ConvertedKind, ConvertedLine, Target};
use super::round::sum;
use super::view::add;
use crate::money::{Currency, Money};

/// The kinds in the order in which they are shown, and their names.
pub const KINDS: [(ConvertedKind, &str); 3] = [
    (ConvertedKind::Cost, "Cost, at the rate of its day"),
    (ConvertedKind::ExchangeDifference, "Exchange difference"),
    (
        ConvertedKind::Restatement,
        "Restatement, at the closing rate (beside the bill)",
    ),
];

/// A kind of line in one original currency: exact amounts, and in cents of the reporting currency, in the order of the
/// report's measures.
pub struct Part {
    pub kind: ConvertedKind,
    pub from: String,
    pub original: [Money; 4],
    pub exact: [Money; 4],
    pub shown: [Money; 4],
}

/// By kind and original currency. The cents of a kind add up to what its exact sum is rounded to.
pub fn parts(all: &Converted) -> Result<Vec<Part>, ReportError> {
    // Original amounts, and converted ones.
    type Sums = [[Money; 4]; 2];
    let mut sums: BTreeMap<(ConvertedKind, &str), Sums> = BTreeMap::new();
    for line in &all.lines {
        let [original, exact] = sums.entry((line.kind, line.from.as_str())).or_default();
        add(original, &line.original)?;
        add(exact, &line.amounts)?;
    }
    let mut parts: Vec<Part> = sums
        .into_iter()
        .map(|((kind, from), [original, exact])| Part {
            kind,
            from: from.to_owned(),
            original,
            exact,
            shown: [Money::ZERO; 4],
        })
        .collect();
    for group in parts.chunk_by_mut(|a, b| a.kind == b.kind) {
        let exact: Vec<[Money; 4]> = group.iter().map(|part| part.exact).collect();
        let shown = cents(all.currency, &exact)?;
        for (part, shown) in group.iter_mut().zip(shown) {
            part.shown = shown;
        }
    }
    Ok(parts)
}

/// What an owner costs, all currencies together: cost in cents of the reporting currency.
pub struct Owner {
    pub target: Target,
    pub shown: [Money; 4],
}

/// Models by cost, dearest first, then idle and unallocated. They add up to the cost of [`parts`].
pub fn owners(all: &Converted) -> Result<Vec<Owner>, ReportError> {
    let costs = |line: &&ConvertedLine| line.kind == ConvertedKind::Cost;
    let mut sums: BTreeMap<&Target, [Money; 4]> = BTreeMap::new();
    for line in all.lines.iter().filter(costs) {
        if let Some(target) = &line.target {
            add(sums.entry(target).or_default(), &line.amounts)?;
        }
    }
    let exact: Vec<[Money; 4]> = sums.values().copied().collect();
    let shown = cents(all.currency, &exact)?;
    let mut owners: Vec<Owner> = sums
        .into_keys()
        .zip(shown)
        .map(|(target, shown)| Owner {
            target: target.clone(),
            shown,
        })
        .collect();
    owners.sort_by_key(|owner| match owner.target {
        Target::Model(_) => (0, -owner.shown[0].0),
        Target::Idle => (1, 0),
        Target::Unallocated => (2, 0),
    });
    Ok(owners)
}

fn cents(currency: Currency, rows: &[[Money; 4]]) -> Result<Vec<[Money; 4]>, ReportError> {
    let mut shown = vec![[Money::ZERO; 4]; rows.len()];
    for place in 0..4 {
        let exact: Vec<Money> = rows.iter().map(|row| row[place]).collect();
        for (row, money) in shown.iter_mut().zip(currency.cents(&exact)?) {
            row[place] = money;
        }
    }
    Ok(shown)
}

/// The bill at the closing rates: cost and exchange difference, in cents.
pub fn bill(parts: &[Part]) -> Result<[Money; 4], ReportError> {
    let mut total = [Money::ZERO; 4];
    for (place, total) in total.iter_mut().enumerate() {
        let of_bill = parts
            .iter()
            .filter(|part| part.kind != ConvertedKind::Restatement);
        *total = sum(of_bill.map(|part| part.shown[place]))?;
    }
    Ok(total)
}

//! Why a cost changed from one billing period to the next: the bill became another, or the share of it did.
//!
//! A line of the bill is a resource and service. What an owner pays for a line is a share of it, so its change has two
//! parts: the line's change at the share of before, and the change of share at the line of today. Lines that are on one
//! of the two bills only are parts of their own. The four add up to the change, to the last digit.

use std::collections::BTreeMap;

use super::ReportError;
use super::data::{Mover, Target};
use super::round::less;
use crate::attribution::split;
use crate::money::{Money, MoneyError};

/// What an owner paid for one line of the bill in both periods, and what all owners did.
#[derive(Debug, Clone)]
pub struct Part {
    pub target: Target,
    pub stage: Option<String>,
    pub category: String,
    pub before: Money,
    pub after: Money,
    pub line_before: Money,
    pub line_after: Money,
    /// Whether the line is on the bill of before.
    pub was_there: bool,
    /// Whether the line is on the newest bill.
    pub is_there: bool,
}

/// Sums of the parts by owner, stage and category.
#[derive(Debug, Default)]
pub struct Movers {
    sums: BTreeMap<(Target, Option<String>, String), Mover>,
}

impl Movers {
    /// Adds what one line of the bill changed.
    pub fn add(&mut self, part: Part) -> Result<(), ReportError> {
        let change = less(part.after, part.before)?;
        let bill = at_share_of_before(&part)?;
        let key = (part.target, part.stage, part.category);
        let mover = self.sums.entry(key.clone()).or_insert_with(|| Mover {
            target: key.0,
            stage: key.1,
            category: key.2,
            before: Money::ZERO,
            after: Money::ZERO,
            bill: Money::ZERO,
            share: Money::ZERO,
            appeared: Money::ZERO,
            ended: Money::ZERO,
        });
        let add = |sum: &mut Money, amount: Money| -> Result<(), ReportError> {
            *sum = sum.checked_add(amount)?;
            Ok(())
        };
        add(&mut mover.before, part.before)?;
        add(&mut mover.after, part.after)?;
        match (part.was_there, part.is_there) {
            (false, _) => add(&mut mover.appeared, change),
            (true, false) => add(&mut mover.ended, change),
            (true, true) => {
                add(&mut mover.bill, bill)?;
                add(&mut mover.share, less(change, bill)?)
            }
        }
    }

    /// All of them that changed, by the size of the change.
    pub fn done(self) -> Result<Vec<Mover>, ReportError> {
        let mut sized = Vec::new();
        for mover in self.sums.into_values() {
            let size = less(mover.after, mover.before)?.checked_abs()?;
            if size.0 != 0 {
                sized.push((size, mover));
            }
        }
        // Stable: changes of one size stay in the order of their owners.
        sized.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        Ok(sized.into_iter().map(|(_, mover)| mover).collect())
    }
}

/// What the owner's cost would have changed by, had its share of the line stayed: 0 where credits leave it no share.
fn at_share_of_before(part: &Part) -> Result<Money, ReportError> {
    let rest = less(part.line_before, part.before)?;
    let weights = [part.before, rest].map(|weight| u128::try_from(weight.0));
    let [Ok(own), Ok(rest)] = weights else {
        return Ok(Money::ZERO);
    };
    let kept = split(part.line_after.0, &[own, rest]).map_err(|_| MoneyError::Overflow)?;
    let Some(kept) = kept.and_then(|parts| parts.first().copied()) else {
        return Ok(Money::ZERO);
    };
    less(Money(kept), part.before)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::round::sum;
    use proptest::prelude::*;

    fn part(before: i128, after: i128, line: (i128, i128), there: (bool, bool)) -> Part {
        Part {
            target: Target::Model("a".to_owned()),
            stage: None,
            category: "compute".to_owned(),
            before: Money(before),
            after: Money(after),
            line_before: Money(line.0),
            line_after: Money(line.1),
            was_there: there.0,
            is_there: there.1,
        }
    }

    fn moved(parts: Vec<Part>) -> Vec<Mover> {
        let mut movers = Movers::default();
        for part in parts {
            movers.add(part).unwrap();
        }
        movers.done().unwrap()
    }

    #[test]
    fn a_dearer_machine_and_a_smaller_share_of_it_are_told_apart() {
        // 60 of 100 became 60 of 120: the machine alone would have made it 72.
        let found = moved(vec![part(60, 60, (100, 120), (true, true))]);
        assert!(found.is_empty(), "no change in all is no mover");
        let found = moved(vec![part(60, 66, (100, 120), (true, true))]);
        assert_eq!((found[0].bill, found[0].share), (Money(12), Money(-6)));
    }

    #[test]
    fn new_and_ended_lines_are_parts_of_their_own() {
        let found = moved(vec![
            part(0, 5, (0, 5), (false, true)),
            part(7, 0, (9, 0), (true, false)),
        ]);
        assert_eq!((found[0].appeared, found[0].ended), (Money(5), Money(-7)));
        assert_eq!((found[0].bill, found[0].share), (Money(0), Money(0)));
    }

    #[test]
    fn a_share_that_credits_leave_without_meaning_is_no_price_change() {
        let found = moved(vec![part(-3, 4, (10, 20), (true, true))]);
        assert_eq!((found[0].bill, found[0].share), (Money(0), Money(7)));
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_change(
            rows in prop::collection::vec(
                (-10_i128.pow(30)..10_i128.pow(30), -10_i128.pow(30)..10_i128.pow(30), -10_i128.pow(31)..10_i128.pow(31),
                 -10_i128.pow(31)..10_i128.pow(31), any::<bool>(), any::<bool>()), 1..20),
        ) {
            let parts = rows.into_iter().map(|(before, after, b, a, was, is)| part(before, after, (b, a), (was, is)));
            for mover in moved(parts.collect()) {
                let all = sum([mover.before, mover.bill, mover.share, mover.appeared, mover.ended]).unwrap();
                prop_assert_eq!(all, mover.after);
            }
        }
    }
}

//! Rounding for display: what is shown adds up to what is shown.

use super::ReportError;
use crate::money::{Money, MoneyError, SCALE};

/// Sum of amounts of one currency.
pub fn sum(amounts: impl IntoIterator<Item = Money>) -> Result<Money, ReportError> {
    let mut total = Money::ZERO;
    for amount in amounts {
        total = total.checked_add(amount)?;
    }
    Ok(total)
}

/// `left − right`.
pub fn less(left: Money, right: Money) -> Result<Money, ReportError> {
    Ok(left.checked_add(right.checked_neg()?)?)
}

/// Rounds `leaves` to `digits` places so that they add up to `total`, which is
/// itself shown with so many places: floors, and the largest remainders get one
/// unit more (ties: the earlier leaf).
///
/// [`crate::money::present`] rounds a total of its own; this one makes a second
/// table agree with the totals that a first one shows. Without leaves there is
/// nothing to fit.
pub fn fit(leaves: &[Money], total: Money, digits: u32) -> Result<Vec<Money>, ReportError> {
    let places = SCALE.checked_sub(digits);
    let unit = 10_i128.pow(places.ok_or(MoneyError::Digits { digits })?);
    let Ok(count) = i128::try_from(leaves.len()) else {
        return Err(MoneyError::Overflow.into());
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut units: Vec<i128> = leaves.iter().map(|leaf| leaf.0.div_euclid(unit)).collect();
    let floors = sum(units.iter().map(|&floor| Money(floor)))?;
    let missing = less(Money(total.0.div_euclid(unit)), floors)?.0;
    let (each, extra) = (missing.div_euclid(count), missing.rem_euclid(count));
    let mut order: Vec<usize> = (0..leaves.len()).collect();
    order.sort_by_key(|&leaf| (leaves[leaf].0 == 0, -leaves[leaf].0.rem_euclid(unit), leaf));
    let extra = usize::try_from(extra).unwrap_or(0);
    for (place, &leaf) in order.iter().enumerate() {
        units[leaf] += each + i128::from(place < extra);
    }
    units
        .into_iter()
        .map(|shown| {
            shown
                .checked_mul(unit)
                .map(Money)
                .ok_or(MoneyError::Overflow.into())
        })
        .collect()
}

/// Rounds a table of amounts to `digits` places so that each row adds up to its total in `rows` and each column to its
/// total in `columns`, all of which are shown with so many places.
///
/// Floors, and one unit more by the largest remainders as long as row and column both lack one; what that leaves, a few
/// units in rare tables, goes through the largest row and column. Where the totals of rows and columns are not the same
/// no table fits both: then the rows decide.
pub fn grid(
    cells: &[Vec<Money>],
    rows: &[Money],
    columns: &[Money],
    digits: u32,
) -> Result<Vec<Vec<Money>>, ReportError> {
    if sum(rows.iter().copied())? != sum(columns.iter().copied())? {
        let fitted = cells.iter().zip(rows);
        return fitted
            .map(|(row, &total)| fit(row, total, digits))
            .collect();
    }
    let places = SCALE.checked_sub(digits);
    let unit = 10_i128.pow(places.ok_or(MoneyError::Digits { digits })?);
    let mut units: Vec<Vec<i128>> = Vec::with_capacity(cells.len());
    let (mut lack, mut order) = (Vec::new(), Vec::new());
    let mut lacks: Vec<i128> = columns
        .iter()
        .map(|total| total.0.div_euclid(unit))
        .collect();
    for (row, (amounts, total)) in cells.iter().zip(rows).enumerate() {
        let floors: Vec<i128> = amounts
            .iter()
            .map(|amount| amount.0.div_euclid(unit))
            .collect();
        lack.push(total.0.div_euclid(unit) - floors.iter().sum::<i128>());
        for (column, floor) in floors.iter().enumerate() {
            lacks[column] -= floor;
            order.push((-amounts[column].0.rem_euclid(unit), row, column));
        }
        units.push(floors);
    }
    order.sort_unstable();
    for (_, row, column) in order.into_iter().filter(|(remainder, ..)| *remainder < 0) {
        if lack[row] > 0 && lacks[column] > 0 {
            units[row][column] += 1;
            lack[row] -= 1;
            lacks[column] -= 1;
        }
    }
    let largest =
        |totals: &[Money]| (0..totals.len()).max_by_key(|&at| totals[at].0.unsigned_abs());
    if let (Some(widest), Some(tallest)) = (largest(columns), largest(rows)) {
        for (row, lack) in lack.into_iter().enumerate() {
            units[row][widest] += lack;
            lacks[widest] -= lack;
        }
        // What columns lack adds up to nothing now, so the row stays as it is.
        for (column, lack) in lacks.into_iter().enumerate() {
            units[tallest][column] += lack;
        }
    }
    let money = |units: i128| {
        units
            .checked_mul(unit)
            .map(Money)
            .ok_or(MoneyError::Overflow.into())
    };
    units
        .into_iter()
        .map(|row| row.into_iter().map(money).collect())
        .collect()
}

/// Shares in tenths of a per cent that add up to 1000, by largest remainder.
///
/// `None` when a part is negative or all are zero: then shares mean nothing.
pub fn shares(parts: &[Money]) -> Result<Option<Vec<i128>>, ReportError> {
    let total = sum(parts.iter().copied())?.0;
    if total <= 0 || parts.iter().any(|part| part.0 < 0) {
        return Ok(None);
    }
    let scaled = |part: &Money| part.0.checked_mul(1000).ok_or(MoneyError::Overflow);
    let scaled: Vec<i128> = parts.iter().map(scaled).collect::<Result<_, _>>()?;
    let mut shown: Vec<i128> = scaled.iter().map(|part| part / total).collect();
    let missing = 1000 - shown.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&part| (-(scaled[part] % total), part));
    for &part in order.iter().take(usize::try_from(missing).unwrap_or(0)) {
        shown[part] += 1;
    }
    Ok(Some(shown))
}

/// `amount × factor / count`, half-even at scale 18; `None` when `count` is 0.
pub fn per(amount: Money, factor: u64, count: u64) -> Result<Option<Money>, ReportError> {
    Ok(amount.per(factor, count)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::money::present;
    use proptest::prelude::*;

    const CENT: i128 = 10_i128.pow(16);

    #[test]
    fn a_third_is_shown_with_its_remainder() {
        let third = Money(33_333 * CENT / 10);
        let shown = fit(&[third, third, third], Money(10_000 * CENT), 2).unwrap();
        assert_eq!(shown, [3334, 3333, 3333].map(|cents| Money(cents * CENT)));
    }

    #[test]
    fn a_ratio_without_a_denominator_is_null_and_never_zero() {
        assert_eq!(per(Money(5), 1000, 0).unwrap(), None);
        assert_eq!(per(Money(1), 1000, 3).unwrap(), Some(Money(333)));
        assert_eq!(per(Money(5), 1, 2).unwrap(), Some(Money(2)));
        assert_eq!(per(Money(-5), 1, 2).unwrap(), Some(Money(-2)));
    }

    #[test]
    fn shares_add_up_to_one_hundred_per_cent() {
        let parts = [Money(1), Money(1), Money(1)];
        assert_eq!(shares(&parts).unwrap(), Some(vec![334, 333, 333]));
        assert_eq!(shares(&[Money(-1), Money(5)]).unwrap(), None);
        assert_eq!(shares(&[]).unwrap(), None);
    }

    proptest! {
        #[test]
        fn a_table_fits_the_totals_of_its_rows_and_columns(
            cells in prop::collection::vec(prop::collection::vec(-10_i128.pow(22)..10_i128.pow(22), 3), 1..12),
        ) {
            let cells: Vec<Vec<Money>> = cells.into_iter().map(|row| row.into_iter().map(Money).collect()).collect();
            let exact: Vec<Money> = cells.iter().map(|row| sum(row.iter().copied()).unwrap()).collect();
            let rows = present(&exact, 2).unwrap();
            let columns: Vec<Money> = (0..3).map(|at| sum(cells.iter().map(|row| row[at])).unwrap()).collect();
            let columns = present(&columns, 2).unwrap();
            let shown = grid(&cells, &rows, &columns, 2).unwrap();
            for (row, total) in shown.iter().zip(&rows) {
                prop_assert_eq!(sum(row.iter().copied()).unwrap(), *total);
            }
            for (at, total) in columns.iter().enumerate() {
                prop_assert_eq!(sum(shown.iter().map(|row| row[at])).unwrap(), *total);
            }
            for (exact, shown) in cells.iter().flatten().zip(shown.iter().flatten()) {
                prop_assert_eq!(shown.0 % CENT, 0);
                prop_assert!((exact.0 - shown.0).abs() < 6 * CENT, "{} is shown as {}", exact, shown);
            }
        }

        #[test]
        fn leaves_fit_their_total_and_stay_close(
            leaves in prop::collection::vec(-10_i128.pow(25)..10_i128.pow(25), 1..40),
            drift in -3_i128..4,
        ) {
            let leaves: Vec<Money> = leaves.into_iter().map(Money).collect();
            let own = sum(present(&leaves, 2).unwrap()).unwrap();
            let total = Money(own.0 + drift * CENT);
            let shown = fit(&leaves, total, 2).unwrap();
            prop_assert_eq!(sum(shown.iter().copied()).unwrap(), total);
            for (leaf, shown) in leaves.iter().zip(&shown) {
                prop_assert_eq!(shown.0 % CENT, 0);
                prop_assert!((leaf.0 - shown.0).abs() < 5 * CENT);
            }
            prop_assert_eq!(fit(&leaves, own, 2).unwrap(), present(&leaves, 2).unwrap());
        }
    }
}

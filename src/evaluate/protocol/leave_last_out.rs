//! Holds out the newest interaction of each user who has at least two.

use super::{Fold, Source, Split};
use crate::error::Result;
use crate::features::interactions::Interactions;

/// A pair is held out with all of its events. Times are not aligned between users, so what one user did after another's test
/// is trained on: `temporal` has no such leak.
pub(super) async fn split(source: &Source<'_>) -> Result<Split> {
    let all = source.interactions(source.window.1).await?;
    let description = format!(
        "leave last out: trained on {} to {} but the newest interaction of each user, tested on that; full ranking of all \
         items known to the training that the user had not seen",
        source.window.0, source.window.1
    );
    let fold = Fold::holding_out(&all, &newest(&all))?;
    Ok(Split::one(description, None, fold))
}

/// Place of the newest entry of each row that has more than one, of equal times the last.
fn newest(all: &Interactions) -> Vec<usize> {
    let ends = all.weights.indptr();
    let rows = ends
        .windows(2)
        .map(|pair| pair[0] as usize..pair[1] as usize);
    rows.filter(|row| row.len() > 1)
        .filter_map(|row| row.max_by_key(|&at| (all.times[at], at)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::evaluate::protocol::testing::interactions;

    #[test]
    fn the_newest_of_each_user_is_held_out_and_never_trained_on() {
        // In order of time; user 2 has one item only.
        let pairs = [
            (0, 1),
            (1, 0),
            (0, 0),
            (2, 1),
            (1, 2),
            (1, 1),
            (3, 1),
            (3, 2),
        ];
        let all = interactions(4, 3, &pairs);
        let fold = Fold::holding_out(&all, &newest(&all)).unwrap();
        let cells = |row: usize| fold.train.weights.row(row).0;
        assert_eq!([cells(0), cells(1), cells(2)], [&[1][..], &[0, 2], &[1]]);
        // Nobody else has item 0 but user 1, whose training keeps it: user 0 can be judged by it.
        assert_eq!(fold.test.users, [0, 1, 3]);
        assert_eq!(fold.test.relevant.row(0).0, [0]);
        assert_eq!(fold.test.relevant.row(1).0, [1]);
        assert_eq!(fold.test.seen.row(1).0, [0, 2]);
        assert_eq!(fold.train.times.len(), fold.train.weights.nnz());
        assert!(fold.test.open.is_none());
    }

    #[test]
    fn of_equal_times_the_last_item_is_taken() {
        let mut all = interactions(1, 3, &[(0, 2), (0, 0), (0, 1)]);
        all.times = vec![5; 3];
        assert_eq!(newest(&all), [2]);
    }
}

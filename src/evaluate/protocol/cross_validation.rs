//! Holds out every interaction once, a share of them at a time.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::{Fold, Source, Split};
use crate::error::Result;
use crate::features::interactions::Interactions;

/// Which part a pair is held out in depends on its ids alone, so neither on the order of the rows nor on what else is there.
/// Time does not matter: what happened later is trained on too.
pub(super) async fn split(source: &Source<'_>) -> Result<Split> {
    let folds = source.pipeline.evaluation.folds();
    let all = Arc::new(source.interactions(source.window.1).await?);
    let description = format!(
        "cross-validation: interactions of {} to {} in {folds} random parts, each tested on by a training on the others; \
         values per user are means over the parts; full ranking of all items known to the training that the user had not \
         seen",
        source.window.0, source.window.1
    );
    Ok(Split {
        description,
        before: None,
        folds: Box::new((0..folds).map(move |at| fold(&all, folds, at))),
    })
}

fn fold(all: &Interactions, folds: u32, at: u32) -> Result<Fold> {
    let mut held = vec![];
    let mut place = 0;
    for (row, user) in all.users.iter().enumerate() {
        let columns = all.weights.row(row).0;
        for &column in columns {
            if part(user, &all.items[column as usize], folds) == at {
                held.push(place);
            }
            place += 1;
        }
    }
    Fold::holding_out(all, &held)
}

fn part(user: &str, item: &str, folds: u32) -> u32 {
    let mut hash = Xxh3::new();
    hash.update(user.as_bytes());
    hash.update(&[0]);
    hash.update(item.as_bytes());
    (hash.digest() % u64::from(folds)) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::evaluate::protocol::testing::interactions;

    #[test]
    fn every_interaction_is_held_out_exactly_once() {
        let pairs: Vec<(u32, u32)> = (0..30)
            .flat_map(|u| (0..12).map(move |i| (u, i)))
            .filter(|(u, i)| (u + i) % 3 != 0)
            .collect();
        let all = interactions(30, 12, &pairs);
        let (mut tested, mut trained) = (vec![], 0);
        for at in 0..5 {
            let fold = fold(&all, 5, at).unwrap();
            trained += fold.train.weights.nnz();
            for (row, &user) in fold.test.users.iter().enumerate() {
                let relevant = fold.test.relevant.row(row).0;
                let had = fold.train.weights.row(user as usize).0;
                assert!(relevant.iter().all(|item| !had.contains(item)));
                tested.extend(relevant.iter().map(|&item| (user, item)));
            }
        }
        tested.sort_unstable();
        assert_eq!(tested, pairs);
        assert_eq!(trained, 4 * pairs.len());
    }

    #[test]
    fn the_part_of_a_pair_depends_on_its_ids_alone() {
        let whole = interactions(9, 9, &[(1, 2), (3, 4), (5, 6), (7, 8), (8, 1), (8, 2)]);
        let some = interactions(9, 9, &[(8, 2), (3, 4)]);
        for at in 0..2 {
            let held = |all: &Interactions, user: usize, item: u32| {
                let fold = fold(all, 2, at).unwrap();
                !fold.train.weights.row(user).0.contains(&item)
            };
            assert_eq!(held(&whole, 3, 4), held(&some, 3, 4));
            assert_eq!(held(&whole, 8, 2), held(&some, 8, 2));
        }
    }

    #[test]
    fn an_item_that_only_the_test_has_is_no_candidate() {
        let all = interactions(3, 3, &[(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 0)]);
        // Item 2 has one user only: wherever it is held out, nobody can be judged by it.
        for at in 0..2 {
            let fold = fold(&all, 2, at).unwrap();
            let held = fold.train.weights.row(2).0 == [0];
            assert_eq!(fold.test.open.is_some(), held || fold.test.open.is_some());
            if held {
                assert!(!fold.test.open.as_ref().unwrap()[2]);
                assert!(!fold.test.relevant.indices().contains(&2));
            }
        }
    }
}

//! Fusion of what was learnt of an item with what its content foretells, for items that few have taken up.
//!
//! An item that n users took up gets the vector `(n·y + κ·ŷ) / (n + κ)`, of `y` learnt and `ŷ` foretold by its features
//! ([`super::content`]), so that its score is the same mean of a collaborative and a content-based score. It is the mean of a
//! normal posterior whose prior is what content says with the weight of κ interactions. κ is the one of a few whose
//! ranking is best on interactions that a second training has not seen; 0 leaves what was learnt alone. Users are folded in
//! against the fused items, so that for `als` they are what its system gives, and its reasons stay exact.

use super::content::Map;
use super::{Examples, Factors, Fitted, Held, Learner};
use crate::compute::Device;
use crate::error::{Error, Result};
use crate::evaluate::bootstrap::SEED;
use crate::evaluate::held_out::HeldOut;
use crate::features::content::Content;
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;

/// κ is chosen among these and 0.
const TRUSTS: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// Share of the interactions that it is judged by, the newest.
const HELD: f64 = 0.1;

/// Fuses the items of `factors`, which `learner` learnt from `interactions`, and works out the users' vectors anew against
/// them. Returns κ; with 0 nothing has changed.
///
/// # Errors
/// Those of the family and of the device.
pub fn fuse(
    device: &dyn Device,
    learner: &dyn Learner,
    interactions: &Interactions,
    content: &Content,
    factors: &mut Factors,
) -> Result<f64> {
    let examples = interactions.examples();
    let Some(held) = HeldOut::new(&examples, HELD, SEED)? else {
        return Ok(0.0);
    };
    let ids = &interactions.items;
    let trust = choose(device, learner, &held, ids, content)?;
    if trust > 0.0
        && let Some(map) = Map::learn(&factors.items, ids, content)
    {
        *factors = blended(device, learner, &examples, factors, &map, trust)?;
    }
    Ok(trust)
}

fn choose(
    device: &dyn Device,
    learner: &dyn Learner,
    held: &HeldOut,
    ids: &[String],
    content: &Content,
) -> Result<f64> {
    let examples = held.examples();
    let fitted = learner.train(device, &examples, &mut |_| {})?;
    let Fitted::Factors(factors) = &fitted else {
        return Ok(0.0);
    };
    let Some(map) = Map::learn(&factors.items, ids, content) else {
        return Ok(0.0);
    };
    let mut best = (held.ndcg::<Error>(device, &fitted)?, 0.0);
    for trust in TRUSTS {
        let tried = blended(device, learner, &examples, factors, &map, trust)?;
        let value = held.ndcg::<Error>(device, &Fitted::Factors(tried))?;
        tracing::debug!(trust, value, without = best.0, "content counts as");
        if value > best.0 {
            best = (value, trust);
        }
    }
    Ok(best.1)
}

/// Fused items, and users against them.
fn blended(
    device: &dyn Device,
    learner: &dyn Learner,
    examples: &Examples<'_>,
    factors: &Factors,
    map: &Map<'_>,
    trust: f64,
) -> Result<Factors> {
    let fused = Factors {
        users: factors.users.clone(),
        items: map.blend(&factors.items, &counts(examples.weights), trust),
    };
    let held = Held::new(&fused, |_| true);
    match learner.fold_in(device, examples, &held, &mut |_| {})? {
        Fitted::Factors(factors) => Ok(factors),
        _ => Ok(fused),
    }
}

/// How many users have each item.
fn counts(weights: &Csr) -> Vec<u32> {
    let mut counts = vec![0; weights.cols()];
    let taken = weights.indices().iter().zip(weights.values());
    taken
        .filter(|(_, weight)| **weight > 0.0)
        .for_each(|(&item, _)| counts[item as usize] += 1);
    counts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::evaluate::protocol::testing::interactions;
    use crate::model::Family;
    use crate::random::nth;

    /// Users and items of two kinds; users take items of their own kind, half of which hardly anybody takes.
    fn shop() -> (Interactions, Content) {
        let mut pairs = vec![];
        for user in 0..60u32 {
            for item in 0..80u32 {
                let bits = nth(u64::from(user * 80 + item));
                let often = if item < 40 { 3 } else { 24 };
                if user % 2 == item % 2 && bits.is_multiple_of(often) {
                    pairs.push((user, item));
                }
            }
        }
        let shop = interactions(60, 80, &pairs);
        let mut ids: Vec<(String, u32)> = shop.items.iter().cloned().zip(0..).collect();
        ids.sort();
        let cells: Vec<(u32, u32, f32)> = ids
            .iter()
            .zip(0..)
            .map(|((_, item), row)| (row, item % 2, 1.0))
            .collect();
        let content = Content {
            ids: ids.into_iter().map(|(id, _)| id).collect(),
            names: vec!["kind=even".into(), "kind=odd".into()],
            features: Csr::from_triplets(80, 2, &cells).unwrap(),
        };
        (shop, content)
    }

    fn fused(content: &Content) -> (Factors, Factors, f64) {
        let (mut shop, _) = shop();
        // Ids in order, as they are read.
        let mut order: Vec<usize> = (0..80).collect();
        order.sort_by_key(|&item| shop.items[item].clone());
        let mut place = vec![0u32; 80];
        order
            .iter()
            .zip(0..)
            .for_each(|(&item, at)| place[item] = at);
        let cells: Vec<(u32, u32, f32)> = (0..60)
            .flat_map(|user| {
                let row = shop.weights.row(user).0.iter();
                row.map(|&item| (user as u32, place[item as usize], 1.0))
                    .collect::<Vec<_>>()
            })
            .collect();
        shop.weights = Csr::from_triplets(60, 80, &cells).unwrap();
        shop.times = (0..cells.len() as i64).map(|at| at * 7919 % 1009).collect();
        shop.items.sort();
        let family: Family = "als".parse().unwrap();
        let learner = family
            .configure(&"dim = 4\nregularization = 10.0".parse().unwrap())
            .unwrap();
        let device = CpuDevice::new();
        let Fitted::Factors(before) = learner
            .train(&device, &shop.examples(), &mut |_| {})
            .unwrap()
        else {
            unreachable!()
        };
        let mut after = before.clone();
        let trust = fuse(&device, &*learner, &shop, content, &mut after).unwrap();
        (before, after, trust)
    }

    #[test]
    fn content_that_tells_tastes_apart_is_trusted_and_moves_what_few_have_taken() {
        let (_, content) = shop();
        let (before, after, trust) = fused(&content);
        assert!(trust > 0.0);
        assert_ne!(before.items, after.items);
        assert_ne!(before.users, after.users);
    }

    #[test]
    fn content_that_says_nothing_changes_nothing() {
        let (_, content) = shop();
        let silent = Content {
            names: vec![],
            features: Csr::from_triplets(80, 0, &[]).unwrap(),
            ..content
        };
        let (before, after, trust) = fused(&silent);
        assert_eq!((trust, &before), (0.0, &after));
    }
}

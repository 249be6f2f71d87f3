//! The planted margin: how far the true tastes are ahead of popularity on the last day.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;
use super::events::Clicks;
use super::spec::Spec;
use super::taste::Taste;

/// Length of the lists that are compared.
const K: usize = 20;

/// Recall@20 on the last day of an oracle that ranks by the true propensities, and of popularity.
///
/// For each followed user who interacts (view, click, cart, purchase) on the last day with items that they never met before: the
/// share of these items among the 20 best-ranked of all items that the user has not met before, out of at most 20; averaged over users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// List length.
    pub k: u32,
    /// Users that the means run over.
    pub users: u64,
    /// Mean recall of the oracle.
    pub oracle_recall: f64,
    /// Mean recall of ranking by interactions on the days before.
    pub popularity_recall: f64,
    /// `oracle_recall / popularity_recall`; absent when popularity finds nothing.
    pub ratio: Option<f64>,
}

/// Measures the margin; none when there is no earlier day to learn from or no followed user to measure on.
pub(super) fn measure(spec: &Spec, catalogue: &Catalogue, clicks: &Clicks) -> Option<Margin> {
    if spec.days < 2 {
        return None;
    }
    let mut users: BTreeMap<u32, (BTreeSet<u32>, BTreeSet<u32>)> = BTreeMap::new();
    for &(last, user, item) in &clicks.sampled {
        let (before, after) = users.entry(user).or_default();
        if last {
            after.insert(item)
        } else {
            before.insert(item)
        };
    }
    let mut by_popularity: Vec<u32> = (0..catalogue.items.len() as u32).collect();
    by_popularity.sort_by_key(|&item| (std::cmp::Reverse(clicks.popularity[item as usize]), item));
    let mut by_share: Vec<u32> = catalogue
        .niches
        .iter()
        .flat_map(|n| n.items.iter().take(2 * K).copied())
        .collect();
    by_share.sort_unstable();

    let (mut count, mut oracle, mut popularity) = (0u64, 0.0, 0.0);
    for (user, (before, after)) in &users {
        let wanted: BTreeSet<u32> = after.difference(before).copied().collect();
        if wanted.is_empty() {
            continue;
        }
        let best = wanted.len().min(K) as f64;
        let hits = |list: &mut dyn Iterator<Item = u32>| {
            list.filter(|i| !before.contains(i))
                .take(K)
                .filter(|i| wanted.contains(i))
                .count() as f64
        };
        let taste = Taste::of(spec.seed, u64::from(*user), catalogue);
        let mut scores = taste.propensities(catalogue, &by_share);
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        count += 1;
        oracle += hits(&mut scores.iter().map(|s| s.0)) / best;
        popularity += hits(&mut by_popularity.iter().copied()) / best;
    }
    if count == 0 {
        return None;
    }
    let (oracle_recall, popularity_recall) = (oracle / count as f64, popularity / count as f64);
    let ratio = (popularity_recall > 0.0).then(|| oracle_recall / popularity_recall);
    Some(Margin {
        k: K as u32,
        users: count,
        oracle_recall,
        popularity_recall,
        ratio,
    })
}

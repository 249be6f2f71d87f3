//! Which samples and negatives each step sees.

use super::{Options, Sampling};
use crate::features::csr::Csr;
use crate::model::random::Stream;

/// Purposes of random numbers; the passes' shuffles follow.
const NEGATIVES: u64 = 1;
const SHUFFLE: u64 = 1 << 32;

/// Samples in the order of the matrix, and how negatives are drawn.
pub(super) struct Sampler {
    users: Vec<u32>,
    items: Vec<u32>,
    weights: Vec<f32>,
    /// Shares of the greatest weight; empty where all are 1.
    targets: Vec<f32>,
    sampling: Sampling,
    negatives: usize,
    /// `[items]`: sums of chances, ascending to 1; empty when every item has the same.
    chances: Vec<f64>,
    /// `[items]`: −log(chance · items).
    corrections: Vec<f32>,
    batch: usize,
    seed: u64,
}

/// The arrays of a step, used again for the next.
#[derive(Default)]
pub(super) struct Drawn {
    pub users: Vec<u32>,
    pub items: Vec<u32>,
    pub weights: Vec<f32>,
    pub targets: Vec<f32>,
    pub negatives: Vec<u32>,
    pub corrections: Vec<f32>,
}

impl Sampler {
    /// Interactions of weight 0 are no samples. Where weights are `ratings`, samples have them as targets.
    pub fn new(interactions: &Csr, options: &Options, ratings: bool) -> Self {
        let (mut users, mut items, mut weights) = (vec![], vec![], vec![]);
        let mut targets = vec![];
        let greatest = interactions.values().iter().copied().fold(0.0, f32::max);
        for user in 0..interactions.rows() {
            let (columns, values) = interactions.row(user);
            for (&item, &weight) in columns.iter().zip(values).filter(|(_, w)| **w > 0.0) {
                users.push(user as u32);
                items.push(item);
                weights.push(weight.powf(options.weight_power));
                if ratings {
                    targets.push(weight / greatest);
                }
            }
        }
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / weights.len().max(1) as f64;
        weights
            .iter_mut()
            .for_each(|w| *w = (f64::from(*w) / mean) as f32);
        let power = match options.sampling {
            Sampling::Uniform | Sampling::All => 0.0,
            Sampling::Popularity => f64::from(options.popularity_power),
            Sampling::InBatch => 1.0,
        };
        let count = interactions.cols();
        let (mut chances, mut corrections) = (vec![], vec![0.0; count]);
        if power > 0.0 {
            let mut counts = vec![0u32; count];
            items.iter().for_each(|&item| counts[item as usize] += 1);
            let raised: Vec<f64> = counts.iter().map(|&c| f64::from(c).powf(power)).collect();
            let total: f64 = raised.iter().sum();
            let mut sum = 0.0;
            for (correction, raised) in corrections.iter_mut().zip(&raised) {
                sum += raised / total;
                chances.push(sum);
                *correction = -(raised / total * count as f64).ln() as f32;
            }
        }
        Self {
            batch: options.batch_for(users.len()),
            sampling: options.sampling,
            negatives: options.negatives.min(count),
            seed: options.seed,
            users,
            items,
            weights,
            targets,
            chances,
            corrections,
        }
    }

    /// Steps of a pass.
    pub fn steps(&self) -> usize {
        self.users.len().div_ceil(self.batch)
    }

    /// Samples in the order of pass `pass`.
    pub fn order(&self, pass: usize) -> Vec<u32> {
        Stream::new(self.seed, SHUFFLE + pass as u64).shuffled(self.users.len())
    }

    /// Step `step` of a pass in the order `order`; `total` counts the steps of all passes.
    pub fn draw(&self, order: &[u32], step: usize, total: usize, into: &mut Drawn) {
        let samples = &order[step * self.batch..((step + 1) * self.batch).min(order.len())];
        fill(&mut into.users, samples, &self.users);
        fill(&mut into.items, samples, &self.items);
        fill(&mut into.weights, samples, &self.weights);
        if !self.targets.is_empty() {
            fill(&mut into.targets, samples, &self.targets);
        }
        into.negatives.clear();
        match self.sampling {
            Sampling::InBatch => into.negatives.extend_from_slice(&into.items),
            Sampling::All => into.negatives.extend(0..self.corrections.len() as u32),
            Sampling::Uniform | Sampling::Popularity => {
                let stream = Stream::new(self.seed, NEGATIVES);
                let first = (total * self.negatives) as u64;
                let places = first..first + self.negatives as u64;
                into.negatives
                    .extend(places.map(|place| self.item(stream, place)));
            }
        }
        into.corrections.clear();
        into.corrections.extend(
            into.negatives
                .iter()
                .map(|&item| self.corrections[item as usize]),
        );
    }

    fn item(&self, stream: Stream, place: u64) -> u32 {
        if self.chances.is_empty() {
            return stream.below(place, self.corrections.len()) as u32;
        }
        let drawn = stream.uniform(place);
        let at = self.chances.partition_point(|&chance| chance <= drawn);
        // Rounding may leave the last sum below 1.
        at.min(self.chances.len() - 1) as u32
    }
}

/// Puts what `from` has of the samples in place of what `to` held.
fn fill<T: Copy>(to: &mut Vec<T>, samples: &[u32], from: &[T]) {
    to.clear();
    to.extend(samples.iter().map(|&sample| from[sample as usize]));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::csr;

    fn drawn(sampler: &Sampler, pass: usize) -> Vec<Drawn> {
        let order = sampler.order(pass);
        (0..sampler.steps())
            .map(|step| {
                let mut into = Drawn::default();
                sampler.draw(&order, step, pass * sampler.steps() + step, &mut into);
                into
            })
            .collect()
    }

    #[test]
    fn a_pass_sees_every_interaction_once_in_an_order_of_its_own() {
        let interactions = csr(40, 30, 6, 1);
        let sampler = Sampler::new(&interactions, &Options::default(), false);
        let pairs = |pass| -> Vec<(u32, u32)> {
            drawn(&sampler, pass)
                .iter()
                .flat_map(|d| d.users.iter().copied().zip(d.items.iter().copied()))
                .collect()
        };
        let (first, second) = (pairs(0), pairs(1));
        assert_ne!(first, second);
        assert_eq!(first, pairs(0));
        let mut sorted = first;
        sorted.sort_unstable();
        let all: Vec<(u32, u32)> = (0..40)
            .flat_map(|u| interactions.row(u).0.iter().map(move |&i| (u as u32, i)))
            .collect();
        assert_eq!(sorted, all);
    }

    #[test]
    fn popularity_draws_by_counts_and_corrects_for_it() {
        // Item 0 has eight interactions, item 1 one, items 2 and 3 none.
        let mut cells: Vec<(u32, u32, f32)> = (0..8).map(|u| (u, 0, 1.0)).collect();
        cells.push((0, 1, 1.0));
        let interactions = Csr::from_triplets(8, 4, &cells).unwrap();
        let options = Options {
            sampling: Sampling::Popularity,
            popularity_power: 1.0,
            negatives: 4,
            batch: Some(1),
            ..Options::default()
        };
        let sampler = Sampler::new(&interactions, &options, false);
        let negatives: Vec<u32> = (0..100)
            .flat_map(|pass| drawn(&sampler, pass))
            .flat_map(|d| d.negatives)
            .collect();
        let share =
            |item| negatives.iter().filter(|&&n| n == item).count() as f64 / negatives.len() as f64;
        assert!((share(0) - 8.0 / 9.0).abs() < 0.02, "{}", share(0));
        assert_eq!(share(2), 0.0);
        assert!((sampler.corrections[0] + (32.0f32 / 9.0).ln()).abs() < 1e-6);
        assert!((sampler.corrections[1] + (4.0f32 / 9.0).ln()).abs() < 1e-6);
    }

    #[test]
    fn ratings_are_shares_of_the_greatest() {
        let interactions = Csr::from_triplets(2, 3, &[(0, 1, 5.0), (1, 0, 1.0)]).unwrap();
        let sampler = Sampler::new(&interactions, &Options::default(), true);
        let mut seen: Vec<f32> = drawn(&sampler, 0)
            .into_iter()
            .flat_map(|d| d.targets)
            .collect();
        seen.sort_by(f32::total_cmp);
        assert_eq!(seen, [0.2, 1.0]);
    }

    #[test]
    fn in_batch_negatives_are_the_batchs_own_items() {
        let options = Options {
            sampling: Sampling::InBatch,
            batch: Some(8),
            ..Options::default()
        };
        let sampler = Sampler::new(&csr(40, 30, 6, 1), &options, false);
        for step in drawn(&sampler, 0) {
            assert_eq!(step.items, step.negatives);
        }
    }

    #[test]
    fn all_items_are_negatives_of_every_step() {
        let options = Options {
            sampling: Sampling::All,
            batch: Some(8),
            ..Options::default()
        };
        let sampler = Sampler::new(&csr(40, 30, 6, 1), &options, false);
        for step in drawn(&sampler, 0) {
            assert_eq!(step.negatives, (0..30).collect::<Vec<_>>());
            assert_eq!(step.corrections, [0.0; 30]);
        }
    }

    #[test]
    fn weights_average_to_one() {
        let weight_power = 0.5;
        let options = Options {
            weight_power,
            ..Options::default()
        };
        let sampler = Sampler::new(&csr(40, 30, 6, 1), &options, false);
        let mean = sampler.weights.iter().sum::<f32>() / sampler.weights.len() as f32;
        assert!((mean - 1.0).abs() < 1e-5);
        assert!(sampler.weights.iter().any(|&w| (w - 1.0).abs() > 0.1));
        let alike = Sampler::new(&csr(40, 30, 6, 1), &Options::default(), false);
        assert!(alike.weights.iter().all(|&w| w == 1.0));
    }
}

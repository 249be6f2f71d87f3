//! Users: who visits, and what each of them likes.
//!
//! A user's taste is a unit vector around a mixture of three niches, fixed for good. The propensity to interact with an item is
//! `(1 − ε) · share of its niche in the taste · popularity in the niche · exp(β·⟨user, item⟩) / Z + ε · popularity in the shop`;
//! [`Taste::draw`] samples it by rejection with few tries, [`Taste::propensities`] states it.

use super::catalogue::{Catalogue, DIM, Latent, dot, near, unit};
use super::stream::{Domain, Stream};

/// ε: the share of interactions that follow popularity alone.
const EXPLORE: f64 = 0.10;
/// β: how strongly affinity within a niche decides.
const SHARPNESS: f32 = 5.0;
/// Tries before a candidate is taken as it comes.
const TRIES: usize = 8;
/// Shares of a user's favourite niches.
const MIX: [f64; 3] = [0.60, 0.28, 0.12];

/// What a user likes.
pub(super) struct Taste {
    pub(super) latent: Latent,
    niches: [u8; 3],
}

impl Taste {
    /// The taste of the user with this number.
    pub(super) fn of(seed: u64, user: u64, catalogue: &Catalogue) -> Self {
        let mut stream = Stream::new(seed, Domain::Users, user);
        let niches: [u8; 3] =
            std::array::from_fn(|_| catalogue.draw_niche.sample(&mut stream) as u8);
        let mut centre = [0.0; DIM];
        for (&niche, share) in niches.iter().zip(MIX) {
            for (sum, x) in centre
                .iter_mut()
                .zip(&catalogue.niches[usize::from(niche)].centre)
            {
                *sum += share as f32 * x;
            }
        }
        Self {
            latent: near(&unit(centre), 0.7, &mut stream),
            niches,
        }
    }

    /// ⟨user, item⟩, −1 to 1.
    pub(super) fn affinity(&self, catalogue: &Catalogue, item: u32) -> f32 {
        dot(&self.latent, &catalogue.latents[item as usize])
    }

    /// An item by the user's propensities.
    pub(super) fn draw(&self, catalogue: &Catalogue, stream: &mut Stream) -> u32 {
        let coin = stream.unit();
        if coin < EXPLORE {
            return catalogue.popular(stream);
        }
        let within = (coin - EXPLORE) / (1.0 - EXPLORE);
        let favourite = if within < MIX[0] {
            0
        } else if within < MIX[0] + MIX[1] {
            1
        } else {
            2
        };
        self.draw_within(usize::from(self.niches[favourite]), catalogue, stream)
    }

    /// An item of a niche by popularity there and affinity.
    pub(super) fn draw_within(
        &self,
        niche: usize,
        catalogue: &Catalogue,
        stream: &mut Stream,
    ) -> u32 {
        let niche = &catalogue.niches[niche];
        let mut item = 0;
        for _ in 0..TRIES {
            item = niche.items[niche.draw.sample(stream) as usize];
            // 0.95 is nearly the highest affinity there is, so that acceptance rarely saturates.
            let accept = (SHARPNESS * (self.affinity(catalogue, item) - 0.95)).exp();
            if stream.chance(f64::from(accept)) {
                break;
            }
        }
        item
    }

    /// `(item, propensity)` of every item in the user's niches and of the `popular` ones outside them, each once. Items that are
    /// neither come after the most popular ones of their own niche in any ranking.
    pub(super) fn propensities(&self, catalogue: &Catalogue, popular: &[u32]) -> Vec<(u32, f64)> {
        let mut scores = Vec::new();
        let by_popularity =
            |niche: usize, share: f64| EXPLORE * catalogue.niche_shares[niche] * share;
        for (slot, &number) in self.niches.iter().enumerate() {
            if self.niches[..slot].contains(&number) {
                continue;
            }
            let weight: f64 = self
                .niches
                .iter()
                .zip(MIX)
                .filter(|(n, _)| **n == number)
                .map(|(_, w)| w)
                .sum();
            let niche = &catalogue.niches[usize::from(number)];
            let tilted: Vec<f64> = niche
                .items
                .iter()
                .zip(&niche.shares)
                .map(|(&item, share)| {
                    share * f64::from((SHARPNESS * self.affinity(catalogue, item)).exp())
                })
                .collect();
            let norm: f64 = tilted.iter().sum();
            for ((&item, share), tilt) in niche.items.iter().zip(&niche.shares).zip(&tilted) {
                scores.push((
                    item,
                    (1.0 - EXPLORE) * weight * tilt / norm
                        + by_popularity(usize::from(number), *share),
                ));
            }
        }
        for &item in popular {
            let niche = catalogue.niche_of[item as usize];
            if !self.niches.contains(&niche) {
                let members = &catalogue.niches[usize::from(niche)];
                if let Some(position) = members.items.iter().position(|&other| other == item) {
                    scores.push((
                        item,
                        by_popularity(usize::from(niche), members.shares[position]),
                    ));
                }
            }
        }
        scores
    }
}

/// Draws who visits: a few users come often, many rarely, some never.
pub(super) struct Visitors {
    users: u64,
    /// Odd stride and offset of the permutation that keeps activity from following the user's number.
    stride: u64,
    offset: u64,
}

impl Visitors {
    pub(super) fn new(seed: u64, users: u64) -> Self {
        let mut stream = Stream::new(seed, Domain::Activity, 0);
        let mut stride = stream.below(users).max(1);
        while gcd(stride, users) != 1 {
            stride += 1;
        }
        Self {
            users,
            stride,
            offset: stream.below(users),
        }
    }

    pub(super) fn draw(&self, stream: &mut Stream) -> u64 {
        let x = stream.unit();
        let rank = ((x * x.sqrt() * self.users as f64) as u64).min(self.users - 1);
        ((u128::from(rank) * u128::from(self.stride) + u128::from(self.offset))
            % u128::from(self.users)) as u64
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

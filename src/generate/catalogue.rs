//! The items: latent vectors, popularity, prices and words, all fixed by the seed.

use super::spec::Spec;
use super::stream::{Alias, Domain, Stream};
use super::words::{COLOURS, NICHES, PRAISE, SERVICE, niche_words};
use crate::random::mix;

/// Length of the latent vectors.
pub(super) const DIM: usize = 16;

/// A latent vector of unit length.
pub(super) type Latent = [f32; DIM];

/// Zipf's exponent of popularity within a niche.
const POPULARITY_EXPONENT: f64 = 0.75;

/// Words and price of one item.
pub(super) struct Item {
    /// Number of its niche in the vocabulary.
    pub(super) words: u8,
    style: u8,
    noun: u8,
    colour: u8,
    brand: u8,
    praise: u8,
    service: u8,
    /// US cents.
    pub(super) cents: i64,
    /// Days before the first export on which it entered the catalogue.
    pub(super) age_days: u16,
}

/// Items of one niche.
pub(super) struct NicheItems {
    /// Centre of its items' latent vectors.
    pub(super) centre: Latent,
    /// Item numbers, most popular first.
    pub(super) items: Vec<u32>,
    /// Popularity of each of `items` within the niche; sums to one.
    pub(super) shares: Vec<f64>,
    /// Draws a position in `items` by `shares`.
    pub(super) draw: Alias,
}

/// The catalogue.
pub(super) struct Catalogue {
    pub(super) items: Vec<Item>,
    /// Latent vector of each item.
    pub(super) latents: Vec<Latent>,
    /// Niche of each item, an index into `niches`.
    pub(super) niche_of: Vec<u8>,
    pub(super) niches: Vec<NicheItems>,
    /// Popularity of each niche; sums to one.
    pub(super) niche_shares: Vec<f64>,
    pub(super) draw_niche: Alias,
}

impl Catalogue {
    pub(super) fn new(spec: &Spec) -> Self {
        let count = NICHES.min(spec.items as usize / 8).max(1);
        let mut stream = Stream::new(spec.seed, Domain::Niches, 0);
        let categories: Vec<Latent> = (0..NICHES / 4)
            .map(|_| unit(std::array::from_fn(|_| stream.normal())))
            .collect();
        let words: Vec<usize> = (0..count).map(|niche| niche * NICHES / count).collect();
        let centres: Vec<Latent> = words
            .iter()
            .map(|&w| near(&categories[w / 4], 0.9, &mut stream))
            .collect();

        let n = spec.items as usize;
        let mut items = Vec::with_capacity(n);
        let mut latents = Vec::with_capacity(n);
        let mut niche_of = Vec::with_capacity(n);
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); count];
        for number in 0..n {
            let mut stream = Stream::new(spec.seed, Domain::Items, number as u64);
            // Every niche gets its share of items; which item falls where is scattered.
            let niche =
                (mix(spec.seed ^ (number as u64 / count as u64)) as usize % count + number) % count;
            members[niche].push(number as u32);
            niche_of.push(niche as u8);
            latents.push(near(&centres[niche], 0.8, &mut stream));
            items.push(Item::new(words[niche], &mut stream));
        }
        for niche in &mut members {
            niche.sort_by_key(|&item| mix(spec.seed.wrapping_add(u64::from(item))));
        }
        let niches = members
            .into_iter()
            .zip(centres)
            .map(|(items, centre)| {
                let weights: Vec<f64> = (1..=items.len())
                    .map(|rank| (rank as f64).powf(-POPULARITY_EXPONENT))
                    .collect();
                let sum: f64 = weights.iter().sum();
                NicheItems {
                    centre,
                    draw: Alias::new(&weights),
                    shares: weights.iter().map(|w| w / sum).collect(),
                    items,
                }
            })
            .collect();
        let weights: Vec<f64> = (0..count).map(|_| 0.5 + stream.unit()).collect();
        let sum: f64 = weights.iter().sum();
        Self {
            items,
            latents,
            niche_of,
            niches,
            draw_niche: Alias::new(&weights),
            niche_shares: weights.iter().map(|w| w / sum).collect(),
        }
    }

    /// An item drawn by popularity alone.
    pub(super) fn popular(&self, stream: &mut Stream) -> u32 {
        let niche = &self.niches[self.draw_niche.sample(stream) as usize];
        niche.items[niche.draw.sample(stream) as usize]
    }
}

impl Item {
    fn new(words: usize, stream: &mut Stream) -> Self {
        let (_, niche) = niche_words(words);
        let spread = (f64::from(stream.normal()) * 0.35).exp();
        // Cents that shops use: 9.90, 24.00, 129.00.
        let raw = niche.price as f64 * spread;
        let cents = match raw {
            r if r < 2_000.0 => (r / 100.0).round().max(2.0) as i64 * 100 - 10,
            r if r < 10_000.0 => (r / 100.0).round() as i64 * 100 - 5,
            r => (r / 500.0).round() as i64 * 500 - 100,
        };
        let mut small = |n: usize| stream.below(n as u64) as u8;
        Self {
            words: words as u8,
            style: small(6),
            noun: small(3),
            colour: small(COLOURS.len()),
            brand: small(4),
            praise: small(PRAISE.len()),
            service: small(SERVICE.len()),
            cents,
            age_days: 30 + stream.below(900) as u16,
        }
    }

    /// What a piece costs the shop, in 1/100 of a US cent: a share of the price that all items of a niche have. Nothing is
    /// drawn for it, so it moves no other figure.
    pub(super) fn unit_cost(&self) -> i64 {
        self.cents * i64::from(45 + 5 * (self.words % 6))
    }

    pub(super) fn category(&self) -> &'static str {
        niche_words(usize::from(self.words)).0.name
    }

    pub(super) fn niche(&self) -> &'static str {
        niche_words(usize::from(self.words)).1.name
    }

    pub(super) fn style(&self) -> &'static str {
        niche_words(usize::from(self.words)).0.styles[usize::from(self.style)]
    }

    pub(super) fn noun(&self) -> &'static str {
        niche_words(usize::from(self.words)).1.nouns[usize::from(self.noun)]
    }

    pub(super) fn brand(&self) -> &'static str {
        niche_words(usize::from(self.words)).0.brands[usize::from(self.brand)]
    }

    /// The colour, where the category comes in colours.
    pub(super) fn colour(&self) -> Option<&'static str> {
        niche_words(usize::from(self.words))
            .0
            .coloured
            .then(|| COLOURS[usize::from(self.colour)])
    }

    /// For example `Merino Crew Sweater, Navy`.
    pub(super) fn write_title(&self, to: &mut String) {
        to.push_str(self.style());
        // A style such as `Leather` may open the noun as well; it is then said once.
        let noun = self.noun();
        let rest = noun.strip_prefix(self.style()).unwrap_or(noun).trim_start();
        to.push(' ');
        to.push_str(rest);
        match self.colour() {
            Some(colour) => {
                to.push_str(", ");
                to.push_str(colour);
            }
            None => {
                to.push_str(" by ");
                to.push_str(self.brand());
            }
        }
    }

    pub(super) fn write_description(&self, to: &mut String) {
        let noun = self.noun().to_lowercase();
        to.push_str("Our ");
        to.push_str(&self.style().to_lowercase());
        to.push(' ');
        to.push_str(&noun);
        to.push_str(" from ");
        to.push_str(self.brand());
        to.push_str(". ");
        to.push_str(PRAISE[usize::from(self.praise)]);
        to.push_str(". ");
        to.push_str(SERVICE[usize::from(self.service)]);
    }
}

/// A unit vector around `centre`; the noise has about `spread` times its length.
pub(super) fn near(centre: &Latent, spread: f32, stream: &mut Stream) -> Latent {
    let scale = spread / (DIM as f32).sqrt();
    unit(std::array::from_fn(|d| centre[d] + scale * stream.normal()))
}

pub(super) fn unit(vector: Latent) -> Latent {
    let norm = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
    vector.map(|x| x / norm)
}

pub(super) fn dot(a: &Latent, b: &Latent) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

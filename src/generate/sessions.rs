//! What people do in the shop: sessions of searches, views, recommendations shown and clicked, carts and purchases.

use super::catalogue::Catalogue;
use super::faults::{Fault, Faults};
use super::serving::Model;
use super::spec::Spec;
use super::stream::{Domain, Stream};
use super::taste::{Taste, Visitors};

/// The event's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    View,
    Search,
    Impression,
    Click,
    Cart,
    Purchase,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Search => "search",
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Cart => "cart",
            Self::Purchase => "purchase",
        }
    }

    /// Whether the event is an interaction with an item: it carries its id, price and currency.
    pub(super) fn is_priced(self) -> bool {
        matches!(self, Self::View | Self::Click | Self::Cart | Self::Purchase)
    }
}

/// Where a recommendation was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    Home,
    Product,
    Cart,
    Email,
}

impl Surface {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Product => "product",
            Self::Cart => "cart",
            Self::Email => "email",
        }
    }
}

/// The recommendation that an event belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recommended {
    /// Number of the response within the file.
    pub(super) request: u32,
    pub(super) model: Model,
    pub(super) surface: Surface,
    /// Position in the response, from 1.
    pub(super) rank: u8,
}

/// One event, before it gets its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// µs since the epoch.
    pub(super) time: i64,
    pub(super) user: u32,
    /// The item, or for a search the item that the user has in mind.
    pub(super) item: u32,
    /// Number of the session within the file.
    pub(super) session: u32,
    /// Time that the model took for this recommendation (impressions only).
    pub(super) compute_ns: u32,
    pub(super) action: Action,
    pub(super) recommended: Option<Recommended>,
    pub(super) quantity: u8,
    pub(super) fault: Fault,
}

/// A stretch of a day that makes one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) day: u32,
    pub(super) file: u32,
    /// µs since the epoch at which the day begins.
    pub(super) midnight: i64,
    /// Events to generate.
    pub(super) events: usize,
}

const SECOND: f64 = 1e6;
const DAY: i64 = 86_400_000_000;
/// Share of the day's sessions in each hour, UTC, times 1000; sums to 1000.
const HOURS: [u16; 24] = [
    18, 12, 9, 8, 9, 14, 22, 32, 41, 46, 49, 51, 54, 52, 49, 48, 50, 55, 63, 74, 82, 76, 55, 31,
];

/// Simulates the sessions of one slice.
pub(super) struct Simulator<'a> {
    spec: &'a Spec,
    catalogue: &'a Catalogue,
    visitors: &'a Visitors,
    stream: Stream,
    slice: Slice,
    upgraded: bool,
    faults: Faults,
    events: Vec<Event>,
    /// The session at hand.
    now: i64,
    user: u32,
    session: u32,
    requests: u32,
}

/// All events of a slice, in order of time.
pub(super) fn simulate(
    spec: &Spec,
    catalogue: &Catalogue,
    visitors: &Visitors,
    slice: Slice,
) -> Vec<Event> {
    let index = (u64::from(slice.day) << 32) | u64::from(slice.file);
    let simulator = Simulator {
        spec,
        catalogue,
        visitors,
        stream: Stream::new(spec.seed, Domain::Sessions, index),
        slice,
        upgraded: slice.day >= spec.upgrade_day(),
        faults: Faults::new(spec.rates, slice.day, spec.days),
        events: Vec::with_capacity(slice.events + 256),
        now: 0,
        user: 0,
        session: 0,
        requests: 0,
    };
    simulator.run()
}

impl Simulator<'_> {
    fn run(mut self) -> Vec<Event> {
        let files = f64::from(self.spec.files_per_day());
        let end = self.slice.midnight + time_of_day((f64::from(self.slice.file) + 1.0) / files) - 1;
        while self.events.len() < self.slice.events {
            let first = self.events.len();
            let part = (f64::from(self.slice.file) + self.stream.unit()) / files;
            self.now = (self.slice.midnight + time_of_day(part)).min(end - 1);
            self.visit();
            self.session += 1;
            self.events.truncate(self.slice.events);
            self.fit(first, end);
        }
        // The position breaks ties, so that causes stay before their effects.
        let from = self.slice.midnight - 3 * DAY;
        let mut order: Vec<u64> = self
            .events
            .iter()
            .enumerate()
            .map(|(i, event)| (((event.time - from) as u64) << 24) | i as u64)
            .collect();
        order.sort_unstable();
        order
            .into_iter()
            .map(|key| self.events[(key & 0xFF_FFFF) as usize])
            .collect()
    }

    /// Hurries a session that would run past its slice, and plants faults.
    fn fit(&mut self, first: usize, end: i64) {
        let begin = self.events[first].time;
        let last = self.events[self.events.len() - 1].time;
        for index in first..self.events.len() {
            let event = &mut self.events[index];
            if last > end {
                let scaled = i128::from(event.time - begin) * i128::from(end - begin)
                    / i128::from(last - begin);
                event.time = begin + scaled as i64;
            }
            event.fault = self.faults.draw(event.action, &mut self.stream);
            if let Fault::Late(days) = event.fault {
                event.time -= i64::from(days) * DAY;
            }
        }
    }

    fn visit(&mut self) {
        let user = self.visitors.draw(&mut self.stream);
        self.user = user as u32;
        let taste = Taste::of(self.spec.seed, user, self.catalogue);
        let coin = self.stream.unit();
        if coin < 0.06 {
            self.recommend(&taste, Model::HomeAls, Surface::Email, 4, None);
        } else if coin < 0.36 {
            self.recommend(&taste, Model::HomeAls, Surface::Home, 8, None);
        } else if coin < 0.42 {
            self.recommend(&taste, Model::Trending, Surface::Home, 8, None);
        }
        loop {
            let item = taste.draw(self.catalogue, &mut self.stream);
            if self.stream.chance(0.22) {
                self.push(Action::Search, item, None);
                self.pause(9.0);
            }
            self.look(&taste, item, None, 0);
            if self.stream.chance(0.32) {
                return;
            }
        }
    }

    /// A visit to an item's page and what follows from it.
    fn look(&mut self, taste: &Taste, item: u32, from: Option<Recommended>, depth: u8) {
        self.push(Action::View, item, None);
        self.pause(28.0);
        if self.stream.chance(0.10) {
            self.recommend_at(
                taste,
                Model::SimilarItems,
                Surface::Product,
                5,
                Some(item),
                depth,
            );
        }
        let interest = f64::from(taste.affinity(self.catalogue, item)).max(0.0);
        if self.stream.chance(0.05 + 0.12 * interest) {
            self.push(Action::Cart, item, from);
            self.pause(15.0);
            if self.stream.chance(0.25) {
                self.recommend_at(taste, Model::Trending, Surface::Cart, 4, None, depth);
            }
            if self.stream.chance(0.40) {
                self.push(Action::Purchase, item, from);
                self.pause(40.0);
            }
        }
    }

    fn recommend(
        &mut self,
        taste: &Taste,
        model: Model,
        surface: Surface,
        count: u8,
        beside: Option<u32>,
    ) {
        self.recommend_at(taste, model, surface, count, beside, 0);
    }

    /// Shows `count` items and follows the clicks; `beside` is the item whose page it is, `depth` the clicks that led here.
    fn recommend_at(
        &mut self,
        taste: &Taste,
        model: Model,
        surface: Surface,
        count: u8,
        beside: Option<u32>,
        depth: u8,
    ) {
        let request = self.requests;
        self.requests += 1;
        let mut shown = [u32::MAX; 8];
        let cost = self.compute_ns(model);
        for rank in 0..count {
            let mut item = self.candidate(taste, model, beside);
            for _ in 0..3 {
                if !shown[..usize::from(rank)].contains(&item) && Some(item) != beside {
                    break;
                }
                item = self.candidate(taste, model, beside);
            }
            shown[usize::from(rank)] = item;
            let recommended = Recommended {
                request,
                model,
                surface,
                rank: rank + 1,
            };
            self.push(Action::Impression, item, Some(recommended));
            if let Some(event) = self.events.last_mut() {
                event.compute_ns = cost + (self.stream.next() % u64::from(cost / 3)) as u32;
            }
            // One microsecond apart keeps the ranks in order.
            self.now += 1;
        }
        self.pause(12.0);
        if depth >= 2 {
            return;
        }
        for rank in 0..count {
            let item = shown[usize::from(rank)];
            let affinity = f64::from(taste.affinity(self.catalogue, item));
            if self
                .stream
                .chance(0.009 * 0.93f64.powi(i32::from(rank)) * (2.2 * affinity).exp())
            {
                let recommended = Some(Recommended {
                    request,
                    model,
                    surface,
                    rank: rank + 1,
                });
                self.push(Action::Click, item, recommended);
                self.now += 400_000;
                self.look(taste, item, recommended, depth + 1);
            }
        }
    }

    fn candidate(&mut self, taste: &Taste, model: Model, beside: Option<u32>) -> u32 {
        match (model, beside) {
            (Model::SimilarItems, Some(item)) => {
                let niche = usize::from(self.catalogue.niche_of[item as usize]);
                taste.draw_within(niche, self.catalogue, &mut self.stream)
            }
            // The upgrade is worth its cost: v8 misses less often.
            (Model::HomeAls, _) if self.stream.chance(if self.upgraded { 0.85 } else { 0.65 }) => {
                taste.draw(self.catalogue, &mut self.stream)
            }
            _ => self.catalogue.popular(&mut self.stream),
        }
    }

    /// Compute time of one recommendation, without its jitter.
    fn compute_ns(&mut self, model: Model) -> u32 {
        let base = match model {
            Model::HomeAls if self.upgraded => 210_000.0,
            Model::HomeAls => 160_000.0,
            Model::SimilarItems => 70_000.0,
            Model::Trending => 9_000.0,
        };
        (base * (1.0 + self.stream.wait(0.25))) as u32
    }

    fn pause(&mut self, seconds: f64) {
        self.now += ((1.0 + self.stream.wait(seconds)) * SECOND) as i64;
    }

    fn push(&mut self, action: Action, item: u32, recommended: Option<Recommended>) {
        let quantity = match action {
            Action::Cart | Action::Purchase if recommended.is_none() && item.is_multiple_of(7) => 2,
            _ => 1,
        };
        self.events.push(Event {
            time: self.now,
            user: self.user,
            item,
            session: self.session,
            compute_ns: 0,
            action,
            recommended,
            quantity,
            fault: Fault::None,
        });
    }
}

/// µs since midnight before which this share of the day's sessions begin.
fn time_of_day(share: f64) -> i64 {
    let mut left = share * 1_000.0;
    for (hour, weight) in HOURS.iter().enumerate() {
        let weight = f64::from(*weight);
        if left < weight {
            return ((hour as f64 + left / weight) * 3_600.0 * SECOND) as i64;
        }
        left -= weight;
    }
    DAY
}

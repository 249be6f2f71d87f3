//! The picture of quality against cost: numbered points, the frontier as steps, what is dominated hollow.

use super::charts::tick;
use super::plot::round_end;
use super::svg::{Anchor, Svg, scale};
use super::text::{score, shorten};
use crate::money::Money;

/// A point of the picture.
pub struct Spot {
    /// Its number in the table.
    pub number: usize,
    /// Not escaped; written beside points of the frontier.
    pub name: String,
    /// Class of its colour.
    pub class: String,
    /// Per 1,000; not negative.
    pub cost: Money,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub dominated: bool,
    /// Shown on hovering, not escaped.
    pub tip: String,
}

const TOP: i64 = 300;
const HEIGHT: i64 = 2600;
const RADIUS: i64 = 80;

/// Costs further apart than this many times are drawn on a logarithmic axis.
const FAR: i128 = 20;

/// Places along the axis of costs.
enum Costs {
    Linear {
        step: i128,
        end: i128,
    },
    /// Ends that are 1, 2 or 5 times a power of ten.
    Logarithmic {
        from: i128,
        to: i128,
    },
}

impl Costs {
    fn of(spots: &[Spot]) -> Self {
        let least = spots.iter().map(|spot| spot.cost.0).min().unwrap_or(0);
        let most = spots
            .iter()
            .map(|spot| spot.cost.0)
            .max()
            .unwrap_or(0)
            .max(1);
        if least > 0 && most / least >= FAR {
            let from = round_values().take_while(|&value| value <= least).last();
            let to = round_values().find(|&value| value >= most);
            return Self::Logarithmic {
                from: from.unwrap_or(1),
                to: to.unwrap_or(i128::MAX),
            };
        }
        let (step, end) = round_end(most);
        Self::Linear { step, end }
    }

    fn place(&self, cost: Money, room: i64) -> i64 {
        match self {
            Self::Linear { end, .. } => scale(cost.0, *end, room),
            Self::Logarithmic { from, to } => {
                // A place on paper, not an amount.
                let [cost, from, to] = [cost.0, *from, *to].map(|value| (value as f64).log10());
                let share = (cost - from) / (to - from);
                #[allow(clippy::cast_possible_truncation)] // 0 to `room`
                let place = (share.clamp(0.0, 1.0) * room as f64).round() as i64;
                place
            }
        }
    }

    fn ticks(&self) -> Vec<Money> {
        match self {
            Self::Linear { step, end } => (0..=end / step).map(|n| Money(n * step)).collect(),
            Self::Logarithmic { from, to } => round_values()
                .skip_while(|value| value < from)
                .take_while(|value| value <= to)
                .map(Money)
                .collect(),
        }
    }
}

/// 1, 2, 5, 10, 20, 50 and so on.
fn round_values() -> impl Iterator<Item = i128> {
    (0..38u32)
        .filter_map(|power| 10_i128.checked_pow(power))
        .flat_map(|power| [1, 2, 5].map(|factor| power.saturating_mul(factor)))
}

/// Ends of the axis of quality on round values, and the step between its lines.
fn qualities(spots: &[Spot]) -> (f64, f64, f64) {
    let values = || {
        let all = spots
            .iter()
            .flat_map(|spot| [Some(spot.value), spot.low, spot.high]);
        all.flatten().filter(|value| value.is_finite())
    };
    let least = values().fold(f64::INFINITY, f64::min).min(1e9);
    let most = values().fold(0.0_f64, f64::max);
    let span = (most - least).max(1e-4);
    let power = 10.0_f64.powf((span / 4.0).log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| power * factor >= span / 4.0);
    let step = power * factor.unwrap_or(10.0);
    let (low, high) = ((least / step).floor() * step, (most / step).ceil() * step);
    (low, high.max(low + step), step)
}

/// Draws the points, which are in the order of their cost.
pub fn draw(mut svg: Svg, spots: &[Spot], cost: &str, quality: &str) -> (Svg, i64) {
    let left = 520;
    let room = svg.width - left - 140;
    let costs = Costs::of(spots);
    let (low, high, step) = qualities(spots);
    let base = TOP + HEIGHT;
    let x = |cost: Money| left + costs.place(cost, room);
    let y = |value: f64| {
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation)] // 0 to HEIGHT
        let up = (share * HEIGHT as f64).round() as i64;
        base - up
    };
    svg.text(0, 140, Anchor::Start, "tick", &format!("↑ {quality}"));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful of lines
    let lines = ((high - low) / step).round().clamp(1.0, 20.0) as u8;
    for line in 0..=lines {
        let value = low + step * f64::from(line);
        let class = if line == 0 { "axis" } else { "grid" };
        svg.line([left, y(value), svg.width, y(value)], class);
        svg.text(left - 60, y(value) + 40, Anchor::End, "tick", &score(value));
    }
    let mut written = i64::MIN;
    for cost in costs.ticks() {
        svg.line([x(cost), base, x(cost), base + 50], "axis");
        let text = tick(cost.0);
        // About 7 px a character.
        let half = i64::try_from(text.chars().count()).unwrap_or(9) * 35;
        if x(cost) - half > written {
            svg.text(x(cost), base + 180, Anchor::Middle, "tick", &text);
            written = x(cost) + half + 40;
        }
    }
    let axis = match costs {
        Costs::Linear { .. } => format!("{cost} →"),
        Costs::Logarithmic { .. } => format!("{cost}, logarithmic →"),
    };
    svg.text(svg.width, base + 350, Anchor::End, "tick", &axis);

    let judged = || spots.iter().filter(|spot| spot.value.is_finite());
    let mut before: Option<&Spot> = None;
    for spot in judged().filter(|spot| !spot.dominated) {
        if let Some(before) = before {
            let (from, to) = (x(before.cost), x(spot.cost));
            svg.line([from, y(before.value), to, y(before.value)], "frontier");
            svg.line([to, y(before.value), to, y(spot.value)], "frontier");
        }
        before = Some(spot);
    }
    if let Some(last) = before {
        svg.line(
            [x(last.cost), y(last.value), svg.width, y(last.value)],
            "frontier",
        );
    }
    for spot in judged() {
        let at = x(spot.cost);
        if let (Some(low), Some(high)) = (spot.low, spot.high) {
            svg.line([at, y(low), at, y(high)], "whisker");
            svg.line([at - 30, y(low), at + 30, y(low)], "whisker");
            svg.line([at - 30, y(high), at + 30, y(high)], "whisker");
        }
    }
    // Points of the frontier lie above the others.
    for dominated in [true, false] {
        for spot in judged().filter(|spot| spot.dominated == dominated) {
            let (at, up) = (x(spot.cost), y(spot.value));
            let hollow = if dominated { " hollow" } else { "" };
            svg.dot(
                at,
                up,
                RADIUS,
                &format!("{}{hollow}", spot.class),
                &spot.tip,
            );
            let class = if dominated {
                "letter on-paper".to_owned()
            } else {
                format!("letter l-{}", spot.class)
            };
            svg.text(
                at,
                up + 38,
                Anchor::Middle,
                &class,
                &spot.number.to_string(),
            );
        }
    }
    // Names of the frontier, the best first, where there is room for them; the table has all.
    if svg.width > 6000 {
        let mut taken: Vec<[i64; 4]> = judged()
            .map(|spot| (x(spot.cost), y(spot.value)))
            .map(|(at, up)| [at - RADIUS, up - RADIUS, at + RADIUS, up + RADIUS])
            .collect();
        let mut named: Vec<&Spot> = judged().filter(|spot| !spot.dominated).collect();
        named.reverse();
        for spot in named {
            let (at, up) = (x(spot.cost), y(spot.value));
            let name = shorten(&spot.name, 34);
            // About 7.5 px a character.
            let length = i64::try_from(name.chars().count()).unwrap_or(34) * 75;
            let places = [
                (
                    Anchor::End,
                    at - 120,
                    [at - 120 - length, up - 160, at - 120, up - 30],
                ),
                (
                    Anchor::Start,
                    at + 120,
                    [at + 120, up - 160, at + 120 + length, up - 30],
                ),
                (
                    Anchor::Start,
                    at + 120,
                    [at + 120, up + 60, at + 120 + length, up + 190],
                ),
            ];
            let free = places.into_iter().find(|(_, _, room)| {
                let inside = room[0] >= left && room[2] <= svg.width;
                inside && !taken.iter().any(|other| meet(*room, *other))
            });
            if let Some((anchor, side, room)) = free {
                svg.text(side, room[3], anchor, "label", &name);
                taken.push(room);
            }
        }
    }
    (svg, base + 420)
}

/// Whether two boxes, `[left, top, right, bottom]`, lie over each other.
fn meet(one: [i64; 4], other: [i64; 4]) -> bool {
    one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(number: usize, cost: i128, value: f64, dominated: bool) -> Spot {
        Spot {
            number,
            name: format!("model {number}"),
            class: "s0".to_owned(),
            cost: Money(cost),
            value,
            low: Some(value - 0.01),
            high: Some(value + 0.01),
            dominated,
            tip: String::new(),
        }
    }

    #[test]
    fn near_costs_are_drawn_from_zero_and_far_ones_by_powers_of_ten() {
        let near = Costs::of(&[spot(1, 30, 0.1, false), spot(2, 370, 0.2, false)]);
        assert_eq!(near.place(Money(200), 1000), 500);
        assert_eq!(near.ticks().first(), Some(&Money(0)));
        let far = Costs::of(&[spot(1, 10, 0.1, false), spot(2, 1000, 0.2, false)]);
        assert_eq!(far.place(Money(100), 1000), 500);
        let ticks = [10, 20, 50, 100, 200, 500, 1000].map(Money);
        assert_eq!(far.ticks(), ticks);
        // Without cost there is no logarithm.
        let free = Costs::of(&[spot(1, 0, 0.1, false), spot(2, 1000, 0.2, false)]);
        assert_eq!(free.place(Money(0), 1000), 0);
    }

    #[test]
    fn the_axis_of_quality_ends_on_round_values_around_all_intervals() {
        let (low, high, step) = qualities(&[spot(1, 1, 0.31, false), spot(2, 1, 0.35, false)]);
        assert!(
            low <= 0.30 && high >= 0.36 && (step - 0.02).abs() < 1e-12,
            "{low} {high} {step}"
        );
    }

    #[test]
    fn what_is_dominated_is_hollow_and_off_the_line() {
        let spots = [
            spot(1, 10, 0.1, false),
            spot(2, 20, 0.05, true),
            spot(3, 30, 0.2, false),
        ];
        let (svg, height) = draw(Svg::new(960), &spots, "USD", "recall@20");
        let html = svg.done(height, "", "t", "d");
        assert_eq!(html.matches("s0 hollow").count(), 1);
        // Two for the step between the two points, one beyond the last.
        assert_eq!(html.matches("class=\"frontier\"").count(), 3);
        assert!(html.contains("model 3") && !html.contains("model 2"));
    }

    #[test]
    fn values_that_are_no_numbers_draw_nothing() {
        for spots in [vec![], vec![spot(1, 5, f64::NAN, false)]] {
            let (svg, height) = draw(Svg::new(300), &spots, "USD", "recall@20");
            let html = svg.done(height, "", "t", "d");
            assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        }
    }
}

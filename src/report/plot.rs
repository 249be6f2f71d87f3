//! Quality beside cost: a point per model with its interval, and the baseline as a line.

use super::charts::tick;
use super::marks::Mark;
use super::svg::{Anchor, Svg, scale};
use super::text::{score, shorten};
use crate::money::Money;

/// A model in the plot.
pub struct Point {
    pub mark: Mark,
    /// Not escaped.
    pub name: String,
    /// Cost per 1,000; not negative.
    pub cost: Money,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Whether it beats the baseline; drawn as a triangle's place, never by colour alone.
    pub fails: bool,
    /// Shown on hovering, not escaped.
    pub tip: String,
}

/// Axes of the plot.
pub struct Axes<'a> {
    /// Such as `USD per 1,000 served`.
    pub cost: &'a str,
    /// Such as `recall@20`.
    pub quality: &'a str,
    pub baseline: Option<f64>,
}

const TOP: i64 = 300;
const HEIGHT: i64 = 2300;

/// Draws points over cost (to the right) and quality (upwards), both from zero.
pub fn scatter(mut svg: Svg, points: &[Point], axes: &Axes) -> (Svg, i64) {
    let left = 520;
    let room = svg.width - left - 100;
    let dearest = points.iter().map(|point| point.cost.0).max().unwrap_or(0);
    let (cost_step, cost_end) = round_end(dearest.max(1));
    let best = points
        .iter()
        .flat_map(|point| [Some(point.value), point.high])
        .flatten();
    let best = best
        .chain(axes.baseline)
        .filter(|value| value.is_finite())
        .fold(0.0_f64, f64::max);
    let top = nice(best.max(1e-6) * 1.12);
    let y = |value: f64| {
        let share = (value / top).clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation)] // 0 to HEIGHT
        let up = (share * HEIGHT as f64).round() as i64;
        TOP + HEIGHT - up
    };
    let x = |cost: Money| left + scale(cost.0, cost_end, room);

    svg.text(
        0,
        140,
        Anchor::Start,
        "tick",
        &format!("↑ {}", axes.quality),
    );
    for fifth in 0..=4_u8 {
        let value = top * f64::from(fifth) / 4.0;
        let class = if fifth == 0 { "axis" } else { "grid" };
        svg.line([left, y(value), svg.width, y(value)], class);
        let text = score(value);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        svg.text(
            left - 60,
            y(value) + 40,
            Anchor::End,
            "tick",
            if text.is_empty() { "0" } else { text },
        );
    }
    let base = TOP + HEIGHT;
    for place in 0..=cost_end / cost_step {
        let cost = Money(place * cost_step);
        svg.line([x(cost), base, x(cost), base + 50], "axis");
        svg.text(x(cost), base + 180, Anchor::Middle, "tick", &tick(cost.0));
    }
    svg.text(
        svg.width,
        base + 350,
        Anchor::End,
        "tick",
        &format!("{} →", axes.cost),
    );
    if let Some(baseline) = axes.baseline {
        svg.line([left, y(baseline), svg.width, y(baseline)], "baseline");
        let text = format!("popularity {}", score(baseline));
        svg.text(
            svg.width,
            y(baseline) - 50,
            Anchor::End,
            "baseline-label",
            &text,
        );
    }
    let middle = left + room / 2;
    let chars = usize::try_from(room / 160).unwrap_or(16);
    for point in points.iter().filter(|point| point.value.is_finite()) {
        let (at, up) = (x(point.cost), y(point.value));
        if let (Some(low), Some(high)) = (point.low, point.high) {
            svg.line([at, y(low), at, y(high)], "whisker");
            svg.line([at - 40, y(low), at + 40, y(low)], "whisker");
            svg.line([at - 40, y(high), at + 40, y(high)], "whisker");
        }
        svg.dot(at, up, 75, &point.mark.class, &point.tip);
        let class = format!("letter l-{}", point.mark.class);
        svg.text(at, up + 40, Anchor::Middle, &class, &point.mark.letter);
        let name = shorten(&point.name, chars);
        let (name, class) = if point.fails {
            (format!("▼ {name}"), "label bad")
        } else {
            (name, "label")
        };
        let (anchor, side) = if at > middle {
            (Anchor::End, -130)
        } else {
            (Anchor::Start, 130)
        };
        // Clear of the baseline: below the point where the line would cross the name.
        let crossed = axes
            .baseline
            .is_some_and(|baseline| (up - 110 - y(baseline)).abs() < 120);
        let height = if crossed { 190 } else { -70 };
        svg.text(at + side, up + height, anchor, class, &name);
    }
    (svg, base + 420)
}

/// A step and an end of the cost axis, of which the step is a part.
pub(super) fn round_end(most: i128) -> (i128, i128) {
    let power = 10_i128.pow(most.unsigned_abs().ilog10());
    let end = [1, 2, 4, 6, 8, 10]
        .into_iter()
        .find(|factor| power.saturating_mul(*factor) >= most);
    let end = power.saturating_mul(end.unwrap_or(10));
    ((end / 4).max(1), end)
}

/// The next value of 1, 2, 4, 6, 8 or 10 times a power of ten.
fn nice(most: f64) -> f64 {
    let power = 10.0_f64.powf(most.log10().floor());
    let factor = [1.0, 2.0, 4.0, 6.0, 8.0]
        .into_iter()
        .find(|factor| power * factor >= most);
    power * factor.unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_values() {
        assert_eq!(round_end(37), (10, 40));
        assert_eq!(round_end(1), (1, 1));
        assert!((nice(0.123) - 0.2).abs() < 1e-12);
        assert!((nice(0.85) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn values_that_are_no_numbers_draw_nothing() {
        let point = Point {
            mark: Mark {
                class: "s0".to_owned(),
                letter: "A".to_owned(),
            },
            name: "a".to_owned(),
            cost: Money(5),
            value: f64::NAN,
            low: None,
            high: None,
            fails: false,
            tip: String::new(),
        };
        let axes = Axes {
            cost: "USD",
            quality: "recall@20",
            baseline: None,
        };
        let (svg, height) = scatter(Svg::new(300), &[point], &axes);
        assert!(!svg.done(height, "", "t", "d").contains("NaN"));
    }
}

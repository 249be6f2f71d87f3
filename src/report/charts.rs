//! Bars and columns of amounts, stacked by series, with what is negative on the other side of zero.

use super::marks::Mark;
use super::svg::{Anchor, Svg, scale};
use super::text::{escape, group, shorten};
use crate::money::{Money, SCALE};
use std::fmt::Write as _;

/// A piece of a bar or column.
pub struct Segment {
    pub mark: Mark,
    pub amount: Money,
    /// Shown on hovering, not escaped.
    pub tip: String,
}

/// A bar or column.
pub struct Stack {
    /// Not escaped.
    pub label: String,
    /// Beside a bar, such as its total; not escaped.
    pub note: String,
    pub segments: Vec<Segment>,
}

/// Which mark is which: `(mark, name not escaped)`. HTML.
pub fn key(entries: &[(Mark, String)]) -> String {
    let mut out = String::from("<ul class=\"key\">");
    for (mark, name) in entries {
        let _ = write!(
            out,
            "<li><svg class=\"swatch\" aria-hidden=\"true\" width=\"18\" height=\"18\" viewBox=\"0 0 18 18\"><rect class=\"{0}\" x=\"1\" y=\"1\" width=\"16\" height=\"16\"/><text class=\"letter l-{0}\" x=\"9\" y=\"13\" text-anchor=\"middle\">{1}</text></svg>{2}</li>",
            mark.class,
            escape(&mark.letter),
            escape(&shorten(name, 40))
        );
    }
    out.push_str("</ul>");
    out
}

fn extent(stack: &Stack) -> (i128, i128) {
    let amounts = stack.segments.iter().map(|segment| segment.amount.0);
    amounts.fold((0_i128, 0_i128), |(below, above), amount| {
        if amount < 0 {
            (below.saturating_sub(amount.saturating_abs()), above)
        } else {
            (below, above.saturating_add(amount))
        }
    })
}

fn extents(stacks: &[Stack]) -> (i128, i128) {
    stacks
        .iter()
        .map(extent)
        .fold((0, 0), |(below, above), (b, a)| {
            (below.min(b), above.max(a))
        })
}

fn letter(svg: &mut Svg, [x, y, width, height]: [i64; 4], mark: &Mark) {
    if width >= 110 && height >= 120 && !mark.letter.is_empty() {
        let class = format!("letter l-{}", mark.class);
        svg.text(
            x + width / 2,
            y + height / 2 + 40,
            Anchor::Middle,
            &class,
            &mark.letter,
        );
    }
}

/// Horizontal bars on one scale, each under its label.
pub fn bars(mut svg: Svg, stacks: &[Stack]) -> (Svg, i64) {
    const ROW: i64 = 520;
    const BAR: i64 = 220;
    let (below, above) = extents(stacks);
    let span = above.saturating_sub(below);
    let width = svg.width;
    let zero = scale(below.saturating_abs(), span, width);
    let chars = usize::try_from(width / 110).unwrap_or(30);
    for (place, stack) in stacks.iter().enumerate() {
        let top = ROW * i64::try_from(place).unwrap_or(0);
        svg.text(
            0,
            top + 160,
            Anchor::Start,
            "label",
            &shorten(&stack.label, chars),
        );
        svg.text(width, top + 160, Anchor::End, "value", &stack.note);
        let (mut left, mut right) = (0_i128, 0_i128);
        for segment in &stack.segments {
            let amount = segment.amount.0;
            let (from, to) = if amount < 0 {
                left = left.saturating_add(amount);
                (left, left.saturating_sub(amount))
            } else {
                right = right.saturating_add(amount);
                (right.saturating_sub(amount), right)
            };
            // Ends are scaled, not lengths, so that pieces meet.
            let (from, to) = (
                zero + scale(from, span, width),
                zero + scale(to, span, width),
            );
            if amount != 0 {
                let shape = [from, top + 220, (to - from).max(5), BAR];
                svg.rect(shape, &segment.mark.class, &segment.tip);
                letter(&mut svg, shape, &segment.mark);
            }
        }
        if below < 0 {
            svg.line([zero, top + 200, zero, top + 220 + BAR + 20], "axis");
        }
    }
    let rows = i64::try_from(stacks.len()).unwrap_or(0);
    (svg, rows * ROW - 40)
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into at most `most` parts.
fn step(span: i128, most: i128) -> i128 {
    let least = (span / most).max(1);
    let power = 10_i128.pow(least.unsigned_abs().ilog10());
    let factor = [1, 2, 5, 10]
        .into_iter()
        .find(|factor| power * factor >= least);
    power * factor.unwrap_or(10)
}

/// `12,000` or `0.05`: an axis value with no more places than it needs.
pub fn tick(value: i128) -> String {
    group(&Money(value).to_string())
}

/// Vertical columns over time, with an axis of amounts in `unit`.
pub fn columns(mut svg: Svg, stacks: &[Stack], unit: &str) -> (Svg, i64) {
    const TOP: i64 = 260;
    const HEIGHT: i64 = 2200;
    let (below, above) = extents(stacks);
    let span = above.saturating_sub(below).max(10_i128.pow(SCALE - 6));
    let step = step(span, 5);
    let low = below.div_euclid(step) * step;
    let high = (above + step - 1).div_euclid(step) * step;
    let span = (high - low).max(step);
    let y = |value: i128| TOP + HEIGHT - scale(value - low, span, HEIGHT);
    let ticks: Vec<i128> = (0..=span / step).map(|place| low + place * step).collect();
    let longest = ticks
        .iter()
        .map(|&value| tick(value).chars().count())
        .max()
        .unwrap_or(1);
    let left = i64::try_from(longest).unwrap_or(8) * 68 + 60;
    svg.text(0, 130, Anchor::Start, "tick", unit);
    for value in ticks {
        let class = if value == 0 { "axis" } else { "grid" };
        svg.line([left, y(value), svg.width, y(value)], class);
        svg.text(left - 60, y(value) + 40, Anchor::End, "tick", &tick(value));
    }
    let count = i64::try_from(stacks.len()).unwrap_or(1).max(1);
    let room = svg.width - left;
    let pitch = room / count;
    let gap = (pitch / 6).min(60);
    // A label needs its own width and some air: about 7 px a character.
    let chars = stacks.iter().map(|stack| stack.label.chars().count());
    let need = i64::try_from(chars.max().unwrap_or(6)).unwrap_or(6) * 70;
    let every = (need / pitch.max(1) + 1).max(1);
    for (place, stack) in stacks.iter().enumerate() {
        let place = i64::try_from(place).unwrap_or(0);
        let x = left + room * place / count + gap / 2;
        let width = (pitch - gap).max(5);
        let (mut down, mut up) = (0_i128, 0_i128);
        for segment in &stack.segments {
            let amount = segment.amount.0;
            let (from, to) = if amount < 0 {
                down = down.saturating_add(amount);
                (down, down.saturating_sub(amount))
            } else {
                up = up.saturating_add(amount);
                (up.saturating_sub(amount), up)
            };
            if amount != 0 {
                let shape = [x, y(to), width, (y(from) - y(to)).max(3)];
                svg.rect(shape, &segment.mark.class, &segment.tip);
                letter(&mut svg, shape, &segment.mark);
            }
        }
        if place % every == 0 {
            let middle = x + width / 2;
            let (at, anchor) = if middle + need / 2 > svg.width {
                (svg.width, Anchor::End)
            } else {
                (middle, Anchor::Middle)
            };
            svg.text(at, TOP + HEIGHT + 170, anchor, "tick", &stack.label);
        }
    }
    (svg, TOP + HEIGHT + 240)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(amounts: &[i128]) -> Stack {
        let mark = Mark {
            class: "s0".to_owned(),
            letter: "A".to_owned(),
        };
        let segment = |&amount: &i128| Segment {
            mark: mark.clone(),
            amount: Money(amount),
            tip: String::new(),
        };
        Stack {
            label: "x".to_owned(),
            note: String::new(),
            segments: amounts.iter().map(segment).collect(),
        }
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(step(1000, 5), 200);
        assert_eq!(step(1001, 5), 200);
        assert_eq!(step(1100, 5), 500);
        assert_eq!(step(3, 5), 1);
    }

    #[test]
    fn pieces_of_a_bar_fill_its_width_and_no_more() {
        let (svg, _) = bars(Svg::new(100), &[stack(&[1, 1, 1]), stack(&[0])]);
        let html = svg.done(100, "", "t", "d");
        for shape in [
            r#"x="0" y="22" width="33.3""#,
            r#"x="33.3" y="22" width="33.3""#,
            r#"x="66.6" y="22" width="33.4""#,
        ] {
            assert!(html.contains(shape), "{shape} in {html}");
        }
    }

    #[test]
    fn credits_lie_on_the_other_side_of_zero() {
        let (svg, _) = bars(Svg::new(100), &[stack(&[3, -1])]);
        let html = svg.done(100, "", "t", "d");
        assert!(html.contains(r#"x="25" y="22" width="75""#), "{html}");
        assert!(html.contains(r#"x="0" y="22" width="25""#), "{html}");
    }

    #[test]
    fn nothing_at_all_can_be_drawn() {
        let (_, height) = columns(Svg::new(100), &[], "USD");
        assert!(height > 0);
        let (_, height) = columns(
            Svg::new(100),
            &[stack(&[0]), stack(&[i128::MAX / 4])],
            "USD",
        );
        assert!(height > 0);
    }
}

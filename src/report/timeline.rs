//! Stages over time: a bar from the start of each to its end, and in it how busy it kept the cores.

use super::svg::{Anchor, Svg};
use super::text::shorten;

/// A bar of the timeline.
pub struct Bar {
    /// Not escaped.
    pub label: String,
    /// Beside the bar, such as its seconds; not escaped.
    pub note: String,
    /// Class of its fill.
    pub class: String,
    /// Seconds from the start of the timeline.
    pub from: f64,
    /// Seconds from the start of the timeline.
    pub to: f64,
    /// The part of the cores that was busy, 0 to 1.
    pub busy: Option<f64>,
    /// Shown on hovering, not escaped.
    pub tip: String,
}

const ROW: i64 = 340;
const BAR: i64 = 200;
const TOP: i64 = 60;

/// Bars below each other on one axis of time.
pub fn timeline(mut svg: Svg, bars: &[Bar]) -> (Svg, i64) {
    let longest = bars.iter().map(|bar| bar.label.chars().count()).max();
    let chars = longest.unwrap_or(0).min(16);
    let left = i64::try_from(chars).unwrap_or(16) * 75 + 120;
    // The note of a bar that ends at the right edge stands before it.
    let room = (svg.width - left).max(1);
    let whole = bars.iter().map(|bar| bar.to).fold(0.0, f64::max).max(0.001);
    let x = |seconds: f64| left + part(room, seconds / whole);
    let count = i64::try_from(bars.len()).unwrap_or(0);
    let base = TOP + count * ROW;
    let step = step(whole, if svg.width > 5_000 { 8.0 } else { 3.0 });
    let mut tick = 0.0;
    while tick <= whole {
        let at = x(tick);
        let class = if tick == 0.0 { "axis" } else { "grid" };
        svg.line([at, TOP - 20, at, base], class);
        let anchor = match tick {
            0.0 => Anchor::Start,
            _ if at + 200 > svg.width => Anchor::End,
            _ => Anchor::Middle,
        };
        svg.text(at, base + 150, anchor, "tick", &clock(tick));
        tick += step;
    }
    for (place, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * i64::try_from(place).unwrap_or(0);
        let label = shorten(&bar.label, chars);
        svg.text(left - 100, top + 150, Anchor::End, "label", &label);
        let (from, to) = (x(bar.from), x(bar.to));
        let length = (to - from).max(15);
        let height = BAR;
        match bar.busy {
            Some(busy) => {
                let class = format!("{} soft", bar.class);
                svg.rect([from, top, length, height], &class, &bar.tip);
                let high = part(height, busy).max(10);
                let shape = [from, top + height - high, length, high];
                svg.rect(shape, &bar.class, &bar.tip);
            }
            None => svg.rect([from, top, length, height], &bar.class, &bar.tip),
        }
        let need = i64::try_from(bar.note.chars().count()).unwrap_or(10) * 75;
        let (at, anchor) = if from + length + 60 + need <= svg.width {
            (from + length + 60, Anchor::Start)
        } else if from - left > need + 60 {
            (from - 60, Anchor::End)
        } else {
            (from + length - 60, Anchor::End)
        };
        svg.text(at, top + 150, anchor, "value label", &bar.note);
    }
    (svg, base + 230)
}

/// `share` of `length`, from nothing to all of it.
fn part(length: i64, share: f64) -> i64 {
    if !share.is_finite() {
        return 0;
    }
    // Lengths are a few thousand.
    #[allow(clippy::cast_possible_truncation)]
    let part = (length as f64 * share.clamp(0.0, 1.0)) as i64;
    part
}

/// A step that a clock has, which divides `whole` seconds into at most `most` parts.
fn step(whole: f64, most: f64) -> f64 {
    const STEPS: [f64; 20] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
        3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0,
    ];
    let fits = |step: &&f64| whole / **step <= most;
    let day = 86_400.0;
    let days = (whole / day / most).ceil().max(1.0) * day;
    STEPS.iter().find(fits).copied().unwrap_or(days)
}

/// `12 s`, `3:20 min`, `1:05 h`.
fn clock(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    if seconds < 60.0 {
        return format!("{seconds:.0} s");
    }
    let (unit, small) = if seconds < 3600.0 {
        (60.0, "min")
    } else {
        (3600.0, "h")
    };
    let rest = (seconds % unit) / unit * 60.0;
    match rest {
        0.0 => format!("{:.0} {small}", seconds / unit),
        _ => format!("{:.0}:{rest:02.0} {small}", (seconds / unit).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_a_clock() {
        assert_eq!(step(23.0, 8.0), 5.0);
        assert_eq!(step(3500.0, 8.0), 600.0);
        assert_eq!(step(10.0 * 86_400.0, 3.0), 4.0 * 86_400.0);
        let shown = [0.0, 1.4, 45.0, 60.0, 200.0, 3600.0, 3900.0].map(clock);
        let wanted = ["0 s", "1.4 s", "45 s", "1 min", "3:20 min", "1 h", "1:05 h"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn a_bar_lies_where_its_stage_ran_and_is_filled_as_far_as_it_was_busy() {
        let bar = |from, to, busy| Bar {
            label: "x".to_owned(),
            note: String::new(),
            class: "s0".to_owned(),
            from,
            to,
            busy,
            tip: String::new(),
        };
        let bars = [bar(0.0, 5.0, Some(0.5)), bar(5.0, 10.0, None)];
        let (svg, height) = timeline(Svg::new(119), &bars);
        // A label of one character leaves 19.5 px; 99.5 px are ten seconds.
        let html = svg.done(height, "", "t", "d");
        for shape in [
            r#"class="s0 soft" x="19.5" y="6" width="49.7" height="20""#,
            r#"class="s0" x="19.5" y="16" width="49.7" height="10""#,
            r#"class="s0" x="69.2" y="40" width="49.8" height="20""#,
        ] {
            assert!(html.contains(shape), "{shape} in {html}");
        }
    }

    #[test]
    fn a_run_that_took_no_time_and_numbers_that_are_none_can_be_drawn() {
        let (_, height) = timeline(Svg::new(300), &[]);
        assert!(height > 0);
        assert_eq!(part(100, f64::NAN), 0);
        assert_eq!(part(100, 7.0), 100);
    }
}

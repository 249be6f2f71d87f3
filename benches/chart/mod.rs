//! Lines over two logarithmic axes as a picture of its own, legible on light and dark ground.

use recost::report::svg::{Anchor, Svg};

/// Measured seconds of a job, and the least that the machine allows.
pub struct Line {
    pub name: &'static str,
    pub measured: Vec<f64>,
    pub least: Vec<f64>,
}

/// Seconds over what grows.
pub struct Chart<'a> {
    pub title: String,
    pub across: &'a str,
    /// `[points]`, what grows.
    pub ticks: Vec<f64>,
    pub lines: Vec<Line>,
}

const STYLE: &str = "<style>text{font:12px system-ui,sans-serif;fill:#3d444d}.title{font-size:14px;font-weight:600;\
fill:#1f2328}.grid{stroke:#d1d9e0}.s0{stroke:#0072b2;fill:#0072b2}.s1{stroke:#b35900;fill:#b35900}\
.s2{stroke:#00704f;fill:#00704f}line.s0,line.s1,line.s2{stroke-width:2}line.least{stroke-width:1.5;\
stroke-dasharray:2 4}text.s0,text.s1,text.s2{stroke:none;font-weight:600}@media(prefers-color-scheme:dark){\
text{fill:#b7bdc8}.title{fill:#f0f6fc}.grid{stroke:#3d444d}.s0{stroke:#4fa8e0;fill:#4fa8e0}.s1{stroke:#f0a03c;\
fill:#f0a03c}.s2{stroke:#2fbf91;fill:#2fbf91}}</style>";

/// In tenths of a pixel, as [`Svg`] counts.
const LEFT: f64 = 560.0;
const RIGHT: f64 = 1180.0;
const TOP: f64 = 620.0;
const HEIGHT: f64 = 2600.0;

fn tenths(value: f64) -> i64 {
    value.round() as i64
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let mut svg = Svg::new(640);
        let width = svg.width as f64 - LEFT - RIGHT;
        let seconds = self
            .lines
            .iter()
            .flat_map(|l| l.measured.iter().chain(&l.least));
        let seconds = seconds.copied().filter(|s| s.is_finite() && *s > 0.0);
        let (low, high) = seconds.fold((f64::INFINITY, 0.0f64), |(low, high), s| {
            (low.min(s), high.max(s))
        });
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        let decades = (high - low).max(1.0);
        let logs = |values: &[f64]| (values[0].log2(), values[values.len() - 1].log2());
        let (first, last) = logs(&self.ticks);
        let x = |value: f64| LEFT + (value.log2() - first) / (last - first).max(1e-9) * width;
        let y = |seconds: f64| TOP + HEIGHT - (seconds.log10() - low) / decades * HEIGHT;

        svg.text(0, 160, Anchor::Start, "title", &self.title);
        let key = "— measured, dotted: the least that this machine allows";
        svg.text(0, 370, Anchor::Start, "", key);
        for decade in low as i32..=high as i32 {
            let value = 10f64.powi(decade);
            let at = tenths(y(value));
            svg.line([tenths(LEFT), at, tenths(LEFT + width), at], "grid");
            let label = if decade < 0 {
                format!("{value:.*} s", decade.unsigned_abs() as usize)
            } else {
                format!("{value} s")
            };
            svg.text(tenths(LEFT) - 60, at + 40, Anchor::End, "", &label);
        }
        let base = tenths(TOP + HEIGHT);
        for &tick in &self.ticks {
            svg.text(
                tenths(x(tick)),
                base + 200,
                Anchor::Middle,
                "",
                &short(tick),
            );
        }
        let middle = tenths(LEFT + width / 2.0);
        svg.text(middle, base + 400, Anchor::Middle, "", self.across);

        let mut names = vec![];
        for (at, line) in self.lines.iter().enumerate() {
            for (values, kind) in [(&line.least, " least"), (&line.measured, "")] {
                let points: Vec<_> = self.ticks.iter().zip(values).collect();
                for pair in points.windows(2) {
                    let ends = [x(*pair[0].0), y(*pair[0].1), x(*pair[1].0), y(*pair[1].1)];
                    svg.line(ends.map(tenths), &format!("s{at}{kind}"));
                }
            }
            for (&tick, &seconds) in self.ticks.iter().zip(&line.measured) {
                let tip = format!("{}: {seconds:.3} s at {} {}", line.name, tick, self.across);
                let (x, y) = (tenths(x(tick)), tenths(y(seconds)));
                svg.dot(x, y, 35, &format!("s{at}"), &tip);
            }
            let end = line.measured.last().copied().unwrap_or(1.0);
            names.push((tenths(y(end)) + 40, at, line.name));
        }
        // Names at the ends of their lines, moved apart where lines meet.
        names.sort_unstable();
        let mut lowest = i64::MIN;
        for (at, line, name) in names {
            lowest = at.max(lowest.saturating_add(160));
            let x = tenths(LEFT + width) + 90;
            svg.text(x, lowest, Anchor::Start, &format!("s{line}"), name);
        }
        let about = format!("{} over {}, both logarithmic", self.title, self.across);
        let svg = svg.done(base + 460, "", &self.title, &about);
        // A file needs the name space and brings its own style.
        svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
            .replacen("</desc>", &format!("</desc>{STYLE}"), 1)
    }
}

/// 40000 as `40k`.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v => format!("{v}"),
    }
}

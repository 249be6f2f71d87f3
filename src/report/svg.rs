//! Inline SVG: shapes with a tooltip, on integer coordinates in tenths of a pixel.

use super::text::escape;
use std::fmt::Write as _;

/// Widths in pixels at which each chart is drawn: for a page, and for a phone.
pub const WIDTHS: [i64; 2] = [960, 328];

/// A picture under construction. Lengths are in tenths of a pixel.
pub struct Svg {
    body: String,
    pub width: i64,
}

/// Where a text is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// `value / most` of `length`, rounded down; 0 when `most` is not positive.
pub fn scale(value: i128, most: i128, length: i64) -> i64 {
    if most <= 0 {
        return 0;
    }
    // Far beyond a pixel's worth of digits is kept, and the product cannot overflow.
    let spare = 10_i128.pow(most.unsigned_abs().ilog10().saturating_sub(28));
    let (value, most) = (value / spare, most / spare);
    let length = i128::from(length);
    let scaled = value
        .checked_mul(length)
        .map_or(length, |product| product.div_euclid(most));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

fn px(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    let size = tenths.unsigned_abs();
    if size.is_multiple_of(10) {
        format!("{sign}{}", size / 10)
    } else {
        format!("{sign}{}.{}", size / 10, size % 10)
    }
}

impl Svg {
    /// An empty picture, `width` pixels wide.
    pub fn new(width: i64) -> Self {
        Self {
            body: String::new(),
            width: width * 10,
        }
    }

    /// A filled rectangle; `tip` is shown on hovering.
    pub fn rect(&mut self, [x, y, width, height]: [i64; 4], class: &str, tip: &str) {
        let (x, y, width, height) = (px(x), px(y), px(width), px(height));
        let _ = write!(
            self.body,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"><title>{}</title></rect>"#,
            escape(tip)
        );
    }

    /// A dot; `tip` is shown on hovering.
    pub fn dot(&mut self, x: i64, y: i64, radius: i64, class: &str, tip: &str) {
        let _ = write!(
            self.body,
            r#"<circle class="{class}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>"#,
            px(x),
            px(y),
            px(radius),
            escape(tip)
        );
    }

    /// A straight line.
    pub fn line(&mut self, [x1, y1, x2, y2]: [i64; 4], class: &str) {
        let (x1, y1, x2, y2) = (px(x1), px(y1), px(x2), px(y2));
        let _ = write!(
            self.body,
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        );
    }

    /// A text on its baseline.
    pub fn text(&mut self, x: i64, y: i64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
            px(x),
            px(y),
            escape(text)
        );
    }

    /// The whole picture, `height` tenths of a pixel high.
    pub fn done(self, height: i64, class: &str, title: &str, about: &str) -> String {
        let (width, height) = (px(self.width), px(height));
        format!(
            r#"<svg class="{class}" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}"><title>{}</title><desc>{}</desc>{}</svg>"#,
            escape(title),
            escape(about),
            self.body
        )
    }
}

/// The same chart at both of [`WIDTHS`]; the style sheet shows the one that fits.
pub fn figure(title: &str, about: &str, key: &str, draw: impl Fn(Svg) -> (Svg, i64)) -> String {
    let mut out = format!("<figure><figcaption>{}</figcaption>{key}", escape(title));
    for (width, class) in WIDTHS.into_iter().zip(["wide", "narrow"]) {
        let (svg, height) = draw(Svg::new(width));
        out.push_str(&svg.done(height, class, title, about));
    }
    out.push_str("</figure>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_survives_the_largest_amounts() {
        assert_eq!(scale(1, 2, 100), 50);
        assert_eq!(scale(i128::MAX / 2, i128::MAX, 8600), 4299);
        assert_eq!(scale(5, 0, 100), 0);
        assert_eq!(scale(-1, 2, 100), -50);
    }

    #[test]
    fn coordinates_are_plain_decimals() {
        assert_eq!([px(0), px(15), px(-7), px(120)], ["0", "1.5", "-0.7", "12"]);
    }
}

//! The parts of the page, in the order in which they are read. Each returns HTML.

pub mod bridge;
pub mod changes;
pub mod compare;
pub mod conformance;
pub mod converted;
pub mod costs;
pub mod days;
pub mod frontier;
pub mod glossary;
pub mod headline;
pub mod losses;
pub mod machines;
pub mod making;
pub mod night;
pub mod periods;
pub mod proof;
pub mod quality;
pub mod units;

use super::marks::Mark;
use super::text::{escape, label};

/// A section with its anchor and heading; `intro` and `body` are HTML.
pub fn section(id: &str, heading: &str, intro: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\"><h2>{heading}</h2><p class=\"intro\">{intro}</p>\n{body}</section>\n"
    )
}

/// A name behind its mark, as in the charts' keys. HTML.
pub fn marked(mark: &Mark, name: &str) -> String {
    format!(
        "<span class=\"mark m-{}\">{}</span> {}",
        mark.class,
        if mark.letter.is_empty() {
            "\u{a0}".to_owned()
        } else {
            escape(&mark.letter)
        },
        label(name)
    )
}

/// Something that a reader must not overlook. HTML.
pub fn alert(text: &str) -> String {
    format!("<p class=\"warning\"><strong>▲ Warning.</strong> {text}</p>\n")
}

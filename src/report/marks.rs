//! How models, idle and unallocated are told apart, the same all over the report.

use super::data::{ReportData, Target};
use super::view::View;

/// Marks of the models, the same all over the report: by cost in the first
/// currency that has the model, then by name.
pub struct Marks {
    models: Vec<String>,
}

/// How a series is told apart: by a colour and a letter, or by a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub class: String,
    pub letter: String,
}

/// Series that have a colour of their own.
const COLOURS: usize = 6;

impl Marks {
    /// Collects the models of all sections.
    pub fn new(data: &ReportData, views: &[View]) -> Self {
        let costly = views
            .iter()
            .flat_map(|view| view.models.iter().map(|model| &model.model_id));
        let mut rest: Vec<&String> = data.quality.iter().map(|metric| &metric.model_id).collect();
        rest.sort();
        let mut models: Vec<String> = Vec::new();
        for id in costly.chain(rest) {
            if !models.contains(id) {
                models.push(id.clone());
            }
        }
        Self { models }
    }

    /// The mark of a model.
    pub fn model(&self, id: &str) -> Mark {
        let place = self.models.iter().position(|known| known == id);
        let place = place.unwrap_or(self.models.len());
        let class = if place < COLOURS {
            format!("s{place}")
        } else {
            "sx".to_owned()
        };
        let letter = match u8::try_from(place) {
            Ok(place @ 0..26) => char::from(b'A' + place).to_string(),
            _ => (place + 1).to_string(),
        };
        Mark { class, letter }
    }

    /// The mark of a target.
    pub fn target(&self, target: &Target) -> Mark {
        let (class, letter) = match target {
            Target::Model(id) => return self.model(id),
            Target::Idle => ("idle", ""),
            Target::Unallocated => ("open", ""),
        };
        Mark {
            class: class.to_owned(),
            letter: letter.to_owned(),
        }
    }
}

/// A target's name, not escaped.
pub fn name(target: &Target) -> &str {
    match target {
        Target::Model(id) => id,
        Target::Idle => "Idle",
        Target::Unallocated => "Unallocated",
    }
}

//! A night: which stages run, over what, in which order; what was done is written down, and published in one step.

pub mod check;
pub mod close;
pub mod compact;
mod devices;
pub mod died;
pub mod freshness;
mod inputs;
pub mod interrupt;
pub mod ledger;
pub mod meter;
pub mod nights;
mod origin;
pub mod own_use;
mod resume;
mod retry;
pub mod run;
pub mod runs;
mod stages;
pub mod stand;
pub mod unchanged;

pub(crate) use resume::{forget as forget_unfinished, readable as finished_stages};

use std::fmt;
use std::str::FromStr;

use crate::config::Pipeline;
use crate::error::{Error, nearest};
use crate::model::{Family, item_item};

/// The stages, in the order in which the data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Exports → events, items, users, usage, charges.
    Ingest,
    /// Events → sessions, interactions, user and item features.
    Features,
    /// Interactions → models and factors.
    Train,
    /// Models → recommendations.
    Score,
    /// Models → evaluation against popularity.
    Evaluate,
    /// Charges, usage, served recommendations → costs.
    Attribute,
    /// Every check that must hold before publishing.
    Check,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 7] = [
        Stage::Ingest,
        Stage::Features,
        Stage::Train,
        Stage::Score,
        Stage::Evaluate,
        Stage::Attribute,
        Stage::Check,
    ];

    /// The name on the command line and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ingest => "ingest",
            Stage::Features => "features",
            Stage::Train => "train",
            Stage::Score => "score",
            Stage::Evaluate => "evaluate",
            Stage::Attribute => "attribute",
            Stage::Check => "check",
        }
    }

    /// The tables that the stage writes.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Stage::Ingest => &[
                "events",
                "items",
                "users",
                "usage",
                "exchange_rates",
                "charges",
                "late_charges",
                "superseded_charges",
                "deliveries",
                "delivery_sums",
                "quarantine",
                "invoices",
                "commitments",
                "conformance",
            ],
            Stage::Features => &[
                "sessions",
                "interactions",
                "user_features",
                "item_features",
                "night_inputs",
            ],
            Stage::Train => &["models", "user_factors", "item_factors", "item_neighbours"],
            Stage::Score => &["recommendations"],
            Stage::Evaluate => &["evaluation", "evaluation_pairs"],
            Stage::Attribute => &[
                "allocations",
                "late_allocations",
                "restatements",
                "allocation_days",
                "largest_allocations",
                "model_costs",
                "converted_costs",
                "served_days",
                "version_ledger",
                "recommendation_costs",
                "outcomes",
                "unit_costs",
                "frontier",
                "reconciliation",
            ],
            Stage::Check => &[],
        }
    }
}

impl Stage {
    /// Whether `pipeline` gives the stage something to do.
    pub fn applies(self, pipeline: &Pipeline) -> bool {
        match self {
            Stage::Train | Stage::Score => !pipeline.models.is_empty(),
            Stage::Evaluate => !pipeline.models.is_empty() && pipeline.evaluation.enabled,
            _ => true,
        }
    }
}

/// Whether some model of `pipeline` has rows for a table of what models learnt; of other tables true.
pub fn has_rows_for(pipeline: &Pipeline, table: &str) -> bool {
    let any = |has: fn(Family) -> bool| pipeline.models.iter().any(|model| has(model.family));
    match table {
        "user_factors" => any(Family::has_vectors),
        "item_factors" => any(|family| family != item_item::FAMILY),
        "item_neighbours" => any(|family| family == item_item::FAMILY),
        _ => true,
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stages that `--select` names: a stage or a table, with `+` for all that come after. The checks always run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(pub Vec<Stage>);

impl Default for Selection {
    fn default() -> Self {
        Selection(Stage::ALL.to_vec())
    }
}

impl Selection {
    /// Whether a stage is to run.
    pub fn has(&self, stage: Stage) -> bool {
        self.0.contains(&stage)
    }

    /// The selected stages that `pipeline` gives something to do, in order.
    pub fn stages(&self, pipeline: &Pipeline) -> impl Iterator<Item = Stage> {
        let all = Stage::ALL.into_iter();
        all.filter(move |stage| self.has(*stage) && stage.applies(pipeline))
    }
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, after) = match text.strip_suffix('+') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let found = Stage::ALL
            .into_iter()
            .find(|s| s.name() == name || s.tables().contains(&name));
        let Some(stage) = found else {
            let names = Stage::ALL
                .iter()
                .flat_map(|s| std::iter::once(s.name()).chain(s.tables().iter().copied()));
            let error = Error::new(
                crate::error::Kind::NothingToDo,
                format!(
                    "`{text}` selects nothing: it is neither a stage nor a table that a stage writes"
                ),
            );
            return Err(match nearest(name, names) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => {
                    error.help("stages: ingest, features, train, score, evaluate, attribute, check")
                }
            });
        };
        let mut stages: Vec<Stage> = Stage::ALL
            .into_iter()
            .filter(|s| *s == stage || (after && *s > stage))
            .collect();
        if !stages.contains(&Stage::Check) {
            stages.push(Stage::Check);
        }
        Ok(Selection(stages))
    }
}

//! Model families and what they share: names, parameters, errors, files.
//!
//! A family is one file: its hyperparameters, their checks, and how it trains, behind [`Learner`]; its [`Definition`] is
//! listed in [`Family::ALL`]. Nothing else knows families one by one.

pub mod als;
pub mod bpr;
pub mod ccl;
pub mod compress;
pub mod content;
mod contributions;
pub mod file;
pub mod fits;
mod fitted;
pub mod former;
pub mod fusion;
pub mod gradient;
mod held;
pub mod item_item;
pub mod logistic;
mod normal;
mod params;
pub mod popular;
pub(crate) mod random;
pub mod softmax;
pub mod squared;
pub mod stage;
pub mod tables;
pub mod warm;

use crate::compute::{ComputeError, Device};
use crate::features::csr::Csr;
pub use contributions::Contributions;
pub use fitted::{Factors, Fitted, Neighbours};
pub use held::Held;
use std::str::FromStr;

/// A way to turn interactions into scores.
#[derive(Clone, Copy)]
pub struct Family(&'static Definition);

/// What there is to know of a family.
pub struct Definition {
    /// The name in configuration files and tables.
    pub name: &'static str,
    /// Whether users get lists of their own; otherwise there is one list for everyone.
    pub personal: bool,
    /// The hyperparameter that counts passes over the interactions, where it trains in passes.
    pub passes: Option<&'static str>,
    /// What a search tries where the pipeline file does not say, as TOML; empty where there is nothing to search.
    pub space: &'static str,
    /// Checks hyperparameters as the pipeline file gives them and fills in defaults.
    pub configure: fn(&toml::Table) -> Result<Box<dyn Learner>, ModelError>,
}

/// A family with its hyperparameters, ready to be trained.
pub trait Learner: Send + Sync {
    /// Every hyperparameter with its value, defaults filled in, as a JSON object.
    ///
    /// # Errors
    /// None that can happen.
    fn hyperparameters(&self) -> Result<String, ModelError>;

    /// A hyperparameter that is a whole number, by its name; `None` where the family has no such one.
    ///
    /// # Errors
    /// None that can happen.
    fn whole_number(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let all: serde_json::Value = serde_json::from_str(&self.hyperparameters()?)
            .map_err(|error| ModelError::Hyperparameters(error.to_string()))?;
        let number = all.get(name).and_then(serde_json::Value::as_u64);
        Ok(number.and_then(|number| usize::try_from(number).ok()))
    }

    /// About how many bytes training on `weights` `[users, items]` takes on the CPU, beside the interactions themselves.
    fn bytes(&self, weights: &Csr) -> u64;

    /// Trains on `examples`. The same input gives the same bits on the same device.
    ///
    /// # Errors
    /// Interactions that cannot be learnt from, a result that is not finite, and those of the device.
    fn train(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError>;

    /// Takes in what came after the training of an earlier version: the item vectors that are `held` stand, those of users and
    /// of other items are worked out against them. Families without vectors are trained.
    ///
    /// # Errors
    /// Those of training.
    fn fold_in(
        &self,
        device: &dyn Device,
        examples: &Examples<'_>,
        _: &Held<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        self.train(device, examples, observer)
    }

    /// What each item of a user's history adds to the scores of what it fitted; `None` where scores do not come from a
    /// history.
    ///
    /// # Errors
    /// Those of the device.
    fn contributions<'a>(
        &self,
        _: &dyn Device,
        fitted: &'a Fitted,
    ) -> Result<Option<Box<dyn Contributions + 'a>>, ModelError> {
        Ok(contributions::of_fitted(fitted))
    }
}

/// What a model learns from.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// `[users, items]`: how much each user took to an item; never negative.
    pub weights: &'a Csr,
    /// When, in microseconds, beside the entries of `weights`; `None` where nobody knows.
    pub times: Option<&'a [i64]>,
    /// Factors of an earlier version for a warm start, on these users and items; zero where it had none. Families that
    /// train in passes then take a third of them ([`warm::passes`]), others do as always.
    pub start: Option<&'a Factors>,
}

impl<'a> Examples<'a> {
    /// Without times and from nothing.
    pub fn new(weights: &'a Csr) -> Self {
        Self {
            weights,
            times: None,
            start: None,
        }
    }
}

/// Entries, users and items.
fn sizes(weights: &Csr) -> (u64, u64, u64) {
    let (users, items) = (weights.rows() as u64, weights.cols() as u64);
    (weights.values().len() as u64, users, items)
}

/// Names the first weight below 0.
fn check_weights(interactions: &Csr) -> Result<(), ModelError> {
    match interactions.values().iter().position(|&w| w < 0.0) {
        None => Ok(()),
        Some(at) => {
            let row = interactions
                .indptr()
                .partition_point(|&end| end <= at as u64)
                - 1;
            Err(ModelError::Interactions(format!(
                "row {row}, column {}: the weight {} is negative; give confidence, not dislike",
                interactions.indices()[at],
                interactions.values()[at]
            )))
        }
    }
}

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Passes over the interactions so far, from 1.
    pub pass: usize,
    /// Wall-clock seconds since training began.
    pub seconds: f64,
    /// Mean loss of the pass, where the family has one.
    pub loss: Option<f64>,
    /// NDCG@20 on the interactions held back, where any are.
    pub validation: Option<f64>,
}

impl Family {
    /// Every family, in the order of their names.
    pub const ALL: [Self; 8] = [
        als::FAMILY,
        bpr::FAMILY,
        ccl::FAMILY,
        item_item::FAMILY,
        logistic::FAMILY,
        popular::FAMILY,
        softmax::FAMILY,
        squared::FAMILY,
    ];

    /// The family of a definition.
    pub const fn new(definition: &'static Definition) -> Self {
        Self(definition)
    }

    /// The name in configuration files and tables.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether users get lists of their own.
    pub fn is_personal(self) -> bool {
        self.0.personal
    }

    /// The hyperparameter that counts passes over the interactions.
    pub fn passes(self) -> Option<&'static str> {
        self.0.passes
    }

    /// Whether it learns a vector for each user and item: what trains in passes does.
    pub fn has_vectors(self) -> bool {
        self.passes().is_some()
    }

    /// What a search tries by default, as TOML.
    pub fn space(self) -> &'static str {
        self.0.space
    }

    /// Checks a model's hyperparameters as the pipeline file gives them.
    ///
    /// # Errors
    /// The key that is unknown or the value that is out of range.
    pub fn configure(self, params: &toml::Table) -> Result<Box<dyn Learner>, ModelError> {
        (self.0.configure)(params)
    }

    /// Every name.
    pub fn names() -> &'static [&'static str] {
        const NAMES: [&str; Family::ALL.len()] = {
            let mut names = [""; Family::ALL.len()];
            let mut at = 0;
            while at < names.len() {
                names[at] = Family::ALL[at].0.name;
                at += 1;
            }
            names
        };
        &NAMES
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Family {}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::ALL
            .into_iter()
            .find(|family| family.name() == text)
            .ok_or_else(|| ModelError::UnknownFamily(text.to_owned()))
    }
}

impl<'de> serde::Deserialize<'de> for Family {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::unknown_variant(&text, Self::names()))
    }
}

impl serde::Serialize for Family {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What can go wrong while a model is trained, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No family has this name.
    #[error("no model family is called \"{0}\": write one of {names}", names = Family::names().join(", "))]
    UnknownFamily(String),
    /// A hyperparameter outside its range.
    #[error("{name} = {value}: {wanted}")]
    Parameter {
        name: &'static str,
        value: String,
        wanted: String,
    },
    /// A hyperparameter that the family does not have, or of another type.
    #[error("{0}")]
    Hyperparameters(String),
    /// A compression that cannot be.
    #[error("{0}")]
    Compression(String),
    /// Interactions that the family cannot learn from.
    #[error("{0}")]
    Interactions(String),
    /// The result is not finite.
    #[error("training diverged: the factors of row {row} are not finite. {remedy}")]
    Diverged { row: usize, remedy: &'static str },
    /// A warm start from a version that does not fit.
    #[error(
        "a warm start from version {version} is not possible: {reason}. Train once from nothing: set `warm_start = false` \
         for a night"
    )]
    WarmStart { version: String, reason: String },
    /// The device failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    /// The file is not a whole model file.
    #[error("{path}: not a valid model file: {reason}. Train the model again")]
    Corrupt {
        path: std::path::PathBuf,
        reason: String,
    },
    /// The file was written by another version of the format.
    #[error(
        "{path}: model file format {found}, this program reads {wanted}. Train the model again"
    )]
    Version {
        path: std::path::PathBuf,
        found: String,
        wanted: &'static str,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_families_are_the_same_everywhere_and_in_order() {
        for family in Family::ALL {
            assert_eq!(family.to_string().parse::<Family>().unwrap(), family);
            let json = format!("\"{family}\"");
            assert_eq!(serde_json::from_str::<Family>(&json).unwrap(), family);
        }
        assert!(Family::names().is_sorted());
        let error = "ALS2".parse::<Family>().unwrap_err().to_string();
        assert!(
            error.ends_with(
                "write one of als, bpr, ccl, item_item, logistic, popular, softmax, squared"
            ),
            "{error}"
        );
    }

    #[test]
    fn every_family_has_defaults_and_refuses_a_key_that_it_lacks() {
        for family in Family::ALL {
            let learner = family.configure(&toml::Table::new()).unwrap();
            let json: serde_json::Value =
                serde_json::from_str(&learner.hyperparameters().unwrap()).unwrap();
            assert!(json.is_object());
            let table = toml::toml! { learning_speed = 1 };
            let error = family.configure(&table).err().unwrap().to_string();
            assert!(error.contains("`learning_speed`"), "{family}: {error}");
        }
    }
}

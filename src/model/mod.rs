//! Model families and what they share: names, parameters, errors, files.

pub mod als;
pub mod file;
pub mod popular;
pub mod stage;

use crate::compute::ComputeError;
use std::str::FromStr;

/// A way to turn interactions into scores.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Matrix factorisation for implicit feedback by alternating least squares: see [`als`].
    Als,
    /// The same order for everyone, by weighted interactions: see [`popular`].
    Popular,
}

impl Family {
    /// Every family, in the order of their names.
    pub const ALL: [Self; 2] = [Self::Als, Self::Popular];

    /// The name in configuration files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Als => "als",
            Self::Popular => "popular",
        }
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

/// Checks a model's hyperparameters as the pipeline file gives them.
///
/// # Errors
/// The key that is unknown or the value that is out of range.
pub fn validate_params(family: Family, params: &toml::Table) -> Result<(), ModelError> {
    match family {
        Family::Als => als_params(params).map(|_| ()),
        Family::Popular => match params.keys().next() {
            None => Ok(()),
            Some(key) => Err(ModelError::Hyperparameters(format!(
                "the family popular has no hyperparameter `{key}`"
            ))),
        },
    }
}

/// The hyperparameters of [`Family::Als`], defaults filled in.
///
/// # Errors
/// As [`validate_params`].
pub fn als_params(params: &toml::Table) -> Result<als::AlsParams, ModelError> {
    let params: als::AlsParams = params
        .clone()
        .try_into()
        .map_err(|e: toml::de::Error| ModelError::Hyperparameters(e.message().to_string()))?;
    params.validate()?;
    Ok(params)
}

/// What can go wrong while a model is trained, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No family has this name.
    #[error("no model family is called \"{0}\": write als or popular")]
    UnknownFamily(String),
    /// A hyperparameter outside its range.
    #[error("{name} = {value}: {wanted}")]
    Parameter {
        name: &'static str,
        value: String,
        wanted: &'static str,
    },
    /// A hyperparameter that the family does not have, or of another type.
    #[error("{0}")]
    Hyperparameters(String),
    /// Interactions that the family cannot learn from.
    #[error("{0}")]
    Interactions(String),
    /// The result is not finite.
    #[error(
        "training diverged: the factors of row {row} are not finite. Raise the regularization or lower alpha"
    )]
    Diverged { row: usize },
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
    fn names_of_families_are_the_same_everywhere() {
        for family in Family::ALL {
            assert_eq!(family.to_string().parse::<Family>().unwrap(), family);
            let json = serde_json::to_string(&family).unwrap();
            assert_eq!(json, format!("\"{family}\""));
            assert_eq!(serde_json::from_str::<Family>(&json).unwrap(), family);
        }
        assert!("ALS2".parse::<Family>().is_err());
    }
}

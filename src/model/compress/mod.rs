//! Smaller models: what a pipeline file may ask for, and how a model is made smaller.
//!
//! A compressed model is made from a trained one in four steps, of which each may be left out: a student is taught
//! ([`distil`]), rows are left out ([`rows`]), dimensions ([`dimensions`]), digits ([`numbers`]).

pub mod dimensions;
pub mod distil;
pub mod numbers;
pub mod rows;

use super::{Examples, Factors, Family, Fitted, ModelError, params};
use crate::compute::Device;
pub use distil::Distil;
pub use numbers::Numbers;

/// `compression` of a model in a pipeline file.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// A student in the model's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distil: Option<Distil>,
    /// Users and items with fewer interactions get no vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interactions: Option<usize>,
    /// Dimensions that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// How numbers are stored.
    #[serde(skip_serializing_if = "is_f32")]
    pub numbers: Numbers,
}

fn is_f32(numbers: &Numbers) -> bool {
    *numbers == Numbers::F32
}

impl Compression {
    /// As JSON, without what it leaves alone.
    ///
    /// # Errors
    /// None that can happen.
    pub fn json(&self) -> Result<String, ModelError> {
        params::json(self)
    }

    /// What is done, in words, such as `32 dimensions, int8`.
    pub fn words(&self) -> String {
        let mut parts = vec![];
        if let Some(distil) = &self.distil {
            parts.push(format!("student of {} dimensions", distil.dim));
        }
        if let Some(least) = self.min_interactions {
            parts.push(format!("rows of {least} interactions and more"));
        }
        if let Some(keep) = self.dimensions {
            parts.push(format!("{keep} dimensions"));
        }
        if self.numbers != Numbers::F32 {
            parts.push(self.numbers.name().to_owned());
        }
        parts.join(", ")
    }

    /// The family and hyperparameters of what is made from a model of `family` with `given` hyperparameters.
    ///
    /// # Errors
    /// Settings that are out of range, that say nothing or contradict each other, or do not fit the model.
    pub fn resolve(
        &self,
        family: Family,
        given: &toml::Table,
    ) -> Result<(Family, toml::Table), ModelError> {
        let wrong = |text: String| Err(ModelError::Compression(text));
        if *self == Self::default() {
            return wrong("`compression` changes nothing: write `numbers`, `dimensions`, `min_interactions` or `distil`".into());
        }
        let Some(dim) = family.configure(given)?.whole_number("dim")? else {
            return wrong(format!(
                "a model of the family `{family}` has no vectors to compress"
            ));
        };
        if let Some(least) = self.min_interactions {
            params::within("min_interactions", least, 1, 1_000_000)?;
        }
        if let Some(keep) = self.dimensions {
            if self.distil.is_some() {
                return wrong(
                    "`dimensions` and `distil` both set the length of vectors: leave one out"
                        .into(),
                );
            }
            params::within("dimensions", keep, 1, dim)?;
        }
        let Some(distil) = &self.distil else {
            return Ok((family, given.clone()));
        };
        distil.validate()?;
        let student = distil.family.unwrap_or(family);
        let mut all = if student == family {
            given.clone()
        } else {
            toml::Table::new()
        };
        all.extend(distil.params.clone());
        if distil.params.contains_key("dim") {
            return wrong("`dim` belongs to `distil` itself, not to its `params`".into());
        }
        let dim = i64::try_from(distil.dim).unwrap_or(i64::MAX);
        all.insert("dim".into(), dim.into());
        student.configure(&all)?;
        Ok((student, all))
    }

    /// Makes the smaller model. `examples` are those that `parent` was trained on; `family` and `given` are what
    /// [`Self::resolve`] gave. The same input gives the same bits on the same device.
    ///
    /// # Errors
    /// A parent without vectors, values that the number format cannot hold, nothing left; those of a student's training.
    pub fn apply(
        &self,
        device: &dyn Device,
        parent: &Fitted,
        examples: &Examples<'_>,
        (family, given): (Family, &toml::Table),
    ) -> Result<Fitted, ModelError> {
        let mut factors = of(parent)?.clone();
        if let Some(distil) = &self.distil {
            let (weights, times) = distil.lessons(device, &factors, examples)?;
            let lessons = Examples {
                times: times.as_deref(),
                ..Examples::new(&weights)
            };
            let student = family
                .configure(given)?
                .train(device, &lessons, &mut |_| {})?;
            factors = of(&student)?.clone();
        }
        if let Some(least) = self.min_interactions {
            rows::prune(&mut factors, examples.weights, least)?;
        }
        if let Some(keep) = self.dimensions {
            params::within("dimensions", keep, 1, factors.users.cols())?;
            factors = dimensions::prune(&factors, keep)?;
        }
        Ok(Fitted::Factors(Factors {
            users: self.numbers.coarsen(&factors.users)?,
            items: self.numbers.coarsen(&factors.items)?,
        }))
    }
}

/// The vectors of a model.
fn of(model: &Fitted) -> Result<&Factors, ModelError> {
    match model {
        Fitted::Factors(factors) => Ok(factors),
        _ => Err(ModelError::Compression(
            "the model has no vectors to compress".into(),
        )),
    }
}

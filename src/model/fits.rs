//! The models of a pipeline on one set of interactions: trained, from nothing or from an earlier version, or made from another.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use chrono::NaiveDate;

use super::stage::{contract, path};
use super::{Examples, Factors, Fitted, file, fusion, warm};
use crate::compute::Device;
use crate::config::{Compressed, Model};
use crate::error::{Error, Result};
use crate::features::content::Content;
use crate::features::interactions::Interactions;
use crate::warehouse::store;

/// A model as it was trained, or made from another.
#[derive(Clone)]
pub struct Fit {
    /// What ranks items.
    pub fitted: Fitted,
    /// Every hyperparameter with its value, a JSON object.
    pub hyperparameters: String,
    /// Where a warm start came from.
    pub start: Option<Start>,
    /// How many interactions the content of an item counts for, where it was fused with what was learnt.
    pub content_trust: Option<f64>,
    /// Wall-clock seconds of it alone, without those of what it was made from.
    pub seconds: f64,
}

/// Where a warm start came from.
#[derive(Clone)]
pub struct Start {
    /// The version.
    pub version: String,
    /// See [`warm::agreement`].
    pub agreement: Option<f64>,
}

/// The models of a pipeline on one set of interactions. One that others are made from is trained once.
pub struct Fits<'a> {
    device: &'a dyn Device,
    models: &'a [Model],
    interactions: &'a Interactions,
    /// Of items, where a model is fused with it.
    content: Option<&'a Content>,
    /// Where warm starts come from: versions of that day or before.
    former: (&'a Path, NaiveDate),
    /// Those that will be asked for again, and how often.
    kept: HashMap<&'a str, (Fit, usize)>,
}

impl<'a> Fits<'a> {
    /// Nothing is trained before it is asked for.
    pub fn new(
        device: &'a dyn Device,
        models: &'a [Model],
        interactions: &'a Interactions,
        content: Option<&'a Content>,
        former: (&'a Path, NaiveDate),
    ) -> Self {
        Self {
            device,
            models,
            interactions,
            content,
            former,
            kept: HashMap::new(),
        }
    }

    /// The model, trained or made from another; each is asked for once.
    ///
    /// # Errors
    /// Those of the family, of the device, of the former version's file and of the compression.
    pub fn fit(&mut self, model: &'a Model) -> Result<Fit> {
        let context = |e: Error| e.context(format!("model `{}`", model.id));
        let Some(Compressed { from, compression }) = &model.compressed else {
            return self.trained(model).map_err(context);
        };
        let parent = self.models.iter().find(|other| other.id == *from);
        let parent = parent.ok_or_else(|| Error::unexpected(format!("no model `{from}`")))?;
        let parent = self
            .trained(parent)
            .map_err(|e| e.context(format!("model `{from}`")))?;
        let started = Instant::now();
        let made_of = (model.family, &model.params);
        let examples = self.interactions.examples();
        let fitted = compression
            .apply(self.device, &parent.fitted, &examples, made_of)
            .map_err(|e| context(e.into()))?;
        let learner = model.family.configure(&model.params)?;
        Ok(Fit {
            fitted,
            hyperparameters: learner.hyperparameters()?,
            start: None,
            content_trust: None,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn trained(&mut self, model: &'a Model) -> Result<Fit> {
        let (found, left) = match self.kept.remove(model.id.as_str()) {
            Some(kept) => kept,
            None => {
                let of = |other: &&Model| {
                    let compressed = other.compressed.as_ref();
                    compressed.is_some_and(|compressed| compressed.from == model.id)
                };
                let uses = 1 + self.models.iter().filter(of).count();
                (self.fit_alone(model)?, uses)
            }
        };
        if left > 1 {
            self.kept.insert(&model.id, (found.clone(), left - 1));
        }
        Ok(found)
    }

    /// Trains a model, from an earlier version where it may.
    fn fit_alone(&self, model: &Model) -> Result<Fit> {
        let (device, interactions) = (self.device, self.interactions);
        let started = Instant::now();
        let learner = model.family.configure(&model.params)?;
        let hyperparameters = learner.hyperparameters()?;
        let former = if model.warm_start {
            let dim = learner.whole_number("dim")?;
            former(self.former, model, interactions, dim)?
        } else {
            None
        };
        let examples = Examples {
            start: former.as_ref().map(|(_, factors)| factors),
            ..interactions.examples()
        };
        let mut fitted = learner.train(device, &examples, &mut |progress| {
            tracing::debug!(
                model = %model.id,
                pass = progress.pass,
                seconds = progress.seconds,
                loss = progress.loss,
                validation = progress.validation,
                "pass"
            );
        })?;
        let start = former.map(|(version, factors)| Start {
            version,
            agreement: match &fitted {
                Fitted::Factors(now) => warm::agreement(&factors.items, &now.items),
                _ => None,
            },
        });
        let mut content_trust = None;
        fitted = match (fitted, self.content) {
            (Fitted::Factors(factors), Some(content)) if model.fusion => {
                let (factors, trust) =
                    fusion::fuse(device, &*learner, interactions, content, factors)?;
                content_trust = Some(trust);
                Fitted::Factors(factors)
            }
            (fitted, _) => fitted,
        };
        Ok(Fit {
            fitted,
            hyperparameters,
            start,
            content_trust,
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

/// The newest version of a model, of `until` or before, on the rows of `interactions`.
fn former(
    (snapshot, until): (&Path, NaiveDate),
    model: &Model,
    interactions: &Interactions,
    dim: Option<usize>,
) -> Result<Option<(String, Factors)>> {
    let dates = store::partitions(snapshot, contract("models")?)?;
    let days = dates.iter().filter_map(|ds| ds.parse().ok());
    let mut days: Vec<NaiveDate> = days.filter(|day| *day <= until).collect();
    days.sort_unstable();
    for day in days.into_iter().rev() {
        let path = path(snapshot, day, &model.id)?;
        if !path.exists() {
            continue;
        }
        let ids = (&interactions.users[..], &interactions.items[..]);
        let family = model.family.name();
        let read = file::read(&path)?;
        let found = warm::align(&read, family, dim, ids, &interactions.weights)?;
        if found.is_none() {
            tracing::info!(model = %model.id, version = %day, "too little in common for a warm start");
        }
        return Ok(found.map(|factors| (day.to_string(), factors)));
    }
    Ok(None)
}

//! The models of a pipeline on one set of interactions: trained, from nothing or from an earlier version, folded into one, or
//! made from another.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Instant;

use chrono::NaiveDate;

use super::file::{self, ModelFile};
use super::stage::path;
use super::{Examples, Factors, Fitted, Held, Learner, Progress, former, fusion, warm};
use crate::compute::Device;
use crate::config::{Compressed, Model};
use crate::error::{Error, Result};
use crate::features::content::Content;
use crate::features::ids::places;
use crate::features::interactions::Interactions;

/// A model as it was trained, or made from another.
#[derive(Clone)]
pub struct Fit {
    /// What ranks items.
    pub fitted: Fitted,
    /// Every hyperparameter with its value, a JSON object.
    pub hyperparameters: String,
    /// Where a warm start or a fold-in came from.
    pub start: Option<Start>,
    /// The night on which its item vectors were learnt, where they were folded into; `None` where all was learnt now.
    pub folded_into: Option<NaiveDate>,
    /// How many interactions the content of an item counts for, where it was fused with what was learnt.
    pub content_trust: Option<f64>,
    /// Wall-clock seconds of it alone, without those of what it was made from.
    pub seconds: f64,
}

/// Where a warm start or a fold-in came from.
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
    /// By model, the nights on which what is folded into may have been trained; a model that is not here is trained.
    nights: HashMap<&'a str, RangeInclusive<NaiveDate>>,
    /// Bytes that the process may take.
    memory: usize,
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
        memory: usize,
    ) -> Self {
        Self {
            device,
            models,
            interactions,
            content,
            former,
            nights: HashMap::new(),
            memory,
            kept: HashMap::new(),
        }
    }

    /// Folds in those models for which `nights` says on which nights what they are folded into may have been trained.
    pub fn folding(
        mut self,
        nights: impl IntoIterator<Item = (&'a str, RangeInclusive<NaiveDate>)>,
    ) -> Self {
        self.nights = nights.into_iter().collect();
        self
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
            folded_into: parent.folded_into,
            content_trust: parent.content_trust,
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
                let nights = self.nights.get(model.id.as_str());
                (self.make(model, nights)?, uses)
            }
        };
        if left > 1 {
            self.kept.insert(&model.id, (found.clone(), left - 1));
        }
        Ok(found)
    }

    /// Folds in, where one of `nights` has a version that fits, or trains.
    fn make(&self, model: &Model, nights: Option<&RangeInclusive<NaiveDate>>) -> Result<Fit> {
        let started = Instant::now();
        let learner = model.family.configure(&model.params)?;
        self.fits_memory(&*learner)?;
        let hyperparameters = learner.hyperparameters()?;
        let folded = match nights {
            None => None,
            Some(nights) => self.folded(model, &*learner, &hyperparameters, nights)?,
        };
        if let Some((night, fitted, start)) = folded {
            return Ok(Fit {
                fitted,
                hyperparameters,
                start: Some(start),
                folded_into: Some(night),
                // The items stand as they were fused then.
                content_trust: None,
                seconds: started.elapsed().as_secs_f64(),
            });
        }
        let (mut fitted, start) = self.learnt(model, &*learner)?;
        let mut content_trust = None;
        if let (Fitted::Factors(factors), Some(content), true) =
            (&mut fitted, self.content, model.fusion)
        {
            let trust = fusion::fuse(self.device, &*learner, self.interactions, content, factors)?;
            content_trust = Some(trust);
        }
        Ok(Fit {
            fitted,
            hyperparameters,
            start,
            folded_into: None,
            content_trust,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Refuses to train what would take more than the process may.
    fn fits_memory(&self, learner: &dyn Learner) -> Result<()> {
        let needed = self.interactions.bytes() + learner.bytes(&self.interactions.weights);
        if needed <= self.memory as u64 {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let (users, items) = (self.interactions.users.len(), self.interactions.items.len());
        Err(Error::unexpected(format!(
            "training it on {users} users and {items} items takes about {} MiB, and `[engine] memory` is {} MiB",
            mib(needed),
            self.memory >> 20
        ))
        .help("raise `[engine] memory` in the pipeline file, or train fewer dimensions"))
    }

    /// Trains, with a warm start where the model asks for one.
    fn learnt(&self, model: &Model, learner: &dyn Learner) -> Result<(Fitted, Option<Start>)> {
        let (snapshot, until) = self.former;
        let mut start = None;
        if model.warm_start
            && let Some((night, read)) = former::newest(snapshot, &model.id, until)?
        {
            start = self.aligned(&read, model, learner)?.map(|f| (night, f));
            if start.is_none() {
                tracing::info!(model = %model.id, version = %night, "too little in common for a warm start");
            }
        }
        let examples = Examples {
            start: start.as_ref().map(|(_, factors)| factors),
            ..self.interactions.examples()
        };
        let fitted = learner.train(self.device, &examples, &mut tell(&model.id))?;
        let start = start.map(|(night, factors)| Start::new(night, &factors, &fitted));
        Ok((fitted, start))
    }

    /// Folds in; `None` where there is nothing to fold into.
    fn folded(
        &self,
        model: &Model,
        learner: &dyn Learner,
        hyperparameters: &str,
        nights: &RangeInclusive<NaiveDate>,
    ) -> Result<Option<(NaiveDate, Fitted, Start)>> {
        let snapshot = self.former.0;
        let night = match former::trained(snapshot, model, hyperparameters, nights)? {
            Ok(night) => night,
            Err(reason) => {
                tracing::info!(model = %model.id, reason, "trained in full");
                return Ok(None);
            }
        };
        let read = file::read(&path(snapshot, night, &model.id)?)?;
        let Some(factors) = self.aligned(&read, model, learner)? else {
            tracing::info!(model = %model.id, version = %night, reason = "too little in common", "trained in full");
            return Ok(None);
        };
        let items = &self.interactions.items;
        let mut of_content = vec![false; items.len()];
        for (place, &made) in places(&read.item_ids, items)
            .iter()
            .zip(&read.content_items)
        {
            if let Some(place) = place {
                of_content[*place] = made;
            }
        }
        let held = Held::new(&factors, |item| !of_content[item]);
        let examples = self.interactions.examples();
        let fitted = learner.fold_in(self.device, &examples, &held, &mut tell(&model.id))?;
        let start = Start::new(night, &factors, &fitted);
        Ok(Some((night, fitted, start)))
    }

    /// The factors of a version on today's rows, where it has enough in common with today.
    fn aligned(
        &self,
        read: &ModelFile,
        model: &Model,
        learner: &dyn Learner,
    ) -> Result<Option<Factors>> {
        let ids = (&self.interactions.users[..], &self.interactions.items[..]);
        let (family, dim) = (model.family.name(), learner.whole_number("dim")?);
        let weights = &self.interactions.weights;
        Ok(warm::align(read, family, dim, ids, weights)?)
    }
}

impl Start {
    fn new(night: NaiveDate, former: &Factors, now: &Fitted) -> Self {
        Self {
            version: night.to_string(),
            agreement: match now {
                Fitted::Factors(now) => warm::agreement(&former.items, &now.items),
                _ => None,
            },
        }
    }
}

/// Logs the passes of a model.
fn tell(model: &str) -> impl FnMut(Progress) {
    move |progress| {
        tracing::debug!(
            model,
            pass = progress.pass,
            seconds = progress.seconds,
            loss = progress.loss,
            validation = progress.validation,
            "pass"
        );
    }
}

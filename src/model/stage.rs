//! The stage `train`: every model of the pipeline, from the day's interactions to a model file and its rows.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::compress::{Compression, Numbers, rows};
use super::file::{self, ModelFile};
use super::fits::Fits;
use super::tables::{self, ModelRow, Writers};
use super::{Factors, Fitted, content, former};
use crate::compute::Device;
use crate::config::{Model, Pipeline};
use crate::disk::hashed;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::features::content::Contents;
use crate::features::ids::places;
use crate::features::interactions::Interactions;
use crate::warehouse::{Table, store, table};

/// The interactions of the run's day, as models read them.
pub const INTERACTIONS: &str = "select user_id, item_id, weight, bought, last_time from interactions order by user_id, item_id";

/// A model that was trained.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Its id.
    pub model_id: String,
    /// Wall-clock seconds of training.
    pub seconds: f64,
    /// The night on which what it was folded into was trained; `None` where it was not.
    pub folded_into: Option<NaiveDate>,
}

/// Reads the interactions of `date`.
///
/// # Errors
/// `Kind::Check` when there are none.
pub async fn interactions(
    options: &Options,
    snapshot: &Path,
    date: NaiveDate,
) -> Result<Interactions> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    engine
        .restrict("interactions", &format!("ds = date '{date}'"))
        .await?;
    let interactions = Interactions::read(&engine, INTERACTIONS).await?;
    if interactions.users.is_empty() {
        return Err(Error::new(
            Kind::Check,
            format!(
                "there is no interaction of a user with an item in the window that ends on {date}"
            ),
        )
        .help("look at `recost status` and the quarantine: were events ingested?"));
    }
    Ok(interactions)
}

/// Trains every model, or folds it into an earlier version, and writes models, user_factors, item_factors, item_neighbours and the model files of `date`.
///
/// # Errors
/// Those of training and writing.
pub async fn run(
    pipeline: &Pipeline,
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    device: &dyn Device,
) -> Result<Vec<Trained>> {
    let date = window.1;
    let contents = if pipeline.models.iter().any(|model| model.content) {
        Some(Contents::read(library, options, snapshot, window).await?)
    } else {
        None
    };
    let interactions = interactions(options, snapshot, date).await?;
    let few = fewer_than(pipeline.privacy.min_group, &interactions);
    let ds = date.to_string();
    let dir = store::replace(snapshot, contract("models")?, &ds)?;
    let mut model_rows: Vec<ModelRow> = vec![];
    let mut trained = vec![];
    let mut writers = Writers::create(snapshot, &ds)?;
    let mut models: Vec<&Model> = pipeline.models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    let before = date.pred_opt().unwrap_or(date);
    let nights = pipeline.models.iter().filter_map(|model| {
        let nights = former::between(model, date)?;
        Some((model.id.as_str(), nights))
    });
    let content = contents.as_ref().map(|contents| &contents.items);
    let former = (snapshot, before);
    let mut fits = Fits::new(
        device,
        &pipeline.models,
        &interactions,
        content,
        former,
        options.memory,
    )
    .folding(nights);
    for model in models {
        let fit = fits.fit(model)?;
        trained.push(Trained {
            model_id: model.id.clone(),
            seconds: fit.seconds,
            folded_into: fit.folded_into,
        });
        let compression = model.compressed.as_ref().map(|c| &c.compression);
        let numbers = compression.map_or(Numbers::F32, |c| c.numbers);
        let dim = match &fit.fitted {
            Fitted::Factors(factors) => Some(factors.items.cols()),
            _ => None,
        };
        let trained_on = fit.folded_into.unwrap_or(date);
        let ids = (&interactions.users[..], &interactions.items[..]);
        let mut content_items = vec![];
        let (fitted, user_ids, item_ids) = match (fit.fitted, &contents) {
            (Fitted::Factors(factors), Some(contents)) if model.content => {
                let extended = content::extend_both(&factors, ids, contents);
                let learnt =
                    |place: &Option<usize>| place.is_some_and(|at| !factors.items.is_zero(at));
                let places = places(&extended.2, ids.1);
                content_items.extend(places.iter().map(|place| !learnt(place)));
                extended
            }
            // Rows without a vector take no room.
            (Fitted::Factors(factors), _) if model.is_sparse() => {
                let (user_ids, users) = rows::gather(ids.0, &factors.users);
                let (item_ids, items) = rows::gather(ids.1, &factors.items);
                let factors = Factors { users, items };
                (Fitted::Factors(factors), user_ids, item_ids)
            }
            (fitted @ Fitted::Factors(_), _) => (fitted, ids.0.to_vec(), ids.1.to_vec()),
            (others, _) => (others, vec![], ids.1.to_vec()),
        };
        let metadata = [
            ("model_id", model.id.clone()),
            ("model_version", ds.clone()),
            ("family", model.family.to_string()),
            ("hyperparameters", fit.hyperparameters.clone()),
            ("data_hash", interactions.hash.clone()),
            (former::TRAINED_ON, trained_on.to_string()),
        ];
        let path = dir.join(file_name(&model.id));
        let written = ModelFile {
            fitted,
            numbers,
            user_ids,
            item_ids,
            content_items,
            metadata: metadata
                .into_iter()
                .map(|(k, v)| (k.to_string(), v))
                .collect::<BTreeMap<_, _>>(),
        };
        let bytes = file::write(&path, &written)?;
        writers.write(&model.id, &written, &few)?;
        model_rows.push(ModelRow {
            texts: [
                model.id.clone(),
                ds.clone(),
                model.family.to_string(),
                fit.hyperparameters,
                interactions.hash.clone(),
                device.info().name.clone(),
                file_name(&model.id),
                file_hash(&path)?,
            ],
            counts: [
                interactions.users.len(),
                interactions.items.len(),
                interactions.weights.nnz(),
            ],
            seconds: fit.seconds,
            start: fit.start,
            content_trust: fit.content_trust,
            trained_on,
            dim,
            made_from: model.compressed.as_ref().map(|c| c.from.clone()),
            compression: compression.map(Compression::json).transpose()?,
            bytes,
        });
    }
    writers.finish()?;
    tables::write_models(&dir, &model_rows)?;
    Ok(trained)
}

/// The items with which fewer than `least` users did anything.
fn fewer_than(least: u32, interactions: &Interactions) -> HashSet<&str> {
    let mut users = vec![0; interactions.items.len()];
    for item in interactions.weights.indices() {
        if let Some(users) = users.get_mut(*item as usize) {
            *users += 1;
        }
    }
    let few = interactions.items.iter().zip(users);
    few.filter(|(_, users)| *users < least)
        .map(|(item, _)| item.as_str())
        .collect()
}

/// The file of a model below the partition of `models`.
pub fn path(snapshot: &Path, date: NaiveDate, model_id: &str) -> Result<PathBuf> {
    Ok(
        store::partition_dir(snapshot, contract("models")?, &date.to_string())
            .join(file_name(model_id)),
    )
}

/// The hash of a model file's bytes, as `models` has it.
///
/// # Errors
/// When it cannot be read.
pub fn file_hash(path: &Path) -> Result<String> {
    let content = File::open(path).and_then(hashed);
    let content = content.map_err(|e| Error::io("cannot read", path, &e))?;
    Ok(format!("{:032x}", content.digest128()))
}

/// Ids are free text; a file name is not.
pub(crate) fn file_name(model_id: &str) -> String {
    let safe: String = model_id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{safe}.safetensors")
}

pub(super) fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

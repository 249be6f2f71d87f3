//! The stage `train`: every model of the pipeline, from the day's interactions to a model file and its rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::file::{self, ModelFile};
use super::tables::{self, ModelRow, Writers};
use super::{Examples, Factors, Fitted, content, warm};
use crate::compute::Device;
use crate::config::{Model, Pipeline};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::features::content::Content;
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
}

/// What the newest exports say of items and users.
struct Contents {
    items: Content,
    users: Content,
}

impl Contents {
    async fn read(
        library: &Library,
        options: &Options,
        snapshot: &Path,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Self> {
        let engine = Engine::open(options, Some(snapshot), None)?;
        engine.restrict_to(window).await?;
        Ok(Self {
            items: Content::read(&engine, library, "items").await?,
            users: Content::read(&engine, library, "users").await?,
        })
    }

    /// Factors with rows for users and items that have no interactions, and the ids of all rows.
    fn extend(
        &self,
        factors: &Factors,
        (users, items): (&[String], &[String]),
    ) -> (Fitted, Vec<String>, Vec<String>) {
        let users = content::extend(&factors.users, users, &self.users);
        let items = content::extend(&factors.items, items, &self.items);
        tracing::debug!(users = ?users.lambda, items = ?items.lambda, "vectors from content");
        let factors = Factors {
            users: users.table,
            items: items.table,
        };
        (Fitted::Factors(factors), users.ids, items.ids)
    }
}

/// A model as it was trained.
pub struct Fit {
    /// What ranks items.
    pub fitted: Fitted,
    /// Every hyperparameter with its value, a JSON object.
    pub hyperparameters: String,
    /// Where a warm start came from.
    pub start: Option<Start>,
}

/// Where a warm start came from.
pub struct Start {
    /// The version.
    pub version: String,
    /// See [`warm::agreement`].
    pub agreement: Option<f64>,
}

/// Trains a model of the pipeline on interactions, with a warm start from a version of `until` or before.
///
/// # Errors
/// Those of the family, of the device and of the former version's file.
pub fn fit(
    device: &dyn Device,
    model: &Model,
    interactions: &Interactions,
    (snapshot, until): (&Path, NaiveDate),
) -> Result<Fit> {
    let learner = model.family.configure(&model.params)?;
    let hyperparameters = learner.hyperparameters()?;
    let former = if model.warm_start {
        former(snapshot, model, until, interactions, &hyperparameters)?
    } else {
        None
    };
    let examples = Examples {
        start: former.as_ref().map(|(_, factors)| factors),
        ..interactions.examples()
    };
    let fitted = learner.train(device, &examples, &mut |progress| {
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
    Ok(Fit {
        fitted,
        hyperparameters,
        start,
    })
}

/// The newest version of a model, of `until` or before, on the rows of `interactions`.
fn former(
    snapshot: &Path,
    model: &Model,
    until: NaiveDate,
    interactions: &Interactions,
    hyperparameters: &str,
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
        let wanted: serde_json::Value = serde_json::from_str(hyperparameters)
            .map_err(|e| Error::unexpected(format!("hyperparameters: {e}")))?;
        let dim = wanted["dim"]
            .as_u64()
            .and_then(|dim| usize::try_from(dim).ok());
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

/// Trains every model and writes models, user_factors, item_factors, item_neighbours and the model files of `date`.
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
    let ds = date.to_string();
    let dir = store::replace(snapshot, contract("models")?, &ds)?;
    let mut rows: Vec<ModelRow> = vec![];
    let mut trained = vec![];
    let mut writers = Writers::create(snapshot, &ds)?;
    let mut models: Vec<&Model> = pipeline.models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    for model in models {
        let started = std::time::Instant::now();
        let before = date.pred_opt().unwrap_or(date);
        let fit = fit(device, model, &interactions, (snapshot, before))
            .map_err(|e| e.context(format!("model `{}`", model.id)))?;
        let seconds = started.elapsed().as_secs_f64();
        trained.push(Trained {
            model_id: model.id.clone(),
            seconds,
        });
        let ids = (&interactions.users[..], &interactions.items[..]);
        let (fitted, user_ids, item_ids) = match (fit.fitted, &contents) {
            (Fitted::Factors(factors), Some(contents)) if model.content => {
                contents.extend(&factors, ids)
            }
            (Fitted::Factors(factors), _) => {
                (Fitted::Factors(factors), ids.0.to_vec(), ids.1.to_vec())
            }
            (others, _) => (others, vec![], ids.1.to_vec()),
        };
        let metadata = [
            ("model_id", model.id.clone()),
            ("model_version", ds.clone()),
            ("family", model.family.to_string()),
            ("hyperparameters", fit.hyperparameters.clone()),
            ("data_hash", interactions.hash.clone()),
        ];
        let path = dir.join(file_name(&model.id));
        let written = ModelFile {
            fitted,
            user_ids,
            item_ids,
            metadata: metadata
                .into_iter()
                .map(|(k, v)| (k.to_string(), v))
                .collect::<BTreeMap<_, _>>(),
        };
        file::write(&path, &written)?;
        writers.write(&model.id, &written)?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io("cannot read", &path, &e))?;
        rows.push(ModelRow {
            texts: [
                model.id.clone(),
                ds.clone(),
                model.family.to_string(),
                fit.hyperparameters,
                interactions.hash.clone(),
                device.info().name.clone(),
                file_name(&model.id),
                format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)),
            ],
            counts: [
                interactions.users.len(),
                interactions.items.len(),
                interactions.weights.nnz(),
            ],
            seconds,
            start: fit.start,
        });
    }
    writers.finish()?;
    tables::write_models(&dir, &rows)?;
    Ok(trained)
}

/// The file of a model below the partition of `models`.
pub fn path(snapshot: &Path, date: NaiveDate, model_id: &str) -> Result<PathBuf> {
    Ok(
        store::partition_dir(snapshot, contract("models")?, &date.to_string())
            .join(file_name(model_id)),
    )
}

/// Ids are free text; a file name is not.
fn file_name(model_id: &str) -> String {
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

//! The stage `train`: every model of the pipeline, from the day's interactions to a model file and its rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use chrono::NaiveDate;

use super::file::{self, ModelFile};
use super::{Examples, Fitted};
use crate::compute::{Device, Matrix};
use crate::config::{Model, Pipeline};
use crate::engine::{Engine, Options};
use crate::error::{Error, Kind, Result};
use crate::features::interactions::Interactions;
use crate::warehouse::{Table, TableWriter, store, table};

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

/// Trains a model of the pipeline.
///
/// # Errors
/// Those of the family and the device.
pub fn fit(device: &dyn Device, model: &Model, examples: &Examples<'_>) -> Result<Fitted> {
    let learner = model.family.configure(&model.params)?;
    Ok(learner.train(device, examples, &mut |progress| {
        tracing::debug!(
            model = %model.id,
            pass = progress.pass,
            seconds = progress.seconds,
            loss = progress.loss,
            validation = progress.validation,
            "pass"
        );
    })?)
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

/// Trains every model and writes models, user_factors, item_factors and the model files of `date`.
///
/// # Errors
/// Those of training and writing.
pub async fn run(
    pipeline: &Pipeline,
    options: &Options,
    snapshot: &Path,
    date: NaiveDate,
    device: &dyn Device,
) -> Result<Vec<Trained>> {
    let interactions = interactions(options, snapshot, date).await?;
    let ds = date.to_string();
    let dir = store::replace(snapshot, contract("models")?, &ds)?;
    let mut rows = Rows::default();
    let mut trained = vec![];
    let mut writers = [
        writer(snapshot, "user_factors", &ds)?,
        writer(snapshot, "item_factors", &ds)?,
    ];
    let mut models: Vec<&Model> = pipeline.models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    for model in models {
        let started = std::time::Instant::now();
        let factors = fit(device, model, &interactions.examples())
            .map_err(|e| e.context(format!("model `{}`", model.id)))?
            .into_factors()?;
        let seconds = started.elapsed().as_secs_f64();
        trained.push(Trained {
            model_id: model.id.clone(),
            seconds,
        });
        let hyperparameters = model.family.configure(&model.params)?.hyperparameters()?;
        let users = if model.family.is_personal() {
            interactions.users.clone()
        } else {
            vec![]
        };
        let metadata = [
            ("model_id", model.id.clone()),
            ("model_version", ds.clone()),
            ("family", model.family.to_string()),
            ("hyperparameters", hyperparameters.clone()),
            ("data_hash", interactions.hash.clone()),
        ];
        let path = dir.join(file_name(&model.id));
        let written = ModelFile {
            factors,
            user_ids: users,
            item_ids: interactions.items.clone(),
            metadata: metadata
                .into_iter()
                .map(|(k, v)| (k.to_string(), v))
                .collect::<BTreeMap<_, _>>(),
        };
        file::write(&path, &written)?;
        let [user_writer, item_writer] = &mut writers;
        write_factors(
            user_writer,
            &model.id,
            "user_id",
            &written.user_ids,
            &written.factors.users,
        )?;
        write_factors(
            item_writer,
            &model.id,
            "item_id",
            &written.item_ids,
            &written.factors.items,
        )?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io("cannot read", &path, &e))?;
        let how = (device, seconds);
        rows.push(model, &ds, hyperparameters, &interactions, how, &bytes);
    }
    for writer in writers {
        writer.finish()?;
    }
    let mut writer = TableWriter::create(contract("models")?, &dir.join("part-0.parquet"))?;
    writer.write(&rows.batch()?)?;
    writer.finish()?;
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

fn contract(name: &str) -> Result<&'static Table> {
    table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))
}

fn writer(snapshot: &Path, name: &str, ds: &str) -> Result<TableWriter> {
    let table = contract(name)?;
    let dir = store::replace(snapshot, table, ds)?;
    TableWriter::create(table, &dir.join("part-0.parquet"))
}

/// Rows of a batch of factors.
const FACTOR_ROWS: usize = 16 * 1024;

fn write_factors(
    writer: &mut TableWriter,
    model_id: &str,
    id_column: &str,
    ids: &[String],
    factors: &Matrix,
) -> Result<()> {
    let dim =
        i32::try_from(factors.cols()).map_err(|_| Error::unexpected("too many dimensions"))?;
    for start in (0..ids.len()).step_by(FACTOR_ROWS) {
        let end = ids.len().min(start + FACTOR_ROWS);
        let values: Float32Array = (start..end)
            .flat_map(|row| factors.row(row).iter().copied())
            .collect::<Vec<f32>>()
            .into();
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let vectors = FixedSizeListArray::try_new(item, dim, Arc::new(values), None)?;
        let models: StringViewArray = (start..end).map(|_| Some(model_id)).collect();
        let names: StringViewArray = ids[start..end].iter().map(Some).collect();
        writer.write(&RecordBatch::try_from_iter([
            ("model_id", Arc::new(models) as ArrayRef),
            (id_column, Arc::new(names)),
            ("factors", Arc::new(vectors)),
        ])?)?;
    }
    Ok(())
}

#[derive(Default)]
struct Rows {
    texts: Vec<[String; 8]>,
    counts: Vec<[i64; 3]>,
    seconds: Vec<f64>,
}

impl Rows {
    fn push(
        &mut self,
        model: &Model,
        ds: &str,
        hyperparameters: String,
        interactions: &Interactions,
        (device, seconds): (&dyn Device, f64),
        file: &[u8],
    ) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.texts.push([
            model.id.clone(),
            ds.to_string(),
            model.family.to_string(),
            hyperparameters,
            interactions.hash.clone(),
            device.info().name.clone(),
            file_name(&model.id),
            format!("{:032x}", xxhash_rust::xxh3::xxh3_128(file)),
        ]);
        self.seconds.push(seconds);
        self.counts.push([
            count(interactions.users.len()),
            count(interactions.items.len()),
            count(interactions.weights.nnz()),
        ]);
    }

    fn batch(&self) -> Result<RecordBatch> {
        const TEXTS: [&str; 8] = [
            "model_id",
            "model_version",
            "family",
            "hyperparameters",
            "data_hash",
            "device",
            "file",
            "file_hash",
        ];
        let mut columns: Vec<(&str, ArrayRef)> = vec![];
        for (n, name) in TEXTS.into_iter().enumerate() {
            let texts: StringViewArray = self.texts.iter().map(|t| Some(&t[n])).collect();
            columns.push((name, Arc::new(texts)));
        }
        for (n, name) in ["users", "items", "interactions"].into_iter().enumerate() {
            let counts = Int64Array::from_iter_values(self.counts.iter().map(|c| c[n]));
            columns.push((name, Arc::new(counts)));
        }
        let seconds = Float64Array::from(self.seconds.clone());
        columns.push(("seconds", Arc::new(seconds)));
        let none = StringViewArray::new_null(self.texts.len());
        columns.push(("metrics", Arc::new(none)));
        Ok(RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, c)| (name, c, true)),
        )?)
    }
}

/// Writes what the run's evaluation found of each model, a JSON object by its id, into the rows of `models`.
///
/// # Errors
/// Those of reading and writing.
pub async fn note_metrics(
    options: &Options,
    snapshot: &Path,
    date: NaiveDate,
    metrics: &BTreeMap<String, String>,
) -> Result<()> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let sql = format!("select * from models where ds = date '{date}' order by model_id");
    let mut rows = vec![];
    for batch in engine.collect(&sql).await? {
        let mut columns: Vec<(String, ArrayRef)> = vec![];
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            columns.push((field.name().clone(), Arc::clone(column)));
        }
        let ids = batch
            .column_by_name("model_id")
            .map(|c| cast(c, &DataType::Utf8View));
        let Some(ids) = ids.transpose()? else {
            continue;
        };
        let found: StringViewArray = ids
            .as_string_view()
            .iter()
            .map(|id| id.and_then(|id| metrics.get(id)))
            .collect();
        columns.retain(|(name, _)| name != "metrics");
        columns.push(("metrics".into(), Arc::new(found)));
        rows.push(RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, c)| (name, c, true)),
        )?);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let dir = store::partition_dir(snapshot, contract("models")?, &date.to_string());
    let mut writer = TableWriter::create(contract("models")?, &dir.join("part-0.parquet"))?;
    for batch in &rows {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(())
}

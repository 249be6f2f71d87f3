//! The tables `models`, `user_factors`, `item_factors` and `item_neighbours`: what was trained, as analysts read it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayIter, ArrayRef, AsArray, Date32Array, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Field};
use chrono::NaiveDate;

use super::file::ModelFile;
use super::fits::Start;
use super::stage::contract;
use super::{Fitted, Neighbours};
use crate::compute::Matrix;
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::recommend::stage::Scored;
use crate::warehouse::{TableWriter, store};

/// Writers of the tables that hold what models learnt.
pub(super) struct Writers {
    users: TableWriter,
    items: TableWriter,
    neighbours: TableWriter,
}

impl Writers {
    pub fn create(snapshot: &Path, ds: &str) -> Result<Self> {
        let writer = |name| {
            let table = contract(name)?;
            let dir = store::replace(snapshot, table, ds)?;
            TableWriter::create(table, &dir.join("part-0.parquet"))
        };
        Ok(Self {
            users: writer("user_factors")?,
            items: writer("item_factors")?,
            neighbours: writer("item_neighbours")?,
        })
    }

    /// Writes what a model learnt. The scores of a popular model are counts over users: `few`, the items that have too few to
    /// be told, are left out of them.
    pub fn write(&mut self, model_id: &str, model: &ModelFile, few: &HashSet<&str>) -> Result<()> {
        let (users, items) = (&model.user_ids, &model.item_ids);
        match &model.fitted {
            Fitted::Factors(factors) => {
                write_factors(&mut self.users, model_id, "user_id", users, &factors.users)?;
                write_factors(&mut self.items, model_id, "item_id", items, &factors.items)
            }
            Fitted::Neighbours(neighbours) => {
                write_neighbours(&mut self.neighbours, model_id, items, neighbours)
            }
            Fitted::Popular(popular) => {
                let told = items.iter().zip(popular.scores());
                let told = told.filter(|(item, _)| !few.contains(item.as_str()));
                let (items, scores): (Vec<String>, Vec<f32>) =
                    told.map(|(item, score)| (item.clone(), *score)).unzip();
                let column = Matrix::new(scores.len(), 1, scores)?;
                write_factors(&mut self.items, model_id, "item_id", &items, &column)
            }
        }
    }

    pub fn finish(self) -> Result<()> {
        for writer in [self.users, self.items, self.neighbours] {
            writer.finish()?;
        }
        Ok(())
    }
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

/// Items of a batch of neighbours.
const NEIGHBOUR_ITEMS: usize = 1024;

fn write_neighbours(
    writer: &mut TableWriter,
    model_id: &str,
    ids: &[String],
    neighbours: &Neighbours,
) -> Result<()> {
    for start in (0..ids.len()).step_by(NEIGHBOUR_ITEMS) {
        let end = ids.len().min(start + NEIGHBOUR_ITEMS);
        let mut items = StringViewBuilder::new();
        let mut others = StringViewBuilder::new();
        let mut weights: Vec<f32> = vec![];
        for item in start..end {
            let (columns, values) = neighbours.weights.row(item);
            for (column, weight) in columns.iter().zip(values) {
                items.append_value(&ids[item]);
                others.append_value(&ids[*column as usize]);
                weights.push(*weight);
            }
        }
        if weights.is_empty() {
            continue;
        }
        let models: StringViewArray = weights.iter().map(|_| Some(model_id)).collect();
        writer.write(&RecordBatch::try_from_iter([
            ("model_id", Arc::new(models) as ArrayRef),
            ("item_id", Arc::new(items.finish())),
            ("neighbour_id", Arc::new(others.finish())),
            ("weight", Arc::new(Float32Array::from(weights))),
        ])?)?;
    }
    Ok(())
}

/// A row of `models`.
pub(super) struct ModelRow {
    /// In the order of [`TEXTS`].
    pub texts: [String; 8],
    /// Users, items, interactions.
    pub counts: [usize; 3],
    /// Of training.
    pub seconds: f64,
    pub start: Option<Start>,
    /// See [`super::fits::Fit::content_trust`].
    pub content_trust: Option<f64>,
    /// The night on which the item vectors were learnt.
    pub trained_on: NaiveDate,
    /// Length of vectors.
    pub dim: Option<usize>,
    /// The model that it was made from, and how, as JSON.
    pub made_from: Option<String>,
    pub compression: Option<String>,
    /// Of what was fitted, without ids.
    pub bytes: u64,
}

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

/// Writes `models` of a night into the folder `dir`.
pub(super) fn write_models(dir: &Path, rows: &[ModelRow]) -> Result<()> {
    let mut columns: Vec<(&str, ArrayRef)> = vec![];
    for (n, name) in TEXTS.into_iter().enumerate() {
        let texts: StringViewArray = rows.iter().map(|row| Some(&row.texts[n])).collect();
        columns.push((name, Arc::new(texts)));
    }
    for (n, name) in ["users", "items", "interactions"].into_iter().enumerate() {
        let counts = rows.iter().map(|row| i64::try_from(row.counts[n]));
        let counts = counts.map(|count| count.unwrap_or(i64::MAX));
        columns.push((name, Arc::new(Int64Array::from_iter_values(counts))));
    }
    let starts = || rows.iter().map(|row| row.start.as_ref());
    let seconds = Float64Array::from_iter_values(rows.iter().map(|row| row.seconds));
    let from: StringViewArray = starts().map(|s| s.map(|s| &s.version)).collect();
    let agreement: Float64Array = starts().map(|s| s.and_then(|s| s.agreement)).collect();
    let dims = rows
        .iter()
        .map(|row| row.dim.and_then(|dim| i32::try_from(dim).ok()));
    let bytes = rows
        .iter()
        .map(|row| i64::try_from(row.bytes).unwrap_or(i64::MAX));
    let text = |of: fn(&ModelRow) -> Option<&String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringViewArray>())
    };
    columns.push(("dim", Arc::new(dims.collect::<Int32Array>())));
    columns.push(("made_from", text(|row| row.made_from.as_ref())));
    columns.push(("compression", text(|row| row.compression.as_ref())));
    columns.push(("bytes", Arc::new(Int64Array::from_iter_values(bytes))));
    let nothing = || Int64Array::new_null(rows.len());
    columns.push((
        "scoring_seconds",
        Arc::new(Float64Array::new_null(rows.len())),
    ));
    columns.push(("scored_users", Arc::new(nothing())));
    columns.push(("recommendations", Arc::new(nothing())));
    columns.push(("seconds", Arc::new(seconds)));
    let trained_on = rows
        .iter()
        .map(|row| Date32Type::from_naive_date(row.trained_on));
    columns.push((
        "trained_on",
        Arc::new(Date32Array::from_iter_values(trained_on)),
    ));
    columns.push(("started_from", Arc::new(from)));
    columns.push(("agreement", Arc::new(agreement)));
    let trust: Float64Array = rows.iter().map(|row| row.content_trust).collect();
    columns.push(("content_trust", Arc::new(trust)));
    columns.push(("metrics", Arc::new(StringViewArray::new_null(rows.len()))));
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let mut writer = TableWriter::create(contract("models")?, &dir.join("part-0.parquet"))?;
    writer.write(&RecordBatch::try_from_iter_with_nullable(columns)?)?;
    writer.finish()?;
    Ok(())
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
    amend(options, snapshot, date, |ids| {
        let found: StringViewArray = ids.map(|id| metrics.get(id?)).collect();
        vec![("metrics", Arc::new(found))]
    })
    .await
}

/// Writes what scoring took into the rows of `models`.
///
/// # Errors
/// Those of reading and writing.
pub async fn note_scoring(
    options: &Options,
    snapshot: &Path,
    date: NaiveDate,
    scored: &[Scored],
) -> Result<()> {
    amend(options, snapshot, date, |ids| {
        let of: Vec<Option<&Scored>> = ids
            .map(|id| {
                scored
                    .iter()
                    .find(|scored| Some(scored.model_id.as_str()) == id)
            })
            .collect();
        let seconds: Float64Array = of.iter().map(|s| s.map(|s| s.seconds)).collect();
        let count = |number: fn(&Scored) -> u64| -> ArrayRef {
            let numbers = of
                .iter()
                .map(|s| s.and_then(|s| i64::try_from(number(s)).ok()));
            Arc::new(numbers.collect::<Int64Array>())
        };
        vec![
            ("scoring_seconds", Arc::new(seconds)),
            ("scored_users", count(|s| s.users)),
            ("recommendations", count(|s| s.rows)),
        ]
    })
    .await
}

/// Puts columns that `make` gives for model ids in place of those of `models`.
async fn amend(
    options: &Options,
    snapshot: &Path,
    date: NaiveDate,
    make: impl for<'a> Fn(ArrayIter<&'a StringViewArray>) -> Vec<(&'static str, ArrayRef)>,
) -> Result<()> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let sql = format!("select * from models where ds = date '{date}' order by model_id");
    let mut rows = vec![];
    for batch in engine.collect(&sql).await? {
        let ids = batch
            .column_by_name("model_id")
            .map(|c| cast(c, &DataType::Utf8View));
        let Some(ids) = ids.transpose()? else {
            continue;
        };
        let changed = make(ids.as_string_view().iter());
        let schema = batch.schema();
        let mut columns: Vec<(&str, ArrayRef)> = vec![];
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            let new = changed.iter().find(|(changed, _)| *changed == name);
            columns.push((name, Arc::clone(new.map_or(column, |(_, new)| new))));
        }
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

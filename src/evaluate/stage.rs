//! The stage `evaluate`: trains each model again on the days before a split and ranks all items for the users of the days
//! after it, next to popularity.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{NaiveDate, TimeDelta};

use super::metrics::Evaluation;
use crate::compute::Device;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;
use crate::model::popular::{self, Popular};
use crate::model::{Family, Fitted, stage as train, tables};
use crate::recommend::rank::rank;
use crate::recommend::topk::Filters;
use crate::warehouse::{TableWriter, store, table};

/// Seed of the bootstrap: intervals are the same from run to run.
const SEED: u64 = 20_080_401;
/// The baseline's name in the table.
pub const BASELINE: &str = "popularity";

/// What the evaluation found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Users judged.
    pub users: usize,
    /// Cut-off of the figures below.
    pub k: usize,
    /// Recall of the baseline.
    pub baseline: f64,
    /// Recall of each model that is not popularity itself.
    pub models: Vec<(String, f64)>,
}

impl Verdict {
    /// The models that do not beat popularity.
    pub fn below(&self) -> impl Iterator<Item = &(String, f64)> {
        self.models
            .iter()
            .filter(|(_, recall)| *recall <= self.baseline)
    }
}

/// Evaluates the pipeline's models on the last days of the window and writes `evaluation`.
///
/// # Errors
/// Those of SQL, training and writing; `Kind::Check` when the pipeline file forbids to publish a model below its baseline.
pub async fn run(
    pipeline: &Pipeline,
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    device: &dyn Device,
) -> Result<Verdict> {
    let holdout = TimeDelta::days(i64::from(pipeline.evaluation.holdout_days));
    let split = window.1 - holdout;
    let table = table("evaluation").ok_or_else(|| Error::unexpected("no table evaluation"))?;
    let dir = store::replace(snapshot, table, &window.1.to_string())?;
    if split < window.0 {
        tracing::warn!("the window is too short to hold days out; models are not evaluated");
        return Ok(Verdict::default());
    }
    let before = Options {
        date: split,
        ..options.clone()
    };
    let engine = Engine::open(&before, Some(snapshot), None)?;
    engine.restrict_to((window.0, split)).await?;
    let sql = library.get("features/interactions.sql")?;
    engine.context().deregister_table("interactions")?;
    engine.view("interactions", sql).await?;
    let known = Interactions::read(&engine, train::INTERACTIONS).await?;
    let test = Test::read(options, snapshot, window, split, &known).await?;
    if known.users.is_empty() || test.users.is_empty() {
        tracing::warn!("no user was there before and after the split; models are not evaluated");
        return Ok(Verdict::default());
    }

    let mut rows = Rows::new(pipeline, window, split, test.users.len());
    let largest = pipeline.evaluation.k.iter().copied().max().unwrap_or(1);
    let filters = Filters {
        exclude: Some(&test.seen),
        k: largest,
        ..Filters::default()
    };
    let judge = |fitted: &Fitted| -> Result<Evaluation> {
        let mut evaluation = Evaluation::new(&known.weights, &pipeline.evaluation.k);
        let (history, users) = (&known.weights, &test.users);
        rank::<Error>(device, fitted, history, users, &filters, |first, lists| {
            evaluation.add(first, &lists, &test.relevant);
            Ok(())
        })?;
        Ok(evaluation)
    };
    let by_popularity = Fitted::Popular(Popular::train(&known.weights));
    rows.add(BASELINE, popular::FAMILY, &judge(&by_popularity)?);
    // A version of the split's day or before has not seen the days after it.
    let mut fits = train::Fits::new(device, &pipeline.models, &known, (snapshot, split));
    for model in &pipeline.models {
        let fit = fits.fit(model).map_err(|e| e.context("evaluating"))?;
        rows.add(&model.id, model.family, &judge(&fit.fitted)?);
    }
    let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
    writer.write(&rows.batch()?)?;
    writer.finish()?;
    tables::note_metrics(options, snapshot, window.1, &rows.metrics()).await?;
    let verdict = rows.verdict;
    let failing: Vec<&str> = pipeline
        .models
        .iter()
        .filter(|m| verdict.below().any(|(id, _)| *id == m.id))
        .map(|m| m.id.as_str())
        .collect();
    if !failing.is_empty() && !pipeline.evaluation.publish_below_baseline {
        return Err(Error::check(format!(
            "{} did not beat popularity on the held-out days (recall@{}), and the pipeline file forbids to publish such a model",
            failing.join(", "),
            verdict.k
        ))
        .help("look at the table evaluation of earlier nights, or set `[evaluation] publish_below_baseline = true`"));
    }
    Ok(verdict)
}

/// The users who are judged: those with an item after the split that they had not seen before it.
struct Test {
    /// Their rows in the training matrix.
    users: Vec<u32>,
    /// What they took up after the split, `[users, items]`.
    relevant: Csr,
    /// What they had seen before it, `[users, items]`.
    seen: Csr,
}

impl Test {
    async fn read(
        options: &Options,
        snapshot: &Path,
        window: (NaiveDate, NaiveDate),
        split: NaiveDate,
        known: &Interactions,
    ) -> Result<Self> {
        let engine = Engine::open(options, Some(snapshot), None)?;
        engine.restrict_to(window).await?;
        let end = crate::engine::interval_end_us(split);
        let sql = format!(
            "select distinct user_id, item_id from events
             where event_type in ('view', 'click', 'cart', 'purchase') and item_id is not null
             and event_time >= arrow_cast({end}, 'Timestamp(Microsecond, Some(\"UTC\"))')
             order by user_id, item_id"
        );
        let items: HashMap<&str, u32> =
            known.items.iter().map(String::as_str).zip(0u32..).collect();
        let mut users: Vec<u32> = vec![];
        let mut relevant: Vec<(u32, u32, f32)> = vec![];
        let mut seen: Vec<(u32, u32, f32)> = vec![];
        for batch in engine.collect(&sql).await? {
            let text = |n: usize| cast(batch.column(n), &DataType::Utf8View);
            let (user, item) = (text(0)?, text(1)?);
            let (user, item) = (user.as_string_view(), item.as_string_view());
            for row in 0..batch.num_rows() {
                let found = known
                    .users
                    .binary_search_by(|u| u.as_str().cmp(user.value(row)));
                let (Ok(at), Some(column)) = (found, items.get(item.value(row))) else {
                    continue;
                };
                let (before, values) = known.weights.row(at);
                if before.binary_search(column).is_ok() {
                    continue;
                }
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                if users.last() != Some(&at) {
                    let row = u32::try_from(users.len()).unwrap_or(u32::MAX);
                    seen.extend(before.iter().zip(values).map(|(i, v)| (row, *i, *v)));
                    users.push(at);
                }
                let row = u32::try_from(users.len() - 1).unwrap_or(u32::MAX);
                relevant.push((row, *column, 1.0));
            }
        }
        let matrix = |triplets: &[(u32, u32, f32)]| {
            Csr::from_triplets(users.len(), known.items.len(), triplets)
                .map_err(|e| Error::unexpected(e.to_string()))
        };
        let (relevant, seen) = (matrix(&relevant)?, matrix(&seen)?);
        Ok(Test {
            users,
            relevant,
            seen,
        })
    }
}

/// Rows of the table, sorted at the end.
struct Rows {
    version: String,
    protocol: String,
    rows: Vec<Row>,
    verdict: Verdict,
}

struct Row {
    model: String,
    family: Family,
    metric: &'static str,
    k: usize,
    value: f64,
    interval: Option<(f64, f64)>,
    users: usize,
}

impl Rows {
    fn new(
        pipeline: &Pipeline,
        window: (NaiveDate, NaiveDate),
        split: NaiveDate,
        users: usize,
    ) -> Self {
        let ks = &pipeline.evaluation.k;
        // The figure that decides is recall at 20, or at the cut-off nearest to it.
        let k = ks
            .iter()
            .copied()
            .min_by_key(|k| k.abs_diff(20))
            .unwrap_or(20);
        Rows {
            version: window.1.to_string(),
            protocol: format!(
                "temporal: trained on {} to {split}, tested on the days after it to {}; full ranking of all items known \
                 before the split that the user had not seen",
                window.0, window.1
            ),
            rows: vec![],
            verdict: Verdict {
                users,
                k,
                ..Verdict::default()
            },
        }
    }

    fn add(&mut self, model: &str, family: Family, evaluation: &Evaluation) {
        let row = |metric, k, value, interval, users| Row {
            model: model.to_string(),
            family,
            metric,
            k,
            value,
            interval,
            users,
        };
        for (metric, k, e) in evaluation.estimates(SEED) {
            self.rows.push(row(
                metric.name(),
                k,
                e.mean,
                Some((e.low, e.high)),
                e.users,
            ));
            if metric.name() == "recall" && k == self.verdict.k {
                if model == BASELINE {
                    self.verdict.baseline = e.mean;
                } else if family.is_personal() {
                    // A model that is popularity itself has nothing to beat.
                    self.verdict.models.push((model.to_string(), e.mean));
                }
            }
        }
        for (metric, values) in [
            ("coverage", evaluation.coverage()),
            ("gini", evaluation.gini()),
        ] {
            for (k, value) in values {
                self.rows
                    .push(row(metric, k, value, None, self.verdict.users));
            }
        }
    }

    /// Of each model, its metrics as a JSON object such as `{"recall@20":0.63}`.
    fn metrics(&self) -> BTreeMap<String, String> {
        let mut found: BTreeMap<String, serde_json::Map<String, serde_json::Value>> =
            BTreeMap::new();
        for row in &self.rows {
            let name = format!("{}@{}", row.metric, row.k);
            let metrics = found.entry(row.model.clone()).or_default();
            metrics.insert(name, row.value.into());
        }
        let text = |metrics| serde_json::Value::Object(metrics).to_string();
        found.into_iter().map(|(id, m)| (id, text(m))).collect()
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        self.rows
            .sort_by(|a, b| (&a.model, a.metric, a.k).cmp(&(&b.model, b.metric, b.k)));
        let rows = &self.rows;
        let text = |f: &dyn Fn(&Row) -> String| -> ArrayRef {
            Arc::new(rows.iter().map(|r| Some(f(r))).collect::<StringViewArray>())
        };
        let float = |f: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
            Arc::new(rows.iter().map(f).collect::<Float64Array>())
        };
        let ks = rows.iter().map(|r| i32::try_from(r.k).unwrap_or(i32::MAX));
        let users = rows
            .iter()
            .map(|r| i64::try_from(r.users).unwrap_or(i64::MAX));
        Ok(RecordBatch::try_from_iter([
            ("model_id", text(&|r| r.model.clone())),
            ("model_version", text(&|_| self.version.clone())),
            ("family", text(&|r| r.family.to_string())),
            ("metric", text(&|r| r.metric.to_string())),
            ("k", Arc::new(Int32Array::from_iter_values(ks)) as ArrayRef),
            ("value", float(&|r| Some(r.value))),
            ("low", float(&|r| r.interval.map(|i| i.0))),
            ("high", float(&|r| r.interval.map(|i| i.1))),
            ("protocol", text(&|_| self.protocol.clone())),
            ("users", Arc::new(Int64Array::from_iter_values(users))),
        ])?)
    }
}

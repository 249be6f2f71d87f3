//! What was found, as rows of the tables `evaluation` and `evaluation_pairs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};

use super::bootstrap::{Estimate, Resampled, SEED};
use super::cold::Figures;
use super::evaluation::Evaluation;
use super::metric::Metric;
use crate::error::Result;
use crate::model::Family;

/// A model that was judged.
pub(super) struct Found {
    pub model: String,
    pub family: Family,
    columns: Vec<(Metric, usize)>,
    resampled: Resampled,
    /// Figures over the catalogue, without intervals.
    catalogue: Vec<(&'static str, usize, f64)>,
    /// Of new items, where they were judged.
    pub cold: Figures,
    users: usize,
}

impl Found {
    pub fn new(model: &str, family: Family, evaluation: &Evaluation) -> Self {
        let named = |name: &'static str, values: Vec<(usize, f64)>| {
            values.into_iter().map(move |(k, value)| (name, k, value))
        };
        let coverage = named("coverage", evaluation.coverage());
        Self {
            model: model.to_owned(),
            family,
            columns: evaluation.columns().to_vec(),
            resampled: evaluation.resampled(SEED),
            catalogue: coverage.chain(named("gini", evaluation.gini())).collect(),
            cold: vec![],
            users: evaluation.users(),
        }
    }

    /// The mean of a metric.
    pub fn mean(&self, metric: Metric, k: usize) -> Option<f64> {
        let at = self.columns.iter().position(|&c| c == (metric, k))?;
        Some(self.resampled.estimate(at).mean)
    }

    /// Metric, length, value, and interval where there is one, by name and length. A metric that no user has, or fewer than
    /// `least`, is left out.
    fn figures(&self, least: usize) -> Vec<(&'static str, usize, f64, Option<Estimate>)> {
        let catalogue = self
            .catalogue
            .iter()
            .map(|&(name, k, v)| (name, k, v, None));
        let mut figures: Vec<_> = catalogue.collect();
        for (at, (metric, k)) in self.columns.iter().enumerate() {
            let estimate = self.resampled.estimate(at);
            if estimate.users > 0 {
                figures.push((metric.name(), *k, estimate.mean, Some(estimate)));
            }
        }
        let cold = self.cold.iter();
        figures.extend(cold.map(|&(name, k, e)| (name, k, e.mean, Some(e))));
        figures.retain(|(.., estimate)| estimate.map_or(self.users, |e| e.users) >= least);
        figures.sort_by_key(|&(name, k, ..)| (name, k));
        figures
    }
}

/// What was found of all models.
pub(super) struct Rows<'a> {
    /// The night.
    pub version: &'a str,
    pub protocol: &'a str,
    pub found: &'a [Found],
    /// Users whom a figure is made of at least.
    pub least: usize,
}

impl Rows<'_> {
    fn sorted(&self) -> Vec<&Found> {
        let mut sorted: Vec<&Found> = self.found.iter().collect();
        sorted.sort_by(|a, b| a.model.cmp(&b.model));
        sorted
    }

    /// Of each model, its metrics as a JSON object such as `{"auc":0.9,"recall@20":0.63}`.
    pub fn metrics(&self) -> BTreeMap<String, String> {
        let of = |found: &Found| {
            let figures = found
                .figures(self.least)
                .into_iter()
                .map(|(metric, k, value, _)| {
                    let name = match k {
                        0 => metric.to_owned(),
                        k => format!("{metric}@{k}"),
                    };
                    (name, serde_json::Value::from(value))
                });
            serde_json::Value::Object(figures.collect()).to_string()
        };
        let found = self.found.iter();
        found
            .map(|found| (found.model.clone(), of(found)))
            .collect()
    }

    /// The table `evaluation`.
    ///
    /// # Errors
    /// None that can happen.
    pub fn evaluation(&self) -> Result<RecordBatch> {
        let mut rows = vec![];
        for found in self.sorted() {
            let figures = found.figures(self.least).into_iter();
            rows.extend(figures.map(|figure| (found, figure)));
        }
        let end = |f: fn(Estimate) -> f64| -> ArrayRef {
            let ends = rows.iter().map(|(_, (.., estimate))| estimate.map(f));
            Arc::new(ends.collect::<Float64Array>())
        };
        let users = rows
            .iter()
            .map(|(found, (.., estimate))| estimate.map_or(found.users, |e| e.users));
        let values = rows.iter().map(|(_, (_, _, value, _))| *value);
        Ok(RecordBatch::try_from_iter([
            ("model_id", text(rows.iter().map(|(f, _)| f.model.as_str()))),
            ("model_version", text(rows.iter().map(|_| self.version))),
            ("family", text(rows.iter().map(|(f, _)| f.family.name()))),
            ("metric", text(rows.iter().map(|(_, f)| f.0))),
            ("k", ks(rows.iter().map(|(_, f)| f.1))),
            (
                "value",
                Arc::new(Float64Array::from_iter_values(values)) as ArrayRef,
            ),
            ("low", end(|e| e.low)),
            ("high", end(|e| e.high)),
            ("protocol", text(rows.iter().map(|_| self.protocol))),
            ("users", counts(users)),
        ])?)
    }

    /// The table `evaluation_pairs`: each model against each other one.
    ///
    /// # Errors
    /// None that can happen.
    pub fn pairs(&self) -> Result<RecordBatch> {
        let sorted = self.sorted();
        let mut rows = vec![];
        for one in &sorted {
            for other in sorted.iter().filter(|other| other.model != one.model) {
                let mut columns: Vec<_> = one.columns.iter().enumerate().collect();
                columns.sort_by_key(|(_, (metric, k))| (metric.name(), *k));
                for (at, &(metric, k)) in columns {
                    let difference = one.resampled.less(&other.resampled, at);
                    if difference.users >= self.least.max(1) {
                        rows.push((*one, *other, metric, k, difference));
                    }
                }
            }
        }
        let number = |f: &dyn Fn(&Estimate) -> f64| -> ArrayRef {
            let numbers = rows.iter().map(|r| f(&r.4));
            Arc::new(Float64Array::from_iter_values(numbers))
        };
        let differs = rows.iter().map(|r| Some(r.4.excludes_zero()));
        Ok(RecordBatch::try_from_iter([
            ("model_id", text(rows.iter().map(|r| r.0.model.as_str()))),
            ("other_id", text(rows.iter().map(|r| r.1.model.as_str()))),
            ("model_version", text(rows.iter().map(|_| self.version))),
            ("metric", text(rows.iter().map(|r| r.2.name()))),
            ("k", ks(rows.iter().map(|r| r.3))),
            ("difference", number(&|e| e.mean)),
            ("low", number(&|e| e.low)),
            ("high", number(&|e| e.high)),
            (
                "differs",
                Arc::new(differs.collect::<BooleanArray>()) as ArrayRef,
            ),
            ("users", counts(rows.iter().map(|r| r.4.users))),
        ])?)
    }
}

fn text<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(texts.map(Some).collect::<StringViewArray>())
}

fn ks(ks: impl Iterator<Item = usize>) -> ArrayRef {
    let ks = ks.map(|k| i32::try_from(k).unwrap_or(i32::MAX));
    Arc::new(Int32Array::from_iter_values(ks))
}

fn counts(counts: impl Iterator<Item = usize>) -> ArrayRef {
    let counts = counts.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    Arc::new(Int64Array::from_iter_values(counts))
}

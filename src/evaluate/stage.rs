//! The stage `evaluate`: trains each model again without the test that the protocol holds out, and ranks all items for the
//! users of the test, next to popularity.

use std::collections::HashMap;
use std::path::Path;

use chrono::{Days, NaiveDate};

use super::cold::{Cold, Figures};
use super::evaluation::{Evaluation, Judged};
use super::judge::judge;
use super::metric::Metric;
use super::protocol::{Fold, Source};
use super::rows::{Found, Rows};
use crate::compute::Device;
use crate::config::{Model, Pipeline};
use crate::engine::{Library, Options};
use crate::error::{Error, Result};
use crate::features::content::Content;
use crate::model::fits::Fits;
use crate::model::popular::{self, Popular};
use crate::model::{Fitted, former, tables};
use crate::warehouse::{TableWriter, store, table};

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

    /// The figure that decides is recall at 20, or at the cut-off nearest to it.
    fn of(found: &[Found], users: usize, ks: &[usize]) -> Self {
        let k = ks.iter().copied().min_by_key(|k| k.abs_diff(20));
        let k = k.unwrap_or(20);
        let recall = |found: &Found| found.mean(Metric::Recall, k).unwrap_or(0.0);
        let baseline = found.iter().find(|f| f.model == BASELINE);
        // A model that is popularity itself has nothing to beat.
        let models = found
            .iter()
            .filter(|f| f.family.is_personal() && f.model != BASELINE);
        Self {
            users,
            k,
            baseline: baseline.map_or(0.0, recall),
            models: models.map(|f| (f.model.clone(), recall(f))).collect(),
        }
    }
}

/// Evaluates the pipeline's models as its protocol says and writes `evaluation` and `evaluation_pairs`.
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
    let (settings, night) = (&pipeline.evaluation, window.1.to_string());
    let mut writers = vec![];
    for name in ["evaluation", "evaluation_pairs"] {
        let table =
            table(name).ok_or_else(|| Error::unexpected(format!("there is no table {name}")))?;
        writers.push((table, store::replace(snapshot, table, &night)?));
    }
    let source = Source {
        pipeline,
        library,
        options,
        snapshot,
        window,
    };
    let split = settings.protocol.split(&source).await?;
    let content = if pipeline.models.iter().any(|model| model.content) {
        Some(Content::newest(library, options, snapshot, window, "items").await?)
    } else {
        None
    };
    // Of new items, by model.
    let mut cold_figures: HashMap<&str, Figures> = HashMap::new();
    // A former version that may have seen the test gives no start.
    let mut models: Vec<Model> = pipeline.models.clone();
    for model in &mut models {
        model.warm_start &= split.before.is_some();
    }
    // A model that was folded in tonight is judged folded in, too: into a version that was at the split at least as old as
    // tonight's is now.
    let mut nights = vec![];
    for model in pipeline.models.iter().filter(|m| m.train_every > 1) {
        let age = former::age(snapshot, &model.id, window.1)?;
        let last = split
            .before
            .and_then(|split| split.checked_sub_days(Days::new(age)));
        let fitting = last.and_then(|last| former::nights(model.train_every, last));
        if age > 0 {
            nights.extend(fitting.map(|nights| (model.id.as_str(), nights)));
        }
    }
    let longest = settings.k.iter().copied().max().unwrap_or(1);
    let mut judged_models: Vec<(&str, _, Option<Evaluation>)> =
        vec![(BASELINE, popular::FAMILY, None)];
    judged_models.extend(
        pipeline
            .models
            .iter()
            .map(|m| (m.id.as_str(), m.family, None)),
    );
    for fold in split.folds {
        let Fold {
            train: seen,
            test,
            unseen,
        } = fold?;
        if test.users.is_empty() {
            continue;
        }
        let known = &seen.weights;
        let judged = Judged::new(known, &test.relevant, Some(&test.users)).in_full();
        let until = (snapshot, split.before.unwrap_or(window.1));
        let cold = match &content {
            Some(content) => Cold::new(content, &seen, &unseen)?,
            None => None,
        };
        let mut fits = Fits::new(
            device,
            &models,
            &seen,
            content.as_ref(),
            until,
            options.memory,
        )
        .folding(nights.iter().cloned());
        for (at, (id, _, evaluation)) in judged_models.iter_mut().enumerate() {
            let fitted = match at.checked_sub(1) {
                None => Fitted::Popular(Popular::train(known)),
                Some(at) => {
                    fits.fit(&models[at])
                        .map_err(|e| e.context("evaluating"))?
                        .fitted
                }
            };
            if let Some(cold) = &cold {
                let ks = &settings.k;
                let figures = match at.checked_sub(1) {
                    None => Some(cold.baseline(device, ks)?),
                    Some(at) if models[at].content => cold.judge(device, &fitted, ks)?,
                    Some(_) => None,
                };
                cold_figures.extend(figures.map(|figures| (*id, figures)));
            }
            let evaluation = evaluation
                .get_or_insert_with(|| Evaluation::new(&Metric::ALL, &settings.k, known.cols()));
            judge(device, &fitted, known, &test, &judged, longest, evaluation)?;
        }
    }
    let found: Vec<Found> = judged_models
        .iter()
        .filter_map(|(id, family, e)| {
            let mut found = Found::new(id, *family, e.as_ref()?);
            found.cold = cold_figures.remove(id).unwrap_or_default();
            Some(found)
        })
        .collect();
    let Some(users) = judged_models[0].2.as_ref().map(Evaluation::users) else {
        tracing::warn!(
            "there is no user whom both the training and the test know; models are not evaluated"
        );
        return Ok(Verdict::default());
    };
    let least = pipeline.privacy.min_group as usize;
    let rows = Rows {
        version: &night,
        protocol: &split.description,
        found: &found,
        least,
    };
    for ((table, dir), batch) in writers.into_iter().zip([rows.evaluation()?, rows.pairs()?]) {
        let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
        writer.write(&batch)?;
        writer.finish()?;
    }
    tables::note_metrics(options, snapshot, window.1, &rows.metrics()).await?;
    let verdict = Verdict::of(&found, users, &settings.k);
    let failing: Vec<&str> = verdict.below().map(|(id, _)| id.as_str()).collect();
    if !failing.is_empty() && !settings.publish_below_baseline {
        return Err(Error::check(format!(
            "{} did not beat popularity on the test (recall@{}), and the pipeline file forbids to publish such a model",
            failing.join(", "),
            verdict.k
        ))
        .help("look at the table evaluation of earlier nights, or set `[evaluation] publish_below_baseline = true`"));
    }
    if users < least {
        tracing::warn!(
            users,
            least,
            "too few users were judged for their figures to be told: [privacy] min_group"
        );
        return Ok(Verdict::default());
    }
    Ok(verdict)
}

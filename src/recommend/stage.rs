//! The stage `score`: each model's list for every user, from the model files that `train` wrote.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::NaiveDate;

use super::lists::Lists;
use super::topk::Filters;
use crate::compute::Device;
use crate::config::{Exclude, Pipeline};
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::features::interactions::Interactions;
use crate::model::popular::Popular;
use crate::model::{Fitted, file, stage as train};
use crate::warehouse::{TableWriter, store, table};

/// A model that has scored.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Its id.
    pub model_id: String,
    /// Recommendations written.
    pub rows: u64,
    /// Users whose list is the popular one.
    pub popular_users: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Writes `recommendations` of `date`.
///
/// # Errors
/// Those of the device, of damaged model files and of writing.
pub async fn run(
    pipeline: &Pipeline,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    device: &dyn Device,
) -> Result<Vec<Scored>> {
    let date = window.1;
    let interactions = train::interactions(options, snapshot, date).await?;
    let engine = Engine::open(options, Some(snapshot), None)?;
    engine.restrict_to(window).await?;
    let available = availability(pipeline, &engine, &interactions).await?;
    let newcomers = newcomers(&engine, &interactions).await?;
    let exclude = match pipeline.recommend.exclude {
        Exclude::None => None,
        Exclude::Bought => Some(&interactions.bought),
        Exclude::Seen => Some(&interactions.weights),
    };
    let table =
        table("recommendations").ok_or_else(|| Error::unexpected("no table recommendations"))?;
    let dir = store::replace(snapshot, table, &date.to_string())?;
    let mut scored = vec![];
    let mut models: Vec<_> = pipeline.models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    let popular = Popular::train(&interactions.weights);
    for (n, model) in models.into_iter().enumerate() {
        let started = std::time::Instant::now();
        let read = file::read(&train::path(snapshot, date, &model.id)?)?;
        let personal = model.family.is_personal();
        if read.item_ids != interactions.items
            || (!read.user_ids.is_empty() && read.user_ids != interactions.users)
        {
            return Err(Error::check(format!(
                "model `{}` of {date} was trained on other interactions than those that are there now",
                model.id
            ))
            .help("run the stage train again"));
        }
        let filters = Filters {
            exclude,
            available: available.as_deref(),
            min_score: pipeline.recommend.min_score,
            k: pipeline.recommend.k,
        };
        let mut lists = Lists {
            items: &interactions.items,
            model_id: &model.id,
            model_version: date.to_string(),
            reasons: pipeline.recommend.reasons,
            writer: TableWriter::create(table, &dir.join(format!("part-{}.parquet", 2 * n)))?,
        };
        let learner = model.family.configure(&model.params)?;
        let contributions = learner.contributions(device, &read.fitted)?;
        let of = contributions.as_deref();
        lists.rank(device, &read.fitted, of, &filters, &interactions)?;
        let mut rows = lists.writer.finish()?;
        // Users of whom the model knows nothing come in a file of their own, so that each file is in order.
        lists.writer =
            TableWriter::create(table, &dir.join(format!("part-{}.parquet", 2 * n + 1)))?;
        let strangers = strangers(&read.fitted, &interactions, &newcomers);
        lists.write_popular(&popular, &strangers, &filters)?;
        rows += lists.writer.finish()?;
        let known = if personal {
            0
        } else {
            interactions.users.len()
        };
        scored.push(Scored {
            model_id: model.id.clone(),
            rows,
            popular_users: (strangers.len() + known) as u64,
            seconds: started.elapsed().as_secs_f64(),
        });
    }
    Ok(scored)
}

/// Which items may be recommended; `None` for all.
async fn availability(
    pipeline: &Pipeline,
    engine: &Engine,
    interactions: &Interactions,
) -> Result<Option<Vec<bool>>> {
    if !pipeline.recommend.available_only {
        return Ok(None);
    }
    let mut listed: HashSet<String> = HashSet::new();
    for batch in engine.collect("select item_id from items").await? {
        let ids = cast(batch.column(0), &DataType::Utf8View)?;
        listed.extend(ids.as_string_view().iter().flatten().map(str::to_string));
    }
    // Without any catalogue there is nothing to hold items against.
    if listed.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        interactions
            .items
            .iter()
            .map(|i| listed.contains(i))
            .collect(),
    ))
}

/// Users of the newest user export who have no interaction, in order of their ids.
async fn newcomers(engine: &Engine, interactions: &Interactions) -> Result<Vec<String>> {
    let mut ids = vec![];
    for batch in engine.collect("select user_id from users").await? {
        let column = cast(batch.column(0), &DataType::Utf8View)?;
        let unknown = |id: &&str| {
            interactions
                .users
                .binary_search_by(|u| u.as_str().cmp(id))
                .is_err()
        };
        ids.extend(
            column
                .as_string_view()
                .iter()
                .flatten()
                .filter(unknown)
                .map(str::to_string),
        );
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Users of whom the model knows nothing, in order of their ids, with their row of the interactions where they have one.
fn strangers<'a>(
    fitted: &Fitted,
    interactions: &'a Interactions,
    newcomers: &'a [String],
) -> Vec<(&'a String, Option<usize>)> {
    let here = interactions.users.iter().enumerate();
    let mut strangers: Vec<_> = here
        .filter(|(row, _)| !fitted.knows(*row, &interactions.weights))
        .map(|(row, id)| (id, Some(row)))
        .chain(newcomers.iter().map(|id| (id, None)))
        .collect();
    strangers.sort_unstable();
    strangers
}

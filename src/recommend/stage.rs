//! The stage `score`: each model's list for every user, from the model files that `train` wrote.

use std::borrow::Cow;
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
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::features::content::Content;
use crate::features::ids::{places, union};
use crate::features::interactions::Interactions;
use crate::model::file::{self, ModelFile};
use crate::model::popular::Popular;
use crate::model::{Factors, Fitted, content, stage as train, tables};
use crate::warehouse::{TableWriter, store, table};

/// A model that has scored.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Its id.
    pub model_id: String,
    /// Recommendations written.
    pub rows: u64,
    /// Users whose lists were written.
    pub users: u64,
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
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    device: &dyn Device,
) -> Result<Vec<Scored>> {
    let date = window.1;
    let interactions = train::interactions(options, snapshot, date).await?;
    let engine = Engine::open(options, Some(snapshot), None)?;
    engine.restrict_to_night(window).await?;
    let listed = listed(pipeline, &engine).await?;
    let customers = customers(&engine).await?;
    let wanted =
        pipeline.models.iter().any(|model| model.content) && pipeline.recommend.reasons > 0;
    let described = if wanted {
        Some(Content::newest(library, options, snapshot, window, "users").await?)
    } else {
        None
    };
    let table =
        table("recommendations").ok_or_else(|| Error::unexpected("no table recommendations"))?;
    let dir = store::replace(snapshot, table, &date.to_string())?;
    let mut scored = vec![];
    let mut models: Vec<_> = pipeline.models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    for (n, model) in models.into_iter().enumerate() {
        let started = std::time::Instant::now();
        let read = file::read(&train::path(snapshot, date, &model.id)?)?;
        let Some((fitted, interactions)) = together(read, &interactions)? else {
            return Err(Error::check(format!(
                "model `{}` of {date} was trained on other interactions than those that are there now",
                model.id
            ))
            .help("run the stage train again"));
        };
        let available: Option<Vec<bool>> = listed.as_ref().map(|listed| {
            let items = interactions.items.iter();
            items.map(|item| listed.contains(item)).collect()
        });
        let filters = Filters {
            exclude: match pipeline.recommend.exclude {
                Exclude::None => None,
                Exclude::Bought => Some(&interactions.bought),
                Exclude::Seen => Some(&interactions.weights),
            },
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
        let contributions = learner.contributions(device, &fitted)?;
        let reasons = match (&fitted, &described) {
            (Fitted::Factors(factors), Some(content)) if model.content => {
                content::Reasons::new(factors, &interactions.users, &interactions.weights, content)?
            }
            _ => None,
        };
        let because = (contributions.as_deref(), reasons.as_ref());
        lists.rank(device, &fitted, because, &filters, &interactions)?;
        let mut rows = lists.writer.finish()?;
        // Users of whom the model knows nothing come in a file of their own, so that each file is in order.
        lists.writer =
            TableWriter::create(table, &dir.join(format!("part-{}.parquet", 2 * n + 1)))?;
        let strangers = strangers(&fitted, &interactions, &customers);
        let newcomers = strangers.iter().filter(|s| s.1.is_none()).count();
        let popular = Popular::train(&interactions.weights);
        lists.write_popular(&popular, &strangers, &filters)?;
        rows += lists.writer.finish()?;
        let known = if model.family.is_personal() {
            0
        } else {
            interactions.users.len()
        };
        scored.push(Scored {
            model_id: model.id.clone(),
            rows,
            users: (interactions.users.len() + newcomers) as u64,
            popular_users: (strangers.len() + known) as u64,
            seconds: started.elapsed().as_secs_f64(),
        });
    }
    tables::note_scoring(options, snapshot, date, &scored).await?;
    Ok(scored)
}

/// What a file holds and the interactions, both with a row for every user and item of either; `None` where it was trained
/// on others. A file lacks rows without a vector, and has more where content gave them one.
fn together(
    read: ModelFile,
    interactions: &Interactions,
) -> Result<Option<(Fitted, Cow<'_, Interactions>)>> {
    let ModelFile {
        fitted,
        user_ids,
        item_ids,
        metadata,
        ..
    } = read;
    if metadata.get("data_hash") != Some(&interactions.hash) {
        return Ok(None);
    }
    let same_users = user_ids.is_empty() || user_ids == interactions.users;
    if same_users && item_ids == interactions.items {
        return Ok(Some((fitted, Cow::Borrowed(interactions))));
    }
    let users = union(&interactions.users, &user_ids);
    let items = union(&interactions.items, &item_ids);
    let interactions = interactions.widened(&users, &items)?;
    let Fitted::Factors(factors) = fitted else {
        return Ok(None);
    };
    let fitted = Fitted::Factors(Factors {
        users: factors
            .users
            .placed(&places(&user_ids, &users), users.len()),
        items: factors
            .items
            .placed(&places(&item_ids, &items), items.len()),
    });
    Ok(Some((fitted, Cow::Owned(interactions))))
}

/// The items of the newest catalogue, outside of which nothing is recommended; `None` where anything may be.
async fn listed(pipeline: &Pipeline, engine: &Engine) -> Result<Option<HashSet<String>>> {
    if !pipeline.recommend.available_only {
        return Ok(None);
    }
    let listed: HashSet<String> = ids(engine, "select item_id from items").await?.collect();
    // Without any catalogue there is nothing to hold items against.
    Ok((!listed.is_empty()).then_some(listed))
}

/// The users of the newest user export, in order of their ids.
async fn customers(engine: &Engine) -> Result<Vec<String>> {
    let mut customers: Vec<String> = ids(engine, "select user_id from users").await?.collect();
    customers.sort_unstable();
    Ok(customers)
}

/// The ids that a query of one column gives.
async fn ids(engine: &Engine, sql: &str) -> Result<impl Iterator<Item = String>> {
    let mut ids = vec![];
    for batch in engine.collect(sql).await? {
        let column = cast(batch.column(0), &DataType::Utf8View)?;
        ids.extend(column.as_string_view().iter().flatten().map(str::to_string));
    }
    Ok(ids.into_iter())
}

/// Users of whom the model knows nothing, in order of their ids, with their row of the interactions where they have one.
fn strangers<'a>(
    fitted: &Fitted,
    interactions: &'a Interactions,
    customers: &'a [String],
) -> Vec<(&'a String, Option<usize>)> {
    let here = interactions.users.iter().enumerate();
    let is_new = |id: &&String| interactions.users.binary_search(id).is_err();
    let newcomers = customers.iter().filter(is_new);
    let mut strangers: Vec<_> = here
        .filter(|(row, _)| !fitted.knows(*row, &interactions.weights))
        .map(|(row, id)| (id, Some(row)))
        .chain(newcomers.map(|id| (id, None)))
        .collect();
    strangers.sort_unstable();
    strangers
}

//! The stage `score`: each model's list for every user, from the model files that `train` wrote.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float32Array, Int32Array, RecordBatch, StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::NaiveDate;

use super::topk::{BATCH, Filters, popular_k, top_k, without_vector};
use crate::compute::{Device, TopK};
use crate::config::{Exclude, Pipeline};
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;
use crate::model::popular::Popular;
use crate::model::{Factors, file, stage as train};
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
        if read.item_ids != interactions.items
            || (model.family.is_personal() && read.user_ids != interactions.users)
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
            writer: TableWriter::create(table, &dir.join(format!("part-{}.parquet", 2 * n)))?,
        };
        let mut popular_users = 0u64;
        // A score of popularity is not on the scale of min_score, which is the model's.
        let popular_filters = Filters {
            min_score: None,
            ..filters
        };
        let without_list = if model.family.is_personal() {
            lists.score(device, &read.factors, &filters, &interactions.users)?;
            without_vector(read.factors.users.view())
        } else {
            (0..u32::try_from(interactions.users.len()).unwrap_or(u32::MAX)).collect()
        };
        for some in without_list.chunks(BATCH) {
            let ids: Vec<String> = some
                .iter()
                .map(|u| interactions.users[*u as usize].clone())
                .collect();
            let found = popular_k(&popular, some, &popular_filters)?;
            lists.write(&ids, &found, "popular")?;
        }
        popular_users += without_list.len() as u64;
        let mut rows = lists.writer.finish()?;
        // Users whom the window does not know come in a file of their own, so that each file is in order.
        lists.writer =
            TableWriter::create(table, &dir.join(format!("part-{}.parquet", 2 * n + 1)))?;
        let nothing = Csr::new(
            newcomers.len(),
            interactions.items.len(),
            vec![0; newcomers.len() + 1],
            vec![],
            vec![],
        )
        .map_err(|e| Error::unexpected(e.to_string()))?;
        let new_filters = Filters {
            exclude: Some(&nothing),
            ..popular_filters
        };
        let all: Vec<u32> = (0..u32::try_from(newcomers.len()).unwrap_or(u32::MAX)).collect();
        for some in all.chunks(BATCH) {
            let start = some[0] as usize;
            let ids = &newcomers[start..start + some.len()];
            lists.write(ids, &popular_k(&popular, some, &new_filters)?, "popular")?;
            popular_users += some.len() as u64;
        }
        rows += lists.writer.finish()?;
        scored.push(Scored {
            model_id: model.id.clone(),
            rows,
            popular_users,
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

/// Writes lists as rows.
struct Lists<'a> {
    items: &'a [String],
    model_id: &'a str,
    model_version: String,
    writer: TableWriter,
}

/// Users whose lists make one batch of rows.
const USERS: usize = 1024;

impl Lists<'_> {
    /// Scores all users, writing each batch of lists while the next is computed.
    fn score(
        &mut self,
        device: &dyn Device,
        factors: &Factors,
        filters: &Filters<'_>,
        ids: &[String],
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel::<(usize, TopK)>(1);
            let writer = scope.spawn(move || -> Result<()> {
                for (first, found) in receive {
                    self.write(&ids[first..first + found.rows()], &found, "factors")?;
                }
                Ok(())
            });
            let scored = top_k::<Error>(
                device,
                &factors.users,
                &factors.items,
                filters,
                |first, found| {
                    send.send((first, found))
                        .map_err(|_| Error::unexpected("the writer of recommendations stopped"))
                },
            );
            drop(send);
            let written = writer
                .join()
                .map_err(|_| Error::unexpected("the writer of recommendations ended early"))?;
            // Why the writer stopped says more than that it did.
            written.and(scored)
        })
    }

    /// Writes the list of each user of `ids`.
    fn write(&mut self, ids: &[String], lists: &TopK, reason: &str) -> Result<()> {
        for start in (0..ids.len()).step_by(USERS) {
            let end = ids.len().min(start + USERS);
            let mut users = StringViewBuilder::new();
            let mut items = StringViewBuilder::new();
            let mut ranks: Vec<i32> = vec![];
            let mut scores: Vec<f32> = vec![];
            for (row, user) in ids.iter().enumerate().take(end).skip(start) {
                let (found, values) = lists.row(row);
                for (at, (item, score)) in found.iter().zip(values).enumerate() {
                    users.append_value(user);
                    items.append_value(&self.items[*item as usize]);
                    ranks.push(i32::try_from(at + 1).unwrap_or(i32::MAX));
                    scores.push(*score);
                }
            }
            if ranks.is_empty() {
                continue;
            }
            let same = |text: &str| -> ArrayRef {
                Arc::new(
                    (0..ranks.len())
                        .map(|_| Some(text))
                        .collect::<StringViewArray>(),
                )
            };
            let batch = RecordBatch::try_from_iter([
                ("user_id", Arc::new(users.finish()) as ArrayRef),
                ("item_id", Arc::new(items.finish())),
                ("score", Arc::new(Float32Array::from(scores))),
                ("model_id", same(self.model_id)),
                ("model_version", same(&self.model_version)),
                ("reason", same(reason)),
                ("rank", Arc::new(Int32Array::from(ranks.clone()))),
            ])?;
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}

//! Lists as rows of the table `recommendations`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float32Builder, Int32Array, ListBuilder, RecordBatch, StringBuilder,
    StringViewArray, StringViewBuilder,
};

use super::rank::rank;
use super::reasons::{Because, reasons};
use super::topk::{BATCH, Filters, popular_k};
use crate::compute::{Device, TopK};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;
use crate::model::content;
use crate::model::popular::Popular;
use crate::model::{Contributions, Fitted};
use crate::warehouse::TableWriter;

/// Writes lists of one model.
pub(super) struct Lists<'a> {
    /// Item ids by column.
    pub items: &'a [String],
    pub model_id: &'a str,
    pub model_version: String,
    /// Items of a user's history that a recommendation names at most.
    pub reasons: usize,
    pub writer: TableWriter,
}

/// Users whose lists make one batch of rows.
const USERS: usize = 1024;

impl Lists<'_> {
    /// Ranks for all users, writing each batch of lists while the next is computed.
    pub fn rank(
        &mut self,
        device: &dyn Device,
        fitted: &Fitted,
        (contributions, described): (Option<&dyn Contributions>, Option<&content::Reasons<'_>>),
        filters: &Filters<'_>,
        interactions: &Interactions,
    ) -> Result<()> {
        let ids = &interactions.users;
        let history = &interactions.weights;
        let everyone: Vec<u32> = (0..).take(ids.len()).collect();
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel::<(usize, TopK)>(1);
            let writer = scope.spawn(move || -> Result<()> {
                for (first, found) in receive {
                    let ids = ids[first..].iter().take(found.rows());
                    let mut because = vec![];
                    if self.reasons > 0 {
                        let had = contributions.map(|of| (of, history, self.items));
                        // A user of whom features speak has no history.
                        let is = described.map(|of| (&*of.of, &of.features, of.names));
                        for (of, from, names) in had.into_iter().chain(is) {
                            let found = reasons(of, from, first, &found, self.reasons);
                            because.push((found, names));
                        }
                    }
                    // A user with a vector and no history has it from content.
                    let reason = |row| match history.row(first + row).0 {
                        [] if fitted.knows(first + row, history) => "content",
                        _ => fitted.reason(),
                    };
                    self.write(ids, &found, reason, &because)?;
                }
                Ok(())
            });
            let scored = rank::<Error>(
                device,
                fitted,
                history,
                &everyone,
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

    /// Writes the popular list for users of whom the model knows nothing: ids with their row of `filters.exclude`.
    pub fn write_popular(
        &mut self,
        popular: &Popular,
        strangers: &[(&String, Option<usize>)],
        filters: &Filters<'_>,
    ) -> Result<()> {
        for some in strangers.chunks(BATCH) {
            let mut had = vec![];
            for ((_, row), place) in some.iter().zip(0u32..) {
                if let (Some(exclude), Some(row)) = (filters.exclude, row) {
                    had.extend(exclude.row(*row).0.iter().map(|item| (place, *item, 1.0)));
                }
            }
            let exclude = Csr::from_triplets(some.len(), self.items.len(), &had)
                .map_err(|e| Error::unexpected(e.to_string()))?;
            let filters = Filters {
                exclude: Some(&exclude),
                // A score of popularity is not on the scale of min_score, which is the model's.
                min_score: None,
                ..*filters
            };
            let places: Vec<u32> = (0..).take(some.len()).collect();
            let found = popular_k(popular, &places, &filters)?;
            self.write(some.iter().map(|s| s.0), &found, |_| "popular", &[])?;
        }
        Ok(())
    }

    /// Writes the list of each user of `ids`; `because` holds the reasons of every entry with what they number.
    fn write<'i>(
        &mut self,
        ids: impl ExactSizeIterator<Item = &'i String>,
        lists: &TopK,
        reason: impl Fn(usize) -> &'static str,
        because: &[(Vec<Because>, &[String])],
    ) -> Result<()> {
        let mut entries = 0..;
        let mut ids = ids.enumerate().peekable();
        while ids.peek().is_some() {
            let mut users = StringViewBuilder::new();
            let mut items = StringViewBuilder::new();
            let mut reasons = StringViewBuilder::new();
            let mut ranks: Vec<i32> = vec![];
            let mut scores: Vec<f32> = vec![];
            let mut because_items = ListBuilder::new(StringBuilder::new());
            let mut because_shares = ListBuilder::new(Float32Builder::new());
            for (row, user) in ids.by_ref().take(USERS) {
                let (found, values) = lists.row(row);
                for (at, (item, score)) in found.iter().zip(values).enumerate() {
                    users.append_value(user);
                    items.append_value(&self.items[*item as usize]);
                    reasons.append_value(reason(row));
                    ranks.push(i32::try_from(at + 1).unwrap_or(i32::MAX));
                    scores.push(*score);
                    let entry = entries.next().unwrap_or_default();
                    for (reasons, names) in because {
                        for (reason, share) in &reasons[entry] {
                            because_items
                                .values()
                                .append_value(&names[*reason as usize]);
                            because_shares.values().append_value(*share);
                        }
                    }
                    because_items.append(true);
                    because_shares.append(true);
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
                ("reason", Arc::new(reasons.finish())),
                ("because", Arc::new(because_items.finish())),
                ("because_shares", Arc::new(because_shares.finish())),
                ("rank", Arc::new(Int32Array::from(ranks.clone()))),
            ])?;
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}

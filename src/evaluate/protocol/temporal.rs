//! Trains on the days before a split, tests on the days after it.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::TimeDelta;

use super::{Fold, Source, Split};
use crate::engine::interval_end_us;
use crate::error::Result;

/// Holds out the last `holdout_days`. Interactions are weighed as of the split.
pub(super) async fn split(source: &Source<'_>) -> Result<Split> {
    let window = source.window;
    let days = source.pipeline.evaluation.holdout_days;
    let split = window.1 - TimeDelta::days(i64::from(days));
    let description = format!(
        "temporal: trained on {} to {split}, tested on the days after it to {}; full ranking of all items known before the \
         split that the user had not seen",
        window.0, window.1
    );
    if split < window.0 {
        tracing::warn!("the window is too short to hold days out");
        return Ok(Split {
            description,
            before: Some(split),
            folds: Box::new(std::iter::empty()),
        });
    }
    let train = source.interactions(split).await?;
    let engine = source.until(window.1).await?;
    let end = interval_end_us(split);
    let sql = format!(
        "select distinct user_id, item_id from events
         where event_type in ('view', 'click', 'cart', 'purchase') and item_id is not null
         and event_time >= arrow_cast({end}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    );
    let columns: HashMap<&str, u32> = train.items.iter().map(String::as_str).zip(0u32..).collect();
    let mut test: Vec<(u32, u32)> = vec![];
    let mut unseen: Vec<(u32, String)> = vec![];
    for batch in engine.collect(&sql).await? {
        let text = |n: usize| cast(batch.column(n), &DataType::Utf8View);
        let (users, items) = (text(0)?, text(1)?);
        let pairs = users.as_string_view().iter().zip(items.as_string_view());
        for (user, item) in pairs.filter_map(|(user, item)| user.zip(item)) {
            let row = train.users.binary_search_by(|u| u.as_str().cmp(user));
            let Ok(row) = row else { continue };
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            match columns.get(item) {
                Some(&column) => test.push((row, column)),
                None => unseen.push((row, item.to_string())),
            }
        }
    }
    test.sort_unstable();
    unseen.sort_unstable();
    let fold = Fold {
        unseen,
        ..Fold::new(train, &test)?
    };
    Ok(Split::one(description, Some(split), fold))
}

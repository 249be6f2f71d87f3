//! Tests on the pairs of the project's own SQL file, trains on all others.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{Fold, Source, Split};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;
use crate::model::stage::INTERACTIONS;

/// The file below the project's `sql` folder: one row per pair, with the columns user_id and item_id.
pub(crate) const FILE: &str = "evaluation/test.sql";

/// The file sees the tables of the window, `interactions` among them.
pub(super) async fn split(source: &Source<'_>) -> Result<Split> {
    let place = source.library.describe(FILE);
    let sql = source.library.get(FILE).map_err(|_| {
        Error::config(format!(
            "`[evaluation] protocol = \"given\"` needs the file {}",
            source.pipeline.sql.join(FILE).display()
        ))
        .help("write a query there that returns user_id and item_id of each pair to test on; all others are trained on")
    })?;
    let engine = source.until(source.window.1).await?;
    let all = Interactions::read(&engine, INTERACTIONS).await?;
    let context = |e: Error| e.context(&place);
    let frame = engine.query(sql).await.map_err(context)?;
    for name in ["user_id", "item_id"] {
        if frame.schema().field_with_unqualified_name(name).is_err() {
            let found: Vec<String> = frame
                .schema()
                .columns()
                .iter()
                .map(|c| c.name.clone())
                .collect();
            return Err(Error::config(format!(
                "{place}: the result has no column {name}, only {}",
                found.join(", ")
            ))
            .help("return user_id and item_id of each pair to test on"));
        }
    }
    let batches = frame.collect().await.map_err(|e| context(e.into()))?;
    let columns: HashMap<&str, u32> = all.items.iter().map(String::as_str).zip(0u32..).collect();
    let (mut test, mut rows, mut unknown) = (vec![], 0usize, 0usize);
    for batch in &batches {
        let text = |name: &str| {
            let column = batch.column_by_name(name);
            let column = column.ok_or_else(|| Error::unexpected(format!("no column {name}")))?;
            Ok::<_, Error>(cast(column, &DataType::Utf8View)?)
        };
        let (users, items) = (text("user_id")?, text("item_id")?);
        for (user, item) in users.as_string_view().iter().zip(items.as_string_view()) {
            rows += 1;
            let (Some(user), Some(item)) = (user, item) else {
                return Err(Error::check(format!(
                    "{place}: row {rows} has no {}",
                    if user.is_none() { "user_id" } else { "item_id" }
                ))
                .help("leave such rows out in the query"));
            };
            let row = all.users.binary_search_by(|u| u.as_str().cmp(user));
            match (row, columns.get(item)) {
                (Ok(row), Some(&column)) => {
                    test.push((u32::try_from(row).unwrap_or(u32::MAX), column));
                }
                _ => unknown += 1,
            }
        }
    }
    if rows == 0 {
        return Err(Error::check(format!("{place}: no row to test on"))
            .help("see what the query returns with `recost sql`"));
    }
    test.sort_unstable();
    test.dedup();
    // A pair that never happened is in no training; it is relevant all the same, since somebody says so.
    let fold = Fold::new(all.without(&places(&all.weights, &test))?, &test)?;
    let left_out = test.len() - fold.test.relevant.nnz() + unknown;
    if left_out > 0 {
        tracing::warn!(
            "{place}: {left_out} of {rows} test rows are of a user or an item that no training row knows, and are left out"
        );
    }
    let description = format!(
        "given: tested on the {} pairs of {FILE} that training can know, trained on {} to {} without them; full ranking of \
         all items known to the training that the user had not seen",
        fold.test.relevant.nnz(),
        source.window.0,
        source.window.1
    );
    if fold.test.users.is_empty() {
        return Err(Error::check(format!(
            "{place}: none of its {rows} rows is of a user and an item that the other interactions of {} to {} know",
            source.window.0, source.window.1
        ))
        .help("test on users who keep interactions to train on, and on items that others have too"));
    }
    Ok(Split::one(description, None, fold))
}

/// Places among the entries of `all` of those of `pairs` (ascending) that it has, ascending.
fn places(all: &Csr, pairs: &[(u32, u32)]) -> Vec<usize> {
    let place = |&(row, column): &(u32, u32)| {
        let found = all.row(row as usize).0.binary_search(&column).ok()?;
        Some(all.indptr()[row as usize] as usize + found)
    };
    pairs.iter().filter_map(place).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_where_they_are() {
        let cells = [(0, 1, 1.0), (0, 3, 1.0), (2, 0, 1.0), (2, 3, 1.0)];
        let all = Csr::from_triplets(3, 4, &cells).unwrap();
        assert_eq!(places(&all, &[(0, 0), (0, 3), (1, 1), (2, 0)]), [1, 2]);
    }
}

//! `served_days`: what each model version showed on each day.
//!
//! A showing is hashed to 128 bits of its request within its model and 64 bits of its item (XXH3), 32 bytes in memory, so
//! that a day of millions is counted in one pass without sorting texts. Two requests of a model that share a hash would be
//! needed for a wrong count: of a billion requests a day, one in 10²⁰ days has such a pair.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int32Type};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::work::contract;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, store};

/// Writes the table for every day of the window. The session has the events of the window. Returns the days on which
/// anything was shown.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    engine: &Engine,
    library: &Library,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    threads: usize,
) -> Result<Arc<BTreeSet<NaiveDate>>> {
    let shown = Arc::new(days_shown(engine).await?);
    let (sql, place) = (
        library.get("attribution/served.sql")?.to_string(),
        snapshot.to_path_buf(),
    );
    let days = Arc::clone(&shown);
    each_day(engine, window, threads, move |engine, day| {
        let (sql, place, shown) = (sql.clone(), place.clone(), Arc::clone(&days));
        async move {
            let table = contract("served_days")?;
            let dir = store::replace(&place, table, &day.to_string())?;
            if !shown.contains(&day) {
                return Ok(0);
            }
            let mut stream = engine.unordered_between(&sql, "event_time", day).await?;
            let mut showings = Showings::default();
            while let Some(batch) = stream.next().await {
                showings.add(&batch?)?;
            }
            let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
            writer.write(&showings.count()?)?;
            writer.finish()
        }
    })
    .await?;
    Ok(shown)
}

/// Does `work` for each day of the window, `threads` of them at a time, each with a session of one thread; adds up what
/// it gives.
///
/// # Errors
/// The first of `work`.
pub async fn each_day<F, Fut>(
    engine: &Engine,
    window: (NaiveDate, NaiveDate),
    threads: usize,
    work: F,
) -> Result<u64>
where
    F: Fn(Engine, NaiveDate) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u64>>,
{
    let work = Arc::new(work);
    let days = window.0.iter_days().take_while(|d| *d <= window.1);
    let days: Vec<NaiveDate> = days.collect();
    let done: Vec<u64> = futures::stream::iter(days)
        .map(|day| {
            let (engine, work) = (engine.single(), Arc::clone(&work));
            let runtime = tokio::runtime::Handle::current();
            async move {
                tokio::task::spawn_blocking(move || runtime.block_on(work(engine, day)))
                    .await
                    .map_err(|e| Error::unexpected(format!("a worker ended early: {e}")))?
            }
        })
        .buffered(threads)
        .try_collect()
        .await?;
    Ok(done.iter().sum())
}

/// Days with an impression: asking each day of a long window alone would take far longer than asking once.
async fn days_shown(engine: &Engine) -> Result<BTreeSet<NaiveDate>> {
    let sql = "select distinct cast(event_time as date) as day from events
               where event_type = 'impression' and model_id is not null and request_id is not null";
    let mut days = BTreeSet::new();
    for batch in engine.collect(sql).await? {
        let column = cast(batch.column(0), &DataType::Date32)?;
        let values = column.as_primitive::<Date32Type>().values().iter();
        days.extend(values.filter_map(|d| Date32Type::to_naive_date_opt(*d)));
    }
    Ok(days)
}

/// Model, version and surface.
type Group = (String, Option<String>, Option<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Showing {
    request: u128,
    item: u64,
    rank: i32,
    group: u32,
}

/// The showings of one day.
#[derive(Debug, Default)]
struct Showings {
    rows: Vec<Showing>,
    groups: HashMap<Group, u32>,
}

impl Showings {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str, ty: &DataType| -> Result<ArrayRef> {
            let found = batch.column_by_name(name).ok_or_else(|| {
                Error::config(format!("attribution/served.sql gives no column {name}"))
            })?;
            Ok(cast(found, ty)?)
        };
        let text = |name: &str| -> Result<StringViewArray> {
            Ok(column(name, &DataType::Utf8View)?.as_string_view().clone())
        };
        let (model, version) = (text("model_id")?, text("model_version")?);
        let (surface, request, item) = (text("surface")?, text("request_id")?, text("item_id")?);
        let rank = column("rank", &DataType::Int32)?;
        let rank = rank.as_primitive::<Int32Type>();
        let at = |texts: &StringViewArray, row| {
            texts.is_valid(row).then(|| texts.value(row).to_string())
        };
        // Rows of one response follow each other, so the group is mostly that of the row before.
        let mut last: Option<(usize, u32)> = None;
        for row in 0..batch.num_rows() {
            let same = |texts: &StringViewArray, other: usize| {
                texts.is_valid(row) == texts.is_valid(other)
                    && (texts.is_null(row) || texts.value(row) == texts.value(other))
            };
            let group = match last {
                Some((other, group))
                    if same(&model, other) && same(&version, other) && same(&surface, other) =>
                {
                    group
                }
                _ => {
                    let key = (
                        model.value(row).to_string(),
                        at(&version, row),
                        at(&surface, row),
                    );
                    let next = u32::try_from(self.groups.len())
                        .map_err(|_| Error::check("too many versions and surfaces on one day"))?;
                    *self.groups.entry(key).or_insert(next)
                }
            };
            last = Some((row, group));
            let seed = xxh3_64(model.value(row).as_bytes());
            self.rows.push(Showing {
                request: xxh3_128_with_seed(request.value(row).as_bytes(), seed),
                item: xxh3_64(item.value(row).as_bytes()),
                rank: rank.value(row),
                group,
            });
        }
        Ok(())
    }

    /// One row per model, version and surface, each showing counted once, in the group in which `served.sql` puts it
    /// first.
    fn count(mut self) -> Result<RecordBatch> {
        let mut groups: Vec<(Group, u32)> = self.groups.into_iter().collect();
        // Nulls last, as SQL orders them.
        groups.sort_by(|(a, _), (b, _)| {
            let key = |g: &Group| (g.1.is_none(), g.1.clone(), g.2.is_none(), g.2.clone());
            a.0.cmp(&b.0).then_with(|| key(a).cmp(&key(b)))
        });
        let mut place = vec![0_u32; groups.len()];
        for (at, (_, group)) in (0_u32..).zip(&groups) {
            place[*group as usize] = at;
        }
        for row in &mut self.rows {
            row.group = place[row.group as usize];
        }
        self.rows.sort_unstable();
        let mut counts = vec![(0_i64, 0_i64); groups.len()];
        let firsts = self
            .rows
            .chunk_by(|a, b| (a.request, a.item) == (b.request, b.item));
        let mut of_request: BTreeSet<u32> = BTreeSet::new();
        let mut request = None;
        for first in firsts.filter_map(|chunk| chunk.first()) {
            if request != Some(first.request) {
                of_request.clear();
                request = Some(first.request);
            }
            let (served, requests) = &mut counts[first.group as usize];
            *served += 1;
            *requests += i64::from(of_request.insert(first.group));
        }
        // A group whose every showing is a repetition of another's has shown nothing.
        let kept: Vec<(&Group, (i64, i64))> = groups
            .iter()
            .map(|(group, _)| group)
            .zip(counts)
            .filter(|(_, count)| count.0 > 0)
            .collect();
        let text = |f: &dyn Fn(&Group) -> Option<&str>| -> ArrayRef {
            let texts: StringViewArray = kept.iter().map(|(group, _)| f(group)).collect();
            Arc::new(texts)
        };
        let number = |f: &dyn Fn((i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                kept.iter().map(|(_, count)| f(*count)),
            ))
        };
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("model_id", text(&|g| Some(&g.0)), false),
            ("model_version", text(&|g| g.1.as_deref()), true),
            ("surface", text(&|g| g.2.as_deref()), true),
            ("served", number(&|c| c.0), false),
            ("requests", number(&|c| c.1), false),
        ])?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::util::display::array_value_to_string;

    type Row<'a> = (
        &'a str,
        Option<&'a str>,
        Option<&'a str>,
        &'a str,
        &'a str,
        i32,
    );

    fn count(rows: &[Row<'_>]) -> Vec<String> {
        let mut showings = Showings::default();
        // One row a batch: what is counted must not depend on how rows are gathered.
        for row in rows {
            let text = |t: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from(vec![t])) };
            let batch = RecordBatch::try_from_iter_with_nullable([
                ("model_id", text(Some(row.0)), true),
                ("model_version", text(row.1), true),
                ("surface", text(row.2), true),
                ("request_id", text(Some(row.3)), true),
                ("item_id", text(Some(row.4)), true),
                ("rank", Arc::new(Int32Array::from(vec![row.5])) as _, true),
            ]);
            showings.add(&batch.unwrap()).unwrap();
        }
        let counted = showings.count().unwrap();
        let cell = |c: &ArrayRef, row| array_value_to_string(c, row).unwrap();
        (0..counted.num_rows())
            .map(|row| {
                let cells = counted.columns().iter().map(|c| cell(c, row));
                cells.collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn a_retry_counts_once_and_where_it_stands_first() {
        let (v1, home) = (Some("v1"), Some("home"));
        let mut rows = vec![
            ("als", v1, home, "r1", "shoe", 1),
            ("als", v1, home, "r1", "hat", 2),
            ("als", v1, home, "r1", "shoe", 1),
            ("als", v1, Some("email"), "r2", "shoe", 1),
            // The same again with a later version: the showing is that of the earlier one.
            ("als", Some("v2"), home, "r1", "hat", 2),
            ("als", None, None, "r3", "hat", 1),
            // Another model's response of the same id is another response.
            ("top", None, None, "r1", "shoe", 1),
        ];
        let expected = [
            "als v1 email 1 1",
            "als v1 home 2 1",
            "als   1 1",
            "top   1 1",
        ];
        assert_eq!(count(&rows), expected);
        rows.reverse();
        assert_eq!(count(&rows), expected);
    }
}

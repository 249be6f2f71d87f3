//! `served_days`: what each model version showed on each day.
//!
//! A showing is hashed to 128 bits of its request within its model and 64 bits of its item (XXH3), 48 bytes in memory, so
//! that a day of millions is counted in one pass without sorting texts. Two requests of a model that share a hash would be
//! needed for a wrong count: of a billion requests a day, one in 10²⁰ days has such a pair.
//!
//! Where a day's showings take more than their share of the memory they are read in rounds, each of the requests whose hash
//! falls to it: counts of requests add up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::work::contract;
use crate::engine::rows::map;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, Type, store};

/// What models showed in the window.
#[derive(Debug, Default)]
pub struct Shown {
    /// Days on which they showed anything.
    pub days: BTreeSet<NaiveDate>,
    /// What was shown again with another version or on another surface: as it was shown first. These are few.
    repeated: HashMap<(NaiveDate, u128, u64), Arc<Group>>,
}

impl Shown {
    /// Version and surface of the recommendation, where a showing of it had others: those of its first showing on the day.
    pub(super) fn as_first(
        &self,
        day: NaiveDate,
        (model, request, item): (&str, &str, &str),
    ) -> Option<(Option<&str>, Option<&str>)> {
        let (request, item) = hashes(model, request, item);
        let (_, version, surface) = &**self.repeated.get(&(day, request, item))?;
        Some((version.as_deref(), surface.as_deref()))
    }
}

#[cfg(test)]
impl Shown {
    fn with_repeated(day: NaiveDate, repeated: Vec<Repeated>) -> Self {
        let of_day = |((request, item), group)| ((day, request, item), group);
        Shown {
            days: [day].into(),
            repeated: repeated.into_iter().map(of_day).collect(),
        }
    }

    /// An item that a model showed twice on a day in a request, first with this version and surface.
    pub(super) fn again(
        day: NaiveDate,
        (model, request, item): (&str, &str, &str),
        (version, surface): (&str, &str),
    ) -> Self {
        let group = (
            model.to_string(),
            Some(version.into()),
            Some(surface.into()),
        );
        let repeated = (hashes(model, request, item), Arc::new(group));
        Self::with_repeated(day, vec![repeated])
    }
}

/// A request within its model, and an item.
fn hashes(model: &str, request: &str, item: &str) -> (u128, u64) {
    let seed = xxh3_64(model.as_bytes());
    let request = xxh3_128_with_seed(request.as_bytes(), seed);
    (request, xxh3_64(item.as_bytes()))
}

/// Writes the table for every day of the window. The session has the events of the window. Returns what was shown.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    engine: &Engine,
    library: &Library,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    threads: usize,
) -> Result<Shown> {
    let shown = Arc::new(days_shown(engine).await?);
    let room = engine.memory() / HELD / threads.max(1) / size_of::<Showing>();
    let room = room.max(1) as u64;
    let (sql, place) = (
        library.get("attribution/served.sql")?.to_string(),
        snapshot.to_path_buf(),
    );
    let days = Arc::clone(&shown);
    let repeated = each_day(engine, window, threads, move |engine, day| {
        let (sql, place, shown) = (sql.clone(), place.clone(), Arc::clone(&days));
        async move {
            let table = contract("served_days")?;
            let dir = store::replace(&place, table, &day.to_string())?;
            let Some(rows) = shown.get(&day) else {
                return Ok((day, vec![]));
            };
            let rounds = rows.div_ceil(room);
            let mut showings = Showings::default();
            let mut repeated = vec![];
            for round in 0..rounds {
                let mut stream = engine.unordered_between(&sql, "event_time", day).await?;
                while let Some(batch) = stream.next().await {
                    showings.add(&batch?, (round, rounds))?;
                }
                repeated.extend(showings.count());
            }
            let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
            writer.write(&showings.counted()?)?;
            writer.finish()?;
            Ok((day, repeated))
        }
    })
    .await?;
    let of_day = |(day, repeated): (NaiveDate, Vec<Repeated>)| {
        let key = move |((request, item), group)| ((day, request, item), group);
        repeated.into_iter().map(key)
    };
    Ok(Shown {
        days: shown.keys().copied().collect(),
        repeated: repeated.into_iter().flat_map(of_day).collect(),
    })
}

/// Does `work` for each day of the window, `threads` of them at a time, each with a session of one thread; gives what it
/// gives, in the order of days.
///
/// # Errors
/// The first of `work`.
pub async fn each_day<T, F, Fut>(
    engine: &Engine,
    window: (NaiveDate, NaiveDate),
    threads: usize,
    work: F,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Fn(Engine, NaiveDate) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T>>,
{
    let work = Arc::new(work);
    let days = window.0.iter_days().take_while(|d| *d <= window.1);
    let days: Vec<NaiveDate> = days.collect();
    futures::stream::iter(days)
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
        .await
}

/// Impressions of each day that has any: asking each day of a long window alone would take far longer than asking once.
async fn days_shown(engine: &Engine) -> Result<BTreeMap<NaiveDate, u64>> {
    let sql = "select cast(event_time as date) as day, count(*) as n from events
               where event_type = 'impression' and model_id is not null and request_id is not null
               group by 1";
    let days = engine.collect(sql).await?;
    let days = map(&days, |row| Ok((row.day("day")?, row.count("n")?)))?;
    Ok(days
        .into_iter()
        .filter_map(|(day, n)| Some((day?, n)))
        .collect())
}

/// Model, version and surface.
type Group = (String, Option<String>, Option<String>);

/// Hashes of a request and an item that were shown again otherwise, and how they were shown first.
type Repeated = ((u128, u64), Arc<Group>);

/// In the order of `served.sql` within a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Showing {
    request: u128,
    item: u64,
    /// µs
    time: i64,
    rank: i32,
    group: u32,
}

/// What part of the memory holds showings.
const HELD: usize = 8;

/// The showings of one round of a day, and what was counted in the rounds before.
#[derive(Debug, Default)]
struct Showings {
    rows: Vec<Showing>,
    groups: HashMap<Group, u32>,
    /// Showings and requests of each group.
    counts: Vec<(i64, i64)>,
}

impl Showings {
    /// Adds the rows of one of so many rounds.
    fn add(&mut self, batch: &RecordBatch, (round, rounds): (u64, u64)) -> Result<()> {
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
        let time = column("event_time", &Type::Timestamp.arrow())?;
        let time = time.as_primitive::<TimestampMicrosecondType>();
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
            let (request, item) = hashes(model.value(row), request.value(row), item.value(row));
            if (request >> 64) as u64 % rounds != round {
                continue;
            }
            self.rows.push(Showing {
                request,
                item,
                time: time.value(row),
                rank: rank.value(row),
                group,
            });
        }
        Ok(())
    }

    /// The groups in the order in which `served.sql` puts them, with their numbers.
    fn sorted(&self) -> Vec<(&Group, u32)> {
        let mut groups: Vec<(&Group, u32)> = self.groups.iter().map(|(g, n)| (g, *n)).collect();
        // Nulls last, as SQL orders them.
        groups.sort_by(|(a, _), (b, _)| {
            let key = |g: &Group| (g.1.is_none(), g.1.clone(), g.2.is_none(), g.2.clone());
            a.0.cmp(&b.0).then_with(|| key(a).cmp(&key(b)))
        });
        groups
    }

    /// Ends a round: counts each showing once, in the group in which `served.sql` puts it first; gives what was shown again
    /// in another group.
    fn count(&mut self) -> Vec<Repeated> {
        let mut rows = std::mem::take(&mut self.rows);
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(self.groups.len(), (0, 0));
        let groups = self.sorted();
        let mut place = vec![0_u32; groups.len()];
        for (at, (_, number)) in (0_u32..).zip(&groups) {
            place[*number as usize] = at;
        }
        for row in &mut rows {
            row.group = place[row.group as usize];
        }
        rows.sort_unstable();
        let firsts = rows.chunk_by(|a, b| (a.request, a.item) == (b.request, b.item));
        let mut of_request: BTreeSet<u32> = BTreeSet::new();
        let mut request = None;
        let mut repeated = vec![];
        let mut shared: HashMap<u32, Arc<Group>> = HashMap::new();
        for (first, again) in firsts.filter_map(<[Showing]>::split_first) {
            let (group, number) = groups[first.group as usize];
            if again.iter().any(|showing| showing.group != first.group) {
                let group = shared
                    .entry(number)
                    .or_insert_with(|| Arc::new(group.clone()));
                repeated.push(((first.request, first.item), Arc::clone(group)));
            }
            if request != Some(first.request) {
                of_request.clear();
                request = Some(first.request);
            }
            let (served, requests) = &mut counts[number as usize];
            *served += 1;
            *requests += i64::from(of_request.insert(number));
        }
        rows.clear();
        (self.rows, self.counts) = (rows, counts);
        repeated
    }

    /// One row per model, version and surface: what was counted.
    fn counted(&self) -> Result<RecordBatch> {
        // In the order of the contract, nulls first.
        let groups: BTreeMap<&Group, u32> = self.groups.iter().map(|(g, n)| (g, *n)).collect();
        let counted = groups
            .into_iter()
            .map(|(group, number)| (group, self.counts[number as usize]));
        // A group whose every showing is a repetition of another's has shown nothing.
        let kept: Vec<(&Group, (i64, i64))> = counted.filter(|(_, count)| count.0 > 0).collect();
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
    use arrow::array::{Int32Array, TimestampMicrosecondArray};
    use arrow::util::display::array_value_to_string;

    type Row<'a> = (
        &'a str,
        Option<&'a str>,
        Option<&'a str>,
        &'a str,
        &'a str,
        i64,
        i32,
    );

    /// What is counted in so many rounds, and what was shown again.
    fn gathered(rows: &[Row<'_>], rounds: u64) -> (RecordBatch, Vec<Repeated>) {
        let mut showings = Showings::default();
        let mut repeated = vec![];
        for round in 0..rounds {
            add(&mut showings, rows, (round, rounds));
            repeated.extend(showings.count());
        }
        (showings.counted().unwrap(), repeated)
    }

    fn add(showings: &mut Showings, rows: &[Row<'_>], round: (u64, u64)) {
        // One row a batch: what is counted must not depend on how rows are gathered.
        for row in rows {
            let text = |t: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from(vec![t])) };
            let time = TimestampMicrosecondArray::from(vec![row.5]).with_timezone("UTC");
            let batch = RecordBatch::try_from_iter_with_nullable([
                ("event_time", Arc::new(time) as ArrayRef, true),
                ("model_id", text(Some(row.0)), true),
                ("model_version", text(row.1), true),
                ("surface", text(row.2), true),
                ("request_id", text(Some(row.3)), true),
                ("item_id", text(Some(row.4)), true),
                ("rank", Arc::new(Int32Array::from(vec![row.6])) as _, true),
            ]);
            showings.add(&batch.unwrap(), round).unwrap();
        }
    }

    fn count(rows: &[Row<'_>]) -> Vec<String> {
        let [counted, in_rounds] = [1, 3].map(|rounds| gathered(rows, rounds).0);
        assert_eq!(counted, in_rounds);
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
            ("als", v1, home, "r1", "shoe", 0, 1),
            ("als", v1, home, "r1", "hat", 0, 2),
            ("als", v1, home, "r1", "shoe", 5, 1),
            ("als", v1, Some("email"), "r2", "shoe", 0, 1),
            // The same again with a later version: the showing is that of the earlier one.
            ("als", Some("v2"), home, "r1", "hat", 0, 2),
            ("als", None, None, "r3", "hat", 0, 1),
            // Another model's response of the same id is another response.
            ("top", None, None, "r1", "shoe", 0, 1),
        ];
        let expected = [
            "als   1 1",
            "als v1 email 1 1",
            "als v1 home 2 1",
            "top   1 1",
        ];
        assert_eq!(count(&rows), expected);
        rows.reverse();
        assert_eq!(count(&rows), expected);
    }

    #[test]
    fn of_what_is_shown_again_the_time_says_which_was_first_and_others_are_led_back_to_it() {
        let (v1, v2) = (Some("v1"), Some("v2"));
        let mut rows = vec![
            // First at the end of a list; again a second later, higher, by another version, elsewhere.
            ("als", v2, Some("home"), "r1", "shoe", 1_000_000, 9),
            ("als", v1, Some("cart"), "r1", "shoe", 2_000_000, 1),
            ("als", v1, Some("cart"), "r1", "hat", 2_000_000, 2),
            ("als", v1, Some("cart"), "r1", "hat", 3_000_000, 2),
        ];
        let expected = ["als v1 cart 1 1", "als v2 home 1 1"];
        assert_eq!(count(&rows), expected);
        rows.reverse();
        assert_eq!(count(&rows), expected);

        let (_, repeated) = gathered(&rows, 2);
        let day = NaiveDate::default();
        let shown = Shown::with_repeated(day, repeated);
        let first = shown.as_first(day, ("als", "r1", "shoe"));
        assert_eq!(first, Some((v2, Some("home"))));
        for other in [
            ("als", "r1", "hat"),
            ("top", "r1", "shoe"),
            ("als", "r2", "shoe"),
        ] {
            assert_eq!(shown.as_first(day, other), None);
        }
        let next = day.succ_opt().unwrap();
        assert_eq!(shown.as_first(next, ("als", "r1", "shoe")), None);
    }
}

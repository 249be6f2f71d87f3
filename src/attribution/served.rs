//! What each model version showed on each day: `served_days`, and the recommendations themselves, each once and set aside
//! until it is known what they cost.
//!
//! The events of a day are read once, in the order of `served.sql`: showings of an item in a request of a model follow each
//! other, the first ahead of its retries, and so do the items of a request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::recommendation::Weights;
use super::work::contract;
use crate::engine::rows::{self, map, valid};
use crate::engine::spool::{Spool, Spooled};
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, store};

const SQL: &str = "attribution/served.sql";

/// What models showed in the window.
#[derive(Debug, Default)]
pub struct Shown {
    /// Each day on which they showed anything, and what each showed.
    pub days: BTreeMap<NaiveDate, Vec<Served>>,
    /// What was shown again with another version or on another surface: as it was shown first. These are few.
    repeated: HashMap<(NaiveDate, u128, u64), Arc<Group>>,
}

/// Version and surface.
type Group = (Option<String>, Option<String>);

/// Hashes of a request and an item that were shown again otherwise, and how they were shown first.
type Repeated = ((u128, u64), Arc<Group>);

/// What one model showed on a day.
#[derive(Debug)]
pub struct Served {
    pub(super) model: String,
    /// The recommendations, each once, in the order of `served.sql`.
    pub(super) rows: Spooled,
    pub(super) of_version: BTreeMap<Option<String>, Weights>,
}

impl Shown {
    /// Version and surface of the recommendation, where a showing of it had others: those of its first showing on the day.
    pub(super) fn as_first(
        &self,
        day: NaiveDate,
        (model, request, item): (&str, &str, &str),
    ) -> Option<(Option<&str>, Option<&str>)> {
        let (request, item) = hashes(model, request, item);
        let (version, surface) = &**self.repeated.get(&(day, request, item))?;
        Some((version.as_deref(), surface.as_deref()))
    }
}

#[cfg(test)]
impl Shown {
    fn with_repeated(day: NaiveDate, repeated: Vec<Repeated>) -> Self {
        let of_day = |((request, item), group)| ((day, request, item), group);
        Shown {
            days: BTreeMap::new(),
            repeated: repeated.into_iter().map(of_day).collect(),
        }
    }

    /// An item that a model showed twice on a day in a request, first with this version and surface.
    pub(super) fn again(
        day: NaiveDate,
        (model, request, item): (&str, &str, &str),
        (version, surface): (&str, &str),
    ) -> Self {
        let group = (Some(version.into()), Some(surface.into()));
        let repeated = (hashes(model, request, item), Arc::new(group));
        Self::with_repeated(day, vec![repeated])
    }
}

/// A request within its model, and an item: 192 bits (XXH3). Two requests of a model that share a hash would be needed for a
/// wrong answer: of a billion requests a day, one in 10²⁰ days has such a pair.
fn hashes(model: &str, request: &str, item: &str) -> (u128, u64) {
    let seed = xxh3_64(model.as_bytes());
    let request = xxh3_128_with_seed(request.as_bytes(), seed);
    (request, xxh3_64(item.as_bytes()))
}

/// What part of the memory holds rows being sorted.
const SORTED: usize = 4;

/// What part of the memory holds recommendations set aside.
const SET_ASIDE: usize = 8;

/// Writes the table for every day of the window, `threads` days at a time. The session has the events of the window. Returns
/// what was shown, in memory or in spill files.
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
    let with_any = Arc::new(days_shown(engine).await?);
    let budgets = (
        engine.memory() / SORTED / threads.max(1),
        engine.memory() / SET_ASIDE / with_any.len().max(1),
    );
    let (sql, place) = (library.get(SQL)?.to_string(), snapshot.to_path_buf());
    let days = window.0.iter_days().take_while(|d| *d <= window.1);
    let engine = engine.clone();
    let found = each(days, threads, move |day| {
        let engine = engine.single();
        let (sql, place, with_any) = (sql.clone(), place.clone(), Arc::clone(&with_any));
        async move {
            let table = contract("served_days")?;
            let dir = store::replace(&place, table, &day.to_string())?;
            if !with_any.contains(&day) {
                return Ok(None);
            }
            let found = Day::read(&engine, &sql, day, budgets).await?;
            let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
            writer.write(&found.counted()?)?;
            writer.finish()?;
            Ok(Some((day, found.served, found.repeated)))
        }
    })
    .await?;
    let mut shown = Shown::default();
    for (day, served, repeated) in found.into_iter().flatten() {
        shown.days.insert(day, served);
        let of_day = |((request, item), group)| ((day, request, item), group);
        shown.repeated.extend(repeated.into_iter().map(of_day));
    }
    Ok(shown)
}

/// Does `work` for each of some things, `threads` at a time, each on a thread of its own; gives what it gives, in their order.
///
/// # Errors
/// The first of `work`.
pub async fn each<I, T, F, Fut>(
    things: impl IntoIterator<Item = I>,
    threads: usize,
    work: F,
) -> Result<Vec<T>>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T>>,
{
    let work = Arc::new(work);
    futures::stream::iter(things)
        .map(|thing| {
            let work = Arc::clone(&work);
            let runtime = tokio::runtime::Handle::current();
            async move {
                tokio::task::spawn_blocking(move || runtime.block_on(work(thing)))
                    .await
                    .map_err(|e| Error::unexpected(format!("a worker ended early: {e}")))?
            }
        })
        .buffered(threads)
        .try_collect()
        .await
}

/// The days that have any impression: asking each day of a long window alone would take far longer than asking once.
async fn days_shown(engine: &Engine) -> Result<BTreeSet<NaiveDate>> {
    let sql = "select distinct cast(event_time as date) as day from events
               where event_type = 'impression' and model_id is not null and request_id is not null";
    let days = engine.collect(sql).await?;
    let days = map(&days, |row| row.day("day"))?;
    Ok(days.into_iter().flatten().collect())
}

/// What was shown on a day.
#[derive(Default)]
struct Day {
    served: Vec<Served>,
    /// Recommendations and requests by model, version and surface; in the order of the contract, nulls first.
    counts: BTreeMap<(String, Group), (i64, i64)>,
    repeated: Vec<Repeated>,
}

impl Day {
    /// Reads a day, with so many bytes in memory of rows being sorted, and of those set aside.
    async fn read(
        engine: &Engine,
        sql: &str,
        day: NaiveDate,
        (sorted, mut room): (usize, usize),
    ) -> Result<Self> {
        let mut stream = engine.between(sql, ("event_time", day), sorted).await?;
        let mut found = Day::default();
        let mut model: Option<Model> = None;
        while let Some(batch) = stream.next().await {
            for (name, rows) in by_model(&batch?)? {
                if model.as_ref().is_none_or(|m| m.name != name) {
                    room -= found.end(model.take())?.min(room);
                    model = Some(Model::new(engine, name, rows.schema(), room));
                }
                if let Some(model) = &mut model {
                    model.add(&rows)?;
                }
            }
        }
        found.end(model)?;
        Ok(found)
    }

    /// Ends a model's rows. Returns the bytes that they take in memory.
    fn end(&mut self, model: Option<Model>) -> Result<usize> {
        let Some(model) = model else { return Ok(0) };
        let rows = model.rows.finish()?;
        let held = rows.bytes();
        let mut of_version: BTreeMap<Option<String>, Weights> = BTreeMap::new();
        for (group, counted) in model.groups {
            let version = of_version.entry(group.0.clone()).or_default();
            version.merge(&counted.weights);
            let key = (model.name.clone(), Arc::unwrap_or_clone(group));
            self.counts.insert(key, (counted.served, counted.requests));
        }
        self.served.push(Served {
            model: model.name,
            rows,
            of_version,
        });
        self.repeated.extend(model.repeated);
        Ok(held)
    }

    /// The rows of `served_days`.
    fn counted(&self) -> Result<RecordBatch> {
        // A group whose every showing is a repetition of another's has shown nothing.
        let kept = || self.counts.iter().filter(|(_, count)| count.0 > 0);
        let text = |f: fn(&(String, Group)) -> Option<&str>| -> ArrayRef {
            Arc::new(kept().map(|(of, _)| f(of)).collect::<StringViewArray>())
        };
        let number = |f: fn(&(i64, i64)) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(kept().map(|(_, n)| f(n))))
        };
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("model_id", text(|(model, _)| Some(model)), false),
            ("model_version", text(|(_, (v, _))| v.as_deref()), true),
            ("surface", text(|(_, (_, s))| s.as_deref()), true),
            ("served", number(|n| n.0), false),
            ("requests", number(|n| n.1), false),
        ])?)
    }
}

/// The rows of each model, of a batch sorted by model.
fn by_model(batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
    let models = texts(batch, "model_id")?;
    let mut found = vec![];
    let mut start = 0;
    for end in 1..=batch.num_rows() {
        if end == batch.num_rows() || models.value(end) != models.value(start) {
            let rows = batch.slice(start, end - start);
            found.push((models.value(start).to_string(), rows));
            start = end;
        }
    }
    Ok(found)
}

/// What a model showed on a day, as far as it was read.
struct Model {
    name: String,
    rows: Spool,
    groups: Vec<(Arc<Group>, Counted)>,
    /// Request and item of the last row.
    last: Option<(String, String)>,
    /// Group of the first showing of that item in that request, and those of the request so far.
    first: usize,
    of_request: Vec<usize>,
    repeated: Vec<Repeated>,
}

/// What was counted of a group.
#[derive(Default)]
struct Counted {
    served: i64,
    requests: i64,
    weights: Weights,
}

impl Model {
    fn new(engine: &Engine, name: String, schema: SchemaRef, budget: usize) -> Self {
        Model {
            name,
            rows: engine.spool(schema, budget),
            groups: vec![],
            last: None,
            first: 0,
            of_request: vec![],
            repeated: vec![],
        }
    }

    /// The number of a group; they are few.
    fn group(&mut self, version: Option<&str>, surface: Option<&str>) -> usize {
        let is = |(group, _): &(Arc<Group>, Counted)| {
            (group.0.as_deref(), group.1.as_deref()) == (version, surface)
        };
        self.groups.iter().position(is).unwrap_or_else(|| {
            let group = (version.map(str::to_string), surface.map(str::to_string));
            self.groups.push((Arc::new(group), Counted::default()));
            self.groups.len() - 1
        })
    }

    /// Adds rows in the order of `served.sql`. Only the first that shows an item in a request counts; others are retries.
    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let [requests, items] = ["request_id", "item_id"].map(|name| texts(rows, name));
        let (requests, items) = (requests?, items?);
        let [versions, surfaces] = ["model_version", "surface"].map(|name| texts(rows, name));
        let (versions, surfaces) = (versions?, surfaces?);
        let mut first = Vec::with_capacity(rows.num_rows());
        // Rows of one response follow each other, so the group is mostly that of the row before.
        let mut of: Option<(Option<&str>, Option<&str>, usize)> = None;
        for (row, compute_ns) in times(rows)?.into_iter().enumerate() {
            let (request, item) = (requests.value(row), items.value(row));
            let before = match row.checked_sub(1) {
                Some(before) => Some((requests.value(before), items.value(before))),
                None => self.last.as_ref().map(|(r, i)| (r.as_str(), i.as_str())),
            };
            let is_same_request = before.is_some_and(|before| before.0 == request);
            let is_retry = is_same_request && before.is_some_and(|before| before.1 == item);
            let (version, surface) = (valid(&versions, row), valid(&surfaces, row));
            let group = match of {
                Some((v, s, group)) if v == version && s == surface => group,
                _ => self.group(version, surface),
            };
            of = Some((version, surface, group));
            first.push(!is_retry);
            if is_retry {
                if group != self.first {
                    let hashes = hashes(&self.name, request, item);
                    let first = Arc::clone(&self.groups[self.first].0);
                    self.repeated.push((hashes, first));
                }
                continue;
            }
            self.first = group;
            if !is_same_request {
                self.of_request.clear();
            }
            let counted = &mut self.groups[group].1;
            counted.served += 1;
            counted.weights.add(compute_ns);
            if !self.of_request.contains(&group) {
                self.of_request.push(group);
                counted.requests += 1;
            }
        }
        if let Some(row) = rows.num_rows().checked_sub(1) {
            self.last = Some((requests.value(row).into(), items.value(row).into()));
        }
        let rows = filter_record_batch(rows, &BooleanArray::from(first))?;
        self.rows.push(&rows)
    }
}

/// The computing time of each row, in ns; 0 where none was measured.
pub(super) fn times(rows: &RecordBatch) -> Result<Vec<u64>> {
    let times = column(rows, "compute_ns")?.as_primitive::<Int64Type>();
    Ok(times
        .iter()
        .map(|ns| ns.unwrap_or(0).unsigned_abs())
        .collect())
}

pub(super) fn texts(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    rows::texts(batch, SQL, name)
}

pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows::column(batch, SQL, name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::Options;
    use crate::warehouse::table;
    use arrow::array::{Int32Array, TimestampMicrosecondArray, new_null_array};
    use arrow::compute::cast;
    use arrow::util::display::array_value_to_string;

    /// Model, version, surface, request, item, second of the day, rank.
    type Row<'a> = (
        &'a str,
        Option<&'a str>,
        Option<&'a str>,
        &'a str,
        &'a str,
        i64,
        i32,
    );

    const DAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();

    fn events(rows: &[Row<'_>]) -> RecordBatch {
        let start = DAY.and_time(chrono::NaiveTime::MIN).and_utc();
        let text = |f: &dyn Fn(&Row<'_>) -> Option<String>| -> ArrayRef {
            Arc::new(rows.iter().map(f).collect::<StringViewArray>())
        };
        let us = |r: &Row<'_>| start.timestamp_micros() + r.5 * 1_000_000;
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(us));
        let ranks = Int32Array::from_iter_values(rows.iter().map(|r| r.6));
        let schema = table("events").unwrap().schema();
        let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
            match field.name().as_str() {
                "event_type" => text(&|_| Some("impression".into())),
                "model_id" => text(&|r| Some(r.0.into())),
                "model_version" => text(&|r| r.1.map(str::to_string)),
                "surface" => text(&|r| r.2.map(str::to_string)),
                "request_id" => text(&|r| Some(r.3.into())),
                "item_id" => text(&|r| Some(r.4.into())),
                "event_time" => Arc::new(times.clone().with_timezone("UTC")),
                "rank" => Arc::new(ranks.clone()),
                _ => new_null_array(field.data_type(), rows.len()),
            }
        };
        let columns = schema.fields().iter().map(|f| {
            let values = column(f);
            (f.name(), cast(&values, f.data_type()).unwrap(), true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn read(rows: &[Row<'_>], budgets: (usize, usize)) -> Day {
        let options = Options {
            memory: 64 << 20,
            threads: 1,
            spill: None,
            spill_limit: u64::MAX,
            settings: BTreeMap::new(),
            date: DAY,
            month: None,
            lateness_days: 0,
        };
        let engine = Engine::open(&options, None, None).unwrap();
        engine.context().deregister_table("events").unwrap();
        engine
            .context()
            .register_batch("events", events(rows))
            .unwrap();
        let sql = include_str!("../../sql/attribution/served.sql");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(Day::read(&engine, sql, DAY, budgets))
            .unwrap()
    }

    /// What is counted, whether rows fit the memory or not.
    fn count(rows: &[Row<'_>]) -> Vec<String> {
        let counted = |budget| read(rows, (budget, budget)).counted().unwrap();
        let [counted, again] = [usize::MAX, 0].map(counted);
        assert_eq!(counted, again);
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
            ("als", v2, Some("home"), "r1", "shoe", 1, 9),
            ("als", v1, Some("cart"), "r1", "shoe", 2, 1),
            ("als", v1, Some("cart"), "r1", "hat", 2, 2),
            ("als", v1, Some("cart"), "r1", "hat", 3, 2),
        ];
        let expected = ["als v1 cart 1 1", "als v2 home 1 1"];
        assert_eq!(count(&rows), expected);
        rows.reverse();
        assert_eq!(count(&rows), expected);

        let day = DAY;
        let shown = Shown::with_repeated(day, read(&rows, (0, 0)).repeated);
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

//! `outcomes`: clicks and purchases, each credited to one recommendation at most.
//!
//! An outcome belongs to the impression of its item in the request that it names. Where it names none, or one of which the
//! log has no impression, it belongs to the last impression of the item to the same user within a window. A request that
//! is in the log and did not show the item by a model is an answer, too: the outcome is nobody's. What was shown again on
//! the same day is one recommendation, and has the version and surface with which it was shown first.
//!
//! Outcomes are few and impressions many, so the outcomes are held in memory, hashed, and the impressions streamed past
//! them once, in any order; each outcome keeps the best impression seen so far. Where the outcomes of the window take more
//! than their share of the memory both are [divided](super::outcome_parts) first.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Days, NaiveDate, TimeDelta};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::outcome_parts::{Part, Parts};
use super::served::Shown;
use super::work::contract;
use crate::disk::make_dir;
use crate::engine::rows::{self, valid};
use crate::engine::spool::Spooled;
use crate::engine::{Engine, Library, Options, compact, interval_end_us};
use crate::error::Result;
use crate::warehouse::{TableWriter, Type, store};

const SQL: &str = "the SQL of outcomes";

/// Bytes that an outcome takes in memory, about: its row, its best impressions, its places in three hash tables, and its row
/// in the table.
const BYTES: usize = 1024;

/// What part of the memory outcomes may take.
const SHARE: usize = 4;

/// What part of the memory they may take until it is known how many there are.
const SET_ASIDE: usize = 16;

/// Writes the table for every day of the window, a day being that of the impression. Impressions from before the window
/// are looked at as far back as `last_touch` reaches, so that what was credited to them in earlier nights is not credited
/// again. Returns the outcomes credited.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    (window, shown): ((NaiveDate, NaiveDate), &Shown),
    last_touch: TimeDelta,
) -> Result<u64> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let back = u64::try_from(last_touch.num_days()).unwrap_or(0) + 1;
    let from = window.0.checked_sub_days(Days::new(back));
    engine
        .restrict_to((from.unwrap_or(window.0), window.1))
        .await?;
    engine
        .view(
            "candidates",
            library.get("attribution/outcome_candidates.sql")?,
        )
        .await?;
    let start = interval_end_us(window.0 - TimeDelta::days(1));
    let candidates = format!("select * from candidates where {}", since(start));
    let read = async |engine: &Engine| {
        let mut rows = engine.stream(&candidates).await?;
        let mut read = engine.spool(rows.schema(), options.memory / SET_ASIDE);
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            count += batch.num_rows();
            read.push(&batch)?;
        }
        Ok((read.finish()?, count))
    };
    let (outcomes, count) = engine.or_spilling(read).await?;
    let outcomes = outcomes.rows()?;
    let impressions = engine
        .stream(library.get("attribution/impressions.sql")?)
        .await?;

    let table = contract("outcomes")?;
    for day in window.0.iter_days().take_while(|d| *d <= window.1) {
        store::replace(snapshot, table, &day.to_string())?;
    }
    let write = |part: usize, outcomes: Outcomes| -> Result<u64> {
        let mut credited = 0;
        for (day, rows) in outcomes.credit(window, shown)? {
            let dir = store::partition_dir(snapshot, table, &day.to_string());
            let file = dir.join(format!("part-{part}.parquet"));
            make_dir(&dir)?;
            let mut writer = TableWriter::create(table, &file)?;
            writer.write(&rows)?;
            credited += writer.finish()?;
        }
        Ok(credited)
    };
    let room = (options.memory / SHARE / BYTES).max(1);
    if count <= room {
        let outcomes = Outcomes::of(outcomes, last_touch, vec![impressions]).await?;
        return write(0, outcomes);
    }
    let parts = count.div_ceil(room);
    let (parts, responses) = divided(&engine, parts, count, outcomes, impressions).await?;
    let mut credited = 0;
    for (number, part) in parts.into_iter().enumerate() {
        let impressions = vec![part.impressions.rows()?, responses.rows()?];
        let outcomes = Outcomes::of(part.outcomes.rows()?, last_touch, impressions).await?;
        credited += write(number, outcomes)?;
    }
    Ok(credited)
}

/// Outcomes and impressions in parts, all in spill files.
async fn divided(
    engine: &Engine,
    parts: usize,
    count: usize,
    mut outcomes: SendableRecordBatchStream,
    mut impressions: SendableRecordBatchStream,
) -> Result<(Vec<Part>, Spooled)> {
    let schemas = (&outcomes.schema(), &impressions.schema());
    let spool = |schema: &SchemaRef| engine.spool(Arc::clone(schema), 0);
    let mut divided = Parts::new(parts, count, schemas, spool);
    while let Some(batch) = outcomes.next().await {
        divided.add_outcomes(&batch?)?;
    }
    while let Some(batch) = impressions.next().await {
        divided.add_impressions(&batch?)?;
    }
    divided.finish()
}

fn since(us: i64) -> String {
    format!("event_time >= arrow_cast({us}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

/// Outcomes in one batch, and for each the best impression that was seen.
pub(super) struct Outcomes {
    rows: RecordBatch,
    time: TimestampMicrosecondArray,
    user: StringViewArray,
    item: StringViewArray,
    request: StringViewArray,
    by_request_item: Index,
    by_request: Index,
    by_user_item: Index,
    /// µs
    last_touch: i64,
    touches: Vec<[Option<Touch>; 2]>,
    /// Whether the log has any impression of the request that the outcome names.
    known: Vec<bool>,
    texts: Texts,
}

/// Rows by the hash of a key; rows of the same hash are chained.
#[derive(Default)]
struct Index {
    first: HashMap<u64, u32>,
    next: Vec<Option<u32>>,
}

impl Index {
    /// Rows must come in order.
    fn push(&mut self, hash: Option<u64>) {
        let row = self.next.len() as u32;
        let before = hash.and_then(|h| self.first.insert(h, row));
        self.next.push(before);
    }

    fn rows(&self, hash: u64) -> impl Iterator<Item = usize> {
        let mut at = self.first.get(&hash).copied();
        std::iter::from_fn(move || {
            let row = at? as usize;
            at = self.next[row];
            Some(row)
        })
    }
}

/// Texts that repeat, by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_string(), number);
        self.texts.push(text.to_string());
        number
    }

    fn get(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

/// An impression that an outcome may be credited to.
#[derive(Debug, Clone)]
struct Touch {
    /// µs
    time: i64,
    rank: i32,
    model: u32,
    version: Option<u32>,
    surface: Option<u32>,
    request: String,
}

/// The impressions of a batch.
struct Impressions {
    time: TimestampMicrosecondArray,
    user: StringViewArray,
    item: StringViewArray,
    request: StringViewArray,
    model: StringViewArray,
    version: StringViewArray,
    surface: StringViewArray,
    rank: Int32Array,
}

const NAMED: usize = 0;
const LAST: usize = 1;

pub(super) fn pair(a: &str, b: &str) -> u64 {
    xxh3_64_with_seed(a.as_bytes(), xxh3_64(b.as_bytes()))
}

pub(super) fn texts_of(batch: &RecordBatch, name: &str) -> Result<StringViewArray> {
    rows::texts(batch, SQL, name)
}

fn times_of(batch: &RecordBatch) -> Result<TimestampMicrosecondArray> {
    let times = cast(column(batch, "event_time")?, &Type::Timestamp.arrow())?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows::column(batch, SQL, name)
}

impl Outcomes {
    /// The outcomes of a stream, and the best impressions for each among those of others.
    async fn of(
        mut outcomes: SendableRecordBatchStream,
        last_touch: TimeDelta,
        impressions: Vec<SendableRecordBatchStream>,
    ) -> Result<Self> {
        let schema = outcomes.schema();
        let mut rows = vec![];
        while let Some(batch) = outcomes.next().await {
            // What is held must not hold on to whole pages of the events.
            rows.push(compact(&batch?)?);
        }
        let mut outcomes = Self::new(concat_batches(&schema, &rows)?, last_touch)?;
        drop(rows);
        for mut impressions in impressions {
            while let Some(batch) = impressions.next().await {
                outcomes.see(&batch?)?;
            }
        }
        Ok(outcomes)
    }

    pub(super) fn new(rows: RecordBatch, last_touch: TimeDelta) -> Result<Self> {
        let (user, item) = (texts_of(&rows, "user_id")?, texts_of(&rows, "item_id")?);
        let request = texts_of(&rows, "request_id")?;
        let [mut by_request_item, mut by_request, mut by_user_item] =
            [(); 3].map(|()| Index::default());
        for row in 0..rows.num_rows() {
            let named = valid(&request, row);
            by_request_item.push(named.map(|r| pair(r, item.value(row))));
            by_request.push(named.map(|r| xxh3_64(r.as_bytes())));
            by_user_item.push(Some(pair(user.value(row), item.value(row))));
        }
        Ok(Outcomes {
            time: times_of(&rows)?,
            touches: vec![[None, None]; rows.num_rows()],
            known: vec![false; rows.num_rows()],
            last_touch: last_touch.num_microseconds().unwrap_or(i64::MAX),
            rows,
            user,
            item,
            request,
            by_request_item,
            by_request,
            by_user_item,
            texts: Texts::default(),
        })
    }

    /// Looks at impressions, in any order.
    pub(super) fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        let rank = cast(column(batch, "rank")?, &DataType::Int32)?;
        let seen = Impressions {
            time: times_of(batch)?,
            user: texts_of(batch, "user_id")?,
            item: texts_of(batch, "item_id")?,
            request: texts_of(batch, "request_id")?,
            model: texts_of(batch, "model_id")?,
            version: texts_of(batch, "model_version")?,
            surface: texts_of(batch, "surface")?,
            rank: rank.as_primitive::<Int32Type>().clone(),
        };
        let mut last: Option<&str> = None;
        for row in 0..batch.num_rows() {
            let (request, item) = (seen.request.value(row), seen.item.value(row));
            // The items of a response follow each other.
            if last != Some(request) {
                last = Some(request);
                for at in self.by_request.rows(xxh3_64(request.as_bytes())) {
                    self.known[at] |= self.request.value(at) == request;
                }
            }
            if seen.model.is_null(row) {
                continue;
            }
            let time = seen.time.value(row);
            let named = self
                .by_request_item
                .rows(pair(request, item))
                .filter(|at| self.request.value(*at) == request && self.item.value(*at) == item);
            let named = named.map(|at| (at, NAMED)).collect::<Vec<_>>();
            let user = seen.user.value(row);
            let touched = self.by_user_item.rows(pair(user, item)).filter(|at| {
                let since = self.time.value(*at).saturating_sub(time);
                self.user.value(*at) == user
                    && self.item.value(*at) == item
                    && (0..=self.last_touch).contains(&since)
                    && self.last_touch > 0
            });
            let touched = touched.map(|at| (at, LAST)).collect::<Vec<_>>();
            for (at, how) in named.into_iter().chain(touched) {
                let touch = Touch {
                    time,
                    rank: seen.rank.value(row),
                    model: self.texts.number(seen.model.value(row)),
                    version: valid(&seen.version, row).map(|t| self.texts.number(t)),
                    surface: valid(&seen.surface, row).map(|t| self.texts.number(t)),
                    request: request.to_string(),
                };
                let better = match &self.touches[at][how] {
                    Some(best) => self.better(&touch, best, self.time.value(at)),
                    None => true,
                };
                if better {
                    self.touches[at][how] = Some(touch);
                }
            }
        }
        Ok(())
    }

    /// Whether an outcome at `time` is rather of `a` than of `b`: what was shown before it, the latest; of two at the same
    /// time the one higher in the list, then by model, version, surface and request.
    fn better(&self, a: &Touch, b: &Touch, time: i64) -> bool {
        let key = |touch: &Touch| {
            let after = touch.time > time;
            (after, touch.time.abs_diff(time), touch.rank)
        };
        let name = |number: Option<u32>| number.map(|n| self.texts.get(n));
        let texts = |touch: &Touch| {
            (
                name(Some(touch.model)).map(str::to_string),
                name(touch.version).map(str::to_string),
                name(touch.surface).map(str::to_string),
                touch.request.clone(),
            )
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| texts(a).cmp(&texts(b)))
            .is_lt()
    }

    /// The outcomes that are credited to an impression of the window, by its day, in the order of the contract.
    pub(super) fn credit(
        &self,
        window: (NaiveDate, NaiveDate),
        shown: &Shown,
    ) -> Result<BTreeMap<NaiveDate, RecordBatch>> {
        let mut of_day: BTreeMap<NaiveDate, Vec<(u32, usize)>> = BTreeMap::new();
        for (row, touches) in (0_u32..).zip(&self.touches) {
            let at = row as usize;
            let how = match touches {
                [Some(_), _] => NAMED,
                [None, Some(_)] if self.request.is_null(at) || !self.known[at] => LAST,
                _ => continue,
            };
            let day = touches[how]
                .as_ref()
                .and_then(|t| DateTime::from_timestamp_micros(t.time))
                .map(|t| t.date_naive());
            if let Some(day) = day.filter(|d| (window.0..=window.1).contains(d)) {
                of_day.entry(day).or_default().push((row, how));
            }
        }
        let id = texts_of(&self.rows, "event_id")?;
        let mut days = BTreeMap::new();
        for (day, mut rows) in of_day {
            rows.sort_by_cached_key(|(row, how)| {
                let touch = self.touches[*row as usize][*how].as_ref();
                let model = touch.map(|t| self.texts.get(t.model).to_string());
                let request = touch.map(|t| t.request.clone());
                let at = *row as usize;
                let item = self.item.value(at).to_string();
                (
                    model,
                    request,
                    item,
                    self.time.value(at),
                    id.value(at).to_string(),
                )
            });
            days.insert(day, self.batch(&rows, day, shown)?);
        }
        Ok(days)
    }

    fn batch(&self, rows: &[(u32, usize)], day: NaiveDate, shown: &Shown) -> Result<RecordBatch> {
        let indices: UInt32Array = rows.iter().map(|(row, _)| *row).collect();
        let own = take_record_batch(&self.rows, &indices)?;
        let touches: Vec<&Touch> = rows
            .iter()
            .filter_map(|(row, how)| self.touches[*row as usize][*how].as_ref())
            .collect();
        let text = |f: &dyn Fn(&Touch) -> Option<String>| -> ArrayRef {
            Arc::new(touches.iter().map(|t| f(t)).collect::<StringViewArray>())
        };
        let name = |number: Option<u32>| number.map(|n| self.texts.get(n));
        // Version and surface of the recommendation that the showing is one of.
        let of: Vec<(Option<&str>, Option<&str>)> = touches
            .iter()
            .zip(rows)
            .map(|(t, (row, _))| {
                let item = self.item.value(*row as usize);
                shown
                    .as_first(day, (self.texts.get(t.model), &t.request, item))
                    .unwrap_or((name(t.version), name(t.surface)))
            })
            .collect();
        let versions: StringViewArray = of.iter().map(|(version, _)| *version).collect();
        let surfaces: StringViewArray = of.iter().map(|(_, surface)| *surface).collect();
        let by: StringViewArray = rows
            .iter()
            .map(|(_, how)| {
                Some(if *how == NAMED {
                    "request"
                } else {
                    "last_touch"
                })
            })
            .collect();
        let times = touches.iter().map(|t| t.time);
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let ranks = Int32Array::from_iter_values(touches.iter().map(|t| t.rank));
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("credited_by", Arc::new(by), false),
            ("impression_time", Arc::new(times), false),
            ("request_id", text(&|t| Some(t.request.clone())), false),
            ("rank", Arc::new(ranks), false),
            (
                "model_id",
                text(&|t| name(Some(t.model)).map(str::to_string)),
                false,
            ),
            ("model_version", Arc::new(versions), true),
            ("surface", Arc::new(surfaces), true),
        ];
        for name in [
            "event_id",
            "event_type",
            "event_time",
            "user_id",
            "item_id",
            "currency",
            "revenue",
            "margin",
            "margin_revenue",
        ] {
            columns.push((name, Arc::clone(column(&own, name)?), true));
        }
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }
}

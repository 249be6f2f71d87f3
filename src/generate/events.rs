//! `events/`: every day's files, written by several threads, each file from its own random stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use rayon::prelude::*;

use super::Progress;
use super::batch::{BATCH, EventBatch, Ids, schema};
use super::catalogue::Catalogue;
use super::error::GenerateError;
use super::faults::{Fault, Malformed};
use super::parquet_out::{Table, write_once};
use super::sessions::{self, Slice};
use super::spec::{Spec, share};
use super::taste::Visitors;

/// A malformed row and where it lies.
pub(super) struct MalformedRow {
    pub(super) ds: NaiveDate,
    pub(super) file: String,
    /// 0-based position in the file.
    pub(super) row: u64,
    pub(super) kind: Malformed,
    /// Number behind the event's id.
    pub(super) event: u64,
}

/// What was planted in the clickstream, and what the margin is measured on.
#[derive(Default)]
pub(super) struct Clicks {
    /// Rows written, copies counted.
    pub(super) rows: u64,
    pub(super) late: u64,
    pub(super) unknown_items: u64,
    /// Number behind the event's id, extra copies.
    pub(super) duplicates: Vec<(u64, u32)>,
    pub(super) malformed: Vec<MalformedRow>,
    /// Interactions per item before the last day.
    pub(super) popularity: Vec<u32>,
    /// Interactions of the sampled users, by whether they fall on the last day: `(last day, user, item)`.
    pub(super) sampled: Vec<(bool, u32, u32)>,
}

/// One file's share of [`Clicks`], and the rows that the next day repeats.
struct Part {
    rows: u64,
    late: u64,
    unknown_items: u64,
    duplicates: Vec<(u64, u32)>,
    malformed: Vec<(u64, Malformed, u64)>,
    sampled: Vec<(u32, u32)>,
    redelivered: Option<RecordBatch>,
}

/// Users of whom about this many are followed to measure the margin.
const SAMPLE: u64 = 4_000;

/// Writes all events and says what was planted.
pub(super) fn write(
    spec: &Spec,
    catalogue: &Catalogue,
    progress: &mut dyn FnMut(Progress),
) -> Result<Clicks, GenerateError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(spec.threads)
        .build()
        .map_err(|e| GenerateError::Threads(e.to_string()))?;
    let slices = slices(spec);
    let popularity: Vec<AtomicU32> = (0..spec.items).map(|_| AtomicU32::new(0)).collect();
    let visitors = Visitors::new(spec.seed, spec.users);

    let (done, finished) = mpsc::channel::<u64>();
    let parts: Result<Vec<Part>, GenerateError> = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            // The sender ends with this closure, which ends the loop below.
            let done = done;
            pool.install(|| {
                slices
                    .par_iter()
                    .map_with(done, |done, slice| {
                        let part = write_slice(spec, catalogue, &visitors, *slice, &popularity)?;
                        // Nobody listening is no reason to stop.
                        let _ = done.send(slice.events as u64);
                        Ok(part)
                    })
                    .collect()
            })
        });
        let mut sum = 0;
        for events in finished {
            sum += events;
            progress(Progress {
                stage: "events",
                done: sum,
                total: spec.events,
            });
        }
        work.join().unwrap_or_else(|_| {
            Err(GenerateError::Threads(
                "a worker stopped unexpectedly".into(),
            ))
        })
    });

    let mut clicks = Clicks {
        popularity: popularity.into_iter().map(AtomicU32::into_inner).collect(),
        ..Clicks::default()
    };
    let mut redelivered: BTreeMap<u32, Vec<RecordBatch>> = BTreeMap::new();
    for (slice, part) in slices.iter().zip(parts?) {
        clicks.rows += part.rows;
        clicks.late += part.late;
        clicks.unknown_items += part.unknown_items;
        clicks.duplicates.extend(part.duplicates);
        let ds = date(spec, slice.day);
        clicks
            .malformed
            .extend(
                part.malformed
                    .into_iter()
                    .map(|(row, kind, event)| MalformedRow {
                        ds,
                        file: file_name(slice.file),
                        row,
                        kind,
                        event,
                    }),
            );
        let last = slice.day + 1 == spec.days;
        clicks.sampled.extend(
            part.sampled
                .into_iter()
                .map(|(user, item)| (last, user, item)),
        );
        if let Some(rows) = part.redelivered {
            redelivered.entry(slice.day + 1).or_default().push(rows);
        }
    }
    for (day, batches) in redelivered {
        let rows = arrow::compute::concat_batches(&schema(), &batches)?;
        clicks.rows += rows.num_rows() as u64;
        write_once(
            &folder(spec, day).join("redelivered.parquet"),
            &rows,
            &["event_id"],
        )?;
    }
    Ok(clicks)
}

fn slices(spec: &Spec) -> Vec<Slice> {
    let files = spec.files_per_day();
    let midnight = |day| {
        date(spec, day)
            .and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_micros()
    };
    (0..spec.days)
        .flat_map(|day| {
            (0..files).map(move |file| Slice {
                day,
                file,
                midnight: midnight(day),
                events: share(spec.events_of_day(day), u64::from(files), u64::from(file)) as usize,
            })
        })
        .collect()
}

fn write_slice(
    spec: &Spec,
    catalogue: &Catalogue,
    visitors: &Visitors,
    slice: Slice,
    popularity: &[AtomicU32],
) -> Result<Part, GenerateError> {
    let events = sessions::simulate(spec, catalogue, visitors, slice);
    let ids = Ids::new(spec.seed, slice);
    let upgraded = slice.day >= spec.upgrade_day();
    let mut batch = EventBatch::new(catalogue, ids, upgraded);
    let mut copies = EventBatch::new(catalogue, ids, upgraded);
    let mut part = Part {
        rows: 0,
        late: 0,
        unknown_items: 0,
        duplicates: Vec::new(),
        malformed: Vec::new(),
        sampled: Vec::new(),
        redelivered: None,
    };
    let stride = (spec.users / SAMPLE).max(1) as u32;
    let last = slice.day + 1 == spec.days;

    let mut table = Table::create(
        folder(spec, slice.day).join(file_name(slice.file)),
        schema(),
        &["event_id"],
    )?;
    for (ordinal, event) in events.iter().enumerate() {
        let mut extra = 0;
        match event.fault {
            Fault::None => {}
            Fault::Duplicate(copies) => {
                extra = copies;
                part.duplicates
                    .push((ids.event(ordinal), u32::from(copies)));
            }
            Fault::Redelivered => {
                copies.append(ordinal, event);
                part.duplicates.push((ids.event(ordinal), 1));
            }
            Fault::Late(_) => part.late += 1,
            Fault::UnknownItem => part.unknown_items += 1,
            Fault::Malformed(kind) => part.malformed.push((part.rows, kind, ids.event(ordinal))),
        }
        for _ in 0..=extra {
            batch.append(ordinal, event);
            part.rows += 1;
        }
        // Faulty interactions are left out: no reader that does its work sees them on this day.
        if event.action.is_priced()
            && matches!(
                event.fault,
                Fault::None | Fault::Duplicate(_) | Fault::Redelivered
            )
        {
            if !last {
                popularity[event.item as usize].fetch_add(1, Ordering::Relaxed);
            }
            if event.user.is_multiple_of(stride) {
                part.sampled.push((event.user, event.item));
            }
        }
        if batch.rows() >= BATCH {
            table.write(&batch.finish()?)?;
        }
    }
    if batch.rows() > 0 {
        table.write(&batch.finish()?)?;
    }
    table.close()?;
    if copies.rows() > 0 {
        part.redelivered = Some(copies.finish()?);
    }
    Ok(part)
}

fn date(spec: &Spec, day: u32) -> NaiveDate {
    spec.start() + chrono::Days::new(u64::from(day))
}

fn folder(spec: &Spec, day: u32) -> PathBuf {
    spec.out
        .join("events")
        .join(format!("ds={}", date(spec, day)))
}

fn file_name(file: u32) -> String {
    format!("part-{file:05}.parquet")
}

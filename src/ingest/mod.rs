//! From exports to canonical tables: find the files, map their dialect, check every row, drop repeated ones, and put what
//! is wrong in quarantine.
//!
//! A run looks at every interval of its history and ingests those that are new or changed (by the hash of their files and
//! mapping), so that a new warehouse fills itself and a bill that was delivered again replaces the old one.

mod arrivals;
mod bounds;
mod conformance;
mod convert;
mod dedupe;
mod deliveries;
mod drift;
pub(crate) mod file;
pub(crate) mod files;
mod gather;
mod ids;
mod issuers;
mod late;
pub(crate) mod manifest;
pub(crate) mod mapping;
mod news;
mod oddities;
pub(crate) mod partitions;
mod published;
mod quarantine;
pub(crate) mod reader;
#[cfg(test)]
mod reader_tests;
mod replace;
mod rules;
mod seen;
mod shape;
mod sums;
mod survey;
mod thrift;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{Datelike, Months, NaiveDate, TimeDelta};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::config::SourceKind;
use crate::config::source::Interval;
use crate::engine::{Engine, interval_end_us};
use crate::error::{Error, Kind, Result};
use crate::privacy::Guard;
use crate::warehouse::store::partition_dir;
use crate::warehouse::table;
pub use arrivals::{Arrival, Standing, arrivals, feeds_features, last_night_of};
pub(crate) use conformance::judged;
pub use conformance::{broken, conformance};
pub use deliveries::closed;
use deliveries::{Ledger, Row, Status, closed_with};
use file::{FileJob, FileOutcome};
pub use files::{Delivery, InputFile, discover, exported};
use issuers::{held_against, issuers};
use late::Late;
use oddities::Oddities;
use partitions::Target;
use published::Published;
use quarantine::Rejects;
use reader::SourceFile;
use replace::{take_back, take_out};
use seen::Seen;
pub(crate) use shape::mapped;
use sums::Sums;
use survey::Pending;
pub use survey::{Planned, Replaced, Survey, Why, shortened, survey};

/// What was read of exports.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Rows in the files.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// What an ingest did.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    /// Intervals ingested.
    pub intervals: u64,
    /// Intervals that were there already, unchanged.
    pub unchanged: u64,
    /// Rows and bytes of the files.
    pub read: Read,
    /// Rows published.
    pub rows_out: u64,
    /// Rows dropped because an earlier row has the same key.
    pub duplicates: u64,
    /// Events that happened before the day of their export.
    pub late: u64,
    /// Rows rejected.
    pub quarantined: u64,
    /// Billing periods whose charges are new or changed.
    pub charged_periods: Vec<String>,
    /// Whether bills or invoices are new or changed.
    pub billed: bool,
    /// Whether a catalogue came again with other content, or is gone.
    pub corrected: bool,
    /// What the user should look at.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Notes the billing periods of a delivery of charges as changed.
    fn charged(&mut self, row: &Row) {
        if row.kind == SourceKind::Charges.table() {
            self.charged_periods.extend(row.partitions.iter().cloned());
        }
    }

    /// What was read and what became of it, as the ledger keeps it.
    pub fn describe(&self) -> String {
        format!(
            "{} rows and {} bytes in, {} duplicates, {} late, {} quarantined; {} intervals new or changed, {} unchanged",
            self.read.rows,
            self.read.bytes,
            self.duplicates,
            self.late,
            self.quarantined,
            self.intervals,
            self.unchanged
        )
    }
}

/// Ingests what `survey` found into the snapshot being staged.
///
/// # Errors
/// `Kind::Contract` for files that do not fit, `Kind::Check` for too many bad rows, those of reading and writing.
pub async fn run(
    engine: &Engine,
    snapshot: &Path,
    survey: Survey<'_>,
    date: NaiveDate,
    threads: usize,
) -> Result<Summary> {
    let Survey {
        pending,
        incomplete,
        unchanged,
        retired,
        warnings,
        mut ledger,
        guard,
    } = survey;
    let known = ledger.clone();
    let closed = Arc::new(closed(engine).await?);
    let complete = measured(engine, (pending, incomplete), &guard, date, threads).await?;
    let (mut pending, incomplete) = complete;
    for p in &mut pending {
        if ledger.is_superseded(&p.delivery_id) {
            p.closed_with = closed_with(engine, &p.delivery_id, &closed).await?;
        }
    }
    let mut summary = Summary {
        warnings,
        unchanged: unchanged.len() as u64,
        intervals: pending.len() as u64,
        corrected: pending.iter().any(Pending::corrects_catalogue)
            || retired.iter().any(|r| r.kind == SourceKind::Items.table()),
        billed: pending.iter().any(|p| p.source.kind.is_billing())
            || retired
                .iter()
                .any(|r| r.kind == SourceKind::Charges.table()),
        ..Summary::default()
    };
    for (source, interval) in &unchanged {
        ledger.forget_incomplete(source, interval);
    }
    for p in pending.iter().chain(incomplete.iter().map(|(p, _)| p)) {
        ledger.forget_incomplete(&p.source.name, &p.delivery.interval);
    }
    set_aside(&mut ledger, &pending, incomplete, &mut summary.warnings)?;
    let replaced = replacements(&pending);
    let before = issuers(engine, replaced.iter().map(|(old, _)| old)).await?;
    for row in &retired {
        take_out(snapshot, row, &closed, false)?;
        summary.charged(row);
        ledger.supersede(row);
        ledger.forget_incomplete(&row.source, &row.interval);
    }
    for kind in SourceKind::ALL {
        let of_kind: Vec<&Pending> = pending.iter().filter(|p| p.source.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        for p in &of_kind {
            for row in &p.replaces {
                let again = row.content == p.content;
                take_out(snapshot, row, &closed, again)?;
                // Also the periods that it filled, which may have no charge left.
                summary.charged(row);
                if again {
                    ledger.remove(row);
                } else {
                    ledger.supersede(row);
                }
            }
            take_back(snapshot, &p.delivery_id)?;
        }
        let held = (&closed, &guard);
        let rows = ingest_kind(engine, snapshot, kind, &of_kind, held, date, threads).await?;
        for (p, (row, odd)) in of_kind.iter().zip(rows) {
            summary.warnings.extend(odd);
            let before = ledger.before(&row.source, &row.interval);
            let shown = p.delivery.shown();
            let said = drift::warnings(p.source, &p.mapping, before, &row, &shown)?;
            summary.warnings.extend(said);
            summary.read.rows += row.rows_in;
            summary.read.bytes += p.delivery.bytes();
            summary.late += row.rows_late;
            summary.rows_out += row.rows_out;
            summary.duplicates += row.rows_duplicate;
            summary.quarantined += row.rows_quarantined;
            if row.rows_in == 0 {
                summary.warnings.push(format!(
                    "source `{}`, {}: the files hold no row",
                    row.source, row.interval
                ));
            }
            summary.charged(&row);
            ledger.activate(row);
        }
    }
    if !before.is_empty() {
        for table in ["charges", "late_charges"].into_iter().filter_map(table) {
            engine.reload(table, snapshot)?;
        }
        let after = issuers(engine, replaced.iter().map(|(_, new)| new)).await?;
        held_against(&before, &after, &replaced)?;
    }
    if ledger != known {
        ledger.write(snapshot)?;
    }
    Ok(summary)
}

/// Reads the deliveries whose manifest says how many rows or which sums they hold, and parts those of which it is not true
/// from the others.
async fn measured<'a>(
    engine: &Engine,
    (pending, mut incomplete): (Vec<Pending<'a>>, Vec<(Pending<'a>, String)>),
    guard: &Arc<Guard>,
    date: NaiveDate,
    threads: usize,
) -> Result<(Vec<Pending<'a>>, Vec<(Pending<'a>, String)>)> {
    let mut complete = vec![];
    for p in pending {
        let stated = p.delivery.manifest.as_ref();
        let Some(manifest) = stated.filter(|m| m.rows.is_some() || !m.sums.is_empty()) else {
            complete.push(p);
            continue;
        };
        let mut jobs = vec![];
        for (n, input) in p.delivery.files.iter().enumerate() {
            let file = SourceFile::open(input.clone(), &p.mapping.optional)?;
            jobs.push(Arc::new(job(
                &p,
                file,
                (n, n),
                date,
                (Arc::default(), guard),
            )));
        }
        let measure = |job: Arc<FileJob>, engine| async move { job.measure(&engine).await };
        let mut sums = Sums::default();
        for outcome in on_files(engine, &jobs, threads, measure).await? {
            sums.add(&outcome.sums)?;
        }
        let rows: u64 = jobs.iter().map(|j| j.file.rows()).sum();
        let differs = match manifest.rows {
            Some(stated) if stated != rows => {
                Some(format!("states {stated} rows, and the files hold {rows}"))
            }
            _ => sums.differ(manifest),
        };
        match differs {
            Some(differs) => incomplete.push((p, format!("its manifest {differs}"))),
            None => complete.push(p),
        }
    }
    Ok((complete, incomplete))
}

/// Notes the deliveries that are not complete.
///
/// # Errors
/// `Kind::SourceMissing` when one is all that there is of a required source for the night.
fn set_aside(
    ledger: &mut Ledger,
    pending: &[Pending],
    incomplete: Vec<(Pending, String)>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    for (p, reason) in incomplete {
        let (source, interval) = (&p.source.name, &p.delivery.interval);
        let coming = |q: &&Pending| q.source.name == *source && q.delivery.interval == *interval;
        let stands = ledger.of(source, interval).next().is_some();
        if p.own && p.source.required && !stands && pending.iter().find(coming).is_none() {
            return Err(Error::new(
                Kind::SourceMissing,
                format!("source `{source}`, {interval}: the delivery is not complete: {reason}"),
            )
            .help("wait for the rest and run again, or set `required = false` for this source"));
        }
        warnings.push(format!(
            "source `{source}`, {interval}: a delivery is not complete and does not count{}: {reason}",
            if stands { "; the one before it stays" } else { "" }
        ));
        ledger.put(Row {
            status: Status::Incomplete,
            reason: Some(reason),
            ..p.row()
        });
    }
    Ok(())
}

/// Ids of the bills that come again, old and new, as far as they have to be as whole as before.
fn replacements(pending: &[Pending]) -> Vec<(String, String)> {
    let held = |p: &&Pending| p.source.kind == SourceKind::Charges && !p.source.may_shrink;
    let pairs = pending.iter().filter(held).flat_map(|p| {
        let same = p.replaces.iter().filter(|r| r.name == p.delivery.name);
        same.map(|r| (r.delivery_id.clone(), p.delivery_id.clone()))
    });
    pairs.collect()
}

/// Ingests all pending intervals of one kind together, so that rows repeated across files and days are seen.
async fn ingest_kind(
    engine: &Engine,
    snapshot: &Path,
    kind: SourceKind,
    pending: &[&Pending<'_>],
    (closed, guard): (&Arc<BTreeSet<String>>, &Arc<Guard>),
    date: NaiveDate,
    threads: usize,
) -> Result<Vec<(Row, Vec<String>)>> {
    let mut jobs: Vec<Arc<FileJob>> = vec![];
    // Which of `pending` each job belongs to.
    let mut owner = vec![];
    let mut order: Vec<usize> = (0..pending.len()).collect();
    order.sort_by_key(|i| (pending[*i].delivery.day, &pending[*i].source.name));
    for i in order {
        let p = pending[i];
        for (n, input) in p.delivery.files.iter().enumerate() {
            let file = SourceFile::open(input.clone(), &p.mapping.optional)?;
            let (ordinal, closed) = (jobs.len(), Arc::clone(closed));
            jobs.push(Arc::new(job(p, file, (ordinal, n), date, (closed, guard))));
            owner.push(i);
        }
    }

    let mut repeated = HashSet::new();
    let mut before = HashSet::new();
    if jobs.first().is_some_and(|j| j.key.is_some()) {
        let seen = Seen::new(engine.memory() / 4, &engine.spill()?, engine.spill_limit());
        let seen = Arc::new(Mutex::new(seen));
        let of_files = Arc::clone(&seen);
        on_files(engine, &jobs, threads, move |job, engine| {
            let seen = Arc::clone(&of_files);
            async move {
                match job.key {
                    Some(key) => job.keys(&engine, key, &seen).await,
                    None => Ok(()),
                }
            }
        })
        .await?;
        let mut seen = Arc::into_inner(seen)
            .ok_or_else(|| Error::unexpected("a worker goes on"))?
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let days: Vec<NaiveDate> = pending.iter().map(|p| p.delivery.day).collect();
        let published = (kind == SourceKind::Events).then(|| Published::near(&days));
        if let Some(published) = &published {
            published.hashes(engine, &mut seen).await?;
        }
        repeated = seen.repeated()?;
        if let Some(published) = published.filter(|_| !repeated.is_empty()) {
            before = published.keys(engine, &repeated).await?;
        }
    }

    let repeated = Arc::new(repeated);
    let dir: Arc<Path> = snapshot.into();
    let mut outcomes = on_files(engine, &jobs, threads, move |job, engine| {
        let (repeated, dir) = (Arc::clone(&repeated), Arc::clone(&dir));
        async move { job.run(&engine, &dir, &repeated).await }
    })
    .await?;

    ids::count_over_files(engine, &jobs, &owner, &mut outcomes, threads).await?;

    let mut duplicates = vec![0u64; jobs.len()];
    let held: Vec<_> = outcomes.iter_mut().filter_map(|o| o.held.take()).collect();
    if let Some((column, _)) = jobs.first().and_then(|j| j.key) {
        for (part, (rows, dropped)) in held.iter().zip(dedupe::resolve(&held, column, &before)?) {
            let (job, outcome) = (&jobs[part.file], &mut outcomes[part.file]);
            duplicates[part.file] += dropped;
            outcome.rows_out += rows.num_rows() as u64;
            outcome.late.add(job.late(&rows));
            outcome.partitions.extend(job.write_held(snapshot, &rows)?);
        }
    }

    for (i, p) in pending.iter().enumerate() {
        let of = |n: &usize| owner[*n] == i;
        let partitions = (0..jobs.len())
            .filter(of)
            .flat_map(|n| &outcomes[n].partitions);
        if p.delivery.files.len() > 1 && p.mapping.table.order.is_empty() {
            for partition in partitions.collect::<BTreeSet<_>>() {
                let dir = partition_dir(snapshot, p.mapping.table, partition);
                gather::gather(p.mapping.table, &dir, &format!("{}.", p.row().stem()))?;
            }
        }
    }

    let mut rows = vec![];
    for (i, p) in pending.iter().enumerate() {
        let mut row = p.row();
        row.files = 0;
        let mut rejects = Rejects {
            source: &p.source.name,
            kind: kind.table(),
            interval: &p.delivery.interval,
            delivery_id: &p.delivery_id,
            day: p.delivery.day,
            guard: guard.key_id(p.mapping.table).is_some().then_some(&**guard),
            files: vec![],
        };
        let (mut further, mut late) = (0, Late::default());
        let mut columns: Vec<Vec<String>> = vec![];
        let mut oddities = Oddities::default();
        for (n, job) in jobs.iter().enumerate().filter(|(n, _)| owner[*n] == i) {
            let outcome: &mut FileOutcome = &mut outcomes[n];
            row.files += 1;
            columns.push(drift::columns(&job.file.columns));
            row.rows_in += job.file.rows();
            row.rows_out += outcome.rows_out;
            late.add(outcome.late);
            row.rows_duplicate += duplicates[n];
            further += outcome.rows_further;
            oddities.add(outcome.oddities);
            row.sums.add(&outcome.sums)?;
            row.partitions.append(&mut outcome.partitions);
            rejects
                .files
                .push((Arc::clone(&job.file), std::mem::take(&mut outcome.rejected)));
        }
        if let Some(manifest) = &p.delivery.manifest {
            row.sums.state(manifest);
        }
        row.partitions.sort();
        row.partitions.dedup();
        row.rows_late = late.rows;
        row.late_days = Some(late.days(p.delivery.day));
        row.rows_quarantined = rejects.len() as u64;
        if row.rows_in == 0 && p.source.required {
            return Err(Error::new(
                Kind::SourceMissing,
                format!(
                    "source `{}`, {}: the files hold no row: {}",
                    p.source.name,
                    p.delivery.interval,
                    p.delivery.shown()
                ),
            )
            .help("deliver the export whole, or set `required = false` for a source that may have nothing to say"));
        }
        row.rows_skipped = row
            .rows_in
            .saturating_sub((row.rows_out + row.rows_duplicate + row.rows_quarantined) - further);
        // One row of a small file is not yet a share of it.
        let allowed = (p.source.rejection_limit() * row.rows_in as f64).ceil();
        if row.rows_quarantined as f64 > allowed {
            return Err(Error::check(format!(
                "source `{}`, {}: {} of {} rows are wrong, and at most {} may be\n{}",
                p.source.name,
                p.delivery.interval,
                row.rows_quarantined,
                row.rows_in,
                allowed,
                rejects.describe()
            ))
            .help("deliver the file corrected, or raise `max_rejected` of this source to quarantine such rows"));
        }
        rejects.write(snapshot, &row.stem())?;
        let mut odd = oddities.warnings(&row.source, &row.interval);
        odd.extend(drift::between_files(&row, &columns));
        row.columns = columns.concat();
        row.columns.sort();
        row.columns.dedup();
        rows.push((row, odd));
    }
    Ok(rows)
}

fn job(
    p: &Pending,
    file: Arc<SourceFile>,
    (ordinal, n): (usize, usize),
    date: NaiveDate,
    (closed, guard): (Arc<BTreeSet<String>>, &Arc<Guard>),
) -> FileJob {
    let interval = p.source.interval();
    let day = p.delivery.day;
    let fixed = Target::Fixed(day.to_string());
    let (key, target) = match p.source.kind {
        SourceKind::Events if interval == Interval::Day => (Some(("event_id", 0)), fixed),
        SourceKind::Events => (Some(("event_id", 0)), Target::DayOf("event_time")),
        SourceKind::Items => (Some(("item_id", scope(day))), fixed),
        SourceKind::Users => (Some(("user_id", scope(day))), fixed),
        SourceKind::Usage if interval == Interval::Day => (None, fixed),
        SourceKind::Usage => (None, Target::DayOf("usage_start")),
        SourceKind::Charges => {
            let there = p.closed_with.clone();
            (None, Target::BillingPeriod { closed, there })
        }
        SourceKind::ExchangeRates => (None, Target::DayOf("valid_from")),
        SourceKind::Invoices => (None, Target::MonthOf("billing_period_start")),
        // One list, whatever terms its commitments have.
        SourceKind::Commitments => (None, Target::Fixed(String::new())),
    };
    let daily = interval == Interval::Day;
    FileJob {
        mapping: Arc::clone(&p.mapping),
        guard: Arc::clone(guard),
        file,
        ordinal,
        source: p.source.name.clone(),
        delivery_id: p.delivery_id.clone(),
        interval: p.delivery.interval.clone(),
        name: p.delivery.name.clone(),
        key,
        target,
        stem: format!("{}.{n:05}", p.row().stem()),
        // A day of grace: clocks of devices run ahead, and features leave out what has not happened yet.
        not_after_us: if daily {
            interval_end_us(day + TimeDelta::days(1))
        } else {
            i64::MAX
        },
        later_us: (!daily).then(|| interval_end_us(date)),
        late_before_us: daily.then(|| interval_end_us(day - TimeDelta::days(1))),
        only_us: p.source.interval.map(|_| {
            let next = day.checked_add_months(Months::new(1)).unwrap_or(day);
            let start = |d: NaiveDate| interval_end_us(d - TimeDelta::days(1));
            start(day)..start(next)
        }),
        month: (interval != Interval::Whole).then(|| day.with_day(1).unwrap_or(day)),
    }
}

/// Keys of snapshots of different days do not repeat each other.
fn scope(day: NaiveDate) -> u64 {
    u64::from(chrono::Datelike::num_days_from_ce(&day).unsigned_abs())
}

/// Runs `work` on every file, `threads` at a time, each in a small session of its own. Results are in the order of `jobs`.
async fn on_files<T, F, W>(
    engine: &Engine,
    jobs: &[Arc<FileJob>],
    threads: usize,
    work: W,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
    W: Fn(Arc<FileJob>, Engine) -> F + Clone + Send + 'static,
{
    futures::stream::iter(jobs.iter().cloned())
        .map(|job| {
            let (engine, work) = (engine.detached(job.month), work.clone());
            let runtime = tokio::runtime::Handle::current();
            async move {
                tokio::task::spawn_blocking(move || {
                    let file = job.file.input.path.display().to_string();
                    let told = Arc::clone(&job);
                    runtime.block_on(work(job, engine?)).map_err(|e| {
                        let e = told.guard.told(told.mapping.table, e);
                        if e.to_string().contains(&file) {
                            e
                        } else {
                            e.context(file)
                        }
                    })
                })
                .await
                .map_err(|e| Error::unexpected(format!("a worker ended early: {e}")))?
            }
        })
        .buffered(threads)
        .try_collect()
        .await
}

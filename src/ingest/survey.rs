//! What a run would ingest: every interval of its history held against what the warehouse has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Months, NaiveDate, TimeDelta};
use sha2::{Digest, Sha256};

use super::deliveries::{Ledger, Row};
use super::files::{Delivery, discover};
use super::mapping::Mapping;
use super::reader::SourceFile;
use crate::config::source::{Export, Interval};
use crate::config::{Pipeline, Source, SourceKind};
use crate::engine::{Engine, Library, hex};
use crate::error::{Error, Result};
use crate::privacy::Guard;
use crate::warehouse::table;

/// One interval to be ingested.
#[derive(Clone)]
pub(super) struct Pending<'a> {
    pub(super) source: &'a Source,
    pub(super) delivery: Delivery,
    pub(super) delivery_id: String,
    /// Hash of the files alone.
    pub(super) content: String,
    pub(super) mapping: Arc<Mapping>,
    pub(super) why: Why,
    /// The deliveries that it takes the place of.
    pub(super) replaces: Vec<Row>,
    /// Whether it is the night's own interval.
    pub(super) own: bool,
    /// Of charges: the closed billing periods that it was closed with.
    pub(super) closed_with: BTreeSet<String>,
    /// Id of the key by which people in it get pseudonyms.
    pub(super) pseudonyms: Option<String>,
}

impl Pending<'_> {
    /// Whether it is a catalogue that comes again with other content.
    pub(super) fn corrects_catalogue(&self) -> bool {
        let mut before = self.replaces.iter();
        self.source.kind == SourceKind::Items && before.any(|row| row.content != self.content)
    }

    /// What is known of it before it is read.
    pub(super) fn row(&self) -> Row {
        Row {
            source: self.source.name.clone(),
            kind: self.source.kind.table().into(),
            interval: self.delivery.interval.clone(),
            name: self.delivery.name.clone(),
            delivery_id: self.delivery_id.clone(),
            content: self.content.clone(),
            received_us: self.delivery.received_at().map(|t| t.timestamp_micros()),
            files: self.delivery.files.len() as u64,
            rows_stated: self.delivery.manifest.as_ref().and_then(|m| m.rows),
            pseudonyms: self.pseudonyms.clone(),
            ..Row::default()
        }
    }
}

/// Why an interval is to be ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The warehouse does not have it.
    New,
    /// Its files are not those that were ingested.
    Changed,
    /// Its files are those that were ingested, and what is done with them is not: the mapping, the key of pseudonyms, or, of what
    /// each night takes its part of, the night.
    Remapped,
}

impl Why {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::New => "new",
            Why::Changed => "changed",
            Why::Remapped => "read anew, for another dialect, key or night",
        }
    }
}

/// An interval that would be ingested, as a plan shows it.
#[derive(Debug, Clone)]
pub struct Planned<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Day, billing period, or `whole`.
    pub interval: &'a str,
    /// Number of its files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// Why.
    pub why: Why,
    /// The table that it feeds.
    pub table: &'a str,
    /// What was read and written of the deliveries that it takes the place of.
    pub replaces: Option<Replaced<'a>>,
}

/// What an interval brought that is to be ingested again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced<'a> {
    /// Rows in its files.
    pub rows_in: u64,
    /// Rows published.
    pub rows_out: u64,
    /// The partitions that they are in.
    pub partitions: Vec<&'a str>,
}

impl<'a> Replaced<'a> {
    fn of(rows: &'a [Row]) -> Option<Self> {
        let mut partitions: Vec<&str> = rows
            .iter()
            .flat_map(|r| r.partitions.iter().map(String::as_str))
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        (!rows.is_empty()).then(|| Replaced {
            rows_in: rows.iter().map(|r| r.rows_in).sum(),
            rows_out: rows.iter().map(|r| r.rows_out).sum(),
            partitions,
        })
    }
}

/// What of the sources is new or changed.
#[derive(Clone)]
pub struct Survey<'a> {
    pub(super) pending: Vec<Pending<'a>>,
    /// Deliveries that are not complete, each with what it lacks.
    pub(super) incomplete: Vec<(Pending<'a>, String)>,
    pub(super) unchanged: Vec<(String, String)>,
    pub(super) retired: Vec<Row>,
    pub(super) warnings: Vec<String>,
    pub(super) ledger: Ledger,
    /// What stands between people and the tables.
    pub(super) guard: Arc<Guard>,
}

impl Survey<'_> {
    /// Each interval that would be ingested.
    pub fn pending(&self) -> impl Iterator<Item = Planned<'_>> {
        self.pending.iter().map(|p| Planned {
            source: &p.source.name,
            interval: &p.delivery.interval,
            files: p.delivery.files.len(),
            bytes: p.delivery.bytes(),
            why: p.why,
            table: p.source.kind.table(),
            replaces: Replaced::of(&p.replaces),
        })
    }

    /// Only what is of these kinds, so that nothing else is ingested.
    #[must_use]
    pub fn of_kinds(&self, kinds: &[SourceKind]) -> Self {
        let mut some = self.clone();
        some.pending.retain(|p| kinds.contains(&p.source.kind));
        some
    }

    /// Source, interval and reason of deliveries that are there and not complete.
    pub fn incomplete(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.incomplete.iter().map(|(p, reason)| {
            let (source, interval) = (&p.source.name, &p.delivery.interval);
            (source.as_str(), interval.as_str(), reason.as_str())
        })
    }

    /// Source and interval of those that would be removed, because the pipeline file retires their source or withdraws them.
    pub fn retired(&self) -> impl Iterator<Item = (&str, &str)> {
        self.retired
            .iter()
            .map(|r| (r.source.as_str(), r.interval.as_str()))
    }

    /// What the user should look at.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Source and interval of those that are there already, unchanged.
    pub fn unchanged(&self) -> &[(String, String)] {
        &self.unchanged
    }
}

/// Looks at every source and finds what a run for `date` would ingest.
///
/// # Errors
/// `Kind::SourceMissing` when the night's own interval of a required source is not there; `Kind::Config` for an unknown
/// dialect.
pub async fn survey<'a>(
    engine: &Engine,
    pipeline: &'a Pipeline,
    library: &Library,
    date: NaiveDate,
) -> Result<Survey<'a>> {
    let ledger = Ledger::read(engine).await?;
    let mut retired = retired(&ledger, pipeline)?;
    retired.extend(withdrawn(&ledger, pipeline));
    let mut survey = Survey {
        pending: vec![],
        incomplete: vec![],
        unchanged: vec![],
        retired,
        warnings: vec![],
        ledger,
        guard: Arc::new(Guard::of(pipeline)?),
    };
    let mut bills = Bills::default();
    // All dialects first: a wrong name should not wait for the hashing of gigabytes.
    let mappings: Vec<Arc<Mapping>> = pipeline
        .sources
        .iter()
        .map(|s| Mapping::of(s, library).map(Arc::new))
        .collect::<Result<_>>()?;
    for (source, mapping) in pipeline.sources.iter().zip(mappings) {
        let deliveries = discover(source, date, pipeline.run.history_days)?;
        survey
            .warnings
            .extend(gap(source, date, &deliveries, &survey.ledger));
        let window = (window_start(date, pipeline.run.history_days), date);
        survey
            .warnings
            .extend(vanished(source, window, &deliveries, &survey.ledger));
        for delivery in deliveries {
            survey.look(source, delivery, &mapping, &mut bills, date)?;
        }
    }
    let said = survey.other_pseudonyms();
    survey.warnings.extend(said);
    Ok(survey)
}

impl<'a> Survey<'a> {
    /// A word on people who are known by another key, or by none, in days that are not ingested again; and on those who
    /// were to be forgotten and may not be.
    fn other_pseudonyms(&self) -> Vec<String> {
        let mut said = vec![];
        if self.guard.pending() > 0 {
            said.push(
                "people were being forgotten and the command ended before it was done: give it again with the same users"
                    .to_string(),
            );
        }
        let coming: BTreeSet<&str> = self
            .pending
            .iter()
            .flat_map(|p| &p.replaces)
            .map(|r| r.delivery_id.as_str())
            .collect();
        let mut others: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
        for row in self.ledger.active() {
            let Some(table) = table(&row.kind).filter(|t| t.column("user_id").is_some()) else {
                continue;
            };
            if row.pseudonyms != self.guard.key_id(table)
                && !coming.contains(row.delivery_id.as_str())
            {
                let key = (row.source.as_str(), row.pseudonyms.as_deref());
                others.entry(key).or_default().push(&row.interval);
            }
        }
        let changes = !coming.is_empty();
        for ((source, key), intervals) in others {
            // Ids as the shop knows them where there should be none are told of each night, another key on the night of
            // the change.
            if key.is_some() && !changes {
                continue;
            }
            let (Some(first), Some(last)) = (intervals.iter().min(), intervals.iter().max()) else {
                continue;
            };
            let held = match key {
                Some(key) => format!("pseudonyms of the key {key}"),
                None => "user ids as they were delivered".to_string(),
            };
            said.push(format!(
                "source `{source}`: {} intervals before the window, {first} to {last}, keep {held}; `recost run --date` of a night up to {last} ingests them again, or [retention] lets them go",
                intervals.len()
            ));
        }
        said
    }

    /// Holds one delivery against what the warehouse has.
    fn look(
        &mut self,
        source: &'a Source,
        mut delivery: Delivery,
        mapping: &Arc<Mapping>,
        bills: &mut Bills,
        date: NaiveDate,
    ) -> Result<()> {
        if source.kind == SourceKind::Charges && bills.know(source, &delivery)? {
            self.warnings.push(format!(
                "source `{}`, {}: {} has the content of another file and counts once",
                source.name,
                delivery.interval,
                delivery.shown()
            ));
            return Ok(());
        }
        let content = content(&delivery);
        let known: Vec<&Row> = self.ledger.of(&source.name, &delivery.interval).collect();
        // The same files again under another name are the same delivery.
        if let Some(same) = known
            .iter()
            .find(|r| !r.name.is_empty() && r.content == content)
            && !delivery.name.is_empty()
        {
            delivery.name.clone_from(&same.name);
        }
        let pseudonyms = self.guard.key_id(mapping.table);
        let delivery_id = delivery_id(source, &delivery, mapping, date, pseudonyms.as_deref());
        if known.iter().any(|r| r.delivery_id == delivery_id) {
            let interval = delivery.interval.clone();
            self.unchanged.push((source.name.clone(), interval));
            return Ok(());
        }
        // Those of the same name; and where deliveries add up now and did not, or no longer do, those from before.
        let replaced =
            |r: &&&Row| r.name == delivery.name || r.name.is_empty() || delivery.name.is_empty();
        let taken: Vec<&str> = self
            .pending
            .iter()
            .flat_map(|p| &p.replaces)
            .map(|r| r.delivery_id.as_str())
            .collect();
        let replaces: Vec<Row> = known
            .iter()
            .filter(replaced)
            .filter(|r| !taken.contains(&r.delivery_id.as_str()))
            .map(|r| (*r).clone())
            .collect();
        let lacking = delivery.lacking.clone();
        let why = match replaces.as_slice() {
            [] => Why::New,
            rows if rows.iter().any(|r| r.content == content) => Why::Remapped,
            _ => Why::Changed,
        };
        let pending = Pending {
            source,
            own: delivery.interval == own_interval(source, date),
            delivery,
            delivery_id,
            mapping: Arc::clone(mapping),
            content,
            why,
            replaces,
            closed_with: BTreeSet::new(),
            pseudonyms,
        };
        match lacking {
            Some(reason) => self.incomplete.push((pending, reason)),
            None => self.pending.push(pending),
        }
        Ok(())
    }
}

/// Name of the interval that belongs to a night itself.
fn own_interval(source: &Source, date: NaiveDate) -> String {
    match source.interval() {
        Interval::Day => date.to_string(),
        Interval::Month => date.format("%Y-%m").to_string(),
        Interval::Whole => "whole".into(),
    }
}

/// The files of all bills by their content, and where they lie.
type Seen = (std::path::PathBuf, String, String);
#[derive(Default)]
struct Bills(BTreeMap<String, Seen>);

impl Bills {
    /// Notes the files of a bill. Whether it is one of an export whose deliveries add up, and there already under another
    /// name.
    ///
    /// # Errors
    /// `Kind::Check` when the same bill is there twice: it would count twice.
    fn know(&mut self, source: &Source, delivery: &Delivery) -> Result<bool> {
        for file in &delivery.files {
            let seen = (
                file.path.clone(),
                source.name.clone(),
                delivery.interval.clone(),
            );
            let Some(other) = self.0.insert(file.sha256.clone(), seen.clone()) else {
                continue;
            };
            // A file of which each month takes its part is one file.
            if other.0 == seen.0 && other.1 == seen.1 {
                continue;
            }
            if source.export == Export::Append && (&other.1, &other.2) == (&seen.1, &seen.2) {
                self.0.insert(file.sha256.clone(), other);
                return Ok(true);
            }
            // Months without a charge may have the same header and nothing else.
            if !SourceFile::open(file.clone(), &[])?.holds_rows()? {
                continue;
            }
            let shown = |s: &Seen| format!("{} (source `{}`)", s.0.display(), s.1);
            return Err(Error::check(format!(
                "{} has the same content as {}: the bill would count twice",
                shown(&seen),
                shown(&other)
            ))
            .help("remove one of the two, or narrow the sources' paths"));
        }
        Ok(false)
    }
}

/// A word on the days of the window for which a daily source has nothing, though it has for days before them.
fn gap(
    source: &Source,
    date: NaiveDate,
    deliveries: &[Delivery],
    ledger: &Ledger,
) -> Option<String> {
    if source.interval() != Interval::Day {
        return None;
    }
    let first = deliveries.first()?.day;
    let there = |day: &NaiveDate| {
        source.withdraws(&day.to_string())
            || deliveries.iter().any(|d| d.day == *day)
            || ledger.of(&source.name, &day.to_string()).next().is_some()
    };
    let days = first.iter_days().take_while(|d| *d <= date);
    let missing: Vec<NaiveDate> = days.filter(|d| !there(d)).collect();
    let missing: Vec<String> = missing.iter().map(NaiveDate::to_string).collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "source `{}` has no file for {}",
        source.name,
        shortened(&missing, "days")
    ))
}

/// First day that a night sees.
fn window_start(date: NaiveDate, history_days: u32) -> NaiveDate {
    date - TimeDelta::days(i64::from(history_days) - 1)
}

/// Few intervals by name, many by their number and ends.
pub fn shortened(intervals: &[String], what: &str) -> String {
    match intervals {
        [first, .., last] if intervals.len() > 4 => {
            format!("{} {what} from {first} to {last}", intervals.len())
        }
        few => few.join(", "),
    }
}

/// A word on the intervals of the window that were ingested and whose files are gone.
///
/// Their rows stay: landing places are emptied by age, and an export that was moved away says nothing about what happened.
fn vanished(
    source: &Source,
    (first, last): (NaiveDate, NaiveDate),
    deliveries: &[Delivery],
    ledger: &Ledger,
) -> Option<String> {
    let of_source = ledger
        .active()
        .filter(|r| r.source == source.name && r.kind == source.kind.table());
    let mut gone: Vec<String> = of_source
        .map(|r| r.interval.clone())
        .filter(|interval| match source.interval() {
            Interval::Day => (first.to_string()..=last.to_string()).contains(interval),
            Interval::Month => {
                let month = |day: NaiveDate| day.format("%Y-%m").to_string();
                (month(first)..=month(last)).contains(interval)
            }
            Interval::Whole => true,
        })
        .filter(|interval| {
            !source.withdraws(interval) && !deliveries.iter().any(|d| d.interval == *interval)
        })
        .collect();
    gone.sort();
    gone.dedup();
    if gone.is_empty() {
        return None;
    }
    Some(format!(
        "source `{}`: the export is gone for {}, and its rows stay; `withdrawn` in the pipeline file removes them",
        source.name,
        shortened(&gone, "intervals")
    ))
}

/// What was ingested of intervals that the pipeline file withdraws.
fn withdrawn(ledger: &Ledger, pipeline: &Pipeline) -> Vec<Row> {
    let is_withdrawn = |row: &&Row| {
        let same = |s: &&Source| s.name == row.source && s.kind.table() == row.kind;
        let source = pipeline.sources.iter().find(same);
        source.is_some_and(|s| s.withdraws(&row.interval))
    };
    ledger.active().filter(is_withdrawn).cloned().collect()
}

/// The intervals of sources that the pipeline file has retired.
///
/// # Errors
/// `Kind::Config` for a source that the file neither names nor retires: its rows would go on counting, and a bill whose
/// source was renamed would count twice.
fn retired(ledger: &Ledger, pipeline: &Pipeline) -> Result<Vec<Row>> {
    let named = |row: &&Row| {
        let same = |s: &Source| s.name == row.source && s.kind.table() == row.kind;
        !pipeline.sources.iter().any(same)
    };
    let gone: Vec<Row> = ledger.active().filter(named).cloned().collect();
    let known = |row: &&Row| !pipeline.retired_sources.contains(&row.source);
    if let Some(row) = gone.iter().find(known) {
        return Err(Error::config(format!(
            "{}: the warehouse holds {} of the source `{}`, which the file no longer names",
            pipeline.file.display(),
            row.kind,
            row.source
        ))
        .help(format!(
            "give the source its old name again, or remove what it brought with: retired_sources = [\"{}\"]",
            row.source
        )));
    }
    Ok(gone)
}

/// The hash of a delivery's files, whatever they are called.
pub(super) fn content(delivery: &Delivery) -> String {
    let mut hashes: Vec<&str> = delivery.files.iter().map(|f| f.sha256.as_str()).collect();
    hashes.sort_unstable();
    digest(hashes)
}

/// The hash by which a delivery is known again: its files' contents and names, and what is done with them.
fn delivery_id(
    source: &Source,
    delivery: &Delivery,
    mapping: &Mapping,
    date: NaiveDate,
    pseudonyms: Option<&str>,
) -> String {
    let mut parts = vec![
        source.name.clone(),
        source.kind.table().into(),
        delivery.interval.clone(),
    ];
    parts.extend(night(source, delivery, mapping, date).map(|d| d.to_string()));
    parts.push(mapping.text.clone());
    parts.extend(pseudonyms.map(|key| format!("pseudonyms {key}")));
    if delivery.name.is_empty() {
        for file in &delivery.files {
            parts.extend([file.name.clone(), file.sha256.clone()]);
        }
    } else {
        parts.extend([delivery.name.clone(), content(delivery)]);
    }
    digest(parts.iter().map(String::as_str))
}

/// The night, where what a delivery brings depends on it: each night takes what has happened by then.
fn night(
    source: &Source,
    delivery: &Delivery,
    mapping: &Mapping,
    date: NaiveDate,
) -> Option<NaiveDate> {
    let bills = source.kind.is_billing();
    if bills && !mapping.text.contains("as_of(") {
        return None;
    }
    let next = delivery.day.checked_add_months(Months::new(1));
    match source.interval() {
        Interval::Whole => Some(date),
        // A month that is over by the night stays as it is.
        Interval::Month if bills => next.and_then(|d| d.pred_opt()).map(|d| d.min(date)),
        _ => None,
    }
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hex(&hasher.finalize()[..16])
}

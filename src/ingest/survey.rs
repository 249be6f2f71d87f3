//! What a run would ingest: every interval of its history held against what the warehouse has.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use super::deliveries::{Ledger, Row};
use super::files::{Delivery, discover};
use super::mapping::Mapping;
use super::reader::SourceFile;
use crate::config::source::Interval;
use crate::config::{Pipeline, Source, SourceKind};
use crate::engine::{Engine, Library, hex};
use crate::error::{Error, Result};

/// One interval to be ingested.
pub(super) struct Pending<'a> {
    pub(super) source: &'a Source,
    pub(super) delivery: Delivery,
    pub(super) delivery_id: String,
    pub(super) mapping: Arc<Mapping>,
    pub(super) why: Why,
}

/// Why an interval is to be ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The warehouse does not have it.
    New,
    /// Its files or their mapping are not those that were ingested.
    Changed,
}

impl Why {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::New => "new",
            Why::Changed => "changed",
        }
    }
}

/// An interval that would be ingested, as a plan shows it.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Day, billing period, or `whole`.
    pub interval: &'a str,
    /// Number of its files.
    pub files: usize,
    /// Why.
    pub why: Why,
}

/// What of the sources is new or changed.
pub struct Survey<'a> {
    pub(super) pending: Vec<Pending<'a>>,
    pub(super) unchanged: Vec<(String, String)>,
    pub(super) retired: Vec<Row>,
    pub(super) warnings: Vec<String>,
    pub(super) ledger: Ledger,
}

impl Survey<'_> {
    /// Each interval that would be ingested.
    pub fn pending(&self) -> impl Iterator<Item = Planned<'_>> {
        self.pending.iter().map(|p| Planned {
            source: &p.source.name,
            interval: &p.delivery.interval,
            files: p.delivery.files.len(),
            why: p.why,
        })
    }

    /// Only what is of these kinds; nothing else is ingested.
    #[must_use]
    pub fn of_kinds(mut self, kinds: &[SourceKind]) -> Self {
        self.pending.retain(|p| kinds.contains(&p.source.kind));
        self
    }

    /// Source and interval of those that would be removed, because their source is retired.
    pub fn retired(&self) -> impl Iterator<Item = (&str, &str)> {
        self.retired
            .iter()
            .map(|r| (r.source.as_str(), r.interval.as_str()))
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
    let retired = retired(&ledger, pipeline)?;
    let mut survey = Survey {
        pending: vec![],
        unchanged: vec![],
        retired,
        warnings: vec![],
        ledger,
    };
    let mut bills: BTreeMap<String, String> = BTreeMap::new();
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
        for delivery in deliveries {
            if source.kind == SourceKind::Charges {
                only_once(&mut bills, source, &delivery)?;
            }
            let delivery_id = delivery_id(source, &delivery, &mapping, date);
            let why = match survey.ledger.get(&source.name, &delivery.interval) {
                Some(known) if known.delivery_id == delivery_id => {
                    survey
                        .unchanged
                        .push((source.name.clone(), delivery.interval.clone()));
                    continue;
                }
                Some(_) => Why::Changed,
                None => Why::New,
            };
            survey.pending.push(Pending {
                source,
                delivery,
                delivery_id,
                mapping: Arc::clone(&mapping),
                why,
            });
        }
    }
    Ok(survey)
}

/// Notes the files of a bill by their content.
///
/// # Errors
/// `Kind::Check` when the same bill is there twice: it would count twice.
fn only_once(
    bills: &mut BTreeMap<String, String>,
    source: &Source,
    delivery: &Delivery,
) -> Result<()> {
    for file in &delivery.files {
        let shown = format!("{} (source `{}`)", file.path.display(), source.name);
        if let Some(other) = bills.insert(file.sha256.clone(), shown.clone()) {
            // Months without a charge may have the same header and nothing else.
            if !SourceFile::open(file.clone(), &[])?.holds_rows()? {
                continue;
            }
            return Err(Error::check(format!(
                "{shown} has the same content as {other}: the bill would count twice"
            ))
            .help("remove one of the two, or narrow the sources' paths"));
        }
    }
    Ok(())
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
        deliveries.iter().any(|d| d.day == *day)
            || ledger.get(&source.name, &day.to_string()).is_some()
    };
    let days = first.iter_days().take_while(|d| *d <= date);
    let missing: Vec<NaiveDate> = days.filter(|d| !there(d)).collect();
    let (from, to) = (missing.first()?, missing.last()?);
    let days = match missing.len() {
        1 => from.to_string(),
        n => format!("{n} days from {from} to {to}"),
    };
    Some(format!("source `{}` has no file for {days}", source.name))
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
    let gone: Vec<Row> = ledger.rows().filter(named).cloned().collect();
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

/// The hash by which a delivery is known again: its files' contents and names, and what is done with them.
fn delivery_id(source: &Source, delivery: &Delivery, mapping: &Mapping, date: NaiveDate) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    };
    add(&source.name);
    add(source.kind.table());
    add(&delivery.interval);
    if source.interval() == Interval::Whole {
        // Each night takes what has happened by then.
        add(&date.to_string());
    }
    add(&mapping.text);
    for file in &delivery.files {
        add(&file.name);
        add(&file.sha256);
    }
    hex(&hasher.finalize()[..16])
}

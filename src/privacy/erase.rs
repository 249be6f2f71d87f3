//! Takes people out of the files of a staged snapshot and out of the ledgers of runs.
//!
//! A file that names none of them keeps its bytes: it stays the hard link that it is. Tables of money are never opened for
//! writing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::{filter_record_batch, not};
use parquet::arrow::ProjectionMask;

use super::nobody::{owned_by_nobody, replaced, texts, without};
use super::person::People;
use super::search::files_below;
use crate::decoder;
use crate::error::{Error, Result};
use crate::model::{Factors, Fitted, file as model_file};
use crate::warehouse::{TABLES, Table, TableWriter, table};

/// Tables in which events that count go on as nobody's.
const EVENTS: &str = "events";
const OUTCOMES: &str = "outcomes";
/// Free texts in which somebody may be named, by table.
const TEXTS: &[(&str, &[&str])] = &[
    (
        "quarantine",
        &["reason", "raw", "raw_billed", "raw_effective"],
    ),
    ("deliveries", &["reason"]),
];

/// What was taken out.
#[derive(Debug, Default)]
pub struct Erased {
    /// Rows that are gone, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// Events that are nobody's now.
    pub nobodys: u64,
    /// Model files that lost a row.
    pub models: usize,
    /// Files written anew.
    pub files: usize,
}

impl Erased {
    fn gone(&mut self, table: &'static str, rows: u64) {
        match self.rows.iter_mut().find(|(name, _)| *name == table) {
            Some((_, sum)) => *sum += rows,
            None => self.rows.push((table, rows)),
        }
    }
}

/// Takes people out of every table and model file of a staged snapshot.
///
/// # Errors
/// Those of reading and writing.
pub fn snapshot(staged: &Path, people: &People) -> Result<Erased> {
    let mut erased = Erased::default();
    let credited = credited(staged, people)?;
    for table in TABLES {
        let dir = staged.join(table.name);
        let texts = TEXTS.iter().find(|(name, _)| *name == table.name);
        for path in files_below(&dir)? {
            if path.extension().is_none_or(|e| e != "parquet") {
                continue;
            }
            if table.column("user_id").is_some() {
                of_users(table, &path, people, &credited, &mut erased)?;
            } else if let Some((_, columns)) = texts {
                erased.files += usize::from(reworded(table, &path, columns, people)?);
            }
        }
    }
    for path in files_below(&staged.join("models"))? {
        if path.extension().is_some_and(|e| e == "safetensors") && of_model(&path, people)? {
            erased.models += 1;
            erased.files += 1;
        }
    }
    Ok(erased)
}

/// Takes people out of the messages of a ledger of runs. Whether there was anybody.
///
/// # Errors
/// Those of reading and writing.
pub fn ledger(path: &Path, people: &People) -> Result<bool> {
    let runs = table("runs").ok_or_else(|| Error::unexpected("no table runs"))?;
    reworded(runs, path, &["message"], people)
}

/// The requests that their outcomes were credited to, by event.
fn credited(staged: &Path, people: &People) -> Result<HashMap<String, String>> {
    let mut credited = HashMap::new();
    for path in files_below(&staged.join(OUTCOMES))? {
        for batch in decoder::read(&path)? {
            let batch = batch?;
            let theirs = theirs(&batch, people)?;
            let (events, requests) = (texts(&batch, "event_id")?, texts(&batch, "request_id")?);
            for row in (0..batch.num_rows()).filter(|row| theirs.value(*row)) {
                credited.insert(events.value(row).into(), requests.value(row).into());
            }
        }
    }
    Ok(credited)
}

/// Rows of a batch that are of the people.
fn theirs(batch: &RecordBatch, people: &People) -> Result<BooleanArray> {
    let users = texts(batch, "user_id")?;
    Ok(users
        .iter()
        .map(|user| Some(user.is_some_and(|user| people.has(user))))
        .collect())
}

/// Whether a file of a table of users has one of the people; only the column of users is read.
fn holds(path: &Path, people: &People) -> Result<bool> {
    let opened = decoder::open(path)?;
    let mask = ProjectionMask::columns(opened.parquet_schema(), ["user_id"]);
    for batch in decoder::rows(path, opened.with_projection(mask))? {
        if theirs(&batch?, people)?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes people out of a file of a table that has users.
fn of_users(
    table: &'static Table,
    path: &Path,
    people: &People,
    credited: &HashMap<String, String>,
    erased: &mut Erased,
) -> Result<()> {
    if !holds(path, people)? {
        return Ok(());
    }
    // The file stays open while another takes its name.
    let batches = decoder::read(path)?;
    let mut writer = TableWriter::create(table, path)?;
    let mut lent: Option<TableWriter> = None;
    let mut gone = 0;
    for batch in batches {
        let batch = batch?;
        let theirs = theirs(&batch, people)?;
        let before = batch.num_rows() as u64;
        let nobodys = theirs.true_count() as u64;
        let kept = match table.name {
            EVENTS => {
                let of = |event: &str| credited.get(event).cloned();
                let parted = without(&batch, &theirs, &of)?;
                if let Some(rows) = &parted.lent {
                    let writer = match &mut lent {
                        Some(writer) => writer,
                        none => none.insert(TableWriter::create(table, &lent_to(path))?),
                    };
                    writer.write(rows)?;
                }
                parted.kept
            }
            OUTCOMES => owned_by_nobody(&batch, &theirs)?,
            _ => filter_record_batch(&batch, &not(&theirs)?)?,
        };
        writer.write(&kept)?;
        let left = before - kept.num_rows() as u64;
        gone += left;
        if [EVENTS, OUTCOMES].contains(&table.name) {
            erased.nobodys += nobodys - left;
        }
    }
    writer.finish()?;
    if let Some(lent) = lent {
        let rows = lent.finish()?;
        gone -= rows;
        erased.nobodys += rows;
    }
    erased.gone(table.name, gone);
    erased.files += 1;
    Ok(())
}

/// The file of nobody's events that name a request which their export does not: no delivery owns it, so an export that
/// comes again leaves it where it is.
fn lent_to(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = path.with_file_name(format!("forgotten.{name}"));
    let mut n = 1;
    while file.exists() {
        file = path.with_file_name(format!("forgotten-{n}.{name}"));
        n += 1;
    }
    file
}

/// Takes people out of the free texts of a file. Whether there was anybody.
fn reworded(table: &'static Table, path: &Path, columns: &[&str], people: &People) -> Result<bool> {
    let mut found = false;
    let mut batches = vec![];
    for batch in decoder::read(path)? {
        let mut batch = batch?;
        for name in columns.iter().filter(|n| table.column(n).is_some()) {
            let column = texts(&batch, name)?;
            if column
                .iter()
                .flatten()
                .any(|text| people.named_in(text) > 0)
            {
                found = true;
                let told = column.iter().map(|t| Some(people.removed_from(t?)));
                let told: StringViewArray = told.collect();
                batch = replaced(&batch, name, Arc::new(told))?;
            }
        }
        batches.push(batch);
    }
    if found {
        let new = path.with_extension("new");
        let mut writer = TableWriter::create(table, &new)?;
        for batch in &batches {
            writer.write(batch)?;
        }
        writer.finish()?;
        std::fs::rename(&new, path).map_err(|e| Error::io("cannot replace", path, &e))?;
    }
    Ok(found)
}

/// Takes the vectors of people out of a model file, and notes in `models` what its hash and size are now. Whether there was
/// anybody.
fn of_model(path: &Path, people: &People) -> Result<bool> {
    let mut model = model_file::read(path)?;
    let stay: Vec<usize> = (0..model.user_ids.len())
        .filter(|row| !people.has(&model.user_ids[*row]))
        .collect();
    if stay.len() == model.user_ids.len() {
        return Ok(false);
    }
    if let Fitted::Factors(Factors { users, .. }) = &mut model.fitted {
        *users = users.gathered(stay.iter().copied());
    }
    model.user_ids = stay
        .iter()
        .map(|row| model.user_ids[*row].clone())
        .collect();
    let new = path.with_extension("new");
    let bytes = model_file::write(&new, &model)?;
    std::fs::rename(&new, path).map_err(|e| Error::io("cannot replace", path, &e))?;
    noted(path, &crate::model::stage::file_hash(path)?, bytes)?;
    Ok(true)
}

/// Writes the hash and the size of a model file into its row of `models`.
fn noted(model: &Path, hash: &str, bytes: u64) -> Result<()> {
    let models = table("models").ok_or_else(|| Error::unexpected("no table models"))?;
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let path = model.with_file_name("part-0.parquet");
    if !path.exists() {
        return Ok(());
    }
    let batches = decoder::read(&path)?.collect::<Result<Vec<_>>>()?;
    let mut writer = TableWriter::create(models, &path)?;
    for batch in batches {
        let files = texts(&batch, "file")?;
        let of_it: BooleanArray = files.iter().map(|f| Some(f == Some(&*name))).collect();
        let hashes = texts(&batch, "file_hash")?;
        let hashes: StringViewArray = (0..batch.num_rows())
            .map(|row| {
                Some(if of_it.value(row) {
                    hash
                } else {
                    hashes.value(row)
                })
            })
            .collect();
        let size = arrow::array::Int64Array::from(vec![i64::try_from(bytes).unwrap_or(i64::MAX)]);
        let size = arrow::array::Scalar::new(size);
        let sizes = batch
            .column_by_name("bytes")
            .ok_or_else(|| Error::unexpected("models has no column bytes"))?;
        let sizes = arrow::compute::kernels::zip::zip(&of_it, &size, sizes)?;
        let batch = replaced(&batch, "file_hash", Arc::new(hashes))?;
        writer.write(&replaced(&batch, "bytes", sizes)?)?;
    }
    writer.finish()?;
    Ok(())
}

//! Ids of charges: a hash of what the bill says of them, so that a row has the same id wherever it stands, however its
//! delivery is divided over files, and whenever it comes again.
//!
//! Rows of a delivery that say the same are told apart by counting them. A file counts its own while it is read; the few
//! that earlier files of the delivery have too are counted on afterwards, so files may be read at the same time.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Schema, TimeUnit, TimestampMicrosecondType,
};
use xxhash_rust::xxh3::xxh3_128;

use super::file::{FileJob, FileOutcome};
use super::seen::Seen;
use crate::decoder;
use crate::engine::{Engine, Held};
use crate::error::{Error, Result};
use crate::warehouse::{Table, TableWriter};

/// Columns that say where a charge came from, not what it is.
const ORIGIN: &[&str] = &["row_id", "delivery_id", "source", "file", "row", "part"];

/// Names the charges of one file.
pub struct Ids {
    /// What the rows of a delivery share: source, interval and name of the delivery.
    of: Vec<u8>,
    /// The columns that say what a charge is, by name, each with its name as it is hashed.
    columns: Vec<(&'static str, Vec<u8>)>,
    known: Known,
}

/// The rows of one file by the first half of their hash.
#[derive(Debug, Default)]
pub struct Known {
    keys: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// How often, of those that are there more than once.
    often: HashMap<u64, u32>,
    /// What counts their memory.
    counted: Option<Held>,
}

/// Bytes of a key, with a byte of control and what the set has room for; of a count likewise.
const KEY_BYTES: usize = 18;
const COUNT_BYTES: usize = 34;

/// Takes the halves of hashes as the hashes that they are.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Appends bytes so that where they end can be told.
fn put(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend((bytes.len() as u64).to_le_bytes());
    text.extend(bytes);
}

/// The first half of a row's hash.
fn key(hash: u128) -> u64 {
    (hash >> 64) as u64
}

/// The id, as a number, of the row with `before` rows before it that say the same.
fn nth(hash: u128, before: u32) -> u128 {
    if before == 0 {
        return hash;
    }
    let mut text = [0; 20];
    text[..16].copy_from_slice(&hash.to_be_bytes());
    text[16..].copy_from_slice(&before.to_be_bytes());
    xxh3_128(&text)
}

/// An id as it is written.
fn hexadecimal(id: u128, into: &mut [u8; 32]) {
    for (at, digit) in into.iter_mut().enumerate() {
        let value = (id >> (124 - 4 * at)) as u8 & 15;
        *digit = if value < 10 { b'0' } else { b'a' - 10 } + value;
    }
}

fn append(ids: &mut StringViewBuilder, id: u128) {
    let mut text = [0; 32];
    hexadecimal(id, &mut text);
    ids.append_value(String::from_utf8_lossy(&text));
}

/// A column's values, as they are hashed.
enum Values<'a> {
    Text(&'a StringViewArray),
    Amount(&'a Decimal128Array),
    Time(&'a TimestampMicrosecondArray),
}

impl<'a> Values<'a> {
    fn of(column: &'a ArrayRef, name: &str) -> Result<Self> {
        match column.data_type() {
            DataType::Utf8View => Ok(Values::Text(column.as_string_view())),
            DataType::Decimal128(..) => Ok(Values::Amount(column.as_primitive::<Decimal128Type>())),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                Ok(Values::Time(times))
            }
            other => Err(Error::unexpected(format!(
                "the column {name} is {other}, of which no id is made"
            ))),
        }
    }

    /// Appends the value of a row, with the column's name before it; nothing where there is none.
    fn put(&self, row: usize, name: &[u8], text: &mut Vec<u8>) {
        let there = match self {
            Values::Text(values) => values.is_valid(row),
            Values::Amount(values) => values.is_valid(row),
            Values::Time(values) => values.is_valid(row),
        };
        if !there {
            return;
        }
        text.extend(name);
        match self {
            Values::Text(values) => put(text, values.value(row).as_bytes()),
            Values::Amount(values) => put(text, &values.value(row).to_le_bytes()),
            Values::Time(values) => put(text, &values.value(row).to_le_bytes()),
        }
    }
}

impl Ids {
    /// For rows of `table` that a delivery of `source` for `interval` brings; `name` tells deliveries apart that add up.
    pub fn new(table: &Table, source: &str, interval: &str, name: &str) -> Self {
        let mut of = vec![];
        for part in [source, interval, name] {
            put(&mut of, part.as_bytes());
        }
        let names = table.columns.iter().map(|c| c.name);
        let mut columns: Vec<_> = names
            .filter(|name| !ORIGIN.contains(name))
            .map(|name| {
                let mut text = vec![];
                put(&mut text, name.as_bytes());
                (name, text)
            })
            .collect();
        // A column that is moved in the contract, or added and empty, changes no id.
        columns.sort_unstable_by_key(|(name, _)| *name);
        Ids {
            of,
            columns,
            known: Known::default(),
        }
    }

    /// The same, with the memory that they take counted.
    #[must_use]
    pub fn counted(mut self, held: Held) -> Self {
        self.known.counted = Some(held);
        self
    }

    /// The next rows of the file, with their ids.
    ///
    /// # Errors
    /// When a column has a type that is not hashed.
    pub fn give(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut values = vec![];
        for (name, text) in &self.columns {
            match rows.column_by_name(name) {
                Some(column) if column.logical_null_count() < rows.num_rows() => {
                    values.push((Values::of(column, name)?, text));
                }
                _ => {}
            }
        }
        let mut text = self.of.clone();
        let mut ids = StringViewBuilder::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            text.truncate(self.of.len());
            for (values, name) in &values {
                values.put(row, name, &mut text);
            }
            let hash = xxh3_128(&text);
            append(&mut ids, nth(hash, self.known.count(key(hash))));
        }
        let known = &self.known;
        if let Some(counted) = &known.counted {
            counted.resize(known.keys.len() * KEY_BYTES + known.often.len() * COUNT_BYTES)?;
        }
        with_ids(rows, Arc::new(ids.finish()))
    }

    /// What the file holds.
    pub fn finish(self) -> Known {
        self.known
    }
}

impl Known {
    /// Counts a row. Returns how many rows of that key there were before.
    fn count(&mut self, key: u64) -> u32 {
        if self.keys.insert(key) {
            return 0;
        }
        let often = self.often.entry(key).or_insert(1);
        *often += 1;
        *often - 1
    }

    fn often(&self, key: u64) -> u32 {
        self.often.get(&key).copied().unwrap_or(1)
    }
}

/// Of each file of a delivery, in order: the keys of rows that files before it have too, with how many they have.
fn before(files: &[Known], mut keys: Seen) -> Result<Vec<HashMap<u64, u32>>> {
    keys.add(files.iter().flat_map(|file| file.keys.iter().copied()))?;
    let shared = keys.repeated()?;
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let file = |file: &Known| {
        let mut before = HashMap::new();
        for key in shared.iter().filter(|key| file.keys.contains(key)) {
            let seen = seen.entry(*key).or_insert(0);
            if *seen > 0 {
                before.insert(*key, *seen);
            }
            *seen += file.often(*key);
        }
        before
    };
    Ok(files.iter().map(file).collect())
}

/// What one source file became, some rows of which have to be counted on.
struct Recount {
    written: Vec<PathBuf>,
    known: Known,
    before: HashMap<u64, u32>,
}

/// Counts rows that say the same over the files of each delivery: `owner` says of each job whose file it reads, those of a
/// delivery together and in order. Of the files written, those are written again that have rows of an earlier one.
///
/// # Errors
/// Those of reading and writing.
pub async fn count_over_files(
    engine: &Engine,
    jobs: &[Arc<FileJob>],
    owner: &[usize],
    outcomes: &mut [FileOutcome],
    threads: usize,
) -> Result<()> {
    let mut recounts = HashMap::new();
    let mut at = 0;
    for files in owner.chunk_by(|a, b| a == b) {
        let of = at..at + files.len();
        at = of.end;
        let known = of.clone().map(|n| std::mem::take(&mut outcomes[n].known));
        let known: Vec<Known> = known.collect();
        if files.len() == 1 {
            continue;
        }
        let seen = Seen::new(engine.memory() / 4, &engine.spill()?, engine.spill_limit());
        for ((n, before), known) in of.zip(before(&known, seen)?).zip(known) {
            if !before.is_empty() {
                let written = std::mem::take(&mut outcomes[n].written);
                let recount = Recount {
                    written,
                    known,
                    before,
                };
                recounts.insert(n, recount);
            }
        }
    }
    let again = jobs
        .iter()
        .filter(|job| recounts.contains_key(&job.ordinal));
    let again: Vec<Arc<FileJob>> = again.cloned().collect();
    let recounts = Arc::new(recounts);
    super::on_files(engine, &again, threads, move |job, _| {
        let recounts = Arc::clone(&recounts);
        async move {
            match recounts.get(&job.ordinal) {
                Some(recount) => recount.write(job.mapping.table),
                None => Ok(()),
            }
        }
    })
    .await?;
    Ok(())
}

impl Recount {
    /// Writes the file again, with ids that count the rows before it.
    fn write(&self, table: &'static Table) -> Result<()> {
        let mut others: HashMap<u128, u128> = HashMap::new();
        for path in &self.written {
            let given = decoder::read(path)?;
            let mut writer = TableWriter::create(table, path)?;
            for rows in given {
                let rows = rows?;
                let ids = self.ids(&rows, &mut others)?;
                writer.write(&with_ids(&rows, ids)?)?;
            }
            writer.finish()?;
        }
        Ok(())
    }

    /// The ids of rows; `others` are those that change, by what they were.
    fn ids(&self, rows: &RecordBatch, others: &mut HashMap<u128, u128>) -> Result<ArrayRef> {
        let given = rows
            .column_by_name("row_id")
            .ok_or_else(|| Error::unexpected("a charge has no row_id"))?;
        let given = cast(given, &DataType::Utf8View)?;
        let mut ids = StringViewBuilder::with_capacity(rows.num_rows());
        for id in given.as_string_view() {
            let id = u128::from_str_radix(id.unwrap_or_default(), 16)
                .map_err(|e| Error::unexpected(format!("a row_id is no number: {e}")))?;
            // Of several rows that say the same the first comes first, and its id is the hash of them all.
            if let Some(before) = self.before.get(&key(id)) {
                let several = 0..self.known.often(key(id));
                others.extend(several.map(|n| (nth(id, n), nth(id, before + n))));
            }
            append(&mut ids, others.get(&id).copied().unwrap_or(id));
        }
        Ok(Arc::new(ids.finish()))
    }
}

/// The rows with these ids.
fn with_ids(rows: &RecordBatch, ids: ArrayRef) -> Result<RecordBatch> {
    let schema = rows.schema();
    let others = schema.fields().iter().zip(rows.columns());
    let others = others.filter(|(field, _)| field.name() != "row_id");
    let (mut fields, mut columns): (Vec<_>, Vec<_>) = others
        .map(|(field, column)| (Arc::clone(field), Arc::clone(column)))
        .unzip();
    fields.push(Arc::new(Field::new("row_id", DataType::Utf8View, false)));
    columns.push(ids);
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::warehouse::table;

    fn rows(texts: &[[Option<&str>; 2]]) -> RecordBatch {
        let column = |at: usize| -> ArrayRef {
            Arc::new(texts.iter().map(|t| t[at]).collect::<StringViewArray>())
        };
        RecordBatch::try_from_iter_with_nullable([
            ("sku_id", column(0), true),
            ("tags", column(1), true),
        ])
        .unwrap()
    }

    fn ids(of: &mut Ids, texts: &[[Option<&str>; 2]]) -> Vec<String> {
        let named = of.give(&rows(texts)).unwrap();
        let ids = named.column_by_name("row_id").unwrap().as_string_view();
        ids.iter().map(|id| id.unwrap().to_string()).collect()
    }

    fn fresh() -> Ids {
        Ids::new(table("charges").unwrap(), "cloud", "2026-10", "")
    }

    #[test]
    fn an_id_is_of_what_the_row_says_and_of_nothing_else() {
        let one = ids(
            &mut fresh(),
            &[[Some("a"), None], [Some("b"), Some("t")], [None, None]],
        );
        let other = ids(
            &mut fresh(),
            &[[None, None], [Some("b"), Some("t")], [Some("a"), None]],
        );
        assert_eq!(one, [&other[2], &other[1], &other[0]].map(String::clone));
        let like = |id: &String| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(one.iter().all(like), "{one:?}");
        // Ids are kept for years: what they are made of must not change by chance.
        assert_eq!(one[1], "d6cd628e7010ceb85c925ef2fdc3e7a6");
    }

    #[test]
    fn rows_that_differ_in_anything_have_other_ids() {
        let texts = [
            [Some("ab"), Some("c")],
            [Some("a"), Some("bc")],
            [Some("a"), Some("")],
            [Some("a"), None],
            [None, Some("a")],
            [None, None],
        ];
        let mut all = ids(&mut fresh(), &texts);
        let table = table("charges").unwrap();
        for (source, interval, name) in [
            ("other", "2026-10", ""),
            ("cloud", "2026-11", ""),
            ("cloud", "2026-10", "part-2.csv"),
        ] {
            let mut of = Ids::new(table, source, interval, name);
            all.extend(ids(&mut of, &texts));
        }
        let different: HashSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn rows_that_say_the_same_are_counted_over_batches() {
        let mut of = fresh();
        let same = [Some("a"), None];
        let mut found = ids(&mut of, &[same, same]);
        found.extend(ids(&mut of, &[same]));
        let again = ids(&mut fresh(), &[same, same, same]);
        assert_eq!(found, again);
        let different: HashSet<&String> = found.iter().collect();
        assert_eq!(different.len(), 3);
    }

    #[test]
    fn rows_of_several_files_are_counted_on_in_the_order_of_the_files() {
        let [same, other] = [[Some("a"), None], [Some("b"), None]];
        let files = [[same, same], [other, same], [same, other]];
        let known: Vec<Known> = files
            .iter()
            .map(|rows| {
                let mut of = fresh();
                ids(&mut of, rows);
                of.finish()
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let before = before(&known, Seen::new(0, dir.path(), u64::MAX)).unwrap();
        let mut counts: Vec<Vec<u32>> = before
            .iter()
            .map(|b| b.values().copied().collect())
            .collect();
        counts.iter_mut().for_each(|c| c.sort_unstable());
        assert_eq!(counts, [vec![], vec![2], vec![1, 3]]);
    }
}

//! Everything that can come in broken, and what the program makes of it: it stops, says where and what to do, and leaves
//! the published tables as they were; or it sets the rows aside, as they were delivered, and goes on.
//!
//! Each test starts from a night that was published before.

mod asked;
mod bills;
mod clickstream;
mod files;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampSecondArray,
};
use arrow::compute::{cast, concat_batches, interleave, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recost::error::Kind;
use serde_json::Value;

use crate::shop::{JSON, NIGHT, RUN, Shop, copy, text};

const EVENTS: &str = "exports/events/ds=2026-10-31/part-00000.parquet";
const USERS: &str = "exports/users/ds=2026-10-31/part-00000.parquet";
const NORTH: &str = "exports/billing/northcloud/billing_period=2026-10/part-00000.parquet";
const EAST: &str = "exports/billing/eastgrid/billing_period=2026-10/part-00000.parquet";
const EVENTS_HEAD: &str = "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,\
    model_version,surface,rank,compute_ns,price,quantity,currency";
const FIRST_LINE: &str = "name = \"Example shop\"";

/// The shop whose night was published, with its report; to be left as it is.
pub fn done() -> &'static Shop {
    static NIGHT: OnceLock<Shop> = OnceLock::new();
    NIGHT.get_or_init(|| {
        let shop = Shop::new();
        // What the models learn is not looked at here.
        shop.edit("dim = 64, iterations = 10", "dim = 8, iterations = 1");
        shop.run_ok();
        shop
    })
}

/// A shop of which a night was published.
pub fn published() -> Shop {
    let done = done();
    let shop = Shop::new();
    fs::copy(done.file("pipeline.toml"), shop.file("pipeline.toml")).unwrap();
    for below in ["warehouse/snapshots", "warehouse/runs"] {
        copy(&done.file(below), &shop.file(below));
    }
    let current = fs::read_link(done.file("warehouse/current")).unwrap();
    symlink(current, shop.file("warehouse/current")).unwrap();
    shop
}

/// Runs the night with errors as JSON, which no terminal's width breaks into lines.
fn night(shop: &Shop) -> Output {
    shop.recost(&[&RUN[..], &JSON].concat())
}

/// Runs the night, which must end with the exit code of `kind`, say all of `says` and the `remedy`, and leave the published
/// tables as they were and nothing half made but finished stages.
fn refused(shop: &Shop, kind: Kind, says: &[&str], remedy: &str) {
    let before = shop.published();
    let out = night(shop);
    let log = text(&out.stderr);
    let code = i32::from(kind.exit_code());
    assert_eq!(out.status.code(), Some(code), "{log}");
    let error = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["event"] == "error")
        .unwrap_or_else(|| panic!("no error in {log}"));
    let message = error["message"].as_str().unwrap();
    for part in says {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let help = error["help"].as_str().unwrap_or_default();
    assert!(help.contains(remedy), "{remedy:?} is not in: {help}");
    assert_eq!(before, shop.published());
    for entry in fs::read_dir(shop.file("warehouse/snapshots")).unwrap() {
        let path = entry.unwrap().path();
        // What its finished stages wrote stays for the next run.
        let stays = path.extension().is_none_or(|e| e == "stages");
        assert!(stays, "{} was left", path.display());
    }
}

/// Damages one file, runs the night, which must be refused and name the file, and repairs it.
pub fn refused_with(
    shop: &Shop,
    file: &str,
    damage: impl FnOnce(&Path),
    kind: Kind,
    says: &[&str],
    remedy: &str,
) {
    let path = shop.file(file);
    let good = fs::read(&path).unwrap();
    damage(&path);
    refused(shop, kind, &[&[file], says].concat(), remedy);
    fs::write(&path, good).unwrap();
}

/// Runs the night, which must succeed.
fn run_ok(shop: &Shop) {
    let out = night(shop);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

/// The rows of a query, as JSON.
fn rows(shop: &Shop, sql: &str) -> Vec<Value> {
    let out = shop.recost(&["sql", "pipeline.toml", sql, "--format", "json"]);
    assert!(out.status.success(), "{sql}\n{}", text(&out.stderr));
    text(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A query gives no row.
fn none(shop: &Shop, sql: &str) {
    assert_eq!(rows(shop, sql), Vec::<Value>::new(), "{sql}");
}

/// Every currency of every bill ties: nothing is lost between the bill and where it went.
fn reconciles(shop: &Shop) {
    none(
        shop,
        "select * from reconciliation where line = 'difference' and (billed <> 0 or effective <> 0)",
    );
    assert!(!rows(shop, "select * from reconciliation where line = 'bill'").is_empty());
}

/// A quarantined row: file, row, and parts of column, reason and raw text.
type Rejected<'a> = (&'a str, i64, &'a str, &'a str, &'a str);

/// The quarantine of a source has exactly these rows in the files named, and every row that came in is accounted for.
fn quarantined(shop: &Shop, source: &str, files: &[&str], wanted: &[Rejected<'_>]) {
    let listed: Vec<String> = files.iter().map(|f| format!("'{f}'")).collect();
    let sql = format!(
        "select file, \"row\", \"column\", reason, raw from quarantine
         where source = '{source}' and file in ({}) order by file, \"row\"",
        listed.join(", ")
    );
    let found = rows(shop, &sql);
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, (file, row, column, reason, raw)) in found.iter().zip(wanted) {
        assert_eq!(found["file"], *file, "{found:#}");
        assert_eq!(found["row"], *row, "{found:#}");
        assert_eq!(found["column"], *column, "{found:#}");
        for (key, part) in [("reason", reason), ("raw", raw)] {
            let text = found[key].as_str().unwrap();
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    none(
        shop,
        "select * from deliveries where rows_in <> rows_out + rows_skipped + rows_duplicate + rows_quarantined",
    );
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn write(path: &Path, batch: &RecordBatch) {
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Writes a Parquet file anew with what `change` makes of its rows.
pub fn change(path: &Path, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    write(path, &change(read(path)));
}

/// Replaces a Parquet file by a CSV beside it, every value as text, with what `change` makes of its rows.
fn to_csv(path: &Path, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    let mut batch = read(path);
    for field in batch.schema().fields() {
        if field.data_type().is_nested() {
            batch = without(&batch, field.name());
        } else {
            batch = with_type(&batch, field.name(), &DataType::Utf8);
        }
    }
    let mut writer = arrow::csv::Writer::new(File::create(path.with_extension("csv")).unwrap());
    writer.write(&change(batch)).unwrap();
    fs::remove_file(path).unwrap();
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).unwrap()
}

/// The batch with another column in the place of the one named.
pub fn with_column(batch: &RecordBatch, name: &str, array: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let at = schema.index_of(name).unwrap();
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[at] = Field::new(name, array.data_type().clone(), true);
    let mut columns = batch.columns().to_vec();
    columns[at] = array;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub fn with_type(batch: &RecordBatch, name: &str, ty: &DataType) -> RecordBatch {
    with_column(batch, name, cast(column(batch, name), ty).unwrap())
}

fn without(batch: &RecordBatch, name: &str) -> RecordBatch {
    let schema = batch.schema();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|i| schema.field(*i).name() != name)
        .collect();
    batch.project(&kept).unwrap()
}

/// The batch with one value replaced; rows count from 1, as in messages.
fn with_value(batch: &RecordBatch, name: &str, row: usize, value: ArrayRef) -> RecordBatch {
    let old = column(batch, name);
    let value = cast(&value, old.data_type()).unwrap();
    let from: Vec<(usize, usize)> = (0..batch.num_rows())
        .map(|i| if i + 1 == row { (1, 0) } else { (0, i) })
        .collect();
    let new = interleave(&[old.as_ref(), value.as_ref()], &from).unwrap();
    with_column(batch, name, new)
}

pub fn with_text(batch: &RecordBatch, name: &str, row: usize, value: &str) -> RecordBatch {
    with_value(batch, name, row, Arc::new(StringArray::from(vec![value])))
}

fn with_number(batch: &RecordBatch, name: &str, row: usize, value: f64) -> RecordBatch {
    with_value(batch, name, row, Arc::new(Float64Array::from(vec![value])))
}

/// Rows whose text column has the value.
fn rows_with(batch: &RecordBatch, name: &str, value: &str) -> Vec<usize> {
    let texts = cast(column(batch, name), &DataType::Utf8).unwrap();
    let texts = arrow::array::AsArray::as_string::<i32>(&texts).clone();
    (0..batch.num_rows())
        .filter(|i| arrow::array::Array::is_valid(&texts, *i) && texts.value(*i) == value)
        .collect()
}

/// Views of `items` by each of `users`, made from the file's first view.
fn views(batch: &RecordBatch, users: &[&str], items: &[&str]) -> RecordBatch {
    let first = rows_with(batch, "event_type", "view")[0];
    let pairs: Vec<(&str, &str)> = users
        .iter()
        .flat_map(|u| items.iter().map(move |i| (*u, *i)))
        .collect();
    let same = Int64Array::from(vec![first as i64; pairs.len()]);
    let mut added = take_record_batch(batch, &same).unwrap();
    let ids: Vec<String> = (0..pairs.len()).map(|n| format!("added-{n}")).collect();
    let text = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    added = with_column(
        &added,
        "event_id",
        text(ids.iter().map(String::as_str).collect()),
    );
    added = with_column(&added, "user_id", text(pairs.iter().map(|p| p.0).collect()));
    with_column(&added, "item_id", text(pairs.iter().map(|p| p.1).collect()))
}

fn append(batch: &RecordBatch, more: &RecordBatch) -> RecordBatch {
    concat_batches(&batch.schema(), [batch, more]).unwrap()
}

/// What a run said.
fn text_of(out: &Output) -> String {
    text(&out.stdout) + &text(&out.stderr)
}

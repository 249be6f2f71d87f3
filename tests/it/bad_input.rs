//! Everything that can come in broken, and what the program makes of it: it stops, says where and what to do, and leaves
//! the published tables as they were; or it sets the rows aside, as they were delivered, and goes on.
//!
//! Each test starts from a night that was published before.

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

use crate::shop::{NIGHT, Shop, copy, text};

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
    shop.recost(&[
        "run",
        "pipeline.toml",
        "--date",
        NIGHT,
        "--device",
        "cpu",
        "--log-format",
        "json",
    ])
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

#[test]
fn a_file_that_is_not_what_its_name_says_stops_the_run() {
    let shop = published();
    let contract = |damage: fn(&Path), says: &str, remedy: &str| {
        refused_with(&shop, EVENTS, damage, Kind::Contract, &[says], remedy);
    };
    contract(
        |path| {
            let whole = fs::read(path).unwrap();
            fs::write(path, &whole[..whole.len() / 2]).unwrap();
        },
        "cannot be read as Parquet",
        "deliver it again",
    );
    // Its footer is whole, but what it points at is not.
    contract(
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let half = bytes.len() / 2;
            bytes[4..half].fill(0xff);
            fs::write(path, bytes).unwrap();
        },
        "cannot be read as Parquet",
        "deliver it again",
    );
    contract(
        |path| fs::write(path, "event_id,event_time\n1,2026-10-31\n").unwrap(),
        "is not a Parquet file, whatever its name says",
        "rename it to .csv",
    );
    contract(
        |path| fs::write(path, "").unwrap(),
        "is not a Parquet file",
        "deliver it as Parquet",
    );
    shop.edit(
        "exports/events/ds={date}/*.parquet",
        "exports/events/ds={date}/*",
    );
    let csv = "exports/events/ds=2026-10-31/more.csv";
    for (bytes, says) in [
        (&b""[..], "the file is empty"),
        (b"PAR1\x00\xff\xfe\n", "not UTF-8"),
        (b"event_id,event_id\n", "names the column event_id twice"),
    ] {
        fs::write(shop.file(csv), bytes).unwrap();
        refused(
            &shop,
            Kind::Contract,
            &[csv, says],
            "names its columns, each once",
        );
    }
    fs::remove_file(shop.file(csv)).unwrap();
    let mut packed = GzEncoder::new(vec![], Compression::default());
    writeln!(packed, "{EVENTS_HEAD}").unwrap();
    for n in 0..5000 {
        writeln!(
            packed,
            "g{n},2026-10-31T10:00:00Z,u{},,search,,,,,,,,,,,",
            n * n
        )
        .unwrap();
    }
    let packed = packed.finish().unwrap();
    let gz = "exports/events/ds=2026-10-31/more.csv.gz";
    for (bytes, says) in [
        (&packed[..8], "cannot be unpacked"),
        (&packed[..packed.len() / 2], ", row "),
        (b"event_id,event_time\n", "cannot be unpacked"),
    ] {
        fs::write(shop.file(gz), bytes).unwrap();
        refused(&shop, Kind::Contract, &[gz, says], "deliver ");
    }
}

#[test]
fn an_empty_folder_is_an_export_that_has_not_come() {
    let shop = published();
    fs::remove_dir_all(shop.file("exports/events/ds=2026-10-31")).unwrap();
    fs::create_dir_all(shop.file("exports/events/ds=2026-10-31")).unwrap();
    refused(
        &shop,
        Kind::SourceMissing,
        &[
            "source `clickstream` has no file for 2026-10-31",
            "exports/events/ds=2026-10-31/*.parquet",
        ],
        "wait for the export and run again, or set `required = false`",
    );
}

#[test]
fn an_empty_file_with_the_right_columns_is_an_export_that_is_not_whole() {
    let shop = published();
    fs::remove_file(shop.file("exports/events/ds=2026-10-31/redelivered.parquet")).unwrap();
    change(&shop.file(EVENTS), |batch| batch.slice(0, 0));
    refused(
        &shop,
        Kind::SourceMissing,
        &[
            "source `clickstream`, 2026-10-31: the files hold no row",
            EVENTS,
        ],
        "set `required = false` for a source that may have nothing to say",
    );

    // A source that may be empty: a warning, and the other days are as they were.
    let other_days = || {
        let mut files = shop.published();
        files.retain(|(name, _)| name.starts_with("events/") && !name.contains(NIGHT));
        files
    };
    let before = other_days();
    shop.edit(
        "max_rejected = 0.01 ",
        "required = false\nmax_rejected = 0.01 ",
    );
    let out = night(&shop);
    let log = text(&out.stderr);
    assert!(out.status.success(), "{log}");
    assert!(log.contains("the files hold no row"), "{log}");
    assert_eq!(before, other_days());
    none(&shop, "select * from events where ds = date '2026-10-31'");
    reconciles(&shop);
}

#[test]
fn a_bill_that_is_there_twice_or_comes_again_by_half_stops_the_run() {
    let shop = published();
    let bill = shop.file("exports/billing/northcloud/billing_period=2026-10");
    let whole = fs::read_dir(&bill).unwrap().next().unwrap().unwrap().path();
    let copy = bill.join("copy.parquet");
    fs::copy(&whole, &copy).unwrap();
    refused(
        &shop,
        Kind::Check,
        &["copy.parquet", "has the same content as"],
        "remove one of the two",
    );
    fs::remove_file(&copy).unwrap();

    let good = fs::read(&whole).unwrap();
    change(&whole, |batch| batch.slice(0, batch.num_rows() / 3));
    let gone = [
        "the bill of northcloud for 2026-10 came again with",
        "rows, and had",
    ];
    refused(&shop, Kind::Check, &gone, "may_shrink = true");
    fs::write(&whole, good).unwrap();
    fs::remove_dir_all(shop.file("exports/billing/northcloud")).unwrap();
    refused(&shop, Kind::Check, &gone, "may_shrink = true");
    shop.edit(
        "dialect = \"focus\"                # FOCUS",
        "dialect = \"focus\"\nmay_shrink = true # FOCUS",
    );
    run_ok(&shop);
    reconciles(&shop);
}

#[test]
fn a_period_that_a_newer_bill_lacks_leaves_no_cost_behind() {
    let shop = Shop::new();
    let pipeline = "name = \"x\"\n[[sources]]\nname = \"bill\"\nkind = \"charges\"\npath = \"bill.csv\"\ndialect = \"focus\"\nmay_shrink = true\n";
    fs::write(shop.file("pipeline.toml"), pipeline).unwrap();
    let bill = |rows: &[&str]| {
        let head = "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory";
        fs::write(shop.file("bill.csv"), [&[head], rows].concat().join("\n")).unwrap();
        run_ok(&shop);
    };
    let old = "5,5,USD,2025-01-01,2025-02-01,2025-01-03,2025-01-04,Usage";
    let new = "7,7,USD,2026-10-01,2026-11-01,2026-10-03,2026-10-04,Usage";
    bill(&[old, new]);
    assert_eq!(
        shop.query("select sum(billed) from allocations")[0],
        "12.000000000000000000"
    );
    bill(&[new]);
    for table in ["allocations", "model_costs", "reconciliation", "charges"] {
        none(
            &shop,
            &format!("select * from {table} where billing_period = '2025-01'"),
        );
    }
    assert_eq!(
        shop.query("select sum(billed) from allocations")[0],
        "7.000000000000000000"
    );
    reconciles(&shop);
}

#[test]
fn a_column_that_is_missing_or_of_another_type_stops_the_run_and_is_named() {
    let shop = published();
    let contract = |file: &str, edit: &dyn Fn(RecordBatch) -> RecordBatch, says: &[&str]| {
        refused_with(
            &shop,
            file,
            |path| change(path, edit),
            Kind::Contract,
            says,
            "deliver the column",
        );
    };
    contract(
        EVENTS,
        &|batch| without(&batch, "event_time"),
        &[
            "the column event_time is missing, wanted as timestamp",
            "found event_id, user_id",
        ],
    );
    contract(
        NORTH,
        &|batch| without(&batch, "BilledCost"),
        &[
            "the column BilledCost is missing, wanted as decimal(38,18)",
            "the nearest is ",
        ],
    );
    contract(
        EVENTS,
        &|batch| with_type(&batch, "rank", &DataType::Float64),
        &["column rank: found Float64, wanted int32"],
    );
    contract(
        EVENTS,
        &|batch| with_type(&batch, "event_time", &DataType::Int64),
        &["column event_time: found Int64, wanted timestamp"],
    );
    contract(
        NORTH,
        &|batch| {
            let flags = cast(
                &cast(column(&batch, "BilledCost"), &DataType::Int64).unwrap(),
                &DataType::Boolean,
            );
            with_column(&batch, "BilledCost", flags.unwrap())
        },
        &["column billed_cost: found Boolean, wanted decimal(38,18)"],
    );
    // A date that is text is no date in a Parquet file; in a CSV it is read, row by row.
    contract(
        USERS,
        &|batch| with_type(&batch, "signup_date", &DataType::Utf8),
        &["column signup_date: found Utf8", "wanted date"],
    );
}

#[test]
fn a_column_that_a_dialect_calls_optional_may_be_missing_whatever_its_type() {
    let shop = published();
    change(
        &shop.file("exports/items/ds=2026-10-31/part-00000.parquet"),
        |batch| without(&batch, "attributes"),
    );
    change(&shop.file(USERS), |batch| without(&batch, "tags"));
    run_ok(&shop);
    let empty =
        "select count(*) as n, count(attributes) as known from items where ds = date '2026-10-31'";
    assert_eq!(
        rows(&shop, empty),
        [serde_json::json!({"n": 500, "known": 0})]
    );
}

/// A file that is there when the folder is listed and gone when it is opened. A race cannot be timed from outside; a link
/// that leads nowhere is the same to the program, every time: the listing has its name, and opening it finds nothing.
/// What happens to a file that goes later is tested beside `InputFile`.
#[test]
fn a_file_that_vanishes_while_it_is_read_asks_for_another_run() {
    let shop = published();
    shop.edit("[run]", "[run]\nretries = 0");
    for file in [
        EVENTS,
        "exports/ledger/period=2026-10/part-00000.parquet",
        "exports/billing/eastgrid/billing_period=2026-10/more.parquet",
    ] {
        let path = shop.file(file);
        let good = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        symlink("gone.parquet", &path).unwrap();
        refused(
            &shop,
            Kind::Io,
            &[file, "vanished while it was being read"],
            "let the export finish, then run again",
        );
        fs::remove_file(&path).unwrap();
        if let Some(good) = good {
            fs::write(&path, good).unwrap();
        }
    }
}

#[test]
fn bad_rows_of_the_clickstream_are_set_aside_with_their_text() {
    let shop = published();
    shop.edit(
        "exports/events/ds={date}/*.parquet",
        "exports/events/ds={date}/*",
    );
    let mut csv = EVENTS_HEAD.as_bytes().to_vec();
    csv.push(b'\n');
    for line in [
        &b"c1,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,"[..],
        b"c2,2026-10-31T10:00:00Z,u0000001,s1,search,,caf\xe9,,,,,,,,,",
        b"c3,1997-01-01T00:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c4,3026-10-31 08:00:00,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c5,2026-02-30T00:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c6,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,9.99,,XXQ",
        b"c7,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,9.99,,USD,and,more",
        b"c8,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,1e15,,USD",
        b"c9,2026-10-31T10:00:00Z,u0000001",
    ] {
        csv.extend_from_slice(line);
        csv.push(b'\n');
    }
    fs::write(shop.file("exports/events/ds=2026-10-31/clicks.csv"), csv).unwrap();
    let batch = read(&shop.file(EVENTS));
    // Beyond what microseconds can hold, and at their very end.
    let plain = |ty| {
        let some = take_record_batch(&batch, &Int64Array::from(vec![0, 1])).unwrap();
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["odd-1", "odd-2"]));
        with_type(&with_column(&some, "event_id", ids), "event_time", &ty)
    };
    let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    let last = Arc::new(TimestampSecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
    let odd = with_value(&plain(seconds), "event_time", 2, last);
    write(
        &shop.file("exports/events/ds=2026-10-31/seconds.parquet"),
        &odd,
    );
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let last = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["odd-3", "odd-4"]));
    let odd = with_column(&plain(micros), "event_id", ids);
    write(
        &shop.file("exports/events/ds=2026-10-31/micros.parquet"),
        &with_value(&odd, "event_time", 1, last),
    );

    shop.edit("max_rejected = 0.01 ", "max_rejected = 0.0001 ");
    refused(
        &shop,
        Kind::Check,
        &[
            "source `clickstream`, 2026-10-31:",
            "at most 1 may be",
            "column (row) has 18 fields where the header has 16",
            "exports/events/ds=2026-10-31/clicks.csv row 7",
        ],
        "deliver the file corrected, or raise `max_rejected`",
    );
    shop.edit("max_rejected = 0.0001 ", "max_rejected = 0.01 ");
    run_ok(&shop);
    let (csv, micros, seconds) = (
        "ds=2026-10-31/clicks.csv",
        "ds=2026-10-31/micros.parquet",
        "ds=2026-10-31/seconds.parquet",
    );
    quarantined(
        &shop,
        "clickstream",
        &[csv, micros, seconds],
        &[
            (csv, 2, "query", "is not valid UTF-8", r"caf\\xE9"),
            (
                csv,
                3,
                "event_time",
                "before the year 2000",
                "1997-01-01T00:00:00Z",
            ),
            (
                csv,
                4,
                "event_time",
                "after the interval",
                "3026-10-31 08:00:00",
            ),
            (
                csv,
                5,
                "event_time",
                "is not a timestamp such as",
                "2026-02-30T00:00:00Z",
            ),
            (
                csv,
                6,
                "currency",
                "\"XXQ\" is no ISO 4217 currency code",
                "XXQ",
            ),
            (csv, 7, "(row)", "has 18 fields", "USD,and,more"),
            (csv, 8, "price", "1e15", "1e15"),
            (csv, 9, "(row)", "has 3 fields", "u0000001"),
            (
                micros,
                1,
                "event_time",
                "after the interval",
                "9223372036854775807",
            ),
            (
                seconds,
                2,
                "event_time",
                "out of the range",
                "9223372036854775807",
            ),
        ],
    );
    assert_eq!(
        rows(
            &shop,
            "select event_id from events where event_id like 'c_' or event_id like 'odd-_' order by 1"
        ),
        ["c1", "odd-1", "odd-4"].map(|id| serde_json::json!({ "event_id": id }))
    );
}

#[test]
fn amounts_that_are_none_stop_the_run_and_are_kept_apart_when_they_may() {
    let shop = published();
    shop.edit(
        "billing_period={period}/*.parquet",
        "billing_period={period}/*",
    );
    let whole = rows(&shop, "select count(*) as n from charges")[0]["n"].clone();
    change(&shop.file(NORTH), |batch| {
        let mut batch = with_type(&batch, "BilledCost", &DataType::Float64);
        batch = with_type(&batch, "ListCost", &DataType::Float64);
        batch = with_number(&batch, "BilledCost", 1, f64::NAN);
        batch = with_number(&batch, "BilledCost", 2, f64::INFINITY);
        batch = with_number(&batch, "BilledCost", 3, 1e15);
        with_number(&batch, "ListCost", 4, f64::NEG_INFINITY)
    });
    to_csv(&shop.file(EAST), |batch| {
        let mut batch = with_text(&batch, "BilledCost", 1, "NaN");
        batch = with_text(&batch, "EffectiveCost", 2, "-Infinity");
        batch = with_text(&batch, "EffectiveCost", 3, "1e15");
        with_text(&batch, "BilledCost", 4, "1,000.00")
    });
    refused(
        &shop,
        Kind::Check,
        &[
            "source `cloud-bills`, 2026-10: 8 of ",
            "at most 0 may be",
            "2 × column billed_cost NaN is not a finite number",
            "billing_period=2026-10/part-00000.csv row 1)",
            "column billed_cost inf is not a finite number",
            "billing_period=2026-10/part-00000.parquet row 2)",
            "column billed_cost 1000000000000000 is too large for an amount",
            "further reasons",
        ],
        "deliver the file corrected, or raise `max_rejected`",
    );

    shop.edit(
        "name = \"cloud-bills\"",
        "name = \"cloud-bills\"\nmax_rejected = 0.5",
    );
    run_ok(&shop);
    let csv = "eastgrid/billing_period=2026-10/part-00000.csv";
    let parquet = "northcloud/billing_period=2026-10/part-00000.parquet";
    quarantined(
        &shop,
        "cloud-bills",
        &[csv, parquet],
        &[
            (
                csv,
                1,
                "billed_cost",
                "NaN is not a finite number",
                r#""BilledCost":"NaN""#,
            ),
            (
                csv,
                2,
                "effective_cost",
                "-Infinity is not a finite",
                r#""EffectiveCost":"-Infinity""#,
            ),
            (
                csv,
                3,
                "effective_cost",
                "1e15 is too large",
                r#""EffectiveCost":"1e15""#,
            ),
            (
                csv,
                4,
                "billed_cost",
                "is not an amount",
                r#""BilledCost":"1,000.00""#,
            ),
            (
                parquet,
                1,
                "billed_cost",
                "NaN is not a finite number",
                r#""BilledCost":"NaN""#,
            ),
            (
                parquet,
                2,
                "billed_cost",
                "inf is not a finite number",
                r#""BilledCost":"inf""#,
            ),
            (
                parquet,
                3,
                "billed_cost",
                "is too large",
                r#""BilledCost":1.0e15"#,
            ),
            (
                parquet,
                4,
                "list_cost",
                "-inf is not a finite number",
                r#""ListCost":"-inf""#,
            ),
        ],
    );
    let amounts = rows(
        &shop,
        "select raw_billed from quarantine where kind = 'charges' order by file, \"row\"",
    );
    assert_eq!(amounts[0]["raw_billed"], "NaN");
    assert_eq!(amounts[5]["raw_billed"], "inf");
    assert_eq!(
        rows(
            &shop,
            "select cast(count(*) + 8 as bigint) as n from charges"
        )[0]["n"],
        whole
    );
    // The bill ties without them, and what they come to is not guessed.
    reconciles(&shop);
    assert_eq!(
        rows(
            &shop,
            "select rows, billed, effective from reconciliation where line = 'quarantined'"
        ),
        [serde_json::json!({"rows": 8})]
    );
}

#[test]
fn a_charge_in_a_currency_that_is_none_is_in_no_total() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let batch = with_text(&batch, "BillingCurrency", 5, "XXQ");
        with_text(&batch, "BillingCurrency", 6, "usd")
    });
    let says = [
        NORTH,
        "column billing_currency \"XXQ\" is no ISO 4217 currency code",
        "row 5)",
    ];
    refused(&shop, Kind::Check, &says, "deliver the file corrected");
    shop.edit(
        "name = \"cloud-bills\"",
        "name = \"cloud-bills\"\nmax_rejected = 0.1",
    );
    let out = night(&shop);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let file = "northcloud/billing_period=2026-10/part-00000.parquet";
    quarantined(
        &shop,
        "cloud-bills",
        &[file],
        &[
            (
                file,
                5,
                "billing_currency",
                "\"XXQ\"",
                r#""BillingCurrency":"XXQ""#,
            ),
            (
                file,
                6,
                "billing_currency",
                "\"usd\"",
                r#""BillingCurrency":"usd""#,
            ),
        ],
    );
    reconciles(&shop);
    none(
        &shop,
        "select * from charges where billing_currency <> 'USD'",
    );
    // Its amount is kept, under the word that it came with.
    let kept = rows(
        &shop,
        "select currency, rows from reconciliation where line = 'quarantined' and billed is not null order by currency",
    );
    assert_eq!(
        kept,
        ["XXQ", "usd"].map(|c| serde_json::json!({"currency": c, "rows": 1}))
    );
    assert!(
        text(&out.stdout).contains("XXQ  nothing billed"),
        "{}",
        text(&out.stdout)
    );
    let page = fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(page.contains("1\u{a0}charge whose currency cannot be read"));
}

#[test]
fn two_currencies_in_one_bill_are_never_added() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let codes = (0..batch.num_rows()).map(|i| if i % 3 == 0 { "EUR" } else { "USD" });
        let codes: ArrayRef = Arc::new(StringArray::from_iter_values(codes));
        with_column(&batch, "BillingCurrency", codes)
    });
    let out = night(&shop);
    assert!(out.status.success(), "{}", text(&out.stderr));
    reconciles(&shop);
    let by_currency = |table: &str, currency: &str, billed: &str, effective: &str, only: &str| {
        rows(
            &shop,
            &format!(
                "select {currency} as currency, cast(sum({billed}) as varchar) as billed,
                    cast(sum({effective}) as varchar) as effective
                 from {table} where {only} group by {currency} order by 1"
            ),
        )
    };
    let charged = by_currency(
        "charges",
        "billing_currency",
        "billed_cost",
        "effective_cost",
        "true",
    );
    let codes: Vec<&str> = charged
        .iter()
        .map(|r| r["currency"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["EUR", "USD"]);
    let bill = "basis = 'usage' and line = 'bill'";
    let parts = "basis = 'allocation' and line in ('attributed', 'idle', 'unallocated')";
    for (table, billed, effective, only) in [
        ("allocations", "billed", "effective", "true"),
        ("allocations", "billed", "effective", "basis = 'usage'"),
        ("reconciliation", "billed", "effective", bill),
        ("reconciliation", "billed", "effective", parts),
        ("model_costs", "usage_billed", "usage_effective", "true"),
        (
            "model_costs",
            "allocation_billed",
            "allocation_effective",
            "true",
        ),
    ] {
        let found = by_currency(table, "currency", billed, effective, only);
        assert_eq!(found, charged, "{table} where {only}");
    }
    none(
        &shop,
        "select * from allocations join charges on charges.row_id = allocations.row_id where currency <> billing_currency",
    );
    // Each recommendation has a cost in either currency.
    none(
        &shop,
        "select request_id, item_id, model_id from recommendation_costs where model_id = 'home-als'
         group by request_id, item_id, model_id having count(distinct currency) <> 2 or count(*) <> 2",
    );
    let summary = text(&out.stdout);
    for code in codes {
        assert!(summary.contains(&format!("{code}  billed ")), "{summary}");
    }
}

#[test]
fn a_mistake_in_the_pipeline_file_is_shown_with_what_was_meant() {
    let shop = published();
    let good = fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let mistake = |from: &str, to: &str, says: &[&str], remedy: &str| {
        shop.edit(from, to);
        refused(&shop, Kind::Config, says, remedy);
        fs::write(shop.file("pipeline.toml"), &good).unwrap();
    };
    mistake(
        "history_days",
        "histroy_days",
        &["pipeline.toml", "unknown field `histroy_days`"],
        "did you mean `history_days`?",
    );
    mistake(
        "history_days = 30",
        "history_days = 4000000000",
        &["pipeline.toml: `[run] history_days` must be between 1 and 36,500"],
        "",
    );
    mistake(
        FIRST_LINE,
        "name = \"Example shop\"\nwarehose = \"w\"",
        &["pipeline.toml", "unknown field `warehose`"],
        "did you mean `warehouse`?",
    );
    mistake(
        "alpha = 10.0",
        "alhpa = 10.0",
        &["pipeline.toml: model `home-als`: unknown field `alhpa`"],
        "did you mean `alpha`?",
    );
    mistake(
        "family = \"popular\"",
        "family = \"popluar\"",
        &["pipeline.toml", "popluar"],
        "did you mean `popular`?",
    );
    mistake(
        "dialect = \"focus\"",
        "dialect = \"focsu\"",
        &["source `cloud-bills`: there is no dialect `focsu` for charges"],
        "did you mean `focus`? known: aws_cur2, azure_actual, azure_amortized, fixed_assets, focus, gcp_detailed, timesheet; a dialect of your own is one file sql/sources/charges/focsu.sql",
    );
    mistake(
        "[report]",
        "[[attribution.rules]]\nname = \"platform\"\ntarget = \"model\"\nmodel = \"home-asl\"\n[report]",
        &[
            "pipeline.toml: rule \"platform\": \"home-asl\" is not a model or cost pool of this pipeline; did you mean \"home-als\"?",
        ],
        "known_models",
    );
    // The same with the place in the file, as a person sees it.
    shop.edit("history_days", "histroy_days");
    let shown = text(&shop.run().stderr);
    assert!(shown.contains("histroy_days = 30"), "{shown}");
}

#[test]
fn a_driver_without_weights_leaves_the_charge_unallocated_and_the_bill_whole() {
    let shop = published();
    let driver = |weight: &str| {
        let dir = shop.file("sql/attribution/drivers");
        fs::create_dir_all(&dir).unwrap();
        let sql = format!(
            "select cast(null as varchar) as resource_id, usage_start as period_start, usage_end as period_end,
                model_id, model_version, stage, {weight} as weight from usage"
        );
        fs::write(dir.join("tickets.sql"), sql).unwrap();
    };
    shop.edit(
        "[report]",
        "[[attribution.rules]]\nname = \"by tickets\"\nmatch = { invoice_issuer_name = \"eastgrid\", charge_category = \"Usage\" }\n\
         target = \"pool\"\ndriver = \"tickets\"\n[report]",
    );
    driver("-1");
    refused(
        &shop,
        Kind::Check,
        &[
            "sql/attribution/drivers/tickets.sql",
            "the driver gives the weight -1; weights are not negative",
        ],
        "",
    );
    driver("0");
    run_ok(&shop);
    reconciles(&shop);
    let found = rows(
        &shop,
        "select target, reason, count(distinct row_id) as rows, cast(sum(billed) as varchar) as billed
         from allocations where rule = 'by tickets' group by target, reason",
    );
    let charged = rows(
        &shop,
        "select 'unallocated' as target, 'no_driver' as reason, count(*) as rows, cast(sum(billed_cost) as varchar) as billed
         from charges where invoice_issuer_name = 'eastgrid' and charge_category = 'Usage'",
    );
    assert_eq!(found, charged);
    assert!(found[0]["rows"].as_u64().unwrap() > 10, "{found:?}");
}

#[test]
fn a_day_that_is_none_is_told_from_one_that_is() {
    let shop = published();
    let before = shop.published();
    for day in ["2026-02-30", "31.10.2026", "yesterday", "2026-10-31T00:00"] {
        let out = shop.recost(&["run", "pipeline.toml", "--date", day]);
        let log = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{log}");
        let says = format!("`{day}` is no day; write it as 2026-10-31");
        assert!(log.contains("--date") && log.contains(&says), "{log}");
    }
    for day in ["+262142-12-31", "1999-12-31"] {
        let out = shop.recost(&["plan", "pipeline.toml", "--date", day]);
        let log = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{log}");
        assert!(
            log.contains("is not between the years 2000 and 2100"),
            "{log}"
        );
    }
    assert_eq!(before, shop.published());

    shop.edit(
        "exports/users/ds={date}/*.parquet",
        "exports/users/ds={date}/*",
    );
    to_csv(&shop.file(USERS), |batch| {
        let mut batch = with_text(&batch, "signup_date", 1, "2025-12-31 00:00:00");
        for (row, value) in [
            (3, "31.12.2025"),
            (4, "2025-02-30"),
            (5, "2025-12-3131"),
            (6, "soon"),
        ] {
            batch = with_text(&batch, "signup_date", row, value);
        }
        batch
    });
    let users = "name = \"customers\"";
    shop.edit(users, &format!("{users}\nmax_rejected = 0.0005"));
    refused(
        &shop,
        Kind::Check,
        &[
            "source `customers`, 2026-10-31: 4 of 2000 rows are wrong, and at most 1 may be",
            "column signup_date \"31.12.2025\" is not a date such as 2026-11-23",
            "exports/users/ds=2026-10-31/part-00000.csv row 3)",
        ],
        "deliver the file corrected",
    );
    shop.edit("max_rejected = 0.0005", "max_rejected = 0.01");
    run_ok(&shop);
    let file = "ds=2026-10-31/part-00000.csv";
    quarantined(
        &shop,
        "customers",
        &[file],
        &[
            (file, 3, "signup_date", "\"31.12.2025\"", "31.12.2025"),
            (file, 4, "signup_date", "\"2025-02-30\"", "2025-02-30"),
            (file, 5, "signup_date", "\"2025-12-3131\"", "2025-12-3131"),
            (file, 6, "signup_date", "\"soon\"", "soon"),
        ],
    );
    assert_eq!(
        rows(
            &shop,
            "select count(*) as n, sum(cast(signup_date = date '2025-12-31' as int)) >= 1 as with_time
             from users where ds = date '2026-10-31'"
        ),
        [serde_json::json!({"n": 1996, "with_time": true})]
    );
}

#[test]
fn a_charge_period_far_outside_of_time_is_set_aside() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let far = Arc::new(
            TimestampMicrosecondArray::from(vec![253_402_300_799_000_000]).with_timezone("UTC"),
        );
        with_value(&batch, "ChargePeriodEnd", 7, far)
    });
    refused(
        &shop,
        Kind::Check,
        &[
            NORTH,
            "row 7)",
            "column charge_period_end is not between the years 2000 and 2100",
        ],
        "deliver the file corrected",
    );
}

/// Tests may run as root, who may write anywhere: a path below a regular file can be written by nobody.
#[test]
fn a_folder_that_cannot_be_written_is_said_before_the_work_begins() {
    let shop = published();
    fs::write(shop.file("blocked"), "a file").unwrap();
    let good = fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let remedy = "name another path in the pipeline file";
    for (from, to, says) in [
        (
            "warehouse = \"warehouse\"",
            "warehouse = \"blocked/w\"",
            "blocked/w",
        ),
        (
            "warehouse = \"warehouse\"",
            "warehouse = \"blocked\"",
            "blocked",
        ),
        (
            "out = \"report\"",
            "out = \"blocked/report\"",
            "blocked/report",
        ),
        ("out = \"report\"", "out = \"blocked\"", "blocked"),
        (
            "# threads = 2",
            "spill = \"blocked/spill\" #",
            "blocked/spill",
        ),
    ] {
        shop.edit(from, to);
        refused(&shop, Kind::Config, &[says], remedy);
        fs::write(shop.file("pipeline.toml"), &good).unwrap();
    }
    let out = shop.recost(&["report", "pipeline.toml", "--out", "blocked/report"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

#[test]
fn a_user_id_of_any_characters_and_length_comes_through_whole_and_is_in_no_log() {
    let shop = published();
    // Quotes, line ends, a comma, markup, letters beyond ASCII, and 10 kB of them.
    let odd = "o'\"\r\n;,<script>&é漢\t\\ ";
    let monster = format!("x{}", odd.repeat(10_240 / odd.len() + 1));
    let newcomer = format!("y{monster}");
    let batch = read(&shop.file(EVENTS));
    let mut added = views(&batch, &[&monster], &["i000001", "i000002", "i000003"]);
    // One of its rows is wrong, and is kept with the id.
    added = with_value(&added, "rank", 3, Arc::new(Int64Array::from(vec![0])));
    write(&shop.file(EVENTS), &append(&batch, &added));
    change(&shop.file(USERS), |batch| {
        let first = with_text(&batch.slice(0, 1), "user_id", 1, &monster);
        let second = with_text(&batch.slice(1, 1), "user_id", 1, &newcomer);
        append(&append(&batch, &first), &second)
    });
    // The report shows no users; the longest texts that it does show are names in the bill.
    change(&shop.file(EAST), |batch| {
        rows_with(&batch, "ResourceId", "vm-office-wiki")
            .into_iter()
            .fold(batch, |batch, row| {
                with_text(&batch, "ResourceId", row + 1, &monster)
            })
    });
    let out = Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(["run", "pipeline.toml", "--date", NIGHT, "--device", "cpu"])
        .current_dir(shop.path())
        .env("RECOST_LOG", "recost=trace")
        .output()
        .unwrap();
    let log = text(&out.stderr) + &text(&out.stdout);
    assert!(out.status.success(), "{log}");

    let has = |table: &str, id: &str| {
        let sql = format!("select distinct user_id from {table} where length(user_id) > 1000");
        let found = rows(&shop, &sql);
        let found: Vec<&str> = found
            .iter()
            .map(|r| r["user_id"].as_str().unwrap())
            .collect();
        assert!(found.contains(&id), "{table}");
    };
    for table in [
        "events",
        "users",
        "sessions",
        "interactions",
        "user_features",
        "user_factors",
        "recommendations",
    ] {
        has(table, &monster);
    }
    has("recommendations", &newcomer);
    let out = shop.recost(&[
        "sql",
        "pipeline.toml",
        "select user_id, count(*) from recommendations where model_id = 'home-als' and length(user_id) > 1000
         group by user_id order by user_id",
        "--format",
        "csv",
    ]);
    let lists: Vec<(String, usize)> = csv::Reader::from_reader(out.stdout.as_slice())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lists, [(monster.clone(), 50), (newcomer.clone(), 50)]);
    let raw = rows(
        &shop,
        "select raw from quarantine where \"column\" = 'rank' and ds = date '2026-10-31'",
    );
    let raw: Value = serde_json::from_str(raw[0]["raw"].as_str().unwrap()).unwrap();
    assert_eq!(raw["user_id"], monster.as_str());

    let file = shop.file("report/csv/idle_and_unallocated.csv");
    let resources: Vec<csv::StringRecord> = csv::Reader::from_path(file)
        .unwrap()
        .records()
        .map(Result::unwrap)
        .collect();
    assert!(
        resources
            .iter()
            .any(|r| r.iter().any(|cell| cell == monster))
    );
    let page = fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(page.contains("xo&#39;&quot;") && !page.contains("<script>&"));

    // Not whole and not in part, neither on the terminal nor in the ledger of runs.
    let messages: Vec<Value> = rows(&shop, "select message from runs");
    let messages: String = messages.iter().map(ToString::to_string).collect();
    for place in [log, messages] {
        assert!(!place.contains("<script>") && !place.contains("é漢"));
    }
}

#[test]
fn an_item_that_the_catalogue_lacks_is_kept_and_not_recommended() {
    let shop = published();
    let batch = read(&shop.file(EVENTS));
    let ids: Vec<String> = (0..400).map(|n| format!("u{n:07}")).collect();
    let users: Vec<&str> = ids.iter().map(String::as_str).collect();
    let added = views(&batch, &users, &["sold-out"]);
    write(&shop.file(EVENTS), &append(&batch, &added));
    run_ok(&shop);
    let count = |table: &str| {
        let sql = format!("select count(*) as n from {table} where item_id = 'sold-out'");
        rows(&shop, &sql)[0]["n"].as_u64().unwrap()
    };
    assert_eq!(count("events"), 400);
    assert_eq!(count("interactions"), 400);
    assert_eq!(count("item_factors"), 2);
    assert_eq!(
        rows(
            &shop,
            "select in_catalogue from item_features where item_id = 'sold-out' and ds = date '2026-10-31'"
        ),
        [serde_json::json!({"in_catalogue": false})]
    );
    assert_eq!(count("recommendations"), 0);
    none(
        &shop,
        "select * from recommendations where ds = date '2026-10-31' and item_id not in
            (select item_id from items where ds = date '2026-10-31')",
    );
    // It is popular: only the catalogue kept it out.
    shop.edit("available_only = true", "available_only = false");
    run_ok(&shop);
    assert!(count("recommendations") > 1000);
}

#[test]
fn tags_that_are_no_json_stop_the_run_and_are_named() {
    let shop = published();
    refused_with(
        &shop,
        NORTH,
        |path| {
            change(path, |batch| {
                let batch = with_type(&batch, "Tags", &DataType::Utf8);
                let batch = with_text(&batch, "Tags", 1, "team=reco");
                with_text(&batch, "Tags", 2, "{\"team\": ")
            });
        },
        Kind::Check,
        &[
            "2 of",
            "column tags",
            "\"team=reco\" is no JSON object",
            "row 1",
        ],
        "deliver the file corrected",
    );
}

#[test]
fn a_manifest_that_is_none_or_names_what_is_not_there_leaves_the_bill_that_was_there() {
    let shop = published();
    let manifest = "exports/billing/{period}.json";
    shop.edit(
        "dialect = \"focus\"                # FOCUS",
        &format!("dialect = \"focus\"\nmanifest = \"{manifest}\" # FOCUS"),
    );
    let north = "northcloud/billing_period=2026-10/part-00000.parquet";
    let east = "eastgrid/billing_period=2026-10/part-00000.parquet";
    let good = format!("{{\"files\": [\"{north}\", \"{east}\"]}}");
    let file = shop.file("exports/billing/2026-10.json");
    // What lies there is the bill that was published, whatever its manifest.
    run_ok(&shop);
    let before = shop.query("select count(*), sum(billed_cost) from charges");
    none(&shop, "select * from deliveries where status <> 'active'");

    change(&shop.file(NORTH), |batch| {
        let more = batch.slice(0, 1);
        append(&batch, &more)
    });
    for (text, says) in [
        ("", "is empty"),
        ("{\"files\": []}", "names no file"),
        ("{\"files\": [\"nort", "is no JSON"),
        (
            &good.replace("eastgrid", "westgrid"),
            "names westgrid/billing_period=2026-10/part-00000.parquet, and no such file is there",
        ),
        (&good.replace(east, north), "twice"),
        (
            &good.replace("}", ", \"rows\": 7}"),
            "states 7 rows, and the files hold",
        ),
        (
            &good.replace("}", ", \"billing_period\": \"2026-09\"}"),
            "is for 2026-09",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let out = night(&shop);
        assert!(out.status.success(), "{}", text_of(&out));
        assert!(
            text_of(&out)
                .contains("a delivery is not complete and does not count; the one before it stays"),
            "{}",
            text_of(&out)
        );
        let reasons = rows(
            &shop,
            "select reason from deliveries where status = 'incomplete'",
        );
        assert_eq!(reasons.len(), 1);
        let reason = reasons[0]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{says:?} is not in: {reason}");
        assert_eq!(
            shop.query("select count(*), sum(billed_cost) from charges"),
            before
        );
    }
    fs::write(&file, good).unwrap();
    run_ok(&shop);
    none(
        &shop,
        "select * from deliveries where status = 'incomplete'",
    );
    assert_ne!(
        shop.query("select count(*), sum(billed_cost) from charges"),
        before
    );
    reconciles(&shop);
}

#[test]
fn keys_of_a_source_that_do_not_go_together_are_named() {
    let shop = published();
    let bill = "dialect = \"focus\"                # FOCUS";
    for (more, says) in [
        (
            "interval = \"month\"",
            "`interval` is for a path without {date} and {period}",
        ),
        (
            "manifest = \"manifest.json\"",
            "{period} must be in both `path` and `manifest`",
        ),
        (
            "manifest = \"s3://bucket/{period}.json\"",
            "is on an object store",
        ),
        ("export = \"add\"", "unknown variant `add`"),
        ("interval = \"week\"", "unknown variant `week`"),
    ] {
        shop.edit(bill, &format!("dialect = \"focus\"\n{more} # FOCUS"));
        refused(&shop, Kind::Config, &[says], "");
        shop.edit(&format!("dialect = \"focus\"\n{more} # FOCUS"), bill);
    }
    shop.edit(FIRST_LINE, &format!("{FIRST_LINE}\n"));
    let events = "kind = \"events\"";
    shop.edit(events, "kind = \"events\"\nexport = \"append\"");
    refused(
        &shop,
        Kind::Config,
        &["`export` is for sources of the kind charges"],
        "",
    );
}

/// Adds a source of charges that reads `ledger.csv`.
fn with_ledger(shop: &Shop, dialect: &str, more: &str) {
    let path = shop.file("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    let source = format!(
        "\n[[sources]]\nname = \"own\"\nkind = \"charges\"\npath = \"ledger.csv\"\ndialect = \"{dialect}\"\n{more}\n"
    );
    fs::write(path, text + &source).unwrap();
}

#[test]
fn a_timesheet_that_cannot_be_costed_stops_the_run() {
    let shop = published();
    with_ledger(&shop, "timesheet", "");
    let head = "day,person,hours,hourly_rate,currency";
    for (line, says) in [
        ("2026-10-05,Ada,-2,80,EUR", "column hours is negative: -2"),
        (
            "2026-10-05,Ada,2,,EUR",
            "column hourly_rate is missing, and so is cost",
        ),
        (
            "2026-10-05,Ada,,80,EUR",
            "column hours is missing, and so are minutes and cost",
        ),
        (
            "2026-10-05,Ada,two,80,EUR",
            "column hours is no number: two",
        ),
        ("2026-10-05,Ada,2,80,euro", "column billing_currency"),
        ("2026-10-32,Ada,2,80,EUR", "column day is no day"),
    ] {
        fs::write(
            shop.file("ledger.csv"),
            format!("{head}\n2026-10-04,Eve,1,80,EUR\n{line}\n"),
        )
        .unwrap();
        refused(
            &shop,
            Kind::Check,
            &["source `own`", "1 of 2 rows", says, "ledger.csv row 2"],
            "deliver the file corrected",
        );
    }
    // Nobody's name is in what is said.
    let out = night(&shop);
    assert!(!text_of(&out).contains("Ada"), "{}", text_of(&out));
    // Where it may be, the line is kept apart and the others count.
    shop.edit(
        "dialect = \"timesheet\"",
        "dialect = \"timesheet\"\nmax_rejected = 0.5",
    );
    run_ok(&shop);
    quarantined(
        &shop,
        "own",
        &["ledger.csv"],
        &[("ledger.csv", 2, "day", "is no day", "2026-10-32")],
    );
    reconciles(&shop);
}

#[test]
fn an_asset_that_cannot_be_depreciated_stops_the_run() {
    let shop = published();
    with_ledger(&shop, "fixed_assets", "interval = \"month\"");
    let head = "asset_id,acquisition_cost,residual_value,in_service,useful_life_months,currency";
    for (line, says) in [
        (
            "gpu-2,1000,,2026-10-01,0,EUR",
            "column useful_life_months is less than one",
        ),
        (
            "gpu-2,1000,,2026-10-01,2.5,EUR",
            "column useful_life_months is no whole number",
        ),
        (
            "gpu-2,-1000,,2026-10-01,12,EUR",
            "column acquisition_cost is negative",
        ),
        (
            "gpu-2,1000,1001,2026-10-01,12,EUR",
            "column residual_value is more than acquisition_cost",
        ),
        (
            "gpu-2,1000,,01.10.2026,12,EUR",
            "column in_service is no day",
        ),
        (",1000,,2026-10-01,12,EUR", "column asset_id is missing"),
    ] {
        fs::write(
            shop.file("ledger.csv"),
            format!("{head}\ngpu-1,10,,2026-10-01,1,EUR\n{line}\n"),
        )
        .unwrap();
        refused(
            &shop,
            Kind::Check,
            &["source `own`", "1 of 2 rows", says, "ledger.csv row 2"],
            "deliver the file corrected",
        );
    }
    let twice = format!("{head}\ngpu-1,10,,2026-10-01,1,EUR\ngpu-1,10,,2026-10-01,1,EUR\n");
    fs::write(shop.file("ledger.csv"), twice).unwrap();
    refused(
        &shop,
        Kind::Check,
        &["2 of 2 rows", "column asset_id is there twice: gpu-1"],
        "deliver the file corrected",
    );
}

/// What a run said.
fn text_of(out: &Output) -> String {
    text(&out.stdout) + &text(&out.stderr)
}

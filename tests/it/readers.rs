//! Other engines read the published tables while hundreds of snapshots are published.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use crate::billing::Bills;
use crate::shop::{NIGHT, parquet, python, text};
use crate::store::Machine;
use crate::stores::{Kind as StoreKind, Server};

const PUBLISHES: i64 = 300;

/// A table's file with rows of `run` that add up to `amount`.
fn file(run: i64, amount: i64) -> Vec<u8> {
    let rows = 1 + run % 7;
    let amounts = (0..rows).map(|n| if n == 0 { amount - (rows - 1) } else { 1 });
    let batch = RecordBatch::try_from_iter([
        (
            "run",
            Arc::new(Int64Array::from(vec![run; rows as usize])) as _,
        ),
        (
            "amount",
            Arc::new(Int64Array::from_iter_values(amounts)) as _,
        ),
    ])
    .unwrap();
    parquet(&batch)
}

#[test]
fn a_query_sees_one_run_however_often_others_are_published() {
    let machine = Machine::new("keep_for = \"1h\"\n");
    let publish = |run: i64| {
        let files = [
            ("charges/billing_period=2026-10/part-0.parquet", 600),
            ("charges/billing_period=2026-11/part-0.parquet", 400),
            ("allocations/billing_period=2026-10/part-0.parquet", 100),
            ("allocations/billing_period=2026-11/part-0.parquet", 350),
            ("allocations/billing_period=2026-12/part-0.parquet", 550),
        ];
        let files = files.map(|(name, share)| (name.to_string(), share));
        // A new partition now and then, and a second file that comes and stays.
        let months = (1..=run / 25).map(|n| {
            let name = format!("allocations/billing_period=2027-{n:02}/part-0.parquet");
            (name, 0)
        });
        let second = "charges/billing_period=2026-11/part-1.parquet";
        let second = (run > PUBLISHES / 3).then(|| (second.to_string(), 0));
        let files: Vec<_> = files.into_iter().chain(months).chain(second).collect();
        let files = files.into_iter();
        let files: Vec<_> = files
            .map(|(name, share)| (name, file(run, run * share)))
            .collect();
        let files = files.iter();
        let files: Vec<_> = files
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        machine.publish(&files).unwrap();
    };
    publish(1);
    let root = machine.file("").canonicalize().unwrap();
    let publishes = (2..=PUBLISHES).map(|run| {
        publish(run);
        std::thread::sleep(std::time::Duration::from_millis(10));
    });
    let counts = read_while(&root, &["run,amount", "run,amount"], publishes);
    println!("{counts}");
}

/// Nights whose bill is another each time, which also go to a store.
const RUNS: i64 = 25;

#[test]
fn queries_of_folder_and_store_see_one_run_while_nights_run() {
    let store = Server::start(StoreKind::S3);
    let bills = Bills::new(&[]);
    let pipeline = std::fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    let kept = pipeline.replace("[run]\n", "[run]\nkeep_snapshots = 2\nkeep_for = \"1h\"\n");
    assert_ne!(kept, pipeline);
    bills.put("pipeline.toml", &(kept + &store.config("5s")));
    let run = |run: i64| {
        // A thousand charges of two months, each of as much as there were runs.
        let charge = |n: i64| {
            let (month, next) = if n % 5 == 0 {
                ("09", "10")
            } else {
                ("10", "11")
            };
            let day = n % 28 + 1;
            format!(
                "USD,2026-{month}-01,2026-{next}-01,2026-{month}-{day:02},2026-{month}-{day:02}T12:00:00Z,Usage,Cloud,r-{n},{run},{run},"
            )
        };
        bills.deliver(&(0..1000).map(charge).collect::<Vec<_>>());
        bills.run_ok(NIGHT);
    };
    run(1);
    let root = bills.path().join("warehouse").canonicalize().unwrap();
    let (endpoint, url) = (store.endpoint(), store.url());
    let columns = ["effective,effective", "effective_cost,effective_cost"];
    let told = [columns[0], columns[1], &endpoint, url];
    let counts = read_while(&root, &told, (2..=RUNS).map(run));
    println!("{counts}");
}

/// Has other engines read a warehouse, as `readers.py` is told to, while it is published again and again. Gives what they counted.
fn read_while(
    root: &Path,
    told: &[&str],
    publishes: impl Iterator<Item = ()>,
) -> serde_json::Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/readers.py");
    let read = std::thread::scope(|scope| {
        let told = [&[script, root.to_str().unwrap()], told].concat();
        let reading = scope.spawn(move || python(root, &told));
        for () in publishes {
            if reading.is_finished() {
                break;
            }
        }
        std::fs::write(root.join("stop"), "").unwrap();
        reading.join().unwrap()
    });
    let Some(read) = read else {
        return serde_json::Value::Null;
    };
    assert!(read.status.success(), "{}", text(&read.stderr));
    let counts: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    for (way, count) in counts.as_object().unwrap() {
        let of = |what: &str| count[what].as_u64().unwrap();
        assert_eq!(of("torn"), 0, "{way}: {counts}");
        assert!(of("one run") > 0, "{way}: {counts}");
        // DuckDB asks for the kind of each file that it lists, by its path, and leaves out what is gone by then.
        let may_be_short = match way.as_str() {
            "duckdb, current" => 1 + of("one run") / 100,
            _ => 0,
        };
        assert!(of("short") <= may_be_short, "{way}: {counts}");
        if !way.ends_with("current") {
            assert_eq!(of("gone"), 0, "{way}: {counts}");
        }
    }
    counts
}

//! What must hold after a fault, and after the run that makes it good.
//!
//! Of a published snapshot every file is compared by its bytes and name, save what measures the time that computing took:
//! `models` (`seconds`, `scoring_seconds`) and `frontier` (`scoring_seconds_per_1000`) are compared without these columns,
//! and the rows that runs write about themselves into `usage` (files `recost-run.…`) by resource, model, version and stage.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recost::pipeline::ledger::{Ledger, Status};
use recost::warehouse::Warehouse;

use super::world::World;
use crate::shop::files_below;

/// A snapshot: each file's bytes as a hash, or its rows without the columns that measure time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables(BTreeMap<String, Vec<String>>);

impl Tables {
    /// Of what the warehouse in `root` publishes; nothing before the first night.
    pub fn of(root: &Path) -> Self {
        let mut tables = BTreeMap::new();
        let Ok(dir) = root.join("current").canonicalize() else {
            return Tables(tables);
        };
        for (name, path) in files_below(&dir) {
            let path = path.as_path();
            let table = name.split('/').next().unwrap();
            let (of, content) = if name.contains("/recost-run.") {
                let stage = name.rsplit('.').nth(2).unwrap();
                let timed = ["usage_start", "usage_end", "run_id", "cpu_ns", "gpu_ns"];
                (format!("usage/recost-run.{stage}"), rows(path, &timed))
            } else if ["models", "frontier"].contains(&table) && name.ends_with(".parquet") {
                let folder = path.parent().unwrap().strip_prefix(&dir).unwrap();
                let timed = ["seconds", "scoring_seconds", "scoring_seconds_per_1000"];
                (folder.display().to_string(), rows(path, &timed))
            } else {
                let bytes = std::fs::read(path).unwrap();
                let hash = xxhash_rust::xxh3::xxh3_128(&bytes);
                // What runs write of themselves may lie beside it, and names tell all of a folder.
                let name = match table {
                    "usage" => name.split(".x").next().unwrap().to_string(),
                    _ => name,
                };
                (name, vec![format!("{} bytes, {hash:032x}", bytes.len())])
            };
            let known: &mut Vec<String> = tables.entry(of).or_default();
            known.extend(content);
            known.sort();
        }
        Tables(tables)
    }

    /// Leaves out what runs write of themselves, where one more than of the twin's was done.
    pub fn without_own_use(mut self) -> Self {
        self.0
            .retain(|name, _| !name.starts_with("usage/recost-run."));
        self
    }

    /// Leaves out a table.
    pub fn without(mut self, table: &str) -> Self {
        self.0
            .retain(|name, _| name.split('/').next() != Some(table));
        self
    }
}

/// The rows of a file as text, without the columns `timed`.
fn rows(path: &Path, timed: &[&str]) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut rows = vec![];
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let schema = batch.schema();
        let shown = |n: usize| {
            let columns = schema.fields().iter().zip(batch.columns());
            let kept = columns.filter(|(field, _)| !timed.contains(&field.name().as_str()));
            let value = |column| arrow::util::display::array_value_to_string(column, n).unwrap();
            kept.map(|(field, column)| format!("{}={}", field.name(), value(column)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        rows.extend((0..batch.num_rows()).map(shown));
    }
    rows
}

/// Both are the same; where not, it is said in what.
pub fn same(wanted: &Tables, found: &Tables, fault: &str) {
    if wanted == found {
        return;
    }
    let names = wanted.0.keys().chain(found.0.keys());
    let mut differ: Vec<_> = names
        .filter(|name| wanted.0.get(*name) != found.0.get(*name))
        .map(|name| {
            format!(
                "{name}: {:?} became {:?}",
                wanted.0.get(name),
                found.0.get(name)
            )
        })
        .collect();
    differ.sort();
    differ.dedup();
    panic!(
        "after {fault} the tables are others:\n{}",
        differ.join("\n")
    );
}

/// The ledgers of a warehouse, oldest first.
pub fn ledgers(root: &Path) -> Vec<Ledger> {
    let mut paths = names(&root.join("runs"));
    paths.retain(|name| name.ends_with(".parquet"));
    let read = |name: &String| Ledger::read(&root.join("runs").join(name)).unwrap();
    paths.iter().map(read).collect()
}

/// How the whole run ended.
pub fn status(ledger: &Ledger) -> Status {
    ledger.entries[0].status
}

/// What every reader may count on at once after a fault in night `n`: tables of one run, those `before` or, where the pointer
/// has moved, `after`; and a ledger that does not say otherwise. Gives whether the night was published.
pub fn whole(
    world: &World,
    was: Option<&str>,
    before: &Tables,
    after: &Tables,
    fault: &str,
) -> bool {
    let now = world.current();
    let tables = Tables::of(&world.warehouse());
    let published = now.as_deref() != was;
    same(if published { after } else { before }, &tables, fault);
    let warehouse = Warehouse::new(world.warehouse());
    for ledger in ledgers(&world.warehouse()) {
        let is = status(&ledger);
        let alive = recost::pipeline::died::is_alive(&warehouse, &ledger.run_id);
        assert!(!alive, "after {fault} {} counts as alive", ledger.run_id);
        if Some(&ledger.run_id) == now.as_ref() {
            let said = [Status::Done, Status::Started].contains(&is);
            assert!(
                said,
                "after {fault} the published run is {is}: {:?}",
                ledger.entries[0].message
            );
        } else if published && Some(ledger.run_id.as_str()) == was {
            assert_eq!(is, Status::Done, "after {fault}");
        }
    }
    published
}

/// What a run that succeeded leaves: every run before it has ended and is told so, and there is nothing but what belongs there.
/// A snapshot that nothing points to stays for a day, so it is made a day old, and must be gone after the next run.
pub fn settled(world: &mut World, fault: &str) {
    let root = world.warehouse();
    for ledger in ledgers(&root) {
        for entry in &ledger.entries {
            assert_ne!(
                entry.status,
                Status::Started,
                "after {fault}: {}",
                ledger.run_id
            );
        }
    }
    let current = world.current().unwrap();
    let newest = ledgers(&root).pop().unwrap();
    assert_eq!(status(&newest), Status::Done, "after {fault}");

    let known = [
        "current",
        "current.json",
        "lock",
        "mirror",
        "repeats",
        "runs",
        "snapshots",
    ];
    let stray = |dir: PathBuf, belongs: &dyn Fn(&str) -> bool| {
        let mut stray = names(&dir);
        stray.retain(|name| !belongs(name));
        assert!(
            stray.is_empty(),
            "after {fault} in {}: {stray:?}",
            dir.display()
        );
    };
    stray(root.clone(), &|name| known.contains(&name));
    stray(root.join("runs"), &|name| name.ends_with(".parquet"));
    stray(root.join("repeats"), &|name| !name.contains('.'));
    stray(root.join("snapshots"), &|name| !name.contains('.'));
    stray(world.temp().to_path_buf(), &|_| false);

    let pointer = std::fs::read(root.join("current.json")).unwrap();
    let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
    assert_eq!(pointer["run"], current.as_str(), "after {fault}");
    let mut held = vec![current];
    let previous = pointer["previous"].as_array().unwrap();
    held.extend(
        previous
            .iter()
            .map(|p| p["run"].as_str().unwrap().to_string()),
    );
    let mut loose = names(&root.join("snapshots"));
    loose.retain(|name| !held.contains(name));
    let stayed: Vec<_> = loose
        .iter()
        .filter(|name| world.aged.contains(name))
        .collect();
    assert!(
        stayed.is_empty(),
        "after {fault} a day-old snapshot stays: {stayed:?}"
    );
    for name in &loose {
        let dir = File::open(root.join("snapshots").join(name)).unwrap();
        dir.set_modified(world.now() - Duration::from_secs(25 * 60 * 60))
            .unwrap();
    }
    world.aged = loose;
}

/// The names in a folder, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return vec![];
    };
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

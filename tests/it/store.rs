//! Publishing to a store: what lies there, what is sent and fetched, who may publish, and what becomes of each fault.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::row::{RowConverter, SortField};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use recost::config::Pipeline;
use recost::error::{Error, Kind, Result};
use recost::warehouse::Warehouse;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::shop::{NIGHT, RUN, Shop, parquet, tables_below, text};
use crate::stores::{Fault, Kind as StoreKind, Request, Server};

/// A machine that publishes: a folder of its own.
pub struct Machine {
    dir: TempDir,
    pipeline: Pipeline,
    warehouse: Warehouse,
}

/// What a machine publishes: files below a snapshot.
pub type Files<'a> = &'a [(&'a str, &'a [u8])];

impl Machine {
    pub fn new(config: &str) -> Self {
        // In memory: hundreds of publishes wait for a disk otherwise.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::new_in(memory)
        } else {
            TempDir::new()
        };
        let dir = dir.unwrap();
        let text = format!("name = \"shop\"\n[run]\nkeep_snapshots = 1\n{config}");
        let pipeline = Pipeline::parse(&text, &dir.path().join("pipeline.toml")).unwrap();
        let warehouse = Warehouse::of(&pipeline).unwrap();
        Machine {
            dir,
            pipeline,
            warehouse,
        }
    }

    fn warehouse(&self) -> Warehouse {
        self.warehouse.clone()
    }

    /// Publishes what is published with some files replaced.
    pub fn publish(&self, files: Files<'_>) -> Result<String> {
        self.publish_after(files, || {})
    }

    /// The same; `meanwhile` happens when the files are staged.
    fn publish_after(&self, files: Files<'_>, meanwhile: impl FnOnce()) -> Result<String> {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let run = format!("run-{:06}", RUNS.fetch_add(1, Ordering::Relaxed));
        let warehouse = self.warehouse();
        let lock = warehouse.lock("a test since today")?;
        let staging = warehouse.stage(&run, &lock)?;
        for (name, bytes) in files {
            write(&staging.dir().join(name), bytes);
        }
        meanwhile();
        staging.publish(self.pipeline.run.keep())?;
        Ok(run)
    }

    /// Brings folder and store together and does nothing else.
    fn sync(&self) -> Result<()> {
        self.warehouse().lock("a test since today").map(drop)
    }

    pub fn file(&self, below: &str) -> PathBuf {
        self.dir.path().join("warehouse").join(below)
    }

    /// The published files with their bytes.
    fn published(&self) -> Vec<(String, Vec<u8>)> {
        let root = self.file("current").canonicalize().unwrap();
        tables_below(&root)
    }

    fn snapshots(&self) -> usize {
        std::fs::read_dir(self.file("snapshots")).unwrap().count()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // The file that is there is a link to a published one.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

const FIRST: Files<'static> = &[
    ("events/ds=2026-10-30/a.parquet", b"events of the 30th"),
    ("events/ds=2026-10-31/a.parquet", b"events of the 31st"),
    ("models/ds=2026-10-31/m%3.bin", b"a model"),
];
const CHANGED: Files<'static> = &[("events/ds=2026-10-31/a.parquet", b"late events as well")];

/// The published files of the store, having made sure that the pointer leads to a whole snapshot: each file of its manifest
/// is there with its length and hash, and nothing else is.
pub fn published_there(store: &Server) -> Option<Vec<(String, Vec<u8>)>> {
    let pointer = store.get("shop/current.json")?;
    let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
    let folder = format!("shop/{}", pointer["snapshot"].as_str().unwrap());
    let manifest = store.get(&format!("{folder}manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["run"], pointer["run"]);
    let mut files = vec![];
    for file in manifest["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        let key = format!("{folder}{}", path.replace('%', "%25"));
        let bytes = store
            .get(&key)
            .unwrap_or_else(|| panic!("{key} is missing"));
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(file["sha256"], hash, "{key}");
        assert_eq!(file["bytes"], bytes.len());
        files.push((path.to_string(), bytes));
    }
    let there = store
        .keys()
        .iter()
        .filter(|k| k.starts_with(&folder))
        .count();
    assert_eq!(there, files.len() + 1);
    files.retain(|(name, _)| name != "contracts.json");
    files.sort();
    Some(files)
}

/// Requests for files of snapshots by what they do: copies, writes, reads.
fn transfers(seen: &[Request]) -> (usize, usize, usize) {
    let files = seen
        .iter()
        .filter(|r| r.key.contains("/snapshots/") && r.key.contains("/ds="));
    files.fold((0, 0, 0), |(copies, writes, reads), r| {
        match r.method.as_str() {
            "PUT" if r.copies() => (copies + 1, writes, reads),
            "PUT" => (copies, writes + 1, reads),
            "GET" => (copies, writes, reads + 1),
            _ => (copies, writes, reads),
        }
    })
}

/// Has each test be one of its own for each kind of store.
macro_rules! in_every_store {
    ($($test:ident,)*) => {$(
        mod $test {
            use super::StoreKind;

            #[test]
            fn s3() {
                super::$test(StoreKind::S3);
            }

            #[test]
            fn gcs() {
                super::$test(StoreKind::Gcs);
            }

            #[test]
            fn azure() {
                super::$test(StoreKind::Azure);
            }
        }
    )*};
}

in_every_store! {
    what_is_published_lies_in_the_store_and_another_machine_fetches_what_it_lacks,
    whatever_goes_wrong_with_any_one_request_both_are_whole_and_the_next_run_succeeds,
    a_run_that_the_store_lets_down_leaves_all_as_it_was_and_the_next_publishes_it,
    one_machine_publishes_at_a_time_and_a_lease_that_was_lost_publishes_nothing,
    going_back_in_the_folder_goes_back_in_the_store_and_two_that_moved_apart_are_told,
    large_files_go_in_parts_and_what_arrives_damaged_is_not_published,
    what_nothing_points_to_is_removed_when_it_is_a_day_old_and_nothing_else_is,
    ledgers_that_were_put_together_take_the_place_of_those_of_their_runs_in_the_store_too,
    a_store_without_the_bucket_says_so,
    the_command_line_publishes_fetches_and_never_shows_the_secret,
}

fn what_is_published_lies_in_the_store_and_another_machine_fetches_what_it_lacks(kind: StoreKind) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("5s"));
    here.publish(FIRST).unwrap();
    assert_eq!(published_there(&store).unwrap(), here.published());
    assert_eq!(transfers(&store.seen()), (0, 3, 0));
    // What has not changed is copied there.
    write(&here.file("repeats/2026-10"), b"hashes");
    let second = here.publish(CHANGED).unwrap();
    assert_eq!(published_there(&store).unwrap(), here.published());
    assert_eq!(transfers(&store.seen()), (2, 1, 0));
    // A new machine begins with an empty folder.
    let there = Machine::new(&store.config("5s"));
    there.sync().unwrap();
    assert_eq!(there.published(), here.published());
    assert_eq!(there.warehouse().run(), Some(second));
    assert_eq!(
        std::fs::read(there.file("repeats/2026-10")).unwrap(),
        b"hashes"
    );
    assert_eq!(transfers(&store.seen()), (0, 0, 3));
    // It goes on from there, and the first one notices.
    let third = there
        .publish(&[("models/ds=2026-10-31/m%3.bin", b"a better one")])
        .unwrap();
    store.seen();
    here.sync().unwrap();
    assert_eq!(transfers(&store.seen()), (0, 0, 1));
    assert_eq!(here.warehouse().run(), Some(third));
    assert_eq!(here.published(), there.published());
    assert_eq!(published_there(&store).unwrap(), here.published());
    // One older snapshot is kept on each side.
    let folders: std::collections::BTreeSet<String> = store
        .keys()
        .iter()
        .filter_map(|k| {
            Some(
                k.strip_prefix("shop/snapshots/")?
                    .split('/')
                    .next()?
                    .to_string(),
            )
        })
        .collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert_eq!((here.snapshots(), there.snapshots()), (2, 2));
}

fn whatever_goes_wrong_with_any_one_request_both_are_whole_and_the_next_run_succeeds(
    kind: StoreKind,
) {
    let mut failed = 0;
    // What a lost answer does is looked at request by request, and of the rest enough to meet each kind of request.
    for (fault, step) in [
        (Fault::Unanswered, 1),
        (Fault::Status(503), 3),
        (Fault::Reset, 3),
        (Fault::Short, 3),
        (Fault::Status(429), 7),
        (Fault::Slow(100), 7),
    ] {
        let store = Server::start(kind);
        let here = Machine::new(&store.config("2s"));
        here.publish(FIRST).unwrap();
        for n in (0..).step_by(step) {
            let before = here.published();
            let mut count = 0;
            store.rule(move |_| {
                count += 1;
                (count == n + 1).then_some(fault)
            });
            store.seen();
            let content = format!("{fault:?} {n}");
            let files: Files<'_> = &[("events/ds=2026-10-31/a.parquet", content.as_bytes())];
            let done = here.publish(files);
            store.heal();
            let requests = store.seen().len();
            let there = published_there(&store).unwrap();
            match done {
                Ok(_) => assert_eq!(there, here.published()),
                Err(e) => {
                    failed += 1;
                    assert_eq!(e.kind(), Kind::Io, "{fault:?} {n}: {e}");
                    assert!(e.to_string().contains(store.url()), "{e}");
                    assert!(there == before || there.iter().any(|(_, b)| *b == content.as_bytes()));
                    assert!(here.published() == before || here.published() == there);
                }
            }
            here.sync().unwrap();
            assert_eq!(published_there(&store).unwrap(), here.published());
            if requests <= n {
                assert!(n > 15, "{requests}");
                break;
            }
        }
    }
    // The client goes on by itself after most of it.
    assert!(failed < 30, "{failed}");
}

fn a_run_that_the_store_lets_down_leaves_all_as_it_was_and_the_next_publishes_it(kind: StoreKind) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("1s"));
    here.publish(FIRST).unwrap();
    let before = here.published();
    for (name, dead) in [
        ("the files", "/ds=2026-10-31/"),
        ("the manifest", "manifest.json"),
        ("the pointer", "current.json"),
    ] {
        let content = name.as_bytes();
        let staged = here.publish_after(&[("events/ds=2026-10-31/a.parquet", content)], || {
            store.rule(move |r| {
                (r.method == "PUT" && r.key.contains(dead)).then_some(Fault::Status(503))
            });
        });
        let error = staged.unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{name}: {error}");
        assert!(
            error
                .remedy()
                .unwrap()
                .starts_with("run the same command again"),
            "{error:?}"
        );
        assert!(error.to_string().contains(store.url()), "{error}");
        let newest = &before.last().unwrap().1;
        assert_eq!(published_there(&store).unwrap(), here.published());
        assert_ne!(newest, content);
        assert!(
            !here.published().iter().any(|(_, bytes)| bytes == content),
            "{name}"
        );
        store.heal();
        here.sync().unwrap();
        assert!(
            here.published().iter().any(|(_, bytes)| bytes == content),
            "{name}"
        );
        assert_eq!(published_there(&store).unwrap(), here.published());
    }
}

fn one_machine_publishes_at_a_time_and_a_lease_that_was_lost_publishes_nothing(kind: StoreKind) {
    let store = Server::start(kind);
    let (here, there) = (
        Machine::new(&store.config("5s")),
        Machine::new(&store.config("5s")),
    );
    here.publish(FIRST).unwrap();
    let locked = |error: Error, said: &str| {
        assert_eq!(error.kind(), Kind::Locked, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    };
    let lost = here.publish_after(CHANGED, || {
        locked(there.sync().unwrap_err(), "a test since today since 20");
        // It dies, as far as can be seen.
        store.age("shop/lock", Duration::from_secs(300));
        there
            .publish(&[("events/ds=2026-10-30/a.parquet", b"from there")])
            .unwrap();
    });
    let said = format!("published to {} since this one began", store.url());
    locked(lost.unwrap_err(), &said);
    assert_eq!(published_there(&store).unwrap(), there.published());
    // It goes on from what the other published.
    here.sync().unwrap();
    assert_eq!(here.published(), there.published());
    here.publish(CHANGED).unwrap();
    there.sync().unwrap();
    assert_eq!(here.published(), there.published());
}

fn going_back_in_the_folder_goes_back_in_the_store_and_two_that_moved_apart_are_told(
    kind: StoreKind,
) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("5s"));
    let first = here.publish(FIRST).unwrap();
    let before = here.published();
    here.publish(CHANGED).unwrap();
    let point = |machine: &Machine, run: &str| {
        std::fs::remove_file(machine.file("current")).unwrap();
        std::os::unix::fs::symlink(format!("snapshots/{run}"), machine.file("current")).unwrap();
    };
    point(&here, &first);
    here.sync().unwrap();
    assert_eq!(published_there(&store).unwrap(), before);
    // Another machine publishes while this folder is pointed elsewhere.
    let there = Machine::new(&store.config("5s"));
    there.publish(CHANGED).unwrap();
    let other = std::fs::read_dir(here.file("snapshots")).unwrap();
    let mut other = other.map(|e| e.unwrap().file_name().into_string().unwrap());
    point(&here, &other.find(|name| *name != first).unwrap());
    let error = here.sync().unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(
        error
            .to_string()
            .contains("neither was made from the other"),
        "{error}"
    );
    assert_eq!(published_there(&store).unwrap(), there.published());
    // As the remedy says.
    std::fs::rename(here.file(""), here.dir.path().join("aside")).unwrap();
    here.sync().unwrap();
    assert_eq!(here.published(), there.published());
}

fn large_files_go_in_parts_and_what_arrives_damaged_is_not_published(kind: StoreKind) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("2s"));
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    here.publish(&[("models/ds=2026-10-31/large.bin", &large)])
        .unwrap();
    assert_eq!(published_there(&store).unwrap(), here.published());
    // An upload that fails at any of its parts leaves none that cost money, where the store can be told so.
    for failing in 1..=3 {
        let more = [large.as_slice(), &[failing]].concat();
        let dead = here.publish_after(&[("models/ds=2026-10-31/large.bin", &more)], || {
            let mut parts = 0;
            store.rule(move |r| {
                let part = r.method == "PUT" && r.key.ends_with("large.bin");
                parts += u8::from(part);
                (part && parts == failing).then_some(Fault::Status(400))
            });
        });
        assert!(dead.is_err());
        store.heal();
        if kind != StoreKind::Azure {
            assert_eq!(store.uploads(), 0, "part {failing}");
        }
        here.sync().unwrap();
        assert_eq!(store.uploads(), 0);
        assert_eq!(published_there(&store).unwrap(), here.published());
    }
    let there = Machine::new(&store.config("2s"));
    for fault in [Fault::Flipped, Fault::Short] {
        store.rule(move |r| (r.method == "GET" && r.key.ends_with("large.bin")).then_some(fault));
        let error = there.sync().unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(there.warehouse().run().is_none());
    }
    store.heal();
    there.sync().unwrap();
    assert_eq!(there.published(), here.published());
}

fn what_nothing_points_to_is_removed_when_it_is_a_day_old_and_nothing_else_is(kind: StoreKind) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("5s"));
    here.publish(FIRST).unwrap();
    for name in ["old", "young"] {
        store.put(
            &format!("shop/snapshots/{name}/events/ds=2026-10-31/a.parquet"),
            b"half",
        );
        write(&here.file(&format!("snapshots/{name}/x")), b"half");
    }
    let day = Duration::from_secs(25 * 60 * 60);
    // What is published is as old: age alone removes nothing.
    store.age("shop/snapshots/", day);
    store.put("shop/snapshots/young/b", b"half");
    let old = std::fs::File::open(here.file("snapshots/old")).unwrap();
    old.set_modified(std::time::SystemTime::now() - day)
        .unwrap();
    write(&here.file("current.json.new"), b"{");
    here.sync().unwrap();
    let keys = store.keys();
    assert!(!keys.iter().any(|k| k.contains("/old/")), "{keys:?}");
    assert_eq!(keys.iter().filter(|k| k.contains("/young/")).count(), 2);
    assert!(!here.file("snapshots/old").exists() && here.file("snapshots/young").exists());
    assert!(!here.file("current.json.new").exists());
    assert_eq!(published_there(&store).unwrap(), here.published());
}

/// A file that has the ids of runs.
fn ledger(ids: &[&str]) -> Vec<u8> {
    let ids: StringArray = ids.iter().map(|id| Some(*id)).collect();
    let batch = RecordBatch::try_from_iter([("run_id", Arc::new(ids) as ArrayRef)]).unwrap();
    parquet(&batch)
}

fn ledgers_that_were_put_together_take_the_place_of_those_of_their_runs_in_the_store_too(
    kind: StoreKind,
) {
    let store = Server::start(kind);
    let here = Machine::new(&store.config("5s"));
    let runs = ["20261001T031502123Z-7", "20261002T031502123Z-7"];
    let single = runs.map(|run| format!("runs/{run}.parquet"));
    for (file, run) in single.iter().zip(runs) {
        write(&here.file(file), &ledger(&[run]));
    }
    here.publish(FIRST).unwrap();
    let there = Machine::new(&store.config("5s"));
    there.sync().unwrap();
    let kept = || -> Vec<String> {
        let keys = store.keys().into_iter();
        keys.filter(|key| key.starts_with("shop/runs/")).collect()
    };
    assert_eq!(kept().len(), 2);
    assert!(there.file(&single[1]).exists());

    let whole = "runs/2026-10.parquet";
    write(&here.file(whole), &ledger(&runs));
    for file in &single {
        std::fs::remove_file(here.file(file)).unwrap();
    }
    // Another machine has one that this one never saw.
    let unseen = "runs/20261003T031502123Z-8.parquet";
    store.put(
        &format!("shop/{unseen}"),
        &ledger(&["20261003T031502123Z-8"]),
    );
    here.sync().unwrap();
    assert_eq!(kept(), [whole, unseen].map(|file| format!("shop/{file}")));
    assert!(!single.iter().any(|file| here.file(file).exists()));
    // They are neither fetched again nor sent again by who had them.
    there.sync().unwrap();
    let last = Machine::new(&store.config("5s"));
    last.sync().unwrap();
    assert_eq!(kept().len(), 2);
    for machine in [&here, &there, &last] {
        assert!(machine.file(whole).exists() && machine.file(unseen).exists());
    }
    assert!(!single.iter().any(|file| last.file(file).exists()));
}

#[test]
fn copies_that_a_store_does_in_its_own_time_are_waited_for() {
    let store = Server::start(StoreKind::Azure);
    let here = Machine::new(&store.config("5s"));
    here.publish(FIRST).unwrap();
    store.copies_take(2);
    store.seen();
    here.publish(CHANGED).unwrap();
    assert_eq!(transfers(&store.seen()), (2, 1, 0));
    assert_eq!(published_there(&store).unwrap(), here.published());
    // One that is never done leaves what is published.
    store.copies_take(usize::MAX);
    let here_too = Machine::new(&store.config("1s"));
    let error = here_too
        .publish(&[("events/ds=2026-10-31/a.parquet", b"later")])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
    assert!(
        error.to_string().contains("is not there as it was"),
        "{error}"
    );
    assert_eq!(published_there(&store).unwrap(), here.published());
    store.copies_take(0);
    here_too.sync().unwrap();
    assert_eq!(published_there(&store).unwrap(), here_too.published());
}

fn a_store_without_the_bucket_says_so(kind: StoreKind) {
    let store = Server::start(kind);
    store.rule(|_| Some(Fault::NoBucket));
    let error = Machine::new(&store.config("1s")).sync().unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.starts_with("make the bucket or container"),
        "{remedy}"
    );
}

#[test]
fn the_account_may_stand_in_the_url_and_a_password_may_not() {
    let store = Server::start(StoreKind::Azure);
    let with = |url: &str| store.config("1s").replace(store.url(), url);
    // As Hadoop and Spark write it.
    let long = with("abfss://bucket@account.dfs.core.windows.net/shop");
    let here = Machine::new(&long.replace("account_name = \"account\", ", ""));
    here.publish(FIRST).unwrap();
    assert_eq!(published_there(&store).unwrap(), here.published());
    for wrong in [
        "abfss://bucket:secret@account.dfs.core.windows.net/shop",
        "az://me@bucket/shop",
        "s3://me@bucket/shop",
        "az://bucket/shop?sig=secret",
    ] {
        let text = format!("name = \"shop\"\n{}", with(wrong));
        let pipeline = Pipeline::parse(&text, &here.file("pipeline.toml")).unwrap();
        let error = Warehouse::of(&pipeline).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_signature_that_azure_takes_in_urls_is_never_shown() {
    let store = Server::start(StoreKind::Azure);
    let dir = TempDir::new().unwrap();
    let config = store.signed("1s").replace("account_key", "sas_token");
    let written = format!("name = \"shop\"\n{config}");
    std::fs::write(dir.path().join("pipeline.toml"), written).unwrap();
    let other = Machine::new(&store.config("1s"));
    other.publish(FIRST).unwrap();
    store.put("shop/snapshots/old/x", b"");
    store.age("shop/snapshots/", Duration::from_secs(25 * 60 * 60));
    for (method, doing) in [("GET", "read"), ("PUT", "replace"), ("POST", "remove what")] {
        store.rule(move |r| (r.method == method).then_some(Fault::Status(403)));
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_recost"))
            .args(["sync", "pipeline.toml"])
            .current_dir(dir.path())
            .envs(store.variables("sv=2024-05-04&sr=c&sp=racwdl&sig=planted%2Bsig/4711%3D"))
            .env("RECOST_LOG", "debug")
            .output()
            .unwrap();
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{method}: {said}");
        assert!(said.contains(&format!("cannot {doing}")), "{said}");
        assert!(
            !said.contains("planted") && !said.contains("4711"),
            "{said}"
        );
    }
}

#[test]
fn a_mounted_folder_is_a_store_too() {
    let folder = TempDir::new().unwrap();
    let config = format!(
        "[store]\nurl = \"file://{}/shared\"\n",
        folder.path().display()
    );
    let (here, there) = (Machine::new(&config), Machine::new(&config));
    here.publish(FIRST).unwrap();
    here.publish(CHANGED).unwrap();
    there
        .publish(&[("events/ds=2026-10-30/a.parquet", b"from there")])
        .unwrap();
    // What an upload that was cut off left, and what a recost that only removed files did.
    let snapshots = folder.path().join("shared/snapshots");
    std::fs::create_dir_all(snapshots.join("emptied/events/ds=2026-10-31")).unwrap();
    here.sync().unwrap();
    assert_eq!(here.published(), there.published());
    assert_eq!(here.published().len(), 3);
    // The published one and one older.
    assert_eq!(std::fs::read_dir(snapshots).unwrap().count(), 2);
}

fn the_command_line_publishes_fetches_and_never_shows_the_secret(kind: StoreKind) {
    let store = Server::start(kind);
    let shop = Shop::new();
    // It is a key of Azure as well: base64.
    let secret = "plantedsecret471";
    shop.edit("[run]", &format!("{}\n[run]", store.signed("1s")));
    let recost = |dir: &Path, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_recost"));
        let out = command
            .args(args)
            .current_dir(dir)
            .envs(store.variables(secret))
            .env("RECOST_LOG", "debug")
            .output();
        let out = out.unwrap();
        let said = text(&out.stdout) + &text(&out.stderr);
        assert!(!said.contains(secret), "{said}");
        (out.status.code(), said)
    };
    let (code, said) = recost(shop.path(), &RUN);
    assert_eq!(code, Some(0), "{said}");
    let there = published_there(&store).unwrap();
    let names = |files: &[(String, Vec<u8>)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert!(
        names(&there)
            .iter()
            .any(|name| name.starts_with("allocations/"))
    );
    // A machine without a warehouse.
    let published = shop.published();
    std::fs::rename(shop.file("warehouse"), shop.file("aside")).unwrap();
    let (code, said) = recost(shop.path(), &["sync", "pipeline.toml"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shop.published(), published);
    let (code, said) = recost(shop.path(), &["check", "pipeline.toml", "--date", NIGHT]);
    assert_eq!(code, Some(0), "{said}");
    let runs = store
        .keys()
        .iter()
        .filter(|k| k.starts_with("shop/runs/"))
        .count();
    assert_eq!(runs, 1);
    // The store refuses, and fails.
    for (status, wanted) in [(403, 2), (503, 9)] {
        store.rule(move |_| Some(Fault::Status(status)));
        let (code, said) = recost(shop.path(), &["sync", "pipeline.toml"]);
        assert_eq!(code, Some(wanted), "{said}");
        let lock = format!("{}/lock", store.url());
        assert!(said.contains(&lock), "{said}");
    }
    crate::shop::walk(&shop.file("warehouse"), &mut |file| {
        let bytes = std::fs::read(file).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
            "{}",
            file.display()
        );
    });
}

#[test]
fn an_old_file_is_read_with_nulls_where_a_column_is_new_and_a_broken_promise_stops_the_run() {
    let shop = Shop::new();
    shop.run_ok();
    contracts_hold(&shop.file("warehouse/current"));
    let file = shop.file("warehouse/current/contracts.json");
    let written = std::fs::read_to_string(&file).unwrap();
    let doctored = written.replacen("\"int64\"", "\"int32\"", 1);
    std::fs::write(&file, doctored).unwrap();
    let before = shop.published();
    let out = shop.run();
    assert_eq!(out.status.code(), Some(8), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("is int64, was int32"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(shop.published(), before);
    std::fs::write(&file, written).unwrap();
    // A file of a version that did not know the reasons yet.
    let mut lists = vec![];
    crate::shop::walk(
        &shop.file("warehouse/current/recommendations"),
        &mut |file| lists.push(file.to_path_buf()),
    );
    for list in lists {
        let read = std::fs::File::open(&list).unwrap();
        let read = ParquetRecordBatchReaderBuilder::try_new(read)
            .unwrap()
            .build()
            .unwrap();
        let batches: Vec<_> = read.map(|b| b.unwrap()).collect();
        let keep: Vec<usize> = (0..batches[0].num_columns())
            .filter(|n| batches[0].schema().field(*n).name() != "reason")
            .collect();
        assert!(keep.len() < batches[0].num_columns());
        std::fs::remove_file(&list).unwrap();
        let schema = batches[0].schema().project(&keep).unwrap();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&list).unwrap(), schema.into(), None)
                .unwrap();
        for batch in batches {
            writer.write(&batch.project(&keep).unwrap()).unwrap();
        }
        writer.close().unwrap();
    }
    let found = shop.query(
        "select count(*) > 0, count(reason), count(item_id) = count(*) from recommendations",
    );
    assert_eq!(found, ["true,0,true"]);
}

/// Each published file has the columns of its contract and no others, statistics and a page index for each, row groups of the
/// intended size, and its rows in the contract's order.
fn contracts_hold(current: &Path) {
    let root = current.canonicalize().unwrap();
    let mut unsorted = vec![];
    crate::shop::walk(&root, &mut |path| {
        if path.extension().is_none_or(|e| e != "parquet") {
            return;
        }
        let name = path.strip_prefix(&root).unwrap();
        let table =
            recost::warehouse::table(name.iter().next().unwrap().to_str().unwrap()).unwrap();
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let file = std::fs::File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
        let names: Vec<String> = reader
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(
            names,
            table.columns.iter().map(|c| c.name).collect::<Vec<_>>(),
            "{name:?}"
        );
        let meta = reader.metadata();
        assert!(
            meta.column_index().is_some() && meta.offset_index().is_some(),
            "{name:?}"
        );
        let groups = meta.row_groups();
        assert!(
            groups.iter().all(|g| g.num_rows() <= 256 * 1024),
            "{name:?}"
        );
        assert!(
            groups
                .iter()
                .all(|g| g.columns().iter().all(|c| c.statistics().is_some())),
            "{name:?}"
        );
        let by: Vec<usize> = table
            .order
            .iter()
            .filter_map(|o| names.iter().position(|n| n == o))
            .collect();
        let fields = by
            .iter()
            .map(|n| SortField::new(reader.schema().field(*n).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).unwrap();
        let mut last = None;
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap().project(&by).unwrap();
            for row in converter
                .convert_columns(batch.columns())
                .unwrap()
                .iter()
                .map(|r| r.owned())
            {
                if last.as_ref().is_some_and(|last| *last > row) {
                    unsorted.push(name.to_path_buf());
                }
                last = Some(row);
            }
        }
    });
    unsorted.dedup();
    assert_eq!(unsorted, Vec::<PathBuf>::new());
}

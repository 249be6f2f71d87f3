//! What the fuzz targets of `fuzz/` call: each function gives bytes from outside to one parser, which must answer with a
//! value or an error. Not an interface for others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;

use crate::attribution::allocate::parse_tags;
use crate::attribution::matching::{Matcher, find_tag};
use crate::attribution::{
    Category, Charge, Known, Routing, RoutingConfig, Rule, RuleTarget, validate,
};
use crate::cli::print::Shown;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::ingest::file::FileJob;
use crate::ingest::files::InputFile;
use crate::ingest::manifest::Manifest;
use crate::ingest::mapping::Mapping;
use crate::ingest::partitions::Target;
use crate::ingest::reader::SourceFile;
use crate::model::file;
use crate::money::{Currency, Money, present};
use crate::pipeline::finished_stages as are_finished_stages;
use crate::pipeline::ledger::Ledger;
use crate::privacy::{Forgotten, Guard};
use crate::warehouse::pointer::Pointer;
use crate::warehouse::{evolution, lease, manifest, mirror, table};
use crate::watch::lineage::parent::Named;
use crate::watch::trace;

/// A pipeline file.
pub fn pipeline(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Pipeline::parse(text, Path::new("/nowhere/pipeline.toml")) {
        Ok(pipeline) => {
            pipeline.settings();
            known(&pipeline.attribution.routing());
        }
        // What is shown of it points into the text.
        Err(error) => drop(format!("{:?}", miette::Report::new(Shown::of(&error)))),
    }
}

/// Rules of attribution, alone.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(config) = toml::from_str::<RoutingConfig>(text) {
        known(&config.routing());
    }
}

fn known(routing: &Routing) {
    for wrong in validate(routing, Known::default()) {
        drop(wrong.to_string());
    }
    drop((routing.drivers(), routing.following(), routing.matched()));
    for rule in routing.rules.iter().chain(&routing.pools) {
        drop(rule.version());
        let matcher = Matcher::new(rule);
        for start in [i64::MIN, 0, i64::MAX] {
            matcher.covers(start);
        }
    }
}

/// The tags of a charge, and a pattern that they are held against: what stands before the first line break.
pub fn tags(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, tags) = text.split_once('\n').unwrap_or(("*", &text));
    let rule = Rule::new("fuzzed", RuleTarget::Tags);
    let matcher = Matcher::new(&rule.matching(&format!("tags.{pattern}"), &[pattern]));
    if let Ok(tags) = parse_tags(Some(tags)) {
        if let Some(found) = find_tag(&tags, pattern) {
            assert!(!found.value.is_empty(), "a blank tag counts as absent");
        }
        let Ok(currency) = Currency::parse("USD") else {
            return;
        };
        matcher.matches(&Charge {
            row_id: "1",
            period_start: 0,
            period_end: 0,
            billing_period: "2026-10",
            currency,
            invoice_id: None,
            invoice_issuer: None,
            billing_account_id: None,
            resource_id: None,
            service_name: None,
            charge_category: "Usage",
            tags: &tags,
            category: Category::Compute,
            stage: None,
            billed: Money::ZERO,
            effective: Money::ZERO,
            allocated_method_id: None,
            allocated_tags: &[],
            columns: &BTreeMap::new(),
        });
    }
}

/// A CSV of whatever columns.
pub fn csv(data: &[u8]) {
    let gzip = data.starts_with(&[0x1f, 0x8b]);
    let name = if gzip { "fuzzed.csv.gz" } else { "fuzzed.csv" };
    read(name, data, &["a column that is not there"]);
}

/// A Parquet file of whatever columns, and as an export of users.
pub fn parquet(data: &[u8]) {
    read("fuzzed.parquet", data, &[]);
    with_file("fuzzed.parquet", data, |input| told(ingest(input, &USERS)));
}

/// A bill in the FOCUS form, as CSV.
pub fn focus(data: &[u8]) {
    with_file("fuzzed.csv", data, |input| told(ingest(input, &FOCUS)));
}

fn read(name: &str, data: &[u8], optional: &[&str]) {
    let optional: Vec<String> = optional.iter().map(ToString::to_string).collect();
    with_file(name, data, |input| {
        let Ok(file) = SourceFile::open(input, &optional) else {
            return;
        };
        let first: Vec<i64> = (1..=20.min(file.rows().max(1)) as i64).collect();
        drop(file.holds_rows());
        if let Ok(rows) = file.raw(&first) {
            assert!(rows.len() <= first.len(), "no more rows than asked for");
        }
        drop(file.take_defects());
    });
}

/// What is wrong with a file is a matter of the file.
fn told<T>(outcome: Result<T>) {
    if let Err(error) = outcome {
        assert_eq!(error.kind(), Kind::Contract, "{error}");
    }
}

/// Reads the file `path` as an export of `events`, `users` or `charges`, without writing. Returns how many of its rows
/// are wrong.
///
/// # Errors
/// Those of ingest.
pub fn export(kind: &str, path: &Path) -> Result<usize> {
    let input = InputFile::open(path.to_path_buf(), Path::new(""))?;
    let ready = [("events", &EVENTS), ("users", &USERS), ("charges", &FOCUS)];
    let ready = ready.iter().find(|(known, _)| *known == kind);
    match ready {
        Some((_, ready)) => ingest(input, ready),
        None => Err(Error::unexpected(format!("{kind} is not fuzzed"))),
    }
}

fn ingest(input: InputFile, ready: &LazyLock<Option<Ready>>) -> Result<usize> {
    let ready = ready.as_ref();
    let ready = ready.ok_or_else(|| Error::unexpected("there is no engine"))?;
    let job = FileJob {
        mapping: Arc::clone(&ready.mapping),
        guard: Arc::clone(&ready.guard),
        file: SourceFile::open(input, &ready.mapping.optional)?,
        ordinal: 0,
        source: "fuzzed".into(),
        delivery_id: "0".into(),
        interval: "2026-10".into(),
        name: String::new(),
        key: None,
        target: Target::Fixed("2026-10-31".into()),
        stem: "fuzzed".into(),
        not_after_us: i64::MAX,
        later_us: None,
        late_before_us: None,
        only_us: None,
        month: None,
    };
    let engine = ready.engine.detached(None)?;
    let outcome = ready.runtime.block_on(job.measure(&engine))?;
    let rejected: BTreeSet<i64> = outcome.rejected.iter().map(|r| r.row).collect();
    assert_eq!(rejected.len(), outcome.rejected.len(), "rejected twice");
    job.file.raw(&rejected.into_iter().collect::<Vec<_>>())?;
    Ok(outcome.rejected.len())
}

/// What ingest needs besides the file, made once.
struct Ready {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    mapping: Arc<Mapping>,
    guard: Arc<Guard>,
}

static FOCUS: LazyLock<Option<Ready>> = LazyLock::new(|| Ready::of("charges", "focus"));
static USERS: LazyLock<Option<Ready>> = LazyLock::new(|| Ready::of("users", "recost"));
static EVENTS: LazyLock<Option<Ready>> = LazyLock::new(|| Ready::of("events", "recost"));

impl Ready {
    fn of(kind: &str, dialect: &str) -> Option<Ready> {
        let text = format!(
            "name = \"fuzzed\"\n[engine]\nmemory = \"256MiB\"\nthreads = 1\n\
             [[sources]]\nname = \"fuzzed\"\nkind = \"{kind}\"\npath = \"fuzzed\"\ndialect = \"{dialect}\"\n"
        );
        let pipeline = Pipeline::parse(&text, Path::new("/nowhere/pipeline.toml")).ok()?;
        let date = NaiveDate::from_ymd_opt(2026, 10, 31)?;
        let library = Library::load(&pipeline.sql).ok()?;
        table(kind)?;
        Some(Ready {
            runtime: tokio::runtime::Builder::new_current_thread().build().ok()?,
            engine: Engine::open(&Options::of(&pipeline, date), None, None).ok()?,
            mapping: Arc::new(Mapping::of(pipeline.sources.first()?, &library).ok()?),
            guard: Arc::new(Guard::of(&pipeline).ok()?),
        })
    }
}

fn with_file(name: &str, data: &[u8], work: impl FnOnce(InputFile)) {
    in_folder(name, data, |dir| {
        if let Ok(input) = InputFile::open(dir.join(name), dir) {
            work(input);
        }
    });
}

fn in_folder(name: &str, data: &[u8], work: impl FnOnce(&Path)) {
    let Ok(dir) = tempfile::tempdir() else {
        return;
    };
    if std::fs::write(dir.path().join(name), data).is_ok() {
        work(dir.path());
    }
}

/// Amounts: texts, doubles, decimals of any scale, and what is computed with them.
pub fn numbers(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(Currency::parse(text));
        if let Ok((amount, _)) = Money::parse(text) {
            whole(amount);
        }
    }
    let (ints, rest) = data.as_chunks::<16>();
    let scale = rest.first().map_or(0, |b| i8::from_ne_bytes([*b]));
    let mut amounts = vec![];
    for bytes in ints {
        let value = i128::from_le_bytes(*bytes);
        amounts.extend(Money::from_decimal(value, scale).map(|(amount, _)| amount));
        let double = f64::from_bits(value as u64);
        amounts.extend(Money::from_f64(double).map(|(amount, _)| amount));
        // As a file may hold it, whatever its type promises.
        let raw = Money(value);
        drop((raw.to_string(), raw.checked_neg(), raw.checked_abs()));
        drop((raw.round(2), raw.fixed(u32::from(scale.unsigned_abs()))));
        drop(raw.per(value as u64, (value >> 64) as u64));
        for other in &amounts {
            drop((raw.times(*other), raw.over(*other), raw.checked_add(*other)));
        }
    }
    for amount in &amounts {
        whole(*amount);
    }
    if let Ok(shown) = present(&amounts, 2) {
        let sum = |leaves: &[Money]| {
            let mut sum = Money::ZERO;
            leaves
                .iter()
                .try_for_each(|leaf| sum.checked_add(*leaf).map(|s| sum = s))
                .map(|()| sum)
        };
        if let (Ok(exact), Ok(shown)) = (sum(&amounts), sum(&shown)) {
            assert_eq!(exact.round(2).ok(), Some(shown), "leaves and their total");
        }
    }
}

/// The text of an amount is the amount.
fn whole(amount: Money) {
    let again = Money::parse(&amount.to_string());
    assert_eq!(again.map(|(again, rest)| (again, rest.0)), Ok((amount, 0)));
}

/// The manifest of a delivery: of the clouds, of any issuer as JSON, and as CSV.
pub fn delivery_manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in ["Manifest.json", "manifest.csv"] {
        if let Ok(manifest) = Manifest::read(Path::new(name), &text) {
            assert!(!manifest.files.is_empty(), "a manifest without files");
        }
    }
}

/// A model file.
pub fn model_file(data: &[u8]) {
    let path = Path::new("fuzzed.safetensors");
    let whole = file::parse(path, data);
    let metadata = file::parse_header(path, data);
    if let Ok(model) = whole {
        assert_eq!(
            metadata.ok().as_ref(),
            Some(&model.metadata),
            "one metadata"
        );
    }
}

/// The small objects of a store: the pointer, a snapshot's manifest, the lock.
pub fn store_objects(data: &[u8]) {
    if let Ok(pointer) = Pointer::parse(data, "fuzzed") {
        assert!(!pointer.snapshot.contains(".."), "leads out of the store");
    }
    if let Ok(manifest) = manifest::Manifest::parse(data, "r", &"fuzzed") {
        for file in &manifest.files {
            let below = Path::new("/a").join(&file.path);
            assert!(below.components().all(|c| c != Component::ParentDir));
            assert!(below.starts_with("/a"), "leads out of the snapshot");
        }
    }
    lease::readable(data);
}

/// What a snapshot says that its tables promise.
pub fn contracts(data: &[u8]) {
    in_folder("contracts.json", data, |snapshot| {
        told(evolution::check(snapshot));
    });
}

/// The finished stages that a run which ended in the middle left.
pub fn finished_stages(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        are_finished_stages(text);
    }
}

/// What a folder remembers of its store.
pub fn mirror_state(data: &[u8]) {
    drop(serde_json::from_slice::<mirror::State>(data));
}

/// The ledger of a run, or of all runs of a month.
pub fn run_ledger(data: &[u8]) {
    in_folder("2026-10.parquet", data, |dir| {
        drop(Ledger::read_all(&dir.join("2026-10.parquet")));
    });
}

/// The list of the forgotten.
pub fn forgotten(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(list) = Forgotten::parse(text) {
        list.has("u00001");
        assert!(list.is_empty() || text.len() > 64, "people from nowhere");
        assert!(list.pending() <= text.lines().count());
    }
}

/// What a scheduler says by variables of the environment: of which trace and of which run a run is a part, and headers.
pub fn environment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(trace::Parent::of(&text));
    drop(Named::parse(&text));
    drop(trace::pairs(&text));
}

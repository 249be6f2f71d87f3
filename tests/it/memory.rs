//! What memory is short of must not show in the tables.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use chrono::NaiveDate;
use recost::attribution::stage::{self as attribution, Work};
use recost::config::Pipeline;
use recost::engine::{Engine, Library, Options};
use recost::features::stage;
use recost::pipeline::check::check;
use recost::warehouse::TableWriter;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::billing::Bills;
use crate::shop::{NIGHT, Shop, copy, tables_below, text, walk};

/// The shop's last night with so much memory, on a copy of its snapshot.
struct Night {
    pipeline: Pipeline,
    library: Library,
    options: Options,
    dir: TempDir,
}

impl Night {
    fn new(shop: &Shop, memory: usize) -> Self {
        Night::of(shop.path(), memory)
    }

    /// Of the project in a folder.
    fn of(project: &Path, memory: usize) -> Self {
        let pipeline = Pipeline::load(&project.join("pipeline.toml")).unwrap();
        let options = Options {
            memory,
            threads: 1,
            ..Options::of(&pipeline, NIGHT.parse().unwrap())
        };
        let dir = tempfile::tempdir().unwrap();
        let snapshot = project.join("warehouse/current").canonicalize().unwrap();
        copy(&snapshot, dir.path());
        Night {
            pipeline,
            library: Library::load(Path::new("no such folder")).unwrap(),
            options,
            dir,
        }
    }

    fn window(&self) -> (NaiveDate, NaiveDate) {
        recost::pipeline::run::window(&self.pipeline, self.options.date)
    }

    /// Attributes what the snapshot has.
    fn attribute(&self, runtime: &Runtime) {
        let work = Work {
            pipeline: &self.pipeline,
            library: &self.library,
            options: &self.options,
            snapshot: self.dir.path(),
            window: self.window(),
        };
        runtime
            .block_on(attribution::run(work, &BTreeSet::new(), false))
            .unwrap();
    }

    /// The bytes of the night's file of a table.
    fn file(&self, table: &str) -> Vec<u8> {
        let mut files = vec![];
        let dir = self.dir.path().join(table).join(format!("ds={NIGHT}"));
        walk(&dir, &mut |file| files.push(std::fs::read(file).unwrap()));
        assert_eq!(files.len(), 1, "{table}");
        files.concat()
    }

    /// The shipped SQL, but that interactions come `from` what stands here.
    fn with_interactions(&self, from: &str) -> Library {
        let file = "features/interactions.sql";
        let (shipped, all) = (self.library.get(file).unwrap(), "from events\n    where ");
        assert!(shipped.contains(all));
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("features")).unwrap();
        std::fs::write(project.path().join(file), shipped.replace(all, from)).unwrap();
        Library::load(project.path()).unwrap()
    }

    /// Writes the events of each day anew, sorted by user.
    fn sort_events(&self, runtime: &Runtime) {
        let much = Options {
            memory: 2 << 30,
            ..self.options.clone()
        };
        let engine = Engine::open(&much, Some(self.dir.path()), None).unwrap();
        let events = recost::warehouse::table("events").unwrap();
        for day in std::fs::read_dir(self.dir.path().join("events")).unwrap() {
            let dir = day.unwrap().path();
            let ds = dir
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .replace("ds=", "");
            let sql = format!("select * from events where ds = date '{ds}' order by user_id");
            let rows = runtime.block_on(engine.collect(&sql)).unwrap();
            std::fs::remove_dir_all(&dir).unwrap();
            std::fs::create_dir(&dir).unwrap();
            let mut writer = TableWriter::create(events, &dir.join("part-0.parquet")).unwrap();
            rows.iter().for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
        }
    }

    /// The rows of a table as they lie in its files, or in an order.
    fn rows(&self, runtime: &Runtime, table: &str, order: &str) -> RecordBatch {
        let engine = Engine::open(&self.options, Some(self.dir.path()), None).unwrap();
        let sql = format!("select * from {table} {order}");
        let rows = runtime.block_on(engine.collect(&sql)).unwrap();
        assert!(!rows.is_empty(), "{table}");
        concat_batches(&rows[0].schema(), &rows).unwrap()
    }
}

/// What is little for the shop.
const LITTLE: usize = 24 << 20;

#[test]
fn little_memory_does_not_show_in_features_or_in_what_recommendations_cost_and_brought() {
    let shop = Shop::new();
    let more = [
        "generate", "--events", "250000", "--items", "60000", "--out", "exports",
    ];
    assert!(shop.recost(&more).status.success());
    shop.run_ok();
    let count = |sql: &str| shop.query(sql)[0].parse::<usize>().unwrap();
    let (little, much) = (Night::new(&shop, LITTLE), Night::new(&shop, 2 << 30));
    let runtime = Runtime::new().unwrap();
    let same = |table: &str, order: &str| {
        little.rows(&runtime, table, order) == much.rows(&runtime, table, order)
    };

    // Several ranges of users, and of items.
    assert!(count("select count(*) from events") > 2 * LITTLE / 512);
    assert!(count("select count(distinct item_id) from items") > LITTLE / 512);
    // Where memory is little, a file of the project's names columns that it does not need, and events are sorted by user.
    let named = "from (select *, event_id || session_id as unread from events)
        where ds > date '2000-01-01' and event_type is not null and ";
    let own = much.with_interactions(named);
    little.sort_events(&runtime);
    for (night, library) in [(&little, &own), (&much, &much.library)] {
        let (options, snapshot) = (&night.options, night.dir.path());
        let made = stage::run(library, options, snapshot, night.window());
        runtime.block_on(made).unwrap();
    }
    for table in ["interactions", "sessions", "user_features", "item_features"] {
        assert!(same(table, ""), "{table}");
        assert!(little.file(table) == much.file(table), "{table}");
    }

    // Two parts of outcomes, and spans of days.
    let done = count("select count(*) from events where event_type in ('click', 'purchase')");
    assert!(done > LITTLE / 4 / 1024, "{done}");
    for night in [&little, &much] {
        night.attribute(&runtime);
    }
    for table in ["served_days", "recommendation_costs", "unit_costs"] {
        assert!(same(table, ""), "{table}");
    }
    // These lie in a file for each part.
    assert!(same("outcomes", "order by event_id"));
    let parts = |night: &Night| {
        let mut files = 0;
        walk(&night.dir.path().join("outcomes"), &mut |_| files += 1);
        files
    };
    assert!(parts(&little) > parts(&much));
}

/// Little, and yet too much for ranges of users to be made from the start.
const ALMOST: usize = 40 << 20;

#[test]
fn features_that_run_short_of_memory_at_once_are_made_by_ranges_of_users() {
    let shop = Shop::new();
    let more = ["generate", "--events", "250000", "--out", "exports"];
    assert!(shop.recost(&more).status.success());
    shop.run_ok();
    let (almost, much) = (Night::new(&shop, ALMOST), Night::new(&shop, 2 << 30));
    let mut bytes = 0;
    walk(&almost.dir.path().join("events"), &mut |file| {
        bytes += file.metadata().unwrap().len() as usize;
    });
    assert!(4 * bytes < ALMOST / 4 * 3, "{bytes}");
    // A join of all events with all events, whose hash table cannot spill; what it gives is what is asked for anyway.
    let own = almost.with_interactions(
        "from events\n    where event_id || user_id in (select event_id || user_id from events) and ",
    );
    let runtime = Runtime::new().unwrap();
    let made = |night: &Night, library: &Library| {
        let (options, snapshot) = (&night.options, night.dir.path());
        let made = stage::run(library, options, snapshot, night.window());
        runtime.block_on(made).unwrap();
    };
    let engine = Engine::open(&almost.options, Some(almost.dir.path()), None).unwrap();
    let at_once = runtime.block_on(engine.collect(own.get("features/interactions.sql").unwrap()));
    assert!(at_once.unwrap_err().is_short_of_memory());
    made(&almost, &own);
    made(&much, &much.library);
    for table in ["interactions", "sessions", "user_features", "item_features"] {
        let [short, whole] = [&almost, &much].map(|night| night.rows(&runtime, table, ""));
        assert_eq!(short, whole, "{table}");
    }
}

/// A project with a bill of machines by the hour of October, and telemetry of two models on each of them.
fn machines(machines: usize) -> Bills {
    let bills = Bills::new(&[]);
    let (mut rows, mut usage) = (vec![], String::from(USAGE));
    for hour in 0..744 {
        let at = |hour: usize| match hour {
            744 => "2026-11-01T00:00:00Z".to_string(),
            _ => format!("2026-10-{:02}T{:02}:00:00Z", hour / 24 + 1, hour % 24),
        };
        let (start, end) = (at(hour), at(hour + 1));
        for machine in 0..machines {
            let id = format!("machine-with-a-long-name-{machine:06}");
            rows.push(format!(
                "USD,2026-10-01,2026-11-01,{start},{end},Usage,Cloud,{id},0.{machine:06}7,0.{machine:06}7,"
            ));
            for (model, share) in [("A", 3), ("B", 2)] {
                let ns = 60_000_000_000_usize * (hour % 7 + share);
                usage.push_str(&format!(
                    "{start},{end},{id},{model},v{},deployment,,,{ns},,,,3600000000000\n",
                    hour % 50
                ));
            }
        }
    }
    bills.deliver(&rows);
    bills.put("usage.csv", &usage);
    let pipeline = std::fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    bills.put("pipeline.toml", &format!("{pipeline}{TELEMETRY}"));
    bills
}

const USAGE: &str = "usage_start,usage_end,resource_id,model_id,model_version,stage,run_id,gpu_ns,cpu_ns,bytes,requests,reserved_ns,capacity_ns\n";

const TELEMETRY: &str = "[[sources]]\nname = \"telemetry\"\nkind = \"usage\"\npath = \"usage.csv\"\ndialect = \"recost\"\n";

#[test]
fn little_memory_does_not_show_in_what_a_large_bill_is_attributed_to() {
    let bills = machines(32);
    bills.run_ok(NIGHT);
    let runtime = Runtime::new().unwrap();
    let [little, much] = [SCANT, 2 << 30].map(|memory| {
        let night = Night::of(bills.path(), memory);
        night.attribute(&runtime);
        let (library, options, snapshot) = (&night.library, &night.options, night.dir.path());
        let periods = ["2026-10".to_string()];
        let checked = check(library, options, snapshot, night.window(), &periods);
        runtime.block_on(checked).unwrap();
        tables_below(snapshot)
    });
    let names =
        |tables: &[(String, Vec<u8>)]| tables.iter().map(|t| t.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&little), names(&much));
    for (little, much) in little.iter().zip(&much) {
        assert!(little == much, "{}", little.0);
    }
}

/// What is little for a bill.
const SCANT: usize = 32 << 20;

#[test]
fn a_bill_of_which_rules_have_to_know_too_much_stops_the_night_and_says_what_to_raise() {
    let bills = machines(128);
    let pipeline = std::fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    let with = |memory: &str| {
        let engine = format!("[engine]\nmemory = \"{memory}\"\n");
        bills.put("pipeline.toml", &format!("{pipeline}{engine}"));
    };
    with("64MiB");
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("billing period 2026-10: what rules have to know of a bill are "));
    assert!(said.contains("raise `[engine] memory`"), "{said}");
    assert!(!bills.path().join("warehouse/current").exists());
    with("256MiB");
    bills.run_ok(NIGHT);
}

#[test]
fn a_model_that_does_not_fit_is_not_trained_and_takes_what_the_night_says_it_would() {
    let shop = Shop::new();
    let more = [
        "generate", "--events", "250000", "--items", "20000", "--out", "exports",
    ];
    assert!(shop.recost(&more).status.success());
    shop.edit("memory = \"2GiB\"", "memory = \"64MiB\"");
    // Four tables of 512 numbers in 32 bits for each user and item.
    shop.edit("family = \"als\" ", "family = \"softmax\" ");
    let als = "{ dim = 64, iterations = 10, regularization = 0.01, alpha = 10.0 }";
    shop.edit(als, "{ dim = 512, epochs = 1 }");
    let out = shop.run();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("model `home-als`: training it on "), "{said}");
    assert!(said.contains("`[engine] memory` is 64 MiB"), "{said}");
    assert!(!shop.file("warehouse/current").exists());

    // With as much as it says that it would take, it takes no more: training, lists, evaluation and all the rest.
    let (_, needed) = said.split_once("takes about ").unwrap();
    let (needed, _) = needed.split_once(" MiB").unwrap();
    shop.edit("memory = \"64MiB\"", &format!("memory = \"{needed}MiB\""));
    shop.run_ok();
    let peak = shop.query("select max(peak_rss_bytes) from runs")[0].clone();
    let peak = peak.parse::<usize>().unwrap() >> 20;
    let needed: usize = needed.parse().unwrap();
    assert!(needed > 128, "{needed} MiB");
    // What the process itself takes, by docs/operations.md, and what an allocator keeps.
    assert!(peak <= needed + 128 + 32, "{peak} of {needed} MiB");
}

#[test]
fn a_run_takes_what_its_pipeline_allows_and_what_the_process_itself_does() {
    let shop = Shop::new();
    let pipeline = std::fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let (head, rest) = pipeline.split_once("[[models]]").unwrap();
    let (_, tail) = rest.split_once("[recommend]").unwrap();
    let peak = |memory: &str| {
        let _ = std::fs::remove_dir_all(shop.file("warehouse"));
        let head = head.replace("memory = \"2GiB\"", &format!("memory = \"{memory}\""));
        assert!(head.contains(memory));
        std::fs::write(
            shop.file("pipeline.toml"),
            format!("{head}[recommend]{tail}"),
        )
        .unwrap();
        shop.run_ok();
        let peak = shop.query("select max(peak_rss_bytes) from runs")[0].clone();
        peak.parse::<usize>().unwrap() >> 20
    };
    let process = peak("64MiB");
    let more = [
        "generate", "--events", "2000000", "--items", "60000", "--out", "exports",
    ];
    assert!(shop.recost(&more).status.success());
    let (little, much) = (peak("64MiB"), peak("2GiB"));
    // With what a buffer is larger than it counts.
    let allowed = process + 64 + 16;
    assert!(little <= allowed, "{little} of {allowed} MiB");
    // It would take more if it might.
    assert!(much > allowed, "{much} of {allowed} MiB");
}

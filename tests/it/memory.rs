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
use recost::warehouse::TableWriter;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::shop::{NIGHT, Shop, copy, walk};

/// The shop's last night with so much memory, on a copy of its snapshot.
struct Night {
    pipeline: Pipeline,
    library: Library,
    options: Options,
    dir: TempDir,
}

impl Night {
    fn new(shop: &Shop, memory: usize) -> Self {
        let pipeline = Pipeline::load(&shop.file("pipeline.toml")).unwrap();
        let options = Options {
            memory,
            threads: 1,
            ..Options::of(&pipeline, NIGHT.parse().unwrap())
        };
        let dir = tempfile::tempdir().unwrap();
        let snapshot = shop.file("warehouse/current").canonicalize().unwrap();
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

    /// The bytes of the night's file of a table.
    fn file(&self, table: &str) -> Vec<u8> {
        let mut files = vec![];
        let dir = self.dir.path().join(table).join(format!("ds={NIGHT}"));
        walk(&dir, &mut |file| files.push(std::fs::read(file).unwrap()));
        assert_eq!(files.len(), 1, "{table}");
        files.concat()
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
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join("features")).unwrap();
    let shipped = much.library.get("features/interactions.sql").unwrap();
    let all = "from events\n    where ";
    assert!(shipped.contains(all));
    let named = "from (select *, event_id || session_id as unread from events)
        where ds > date '2000-01-01' and event_type is not null and ";
    let named = shipped.replace(all, named);
    std::fs::write(project.path().join("features/interactions.sql"), named).unwrap();
    let own = Library::load(project.path()).unwrap();
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
        let work = Work {
            pipeline: &night.pipeline,
            library: &night.library,
            options: &night.options,
            snapshot: night.dir.path(),
            window: night.window(),
        };
        runtime
            .block_on(attribution::run(work, &BTreeSet::new()))
            .unwrap();
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
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join("features")).unwrap();
    let shipped = almost.library.get("features/interactions.sql").unwrap();
    let all = "from events\n    where ";
    assert!(shipped.contains(all));
    let joined = shipped.replace(
        all,
        "from events\n    where event_id || user_id in (select event_id || user_id from events) and ",
    );
    std::fs::write(project.path().join("features/interactions.sql"), joined).unwrap();
    let runtime = Runtime::new().unwrap();
    let made = |night: &Night, library: &Library| {
        let (options, snapshot) = (&night.options, night.dir.path());
        let made = stage::run(library, options, snapshot, night.window());
        runtime.block_on(made).unwrap();
    };
    let own = Library::load(project.path()).unwrap();
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

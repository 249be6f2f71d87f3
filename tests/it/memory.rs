//! What memory is short of must not show in the tables.

use std::path::Path;

use recost::config::Pipeline;
use recost::engine::{Library, Options};
use recost::features::stage;

use crate::shop::{NIGHT, Shop, copy};

/// Table and bytes of its file of the night.
type Files = Vec<(String, Vec<u8>)>;

/// The feature tables of the shop's last night, made again with so much memory.
fn features(shop: &Shop, memory: usize) -> Files {
    let pipeline = Pipeline::load(&shop.file("pipeline.toml")).unwrap();
    let date = NIGHT.parse().unwrap();
    let options = Options {
        memory,
        ..Options::of(&pipeline, date)
    };
    let library = Library::load(Path::new("no such folder")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let snapshot = shop.file("warehouse/current").canonicalize().unwrap();
    copy(&snapshot, dir.path());
    let window = recost::pipeline::run::window(&pipeline, date);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let written = runtime.block_on(stage::run(&library, &options, dir.path(), window));
    let file = |(table, rows): (String, u64)| {
        assert!(rows > 0, "{table}");
        let file = dir
            .path()
            .join(format!("{table}/ds={NIGHT}/part-0.parquet"));
        let bytes = std::fs::read(file).unwrap();
        (table, bytes)
    };
    written.unwrap().into_iter().map(file).collect()
}

#[test]
fn features_made_by_ranges_of_users_are_those_made_at_once() {
    let shop = Shop::new();
    shop.run_ok();
    // Enough for three ranges.
    let events = shop.query("select count(*) from events");
    assert!(
        events[0].parse::<usize>().unwrap() > 2 * (12 << 20) / 512,
        "{events:?}"
    );
    let at_once = features(&shop, 2 << 30);
    let by_ranges = features(&shop, 12 << 20);
    let tables = |files: &Files| files.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>();
    assert_eq!(tables(&by_ranges), tables(&at_once));
    for ((table, ours), (_, theirs)) in by_ranges.iter().zip(&at_once) {
        assert!(ours == theirs, "{table} is another");
    }
}

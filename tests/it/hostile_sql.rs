//! SQL that comes with a project, or is given to `recost sql`, reads the tables that it is given and does nothing else.

use std::fs;

use chrono::NaiveDate;
use recost::engine::{Engine, Options};
use recost::error::Kind;

use crate::shop::{Shop, text};

/// Statements that write, define or set something; `{file}` is a path.
const DEEDS: &[&str] = &[
    "copy (select 1 as n) to '{file}'",
    "copy (select 1 as n) to '{file}' stored as parquet",
    "copy events to '{file}' stored as csv",
    "create external table t stored as csv location '{file}'",
    "create external table t (a int) stored as parquet location '{file}'",
    "create table t as select 1 as n",
    "create or replace table events as select 1 as n",
    "create view v as select 1 as n",
    "create schema s",
    "create database d",
    "create function f(n int) returns int return n",
    "drop table events",
    "drop view events",
    "insert into events select * from events",
    "update events set user_id = 'x'",
    "delete from events",
    "set datafusion.execution.batch_size = 1",
    "set datafusion.catalog.location = '{file}'",
    "reset datafusion.execution.batch_size",
    "explain copy (select 1 as n) to '{file}'",
    "explain analyze copy (select 1 as n) to '{file}'",
    "explain analyze insert into events select * from events",
    "explain create table t as select 1 as n",
    "prepare p as copy (select 1 as n) to '{file}'",
    "prepare p as select 1",
    "execute p",
    "deallocate p",
    "begin",
    "commit",
    "load data inpath '{file}' into table events",
    "install httpfs",
    "attach '{file}' as other",
    "select 1; copy (select 1 as n) to '{file}'",
    "select 1; drop table events",
    "with t as (insert into events select * from events) select 1",
    "select * from (copy (select 1 as n) to '{file}')",
];

/// Tables that would be files; `{file}` is the path of one that is there.
const FILES: &[&str] = &[
    "'{file}'",
    "\"{file}\"",
    "`{file}`",
    "'file://{file}'",
    "\"file://{file}\"",
    "read_csv('{file}')",
    "read_csv_auto('{file}')",
    "read_parquet('{file}')",
    "read_json('{file}')",
    "read_text('{file}')",
    "parquet_scan('{file}')",
    "parquet_metadata('{file}')",
    "csv_scan('{file}')",
    "glob('{file}')",
    "list_files_cache()",
    "metadata_cache()",
    "statistics_cache()",
];

/// Places where a query names a table.
const PLACES: &[&str] = &[
    "select * from {table}",
    "select * from (select * from {table}) as t",
    "with t as (select * from {table}) select * from t",
    "select (select count(*) from {table})",
    "select 1 where exists (select 1 from {table})",
    "select 1 where 1 in (select 1 from {table})",
    "select user_id from events union all select 'x' from {table}",
    "select * from events cross join {table}",
    "select * from events as e, lateral (select * from {table}) as t",
    "explain select * from {table}",
    "explain analyze select * from {table}",
    "describe {table}",
];

#[test]
fn a_query_reads_tables_and_can_do_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (there, new) = (dir.path().join("there.csv"), dir.path().join("new.csv"));
    fs::write(&there, "a,b\n1,2\n").unwrap();
    let options = Options {
        memory: 64 << 20,
        threads: 1,
        spill: None,
        spill_limit: u64::MAX,
        settings: [].into(),
        date: NaiveDate::MIN,
        month: None,
        lateness_days: 0,
    };
    let engine = Engine::open(&options, None, None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = |sql: &str| {
        let outcome = runtime.block_on(async {
            engine
                .query(sql)
                .await?
                .collect()
                .await
                .map_err(recost::error::Error::from)
        });
        match outcome {
            Ok(rows) => panic!("{sql} gives {rows:?}"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Config, "{sql}: {error}");
                let said = error.to_string();
                assert!(!said.contains("1,2"), "{said}");
            }
        }
    };
    for deed in DEEDS {
        refused(&deed.replace("{file}", new.to_str().unwrap()));
        refused(&deed.to_uppercase().replace("{FILE}", new.to_str().unwrap()));
    }
    for place in PLACES {
        for file in FILES {
            let table = file.replace("{file}", there.to_str().unwrap());
            refused(&place.replace("{table}", &table));
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // The tables are as they were, and what only reads is allowed.
    for sql in [
        "select count(*) from events",
        "explain select * from events",
        "with t as (select 1 as n) select * from t",
        "show tables",
    ] {
        runtime.block_on(engine.collect(sql)).unwrap();
    }
}

#[test]
fn the_sql_of_a_project_reads_what_the_pipeline_names() {
    let shop = Shop::new();
    fs::write(shop.file("secret.csv"), "user_id\nsecret\n").unwrap();
    shop.edit(
        "path = \"exports/users/ds={date}/*.parquet\"",
        "path = \"exports/users/ds={date}/*.parquet\" # own",
    );
    let pipeline = fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let at = pipeline.find("# own").unwrap();
    let dialect = at + pipeline[at..].find("dialect = \"recost\"").unwrap();
    let mut own = pipeline.clone();
    own.replace_range(
        dialect..dialect + "dialect = \"recost\"".len(),
        "dialect = \"own\"",
    );
    fs::write(shop.file("pipeline.toml"), own).unwrap();
    fs::create_dir_all(shop.file("sql/sources/users")).unwrap();
    let secret = shop.file("secret.csv");
    for sql in [
        format!(
            "copy (select * from source) to '{}'",
            shop.file("new.csv").display()
        ),
        format!("select 1 as _row, user_id from '{}'", secret.display()),
        format!(
            "select _row, (select min(user_id) from '{}') as user_id from source",
            secret.display()
        ),
        // Nor of the tables that other sources feed.
        "select 1 as _row, event_id as user_id from events".to_string(),
    ] {
        fs::write(shop.file("sql/sources/users/own.sql"), &sql).unwrap();
        let out = shop.run();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{sql}\n{said}");
        assert!(said.contains("own.sql"), "{said}");
    }
    assert!(!shop.file("new.csv").exists() && !shop.file("warehouse/current").exists());

    // Nor does a link bring in what lies elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(
        elsewhere.path().join("own.sql"),
        "select _row, user_id from source",
    )
    .unwrap();
    fs::remove_file(shop.file("sql/sources/users/own.sql")).unwrap();
    std::os::unix::fs::symlink(
        elsewhere.path().join("own.sql"),
        shop.file("sql/sources/users/own.sql"),
    )
    .unwrap();
    let out = shop.run();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("leads out of the folder"), "{said}");
    // A circle of links is one folder.
    fs::remove_file(shop.file("sql/sources/users/own.sql")).unwrap();
    fs::write(
        shop.file("sql/sources/users/own.sql"),
        "select 1 as _row, user_id from nothing",
    )
    .unwrap();
    for link in ["one", "two"] {
        std::os::unix::fs::symlink(shop.file("sql"), shop.file(&format!("sql/sources/{link}")))
            .unwrap();
    }
    let out = shop.run();
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

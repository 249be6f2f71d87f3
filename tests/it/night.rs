//! A whole night against what the generator planted, and against itself.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use datafusion::prelude::ParquetReadOptions;
use recost::engine::{Engine, Options};

use crate::shop::{NIGHT, RUN, Shop, python, run_of, text};

/// A session over the published tables that also knows the generator's truth.
fn ask(shop: &Shop, sql: &str) -> Vec<RecordBatch> {
    let options = Options {
        memory: 1 << 30,
        threads: 2,
        spill: None,
        spill_limit: u64::MAX,
        settings: Default::default(),
        date: NIGHT.parse().unwrap(),
        month: None,
        lateness_days: 0,
    };
    let current = shop.file("warehouse/current").canonicalize().unwrap();
    let engine = Engine::open(&options, Some(&current), None).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for name in ["model_costs", "duplicates", "malformed"] {
            let file = shop.file(&format!("exports/truth/{name}.parquet"));
            let file = file.to_string_lossy().into_owned();
            engine
                .context()
                .register_parquet(format!("truth_{name}"), file, ParquetReadOptions::default())
                .await
                .unwrap();
        }
        engine.collect(sql).await.unwrap()
    })
}

/// How many rows a query on tables and truth has.
fn count(shop: &Shop, sql: &str) -> usize {
    ask(shop, sql).iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn every_model_version_and_stage_costs_exactly_what_was_planted() {
    let shop = Shop::new();
    shop.run_ok();
    let planted = count(&shop, "select * from truth_model_costs");
    assert!(planted > 100, "the generator planted {planted} costs");
    let wrong = "
        with ours as (
            select day, target, model_id, model_version, stage,
                sum(usage_billed) as billed, sum(usage_effective) as effective
            from model_costs group by day, target, model_id, model_version, stage
        )
        select * from ours full join truth_model_costs as t
        on ours.day = t.day and ours.target = t.target
            and coalesce(ours.model_id, '') = coalesce(t.model_id, '')
            and coalesce(ours.model_version, '') = coalesce(t.model_version, '')
            and coalesce(ours.stage, '') = coalesce(t.stage, '')
        where (ours.billed is distinct from t.billed) or (ours.effective is distinct from t.effective)";
    assert_eq!(count(&shop, wrong), 0);
}

#[test]
fn every_planted_fault_is_found_and_nothing_else() {
    let shop = Shop::new();
    shop.run_ok();
    assert!(count(&shop, "select * from truth_malformed") > 5);
    assert!(count(&shop, "select * from truth_duplicates") > 50);
    let differ = "
        select * from quarantine as q full join truth_malformed as t
        on q.file = 'ds=' || cast(t.ds as varchar) || '/' || t.file and q.row = t.row + 1 and q.column = t.column
        where q.row is null or t.row is null";
    assert_eq!(count(&shop, differ), 0);
    // Of every event that was delivered more than once, one is left; no other is missing.
    let repeated = "
        select event_id from events where event_id in (select event_id from truth_duplicates)
        group by event_id having count(*) <> 1";
    assert_eq!(count(&shop, repeated), 0);
    let lost =
        "select event_id from truth_duplicates where event_id not in (select event_id from events)";
    assert_eq!(count(&shop, lost), 0);
    let counted = "
        select * from (select sum(rows_duplicate) as found from deliveries) as d,
            (select sum(extra_copies) as planted from truth_duplicates) as t
        where cast(found as bigint) <> cast(planted as bigint)";
    assert_eq!(count(&shop, counted), 0);
}

#[test]
fn the_model_beats_popularity_by_most_of_the_planted_margin() {
    let shop = Shop::new();
    shop.run_ok();
    let totals = std::fs::read_to_string(shop.file("exports/truth/totals.json")).unwrap();
    let totals: serde_json::Value = serde_json::from_str(&totals).unwrap();
    // What ranking by the planted tastes themselves would reach over popularity.
    let planted = totals["margin"]["ratio"].as_f64().unwrap();
    assert!(planted > 2.0, "planted {planted}");
    let rows = ask(
        &shop,
        "select model_id, value from evaluation where metric = 'recall' and k = 20
         and model_id in ('home-als', 'popularity') order by model_id",
    );
    let values: Vec<f64> = rows
        .iter()
        .flat_map(|b| b.column(1).as_primitive::<Float64Type>().values().to_vec())
        .collect();
    let [model, popularity] = values[..] else {
        panic!("{values:?}")
    };
    assert!(
        model > popularity * (1.0 + 0.5 * (planted - 1.0)),
        "model {model}, popularity {popularity}, planted ratio {planted}"
    );
}

#[test]
fn what_recommendations_cost_adds_up_to_what_their_models_cost() {
    let shop = Shop::new();
    shop.run_ok();
    assert!(count(&shop, "select * from recommendation_costs") > 20_000);
    let wrong = "
        with served as (
            select ds, model_id, sum(full_cost) as cost from recommendation_costs group by ds, model_id
        ),
        cost as (
            select day, model_id, sum(cost) as cost from (
                select day, model_id, allocation_effective as cost from model_costs
                where target = 'model' and stage in ('deployment', 'operations')
                union all
                select day, model_id, recognised from version_ledger
            ) group by day, model_id
        )
        select * from served join cost on served.ds = cost.day and served.model_id = cost.model_id
        where served.cost <> cost.cost";
    assert_eq!(count(&shop, wrong), 0);
    let impressions = "
        select * from (select count(*) as n from recommendation_costs) as c,
            (select count(*) as n from (
                select distinct cast(event_time as date), model_id, request_id, item_id from events
                where event_type = 'impression' and model_id is not null)) as e
        where c.n <> e.n";
    assert_eq!(count(&shop, impressions), 0);
}

#[test]
fn every_recommendation_served_has_its_row_also_where_its_model_cost_nothing() {
    let shop = Shop::new();
    // Only the finance ledger is left: on most days most models cost nothing.
    std::fs::remove_dir_all(shop.file("exports/billing")).unwrap();
    shop.edit(
        "name = \"cloud-bills\"",
        "name = \"cloud-bills\"\nrequired = false",
    );
    shop.run_ok();
    let missing = "
        select model_id, count(*) from (
            select distinct cast(event_time as date), model_id, request_id, item_id from events
            where event_type = 'impression' and model_id is not null
        ) group by model_id
        except
        select model_id, sum(served) from unit_costs group by model_id";
    assert_eq!(shop.query(missing), Vec::<String>::new());
    let free = "select count(*) > 0 from recommendation_costs where full_cost = 0";
    assert_eq!(shop.query(free), ["true"]);
}

#[test]
fn a_stage_alone_says_when_it_cannot_run_alone() {
    let shop = Shop::new();
    let select = |stage: &str| {
        let out = shop.recost(&[&RUN[..], &["--select", stage]].concat());
        (out.status.code().unwrap(), text(&out.stderr))
    };
    for stage in ["features", "evaluate", "attribute+"] {
        let (code, said) = select(stage);
        assert_eq!(
            (code, said.contains("nothing was ingested yet")),
            (4, true),
            "{said}"
        );
    }
    let (code, said) = select("ingest");
    assert_eq!((code, said.contains("ingest+")), (2, true), "{said}");
    assert!(!shop.file("warehouse/current").exists());
    shop.run_ok();
    assert_eq!(select("features").0, 0);
    assert_eq!(select("ingest").0, 0);
}

#[test]
fn a_model_has_its_seconds_and_what_its_evaluation_found() {
    let shop = Shop::new();
    shop.run_ok();
    let rows = shop.query("select model_id, seconds >= 0, metrics from models order by model_id");
    assert!(rows[0].starts_with("home-als,true,"), "{rows:?}");
    let recall =
        "select value from evaluation where model_id = 'home-als' and metric = 'recall' and k = 20";
    let recall = format!("recall@20\"\":{}", shop.query(recall)[0]);
    assert!(rows[0].contains(&recall), "{recall} {rows:?}");
}

#[test]
fn the_same_night_in_another_place_gives_the_same_bytes_on_any_number_of_threads() {
    let one = Shop::new();
    one.run_ok();
    let models = "select * exclude (seconds, scoring_seconds) from models";
    let (rows, files) = (one.query(models), one.published());
    let names =
        |files: &[(String, u64)]| files.iter().map(|f| f.0.clone()).collect::<BTreeSet<_>>();
    // From four on, plans look different.
    for threads in [1, 16] {
        let two = Shop::new();
        two.edit("# threads = 2", &format!("threads = {threads} #"));
        two.run_ok();
        assert_eq!(rows, two.query(models), "{threads}");
        let others = two.published();
        assert_eq!(names(&files), names(&others), "{threads}");
        let both = files.iter().zip(&others);
        let differ: Vec<&String> = both
            .filter(|(a, b)| a.1 != b.1)
            .map(|(a, _)| &a.0)
            .collect();
        assert!(differ.is_empty(), "{threads}: {differ:?}");
    }
}

#[test]
fn what_happens_after_a_night_changes_nothing_in_its_features() {
    let (with, without) = (Shop::new(), Shop::new());
    std::fs::remove_dir_all(without.file("exports/events/ds=2026-10-31")).unwrap();
    let features = |shop: &Shop| {
        let out = shop.recost(&run_of("2026-10-30"));
        assert!(out.status.success(), "{}", text(&out.stderr));
        let files = shop.published().into_iter();
        let tables = [
            "sessions/",
            "interactions/",
            "user_features/",
            "item_features/",
            "recommendations/",
        ];
        files
            .filter(|(name, _)| tables.iter().any(|t| name.starts_with(t)))
            .collect::<Vec<_>>()
    };
    // The warehouse already holds the following day here, and must not look at it.
    with.run_ok();
    let found = features(&with);
    let of_night: Vec<_> = found
        .into_iter()
        .filter(|(n, _)| n.contains("ds=2026-10-30"))
        .collect();
    assert!(!of_night.is_empty());
    assert_eq!(of_night, features(&without));
}

#[test]
fn a_restated_bill_moves_the_costs_to_where_the_generator_says() {
    let shop = Shop::new();
    shop.run_ok();
    let bill = shop.file("exports/billing/northcloud/billing_period=2026-10");
    std::fs::remove_dir_all(&bill).unwrap();
    crate::shop::copy(
        &shop.file("exports/restated/billing/northcloud/billing_period=2026-10"),
        &bill,
    );
    std::fs::copy(
        shop.file("exports/truth/restated_model_costs.parquet"),
        shop.file("exports/truth/model_costs.parquet"),
    )
    .unwrap();
    shop.run_ok();
    let wrong = "
        with ours as (
            select day, target, coalesce(model_id, '') as m, coalesce(model_version, '') as v,
                coalesce(stage, '') as s, sum(usage_effective) as effective
            from model_costs group by 1, 2, 3, 4, 5
        ),
        truth as (
            select day, target, coalesce(model_id, '') as m, coalesce(model_version, '') as v,
                coalesce(stage, '') as s, effective
            from truth_model_costs
        )
        select * from ours full join truth
        on ours.day = truth.day and ours.target = truth.target and ours.m = truth.m
            and ours.v = truth.v and ours.s = truth.s
        where ours.effective is distinct from truth.effective";
    assert_eq!(count(&shop, wrong), 0);
}

/// Runs a night in which a shipped SQL file is replaced, which must stop at the check named.
fn check_stops(path: &str, from: &str, to: &str, check: &str) {
    let shop = Shop::new();
    shop.run_ok();
    let before = shop.published();
    let shipped = recost::engine::library::SHIPPED
        .iter()
        .find(|f| f.0 == path)
        .unwrap()
        .1;
    assert!(shipped.contains(from), "{path} does not contain {from:?}");
    let own = shop.file("sql").join(path);
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(own, shipped.replace(from, to)).unwrap();
    let out = shop.run();
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains(check), "{}", text(&out.stderr));
    assert_eq!(before, shop.published());
}

#[test]
fn a_charge_that_goes_missing_stops_the_run() {
    check_stops(
        "attribution/lines.sql",
        "from charges\n",
        "from charges where \"row\" > 2\n",
        "charge_is_split_exactly",
    );
}

#[test]
fn a_cost_that_is_counted_twice_stops_the_run() {
    check_stops(
        "attribution/model_costs.sql",
        "sum(effective) as allocation_effective",
        "2 * sum(effective) as allocation_effective",
        "views_of_cost_agree",
    );
}

#[test]
fn a_bill_that_does_not_reconcile_stops_the_run() {
    check_stops(
        "attribution/reconciliation.sql",
        "sum(effective_cost) as effective",
        "sum(effective_cost) + 0.000000000000000001 as effective",
        "period_is_reconciled",
    );
}

#[test]
fn recommendations_that_do_not_carry_their_models_day_stop_the_run() {
    check_stops(
        "checks/recommendations_add_up_to_model_day.sql",
        "count(*) as served, sum(run_cost) as run_cost, sum(full_cost) as full_cost",
        "count(*) as served, sum(run_cost) as run_cost, sum(full_cost) + 1 as full_cost",
        "recommendations_add_up_to_model_day",
    );
}

#[test]
fn duckdb_reads_the_tables_as_they_lie_and_finds_the_same_sums() {
    let shop = Shop::new();
    shop.run_ok();
    let script = "
import duckdb
read = lambda t: f\"read_parquet('warehouse/current/{t}/**/*.parquet', hive_partitioning=true)\"
print(duckdb.sql(f'select count(distinct ds), count(*) from {read(\"events\")}').fetchone())
print(duckdb.sql(f'select sum(effective)::varchar from {read(\"allocations\")}').fetchone()[0])
print(duckdb.sql(f'select sum(effective_cost)::varchar from {read(\"charges\")}').fetchone()[0])
print(duckdb.sql(f'select len(factors) from {read(\"item_factors\")} limit 1').fetchone()[0])
";
    let Some(out) = python(shop.path(), &["-c", script]) else {
        return;
    };
    assert!(out.status.success(), "{}", text(&out.stderr));
    let lines: Vec<String> = text(&out.stdout).lines().map(str::to_string).collect();
    let ours = shop.query("select count(distinct ds), count(*) from events");
    assert_eq!(lines[0], format!("({})", ours[0].replace(',', ", ")));
    assert_eq!(lines[1], lines[2], "allocations add up to the bill");
    assert_eq!(lines[3], "64");
}

//! The unit view on the generated shop: cost to make, recognised, written off; outcomes credited; versions compared.

use crate::shop::{NIGHT, Shop, text};

const LIFE: &str = "known_models = [\"similar-items\"]
last_touch = \"12h\"

[attribution.service_life]
days = 10

[attribution.service_life.models.home-als]
recommendations = 12_000
superseded_after_days = 3

[attribution.service_life.models.similar-items]
retired = { v3 = 2026-10-29 }
";

fn shop() -> Shop {
    let shop = Shop::new();
    shop.edit("known_models = [\"similar-items\"]", LIFE);
    shop.run_ok();
    shop
}

fn none(shop: &Shop, sql: &str) {
    assert_eq!(shop.query(sql), Vec::<String>::new(), "{sql}");
}

#[test]
fn what_versions_cost_to_make_is_recognised_written_off_or_still_there() {
    let shop = shop();
    // Nothing of what models cost is lost between the period view and the unit view.
    none(
        &shop,
        "with period as (
            select model_id, currency, sum(allocation_effective) as cost from model_costs
            where target = 'model' group by model_id, currency
        ),
        unit as (
            select model_id, currency, sum(full_cost) as cost from unit_costs group by model_id, currency
        ),
        ledger as (
            select model_id, currency, sum(incurred - recognised - written_off) as closing, sum(written_off) as lost
            from version_ledger group by model_id, currency
        )
        select * from period
        left join unit on unit.model_id = period.model_id and unit.currency = period.currency
        left join ledger on ledger.model_id = period.model_id and ledger.currency = period.currency
        where period.cost <> unit.cost + coalesce(closing, 0) + coalesce(lost, 0)",
    );
    // v7 was shown last on the 24th: three days later what is left of it is written off. v3 is retired by its date.
    let lost = "select model_version, min(day), max(closing) from version_ledger
        where written_off > 0 group by model_version order by 1";
    let lost = shop.query(lost);
    assert_eq!(lost[0], "v3,2026-10-29,0.000000000000000000");
    assert_eq!(lost[1], "v7,2026-10-27,0.000000000000000000");
    // What is recognised goes with what was shown: v8 used 1/12,000 of its life with each recommendation.
    none(
        &shop,
        "select * from (
            select 12000 - min(life_after) as used from version_ledger where model_version = 'v8'
        ) as a, (select sum(served) as served from served_days where model_version = 'v8') as b
        where used <> served",
    );
    none(
        &shop,
        "select * from version_ledger join (
            select model_id, model_version, min(ds) as first from served_days group by 1, 2
        ) as s on s.model_id = version_ledger.model_id and s.model_version = version_ledger.model_version
        where day < first and recognised <> 0",
    );
    // The same night again writes the same bytes.
    let file = only_file(&shop.file("warehouse/current/version_ledger"));
    let before = std::fs::read(&file).unwrap();
    shop.run_ok();
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn counts_of_a_day_are_those_of_its_recommendations_and_each_outcome_is_credited_once() {
    let shop = shop();
    none(
        &shop,
        "select * from served_days
        left join (
            select ds, model_id, model_version, surface, count(*) as served, count(distinct request_id) as requests
            from recommendation_costs group by ds, model_id, model_version, surface
        ) as c on c.ds = served_days.ds and c.model_id = served_days.model_id
            and (c.model_version is not distinct from served_days.model_version)
            and (c.surface is not distinct from served_days.surface)
        where (c.served is distinct from served_days.served) or (c.requests is distinct from served_days.requests)",
    );
    none(
        &shop,
        "select event_id from outcomes group by event_id having count(*) > 1",
    );
    let credited =
        shop.query("select credited_by, count(*) > 10 from outcomes group by 1 order by 1");
    assert_eq!(credited, ["last_touch,true", "request,true"]);
    // The same by SQL alone: purchases without a request, the last showing of the item to the user within 12 hours.
    none(
        &shop,
        "with touched as (
            select p.event_id, i.model_id, i.request_id,
                row_number() over (partition by p.event_id order by i.event_time desc, i.rank, i.model_id) as place
            from events as p
            join events as i on i.user_id = p.user_id and i.item_id = p.item_id
            where p.event_type = 'purchase' and p.request_id is null
                and i.event_type = 'impression' and i.model_id is not null and i.request_id is not null
                and i.event_time <= p.event_time and p.event_time <= i.event_time + interval '12 hours'
        ),
        expected as (select event_id, model_id, request_id from touched where place = 1),
        found as (select event_id, model_id, request_id from outcomes where credited_by = 'last_touch')
        (select * from expected except select * from found) union all (select * from found except select * from expected)",
    );
    none(
        &shop,
        "select * from unit_costs where full_cost <> run_cost + overhead_cost + making_cost
            or (served = 0) <> (full_cost_per_1000 is null) or (conversions = 0) <> (full_cost_per_conversion is null)
            or converted_requests > requests or clicks > served",
    );
}

#[test]
fn a_ledger_that_does_not_close_or_lacks_a_cost_is_found() {
    let shop = shop();
    let check = || shop.recost(&["check", "pipeline.toml", "--date", NIGHT]);
    assert_eq!(check().status.code(), Some(0));
    let file = only_file(&shop.file("warehouse/current/version_ledger"));
    let whole = std::fs::read(&file).unwrap();
    let columns = "day, model_id, model_version, currency, opening, incurred, transferred, recognised, written_off, closing,
        life_unit, used, life_before, life_after, policy";
    for (column, damaged, named) in [
        (
            "closing",
            "closing + 0.000000000000000001",
            "version_ledger_closes",
        ),
        (
            "opening",
            "case when day = date '2026-10-25' then opening + 1 else opening end",
            "version_ledger_closes",
        ),
        // What was incurred is changed and all that follows with it: the ledger closes and is wrong all the same.
        (
            "incurred",
            "case when opening = 0 then incurred + 1 else incurred end",
            "version_ledger",
        ),
    ] {
        let select = columns.replace(
            column,
            &format!("cast({damaged} as decimal(38, 18)) as {column}"),
        );
        let sql = format!("select {select} from version_ledger");
        let out = shop.recost(&["sql", "pipeline.toml", &sql, "--format", "parquet"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        std::fs::write(&file, out.stdout).unwrap();
        let out = check();
        assert_eq!(out.status.code(), Some(3), "{column}");
        assert!(text(&out.stderr).contains(named), "{}", text(&out.stderr));
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn costs_that_the_ledger_lacks_stop_the_run_and_publish_nothing() {
    let shop = shop();
    let before = shop.published();
    // The ledger is made of what this file gives; the check asks the costs themselves.
    let path = shop.file("sql/checks/version_ledger_has_all_costs.sql");
    let sql = std::fs::read_to_string("sql/checks/version_ledger_has_all_costs.sql").unwrap();
    let damaged = sql.replace(
        "effective as cost,",
        "effective + 0.000000000000000001 as cost,",
    );
    assert_ne!(sql, damaged);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, damaged).unwrap();
    let out = shop.run();
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("version_ledger_has_all_costs"));
    assert_eq!(shop.published(), before);
}

#[test]
fn days_before_the_window_follow_what_their_models_cost_and_the_month_can_be_closed() {
    let shop = Shop::new();
    shop.run_ok();
    let costs = "select ds, model_id, sum(full_cost) from unit_costs where ds < date '2026-10-28' group by 1, 2 order by 1, 2";
    let before = shop.query(costs);
    // Nothing has changed: a shorter window leaves the days before it alone.
    shop.edit("history_days = 30", "history_days = 3");
    shop.run_ok();
    assert_eq!(shop.query(costs), before);
    // Another service life is another cost on every day, and the check of the whole month holds.
    shop.edit("known_models = [\"similar-items\"]", LIFE);
    shop.run_ok();
    assert_ne!(shop.query(costs), before);
    let out = shop.recost(&["close", "pipeline.toml", "2026-10"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

#[test]
fn two_versions_are_held_against_each_other() {
    let shop = shop();
    let compare = |args: &[&str]| {
        let out = shop.recost(&[&["compare", "pipeline.toml"], args].concat());
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, _) = compare(&["home-als@v7", "home-als@v8", "--format", "json"]);
    assert_eq!(code, Some(0));
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let requests = shop.query(
        "select sum(requests), sum(converted_requests) from unit_costs where model_version = 'v8'",
    );
    let side = &found["sides"][1];
    let counts = format!("{},{}", side["requests"], side["converted_requests"]);
    assert_eq!(requests, [counts]);
    let made = "select sum(incurred) from version_ledger where model_version = 'v8'";
    let made = shop.query(made)[0].trim_end_matches('0').to_string();
    assert_eq!(found["currencies"][0]["sides"][1]["made"], made);
    let d = &found["difference"];
    let (low, high) = (d["low"].as_f64().unwrap(), d["high"].as_f64().unwrap());
    assert!(low < d["estimate"].as_f64().unwrap() && d["estimate"].as_f64().unwrap() < high);

    let (code, out, _) = compare(&["home-als@v7", "home-als@v8"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("Newcombe") && out.contains("to make. On its"),
        "{out}"
    );
    // What is not there is said, with what is.
    let (code, _, err) = compare(&["home-als@v7", "home-als@v9"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("v7, v8"), "{err}");
    let (code, _, err) = compare(&["trendin", "home-als"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean `trending`?"), "{err}");
    let nothing = ["trending", "home-als", "--to", "2026-09-01"];
    let (code, out, _) = compare(&nothing);
    assert_eq!(code, Some(0));
    assert!(out.contains("nothing to compare"), "{out}");
}

#[test]
fn a_service_life_that_makes_no_sense_is_refused_before_anything_is_written() {
    let shop = Shop::new();
    let known = "known_models = [\"similar-items\"]";
    for (keys, says) in [
        ("last_touch = \"1 fortnight\"", "no length of time"),
        ("[attribution.service_life]\ndays = 0", "at least 1"),
        (
            "[attribution.service_life]\ndays = 1\nrecommendations = 1",
            "both",
        ),
        (
            "[attribution.service_life.models.home-asl]\ndays = 1",
            "did you mean `home-als`?",
        ),
        (
            "[attribution.service_life.models.home-als]\nretired = { v1 = \"soon\" }",
            "not a date",
        ),
    ] {
        let with = format!("{known}\n{keys}");
        shop.edit(known, &with);
        let out = shop.run();
        assert_eq!(out.status.code(), Some(2), "{keys}");
        assert!(
            text(&out.stderr).contains(says),
            "{keys}: {}",
            text(&out.stderr)
        );
        shop.edit(&with, known);
    }
}

/// The file of a table that has one.
fn only_file(dir: &std::path::Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

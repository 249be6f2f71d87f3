//! Where charges go by the rules of a pipeline, end to end: what a plan says of them, cost pools, recorded runs, and
//! costs in the reporting currency.

use std::fs;

use crate::billing::Bills;
use crate::shop::text;

const NIGHT: &str = "2026-10-02";

/// One row of a bill: what it is called, currency, amount, tags.
fn row(day: u32, resource: &str, currency: &str, amount: &str, tags: &str) -> String {
    format!(
        "{currency},2026-10-01,2026-11-01,2026-10-{day:02}T00:00:00Z,2026-10-{:02}T00:00:00Z,Usage,Cloud,{resource},{amount},{amount},{tags}",
        day + 1
    )
}

/// A project with these rows, and more at the end of its pipeline file.
fn project(rows: &[String], more: &str) -> Bills {
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let bills = Bills::new(&rows);
    append(&bills, more);
    bills
}

fn append(bills: &Bills, more: &str) {
    let file = bills.path().join("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n{more}\n")).unwrap();
}

const RULES: &str = r#"
[[attribution.rules]]
name = "cluster"
match = { resource_id = "cluster*" }
target = "pool"
pool = "platform"

[[attribution.rules]]
name = "nodes"
match = { resource_id = "*node" }
target = "model"
model = "B"

[[attribution.rules]]
name = "hidden"
match = { resource_id = "cluster-1" }
target = "idle"

[[attribution.rules]]
name = "never"
match = { resource_id = "nothing" }
target = "idle"

[[attribution.pools]]
name = "platform"
target = "model"
shares = { data = 40, A = 60 }

[[attribution.pools]]
name = "data"
target = "model"
models = ["A", "B"]
driver = "even"
stage = "training"
"#;

#[test]
fn a_plan_says_what_each_rule_would_take_and_writes_nothing() {
    let bills = project(
        &[
            row(1, "cluster-1", "USD", "100", ""),
            row(1, "cluster-node", "USD", "10", ""),
            row(2, "gpu-node", "USD", "7.50", ""),
            row(2, "gpu-node", "EUR", "0.25", ""),
            row(2, "disk", "USD", "3", ""),
        ],
        RULES,
    );
    let out = bills.recost(&["plan", "pipeline.toml", "--date", NIGHT]);
    let plan = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let rules = plan.split("rules over").nth(1).unwrap();
    let rules = rules.split("\n\n").next().unwrap();
    insta::assert_snapshot!(rules);
    assert!(!bills.path().join("warehouse").exists());

    // The same from the published bills, and as JSON.
    bills.run_ok(NIGHT);
    let out = bills.recost(&["plan", "pipeline.toml", "--date", NIGHT]);
    assert!(text(&out.stdout).contains(rules), "{}", text(&out.stdout));
    let out = bills.recost(&["plan", "pipeline.toml", "--date", NIGHT, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let attribution = &json["attribution"];
    assert_eq!(attribution["charges"], 5);
    assert_eq!(attribution["rules"][1]["costs"][0]["billed"], "0.25");
    assert_eq!(
        attribution["rules"][2]["taken_by_earlier_rules"][0],
        serde_json::json!({"rule": "cluster", "charges": 1})
    );
}

#[test]
fn a_run_warns_of_rules_that_nothing_came_to() {
    let bills = project(&[row(1, "cluster-1", "USD", "100", "")], RULES);
    let (code, message) = bills.run(NIGHT);
    assert_eq!(code, 0, "{message}");
    assert!(
        message.contains("no charge came to these rules: `nodes`, `hidden`, `never`"),
        "{message}"
    );
}

#[test]
fn pools_feed_models_and_pools_and_explain_shows_the_way() {
    let bills = project(&[row(1, "cluster-1", "USD", "100", "")], RULES);
    bills.run_ok(NIGHT);
    assert_eq!(
        bills.query(
            "select model_id, stage, sum(effective) from allocations group by 1, 2 order by 1, 2"
        ),
        [
            "A,operations,60.000000000000000000",
            "A,training,20.000000000000000000",
            "B,training,20.000000000000000000",
        ]
    );
    let id = &bills.query("select row_id from charges")[0];
    let out = bills.recost(&["explain", "pipeline.toml", id]);
    let explained = text(&out.stdout);
    assert!(
        explained.contains("through platform > data (40000000 of 100000000 by shares)"),
        "{explained}"
    );
}

#[test]
fn pools_in_a_circle_shares_short_of_the_whole_and_rules_that_overlap_are_refused_before_anything_is_read()
 {
    let circle = RULES.replace(
        "models = [\"A\", \"B\"]\ndriver = \"even\"",
        "shares = { platform = 100 }",
    );
    let hidden = RULES.replace("resource_id = \"cluster-1\"", "resource_id = \"cluster*\"");
    let short = RULES.replace(
        "models = [\"A\", \"B\"]\ndriver = \"even\"",
        "shares = { A = 60, B = 39.99 }",
    );
    let overlapping = format!(
        "{RULES}from = 2026-10-01\n[[attribution.pools]]\nname = \"data\"\n\
        target = \"model\"\nmodel = \"A\"\nto = 2026-10-02\n"
    );
    for (rules, said) in [
        (
            circle,
            "platform → data → platform; a pool is closed once, so take one of these steps away",
        ),
        (
            hidden,
            "rule \"hidden\" can never match: \"cluster\" stands before it and takes all that it could; change their order, or \
             narrow the first",
        ),
        (
            short,
            "cost pool \"data\": the shares add up to 99.99 percent, not 100; give what is missing to a model or cost pool, or take \
             away what is too much",
        ),
        (
            overlapping,
            "cost pool \"data\" is written twice for the same dates; give one another name, or dates that do not overlap",
        ),
    ] {
        let bills = project(&[row(1, "cluster-1", "USD", "100", "")], &rules);
        for command in ["plan", "run"] {
            let out = bills.recost(&[command, "pipeline.toml", "--date", NIGHT]);
            assert_eq!(out.status.code(), Some(2));
            let message = text(&out.stderr);
            // Lines are wrapped for the terminal.
            let message = message.replace('│', " ");
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(message.contains("pipeline.toml"), "{message}");
            assert!(message.contains(said), "{message}");
        }
        assert!(!bills.path().join("warehouse").exists());
    }
}

#[test]
fn what_is_wrong_with_a_cost_pool_is_said_of_a_cost_pool() {
    let wrong = |from: &str, to: &str| {
        assert!(RULES.contains(from), "{from}");
        RULES.replace(from, to)
    };
    for (rules, said) in [
        (
            wrong("A = 60 }", "A = 50 }"),
            "cost pool \"platform\": the shares add up to 90 percent, not 100",
        ),
        (
            wrong("models = [\"A\", \"B\"]", "models = [\"A\", \"BB\"]"),
            "cost pool \"data\": \"BB\" is not a model or cost pool of this pipeline",
        ),
        (
            wrong(
                "driver = \"even\"\n",
                "driver = \"even\"\nknown_resource = true\n",
            ),
            "cost pool \"data\": `known_resource` is for rules",
        ),
        (
            wrong("stage = \"training\"", "from = 2026-10-02\nto = 2026-10-01"),
            "cost pool \"data\": `from` 2026-10-02 is not before `to` 2026-10-01",
        ),
        (
            wrong("name = \"data\"", "name = \"platform\""),
            "cost pool \"platform\" is written twice for the same dates",
        ),
        (
            wrong("name = \"data\"", "name = \" \""),
            "cost pool number 2 has no name",
        ),
    ] {
        let bills = project(&[row(1, "cluster-1", "USD", "100", "")], &rules);
        let (code, message) = bills.run(NIGHT);
        assert_eq!(code, 2, "{message}");
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(said), "{said}\n{message}");
    }
}

#[test]
fn a_recorded_run_takes_what_its_tag_or_its_machine_and_time_say() {
    let bills = project(
        &[
            row(1, "trainer", "USD", "30", ""),
            row(2, "trainer", "USD", "30", ""),
            row(2, "bucket", "USD", "8", r#""{""run"":""r-1""}""#),
            row(2, "other", "USD", "1", r#""{""run"":""r-9""}""#),
        ],
        "[[sources]]\nname = \"telemetry\"\nkind = \"usage\"\npath = \"usage.csv\"\ndialect = \"recost\"",
    );
    // A runs over midnight, B on the second day only: that day is split by time.
    fs::write(
        bills.path().join("usage.csv"),
        "usage_start,usage_end,resource_id,model_id,model_version,stage,run_id,gpu_ns,cpu_ns,bytes,requests,reserved_ns,capacity_ns\n\
         2026-10-01T22:00:00Z,2026-10-02T02:00:00Z,trainer,A,v1,training,r-1,,,,,,\n\
         2026-10-02T02:00:00Z,2026-10-02T03:00:00Z,trainer,B,v1,training,r-2,,,,,,\n",
    )
    .unwrap();
    bills.run_ok(NIGHT);
    assert_eq!(
        bills.query(
            "select resource_id, day, model_id, allocations.rule, effective from allocations join charges using (row_id)
             order by resource_id, day, model_id"
        ),
        [
            "bucket,2026-10-02,A,default: run tag,8.000000000000000000",
            "other,2026-10-02,,no rule matched,1.000000000000000000",
            "trainer,2026-10-01,A,default: run map,30.000000000000000000",
            "trainer,2026-10-02,A,default: run map,20.000000000000000000",
            "trainer,2026-10-02,B,default: run map,10.000000000000000000",
        ]
    );
}

#[test]
fn a_run_counts_however_long_before_the_bill_it_began() {
    let bills = project(
        &[
            row(5, "trainer", "USD", "24", ""),
            row(5, "bucket", "USD", "8", r#""{""run"":""r-0""}""#),
        ],
        "[[sources]]\nname = \"telemetry\"\nkind = \"usage\"\npath = \"usage.csv\"\ndialect = \"recost\"",
    );
    // The first charge is days after the run r-0 has ended, and after r-1 has begun.
    fs::write(
        bills.path().join("usage.csv"),
        "usage_start,usage_end,resource_id,model_id,model_version,stage,run_id,gpu_ns,cpu_ns,bytes,requests,reserved_ns,capacity_ns\n\
         2026-09-20T00:00:00Z,2026-09-20T01:00:00Z,elsewhere,A,v1,training,r-0,,,,,,\n\
         2026-10-01T22:00:00Z,2026-10-05T18:00:00Z,trainer,A,v1,training,r-1,,,,,,\n\
         2026-10-05T18:00:00Z,2026-10-06T00:00:00Z,trainer,B,v1,training,r-2,,,,,,\n",
    )
    .unwrap();
    bills.run_ok("2026-10-06");
    assert_eq!(
        bills.query(
            "select resource_id, model_id, allocations.rule, effective from allocations join charges using (row_id)
             order by resource_id, model_id"
        ),
        [
            "bucket,A,default: run tag,8.000000000000000000",
            "trainer,A,default: run map,18.000000000000000000",
            "trainer,B,default: run map,6.000000000000000000",
        ]
    );
}

#[test]
fn idle_moves_within_the_bill_that_it_was_on() {
    let cloud = row(1, "node-1", "USD", "10", "");
    let own = row(1, "node-1", "USD", "20", "").replace("Cloud", "Own machines");
    let bills = project(
        &[cloud, own],
        "[[sources]]\nname = \"telemetry\"\nkind = \"usage\"\npath = \"usage.csv\"\ndialect = \"recost\"",
    );
    fs::write(
        bills.path().join("usage.csv"),
        "usage_start,usage_end,resource_id,model_id,model_version,stage,gpu_ns,cpu_ns,bytes,requests,reserved_ns,capacity_ns\n\
         2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,node-1,A,,training,3,,,,,10\n",
    )
    .unwrap();
    bills.run_ok(NIGHT);
    let lines = "select issuer, basis, line, cast(effective as double) from reconciliation
        where line in ('attributed', 'idle') order by 1, 2, 3";
    assert_eq!(
        bills.query(lines),
        [
            "Cloud,allocation,attributed,10.0",
            "Cloud,allocation,idle,0.0",
            "Cloud,usage,attributed,3.0",
            "Cloud,usage,idle,7.0",
            "Own machines,allocation,attributed,20.0",
            "Own machines,allocation,idle,0.0",
            "Own machines,usage,attributed,6.0",
            "Own machines,usage,idle,14.0",
        ]
    );
}

const RATES: &str = "[[sources]]\nname = \"rates\"\nkind = \"exchange_rates\"\npath = \"rates.csv\"\ndialect = \"recost\"";

fn in_euro(rates: &str) -> Bills {
    let rows = [
        row(1, "node", "USD", "100", r#""{""model"":""A""}""#),
        row(2, "node", "USD", "10", r#""{""model"":""A""}""#),
        row(2, "node", "EUR", "7", r#""{""model"":""B""}""#),
    ];
    let bills = project(&rows, "reporting_currency = \"EUR\"");
    append(&bills, RATES);
    let head = "rate_id,valid_from,from_currency,to_currency,rate";
    fs::write(bills.path().join("rates.csv"), format!("{head}\n{rates}\n")).unwrap();
    bills
}

#[test]
fn costs_in_the_reporting_currency_keep_their_rate_and_the_difference_has_its_line() {
    let bills = in_euro("r1,2026-10-01,USD,EUR,0.5\nr2,2026-10-02,USD,EUR,0.6");
    bills.run_ok(NIGHT);
    assert_eq!(
        bills.query(
            "select line, day, currency, model_id, rate_id, usage_effective from converted_costs order by line, day, currency"
        ),
        [
            "cost,2026-10-01,USD,A,r1,50.000000000000000000",
            "cost,2026-10-02,EUR,B,,7.000000000000000000",
            "cost,2026-10-02,USD,A,r2,6.000000000000000000",
            // 110 at the rate of the closing day, less 56.
            "exchange_difference,2026-10-02,USD,,r2,10.000000000000000000",
        ]
    );
    // No reporting currency, no converted costs.
    let file = bills.path().join("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("reporting_currency = \"EUR\"", "")).unwrap();
    bills.run_ok(NIGHT);
    assert_eq!(bills.query("select count(*) from converted_costs"), ["0"]);
}

#[test]
fn a_day_without_an_exchange_rate_stops_the_run() {
    let bills = in_euro("r1,2026-09-20,USD,EUR,0.5");
    let (code, message) = bills.run(NIGHT);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, 3, "{message}");
    assert!(
        message.contains("there is no exchange rate from USD to EUR for 2026-10-01"),
        "{message}"
    );
    assert!(!bills.path().join("warehouse/current").exists());
    append(&bills, "");
    let file = bills.path().join("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    let longer = text.replace(
        "reporting_currency",
        "oldest_rate_days = 12\nreporting_currency",
    );
    fs::write(&file, longer).unwrap();
    bills.run_ok(NIGHT);
}

#[test]
fn a_project_says_itself_what_stage_and_category_a_row_is() {
    let tagged = r#""{""model"":""A""}""#;
    let staged = r#""{""model"":""A"",""stage"":""upgrade""}""#;
    let bills = project(
        &[
            row(1, "lab-1", "USD", "5", tagged),
            row(1, "lab-2", "USD", "3", staged),
            row(1, "shop", "USD", "2", tagged),
        ],
        "",
    );
    let own = bills.path().join("sql/attribution");
    fs::create_dir_all(&own).unwrap();
    fs::write(
        own.join("lines.sql"),
        "select charges.*,
            case when resource_id like 'lab%' then 'development' end as stage,
            case when resource_id like 'lab%' then 'labour' else 'other' end as category,
            coalesce(invoice_issuer_name, provider_name, source) as issuer
         from charges",
    )
    .unwrap();
    bills.run_ok(NIGHT);
    assert_eq!(
        bills.query("select stage, category, effective from allocations order by effective desc"),
        [
            "development,labour,5.000000000000000000",
            "upgrade,labour,3.000000000000000000",
            "operations,other,2.000000000000000000",
        ]
    );
}

#[test]
fn a_plan_names_the_closed_months_that_would_be_restated() {
    let bills = project(&[row(1, "disk", "USD", "100", "")], "");
    bills.run_ok(NIGHT);
    let close = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(close.status.success(), "{}", text(&close.stderr));
    let plan = || {
        text(
            &bills
                .recost(&["plan", "pipeline.toml", "--date", NIGHT])
                .stdout,
        )
    };
    assert!(!plan().contains("restated\n"), "{}", plan());
    bills.deliver(&[row(1, "disk", "USD", "70", "")]);
    let says = "closed periods whose bills came later: 2026-10; what differs would be restated";
    assert!(plan().contains(says), "{}", plan());
}

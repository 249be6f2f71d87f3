//! `recost explain`: every figure down to the rows of the bill.

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::billing::Bills;
use crate::shop::{Shop, recost, text};
use crate::worked_example::project;

fn explain(dir: &TempDir, args: &[&str]) -> String {
    let all = [&["explain", "pipeline.toml"], args].concat();
    let out = recost(dir.path(), &all);
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout)
}

fn row_id(dir: &TempDir, resource: &str) -> String {
    let sql = format!("select row_id from charges where resource_id = '{resource}'");
    let out = recost(
        dir.path(),
        &["sql", "pipeline.toml", &sql, "--format", "csv"],
    );
    text(&out.stdout).lines().nth(1).unwrap().to_string()
}

/// Ids of deliveries change with any change of a mapping, and versions of rules with any change of a rule.
fn without_ids(text: &str) -> String {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{32}", "[ID]");
    settings.add_filter(r"\bh[0-9a-f]{16}\b", "[VERSION]");
    let _bound = settings.bind_to_scope();
    assert_snapshot!(text);
    text.to_string()
}

#[test]
fn each_cent_of_a_charge() {
    let dir = project();
    let id = row_id(&dir, "gpu-node");
    let whole = explain(&dir, &[&id]);
    without_ids(&whole);
    for named in [&id[..6], &id[..27], "bill.csv:1"] {
        assert_eq!(explain(&dir, &[named]), whole, "{named} is enough");
    }
    let json: serde_json::Value =
        serde_json::from_str(&explain(&dir, &[&id, "--format", "json"])).unwrap();
    assert_eq!(json["charges"][0]["billed"], "98.400000000000000000");
    let parts = json["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[0]["effective"], "41.000000000000000000");
}

#[test]
fn where_a_models_cost_came_from() {
    let dir = project();
    without_ids(&explain(&dir, &["A"]));
    let training = explain(&dir, &["A", "--stage", "training", "--limit", "1"]);
    assert!(training.contains("42.171428571428571429"), "{training}");
    assert!(!training.contains("deployment"), "{training}");
}

#[test]
fn what_is_neither_a_charge_nor_a_model_names_the_nearest() {
    let dir = project();
    let out = recost(dir.path(), &["explain", "pipeline.toml", "a"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("did you mean `A`?"),
        "{}",
        text(&out.stderr)
    );
    let quote = recost(dir.path(), &["explain", "pipeline.toml", "x' or '1'='1"]);
    assert_eq!(quote.status.code(), Some(2));
}

#[test]
fn idle_what_has_no_owner_and_one_version_can_be_followed_too() {
    let dir = project();
    let idle = explain(&dir, &["idle"]);
    assert!(idle.contains("in all") && idle.contains("45.10"), "{idle}");
    let pool = idle
        .split_whitespace()
        .find(|word| word.starts_with("idle/"))
        .map(|_| {
            idle[idle.find("idle/").unwrap()..]
                .split("  ")
                .next()
                .unwrap()
                .to_string()
        })
        .unwrap();
    let moved = explain(&dir, &[&pool]);
    for says in ["A, training", "B, deployment", "17.571428571428571429"] {
        assert!(moved.contains(says), "{says}\n{moved}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&explain(&dir, &[&pool, "--format", "json"])).unwrap();
    assert_eq!(json["row_id"], pool);
    for (args, says) in [
        (["A", "--stage", "trainnig"], "is not a stage"),
        (["A", "--period", "2026-99"], "is no billing period"),
    ] {
        let out = recost(
            dir.path(),
            &[&["explain", "pipeline.toml"], &args[..]].concat(),
        );
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains(says), "{}", text(&out.stderr));
    }
}

#[test]
fn a_version_and_a_model_that_only_a_correction_knows() {
    let row = |model: &str, version: &str| {
        format!(
            "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,r1,100,100,\"{{\"\"model\"\":\"\"{model}\"\",\"\"model_version\"\":\"\"{version}\"\"}}\""
        )
    };
    let bills = Bills::new(&[&row("A", "v1"), &row("A", "v2"), &row("A", "v2")]);
    bills.run_ok("2026-10-31");
    let close = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(close.status.success());
    bills.deliver(&[row("B", "v1"), row("A", "v2"), row("A", "v2")]);
    bills.run_ok("2026-11-01");
    let explain = |args: &[&str]| {
        let out = bills.recost(&[&["explain", "pipeline.toml"], args].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    assert!(explain(&["A@v2"]).contains("200.00"));
    let corrected = explain(&["B"]);
    assert!(
        corrected.contains("restated for closed periods"),
        "{corrected}"
    );
    assert!(corrected.contains("100.00"), "{corrected}");
    assert!(!explain(&["B", "--period", "2026-09"]).contains("restated"));
}

#[test]
fn a_closed_months_charge_and_its_correction_stand_side_by_side() {
    let row = |amount: &str| {
        format!(
            "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,r1,{amount},{amount},\"{{\"\"model\"\":\"\"A\"\"}}\""
        )
    };
    let bills = Bills::new(&[&row("100")]);
    bills.run_ok("2026-10-31");
    assert!(
        bills
            .recost(&["close", "pipeline.toml", "2026-10"])
            .status
            .success()
    );
    bills.deliver(&[row("70")]);
    bills.run_ok("2026-11-01");
    let out = text(&bills.recost(&["explain", "pipeline.toml", "A"]).stdout);
    for says in ["100.00", "restated for closed periods", "-30.00"] {
        assert!(out.contains(says), "{says}\n{out}");
    }
    let id = bills.query("select row_id from late_charges").remove(0);
    let out = text(&bills.recost(&["explain", "pipeline.toml", &id]).stdout);
    assert!(
        out.contains("came after its billing period was closed"),
        "{out}"
    );
    assert!(out.contains("70.00"), "{out}");
}

/// Standard output of `recost explain` on the shop, as JSON.
fn of_shop(shop: &Shop, args: &[&str]) -> serde_json::Value {
    let out = shop.recost(&[&["explain", "pipeline.toml", "--format", "json"], args].concat());
    assert!(out.status.success(), "{args:?} {}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A column of rows of an explanation, in order.
fn column<'a>(rows: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let rows = rows.as_array().unwrap();
    rows.iter().map(|row| row[name].as_str().unwrap()).collect()
}

#[test]
fn a_figure_read_from_what_was_added_up_is_the_one_of_its_allocations() {
    let shop = Shop::new();
    shop.run_ok();
    let largest = |of: &str, limit: u32| {
        shop.query(&format!(
            "select row_id, effective from allocations where {of}
             order by abs(effective) desc, abs(billed) desc, row_id, stage limit {limit}"
        ))
    };
    for (args, of) in [
        (&["home-als"][..], "model_id = 'home-als'"),
        (
            &["home-als@v8", "--stage", "training"],
            "model_id = 'home-als' and model_version = 'v8' and stage = 'training'",
        ),
        (&["idle", "--period", "2026-10"], "target = 'idle'"),
        (&["unallocated"], "target = 'unallocated'"),
    ] {
        let totals = format!(
            "select sum(billed), sum(effective), count(*) from allocations where {of} group by currency, stage, category, rule, driver
             order by currency, abs(sum(effective)) desc, stage, category, rule, driver"
        );
        // Up to twenty are kept; for more the allocations are read, and nothing else changes.
        for limit in [7, 20, 60] {
            let limited = limit.to_string();
            let found = of_shop(&shop, &[args, &["--limit", &limited]].concat());
            let parts = column(&found["largest"], "row_id").into_iter();
            let parts = parts.zip(column(&found["largest"], "effective"));
            let parts: Vec<String> = parts.map(|(id, sum)| format!("{id},{sum}")).collect();
            assert_eq!(parts, largest(of, limit), "{args:?} {limit}");
            let sums = found["totals"].as_array().unwrap().iter();
            let sums = sums.map(|row| {
                let of = |name: &str| row[name].as_str().unwrap();
                format!(
                    "{},{},{}",
                    of("allocation_billed"),
                    of("allocation_effective"),
                    row["parts"]
                )
            });
            assert_eq!(sums.collect::<Vec<_>>(), shop.query(&totals), "{args:?}");
        }
    }
}

#[test]
fn what_a_version_cost_to_make_is_followed_from_what_is_recognised_to_the_bill() {
    let shop = Shop::new();
    shop.run_ok();
    let found = of_shop(&shop, &["home-als@v8"]);
    let month = &found["service_life"][0];
    let of_version = "from version_ledger where model_id = 'home-als' and model_version = 'v8'";
    let sums = shop.query(&format!(
        "select sum(incurred), sum(recognised), sum(written_off), sum(used) {of_version}"
    ));
    let text_of = |name: &str| month[name].as_str().unwrap();
    let said = ["incurred", "recognised", "written_off"]
        .map(text_of)
        .join(",");
    assert_eq!(sums, [format!("{said},{}", month["used"])]);
    let last = shop.query(&format!(
        "select closing {of_version} order by day desc limit 1"
    ));
    assert_eq!(last, [text_of("closing")]);
    assert!(text_of("policy").starts_with("days=30"));
    // Behind it: development, training and upgrade alone, largest first, each with its file and row.
    let making = found["making"].as_array().unwrap();
    assert_eq!(making.len(), 20);
    for part in making {
        let stage = part["stage"].as_str().unwrap();
        assert!(["development", "training", "upgrade"].contains(&stage));
        assert!(part["file"].is_string() != part["row_id"].as_str().unwrap().starts_with("idle/"));
    }
    // Of a month, day by day; each opening is the closing before it.
    let days = of_shop(&shop, &["home-als@v8", "--period", "2026-10"]);
    let rows = shop.query(&format!("select recognised {of_version} order by day"));
    assert_eq!(column(&days["service_life"], "recognised"), rows);
    let (opening, closing) = ["opening", "closing"]
        .map(|name| column(&days["service_life"], name))
        .into();
    assert_eq!(opening[1..], closing[..closing.len() - 1]);
    let words = text(
        &shop
            .recost(&["explain", "pipeline.toml", "home-als@v8"])
            .stdout,
    );
    for says in [
        "recognised over the service life, by month",
        "policy: days=30",
        "largest parts of its cost to make",
    ] {
        assert!(words.contains(says), "{says}\n{words}");
    }
    // A model has the lines of all its versions; one stage alone, idle and what has no owner have no service life.
    let model = of_shop(&shop, &["home-als"]);
    assert_eq!(
        column(&model["service_life"], "model_version"),
        ["v7", "v8"]
    );
    for args in [&["home-als@v8", "--stage", "training"][..], &["idle"]] {
        assert_eq!(of_shop(&shop, args)["service_life"], serde_json::json!([]));
    }
    for (subject, says) in [
        ("home-als@v9", "there are: v7, v8"),
        (
            "home-als@",
            "every cost of the model `home-als` names a version",
        ),
    ] {
        let out = shop.recost(&["explain", "pipeline.toml", subject]);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains(says), "{}", text(&out.stderr));
    }
}

/// The units of 10⁻¹⁸ of an amount.
fn units(amount: &str) -> i128 {
    recost::money::Money::parse(amount).unwrap().0.0
}

#[test]
fn one_recommendation_is_followed_to_its_models_day_and_to_what_it_brought() {
    let shop = Shop::new();
    shop.run_ok();
    let bought = shop.query(
        "select request_id, item_id, user_id, ds, model_id from outcomes where event_type = 'purchase'
         order by request_id, item_id limit 1",
    );
    let bought: Vec<&str> = bought[0].split(',').collect();
    let [request, item, user, day, model] = bought[..] else {
        panic!("{bought:?}");
    };
    let subject = format!("request/{request}/{item}");
    let found = of_shop(&shop, &[&subject]);
    let one = &found["recommendations"][0];
    let cost = "run_cost, making_cost, full_cost - run_cost - making_cost, full_cost";
    let of_item = format!("from recommendation_costs where request_id = '{request}'");
    let sql = format!("select {cost} {of_item} and item_id = '{item}'");
    let costs = ["run_cost", "making_cost", "overhead_cost", "full_cost"]
        .map(|name| one[name].as_str().unwrap());
    assert_eq!(shop.query(&sql), [costs.join(",")]);

    // Each part is the sum of its shares to the last digit, and no share is a whole unit from its fraction.
    for (part, cost) in [
        ("run_cost", costs[0]),
        ("making_cost", costs[1]),
        ("overhead_cost", costs[2]),
    ] {
        let shares = found["shares"].as_array().unwrap();
        let shares: Vec<_> = shares
            .iter()
            .filter(|share| share["part"] == part)
            .collect();
        let sum: i128 = shares
            .iter()
            .map(|s| units(s["share"].as_str().unwrap()))
            .sum();
        assert!((sum - units(cost)).abs() <= shares.len() as i128, "{part}");
    }
    // What is divided is what the model cost on the day: as much as all its recommendations bear.
    let day_cost = shop.query(&format!(
        "select sum(run_cost) from recommendation_costs where ds = date '{day}' and model_id = '{model}'"
    ));
    let of_running = found["model_day"].as_array().unwrap().iter();
    let run: i128 = of_running
        .filter(|row| row["part"] == "run_cost")
        .map(|row| units(row["effective"].as_str().unwrap()))
        .sum();
    assert_eq!(run, units(&day_cost[0]));
    assert!(!found["largest"].as_array().unwrap().is_empty());
    assert!(found["service_life"][0]["recognised"].is_string());
    let outcomes = found["outcomes"].as_array().unwrap();
    assert!(
        outcomes
            .iter()
            .any(|o| o["event_type"] == "purchase" && o["revenue"].is_string())
    );

    // The whole response has it among others; nobody is named in either.
    let whole = of_shop(&shop, &[&format!("request/{request}")]);
    let shown = shop.query(&format!("select count(*) {of_item}"));
    let recommendations = whole["recommendations"].as_array().unwrap();
    assert_eq!(shown, [recommendations.len().to_string()]);
    assert!(recommendations.contains(one));
    let words = text(&shop.recost(&["explain", "pipeline.toml", &subject]).stdout);
    for says in [
        "as shares of what its model cost on that day",
        "purchase of",
        "computing time (ns)",
    ] {
        assert!(words.contains(says), "{says}\n{words}");
    }
    for said in [words, found.to_string(), whole.to_string()] {
        assert!(!said.contains(user), "{said}");
    }

    for unknown in [
        "request/nothing",
        "request/",
        &format!("request/{request}/nothing"),
        "request/x' or '1'='1",
    ] {
        let out = shop.recost(&["explain", "pipeline.toml", unknown]);
        assert_eq!(out.status.code(), Some(2), "{unknown}");
        assert!(
            text(&out.stderr).contains("was shown"),
            "{}",
            text(&out.stderr)
        );
    }
}

/// A charge of October for a model, or for none.
fn october(resource: &str, amount: &str, model: &str) -> String {
    format!(
        "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,{resource},{amount},{amount},\"{{\"\"model\"\":\"\"{model}\"\"}}\""
    )
}

fn id_of(bills: &Bills, table: &str, resource: &str) -> String {
    let sql = format!("select row_id from {table} where resource_id = '{resource}'");
    bills.query(&sql).remove(0)
}

#[test]
fn a_correction_of_a_closed_month_shows_which_rows_it_withdrew_left_and_added() {
    let bills = Bills::new(
        &[
            october("gone", "100", "A"),
            october("same", "50", "A"),
            october("moved", "7", "B"),
        ]
        .each_ref()
        .map(String::as_str),
    );
    bills.run_ok("2026-10-31");
    let close = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(close.status.success());
    let [gone, same] = ["gone", "same"].map(|r| id_of(&bills, "charges", r));
    bills.deliver(&[
        october("moved", "7", "A"),
        october("same", "50", "A"),
        october("came", "30.5", "A"),
    ]);
    bills.run_ok("2026-11-01");
    let came = id_of(&bills, "late_charges", "came");
    assert_eq!(id_of(&bills, "late_charges", "same"), same);

    let explain = |args: &[&str]| {
        let out = bills.recost(&[&["explain", "pipeline.toml"], args].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let later = bills
        .query("select delivery_id from deliveries where status = 'active'")
        .remove(0);
    for (id, says) in [
        (&gone, format!("withdrawn by the delivery {later}")),
        (&same, format!("unchanged by the delivery {later}")),
        (&same, "and unchanged there".to_string()),
        (&came, "new there".to_string()),
    ] {
        let out = explain(&[id]);
        assert!(out.contains(&says), "{says}\n{out}");
    }
    let out = explain(&["A"]);
    assert!(
        out.contains("the bill rows that were restated, largest first"),
        "{out}"
    );
    assert!(out.contains("row 3: came"), "{out}");

    // They add up to what was restated; the row that did not change is not among them.
    let json: serde_json::Value =
        serde_json::from_str(&explain(&["A", "--format", "json"])).unwrap();
    let changes: Vec<[&str; 3]> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| ["resource_id", "change", "effective"].map(|name| c[name].as_str().unwrap()))
        .collect();
    assert_eq!(
        changes,
        [
            ["gone", "withdrawn", "-100.000000000000000000"],
            ["came", "added", "30.500000000000000000"],
            ["moved", "added", "7.000000000000000000"],
        ]
    );
    assert_eq!(
        bills.query("select usage_effective from restatements where model_id = 'A'"),
        ["-62.500000000000000000"]
    );
    let few = explain(&["A", "--limit", "1"]);
    assert!(few.contains("gone") && !few.contains("came"), "{few}");
}

#[test]
fn a_charge_that_an_open_months_next_bill_does_not_have_was_superseded() {
    let bills = Bills::new(
        &[october("gone", "100", "A"), october("same", "50", "A")]
            .each_ref()
            .map(String::as_str),
    );
    bills.run_ok("2026-10-30");
    let [gone, same] = ["gone", "same"].map(|r| id_of(&bills, "charges", r));
    bills.deliver(&[october("same", "50", "A")]);
    bills.run_ok("2026-10-30");
    let later = bills
        .query("select distinct delivery_id from charges")
        .remove(0);
    for id in [&gone[..], &gone[..8]] {
        let out = text(&bills.recost(&["explain", "pipeline.toml", id]).stdout);
        let says = format!("superseded by the delivery {later}");
        assert!(
            out.contains(&says) && out.contains("billed 100.00"),
            "{out}"
        );
        assert!(!out.contains("not attributed yet"), "{out}");
    }
    let out = text(&bills.recost(&["explain", "pipeline.toml", &same]).stdout);
    assert!(
        !out.contains("superseded") && out.contains("row 1"),
        "{out}"
    );
    // The row of the file is the one that counts.
    let out = text(
        &bills
            .recost(&["explain", "pipeline.toml", "bill.csv:1"])
            .stdout,
    );
    assert!(out.contains(&same) && !out.contains(&gone), "{out}");

    let unknown = bills.recost(&["explain", "pipeline.toml", &"0".repeat(32)]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("is neither a charge nor a model"));
}

#[test]
fn a_closed_months_first_bill_that_comes_once_more_counts_once() {
    let bills = Bills::new(&[&october("r1", "100", "A")]);
    bills.run_ok("2026-10-31");
    assert!(
        bills
            .recost(&["close", "pipeline.toml", "2026-10"])
            .status
            .success()
    );
    bills.deliver(&[october("r1", "70", "A")]);
    bills.run_ok("2026-11-01");
    bills.deliver(&[october("r1", "100", "A")]);
    bills.run_ok("2026-11-01");
    assert_eq!(
        bills.query("select sum(effective) from late_allocations"),
        ["100.000000000000000000"]
    );
    assert!(bills.query("select * from restatements").is_empty());
}

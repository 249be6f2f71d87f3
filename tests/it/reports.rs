//! The report of what a night published: the unit view, one currency, restatements, comparisons.

use std::fs;

use crate::billing::Bills;
use crate::shop::{Shop, text};

const RATES: &str = "[[sources]]\nname = \"rates\"\nkind = \"exchange_rates\"\npath = \"rates.csv\"\ndialect = \"recost\"";

/// A charge of `amount` on a day of a month of 2026 for a model, its version and a stage.
fn charge((month, day): (u32, u32), currency: &str, amount: &str, tags: [&str; 3]) -> String {
    let [model, version, stage] = tags;
    format!(
        "{currency},2026-{month:02}-01,2026-{:02}-01,2026-{month:02}-{day:02},2026-{month:02}-{:02},Usage,Cloud,r1,{amount},{amount},\
         \"{{\"\"model\"\":\"\"{model}\"\",\"\"model_version\"\":\"\"{version}\"\",\"\"stage\"\":\"\"{stage}\"\"}}\"",
        month + 1,
        day + 1,
    )
}

/// Rows of a CSV file of the report, without the header.
fn rows(bills: &Bills, out: &str, file: &str) -> Vec<String> {
    let path = bills.path().join(out).join("csv").join(file);
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

fn report(bills: &Bills, more: &[&str]) {
    let args = [&["report", "pipeline.toml", "--date", "2026-11-03"], more].concat();
    let out = bills.recost(&args);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[test]
fn a_closed_and_corrected_month_in_two_currencies() {
    let october = |amount: &str| {
        vec![
            charge((10, 1), "USD", amount, ["A", "v1", "training"]),
            charge((10, 2), "USD", "10", ["A", "v1", "deployment"]),
            charge((10, 2), "EUR", "7", ["B", "v1", "deployment"]),
        ]
    };
    let bills = Bills::new(&[]);
    bills.deliver(&october("100"));
    let file = bills.path().join("pipeline.toml");
    let written = fs::read_to_string(&file).unwrap();
    let with = format!("{written}reporting_currency = \"EUR\"\noldest_rate_days = 31\n{RATES}\n");
    fs::write(&file, with).unwrap();
    bills.put(
        "rates.csv",
        "rate_id,valid_from,from_currency,to_currency,rate\nr1,2026-10-01,USD,EUR,0.5\nr2,2026-10-31,USD,EUR,0.6\n",
    );
    bills.run_ok("2026-10-31");
    assert!(
        bills
            .recost(&["close", "pipeline.toml", "2026-10"])
            .status
            .success()
    );
    let mut later = october("70");
    later.push(charge((11, 2), "USD", "5", ["A", "v2", "training"]));
    bills.deliver(&later);
    bills.run_ok("2026-11-03");

    report(&bills, &["--out", "all"]);
    assert_eq!(
        rows(&bills, "all", "roll_forward.csv"),
        [
            "USD,A,2026-10,0,100,0,0,0,100",
            "USD,A,2026-11,100,-25,0,0,0,75"
        ]
    );
    // Neither has served; what the correction took from v1 is in its line.
    let versions = rows(&bills, "all", "versions.csv");
    assert!(versions[0].starts_with("USD,A,v1,never shipped,2026-10-01,,,0,70,0,0,0,70,"));
    assert!(versions[1].starts_with("USD,A,v2,never shipped,2026-11-02,,,0,5,0,0,0,5,"));
    let lines: Vec<String> = rows(&bills, "all", "converted_costs.csv")
        .iter()
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            [cells[1], cells[2], cells[4], cells[5], cells[9]].join(",")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "cost,EUR,B,7,7",
            // 110 of October at 0.5 and 5 of November at 0.6; the bill at the closing rates is 69.
            "cost,USD,A,115,58",
            "exchange_difference,USD,,0,11",
            "restatement,USD,A,-30,-18",
        ]
    );
    assert_eq!(
        rows(&bills, "all", "rates.csv"),
        [
            "USD,EUR,r1,0.5,2026-10-01,2026-10-02,2",
            "USD,EUR,r2,0.6,2026-10-31,2026-11-03,4",
        ]
    );

    // One period opens with what the one before it left.
    report(&bills, &["--out", "one", "--period", "2026-11"]);
    assert_eq!(
        rows(&bills, "one", "roll_forward.csv"),
        ["USD,A,2026-11,100,-25,0,0,0,75"]
    );
    let november = rows(&bills, "one", "converted_costs.csv");
    assert!(
        november[0].starts_with("EUR,cost,USD,model,A,5,"),
        "{november:?}"
    );
    assert!(
        november.iter().all(|row| !row.contains(",B,")),
        "{november:?}"
    );
    let page = fs::read_to_string(bills.path().join("one/report.html")).unwrap();
    assert!(page.contains("The bill at closing rates"));
    report(&bills, &["--out", "closed", "--period", "2026-10"]);
    assert_eq!(
        rows(&bills, "closed", "roll_forward.csv"),
        ["USD,A,2026-10,0,100,0,0,0,100"]
    );
}

#[test]
fn a_month_that_holds_restatements_and_no_charges_has_its_report() {
    let bills = Bills::new(&[]);
    let october = |amount: &str| charge((10, 1), "USD", amount, ["A", "v1", "deployment"]);
    bills.deliver(&[october("100")]);
    bills.run_ok("2026-10-31");
    let close = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(close.status.success());
    bills.deliver(&[october("70")]);
    bills.run_ok("2026-11-03");

    report(&bills, &["--out", "r", "--period", "2026-11"]);
    let restated = rows(&bills, "r", "restatements.csv");
    assert_eq!(restated.len(), 1, "{restated:?}");
    for says in ["2026-10", "2026-11", "-30"] {
        assert!(restated[0].contains(says), "{restated:?}");
    }
    let reconciled = rows(&bills, "r", "reconciliation.csv");
    let line = |what: &str| reconciled.iter().any(|row| row.contains(what));
    assert!(
        line("restated") && line("closed period 2026-10"),
        "{reconciled:?}"
    );
    assert!(rows(&bills, "r", "costs.csv").is_empty());
    let page = fs::read_to_string(bills.path().join("r/report.html")).unwrap();
    assert!(page.contains("2026-11") && page.contains("30.00"), "{page}");
    assert!(bills.path().join("r/report.xlsx").exists());
    // The closed month has its own report, as it was closed; a month of which there is nothing has none.
    report(&bills, &["--out", "o", "--period", "2026-10"]);
    assert_eq!(rows(&bills, "o", "costs.csv").len(), 1);
    let out = bills.recost(&[
        "report",
        "pipeline.toml",
        "--date",
        "2026-11-03",
        "--period",
        "2026-12",
    ]);
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    assert!(said.contains("there are: 2026-10, 2026-11"), "{said}");

    // It can be closed, too; what comes after is restated in the month after it.
    let close = bills.recost(&["close", "pipeline.toml", "2026-11"]);
    assert!(close.status.success(), "{}", text(&close.stderr));
    assert!(text(&close.stdout).contains("Closed 2026-11 with 0 charges"));
    bills.deliver(&[october("65")]);
    bills.run_ok("2026-11-30");
    assert_eq!(
        bills.sums("restatements", "usage_effective"),
        [
            "2026-11,-30.000000000000000000",
            "2026-12,-5.000000000000000000"
        ]
    );
}

#[test]
fn the_shop_has_margins_comparisons_and_conformance() {
    let shop = Shop::new();
    shop.run_ok();
    let page = fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(page.contains("home-als@v8 against home-als@v7"));
    assert!(page.contains("Newcombe (1998)"));
    assert!(page.contains("✓ Holds."));
    let csv = fs::read_to_string(shop.file("report/csv/cost_per_1000.csv")).unwrap();
    let mut lines = csv.lines();
    let heads: Vec<&str> = lines.next().unwrap().split(',').collect();
    let margin = heads
        .iter()
        .position(|head| head.starts_with("margin_on_cost"));
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert!(!cells[margin.unwrap()].is_empty(), "{line}");
    }
    // The ratios are those of the sums of the table.
    let sql = "select model_id, per(sum(full_cost), 1, sum(conversions)) from unit_costs group by 1 order by 1";
    let place = heads
        .iter()
        .position(|head| head.starts_with("full_cost_per_conversion"));
    for row in shop.query(sql) {
        let (model, ratio) = row.split_once(',').unwrap();
        let line = csv.lines().find(|line| line.contains(model)).unwrap();
        let shown = line.split(',').nth(place.unwrap()).unwrap();
        assert_eq!(shown, ratio.trim_end_matches('0'), "{model}");
    }
}

/// Source keys of a clickstream in `events.csv`.
const CLICKS: &str = "[[sources]]\nname = \"clicks\"\nkind = \"events\"\npath = \"events.csv\"\ndialect = \"recost\"";

/// Two recommendations of a model shown on 30 October, one of them clicked.
const SHOWN: &str = "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,model_version,surface,rank,\
compute_ns,price,quantity,currency
e1,2026-10-30T12:00:00Z,ana,,impression,shoe,,q1,A,v1,home,1,,,,
e2,2026-10-30T12:00:00Z,ana,,impression,hat,,q1,A,v1,home,2,,,,
e3,2026-10-30T12:01:00Z,ana,,click,shoe,,q1,A,v1,home,1,,,,
e4,2026-10-30T12:02:00Z,ben,,impression,hat,,q2,B,v1,home,1,,,,
";

#[test]
fn a_shop_without_a_bill_has_its_report_and_no_cost_as_yet() {
    let bills = Bills::new(&[]);
    bills.pipeline("bills", "");
    let pipeline = fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    let pipeline = pipeline.replace("may_shrink", "required = false\nmay_shrink");
    bills.put("pipeline.toml", &format!("{pipeline}{CLICKS}\n"));
    bills.put("events.csv", SHOWN);
    fs::remove_file(bills.path().join("bill.csv")).unwrap();

    bills.run_ok("2026-10-30");
    let again = bills.recost(&["run", "pipeline.toml", "--date", "2026-10-30"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let said = text(&again.stdout) + &text(&again.stderr);
    assert!(said.contains("Nothing to do"), "{said}");

    report(&bills, &["--out", "out"]);
    assert!(rows(&bills, "out", "unit_costs.csv").is_empty());
    let page = fs::read_to_string(bills.path().join("out/report.html")).unwrap();
    assert!(page.contains("No charges in this period") && !page.contains("XXX"));
    let served = "select sum(served), sum(full_cost) from unit_costs";
    assert_eq!(bills.query(served), ["3,0.000000000000000000"]);
    for works in [
        &["explain", "pipeline.toml", "request/q1"][..],
        &["compare", "pipeline.toml", "A", "B"],
        &["check", "pipeline.toml"],
    ] {
        let out = bills.recost(works);
        assert!(out.status.success(), "{works:?}: {}", text(&out.stderr));
        if works[0] == "compare" {
            assert!(!text(&out.stdout).contains("XXX"), "{}", text(&out.stdout));
        }
    }
    let out = bills.recost(&["export", "pipeline.toml", "--to", "focus"]);
    assert_eq!(out.status.code(), Some(2));
    let said = text(&out.stderr);
    assert!(said.contains("no costs are published") && said.contains("delivered a bill"));

    // The first bill gives the same recommendations their cost.
    bills.deliver(&[charge((10, 30), "USD", "4", ["A", "v1", "deployment"])]);
    bills.run_ok("2026-10-30");
    report(&bills, &["--out", "out"]);
    assert!(!rows(&bills, "out", "unit_costs.csv").is_empty());
    let costs =
        "select model_id, currency, sum(full_cost) from unit_costs group by 1, 2 order by 1";
    let found = bills.query(costs);
    assert_eq!(
        found,
        ["A,USD,4.000000000000000000", "B,USD,0.000000000000000000"]
    );
}

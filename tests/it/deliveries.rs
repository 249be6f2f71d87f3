//! Bills that change between nights: sources renamed or retired, periods that lose their charges, exports that add up, and
//! deliveries that are not complete.

use crate::billing::Bills;
use crate::shop::text;

const AUGUST: &str = "USD,2026-08-01,2026-09-01,2026-08-03,2026-08-04,Usage,Cloud,,5,5,";
const OCTOBER: &str = "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,,20.83,20.83,";
const NIGHT: &str = "2026-10-02";

#[test]
fn a_renamed_source_of_bills_is_refused_and_never_counted_twice() {
    let bills = Bills::new(&[OCTOBER]);
    assert_eq!(bills.run(NIGHT).0, 0);
    let before = bills.sums("allocations", "effective");
    bills.pipeline("cloud", "");
    let (code, message) = bills.run(NIGHT);
    assert_eq!(code, 2, "{message}");
    assert!(
        message.contains("`bills`") && message.contains("retired_sources"),
        "{message}"
    );
    assert_eq!(bills.sums("allocations", "effective"), before);

    bills.pipeline("cloud", "retired_sources = [\"bills\"]");
    assert_eq!(bills.run(NIGHT).0, 0);
    assert_eq!(bills.sums("allocations", "effective"), before);
    assert_eq!(bills.sums("charges", "effective_cost"), before);
}

#[test]
fn a_source_cannot_be_both_named_and_retired() {
    let bills = Bills::new(&[OCTOBER]);
    bills.pipeline("bills", "retired_sources = [\"bills\"]");
    let (code, message) = bills.run(NIGHT);
    assert_eq!(code, 2);
    assert!(message.contains("both a source and one of"), "{message}");
}

#[test]
fn a_period_that_loses_its_last_charge_loses_its_costs() {
    let bills = Bills::new(&[AUGUST, OCTOBER]);
    assert_eq!(bills.run(NIGHT).0, 0);
    assert_eq!(bills.sums("allocations", "effective").len(), 2);
    bills.deliver(&[OCTOBER]);
    assert_eq!(bills.run(NIGHT).0, 0);
    let october = ["2026-10,20.830000000000000000"];
    assert_eq!(bills.sums("charges", "effective_cost"), october);
    assert_eq!(bills.sums("allocations", "effective"), october);
    assert_eq!(bills.sums("model_costs", "usage_effective"), october);
}

#[test]
fn months_without_a_charge_are_no_bill_that_is_there_twice() {
    let bills = Bills::new(&[OCTOBER]);
    let text = std::fs::read_to_string(bills.path().join("bill.csv")).unwrap();
    let head = text.lines().next().unwrap();
    for month in ["2026-09", "2026-10"] {
        std::fs::write(
            bills.path().join(format!("more-{month}.csv")),
            format!("{head}\n"),
        )
        .unwrap();
    }
    let mut pipeline = std::fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    pipeline = pipeline.replace("history_days = 2", "history_days = 40");
    pipeline.push_str(
        "[[sources]]\nname = \"more\"\nkind = \"charges\"\npath = \"more-{period}.csv\"\ndialect = \"focus\"\nrequired = false\n",
    );
    std::fs::write(bills.path().join("pipeline.toml"), pipeline).unwrap();
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("source `more`, 2026-09: the files hold no row"),
        "{said}"
    );
}

/// A charge of an amount for October.
fn row(amount: &str) -> String {
    format!("USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,,{amount},{amount},")
}

const TOTAL: &str = "select count(*), sum(billed_cost) from charges";
const STATUS: &str =
    "select name, status, rows_out from deliveries order by status, name, received_at";

#[test]
fn deliveries_of_an_export_that_adds_up_all_count_and_each_counts_once() {
    let bills = Bills::new(&[OCTOBER]);
    bills.source("path = \"{period}/*.csv\"\ndialect = \"focus\"\nexport = \"append\"");
    bills.bill("2026-10/01.csv", &[row("1")]);
    bills.run_ok(NIGHT);
    bills.bill("2026-10/02.csv", &[row("2"), row("4")]);
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["3,7.000000000000000000"]);
    let before = bills.files("charges/");

    // The same delivery again, beside itself or in its own place under another name, is the same.
    std::fs::copy(
        bills.path().join("2026-10/02.csv"),
        bills.path().join("2026-10/03.csv"),
    )
    .unwrap();
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("03.csv has the content of another file and counts once"),
        "{said}"
    );
    std::fs::remove_file(bills.path().join("2026-10/02.csv")).unwrap();
    bills.run_ok(NIGHT);
    assert_eq!(bills.files("charges/"), before);
    // A file that is gone stays counted: it was delivered.
    std::fs::remove_file(bills.path().join("2026-10/03.csv")).unwrap();
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["3,7.000000000000000000"]);

    // A file that says something else takes its own place only.
    bills.bill("2026-10/01.csv", &[row("10")]);
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["3,16.000000000000000000"]);
    assert_eq!(
        bills.query(STATUS),
        [
            "2026-10/01.csv,active,1",
            "2026-10/02.csv,active,2",
            "2026-10/01.csv,superseded,1"
        ]
    );
    assert_eq!(
        bills.query("select sum(billed_cost) from superseded_charges"),
        ["1.000000000000000000"]
    );
    assert_eq!(
        bills.sums("allocations", "billed"),
        ["2026-10,16.000000000000000000"]
    );

    // Its deliveries add up no longer: what lies there is the bill, whole.
    bills.source("path = \"{period}/*.csv\"\ndialect = \"focus\"");
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["1,10.000000000000000000"]);
    bills.bill("2026-10/02.csv", &[row("2"), row("4")]);
    bills.source("path = \"{period}/*.csv\"\ndialect = \"focus\"\nexport = \"append\"");
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["3,16.000000000000000000"]);
}

#[test]
fn what_is_added_to_a_closed_month_is_restated() {
    let bills = Bills::new(&[OCTOBER]);
    bills.source("path = \"{period}/*.csv\"\ndialect = \"focus\"\nexport = \"append\"");
    bills.bill("2026-10/01.csv", &[row("1")]);
    bills.run_ok("2026-10-31");
    let out = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    bills.bill("2026-10/02.csv", &[row("2.5")]);
    bills.bill(
        "2026-11/01.csv",
        &["USD,2026-11-01,2026-12-01,2026-11-01,2026-11-02,Usage,Cloud,,8,8,"],
    );
    bills.run_ok("2026-11-01");
    assert_eq!(
        bills.sums("charges", "billed_cost"),
        [
            "2026-10,1.000000000000000000",
            "2026-11,8.000000000000000000"
        ]
    );
    assert_eq!(
        bills.sums("late_charges", "billed_cost"),
        ["2026-10,2.500000000000000000"]
    );
    assert_eq!(
        bills.sums("restatements", "usage_billed"),
        ["2026-11,2.500000000000000000"]
    );
}

#[test]
fn a_bill_that_did_not_change_is_not_read_again_on_the_next_night() {
    let bills = Bills::new(&[OCTOBER]);
    bills.run_ok(NIGHT);
    let before = bills.files("charges/");
    bills.run_ok("2026-10-03");
    assert_eq!(bills.files("charges/"), before);
    assert!(bills.files("superseded_charges/").is_empty());
    // An earlier delivery that comes again counts again, and is no longer among those that were replaced.
    bills.deliver(&[AUGUST]);
    bills.run_ok("2026-10-03");
    bills.deliver(&[OCTOBER]);
    bills.run_ok("2026-10-03");
    assert_eq!(
        bills.sums("charges", "billed_cost"),
        ["2026-10,20.830000000000000000"]
    );
    assert_eq!(
        bills.sums("superseded_charges", "billed_cost"),
        ["2026-08,5.000000000000000000"]
    );
    assert_eq!(bills.query(STATUS), [",active,1", ",superseded,1"]);
}

/// The manifest of an AWS export that names these files.
fn aws(files: &[&str]) -> String {
    let keys = files
        .iter()
        .map(|f| format!("\"s3://bucket/cur/data/BILLING_PERIOD=2026-10/{f}\""));
    let keys: Vec<String> = keys.collect();
    format!(
        "{{\"billingPeriod\": {{\"start\": \"20261001T000000.000Z\"}}, \"dataFiles\": [{}]}}",
        keys.join(", ")
    )
}

const CUR: &str = "path = \"data/BILLING_PERIOD={period}/*/*.csv\"\ndialect = \"focus\"\n\
                   manifest = \"metadata/BILLING_PERIOD={period}/*-Manifest.json\"\nmay_shrink = true";
const MANIFEST: &str = "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json";

#[test]
fn a_delivery_counts_once_all_files_of_its_manifest_are_there() {
    let bills = Bills::new(&[OCTOBER]);
    bills.source(CUR);
    bills.bill("data/BILLING_PERIOD=2026-10/exec-1/a.csv", &[row("1")]);
    // Nothing to fall back on: the night has no bill.
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("its manifest has not come"), "{said}");
    bills.put(MANIFEST, &aws(&["exec-1/a.csv", "exec-1/b.csv"]));
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("exec-1/b.csv, and no such file is"), "{said}");
    bills.bill("data/BILLING_PERIOD=2026-10/exec-1/b.csv", &[row("2")]);
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["2,3.000000000000000000"]);

    // The next delivery is under way: the manifest names what is not there yet, though a file of the old one has its name.
    bills.bill("data/BILLING_PERIOD=2026-10/exec-2/a.csv", &[row("5")]);
    bills.put(MANIFEST, &aws(&["exec-2/a.csv", "exec-2/b.csv"]));
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("source `bills`, 2026-10: a delivery is not complete and does not count; the one before it stays"),
        "{said}"
    );
    assert_eq!(bills.query(TOTAL), ["2,3.000000000000000000"]);
    assert_eq!(bills.query(STATUS), [",active,2", ",incomplete,0"]);
    let status = bills.recost(&["status", "pipeline.toml", "--date", NIGHT]);
    let shown = text(&status.stdout);
    assert!(
        shown.contains("incomplete: bills 2026-10: the manifest"),
        "{shown}"
    );
    assert!(
        shown.contains("names s3://bucket/cur/data/BILLING_PERIOD=2026-10/exec-2/b.csv"),
        "{shown}"
    );
    let json = text(
        &bills
            .recost(&["status", "pipeline.toml", "--date", NIGHT, "--json"])
            .stdout,
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["incomplete"][0]["interval"], "2026-10");
    let plan = text(
        &bills
            .recost(&["plan", "pipeline.toml", "--date", NIGHT])
            .stdout,
    );
    assert!(
        plan.contains("bills 2026-10: not complete, the manifest"),
        "{plan}"
    );

    // Complete: what the manifest no longer names is left behind, and does not count.
    bills.bill("data/BILLING_PERIOD=2026-10/exec-2/b.csv", &[row("6")]);
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["2,11.000000000000000000"]);
    assert_eq!(bills.query(STATUS), [",active,2", ",superseded,2"]);
    let status = bills.recost(&["status", "pipeline.toml", "--date", NIGHT]);
    assert!(
        !text(&status.stdout).contains("incomplete"),
        "{}",
        text(&status.stdout)
    );
}

#[test]
fn a_delivery_with_other_rows_or_sums_than_its_manifest_states_does_not_count() {
    let bills = Bills::new(&[OCTOBER]);
    bills.source("path = \"bills/*.csv\"\ndialect = \"focus\"\nmanifest = \"manifest.json\"\nrequired = false");
    bills.bill(
        "bills/a.csv",
        &[row("408366.108651877701157"), row("0.000000000000001")],
    );
    let right = "408366.108651877701158";
    let stated = |rows: u64, billed: &str, effective: &str| {
        let text = format!(
            "{{\"files\": [\"a.csv\"], \"rows\": {rows}, \"sums\": [{{\"currency\": \"USD\", \"billed\": \"{billed}\", \"effective\": \"{effective}\"}}]}}"
        );
        bills.put("manifest.json", &text);
        let (code, said) = bills.run(NIGHT);
        assert_eq!(code, 0, "{said}");
        said
    };
    let said = stated(3, right, right);
    assert!(
        said.contains("states 3 rows, and the files hold 2"),
        "{said}"
    );
    let said = stated(2, "408366.108651877701159", right);
    assert!(
        said.contains(
            "states 408366.108651877701159 USD billed, and the files hold 408366.108651877701158"
        ),
        "{said}"
    );
    let said = stated(2, right, "0");
    assert!(said.contains("states 0 USD effective"), "{said}");
    assert_eq!(bills.query(STATUS), [",incomplete,0"]);
    assert_eq!(bills.query(TOTAL), ["0,"]);
    let said = stated(2, right, right);
    assert!(!said.contains("not complete"), "{said}");
    assert_eq!(bills.query(STATUS), [",active,2"]);
    assert_eq!(
        bills.query("select rows, billed, stated_billed, stated_effective from delivery_sums"),
        ["2,408366.108651877701158000,408366.108651877701158000,408366.108651877701158000"]
    );
    assert_eq!(
        bills.query("select rows_stated, received_at > timestamp '2020-01-01' from deliveries"),
        ["2,true"]
    );
}

#[test]
fn of_an_export_that_adds_up_each_manifest_is_a_delivery() {
    let bills = Bills::new(&[OCTOBER]);
    bills.source(
        "path = \"{period}/*.csv\"\ndialect = \"focus\"\nmanifest = \"{period}/*.manifest.csv\"\nexport = \"append\"",
    );
    bills.bill("2026-10/a1.csv", &[row("1")]);
    bills.bill("2026-10/a2.csv", &[row("2")]);
    bills.put(
        "2026-10/a.manifest.csv",
        "file,rows,currency,billed\na1.csv,1,USD,1\na2.csv,1,USD,2\n",
    );
    bills.bill("2026-10/b1.csv", &[row("4")]);
    let (code, said) = bills.run(NIGHT);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no manifest names"), "{said}");
    assert_eq!(bills.query(TOTAL), ["2,3.000000000000000000"]);
    assert_eq!(
        bills.query(STATUS),
        [
            "2026-10/a.manifest.csv,active,2",
            "2026-10/b1.csv,incomplete,0"
        ]
    );
    bills.put("2026-10/b.manifest.csv", "file\nb1.csv\n");
    bills.run_ok(NIGHT);
    assert_eq!(bills.query(TOTAL), ["3,7.000000000000000000"]);
    assert_eq!(
        bills.query(STATUS),
        [
            "2026-10/a.manifest.csv,active,2",
            "2026-10/b.manifest.csv,active,1"
        ]
    );
}

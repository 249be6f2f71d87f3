//! Costs that are on no bill: people's time and owned machines, in the same tables and through the same checks.

use crate::billing::Bills;

const REGISTER: &str = "path = \"assets.csv\"\ndialect = \"fixed_assets\"\ninterval = \"month\"";
const HEAD: &str = "asset_id,acquisition_cost,residual_value,in_service,useful_life_months,currency,resource_id,model\n";
const GPU: &str = "gpu-1,1000,99.99,2026-10-15,2,EUR,node-1,A\n";
const MONTHS: &str =
    "select billing_period, count(*), sum(effective_cost) from charges group by 1 order by 1";

/// A project whose only source is a register of machines.
fn register(assets: &str) -> Bills {
    let bills = Bills::new(&[]);
    bills.source(REGISTER);
    bills.put("assets.csv", &format!("{HEAD}{assets}"));
    bills
}

#[test]
fn an_asset_costs_its_price_less_what_it_is_still_worth_day_by_day_and_to_the_digit() {
    let bills = register(GPU);
    // The month costs what has passed of it: 900.01 × 6 / 62.
    bills.run_ok("2026-10-20");
    assert_eq!(bills.query(MONTHS), ["2026-10,6,87.097741935483870968"]);
    let days = "select effective_cost from charges order by charge_period_start limit 2";
    assert_eq!(
        bills.query(days),
        ["14.516290322580645161", "14.516290322580645162"]
    );
    for night in [
        "2026-10-31",
        "2026-11-15",
        "2026-11-30",
        "2026-12-01",
        "2026-12-31",
    ] {
        bills.run_ok(night);
    }
    // 900.01 × 17 / 62; the rest of that month of its life and 16 of the 30 days of the next; what is left.
    assert_eq!(
        bills.query(MONTHS),
        [
            "2026-10,17,246.776935483870967742",
            "2026-11,30,443.230731182795698925",
            "2026-12,14,210.002333333333333333"
        ]
    );
    let total = "select sum(billed_cost), sum(effective_cost) from charges";
    assert_eq!(
        bills.query(total),
        ["900.010000000000000000,900.010000000000000000"]
    );
    assert_eq!(
        bills.query("select distinct target, model_id, category from allocations"),
        ["model,A,compute"]
    );
    // The same register night after night is one delivery for each month, and replaced nothing.
    assert!(bills.files("superseded_charges/").is_empty());
    assert_eq!(
        bills.query("select \"interval\", status from deliveries order by 1"),
        ["2026-10,active", "2026-11,active", "2026-12,active"]
    );
}

#[test]
fn a_register_with_one_asset_more_changes_the_months_that_the_night_looks_at() {
    let bills = register(GPU);
    bills.run_ok("2026-10-31");
    let out = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(out.status.success());
    bills.put(
        "assets.csv",
        &format!("{HEAD}{GPU}gpu-2,310,0,2026-10-01,1,EUR,node-2,B\n"),
    );
    // October is closed: what the new asset costs in it is restated in November.
    bills.run_ok("2026-11-01");
    assert_eq!(
        bills.query(
            "select billing_period, restated_period, model_id, usage_effective from restatements"
        ),
        ["2026-11,2026-10,B,310.000000000000000000"]
    );
    assert_eq!(
        bills.sums("charges", "effective_cost"),
        [
            "2026-10,246.776935483870967742",
            "2026-11,14.516290322580645161"
        ]
    );
}

#[test]
fn months_take_from_one_growing_file_the_rows_of_their_own_billing_period() {
    let october = "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,,1,1,";
    let november = "USD,2026-11-01,2026-12-01,2026-11-01,2026-11-02,Usage,Cloud,,2,2,";
    let bills = Bills::new(&[october, november]);
    bills.source("path = \"bill.csv\"\ndialect = \"focus\"\ninterval = \"month\"");
    bills.run_ok("2026-10-31");
    assert_eq!(
        bills.sums("charges", "billed_cost"),
        ["2026-10,1.000000000000000000"]
    );
    let skipped = "select \"interval\", rows_in, rows_out, rows_skipped from deliveries order by 1";
    assert_eq!(bills.query(skipped), ["2026-10,2,1,1"]);
    bills.run_ok("2026-11-01");
    assert_eq!(
        bills.sums("charges", "billed_cost"),
        [
            "2026-10,1.000000000000000000",
            "2026-11,2.000000000000000000"
        ]
    );
    // A register needs to know the month.
    bills.source("path = \"assets.csv\"\ndialect = \"fixed_assets\"");
    bills.put("assets.csv", &format!("{HEAD}{GPU}"));
    let (code, said) = bills.run("2026-11-01");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("interval = \"month\""), "{said}");
}

#[test]
fn time_goes_to_the_models_that_it_was_spent_on_and_no_name_is_kept() {
    let bills = Bills::new(&[]);
    bills.source("path = \"time.csv\"\ndialect = \"timesheet\"");
    bills.put(
        "time.csv",
        "day,person,hours,hourly_rate,currency,model,stage\n\
         2026-10-05,Ada Lovelace,30,10,EUR,A,development\n2026-10-05,Ada Lovelace,10,10,EUR,B,upgrade\n\
         2026-10-06,Ada Lovelace,0.1,0.3,EUR,,\n",
    );
    bills.run_ok("2026-10-31");
    assert_eq!(
        bills.query("select target, model_id, stage, category, sum(effective) from allocations group by all order by 1, 2"),
        [
            "model,A,development,labour,300.000000000000000000",
            "model,B,upgrade,labour,100.000000000000000000",
            "unallocated,,,labour,0.030000000000000000"
        ]
    );
    for (file, bytes) in bills.files("") {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("Lovelace"), "{file}");
    }
}

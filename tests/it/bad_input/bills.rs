//! Bills and ledgers whose lines are no charges, or come again otherwise.

use super::*;

#[test]
fn a_bill_that_is_there_twice_or_comes_again_by_half_stops_the_run() {
    let shop = published();
    let bill = shop.file("exports/billing/northcloud/billing_period=2026-10");
    let whole = fs::read_dir(&bill).unwrap().next().unwrap().unwrap().path();
    let copy = bill.join("copy.parquet");
    fs::copy(&whole, &copy).unwrap();
    refused(
        &shop,
        Kind::Check,
        &["copy.parquet", "has the same content as"],
        "remove one of the two",
    );
    fs::remove_file(&copy).unwrap();

    let good = fs::read(&whole).unwrap();
    change(&whole, |batch| batch.slice(0, batch.num_rows() / 3));
    let gone = [
        "the bill of northcloud for 2026-10 came again with",
        "rows, and had",
    ];
    refused(&shop, Kind::Check, &gone, "may_shrink = true");
    fs::write(&whole, good).unwrap();
    fs::remove_dir_all(shop.file("exports/billing/northcloud")).unwrap();
    refused(&shop, Kind::Check, &gone, "may_shrink = true");
    shop.edit(
        "dialect = \"focus\"                # FOCUS",
        "dialect = \"focus\"\nmay_shrink = true # FOCUS",
    );
    run_ok(&shop);
    reconciles(&shop);
}

#[test]
fn a_period_that_a_newer_bill_lacks_leaves_no_cost_behind() {
    let shop = Shop::new();
    let pipeline = "name = \"x\"\n[[sources]]\nname = \"bill\"\nkind = \"charges\"\npath = \"bill.csv\"\ndialect = \"focus\"\nmay_shrink = true\n";
    fs::write(shop.file("pipeline.toml"), pipeline).unwrap();
    let bill = |rows: &[&str]| {
        let head = "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory";
        fs::write(shop.file("bill.csv"), [&[head], rows].concat().join("\n")).unwrap();
        run_ok(&shop);
    };
    let old = "5,5,USD,2025-01-01,2025-02-01,2025-01-03,2025-01-04,Usage";
    let new = "7,7,USD,2026-10-01,2026-11-01,2026-10-03,2026-10-04,Usage";
    bill(&[old, new]);
    assert_eq!(
        shop.query("select sum(billed) from allocations")[0],
        "12.000000000000000000"
    );
    bill(&[new]);
    for table in ["allocations", "model_costs", "reconciliation", "charges"] {
        none(
            &shop,
            &format!("select * from {table} where billing_period = '2025-01'"),
        );
    }
    assert_eq!(
        shop.query("select sum(billed) from allocations")[0],
        "7.000000000000000000"
    );
    reconciles(&shop);
}

#[test]
fn amounts_that_are_none_stop_the_run_and_are_kept_apart_when_they_may() {
    let shop = published();
    shop.edit(
        "billing_period={period}/*.parquet",
        "billing_period={period}/*",
    );
    let whole = rows(&shop, "select count(*) as n from charges")[0]["n"].clone();
    change(&shop.file(NORTH), |batch| {
        let mut batch = with_type(&batch, "BilledCost", &DataType::Float64);
        batch = with_type(&batch, "ListCost", &DataType::Float64);
        batch = with_number(&batch, "BilledCost", 1, f64::NAN);
        batch = with_number(&batch, "BilledCost", 2, f64::INFINITY);
        batch = with_number(&batch, "BilledCost", 3, 1e15);
        with_number(&batch, "ListCost", 4, f64::NEG_INFINITY)
    });
    to_csv(&shop.file(EAST), |batch| {
        let mut batch = with_text(&batch, "BilledCost", 1, "NaN");
        batch = with_text(&batch, "EffectiveCost", 2, "-Infinity");
        batch = with_text(&batch, "EffectiveCost", 3, "1e15");
        with_text(&batch, "BilledCost", 4, "1,000.00")
    });
    refused(
        &shop,
        Kind::Check,
        &[
            "source `cloud-bills`, 2026-10: 8 of ",
            "at most 0 may be",
            "2 × column billed_cost NaN is not a finite number",
            "billing_period=2026-10/part-00000.csv row 1)",
            "column billed_cost inf is not a finite number",
            "billing_period=2026-10/part-00000.parquet row 2)",
            "column billed_cost 1000000000000000 is too large for an amount",
            "further reasons",
        ],
        "deliver the file corrected, or raise `max_rejected`",
    );

    shop.edit(
        "name = \"cloud-bills\"",
        "name = \"cloud-bills\"\nmax_rejected = 0.5",
    );
    run_ok(&shop);
    let csv = "eastgrid/billing_period=2026-10/part-00000.csv";
    let parquet = "northcloud/billing_period=2026-10/part-00000.parquet";
    quarantined(
        &shop,
        "cloud-bills",
        &[csv, parquet],
        &[
            (
                csv,
                1,
                "billed_cost",
                "NaN is not a finite number",
                r#""BilledCost":"NaN""#,
            ),
            (
                csv,
                2,
                "effective_cost",
                "-Infinity is not a finite",
                r#""EffectiveCost":"-Infinity""#,
            ),
            (
                csv,
                3,
                "effective_cost",
                "1e15 is too large",
                r#""EffectiveCost":"1e15""#,
            ),
            (
                csv,
                4,
                "billed_cost",
                "is not an amount",
                r#""BilledCost":"1,000.00""#,
            ),
            (
                parquet,
                1,
                "billed_cost",
                "NaN is not a finite number",
                r#""BilledCost":"NaN""#,
            ),
            (
                parquet,
                2,
                "billed_cost",
                "inf is not a finite number",
                r#""BilledCost":"inf""#,
            ),
            (
                parquet,
                3,
                "billed_cost",
                "is too large",
                r#""BilledCost":1.0e15"#,
            ),
            (
                parquet,
                4,
                "list_cost",
                "-inf is not a finite number",
                r#""ListCost":"-inf""#,
            ),
        ],
    );
    let amounts = rows(
        &shop,
        "select raw_billed from quarantine where kind = 'charges' order by file, \"row\"",
    );
    assert_eq!(amounts[0]["raw_billed"], "NaN");
    assert_eq!(amounts[5]["raw_billed"], "inf");
    assert_eq!(
        rows(
            &shop,
            "select cast(count(*) + 8 as bigint) as n from charges"
        )[0]["n"],
        whole
    );
    // The bill ties without them, and what they come to is not guessed.
    reconciles(&shop);
    assert_eq!(
        rows(
            &shop,
            "select rows, billed, effective from reconciliation where line = 'quarantined'"
        ),
        [serde_json::json!({"rows": 8})]
    );
}

#[test]
fn a_charge_in_a_currency_that_is_none_is_in_no_total() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let batch = with_text(&batch, "BillingCurrency", 5, "XXQ");
        with_text(&batch, "BillingCurrency", 6, "usd")
    });
    let says = [
        NORTH,
        "column billing_currency \"XXQ\" is no ISO 4217 currency code",
        "row 5)",
    ];
    refused(&shop, Kind::Check, &says, "deliver the file corrected");
    shop.edit(
        "name = \"cloud-bills\"",
        "name = \"cloud-bills\"\nmax_rejected = 0.1",
    );
    let out = night(&shop);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let file = "northcloud/billing_period=2026-10/part-00000.parquet";
    quarantined(
        &shop,
        "cloud-bills",
        &[file],
        &[
            (
                file,
                5,
                "billing_currency",
                "\"XXQ\"",
                r#""BillingCurrency":"XXQ""#,
            ),
            (
                file,
                6,
                "billing_currency",
                "\"usd\"",
                r#""BillingCurrency":"usd""#,
            ),
        ],
    );
    reconciles(&shop);
    none(
        &shop,
        "select * from charges where billing_currency <> 'USD'",
    );
    // Its amount is kept, under the word that it came with.
    let kept = rows(
        &shop,
        "select currency, rows from reconciliation where line = 'quarantined' and billed is not null order by currency",
    );
    assert_eq!(
        kept,
        ["XXQ", "usd"].map(|c| serde_json::json!({"currency": c, "rows": 1}))
    );
    assert!(
        text(&out.stdout).contains("XXQ  nothing billed"),
        "{}",
        text(&out.stdout)
    );
    let page = fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(page.contains("1\u{a0}charge whose currency cannot be read"));
}

#[test]
fn two_currencies_in_one_bill_are_never_added() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let codes = (0..batch.num_rows()).map(|i| if i % 3 == 0 { "EUR" } else { "USD" });
        let codes: ArrayRef = Arc::new(StringArray::from_iter_values(codes));
        with_column(&batch, "BillingCurrency", codes)
    });
    let out = night(&shop);
    assert!(out.status.success(), "{}", text(&out.stderr));
    reconciles(&shop);
    let by_currency = |table: &str, currency: &str, billed: &str, effective: &str, only: &str| {
        rows(
            &shop,
            &format!(
                "select {currency} as currency, cast(sum({billed}) as varchar) as billed,
                    cast(sum({effective}) as varchar) as effective
                 from {table} where {only} group by {currency} order by 1"
            ),
        )
    };
    let charged = by_currency(
        "charges",
        "billing_currency",
        "billed_cost",
        "effective_cost",
        "true",
    );
    let codes: Vec<&str> = charged
        .iter()
        .map(|r| r["currency"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["EUR", "USD"]);
    let bill = "basis = 'usage' and line = 'bill'";
    let parts = "basis = 'allocation' and line in ('attributed', 'idle', 'unallocated')";
    for (table, billed, effective, only) in [
        ("allocations", "billed", "effective", "true"),
        ("allocations", "billed", "effective", "basis = 'usage'"),
        ("reconciliation", "billed", "effective", bill),
        ("reconciliation", "billed", "effective", parts),
        ("model_costs", "usage_billed", "usage_effective", "true"),
        (
            "model_costs",
            "allocation_billed",
            "allocation_effective",
            "true",
        ),
    ] {
        let found = by_currency(table, "currency", billed, effective, only);
        assert_eq!(found, charged, "{table} where {only}");
    }
    none(
        &shop,
        "select * from allocations join charges on charges.row_id = allocations.row_id where currency <> billing_currency",
    );
    // Each recommendation has a cost in either currency.
    none(
        &shop,
        "select request_id, item_id, model_id from recommendation_costs where model_id = 'home-als'
         group by request_id, item_id, model_id having count(distinct currency) <> 2 or count(*) <> 2",
    );
    let summary = text(&out.stdout);
    for code in codes {
        assert!(summary.contains(&format!("{code}  billed ")), "{summary}");
    }
}

#[test]
fn a_driver_without_weights_leaves_the_charge_unallocated_and_the_bill_whole() {
    let shop = published();
    let driver = |weight: &str| {
        let dir = shop.file("sql/attribution/drivers");
        fs::create_dir_all(&dir).unwrap();
        let sql = format!(
            "select cast(null as varchar) as resource_id, usage_start as period_start, usage_end as period_end,
                model_id, model_version, stage, {weight} as weight from usage"
        );
        fs::write(dir.join("tickets.sql"), sql).unwrap();
    };
    shop.edit(
        "[report]",
        "[[attribution.rules]]\nname = \"by tickets\"\nmatch = { invoice_issuer_name = \"eastgrid\", charge_category = \"Usage\" }\n\
         target = \"pool\"\ndriver = \"tickets\"\n[report]",
    );
    driver("-1");
    refused(
        &shop,
        Kind::Check,
        &[
            "sql/attribution/drivers/tickets.sql",
            "the driver gives the weight -1; weights are not negative",
        ],
        "",
    );
    driver("0");
    run_ok(&shop);
    reconciles(&shop);
    let found = rows(
        &shop,
        "select target, reason, count(distinct row_id) as rows, cast(sum(billed) as varchar) as billed
         from allocations where rule = 'by tickets' group by target, reason",
    );
    let charged = rows(
        &shop,
        "select 'unallocated' as target, 'no_driver' as reason, count(*) as rows, cast(sum(billed_cost) as varchar) as billed
         from charges where invoice_issuer_name = 'eastgrid' and charge_category = 'Usage'",
    );
    assert_eq!(found, charged);
    assert!(found[0]["rows"].as_u64().unwrap() > 10, "{found:?}");
}

#[test]
fn a_charge_period_far_outside_of_time_is_set_aside() {
    let shop = published();
    change(&shop.file(NORTH), |batch| {
        let far = Arc::new(
            TimestampMicrosecondArray::from(vec![253_402_300_799_000_000]).with_timezone("UTC"),
        );
        with_value(&batch, "ChargePeriodEnd", 7, far)
    });
    refused(
        &shop,
        Kind::Check,
        &[
            NORTH,
            "row 7)",
            "column charge_period_end is not between the years 2000 and 2100",
        ],
        "deliver the file corrected",
    );
}

#[test]
fn tags_that_are_no_json_stop_the_run_and_are_named() {
    let shop = published();
    refused_with(
        &shop,
        NORTH,
        |path| {
            change(path, |batch| {
                let batch = with_type(&batch, "Tags", &DataType::Utf8);
                let batch = with_text(&batch, "Tags", 1, "team=reco");
                with_text(&batch, "Tags", 2, "{\"team\": ")
            });
        },
        Kind::Check,
        &[
            "2 of",
            "column tags",
            "\"team=reco\" is no JSON object",
            "row 1",
        ],
        "deliver the file corrected",
    );
}

/// Adds a source of charges that reads `ledger.csv`.
fn with_ledger(shop: &Shop, dialect: &str, more: &str) {
    let path = shop.file("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    let source = format!(
        "\n[[sources]]\nname = \"own\"\nkind = \"charges\"\npath = \"ledger.csv\"\ndialect = \"{dialect}\"\n{more}\n"
    );
    fs::write(path, text + &source).unwrap();
}

#[test]
fn a_timesheet_that_cannot_be_costed_stops_the_run() {
    let shop = published();
    with_ledger(&shop, "timesheet", "");
    let head = "day,person,hours,hourly_rate,currency";
    for (line, says) in [
        ("2026-10-05,Ada,-2,80,EUR", "column hours is negative: -2"),
        (
            "2026-10-05,Ada,2,,EUR",
            "column hourly_rate is missing, and so is cost",
        ),
        (
            "2026-10-05,Ada,,80,EUR",
            "column hours is missing, and so are minutes and cost",
        ),
        (
            "2026-10-05,Ada,two,80,EUR",
            "column hours is no number: two",
        ),
        ("2026-10-05,Ada,2,80,euro", "column billing_currency"),
        ("2026-10-32,Ada,2,80,EUR", "column day is no day"),
    ] {
        fs::write(
            shop.file("ledger.csv"),
            format!("{head}\n2026-10-04,Eve,1,80,EUR\n{line}\n"),
        )
        .unwrap();
        refused(
            &shop,
            Kind::Check,
            &["source `own`", "1 of 2 rows", says, "ledger.csv row 2"],
            "deliver the file corrected",
        );
    }
    // Nobody's name is in what is said.
    let out = night(&shop);
    assert!(!text_of(&out).contains("Ada"), "{}", text_of(&out));
    // Where it may be, the line is kept apart and the others count.
    shop.edit(
        "dialect = \"timesheet\"",
        "dialect = \"timesheet\"\nmax_rejected = 0.5",
    );
    run_ok(&shop);
    quarantined(
        &shop,
        "own",
        &["ledger.csv"],
        &[("ledger.csv", 2, "day", "is no day", "2026-10-32")],
    );
    reconciles(&shop);
}

#[test]
fn an_asset_that_cannot_be_depreciated_stops_the_run() {
    let shop = published();
    with_ledger(&shop, "fixed_assets", "interval = \"month\"");
    let head = "asset_id,acquisition_cost,residual_value,in_service,useful_life_months,currency";
    for (line, says) in [
        (
            "gpu-2,1000,,2026-10-01,0,EUR",
            "column useful_life_months is less than one",
        ),
        (
            "gpu-2,1000,,2026-10-01,2.5,EUR",
            "column useful_life_months is no whole number",
        ),
        (
            "gpu-2,-1000,,2026-10-01,12,EUR",
            "column acquisition_cost is negative",
        ),
        (
            "gpu-2,1000,1001,2026-10-01,12,EUR",
            "column residual_value is more than acquisition_cost",
        ),
        (
            "gpu-2,1000,,01.10.2026,12,EUR",
            "column in_service is no day",
        ),
        (",1000,,2026-10-01,12,EUR", "column asset_id is missing"),
    ] {
        fs::write(
            shop.file("ledger.csv"),
            format!("{head}\ngpu-1,10,,2026-10-01,1,EUR\n{line}\n"),
        )
        .unwrap();
        refused(
            &shop,
            Kind::Check,
            &["source `own`", "1 of 2 rows", says, "ledger.csv row 2"],
            "deliver the file corrected",
        );
    }
    let twice = format!("{head}\ngpu-1,10,,2026-10-01,1,EUR\ngpu-1,10,,2026-10-01,1,EUR\n");
    fs::write(shop.file("ledger.csv"), twice).unwrap();
    refused(
        &shop,
        Kind::Check,
        &["2 of 2 rows", "column asset_id is there twice: gpu-1"],
        "deliver the file corrected",
    );
}

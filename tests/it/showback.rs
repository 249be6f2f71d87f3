//! What other programs get: the attributed cost as a FOCUS data set, and the workbook.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::shop::{NIGHT, Shop, query, recost, text};

/// Columns that FOCUS 1.4 wants in every row of a Cost and Usage data set.
const MANDATORY: [&str; 18] = [
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
];
/// Those that must be there and may be null.
const NULLABLE: [&str; 10] = [
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "BillingAccountName",
    "ChargeClass",
    "ChargeDescription",
    "PricingQuantity",
    "PricingUnit",
];

fn export(shop: &Shop, to: &str, format: &str) {
    let args = ["export", "pipeline.toml", "--to", to, "--format", format];
    let out = shop.recost(&args);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

/// A project whose only bill is the export, attributed.
fn read_again(shop: &Shop, format: &str) -> TempDir {
    let project = TempDir::new().unwrap();
    export(shop, project.path().join("bills").to_str().unwrap(), format);
    let models = shop.query("select distinct model_id from allocations where model_id is not null");
    let models: Vec<String> = models.iter().map(|id| format!("\"{id}\"")).collect();
    let pipeline = format!(
        "name = \"Again\"\n[[sources]]\nname = \"showback\"\nkind = \"charges\"\ndialect = \"focus\"\n\
         path = \"bills/billing_period={{period}}/focus.{format}\"\n[attribution]\nknown_models = [{}]\n",
        models.join(", ")
    );
    fs::write(project.path().join("pipeline.toml"), pipeline).unwrap();
    let out = recost(project.path(), &["run", "pipeline.toml", "--date", NIGHT]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    // The parts of a charge are whole, by our own rule for what others have split.
    assert!(
        !text(&out.stderr).contains("split_is_whole"),
        "{}",
        text(&out.stderr)
    );
    project
}

#[test]
fn the_export_is_read_again_as_the_same_costs_and_never_split_again() {
    let shop = Shop::new();
    shop.run_ok();
    let by_model =
        "select model_id, model_version, stage, category, currency, sum(billed), sum(effective)
        from allocations where target = 'model' group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5";
    let all = "select currency, sum(billed), sum(effective) from allocations group by 1 order by 1";
    let bill = "select billing_currency, sum(billed_cost), sum(effective_cost) from charges group by 1 order by 1";
    let metrics = "select sum(coalesce(list_cost, contracted_cost, billed_cost)), sum(pricing_quantity), sum(consumed_quantity) from charges";
    for format in ["parquet", "csv"] {
        let project = read_again(&shop, format);
        let again = |sql: &str| query(project.path(), sql);
        assert!(shop.query(by_model).len() > 5);
        assert_eq!(again(by_model), shop.query(by_model), "{format}");
        assert_eq!(again(all), shop.query(all), "{format}");
        assert_eq!(again(bill), shop.query(bill), "{format}");
        assert_eq!(again(metrics), shop.query(metrics), "{format}");
        // One allocation for each charge, by the rule for what was split already.
        let split = "select count(*) from allocations group by row_id having count(*) > 1";
        assert_eq!(again(split), Vec::<String>::new());
        // What a commitment left unused stays idle by the rule before that one.
        let rules =
            "select distinct rule, target from allocations where rule <> 'default: provider split'";
        assert_eq!(again(rules), ["default: unused commitment,idle"]);
    }
}

#[test]
fn the_export_has_what_focus_wants() {
    let shop = Shop::new();
    shop.run_ok();
    export(&shop, "out", "csv");
    let file = shop.file("out/billing_period=2026-10/focus.csv");
    let mut reader = csv::Reader::from_path(file).unwrap();
    let heads = reader.headers().unwrap().clone();
    let place = |name: &str| {
        let found = heads.iter().position(|head| head == name);
        found.unwrap_or_else(|| panic!("there is no column {name}"))
    };
    let _ = NULLABLE.map(place);
    let mandatory = MANDATORY.map(place);
    let own = |head: &&str| !MANDATORY.contains(head) && !NULLABLE.contains(head);
    for head in heads.iter().filter(own) {
        let plain = head.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(
            plain || head.starts_with("x_"),
            "{head} is no name of a column"
        );
    }
    let (tags, target, model) = (
        place("AllocatedTags"),
        place("x_Target"),
        place("x_ModelId"),
    );
    let details = place("AllocatedMethodDetails");
    let (mut rows, mut split) = (0, 0);
    for row in reader.records() {
        let row = row.unwrap();
        for column in mandatory {
            assert!(
                !row[column].is_empty(),
                "{} is null in {row:?}",
                &heads[column]
            );
        }
        let tags: serde_json::Value = serde_json::from_str(&row[tags]).unwrap();
        assert_eq!(tags["target"], row[target]);
        assert_eq!(tags["model"].as_str().unwrap_or_default(), &row[model]);
        if !row[details].is_empty() {
            let details: serde_json::Value = serde_json::from_str(&row[details]).unwrap();
            let ratio = details["Elements"][0]["AllocatedRatio"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&ratio), "{details}");
            split += 1;
        }
        rows += 1;
    }
    assert_eq!(
        vec![rows.to_string()],
        shop.query("select count(*) from allocations")
    );
    assert!(split > 100);
}

#[test]
fn a_period_that_is_not_there_is_named() {
    let shop = Shop::new();
    shop.run_ok();
    let out = shop.recost(&[
        "export",
        "pipeline.toml",
        "--to",
        "out",
        "--period",
        "2026-09",
    ]);
    assert_eq!(out.status.code(), Some(2));
    let error = text(&out.stderr);
    assert!(
        error.contains("2026-09") && error.contains("2026-10"),
        "{error}"
    );
    assert!(!shop.file("out").exists());
}

#[test]
fn a_night_writes_the_workbook_and_the_same_again() {
    let shop = Shop::new();
    shop.run_ok();
    let out = shop.recost(&[
        "report",
        "pipeline.toml",
        "--date",
        NIGHT,
        "--out",
        "again",
        "--format",
        "xlsx",
    ]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let read = |path: &str| fs::read(shop.file(path)).unwrap();
    assert!(read("report/report.xlsx").starts_with(b"PK"));
    assert_eq!(read("report/report.xlsx"), read("again/report.xlsx"));
    assert!(!Path::new(&shop.file("again/report.html")).exists());
}

//! The worked example of docs/attribution.md, from files to tables: every figure to its last digit.

use tempfile::TempDir;

use crate::shop::{copy, recost, text};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/worked-example");

/// The example's project after its night.
pub fn project() -> TempDir {
    let dir = TempDir::new().unwrap();
    copy(FIXTURE.as_ref(), dir.path());
    let out = recost(
        dir.path(),
        &["run", "pipeline.toml", "--date", "2026-10-01"],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    dir
}

fn csv(dir: &TempDir, sql: &str) -> String {
    let out = recost(
        dir.path(),
        &["sql", "pipeline.toml", sql, "--format", "csv"],
    );
    assert!(out.status.success(), "{sql}\n{}", text(&out.stderr));
    text(&out.stdout)
}

#[test]
fn every_cost_is_the_one_worked_out_by_hand() {
    let dir = project();
    let costs = "
        select target, model_id, stage, category, usage_billed, usage_effective, allocation_billed, allocation_effective
        from model_costs order by target desc, model_id, stage, category";
    let golden = std::fs::read_to_string(format!("{FIXTURE}/costs.csv")).unwrap();
    assert_eq!(csv(&dir, costs), golden);

    let per_model = "
        select model_id, sum(usage_effective) as usage, sum(allocation_effective) as allocation
        from model_costs where target = 'model' group by model_id order by model_id";
    assert_eq!(
        csv(&dir, per_model),
        "model_id,usage,allocation\n\
         A,359.510000000000000000,394.945714285714285714\n\
         B,116.830000000000000000,126.494285714285714286\n"
    );
    let lines = "
        select basis, line, sum(effective) as effective from reconciliation
        group by basis, line order by basis desc, line";
    assert_eq!(
        csv(&dir, lines),
        "basis,line,effective\n\
         usage,attributed,476.340000000000000000\n\
         usage,bill,521.440000000000000000\n\
         usage,difference,0.000000000000000000\n\
         usage,idle,45.100000000000000000\n\
         usage,unallocated,0.000000000000000000\n\
         allocation,attributed,521.440000000000000000\n\
         allocation,bill,521.440000000000000000\n\
         allocation,difference,0.000000000000000000\n\
         allocation,idle,0.000000000000000000\n\
         allocation,unallocated,0.000000000000000000\n"
    );
}

#[test]
fn in_cents_the_models_add_up_to_the_bill() {
    let dir = project();
    let report = recost(
        dir.path(),
        &[
            "report",
            "pipeline.toml",
            "--date",
            "2026-10-01",
            "--out",
            "r",
        ],
    );
    assert!(report.status.success(), "{}", text(&report.stderr));
    let html = std::fs::read_to_string(dir.path().join("r/report.html")).unwrap();
    for cents in ["394.95", "126.49", "521.44"] {
        assert!(html.contains(cents), "{cents}");
    }
}

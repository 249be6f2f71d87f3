//! Bills that change between nights: sources renamed or retired, periods that lose their charges.

use tempfile::TempDir;

use crate::shop::{recost, text};

const HEADER: &str = "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,InvoiceIssuerName,BilledCost,EffectiveCost";
const AUGUST: &str = "USD,2026-08-01,2026-09-01,2026-08-03,2026-08-04,Usage,Cloud,5,5";
const OCTOBER: &str = "USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Cloud,20.83,20.83";

/// A project with one file of bills.
struct Bills(TempDir);

impl Bills {
    fn new(rows: &[&str]) -> Self {
        let bills = Bills(TempDir::new().unwrap());
        bills.pipeline("bills", "");
        bills.deliver(rows);
        bills
    }

    fn pipeline(&self, source: &str, more: &str) {
        let text = format!(
            "name = \"Bills\"\n{more}\n[run]\nhistory_days = 2\n[[sources]]\nname = \"{source}\"\n\
             kind = \"charges\"\npath = \"bill.csv\"\ndialect = \"focus\"\n"
        );
        std::fs::write(self.0.path().join("pipeline.toml"), text).unwrap();
    }

    fn deliver(&self, rows: &[&str]) {
        let text = format!("{HEADER}\n{}\n", rows.join("\n"));
        std::fs::write(self.0.path().join("bill.csv"), text).unwrap();
    }

    /// Exit code and standard error of a night.
    fn run(&self) -> (i32, String) {
        let out = recost(
            self.0.path(),
            &["run", "pipeline.toml", "--date", "2026-10-02"],
        );
        (out.status.code().unwrap(), text(&out.stderr))
    }

    /// Billing period and effective cost of a table, one line each.
    fn sums(&self, table: &str, amount: &str) -> Vec<String> {
        let sql =
            format!("select billing_period, sum({amount}) from {table} group by 1 order by 1");
        let out = recost(
            self.0.path(),
            &["sql", "pipeline.toml", &sql, "--format", "csv"],
        );
        text(&out.stdout)
            .lines()
            .skip(1)
            .map(str::to_string)
            .collect()
    }
}

#[test]
fn a_renamed_source_of_bills_is_refused_and_never_counted_twice() {
    let bills = Bills::new(&[OCTOBER]);
    assert_eq!(bills.run().0, 0);
    let before = bills.sums("allocations", "effective");
    bills.pipeline("cloud", "");
    let (code, message) = bills.run();
    assert_eq!(code, 2, "{message}");
    assert!(
        message.contains("`bills`") && message.contains("retired_sources"),
        "{message}"
    );
    assert_eq!(bills.sums("allocations", "effective"), before);

    bills.pipeline("cloud", "retired_sources = [\"bills\"]");
    assert_eq!(bills.run().0, 0);
    assert_eq!(bills.sums("allocations", "effective"), before);
    assert_eq!(bills.sums("charges", "effective_cost"), before);
}

#[test]
fn a_source_cannot_be_both_named_and_retired() {
    let bills = Bills::new(&[OCTOBER]);
    bills.pipeline("bills", "retired_sources = [\"bills\"]");
    let (code, message) = bills.run();
    assert_eq!(code, 2);
    assert!(message.contains("both a source and one of"), "{message}");
}

#[test]
fn a_period_that_loses_its_last_charge_loses_its_costs() {
    let bills = Bills::new(&[AUGUST, OCTOBER]);
    assert_eq!(bills.run().0, 0);
    assert_eq!(bills.sums("allocations", "effective").len(), 2);
    bills.deliver(&[OCTOBER]);
    assert_eq!(bills.run().0, 0);
    let october = ["2026-10,20.830000000000000000"];
    assert_eq!(bills.sums("charges", "effective_cost"), october);
    assert_eq!(bills.sums("allocations", "effective"), october);
    assert_eq!(bills.sums("model_costs", "usage_effective"), october);
}

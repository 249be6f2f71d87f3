//! Bills that change between nights: sources renamed or retired, periods that lose their charges.

use crate::billing::Bills;

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

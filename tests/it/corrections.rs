//! Bills that are corrected after their month was closed, in the two styles of the FOCUS specification: *delta*, a row that says
//! how much more or less it is, and *ledger*, the row reversed and booked anew.

use crate::billing::Bills;
use crate::shop::text;

const HEAD: &str = "ChargeDescription,ChargeCategory,ChargeClass,BillingPeriodStart,BillingPeriodEnd,InvoiceId,\
    InvoiceIssuerName,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ResourceId,EffectiveCost,BilledCost,ListCost,\
    ContractedUnitPrice,ConsumedQuantity,ConsumedUnit,SkuId";
const OCTOBER: &str = "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,INV-20261001-20261101";
const NOVEMBER: &str = "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,INV-20261101-20261201";

/// A row for the first hour of October, on the bill of a month.
fn row(what: &str, class: &str, month: &str, resource: &str, amount: &str) -> String {
    let category = if what == "Tax" { "Tax" } else { "Usage" };
    format!(
        "{what},{category},{class},{month},Cloud,USD,2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,{resource},{amount},{amount},\
         {amount},(null),(null),(null),USG-123"
    )
}

/// Usage of R-111, part of which was R-222's, and the tax on it.
fn original() -> Vec<String> {
    vec![
        row("Compute", "(null)", OCTOBER, "R-111", "1500"),
        row("Tax", "(null)", OCTOBER, "(null)", "150"),
    ]
}

fn delta(month: &str) -> Vec<String> {
    vec![
        row("Decrement", "Correction", month, "R-111", "-300"),
        row("Increment", "Correction", month, "R-222", "300"),
    ]
}

fn ledger(month: &str) -> Vec<String> {
    vec![
        row("Negation", "Correction", month, "R-111", "-1500"),
        row("Correct", "Correction", month, "R-111", "1200"),
        row("Correct", "Correction", month, "R-222", "300"),
    ]
}

/// A project with the original bill of October, which is closed; R-111 is of A and R-222 of B.
fn closed(export: &str) -> Bills {
    let bills = Bills::new(&[]);
    bills.put(
        "pipeline.toml",
        &format!(
            "name = \"Corrections\"\n[run]\nhistory_days = 2\n[[sources]]\nname = \"bill\"\nkind = \"charges\"\n\
             path = \"bills/*.csv\"\ndialect = \"focus\"\nexport = \"{export}\"\n\
             [attribution]\nknown_models = [\"A\", \"B\"]\n\
             [[attribution.resources]]\nresource_id = \"R-111\"\nmodel = \"A\"\nstage = \"training\"\n\
             [[attribution.resources]]\nresource_id = \"R-222\"\nmodel = \"B\"\nstage = \"training\"\n"
        ),
    );
    deliver(&bills, "bill", &original());
    bills.run_ok("2026-10-31");
    close(&bills, "2026-10");
    bills
}

fn deliver(bills: &Bills, name: &str, rows: &[String]) {
    let file = format!("bills/{name}.csv");
    bills.put(&file, &format!("{HEAD}\n{}\n", rows.join("\n")));
}

fn close(bills: &Bills, period: &str) {
    let out = bills.recost(&["close", "pipeline.toml", period]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

fn explain(bills: &Bills, what: &str) -> String {
    let out = bills.recost(&["explain", "pipeline.toml", what]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    // Columns are as wide as their widest cell.
    let lines = text(&out.stdout);
    let lines = lines
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

const RESTATED: &str =
    "select billing_period, restated_period, model_id, stage, usage_billed, allocation_effective
                        from restatements order by 1, 2, 3";

/// What restatements leave unexplained, per booked period: today's allocation − snapshot − Σ restatements.
const UNEXPLAINED: &str = "select target, model_id, stage, category, sum(billed), sum(effective) from (
        select target, model_id, stage, category, billed, effective from late_allocations where billing_period = '2026-10'
        union all
        select target, model_id, stage, category, -allocation_billed, -allocation_effective from snapshots
        where billing_period = '2026-10'
        union all
        select target, model_id, stage, category, -allocation_billed, -allocation_effective from restatements
        where restated_period = '2026-10'
    ) group by 1, 2, 3, 4 having sum(billed) <> 0 or sum(effective) <> 0";

#[test]
fn a_closed_month_is_restated_alike_by_differences_and_by_reversal_and_rebooking() {
    for export in ["overwrite", "append"] {
        for (style, mut correction) in [("delta", delta(OCTOBER)), ("ledger", ledger(OCTOBER))] {
            // November's own bill comes with it.
            correction.push(row("Compute", "(null)", NOVEMBER, "R-222", "10"));
            let bills = closed(export);
            let snapshot = bills.files("snapshots/");
            // An export that adds up delivers what is new alone, another the whole bill again.
            let mut bill = original();
            let mut more = |name: &str, rows: &[String]| {
                bill.extend_from_slice(rows);
                match export {
                    "append" => deliver(&bills, name, rows),
                    _ => deliver(&bills, "bill", &bill),
                }
            };
            more("correction", &correction);
            bills.run_ok("2026-11-03");
            // 300 of the usage, and of the tax of 150 as much as it now is on R-222: 150 × 300 / 1500.
            let first = [
                "2026-11,2026-10,A,training,-330.000000000000000000,-330.000000000000000000",
                "2026-11,2026-10,B,training,330.000000000000000000,330.000000000000000000",
            ];
            assert_eq!(bills.query(RESTATED), first, "{export} {style}");
            assert_eq!(bills.query(UNEXPLAINED), Vec::<String>::new());

            let of_a = explain(&bills, "A");
            for says in [
                "2026-10 training other resource map: R-111 USD 1500.00 1500.00 1500.00",
                "2026-10 training other default: tax USD 150.00 150.00 150.00",
                "2026-11 2026-10 training other USD -330.00 -330.00",
            ] {
                assert!(of_a.contains(says), "{says}\n{of_a}");
            }
            // B had nothing on the bill that was closed.
            let of_b = explain(&bills, "B");
            assert!(
                of_b.contains("2026-11 2026-10 training other USD 330.00 330.00"),
                "{of_b}"
            );
            // The correcting row itself: whose it is, and that it came late.
            let id = "select row_id from late_charges where charge_class = 'Correction' order by effective_cost limit 1";
            let id = bills.query(id).remove(0);
            let charge = explain(&bills, &id);
            for says in [
                "of a delivery that came after its billing period was closed",
                "Correction, R-111",
                "rule resource map: R-111",
            ] {
                assert!(charge.contains(says), "{says}\n{charge}");
            }

            // Another hundred was R-222's. November is closed meanwhile, so December books what is new, and no more.
            close(&bills, "2026-11");
            let again = [
                row("Negation", "Correction", OCTOBER, "R-111", "-1200"),
                row("Correct", "Correction", OCTOBER, "R-111", "1100"),
                row("Correct", "Correction", OCTOBER, "R-222", "100"),
            ];
            more("again", &again);
            bills.run_ok("2026-12-01");
            let mut all = first.to_vec();
            all.extend([
                "2026-12,2026-10,A,training,-110.000000000000000000,-110.000000000000000000",
                "2026-12,2026-10,B,training,110.000000000000000000,110.000000000000000000",
            ]);
            assert_eq!(bills.query(RESTATED), all, "{export} {style}");
            assert_eq!(bills.query(UNEXPLAINED), Vec::<String>::new());
            assert_eq!(bills.files("snapshots/billing_period=2026-10"), snapshot);
        }
    }
}

#[test]
fn a_correction_on_the_next_months_bill_is_booked_there_in_either_style() {
    for (style, correction, of_a) in [
        ("delta", delta(NOVEMBER), ["-300.00"].as_slice()),
        (
            "ledger",
            ledger(NOVEMBER),
            ["-1500.00", "1200.00"].as_slice(),
        ),
    ] {
        let bills = closed("overwrite");
        // A correction of cost alone names no resource.
        let bulk = row("Bulk", "Correction", NOVEMBER, "", "0.002");
        deliver(
            &bills,
            "bill",
            &[
                original(),
                correction,
                vec![bulk.replacen("Usage", "Adjustment", 1)],
            ]
            .concat(),
        );
        bills.run_ok("2026-11-03");
        assert!(bills.query(RESTATED).is_empty(), "{style}");
        // The day is the one that is corrected, the billing period the one that carries it.
        let booked =
            "select billing_period, day, target, model_id, sum(usage_effective) from model_costs
                      group by 1, 2, 3, 4 order by 1, 3, 4";
        assert_eq!(
            bills.query(booked),
            [
                "2026-10,2026-10-01,model,A,1650.000000000000000000",
                "2026-11,2026-10-01,model,A,-300.000000000000000000",
                "2026-11,2026-10-01,model,B,300.000000000000000000",
                "2026-11,2026-10-01,unallocated,,0.002000000000000000",
            ],
            "{style}"
        );
        let explained = explain(&bills, "A");
        assert!(
            explained.contains("2026-11 training other resource map: R-111 USD -300.00"),
            "{explained}"
        );
        for says in of_a {
            assert!(explained.contains(says), "{style} {says}\n{explained}");
        }
    }
}

//! Bills of several shapes in one pipeline, and what the program says of odd ones.

use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::shop::{recost, text};

const NIGHT: &str = "2026-10-31";
const FOCUS: &str = "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,InvoiceIssuerName,ChargePeriodStart,\
    ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,CommitmentDiscountId,ChargeFrequency,Tags";
const AZURE: &str = "BillingPeriodStartDate,BillingPeriodEndDate,Date,BillingCurrency,MeterCategory,ResourceId,ChargeType,\
    PricingModel,ReservationId,Cost,Tags";

/// A project without models whose sources are bills.
struct Project {
    dir: TempDir,
    sources: String,
}

impl Project {
    fn new() -> Self {
        Project {
            dir: TempDir::new().unwrap(),
            sources: String::new(),
        }
    }

    /// Adds a source that reads `file` by `dialect`.
    fn source(&mut self, name: &str, file: &str, dialect: &str) {
        self.sources.push_str(&format!(
            "[[sources]]\nname = \"{name}\"\nkind = \"charges\"\npath = \"{file}\"\ndialect = \"{dialect}\"\n"
        ));
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A FOCUS bill of one day: what follows the issuer in each row is given.
    fn focus(&mut self, rows: &[&str]) {
        let begin = "USD,2026-10-01,2026-11-01,Cloud";
        let lines: Vec<String> = rows.iter().map(|r| format!("{begin},{r}\n")).collect();
        self.file("bill.csv", &format!("{FOCUS}\n{}", lines.concat()));
        self.source("bill", "bill.csv", "focus");
    }

    /// Exit code and standard error of the night.
    fn run(&self, more: &str) -> (i32, String) {
        self.file(
            "pipeline.toml",
            &format!("name = \"Bills\"\n{}{more}", self.sources),
        );
        let night = ["run", "pipeline.toml", "--date", NIGHT];
        let out = recost(self.dir.path(), &night);
        (out.status.code().unwrap(), text(&out.stderr))
    }

    /// Runs the night, which must succeed, and gives what it warned of.
    fn warnings(&self, more: &str) -> Vec<String> {
        let (code, log) = self.run(more);
        assert_eq!(code, 0, "{log}");
        let lines = log.lines().filter_map(|l| l.strip_prefix("warning: "));
        lines.map(str::to_string).collect()
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let query = ["sql", "pipeline.toml", sql, "--format", "csv"];
        let out = recost(self.dir.path(), &query);
        assert!(out.status.success(), "{sql}\n{}", text(&out.stderr));
        let rows = text(&out.stdout);
        rows.lines().skip(1).map(str::to_string).collect()
    }
}

#[test]
fn azure_actual_and_amortized_cost_together_count_each_cost_once() {
    let period = "10/01/2026,10/31/2026";
    let common = format!(
        "{period},10/20/2026,USD,Virtual Machines,/vm/1,Usage,OnDemand,,1.168,\"\"\"model\"\": \"\"home-als\"\"\"\n\
         {period},10/21/2026,USD,Storage,/disk/1,Usage,OnDemand,,0.25,\n"
    );
    let actual = format!(
        "{period},10/20/2026,USD,Virtual Machines,/vm/2,Usage,Reservation,ri-1,0,\"\"\"model\"\": \"\"home-als\"\"\"\n\
         {period},10/02/2026,USD,Virtual Machines,,Purchase,Reservation,ri-1,730,\n\
         {period},10/03/2026,USD,Virtual Machines,,Refund,Reservation,ri-1,-30,\n"
    );
    let amortized = format!(
        "{period},10/20/2026,USD,Virtual Machines,/vm/2,Usage,Reservation,ri-1,16.5,\"\"\"model\"\": \"\"home-als\"\"\"\n\
         {period},10/21/2026,USD,Virtual Machines,,UnusedReservation,Reservation,ri-1,7.5,\n"
    );
    let mut bills = Project::new();
    // With the byte order mark that these exports have.
    bills.file("actual.csv", &format!("\u{feff}{AZURE}\n{common}{actual}"));
    bills.file(
        "amortized.csv",
        &format!("\u{feff}{AZURE}\n{common}{amortized}"),
    );
    bills.source("actual", "actual.csv", "azure_actual");
    bills.source("amortized", "amortized.csv", "azure_amortized");
    let known = "[attribution]\nknown_models = [\"home-als\"]\n";
    assert_eq!(bills.warnings(known), Vec::<String>::new());

    // 1.168 + 0.25 + 730 − 30, and 1.168 + 0.25 + 16.5 + 7.5.
    assert_eq!(
        bills.query("select sum(billed_cost), sum(effective_cost) from charges"),
        ["701.418000000000000000,25.418000000000000000"]
    );
    assert_eq!(
        bills.query(
            "select target, coalesce(model_id, ''), sum(effective) from allocations group by 1, 2 order by 1"
        ),
        [
            "idle,,7.500000000000000000",
            "model,home-als,17.668000000000000000",
            "unallocated,,0.250000000000000000"
        ]
    );
    assert_eq!(
        bills.query("select source, rows_in, rows_out, rows_skipped from deliveries order by 1"),
        ["actual,5,5,0", "amortized,4,2,2"]
    );
    // Both are one issuer's bill.
    assert_eq!(
        bills.query("select distinct issuer from reconciliation"),
        ["Microsoft"]
    );
}

#[test]
fn a_compressed_bill_is_the_same_bill_and_rows_that_repeat_all_count() {
    let row = "2026-10-20,2026-10-21,Usage,0.1,0.1,,Usage-Based,";
    let mut bills = Project::new();
    bills.focus(&[row, row, row]);
    let plain = fs::read(bills.dir.path().join("bill.csv")).unwrap();
    let packed = File::create(bills.dir.path().join("packed.csv.gz")).unwrap();
    let mut packer = GzEncoder::new(packed, Compression::default());
    packer.write_all(&plain).unwrap();
    packer.finish().unwrap();
    bills.source("packed", "packed.csv.gz", "focus");
    assert_eq!(bills.warnings(""), Vec::<String>::new());
    assert_eq!(
        bills.query("select source, count(distinct row_id), sum(effective_cost) from charges group by 1 order by 1"),
        [
            "bill,3,0.300000000000000000",
            "packed,3,0.300000000000000000"
        ]
    );
}

#[test]
fn rules_look_past_blanks_and_capitals_of_tags_and_columns() {
    let mut bills = Project::new();
    bills.focus(&[
        "2026-10-20,2026-10-21,Usage,1,1,,Usage-Based,\"{\"\" org\"\": \"\"Trey\"\"}\"",
        "2026-10-20,2026-10-21,Usage,2,2,,Usage-based,\"{\"\"Org\"\": \"\"trey \"\"}\"",
        "2026-10-20,2026-10-21,Usage,4,4,,NULL,\"{\"\"org\"\": \"\"trey\"\"}\"",
    ]);
    let rule = "[attribution]\nknown_models = [\"a\"]\n[[attribution.rules]]\nname = \"org\"\n\
                match = { \"tags.ORG\" = \"trey\", charge_frequency = \"usage-based\" }\ntarget = \"model\"\nmodel = \"a\"\n";
    assert_eq!(bills.warnings(rule), Vec::<String>::new());
    assert_eq!(
        bills.query("select target, sum(effective) from allocations group by 1 order by 1"),
        [
            "model,3.000000000000000000",
            "unallocated,4.000000000000000000"
        ]
    );
}

#[test]
fn effective_cost_in_whole_units_beside_a_precise_billed_cost_is_told() {
    let mut bills = Project::new();
    bills.focus(&[
        "2026-10-20,2026-10-21,Usage,0.4,0,,Usage-Based,",
        "2026-10-20,2026-10-21,Usage,12.6,13,,Usage-Based,",
        "2026-10-20,2026-10-21,Usage,5,5,,Usage-Based,",
        "2026-10-20,2026-10-21,Usage,0.2,0.2,,Usage-Based,",
    ]);
    assert_eq!(
        bills.warnings(""),
        [
            "source `bill`, whole: 2 of 3 charges have an EffectiveCost in whole units beside a BilledCost with \
          decimals; what is attributed is the EffectiveCost"
        ]
    );

    // One that costs nothing among many is what it says.
    let mut bills = Project::new();
    bills.focus(&[
        "2026-10-20,2026-10-21,Usage,0.4,0,,Usage-Based,",
        "2026-10-20,2026-10-21,Usage,0.2,0.2,,Usage-Based,",
        "2026-10-20,2026-10-21,Usage,0.3,0.3,,Usage-Based,",
    ]);
    assert_eq!(bills.warnings(""), Vec::<String>::new());
}

#[test]
fn a_purchase_that_covers_later_charges_has_no_effective_cost_or_is_told() {
    let mut bills = Project::new();
    bills.focus(&[
        "2026-10-20,2027-10-20,Purchase,1200,0,plan-1,One-Time,",
        "2026-10-20,2027-10-20,Purchase,1200,1200,plan-1,One-Time,",
        "2026-10-20,2027-10-20,Purchase,99,99,,One-Time,",
        "2026-10-20,2026-10-21,Purchase,5,5,,One-Time,",
        "2026-10-20,2026-10-21,Usage,0,3,plan-1,Usage-Based,",
    ]);
    assert_eq!(
        bills.warnings(""),
        [
            "source `bill`, whole: 2 purchases that cover later charges have an EffectiveCost other than 0; with what \
          they cover it counts twice"
        ]
    );
}

#[test]
fn several_charges_of_one_row_have_ids_of_their_own() {
    let mapping = |part: &str| {
        format!(
            "select _row, {part} as _part, \"Cost\" as billed_cost, \"Cost\" as effective_cost, 'USD' as billing_currency,\n\
             '2026-10-01' as billing_period_start, '2026-11-01' as billing_period_end, '2026-10-20' as charge_period_start,\n\
             '2026-10-21' as charge_period_end, 'Usage' as charge_category\nfrom source where \"Cost\" <> 'none'\n"
        )
    };
    let mut bills = Project::new();
    bills.file("bill.csv", "Cost\n1\nnone\n2\n");
    bills.source("bill", "bill.csv", "halves");
    bills.file("sql/sources/charges/halves.sql", &mapping("unnest([0, 1])"));
    assert_eq!(bills.warnings(""), Vec::<String>::new());
    assert_eq!(
        bills.query("select \"row\", part, effective_cost from charges order by 1, 2"),
        [
            "1,0,1.000000000000000000",
            "1,1,1.000000000000000000",
            "3,0,2.000000000000000000",
            "3,1,2.000000000000000000"
        ]
    );
    assert_eq!(
        bills.query("select count(distinct row_id) from allocations"),
        ["4"]
    );
    // Of three rows one was left out, however many charges the others became.
    assert_eq!(
        bills.query("select rows_in, rows_out, rows_skipped from deliveries"),
        ["3,4,1"]
    );

    bills.file("sql/sources/charges/halves.sql", &mapping("'first'"));
    let (code, log) = bills.run("");
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("_part"), "{log}");
}

#[test]
fn an_invoice_that_its_charges_do_not_add_up_to_is_told_and_stops_nothing() {
    let mut bills = Project::new();
    bills.file(
        "bill.csv",
        "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,InvoiceIssuerName,InvoiceId,ChargePeriodStart,ChargePeriodEnd,\
         ChargeCategory,BilledCost,EffectiveCost\n\
         USD,2026-10-01,2026-11-01,Cloud,INV-1,2026-10-20,2026-10-21,Usage,98.99,98.99\n\
         USD,2026-10-01,2026-11-01,Cloud,INV-2,2026-10-20,2026-10-21,Usage,5,5\n",
    );
    bills.source("bill", "bill.csv", "focus");
    bills.sources.push_str(
        "[[sources]]\nname = \"invoices\"\nkind = \"invoices\"\npath = \"invoice.csv\"\ndialect = \"focus\"\n",
    );
    let invoice = |amount: &str| {
        let period = "USD,2026-10-01,2026-11-01,Cloud";
        bills.file(
            "invoice.csv",
            &format!(
                "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,InvoiceIssuerName,InvoiceId,BilledCost\n\
                 {period},INV-1,{amount}\n{period},INV-2,5\n"
            ),
        );
    };
    invoice("100");
    assert_eq!(
        bills.warnings(""),
        [
            "conformance: 1 of 2 break invoice_ties_to_charges, most INV-1 by 1.01 USD; recost sql … \"select * from \
             conformance where not holds\""
        ]
    );
    assert_eq!(
        bills.query("select subject, rows, stated, found, difference, tolerance, holds from conformance order by 1"),
        [
            "INV-1,1,100.000000000000000000,98.990000000000000000,1.010000000000000000,1.000000000000000000,false",
            "INV-2,1,5.000000000000000000,5.000000000000000000,0.000000000000000000,1.000000000000000000,true"
        ]
    );
    let out = recost(
        bills.dir.path(),
        &["check", "pipeline.toml", "--date", NIGHT],
    );
    assert!(out.status.success());
    assert!(
        text(&out.stderr).contains("invoice_ties_to_charges"),
        "{}",
        text(&out.stderr)
    );
    // 100 minor units are allowed; the invoice that comes again replaces the one before it.
    invoice("99.99");
    assert_eq!(bills.warnings(""), Vec::<String>::new());
    assert_eq!(
        bills.query("select count(*), sum(billed_cost) from invoices"),
        ["2,104.990000000000000000"]
    );
}

#[test]
fn a_commitment_that_costs_another_sum_than_it_was_to_is_told_and_stops_nothing() {
    let mut bills = Project::new();
    bills.focus(&[
        "2026-10-01,2026-10-03,Purchase,20,0,plan-1,One-Time,",
        "2026-10-01,2026-10-02,Usage,0,9,plan-1,Usage-Based,",
        "2026-10-02,2026-10-03,Usage,0,11,plan-1,Usage-Based,",
        "2026-10-01,2027-10-01,Purchase,8760,0,plan-2,One-Time,",
        "2026-09-30,2026-10-01,Usage,0,0.75,plan-2,Usage-Based,",
        "2026-10-01,2026-10-02,Usage,0,24,plan-2,Usage-Based,",
    ]);
    bills.sources.push_str(
        "[[sources]]\nname = \"terms\"\nkind = \"commitments\"\npath = \"terms.csv\"\ndialect = \"focus\"\n",
    );
    let head = "ContractCommitmentId,ContractCommitmentCost,BillingCurrency,ContractCommitmentPeriodStart,ContractCommitmentPeriodEnd";
    let terms = |cost: &str, start: &str| {
        format!(
            "{head}\nplan-1,{cost},USD,2026-10-01,2026-10-03\nplan-2,8760,USD,{start},2027-10-01\n"
        )
    };
    bills.file("terms.csv", &terms("18.5", "2026-10-01"));
    assert_eq!(
        bills.warnings(""),
        [
            "conformance: 1 of 2 break commitment_is_used_in_its_term, most plan-2 by 0.75 USD; recost sql … \"select * from \
             conformance where not holds\"",
            "conformance: 1 of 1 break commitment_keeps_its_cost, most plan-1 by 1.5 USD; recost sql … \"select * from \
             conformance where not holds\"",
        ]
    );
    assert_eq!(
        bills.query("select rule, subject, rows, stated, found, holds from conformance where subject = 'plan-1' order by 1"),
        [
            "commitment_is_used_in_its_term,plan-1,2,0.000000000000000000,0.000000000000000000,true",
            "commitment_is_used_up,plan-1,2,20.000000000000000000,20.000000000000000000,true",
            "commitment_keeps_its_cost,plan-1,2,18.500000000000000000,20.000000000000000000,false"
        ]
    );
    // The terms come again, corrected.
    bills.file("terms.csv", &terms("20", "2026-09-30"));
    assert_eq!(bills.warnings(""), Vec::<String>::new());
    assert_eq!(
        bills.query("select count(*), sum(contract_commitment_cost) from commitments"),
        ["2,8780.000000000000000000"]
    );
    // What cannot be read stops the run: an amount to hold bills against is right or not there.
    bills.file("terms.csv", &terms("a lot", "2026-09-30"));
    let (code, log) = bills.run("");
    assert_eq!(code, 3, "{log}");
    for says in ["terms.csv", "row 1", "contract_commitment_cost", "a lot"] {
        assert!(log.contains(says), "{says}\n{log}");
    }
}

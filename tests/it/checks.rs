//! Checks can fail: for each invariant a project whose data were damaged, whose night stops with exit code 3 and says what
//! is wrong and where, and whose published tables stay as they were.
//!
//! What damages is what could in a real project: SQL of its own that loses or changes something on the way, or a file of
//! the warehouse that somebody wrote over.

use crate::billing::Bills;
use crate::shop::text;

const NIGHT: &str = "2026-10-31";

/// A row of the bill on a day of October, tagged with a model, or with none.
fn row(day: u32, category: &str, model: &str, amount: &str, currency: &str) -> String {
    let tags = match model {
        "" => "{}".to_string(),
        _ => format!("\"{{\"\"model\"\":\"\"{model}\"\"}}\""),
    };
    format!(
        "{currency},2026-10-01,2026-11-01,2026-10-{day:02},2026-10-{:02},{category},Cloud,r{day},{amount},{amount},{tags}",
        day + 1
    )
}

/// A published night of a bill in two currencies, with a credit and tax.
fn published() -> Bills {
    let mut rows: Vec<String> = (1..=20)
        .map(|day| {
            let model = ["A", "B", ""][day as usize % 3];
            row(
                day,
                "Usage",
                model,
                &format!("{day}.000000000000000001"),
                "USD",
            )
        })
        .collect();
    rows.push(row(3, "Credit", "", "-1.5", "USD"));
    rows.push(row(1, "Tax", "", "7", "USD"));
    rows.push(row(4, "Usage", "A", "40", "EUR"));
    rows.push(row(5, "Usage", "", "-3", "EUR"));
    let bills = Bills::new(&[]);
    bills.deliver(&rows);
    bills.run_ok(NIGHT);
    bills
}

/// Puts SQL of its own into the project.
fn own_sql(bills: &Bills, file: &str, sql: &str) {
    let path = bills.path().join("sql").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, sql).unwrap();
}

/// The shipped SQL file with a piece of it replaced.
fn altered(file: &str, from: &str, to: &str) -> String {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("sql")
        .join(file);
    let sql = std::fs::read_to_string(shipped).unwrap();
    assert!(sql.contains(from), "{from:?} is not in {file}");
    sql.replace(from, to)
}

/// The night must stop at `check`, say each of `says`, and leave what is published as it was.
fn stops(bills: &Bills, check: &str, says: &[&str]) {
    let before = bills.files("");
    let (code, said) = bills.run_again(NIGHT);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("the check {check} fails")), "{said}");
    for words in says {
        assert!(said.contains(words), "{words:?} is not said:\n{said}");
    }
    assert_eq!(bills.files(""), before);
}

#[test]
fn i1_a_charge_that_loses_a_unit_on_the_way() {
    let bills = published();
    let lines = "attribution/lines.sql";
    let unit = altered(
        lines,
        "charges.*,",
        "charges.* replace (case when \"row\" = 7 then effective_cost - 0.000000000000000001 else effective_cost end as effective_cost),",
    );
    own_sql(&bills, lines, &unit);
    let place = "checks/charge_is_split_exactly.sql";
    stops(
        &bills,
        "charge_is_split_exactly",
        &["7.000000000000000001", "7.000000000000000000", place],
    );

    // A charge that is left out, and one that counts twice.
    let left_out = altered(lines, "from charges", "from charges where \"row\" <> 9");
    own_sql(&bills, lines, &left_out);
    stops(&bills, "charge_is_split_exactly", &["9.000000000000000001"]);
    let twice = altered(
        lines,
        "from charges",
        "from (select * from charges union all select * from charges where \"row\" = 9) as charges",
    );
    own_sql(&bills, lines, &twice);
    stops(
        &bills,
        "charge_is_split_exactly",
        &["18.000000000000000002"],
    );
}

#[test]
fn i2_a_reconciliation_that_does_not_hold_the_whole_bill() {
    let bills = published();
    let file = "attribution/reconciliation.sql";
    // A part in the wrong line; a line left out that the difference does not tell of; a currency left out.
    for (from, to, says) in [
        (
            "('unallocated', 'unallocated')",
            "('unallocated', 'idle')",
            "Cloud",
        ),
        (
            "from lines\nunion all",
            "from lines\nwhere line <> 'attributed'\nunion all",
            "Cloud",
        ),
        (
            "from bill cross join bases\n",
            "from bill cross join bases where currency <> 'EUR'\n",
            "EUR",
        ),
    ] {
        own_sql(&bills, file, &altered(file, from, to));
        stops(&bills, "period_is_reconciled", &[says, "2026-10"]);
    }
}

#[test]
fn i3_a_file_of_charges_that_lost_a_row() {
    let (bills, other) = (published(), published());
    let full: Vec<String> = std::fs::read_to_string(other.path().join("bill.csv"))
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.trim_end_matches(',').to_string())
        .collect();
    other.deliver(&full[1..]);
    other.run_ok(NIGHT);
    // Another content by the same name.
    let charges = |of: &Bills| {
        let mut charges = of.files("charges/");
        charges.retain(|(name, _)| name.starts_with("charges/"));
        charges.remove(0)
    };
    let ((name, _), (_, bytes)) = (charges(&bills), charges(&other));
    write_over(&bills, &name, &bytes);
    stops(
        &bills,
        "delivery_is_complete",
        &["bills", "24", "checks/delivery_is_complete.sql"],
    );
}

/// Writes over a file of what is published, as no run ever does.
fn write_over(bills: &Bills, name: &str, bytes: &[u8]) {
    let path = bills.path().join("warehouse/current").join(name);
    assert!(path.exists(), "{name}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn i4_a_snapshot_of_a_closed_period_that_is_another() {
    // Also close::a_snapshot_that_was_tampered_with_stops_the_run, with a figure changed; here it is gone.
    let bills = published();
    let closed = bills.recost(&["close", "pipeline.toml", "2026-10"]);
    assert!(closed.status.success(), "{}", text(&closed.stderr));
    let (name, _) = bills.files("snapshots/").pop().unwrap();
    std::fs::remove_file(bills.path().join("warehouse/current").join(name)).unwrap();
    stops(&bills, "closed_period_is_unchanged", &["2026-10", "hash"]);
}

#[test]
fn i5_an_amount_that_changes_its_currency() {
    let bills = published();
    let lines = "attribution/lines.sql";
    let dollars = altered(
        lines,
        "charges.*,",
        "charges.* replace ('USD' as billing_currency),",
    );
    own_sql(&bills, lines, &dollars);
    stops(&bills, "allocation_keeps_its_currency", &["EUR", "USD"]);
}

#[test]
fn i6_an_allocation_of_a_charge_that_is_on_no_bill() {
    let bills = published();
    let lines = "attribution/lines.sql";
    let renamed = altered(
        lines,
        "charges.*,",
        "charges.* replace (case when \"row\" = 3 then 'made up' else row_id end as row_id),",
    );
    own_sql(&bills, lines, &renamed);
    stops(
        &bills,
        "allocation_has_lineage",
        &["made up", "default: tags"],
    );
}

#[test]
fn i7_what_comes_out_otherwise_from_the_same_inputs() {
    let bills = Bills::new(&[]);
    let rows: Vec<String> = (0..80)
        .map(|n| row(1 + n % 28, "Usage", "A", &format!("{n}.5"), "USD"))
        .collect();
    bills.deliver(&rows);
    let lines = "attribution/lines.sql";
    let dice = altered(
        lines,
        "        else 'other'",
        "        when random() < 0.5 then 'network'\n        else 'other'",
    );
    own_sql(&bills, lines, &dice);
    bills.run_ok(NIGHT);
    stops(
        &bills,
        "rerun_is_identical",
        &["2026-10", "random()", "attribution/lines.sql"],
    );

    // Other SQL is another input; and what is the same each time may run each night.
    std::fs::remove_dir_all(bills.path().join("sql")).unwrap();
    bills.run_ok(NIGHT);
    let (code, said) = bills.run_again(NIGHT);
    assert_eq!(code, 0, "{said}");
}

/// The file of a published table, with a column computed otherwise.
fn rewritten(bills: &Bills, table: &str, column: &str, otherwise: &str) -> (String, Vec<u8>) {
    let (name, _) = bills.files(&format!("{table}/")).pop().unwrap();
    let sql =
        format!("select * replace (cast({otherwise} as decimal(38, 18)) as {column}) from {table}");
    let out = bills.recost(&["sql", "pipeline.toml", &sql, "--format", "parquet"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    (name, out.stdout)
}

/// The last digit of an amount, as an amount.
const UNIT: &str = "cast('0.000000000000000001' as decimal(38, 18))";

/// What checks the published tables without making them anew.
const READERS: [&[&str]; 3] = [
    &["run", "pipeline.toml", "--date", NIGHT, "--select", "check"],
    &["check", "pipeline.toml", "--date", NIGHT],
    &["close", "pipeline.toml", "2026-10"],
];

#[test]
fn i8_a_ledger_of_versions_that_does_not_close() {
    let bills = Bills::new(&[]);
    let versioned = |day: u32, amount: &str| {
        row(day, "Usage", "A", amount, "USD").replace(
            "\"\"A\"\"",
            "\"\"A\"\",\"\"model_version\"\":\"\"v1\"\",\"\"stage\"\":\"\"training\"\"",
        )
    };
    bills.deliver(&[versioned(1, "30"), versioned(2, "7.5")]);
    bills.run_ok(NIGHT);
    let closing = "select max(closing) from version_ledger where model_version = 'v1'";
    assert_eq!(bills.query(closing), ["37.500000000000000000"]);

    // Each amount of a movement, by the last digit; an opening that is not the closing before it.
    for column in [
        "incurred",
        "recognised",
        "written_off",
        "closing",
        "opening",
    ] {
        let (name, whole) = bills.files("version_ledger/").pop().unwrap();
        let otherwise = format!("{column} + {UNIT}");
        let (_, damaged) = rewritten(&bills, "version_ledger", column, &otherwise);
        write_over(&bills, &name, &damaged);
        let before = bills.files("");
        for command in READERS {
            let out = bills.recost(command);
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(3), "{column} {command:?} {said}");
            assert!(
                said.contains("the check version_ledger_closes fails"),
                "{said}"
            );
            assert_eq!(bills.files(""), before);
        }
        write_over(&bills, &name, &whole);
    }
    // A night makes the ledger anew from what versions cost.
    bills.run_ok(NIGHT);
}

#[test]
fn allocations_added_up_that_are_not_those_allocated() {
    let bills = published();
    for (table, column) in [
        ("allocation_days", "billed"),
        ("allocation_days", "effective"),
        ("largest_allocations", "effective"),
    ] {
        let (name, whole) = bills.files(&format!("{table}/")).pop().unwrap();
        let otherwise =
            format!("case when model_id = 'B' then {column} + {UNIT} else {column} end");
        let (_, damaged) = rewritten(&bills, table, column, &otherwise);
        write_over(&bills, &name, &damaged);
        let before = bills.files("");
        for command in READERS {
            let out = bills.recost(command);
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(3), "{command:?} {said}");
            assert!(
                said.contains("the check allocation_days_add_up fails"),
                "{said}"
            );
            assert!(said.contains(table) && said.contains("| B "), "{said}");
            assert_eq!(bills.files(""), before);
        }
        write_over(&bills, &name, &whole);
    }
}

#[test]
fn i9_views_of_the_same_cost_that_differ() {
    let bills = published();
    let file = "attribution/model_costs.sql";
    // By category, by model, by stage.
    for to in [
        "from allocation_days\nwhere category <> 'other'",
        "from (select * replace (case when model_id = 'B' then 'A' else model_id end as model_id) from allocation_days) as allocation_days",
        "from (select * replace (case when model_id = 'A' and day = date '2026-10-03' then 'training' else stage end as stage) from allocation_days) as allocation_days",
    ] {
        own_sql(&bills, file, &altered(file, "from allocation_days", to));
        // Which five of the rows are shown is open.
        stops(
            &bills,
            "views_of_cost_agree",
            &["2026-10", "checks/views_of_cost_agree.sql"],
        );
    }
}

#[test]
fn i10_a_model_whose_recommendations_do_not_carry_its_day() {
    let bills = published();
    let pipeline = std::fs::read_to_string(bills.path().join("pipeline.toml")).unwrap();
    let source = "[[sources]]\nname = \"clicks\"\nkind = \"events\"\npath = \"events.csv\"\ndialect = \"recost\"\n";
    let pipeline = pipeline.replace("history_days = 2", "history_days = 31") + source;
    std::fs::write(bills.path().join("pipeline.toml"), pipeline).unwrap();
    let mut events = "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,model_version,surface,rank,compute_ns,price,quantity,currency\n".to_string();
    for n in 0..60 {
        let (day, model) = (1 + n % 20, ["A", "B"][n % 2]);
        events.push_str(&format!(
            "e{n},2026-10-{day:02}T10:00:00Z,u1,s1,impression,p{n},,q{n},{model},1,home,1,,,,\n"
        ));
    }
    std::fs::write(bills.path().join("events.csv"), events).unwrap();
    bills.run_ok(NIGHT);
    let day =
        "select count(*) from recommendation_costs where ds = date '2026-10-04' and model_id = 'B'";
    assert_ne!(bills.query(day), ["0"]);

    // All that one model showed is left out.
    let served = "attribution/served.sql";
    own_sql(
        &bills,
        served,
        &altered(
            served,
            "event_type = 'impression'",
            "event_type = 'impression' and model_id <> 'B'",
        ),
    );
    stops(
        &bills,
        "recommendations_add_up_to_model_day",
        &["| B ", "checks/recommendations_add_up_to_model_day.sql"],
    );
    // A day of all models.
    own_sql(
        &bills,
        served,
        &altered(
            served,
            "event_type = 'impression'",
            "event_type = 'impression' and cast(event_time as date) <> date '2026-10-04'",
        ),
    );
    stops(
        &bills,
        "recommendations_add_up_to_model_day",
        &["2026-10-04"],
    );
}

//! What decides nothing: the order of a bill's rows, how they are divided over files, the order in which files are listed,
//! and the number of threads.

use crate::billing::Bills;

const HEADER: &str = "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,\
                      InvoiceIssuerName,ResourceId,ServiceName,BilledCost,EffectiveCost,Tags";

/// A bill with machines, tags, credits, tax and two currencies.
fn bill() -> Vec<String> {
    let tags = [
        "{}",
        "\"{\"\"model\"\":\"\"A\"\"}\"",
        "\"{\"\"model\"\":\"\"B\"\",\"\"stage\"\":\"\"training\"\"}\"",
    ];
    let mut rows = vec![];
    for n in 0..300_u64 {
        let (category, resource, tag) = match n % 10 {
            0..4 => ("Usage", format!("gpu-{}", n % 7), tags[0]),
            4..7 => ("Usage", format!("r-{}", n % 11), tags[1 + n as usize % 2]),
            7 => ("Usage", "other".into(), tags[0]),
            8 => ("Credit", format!("gpu-{}", n % 7), tags[0]),
            _ => ("Tax", String::new(), tags[0]),
        };
        let day = 1 + n % 28;
        let sign = if category == "Credit" || n % 23 == 0 {
            "-"
        } else {
            ""
        };
        let amount = format!(
            "{sign}{}.{:09}",
            n * 7 % 41,
            n * 123_456_789 % 1_000_000_000
        );
        let currency = if n % 6 == 0 { "EUR" } else { "USD" };
        rows.push(format!(
            "{currency},2026-10-01,2026-11-01,2026-10-{day:02},2026-10-{:02},{category},Cloud,{resource},S{},{amount},{amount},{tag}",
            day + 1,
            n % 3
        ));
    }
    // Rows that say the same as others, of each kind; one is there three times.
    for n in [3, 5, 7, 8, 9, 108, 109, 3] {
        rows.push(rows[n].clone());
    }
    rows
}

/// The night of a bill in these files, written in this order.
fn night(files: &[(&str, &[String])], threads: usize) -> Bills {
    let bills = Bills::new(&[]);
    let text = format!(
        "name = \"Order\"\n[engine]\nthreads = {threads}\n[run]\nhistory_days = 31\n\
         [[sources]]\nname = \"bills\"\nkind = \"charges\"\npath = \"bills/*.csv\"\ndialect = \"focus\"\n\
         [[sources]]\nname = \"telemetry\"\nkind = \"usage\"\npath = \"usage.csv\"\ndialect = \"recost\"\n\
         [[sources]]\nname = \"clicks\"\nkind = \"events\"\npath = \"events.csv\"\ndialect = \"recost\"\n\
         [attribution]\nknown_models = [\"A\", \"B\"]\n[report]\nafter_run = false\n"
    );
    std::fs::write(bills.path().join("pipeline.toml"), text).unwrap();
    std::fs::create_dir(bills.path().join("bills")).unwrap();
    for (name, rows) in files {
        let text = format!("{HEADER}\n{}\n", rows.join("\n"));
        std::fs::write(bills.path().join("bills").join(name), text).unwrap();
    }
    let mut usage = "usage_start,usage_end,resource_id,model_id,model_version,stage,gpu_ns,cpu_ns,bytes,requests,reserved_ns,capacity_ns\n".to_string();
    let mut events = "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,model_version,surface,rank,compute_ns,price,quantity,currency\n".to_string();
    for n in 0..400 {
        let (day, hour, model) = (1 + n % 28, n % 24, ["A", "B"][n % 2]);
        usage.push_str(&format!(
            "2026-10-{day:02}T{hour:02}:00:00Z,2026-10-{day:02}T{hour:02}:59:00Z,gpu-{},{model},,training,{},,,,,9000000\n",
            n % 7,
            1 + n * 7919 % 5_000_000
        ));
        events.push_str(&format!(
            "e{n},2026-10-{day:02}T{hour:02}:30:00Z,u{},s1,impression,p{n},,q{},{model},1,home,1,{},,,\n",
            n % 9,
            n / 3,
            1 + n
        ));
    }
    std::fs::write(bills.path().join("usage.csv"), usage).unwrap();
    std::fs::write(bills.path().join("events.csv"), events).unwrap();
    bills.run_ok("2026-10-31");
    bills
}

/// Every table that costs come to.
const COSTS: [&str; 9] = [
    "allocations/",
    "model_costs/",
    "allocation_days/",
    "reconciliation/",
    "version_ledger/",
    "recommendation_costs/",
    "served_days/",
    "outcomes/",
    "unit_costs/",
];

/// The rows, every one of them elsewhere: 308 and 75 have no common factor.
fn shuffled(rows: &[String]) -> Vec<String> {
    assert_eq!(rows.len(), 308);
    (0..rows.len())
        .map(|n| rows[(n * 75 + 5) % rows.len()].clone())
        .collect()
}

#[test]
fn threads_and_the_order_of_files_leave_every_byte_as_it_is() {
    let rows = bill();
    let (a, b) = rows.split_at(130);
    let one = night(&[("a.csv", a), ("b.csv", b)], 1);
    let other = night(&[("b.csv", b), ("a.csv", a)], 5);
    for table in COSTS.iter().chain(&["charges/"]) {
        assert!(
            !one.files(table).is_empty() || *table == "outcomes/",
            "{table}"
        );
        assert!(one.files(table) == other.files(table), "{table}");
    }
}

#[test]
fn rows_in_another_order_and_other_files_leave_every_byte_of_costs_as_it_is() {
    let rows = bill();
    let one = night(&[("bill.csv", &rows)], 1);
    assert_eq!(
        one.query("select count(*), count(distinct row_id) from charges"),
        [format!("{0},{0}", rows.len())]
    );
    assert!(one.query("select row_id from allocations").len() > 600);
    let shuffled = shuffled(&rows);
    let (a, rest) = shuffled.split_at(7);
    let (b, c) = rest.split_at(200);
    for (files, threads) in [
        (vec![("bill.csv", &shuffled[..])], 2),
        (vec![("1.csv", a), ("2.csv", b), ("3.csv", c)], 1),
        (vec![("1.csv", c), ("2.csv", a), ("3.csv", b)], 2),
    ] {
        let other = night(&files, threads);
        for table in COSTS {
            assert!(one.files(table) == other.files(table), "{table} {threads}");
        }
    }
}

#[test]
fn a_bill_that_comes_again_in_another_order_has_the_same_ids() {
    let rows = bill();
    let (a, b) = rows.split_at(130);
    let bills = night(&[("a.csv", a), ("b.csv", b)], 2);
    let said = "select row_id, charge_period_start, charge_category, resource_id, billed_cost, tags from charges order by 1";
    let ids = bills.query(said);
    let deliveries = "select distinct delivery_id from charges";
    let delivered = bills.query(deliveries);
    let costs: Vec<_> = COSTS.iter().map(|table| bills.files(table)).collect();

    let shuffled = shuffled(&rows);
    std::fs::remove_file(bills.path().join("bills/a.csv")).unwrap();
    let text = format!("{HEADER}\n{}\n", shuffled.join("\n"));
    std::fs::write(bills.path().join("bills/b.csv"), text).unwrap();
    bills.run_ok("2026-10-31");
    assert_ne!(bills.query(deliveries), delivered);
    assert_eq!(bills.query(said), ids);
    for (table, costs) in COSTS.iter().zip(costs) {
        assert!(bills.files(table) == costs, "{table}");
    }
}

#[test]
fn rows_that_say_the_same_are_charges_of_their_own_in_one_file_or_in_two() {
    let row = bill().swap_remove(4);
    let other = bill().swap_remove(14);
    let same = |n: usize| vec![row.clone(); n];
    let mut ids = vec![];
    for files in [
        vec![("1.csv", [same(3), vec![other.clone()]].concat())],
        vec![
            ("1.csv", same(1)),
            ("2.csv", [vec![other.clone()], same(2)].concat()),
        ],
        vec![
            ("1.csv", same(2)),
            ("2.csv", vec![other.clone()]),
            ("3.csv", same(1)),
        ],
    ] {
        let files: Vec<(&str, &[String])> = files.iter().map(|(n, r)| (*n, &r[..])).collect();
        let bills = night(&files, 2);
        ids.push(
            bills.query("select row_id, resource_id, charge_period_start from charges order by 1"),
        );
        // In the order of files and rows, each is counted on from those before it.
        let named = bills.query(
            "select count(*), min(file), max(\"row\") from charges group by row_id having count(*) > 1",
        );
        assert!(named.is_empty(), "{named:?}");
    }
    assert_eq!(ids[0].len(), 4);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
}

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

const COSTS: [&str; 6] = [
    "model_costs/",
    "allocation_days/",
    "reconciliation/",
    "recommendation_costs/",
    "unit_costs/",
    "allocations/",
];

#[test]
fn threads_and_the_order_of_files_leave_every_byte_as_it_is() {
    let rows = bill();
    let (a, b) = rows.split_at(130);
    let one = night(&[("a.csv", a), ("b.csv", b)], 1);
    let other = night(&[("b.csv", b), ("a.csv", a)], 5);
    for table in COSTS {
        assert!(!one.files(table).is_empty(), "{table}");
        assert!(one.files(table) == other.files(table), "{table}");
    }
}

#[test]
fn rows_in_another_order_and_other_files_cost_the_same_row_by_row() {
    let rows = bill();
    let one = night(&[("bill.csv", &rows)], 2);
    // Every row elsewhere: 300 and 77 have no common factor.
    let shuffled: Vec<String> = (0..rows.len())
        .map(|n| rows[(n * 77 + 5) % rows.len()].clone())
        .collect();
    let (a, rest) = shuffled.split_at(7);
    let (b, c) = rest.split_at(200);
    let other = night(&[("1.csv", a), ("2.csv", b), ("3.csv", c)], 3);

    // What names no row is the same to the byte.
    for table in &COSTS[..5] {
        assert!(one.files(table) == other.files(table), "{table}");
    }
    // A row's id says in which file and where it lies; by what the row says, its allocations are the same.
    let by_content = "select charge_period_start, resource_id, charges.charge_category, service_name, tags, billed_cost, effective_cost,
            billing_currency, a.* from (select * replace (case when basis = 'usage' then '' else row_id end as row_id) from
            (select allocations.*, row_id as of_row from allocations)) as a
        left join charges on charges.row_id = a.of_row";
    let listed = |bills: &Bills| {
        let mut rows = bills.query(&by_content.replace("a.* from", "a.row_id, day, currency, issuer, target, model_id, model_version, stage, reason, category, rule, rule_version, driver, weight, weight_total, billed, effective, basis from"));
        rows.sort();
        rows
    };
    let (one, other) = (listed(&one), listed(&other));
    assert!(one.len() > 600, "{}", one.len());
    assert_eq!(one, other);
}

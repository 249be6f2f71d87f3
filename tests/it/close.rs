//! Closing a month, and what its bills bring later: always a restatement, never a change.

use crate::billing::Bills;
use crate::shop::text;

/// A charge of `amount` for the resource on a day of a month of 2026, tagged with a model, or with none.
fn charge(month: u32, day: u32, model: &str, amount: &str) -> String {
    let tags = if model.is_empty() {
        "{}".to_string()
    } else {
        format!("\"{{\"\"model\"\":\"\"{model}\"\"}}\"")
    };
    format!(
        "USD,2026-{month:02}-01,2026-{:02}-01,2026-{month:02}-{day:02},2026-{month:02}-{:02},Usage,Cloud,r1,{amount},{amount},{tags}",
        month + 1,
        day + 1,
    )
}

fn close(bills: &Bills, period: &str) -> (i32, String) {
    let out = bills.recost(&["close", "pipeline.toml", period]);
    (
        out.status.code().unwrap(),
        text(&out.stdout) + &text(&out.stderr),
    )
}

const RESTATED: &str = "select billing_period, restated_period, target, model_id, usage_effective, allocation_effective
                        from restatements order by 1, 2, 3, 4";

#[test]
fn a_correction_of_a_closed_month_is_booked_in_the_open_one_and_changes_nothing_else() {
    let bills = Bills::new(&[&charge(10, 1, "A", "100"), &charge(10, 2, "", "7.50")]);
    bills.run_ok("2026-10-31");
    let (code, said) = close(&bills, "2026-10");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Closed 2026-10 with 2 charges"), "{said}");
    let closed = bills.files("billing_period=2026-10");

    // The month's bill comes again, corrected: less for A, and B had its part.
    bills.deliver(&[
        charge(10, 1, "A", "70"),
        charge(10, 1, "B", "31.25"),
        charge(10, 2, "", "7.50"),
        charge(11, 3, "B", "5"),
    ]);
    bills.run_ok("2026-11-03");
    let frozen = |bills: &Bills| -> Vec<_> {
        let mut files = bills.files("billing_period=2026-10");
        files.retain(|(name, _)| !name.starts_with("late_") && !name.starts_with("superseded_"));
        files
    };
    assert_eq!(frozen(&bills), closed);
    let restated = [
        "2026-11,2026-10,model,A,-30.000000000000000000,-30.000000000000000000",
        "2026-11,2026-10,model,B,31.250000000000000000,31.250000000000000000",
    ];
    assert_eq!(bills.query(RESTATED), restated);
    let lines = "select issuer, line, effective from reconciliation
                 where billing_period = '2026-11' and basis = 'usage' and line in ('bill', 'restated', 'difference') order by 1, 2";
    assert_eq!(
        bills.query(lines),
        [
            "Cloud,bill,5.000000000000000000",
            "Cloud,difference,0.000000000000000000",
            "closed period 2026-10,restated,1.250000000000000000",
        ]
    );

    // The next night, with nothing new, books nothing more; in the next month neither.
    bills.run_ok("2026-11-04");
    assert_eq!(bills.query(RESTATED), restated);
    bills.run_ok("2026-12-01");
    assert_eq!(bills.query(RESTATED), restated);
    assert_eq!(frozen(&bills), closed);

    // A second correction, once November is closed too, is booked in December.
    let (code, said) = close(&bills, "2026-11");
    assert_eq!(code, 0, "{said}");
    bills.deliver(&[
        charge(10, 1, "A", "69.99"),
        charge(10, 1, "B", "31.25"),
        charge(10, 2, "", "7.50"),
        charge(11, 3, "B", "5"),
    ]);
    bills.run_ok("2026-12-01");
    let mut both = restated.to_vec();
    both.push("2026-12,2026-10,model,A,-0.010000000000000000,-0.010000000000000000");
    assert_eq!(bills.query(RESTATED), both);
}

#[test]
fn a_close_whose_checks_fail_closes_nothing() {
    let bills = Bills::new(&[&charge(10, 1, "A", "100"), &charge(10, 2, "", "7.50")]);
    bills.run_ok("2026-10-31");
    // A figure of the month that somebody wrote over: its costs are no longer those of its bills.
    let sql = "select * replace (cast(allocation_effective + 1 as decimal(38, 18)) as allocation_effective) from model_costs";
    let out = bills.recost(&["sql", "pipeline.toml", sql, "--format", "parquet"]);
    let (name, whole) = bills.files("model_costs/").remove(0);
    let file = bills.path().join("warehouse/current").join(name);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, out.stdout).unwrap();
    let before = bills.files("");
    let current = bills.path().join("warehouse/current");
    let snapshot = current.canonicalize().unwrap();

    let (code, said) = close(&bills, "2026-10");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("the check views_of_cost_agree fails"),
        "{said}"
    );
    assert_eq!(current.canonicalize().unwrap(), snapshot);
    assert_eq!(bills.files(""), before);
    assert!(bills.query("select * from closes").is_empty());
    let left = std::fs::read_dir(bills.path().join("warehouse/snapshots")).unwrap();
    assert_eq!(left.count(), 1, "what was staged is gone");
    let failed = bills.query("select stage, status from runs where status = 'failed' order by 1");
    assert_eq!(failed, ["check,failed", "run,failed"]);

    // With the figure put right the month closes.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, whole).unwrap();
    let (code, said) = close(&bills, "2026-10");
    assert_eq!(code, 0, "{said}");
    // Both stand in the list of runs as what they are.
    let out = bills.recost(&["status", "pipeline.toml", "--date", "2026-10-31"]);
    let status = text(&out.stdout);
    for says in [
        "close 2026-10     done",
        "close 2026-10     failed",
        "night 2026-10-31  done",
    ] {
        assert!(status.contains(says), "{says}\n{status}");
    }
    let out = bills.recost(&["status", "pipeline.toml", "--date", "2026-10-31", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["runs"][0]["kind"], "close");
    assert_eq!(json["runs"][0]["of"], "2026-10");
    assert_eq!(json["runs"][2]["kind"], "night");
}

#[test]
fn a_correction_that_the_issuer_bills_in_the_next_month_stays_there() {
    // FOCUS: a Correction row carries the current billing period and the original charge period.
    let bills = Bills::new(&[&charge(10, 1, "A", "1500")]);
    bills.run_ok("2026-10-31");
    assert_eq!(close(&bills, "2026-10").0, 0);
    let row = |model: &str, amount: &str| {
        let day = charge(10, 1, model, amount);
        day.replacen("2026-10-01,2026-11-01", "2026-11-01,2026-12-01", 1)
    };
    bills.deliver(&[
        charge(10, 1, "A", "1500"),
        row("A", "-300"),
        row("B", "300"),
    ]);
    bills.run_ok("2026-11-02");
    assert!(bills.query(RESTATED).is_empty());
    // Booked in November, and in the view by day still a cost of the first of October.
    let booked =
        "select billing_period, day, model_id, usage_effective from model_costs order by 1, 3";
    assert_eq!(
        bills.query(booked),
        [
            "2026-10,2026-10-01,A,1500.000000000000000000",
            "2026-11,2026-10-01,A,-300.000000000000000000",
            "2026-11,2026-10-01,B,300.000000000000000000",
        ]
    );
}

#[test]
fn what_cannot_be_closed_says_why() {
    let bills = Bills::new(&[&charge(10, 1, "A", "1")]);
    let (code, said) = close(&bills, "2026-10");
    assert_eq!(
        (code, said.contains("nothing was published")),
        (2, true),
        "{said}"
    );
    bills.run_ok("2026-10-31");
    for (period, says) in [
        (
            "2026-09",
            "there are no costs of the billing period 2026-09",
        ),
        ("2026-13", "is no billing period"),
        ("2026-1", "is no billing period"),
        ("October", "is no billing period"),
    ] {
        let (code, said) = close(&bills, period);
        assert_eq!((code, said.contains(says)), (2, true), "{said}");
    }
    assert_eq!(close(&bills, "2026-10").0, 0);
    let before = bills.files("");
    let (code, said) = close(&bills, "2026-10");
    assert_eq!((code, said.contains("was closed on")), (2, true), "{said}");
    assert_eq!(bills.files(""), before);
}

#[test]
fn a_snapshot_that_was_tampered_with_stops_the_run() {
    let (bills, other) = (
        Bills::new(&[&charge(10, 1, "A", "100")]),
        Bills::new(&[&charge(10, 1, "A", "99")]),
    );
    for bills in [&bills, &other] {
        bills.run_ok("2026-10-31");
        assert_eq!(close(bills, "2026-10").0, 0);
    }
    // Another content by the same name.
    let (name, _) = bills.files("snapshots/").remove(0);
    let (_, bytes) = other.files("snapshots/").remove(0);
    std::fs::write(bills.path().join("warehouse/current").join(name), bytes).unwrap();
    let before = bills.files("");
    let (code, said) = bills.run("2026-11-01");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("closed_period_is_unchanged"), "{said}");
    assert_eq!(bills.files(""), before);
}

/// A small generator of numbers, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn snapshots_and_restatements_lead_to_todays_recomputation_whatever_comes() {
    for seed in 1..=2 {
        let mut dice = Dice(seed);
        let draw = |dice: &mut Dice, months: u32| -> Vec<String> {
            let mut rows = vec![];
            for month in 8..=months {
                for _ in 0..=dice.roll(3) {
                    let model = ["A", "B", ""][dice.roll(3) as usize];
                    let amount = format!("{}.{:03}", dice.roll(900) as i64 - 200, dice.roll(1000));
                    rows.push(charge(month, 1 + dice.roll(27) as u32, model, &amount));
                }
            }
            rows
        };
        let bills = Bills::new(&[]);
        bills.deliver(&draw(&mut dice, 8));
        bills.run_ok("2026-08-31");
        let mut rows = vec![];
        for month in 8..=10 {
            assert_eq!(close(&bills, &format!("2026-{month:02}")).0, 0);
            for night in 1..=2 {
                rows = draw(&mut dice, month + 1);
                bills.deliver(&rows);
                bills.run_ok(&format!("2026-{:02}-{night:02}", month + 1));
            }
        }
        // The same last bill, in a warehouse that never closed anything.
        let fresh = Bills::new(&[]);
        fresh.deliver(&rows);
        fresh.run_ok("2026-11-02");
        let key = "target, model_id, stage, category";
        let today = format!(
            "select billing_period, {key}, sum(usage_billed) as billed, sum(allocation_effective) as effective
             from model_costs group by billing_period, {key}
             having sum(usage_billed) <> 0 or sum(allocation_effective) <> 0 order by 1, 2, 3, 4, 5"
        );
        let booked = format!(
            "select period, {key}, sum(b) as billed, sum(e) as effective from (
                select billing_period as period, {key}, usage_billed as b, allocation_effective as e from snapshots
                union all
                select restated_period, {key}, usage_billed, allocation_effective from restatements
                union all
                select billing_period, {key}, usage_billed, allocation_effective from model_costs
                where billing_period not in (select billing_period from closes)
             ) group by period, {key}
             having sum(b) <> 0 or sum(e) <> 0 order by 1, 2, 3, 4, 5"
        );
        assert_eq!(bills.query(&booked), fresh.query(&today), "seed {seed}");
    }
}

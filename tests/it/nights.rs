//! Which nights need what: late, replaced, withdrawn and vanished exports, backfills, and what `status` and `plan` say.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::shop::{Shop, query, recost, text, walk};

/// A project with a clickstream by day and nothing to train, so that a night takes no time. A night sees three days.
struct Clicks(TempDir);

impl Clicks {
    fn new() -> Self {
        let clicks = Clicks(TempDir::new().unwrap());
        clicks.pipeline("");
        for day in 25..=31 {
            clicks.deliver(day, 2);
        }
        clicks
    }

    /// Writes the pipeline file, with more keys of its source.
    fn pipeline(&self, keys: &str) {
        self.pipeline_of("", keys);
    }

    /// Writes the pipeline file, with more keys of the run and of its source.
    fn pipeline_of(&self, run: &str, keys: &str) {
        let text = format!(
            "name = \"Clicks\"\n[run]\nhistory_days = 3\n{run}\n[report]\nafter_run = false\n[[sources]]\nname = \"clicks\"\n\
             kind = \"events\"\npath = \"events/{{date}}.csv\"\ndialect = \"recost\"\n{keys}\n"
        );
        std::fs::write(self.file("pipeline.toml"), text).unwrap();
    }

    /// The clickstream of a day of October, with so many views of it.
    fn deliver(&self, day: u32, views: usize) {
        let mut csv = String::from(
            "event_id,event_time,user_id,session_id,event_type,item_id,query,request_id,model_id,model_version,surface,rank,\
             compute_ns,price,quantity,currency\n",
        );
        for n in 0..views {
            csv.push_str(&format!(
                "{day}-{n},2026-10-{day:02}T12:00:0{n}Z,ana,,view,item-{n},,,,,,,,,,\n"
            ));
        }
        std::fs::create_dir_all(self.file("events")).unwrap();
        std::fs::write(self.export(day), csv).unwrap();
    }

    fn file(&self, below: &str) -> std::path::PathBuf {
        self.0.path().join(below)
    }

    fn export(&self, day: u32) -> std::path::PathBuf {
        self.file(&format!("events/2026-10-{day:02}.csv"))
    }

    fn recost(&self, args: &[&str]) -> Output {
        recost(self.0.path(), args)
    }

    fn query(&self, sql: &str) -> Vec<String> {
        query(self.0.path(), sql)
    }

    /// Runs a night of October, which must succeed; gives what it said.
    fn run(&self, day: u32) -> String {
        ok(&self.recost(&["run", "pipeline.toml", "--date", &format!("2026-10-{day}")]))
    }

    /// Runs a backfill over nights of October, with more arguments.
    fn backfill(&self, from: u32, to: u32, more: &[&str]) -> Output {
        let (from, to) = (format!("2026-10-{from}"), format!("2026-10-{to}"));
        let args = ["backfill", "pipeline.toml", "--from", &from, "--to", &to];
        self.recost(&[&args, more].concat())
    }

    /// Exit code of `status` for the last night, and its JSON.
    fn status(&self) -> (i32, Value) {
        let out = self.recost(&["status", "pipeline.toml", "--date", "2026-10-31", "--json"]);
        (
            out.status.code().unwrap(),
            serde_json::from_slice(&out.stdout).unwrap(),
        )
    }

    /// The nights of October that are in a state.
    fn nights(&self, state: &str) -> Vec<u32> {
        let (_, json) = self.status();
        let nights = json["nights"].as_array().unwrap().iter();
        nights
            .filter(|n| n["state"] == state)
            .map(|n| n["night"].as_str().unwrap()[8..].parse().unwrap())
            .collect()
    }

    /// Nights of October with a run that was done, in the order of the runs.
    fn runs(&self) -> Vec<String> {
        self.query(
            "select date_part('day', ds) from runs where stage = 'run' and status = 'done' order by run_id",
        )
    }
}

/// What a command that must succeed said on standard error.
fn ok(out: &Output) -> String {
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stderr)
}

/// A project in which the nights of 27 to 31 were run.
fn five_nights() -> Clicks {
    let clicks = Clicks::new();
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.runs(), ["27", "28", "29", "30", "31"]);
    assert_eq!(clicks.nights("done"), [27, 28, 29, 30, 31]);
    assert_eq!(clicks.status().0, 0);
    clicks
}

#[test]
fn an_export_that_is_replaced_makes_stale_the_nights_that_saw_it_and_no_other() {
    let clicks = five_nights();
    clicks.deliver(28, 5);
    // Nobody has read it yet, and it is known.
    assert_eq!(clicks.nights("stale"), [28, 29, 30]);
    assert_eq!(clicks.nights("done"), [27, 31]);
    let (code, json) = clicks.status();
    assert_eq!(code, 5);
    let change = &json["nights"][1]["changes"][0];
    assert_eq!(
        (&change["interval"], &change["how"]),
        (&"2026-10-28".into(), &"replaced".into())
    );
    // A run of the last night does not see it: 28 lies before its window. That of 30 reads it, and is fresh then.
    clicks.run(31);
    assert_eq!(clicks.nights("stale"), [28, 29, 30]);
    clicks.run(30);
    assert_eq!(clicks.nights("stale"), [28, 29]);

    let views = "select date_part('day', ds), sum(views) from user_features group by 1 order by 1";
    assert_eq!(
        clicks.query(views),
        ["27,6", "28,6", "29,6", "30,9", "31,6"]
    );
    let out = clicks.backfill(27, 31, &[]);
    assert!(
        text(&out.stdout).contains("2 nights run, 3 skipped"),
        "{}",
        text(&out.stdout)
    );
    assert_eq!(
        clicks.query(views),
        ["27,6", "28,9", "29,9", "30,9", "31,6"]
    );
    assert_eq!(clicks.status().0, 0);
    // The same file written again at another time is the same.
    clicks.deliver(28, 5);
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn an_export_that_comes_late_makes_stale_the_nights_that_missed_it() {
    let clicks = Clicks::new();
    clicks.pipeline("required = false");
    std::fs::remove_file(clicks.export(29)).unwrap();
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.nights("done").len(), 5);
    clicks.deliver(29, 2);
    assert_eq!(clicks.nights("stale"), [29, 30, 31]);
    let (_, json) = clicks.status();
    assert_eq!(json["sources"][0]["late"][0]["interval"], "2026-10-29");
    assert_eq!(json["nights"][2]["changes"][0]["how"], "arrived");
    let plan = text(
        &clicks
            .recost(&["plan", "pipeline.toml", "--date", "2026-10-31"])
            .stdout,
    );
    for says in [
        "clicks 2026-10-29: new, 1 file",
        "features   clicks 2026-10-29 arrived later",
        "2026-10-30 stale: clicks 2026-10-29 arrived later",
        "recost backfill pipeline.toml --from 2026-10-29 --to 2026-10-30",
    ] {
        assert!(plan.contains(says), "{says}\n{plan}");
    }
    ok(&clicks.backfill(29, 31, &[]));
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn an_export_that_is_gone_keeps_its_rows_until_it_is_withdrawn() {
    let clicks = five_nights();
    std::fs::remove_file(clicks.export(29)).unwrap();
    let said = clicks.run(31);
    assert!(
        said.contains("source `clicks`: the export is gone for 2026-10-29, and its rows stay"),
        "{said}"
    );
    let (code, json) = clicks.status();
    assert_eq!(code, 0, "exports are removed by age everywhere");
    assert_eq!(
        json["sources"][0]["gone"],
        serde_json::json!(["2026-10-29"])
    );
    let events = "select date_part('day', ds), count(*) from events group by 1 order by 1";
    assert_eq!(clicks.query(events).len(), 7);

    clicks.pipeline("withdrawn = [\"2026-10-29\"]");
    assert_eq!(clicks.nights("stale"), [29, 30, 31]);
    let plan = text(
        &clicks
            .recost(&["plan", "pipeline.toml", "--date", "2026-10-31"])
            .stdout,
    );
    assert!(
        plan.contains("clicks 2026-10-29: removed, it is withdrawn"),
        "{plan}"
    );
    // The night of the day itself has no export any more, and none is asked for.
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(
        clicks.query(events),
        ["25,2", "26,2", "27,2", "28,2", "30,2", "31,2"]
    );
    assert_eq!(clicks.status().0, 0);
    clicks.pipeline("withdrawn = [\"2026-10\"]");
    let out = clicks.recost(&["status", "pipeline.toml"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("is divided into days"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn a_backfill_stops_where_a_night_fails_and_goes_on_from_there() {
    let clicks = Clicks::new();
    std::fs::remove_file(clicks.export(29)).unwrap();
    let out = clicks.backfill(27, 31, &[]);
    assert_eq!(out.status.code(), Some(6), "{}", text(&out.stderr));
    let said = text(&out.stderr);
    assert!(
        said.contains("the backfill stopped at the night of 2026-10-29"),
        "{said}"
    );
    let shown = text(&out.stdout);
    for says in [
        "2 nights run, 0 skipped",
        "2026-10-29  failed, ",
        "2026-10-30  to run",
    ] {
        assert!(shown.contains(says), "{says}\n{shown}");
    }
    assert_eq!(clicks.nights("failed"), [29]);
    assert_eq!(clicks.nights("missing"), [30, 31]);
    assert_eq!(clicks.status().0, 6);

    clicks.deliver(29, 2);
    assert_eq!(clicks.status().0, 5);
    let out = clicks.backfill(27, 31, &["--dry-run"]);
    let shown = text(&out.stdout);
    assert!(shown.contains("3 nights to run, 2 done"), "{shown}");
    assert!(shown.contains("2026-10-27  skipped  done"), "{shown}");
    assert_eq!(clicks.runs(), ["27", "28"], "a dry run runs nothing");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.runs(), ["27", "28", "29", "30", "31"]);
    let out = clicks.backfill(27, 31, &[]);
    assert!(
        text(&out.stdout).contains("0 nights to run, 5 done"),
        "{}",
        text(&out.stdout)
    );
    ok(&clicks.backfill(30, 31, &["--force"]));
    assert_eq!(clicks.runs()[5..], ["30", "31"]);
    assert_eq!(clicks.backfill(31, 27, &[]).status.code(), Some(2));
}

#[test]
fn a_night_whose_tables_are_gone_is_missing_whatever_the_ledger_says() {
    let clicks = five_nights();
    // As operations.md goes back: an older snapshot is made current.
    let snapshots = clicks.file("warehouse/snapshots");
    let mut kept: Vec<_> = std::fs::read_dir(&snapshots)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    kept.sort();
    let link = clicks.file("warehouse/current");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(Path::new("snapshots").join(&kept[kept.len() - 2]), &link).unwrap();
    assert_eq!(clicks.nights("missing"), [31]);
    let (_, json) = clicks.status();
    assert_eq!(json["nights"][4]["why"], "its tables are no longer there");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn an_older_night_that_is_run_last_is_followed_by_the_newest_nights_costs() {
    let clicks = Clicks::new();
    // One file that grows: what it brings is what had happened by the night that was run last.
    let mut all = String::new();
    for day in 25..=31 {
        let csv = std::fs::read_to_string(clicks.export(day)).unwrap();
        let rows = csv.lines().skip(usize::from(day > 25));
        rows.for_each(|row| all.push_str(&format!("{row}\n")));
    }
    std::fs::write(clicks.file("events.csv"), all).unwrap();
    let toml = std::fs::read_to_string(clicks.file("pipeline.toml")).unwrap();
    let toml = toml.replace("events/{date}.csv", "events.csv");
    std::fs::write(clicks.file("pipeline.toml"), toml).unwrap();
    clicks.run(30);
    clicks.run(31);
    let newest = "select max(ds) from events";
    assert_eq!(clicks.query(newest), ["2026-10-31"]);
    clicks.run(29);
    assert_eq!(clicks.query(newest), ["2026-10-29"]);
    let (code, json) = clicks.status();
    assert_eq!(code, 5);
    assert_eq!(json["set_back"]["newest"], "2026-10-31");
    ok(&clicks.backfill(31, 31, &[]));
    assert_eq!(clicks.query(newest), ["2026-10-31"]);
    assert_eq!(clicks.status().0, 0);
    // And a backfill sees to it by itself.
    let out = clicks.backfill(28, 29, &[]);
    let shown = text(&out.stdout);
    assert!(shown.contains("1 night run, 1 skipped"), "{shown}");
    assert!(shown.contains("costs once more"), "{shown}");
    assert_eq!(clicks.query(newest), ["2026-10-31"]);
    let features = "select count(distinct ds) from user_features";
    assert_eq!(clicks.query(features), ["4"]);
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn nights_that_were_run_out_of_order_leave_the_tables_of_nights_in_order() {
    let (in_order, filled) = (Shop::new(), Shop::new());
    for shop in [&in_order, &filled] {
        shop.edit("history_days = 30", "history_days = 10");
    }
    let backfill = |shop: &Shop, from: &str, to: &str| {
        let range = ["--from", from, "--to", to, "--device", "cpu"];
        ok(&shop.recost(&[&["backfill", "pipeline.toml"], &range[..]].concat()))
    };
    backfill(&in_order, "2026-10-29", "2026-10-31");
    backfill(&filled, "2026-10-31", "2026-10-31");
    backfill(&filled, "2026-10-29", "2026-10-31");
    let nights = |shop: &Shop| {
        shop.query("select ds from runs where stage = 'run' and status = 'done' order by run_id")
    };
    assert_eq!(nights(&in_order).len(), 3);
    assert_eq!(
        nights(&filled),
        ["2026-10-31", "2026-10-29", "2026-10-30", "2026-10-31"]
    );
    let models = "select * exclude (seconds, scoring_seconds) from models order by ds, model_id";
    assert_eq!(in_order.query(models), filled.query(models));
    // Which of two files of a day an event is in depends on the days that were ingested with it.
    let events = "select * from events order by event_id";
    assert!(in_order.query(events) == filled.query(events));
    let published = |shop: &Shop| {
        let mut files = shop.published();
        files.retain(|file| !file.0.starts_with("events/"));
        files
    };
    let (one, two) = (published(&in_order), published(&filled));
    let differ: Vec<&String> = one
        .iter()
        .filter(|file| !two.contains(file))
        .chain(two.iter().filter(|file| !one.contains(file)))
        .map(|file| &file.0)
        .collect();
    assert!(differ.is_empty(), "{differ:?}");
    // The report is of the newest night, and was written once.
    let mut pages = vec![];
    walk(&filled.file("report"), &mut |path| {
        if path.ends_with("report.html") {
            pages.push(std::fs::read_to_string(path).unwrap());
        }
    });
    assert!(pages.len() == 1 && pages[0].contains("2026-10-31"));
}

#[test]
fn a_bill_that_is_restated_makes_no_night_stale_and_telemetry_before_the_window_only_its_costs() {
    let clicks = Clicks::new();
    let usage = |day: u32, gpu: u32| {
        let csv = format!(
            "usage_start,usage_end,resource_id,model_id,model_version,stage,gpu_ns,cpu_ns,bytes,requests,reserved_ns,\
             capacity_ns\n2026-10-{day}T00:00:00Z,2026-10-{day}T01:00:00Z,r1,A,,deployment,{gpu},1,1,1,,\n"
        );
        std::fs::create_dir_all(clicks.file("usage")).unwrap();
        std::fs::write(clicks.file(&format!("usage/2026-10-{day}.csv")), csv).unwrap();
    };
    let bill = |amount: &str| {
        let csv = format!(
            "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,\
             InvoiceIssuerName,ResourceId,BilledCost,EffectiveCost,Tags,ChargeClass\n\
             USD,2026-10-01,2026-11-01,2026-10-27,2026-10-28,Usage,Cloud,r1,{amount},{amount},,\n"
        );
        std::fs::write(clicks.file("bill-2026-10.csv"), csv).unwrap();
    };
    clicks.pipeline(
        "[[sources]]\nname = \"use\"\nkind = \"usage\"\npath = \"usage/{date}.csv\"\ndialect = \"recost\"\n\
         [[sources]]\nname = \"bill\"\nkind = \"charges\"\npath = \"bill-{period}.csv\"\ndialect = \"focus\"\n\
         [attribution]\nknown_models = [\"A\"]",
    );
    (25..=31).for_each(|day| usage(day, 1));
    bill("1");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.status().0, 0);
    bill("2");
    assert_eq!(clicks.status().0, 0, "the next run restates the costs");
    let (_, json) = clicks.status();
    assert_eq!(
        json["sources"][2]["waiting"],
        serde_json::json!(["2026-10"])
    );
    clicks.run(31);
    usage(30, 7);
    assert_eq!(clicks.status().0, 0, "the next run still sees that day");
    usage(27, 9);
    // The night of 31 sees 29 to 31. The last one that sees 27 is that of 29.
    assert_eq!(clicks.nights("stale"), [29]);
    let (_, json) = clicks.status();
    assert_eq!(json["nights"][2]["changes"][0]["costs_only"], true);
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(
        clicks.query("select gpu_ns from usage where resource_id = 'r1' and ds in (date '2026-10-27', date '2026-10-30') order by ds"),
        ["9", "7"]
    );
    let stages = "select count(*) from runs where stage = 'features' and ds = date '2026-10-29'";
    assert_eq!(clicks.query(stages), ["1"], "only its costs ran again");
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn a_day_that_is_missing_wakes_somebody_unless_it_may_be_or_is_withdrawn() {
    let clicks = Clicks::new();
    clicks.pipeline("required = false");
    std::fs::remove_file(clicks.export(31)).unwrap();
    ok(&clicks.backfill(30, 31, &[]));
    let missing = |keys: &str| {
        clicks.pipeline(keys);
        let (code, json) = clicks.status();
        let source = &json["sources"][0];
        (code, source["missing"].clone(), source["awaited"].clone())
    };
    let (none, day) = (serde_json::json!([]), serde_json::json!(["2026-10-31"]));
    assert_eq!(missing(""), (6, day.clone(), none.clone()));
    // A source that may be missing is shown as missing, and wakes nobody.
    assert_eq!(missing("required = false"), (0, day, none.clone()));
    assert_eq!(
        missing("withdrawn = [\"2026-10-31\"]"),
        (0, none.clone(), none)
    );
}

#[test]
fn columns_that_come_and_go_are_said_once_and_a_narrower_type_stops_the_run() {
    let clicks = five_nights();
    let add = |day: u32, column: &str| {
        let csv = std::fs::read_to_string(clicks.export(day)).unwrap();
        let mut lines = csv.lines();
        let mut more = format!("{},{column}\n", lines.next().unwrap());
        lines.for_each(|line| more.push_str(&format!("{line},x\n")));
        std::fs::write(clicks.export(day), more).unwrap();
    };
    add(30, "campaign");
    add(31, "campaign");
    let said = clicks.run(31);
    let new = "source `clicks`: from 2026-10-30 on it has the new columns campaign";
    assert_eq!(said.matches("campaign").count(), 1, "{said}");
    assert!(said.contains(new), "{said}");
    assert_eq!(
        clicks.query(
            "select \"interval\" from deliveries where array_has(columns, 'campaign text') order by 1"
        ),
        ["2026-10-30", "2026-10-31"]
    );
    // A column under another name stops it, and the likely one is named.
    let csv = std::fs::read_to_string(clicks.export(31)).unwrap();
    std::fs::write(
        clicks.export(31),
        csv.replace("event_time", "event_timestamp"),
    )
    .unwrap();
    let out = clicks.recost(&["run", "pipeline.toml", "--date", "2026-10-31"]);
    assert_eq!(out.status.code(), Some(8));
    let said = text(&out.stderr);
    for says in [
        "the column event_time is missing",
        "if event_timestamp is its new name",
    ] {
        assert!(said.contains(says), "{says}\n{said}");
    }
}

#[test]
fn a_column_whose_type_became_narrower_stops_the_run_until_it_may() {
    let shop = Shop::new();
    shop.run_ok();
    let file = shop.file("exports/events/ds=2026-10-31/part-00000.parquet");
    crate::bad_input::change(&file, |batch| {
        crate::bad_input::with_type(&batch, "event_time", &arrow::datatypes::DataType::Date32)
    });
    let before = shop.published();
    let out = shop.run();
    assert_eq!(out.status.code(), Some(8), "{}", text(&out.stderr));
    let said = text(&out.stderr);
    for says in [
        "the column event_time is date now, and was timestamp in the delivery of 2026-10-30",
        "may_narrow = true",
    ] {
        assert!(said.contains(says), "{says}\n{said}");
    }
    assert_eq!(before, shop.published());
}

#[test]
fn an_event_in_a_later_days_export_is_told_by_the_run_and_by_status() {
    let clicks = five_nights();
    let (_, json) = clicks.status();
    assert_eq!(json["sources"][0]["late_rows"], 0);
    let export = std::fs::read_to_string(clicks.export(31)).unwrap();
    let late = "late,2026-10-29T12:00:00Z,ana,,view,item-1,,,,,,,,,,\n";
    std::fs::write(clicks.export(31), export + late).unwrap();
    let said = clicks.run(31);
    assert!(
        said.contains("0 duplicates, 1 late, 0 quarantined"),
        "{said}"
    );
    let (code, json) = clicks.status();
    assert_eq!((code, &json["sources"][0]["late_rows"]), (0, &1.into()));
    let status = clicks.recost(&["status", "pipeline.toml", "--date", "2026-10-31"]);
    let said = text(&status.stdout);
    assert!(
        said.contains("0 quarantined, the newest with 1 late event;"),
        "{said}"
    );
}

/// A project whose nights take events that come up to two days late, with those of 27 to 31 run, and the nights and users of its
/// table of interactions.
fn late_nights() -> Clicks {
    let clicks = Clicks::new();
    clicks.pipeline_of("lateness_days = 2", "");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.runs(), ["27", "28", "29", "30", "31"]);
    assert_eq!(clicks.status().0, 0);
    clicks
}

/// Adds to the export of a day an event of somebody new, which happened on another day, and touches nothing else.
fn add_late(clicks: &Clicks, day: u32, happened: u32, user: &str) {
    let export = std::fs::read_to_string(clicks.export(day)).unwrap();
    let late =
        format!("{user}-{happened},2026-10-{happened}T13:00:00Z,{user},,view,item-1,,,,,,,,,,\n");
    std::fs::write(clicks.export(day), export + &late).unwrap();
}

/// The nights that know a user.
const KNOW: &str = "select date_part('day', ds) from interactions where user_id = '{}' order by 1";

#[test]
fn a_late_event_makes_stale_the_nights_from_its_day_on_and_no_other() {
    let clicks = late_nights();
    let knowing = |user: &str| clicks.query(&KNOW.replace("{}", user));
    let before = clicks
        .query("select ds, content_hash from night_inputs where ds < '2026-10-29' order by 1, 2");
    // One comes two days late. Two come three days late: they count from the nights on whose exports have them.
    add_late(&clicks, 30, 27, "older");
    add_late(&clicks, 31, 29, "late");
    add_late(&clicks, 31, 28, "latest");
    assert_eq!(
        clicks.nights("stale"),
        [30, 31],
        "what the exports bring is not known yet"
    );
    clicks.run(31);
    assert_eq!(clicks.nights("stale"), [29, 30]);
    let (code, json) = clicks.status();
    assert_ne!(code, 0);
    let why = |night: usize| json["nights"][night]["why"].as_str().unwrap();
    assert_eq!(why(2), "clicks 2026-10-31 arrived later");
    assert_eq!(
        why(3),
        "clicks 2026-10-30 was replaced, clicks 2026-10-31 arrived later"
    );
    assert_eq!(knowing("late"), ["31"]);
    let dry = clicks.backfill(27, 30, &["--dry-run"]);
    let said = text(&dry.stdout);
    assert!(said.contains("2 nights to run, 2 done"), "{said}");

    let said = ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.runs()[6..], ["29", "30", "31"], "{said}");
    assert_eq!(knowing("late"), ["29", "30", "31"]);
    assert_eq!(knowing("latest"), ["31"]);
    assert_eq!(knowing("older"), ["30", "31"]);
    assert_eq!(clicks.status().0, 0);
    let inputs = "select date_part('day', ds), count(*), max(lateness_days) from night_inputs group by 1 order by 1";
    assert_eq!(
        clicks.query(inputs),
        ["27,3,2", "28,3,2", "29,4,2", "30,4,2", "31,3,2"]
    );
    let after = clicks
        .query("select ds, content_hash from night_inputs where ds < '2026-10-29' order by 1, 2");
    assert_eq!(before, after);

    // The export comes again without it, and what is done again forgets it.
    clicks.deliver(31, 2);
    assert_eq!(clicks.nights("stale"), [31]);
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(
        clicks.runs()[9..],
        ["31", "29", "30", "31"],
        "in one backfill"
    );
    assert_eq!(knowing("late"), Vec::<String>::new());
    assert_eq!(clicks.status().0, 0);

    add_late(&clicks, 31, 30, "late");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(knowing("late"), ["30", "31"]);
    clicks.pipeline_of("lateness_days = 2", "withdrawn = [\"2026-10-31\"]");
    assert_eq!(clicks.nights("stale"), [30, 31]);
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(knowing("late"), Vec::<String>::new());
    assert_eq!(clicks.status().0, 0);
}

#[test]
fn a_backfill_ends_with_the_nights_that_late_events_of_the_same_backfill_concern() {
    let clicks = Clicks::new();
    clicks.pipeline_of("lateness_days = 2", "");
    add_late(&clicks, 30, 29, "late");
    let out = clicks.backfill(27, 31, &[]);
    ok(&out);
    assert_eq!(clicks.runs(), ["27", "28", "29", "30", "31", "29", "31"]);
    assert_eq!(
        clicks.query(&KNOW.replace("{}", "late")),
        ["29", "30", "31"]
    );
    assert_eq!(clicks.status().0, 0);
    let said = text(&out.stdout);
    for says in [
        "Backfill of 2026-10-27 to 2026-10-31: 5 nights run, 0 skipped",
        "2026-10-29  run, ",
        "stale, clicks 2026-10-30 arrived later",
    ] {
        assert!(said.contains(says), "{says}\n{said}");
    }
    // The tables are those of a shop that had the event in time, but for where it lies.
    let in_time = Clicks::new();
    add_late(&in_time, 29, 29, "late");
    ok(&in_time.backfill(27, 31, &[]));
    for table in ["interactions", "sessions", "item_features"] {
        let rows = |of: &Clicks| {
            let mut rows = of.query(&format!("select * from {table}"));
            rows.sort();
            rows
        };
        assert_eq!(rows(&clicks), rows(&in_time), "{table}");
    }
    // Without being asked to, no night looks at a later day.
    let clicks = Clicks::new();
    add_late(&clicks, 30, 29, "late");
    ok(&clicks.backfill(27, 31, &[]));
    assert_eq!(clicks.query(&KNOW.replace("{}", "late")), ["30", "31"]);
}

#[test]
fn many_small_exports_of_a_day_make_one_file_of_the_table() {
    let clicks = Clicks::new();
    let pipeline = std::fs::read_to_string(clicks.file("pipeline.toml")).unwrap();
    let pipeline = pipeline.replace("events/{date}.csv", "hourly/{date}/*.csv");
    std::fs::write(clicks.file("pipeline.toml"), pipeline).unwrap();
    let hour = |day: u32, hour: u32, views: u32| {
        let export = std::fs::read_to_string(clicks.export(day)).unwrap();
        let mut csv = export.lines().next().unwrap().to_string() + "\n";
        for n in 0..views {
            csv.push_str(&format!(
                "{day}-{hour}-{n},2026-10-{day}T{hour:02}:00:00Z,ana,,view,item-{n},,,,,,,,,,\n"
            ));
        }
        // What every hour's export repeats is an event of the first.
        csv.push_str(&format!(
            "{day},2026-10-{day}T00:00:00Z,ana,,view,first,,,,,,,,,,\n"
        ));
        let dir = clicks.file(&format!("hourly/2026-10-{day}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{hour:02}.csv")), csv).unwrap();
    };
    for day in 29..=31 {
        (0..24).for_each(|n| hour(day, n, 2));
    }
    let events = "select date_part('day', ds), count(*), count(distinct event_id) from events group by 1 order by 1";
    let files = |day: u32| {
        let mut files = 0;
        let dir = clicks.file(&format!("warehouse/current/events/ds=2026-10-{day}"));
        walk(&dir.canonicalize().unwrap(), &mut |_| files += 1);
        files
    };
    clicks.run(31);
    assert_eq!(clicks.query(events), ["29,49,49", "30,49,49", "31,49,49"]);
    assert_eq!([29, 30, 31].map(files), [1, 1, 1]);
    hour(30, 7, 5);
    hour(30, 23, 0);
    clicks.run(31);
    assert_eq!(clicks.query(events), ["29,49,49", "30,50,50", "31,49,49"]);
    assert_eq!([29, 30, 31].map(files), [1, 1, 1]);
}

#[test]
fn a_plan_for_machines_says_why_and_what_it_took_last_time() {
    let clicks = five_nights();
    let plan = |date: &str| -> Value {
        let out = clicks.recost(&["plan", "pipeline.toml", "--date", date, "--json"]);
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let same = plan("2026-10-31");
    assert_eq!(same["stages"][0]["why"], "nothing is new or changed");
    assert_eq!(
        same["stages"][1]["why"],
        "made from the same deliveries before"
    );
    assert_eq!(
        same["stages"][1]["replaces"]["user_features"]["partitions"],
        serde_json::json!(["2026-10-31"])
    );
    assert!(same["stages"][1]["last_time"]["seconds"].as_f64().unwrap() >= 0.0);
    let bytes = std::fs::metadata(clicks.export(31)).unwrap().len();
    assert_eq!(
        same["stages"][0]["last_time"]["read"],
        serde_json::json!({"rows": 2, "bytes": bytes})
    );
    assert!(same["stages"][1]["last_time"]["read"].is_null());
    clicks.deliver(30, 4);
    let changed = plan("2026-10-31");
    let ingest = &changed["ingest"][0];
    assert_eq!(ingest["interval"], "2026-10-30");
    assert_eq!(ingest["why"], "changed");
    assert_eq!(ingest["replaces"]["rows_in"], 2);
    assert_eq!(
        ingest["replaces"]["partitions"],
        serde_json::json!(["2026-10-30"])
    );
    let bytes = std::fs::metadata(clicks.export(30)).unwrap().len();
    assert_eq!(ingest["bytes"], bytes);
    assert_eq!(changed["nights"].as_array().unwrap().len(), 2);
    std::fs::remove_file(clicks.export(29)).unwrap();
    let warnings = plan("2026-10-31")["warnings"].to_string();
    assert!(
        warnings.contains("the export is gone for 2026-10-29"),
        "{warnings}"
    );
    // A night whose export is not there.
    let out = clicks.recost(&["plan", "pipeline.toml", "--date", "2026-11-01", "--json"]);
    assert_eq!(out.status.code(), Some(6), "{}", text(&out.stderr));
    let lacking: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(lacking["date"], "2026-11-01");
    assert_eq!(lacking["missing"].as_array().unwrap().len(), 1);
    assert_eq!(lacking["missing"][0]["source"], "clicks");
    let reason = lacking["missing"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("has no file for 2026-11-01"), "{reason}");
}

#[test]
fn weights_as_high_as_they_may_be_add_up() {
    let clicks = Clicks::new();
    clicks.pipeline("[features.weights]\nview = 1e12");
    clicks.run(31);
    // Two items, each seen on three days, of which the first weighs the least.
    let sums =
        "select item_id, weight between 2.8e12 and 3e12, events from interactions order by 1";
    assert_eq!(clicks.query(sums), ["item-0,true,3", "item-1,true,3"]);
}

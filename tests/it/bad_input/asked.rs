//! What the program is asked to do and cannot: mistakes in the pipeline file, days that are none, folders it may not write.

use super::*;

#[test]
fn a_mistake_in_the_pipeline_file_is_shown_with_what_was_meant() {
    let shop = published();
    let good = fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let mistake = |from: &str, to: &str, says: &[&str], remedy: &str| {
        shop.edit(from, to);
        refused(&shop, Kind::Config, says, remedy);
        fs::write(shop.file("pipeline.toml"), &good).unwrap();
    };
    mistake(
        "history_days",
        "histroy_days",
        &["pipeline.toml", "unknown field `histroy_days`"],
        "did you mean `history_days`?",
    );
    mistake(
        "history_days = 30",
        "history_days = 4000000000",
        &["pipeline.toml: `[run] history_days` must be between 1 and 36,500"],
        "",
    );
    mistake(
        FIRST_LINE,
        "name = \"Example shop\"\nwarehose = \"w\"",
        &["pipeline.toml", "unknown field `warehose`"],
        "did you mean `warehouse`?",
    );
    mistake(
        "alpha = 10.0",
        "alhpa = 10.0",
        &["pipeline.toml: model `home-als`: unknown field `alhpa`"],
        "did you mean `alpha`?",
    );
    mistake(
        "family = \"popular\"",
        "family = \"popluar\"",
        &["pipeline.toml", "popluar"],
        "did you mean `popular`?",
    );
    mistake(
        "dialect = \"focus\"",
        "dialect = \"focsu\"",
        &["source `cloud-bills`: there is no dialect `focsu` for charges"],
        "did you mean `focus`? known: aws_cur2, azure_actual, azure_amortized, fixed_assets, focus, gcp_detailed, timesheet; a dialect of your own is one file sql/sources/charges/focsu.sql",
    );
    mistake(
        "[report]",
        "[[attribution.rules]]\nname = \"platform\"\ntarget = \"model\"\nmodel = \"home-asl\"\n[report]",
        &[
            "pipeline.toml: rule \"platform\": \"home-asl\" is not a model or cost pool of this pipeline; did you mean \"home-als\"?",
        ],
        "known_models",
    );
    // The same with the place in the file, as a person sees it.
    shop.edit("history_days", "histroy_days");
    let shown = text(&shop.run().stderr);
    assert!(shown.contains("histroy_days = 30"), "{shown}");
}

#[test]
fn a_day_that_is_none_is_told_from_one_that_is() {
    let shop = published();
    let before = shop.published();
    for day in ["2026-02-30", "31.10.2026", "yesterday", "2026-10-31T00:00"] {
        let out = shop.recost(&["run", "pipeline.toml", "--date", day]);
        let log = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{log}");
        let says = format!("`{day}` is no day; write it as 2026-10-31");
        assert!(log.contains("--date") && log.contains(&says), "{log}");
    }
    for day in ["+262142-12-31", "1999-12-31"] {
        let out = shop.recost(&["plan", "pipeline.toml", "--date", day]);
        let log = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{log}");
        assert!(
            log.contains("is not between the years 2000 and 2100"),
            "{log}"
        );
    }
    assert_eq!(before, shop.published());

    shop.edit(
        "exports/users/ds={date}/*.parquet",
        "exports/users/ds={date}/*",
    );
    to_csv(&shop.file(USERS), |batch| {
        let mut batch = with_text(&batch, "signup_date", 1, "2025-12-31 00:00:00");
        for (row, value) in [
            (3, "31.12.2025"),
            (4, "2025-02-30"),
            (5, "2025-12-3131"),
            (6, "soon"),
        ] {
            batch = with_text(&batch, "signup_date", row, value);
        }
        batch
    });
    let users = "name = \"customers\"";
    shop.edit(users, &format!("{users}\nmax_rejected = 0.0005"));
    refused(
        &shop,
        Kind::Check,
        &[
            "source `customers`, 2026-10-31: 4 of 2000 rows are wrong, and at most 1 may be",
            "column signup_date \"31.12.2025\" is not a date such as 2026-11-23",
            "exports/users/ds=2026-10-31/part-00000.csv row 3)",
        ],
        "deliver the file corrected",
    );
    shop.edit("max_rejected = 0.0005", "max_rejected = 0.01");
    run_ok(&shop);
    let file = "ds=2026-10-31/part-00000.csv";
    quarantined(
        &shop,
        "customers",
        &[file],
        &[
            (file, 3, "signup_date", "\"31.12.2025\"", "31.12.2025"),
            (file, 4, "signup_date", "\"2025-02-30\"", "2025-02-30"),
            (file, 5, "signup_date", "\"2025-12-3131\"", "2025-12-3131"),
            (file, 6, "signup_date", "\"soon\"", "soon"),
        ],
    );
    assert_eq!(
        rows(
            &shop,
            "select count(*) as n, sum(cast(signup_date = date '2025-12-31' as int)) >= 1 as with_time
             from users where ds = date '2026-10-31'"
        ),
        [serde_json::json!({"n": 1996, "with_time": true})]
    );
}

/// Tests may run as root, who may write anywhere: a path below a regular file can be written by nobody.
#[test]
fn a_folder_that_cannot_be_written_is_said_before_the_work_begins() {
    let shop = published();
    fs::write(shop.file("blocked"), "a file").unwrap();
    let good = fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    let remedy = "name another path in the pipeline file";
    for (from, to, says) in [
        (
            "warehouse = \"warehouse\"",
            "warehouse = \"blocked/w\"",
            "blocked/w",
        ),
        (
            "warehouse = \"warehouse\"",
            "warehouse = \"blocked\"",
            "blocked",
        ),
        (
            "out = \"report\"",
            "out = \"blocked/report\"",
            "blocked/report",
        ),
        ("out = \"report\"", "out = \"blocked\"", "blocked"),
        (
            "# threads = 2",
            "spill = \"blocked/spill\" #",
            "blocked/spill",
        ),
    ] {
        shop.edit(from, to);
        refused(&shop, Kind::Config, &[says], remedy);
        fs::write(shop.file("pipeline.toml"), &good).unwrap();
    }
    let out = shop.recost(&["report", "pipeline.toml", "--out", "blocked/report"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

#[test]
fn keys_of_a_source_that_do_not_go_together_are_named() {
    let shop = published();
    let bill = "dialect = \"focus\"                # FOCUS";
    for (more, says) in [
        (
            "interval = \"month\"",
            "`interval` is for a path without {date} and {period}",
        ),
        (
            "manifest = \"manifest.json\"",
            "{period} must be in both `path` and `manifest`",
        ),
        (
            "manifest = \"s3://bucket/{period}.json\"",
            "is on an object store",
        ),
        ("export = \"add\"", "unknown variant `add`"),
        ("interval = \"week\"", "unknown variant `week`"),
    ] {
        shop.edit(bill, &format!("dialect = \"focus\"\n{more} # FOCUS"));
        refused(&shop, Kind::Config, &[says], "");
        shop.edit(&format!("dialect = \"focus\"\n{more} # FOCUS"), bill);
    }
    shop.edit(FIRST_LINE, &format!("{FIRST_LINE}\n"));
    let events = "kind = \"events\"";
    shop.edit(events, "kind = \"events\"\nexport = \"append\"");
    refused(
        &shop,
        Kind::Config,
        &["`export` is for sources of the kind charges"],
        "",
    );
}

//! Files that are not what they should be: damaged, empty, twice there, gone, or with other columns.

use super::*;

#[test]
fn a_file_that_is_not_what_its_name_says_stops_the_run() {
    let shop = published();
    let contract = |damage: fn(&Path), says: &str, remedy: &str| {
        refused_with(&shop, EVENTS, damage, Kind::Contract, &[says], remedy);
    };
    contract(
        |path| {
            let whole = fs::read(path).unwrap();
            fs::write(path, &whole[..whole.len() / 2]).unwrap();
        },
        "cannot be read as Parquet",
        "deliver it again",
    );
    // Its footer is whole, but what it points at is not.
    contract(
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let half = bytes.len() / 2;
            bytes[4..half].fill(0xff);
            fs::write(path, bytes).unwrap();
        },
        "cannot be read as Parquet",
        "deliver it again",
    );
    contract(
        |path| fs::write(path, "event_id,event_time\n1,2026-10-31\n").unwrap(),
        "is not a Parquet file, whatever its name says",
        "rename it to .csv",
    );
    contract(
        |path| fs::write(path, "").unwrap(),
        "is not a Parquet file",
        "deliver it as Parquet",
    );
    shop.edit(
        "exports/events/ds={date}/*.parquet",
        "exports/events/ds={date}/*",
    );
    let csv = "exports/events/ds=2026-10-31/more.csv";
    for (bytes, says) in [
        (&b""[..], "the file is empty"),
        (b"PAR1\x00\xff\xfe\n", "not UTF-8"),
        (b"event_id,event_id\n", "names the column event_id twice"),
    ] {
        fs::write(shop.file(csv), bytes).unwrap();
        refused(
            &shop,
            Kind::Contract,
            &[csv, says],
            "names its columns, each once",
        );
    }
    fs::remove_file(shop.file(csv)).unwrap();
    let mut packed = GzEncoder::new(vec![], Compression::default());
    writeln!(packed, "{EVENTS_HEAD}").unwrap();
    for n in 0..5000 {
        writeln!(
            packed,
            "g{n},2026-10-31T10:00:00Z,u{},,search,,,,,,,,,,,",
            n * n
        )
        .unwrap();
    }
    let packed = packed.finish().unwrap();
    let gz = "exports/events/ds=2026-10-31/more.csv.gz";
    for (bytes, says) in [
        (&packed[..8], "cannot be unpacked"),
        (&packed[..packed.len() / 2], ", row "),
        (b"event_id,event_time\n", "cannot be unpacked"),
    ] {
        fs::write(shop.file(gz), bytes).unwrap();
        refused(&shop, Kind::Contract, &[gz, says], "deliver ");
    }
}

#[test]
fn an_empty_folder_is_an_export_that_has_not_come() {
    let shop = published();
    fs::remove_dir_all(shop.file("exports/events/ds=2026-10-31")).unwrap();
    fs::create_dir_all(shop.file("exports/events/ds=2026-10-31")).unwrap();
    refused(
        &shop,
        Kind::SourceMissing,
        &[
            "source `clickstream` has no file for 2026-10-31",
            "exports/events/ds=2026-10-31/*.parquet",
        ],
        "wait for the export and run again, or set `required = false`",
    );
}

#[test]
fn an_empty_file_with_the_right_columns_is_an_export_that_is_not_whole() {
    let shop = published();
    fs::remove_file(shop.file("exports/events/ds=2026-10-31/redelivered.parquet")).unwrap();
    change(&shop.file(EVENTS), |batch| batch.slice(0, 0));
    refused(
        &shop,
        Kind::SourceMissing,
        &[
            "source `clickstream`, 2026-10-31: the files hold no row",
            EVENTS,
        ],
        "set `required = false` for a source that may have nothing to say",
    );

    // A source that may be empty: a warning, and the other days are as they were.
    let other_days = || {
        let mut files = shop.published();
        files.retain(|(name, _)| name.starts_with("events/") && !name.contains(NIGHT));
        files
    };
    let before = other_days();
    shop.edit(
        "max_rejected = 0.01 ",
        "required = false\nmax_rejected = 0.01 ",
    );
    let out = night(&shop);
    let log = text(&out.stderr);
    assert!(out.status.success(), "{log}");
    assert!(log.contains("the files hold no row"), "{log}");
    assert_eq!(before, other_days());
    none(&shop, "select * from events where ds = date '2026-10-31'");
    reconciles(&shop);
}

#[test]
fn a_column_that_is_missing_or_of_another_type_stops_the_run_and_is_named() {
    let shop = published();
    let contract = |file: &str, edit: &dyn Fn(RecordBatch) -> RecordBatch, says: &[&str]| {
        refused_with(
            &shop,
            file,
            |path| change(path, edit),
            Kind::Contract,
            says,
            "deliver the column",
        );
    };
    contract(
        EVENTS,
        &|batch| without(&batch, "event_time"),
        &[
            "the column event_time is missing, wanted as timestamp",
            "found event_id, user_id",
        ],
    );
    contract(
        NORTH,
        &|batch| without(&batch, "BilledCost"),
        &[
            "the column BilledCost is missing, wanted as decimal(38,18)",
            "the nearest is ",
        ],
    );
    contract(
        EVENTS,
        &|batch| with_type(&batch, "rank", &DataType::Float64),
        &["column rank: found Float64, wanted int32"],
    );
    contract(
        EVENTS,
        &|batch| with_type(&batch, "event_time", &DataType::Int64),
        &["column event_time: found Int64, wanted timestamp"],
    );
    contract(
        NORTH,
        &|batch| {
            let flags = cast(
                &cast(column(&batch, "BilledCost"), &DataType::Int64).unwrap(),
                &DataType::Boolean,
            );
            with_column(&batch, "BilledCost", flags.unwrap())
        },
        &["column billed_cost: found Boolean, wanted decimal(38,18)"],
    );
    // A date that is text is no date in a Parquet file; in a CSV it is read, row by row.
    contract(
        USERS,
        &|batch| with_type(&batch, "signup_date", &DataType::Utf8),
        &["column signup_date: found Utf8", "wanted date"],
    );
}

#[test]
fn a_column_that_a_dialect_calls_optional_may_be_missing_whatever_its_type() {
    let shop = published();
    change(
        &shop.file("exports/items/ds=2026-10-31/part-00000.parquet"),
        |batch| without(&batch, "attributes"),
    );
    change(&shop.file(USERS), |batch| without(&batch, "tags"));
    run_ok(&shop);
    let empty =
        "select count(*) as n, count(attributes) as known from items where ds = date '2026-10-31'";
    assert_eq!(
        rows(&shop, empty),
        [serde_json::json!({"n": 500, "known": 0})]
    );
}

/// A file that is there when the folder is listed and gone when it is opened. A race cannot be timed from outside; a link
/// that leads nowhere is the same to the program, every time: the listing has its name, and opening it finds nothing.
/// What happens to a file that goes later is tested beside `InputFile`.
#[test]
fn a_file_that_vanishes_while_it_is_read_asks_for_another_run() {
    let shop = published();
    shop.edit("[run]", "[run]\nretries = 0");
    for file in [
        EVENTS,
        "exports/ledger/period=2026-10/part-00000.parquet",
        "exports/billing/eastgrid/billing_period=2026-10/more.parquet",
    ] {
        let path = shop.file(file);
        let good = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        symlink("gone.parquet", &path).unwrap();
        refused(
            &shop,
            Kind::Io,
            &[file, "vanished while it was being read"],
            "let the export finish, then run again",
        );
        fs::remove_file(&path).unwrap();
        if let Some(good) = good {
            fs::write(&path, good).unwrap();
        }
    }
}

#[test]
fn a_manifest_that_is_none_or_names_what_is_not_there_leaves_the_bill_that_was_there() {
    let shop = published();
    let manifest = "exports/billing/{period}.json";
    shop.edit(
        "dialect = \"focus\"                # FOCUS",
        &format!("dialect = \"focus\"\nmanifest = \"{manifest}\" # FOCUS"),
    );
    let north = "northcloud/billing_period=2026-10/part-00000.parquet";
    let east = "eastgrid/billing_period=2026-10/part-00000.parquet";
    let good = format!("{{\"files\": [\"{north}\", \"{east}\"]}}");
    let file = shop.file("exports/billing/2026-10.json");
    // What lies there is the bill that was published, whatever its manifest.
    run_ok(&shop);
    let before = shop.query("select count(*), sum(billed_cost) from charges");
    none(&shop, "select * from deliveries where status <> 'active'");

    change(&shop.file(NORTH), |batch| {
        let more = batch.slice(0, 1);
        append(&batch, &more)
    });
    for (text, says) in [
        ("", "is empty"),
        ("{\"files\": []}", "names no file"),
        ("{\"files\": [\"nort", "is no JSON"),
        (
            &good.replace("eastgrid", "westgrid"),
            "names westgrid/billing_period=2026-10/part-00000.parquet, and no such file is there",
        ),
        (&good.replace(east, north), "twice"),
        (
            &good.replace("}", ", \"rows\": 7}"),
            "states 7 rows, and the files hold",
        ),
        (
            &good.replace("}", ", \"billing_period\": \"2026-09\"}"),
            "is for 2026-09",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let out = night(&shop);
        assert!(out.status.success(), "{}", text_of(&out));
        assert!(
            text_of(&out)
                .contains("a delivery is not complete and does not count; the one before it stays"),
            "{}",
            text_of(&out)
        );
        let reasons = rows(
            &shop,
            "select reason from deliveries where status = 'incomplete'",
        );
        assert_eq!(reasons.len(), 1);
        let reason = reasons[0]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{says:?} is not in: {reason}");
        assert_eq!(
            shop.query("select count(*), sum(billed_cost) from charges"),
            before
        );
    }
    fs::write(&file, good).unwrap();
    run_ok(&shop);
    none(
        &shop,
        "select * from deliveries where status = 'incomplete'",
    );
    assert_ne!(
        shop.query("select count(*), sum(billed_cost) from charges"),
        before
    );
    reconciles(&shop);
}

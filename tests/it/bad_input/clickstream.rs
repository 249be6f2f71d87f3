//! Rows of the clickstream that are none, and names in it that are hard to bear.

use super::*;

#[test]
fn bad_rows_of_the_clickstream_are_set_aside_with_their_text() {
    let shop = published();
    shop.edit(
        "exports/events/ds={date}/*.parquet",
        "exports/events/ds={date}/*",
    );
    let mut csv = EVENTS_HEAD.as_bytes().to_vec();
    csv.push(b'\n');
    for line in [
        &b"c1,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,"[..],
        b"c2,2026-10-31T10:00:00Z,u0000001,s1,search,,caf\xe9,,,,,,,,,",
        b"c3,1997-01-01T00:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c4,3026-10-31 08:00:00,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c5,2026-02-30T00:00:00Z,u0000001,s1,view,i000001,,,,,,,,,,",
        b"c6,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,9.99,,XXQ",
        b"c7,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,9.99,,USD,and,more",
        b"c8,2026-10-31T10:00:00Z,u0000001,s1,view,i000001,,,,,,,,1e15,,USD",
        b"c9,2026-10-31T10:00:00Z,u0000001",
    ] {
        csv.extend_from_slice(line);
        csv.push(b'\n');
    }
    fs::write(shop.file("exports/events/ds=2026-10-31/clicks.csv"), csv).unwrap();
    let batch = read(&shop.file(EVENTS));
    // Beyond what microseconds can hold, and at their very end.
    let plain = |ty| {
        let some = take_record_batch(&batch, &Int64Array::from(vec![0, 1])).unwrap();
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["odd-1", "odd-2"]));
        with_type(&with_column(&some, "event_id", ids), "event_time", &ty)
    };
    let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    let last = Arc::new(TimestampSecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
    let odd = with_value(&plain(seconds), "event_time", 2, last);
    write(
        &shop.file("exports/events/ds=2026-10-31/seconds.parquet"),
        &odd,
    );
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let last = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["odd-3", "odd-4"]));
    let odd = with_column(&plain(micros), "event_id", ids);
    write(
        &shop.file("exports/events/ds=2026-10-31/micros.parquet"),
        &with_value(&odd, "event_time", 1, last),
    );

    shop.edit("max_rejected = 0.01 ", "max_rejected = 0.0001 ");
    refused(
        &shop,
        Kind::Check,
        &[
            "source `clickstream`, 2026-10-31:",
            "at most 1 may be",
            "column (row) has 18 fields where the header has 16",
            "exports/events/ds=2026-10-31/clicks.csv row 7",
        ],
        "deliver the file corrected, or raise `max_rejected`",
    );
    shop.edit("max_rejected = 0.0001 ", "max_rejected = 0.01 ");
    run_ok(&shop);
    let (csv, micros, seconds) = (
        "ds=2026-10-31/clicks.csv",
        "ds=2026-10-31/micros.parquet",
        "ds=2026-10-31/seconds.parquet",
    );
    quarantined(
        &shop,
        "clickstream",
        &[csv, micros, seconds],
        &[
            (csv, 2, "query", "is not valid UTF-8", r"caf\\xE9"),
            (
                csv,
                3,
                "event_time",
                "before the year 2000",
                "1997-01-01T00:00:00Z",
            ),
            (
                csv,
                4,
                "event_time",
                "after the interval",
                "3026-10-31 08:00:00",
            ),
            (
                csv,
                5,
                "event_time",
                "is not a timestamp such as",
                "2026-02-30T00:00:00Z",
            ),
            (
                csv,
                6,
                "currency",
                "\"XXQ\" is no ISO 4217 currency code",
                "XXQ",
            ),
            (csv, 7, "(row)", "has 18 fields", "USD,and,more"),
            (csv, 8, "price", "1e15", "1e15"),
            (csv, 9, "(row)", "has 3 fields", "u0000001"),
            (
                micros,
                1,
                "event_time",
                "after the interval",
                "9223372036854775807",
            ),
            (
                seconds,
                2,
                "event_time",
                "out of the range",
                "9223372036854775807",
            ),
        ],
    );
    assert_eq!(
        rows(
            &shop,
            "select event_id from events where event_id like 'c_' or event_id like 'odd-_' order by 1"
        ),
        ["c1", "odd-1", "odd-4"].map(|id| serde_json::json!({ "event_id": id }))
    );
}

#[test]
fn a_user_id_of_any_characters_and_length_comes_through_whole_and_is_in_no_log() {
    let shop = published();
    // Quotes, line ends, a comma, markup, letters beyond ASCII, and 10 kB of them.
    let odd = "o'\"\r\n;,<script>&é漢\t\\ ";
    let monster = format!("x{}", odd.repeat(10_240 / odd.len() + 1));
    let newcomer = format!("y{monster}");
    let batch = read(&shop.file(EVENTS));
    let mut added = views(&batch, &[&monster], &["i000001", "i000002", "i000003"]);
    // One of its rows is wrong, and is kept with the id.
    added = with_value(&added, "rank", 3, Arc::new(Int64Array::from(vec![0])));
    write(&shop.file(EVENTS), &append(&batch, &added));
    change(&shop.file(USERS), |batch| {
        let first = with_text(&batch.slice(0, 1), "user_id", 1, &monster);
        let second = with_text(&batch.slice(1, 1), "user_id", 1, &newcomer);
        append(&append(&batch, &first), &second)
    });
    // The report shows no users; the longest texts that it does show are names in the bill.
    change(&shop.file(EAST), |batch| {
        rows_with(&batch, "ResourceId", "vm-office-wiki")
            .into_iter()
            .fold(batch, |batch, row| {
                with_text(&batch, "ResourceId", row + 1, &monster)
            })
    });
    let out = Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(["run", "pipeline.toml", "--date", NIGHT, "--device", "cpu"])
        .current_dir(shop.path())
        .env("RECOST_LOG", "recost=trace")
        .output()
        .unwrap();
    let log = text(&out.stderr) + &text(&out.stdout);
    assert!(out.status.success(), "{log}");

    let has = |table: &str, id: &str| {
        let sql = format!("select distinct user_id from {table} where length(user_id) > 1000");
        let found = rows(&shop, &sql);
        let found: Vec<&str> = found
            .iter()
            .map(|r| r["user_id"].as_str().unwrap())
            .collect();
        assert!(found.contains(&id), "{table}");
    };
    for table in [
        "events",
        "users",
        "sessions",
        "interactions",
        "user_features",
        "user_factors",
        "recommendations",
    ] {
        has(table, &monster);
    }
    has("recommendations", &newcomer);
    let out = shop.recost(&[
        "sql",
        "pipeline.toml",
        "select user_id, count(*) from recommendations where model_id = 'home-als' and length(user_id) > 1000
         group by user_id order by user_id",
        "--format",
        "csv",
    ]);
    let lists: Vec<(String, usize)> = csv::Reader::from_reader(out.stdout.as_slice())
        .deserialize()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lists, [(monster.clone(), 50), (newcomer.clone(), 50)]);
    let raw = rows(
        &shop,
        "select raw from quarantine where \"column\" = 'rank' and ds = date '2026-10-31'",
    );
    let raw: Value = serde_json::from_str(raw[0]["raw"].as_str().unwrap()).unwrap();
    assert_eq!(raw["user_id"], monster.as_str());

    let file = shop.file("report/csv/idle_and_unallocated.csv");
    let resources: Vec<csv::StringRecord> = csv::Reader::from_path(file)
        .unwrap()
        .records()
        .map(Result::unwrap)
        .collect();
    assert!(
        resources
            .iter()
            .any(|r| r.iter().any(|cell| cell == monster))
    );
    let page = fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(page.contains("xo&#39;&quot;") && !page.contains("<script>&"));

    // Not whole and not in part, neither on the terminal nor in the ledger of runs.
    let messages: Vec<Value> = rows(&shop, "select message from runs");
    let messages: String = messages.iter().map(ToString::to_string).collect();
    for place in [log, messages] {
        assert!(!place.contains("<script>") && !place.contains("é漢"));
    }
}

#[test]
fn an_item_that_the_catalogue_lacks_is_kept_and_not_recommended() {
    let shop = published();
    let batch = read(&shop.file(EVENTS));
    let ids: Vec<String> = (0..400).map(|n| format!("u{n:07}")).collect();
    let users: Vec<&str> = ids.iter().map(String::as_str).collect();
    let added = views(&batch, &users, &["sold-out"]);
    write(&shop.file(EVENTS), &append(&batch, &added));
    run_ok(&shop);
    let count = |table: &str| {
        let sql = format!("select count(*) as n from {table} where item_id = 'sold-out'");
        rows(&shop, &sql)[0]["n"].as_u64().unwrap()
    };
    assert_eq!(count("events"), 400);
    assert_eq!(count("interactions"), 400);
    assert_eq!(count("item_factors"), 2);
    assert_eq!(
        rows(
            &shop,
            "select in_catalogue from item_features where item_id = 'sold-out' and ds = date '2026-10-31'"
        ),
        [serde_json::json!({"in_catalogue": false})]
    );
    assert_eq!(count("recommendations"), 0);
    none(
        &shop,
        "select * from recommendations where ds = date '2026-10-31' and item_id not in
            (select item_id from items where ds = date '2026-10-31')",
    );
    // It is popular: only the catalogue kept it out.
    shop.edit("available_only = true", "available_only = false");
    run_ok(&shop);
    assert!(count("recommendations") > 1000);
}

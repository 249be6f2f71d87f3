//! OpenLineage events: what a catalogue of lineage is told of a run.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tempfile::TempDir;

use crate::interrupt::{Working, is_in};
use crate::shop::{BACKFILL, NIGHT, RUN, STAGES, Shop, text};

/// What every event must have: <https://openlineage.io/spec/2-0-2/OpenLineage.json>, `RunEvent` and what it refers to.
fn valid(event: &Value) {
    let at = event["eventTime"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(at).is_ok(), "{at}");
    let uri = |value: &Value| {
        let text = value.as_str().unwrap();
        assert!(text.contains(':') && !text.contains(' '), "{text}");
    };
    uri(&event["producer"]);
    let schema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
    assert_eq!(event["schemaURL"], schema);
    let id = event["run"]["runId"].as_str().unwrap();
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    assert!(
        parts == [8, 4, 4, 4, 12] && id.split('-').all(digits),
        "{id}"
    );
    let named = |of: &Value| {
        assert!(!of["namespace"].as_str().unwrap().is_empty(), "{of}");
        assert!(!of["name"].as_str().unwrap().is_empty(), "{of}");
    };
    named(&event["job"]);
    let facets = |of: &Value| {
        for facet in of.as_object().into_iter().flat_map(|all| all.values()) {
            uri(&facet["_producer"]);
            uri(&facet["_schemaURL"]);
        }
    };
    facets(&event["run"]["facets"]);
    facets(&event["job"]["facets"]);
    for list in ["inputs", "outputs"] {
        for dataset in event[list].as_array().unwrap() {
            named(dataset);
            facets(&dataset["facets"]);
            facets(&dataset["outputFacets"]);
        }
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["eventType"].as_str().unwrap())
        .collect()
}

/// The events of whole runs, without those of their stages.
fn of_runs(events: &[Value]) -> Vec<Value> {
    let whole = |event: &&Value| event["run"]["facets"]["parent"].is_null();
    events.iter().filter(whole).cloned().collect()
}

/// The events of stages, each of which says whose it is: job, type, and names of inputs and outputs without their folders.
fn of_stages(events: &[Value]) -> Vec<(String, String, Vec<String>, Vec<String>)> {
    let last = |name: &Value| -> String {
        let name = name.as_str().unwrap();
        name.rsplit('/').next().unwrap().to_string()
    };
    let names = |of: &Value| -> Vec<String> {
        let all = of.as_array().unwrap().iter();
        all.map(|dataset| last(&dataset["name"])).collect()
    };
    let mut found = vec![];
    for event in events {
        let parent = &event["run"]["facets"]["parent"];
        if parent.is_null() {
            continue;
        }
        let whole = of_runs(events);
        let is = |run: &&Value| run["run"]["runId"] == parent["run"]["runId"];
        let run = whole.iter().find(is).unwrap();
        for part in ["namespace", "name"] {
            assert_eq!(parent["job"][part], run["job"][part]);
        }
        assert_ne!(event["run"]["runId"], run["run"]["runId"]);
        let job = event["job"]["name"].as_str().unwrap();
        let of = run["job"]["name"].as_str().unwrap();
        let stage = job.strip_prefix(of).unwrap().strip_prefix('.').unwrap();
        found.push((
            stage.to_string(),
            event["eventType"].as_str().unwrap().to_string(),
            names(&event["inputs"]),
            names(&event["outputs"]),
        ));
    }
    found
}

/// The output whose name ends with a table's.
fn output<'e>(event: &'e Value, table: &str) -> &'e Value {
    let outputs = event["outputs"].as_array().unwrap();
    let is = |o: &&Value| o["name"].as_str().unwrap().ends_with(&format!("/{table}"));
    outputs.iter().find(is).unwrap()
}

/// Where a column of an output comes from, as `table.column`.
fn origins(output: &Value, column: &str) -> Vec<String> {
    let inputs = &output["facets"]["columnLineage"]["fields"][column]["inputFields"];
    let inputs = inputs
        .as_array()
        .unwrap_or_else(|| panic!("{column} of {output}"));
    let table = |name: &str| name.rsplit('/').next().unwrap().to_string();
    inputs
        .iter()
        .map(|of| {
            let name = table(of["name"].as_str().unwrap());
            format!("{name}.{}", of["field"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn a_catalogue_of_lineage_is_told_how_runs_end_and_what_they_made_of_what() {
    let (shop, temp) = (Shop::new(), TempDir::new().unwrap());
    shop.edit("[run]", "[lineage]\nfile = \"lineage.jsonl\"\n\n[run]");
    let events = || -> Vec<Value> {
        let lines = std::fs::read_to_string(shop.file("lineage.jsonl")).unwrap();
        let lines = lines.lines();
        let events = lines.map(|line| serde_json::from_str(line).unwrap());
        events.inspect(valid).collect()
    };
    shop.run_ok();
    let all = events();
    assert_eq!(all.first().unwrap()["eventType"], "START");
    assert_eq!(all.last().unwrap()["eventType"], "COMPLETE");
    stages_are_told_with_what_they_read_and_made(&all);
    let told = of_runs(&all);
    assert_eq!(types(&told), ["START", "COMPLETE"]);
    let done = &told[1];
    every_column_says_where_it_comes_from(done);
    assert_eq!(told[0]["run"]["runId"], done["run"]["runId"]);
    let sources = done["inputs"].as_array().unwrap();
    assert_eq!(sources.len(), 6);
    let clicks = sources[0]["name"].as_str().unwrap();
    assert!(
        clicks.ends_with("exports/events/ds={date}/*.parquet"),
        "{clicks}"
    );

    // Rows, columns and their origins are those of the tables.
    let rows = |table: &str| shop.query(&format!("select count(*) from {table}"))[0].clone();
    for table in [
        "events",
        "interactions",
        "sessions",
        "recommendations",
        "allocations",
    ] {
        let written = &output(done, table)["outputFacets"]["outputStatistics"];
        assert_eq!(written["rowCount"].to_string(), rows(table), "{table}");
        assert!(written["size"].as_u64().unwrap() > 0);
    }
    let columns = shop.query("select * from interactions limit 0");
    assert!(columns.is_empty());
    let interactions = output(done, "interactions");
    let fields = interactions["facets"]["schema"]["fields"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = fields.iter().map(|f| f["name"].as_str().unwrap()).collect();
    let contract = recost::warehouse::table("interactions").unwrap().schema();
    let wanted: Vec<&String> = contract.fields().iter().map(|f| f.name()).collect();
    assert_eq!(names, wanted);
    assert_eq!(origins(interactions, "user_id"), ["events.user_id"]);
    let costs = output(done, "model_costs");
    assert_eq!(origins(costs, "model_id"), ["allocation_days.model_id"]);
    let billed = ["allocation_days.basis", "allocation_days.billed"];
    assert_eq!(origins(costs, "usage_billed"), billed);

    // There already: no run, no event. A failure and an interrupt of the next.
    shop.run_ok();
    assert_eq!(events().len(), all.len());
    let check = shop.file("sql/checks/never.sql");
    std::fs::create_dir_all(check.parent().unwrap()).unwrap();
    std::fs::write(&check, "select 1 as wrong").unwrap();
    assert_eq!(shop.run().status.code(), Some(3));
    std::fs::remove_file(&check).unwrap();
    let failed = events();
    let stage = of_stages(&failed).pop().unwrap();
    assert_eq!((stage.0.as_str(), stage.1.as_str()), ("check", "FAIL"));
    let told = of_runs(&failed);
    assert_eq!(types(&told[2..]), ["START", "FAIL"]);
    let why = &told[3]["run"]["facets"]["errorMessage"]["message"];
    assert!(
        why.as_str().unwrap().contains("the check never fails"),
        "{why}"
    );
    shop.edit("iterations = 10", "iterations = 10000");
    let mut run = Working::start(&shop, &temp, &RUN);
    run.until("training", || is_in(&shop, "train"));
    run.signal("-TERM");
    assert_eq!(run.end().status.code(), Some(130));
    let stopped = events();
    let stage = of_stages(&stopped).pop().unwrap();
    assert_eq!((stage.0.as_str(), stage.1.as_str()), ("train", "ABORT"));
    let told = of_runs(&stopped);
    assert_eq!(types(&told[4..]), ["START", "ABORT"]);
    let ids: BTreeMap<&str, usize> = told.iter().fold(BTreeMap::new(), |mut ids, event| {
        *ids.entry(event["run"]["runId"].as_str().unwrap())
            .or_default() += 1;
        ids
    });
    assert!(ids.len() == 3 && ids.values().all(|n| *n == 2), "{ids:?}");
}

/// Each stage starts and completes, and is told with its datasets once they are published.
fn stages_are_told_with_what_they_read_and_made(events: &[Value]) {
    let told = of_stages(events);
    let (running, published) = told.split_at(2 * STAGES.len());
    for (stage, pair) in STAGES.iter().zip(running.chunks(2)) {
        let [start, complete] = pair else { panic!() };
        assert_eq!((start.0.as_str(), start.1.as_str()), (*stage, "START"));
        assert_eq!(
            (complete.0.as_str(), complete.1.as_str()),
            (*stage, "COMPLETE")
        );
        assert!(
            complete.3.is_empty(),
            "{stage} has published nothing by then"
        );
        assert_eq!(!start.2.is_empty(), *stage == "ingest");
    }
    let names: Vec<&str> = published.iter().map(|told| told.0.as_str()).collect();
    assert_eq!(names, STAGES[..6]);
    for (stage, kind, read, made) in published {
        assert_eq!(kind, "OTHER");
        let of = |list: &[&str], all: &[String]| {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            list.iter()
                .for_each(|name| assert!(all.contains(name), "{stage}: {name} in {all:?}"));
            assert!(!list.is_empty());
        };
        match stage.as_str() {
            "ingest" => of(&["events", "charges", "deliveries", "quarantine"], made),
            "features" => {
                assert_eq!(read, &["deliveries", "events", "items", "users"]);
                of(&["sessions", "interactions", "item_features"], made);
            }
            "train" => {
                of(&["interactions", "items", "users"], read);
                of(&["models", "user_factors", "item_factors"], made);
            }
            "score" => {
                of(&["interactions", "models", "user_factors"], read);
                assert_eq!(made, &["recommendations"]);
            }
            "evaluate" => assert_eq!(made, &["evaluation", "evaluation_pairs"]),
            _ => {
                of(&["charges", "events", "usage", "evaluation"], read);
                assert!(!read.contains(&"allocations".to_string()), "its own");
                of(&["allocations", "outcomes", "recommendation_costs"], made);
            }
        }
    }
}

/// Of the tables that were written: from which columns, in the contract of a table or in an export, or from what else.
fn every_column_says_where_it_comes_from(done: &Value) {
    for output in done["outputs"].as_array().unwrap() {
        let name = output["name"].as_str().unwrap().rsplit('/').next().unwrap();
        let fields = &output["facets"]["columnLineage"]["fields"];
        for column in recost::warehouse::table(name).unwrap().columns {
            let of = &fields[column.name];
            let from = of["inputFields"].as_array();
            let from = from.unwrap_or_else(|| panic!("{name}.{} is not told of", column.name));
            let said = of["transformationDescription"].as_str();
            assert_eq!(from.is_empty(), said.is_some(), "{name}.{}", column.name);
            for input in from {
                let place = input["name"].as_str().unwrap();
                let field = input["field"].as_str().unwrap();
                if place.contains("/exports/") {
                    continue;
                }
                let table = place.rsplit('/').next().unwrap();
                let schema = recost::warehouse::table(table).unwrap().schema();
                assert!(schema.column_with_name(field).is_some(), "{table}.{field}");
            }
        }
    }
    let export = |table: &str, column: &str| -> Vec<String> {
        let fields = &output(done, table)["facets"]["columnLineage"]["fields"];
        let from = fields[column]["inputFields"].as_array().unwrap();
        let one = |of: &Value| {
            let path = of["name"]
                .as_str()
                .unwrap()
                .split("/exports/")
                .nth(1)
                .unwrap();
            format!("{} {}", path, of["field"].as_str().unwrap())
        };
        from.iter().map(one).collect()
    };
    assert_eq!(
        export("events", "item_id"),
        ["events/ds={date}/*.parquet item_id"]
    );
    assert_eq!(
        export("charges", "billed_cost"),
        [
            "billing/*/billing_period={period}/*.parquet BilledCost",
            "ledger/period={period}/*.parquet BilledCost"
        ]
    );
    assert_eq!(
        origins(output(done, "outcomes"), "revenue"),
        ["events.event_type", "events.price", "events.quantity"]
    );
    // What the rules of the pipeline look at is among what says whose a charge is.
    assert!(
        origins(output(done, "allocations"), "rule")
            .contains(&"charges.commitment_discount_status".into())
    );
}

/// A listener that answers each request with `status` and hands on what it was sent.
pub fn listener(status: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    let (send, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let request = request(&mut stream.unwrap(), status);
            if send.send(request).is_err() {
                return;
            }
        }
    });
    (url, received)
}

fn request(stream: &mut TcpStream, status: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 65_536];
    loop {
        let n = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_string)
            });
            if body.len() >= length.unwrap().parse().unwrap() {
                break;
            }
        }
        assert!(n > 0, "{text}");
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).unwrap();
    text
}

#[test]
fn events_are_posted_with_a_token_that_nobody_else_sees_and_trouble_fails_no_run() {
    let shop = Shop::new();
    let (url, received) = listener("201 Created");
    let config = format!(
        "[lineage]\nurl = \"{url}\"\ntoken = \"${{LINEAGE_KEY}}\"\nnamespace = \"shops\"\nfile = \"lineage.jsonl\"\n\n[run]"
    );
    shop.edit("[run]", &config);
    let secret = "tok-7d1fa0c3b2";
    let run = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_recost"))
            .args([&RUN[..], more].concat())
            .current_dir(shop.path())
            .env("LINEAGE_KEY", secret)
            .output()
            .unwrap()
    };
    let out = run(&[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(
        !text(&out.stderr).contains("warning"),
        "{}",
        text(&out.stderr)
    );
    let sent: Vec<String> = received.try_iter().collect();
    let file = std::fs::read_to_string(shop.file("lineage.jsonl")).unwrap();
    assert_eq!(sent.len(), file.lines().count());
    assert!(sent.len() > 2);
    for (request, line) in sent.iter().zip(file.lines()) {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /api/v1/lineage HTTP/1.1\r\n"),
            "{head}"
        );
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("authorization: bearer {secret}")),
            "{head}"
        );
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(body, line);
        let event: Value = serde_json::from_str(body).unwrap();
        valid(&event);
        assert_eq!(event["job"]["namespace"], "shops");
    }
    assert!(!file.contains(secret));

    // One that refuses, and one that is not there.
    let (refusing, _received) = listener("503 Service Unavailable");
    shop.edit(&url, &refusing);
    let out = run(&["--force"]);
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert_eq!(
        said.matches("warning: the lineage event is not sent: ")
            .count(),
        2
    );
    assert!(said.contains("503") && !said.contains(secret), "{said}");
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    shop.edit(&refusing, &format!("http://{gone}/"));
    let out = run(&["--select", "check"]);
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("warning: the lineage event is not sent: "),
        "{said}"
    );

    // A token in the file is no secret.
    shop.edit("${LINEAGE_KEY}", "tok");
    let out = run(&[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("`[lineage] token` is a secret and is written in the file"));
}

/// Namespace, job and run of a parent, or of its root.
fn named(of: &Value) -> [&str; 3] {
    let job = |part| of["job"][part].as_str().unwrap();
    [
        job("namespace"),
        job("name"),
        of["run"]["runId"].as_str().unwrap(),
    ]
}

#[test]
fn nights_are_parts_of_their_backfill_and_that_of_the_schedulers_run() {
    let shop = Shop::new();
    shop.edit("[run]", "[lineage]\nfile = \"lineage.jsonl\"\n\n[run]");
    let (task, dag) = (
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-aaaa-774b-bcce-b302099a8057",
    );
    let recost = |args: &[&str], parent: &str, root: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_recost"))
            .args(args)
            .current_dir(shop.path())
            .env("OPENLINEAGE_PARENT_ID", parent)
            .env("OPENLINEAGE_ROOT_PARENT_ID", root)
            .output()
            .unwrap();
        let lines = std::fs::read_to_string(shop.file("lineage.jsonl")).unwrap_or_default();
        let events = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let events: Vec<Value> = events.inspect(valid).collect();
        let _ = std::fs::remove_file(shop.file("lineage.jsonl"));
        (out, events)
    };
    let of_job = |events: &[Value], job: &str| -> Vec<Value> {
        let of = events.iter().filter(|event| event["job"]["name"] == job);
        of.cloned().collect()
    };
    let parent = |event: &Value| event["run"]["facets"]["parent"].clone();
    let outer = (
        format!("airflow://eu/shop.run/{task}"),
        format!("airflow://eu/shop/{dag}"),
    );

    // A night that fails, and so does the backfill.
    let check = shop.file("sql/checks/never.sql");
    std::fs::create_dir_all(check.parent().unwrap()).unwrap();
    std::fs::write(&check, "select 1 as wrong").unwrap();
    let (out, events) = recost(&BACKFILL, &outer.0, &outer.1);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let name = events[0]["job"]["name"].as_str().unwrap();
    let (whole, night) = (
        of_job(&events, name),
        name.strip_suffix(".backfill").unwrap(),
    );
    assert_eq!(types(&whole), ["START", "FAIL"]);
    assert_eq!(whole[0]["run"]["runId"], whole[1]["run"]["runId"]);
    let why = whole[1]["run"]["facets"]["errorMessage"]["message"]
        .as_str()
        .unwrap();
    assert!(
        why.contains(&format!("stopped at the night of {NIGHT}")),
        "{why}"
    );
    for event in &whole {
        let parent = parent(event);
        assert_eq!(named(&parent), ["airflow://eu", "shop.run", task]);
        assert_eq!(named(&parent["root"]), ["airflow://eu", "shop", dag]);
    }
    let nights = of_job(&events, night);
    assert_eq!(types(&nights), ["START", "FAIL"]);
    let run = whole[0]["run"]["runId"].as_str().unwrap();
    for event in &nights {
        assert_eq!(named(&parent(event)), ["recost", name, run]);
    }
    let stages = events.iter().filter(|event| {
        let job = event["job"]["name"].as_str().unwrap();
        job != night && job != name
    });
    let run = nights[0]["run"]["runId"].as_str().unwrap();
    for event in stages.clone() {
        assert_eq!(named(&parent(event)), ["recost", night, run]);
        assert_eq!(named(&parent(event)["root"]), ["airflow://eu", "shop", dag]);
    }
    assert!(stages.count() > 10);
    std::fs::remove_file(&check).unwrap();

    // What cannot be read is warned of, and the backfill is then the root.
    let (out, events) = recost(&BACKFILL, "airflow/nightly", "");
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert_eq!(
        said.matches("no `namespace/job/run-id`").count(),
        1,
        "{said}"
    );
    let whole = of_job(&events, name);
    assert_eq!(types(&whole), ["START", "COMPLETE"]);
    assert!(parent(&whole[0]).is_null());
    let run = whole[0]["run"]["runId"].as_str().unwrap();
    let nights = of_job(&events, night);
    assert_eq!(types(&nights), ["START", "COMPLETE"]);
    assert_eq!(named(&parent(&nights[1])["root"]), ["recost", name, run]);
    // Nothing to run, nothing to tell.
    assert!(recost(&BACKFILL, &outer.0, "").1.is_empty());

    // A night by itself; its scheduler is the root where it names no other.
    let night_alone = [&RUN[..], &["--force"]].concat();
    let (out, events) = recost(&night_alone, &outer.0, "");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(of_job(&events, name).is_empty());
    for event in of_job(&events, night) {
        let parent = parent(&event);
        assert_eq!(named(&parent), ["airflow://eu", "shop.run", task]);
        assert_eq!(named(&parent["root"]), named(&parent));
    }
}

#[test]
fn a_backfill_that_is_interrupted_is_told_so_after_its_night() {
    let (shop, temp) = (Shop::new(), TempDir::new().unwrap());
    shop.edit("[run]", "[lineage]\nfile = \"lineage.jsonl\"\n\n[run]");
    shop.edit("iterations = 10", "iterations = 10000");
    let mut run = Working::start(&shop, &temp, &BACKFILL);
    let trains = || {
        let told = std::fs::read_to_string(shop.file("lineage.jsonl"));
        told.is_ok_and(|told| told.contains(".train\""))
    };
    run.until("training", trains);
    run.signal("-TERM");
    assert_eq!(run.end().status.code(), Some(130));
    let lines = std::fs::read_to_string(shop.file("lineage.jsonl")).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = events.inspect(valid).collect();
    let [.., night, whole] = events.as_slice() else {
        panic!("{lines}")
    };
    assert_eq!(
        (&night["eventType"], &whole["eventType"]),
        (&"ABORT".into(), &"ABORT".into())
    );
    assert_eq!(
        night["run"]["facets"]["parent"]["run"]["runId"],
        whole["run"]["runId"]
    );
    assert_eq!(whole["run"]["runId"], events[0]["run"]["runId"]);
}

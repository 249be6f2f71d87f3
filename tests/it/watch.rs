//! What is known of runs from outside: the JSON log, the metrics, the alerts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use recost::watch::metrics::METRICS;
use serde_json::Value;
use tempfile::TempDir;

use crate::interrupt::{Working, is_in};
use crate::shop::{JSON, NIGHT, RUN, Shop, text, tune_of};

const ALERTS: &str = include_str!("../../pipelines/examples/monitoring/alerts.yml");

/// A shop whose runs write metrics.
fn watched() -> Shop {
    let shop = Shop::new();
    shop.edit("[run]", "[run]\nmetrics = \"textfile/recost.prom\"");
    shop
}

fn log(stderr: &[u8]) -> Vec<Value> {
    let lines = text(stderr);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    lines.collect()
}

type Labels = BTreeMap<String, String>;

/// The samples of a metrics file, by metric and labels, and all that the text format asks for: HELP and TYPE once and before
/// the samples of each metric, all samples of a metric together, no sample twice, names and escapes as they may be.
fn samples(file: &str) -> BTreeMap<(String, Labels), String> {
    assert!(file.ends_with('\n'));
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(seen.insert(name.to_string()), "{name} comes twice");
        assert!(METRICS.contains(&(name, help)), "{name} is not known");
        let valid = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        assert!(name.starts_with("recost_") && name.chars().all(valid));
        assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
        let mut any = false;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (of, labels, value) = sample(line);
            assert_eq!(of, name);
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            let before = found.insert((of, labels), value);
            assert!(before.is_none(), "{line} comes twice");
            any = true;
        }
        assert!(any, "{name} has no sample");
    }
    found
}

/// `name{label="text",…} value`
fn sample(line: &str) -> (String, Labels, String) {
    let (name, rest) = line.split_once('{').unwrap();
    let mut labels = Labels::new();
    let mut rest = rest;
    loop {
        let (label, value) = rest.split_once("=\"").unwrap();
        assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let (mut text, mut chars) = (String::new(), value.char_indices());
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => text.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c} in {line}"),
                }),
                (_, c) => text.push(c),
            }
        };
        assert!(labels.insert(label.to_string(), text).is_none(), "{line}");
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").unwrap();
    (name.to_string(), labels, value.to_string())
}

/// The value of a metric whose labels, beside the pipeline, are these.
fn value(file: &str, name: &str, labels: &[(&str, &str)]) -> Option<String> {
    let mut wanted = Labels::new();
    wanted.insert("pipeline".into(), "Example \"shop\"".into());
    let of_run = ["recost_last_run_", "recost_run_", "recost_stage_"];
    if of_run.iter().any(|start| name.starts_with(start)) {
        wanted.insert("kind".into(), "night".into());
    }
    wanted.extend(labels.iter().map(|(l, t)| (l.to_string(), t.to_string())));
    samples(file).remove(&(name.to_string(), wanted))
}

/// Whether a text is the same number, but for what a reader of JSON makes of its last digit.
fn same(text: &str, number: &serde_json::Value) -> bool {
    let (text, number) = (text.parse::<f64>().unwrap(), number.as_f64().unwrap());
    (text - number).abs() <= 1e-9 * number.abs()
}

#[test]
fn a_log_and_the_metrics_say_the_same_of_runs_that_end_well_badly_or_not_at_all() {
    let (shop, temp) = (watched(), TempDir::new().unwrap());
    shop.edit("name = \"Example shop\"", "name = 'Example \"shop\"'");
    let metrics = || std::fs::read_to_string(shop.file("textfile/recost.prom")).unwrap();
    let json = [&RUN[..], &JSON].concat();

    // A run before anything was published, which finds no export.
    let none = [
        "run",
        "pipeline.toml",
        "--date",
        "2030-01-01",
        "--log-format",
        "json",
    ];
    let out = shop.recost(&none);
    assert_eq!(out.status.code(), Some(6));
    let file = metrics();
    let code = |file: &str| value(file, "recost_last_run_exit_code", &[]).unwrap();
    assert_eq!(code(&file), "6");
    assert_eq!(
        value(&file, "recost_last_success_timestamp_seconds", &[]),
        None
    );
    let failed = log(&out.stderr).pop().unwrap();
    assert_eq!(
        (&failed["event"], &failed["date"]),
        (&"error".into(), &"2030-01-01".into())
    );
    assert!(failed["run_id"].is_string(), "{failed}");

    let out = shop.recost(&json);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let events = log(&out.stderr);
    let id = shop.query("select distinct run_id from runs where status = 'done'");
    let started = events.iter().position(|e| e["event"] == "run_started");
    for event in &events {
        assert_eq!(event["date"], NIGHT, "{event}");
        assert!(event["time"].is_string(), "{event}");
    }
    for event in &events[started.unwrap()..] {
        assert_eq!(event["run_id"], id[0], "{event}");
    }
    let file = metrics();
    let stages: Vec<_> = events.iter().filter(|e| e["event"] == "stage").collect();
    let ledger = shop.query(&format!(
        "select stage, seconds, rows from runs where run_id = '{}' and stage <> 'run' order by started_at",
        id[0]
    ));
    assert_eq!((stages.len(), ledger.len()), (7, 7));
    for (stage, row) in stages.iter().zip(ledger) {
        let name = stage["stage"].as_str().unwrap();
        let of = |metric: &str| value(&file, metric, &[("stage", name)]).unwrap();
        assert!(same(&of("recost_stage_seconds"), &stage["seconds"]));
        assert_eq!(of("recost_stage_rows"), stage["rows"].to_string());
        // All of it fits the memory.
        let spilled = of("recost_stage_spilled_bytes");
        assert_eq!(
            (spilled.as_str(), &stage["spilled_bytes"]),
            ("0", &0.into())
        );
        assert_eq!(
            of("recost_stage_cpu_seconds").parse().ok(),
            stage["cpu_seconds"].as_f64()
        );
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!([cells[0], cells[2]], [name, &stage["rows"].to_string()]);
        assert!(same(cells[1], &stage["seconds"]), "{row}");
    }
    let published = events.iter().find(|e| e["event"] == "published").unwrap();
    let seconds = value(&file, "recost_run_seconds", &[]).unwrap();
    assert!(same(&seconds, &published["seconds"]), "{seconds}");
    assert_eq!(code(&file), "0");
    let success = value(&file, "recost_last_success_timestamp_seconds", &[]);
    let ended = shop.query("select epoch from (select cast(to_unixtime(max(ended_at)) as bigint) as epoch from runs where stage = 'run' and status = 'done')");
    assert!(
        success.as_ref().unwrap().starts_with(&ended[0]),
        "{success:?} {ended:?}"
    );

    // Money is as the tables have it, to the last digit; rejected rows as they are.
    let lines = shop.query("select currency, line, sum(effective) from reconciliation where basis = 'usage' group by 1, 2");
    assert!(lines.len() >= 4);
    for line in lines {
        let [currency, line, amount] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let labels = [
            ("currency", currency),
            ("billing_period", "2026-10"),
            ("line", line),
        ];
        let told = value(&file, "recost_effective_cost", &labels).unwrap();
        let zeros = |n: &str| match n.split_once('.') {
            Some(_) => n.trim_end_matches('0').trim_end_matches('.').to_string(),
            None => n.to_string(),
        };
        assert_eq!(told, zeros(amount));
    }
    let rejected = shop.query("select count(*) from quarantine where source = 'clickstream'");
    let clicks = [("source", "clickstream")];
    let told = value(&file, "recost_source_quarantined_rows", &clicks);
    assert_eq!(told, rejected.first().cloned());
    let done = value(&file, "recost_nights", &[("state", "done")]);
    assert_eq!(done.as_deref(), Some("1"));
    let good = page(&shop);
    assert!(good.contains("<dt>Spilled</dt><dd>0"), "{good}");
    assert!(good.contains("Published in ") && good.contains("Example &quot;shop&quot;"));
    for stage in ["ingest", "attribute", "check", "publish"] {
        assert!(good.contains(&format!("<title>{stage}: ")), "{stage}");
    }
    assert!(good.contains("13 checks held") && good.contains("✓ period_is_reconciled"));

    // Nothing to do: the night's figures stay.
    let out = shop.recost(&json);
    let last = log(&out.stderr).pop().unwrap();
    assert_eq!(last["event"], "unchanged");
    assert_eq!(last["published_by"], id[0]);
    let unchanged = metrics();
    let status = |file: &str, status: &str| {
        value(file, "recost_last_run_status", &[("status", status)]).unwrap()
    };
    assert_eq!(
        (status(&unchanged, "unchanged"), status(&unchanged, "done")),
        ("1".into(), "0".into())
    );
    assert_eq!(value(&unchanged, "recost_run_seconds", &[]), Some(seconds));

    // A check that nothing can pass, and then an interrupt: the last success stays.
    let check = shop.file("sql/checks/never.sql");
    std::fs::create_dir_all(check.parent().unwrap()).unwrap();
    std::fs::write(&check, "select 1 as wrong").unwrap();
    let out = shop.recost(&json);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let file = metrics();
    assert_eq!(
        (code(&file).as_str(), status(&file, "failed").as_str()),
        ("3", "1")
    );
    let failed = page(&shop);
    assert!(failed.contains("Failed in check after "), "{failed}");
    assert!(
        failed.contains("| 1     |") && failed.contains(&id[0]),
        "{failed}"
    );
    assert_eq!(
        value(&file, "recost_last_success_timestamp_seconds", &[]),
        success
    );
    std::fs::remove_file(&check).unwrap();
    shop.edit("iterations = 10", "iterations = 10000");
    let mut run = Working::start(&shop, &temp, &json);
    run.until("training", || is_in(&shop, "train"));
    run.signal("-TERM");
    let out = run.end();
    assert_eq!(out.status.code(), Some(130));
    let events = log(&out.stderr);
    let last = events.last().unwrap();
    assert_eq!(last["event"], "error");
    assert!(
        last["run_id"].is_string() && last["run_id"] != id[0],
        "{last}"
    );
    let file = metrics();
    assert_eq!(
        (code(&file).as_str(), status(&file, "interrupted").as_str()),
        ("130", "1")
    );
    assert_eq!(
        value(&file, "recost_last_success_timestamp_seconds", &[]),
        success
    );
    assert!(value(&file, "recost_nights_overdue", &[]).is_some());
    assert!(value(&file, "recost_stage_rows", &[("stage", "train")]).is_none());
    let out = shop.recost(&["report", "pipeline.toml", "--date", NIGHT]);
    assert!(text(&out.stdout).contains("report/run.html"));
    let stopped = page(&shop);
    assert!(stopped.contains("Stopped in train after "), "{stopped}");
    // Nothing half written is left for the collector.
    assert_eq!(std::fs::read_dir(shop.file("textfile")).unwrap().count(), 1);
}

/// The page on the last run, which needs nothing beside itself.
fn page(shop: &Shop) -> String {
    let page = std::fs::read_to_string(shop.file("report/run.html")).unwrap();
    for outside in ["<script", "http:", "https:", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    page
}

/// Every metric of the alerts, with the labels that they ask for, has a sample in the file.
fn every_alert_is_of_these(file: &str) {
    let found = samples(file);
    let mut metrics = BTreeSet::new();
    for line in ALERTS.lines().filter(|line| line.contains(" expr: ")) {
        for (at, _) in line.match_indices("recost_") {
            let rest = &line[at..];
            let end = rest
                .find(|c: char| !c.is_ascii_lowercase() && c != '_')
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let mut labels = Labels::new();
            if let Some(selected) = after.strip_prefix('{') {
                let (selected, _) = selected.split_once('}').unwrap();
                for one in selected.split(',') {
                    let (label, text) = one.split_once('=').unwrap();
                    labels.insert(label.into(), text.trim_matches('"').into());
                }
            }
            let is = |(of, with): &(String, Labels)| {
                of == name
                    && labels
                        .iter()
                        .all(|label| with.get(label.0) == Some(label.1))
            };
            assert!(found.keys().any(is), "{name} {labels:?} of {line}");
            metrics.insert(name);
        }
    }
    assert!(metrics.len() >= 12, "{metrics:?}");
}

#[test]
fn a_search_and_a_close_are_watched_as_a_night_is() {
    let shop = watched();
    shop.edit("[run]", "[lineage]\nfile = \"lineage.jsonl\"\n\n[run]");
    let params = "params = { dim = 64, iterations = 10, regularization = 0.01, alpha = 10.0 }";
    let small = "params = { dim = 8, iterations = 4, alpha = 90.0 }\n[models.search]\ntrials = 2\n\
                 [models.search.space]\nalpha = { min = 1.0, max = 100.0, scale = \"log\" }";
    shop.edit(params, small);
    shop.run_ok();
    let metrics = || std::fs::read_to_string(shop.file("textfile/recost.prom")).unwrap();
    let lineage = || -> Vec<Value> {
        let lines = std::fs::read_to_string(shop.file("lineage.jsonl")).unwrap();
        let lines = lines.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of = |name: &str, kind: &str, more: &[(&str, &str)]| {
        let labels = [&[("pipeline", "Example shop"), ("kind", kind)], more].concat();
        let labels = labels.iter().map(|(l, t)| (l.to_string(), t.to_string()));
        samples(&metrics()).remove(&(name.to_string(), labels.collect()))
    };
    let night = || {
        let samples = samples(&metrics());
        let of_night = |((_, labels), _): &((String, Labels), String)| {
            labels.get("kind").is_some_and(|kind| kind == "night")
        };
        samples.into_iter().filter(of_night).collect::<Vec<_>>()
    };
    let (before, told) = (night(), lineage().len());
    assert!(before.len() > 30);

    // One that cannot be is a matter of who asked for it, and no run.
    let out = shop.recost(&["tune", "pipeline.toml", "nobody"]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(of("recost_last_run_exit_code", "tune", &[]), None);
    let tune = tune_of(NIGHT);
    let close = ["close", "pipeline.toml", "2026-10"];
    let commands = [
        ("tune", &tune[..], "trials", 2),
        ("close", &close[..], "snapshots", 0),
    ];
    let mut seen = told;
    for (kind, command, table, code) in commands {
        let out = shop.recost(&[command, &JSON[..]].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        let events = log(&out.stderr);
        assert_eq!(events[0]["event"], kind);
        let id = &shop.query(&format!("select run_id from runs where stage = '{kind}'"))[0];
        for name in ["run_started", "stage_started", "stage", "published"] {
            let event = events.iter().find(|event| event["event"] == name);
            assert_eq!(event.unwrap_or_else(|| panic!("{name}"))["run_id"], **id);
        }
        assert_eq!(of("recost_last_run_exit_code", kind, &[]).unwrap(), "0");
        let done = [("status", "done")];
        assert_eq!(of("recost_last_run_status", kind, &done).unwrap(), "1");
        let stage = [("stage", kind)];
        let rows = of("recost_stage_rows", kind, &stage).unwrap();
        let wanted = shop.query(&format!("select rows from runs where stage = '{kind}'"));
        assert_eq!(rows, wanted[0]);
        assert!(code == 0 || rows == code.to_string(), "{rows}");
        // A night's figures stay as they were, and so do those of others.
        assert_eq!(night(), before);

        let events = lineage().split_off(seen);
        seen += events.len();
        let job = format!("Example shop.{kind}");
        let whole: Vec<&Value> = events
            .iter()
            .filter(|event| event["job"]["name"] == *job)
            .collect();
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0]["eventType"], "START");
        assert_eq!(whole[1]["eventType"], "COMPLETE");
        assert_eq!(whole[0]["run"]["runId"], whole[1]["run"]["runId"]);
        let name = |of: &Value| {
            of["name"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .to_string()
        };
        let names =
            |of: &Value| -> Vec<String> { of.as_array().unwrap().iter().map(name).collect() };
        let made = names(&whole[1]["outputs"]);
        assert!(made.contains(&table.to_string()), "{made:?}");
        let read = names(&whole[1]["inputs"]);
        let from = if kind == "tune" {
            "events"
        } else {
            "allocations"
        };
        assert!(read.contains(&from.to_string()), "{read:?}");
        // Its checks are a part of a close.
        let parts: Vec<&Value> = events.iter().filter(|e| e["job"]["name"] != *job).collect();
        assert_eq!(parts.len(), if kind == "close" { 2 } else { 0 });
        for part in parts {
            assert_eq!(part["job"]["name"], "Example shop.close.check");
            assert_eq!(
                part["run"]["facets"]["parent"]["run"],
                whole[0]["run"]["runId"]
                    .as_str()
                    .map(|id| serde_json::json!({"runId": id}))
                    .unwrap()
            );
        }
    }
    every_alert_is_of_these(&metrics());

    // A search that was finished before is none.
    let before = metrics();
    let out = shop.recost(&tune);
    assert!(
        text(&out.stdout).contains("nothing left to do"),
        "{}",
        text(&out.stdout)
    );
    assert_eq!((metrics(), lineage().len()), (before, seen));
    // A close of what is closed ends with an error, after its run began.
    let out = shop.recost(&close);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(of("recost_last_run_exit_code", "close", &[]).unwrap(), "2");
    let last = lineage().pop().unwrap();
    assert_eq!(
        (&last["eventType"], &last["job"]["name"]),
        (&"FAIL".into(), &"Example shop.close".into())
    );
}

#[test]
fn every_alert_says_what_it_is_and_prometheus_takes_the_rules() {
    let count = |what: &str| ALERTS.matches(what).count();
    let alerts = count("- alert: Recost");
    assert!(alerts >= 12);
    for part in [" expr: ", " severity: ", " summary: ", " description: "] {
        assert_eq!(count(part), alerts, "{part}");
    }
    let file = format!(
        "{}/pipelines/examples/monitoring/alerts.yml",
        env!("CARGO_MANIFEST_DIR")
    );
    match Command::new("promtool")
        .args(["check", "rules", &file])
        .output()
    {
        Ok(out) => assert!(out.status.success(), "{}", text(&out.stdout)),
        Err(e) => eprintln!("SKIPPED: promtool cannot be started: {e}"),
    }
}

#[test]
fn metrics_that_cannot_be_written_fail_no_run() {
    let shop = Shop::new();
    std::fs::write(shop.file("taken"), "").unwrap();
    shop.edit("[run]", "[run]\nmetrics = \"taken/recost.prom\"");
    let out = shop.run();
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("warning: the metrics are not written: "),
        "{said}"
    );
    shop.edit("taken/recost.prom", "recost.txt");
    let out = shop.run();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("must be a file that ends in .prom"));
}

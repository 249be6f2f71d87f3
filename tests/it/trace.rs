//! Traces: what an OpenTelemetry collector is sent of runs.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::interrupt::{Working, is_in};
use crate::lineage::listener;
use crate::shop::{NIGHT, RUN, STAGES, Shop, text};

/// Path, head and body of what was sent.
fn document(request: &str) -> (String, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), serde_json::from_str(body).unwrap())
}

/// Attributes by key; whole numbers are texts.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    let all = of["attributes"].as_array().unwrap().iter();
    let one = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap();
        assert_eq!(value.len(), 1, "{attribute}");
        let (kind, value) = value.iter().next().unwrap();
        let text = match kind.as_str() {
            "stringValue" | "intValue" => value.as_str().unwrap().to_string(),
            "doubleValue" => value.as_f64().unwrap().to_string(),
            other => panic!("{other}"),
        };
        (attribute["key"].as_str().unwrap().to_string(), text)
    };
    all.map(one).collect()
}

/// The spans of a document, which are one trace: the run first, then its stages within it.
fn spans(document: &Value) -> Vec<Value> {
    let resources = document["resourceSpans"].as_array().unwrap();
    let scopes = resources[0]["scopeSpans"].as_array().unwrap();
    assert_eq!((resources.len(), scopes.len()), (1, 1));
    let spans = scopes[0]["spans"].as_array().unwrap().clone();
    let hex = |value: &Value, length: usize| {
        let id = value.as_str().unwrap();
        let right = id.len() == length && id.chars().all(|c| c.is_ascii_hexdigit());
        assert!(right && id.chars().any(|c| c != '0'), "{id}");
    };
    let at = |span: &Value, key: &str| -> u64 { span[key].as_str().unwrap().parse().unwrap() };
    let mut ids = std::collections::BTreeSet::new();
    for span in &spans {
        hex(&span["traceId"], 32);
        hex(&span["spanId"], 16);
        assert!(ids.insert(span["spanId"].to_string()));
        assert_eq!(span["traceId"], spans[0]["traceId"]);
        assert!(at(span, "startTimeUnixNano") <= at(span, "endTimeUnixNano"));
        assert_eq!(span["kind"], 1);
    }
    for stage in &spans[1..] {
        assert_eq!(stage["parentSpanId"], spans[0]["spanId"]);
        // Times of the two are read off the clock one after the other.
        let slack = 50_000_000;
        for (key, sign) in [("startTimeUnixNano", 1), ("endTimeUnixNano", -1)] {
            let later = i128::from(at(stage, key)) - i128::from(at(&spans[0], key));
            assert!(sign * later > -slack, "{key} of {stage}");
        }
    }
    spans
}

fn names(spans: &[Value]) -> Vec<&str> {
    spans
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_collector_is_sent_a_span_for_the_run_and_for_each_stage_that_it_did() {
    let (shop, temp) = (Shop::new(), TempDir::new().unwrap());
    let (url, received) = listener("200 OK");
    let url = url.trim_end_matches("/api/v1/lineage");
    shop.edit("[run]", &format!("[trace]\nurl = \"{url}\"\n\n[run]"));
    let secret = "key-5b0d11c2";
    let out = Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(RUN)
        .current_dir(shop.path())
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={secret}"))
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .env(
            "TRACEPARENT",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .output()
        .unwrap();
    let said = text(&out.stderr);
    assert!(out.status.success() && !said.contains(secret), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let (head, document) = document(&received.try_recv().unwrap());
    assert!(received.try_recv().is_err(), "one document a run");
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("x-key: {secret}")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let resource = attributes(&document["resourceSpans"][0]["resource"]);
    assert_eq!(resource["service.name"], "recost");
    assert_eq!(resource["recost.pipeline"], "Example shop");
    assert_eq!(resource["deployment.environment"], "test");
    let of_run = spans(&document);
    assert_eq!(names(&of_run), [&["night"], &STAGES[..]].concat());
    assert_eq!(of_run[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(of_run[0]["parentSpanId"], "b7ad6b7169203331");
    let run = attributes(&of_run[0]);
    let id = &shop.query("select run_id from runs where stage = 'run'")[0];
    assert_eq!(&run["recost.run_id"], id);
    assert_eq!(run["recost.night"], NIGHT);
    assert_eq!(run["recost.status"], "done");
    for span in &of_run {
        assert_eq!(span["status"]["code"], 1);
    }
    let ledger = shop.query(
        "select stage, rows, peak_rss_bytes, spilled_bytes, cpu_seconds, seconds from runs where stage <> 'run' order by started_at",
    );
    for (stage, row) in of_run[1..].iter().zip(ledger) {
        let of = attributes(stage);
        let told = [
            stage["name"].as_str().unwrap(),
            &of["recost.rows"],
            &of["recost.peak_memory_bytes"],
            &of["recost.spilled_bytes"],
        ];
        assert!(row.starts_with(&told.join(",")), "{row} {told:?}");
        let cpu: f64 = row.split(',').nth(4).unwrap().parse().unwrap();
        assert_eq!(of["recost.cpu_seconds"].parse::<f64>().unwrap(), cpu);
        let time = |key: &str| stage[key].as_str().unwrap().parse::<u64>().unwrap();
        let took = (time("endTimeUnixNano") - time("startTimeUnixNano")) as f64 / 1e9;
        let seconds: f64 = row.split(',').nth(5).unwrap().parse().unwrap();
        assert!((took - seconds).abs() < 1e-5, "{took} {seconds}");
    }

    // There already: no run. Then an interrupt: the stage that it was in did not end well, and those before it did.
    shop.run_ok();
    assert!(received.try_recv().is_err());
    shop.edit("iterations = 10", "iterations = 10000");
    let mut run = Working::start(&shop, &temp, &RUN);
    run.until("training", || is_in(&shop, "train"));
    run.signal("-TERM");
    assert_eq!(run.end().status.code(), Some(130));
    let (_, stopped) = self::document(&received.try_recv().unwrap());
    let spans = spans(&stopped);
    assert_eq!(names(&spans), ["night", "ingest", "features", "train"]);
    let codes: Vec<i64> = spans
        .iter()
        .map(|s| s["status"]["code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [2, 1, 1, 2]);
    let why = spans[3]["status"]["message"].as_str().unwrap();
    assert!(why.starts_with("interrupted"), "{why}");
    assert_eq!(attributes(&spans[0])["process.exit.code"], "130");
    assert_ne!(spans[0]["traceId"], of_run[0]["traceId"]);
    assert!(spans[0]["parentSpanId"].is_null());
}

#[test]
fn a_collector_that_takes_nothing_fails_no_run() {
    let shop = Shop::new();
    let (url, _received) = listener("503 Service Unavailable");
    let out = Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(RUN)
        .current_dir(shop.path())
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
        .output()
        .unwrap();
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(
        said.contains("warning: the trace is not sent: ") && said.contains("503"),
        "{said}"
    );
    shop.edit("[run]", "[trace]\nurl = \"collector:4318\"\n\n[run]");
    let out = shop.run();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("`[trace] url` must begin with http:// or https://"));
}

//! The trace of a run for OpenTelemetry: a span for the run and one for each stage that it did, sent when it has ended, in the
//! JSON encoding of OTLP over HTTP: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::counts::{Counts, End};
use super::post::post;
use crate::config::Pipeline;
use crate::config::trace::Trace as Config;
use crate::error::Result;
use crate::privacy::secrets::hidden;

/// Kind of a span that is neither a request nor a message.
const INTERNAL: u8 = 1;
const OK: u8 = 1;
const ERROR: u8 = 2;

/// Sends the traces of the runs of a pipeline.
#[derive(Debug, Clone)]
pub struct Trace {
    config: Config,
    pipeline: String,
    /// Id of the run that was sent.
    sent: Option<String>,
}

/// The trace and the span that a run is a part of, by whoever started it.
pub(crate) struct Parent {
    trace: String,
    span: String,
}

impl Parent {
    /// By the environment variable `TRACEPARENT`, in the format of <https://www.w3.org/TR/trace-context/#traceparent-header>.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let [_version, trace, span, _flags] = [(); 4].map(|()| parts.next());
        let id = |text: Option<&str>, length: usize| {
            let text =
                text.filter(|t| t.len() == length && t.bytes().all(|b| b.is_ascii_hexdigit()))?;
            text.bytes().any(|b| b != b'0').then(|| text.to_lowercase())
        };
        Some(Parent {
            trace: id(trace, 32)?,
            span: id(span, 16)?,
        })
    }
}

impl Trace {
    /// Of the runs of `pipeline`; whether they are sent anywhere is looked up when they have ended.
    pub fn of(pipeline: &Pipeline) -> Self {
        Trace {
            config: pipeline.trace.clone(),
            pipeline: pipeline.name.clone(),
            sent: None,
        }
    }

    /// What is to be sent of a run that has ended, and was not sent yet: where to, and the document.
    ///
    /// # Errors
    /// `Kind::Config` when an environment variable of the URL is not set.
    pub fn due(&mut self, counts: &Counts) -> Result<Option<(String, String)>> {
        let (Some(_), Some(run_id)) = (counts.end, &counts.run_id) else {
            return Ok(None);
        };
        if self.sent.as_ref() == Some(run_id) {
            return Ok(None);
        }
        let Some(url) = self.config.endpoint(variable)? else {
            return Ok(None);
        };
        self.sent = Some(run_id.clone());
        let parent = variable("TRACEPARENT").and_then(|text| Parent::of(&text));
        let document = document(&self.pipeline, counts, run_id, parent.as_ref());
        Ok(Some((url, hidden(&document.to_string()).into_owned())))
    }
}

/// Sends a document that was due, with the headers of `OTEL_EXPORTER_OTLP_HEADERS`.
///
/// # Errors
/// `Kind::Io` when it is not taken.
pub fn send((url, document): (String, String)) -> Result<()> {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let set = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| variable(name));
    post(url, pairs(&set.unwrap_or_default()), document)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `key=value` pairs, comma-separated, values percent-encoded, as the specification has them in the environment.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let pair = |(key, value): (&str, &str)| (key.trim().to_string(), decoded(value.trim()));
    pairs.map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The attributes that have a value.
fn attributes<const N: usize>(of: [(&str, Value); N]) -> Value {
    let value = |value: Value| match value {
        Value::String(text) => Some(json!({"stringValue": text})),
        // Whole numbers of 64 bits are texts in this encoding.
        Value::Number(n) if n.is_i64() || n.is_u64() => Some(json!({"intValue": n.to_string()})),
        Value::Number(n) => Some(json!({"doubleValue": n})),
        Value::Bool(is) => Some(json!({"boolValue": is})),
        _ => None,
    };
    let one = |(key, of)| Some(json!({"key": key, "value": value(of)?}));
    of.into_iter().filter_map(one).collect()
}

fn nanos(at: DateTime<Utc>) -> String {
    at.timestamp_nanos_opt().unwrap_or_default().to_string()
}

fn before(at: DateTime<Utc>, seconds: f64) -> DateTime<Utc> {
    at - TimeDelta::nanoseconds((seconds * 1e9) as i64)
}

fn document(pipeline: &str, counts: &Counts, run_id: &str, parent: Option<&Parent>) -> Value {
    let own = format!("{:032x}", xxh3_128(run_id.as_bytes()).max(1));
    let trace = parent.map_or(own, |parent| parent.trace.clone());
    let span_of = |what: &str| format!("{:016x}", xxh3_64(what.as_bytes()).max(1));
    let (root, ended) = (span_of(run_id), counts.ended_at.unwrap_or_else(Utc::now));
    let (end, exit_code) = counts.end.unwrap_or((End::Done, 0));
    let failed = json!({"code": ERROR, "message": counts.error.as_deref().unwrap_or(end.as_str())});
    let done = json!({"code": OK});
    let span = |name: &str, id: &str, (from, to): (DateTime<Utc>, DateTime<Utc>)| {
        json!({
            "traceId": trace, "spanId": id, "name": name, "kind": INTERNAL,
            "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to),
        })
    };
    // What fails after the publication does not make the run longer.
    let began = counts.began_at.unwrap_or(ended);
    let mut whole = span(counts.job.as_str(), &root, (began, ended));
    if let Some(parent) = parent {
        whole["parentSpanId"] = json!(parent.span);
    }
    whole["status"] = if exit_code == 0 {
        done.clone()
    } else {
        failed.clone()
    };
    whole["attributes"] = attributes([
        ("recost.run_id", json!(run_id)),
        (
            "recost.night",
            json!(counts.date.map(|date| date.to_string())),
        ),
        ("recost.status", json!(end.as_str())),
        ("process.exit.code", json!(exit_code)),
        ("recost.retries", json!(counts.retries)),
        ("recost.warnings", json!(counts.warnings)),
        ("recost.peak_memory_bytes", json!(counts.peak_rss)),
    ]);
    let mut spans = vec![whole];
    for stage in counts.stages.iter().filter(|stage| !stage.resumed) {
        let id = span_of(&format!("{run_id}/{}", stage.stage));
        let times = (before(stage.ended_at, stage.seconds), stage.ended_at);
        let mut span = span(&stage.stage, &id, times);
        span["parentSpanId"] = json!(root);
        span["status"] = done.clone();
        span["attributes"] = attributes([
            ("recost.rows", json!(stage.rows)),
            ("recost.retries", json!(stage.retries)),
            ("recost.cpu_seconds", json!(stage.cpu_seconds)),
            ("recost.peak_memory_bytes", json!(stage.peak_rss)),
            ("recost.spilled_bytes", json!(stage.spilled)),
        ]);
        spans.push(span);
    }
    if let Some(open) = &counts.open {
        let id = span_of(&format!("{run_id}/{}", open.stage));
        let mut span = span(&open.stage, &id, (open.began_at, ended));
        span["parentSpanId"] = json!(root);
        span["status"] = failed;
        span["attributes"] = attributes([
            ("recost.retries", json!(open.retries)),
            ("recost.peak_memory_bytes", json!(counts.peak_rss)),
        ]);
        spans.push(span);
    }
    let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "recost".into());
    let version = env!("CARGO_PKG_VERSION");
    let mut resource = attributes([
        ("service.name", json!(service)),
        ("service.version", json!(version)),
        ("process.pid", json!(std::process::id())),
        ("recost.pipeline", json!(pipeline)),
    ]);
    for (key, value) in pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()) {
        if let Some(all) = resource.as_array_mut() {
            all.push(json!({"key": key, "value": {"stringValue": value}}));
        }
    }
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "recost", "version": version}, "spans": spans}],
    }]})
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_parents_are_as_the_specifications_have_them() {
        let of = |text: &str| {
            let pairs = pairs(text).into_iter();
            pairs
                .map(|(key, value)| format!("{key}: {value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("authorization=Bearer%20a%3Db, x-team = reco"),
            ["authorization: Bearer a=b", "x-team: reco"]
        );
        assert!(of("").is_empty() && of("nothing").is_empty());
        assert_eq!(of("a=100%"), ["a: 100%"]);
        let good = "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::of(good).unwrap();
        assert_eq!(parent.trace, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span, "b7ad6b7169203331");
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031xc-b7ad6b7169203331-01",
        ] {
            assert!(Parent::of(bad).is_none(), "{bad}");
        }
    }
}

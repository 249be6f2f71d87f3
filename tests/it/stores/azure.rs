//! Requests of Azure Blob: blobs and their blocks, batches of deletions, copies that take their time.

use std::fmt::Write as _;

use super::{Answer, Request, State, decode};

pub fn answer(state: &mut State, request: &Request) -> Answer {
    match (request.method.as_str(), request.query("comp")) {
        ("GET", "list") => list(state, request),
        ("GET" | "HEAD", "") => state.read(request),
        ("POST", "batch") => batch(state, request),
        ("PUT", "block") => {
            let block = request.query("blockid").to_string();
            let blocks = state.uploads.entry(request.key.clone()).or_default();
            blocks.insert(block, request.body.clone());
            Answer::empty(201)
        }
        ("PUT", "blocklist") => commit(state, request),
        ("PUT", "") => put(state, request),
        _ => Answer::error(400, "InvalidQueryParameterValue"),
    }
}

fn put(state: &mut State, request: &Request) -> Answer {
    let found = state.objects.get(&request.key);
    if request.header("if-none-match") == Some("*") && found.is_some() {
        return Answer::error(409, "BlobAlreadyExists");
    }
    if let Some(wanted) = request.header("if-match")
        && found.is_none_or(|found| found.etag != wanted)
    {
        return Answer::error(412, "ConditionNotMet");
    }
    if let Some(from) = request.source() {
        return copy(state, request, from);
    }
    if request.header("x-ms-blob-type") != Some("BlockBlob") {
        return Answer::error(400, "MissingRequiredHeader");
    }
    // What was sent in blocks and not committed goes with it.
    state.uploads.remove(&request.key);
    let mut answer = Answer::of(state.write(&request.key, request.body.clone()));
    answer.status = 201;
    answer
}

fn copy(state: &mut State, request: &Request, from: &str) -> Answer {
    let from = decode(from.split_once("://").unwrap().1);
    let from = from.splitn(3, '/').nth(2).unwrap();
    let Some(bytes) = state.objects.get(from).map(|from| from.bytes.clone()) else {
        return Answer::error(404, "CannotVerifyCopySource");
    };
    let status = match state.copies_take {
        0 => {
            state.write(&request.key, bytes);
            "success"
        }
        lists => {
            state.write(&request.key, vec![]);
            state.copies.push((lists, request.key.clone(), bytes));
            "pending"
        }
    };
    Answer::empty(202).with("x-ms-copy-status", status.into())
}

fn commit(state: &mut State, request: &Request) -> Answer {
    let mut blocks = state.uploads.remove(&request.key).unwrap_or_default();
    let mut bytes = vec![];
    for id in request.text().split("<Uncommitted>").skip(1) {
        let id = id.split("</Uncommitted>").next().unwrap();
        match blocks.remove(id) {
            Some(block) => bytes.extend(block),
            None => return Answer::error(400, "InvalidBlockList"),
        }
    }
    let mut answer = Answer::of(state.write(&request.key, bytes));
    answer.status = 201;
    answer
}

/// Deletions, each a request of its own within the one.
fn batch(state: &mut State, request: &Request) -> Answer {
    let mut said = String::new();
    for (n, line) in request
        .text()
        .lines()
        .filter(|line| line.starts_with("DELETE "))
        .enumerate()
    {
        let path = decode(line.split(' ').nth(1).unwrap());
        let key = path.trim_start_matches('/').split_once('/').unwrap().1;
        let status = match state.objects.remove(key) {
            Some(_) => "202 Accepted",
            None => "404 The specified blob does not exist.",
        };
        let _ = write!(
            said,
            "--answers\r\nContent-Type: application/http\r\nContent-ID: {n}\r\n\r\nHTTP/1.1 {status}\r\nx-ms-version: 2024-05-04\r\n\r\n"
        );
    }
    let mut answer = Answer::xml(said + "--answers--\r\n");
    answer.status = 202;
    answer.headers = vec![("content-type", "multipart/mixed; boundary=answers".into())];
    answer
}

fn list(state: &mut State, request: &Request) -> Answer {
    for (left, key, bytes) in std::mem::take(&mut state.copies) {
        match left.checked_sub(1) {
            Some(left) => state.copies.push((left, key, bytes)),
            None => {
                state.write(&key, bytes);
            }
        }
    }
    let page = state.list(request, "marker");
    let mut said = String::from("<EnumerationResults><Blobs>");
    for (key, object) in page.objects {
        let _ = write!(
            said,
            "<Blob><Name>{key}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type></Properties></Blob>",
            super::http_date(object.written),
            object.etag.trim_matches('"'),
            object.bytes.len()
        );
    }
    for folder in page.folders {
        let _ = write!(said, "<BlobPrefix><Name>{folder}</Name></BlobPrefix>");
    }
    let next = page.next.unwrap_or_default();
    Answer::xml(said + &format!("</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"))
}

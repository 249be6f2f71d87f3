//! Requests of S3, and those that Google Cloud Storage has in common with it.

use std::fmt::Write as _;

use super::{Answer, Request, State, decode};

/// Bytes of the smallest part of an upload, but for the last.
const PART: usize = 5 << 20;

pub fn answer(state: &mut State, request: &Request) -> Answer {
    match request.method.as_str() {
        "POST" if request.has("delete") => delete_many(state, request),
        "PUT" if request.has("partNumber") => part(state, request),
        "PUT" => {
            let found = state.objects.get(&request.key);
            match (request.header("if-match"), found) {
                (Some(_), None) => return Answer::error(404, "NoSuchKey"),
                (Some(wanted), Some(found)) if found.etag != wanted => {
                    return Answer::error(412, "PreconditionFailed");
                }
                _ => {}
            }
            if request.header("if-none-match").is_some() && found.is_some() {
                return Answer::error(412, "PreconditionFailed");
            }
            write(state, request)
        }
        "DELETE" if !request.has("uploadId") => {
            state.objects.remove(&request.key);
            Answer::empty(204)
        }
        _ => common(state, request),
    }
}

/// What both do alike.
pub fn common(state: &mut State, request: &Request) -> Answer {
    match request.method.as_str() {
        "GET" if request.has("list-type") => list(state, request),
        "GET" | "HEAD" => state.read(request),
        "POST" if request.has("uploads") => {
            let id = format!("u{}", state.next());
            let begun = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            state.uploads.entry(id).or_default();
            Answer::xml(begun)
        }
        "POST" => complete(state, request),
        "DELETE" => match state.uploads.remove(request.query("uploadId")) {
            Some(_) => Answer::empty(204),
            None => Answer::error(404, "NoSuchUpload"),
        },
        _ => Answer::error(405, "MethodNotAllowed"),
    }
}

pub fn part(state: &mut State, request: &Request) -> Answer {
    let number = format!("{:0>5}", request.query("partNumber"));
    let Some(upload) = state.uploads.get_mut(request.query("uploadId")) else {
        return Answer::error(404, "NoSuchUpload");
    };
    upload.insert(number, request.body.clone());
    let etag = super::hash(&request.body);
    Answer::empty(200).with("etag", etag)
}

fn complete(state: &mut State, request: &Request) -> Answer {
    let id = request.query("uploadId");
    let Some(parts) = state.uploads.get(id) else {
        return Answer::error(404, "NoSuchUpload");
    };
    let all_but_last = parts.len().saturating_sub(1);
    if parts.values().take(all_but_last).any(|p| p.len() < PART) {
        return Answer::error(400, "EntityTooSmall");
    }
    if request.text().matches("<PartNumber>").count() != parts.len() {
        return Answer::error(400, "InvalidPart");
    }
    let parts = state.uploads.remove(id).unwrap();
    let written = state.write(&request.key, parts.into_values().flatten().collect());
    let said = format!(
        "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
        written.etag
    );
    Answer::xml(said)
}

/// An object by its bytes or as a copy of another.
pub fn write(state: &mut State, request: &Request) -> Answer {
    let Some(from) = request.source() else {
        let written = state.write(&request.key, request.body.clone());
        return Answer::of(written);
    };
    let from = decode(from);
    let from = from.trim_start_matches('/').split_once('/').unwrap().1;
    let Some(bytes) = state.objects.get(from).map(|from| from.bytes.clone()) else {
        return Answer::error(404, "NoSuchKey");
    };
    let written = state.write(&request.key, bytes);
    Answer::xml(format!(
        "<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>",
        written.etag
    ))
}

fn delete_many(state: &mut State, request: &Request) -> Answer {
    let mut said = String::from("<DeleteResult>");
    for key in request.text().split("<Key>").skip(1) {
        let key = key.split("</Key>").next().unwrap();
        state.objects.remove(key);
        let _ = write!(said, "<Deleted><Key>{key}</Key></Deleted>");
    }
    Answer::xml(said + "</DeleteResult>")
}

fn list(state: &State, request: &Request) -> Answer {
    let page = state.list(request, "continuation-token");
    let truncated = page.next.is_some();
    let mut said = format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated>");
    for (key, object) in page.objects {
        let _ = write!(
            said,
            "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            object.written.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            object.etag,
            object.bytes.len()
        );
    }
    if let Some(next) = page.next {
        let _ = write!(
            said,
            "<NextContinuationToken>{next}</NextContinuationToken>"
        );
    }
    for folder in page.folders {
        let _ = write!(
            said,
            "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
        );
    }
    Answer::xml(said + "</ListBucketResult>")
}

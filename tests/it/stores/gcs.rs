//! Requests of the XML interface of Google Cloud Storage: that of S3, but for conditions on an object's generation, and for
//! deletions, which are one by one.

use super::{Answer, Request, State, s3};

pub fn answer(state: &mut State, request: &Request) -> Answer {
    match request.method.as_str() {
        "PUT" if request.has("partNumber") => s3::part(state, request),
        "PUT" => {
            let found = state.objects.get(&request.key).map_or(0, |o| o.generation);
            let wanted = request.header("x-goog-if-generation-match");
            if wanted.is_some_and(|wanted| wanted != found.to_string()) {
                return Answer::error(412, "PreconditionFailed");
            }
            let written = s3::write(state, request);
            generation(state, request, written)
        }
        "GET" | "HEAD" if !request.has("list-type") => {
            let read = s3::common(state, request);
            generation(state, request, read)
        }
        "DELETE" if !request.has("uploadId") => match state.objects.remove(&request.key) {
            Some(_) => Answer::empty(204),
            None => Answer::error(404, "NoSuchKey"),
        },
        "POST" if !request.has("uploads") && !request.has("uploadId") => {
            Answer::error(400, "InvalidArgument")
        }
        _ => s3::common(state, request),
    }
}

fn generation(state: &State, request: &Request, answer: Answer) -> Answer {
    match state.objects.get(&request.key) {
        Some(object) => answer.with("x-goog-generation", object.generation.to_string()),
        None => answer,
    }
}

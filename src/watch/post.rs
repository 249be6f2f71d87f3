//! Sends a document of JSON to whoever wants to know of runs.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// How long an endpoint may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Posts a document, with these headers beside its type. It is sent from a thread of its own, for the threads of a run are
/// busy and those of a signal have no runtime.
///
/// # Errors
/// `Kind::Io` when it is not taken within 5 s.
pub fn post(url: String, headers: Vec<(String, String)>, document: String) -> Result<()> {
    let sent = std::thread::spawn(move || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let client = reqwest::Client::builder().timeout(PATIENCE).build();
            let mut request = client
                .map_err(|e| e.to_string())?
                .post(url)
                .header("content-type", "application/json")
                .body(document);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = request.send().await.map_err(|e| in_full(&e))?;
            answer.error_for_status().map_err(|e| in_full(&e))?;
            Ok(())
        })
    });
    match sent.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Error::new(Kind::Io, e)),
        Err(_) => Err(Error::unexpected("the thread that sends ended early")),
    }
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |said, e| format!("{said}: {e}"))
}

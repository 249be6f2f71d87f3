//! Sends a document of JSON to whoever wants to know of runs.

use std::time::Duration;

use reqwest::{Response, Url};

use crate::error::{Error, Kind, Result};

/// How long an endpoint may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Posts a document, with these headers beside its type. What went wrong names the URL without its query and who asks, for
/// either may hold a key. It is sent from a thread of its own, for the threads of a run are
/// busy and those of a signal have no runtime.
///
/// # Errors
/// `Kind::Config` when the URL is none, `Kind::Io` when it is not taken within 5 s.
pub fn post(url: String, headers: Vec<(String, String)>, document: String) -> Result<()> {
    let place = place(&url)?;
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
            let answer = request.send().await.and_then(Response::error_for_status);
            answer.map(drop).map_err(|e| in_full(&e.without_url()))
        })
    });
    match sent.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Error::new(Kind::Io, format!("{place}: {e}"))),
        Err(_) => Err(Error::unexpected("the thread that sends ended early")),
    }
}

/// Where a URL leads, without anything that may be secret.
fn place(url: &str) -> Result<String> {
    let mut url = Url::parse(url).map_err(|e| Error::config(format!("its URL is none: {e}")))?;
    url.set_query(None);
    url.set_fragment(None);
    // Those that cannot have any are refused when they are posted to.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Ok(url.into())
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |said, e| format!("{said}: {e}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn trouble_names_the_place_and_no_key() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let answer = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let url = format!("http://me:planted1@{at}/v1?api_key=planted2#planted3");
        let said = || {
            let error = post(url.clone(), vec![], "{}".into()).unwrap_err();
            error.to_string()
        };
        let refused = said();
        assert!(refused.contains("503"), "{refused}");
        answering.join().unwrap();
        // Nobody listens any more.
        for said in [refused, said()] {
            assert!(said.starts_with(&format!("http://{at}/v1: ")), "{said}");
            assert!(!said.contains("planted") && !said.contains("me:"), "{said}");
        }
        let none = post("planted4?key=planted5".into(), vec![], "{}".into()).unwrap_err();
        assert!(!none.to_string().contains("planted"), "{none}");
    }
}

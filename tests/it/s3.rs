//! A store that speaks enough of S3 for its client: objects in memory, conditional writes, ranges, copies, uploads in parts,
//! listings by pages. What goes wrong on the way to a store is asked for by rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// Objects of a page of a listing: small, so that there are several.
const PAGE: usize = 50;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Status(u16),
    /// The connection ends before anything is done.
    Reset,
    /// The connection ends after it is done, without an answer.
    Unanswered,
    /// It takes so many milliseconds.
    Slow(u64),
    /// Half of the body comes.
    Short,
    /// A bit of the body is another.
    Flipped,
}

/// A request, as far as rules look at it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Below the bucket.
    pub key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Whether it copies within the store.
    pub fn copies(&self) -> bool {
        self.headers.contains_key("x-amz-copy-source")
    }
}

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    etag: String,
    written: DateTime<Utc>,
}

type Rule = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    rule: Option<Rule>,
    seen: Vec<Request>,
    counter: u64,
}

/// The store, as long as this lives.
pub struct S3 {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl S3 {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        S3 { port, state }
    }

    /// `[store]` of a pipeline file, whose client signs nothing.
    pub fn config(&self, patience: &str) -> String {
        self.options(patience, "skip_signature = \"true\"")
    }

    /// The same with a secret from the environment's `SECRET`.
    pub fn signed(&self, patience: &str) -> String {
        self.options(
            patience,
            "access_key_id = \"me\", secret_access_key = \"${SECRET}\"",
        )
    }

    fn options(&self, patience: &str, credentials: &str) -> String {
        format!(
            "\n[store]\nurl = \"s3://bucket/shop\"\npatience = \"{patience}\"\noptions = {{ endpoint = \"http://127.0.0.1:{}\", allow_http = \"true\", region = \"here\", {credentials} }}\n",
            self.port
        )
    }

    /// Has each request decide what becomes of it.
    pub fn rule(&self, rule: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&self) {
        self.state.lock().unwrap().rule = None;
    }

    /// The requests since this was last asked.
    pub fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.objects.get(key).map(|o| o.bytes.clone())
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state
            .objects
            .insert(key.into(), Object::new(bytes.to_vec()));
    }

    /// Parts of uploads that nobody completed or gave up.
    pub fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Has what lies below a prefix be written so long ago.
    pub fn age(&self, prefix: &str, age: Duration) {
        let mut state = self.state.lock().unwrap();
        for (key, object) in &mut state.objects {
            if key.starts_with(prefix) {
                object.written = DateTime::<Utc>::from(SystemTime::now() - age);
            }
        }
    }
}

impl Object {
    fn new(bytes: Vec<u8>) -> Self {
        let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&bytes));
        Object {
            bytes,
            etag,
            written: Utc::now(),
        }
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn status(status: u16) -> Self {
        let body = format!("<Error><Code>Code{status}</Code></Error>").into_bytes();
        Answer {
            status,
            headers: vec![],
            body: if status == 204 { vec![] } else { body },
        }
    }

    fn xml(body: String) -> Self {
        Answer {
            status: 200,
            headers: vec![("content-type", "application/xml".into())],
            body: body.into_bytes(),
        }
    }

    fn of(object: &Object) -> Self {
        Answer {
            status: 200,
            headers: vec![
                ("etag", object.etag.clone()),
                (
                    "last-modified",
                    object
                        .written
                        .format("%a, %d %b %Y %H:%M:%S GMT")
                        .to_string(),
                ),
            ],
            body: vec![],
        }
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let (fault, answer) = {
            let mut state = state.lock().unwrap();
            state.seen.push(request.clone());
            let fault = state.rule.as_mut().and_then(|rule| rule(&request));
            let answer = match fault {
                Some(Fault::Status(status)) => Answer::status(status),
                Some(Fault::Reset) => break,
                _ => state.answer(&request),
            };
            (fault, answer)
        };
        match fault {
            Some(Fault::Unanswered) => break,
            Some(Fault::Slow(ms)) => thread::sleep(Duration::from_millis(ms)),
            _ => {}
        }
        if write(&stream, &request, answer, fault).is_err() || fault == Some(Fault::Short) {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn write(
    mut stream: &TcpStream,
    request: &Request,
    mut answer: Answer,
    fault: Option<Fault>,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", answer.body.len());
    if fault == Some(Fault::Flipped)
        && let Some(byte) = answer.body.last_mut()
    {
        *byte ^= 1;
    }
    stream.write_all(head.as_bytes())?;
    match (request.method.as_str(), fault) {
        ("HEAD", _) => Ok(()),
        (_, Some(Fault::Short)) => stream.write_all(&answer.body[..answer.body.len() / 2]),
        _ => stream.write_all(&answer.body),
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let line = line(reader)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let line = self::line(reader)?;
        match line.split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_string())
            }
            None => break,
        };
    }
    let mut body = vec![];
    if headers
        .get("transfer-encoding")
        .is_some_and(|t| t == "chunked")
    {
        loop {
            let length = usize::from_str_radix(&self::line(reader)?, 16).ok()?;
            let start = body.len();
            body.resize(start + length, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            self::line(reader)?;
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = decode(path.trim_start_matches('/'));
    let (_bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let query = query.split('&').filter(|q| !q.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    Some(Request {
        method,
        key: key.to_string(),
        query: query.collect(),
        headers,
        body,
    })
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_string())
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (vec![], 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let has = |name: &str| request.query.contains_key(name);
        match request.method.as_str() {
            "GET" if has("list-type") => self.list(request),
            "GET" | "HEAD" => self.read(request),
            "POST" if has("delete") => self.delete_many(request),
            "POST" if has("uploads") => {
                self.counter += 1;
                let id = format!("u{}", self.counter);
                self.uploads.insert(id.clone(), BTreeMap::new());
                Answer::xml(format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            "POST" => {
                let Some(parts) = self.uploads.remove(&request.query["uploadId"]) else {
                    return Answer::status(404);
                };
                let object = Object::new(parts.into_values().flatten().collect());
                let etag = object.etag.clone();
                self.objects.insert(request.key.clone(), object);
                Answer::xml(format!(
                    "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
                ))
            }
            "PUT" if has("partNumber") => {
                let number = request.query["partNumber"].parse().unwrap();
                let Some(upload) = self.uploads.get_mut(&request.query["uploadId"]) else {
                    return Answer::status(404);
                };
                let part = Object::new(request.body.clone());
                upload.insert(number, request.body.clone());
                Answer::of(&part)
            }
            "PUT" => self.write(request),
            "DELETE" => {
                if let Some(upload) = request.query.get("uploadId") {
                    self.uploads.remove(upload);
                } else {
                    self.objects.remove(&request.key);
                }
                Answer::status(204)
            }
            _ => Answer::status(405),
        }
    }

    fn read(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else {
            return Answer::status(404);
        };
        let mut answer = Answer::of(object);
        answer.body.clone_from(&object.bytes);
        let range = request
            .headers
            .get("range")
            .and_then(|r| r.strip_prefix("bytes="));
        if let Some((from, to)) = range.and_then(|r| r.split_once('-')) {
            let from: usize = from.parse().unwrap();
            let to = to
                .parse()
                .map_or(object.bytes.len(), |to: usize| to + 1)
                .min(object.bytes.len());
            answer.status = 206;
            answer.headers.push((
                "content-range",
                format!("bytes {from}-{}/{}", to - 1, object.bytes.len()),
            ));
            answer.body = object.bytes[from..to].to_vec();
        }
        answer
    }

    fn write(&mut self, request: &Request) -> Answer {
        let found = self.objects.get(&request.key);
        if request.headers.contains_key("if-none-match") && found.is_some() {
            return Answer::status(412);
        }
        if let Some(wanted) = request.headers.get("if-match") {
            match found {
                None => return Answer::status(404),
                Some(found) if found.etag != *wanted => return Answer::status(412),
                _ => {}
            }
        }
        let bytes = match request.headers.get("x-amz-copy-source") {
            None => request.body.clone(),
            Some(from) => {
                let from = decode(from);
                let from = from.trim_start_matches('/').split_once('/').unwrap().1;
                match self.objects.get(from) {
                    Some(from) => from.bytes.clone(),
                    None => return Answer::status(404),
                }
            }
        };
        let object = Object::new(bytes);
        let answer = if request.copies() {
            Answer::xml(format!(
                "<CopyObjectResult><ETag>{}</ETag></CopyObjectResult>",
                object.etag
            ))
        } else {
            Answer::of(&object)
        };
        self.objects.insert(request.key.clone(), object);
        answer
    }

    fn delete_many(&mut self, request: &Request) -> Answer {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let keys = body
            .split("<Key>")
            .skip(1)
            .map(|rest| rest.split("</Key>").next().unwrap());
        let mut said = String::from("<DeleteResult>");
        for key in keys {
            self.objects.remove(key);
            let _ = write!(said, "<Deleted><Key>{key}</Key></Deleted>");
        }
        Answer::xml(said + "</DeleteResult>")
    }

    fn list(&self, request: &Request) -> Answer {
        let text = |name: &str| request.query.get(name).map_or("", String::as_str);
        let (prefix, delimiter, after) = (
            text("prefix"),
            text("delimiter"),
            text("continuation-token"),
        );
        let mut said = String::from("<ListBucketResult>");
        let mut folders = std::collections::BTreeSet::new();
        let mut listed = 0;
        let keys = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix));
        for (key, object) in keys.filter(|(key, _)| key.as_str() > after) {
            let rest = &key[prefix.len()..];
            if let Some(at) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                folders.insert(format!("{prefix}{}", &rest[..=at]));
                continue;
            }
            let _ = write!(
                said,
                "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                object.written.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
                object.etag,
                object.bytes.len()
            );
            listed += 1;
            if listed == PAGE {
                let _ = write!(said, "<NextContinuationToken>{key}</NextContinuationToken>");
                break;
            }
        }
        for folder in folders {
            let _ = write!(
                said,
                "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
            );
        }
        Answer::xml(said + "</ListBucketResult>")
    }
}

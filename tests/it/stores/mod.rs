//! A store that speaks enough of S3, of Google Cloud Storage or of Azure Blob for their clients: objects in memory, conditional
//! writes, ranges, copies, uploads in parts, listings by pages. What goes wrong on the way to a store is asked for by rules.

mod azure;
mod gcs;
mod s3;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tempfile::TempDir;

/// Objects of a page of a listing: small, so that there are several.
const PAGE: usize = 50;

/// Which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    S3,
    Gcs,
    Azure,
}

impl Kind {
    fn no_bucket(self) -> &'static str {
        match self {
            Kind::S3 | Kind::Gcs => "NoSuchBucket",
            Kind::Azure => "ContainerNotFound",
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Status(u16),
    /// There is no such bucket or container.
    NoBucket,
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
        self.source().is_some()
    }

    /// What it copies, as the store is told.
    fn source(&self) -> Option<&str> {
        let named = [
            "x-amz-copy-source",
            "x-goog-copy-source",
            "x-ms-copy-source",
        ];
        named.into_iter().find_map(|name| self.header(name))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn has(&self, query: &str) -> bool {
        self.query.contains_key(query)
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    etag: String,
    /// Which of all writes it is.
    generation: u64,
    written: DateTime<Utc>,
}

/// What a listing has, and the last of its keys where more follow.
struct Page<'s> {
    objects: Vec<(&'s String, &'s Object)>,
    folders: BTreeSet<String>,
    next: Option<&'s str>,
}

type Rule = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

struct State {
    kind: Kind,
    objects: BTreeMap<String, Object>,
    /// By id, or by key where uploads have none; of each the parts.
    uploads: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// After how many listings a copy is done.
    copies_take: usize,
    copies: Vec<(usize, String, Vec<u8>)>,
    rule: Option<Rule>,
    seen: Vec<Request>,
    counter: u64,
}

/// The store, as long as this lives.
pub struct Server {
    kind: Kind,
    port: u16,
    state: Arc<Mutex<State>>,
    /// For what its client reads from a file.
    dir: TempDir,
}

impl Server {
    pub fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            kind,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            copies_take: 0,
            copies: vec![],
            rule: None,
            seen: vec![],
            counter: 0,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        let dir = TempDir::new().unwrap();
        let server = Server {
            kind,
            port,
            state,
            dir,
        };
        std::fs::write(server.account(), server.secret("no key at all")).unwrap();
        server
    }

    /// The file of a service account.
    fn account(&self) -> PathBuf {
        self.dir.path().join("account.json")
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where a pipeline publishes to.
    pub fn url(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "s3://bucket/shop",
            Kind::Gcs => "gs://bucket/shop",
            Kind::Azure => "az://bucket/shop",
        }
    }

    /// `[store]` of a pipeline file, with all that the client needs.
    pub fn config(&self, patience: &str) -> String {
        let endpoint = self.endpoint();
        let options = match self.kind {
            Kind::S3 => format!(
                "endpoint = \"{endpoint}\", allow_http = \"true\", region = \"here\", skip_signature = \"true\""
            ),
            Kind::Gcs => format!("service_account_path = \"{}\"", self.account().display()),
            Kind::Azure => format!(
                "endpoint = \"{endpoint}\", allow_http = \"true\", account_name = \"account\", skip_signature = \"true\""
            ),
        };
        self.options(patience, &options)
    }

    /// The same with what is secret from the environment's `SECRET`, and the rest from the variables that the client reads.
    pub fn signed(&self, patience: &str) -> String {
        let option = match self.kind {
            Kind::S3 => "secret_access_key",
            Kind::Gcs => "service_account_key",
            Kind::Azure => "account_key",
        };
        self.options(patience, &format!("{option} = \"${{SECRET}}\""))
    }

    /// Variables of the environment that go with [`Server::signed`], and what `SECRET` has to be for it to contain `planted`.
    pub fn variables(&self, planted: &str) -> Vec<(&'static str, String)> {
        let mut all = match self.kind {
            Kind::S3 => vec![
                ("AWS_ENDPOINT", self.endpoint()),
                ("AWS_ALLOW_HTTP", "true".into()),
                ("AWS_REGION", "here".into()),
                ("AWS_ACCESS_KEY_ID", "me".into()),
            ],
            Kind::Gcs => vec![],
            Kind::Azure => vec![
                ("AZURE_STORAGE_ENDPOINT", self.endpoint()),
                ("AZURE_ALLOW_HTTP", "true".into()),
                ("AZURE_STORAGE_ACCOUNT_NAME", "account".into()),
            ],
        };
        all.push(("SECRET", self.secret(planted)));
        all
    }

    fn secret(&self, planted: &str) -> String {
        match self.kind {
            Kind::S3 | Kind::Azure => planted.to_string(),
            Kind::Gcs => format!(
                "{{\"private_key\": \"{planted}\", \"private_key_id\": \"1\",\n \"client_email\": \"me\", \"disable_oauth\": true, \"gcs_base_url\": \"{}\"}}",
                self.endpoint()
            ),
        }
    }

    fn options(&self, patience: &str, options: &str) -> String {
        format!(
            "\n[store]\nurl = \"{}\"\npatience = \"{patience}\"\noptions = {{ {options} }}\n",
            self.url()
        )
    }

    /// Has copies be done only after so many listings, where the store does not do them at once.
    pub fn copies_take(&self, lists: usize) {
        self.state.lock().unwrap().copies_take = lists;
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
        self.state.lock().unwrap().write(key, bytes.to_vec());
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

/// The tag of a content, as of a store that tags by it.
fn hash(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(bytes))
}

fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn empty(status: u16) -> Self {
        Answer {
            status,
            headers: vec![],
            body: vec![],
        }
    }

    fn error(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code></Error>").into_bytes();
        Answer {
            body,
            ..Self::empty(status)
        }
    }

    fn xml(body: String) -> Self {
        let body = body.into_bytes();
        let answer = Answer {
            body,
            ..Self::empty(200)
        };
        answer.with("content-type", "application/xml".into())
    }

    fn of(object: &Object) -> Self {
        let written = http_date(object.written);
        let answer = Self::empty(200).with("etag", object.etag.clone());
        answer.with("last-modified", written)
    }

    fn with(mut self, header: &'static str, value: String) -> Self {
        self.headers.push((header, value));
        self
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
                Some(Fault::Status(status)) => Answer::error(status, &format!("Code{status}")),
                Some(Fault::NoBucket) => Answer::error(404, state.kind.no_bucket()),
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
        match self.kind {
            Kind::S3 => s3::answer(self, request),
            Kind::Gcs => gcs::answer(self, request),
            Kind::Azure => azure::answer(self, request),
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn write(&mut self, key: &str, bytes: Vec<u8>) -> &Object {
        let generation = self.next();
        let etag = match self.kind {
            Kind::S3 | Kind::Gcs => hash(&bytes),
            // No content has the same tag twice.
            Kind::Azure => format!("\"0x8D{generation:013X}\""),
        };
        let object = Object {
            bytes,
            etag,
            generation,
            written: Utc::now(),
        };
        self.objects.insert(key.to_string(), object);
        &self.objects[key]
    }

    fn read(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else {
            return Answer::error(404, "NoSuchKey");
        };
        let mut answer = Answer::of(object);
        let range = request.header("range");
        let range = range.and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
        let Some((from, to)) = range else {
            answer.body.clone_from(&object.bytes);
            return answer;
        };
        let (all, to) = (object.bytes.len(), to.parse().ok());
        let (from, to): (usize, usize) = match (from.parse().ok(), to) {
            (Some(from), to) => (from, to.map_or(all, |to: usize| to + 1).min(all)),
            // The last bytes, so many.
            (None, last) => (all - last.unwrap_or(0).min(all), all),
        };
        answer.status = 206;
        answer.body = object.bytes[from..to].to_vec();
        answer.with("content-range", format!("bytes {from}-{}/{all}", to - 1))
    }

    fn list(&self, request: &Request, token: &str) -> Page<'_> {
        let (prefix, after) = (request.query("prefix"), request.query(token));
        let delimiter = request.query("delimiter");
        let mut page = Page {
            objects: vec![],
            folders: BTreeSet::new(),
            next: None,
        };
        let keys = self.objects.iter();
        let keys = keys.filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        for (key, object) in keys {
            let rest = &key[prefix.len()..];
            if let Some(at) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                page.folders.insert(format!("{prefix}{}", &rest[..=at]));
                continue;
            }
            page.objects.push((key, object));
            if page.objects.len() == PAGE {
                page.next = Some(key);
                break;
            }
        }
        page
    }
}

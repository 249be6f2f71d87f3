//! An object store, as the rest of the program sees it: blocking calls, errors that name the store and the object and never a
//! secret.
//!
//! The client is asynchronous and lives on threads of its own. So a heartbeat beats while stages keep every core busy, and
//! whoever calls waits as for a disk.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    Error as Refused, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions,
    PutPayload, RetryConfig, UpdateVersion,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use super::manifest::Entry;
use crate::config::{Store, store::is_secret};
use crate::disk::{make_dir, remove_dir};
use crate::engine::hex;
use crate::error::{Error, Result};

/// Objects that the store copies at a time.
const COPIES: usize = 32;
/// An object that is written to learn what time it is.
const CLOCK: &str = "clock";
/// Files that are sent or fetched at a time; with the parts of each under way about 128 MiB.
const TRANSFERS: usize = 4;
/// Bytes of a part of a large object, and what is read of a file at a time.
const PART: usize = 8 << 20;
/// Parts of one object that are under way at a time.
const PARTS: usize = 2;
/// How often a conditional write is begun again whose answer was lost.
const SWAPS: u32 = 4;
/// What stores say where there is no such bucket, or container.
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];
/// Where a cloud's machines get credentials of their own.
const METADATA: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];
/// Longest that one request may take.
const REQUEST: &str = "120s";

/// What tells one content of an object from the next.
pub type Version = UpdateVersion;

/// An object and what it holds.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Which content this is.
    pub version: Version,
    /// When it was written, by the store's clock.
    pub written: DateTime<Utc>,
}

/// What a folder of the store lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Below the folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub written: DateTime<Utc>,
}

/// A prefix of a store.
#[derive(Debug)]
pub struct Remote {
    client: Arc<Client>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    patience: Duration,
}

/// The asynchronous side of a [`Remote`].
#[derive(Debug)]
pub struct Client {
    url: String,
    store: Box<dyn ObjectStore>,
    prefix: Key,
    /// The folder, where the store is a mounted file system.
    folder: Option<PathBuf>,
    /// What no message may contain.
    secrets: Vec<String>,
}

impl Remote {
    /// The store that a pipeline file names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Kind::Config` when the URL or an option is wrong.
    pub fn open(config: &Store) -> Result<Remote> {
        let options = config.resolved()?;
        let location = config.location()?;
        let wrong = |what: &str| Error::config(format!("[store] url: {what}"));
        let url =
            reqwest::Url::parse(&location).map_err(|e| wrong(&format!("this is no URL: {e}")))?;
        // abfss://container@account.dfs.core.windows.net/prefix
        let container = url.scheme().starts_with("abfs");
        let user = !url.username().is_empty() && !container;
        if user || url.password().is_some() || url.query().is_some() {
            return Err(wrong("it holds more than a place")
                .help("give credentials in the environment or under `[store] options`"));
        }
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| {
            wrong(&format!("`{}` is no store that is known", url.scheme()))
                .help("write s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix or file:///folder")
        })?;
        let secrets = secrets(&options);
        let patience = config.patience.0.to_std().unwrap_or_default();
        let retry = RetryConfig {
            max_retries: 20,
            retry_timeout: patience,
            ..RetryConfig::default()
        };
        let refused = |e: Refused| {
            let said = scrub(&e.to_string(), &secrets);
            let error = Error::config(format!("[store]: {said}"));
            match said.contains("Account must be specified") {
                true => error.help(
                    "set AZURE_STORAGE_ACCOUNT_NAME, or `account_name` in `[store] options`, or write abfss://container@account.dfs.core.windows.net/prefix",
                ),
                false => error,
            }
        };
        // Each client has its own type of key.
        macro_rules! client {
            ($builder:ty) => {{
                let mut builder = <$builder>::from_env().with_url(location.as_str());
                let request = ("timeout".to_string(), REQUEST.to_string());
                for (key, value) in std::iter::once(request).chain(options) {
                    let known = key.parse().map_err(|_| {
                        Error::config(format!(
                            "`[store] options.{key}` is no setting of this store's client"
                        ))
                    })?;
                    builder = builder.with_config(known, value);
                }
                Box::new(builder.with_retry(retry).build().map_err(refused)?) as _
            }};
        }
        let mut folder = None;
        let (store, prefix): (Box<dyn ObjectStore>, Key) = match scheme {
            ObjectStoreScheme::AmazonS3 => (client!(AmazonS3Builder), prefix),
            ObjectStoreScheme::GoogleCloudStorage => (client!(GoogleCloudStorageBuilder), prefix),
            ObjectStoreScheme::MicrosoftAzure => (client!(MicrosoftAzureBuilder), prefix),
            ObjectStoreScheme::Local => {
                let path = url
                    .to_file_path()
                    .map_err(|()| wrong("this is no path of a folder"))?;
                make_dir(&path)?;
                let store = LocalFileSystem::new_with_prefix(&path).map_err(refused)?;
                folder = Some(path);
                (Box::new(store), Key::default())
            }
            _ => {
                return Err(wrong(
                    "only s3, gs, az and file are stores that tables can lie in",
                ));
            }
        };
        Self::with(
            location.trim_end_matches('/').to_string(),
            store,
            prefix,
            folder,
            secrets,
            patience,
        )
    }

    fn with(
        url: String,
        store: Box<dyn ObjectStore>,
        prefix: Key,
        folder: Option<PathBuf>,
        secrets: Vec<String>,
        patience: Duration,
    ) -> Result<Remote> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|e| Error::unexpected(format!("cannot start the store's threads: {e}")))?;
        let client = Client {
            url,
            store,
            prefix,
            folder,
            secrets,
        };
        Ok(Remote {
            client: Arc::new(client),
            runtime: Some(runtime),
            patience,
        })
    }

    /// A store in memory.
    #[cfg(test)]
    pub fn in_memory() -> Remote {
        let store = Box::new(object_store::memory::InMemory::new());
        let patience = Duration::from_secs(1);
        Self::with(
            "memory:".into(),
            store,
            Key::default(),
            None,
            vec![],
            patience,
        )
        .unwrap()
    }

    /// The URL, as messages name it.
    pub fn url(&self) -> &str {
        &self.client.url
    }

    /// How long something that does not work is tried again.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The folder, where the store is a mounted one.
    pub fn mounted(&self) -> Option<&Path> {
        self.client.folder.as_deref()
    }

    /// The asynchronous side, for what goes on beside the caller.
    pub fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// Starts `work` on the store's own threads.
    pub fn spawn(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<()>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(work))
    }

    /// Does `work` on the store's own threads and waits for it.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn wait<T, F>(&self, work: impl FnOnce(Arc<Client>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (done, result) = mpsc::channel();
        let work = work(self.client());
        self.spawn(async move {
            // Whoever asked is gone only when its thread has panicked.
            let _ = done.send(work.await);
        });
        result
            .recv()
            .unwrap_or_else(|_| Err(Error::unexpected("the store's threads ended")))
    }

    /// An object; `None` where there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&self, name: &str) -> Result<Option<Object>> {
        let name = name.to_string();
        self.wait(|client| async move { client.get(&name).await })
    }

    /// What time it is by the store's clock, which this machine's need not agree with: that of an object written now.
    ///
    /// # Errors
    /// Those of the store.
    pub fn now(&self) -> Result<DateTime<Utc>> {
        self.put(CLOCK, vec![])?;
        let written = self.get(CLOCK)?.map(|object| object.written);
        Ok(written.unwrap_or_else(Utc::now))
    }

    /// Writes an object, whatever was there.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let name = name.to_string();
        self.wait(|client| async move { client.put(&name, bytes).await })
    }

    /// Writes an object if what is there is still `expected`, or nothing where that is `None`. `None` when it is not.
    ///
    /// `bytes` must be such that nobody else writes the same.
    ///
    /// # Errors
    /// Those of the store. Whether the object was written is then not known.
    pub fn swap(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<Version>,
    ) -> Result<Option<Version>> {
        let name = name.to_string();
        self.wait(|client| async move { client.swap(&name, bytes, expected).await })
    }

    /// All objects below a folder, sorted by name.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let folder = folder.to_string();
        self.wait(|client| async move { client.list(&folder).await })
    }

    /// The names of the folders in a folder, sorted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let folder = folder.to_string();
        self.wait(|client| async move { client.folders(&folder).await })
    }

    /// Removes a folder with all objects below it. The object `last` goes last, so that as long as anything is there it is, too.
    ///
    /// # Errors
    /// Those of the store.
    pub fn remove(&self, folder: &str, last: &str) -> Result<()> {
        let (folder, last) = (folder.to_string(), last.to_string());
        self.wait(|client| async move {
            let listed = client.list(&folder).await?;
            let names = listed.into_iter().map(|listed| listed.name);
            let (end, begin): (Vec<_>, Vec<_>) = names.partition(|name| *name == last);
            client.delete(&folder, begin).await?;
            client.delete(&folder, end).await?;
            // A mounted one has folders, too, and halves of files that no listing has.
            let mounted = client.folder.as_ref().map(|root| root.join(&folder));
            mounted.map_or(Ok(()), |dir| remove_dir(&dir))
        })
    }

    /// Removes objects of a folder. One that is not there is no error.
    ///
    /// # Errors
    /// Those of the store.
    pub fn remove_each(&self, folder: &str, names: Vec<String>) -> Result<()> {
        let folder = folder.to_string();
        self.wait(|client| async move { client.delete(&folder, names).await })
    }

    /// Copies files of one folder of the store to another, by the store itself.
    ///
    /// # Errors
    /// Those of the store.
    pub fn copy(&self, from: &str, to: &str, files: Vec<Entry>) -> Result<()> {
        let (from, to) = (from.to_string(), to.to_string());
        self.many(COPIES, files, move |client, file| {
            let (from, to) = (
                format!("{from}/{}", file.path),
                format!("{to}/{}", file.path),
            );
            async move { client.copy(&from, &to).await }
        })
    }

    /// Sends files below the folder `from` of this machine to a folder of the store.
    ///
    /// # Errors
    /// Those of the store and of the file system; `Kind::Io` when a file is no longer what the manifest says.
    pub fn upload(&self, from: &Path, to: &str, files: Vec<Entry>) -> Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_string());
        self.many(TRANSFERS, files, move |client, file| {
            let (path, name) = (from.join(&file.path), format!("{to}/{}", file.path));
            async move { client.upload(&path, &name, &file).await }
        })
    }

    /// Fetches files of a folder of the store into the folder `to` of this machine, whole or not at all each.
    ///
    /// # Errors
    /// Those of the store and of the file system; `Kind::Io` when what comes is not what the manifest says.
    pub fn download(&self, from: &str, to: &Path, files: Vec<Entry>) -> Result<()> {
        let (from, to) = (from.to_string(), to.to_path_buf());
        self.many(TRANSFERS, files, move |client, file| {
            let (name, path) = (format!("{from}/{}", file.path), to.join(&file.path));
            async move { client.download(&name, &path, &file).await }
        })
    }

    /// Fetches objects of a folder, by the names that a listing has of them, each into the file that stands with it.
    ///
    /// # Errors
    /// Those of the store and of the file system.
    pub fn fetch(&self, folder: &str, files: Vec<(String, PathBuf)>) -> Result<()> {
        let folder = folder.to_string();
        self.many(TRANSFERS, files, move |client, (name, path)| {
            let folder = folder.clone();
            async move {
                let key = client.listed(&folder, &name)?;
                let name = format!("{folder}/{name}");
                client.receive(&key, &name, &path).await.map(drop)
            }
        })
    }

    fn many<T, F>(
        &self,
        at_once: usize,
        files: Vec<T>,
        work: impl Fn(Arc<Client>, T) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        T: Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.wait(|client| async move {
            stream::iter(files)
                .map(move |file| work(Arc::clone(&client), file))
                .buffer_unordered(at_once)
                .try_collect::<Vec<()>>()
                .await
                .map(drop)
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The ordinary way waits, which is refused where other asynchronous work is done.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The name under which a folder of the store lists a file: some characters are escaped there.
pub fn listed_as(path: &str) -> String {
    path.split('/').collect::<Key>().to_string()
}

impl Client {
    fn key(&self, name: &str) -> Key {
        // Parts of a path may hold any character: each is escaped where it has to be.
        let prefix = self.prefix.clone();
        name.split('/')
            .filter(|part| !part.is_empty())
            .fold(prefix, Key::join)
    }

    /// The key of what a listing of a folder names, which is escaped already.
    fn listed(&self, folder: &str, name: &str) -> Result<Key> {
        Key::parse(format!("{}/{name}", self.key(folder)))
            .map_err(|e| self.failed("name", &format!("{folder}/{name}"), &e.into()))
    }

    /// As [`Remote::get`].
    pub async fn get(&self, name: &str) -> Result<Option<Object>> {
        let failed = |e| self.failed("read", name, &e);
        let found = match self.store.get(&self.key(name)).await {
            Err(Refused::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let (version, written) = (
            Version {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            },
            found.meta.last_modified,
        );
        let bytes = found.bytes().await.map_err(failed)?.to_vec();
        Ok(Some(Object {
            bytes,
            version,
            written,
        }))
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let put = self.store.put(&self.key(name), bytes.into()).await;
        put.map(drop).map_err(|e| self.failed("write", name, &e))
    }

    /// As [`Remote::swap`].
    pub async fn swap(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<Version>,
    ) -> Result<Option<Version>> {
        let mut pause = Duration::from_millis(200);
        let mut left = SWAPS;
        loop {
            let Err(error) = self.try_swap(name, bytes.clone(), expected.clone()).await else {
                // A store may answer without a version.
                let found = self.get(name).await?;
                return Ok(found.filter(|f| f.bytes == bytes).map(|f| f.version));
            };
            left -= 1;
            let lost = matches!(
                error,
                Refused::AlreadyExists { .. } | Refused::Precondition { .. }
            );
            let failed = self.failed("replace", name, &error);
            if !lost && !failed.retryable() {
                return Err(failed);
            }
            // The answer to a write that was done may have been lost on the way; its repetition then meets itself.
            match self.get(name).await {
                Ok(Some(found)) if found.bytes == bytes => return Ok(Some(found.version)),
                Ok(_) if lost => return Ok(None),
                Ok(_) if left > 0 => tokio::time::sleep(pause).await,
                _ => return Err(failed),
            }
            pause *= 2;
        }
    }

    async fn try_swap(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<Version>,
    ) -> Result<(), Refused> {
        let key = self.key(name);
        let payload = PutPayload::from(bytes);
        let Some(expected) = expected else {
            let create = PutOptions::from(PutMode::Create);
            return self.store.put_opts(&key, payload, create).await.map(drop);
        };
        let Some(folder) = &self.folder else {
            let update = PutOptions::from(PutMode::Update(expected));
            return self.store.put_opts(&key, payload, update).await.map(drop);
        };
        // A file system compares nothing: whoever writes here by this program waits for its turn.
        let _turn = File::create(folder.join(".turn"))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|e| Refused::Generic {
                store: "file",
                source: Box::new(e),
            })?;
        let found = self.store.head(&key).await?;
        if found.e_tag != expected.e_tag {
            return Err(Refused::Precondition {
                path: key.to_string(),
                source: "it was replaced".into(),
            });
        }
        self.store.put(&key, payload).await.map(drop)
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let key = self.key(folder);
        let found = self.store.list(Some(&key)).map_ok(|meta| {
            let below = meta.location.prefix_match(&key).map(|parts| {
                let parts: Vec<_> = parts.map(|p| p.as_ref().to_string()).collect();
                parts.join("/")
            });
            Listed {
                name: below.unwrap_or_default(),
                bytes: meta.size,
                written: meta.last_modified,
            }
        });
        let found = found.try_collect::<Vec<_>>().await;
        let mut found = found.map_err(|e| self.failed("list", folder, &e))?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self
            .store
            .list_with_delimiter(Some(&self.key(folder)))
            .await;
        let listed = listed.map_err(|e| self.failed("list", folder, &e))?;
        let names = listed.common_prefixes.iter().filter_map(|p| p.filename());
        let mut names: Vec<String> = names.map(str::to_string).collect();
        names.sort();
        Ok(names)
    }

    async fn delete(&self, folder: &str, names: Vec<String>) -> Result<()> {
        let keys = names.iter().map(|name| self.listed(folder, name));
        let keys = keys.collect::<Result<Vec<_>>>()?.into_iter().map(Ok);
        let deleted = self.store.delete_stream(stream::iter(keys).boxed());
        let gone = |result: Result<Key, Refused>| match result {
            Ok(_) | Err(Refused::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("remove what is in", folder, &e)),
        };
        deleted.map(gone).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let copied = self.store.copy(&self.key(from), &self.key(to)).await;
        copied.map_err(|e| self.failed(&format!("copy {from} to"), to, &e))
    }

    async fn upload(&self, path: &Path, name: &str, file: &Entry) -> Result<()> {
        let io = |e| Error::io("cannot read", path, &e);
        let failed = |e| self.failed("write", name, &e);
        let source = File::open(path).map_err(io)?;
        let mut hash = Sha256::new();
        let mut next = || -> Result<Option<Vec<u8>>> {
            let mut part = vec![];
            let mut more = (&source).take(PART as u64);
            more.read_to_end(&mut part).map_err(io)?;
            hash.update(&part);
            Ok((!part.is_empty()).then_some(part))
        };
        let key = self.key(name);
        if file.bytes < PART as u64 {
            let bytes = next()?.unwrap_or_default();
            file.confirm(bytes.len() as u64, &hex(&hash.finalize()), &path.display())?;
            return self.put(name, bytes).await;
        }
        let mut upload = self.store.put_multipart(&key).await.map_err(failed)?;
        let mut sent = 0;
        let parts = stream::iter(std::iter::from_fn(|| next().transpose()));
        let sending = parts
            .map_ok(|part| {
                sent += part.len() as u64;
                upload.put_part(part.into()).map_err(failed)
            })
            .try_buffer_unordered(PARTS)
            .try_collect::<Vec<()>>();
        let mut ended = sending.await.map(drop);
        if ended.is_ok() {
            ended = file.confirm(sent, &hex(&hash.finalize()), &path.display());
        }
        if ended.is_ok() {
            ended = upload.complete().await.map(drop).map_err(failed);
        }
        // Parts of an upload that was never completed cost money until a rule of the bucket removes them.
        if ended.is_err()
            && let Err(e) = upload.abort().await
            && !matches!(e, Refused::NotFound { .. })
        {
            tracing::warn!(error = %self.failed("abandon", name, &e), "parts of an upload stay");
        }
        ended
    }

    async fn download(&self, name: &str, path: &Path, file: &Entry) -> Result<()> {
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        let new = path.with_added_extension("new");
        let (bytes, hash) = self.receive(&self.key(name), name, &new).await?;
        file.confirm(bytes, &hash, &format!("{}/{name}", self.url))?;
        std::fs::rename(&new, path).map_err(|e| Error::io("cannot write", path, &e))
    }

    /// Writes an object into a file. Gives its length and hash.
    async fn receive(&self, key: &Key, name: &str, path: &Path) -> Result<(u64, String)> {
        let io = |e| Error::io("cannot write", path, &e);
        let failed = |e| self.failed("read", name, &e);
        let mut target = File::create(path).map_err(io)?;
        let found = self.store.get(key).await.map_err(failed)?;
        let mut found = found.into_stream();
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        while let Some(part) = found.try_next().await.map_err(failed)? {
            hash.update(&part);
            bytes += part.len() as u64;
            target.write_all(&part).map_err(io)?;
        }
        target.sync_all().map_err(io)?;
        Ok((bytes, hex(&hash.finalize())))
    }

    /// What the store's client says, as an error of ours.
    fn failed(&self, doing: &str, name: &str, error: &Refused) -> Error {
        let said = scrub(&error.to_string(), &self.secrets);
        let message = format!("cannot {doing} {}/{name}: {said}", self.url);
        let passing = Error::new(crate::error::Kind::Io, message.clone());
        let answered = |codes: &[&str]| {
            codes
                .iter()
                .any(|code| said.contains(&format!("status code: {code}")))
        };
        let denied = answered(&["401", "403"])
            || matches!(
                error,
                Refused::PermissionDenied { .. } | Refused::Unauthenticated { .. }
            );
        match error {
            // Without any, clients ask the service by which a cloud gives its machines theirs.
            Refused::Generic { .. } if METADATA.iter().any(|host| said.contains(host)) => passing.help(
                "no credentials are set, and this machine could not get its own: set them in the environment or as `[store] options`; where it has a role or a managed identity, run the same command again",
            ),
            // What a listing or a batch is refused is told as anything else is.
            _ if denied => {
                Error::config(message).help(
                    "give credentials that may read, write, list and delete there, in the environment or as `[store] options`",
                )
            }
            Refused::NotImplemented { .. } | Refused::NotSupported { .. } => Error::config(message)
                .help("publishing needs a store that replaces an object only where it is still the one that was read"),
            _ if NO_BUCKET.iter().any(|code| said.contains(code)) => {
                Error::config(message).help("make the bucket or container, or correct `[store] url`")
            }
            Refused::InvalidPath { .. } | Refused::UnknownConfigurationKey { .. } => Error::config(message),
            Refused::Generic { .. } if said.contains("redirect without LOCATION") => {
                Error::config(message).help("set the bucket's region: `[store] options = { region = \"…\" }`")
            }
            Refused::Generic { .. } if answered(&["400", "404", "405", "411", "501"]) => {
                Error::config(message)
            }
            _ => passing.help("the store may answer again later: run the same command again"),
        }
    }
}

/// The values of options and of the environment's variables that clients of stores read, where they are secrets.
fn secrets(options: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    let options = options.iter().map(|(k, v)| (k.clone(), v.clone()));
    let ours = |key: &str| {
        ["AWS_", "AZURE_", "GOOGLE_"]
            .iter()
            .any(|p| key.starts_with(p))
    };
    let variables = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(key, _)| ours(key));
    options
        .chain(variables)
        .filter(|(key, value)| is_secret(key) && !value.is_empty())
        .map(|(_, value)| value)
        .collect()
}

/// A message on one line, of bounded length, without secrets.
fn scrub(message: &str, secrets: &[String]) -> String {
    let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut message = on_one_line(message);
    for secret in secrets {
        // A key of several lines may be quoted in part, or with its line breaks written out.
        let lines = secret.lines().filter(|line| line.len() >= 16);
        for part in std::iter::once(secret.as_str())
            .chain(lines)
            .map(on_one_line)
        {
            if !part.is_empty() {
                message = message.replace(&part, "…");
            }
        }
    }
    // A signature of Azure is part of a URL, where it may be written in other ways than it was given.
    let ends = |c: char| c == '&' || c.is_whitespace();
    let mut shown = String::new();
    while let Some((before, after)) = message.split_once("sig=") {
        shown += &format!("{before}sig=…");
        message = after
            .find(ends)
            .map_or_else(String::new, |end| after[end..].to_string());
    }
    message = shown + &message;
    match message.char_indices().nth(500) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_left_out_however_it_is_quoted() {
        let key =
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n";
        let secrets = ["hunter2".to_string(), key.to_string(), " ".to_string()];
        for said in [
            format!("refused: {key}"),
            format!("refused: {key:?} of hunter2"),
            "refused: 9w0BAQEFAASCBKcwggSj".to_string(),
            "refused: https://account/x?sv=1&sig=MIIEvQIBADANBgkqhkiG&se=2".to_string(),
        ] {
            let shown = scrub(&said, &secrets);
            assert!(shown.starts_with("refused: "), "{shown}");
            assert!(shown.contains('…'), "{shown}");
            for part in ["MIIE", "9w0B", "hunter2"] {
                assert!(!shown.contains(part), "{shown}");
            }
        }
        assert_eq!(scrub("nothing  to\nhide", &secrets), "nothing to hide");
    }
}

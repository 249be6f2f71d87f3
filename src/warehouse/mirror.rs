//! The published snapshot in an object store, beside the folder in which runs build it.
//!
//! ```text
//! <prefix>/
//!   current.json                      which snapshot readers are to open; replaced by one conditional write
//!   snapshots/<run>/<table>/<partition>/*.parquet
//!   snapshots/<run>/manifest.json     each file's length and hash
//!   runs/<run>.parquet                the ledger; of an old month one file, `YYYY-MM.parquet`
//!   repeats/<period>                  what reruns are held against
//!   forgotten/list                    who is not to come back
//!   lock                              who publishes
//! ```
//! All files of a snapshot are there before the pointer names it. The pointer goes first and the folder's own link follows,
//! so there is one moment in which a run is published, and one place that knows. Whoever finds the two apart can tell why by
//! what the folder remembers of the last time that they agreed ([`next`]).

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::lease::{self, Lease};
use super::ledgers;
use super::manifest::{self, Entry, Manifest};
use super::pointer::{self, Pointer, folder_of};
use super::remote::{Remote, Version, listed_as};
use super::store::{ORPHAN, Warehouse};
use crate::config::{Keep, Store};
use crate::disk::{make_dir, read_dir, remove_dir, sync_dir, sync_tree, write_whole};
use crate::error::{Error, Kind, Result};

/// Folder of the warehouse for what is known of the store.
const FOLDER: &str = "mirror";
/// The folder of the snapshots.
const SNAPSHOTS: &str = "snapshots";
/// Folders of the warehouse, beside the snapshots, that the next run reads.
const BESIDE: [&str; 3] = [RUNS, "repeats", "forgotten"];
/// The folder of the ledgers.
const RUNS: &str = "runs";
/// Stores copy objects up to this size in one request.
const COPIED: u64 = 5 << 30;

/// A warehouse's store.
#[derive(Debug)]
pub struct Mirror {
    remote: Arc<Remote>,
    root: PathBuf,
    keep: Keep,
    session: Mutex<Option<Session>>,
}

/// What is known as long as the store's lock is held.
#[derive(Debug)]
struct Session {
    lease: Lease,
    /// The pointer as it was last read or written.
    base: Option<(Pointer, Version)>,
    /// Snapshots that nothing points to any more.
    retired: Vec<String>,
}

/// What the folder remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The store that this is about.
    url: String,
    /// A name for the folder that no other has.
    folder: String,
    /// The snapshot at which folder and store last agreed.
    base: Option<String>,
    /// A snapshot that is whole here and was to be published there.
    pending: Option<String>,
    /// Files beside the snapshots that the store has, by length and time of writing.
    #[serde(default)]
    sent: BTreeMap<String, (u64, u128)>,
}

/// What brings folder and store together.
#[derive(Debug, PartialEq, Eq)]
enum Next<'a> {
    /// They agree.
    Nothing,
    /// The store is ahead.
    Pull,
    /// The folder is ahead, by this snapshot.
    Push(&'a str),
    /// The store has this one from here, and the folder has not noticed.
    Switch(&'a str),
    /// Both have changed.
    Refuse,
}

/// What brings together a folder in which `local` is current, and `pending` was to follow it, and a store that points to
/// `there`, when they last agreed at `base`.
fn next<'a>(
    local: Option<&'a str>,
    pending: Option<&'a str>,
    base: Option<&str>,
    there: Option<&str>,
) -> Next<'a> {
    match (local, pending, there) {
        (_, Some(pending), Some(there)) if pending == there => Next::Switch(pending),
        (_, Some(pending), there) if there == base => Next::Push(pending),
        (None, _, None) => Next::Nothing,
        (None, _, Some(_)) => Next::Pull,
        (Some(local), _, None) => Next::Push(local),
        (Some(local), _, Some(there)) if local == there => Next::Nothing,
        (Some(local), _, Some(_)) if base == Some(local) => Next::Pull,
        (Some(local), _, Some(there)) if base == Some(there) => Next::Push(local),
        (Some(_), _, Some(_)) => Next::Refuse,
    }
}

impl Mirror {
    /// The store of the warehouse folder `root`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Kind::Config` when the URL or an option is wrong.
    pub fn open(store: &Store, root: &Path, keep: Keep) -> Result<Mirror> {
        Ok(Self::with(Remote::open(store)?, root, keep))
    }

    fn with(remote: Remote, root: &Path, keep: Keep) -> Mirror {
        Mirror {
            remote: Arc::new(remote),
            root: root.to_path_buf(),
            keep,
            session: Mutex::new(None),
        }
    }

    /// The store's URL, as messages name it.
    pub fn url(&self) -> &str {
        self.remote.url()
    }

    /// Takes the store's lock for who holds the folder's, as `note` says, and brings the two together.
    ///
    /// # Errors
    /// `Kind::Locked` when another holds it; `Kind::Config` when folder and store both changed; those of the store.
    pub fn begin(&self, warehouse: &Warehouse, note: &str) -> Result<()> {
        let mut state = self.state();
        if state.url != self.remote.url() || state.folder.is_empty() {
            // A folder that is to lie in another store agrees with that one in nothing yet.
            state = State {
                url: self.remote.url().to_string(),
                folder: unique(),
                ..State::default()
            };
            self.remember(&state)?;
        }
        let holder = format!("{}, {note}", host());
        let lease = Lease::take(&self.remote, &holder, &state.folder, Remote::now)?;
        let base = Pointer::read(&self.remote)?;
        *self.session() = Some(Session {
            lease,
            base,
            retired: vec![],
        });
        let together = self.meet(warehouse, &state);
        if together.is_err() {
            *self.session() = None;
        }
        together
    }

    fn meet(&self, warehouse: &Warehouse, state: &State) -> Result<()> {
        let there = self.base();
        let (local, published) = (warehouse.run(), there.as_ref().map(|p| p.run.as_str()));
        let pending = state.pending.as_deref();
        let pending = pending.filter(|run| warehouse.snapshot_of(run).is_dir());
        match next(local.as_deref(), pending, state.base.as_deref(), published) {
            Next::Nothing => self.agree(local)?,
            Next::Pull => self.pull(warehouse, there.as_ref())?,
            Next::Switch(run) => {
                warehouse.switch(run, self.keep)?;
                self.agree(Some(run.to_string()))?;
            }
            Next::Push(run) => {
                self.send(warehouse, run)?;
                self.commit(run, self.keep)?;
                warehouse.switch(run, self.keep)?;
            }
            Next::Refuse => {
                let (local, there) = (local.unwrap_or_default(), published.unwrap_or_default());
                return Err(Error::config(format!(
                    "{} has the snapshot {local} and {} has {there}, and neither was made from the other",
                    self.root.display(),
                    self.remote.url()
                ))
                .help("to go on from the store's, set the folder aside (mv) and run again: it is fetched; to go on from the folder's, give `[store] url` another prefix"));
            }
        }
        self.fetch_beside()?;
        self.sweep()
    }

    /// Gives back the store's lock, and sends what lies beside the snapshots. What fails here is made up for the next time.
    pub fn end(&self) {
        let Some(session) = self.session().take() else {
            return;
        };
        let mut done = self.send_beside();
        for run in &session.retired {
            done = done.and(self.remote.remove(&folder_of(run), manifest::NAME));
        }
        if let Err(e) = done {
            tracing::warn!(error = %e, "the next run will try again");
        }
    }

    /// Leaves nothing in the store but the published snapshot, which is the folder's, and what lies beside it, as it is here now:
    /// older snapshots go, and what runs sent that never published. Gives where those lay that are gone.
    ///
    /// # Errors
    /// `Kind::Locked` when another published meanwhile, or may; those of the store.
    pub fn clear(&self, run: &str) -> Result<Vec<PathBuf>> {
        let again = "give the same command again when the other has ended";
        if let Some((there, _)) = Pointer::read(&self.remote)?.filter(|(there, _)| there.run != run)
        {
            return Err(self.overtaken(&there.run).help(again));
        }
        self.send_beside()?;
        let mut gone = vec![];
        for other in self.remote.folders(SNAPSHOTS)? {
            if other == run {
                continue;
            }
            // Whoever took the lock over may be sending one.
            self.expect(run).map_err(|e| e.help(again))?;
            let folder = folder_of(&other);
            self.remote.remove(&folder, manifest::NAME)?;
            gone.push(self.called(&folder));
        }
        if let Some(session) = &mut *self.session() {
            session.retired.clear();
        }
        Ok(gone)
    }

    /// The files in the store that are not, by name and length, in the folder as well: each where it can be read and as
    /// messages name it. They are fetched into the folder `to`, unless the store is a mounted one.
    ///
    /// # Errors
    /// Those of the store and of the file system.
    pub fn unlike(&self, to: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut found = vec![];
        for folder in [&[SNAPSHOTS], &BESIDE[..]].concat() {
            let here = lengths(&self.root.join(folder), listed_as)?;
            let mounted = self.remote.mounted().map(|root| root.join(folder));
            let mut there = match &mounted {
                // No listing has what an upload that was cut off left of a file.
                Some(dir) => lengths(dir, str::to_string)?,
                None => self.listed(folder)?,
            };
            there.retain(|name, bytes| here.get(name) != Some(bytes));
            let names = there.into_keys();
            if let Some(dir) = mounted {
                found.extend(names.map(|name| (dir.join(&name), dir.join(&name))));
                continue;
            }
            let files = names.enumerate().map(|(n, name)| {
                // What a file is, is told by how its name ends.
                let end = Path::new(&name).extension().unwrap_or_default();
                let file = to.join(format!("{folder}-{n}")).with_extension(end);
                (name, file)
            });
            let files: Vec<_> = files.collect();
            self.remote.fetch(folder, files.clone())?;
            let called = |name: String| self.called(&format!("{folder}/{name}"));
            found.extend(files.into_iter().map(|(name, file)| (file, called(name))));
        }
        Ok(found)
    }

    /// An object or folder of the store, as messages name it.
    fn called(&self, name: &str) -> PathBuf {
        Path::new(self.remote.url()).join(name)
    }

    fn overtaken(&self, by: &str) -> Error {
        let url = self.remote.url();
        let message = format!("the run {by} published to {url} since this one began");
        Error::new(Kind::Locked, message)
    }

    /// Whether the store's lock is still held for `run`, which is about to be sent.
    ///
    /// # Errors
    /// `Kind::Locked` when it is not.
    pub fn expect(&self, run: &str) -> Result<()> {
        match &*self.session() {
            Some(session) => session.lease.confirm(),
            None => Err(Error::unexpected(format!(
                "{run} is published without the store's lock"
            ))),
        }
    }

    /// The snapshot that is whole in the folder and was to be published.
    pub fn pending(&self) -> Option<String> {
        self.state().pending
    }

    /// Sends the snapshot of `run`: by copies within the store of what has not changed, and the rest from here. What is there
    /// from an earlier try is not sent again.
    ///
    /// # Errors
    /// Those of the store and of the file system.
    pub fn send(&self, warehouse: &Warehouse, run: &str) -> Result<()> {
        let mut state = self.state();
        state.pending = Some(run.to_string());
        self.remember(&state)?;
        self.send_files(warehouse, run).map_err(|e| {
            let kept = e.context(format!("the snapshot {run} is complete, but not yet published"));
            match kept.kind() {
                Kind::Io => kept.help("run the same command again: it goes on with what is missing. The tables that were published stay as they were"),
                _ => kept,
            }
        })
    }

    fn send_files(&self, warehouse: &Warehouse, run: &str) -> Result<()> {
        let (dir, to) = (warehouse.snapshot_of(run), folder_of(run));
        let before = warehouse.run().filter(|other| other != run);
        let before =
            before.and_then(|other| Some((warehouse.snapshot_of(&other), self.known(&other)?)));
        let manifest = Manifest::of(
            run,
            &dir,
            before.as_ref().map(|(dir, m)| (dir.as_path(), m)),
        )?;
        make_dir(&self.root.join(FOLDER))?;
        write_whole(&self.manifest_file(run), &manifest.to_bytes()?)?;

        let present = self.listed(&to)?;
        let missing = |file: &&Entry| present.get(&listed_as(&file.path)) != Some(&file.bytes);
        let missing: Vec<Entry> = manifest.files.iter().filter(missing).cloned().collect();
        let base = self.base().map(|p| p.run).filter(|other| other != run);
        let (from, have) = match &base {
            Some(base) => (folder_of(base), self.held_there(base)?),
            None => (String::new(), vec![]),
        };
        let (copied, sent): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|file| file.bytes < COPIED && have.binary_search(file).is_ok());
        self.remote.copy(&from, &to, copied.clone())?;
        self.remote.upload(&dir, &to, sent)?;
        self.confirm(&to, &manifest.files, &copied)?;
        self.remote
            .put(&format!("{to}/{}", manifest::NAME), manifest.to_bytes()?)
    }

    /// Whether all files are in a folder of the store. Those that it was to copy may take their time: Azure answers before a
    /// copy is done, and has an empty object there until it is.
    fn confirm(&self, folder: &str, files: &[Entry], copied: &[Entry]) -> Result<()> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let present = self.listed(folder)?;
            let lacks = |file: &&Entry| present.get(&listed_as(&file.path)) != Some(&file.bytes);
            let mut lacking = files.iter().filter(lacks).peekable();
            let Some(first) = lacking.peek().copied() else {
                return Ok(());
            };
            let hopeless = lacking.any(|file| copied.binary_search(file).is_err());
            if hopeless || begun.elapsed() > self.remote.patience() {
                let url = self.remote.url();
                let path = &first.path;
                let message =
                    format!("{url}/{folder}/{path} was written and is not there as it was");
                return Err(Error::new(Kind::Io, message));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// The files that the store has of a snapshot as its manifest says, sorted.
    fn held_there(&self, run: &str) -> Result<Vec<Entry>> {
        let folder = folder_of(run);
        let manifest = match self.known(run) {
            Some(manifest) => manifest,
            None => match self.remote.get(&format!("{folder}/{}", manifest::NAME))? {
                Some(object) => Manifest::parse(&object.bytes, run, &folder)?,
                None => return Ok(vec![]),
            },
        };
        let present = self.listed(&folder)?;
        let mut files = manifest.files;
        files.retain(|file| present.get(&listed_as(&file.path)) == Some(&file.bytes));
        files.sort();
        Ok(files)
    }

    /// Makes the snapshot of `run`, all of which the store has, the published one there.
    ///
    /// # Errors
    /// `Kind::Locked` when another was published since the store's lock was taken; those of the store.
    pub fn commit(&self, run: &str, keep: Keep) -> Result<()> {
        let now = Utc::now();
        let base = self.session().as_ref().and_then(|s| s.base.clone());
        let (before, version) = base.map_or((None, None), |(p, v)| (Some(p), Some(v)));
        let mut pointer = Pointer::to(run, before.as_ref(), now);
        let retired = pointer.retire(keep, now);
        let written = self
            .remote
            .swap(pointer::NAME, pointer.to_bytes()?, version);
        let written =
            written.map_err(|e| {
                e.context(format!("whether the snapshot {run} is published is not known")).help(
                "run the same command again: it finds out, and publishes the snapshot if it is not",
            )
            })?;
        let Some(version) = written else {
            let mut state = self.state();
            state.pending = None;
            self.remember(&state)?;
            let other = Pointer::read(&self.remote)?
                .map(|(p, _)| p.run)
                .unwrap_or_default();
            return Err(self.overtaken(&other).help("its tables stay, and nothing of this run was published; run the same command again: it begins with what is there"));
        };
        if let Some(session) = &mut *self.session() {
            session.base = Some((pointer, version));
            session.retired.extend(retired);
        }
        // It is published, so what fails now is no failure of the run: the next one finds the store to be where it is.
        if let Err(e) = self.agree(Some(run.to_string())) {
            tracing::warn!(error = %e, "the next run will try again");
        }
        Ok(())
    }

    /// Notes that folder and store agree, or are about to, with nothing left to send.
    fn agree(&self, run: Option<String>) -> Result<()> {
        let mut state = self.state();
        if state.base != run || state.pending.is_some() {
            (state.base, state.pending) = (run, None);
            self.remember(&state)?;
        }
        Ok(())
    }

    /// Fetches the published snapshot, whole or not at all: what the folder has already is linked.
    fn pull(&self, warehouse: &Warehouse, pointer: Option<&Pointer>) -> Result<()> {
        let Some(run) = pointer.map(|p| p.run.as_str()) else {
            return Ok(());
        };
        let (from, done) = (folder_of(run), warehouse.snapshot_of(run));
        let place = format!("{}/{from}/{}", self.remote.url(), manifest::NAME);
        let object = self.remote.get(&format!("{from}/{}", manifest::NAME))?;
        let object = object.ok_or_else(|| {
            Error::contract(format!(
                "{place} is missing, and the snapshot is the published one"
            ))
            .help("point current.json to a snapshot that has its manifest")
        })?;
        let manifest = Manifest::parse(&object.bytes, run, &place)?;
        if !(done.is_dir() && self.known(run).as_ref() == Some(&manifest)) {
            let part = done.with_added_extension("pulled");
            make_dir(&part)?;
            let before = warehouse.run();
            let before =
                before.and_then(|other| Some((warehouse.snapshot_of(&other), self.known(&other)?)));
            let have = before
                .as_ref()
                .map(|(_, m)| m.by_path())
                .unwrap_or_default();
            let mut missing = vec![];
            for file in &manifest.files {
                let target = part.join(&file.path);
                if file.is(&target) {
                    continue;
                }
                let same = have.get(file.path.as_str()).filter(|known| **known == file);
                let linked = before.as_ref().zip(same).is_some_and(|((dir, _), _)| {
                    let parent = target.parent().map_or(Ok(()), fs::create_dir_all);
                    parent.is_ok() && fs::hard_link(dir.join(&file.path), &target).is_ok()
                });
                if !linked {
                    missing.push(file.clone());
                }
            }
            self.remote.download(&from, &part, missing)?;
            sync_tree(&part)?;
            remove_dir(&done)?;
            fs::rename(&part, &done).map_err(|e| Error::io("cannot rename", &part, &e))?;
            sync_dir(&self.root.join(SNAPSHOTS))?;
            write_whole(&self.manifest_file(run), &manifest.to_bytes()?)?;
        }
        // What reruns are held against, and who is not to come back, belongs to what was fetched.
        for folder in ["repeats", "forgotten"] {
            for listed in self.remote.list(folder)? {
                self.fetch(folder, &listed.name)?;
            }
        }
        warehouse.switch(run, self.keep)?;
        self.agree(Some(run.to_string()))
    }

    /// Fetches what the store has beside the snapshots and the folder lacks: the ledgers of other machines.
    fn fetch_beside(&self) -> Result<()> {
        for folder in BESIDE {
            let mut missing = vec![];
            // The files of whole months are listed before those of their runs.
            for listed in self.remote.list(folder)? {
                let path = self.root.join(folder).join(&listed.name);
                if path.exists() {
                    continue;
                }
                match folder == RUNS && ledgers::month(&path).is_none() {
                    true => missing.push(path),
                    false => self.fetch(folder, &listed.name)?,
                }
            }
            let known = ledgers::twice(&self.root.join(folder), &missing)?;
            missing.retain(|path| !known.contains(path));
            let names = missing.iter().filter_map(|path| path.file_name()?.to_str());
            names
                .into_iter()
                .try_for_each(|name| self.fetch(folder, name))?;
        }
        Ok(())
    }

    fn fetch(&self, folder: &str, name: &str) -> Result<()> {
        // A name comes from outside.
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '%']);
        let object = format!("{folder}/{name}");
        if let Some(found) = plain
            .then(|| self.remote.get(&object))
            .transpose()?
            .flatten()
        {
            make_dir(&self.root.join(folder))?;
            let path = self.root.join(folder).join(name);
            write_whole(&path, &found.bytes)?;
            let mut state = self.state();
            state.sent.extend(stamp(&path).map(|stamp| (object, stamp)));
            self.remember(&state)?;
        }
        Ok(())
    }

    /// Sends what lies beside the snapshots and has changed since it was sent.
    fn send_beside(&self) -> Result<()> {
        let mut state = self.state();
        let before = state.clone();
        for folder in BESIDE {
            for path in read_dir(&self.root.join(folder))? {
                let name = path
                    .file_name()
                    .and_then(|n| n.to_str())
                    .unwrap_or_default();
                let passing = [".lock", ".new"].iter().any(|end| name.ends_with(end));
                let object = format!("{folder}/{name}");
                let stamp = stamp(&path).filter(|_| path.is_file() && !passing);
                if stamp.is_some() && state.sent.get(&object) != stamp.as_ref() {
                    let bytes = fs::read(&path).map_err(|e| Error::io("cannot read", &path, &e))?;
                    self.remote.put(&object, bytes)?;
                    state.sent.extend(stamp.map(|stamp| (object, stamp)));
                }
            }
        }
        // Runs that are in the file of their month now.
        let runs = self.root.join(RUNS);
        let sent = state.sent.keys().filter_map(|object| {
            let path = self.root.join(object);
            (path.parent() == Some(&runs) && !path.exists()).then_some(path)
        });
        let gone = ledgers::twice(&runs, &sent.collect::<Vec<_>>())?;
        let gone = gone.iter().filter_map(|path| path.file_name()?.to_str());
        let gone: Vec<String> = gone.map(str::to_string).collect();
        if !gone.is_empty() {
            self.remote.remove_each(RUNS, gone.clone())?;
            state
                .sent
                .retain(|object, _| !gone.iter().any(|name| *object == format!("{RUNS}/{name}")));
        }
        if state != before {
            self.remember(&state)?;
        }
        Ok(())
    }

    /// Removes snapshots of the store that nothing points to and that are a day old, and manifests whose snapshots are gone.
    fn sweep(&self) -> Result<()> {
        let pointer = self.base();
        // By the store's clock.
        let now = self.remote.get(lease::NAME)?.map(|lease| lease.written);
        for run in self.remote.folders(SNAPSHOTS)? {
            if pointer.as_ref().is_none_or(|p| p.holds(&run))
                || self.pending().as_ref() == Some(&run)
            {
                continue;
            }
            let folder = folder_of(&run);
            let newest = self.remote.list(&folder)?.iter().map(|l| l.written).max();
            let age = newest.map(|newest| now.unwrap_or_else(Utc::now) - newest);
            // A mounted folder may have one with nothing in it.
            if age.is_none_or(|age| age > TimeDelta::from_std(ORPHAN).unwrap_or(TimeDelta::MAX)) {
                tracing::warn!(%run, "a snapshot of the store that nothing points to is removed");
                self.remote.remove(&folder, manifest::NAME)?;
            }
        }
        for path in read_dir(&self.root.join(FOLDER))? {
            let run = path
                .file_name()
                .and_then(|n| n.to_str()?.strip_suffix(".manifest"));
            if run.is_some_and(|run| !self.root.join(folder_of(run)).is_dir()) {
                fs::remove_file(&path).map_err(|e| Error::io("cannot remove", &path, &e))?;
            }
        }
        Ok(())
    }

    fn listed(&self, folder: &str) -> Result<BTreeMap<String, u64>> {
        let listed = self.remote.list(folder)?;
        Ok(listed.into_iter().map(|l| (l.name, l.bytes)).collect())
    }

    fn base(&self) -> Option<Pointer> {
        let session = self.session();
        session
            .as_ref()
            .and_then(|s| s.base.as_ref())
            .map(|(pointer, _)| pointer.clone())
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manifest_file(&self, run: &str) -> PathBuf {
        self.root.join(FOLDER).join(format!("{run}.manifest"))
    }

    /// The manifest of a snapshot of the folder, where one was made.
    fn known(&self, run: &str) -> Option<Manifest> {
        let path = self.manifest_file(run);
        let bytes = fs::read(&path).ok()?;
        Manifest::parse(&bytes, run, &path.display()).ok()
    }

    /// What the folder remembers; nothing where that is lost or of another store.
    fn state(&self) -> State {
        let bytes = fs::read(self.root.join(FOLDER).join("state.json"));
        let state = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        state
            .filter(|s| s.url == self.remote.url())
            .unwrap_or_default()
    }

    fn remember(&self, state: &State) -> Result<()> {
        let folder = self.root.join(FOLDER);
        make_dir(&folder)?;
        let bytes = serde_json::to_vec(state).map_err(|e| Error::unexpected(e.to_string()))?;
        write_whole(&folder.join("state.json"), &bytes)
    }
}

/// The lengths of the files below a folder, by what `named` makes of their paths.
fn lengths(dir: &Path, named: impl Fn(&str) -> String) -> Result<BTreeMap<String, u64>> {
    let mut lengths = BTreeMap::new();
    manifest::walk(dir, "", &mut |path, file| {
        let meta = fs::metadata(file).map_err(|e| Error::io("cannot read", file, &e))?;
        lengths.insert(named(path), meta.len());
        Ok(())
    })?;
    Ok(lengths)
}

/// A name that nothing else has.
fn unique() -> String {
    // The keys of a hasher are the standard library's only access to the system's random numbers.
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

/// Length of a file and when it was written, in nanoseconds.
fn stamp(path: &Path) -> Option<(u64, u128)> {
    let meta = fs::metadata(path).ok()?;
    let written = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((meta.len(), written.as_nanos()))
}

/// The name of this machine, where the system tells.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"));
    let name = name
        .ok()
        .map(|n| n.trim().to_string())
        .filter(|n| !n.is_empty());
    name.map_or_else(|| "a host".into(), |name| format!("host {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brings_folder_and_store_together() {
        for (local, pending, base, there, wanted) in [
            (None, None, None, None, Next::Nothing),
            (Some("a"), None, Some("a"), Some("a"), Next::Nothing),
            // A new machine, and one that was away.
            (None, None, None, Some("a"), Next::Pull),
            (Some("a"), None, Some("a"), Some("b"), Next::Pull),
            // A store that is new or was emptied, and a folder that went back to an older snapshot.
            (Some("a"), None, None, None, Next::Push("a")),
            (Some("a"), None, Some("a"), None, Next::Push("a")),
            (Some("a"), None, Some("b"), Some("b"), Next::Push("a")),
            // A run that ended before the pointer, and one that ended right after it.
            (Some("a"), Some("b"), Some("a"), Some("a"), Next::Push("b")),
            (None, Some("a"), None, None, Next::Push("a")),
            (
                Some("a"),
                Some("b"),
                Some("a"),
                Some("b"),
                Next::Switch("b"),
            ),
            // Another machine published meanwhile.
            (Some("a"), Some("b"), Some("a"), Some("c"), Next::Pull),
            (Some("b"), None, Some("a"), Some("c"), Next::Refuse),
            (Some("a"), None, None, Some("b"), Next::Refuse),
        ] {
            let found = next(local, pending, base, there);
            assert_eq!(found, wanted, "{local:?} {pending:?} {base:?} {there:?}");
        }
    }
}

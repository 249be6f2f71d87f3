//! The lock of a store: an object that says who writes there and is renewed as long as that one lives.
//!
//! Every step is a conditional write, so of two that want the lease one gets it. That a lease is old is judged by the store's
//! clock and this machine's. Should they disagree and a living run lose its lease, nothing comes to harm: the pointer's own
//! conditional write lets only one of them publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::remote::{Client, Remote, Version};
use crate::error::{Error, Kind, Result};

/// Its name in the store.
pub const NAME: &str = "lock";
/// How often it is renewed.
const BEAT: Duration = Duration::from_secs(20);
/// Age at which it counts as that of one who died.
const STALE: TimeDelta = TimeDelta::seconds(120);

/// What the object says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    /// Machine and process.
    holder: String,
    /// The folder from which that one publishes.
    folder: String,
    since: DateTime<Utc>,
    /// How often it was renewed, so that no two contents are the same.
    beat: u64,
    /// Whether it was given back.
    free: bool,
}

/// Held while a run may publish to a store; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    remote: Arc<Remote>,
    state: Arc<State>,
    beating: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    lost: AtomicBool,
    held: tokio::sync::Mutex<Held>,
}

/// What the object says as long as this lease is held, and which content of it that is.
#[derive(Debug)]
struct Held(Note, Version);

impl Lease {
    /// Takes the lease for `holder`, who publishes from `folder` and holds that one's own lock. So a lease that was taken from
    /// there is that of a process that died; of another folder's `clock` tells how old it is.
    ///
    /// # Errors
    /// `Kind::Locked` when another has it, naming who and since when; those of the store.
    pub fn take(
        remote: &Arc<Remote>,
        holder: &str,
        folder: &str,
        clock: impl FnOnce(&Remote) -> Result<DateTime<Utc>>,
    ) -> Result<Lease> {
        let note = Note {
            holder: holder.to_string(),
            folder: folder.to_string(),
            since: Utc::now(),
            beat: 0,
            free: false,
        };
        let found = remote.get(NAME)?;
        let mut expected = None;
        if let Some(found) = found {
            match serde_json::from_slice::<Note>(&found.bytes) {
                Ok(other) if !other.free => {
                    if other.folder != folder && clock(remote)? - found.written < STALE {
                        return Err(held_by(remote.url(), &other));
                    }
                    tracing::warn!(holder = %other.holder, since = %other.since, "the lease of one that died is taken over");
                }
                Ok(_) => {}
                // Nobody else writes there, so what cannot be read was damaged.
                Err(e) => tracing::warn!(error = %e, "the store's lock is no lock; it is replaced"),
            }
            expected = Some(found.version);
        }
        let Some(version) = remote.swap(NAME, bytes(&note)?, expected)? else {
            let other = remote.get(NAME)?;
            let other = other.and_then(|o| serde_json::from_slice(&o.bytes).ok());
            return Err(other.map_or_else(
                || {
                    let url = remote.url();
                    let message = format!("another run took the lock of {url} just now");
                    Error::new(Kind::Locked, message)
                        .help("run the same command again when it has ended")
                },
                |other| held_by(remote.url(), &other),
            ));
        };
        let state = Arc::new(State {
            lost: AtomicBool::new(false),
            held: tokio::sync::Mutex::new(Held(note, version)),
        });
        let beating = remote.spawn(beat(remote.client(), Arc::clone(&state)));
        Ok(Lease {
            remote: Arc::clone(remote),
            state,
            beating,
        })
    }

    /// Whether it is still held, as far as the last heartbeat knows.
    ///
    /// # Errors
    /// `Kind::Locked` when another has taken it over.
    pub fn confirm(&self) -> Result<()> {
        if !self.state.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!(
            "another run took over the lock of {}: this one did not renew it for {} seconds",
            self.remote.url(),
            STALE.num_seconds()
        );
        Err(Error::new(Kind::Locked, message)
            .help("nothing was published; run the same command again when the other has ended"))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.state.lost.load(Ordering::Acquire) {
            return;
        }
        let state = Arc::clone(&self.state);
        let given = self.remote.wait(|client| async move {
            let mut held = state.held.lock().await;
            held.0.free = true;
            held.write(&client).await
        });
        if let Err(e) = given {
            tracing::warn!(error = %e, "the store's lock could not be given back; it passes on its own");
        }
        // It sleeps by now, for it had to wait for its turn above.
        if let Some(beating) = self.beating.take() {
            beating.abort();
        }
    }
}

/// Renews the lease until it is lost or this is aborted.
async fn beat(client: Arc<Client>, state: Arc<State>) {
    loop {
        tokio::time::sleep(BEAT).await;
        let mut held = state.held.lock().await;
        held.0.beat += 1;
        match held.write(&client).await {
            Ok(true) => {}
            Ok(false) => {
                state.lost.store(true, Ordering::Release);
                return;
            }
            // Passing trouble: the next beat tries again, and until it succeeds the lease grows older.
            Err(e) => tracing::warn!(error = %e, "the store's lock could not be renewed"),
        }
    }
}

impl Held {
    /// Has the object say what the note says now. Whether the lease was still held.
    async fn write(&mut self, client: &Client) -> Result<bool> {
        let now = bytes(&self.0)?;
        let written = client.swap(NAME, now.clone(), Some(self.1.clone())).await?;
        if let Some(version) = written {
            self.1 = version;
            return Ok(true);
        }
        // An earlier write of ours may have been done, and all answers lost that would have told.
        let found = client.get(NAME).await?.filter(|found| {
            let note = serde_json::from_slice::<Note>(&found.bytes);
            note.is_ok_and(|note| note.is_of(&self.0))
        });
        let Some(ours) = found else {
            return Ok(false);
        };
        let written = client.swap(NAME, now, Some(ours.version)).await?;
        Ok(written.map(|version| self.1 = version).is_some())
    }
}

impl Note {
    /// Whether both are of the same lease.
    fn is_of(&self, other: &Note) -> bool {
        let lease = |note: &Note| (note.holder.clone(), note.folder.clone(), note.since);
        lease(self) == lease(other)
    }
}

fn bytes(note: &Note) -> Result<Vec<u8>> {
    serde_json::to_vec(note).map_err(|e| Error::unexpected(e.to_string()))
}

/// Whether the bytes are a lock's.
pub(crate) fn readable(bytes: &[u8]) -> bool {
    let note = serde_json::from_slice::<Note>(bytes);
    note.is_ok_and(|note| !held_by("", &note).to_string().is_empty())
}

fn held_by(url: &str, other: &Note) -> Error {
    let since = other.since.format("%F %T UTC");
    Error::new(
        Kind::Locked,
        format!(
            "another run is publishing to {url}: {} since {since}",
            other.holder
        ),
    )
    .help(format!(
        "wait until it has ended; of one that died the lock passes after {} seconds",
        STALE.num_seconds()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(store: &Arc<Remote>, holder: &str, folder: &str, now: DateTime<Utc>) -> Result<Lease> {
        Lease::take(store, holder, folder, |_| Ok(now))
    }

    fn store() -> Arc<Remote> {
        Arc::new(Remote::in_memory())
    }

    #[test]
    fn one_holds_it_and_another_is_told_who_until_it_is_given_back() {
        let (store, now) = (store(), Utc::now());
        let lease = take(&store, "host a, process 1", "a", now).unwrap();
        let refused = take(&store, "host b, process 2", "b", now).unwrap_err();
        assert_eq!(refused.kind(), Kind::Locked);
        assert!(
            refused.to_string().contains("host a, process 1 since 20"),
            "{refused}"
        );
        lease.confirm().unwrap();
        drop(lease);
        take(&store, "host b, process 2", "b", now).unwrap();
    }

    #[test]
    fn one_whose_write_was_done_without_an_answer_holds_it_still() {
        let (store, now) = (store(), Utc::now());
        let lease = take(&store, "a", "a", now).unwrap();
        // As a beat that failed leaves it: the object is newer than the holder knows.
        let unanswered = |by: &Lease| {
            let mut note = by.state.held.try_lock().unwrap().0.clone();
            note.beat += 1;
            store.put(NAME, bytes(&note).unwrap()).unwrap();
        };
        let write = |by: &Lease| {
            let state = Arc::clone(&by.state);
            let written =
                store.wait(|client| async move { state.held.lock().await.write(&client).await });
            written.unwrap()
        };
        unanswered(&lease);
        assert!(write(&lease) && write(&lease));
        // Giving it back meets the same.
        unanswered(&lease);
        drop(lease);
        let next = take(&store, "b", "b", now).unwrap();
        // What is another's is not taken for ours.
        let again = take(&store, "b", "b", now + TimeDelta::seconds(1)).unwrap();
        assert!(!write(&next) && write(&again));
    }

    #[test]
    fn that_of_one_who_died_passes_by_age_or_to_the_same_folder_and_the_old_holder_notices() {
        let (store, now) = (store(), Utc::now());
        let dead = take(&store, "a", "a", now).unwrap();
        let later = now + STALE + TimeDelta::seconds(5);
        assert!(take(&store, "b", "b", later - TimeDelta::seconds(30)).is_err());
        let next = take(&store, "b", "b", later).unwrap();
        let again = take(&store, "b again", "b", now).unwrap();
        // Neither of those before gives back what is another's by now.
        drop((dead, next));
        assert!(take(&store, "c", "c", now).is_err());
        drop(again);
    }
}

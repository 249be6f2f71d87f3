//! `current.json`: the one small object of a store that says which snapshot readers are to open.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::{FORMAT, known_format};
use super::remote::{Remote, Version};
use crate::config::Keep;
use crate::error::{Error, Result};

/// Its name in the store, and beside `current` in the folder.
pub const NAME: &str = "current.json";

/// Which snapshot is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// See [`FORMAT`].
    pub format: u32,
    /// Where the tables lie, below the store's prefix: `snapshots/<run>/`.
    pub snapshot: String,
    /// The run that published them.
    pub run: String,
    /// When.
    pub published_at: DateTime<Utc>,
    /// The snapshots that are kept for readers that still hold them, newest first.
    #[serde(default)]
    pub previous: Vec<Previous>,
}

/// A snapshot that is no longer the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The run that published it.
    pub run: String,
    /// When another took its place.
    pub until: DateTime<Utc>,
}

/// The folder of a run's snapshot.
pub fn folder_of(run: &str) -> String {
    format!("snapshots/{run}")
}

impl Pointer {
    /// To the snapshot of `run`, which takes the place of what `before` points to.
    pub fn to(run: &str, before: Option<&Pointer>, now: DateTime<Utc>) -> Pointer {
        let mut previous = before.map(|b| b.previous.clone()).unwrap_or_default();
        if let Some(before) = before {
            previous.insert(
                0,
                Previous {
                    run: before.run.clone(),
                    until: now,
                },
            );
        }
        previous.retain(|p| p.run != run);
        Pointer {
            format: FORMAT,
            snapshot: format!("{}/", folder_of(run)),
            run: run.to_string(),
            published_at: now,
            previous,
        }
    }

    /// Drops the snapshots before it that need not stay, and names them.
    pub fn retire(&mut self, keep: Keep, now: DateTime<Utc>) -> Vec<String> {
        let (mut kept, mut gone) = (vec![], vec![]);
        for (n, previous) in std::mem::take(&mut self.previous).into_iter().enumerate() {
            let young = keep.since.is_some_and(|since| now - previous.until < since);
            if n < keep.snapshots || young {
                kept.push(previous);
            } else {
                gone.push(previous.run);
            }
        }
        self.previous = kept;
        gone
    }

    /// Whether a snapshot is the current one or kept.
    pub fn holds(&self, run: &str) -> bool {
        self.run == run || self.previous.iter().any(|p| p.run == run)
    }

    /// What the store points to.
    ///
    /// # Errors
    /// Those of the store; `Kind::Contract` when the object is no pointer.
    pub fn read(remote: &Remote) -> Result<Option<(Pointer, Version)>> {
        let Some(object) = remote.get(NAME)? else {
            return Ok(None);
        };
        let place = format!("{}/{NAME}", remote.url());
        Ok(Some((Self::parse(&object.bytes, &place)?, object.version)))
    }

    /// Reads a pointer; `place` is where it came from.
    ///
    /// # Errors
    /// `Kind::Contract` when it is none, is of a newer program, or leads elsewhere than to a snapshot.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Pointer> {
        known_format(bytes, &place)?;
        let wrong = |what: &str| {
            Error::contract(format!("{place}: {what}")).help(
                "remove it, and run the same command again where the newest tables are: it is written anew, and they are published",
            )
        };
        let pointer: Pointer = serde_json::from_slice(bytes)
            .map_err(|e| wrong(&format!("this is no pointer: {e}")))?;
        let runs = std::iter::once(&pointer.run).chain(pointer.previous.iter().map(|p| &p.run));
        if let Some(run) = runs.into_iter().find(|run| !is_run(run)) {
            return Err(wrong(&format!("{run:?} is no id of a run")));
        }
        if pointer.snapshot != format!("{}/", folder_of(&pointer.run)) {
            return Err(wrong("the snapshot is not that of the run"));
        }
        Ok(pointer)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::unexpected(e.to_string()))
    }
}

/// Whether a text is the id of a run, and so the name of a folder and nothing that leads out of it.
pub fn is_run(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= 100 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_to_its_snapshot_and_remembers_those_before() {
        let now = Utc::now();
        let first = Pointer::to("a", None, now);
        let third = Pointer::to("c", Some(&Pointer::to("b", Some(&first), now)), now);
        let parsed = Pointer::parse(&third.to_bytes().unwrap(), "here").unwrap();
        assert_eq!(parsed, third);
        assert_eq!(third.snapshot, "snapshots/c/");
        let before: Vec<_> = third.previous.iter().map(|p| p.run.as_str()).collect();
        assert_eq!(before, ["b", "a"]);
        // Going back.
        let back = Pointer::to("a", Some(&third), now);
        let before: Vec<_> = back.previous.iter().map(|p| p.run.as_str()).collect();
        assert_eq!(before, ["c", "b"]);
    }

    #[test]
    fn a_snapshot_stays_as_long_as_either_number_or_time_wants_it() {
        let hours = |n: i64| Utc::now() + chrono::TimeDelta::hours(n);
        let runs = ["a", "b", "c", "d"].into_iter().zip(0..);
        let newest = runs.fold(None, |before, (run, n)| {
            Some(Pointer::to(run, before.as_ref(), hours(n)))
        });
        let retire = |snapshots, since: Option<i64>| {
            let mut pointer = newest.clone().unwrap();
            let since = since.map(chrono::TimeDelta::minutes);
            pointer.retire(Keep { snapshots, since }, hours(4))
        };
        assert_eq!(retire(1, None), ["b", "a"]);
        assert_eq!(retire(0, None), ["c", "b", "a"]);
        // c was the current one until hour 3, b until 2, a until 1.
        assert_eq!(retire(0, Some(90)), ["b", "a"]);
        assert_eq!(retire(1, Some(150)), ["a"]);
        assert_eq!(retire(0, Some(600)), Vec::<String>::new());
    }

    #[test]
    fn a_pointer_out_of_the_store_or_of_another_format_is_refused() {
        let text =
            String::from_utf8(Pointer::to("a", None, Utc::now()).to_bytes().unwrap()).unwrap();
        for (from, to) in [
            ("\"run\":\"a\"", "\"run\":\"../a\""),
            ("\"run\":\"a\"", "\"run\":\"b\""),
            ("snapshots/a/", "../a/"),
            ("\"format\":1", "\"format\":2"),
            ("{", "["),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let error = Pointer::parse(changed.as_bytes(), "here").unwrap_err();
            assert!(error.remedy().is_some(), "{changed}: {error}");
        }
        // Whatever else a later format has.
        let newer = Pointer::parse(br#"{"format":2,"points_to":"a"}"#, "here").unwrap_err();
        assert_eq!(newer.to_string(), "here: a newer recost wrote this");
    }
}

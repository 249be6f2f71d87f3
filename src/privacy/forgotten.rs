//! The list of the forgotten: ingest reads it, so that exports that still hold a person do not bring them back.
//!
//! It lies in the warehouse, outside the snapshots, so that no return to an older one undoes it. It holds no id: a line is
//! the state, `pending` until all was removed or `done`, and HMAC-SHA-256 of the id as the shop knows it under the list's
//! own salt. It is not made with the key of pseudonyms, which may be another one tomorrow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::Sha256;

use super::People;
use crate::disk::{make_dir, sync_dir, write_whole};
use crate::engine::hex;
use crate::error::{Error, Result};

/// The file below the warehouse; a store has the same folder.
const FILE: &str = "forgotten/list";
/// The first line, and the start of the second.
const HEAD: &str = "recost forgotten 1";
const SALT: &str = "salt ";

/// Whether all of a person was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was begun.
    Pending,
    /// It was.
    Done,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Done => "done",
        }
    }
}

/// The people who are forgotten.
#[derive(Debug, Default)]
pub struct Forgotten {
    salt: String,
    people: BTreeMap<String, State>,
}

impl Forgotten {
    fn file(warehouse: &Path) -> PathBuf {
        warehouse.join(FILE)
    }

    /// Reads the list of a warehouse; empty where there is none.
    ///
    /// # Errors
    /// `Kind::Contract` when the file is none: without it people would come back.
    pub fn read(warehouse: &Path) -> Result<Self> {
        let path = Self::file(warehouse);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("cannot read", &path, &e)),
        };
        Self::parse(&text).ok_or_else(|| {
            Error::contract(format!("{} is damaged: it is no list of the forgotten", path.display()))
                .help("bring back its last good copy: without it the next ingest would bring back the people on it")
        })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let head = lines.next()? == HEAD;
        let salt = lines.next()?.strip_prefix(SALT)?.to_string();
        let people = lines.map(|line| {
            let (state, hash) = line.split_once(' ')?;
            let state = match state {
                "pending" => State::Pending,
                "done" => State::Done,
                _ => return None,
            };
            let whole = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            whole.then(|| (hash.to_string(), state))
        });
        let people = people.collect::<Option<_>>()?;
        (head && salt.len() == 64).then_some(Forgotten { salt, people })
    }

    /// Notes people with their state and writes the list, whole and durably.
    ///
    /// # Errors
    /// Those of writing.
    pub fn note(&mut self, warehouse: &Path, people: &People, state: State) -> Result<()> {
        if self.salt.is_empty() {
            let mut salt = [0; 32];
            SysRng.try_fill_bytes(&mut salt).map_err(|e| {
                Error::unexpected(format!("the system gives no random numbers: {e}"))
            })?;
            self.salt = hex(&salt);
        }
        for id in &people.given {
            self.people.insert(self.hash(id), state);
        }
        let path = Self::file(warehouse);
        let mut text = format!("{HEAD}\n{SALT}{}\n", self.salt);
        for (hash, state) in &self.people {
            let _ = writeln!(text, "{} {hash}", state.as_str());
        }
        let dir = path.parent().unwrap_or(warehouse);
        make_dir(dir)?;
        write_whole(&path, text.as_bytes())?;
        sync_dir(dir)?;
        sync_dir(warehouse)
    }

    /// Whether a person, as the shop knows them, is on the list.
    pub fn has(&self, id: &str) -> bool {
        !self.people.is_empty() && self.people.contains_key(&self.hash(id))
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// People of whom something may be left, because the process that was to remove it ended.
    pub fn pending(&self) -> usize {
        let states = self.people.values();
        states.filter(|state| **state == State::Pending).count()
    }

    fn hash(&self, id: &str) -> String {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.salt.as_bytes()) else {
            return String::new();
        };
        mac.update(id.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_list_knows_who_is_on_it_and_does_not_say() {
        let dir = tempfile::tempdir().unwrap();
        let people = People::new(["u00012"], &[]).unwrap();
        let mut list = Forgotten::read(dir.path()).unwrap();
        assert!(list.is_empty() && !list.has("u00012"));
        list.note(dir.path(), &people, State::Pending).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains("u00012"), "{text}");
        let mut again = Forgotten::read(dir.path()).unwrap();
        assert!(again.has("u00012") && !again.has("u00013"));
        assert_eq!(again.pending(), 1);
        again.note(dir.path(), &people, State::Done).unwrap();
        assert_eq!(Forgotten::read(dir.path()).unwrap().pending(), 0);
    }

    #[test]
    fn a_damaged_list_is_an_error_and_never_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let people = People::new(["u00012"], &[]).unwrap();
        let mut list = Forgotten::default();
        list.note(dir.path(), &people, State::Done).unwrap();
        let file = dir.path().join(FILE);
        let whole = std::fs::read_to_string(&file).unwrap();
        for end in [0, 5, 40, whole.len() - 1] {
            std::fs::write(&file, &whole[..end]).unwrap();
            assert!(Forgotten::read(dir.path()).is_err(), "{end}");
        }
    }
}

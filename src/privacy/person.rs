//! A person as the tables know them: every id that stands for one.

use std::collections::{BTreeSet, HashSet};

use super::{Key, NOBODY};
use crate::error::{Error, Result};

/// Characters that an id has at least for it to be told from other numbers and words in a text.
const DISTINCT: usize = 6;

/// The ids of people who are to be forgotten.
#[derive(Debug)]
pub struct People {
    /// As the shop knows them.
    pub given: Vec<String>,
    /// The same, and their pseudonyms by every key that there was.
    ids: BTreeSet<String>,
    /// Those of `ids` that can be told in any text: such as are one word, which are looked up, and others.
    words: HashSet<Vec<u8>>,
    phrases: Vec<String>,
}

impl People {
    /// The people with these ids.
    ///
    /// # Errors
    /// `Kind::Config` when there is none, or one is blank.
    pub fn new<'a>(given: impl IntoIterator<Item = &'a str>, keys: &[Key]) -> Result<Self> {
        let given: Vec<String> = given.into_iter().map(str::to_string).collect();
        if given.is_empty() || given.iter().any(|id| id.trim().is_empty()) {
            return Err(Error::config("no user id was given")
                .help("name the user as the shop's exports do, or give `-` and the ids on standard input, one a line"));
        }
        let pseudonyms = given
            .iter()
            .flat_map(|id| keys.iter().map(|k| k.pseudonym(id)));
        let ids: BTreeSet<String> = given.iter().cloned().chain(pseudonyms).collect();
        let distinct = ids.iter().filter(|id| id.len() >= DISTINCT).cloned();
        let (words, phrases): (Vec<_>, Vec<_>) = distinct.partition(|id| id.bytes().all(is_word));
        Ok(People {
            given,
            ids,
            words: words.into_iter().map(String::into_bytes).collect(),
            phrases,
        })
    }

    /// Whether an id is one of theirs.
    pub fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// How often a text names one of them.
    pub fn named_in(&self, text: &str) -> usize {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let words = words.filter(|word| self.is_one(word.as_bytes())).count();
        let phrases = self.phrases.iter().map(|id| places(text, id).count());
        words + phrases.sum::<usize>()
    }

    /// The text with another word in the place of their ids.
    pub fn removed_from(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let word = part.trim_end_matches(|c: char| !c.is_alphanumeric());
            if self.is_one(word.as_bytes()) {
                out.push_str(NOBODY);
                out.push_str(&part[word.len()..]);
            } else {
                out.push_str(part);
            }
        }
        for id in &self.phrases {
            let found: Vec<usize> = places(&out, id).collect();
            for at in found.into_iter().rev() {
                out.replace_range(at..at + id.len(), NOBODY);
            }
        }
        out
    }

    /// How often bytes name one of them.
    pub fn named_in_bytes(&self, bytes: &[u8]) -> usize {
        let words = bytes.split(|byte| !is_word(*byte));
        let words = words.filter(|word| self.is_one(word)).count();
        let phrases = self.phrases.iter().map(|id| {
            let id = id.as_bytes();
            let edge = |byte: Option<&u8>| !byte.is_some_and(|b| is_word(*b));
            let found = bytes.windows(id.len()).enumerate();
            let found = found.filter(|(at, window)| {
                *window == id
                    && edge(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && edge(bytes.get(at + id.len()))
            });
            found.count()
        });
        words + phrases.sum::<usize>()
    }

    fn is_one(&self, word: &[u8]) -> bool {
        word.len() >= DISTINCT && self.words.contains(word)
    }

    /// Ids too short to be looked for in texts.
    pub fn indistinct(&self) -> usize {
        self.given.iter().filter(|id| id.len() < DISTINCT).count()
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Whether `text` holds `id` as a word of its own.
pub fn names(text: &str, id: &str) -> bool {
    places(text, id).next().is_some()
}

/// Where `text` holds `id` with no letter or digit at either side.
fn places<'a>(text: &'a str, id: &'a str) -> impl Iterator<Item = usize> + 'a {
    let edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(id).map(|(at, _)| at).filter(move |at| {
        !id.is_empty()
            && edge(text[..*at].chars().next_back())
            && edge(text[at + id.len()..].chars().next())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_a_word_and_never_within_another() {
        let people = People::new(["u00012", "7"], &[]).unwrap();
        let text = r#"{"user":"u00012"} u000123 xu00012 7 u00012"#;
        assert_eq!(people.named_in(text), 2);
        assert_eq!(people.named_in_bytes(text.as_bytes()), 2);
        assert_eq!(
            people.removed_from(text),
            r#"{"user":"(forgotten)"} u000123 xu00012 7 (forgotten)"#
        );
        // One that is several words, such as an address.
        let address = People::new(["ann.lee@shop.example"], &[]).unwrap();
        let text = "to:ann.lee@shop.example; joann.lee@shop.example";
        assert_eq!(address.named_in(text), 1);
        assert_eq!(address.named_in_bytes(text.as_bytes()), 1);
        let without = "to:(forgotten); joann.lee@shop.example";
        assert_eq!(address.removed_from(text), without);
        // A short one is found where ids stand, and nowhere else.
        assert!(people.has("7") && people.indistinct() == 1);
        assert!(names("r-7", "7") && !names("r-77", "7") && !names("é7", "7"));
        assert!(People::new([""], &[]).is_err());
    }

    #[test]
    fn a_person_is_known_by_every_pseudonym_there_was() {
        let keys = ["0", "1"].map(|c| Key::new(&c.repeat(32)).unwrap());
        let people = People::new(["u1"], &keys).unwrap();
        assert!(keys.iter().all(|k| people.has(&k.pseudonym("u1"))));
        assert_eq!(
            people.named_in(&format!("a {}", keys[1].pseudonym("u1"))),
            1
        );
    }
}

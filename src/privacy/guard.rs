//! What stands between an export and the warehouse: pseudonyms for people, and nothing of those who are forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, StringViewArray, StringViewBuilder};
use arrow::compute::filter_record_batch;
use serde_json::{Map, Value};

use super::nobody::{replaced, texts, without};
use super::person::names;
use super::{Forgotten, Key};
use crate::config::Pipeline;
use crate::error::{Error, Result};
use crate::warehouse::Table;

/// Columns of a quarantined row that say nothing of who it is of, by the names of the canonical tables.
const NOT_PERSONAL: &[&str] = &[
    "event_time",
    "event_type",
    "item_id",
    "model_id",
    "model_version",
    "surface",
    "rank",
    "compute_ns",
    "price",
    "quantity",
    "currency",
];
/// Ids that some shops make of the user's.
const MAY_EMBED: &[&str] = &["event_id", "request_id", "query"];

/// Applied to every row of a table of people before it is written anywhere.
#[derive(Debug, Default)]
pub struct Guard {
    key: Option<Key>,
    forgotten: Forgotten,
}

impl Guard {
    /// The guard that a pipeline file and its warehouse ask for.
    ///
    /// # Errors
    /// When the list of the forgotten cannot be read.
    pub fn of(pipeline: &Pipeline) -> Result<Self> {
        Ok(Guard {
            key: pipeline.privacy.current_key().cloned(),
            forgotten: Forgotten::read(&pipeline.warehouse)?,
        })
    }

    /// The id of the key by which the rows of `table` have pseudonyms; `None` where they have none.
    pub fn key_id(&self, table: &Table) -> Option<String> {
        let key = self.key.as_ref().filter(|_| is_of_people(table));
        key.map(Key::id)
    }

    /// Whether rows of `table` change on their way.
    pub fn watches(&self, table: &Table) -> bool {
        is_of_people(table) && (self.key.is_some() || !self.forgotten.is_empty())
    }

    /// Gives the columns of `batch` that name people their pseudonyms.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn pseudonymised(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some(key) = self.key.as_ref() else {
            return Ok(batch.clone());
        };
        let users = texts(batch, "user_id")?;
        let mut known: HashMap<&str, Arc<str>> = HashMap::new();
        let mut pseudonyms = StringViewBuilder::with_capacity(users.len());
        for user in &users {
            pseudonyms.append_option(
                user.map(|u| &**known.entry(u).or_insert_with(|| key.pseudonym(u).into())),
            );
        }
        let pseudonyms = pseudonyms.finish();
        let mut batch = batch.clone();
        // A session is a person for half an hour.
        if batch.column_by_name("session_id").is_some() {
            let sessions = texts(&batch, "session_id")?;
            let hashed: StringViewArray =
                sessions.iter().map(|s| Some(key.pseudonym(s?))).collect();
            batch = replaced(&batch, "session_id", Arc::new(hashed))?;
        }
        for name in MAY_EMBED {
            if batch.column_by_name(name).is_none() {
                continue;
            }
            let ids = texts(&batch, name)?;
            let embeds = |row: usize| {
                users.is_valid(row) && ids.is_valid(row) && names(ids.value(row), users.value(row))
            };
            if !(0..ids.len()).any(embeds) {
                continue;
            }
            let hashed: StringViewArray = (0..ids.len())
                .map(|row| {
                    let id = ids.is_valid(row).then(|| ids.value(row))?;
                    Some(if embeds(row) {
                        key.pseudonym(id)
                    } else {
                        id.to_string()
                    })
                })
                .collect();
            batch = replaced(&batch, name, Arc::new(hashed))?;
        }
        replaced(&batch, "user_id", Arc::new(pseudonyms))
    }

    /// Which rows are of forgotten people.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn forgotten(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        if self.forgotten.is_empty() {
            return Ok(BooleanArray::from(vec![false; batch.num_rows()]));
        }
        let users = texts(batch, "user_id")?;
        let mut known: HashMap<&str, bool> = HashMap::new();
        let found = users.iter().map(|user| {
            let gone = user.map(|u| *known.entry(u).or_insert_with(|| self.forgotten.has(u)));
            Some(gone.unwrap_or(false))
        });
        Ok(found.collect())
    }

    /// Rows of `table` as they may be written: of forgotten people (`theirs`) only the events that count, as nobody's.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn without(
        &self,
        table: &Table,
        batch: RecordBatch,
        theirs: &BooleanArray,
    ) -> Result<RecordBatch> {
        if theirs.true_count() == 0 {
            return Ok(batch);
        }
        if table.column("event_type").is_some() {
            return Ok(without(&batch, theirs, &|_| None)?.kept);
        }
        Ok(filter_record_batch(&batch, &arrow::compute::not(theirs)?)?)
    }

    /// What is wrong with a row, without the value that is: it may be an id in the wrong place.
    pub fn reason(&self, reason: &str) -> String {
        match &self.key {
            Some(_) => unquoted(reason),
            None => reason.to_string(),
        }
    }

    /// A rejected row, a JSON object, as the quarantine may have it: every value that may tell who it is of is replaced by
    /// its pseudonym. Of a row whose fields do not stand where they should (`shifted`) that is each.
    pub fn raw(&self, raw: &str, shifted: bool) -> String {
        let Some(key) = &self.key else {
            return raw.to_string();
        };
        let Ok(row) = serde_json::from_str::<Map<String, Value>>(raw) else {
            return String::new();
        };
        let hidden = row.into_iter().map(|(name, value)| {
            let shown = !shifted && NOT_PERSONAL.contains(&name.as_str());
            let value = match value {
                value if shown || value.is_null() => value,
                Value::String(text) => Value::String(key.pseudonym(&text)),
                other => Value::String(key.pseudonym(&other.to_string())),
            };
            (name, value)
        });
        Value::Object(hidden.collect()).to_string()
    }

    /// An error of reading an export as it may be told: a value that could not be read may be an id.
    pub fn told(&self, table: &Table, error: Error) -> Error {
        if self.key_id(table).is_none() {
            return error;
        }
        let shows_value = ["Cannot cast", "Cannot parse", "Error parsing", "parsing"];
        error.reworded(|message| {
            if shows_value.iter().any(|words| message.contains(words)) {
                unquoted(message)
            } else {
                message.to_string()
            }
        })
    }

    /// People of whom something may be left in the warehouse, since forgetting them was cut off.
    pub fn pending(&self) -> usize {
        self.forgotten.pending()
    }
}

/// Whether a table that sources feed has people in it.
fn is_of_people(table: &Table) -> bool {
    table.column("user_id").is_some()
}

/// The text with `…` in place of what stands in quotes.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within: Option<char> = None;
    let mut escaped = false;
    for c in text.chars() {
        match within {
            Some(quote) => {
                if c == quote && !escaped {
                    out.push('…');
                    out.push(c);
                    within = None;
                }
                escaped = c == '\\' && !escaped;
            }
            None => {
                out.push(c);
                within = matches!(c, '"' | '\'' | '`').then_some(c);
            }
        }
    }
    if within.is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::warehouse::table;

    fn guard() -> Guard {
        Guard {
            key: Some(Key::new("0123456789abcdef0123456789abcdef").unwrap()),
            forgotten: Forgotten::default(),
        }
    }

    fn batch(rows: &[[Option<&str>; 4]]) -> RecordBatch {
        let names = ["user_id", "session_id", "event_id", "request_id"];
        let columns = names.iter().enumerate().map(|(at, name)| {
            let column: StringViewArray = rows.iter().map(|r| r[at]).collect();
            (*name, Arc::new(column) as _, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn whatever_holds_the_user_gets_a_pseudonym_and_the_rest_stays() {
        let guard = guard();
        let given = batch(&[
            [Some("u1"), Some("s"), Some("u1-7"), Some("r-1")],
            [Some("u1"), None, Some("u17-8"), Some("r/u1/3")],
            [None, Some("s"), Some("e"), None],
        ]);
        let got = guard.pseudonymised(&given).unwrap();
        let key = guard.key.as_ref().unwrap();
        let column = |name: &str| -> Vec<Option<String>> {
            let found = texts(&got, name).unwrap();
            found.iter().map(|t| t.map(str::to_string)).collect()
        };
        let of = |text: &str| Some(key.pseudonym(text));
        assert_eq!(column("user_id"), [of("u1"), of("u1"), None]);
        assert_eq!(column("session_id"), [of("s"), None, of("s")]);
        let plain = |t: &str| Some(t.to_string());
        assert_eq!(column("event_id"), [of("u1-7"), plain("u17-8"), plain("e")]);
        assert_eq!(column("request_id"), [plain("r-1"), of("r/u1/3"), None]);
        assert!(guard.watches(table("users").unwrap()));
        assert!(!guard.watches(table("charges").unwrap()));
    }

    #[test]
    fn the_quarantine_holds_pseudonyms_of_all_that_may_be_a_person() {
        let guard = guard();
        let raw = r#"{"customer":"u1","event_type":"vieww","n":12,"none":null}"#;
        let told: Value = serde_json::from_str(&guard.raw(raw, false)).unwrap();
        let key = guard.key.as_ref().unwrap();
        assert_eq!(told["customer"], key.pseudonym("u1"));
        assert_eq!(told["n"], key.pseudonym("12"));
        assert_eq!(told["event_type"], "vieww");
        assert!(told["none"].is_null());
        assert!(!guard.raw(raw, true).contains("vieww"));
        assert_eq!(guard.raw("{broken u1", false), "");
        assert_eq!(
            guard.reason(r#""u\"1" is none of a, b"#),
            r#""…" is none of a, b"#
        );
        assert_eq!(guard.reason("`u1` is wrong"), "`…` is wrong");
        assert_eq!(Guard::default().raw(raw, true), raw);
        let cast = || Error::contract("a.csv: Cannot cast string 'u1' to value of Int64 type");
        let users = table("users").unwrap();
        assert!(!guard.told(users, cast()).to_string().contains("u1"));
        assert!(
            Guard::default()
                .told(users, cast())
                .to_string()
                .contains("u1")
        );
    }
}

//! How the contracts of tables may change from one version of the program to the next.
//!
//! A snapshot says in `contracts.json` what its tables promised when it was written. A program whose own contracts break one
//! of these promises would turn tables that others read into something else, and read old files wrongly itself: it writes
//! nothing. What is declared in [`MIGRATIONS`] is allowed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::contract::Table;
use super::store::write_whole;
use super::tables::TABLES;
use crate::error::{Error, Result};

/// Its name in a snapshot.
const NAME: &str = "contracts.json";

/// A change that breaks a promise on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The table.
    pub table: &'static str,
    /// What is broken, in the words of [`breaks`].
    pub change: &'static str,
    /// What becomes of the partitions that were written before: said in the change log.
    pub remedy: &'static str,
}

/// The changes that this version makes. None so far.
pub const MIGRATIONS: &[Migration] = &[];

/// What a table promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The column that its partitions are named by.
    partition: Option<String>,
    columns: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Field {
    #[serde(rename = "type")]
    ty: String,
    required: bool,
}

impl Promise {
    /// What the contract of `table` promises.
    pub fn of(table: &Table) -> Promise {
        let field = |c: &super::contract::Column| {
            let field = Field {
                ty: c.ty.name().to_string(),
                required: c.required,
            };
            (c.name.to_string(), field)
        };
        Promise {
            partition: table.partition.column().map(str::to_string),
            columns: table.columns.iter().map(field).collect(),
        }
    }
}

/// What of `before` is broken by `now`, one sentence each. A new column that may be null breaks nothing: old files are read
/// with nulls.
pub fn breaks(before: &Promise, now: &Promise) -> Vec<String> {
    let mut broken = vec![];
    if before.partition != now.partition {
        let name = |p: &Option<String>| p.clone().unwrap_or_else(|| "nothing".into());
        broken.push(format!(
            "partitioned by {}, was by {}",
            name(&now.partition),
            name(&before.partition)
        ));
    }
    for (name, old) in &before.columns {
        match now.columns.get(name) {
            None => broken.push(format!("column {name} is gone")),
            Some(new) if new.ty != old.ty => {
                broken.push(format!("column {name} is {}, was {}", new.ty, old.ty));
            }
            Some(new) if new.required && !old.required => {
                broken.push(format!("column {name} needs a value, and could be null"));
            }
            // A reader that was promised a value.
            Some(new) if old.required && !new.required => {
                broken.push(format!("column {name} may be null, and could not"));
            }
            Some(_) => {}
        }
    }
    for (name, new) in &now.columns {
        if new.required && !before.columns.contains_key(name) {
            broken.push(format!(
                "column {name} is new and needs a value, which old files do not have"
            ));
        }
    }
    broken
}

/// Writes into a snapshot what its tables promise.
///
/// # Errors
/// Those of the file system.
pub fn record(snapshot: &Path) -> Result<()> {
    let tables = TABLES.iter().filter(|t| snapshot.join(t.name).is_dir());
    let promises: BTreeMap<&str, Promise> = tables.map(|t| (t.name, Promise::of(t))).collect();
    let text =
        serde_json::to_vec_pretty(&promises).map_err(|e| Error::unexpected(e.to_string()))?;
    // The file that is there is a link to a published one, and is replaced, not written into.
    write_whole(&snapshot.join(NAME), &text)
}

/// Holds this program's contracts against what the snapshot promises. One that says nothing promises nothing.
///
/// # Errors
/// `Kind::Contract`, naming each promise that would be broken.
pub fn check(snapshot: &Path) -> Result<()> {
    let path = snapshot.join(NAME);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(|e| Error::io("cannot read", &path, &e))?,
    };
    let promises: BTreeMap<String, Promise> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::contract(format!("{}: these are no contracts: {e}", path.display())))?;
    let mut broken = vec![];
    for (name, before) in &promises {
        let found = match TABLES.iter().find(|t| t.name == name) {
            Some(table) => breaks(before, &Promise::of(table)),
            None => vec!["this recost knows no such table".to_string()],
        };
        let declared = |change: &String| {
            MIGRATIONS
                .iter()
                .any(|m| m.table == name && m.change == change)
        };
        broken.extend(
            found
                .into_iter()
                .filter(|c| !declared(c))
                .map(|c| format!("table {name}: {c}")),
        );
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::contract(format!(
        "the published tables were written by other contracts, which this recost {} would break: {}",
        env!("CARGO_PKG_VERSION"),
        broken.join("; ")
    ))
    .help("run the recost that wrote them, or give the new one a `warehouse` of its own and backfill it; readers then choose when to change over"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn promise(columns: &[(&str, &str, bool)]) -> Promise {
        let field = |(name, ty, required): &(&str, &str, bool)| {
            let field = Field {
                ty: (*ty).to_string(),
                required: *required,
            };
            ((*name).to_string(), field)
        };
        Promise {
            partition: Some("ds".into()),
            columns: columns.iter().map(field).collect(),
        }
    }

    #[test]
    fn what_is_added_may_be_null_and_nothing_else_may_change() {
        let before = promise(&[("a", "text", true), ("b", "int64", false)]);
        let mut more = before.clone();
        more.columns
            .extend(promise(&[("c", "date", false)]).columns);
        assert_eq!(breaks(&before, &more), Vec::<String>::new());
        assert_eq!(breaks(&more, &before), ["column c is gone"]);
        for (change, said) in [
            (("b", "float64", false), "column b is float64, was int64"),
            (
                ("b", "int64", true),
                "column b needs a value, and could be null",
            ),
            (("a", "text", false), "column a may be null, and could not"),
            (
                ("c", "text", true),
                "column c is new and needs a value, which old files do not have",
            ),
        ] {
            let mut now = before.clone();
            now.columns.extend(promise(&[change]).columns);
            assert_eq!(breaks(&before, &now), [said]);
        }
        let mut now = before.clone();
        now.partition = None;
        assert_eq!(breaks(&before, &now), ["partitioned by nothing, was by ds"]);
    }

    #[test]
    fn a_snapshot_of_other_contracts_is_refused_and_one_that_says_nothing_passes() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path()).unwrap();
        for table in TABLES {
            fs::create_dir(dir.path().join(table.name)).unwrap();
        }
        record(dir.path()).unwrap();
        check(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let text = fs::read_to_string(&path).unwrap();
        let doctored = text.replacen("\"int64\"", "\"int32\"", 1).replacen(
            "\n  \"events\"",
            "\n  \"clicks\"",
            1,
        );
        assert_ne!(doctored, text);
        fs::write(&path, doctored).unwrap();
        let error = check(dir.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Contract);
        let said = error.to_string();
        assert!(
            said.contains("is int64, was int32") && said.contains("table clicks"),
            "{said}"
        );
    }
}

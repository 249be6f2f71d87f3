//! How the contracts of tables may change from one version of the program to the next.
//!
//! A snapshot says in `contracts.json` what its tables promised when it was written. A program whose own contracts break one
//! of these promises would turn tables that others read into something else, and read old files wrongly itself: it writes
//! nothing, unless it declares the change in [`MIGRATIONS`] and how rows that were written before become rows of today. Who
//! then publishes next rewrites the old partitions, in the same step.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::contract::Table;
use super::tables::TABLES;
use super::writer::TableWriter;
use crate::decoder;
use crate::disk::{read_dir, write_whole};
use crate::error::{Error, Result};

/// Its name in a snapshot.
const NAME: &str = "contracts.json";

/// Changes of one table that break promises on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The table.
    pub table: &'static str,
    /// What is broken, in the words of [`breaks`]; of several versions one after another all that each broke.
    pub changes: &'static [&'static str],
    /// Makes rows that were written before into rows of today. Columns are then taken by name and cast, so what merely goes
    /// or gets another type needs nothing; a value that does not fit ends the run. Sees rows of today as well.
    pub rewrite: fn(RecordBatch) -> Result<RecordBatch>,
}

/// The changes that this version makes. None so far.
pub const MIGRATIONS: &[Migration] = &[];

/// What a table promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The column that its partitions are named by.
    partition: Option<String>,
    columns: BTreeMap<String, Field>,
    /// The columns by which each file is sorted. Earlier versions did not say so.
    #[serde(default)]
    order: Option<Vec<String>>,
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
            order: Some(table.order.iter().map(ToString::to_string).collect()),
        }
    }
}

/// What of `before` is broken by `now`, one sentence each. A new column that may be null breaks nothing: old files are read
/// with nulls. Nor does an order that goes on where the old one ended.
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
    let (old, new) = (&before.order, now.order.as_deref().unwrap_or_default());
    if let Some(old) = old.as_ref().filter(|old| !new.starts_with(old)) {
        let by = |order: &[String]| match order {
            [] => "nothing".to_string(),
            order => order.join(", "),
        };
        broken.push(format!("sorted by {}, was by {}", by(new), by(old)));
    }
    for (name, old) in &before.columns {
        let Some(new) = now.columns.get(name) else {
            broken.push(format!("column {name} is gone"));
            continue;
        };
        if new.ty != old.ty {
            broken.push(format!("column {name} is {}, was {}", new.ty, old.ty));
        }
        match (old.required, new.required) {
            (false, true) => broken.push(format!("column {name} needs a value, and could be null")),
            // A reader that was promised a value.
            (true, false) => {
                broken.push(format!("column {name} may be null, and could not"));
            }
            _ => {}
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

/// The contracts that a program keeps, and what it changes of those before.
#[derive(Clone, Copy)]
struct Contracts {
    tables: &'static [Table],
    migrations: &'static [Migration],
}

fn ours() -> Contracts {
    Contracts {
        tables: TABLES,
        migrations: MIGRATIONS,
    }
}

/// Writes into a snapshot what its tables promise.
///
/// # Errors
/// Those of the file system.
pub fn record(snapshot: &Path) -> Result<()> {
    ours().record(snapshot)
}

/// Holds this program's contracts against what the snapshot promises. One that says nothing promises nothing.
///
/// # Errors
/// `Kind::Contract`, naming each promise that would be broken.
pub fn check(snapshot: &Path) -> Result<()> {
    ours().check(snapshot).map(drop)
}

/// Rewrites the tables of a staged snapshot, whose files are links to those of `published`, that this program declares to be
/// others than they were promised there.
///
/// # Errors
/// As [`check`]; `Kind::Contract`, with the file, for a row that does not fit; those of the file system.
pub fn migrate(published: &Path, staged: &Path) -> Result<()> {
    ours().migrate(published, staged)
}

impl Contracts {
    fn record(self, snapshot: &Path) -> Result<()> {
        let tables = self.tables.iter();
        let tables = tables.filter(|t| snapshot.join(t.name).is_dir());
        let promises: BTreeMap<&str, Promise> = tables.map(|t| (t.name, Promise::of(t))).collect();
        let text =
            serde_json::to_vec_pretty(&promises).map_err(|e| Error::unexpected(e.to_string()))?;
        // The file that is there is a link to a published one, and is replaced, not written into.
        write_whole(&snapshot.join(NAME), &text)
    }

    /// The migrations that the tables of a snapshot need.
    fn check(self, snapshot: &Path) -> Result<Vec<&'static Migration>> {
        let path = snapshot.join(NAME);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            bytes => bytes.map_err(|e| Error::io("cannot read", &path, &e))?,
        };
        let promises: BTreeMap<String, Promise> = serde_json::from_slice(&bytes).map_err(|e| {
            Error::contract(format!("{}: these are no contracts: {e}", path.display()))
        })?;
        let (mut broken, mut due) = (vec![], vec![]);
        for (name, before) in &promises {
            let mut found = match self.tables.iter().find(|t| t.name == name) {
                Some(table) => breaks(before, &Promise::of(table)),
                None => vec!["this recost knows no such table".to_string()],
            };
            if found.is_empty() {
                continue;
            }
            if let Some(migration) = self.migrations.iter().find(|m| m.table == name) {
                found.retain(|change| !migration.changes.contains(&change.as_str()));
                due.push(migration);
            }
            broken.extend(found.into_iter().map(|c| format!("table {name}: {c}")));
        }
        if broken.is_empty() {
            return Ok(due);
        }
        Err(Error::contract(format!(
            "the published tables were written by other contracts, which this recost {} would break: {}",
            env!("CARGO_PKG_VERSION"),
            broken.join("; ")
        ))
        .help("run the recost that wrote them, or give the new one a `warehouse` of its own and backfill it; readers then choose when to change over"))
    }

    fn migrate(self, published: &Path, staged: &Path) -> Result<()> {
        for migration in self.check(published)? {
            if let Some(table) = self.tables.iter().find(|t| t.name == migration.table) {
                tracing::info!(table = table.name, changes = ?migration.changes, "its partitions are rewritten");
                rewrite(table, migration, &staged.join(table.name))?;
            }
        }
        Ok(())
    }
}

/// Rewrites the files of a table below `dir`.
fn rewrite(table: &'static Table, migration: &Migration, dir: &Path) -> Result<()> {
    for path in read_dir(dir)? {
        if path.is_dir() {
            rewrite(table, migration, &path)?;
        } else if path.extension().is_some_and(|e| e == "parquet") {
            rewrite_file(table, migration, &path)
                .map_err(|e| e.context(format!("{} from before this version", path.display())))?;
        }
    }
    Ok(())
}

fn rewrite_file(table: &'static Table, migration: &Migration, path: &Path) -> Result<()> {
    // It stays open while another takes its name.
    let batches = decoder::read(path)?;
    let mut writer = TableWriter::create(table, path)?;
    for batch in batches {
        writer.write(&(migration.rewrite)(batch?)?)?;
    }
    writer.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::Float64Type;

    use super::*;
    use crate::error::Kind;
    use crate::warehouse::{Column, Partition, Type};

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
            order: Some(vec!["a".into()]),
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
        let sorted = |by: Option<&[&str]>| Promise {
            order: by.map(|by| by.iter().map(ToString::to_string).collect()),
            ..before.clone()
        };
        assert_eq!(
            breaks(&before, &sorted(Some(&["a", "b"]))),
            Vec::<String>::new()
        );
        assert_eq!(breaks(&sorted(None), &before), Vec::<String>::new());
        for (by, said) in [
            (&["b", "a"] as &[_], "sorted by b, a, was by a"),
            (&[], "sorted by nothing, was by a"),
        ] {
            assert_eq!(breaks(&before, &sorted(Some(by))), [said]);
        }
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

    const fn column(name: &'static str, ty: Type, required: bool) -> Column {
        Column {
            name,
            ty,
            required,
            unit: "",
            doc: "",
            checks: &[],
            distinct: false,
        }
    }

    const fn by_day(order: &'static [&'static str], columns: &'static [Column]) -> Table {
        Table {
            name: "visits",
            grain: "visit",
            partition: Partition::Day,
            order,
            columns,
        }
    }

    static BEFORE: &[Table] = &[by_day(
        &["who"],
        &[
            column("who", Type::Text, true),
            column("pages", Type::Int64, true),
            column("seconds", Type::Float64, false),
            column("agent", Type::Text, false),
        ],
    )];
    static NOW: &[Table] = &[by_day(
        &["user_id"],
        &[
            column("user_id", Type::Text, true),
            column("pages", Type::Int32, false),
            column("seconds", Type::Float64, true),
        ],
    )];
    static DECLARED: &[Migration] = &[Migration {
        table: "visits",
        changes: &[
            "sorted by user_id, was by who",
            "column who is gone",
            "column user_id is new and needs a value, which old files do not have",
            "column pages is int32, was int64",
            "column pages may be null, and could not",
            "column seconds needs a value, and could be null",
            "column agent is gone",
        ],
        rewrite: |rows| {
            let who = rows
                .column_by_name("who")
                .ok_or_else(|| Error::contract("nobody"))?;
            let seconds = rows
                .column_by_name("seconds")
                .ok_or_else(|| Error::contract("no time"))?;
            let pages = rows
                .column_by_name("pages")
                .ok_or_else(|| Error::contract("no pages"))?;
            let seconds = seconds.as_primitive::<Float64Type>().iter();
            let seconds: Float64Array = seconds.map(|s| Some(s.unwrap_or(0.0))).collect();
            Ok(RecordBatch::try_from_iter([
                ("user_id", Arc::clone(who)),
                ("pages", Arc::clone(pages)),
                ("seconds", Arc::new(seconds) as ArrayRef),
            ])?)
        },
    }];

    /// A snapshot of [`BEFORE`] with two days, one of which has `pages`; and the same as links.
    fn published(pages: i64) -> (tempfile::TempDir, [PathBuf; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
        for (day, pages) in [("2026-10-30", 3), ("2026-10-31", pages)] {
            let below = format!("visits/ds={day}");
            for snapshot in [&old, &new] {
                fs::create_dir_all(snapshot.join(&below)).unwrap();
            }
            let rows = RecordBatch::try_from_iter([
                (
                    "who",
                    Arc::new(StringArray::from(vec!["ana", "ben"])) as ArrayRef,
                ),
                ("pages", Arc::new(Int64Array::from(vec![1, pages]))),
                (
                    "seconds",
                    Arc::new(Float64Array::from(vec![None, Some(2.5)])),
                ),
                ("agent", Arc::new(StringArray::from(vec!["x", "y"]))),
            ]);
            let file = old.join(&below).join("part-0.parquet");
            let mut writer = TableWriter::create(&BEFORE[0], &file).unwrap();
            writer.write(&rows.unwrap()).unwrap();
            writer.finish().unwrap();
            fs::hard_link(&file, new.join(&below).join("part-0.parquet")).unwrap();
        }
        let before = Contracts {
            tables: BEFORE,
            migrations: &[],
        };
        before.record(&old).unwrap();
        fs::hard_link(old.join(NAME), new.join(NAME)).unwrap();
        (dir, [old, new])
    }

    fn rows(snapshot: &Path, day: &str) -> Vec<RecordBatch> {
        let path = snapshot.join(format!("visits/ds={day}/part-0.parquet"));
        let batches = decoder::read(&path).unwrap();
        batches.map(Result::unwrap).collect()
    }

    #[test]
    fn a_break_is_refused_unless_all_of_it_is_declared() {
        let (_dir, [old, new]) = published(4);
        for declared in [0, 1, DECLARED[0].changes.len() - 1] {
            let some = Migration {
                changes: &DECLARED[0].changes[..declared],
                ..DECLARED[0]
            };
            let contracts = Contracts {
                tables: NOW,
                migrations: Box::leak(Box::new([some])),
            };
            let error = contracts.migrate(&old, &new).unwrap_err();
            assert_eq!(error.kind(), Kind::Contract);
            for (n, change) in DECLARED[0].changes.iter().enumerate() {
                let named = error
                    .to_string()
                    .contains(&format!("table visits: {change}"));
                assert_eq!(named, n >= declared, "{change}: {error}");
            }
            assert_eq!(rows(&new, "2026-10-31"), rows(&old, "2026-10-31"));
        }
    }

    #[test]
    fn what_is_declared_is_rewritten_once_and_only_where_it_is_staged() {
        let (_dir, [old, new]) = published(4);
        let before = rows(&old, "2026-10-31");
        let contracts = Contracts {
            tables: NOW,
            migrations: DECLARED,
        };
        contracts.migrate(&old, &new).unwrap();
        for (day, pages) in [("2026-10-30", 3), ("2026-10-31", 4)] {
            let [now] = rows(&new, day).try_into().unwrap();
            assert_eq!(now.schema().fields().len(), 3);
            let users: Vec<_> = now.column(0).as_string::<i32>().iter().flatten().collect();
            assert_eq!(users, ["ana", "ben"]);
            assert_eq!(now.column(1).as_ref(), &Int32Array::from(vec![1, pages]));
            assert_eq!(now.column(2).as_ref(), &Float64Array::from(vec![0.0, 2.5]));
        }
        assert_eq!(rows(&old, "2026-10-31"), before);
        // A run that begins again does it again, from what is published; one that follows has nothing to do.
        contracts.record(&new).unwrap();
        contracts.check(&old).unwrap();
        assert!(contracts.check(&new).unwrap().is_empty());
        // Back to the program before: refused, and its own snapshot is as it was.
        let back = Contracts {
            tables: BEFORE,
            migrations: &[],
        };
        assert_eq!(back.check(&new).unwrap_err().kind(), Kind::Contract);
        assert!(back.check(&old).unwrap().is_empty());
    }

    #[test]
    fn a_row_that_does_not_fit_any_more_is_named_by_its_file() {
        let (_dir, [old, new]) = published(i64::from(i32::MAX) + 1);
        let contracts = Contracts {
            tables: NOW,
            migrations: DECLARED,
        };
        let error = contracts.migrate(&old, &new).unwrap_err();
        assert_eq!(error.kind(), Kind::Contract);
        let said = error.to_string();
        assert!(
            said.contains("ds=2026-10-31") && said.contains("2147483648"),
            "{said}"
        );
    }
}

//! A dialect's mapping, planned over one source file and held against the contract of the table it feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::DataFrame;

use super::convert::fits;
use super::reader::{PART, REJECT, ROW, SourceFile};
use crate::config::Source;
use crate::engine::{Engine, Library};
use crate::error::{Error, Kind, Result, nearest};
use crate::warehouse::{Table, table};

/// Columns of `charges`, `invoices` and `commitments` that ingest fills itself.
pub const FILLED: &[&str] = &[
    "row_id",
    "delivery_id",
    "source",
    "file",
    "row",
    "part",
    "billed_rounding",
    "effective_rounding",
];

/// The SQL file that maps one dialect onto one table.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The table that it feeds.
    pub table: &'static Table,
    /// The SQL.
    pub text: String,
    /// Columns that a file may lack; they are null then.
    pub optional: Vec<String>,
    place: String,
}

/// A mapping over one file, ready to run.
pub struct Planned {
    /// The query; its columns are those of the table that the mapping gives, `_row`, and for charges perhaps `_part`.
    pub frame: DataFrame,
}

impl Mapping {
    /// The mapping of a source's dialect.
    ///
    /// # Errors
    /// `Kind::Config` when there is no such dialect, naming the nearest.
    pub fn of(source: &Source, library: &Library) -> Result<Self> {
        let folder = format!("sources/{}", source.kind);
        let path = format!("{folder}/{}.sql", source.dialect);
        let text = library.get(&path).map_err(|_| {
            let known: Vec<&str> = library.folder(&folder).map(|(name, _)| name).collect();
            let near = nearest(&source.dialect, known.iter().copied())
                .map_or(String::new(), |n| format!("did you mean `{n}`? "));
            Error::config(format!(
                "source `{}`: there is no dialect `{}` for {}",
                source.name, source.dialect, source.kind
            ))
            .help(format!(
                "{near}known: {}; a dialect of your own is one file sql/{path}",
                known.join(", ")
            ))
        })?;
        let table = table(source.kind.table())
            .ok_or_else(|| Error::unexpected(format!("no table {}", source.kind)))?;
        let optional = text
            .lines()
            .filter_map(|l| l.trim().strip_prefix("-- optional:"))
            .flat_map(|names| names.split(','))
            .map(|n| n.trim().to_string())
            .filter(|n| !n.is_empty())
            .collect();
        Ok(Mapping {
            table,
            text: text.to_string(),
            optional,
            place: library.describe(&path),
        })
    }

    /// Plans the mapping over `file`.
    ///
    /// # Errors
    /// `Kind::Contract`, naming file, column, found and wanted type, when the file or the mapping's result does not fit.
    pub async fn plan(&self, engine: &Engine, file: &Arc<SourceFile>) -> Result<Planned> {
        engine
            .context()
            .register_table("source", file.table())
            .map_err(Error::from)?;
        file.fits(engine.memory_of_a_file())?;
        let shown = file.input.path.display();
        let frame = engine
            .query(&self.text)
            .await
            .map_err(|e| self.explain(e, file))?;
        let columns = frame.schema().clone();
        let copied = copied_columns(frame.logical_plan());
        let row = columns.field_with_unqualified_name(ROW);
        if !row.is_ok_and(|f| f.data_type().is_integer()) {
            return Err(
                Error::config(format!("{} does not select {ROW}", self.place)).help(format!(
                    "a mapping passes on the row number: SELECT {ROW}, …"
                )),
            );
        }
        for field in columns.fields() {
            let name = field.name();
            if name == ROW || name == REJECT {
                continue;
            }
            if name == PART && self.table.name == "charges" {
                if field.data_type().is_integer() {
                    continue;
                }
                return Err(Error::config(format!(
                    "{} gives {PART} as {}, and it is an integer",
                    self.place,
                    field.data_type()
                ))
                .help(format!(
                    "{PART} numbers the charges that a mapping makes of one row, from 0"
                )));
            }
            let known = self.given().map(|c| c.name);
            let Some(column) = self.given().find(|c| c.name == name.as_str()) else {
                let error = Error::contract(format!(
                    "{} gives a column {name}, which the table {} does not have",
                    self.place, self.table.name
                ));
                return Err(match nearest(name, known) {
                    Some(near) => error.help(format!("did you mean {near}?")),
                    None => error.help(format!("see `recost tables {}`", self.table.name)),
                });
            };
            let from = copied.get(name);
            let lacking = |c: &String| c != ROW && file.columns.column_with_name(c).is_none();
            if from.is_some_and(lacking) {
                // An optional column that the file lacks has no type of its own.
                continue;
            }
            let parse = file.is_text() || from.is_none();
            if !fits(field.data_type(), column.ty, parse) {
                return Err(Error::contract(format!(
                    "{shown}, column {name}: found {}, wanted {}",
                    field.data_type(),
                    column.ty.name()
                ))
                .help(format!(
                    "deliver the column with that type, or convert it in a dialect of your own (this one is {})",
                    self.place
                )));
            }
        }
        for column in self.given().filter(|c| c.required) {
            if columns.field_with_unqualified_name(column.name).is_err() {
                return Err(Error::contract(format!(
                    "{} gives no column {}, wanted as {}",
                    self.place,
                    column.name,
                    column.ty.name()
                )));
            }
        }
        Ok(Planned { frame })
    }

    /// Whether the SQL names a column of the source.
    pub fn names(&self, column: &str) -> bool {
        let text = self.text.to_lowercase();
        let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word == column.to_lowercase())
            || text.contains(&format!("\"{}\"", column.to_lowercase()))
    }

    /// Whether ingest says of each row of the table where it came from.
    pub fn fills(&self) -> bool {
        self.table.column("delivery_id").is_some()
    }

    /// The columns that a mapping gives: the table's own but for those that ingest fills.
    pub fn given(&self) -> impl Iterator<Item = &'static crate::warehouse::Column> {
        let fills = self.fills();
        self.table
            .columns
            .iter()
            .filter(move |c| !(fills && FILLED.contains(&c.name)))
    }

    /// Turns the engine's word on a column that is not there into one about the file.
    fn explain(&self, error: Error, file: &SourceFile) -> Error {
        let message = error.to_string();
        let missing = message
            .split_once("No field named ")
            .and_then(|(_, rest)| rest.lines().next()?.split(". ").next())
            .map(|name| {
                name.trim_end_matches('.')
                    .trim_start_matches("source.")
                    .replace('"', "")
            });
        let Some(missing) = missing else {
            return error.context(&self.place);
        };
        let column = self
            .given()
            .find(|c| c.name.replace('_', "") == missing.to_lowercase().replace('_', ""));
        let wanted = column.map_or(String::new(), |c| format!(", wanted as {}", c.ty.name()));
        let found: Vec<&str> = file
            .columns
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        let near = nearest(&missing, found.iter().copied());
        let nearest = near.map_or(String::new(), |n| format!(" (the nearest is {n})"));
        Error::new(
            Kind::Contract,
            format!(
                "{}: the column {missing} is missing{wanted}; found {}{nearest}",
                file.input.path.display(),
                found.join(", "),
            ),
        )
        .help(match column {
            _ if near.is_some() => format!(
                "if {} is its new name, deliver it under the old one or name it so in a dialect of your own (this one is {}); \
                 else deliver the column",
                near.unwrap_or_default(),
                self.place
            ),
            // Nothing is gained by calling it optional: the rows would be rejected one by one.
            Some(c) if c.required => format!(
                "deliver the column, or give {} in a dialect of your own (this one is {})",
                c.name, self.place
            ),
            _ => format!(
                "deliver the column, or name it on an `-- optional:` line of {}",
                self.place
            ),
        })
    }
}

/// The columns of a query's result that are copied from the source as they are, each with the source's name for it.
fn copied_columns(plan: &LogicalPlan) -> BTreeMap<String, String> {
    let LogicalPlan::Projection(projection) = plan else {
        return BTreeMap::new();
    };
    let names = projection.schema.fields().iter().map(|f| f.name().clone());
    let copied = projection.expr.iter().map(|e| {
        let inner = match e {
            Expr::Alias(alias) => alias.expr.as_ref(),
            other => other,
        };
        match inner {
            Expr::Column(column) => Some(column.name.clone()),
            _ => None,
        }
    });
    names
        .zip(copied)
        .filter_map(|(name, from)| Some((name, from?)))
        .collect()
}

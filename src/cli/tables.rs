//! `recost tables`: the contracts of the published tables.

use super::print::Printer;
use crate::error::{Error, Result, nearest};
use crate::warehouse::{TABLES, Table, table};

/// Arguments of `recost tables`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this table, with its columns.
    name: Option<String>,
    /// All tables with their columns, as Markdown.
    #[arg(long)]
    markdown: bool,
}

/// Runs the command.
pub fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    if args.markdown {
        printer.result(&markdown());
        return Ok(());
    }
    let Some(name) = &args.name else {
        let lines: Vec<String> = TABLES
            .iter()
            .map(|t| format!("{:<22} one row per {}", t.name, t.grain))
            .collect();
        printer.result(&lines.join("\n"));
        return Ok(());
    };
    let Some(found) = table(name) else {
        let error = Error::config(format!("there is no table {name}"));
        return Err(match nearest(name, TABLES.iter().map(|t| t.name)) {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error.help("`recost tables` lists them"),
        });
    };
    printer.result(&describe(found));
    Ok(())
}

fn describe(table: &Table) -> String {
    let mut lines = vec![format!("{}: one row per {}", table.name, table.grain)];
    if let Some(column) = table.partition.column() {
        lines.push(format!("partitioned by {column}"));
    }
    if !table.order.is_empty() {
        lines.push(format!("sorted by {}", table.order.join(", ")));
    }
    lines.push(String::new());
    for c in table.columns {
        let null = if c.required { "" } else { "?" };
        let unit = if c.unit.is_empty() {
            String::new()
        } else {
            format!(" [{}]", c.unit)
        };
        lines.push(format!(
            "  {:<26} {:<20} {}{unit}",
            c.name,
            format!("{}{null}", c.ty.name()),
            c.doc
        ));
    }
    lines.join("\n")
}

/// All contracts as the text of `docs/tables.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Tables\n\nMade by `recost tables --markdown` from the contracts that every file is held against when it is \
         written. A `?` marks a column that may be null. Money is exact: decimal(38,18).\n",
    );
    for table in TABLES {
        text.push_str(&format!(
            "\n## {}\n\nOne row per {}.",
            table.name, table.grain
        ));
        if let Some(column) = table.partition.column() {
            text.push_str(&format!(" Partitioned by `{column}`."));
        }
        if !table.order.is_empty() {
            text.push_str(&format!(" Sorted by {}.", table.order.join(", ")));
        }
        text.push_str("\n\n| column | type | unit | meaning |\n|---|---|---|---|\n");
        for c in table.columns {
            let null = if c.required { "" } else { "?" };
            text.push_str(&format!(
                "| {} | {}{null} | {} | {} |\n",
                c.name,
                c.ty.name(),
                c.unit,
                c.doc
            ));
        }
    }
    text
}

//! `recost explain`: where each cent of a charge went, or where a model's cost, a version's cost to make or the cost of one
//! recommendation came from.

mod model;
mod recommendation;

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::Value;

use super::print::{Printer, columns, short};
use super::{load, yesterday};
use crate::attribution::explain::{Explanation, Filter, Row, explain};
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;

/// Arguments of `recost explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// What to explain: the row_id of a charge or the start of one, FILE:ROW of a bill, an idle pool, a model,
    /// MODEL@VERSION, idle, unallocated, or what was recommended: request/REQUEST_ID, request/REQUEST_ID/ITEM_ID.
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Of a model, only this billing period; what is recognised of its cost to make is then shown by day.
    #[arg(long, value_name = "YYYY-MM")]
    period: Option<String>,
    /// Of a model, only this stage: development, training, deployment, operations or upgrade.
    #[arg(long)]
    stage: Option<String>,
    /// Of a model or recommendation, how many bill rows to show, largest first; above 20 all allocations are read.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// How it is written to standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library) = load(&args.pipeline)?;
    let snapshot = Warehouse::new(&pipeline.warehouse).published()?;
    let options = Options::of(&pipeline, yesterday());
    let engine = Engine::open(&options, Some(&snapshot), None)?;
    let filter = Filter {
        period: args.period.clone(),
        stage: args.stage.clone(),
        limit: args.limit,
    };
    let found = explain(&engine, &library, &args.subject, &filter).await?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&found)
            .map_err(|e| Error::unexpected(format!("the explanation is no JSON: {e}")))?,
        Format::Text => match &found {
            Explanation::Charge { charges, parts } => of_charges(charges, parts),
            Explanation::Idle { row_id, parts } => of_idle(row_id, parts),
            Explanation::Model { .. } => model::text(&found),
            Explanation::Recommendation { .. } => recommendation::text(&found),
        },
    };
    printer.result(&text);
    Ok(())
}

/// A cell as text; empty where there is none.
fn cell<'a>(row: &'a Row, name: &str) -> std::borrow::Cow<'a, str> {
    match row.get(name) {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(text)) => text.as_str().into(),
        Some(other) => other.to_string().into(),
    }
}

/// An amount of a row.
fn amount(row: &Row, name: &str) -> String {
    short(&cell(row, name))
}

/// The cells that are not empty, in a row.
fn words(row: &Row, names: &[&str]) -> String {
    let found: Vec<_> = names.iter().map(|n| cell(row, n)).collect();
    let found: Vec<&str> = found
        .iter()
        .map(|c| c.as_ref())
        .filter(|c| !c.is_empty())
        .collect();
    found.join(", ")
}

/// Who an amount went to.
fn target(row: &Row) -> String {
    match cell(row, "target").as_ref() {
        "model" => words(row, &["model_id", "model_version", "stage"]),
        "unallocated" => format!("unallocated: {}", cell(row, "reason")),
        other => other.to_string(),
    }
}

/// Parts: whose each is, its weight and its amounts.
fn parts_table(parts: &[&Row]) -> Vec<String> {
    let heads = ["went to", "category", "weight", "of", "billed", "effective"];
    let mut table = vec![heads.map(String::from).to_vec()];
    table.extend(parts.iter().map(|part| {
        vec![
            target(part),
            cell(part, "category").into_owned(),
            cell(part, "weight").into_owned(),
            cell(part, "weight_total").into_owned(),
            amount(part, "billed"),
            amount(part, "effective"),
        ]
    }));
    columns(&table, 2)
}

/// The cost pools that a part came through, in words.
fn through(via: &str) -> String {
    let steps: Vec<Value> = serde_json::from_str(via).unwrap_or_default();
    let step = |step: &Value| {
        let by = step["driver"].as_str().map_or(String::new(), |driver| {
            let (weight, total) = (&step["weight"], &step["weight_total"]);
            format!(" ({weight} of {total} by {driver})")
        });
        format!("{}{by}", step["pool"].as_str().unwrap_or_default())
    };
    match steps.as_slice() {
        [] => String::new(),
        steps => format!(
            "  through {}",
            steps.iter().map(step).collect::<Vec<_>>().join(" > ")
        ),
    }
}

/// How a charge stands to what was delivered since, where that is worth a line.
fn standing(charge: &Row) -> Option<String> {
    let by = match cell(charge, "later_delivery_id") {
        id if id.is_empty() => String::new(),
        id => format!(" {id}"),
    };
    let late = cell(charge, "held_in") == "late_charges";
    let line = match cell(charge, "standing").as_ref() {
        "new" => "of a delivery that came after its billing period was closed, and new there: it is restated in the open one".to_string(),
        "unchanged" if late => {
            "of a delivery that came after its billing period was closed, and unchanged there".to_string()
        }
        "unchanged" => format!("unchanged by the delivery{by} that came after its billing period was closed"),
        "withdrawn" if by.is_empty() => {
            "withdrawn: its delivery counts no longer, and none took its place; it is restated in the open period".to_string()
        }
        "withdrawn" => format!(
            "withdrawn by the delivery{by} that came after its billing period was closed: it is restated in the open one"
        ),
        "superseded" if by.is_empty() => {
            "superseded: its delivery counts no longer, and none took its place; it costs nothing any more".to_string()
        }
        "superseded" => format!("superseded by the delivery{by}, which does not have it; it costs nothing any more"),
        _ => return None,
    };
    Some(format!("  {line}"))
}

fn of_charges(charges: &[Row], parts: &[Row]) -> String {
    let mut lines = vec![];
    for charge in charges {
        let id = cell(charge, "row_id");
        let held = cell(charge, "held_in");
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(format!("charge {id}"));
        lines.extend(standing(charge));
        for (what, names) in [
            ("bill", &["billing_period", "issuer", "invoice_id"][..]),
            (
                "what",
                &[
                    "charge_category",
                    "charge_class",
                    "service_name",
                    "resource_id",
                    "charge_description",
                ],
            ),
            ("when", &["charge_period_start", "charge_period_end"]),
            ("from", &["source", "file", "delivery_id"]),
        ] {
            lines.push(format!("  {what}  {}", words(charge, names)));
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(&format!(", row {}", cell(charge, "row")));
        }
        lines.push(format!(
            "  cost  billed {} {currency}, effective {} {currency}",
            amount(charge, "billed"),
            amount(charge, "effective"),
            currency = cell(charge, "currency")
        ));
        if held == "superseded_charges" {
            continue;
        }
        let held_parts = held.replace("charges", "allocations");
        let of: Vec<&Row> = parts
            .iter()
            .filter(|p| cell(p, "row_id") == id && cell(p, "held_in") == held_parts)
            .collect();
        let Some(first) = of.first() else {
            lines.push("  its period was not attributed yet".into());
            continue;
        };
        let driver = match cell(first, "driver").as_ref() {
            "" => String::new(),
            driver => format!(", by {driver}"),
        };
        lines.push(format!(
            "  rule  {} (version {}){driver}",
            cell(first, "rule"),
            cell(first, "rule_version")
        ));
        let through = of.iter().map(|part| through(&cell(part, "via")));
        let through = std::iter::once(String::new()).chain(through);
        for (line, through) in parts_table(&of).into_iter().zip(through) {
            lines.push(format!("{line}{through}"));
        }
    }
    lines.join("\n")
}

/// Where the parts of an idle pool went.
fn of_idle(row_id: &str, parts: &[Row]) -> String {
    let mut lines = vec![
        row_id.to_string(),
        "  idle that moved on to those who used the machine, on the allocation basis".to_string(),
    ];
    lines.extend(parts_table(&parts.iter().collect::<Vec<_>>()));
    lines.join("\n")
}

/// Where a bill row stands, and what it is for.
fn place(row: &Row) -> String {
    let what = match words(row, &["service_name", "resource_id"]).as_str() {
        "" => String::new(),
        what => format!(": {what}"),
    };
    let (source, file) = (cell(row, "source"), cell(row, "file"));
    format!("{source} {file}, row {}{what}", cell(row, "row"))
}

/// A table: names of columns and how they are headed, the first `left` of them flush left.
fn table(
    rows: &[Row],
    heads: &[(&str, &str)],
    left: usize,
    of: fn(&Row, &str) -> String,
) -> Vec<String> {
    let mut table = vec![heads.iter().map(|(_, head)| (*head).to_string()).collect()];
    table.extend(rows.iter().map(|row| {
        heads
            .iter()
            .map(|(name, _)| of(row, name))
            .collect::<Vec<_>>()
    }));
    columns(&table, left)
}

/// A cell of a table: amounts without the zeros that end them.
fn shown(row: &Row, name: &str) -> String {
    let text = cell(row, name);
    let is_amount = text.contains('.')
        && text
            .trim_start_matches('-')
            .bytes()
            .all(|b| b == b'.' || b.is_ascii_digit());
    if is_amount {
        short(&text)
    } else {
        text.into_owned()
    }
}

/// A table of bill rows: behind its columns, as it is, where each row comes from.
fn with_places(
    rows: &[Row],
    heads: &[(&str, &str)],
    left: usize,
    from: fn(&Row) -> String,
) -> Vec<String> {
    let places = std::iter::once("file and row".to_string()).chain(rows.iter().map(from));
    let lines = table(rows, heads, left, shown).into_iter().zip(places);
    lines
        .map(|(line, place)| format!("{line}  {place}"))
        .collect()
}

/// The largest allocations of a figure, with the rows of the bill.
fn largest_parts(largest: &[Row]) -> Vec<String> {
    let heads = [
        ("row_id", "charge"),
        ("stage", "stage"),
        ("effective", "effective"),
        ("currency", ""),
        ("charge_effective", "of the row's"),
    ];
    with_places(largest, &heads, 2, |row| match cell(row, "file").as_ref() {
        "" => "idle moved on to those who used the machine".to_string(),
        _ => place(row),
    })
}

//! Following the money: from a bill row to where each cent of it went, and from a model's cost, a version's cost to make or
//! the cost of one recommendation to the rows behind it.

mod held;
mod model;
mod recommendation;

use arrow::array::RecordBatch;
use serde_json::{Map, Value};

use crate::engine::rows::exact_json;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};

/// One row of an explanation; amounts are texts with all their digits.
pub type Row = Map<String, Value>;

/// An explanation, as rows of the SQL files of `explain/`.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// Of a charge: more than one row where a prefix of the id names several, or a closed period's bill came again. One
    /// that no bill has any more is as the last delivery that had it left it.
    Charge {
        /// The charges.
        charges: Vec<Row>,
        /// Where each went.
        parts: Vec<Row>,
    },
    /// Of idle that moved on to those who used the machine: where each part of an idle pool went.
    Idle {
        /// The pool, as `allocations` names it.
        row_id: String,
        /// Where it went.
        parts: Vec<Row>,
    },
    /// Of a model, one of its versions, idle or what is unallocated.
    Model {
        /// The model, `MODEL@VERSION`, `idle` or `unallocated`.
        model_id: String,
        /// Its cost by billing period, stage, category, rule and driver.
        totals: Vec<Row>,
        /// Its largest allocations, with the bill's file and row.
        largest: Vec<Row>,
        /// What was restated of it.
        restatements: Vec<Row>,
        /// The bill rows that restatements come from, the largest differences first.
        changes: Vec<Row>,
        /// How its cost to make is recognised: by month, or by day of the one asked for.
        service_life: Vec<Row>,
        /// Of a version, its largest allocations of development, training and upgrade, whenever they were.
        making: Vec<Row>,
    },
    /// Of what was recommended in one response, or of one item of it.
    Recommendation {
        /// `request/REQUEST_ID` or `request/REQUEST_ID/ITEM_ID`.
        subject: String,
        /// What each cost, by currency.
        recommendations: Vec<Row>,
        /// How that is a share of what its model cost on the day.
        shares: Vec<Row>,
        /// What the model cost on the day to run, by stage, category and rule.
        model_day: Vec<Row>,
        /// What was recognised on the day of the cost to make its versions.
        service_life: Vec<Row>,
        /// The largest allocations of the day to run the model, with the bill's file and row.
        largest: Vec<Row>,
        /// What it brought.
        outcomes: Vec<Row>,
    },
}

/// Charges that are explained at once, at most.
const MOST_CHARGES: usize = 50;

/// Which costs, and how many of them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this billing period.
    pub period: Option<String>,
    /// Only this stage.
    pub stage: Option<String>,
    /// Number of bill rows to show.
    pub limit: usize,
}

/// Explains `subject`: `request/` with a response or one item of it, the id of a charge or the start of one, or its file and
/// row, an idle pool, else a model, one of its versions, `idle` or `unallocated`.
///
/// # Errors
/// `Kind::Config` when it is none of these, or when too many ids begin so.
pub async fn explain(
    engine: &Engine,
    library: &Library,
    subject: &str,
    filter: &Filter,
) -> Result<Explanation> {
    if let Some(named) = subject.strip_prefix("request/") {
        return recommendation::explain(engine, library, named, filter.limit).await;
    }
    if subject.starts_with("idle/") {
        let named = format!("row_id = '{}'", quoted(subject));
        for name in ["allocations", "late_allocations"] {
            engine.restrict(name, &named).await?;
        }
        let parts = rows(engine, library, "parts").await?;
        if !parts.is_empty() {
            let row_id = subject.to_string();
            return Ok(Explanation::Idle { row_id, parts });
        }
    }
    let ids = charges(engine, subject).await?;
    if ids.len() > MOST_CHARGES {
        return Err(Error::config(format!(
            "`{subject}` begins the ids of more than {MOST_CHARGES} charges"
        ))
        .help("give more digits of the row_id, all 32 at most"));
    }
    if ids.is_empty() {
        return model::explain(engine, library, subject, filter).await;
    }
    let named = one_of("row_id", &ids);
    for name in HELD.iter().chain(&["allocations", "late_allocations"]) {
        engine.restrict(name, &named).await?;
    }
    let standing = "select row_id from charges union all select row_id from late_charges";
    let standing = engine.collect(standing).await?;
    if standing.iter().any(|batch| batch.num_rows() > 0) {
        // Each delivery that was replaced has its own copy of a charge that still stands.
        engine.restrict("superseded_charges", "false").await?;
    }
    Ok(Explanation::Charge {
        charges: rows(engine, library, "charges").await?,
        parts: rows(engine, library, "parts").await?,
    })
}

/// The tables of charges, those that count first.
const HELD: &[&str] = &["charges", "late_charges", "superseded_charges"];

/// The ids of the charges that `subject` names: by an id, the start of one, or the end of a file's name and a row. Those
/// that a newer delivery took the place of are named where no others are.
async fn charges(engine: &Engine, subject: &str) -> Result<Vec<String>> {
    let text = quoted(subject);
    let hexadecimal = subject.bytes().all(|b| b.is_ascii_hexdigit());
    let (named, tables): (_, &[&[&str]]) = match subject.rsplit_once(':') {
        Some((file, row)) if !file.is_empty() && row.parse::<u32>().is_ok() => {
            let file = quoted(file);
            let named =
                format!("\"row\" = {row} and (file = '{file}' or ends_with(file, '/{file}'))");
            (named, &[&HELD[..2], &HELD[2..]])
        }
        // A filter says which part of a file has an id.
        _ if subject.len() == 32 && hexadecimal => {
            (format!("row_id = '{text}'"), &[&HELD[..2], &HELD[2..]])
        }
        // Allocations are sorted by ids, charges are not. Ids are hexadecimal, so the end of the range is past every id that
        // begins with the subject.
        _ if (6..32).contains(&subject.len()) && hexadecimal => (
            format!("row_id >= '{text}' and row_id <= '{text}~'"),
            &[&["allocations", "late_allocations"], &HELD[..2], &HELD[2..]],
        ),
        _ => return Ok(vec![]),
    };
    for tables in tables {
        let found: Vec<String> = tables
            .iter()
            .map(|table| format!("select row_id from {table} where {named}"))
            .collect();
        let sql = format!(
            "select distinct row_id from ({}) limit {}",
            found.join(" union all "),
            MOST_CHARGES + 1
        );
        let found =
            crate::engine::rows::map(&engine.collect(&sql).await?, |row| row.needed("row_id"))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(vec![])
}

/// The rows of one SQL file of `explain/`.
pub(super) async fn rows(engine: &Engine, library: &Library, file: &str) -> Result<Vec<Row>> {
    let sql = library.get(&format!("explain/{file}.sql"))?;
    let batches: Vec<RecordBatch> = engine.collect(sql).await?;
    exact_json(&batches)
}

/// The condition that a column has one of these texts.
pub(super) fn one_of(column: &str, texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|t| format!("'{}'", quoted(t))).collect();
    match quoted.as_slice() {
        [] => "false".to_string(),
        texts => format!("{column} in ({})", texts.join(", ")),
    }
}

/// The condition that picks the charges which the rows of a view are of.
pub(super) async fn charges_behind(engine: &Engine, view: &str) -> Result<String> {
    let ids = engine
        .collect(&format!("select distinct row_id from {view}"))
        .await?;
    let ids = crate::engine::rows::map(&ids, |row| row.needed("row_id"))?;
    Ok(one_of("row_id", &ids))
}

/// Text between quotes in SQL.
pub(super) fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

//! Which rows of bills a restatement comes from: the charges of closed periods whose part of a model's cost is another today.

use super::explain::{Row, charges_behind, one_of, rows};
use crate::engine::{Engine, Library};
use crate::error::Result;

/// The charges behind the restatements that the condition `restated` picks, of the model whose allocations the condition
/// `owned` picks: the largest differences first, `limit` of them. Over a closed period all of them add up to all that was
/// restated for it, on the usage basis.
///
/// # Errors
/// Those of SQL.
pub(super) async fn behind(
    engine: &Engine,
    library: &Library,
    (owned, restated): (&str, &str),
    limit: usize,
) -> Result<Vec<Row>> {
    let periods =
        format!("select distinct restated_period as period from restatements where {restated}");
    let periods = engine.collect(&periods).await?;
    let periods: Vec<String> = crate::engine::rows::map(&periods, |row| row.needed("period"))?;
    if periods.is_empty() {
        return Ok(vec![]);
    }
    let periods = one_of("billing_period", &periods);
    for (view, table) in [
        ("closed_parts", "allocations"),
        ("late_parts", "late_allocations"),
    ] {
        let parts = format!("select * from {table} where {owned} and {periods}");
        engine.view(view, &parts).await?;
    }
    let changes = engine.query(library.get("explain/changes.sql")?).await?;
    let changes = changes.limit(0, Some(limit))?.cache().await?;
    engine.replace_with("changes", changes)?;
    let named = charges_behind(engine, "changes").await?;
    let closed = format!("select * from charges where {named} and {periods}");
    engine.view("closed_charges", &closed).await?;
    engine.restrict("late_charges", &named).await?;
    rows(engine, library, "model_changes").await
}

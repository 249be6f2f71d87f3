//! What the night's models are worth and cost: the table `frontier`.

use super::work::{Work, contract};
use crate::error::Result;
use crate::warehouse::store;

/// Writes `frontier` of the night; there is none where the night made no model.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(work: &Work<'_>) -> Result<()> {
    let (first, last) = work.window;
    let night = last.to_string();
    if !store::partitions(work.snapshot, contract("models")?)?.contains(&night) {
        return Ok(());
    }
    let engine = work.session()?;
    let within = format!("ds between date '{first}' and date '{last}'");
    for name in ["models", "evaluation", "evaluation_pairs", "unit_costs"] {
        engine.restrict(name, &within).await?;
    }
    let table = contract("frontier")?;
    let dir = store::replace(work.snapshot, table, &night)?;
    let sql = work.library.get("attribution/frontier.sql")?;
    engine.write(sql, table, &dir).await?;
    Ok(())
}

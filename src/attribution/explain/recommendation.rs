//! What one recommendation cost, as a share of what its model cost on the day, and what it brought.

use super::held::Held;
use super::{Explanation, quoted, rows};
use crate::engine::rows::map;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};

/// Stages of which a recommendation bears the cost of its day; what the others cost is recognised by the version's ledger.
const RUNNING: &str = "target = 'model' and coalesce(stage, 'operations') not in ('development', 'training', 'upgrade')";

/// Explains `named`: a request, or `REQUEST_ID/ITEM_ID`.
///
/// # Errors
/// `Kind::Config` when nothing was shown in such a response; those of SQL.
pub async fn explain(
    engine: &Engine,
    library: &Library,
    named: &str,
    limit: usize,
) -> Result<Explanation> {
    let of = condition(named);
    let asked = format!("select * from recommendation_costs where {of}");
    let asked = engine.query(&asked).await?.cache().await?;
    engine.replace_with("asked", asked)?;
    let days = engine
        .collect("select distinct ds, model_id from asked order by 1, 2")
        .await?;
    let days = map(&days, |row| {
        let day = row.day("ds")?.unwrap_or_default();
        Ok((day, quoted(&row.needed("model_id")?)))
    })?;
    if days.is_empty() {
        return Err(Error::config(format!("no recommendation `{named}` was shown")).help(
            "write request/REQUEST_ID or request/REQUEST_ID/ITEM_ID, as `recommendation_costs` has them",
        ));
    }
    let on_days = |column: &str| {
        let each = days
            .iter()
            .map(|(day, model)| format!("({column} = date '{day}' and model_id = '{model}')"));
        format!("({})", each.collect::<Vec<_>>().join(" or "))
    };
    let held = Held::open(engine, library).await?;
    let (shown, day) = (on_days("ds"), on_days("day"));
    engine.restrict("recommendation_costs", &shown).await?;
    engine.restrict("allocation_days", &day).await?;
    engine.restrict("version_ledger", &day).await?;
    engine
        .restrict("outcomes", &format!("({of}) and {shown}"))
        .await?;
    let largest = held.largest(&format!("{day} and {RUNNING}"), limit).await?;
    let sql = library.get("attribution/model_days.sql")?;
    engine.view("model_days", sql).await?;
    Ok(Explanation::Recommendation {
        subject: format!("request/{named}"),
        recommendations: rows(engine, library, "recommendations").await?,
        shares: rows(engine, library, "recommendation_shares").await?,
        model_day: rows(engine, library, "model_day").await?,
        service_life: rows(engine, library, "service_life_days").await?,
        largest,
        outcomes: rows(engine, library, "outcomes").await?,
    })
}

/// The condition of the request, or of its item; ids may hold slashes themselves, so each may be the one between the two.
fn condition(named: &str) -> String {
    let text = quoted(named);
    let pairs = named.match_indices('/').map(|(at, _)| {
        let (request, item) = (quoted(&named[..at]), quoted(&named[at + 1..]));
        format!("(request_id = '{request}' and item_id = '{item}')")
    });
    std::iter::once(format!("request_id = '{text}'"))
        .chain(pairs)
        .collect::<Vec<_>>()
        .join(" or ")
}

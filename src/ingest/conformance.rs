//! What the bills should be and are not: rules that are told, and stop nothing.
//!
//! Each file of `sql/conformance/` is a rule. It gives one row per subject that it can judge: `subject`, `issuer`, `unit`,
//! `rows`, and the amounts `stated`, `found` and `tolerance`. All of them are in the table `conformance`.

use std::path::Path;

use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{store, table};

/// Holds the bills of a snapshot against the rules and writes `conformance`. Gives a warning for each rule that something
/// breaks.
///
/// # Errors
/// Those of the rules' SQL and of writing.
pub async fn conformance(
    library: &Library,
    options: &Options,
    snapshot: &Path,
) -> Result<Vec<String>> {
    let table = table("conformance").ok_or_else(|| Error::unexpected("no table conformance"))?;
    let engine = Engine::open(options, Some(snapshot), None)?;
    let rules = judged(&engine, library).await?;
    let dir = store::replace(snapshot, table, "")?;
    let Some(rules) = rules else {
        return Ok(vec![]);
    };
    engine.write(&rules, table, &dir).await?;
    broken(&Engine::open(options, Some(snapshot), None)?).await
}

/// The query that judges by all rules, which are views of the session then; `None` where there is no rule.
///
/// # Errors
/// Those of the rules' SQL.
pub(crate) async fn judged(engine: &Engine, library: &Library) -> Result<Option<String>> {
    let mut rules = vec![];
    for (name, sql) in library.folder("conformance") {
        let place = library.describe(&format!("conformance/{name}.sql"));
        engine
            .view(&format!("rule_{name}"), sql)
            .await
            .map_err(|e| e.context(&place))?;
        rules.push(format!(
            "select '{name}' as rule, subject, issuer, unit, rows, stated, found, stated - found as difference, tolerance,
             abs(stated - found) <= tolerance as holds from rule_{name}"
        ));
    }
    Ok((!rules.is_empty()).then(|| rules.join(" union all ")))
}

/// A line on each rule that something breaks.
///
/// # Errors
/// Those of the query.
pub async fn broken(engine: &Engine) -> Result<Vec<String>> {
    let sql = "select rule, count(*) as judged, count(*) filter (where not holds) as broken,
               first_value(subject order by abs(difference) desc, subject) as worst,
               first_value(unit order by abs(difference) desc, subject) as unit,
               max(abs(difference)) as difference
               from conformance group by rule having count(*) filter (where not holds) > 0 order by rule";
    map(&engine.collect(sql).await?, |row| {
        Ok(format!(
            "conformance: {} of {} break {}, most {} by {} {}; recost sql … \"select * from conformance where not holds\"",
            row.count("broken")?,
            row.count("judged")?,
            row.needed("rule")?,
            row.needed("worst")?,
            row.decimal("difference", 18)?
                .map(crate::money::Money)
                .unwrap_or_default(),
            row.needed("unit")?
        ))
    })
}

//! The checks that must hold before anything is published.

use std::path::Path;

use arrow::array::RecordBatch;
use chrono::NaiveDate;

use crate::attribution;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};

/// Runs every check of the library over the billing periods and days given. Returns how many hold.
///
/// # Errors
/// `Kind::Check`, naming the check and the first rows that break it.
pub async fn check(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    periods: &[String],
) -> Result<usize> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let listed: Vec<String> = periods.iter().map(|p| format!("'{p}'")).collect();
    if !listed.is_empty() {
        let within = format!("billing_period in ({})", listed.join(", "));
        for name in [
            "charges",
            "allocations",
            "allocation_days",
            "largest_allocations",
            "model_costs",
            "reconciliation",
        ] {
            engine.restrict(name, &within).await?;
        }
        // A delivery may hold several periods; it is counted whole only where all of them are looked at.
        let all = format!(
            "array_has_all(make_array({}), partitions)",
            listed.join(", ")
        );
        engine.restrict("deliveries", &all).await?;
    }
    attribution::close::hashes(&engine, library).await?;
    let days = Engine::open(options, Some(snapshot), None)?;
    attribution::stage::restrict_days(&days, window).await?;
    let (first, last) = window;
    days.restrict(
        "recommendation_costs",
        &format!("ds between date '{first}' and date '{last}'"),
    )
    .await?;
    days.view("model_days", library.get("attribution/model_days.sql")?)
        .await?;
    let whole = Engine::open(options, Some(snapshot), None)?;
    let making = library.get("attribution/making_costs.sql")?;
    whole.view("making_costs", making).await?;
    let mut held = 0;
    for (name, sql) in library.folder("checks") {
        // A check that reads costs by day sees the days of the window, one of the ledger of versions all there is; others
        // see whole billing periods.
        let inputs = engine.inputs(sql)?;
        let reads = |name: &str| inputs.iter().any(|t| t == name);
        let session = if reads("model_days") {
            &days
        } else if reads("version_ledger") {
            &whole
        } else {
            &engine
        };
        let place = library.describe(&format!("checks/{name}.sql"));
        let broken = session
            .collect(&format!(
                "select * from ({}) limit 5",
                sql.trim_end().trim_end_matches(';')
            ))
            .await
            .map_err(|e| e.context(&place))?;
        let rows: usize = broken.iter().map(RecordBatch::num_rows).sum();
        if rows > 0 {
            let shown = arrow::util::pretty::pretty_format_batches(&broken)?;
            return Err(Error::new(
                Kind::Check,
                format!("the check {name} fails; the first rows that break it:\n{shown}"),
            )
            .help(format!(
                "{place} says what must hold; a run that fails publishes nothing"
            )));
        }
        held += 1;
    }
    Ok(held)
}

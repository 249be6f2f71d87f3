//! Holds a bill that comes again against the one that it replaces: half an upload must not pass for the bill.

use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Result};

/// Rows of an issuer's bill in one delivery and billing period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    delivery_id: String,
    period: String,
    issuer: String,
    rows: u64,
}

/// The rows of these deliveries of charges by issuer and billing period.
pub(super) async fn issuers(
    engine: &Engine,
    deliveries: impl Iterator<Item = &String>,
) -> Result<Vec<Issued>> {
    let ids: Vec<String> = deliveries.map(|id| format!("'{id}'")).collect();
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let sql = format!(
        "select delivery_id, billing_period, coalesce(invoice_issuer_name, provider_name, source) as issuer, count(*) as rows
         from (select * from charges union all select * from late_charges)
         where delivery_id in ({}) group by 1, 2, 3 order by 1, 2, 3",
        ids.join(", ")
    );
    map(&engine.collect(&sql).await?, |row| {
        Ok(Issued {
            delivery_id: row.needed("delivery_id")?,
            period: row.needed("billing_period")?,
            issuer: row.needed("issuer")?,
            rows: row.count("rows")?,
        })
    })
}

/// Holds deliveries against those that they replace (old id, new id).
///
/// # Errors
/// `Kind::Check` when an issuer's bill lost more than half of its rows: half an upload looks like that, and the report would
/// tie to it.
pub(super) fn held_against(
    before: &[Issued],
    after: &[Issued],
    replaced: &[(String, String)],
) -> Result<()> {
    for (old, new) in replaced {
        for was in before.iter().filter(|i| i.delivery_id == *old) {
            let same = |i: &&Issued| {
                i.delivery_id == *new && i.period == was.period && i.issuer == was.issuer
            };
            let rows = after.iter().find(same).map_or(0, |i| i.rows);
            if rows * 2 < was.rows {
                return Err(Error::check(format!(
                    "the bill of {} for {} came again with {rows} rows, and had {}",
                    was.issuer, was.period, was.rows
                ))
                .help("deliver it whole, or set `may_shrink = true` for its source if that is all there is"));
            }
        }
    }
    Ok(())
}

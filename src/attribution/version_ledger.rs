//! `version_ledger`: the cost to make each version, from the day on which it is incurred to the day on which it is
//! recognised or written off.
//!
//! The whole history is rolled forward again each night from small tables (costs by day and version, what was served by
//! day and version), so it does not matter in which order nights ran.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;

use super::service_life::{ByVersion, Movement, ServiceLife, roll_forward};
use super::work::contract;
use crate::engine::rows::map;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};
use crate::money::SCALE;
use crate::warehouse::{TableWriter, Type, store};

/// What one model cost to make, by currency, and what it served.
#[derive(Debug, Default)]
struct Model {
    incurred: BTreeMap<String, ByVersion<i128>>,
    served: ByVersion<u64>,
}

/// Writes the table up to the night, or to the last day on which anything was served where that is later. The session
/// sees whole tables.
///
/// # Errors
/// Those of SQL and of writing; `Kind::Check` when an amount leaves its range.
pub async fn run(
    engine: &Engine,
    library: &Library,
    life: &ServiceLife,
    snapshot: &Path,
    night: NaiveDate,
) -> Result<()> {
    let (models, last) = read(engine, library).await?;
    let through = last.map_or(night, |last| last.max(night));
    let table = contract("version_ledger")?;
    let dir = store::replace(snapshot, table, "")?;
    let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
    for (id, model) in &models {
        let policy = life.policy(id);
        let mut rows: Vec<(&str, Movement)> = vec![];
        for (currency, incurred) in &model.incurred {
            let moves = roll_forward(&policy, incurred, &model.served, through)
                .map_err(|e| Error::check(format!("the service life of the model `{id}`: {e}")))?;
            rows.extend(moves.into_iter().map(|m| (currency.as_str(), m)));
        }
        let key =
            |(currency, m): &(&str, Movement)| (m.version.clone(), (*currency).to_string(), m.day);
        rows.sort_by_cached_key(key);
        if !rows.is_empty() {
            writer.write(&batch(id, &rows, policy.life.unit(), &policy.to_string())?)?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// Costs and servings of all models, and the last day of service.
async fn read(
    engine: &Engine,
    library: &Library,
) -> Result<(BTreeMap<String, Model>, Option<NaiveDate>)> {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let sql = library.get("attribution/making_costs.sql")?;
    let costs = map(&engine.collect(sql).await?, |row| {
        let key = (row.needed("model_id")?, row.text("model_version")?);
        let amount = row.decimal("effective", SCALE as i8)?.unwrap_or(0);
        Ok((key, row.needed("currency")?, row.day("day")?, amount))
    })?;
    for ((model, version), currency, day, amount) in costs {
        let Some(day) = day else { continue };
        let of = models.entry(model).or_default();
        let of = of.incurred.entry(currency).or_default();
        of.entry(version).or_default().insert(day, amount);
    }
    let sql = "select ds, model_id, model_version, sum(served) as served from served_days
               group by ds, model_id, model_version";
    let served = map(&engine.collect(sql).await?, |row| {
        let key = (row.needed("model_id")?, row.text("model_version")?);
        Ok((key, row.day("ds")?, row.count("served")?))
    })?;
    let days: BTreeSet<NaiveDate> = served.iter().filter_map(|s| s.1).collect();
    for ((model, version), day, count) in served {
        if let (Some(of), Some(day)) = (models.get_mut(&model), day) {
            of.served.entry(version).or_default().insert(day, count);
        }
    }
    Ok((models, days.last().copied()))
}

fn batch(
    model: &str,
    rows: &[(&str, Movement)],
    unit: &'static str,
    policy: &str,
) -> Result<RecordBatch> {
    let text = |f: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
        Arc::new((0..rows.len()).map(f).collect::<StringViewArray>())
    };
    let money = |f: &dyn Fn(&Movement) -> i128| -> ArrayRef {
        let values = Decimal128Array::from_iter_values(rows.iter().map(|(_, m)| f(m)));
        Arc::new(values.with_data_type(Type::Money.arrow()))
    };
    let count = |f: &dyn Fn(&Movement) -> u64| -> ArrayRef {
        let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let values = rows.iter().map(|(_, m)| clamp(f(m)));
        Arc::new(Int64Array::from_iter_values(values))
    };
    let days = rows.iter().map(|(_, m)| Date32Type::from_naive_date(m.day));
    let days: ArrayRef = Arc::new(Date32Array::from_iter_values(days));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("day", days, false),
        ("model_id", text(&|_| Some(model.into())), false),
        ("model_version", text(&|r| rows[r].1.version.clone()), true),
        ("currency", text(&|r| Some(rows[r].0.into())), false),
        ("opening", money(&|m| m.opening), false),
        ("incurred", money(&|m| m.incurred), false),
        ("transferred", money(&|m| m.transferred), false),
        ("recognised", money(&|m| m.recognised), false),
        ("written_off", money(&|m| m.written_off), false),
        ("closing", money(&|m| m.closing), false),
        ("life_unit", text(&|_| Some(unit.into())), false),
        ("used", count(&|m| m.used), false),
        ("life_before", count(&|m| m.life_before), false),
        ("life_after", count(&|m| m.life_after), false),
        ("policy", text(&|_| Some(policy.into())), false),
    ])?)
}

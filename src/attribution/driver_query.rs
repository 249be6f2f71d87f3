//! Driver tables as the SQL files of `attribution/drivers/` give them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{Days, NaiveDate};
use futures::StreamExt;

use super::{DriverRow, DriverTable, RUN_TIME, RUNS, Routing};
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};

/// Reads the drivers that the rules name, and leaves in the session the telemetry and events around the days that its
/// charges cover. Recorded runs are read before that: what a run left behind is billed later, and a run may have begun
/// long before the days on which it is billed.
pub(super) async fn drivers(
    library: &Library,
    engine: &Engine,
    routing: &Routing,
) -> Result<BTreeMap<String, DriverTable>> {
    let mut needed: BTreeMap<&str, &str> = library.folder("attribution/drivers").collect();
    let named = routing.drivers();
    needed.retain(|name, _| named.contains(name));
    let (from, to) = charged_days(engine).await?;
    let mut drivers = BTreeMap::new();
    let mut read = async |name: &str, sql: &str| -> Result<()> {
        let table = engine
            .or_spilling(async |engine| read_driver(engine, sql).await)
            .await
            .map_err(|e| e.context(library.describe(&format!("attribution/drivers/{name}.sql"))))?;
        drivers.insert(name.to_string(), table);
        Ok(())
    };
    if let Some(sql) = needed.remove(RUNS) {
        read(RUNS, sql).await?;
    }
    let until = format!("ds <= date '{to}'");
    let overlaps = format!("usage_end > cast(date '{from}' as timestamp) and {until}");
    engine.restrict("usage", &overlaps).await?;
    if let Some(sql) = needed.remove(RUN_TIME) {
        read(RUN_TIME, sql).await?;
    }
    let days = format!("ds >= date '{from}'");
    engine.restrict("usage", &days).await?;
    engine.restrict_to((from, to)).await?;
    for (name, sql) in needed {
        read(name, sql).await?;
    }
    Ok(drivers)
}

/// First and last day of the charge periods, a day wider at both ends for telemetry that came late.
pub(super) async fn charged_days(engine: &Engine) -> Result<(NaiveDate, NaiveDate)> {
    let sql = "select date_part('epoch', min(charge_period_start)), date_part('epoch', max(charge_period_end)) from charges";
    for batch in engine.collect(sql).await? {
        let ends = [0, 1].map(|c| {
            let seconds = cast(batch.column(c), &DataType::Int64).ok()?;
            let seconds = seconds.as_primitive::<Int64Type>();
            let first = (!seconds.is_empty() && seconds.is_valid(0)).then(|| seconds.value(0))?;
            Some(chrono::DateTime::from_timestamp(first, 0)?.date_naive())
        });
        if let [Some(from), Some(to)] = ends {
            return Ok((
                from.checked_sub_days(Days::new(1)).unwrap_or(from),
                to.checked_add_days(Days::new(1)).unwrap_or(to),
            ));
        }
    }
    Ok((NaiveDate::default(), NaiveDate::default()))
}

async fn read_driver(engine: &Engine, sql: &str) -> Result<DriverTable> {
    let mut builder = DriverTable::builder();
    let held = engine.hold("rows of a driver");
    let mut rows = engine.stream(sql).await?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let text = |name: &str, needed: bool| -> Result<_> {
            match batch.column_by_name(name) {
                Some(column) => Ok(Some(cast(column, &DataType::Utf8View)?)),
                None if needed => Err(Error::config(format!("the driver gives no column {name}"))),
                None => Ok(None),
            }
        };
        let number = |name: &str, needed: bool| -> Result<_> {
            let column = match batch.column_by_name(name) {
                Some(column) if name.starts_with("period_") => {
                    let us = crate::warehouse::Type::Timestamp.arrow();
                    cast(&cast(column, &us)?, &DataType::Int64)?
                }
                Some(column) => cast(column, &DataType::Int64)?,
                None if needed => {
                    return Err(Error::config(format!("the driver gives no column {name}")));
                }
                None => return Ok(None),
            };
            Ok(Some(column.as_primitive::<Int64Type>().clone()))
        };
        let (resource, model) = (text("resource_id", false)?, text("model_id", true)?);
        let (version, stage) = (text("model_version", false)?, text("stage", false)?);
        let (start, end) = (number("period_start", true)?, number("period_end", true)?);
        let (weight, reserved) = (number("weight", true)?, number("reserved", false)?);
        let capacity = number("capacity", false)?;
        for row in 0..batch.num_rows() {
            fn at(column: &Option<arrow::array::ArrayRef>, row: usize) -> Option<&str> {
                let texts = column.as_ref()?.as_string_view();
                texts.is_valid(row).then(|| texts.value(row))
            }
            let count = |column: &Option<arrow::array::Int64Array>| {
                let column = column.as_ref()?;
                column.is_valid(row).then(|| column.value(row))
            };
            let natural = |value: Option<i64>| -> Result<Option<u64>> {
                value
                    .map(|v| {
                        u64::try_from(v).map_err(|_| {
                            Error::check(format!(
                                "the driver gives the weight {v}; weights are not negative"
                            ))
                        })
                    })
                    .transpose()
            };
            let (Some(model), Some(start), Some(end)) =
                (at(&model, row), count(&start), count(&end))
            else {
                continue;
            };
            let stage = at(&stage, row)
                .map(|s| {
                    s.parse()
                        .map_err(|e| Error::check(format!("the driver gives a {e}")))
                })
                .transpose()?;
            builder.push(&DriverRow {
                resource_id: at(&resource, row),
                start,
                end,
                model,
                version: at(&version, row),
                stage,
                weight: natural(count(&weight))?.unwrap_or(0),
                reserved: natural(count(&reserved))?,
                capacity: natural(count(&capacity))?,
            });
        }
        held.resize(builder.bytes())?;
    }
    Ok(builder.finish())
}

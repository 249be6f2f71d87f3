//! A dialect's mapping, planned over an export of which only the columns are known, for what can be told without its files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::LogicalPlan;

use super::drift::type_of;
use super::mapping::Mapping;
use super::reader::ROW;
use crate::config::Source;
use crate::engine::{Engine, Library};
use crate::error::Result;

/// The plan of a source's mapping over an export with these columns, as `deliveries` has them. Its table is `source`.
///
/// # Errors
/// Those of planning: the name of a type says less than the type.
pub(crate) async fn mapped(
    engine: &Engine,
    library: &Library,
    source: &Source,
    columns: &[String],
) -> Result<LogicalPlan> {
    let mapping = Mapping::of(source, library)?;
    let known = columns.iter().filter_map(|column| column.rsplit_once(' '));
    let mut fields: Vec<Field> = known
        .map(|(name, ty)| Field::new(name, type_of(ty), true))
        .collect();
    for name in &mapping.optional {
        if !fields.iter().any(|field| field.name() == name) {
            fields.push(Field::new(name, DataType::Utf8View, true));
        }
    }
    fields.push(Field::new(ROW, DataType::Int64, false));
    let table = Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))));
    let engine = engine.detached(None)?;
    engine.context().register_table("source", table)?;
    Ok(engine.query(&mapping.text).await?.logical_plan().clone())
}

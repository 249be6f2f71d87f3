//! What an explanation reads of the allocations: their digest (`allocation_days`, `largest_allocations`), and the allocations
//! themselves for what the digest does not hold.

use datafusion::dataframe::DataFrame;

use super::{Row, charges_behind, rows};
use crate::attribution::digest::KEPT;
use crate::engine::{Engine, Library};
use crate::error::Result;

/// Largest first; the rest makes the order one order.
const LARGEST_FIRST: &str = "abs(effective) desc, abs(billed) desc, row_id, stage, model_version, category, rule, driver, basis, weight";

/// The allocations as explanations read them.
pub struct Held<'a> {
    engine: &'a Engine,
    library: &'a Library,
}

impl<'a> Held<'a> {
    /// Of a session that has all charges.
    ///
    /// # Errors
    /// Those of SQL.
    pub async fn open(engine: &'a Engine, library: &'a Library) -> Result<Self> {
        engine.view("all_charges", "select * from charges").await?;
        Ok(Held { engine, library })
    }

    /// The largest allocations of which `of` is true, with the rows of the bill that they are of; more than
    /// [`KEPT`] take a reading of all allocations.
    ///
    /// # Errors
    /// Those of SQL.
    pub async fn largest(&self, of: &str, limit: usize) -> Result<Vec<Row>> {
        let top = |table: &str| {
            format!("select * from {table} where {of} order by {LARGEST_FIRST} limit {limit}")
        };
        let largest = match limit {
            ..=KEPT => self.engine.query(&top("largest_allocations")).await?,
            _ => self.read(&top("allocations")).await?,
        };
        let largest = largest.cache().await?;
        self.engine.replace_with("largest", largest)?;
        rows(self.engine, self.library, "model_charges").await
    }

    /// Allocations in the shape of `largest_allocations`. Of the charges only those behind them are read.
    async fn read(&self, sql: &str) -> Result<DataFrame> {
        let engine = self.engine;
        let placed = format!("select *, cast(0 as int) as place from ({sql}) as found");
        let found = engine.query(&placed).await?.cache().await?;
        engine.replace_with("largest", found)?;
        let named = charges_behind(engine, "largest").await?;
        let behind = format!("select * from all_charges where {named}");
        engine.replace("charges", &behind).await?;
        let sql = self.library.get("attribution/largest_allocations.sql")?;
        Ok(engine.query(sql).await?.cache().await?)
    }
}

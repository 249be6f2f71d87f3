//! Rows set aside in the place of a table.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::spool::Spooled;

/// A table whose rows, or some columns of them, were set aside. It has all columns of the table, so whatever can be planned
/// over that can be over this: of what was not set aside the table itself is read.
#[derive(Debug)]
pub struct Kept {
    schema: SchemaRef,
    /// Those of one after those of another.
    rows: Vec<Arc<Spooled>>,
    of: Option<Arc<dyn TableProvider>>,
}

impl Kept {
    /// All there is of a table.
    pub fn whole(rows: Vec<Arc<Spooled>>) -> Self {
        let schema = rows.first().map(|rows| Arc::clone(rows.schema()));
        Kept {
            schema: schema.unwrap_or_else(|| Arc::new(Schema::empty())),
            rows,
            of: None,
        }
    }

    /// The columns that `rows` have of a table, which has the same rows.
    pub fn some(of: Arc<dyn TableProvider>, rows: Arc<Spooled>) -> Self {
        Kept {
            schema: of.schema(),
            rows: vec![rows],
            of: Some(of),
        }
    }

    /// Where columns lie in what was set aside, if all of them do.
    fn places(&self, columns: &[usize]) -> Option<Vec<usize>> {
        let kept = self.rows.first()?.schema();
        let place = |column: &usize| kept.index_of(self.schema.field(*column).name()).ok();
        columns.iter().map(place).collect()
    }
}

#[async_trait]
impl TableProvider for Kept {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let mut columns = projection.cloned().unwrap_or_else(all);
        // Where rows are counted alone, some column says how many there are.
        let counted = columns.is_empty() && !self.schema.fields().is_empty();
        if counted {
            let kept = self.rows.first().map(|rows| rows.schema().field(0).name());
            columns.push(kept.map_or(Ok(0), |name| self.schema.index_of(name))?);
        }
        match (self.places(&columns), &self.of) {
            (None, Some(table)) => table.scan(state, projection, filters, limit).await,
            (places, _) => {
                let chain = Chain {
                    schema: Arc::new(self.schema.project(&columns)?),
                    rows: self.rows.clone(),
                    columns: places.unwrap_or_default(),
                };
                let schema = Arc::clone(&chain.schema);
                let table = StreamingTable::try_new(schema, vec![Arc::new(chain)])?;
                let none = counted.then(Vec::new);
                table.scan(state, none.as_ref(), filters, limit).await
            }
        }
    }
}

/// Some columns of the rows of one spool after those of another.
#[derive(Debug)]
struct Chain {
    schema: SchemaRef,
    rows: Vec<Arc<Spooled>>,
    columns: Vec<usize>,
}

impl PartitionStream for Chain {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns = self.columns.clone();
        let rows = stream::iter(self.rows.clone());
        let rows = rows.map(move |rows| Ok::<_, DataFusionError>(rows.rows_of(columns.clone())?));
        let rows = rows.try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}

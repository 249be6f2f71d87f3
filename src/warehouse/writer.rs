//! Writes one Parquet file of a table, holding every batch against the table's contract.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::contract::{Table, Type};
use super::order::Order;
use crate::disk::remove_file;
use crate::error::{Error, Result};

/// Rows per row group: small enough that a reader prunes, large enough that columns compress.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Rows that are written at a time, a divisor of a row group's. Pages end where rows that are written together do, so a file's
/// bytes would tell in which batches its rows came.
const BATCH_ROWS: usize = 8192;

/// A writer of one file of one table: what the file's bytes are depends on the rows, and on nothing else.
pub struct TableWriter {
    table: &'static Table,
    schema: SchemaRef,
    path: PathBuf,
    writer: ArrowWriter<File>,
    batches: BatchCoalescer,
    order: Order,
    rows: u64,
}

impl TableWriter {
    /// Creates the file `path`. One that is there may be a hard link to a published one: it is replaced, never written into.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(table: &'static Table, path: &Path) -> Result<Self> {
        let schema = table.file_schema();
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("cannot replace the file", path, &e));
            }
            _ => {}
        }
        let file = File::create(path).map_err(|e| Error::io("cannot create the file", path, &e))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(format!("recost {}", env!("CARGO_PKG_VERSION")));
        // A dictionary of what hardly repeats costs time and saves nothing.
        for column in table.columns.iter().filter(|c| c.distinct) {
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            if matches!(column.ty, Type::Int64 | Type::Timestamp) {
                properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        // Charges keep the order of their bill, so nothing but a filter tells which part of a file has an id.
        if table.column("row_id").is_some() && table.column("file").is_some() {
            let id = ColumnPath::from("row_id");
            properties = properties
                .set_column_bloom_filter_fpp(id.clone(), 0.01)
                .set_column_bloom_filter_max_ndv(id, ROW_GROUP_ROWS as u64);
        }
        for column in table.columns.iter().filter(|c| c.ty == Type::Vector) {
            let path = ColumnPath::new(vec![column.name.into(), "list".into(), "item".into()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        // Without the Arrow schema in the file every reader sees plain Parquet types.
        let options = ArrowWriterOptions::new()
            .with_properties(properties.build())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options)?;
        Ok(TableWriter {
            table,
            batches: BatchCoalescer::new(Arc::clone(&schema), BATCH_ROWS),
            schema,
            path: path.to_path_buf(),
            writer,
            order: Order::of(table),
            rows: 0,
        })
    }

    /// Appends all rows of a stream, as [`TableWriter::write`] does each batch.
    ///
    /// # Errors
    /// Those of the stream, and as [`TableWriter::write`].
    pub async fn write_all(&mut self, mut rows: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = rows.next().await {
            self.write(&batch?)?;
        }
        Ok(())
    }

    /// Appends a batch: the contract's columns are taken by name, others are left out.
    ///
    /// # Errors
    /// `Kind::Contract` when a column is missing, has another type, or has a null where none may be, or a row is out of order.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = Vec::with_capacity(self.table.columns.len());
        for (column, field) in self.table.columns.iter().zip(self.schema.fields()) {
            let wrong = |what: String| {
                let (table, column) = (self.table.name, column.name);
                Error::contract(format!("table {table}, column {column}: {what}")).help(format!(
                    "correct the SQL that makes `{table}`, if it is yours; `recost tables {table}` says what its columns promise. If it is not, report this: it is a defect"
                ))
            };
            let array = batch
                .column_by_name(column.name)
                .ok_or_else(|| wrong("is missing from the result".into()))?;
            let array = if array.data_type() == field.data_type() {
                Arc::clone(array)
            } else {
                let strict = arrow::compute::CastOptions {
                    safe: false,
                    ..Default::default()
                };
                arrow::compute::cast_with_options(array, field.data_type(), &strict).map_err(
                    |e| {
                        wrong(format!(
                            "found {}, wanted {} ({e})",
                            array.data_type(),
                            column.ty.name()
                        ))
                    },
                )?
            };
            let nulls = array.logical_nulls().filter(|_| column.required);
            let null = nulls.and_then(|n| n.iter().position(|valid| !valid));
            if let Some(row) = null {
                let row = self.rows + row as u64 + 1;
                return Err(wrong(format!("has a null in row {row}, where none may be")));
            }
            columns.push(array);
        }
        if let Some(row) = self.order.next(&columns)? {
            let row = self.rows + row as u64 + 1;
            return Err(Error::contract(format!(
                "table {}: row {row} of {} should have come before the row ahead of it, by {}",
                self.table.name,
                self.path.display(),
                self.table.order.join(", ")
            ))
            .help("no SQL of a project decides on this order: report this, it is a defect"));
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.rows += batch.num_rows() as u64;
        self.batches.push_batch(batch)?;
        self.write_batches()
    }

    fn write_batches(&mut self) -> Result<()> {
        while let Some(batch) = self.batches.next_completed_batch() {
            self.writer
                .write(&batch)
                .map_err(|e| Error::from(e).context(format!("writing {}", self.path.display())))?;
        }
        Ok(())
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file and makes it durable; a file without rows is removed. Returns the rows.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn finish(mut self) -> Result<u64> {
        self.batches.finish_buffered_batch()?;
        self.write_batches()?;
        let TableWriter {
            path,
            mut writer,
            rows,
            ..
        } = self;
        // Not `into_inner`, whose error is a text: a full disk is to be known as one.
        writer
            .finish()
            .map_err(|e| Error::from(e).context(format!("writing {}", path.display())))?;
        writer
            .inner()
            .sync_all()
            .map_err(|e| Error::io("cannot sync", &path, &e))?;
        if rows == 0 {
            remove_file(&path)?;
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, StringViewArray, new_null_array};

    use super::*;
    use crate::error::Kind;
    use crate::warehouse::table;

    /// Rows of `evaluation`, by model, metric and k.
    fn rows(keys: &[(&str, &str, i32)]) -> RecordBatch {
        let table = table("evaluation").unwrap();
        let schema = table.file_schema();
        let text = |of: &dyn Fn(&(&str, &str, i32)) -> String| {
            Arc::new(
                keys.iter()
                    .map(|k| Some(of(k)))
                    .collect::<StringViewArray>(),
            ) as _
        };
        let columns = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "metric" => text(&|k| k.1.to_string()),
                "k" => Arc::new(keys.iter().map(|k| k.2).collect::<Int32Array>()) as _,
                _ if *field.data_type() == Type::Text.arrow() => text(&|k| k.0.to_string()),
                _ if field.is_nullable() => new_null_array(field.data_type(), keys.len()),
                _ => {
                    let ones = Float64Array::from(vec![1.0; keys.len()]);
                    arrow::compute::cast(&ones, field.data_type()).unwrap()
                }
            });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    }

    #[test]
    fn rows_that_are_not_in_the_order_of_the_contract_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |batches: &[RecordBatch]| {
            let path = dir.path().join("part-0.parquet");
            let mut writer = TableWriter::create(table("evaluation").unwrap(), &path)?;
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()
        };
        let (a, b) = (("a", "ndcg", 5), ("a", "ndcg", 10));
        let (c, d) = (("a", "recall", 5), ("b", "ndcg", 5));
        assert_eq!(
            write(&[rows(&[a, b]), rows(&[]), rows(&[b, c, d])]).unwrap(),
            5
        );
        // Within a batch, by the last column and by the first, and at the border of two.
        for (batches, row) in [
            (vec![rows(&[b, a])], 2),
            (vec![rows(&[a, c, d, b])], 4),
            (vec![rows(&[a, c]), rows(&[]), rows(&[b])], 3),
            (vec![rows(&[a]), rows(&[b, d, c])], 4),
        ] {
            let error = write(&batches).unwrap_err();
            assert_eq!(error.kind(), Kind::Contract);
            let said = error.to_string();
            assert!(said.contains(&format!("row {row} of ")), "{said}");
            assert!(said.ends_with("by model_id, metric, k"), "{said}");
            assert!(error.remedy().is_some(), "{said}");
        }
        // A column that is none of the result.
        let all = rows(&[a]);
        let few = all.project(&(1..all.num_columns()).collect::<Vec<_>>());
        let error = write(&[few.unwrap()]).unwrap_err();
        assert!(error.remedy().unwrap().contains("`evaluation`"), "{error}");
    }
}

//! Parquet files: one set of writer properties for everything.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::error::GenerateError;

/// Rows of one row group: bounds the writer's memory.
const ROW_GROUP: usize = 131_072;

/// A Parquet file that is being written.
pub(super) struct Table {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl Table {
    /// Creates `path` and the folders above it. Columns in `distinct` hold no value twice and get no dictionary.
    pub(super) fn create(
        path: PathBuf,
        schema: SchemaRef,
        distinct: &[&str],
    ) -> Result<Self, GenerateError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|e| GenerateError::io("create the folder", folder, e))?;
        }
        let file = File::create(&path).map_err(|e| GenerateError::io("create", &path, e))?;
        let level = ZstdLevel::try_new(1).map_err(|e| GenerateError::parquet(&path, e))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROW_GROUP));
        for column in distinct {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(*column), false);
        }
        let writer = ArrowWriter::try_new(file, schema, Some(properties.build()))
            .map_err(|e| GenerateError::parquet(&path, e))?;
        Ok(Self { path, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), GenerateError> {
        self.writer
            .write(batch)
            .map_err(|e| GenerateError::parquet(&self.path, e))
    }

    pub(super) fn close(self) -> Result<(), GenerateError> {
        let path = self.path;
        self.writer
            .close()
            .map(drop)
            .map_err(|e| GenerateError::parquet(&path, e))
    }
}

/// Writes one batch as one file.
pub(super) fn write_once(
    path: &Path,
    batch: &RecordBatch,
    distinct: &[&str],
) -> Result<(), GenerateError> {
    let mut table = Table::create(path.to_path_buf(), batch.schema(), distinct)?;
    table.write(batch)?;
    table.close()
}

/// A microsecond timestamp in UTC.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A field that may be null.
pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

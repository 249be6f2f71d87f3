//! Reads one source file, Parquet or CSV, as the table `source` that a mapping selects from.
//!
//! Besides the file's own columns the table has `_row`: the row's number in the file, from 1 (a CSV's header is not
//! counted). Columns that the mapping declares optional and the file lacks are there as nulls. Everything in a CSV is
//! text, and an empty field is a null.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewBuilder, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use flate2::read::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};

use super::bounds;
use super::files::{InputFile, vanished};
use crate::decoder;
use crate::engine::to_text;
use crate::error::{Error, Kind, Result};

/// Rows of a batch handed to the mapping.
const BATCH_ROWS: usize = 8192;
/// Bytes of such a batch of a CSV, about.
const BATCH_BYTES: usize = 32 << 20;
/// Bytes of a CSV's row: with a quote that is never closed, all that follows is one.
const LONGEST_ROW: u64 = 16 << 20;
/// Columns of a CSV.
const MOST_COLUMNS: usize = 5_000;
/// Name of the column with the row's number.
pub const ROW: &str = "_row";
/// Name of the column by which a mapping onto `charges` tells the charges apart that it makes of one row.
pub const PART: &str = "_part";
/// Name of the column in which a mapping says why a row is wrong: the source's column, a blank, and the reason.
pub const REJECT: &str = "_reject";
/// In the place of a column: the row as a whole is wrong.
pub const WHOLE_ROW: &str = "(row)";

/// A row that cannot be read as it stands: its column and what is wrong.
pub type Defect = (String, String);

/// One source file, its schema known.
#[derive(Debug)]
pub struct SourceFile {
    /// The file.
    pub input: InputFile,
    format: Format,
    /// The file's own columns.
    pub columns: SchemaRef,
    /// The file's columns, the optional ones it lacks, and `_row`.
    schema: SchemaRef,
    /// Rows of a CSV that are broken as text, by row number; filled while reading.
    defects: Defects,
    csv_rows: Arc<AtomicU64>,
    /// Whether the pages of a Parquet file were held against their bounds.
    bounded: AtomicBool,
}

type Defects = Arc<Mutex<BTreeMap<i64, Defect>>>;

#[derive(Debug, Clone)]
enum Format {
    Parquet(ArrowReaderMetadata),
    Csv { gzip: bool, delimiter: u8 },
}

impl SourceFile {
    /// Opens a file and reads its schema. `optional` names columns that may be missing.
    ///
    /// # Errors
    /// `Kind::Contract` when it is no Parquet or CSV file; `Kind::Io` when it vanished.
    pub fn open(input: InputFile, optional: &[String]) -> Result<Arc<Self>> {
        let lower = input.path.to_string_lossy().to_lowercase();
        let (format, columns) = if lower.ends_with(".csv") || lower.ends_with(".csv.gz") {
            let gzip = lower.ends_with(".gz");
            let (delimiter, names) = csv_header(&input.path, gzip)?;
            let fields: Vec<Field> = names
                .into_iter()
                .map(|n| Field::new(n, DataType::Utf8View, true))
                .collect();
            (
                Format::Csv { gzip, delimiter },
                Arc::new(Schema::new(fields)),
            )
        } else if lower.ends_with(".parquet") || lower.ends_with(".pq") {
            let (metadata, schema) = parquet_header(&input.path)?;
            (Format::Parquet(metadata), schema)
        } else {
            return Err(Error::config(format!(
                "{}: the name does not say what it is",
                input.path.display()
            ))
            .help("exports end in .parquet, .csv or .csv.gz; narrow the source's path to those"));
        };
        if columns.column_with_name(ROW).is_some() {
            return Err(Error::contract(format!(
                "{} has a column `{ROW}`, which is what the number of a row is called here",
                input.path.display()
            ))
            .help("give the column another name in the export, or leave it out"));
        }
        let mut fields: Vec<Field> = columns
            .fields()
            .iter()
            .map(|f| f.as_ref().clone())
            .collect();
        for name in optional {
            if columns.column_with_name(name).is_none() {
                fields.push(Field::new(name, DataType::Utf8View, true));
            }
        }
        fields.push(Field::new(ROW, DataType::Int64, false));
        Ok(Arc::new(SourceFile {
            input,
            format,
            columns,
            schema: Arc::new(Schema::new(fields)),
            defects: Defects::default(),
            csv_rows: Arc::default(),
            bounded: AtomicBool::new(false),
        }))
    }

    /// Rows of the file: known from a Parquet footer, counted while a CSV is read.
    pub fn rows(&self) -> u64 {
        match &self.format {
            Format::Parquet(metadata) => {
                u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
            }
            Format::Csv { .. } => self.csv_rows.load(Ordering::Relaxed),
        }
    }

    /// Whether the file has a row, found without reading more of it than that.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn holds_rows(&self) -> Result<bool> {
        match &self.format {
            Format::Parquet(_) => Ok(self.rows() > 0),
            Format::Csv { gzip, delimiter } => {
                let mut batches =
                    CsvBatches::open(self, *gzip, *delimiter, Arc::clone(&self.schema))?;
                Ok(batches.next().transpose()?.is_some())
            }
        }
    }

    /// Holds the pages of a Parquet file, once, against the bytes that they may take in memory.
    ///
    /// # Errors
    /// `Kind::Contract` when they would take more.
    pub fn fits(&self, most: u64) -> Result<()> {
        let Format::Parquet(metadata) = &self.format else {
            return Ok(());
        };
        if !self.bounded.load(Ordering::Acquire) {
            let path = &self.input.path;
            let file = File::open(path).map_err(|e| vanished(path, &e))?;
            bounds::pages(path, &file, metadata.metadata(), most)?;
            self.bounded.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether every column is text that stands for something else.
    pub fn is_text(&self) -> bool {
        matches!(self.format, Format::Csv { .. })
    }

    /// The table that a mapping selects from.
    pub fn table(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        Arc::new(SourceTable(Arc::clone(self)))
    }

    /// The rows that were broken as text, of those read so far.
    pub fn take_defects(&self) -> BTreeMap<i64, Defect> {
        std::mem::take(&mut *self.defects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rows of these numbers (sorted) as JSON objects, for the quarantine.
    ///
    /// # Errors
    /// As reading the file.
    pub fn raw(&self, rows: &[i64]) -> Result<BTreeMap<i64, String>> {
        let mut raw = BTreeMap::new();
        for batch in self.batches(self.schema.clone(), Some(rows))? {
            let batch = batch?;
            let Some(numbers) = batch
                .column_by_name(ROW)
                .and_then(|c| c.as_any().downcast_ref::<Int64Array>().cloned())
            else {
                continue;
            };
            for (at, number) in numbers.values().iter().enumerate() {
                if rows.binary_search(number).is_err() {
                    continue;
                }
                let row = self.legible(&batch.slice(at, 1))?;
                let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
                writer.write(&row)?;
                writer.finish()?;
                let text = String::from_utf8_lossy(&writer.into_inner())
                    .trim_end()
                    .to_string();
                raw.insert(*number, text);
            }
        }
        Ok(raw)
    }

    /// The file's own columns of one row, in a form that JSON can hold: it has no NaN and no infinity, so a double that is
    /// one becomes text.
    fn legible(&self, row: &RecordBatch) -> Result<RecordBatch> {
        let mut fields = vec![];
        let mut columns = vec![];
        for (field, column) in self.columns.fields().iter().zip(row.columns()) {
            let finite = !column.data_type().is_floating()
                || cast(column, &DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .iter()
                    .flatten()
                    .all(f64::is_finite);
            let column = if finite {
                Arc::clone(column)
            } else {
                to_text(column)?
            };
            fields.push(Field::new(field.name(), column.data_type().clone(), true));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }

    /// Batches with the columns of `schema` (a projection of this file's), of all rows or at least those numbered in `only`.
    fn batches(
        &self,
        schema: SchemaRef,
        only: Option<&[i64]>,
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        match &self.format {
            Format::Parquet(metadata) => self.parquet_batches(metadata.clone(), schema, only),
            Format::Csv { gzip, delimiter } => {
                CsvBatches::open(self, *gzip, *delimiter, schema).map(|b| Box::new(b) as _)
            }
        }
    }

    fn parquet_batches(
        &self,
        metadata: ArrowReaderMetadata,
        schema: SchemaRef,
        only: Option<&[i64]>,
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        let path = self.input.path.clone();
        let file = File::open(&path).map_err(|e| vanished(&path, &e))?;
        let total = metadata.metadata().file_metadata().num_rows();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(BATCH_ROWS);
        let wanted: Vec<usize> = schema
            .fields()
            .iter()
            .filter_map(|f| self.columns.index_of(f.name()).ok())
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder = builder.with_projection(mask);
        let mut numbers: Box<dyn Iterator<Item = i64> + Send> = Box::new(1..=total);
        if let Some(rows) = only {
            let ranges = rows.iter().filter_map(|r| {
                let at = usize::try_from(r - 1).ok()?;
                Some(at..at + 1)
            });
            let rows_total = usize::try_from(total).unwrap_or(usize::MAX);
            builder = builder
                .with_row_selection(RowSelection::from_consecutive_ranges(ranges, rows_total));
            let rows: Vec<i64> = rows.to_vec();
            numbers = Box::new(rows.into_iter());
        }
        let batches = decoder::rows(&path, builder).map_err(delivered)?;
        Ok(Box::new(batches.map(move |batch| {
            let batch = batch.map_err(delivered)?;
            let rows = batch.num_rows();
            let columns = schema
                .fields()
                .iter()
                .map(|field| {
                    if field.name() == ROW {
                        Arc::new(numbers.by_ref().take(rows).collect::<Int64Array>()) as ArrayRef
                    } else {
                        batch
                            .column_by_name(field.name())
                            .cloned()
                            .unwrap_or_else(|| new_null_array(field.data_type(), rows))
                    }
                })
                .collect();
            Ok(with_rows(&schema, columns, rows)?)
        })))
    }
}

/// A batch that keeps its number of rows when it has no column.
fn with_rows(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

pub(super) fn broken(path: &Path, error: &dyn fmt::Display) -> Error {
    delivered(decoder::broken(path, error))
}

/// What the decoder says of an export: one that is damaged can be delivered again.
fn delivered(error: Error) -> Error {
    match error.kind() {
        Kind::Contract => {
            error.help("it is truncated, damaged or still being written: deliver it again")
        }
        _ => error,
    }
}

fn parquet_header(path: &Path) -> Result<(ArrowReaderMetadata, SchemaRef)> {
    let mut file = File::open(path).map_err(|e| vanished(path, &e))?;
    let mut magic = [0u8; 4];
    let read = file.read(&mut magic).map_err(|e| vanished(path, &e))?;
    if read < 4 || &magic != b"PAR1" {
        return Err(Error::contract(format!(
            "{} is not a Parquet file, whatever its name says",
            path.display()
        ))
        .help("rename it to .csv if it is one, or deliver it as Parquet"));
    }
    bounds::footer(path, &file)?;
    let plain = ArrowReaderOptions::new();
    let metadata = decoder::decode(path, || Ok(ArrowReaderMetadata::load(&file, plain)?));
    let metadata = metadata.map_err(delivered)?;
    bounds::rows(path, metadata.metadata())?;
    // Views spare a copy of every string that is only passed on.
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|f| match f.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => {
                f.as_ref().clone().with_data_type(DataType::Utf8View)
            }
            _ => f.as_ref().clone(),
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&schema));
    let metadata = decoder::decode(path, || {
        let metadata = Arc::clone(metadata.metadata());
        Ok(ArrowReaderMetadata::try_new(metadata, options)?)
    });
    Ok((metadata.map_err(delivered)?, schema))
}

fn csv_input(path: &Path, gzip: bool) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(|e| vanished(path, &e))?;
    let mut input: Box<dyn BufRead + Send> = if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let start = input.fill_buf().map_err(|e| vanished(path, &e))?;
    if start.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(input)
}

/// Delimiter (the most frequent of `,` `;` and tab in the first line) and column names of a CSV.
fn csv_header(path: &Path, gzip: bool) -> Result<(u8, Vec<String>)> {
    let wrong = |what: &str| {
        Error::contract(format!("{}: {what}", path.display()))
            .help("the first line of a CSV names its columns, each once, in UTF-8")
    };
    let mut line = Vec::new();
    csv_input(path, gzip)?
        .take(LONGEST_ROW)
        .read_until(b'\n', &mut line)
        .map_err(|e| vanished(path, &e))?;
    if line.len() as u64 == LONGEST_ROW {
        return Err(wrong(&format!("no line break in {LONGEST_ROW} bytes")));
    }
    let count = |c: u8| line.iter().filter(|b| **b == c).count();
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .max_by_key(|c| (count(*c), *c == b','))
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .from_reader(line.as_slice());
    let mut record = csv::ByteRecord::new();
    let found = reader
        .read_byte_record(&mut record)
        .map_err(|e| wrong(&format!("the header cannot be read: {e}")))?;
    if !found {
        return Err(wrong("the file is empty"));
    }
    if record.len() > MOST_COLUMNS {
        let found = record.len();
        return Err(wrong(&format!(
            "the header names {found} columns, and {MOST_COLUMNS} are read at most"
        )));
    }
    let mut names: Vec<String> = vec![];
    for field in &record {
        let name = std::str::from_utf8(field)
            .map_err(|_| wrong("the header is not UTF-8"))?
            .trim()
            .to_string();
        if names.contains(&name) {
            return Err(wrong(&format!("the header names the column {name} twice")));
        }
        names.push(name);
    }
    Ok((delimiter, names))
}

/// Text of which some bytes are not UTF-8: those are written as `\xE9`, so that none is lost.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

/// What a CSV is read from: fails where a row goes on and on.
struct Bounded {
    input: Box<dyn BufRead + Send>,
    /// Bytes that the row may still have.
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("the row has more than {LONGEST_ROW} bytes; is a quote left open?"),
            ));
        }
        let read = self.input.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// The rows of a CSV in batches of text columns; broken rows are noted in the file's defects and passed on with nulls.
struct CsvBatches {
    reader: csv::Reader<Bounded>,
    names: SchemaRef,
    schema: SchemaRef,
    name: String,
    row: i64,
    defects: Defects,
    total: Arc<AtomicU64>,
}

impl CsvBatches {
    fn open(
        file: &SourceFile,
        gzip: bool,
        delimiter: u8,
        schema: SchemaRef,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let input = Bounded {
            input: csv_input(&file.input.path, gzip)?,
            left: LONGEST_ROW,
        };
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(true)
            .flexible(true)
            .from_reader(input);
        Ok(CsvBatches {
            reader,
            names: Arc::clone(&file.columns),
            schema,
            name: file.input.path.display().to_string(),
            row: 0,
            defects: Arc::clone(&file.defects),
            total: Arc::clone(&file.csv_rows),
        })
    }

    fn note(&self, column: &str, reason: String) {
        self.defects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(self.row)
            .or_insert_with(|| (column.to_string(), reason));
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let columns = self.names.fields().len();
        let room = BATCH_ROWS.min(BATCH_BYTES / size_of::<u128>() / columns.max(1));
        let mut builders: Vec<StringViewBuilder> = (0..columns)
            .map(|_| StringViewBuilder::with_capacity(room))
            .collect();
        let first = self.row;
        let mut bytes = 0;
        let mut record = csv::ByteRecord::new();
        while self.row - first < BATCH_ROWS as i64 && bytes < BATCH_BYTES {
            self.reader.get_mut().left = LONGEST_ROW;
            let more = self.reader.read_byte_record(&mut record).map_err(|e| {
                let row = format!("{}, row {}", self.name, self.row + 1);
                match e.kind() {
                    csv::ErrorKind::Io(system) if system.raw_os_error().is_some() => {
                        Error::io("cannot read", Path::new(&row), system)
                    }
                    _ => Error::contract(format!("{row}: {e}")).help("deliver the file again"),
                }
            })?;
            if !more {
                break;
            }
            self.row += 1;
            let width = builders.len();
            // Each value has a view of 16 bytes.
            bytes += record.as_slice().len() + size_of::<u128>() * width;
            if record.len() != width {
                let reason = format!("has {} fields where the header has {}", record.len(), width);
                self.note(WHOLE_ROW, reason);
            }
            let field = |at: usize| -> Option<Cow<'_, [u8]>> {
                let own = record.get(at)?;
                if at + 1 < width || record.len() == width {
                    return Some(Cow::Borrowed(own));
                }
                // What lies beyond the header's columns is kept with the last of them.
                let rest: Vec<&[u8]> = record.iter().skip(at).collect();
                Some(Cow::Owned(rest.join(&b',')))
            };
            for (at, builder) in builders.iter_mut().enumerate() {
                let Some(bytes) = field(at).filter(|b| !b.is_empty()) else {
                    // A CSV has no other way to say that there is no value.
                    builder.append_null();
                    continue;
                };
                match std::str::from_utf8(&bytes) {
                    Ok(text) => builder.append_value(text),
                    Err(_) => {
                        self.note(self.names.field(at).name(), "is not valid UTF-8".into());
                        builder.append_value(escaped(&bytes));
                    }
                }
            }
        }
        let rows = usize::try_from(self.row - first).unwrap_or(0);
        self.total
            .fetch_max(self.row.unsigned_abs(), Ordering::Relaxed);
        if rows == 0 {
            return Ok(None);
        }
        let texts: Vec<ArrayRef> = builders
            .iter_mut()
            .map(|b| Arc::new(b.finish()) as ArrayRef)
            .collect();
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| {
                if field.name() == ROW {
                    Arc::new((first + 1..=self.row).collect::<Int64Array>()) as ArrayRef
                } else {
                    match self.names.index_of(field.name()) {
                        Ok(at) => Arc::clone(&texts[at]),
                        Err(_) => new_null_array(field.data_type(), rows),
                    }
                }
            })
            .collect();
        Ok(Some(with_rows(&self.schema, columns, rows)?))
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// A file as a table of the SQL engine.
#[derive(Debug)]
struct SourceTable(Arc<SourceFile>);

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.0.schema.project(columns)?),
            None => Arc::clone(&self.0.schema),
        };
        let partition = Arc::new(SourcePartition {
            file: Arc::clone(&self.0),
            schema: Arc::clone(&schema),
        });
        let exec =
            StreamingTableExec::try_new(schema, vec![partition], None, vec![], false, limit)?;
        Ok(Arc::new(exec))
    }
}

#[derive(Debug)]
struct SourcePartition {
    file: Arc<SourceFile>,
    schema: SchemaRef,
}

impl PartitionStream for SourcePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> =
            match self.file.batches(Arc::clone(&self.schema), None) {
                Ok(batches) => batches,
                Err(e) => Box::new(std::iter::once(Err(e))),
            };
        let batches = batches.map(|b| b.map_err(DataFusionError::from));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(batches),
        ))
    }
}

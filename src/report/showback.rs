//! The attributed cost written out as a FOCUS 1.4 data set, so that other cost tools can read it.
//!
//! `sql/exports/focus_1_4.sql` makes a row of every allocation. Here the metrics of a charge other than its costs (list and
//! contracted cost, quantities) are split over its rows like the costs were, exactly, and what needs JSON is added. Rows
//! come in the order of their charges and are written as they come: memory holds a few batches, sorting spills to disk.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::no_costs;
use crate::attribution::Basis;
use crate::attribution::split;
use crate::config::Pipeline;
use crate::disk::make_dir;
use crate::engine::{Engine, Library, Options, rows};
use crate::error::{Error, Result};
use crate::money::{Money, SCALE};
use crate::report::csv::safe_batch;
use crate::warehouse::{Warehouse, store, table};

const SQL: &str = "exports/focus_1_4.sql";
/// Metrics that the SQL gives as the charge has them, for every row of it.
const SPLIT: [&str; 4] = [
    "ConsumedQuantity",
    "ContractedCost",
    "ListCost",
    "PricingQuantity",
];

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Parquet, zstd.
    Parquet,
    /// CSV with a header; empty is null.
    Csv,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub path: PathBuf,
    pub rows: u64,
}

/// Writes one file per billing period, `billing_period=YYYY-MM/focus.parquet` or `.csv`, under `to`. In a CSV file texts that a
/// spreadsheet takes for formulas get an apostrophe, unless it is to be `raw`.
///
/// # Errors
/// `Kind::Config` when nothing was published yet or the period is not there; those of SQL and of writing.
pub async fn write(
    pipeline: &Pipeline,
    library: &Library,
    period: Option<&str>,
    (format, raw): (Format, bool),
    to: &Path,
) -> Result<Vec<Written>> {
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.published()?;
    let allocations =
        table("allocations").ok_or_else(|| Error::unexpected("no table allocations"))?;
    let there = store::partitions(&snapshot, allocations)?;
    let periods: Vec<&String> = there
        .iter()
        .filter(|known| period.is_none_or(|period| known.as_str() == period))
        .collect();
    if periods.is_empty() {
        return Err(no_costs(period, &there));
    }
    let options = Options::of(pipeline, NaiveDate::default());
    let mut written = vec![];
    for period in periods {
        let engine = Engine::open(&options, Some(&snapshot), None)?.spilling_joins();
        for name in ["charges", "allocations"] {
            engine
                .restrict(name, &format!("billing_period = '{period}'"))
                .await?;
        }
        let folder = to.join(format!("billing_period={period}"));
        make_dir(&folder)?;
        written.push(
            one(&engine, library, (format, raw), &folder)
                .await
                .map_err(|e| e.context(format!("billing period {period}")))?,
        );
    }
    Ok(written)
}

/// Writes the rows that the session gives. The file is there when it is whole.
async fn one(
    engine: &Engine,
    library: &Library,
    (format, raw): (Format, bool),
    folder: &Path,
) -> Result<Written> {
    let name = match format {
        Format::Parquet => "focus.parquet",
        Format::Csv => "focus.csv",
    };
    let path = folder.join(name);
    let partial = folder.join(format!(".{name}.partial"));
    let failed = |e: &std::io::Error| Error::io("cannot write the export", &path, e);
    let file = File::create(&partial).map_err(|e| failed(&e))?;
    let place = || library.describe(SQL);
    let mut stream = engine
        .stream(library.get(SQL)?)
        .await
        .map_err(|e| e.context(place()))?;
    let mut sink = Sink::new((format, raw), file, &schema(&stream.schema())?)?;
    let mut rows = 0;
    let mut kept = RecordBatch::new_empty(stream.schema());
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| Error::from(e).context(place()))?;
        let batch = concat_batches(&stream.schema(), [&kept, &batch])?;
        // The last charge may go on in the next batch.
        let groups = groups(&batch).map_err(|e| e.context(place()))?;
        let whole = groups.last().map_or(0, |last| last.start);
        rows += sink.put(
            &batch.slice(0, whole),
            &groups[..groups.len().saturating_sub(1)],
        )?;
        kept = batch.slice(whole, batch.num_rows() - whole);
    }
    let last = groups(&kept)?;
    rows += sink.put(&kept, &last)?;
    sink.done()?
        .sync_all()
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|e| failed(&e))?;
    Ok(Written { path, rows })
}

/// The schema of the file: that of the SQL with plain texts, and the columns that are added here.
fn schema(given: &SchemaRef) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = given
        .fields()
        .iter()
        .map(|field| {
            let ty = match field.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
                _ if SPLIT.contains(&field.name().as_str()) => DataType::Decimal128(38, 18),
                other => other.clone(),
            };
            Field::new(field.name(), ty, true)
        })
        .collect();
    for name in ["AllocatedMethodDetails", "AllocatedTags"] {
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    // Columns in alphabetical order, as the specification lists them.
    fields.sort_by(|a, b| a.name().cmp(b.name()));
    for pair in fields.windows(2) {
        if let [a, b] = pair
            && a.name() == b.name()
        {
            return Err(Error::config(format!("{SQL} gives {} twice", a.name())));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows::column(batch, SQL, name)
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    Ok(cast(column(batch, name)?, &DataType::Utf8)?
        .as_string::<i32>()
        .clone())
}

fn decimals(batch: &RecordBatch, name: &str, scale: i8) -> Result<Decimal128Array> {
    let ty = DataType::Decimal128(38, scale);
    Ok(cast(column(batch, name)?, &ty)?
        .as_primitive::<Decimal128Type>()
        .clone())
}

/// Rows of one charge and basis that stand together.
fn groups(batch: &RecordBatch) -> Result<Vec<Range<usize>>> {
    let origins = texts(batch, "x_SplitOriginId")?;
    let bases = texts(batch, "x_Basis")?;
    let mut groups: Vec<Range<usize>> = vec![];
    for row in 0..batch.num_rows() {
        match groups.last_mut() {
            Some(last)
                if origins.value(last.start) == origins.value(row)
                    && bases.value(last.start) == bases.value(row) =>
            {
                last.end = row + 1;
            }
            _ => groups.push(row..row + 1),
        }
    }
    Ok(groups)
}

/// One writer of either format.
struct Sink {
    schema: SchemaRef,
    writer: Writer,
    /// Whether texts are written as they are.
    raw: bool,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Csv(Box<arrow::csv::Writer<File>>, File),
}

impl Sink {
    fn new((format, raw): (Format, bool), file: File, schema: &SchemaRef) -> Result<Self> {
        let writer = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
                    .set_created_by(format!("recost {}", env!("CARGO_PKG_VERSION")))
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))?;
                Writer::Parquet(Box::new(writer))
            }
            Format::Csv => {
                let again = file
                    .try_clone()
                    .map_err(|e| Error::unexpected(format!("a file cannot be shared: {e}")))?;
                Writer::Csv(Box::new(arrow::csv::Writer::new(file)), again)
            }
        };
        Ok(Sink {
            schema: Arc::clone(schema),
            writer,
            raw,
        })
    }

    /// Writes whole groups of rows.
    fn put(&mut self, batch: &RecordBatch, groups: &[Range<usize>]) -> Result<u64> {
        let weights = decimals(batch, "x_Weight", 0)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(match field.name().as_str() {
                "AllocatedTags" => Arc::new(tags(batch)?),
                "AllocatedMethodDetails" => Arc::new(details(batch)?),
                name if SPLIT.contains(&name) => {
                    let whole = decimals(batch, name, 18)?;
                    Arc::new(shared(&whole, &weights, groups)?)
                }
                name => cast(column(batch, name)?, field.data_type())?,
            });
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(&batch)?,
            Writer::Csv(writer, _) if self.raw => writer.write(&batch)?,
            Writer::Csv(writer, _) => writer.write(&safe_batch(&batch)?)?,
        }
        Ok(batch.num_rows() as u64)
    }

    fn done(self) -> Result<File> {
        Ok(match self.writer {
            Writer::Parquet(writer) => writer.into_inner()?,
            Writer::Csv(_, file) => file,
        })
    }
}

/// A metric of each group's charge, split by the weights of its rows; without weights the first row has it all.
fn shared(
    whole: &Decimal128Array,
    weights: &Decimal128Array,
    groups: &[Range<usize>],
) -> Result<Decimal128Array> {
    let mut out: Vec<Option<i128>> = vec![None; whole.len()];
    for group in groups {
        if whole.is_null(group.start) {
            continue;
        }
        let amount = whole.value(group.start);
        let weight = |row: usize| match weights.is_valid(row) {
            true => weights.value(row).unsigned_abs(),
            false => 0,
        };
        let by: Vec<u128> = group.clone().map(weight).collect();
        let parts = split(amount, &by)
            .map_err(|e| Error::unexpected(format!("a metric of a charge cannot be split: {e}")))?;
        match parts {
            Some(parts) => {
                for (row, part) in group.clone().zip(parts) {
                    out[row] = Some(part);
                }
            }
            None => {
                for row in group.clone() {
                    out[row] = Some(if row == group.start { amount } else { 0 });
                }
            }
        }
    }
    Ok(Decimal128Array::from(out).with_precision_and_scale(38, 18)?)
}

/// `AllocatedTags`: whose it is, under the keys that a run reads again.
fn tags(batch: &RecordBatch) -> Result<StringArray> {
    let keys = [
        ("target", "x_Target"),
        ("model", "x_ModelId"),
        ("model_version", "x_ModelVersion"),
        ("stage", "x_Stage"),
        ("category", "x_Category"),
        ("reason", "x_Reason"),
    ];
    let columns = keys
        .iter()
        .map(|(key, name)| Ok((*key, texts(batch, name)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok((0..batch.num_rows())
        .map(|row| {
            let known = columns.iter().filter(|(_, values)| values.is_valid(row));
            let tags: serde_json::Map<String, serde_json::Value> = known
                .map(|(key, values)| ((*key).to_owned(), values.value(row).into()))
                .collect();
            Some(serde_json::Value::Object(tags).to_string())
        })
        .collect())
}

/// `AllocatedMethodDetails`: the row's share of the charge and what it was measured by. Null where nothing was split, and for
/// idle that moves on: those rows are shares of the idle, not of the charge.
fn details(batch: &RecordBatch) -> Result<StringArray> {
    let drivers = texts(batch, "x_Driver")?;
    let bases = texts(batch, "x_Basis")?;
    let weights = decimals(batch, "x_Weight", 0)?;
    let totals = decimals(batch, "x_WeightTotal", 0)?;
    let one = 10_i128.pow(SCALE);
    (0..batch.num_rows())
        .map(|row| {
            let moved = bases.value(row) == Basis::Allocation.as_str();
            if moved || drivers.is_null(row) || weights.is_null(row) || totals.is_null(row) {
                return Ok(None);
            }
            let weight = weights.value(row).unsigned_abs();
            let rest = totals.value(row).unsigned_abs().saturating_sub(weight);
            let ratio = split(one, &[weight, rest]).ok().flatten();
            let ratio = Money(ratio.and_then(|parts| parts.first().copied()).unwrap_or(0));
            let unit = serde_json::Value::from(drivers.value(row));
            // Numbers as decimals: a JSON library would write them as doubles.
            Ok(Some(format!(
                "{{\"Elements\":[{{\"AllocatedRatio\":{ratio},\"UsageUnit\":{unit},\"UsageQuantity\":{weight}}}]}}"
            )))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn amounts(values: Vec<Option<i128>>, scale: i8) -> Decimal128Array {
        Decimal128Array::from(values)
            .with_precision_and_scale(38, scale)
            .unwrap()
    }

    #[test]
    fn metrics_are_split_like_the_cost_and_add_up_to_the_charge() {
        let whole = amounts(vec![Some(100), Some(100), Some(100), Some(7), None], 18);
        let weights = amounts(vec![Some(1), Some(1), Some(1), None, Some(3)], 0);
        let split = shared(&whole, &weights, &[0..3, 3..4, 4..5]).unwrap();
        let found: Vec<Option<i128>> = split.iter().collect();
        assert_eq!(found, [Some(34), Some(33), Some(33), Some(7), None]);
    }

    #[test]
    fn without_weights_the_first_row_has_it_all() {
        let whole = amounts(vec![Some(-9), Some(-9)], 18);
        let range = 0..2;
        let whole_group = std::slice::from_ref(&range);
        let split = shared(&whole, &amounts(vec![None, None], 0), whole_group).unwrap();
        assert_eq!(split.iter().collect::<Vec<_>>(), [Some(-9), Some(0)]);
    }
}

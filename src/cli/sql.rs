//! `recost sql`: queries the published tables, and nothing but reads them.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;

use super::print::Printer;
use super::{load, yesterday};
use crate::engine::{Engine, Options, rows};
use crate::error::Result;
use crate::report::csv::safe_batch;
use crate::warehouse::Warehouse;

/// Arguments of `recost sql`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The query.
    query: String,
    /// How the rows are written to standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// CSV for programs: texts as they are, also those that a spreadsheet takes for formulas.
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Parquet,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, _) = load(&args.pipeline)?;
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.published()?;
    let options = Options::of(&pipeline, yesterday());
    let engine = Engine::open(&options, Some(&snapshot), Some(&warehouse.runs()))?;
    let frame = engine.query(&args.query).await?;
    let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    let mut batches = frame.collect().await?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    match args.format {
        Format::Table => {
            let text = arrow::util::pretty::pretty_format_batches(&batches)?.to_string();
            printer.result(&text);
        }
        Format::Csv => {
            let mut writer = arrow::csv::Writer::new(Vec::new());
            for batch in &batches {
                match args.raw {
                    true => writer.write(batch)?,
                    false => writer.write(&safe_batch(batch)?)?,
                }
            }
            printer.bytes(&writer.into_inner());
        }
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            for batch in &batches {
                writer.write(&rows::exact(batch)?)?;
            }
            writer.finish()?;
            printer.bytes(&writer.into_inner());
        }
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None)?;
            for batch in &batches {
                writer.write(batch)?;
            }
            printer.bytes(&writer.into_inner()?);
        }
    }
    Ok(())
}

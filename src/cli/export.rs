//! `recost export`: the attributed cost as a FOCUS data set, for other cost tools.

use std::path::PathBuf;

use super::load;
use super::print::Printer;
use crate::error::Result;
use crate::report::showback::{self, Format};

/// Arguments of `recost export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Folder for the files, one per billing period.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only this billing period, such as 2026-10 [default: all].
    #[arg(long, value_name = "YYYY-MM")]
    period: Option<String>,
    /// How the files are written.
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// CSV for programs: texts as they are, also those that a spreadsheet takes for formulas.
    #[arg(long)]
    raw: bool,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library) = load(&args.pipeline)?;
    let written = showback::write(
        &pipeline,
        &library,
        args.period.as_deref(),
        (args.format, args.raw),
        &args.to,
    )
    .await?;
    let lines = written
        .iter()
        .map(|file| format!("{}: {} rows", file.path.display(), file.rows));
    printer.result(&lines.collect::<Vec<_>>().join("\n"));
    Ok(())
}

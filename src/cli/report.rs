//! `recost report`.

use std::path::PathBuf;

use super::Night;
use super::print::Printer;
use crate::error::Result;
use crate::report;

/// Arguments of `recost report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// Only this billing period, such as 2026-10 [default: all].
    #[arg(long, value_name = "YYYY-MM")]
    period: Option<String>,
    /// Folder for the report [default: as in the pipeline file].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let data = report::load::load(&pipeline, &library, date, args.period.as_deref()).await?;
    let out = args.out.as_ref().unwrap_or(&pipeline.report.out);
    let written = report::write(&data, out)?;
    printer.result(&format!(
        "{}\n{} CSV files beside it",
        written.html.display(),
        written.csv.len()
    ));
    Ok(())
}

//! `recost report`.

use std::path::PathBuf;

use super::Night;
use super::print::Printer;
use crate::error::Result;
use crate::report::{self, Format};

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
    /// Only these forms, separated by commas [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORM")]
    format: Vec<Format>,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let data = report::load::load(&pipeline, &library, date, args.period.as_deref()).await?;
    let out = args.out.as_ref().unwrap_or(&pipeline.report.out);
    let formats = match args.format.as_slice() {
        [] => &Format::ALL,
        some => some,
    };
    let written = report::write(&data, out, formats)?;
    let page = match formats.contains(&Format::Html) {
        true => report::run::write(&pipeline, &library, out)?,
        false => None,
    };
    let mut lines: Vec<String> = written
        .html
        .iter()
        .chain(&page)
        .chain(&written.xlsx)
        .map(|path| path.display().to_string())
        .collect();
    if !written.csv.is_empty() {
        let folder = out.join("csv");
        lines.push(format!("{}: {} files", folder.display(), written.csv.len()));
    }
    printer.result(&lines.join("\n"));
    Ok(())
}

//! `recost close`.

use std::path::PathBuf;

use super::load;
use super::print::{Printer, thousands};
use crate::error::Result;
use crate::pipeline;

/// Arguments of `recost close`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The billing period, such as 2026-10.
    #[arg(value_name = "YYYY-MM")]
    period: String,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library) = load(&args.pipeline)?;
    let closed = pipeline::close::run(&pipeline, &library, &args.period).await?;
    printer.result(&format!(
        "Closed {} with {} charges\nhash   {}\nWhat its bills bring from now on is restated in the open period: recost sql {} \"select * from restatements\"",
        args.period,
        thousands(closed.charges),
        closed.hash,
        args.pipeline.display()
    ));
    Ok(())
}

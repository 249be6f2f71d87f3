//! `recost close`.

use std::path::PathBuf;

use super::load;
use super::print::{Printer, thousands};
use super::watched::{Watched, stand};
use crate::error::Result;
use crate::pipeline::close;
use crate::pipeline::runs::Job;
use crate::watch::Observer;

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
    let watched = Watched {
        pipeline: &pipeline,
        library: &library,
        job: Job::Close,
        date: close::days_of(&args.period)?.1,
    };
    watched.begin(None, printer);
    let work = async |observer: &mut Observer<'_>| {
        close::run(&pipeline, &library, &args.period, observer).await
    };
    let closed = watched
        .observe(printer, work, |(_, snapshot)| Some(snapshot.clone()))
        .await;
    stand(&pipeline, printer).await;
    let (closed, _) = closed?;
    printer.result(&format!(
        "Closed {} with {} charges\nhash   {}\nWhat its bills bring from now on is restated in the open period: recost sql {} \"select * from restatements\"",
        args.period,
        thousands(closed.charges),
        closed.hash,
        args.pipeline.display()
    ));
    Ok(())
}

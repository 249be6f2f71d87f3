//! `recost sync`.

use std::path::PathBuf;

use super::load;
use super::print::Printer;
use crate::error::{Error, Result};
use crate::pipeline::run::lock_note;
use crate::warehouse::Warehouse;

/// Arguments of `recost sync`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, _) = load(&args.pipeline)?;
    let Some(store) = &pipeline.store else {
        return Err(Error::config(format!(
            "{} names no store, so there is nothing to bring the warehouse together with",
            args.pipeline.display()
        ))
        .help("add `[store] url = \"s3://bucket/prefix\"`"));
    };
    let warehouse = Warehouse::of(&pipeline)?;
    let before = warehouse.run();
    let lock = warehouse.lock(&lock_note())?;
    let now = warehouse.run();
    drop(lock);
    let url = &store.url;
    printer.result(&match (before, now) {
        (_, None) => format!("nothing is published in {url} yet"),
        (before, Some(now)) if before.as_ref() == Some(&now) => {
            format!(
                "{} and {url} have the snapshot {now}",
                warehouse.root().display()
            )
        }
        (_, Some(now)) => format!(
            "the snapshot {now} is current in {} and {url}",
            warehouse.root().display()
        ),
    });
    Ok(())
}

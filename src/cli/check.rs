//! `recost check`.

use super::Night;
use super::print::Printer;
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::ingest::broken;
use crate::pipeline::check::check;
use crate::pipeline::run::window;
use crate::warehouse::{Warehouse, store, table};

/// Arguments of `recost check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.published()?;
    let charges = table("charges").ok_or_else(|| Error::unexpected("no table charges"))?;
    let periods = store::partitions(&snapshot, charges)?;
    let options = Options::of(&pipeline, date);
    let held = check(
        &library,
        &options,
        &snapshot,
        window(&pipeline, date),
        &periods,
    )
    .await?;
    for warning in broken(&Engine::open(&options, Some(&snapshot), None)?).await? {
        printer.warning(&warning);
    }
    printer.result(&format!("{held} checks hold on {}", snapshot.display()));
    Ok(())
}

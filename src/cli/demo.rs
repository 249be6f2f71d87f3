//! `recost demo`: everything, end to end, on any machine.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::print::Printer;
use super::{generate, init, parse_choice, run};
use crate::compute::Choice;
use crate::error::{Error, Result};
use crate::generate::{Scale, Spec};
use crate::pipeline::Selection;

/// Last day of the generated exports: a whole month's end, so that bills and their amortised parts are complete.
pub const LAST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 10, 31);
/// Seed of the generated exports.
pub const SEED: u64 = 7;

/// Arguments of `recost demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for exports, pipeline, tables and report.
    #[arg(long, value_name = "DIR", default_value = "recost-demo")]
    dir: PathBuf,
    /// How much data: small 60 thousand events, medium 2 million, large 20 million.
    #[arg(long, value_parser = generate::parse_scale, default_value = "small")]
    scale: Scale,
    /// Where to compute: auto, cpu, gpu, or part of a device's name.
    #[arg(long, value_parser = parse_choice, default_value = "auto")]
    device: Choice,
    /// Open the report when done.
    #[arg(long)]
    open: bool,
}

/// Runs the command.
pub async fn run(args: Args, printer: &mut Printer) -> Result<()> {
    let date = LAST_DAY.ok_or_else(|| Error::unexpected("the demo's day is none"))?;
    let spec = Spec::preset(args.scale, args.dir.join("exports"), date, SEED);
    generate::exports(&spec, printer)?;
    let file = args.dir.join("pipeline.toml");
    if !file.exists() {
        init::write_new(&file, init::PIPELINE)?;
    }
    let (pipeline, library) = super::load(&file)?;
    run::night(
        &pipeline,
        library,
        date,
        Selection::default(),
        args.device,
        printer,
    )
    .await?;
    if args.open {
        open(&pipeline.report.out.join("report.html"), printer);
    }
    Ok(())
}

fn open(file: &Path, printer: &mut Printer) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    if std::process::Command::new(opener)
        .arg(file)
        .spawn()
        .is_err()
    {
        printer.warning(&format!(
            "`{opener}` is not here; open {} yourself",
            file.display()
        ));
    }
}

//! `recost init`: a commented project that runs as it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::print::Printer;
use super::{demo, generate};
use crate::error::{Error, Result};
use crate::generate::{Scale, Spec};

/// The commented pipeline file.
pub const PIPELINE: &str = include_str!("../../pipelines/nightly.toml");

const SQL_README: &str = "\
Put SQL files of your own here; they go before the built-in ones of the same path.

  sources/<kind>/<dialect>.sql         reads one export dialect: select _row, … from source
  features/<table>.sql                 makes one feature table
  attribution/drivers/<driver>.sql     gives the weights by which shared costs are split
  checks/<check>.sql                   gives the rows that break a rule; any row stops the run

`recost tables` lists the tables that they read and write.
";

/// Arguments of `recost init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the new project.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Leave out the generated sample exports.
    #[arg(long)]
    no_exports: bool,
}

/// Runs the command.
pub fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let file = args.dir.join("pipeline.toml");
    if file.exists() {
        return Err(
            Error::config(format!("{} is there already", file.display()))
                .help("choose another folder, or remove the file"),
        );
    }
    write_new(&file, PIPELINE)?;
    write_new(&args.dir.join("sql/README.txt"), SQL_README)?;
    let date = demo::LAST_DAY.ok_or_else(|| Error::unexpected("the sample's day is none"))?;
    let mut next = format!("recost run {} --date {date}", file.display());
    if args.no_exports {
        next = format!(
            "edit the paths under [[sources]], then: recost plan {}",
            file.display()
        );
    } else {
        let spec = Spec::preset(Scale::Small, args.dir.join("exports"), date, demo::SEED);
        generate::exports(&spec, printer)?;
    }
    printer.result(&format!("Wrote {}\nNext: {next}", file.display()));
    Ok(())
}

/// Writes a file that is not there yet, making the folders above it.
pub fn write_new(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        crate::disk::make_dir(dir)?;
    }
    File::create_new(path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(|e| Error::io("cannot write", path, &e))
}

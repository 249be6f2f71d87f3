//! The command line: one file per subcommand, one place that prints, one mapping from errors to exit codes.

mod backfill;
mod check;
mod close;
mod compare;
mod demo;
mod devices;
mod explain;
mod export;
mod forget;
mod generate;
mod init;
mod plan;
pub(crate) mod print;
mod report;
mod rules;
mod run;
mod signals;
mod sql;
mod status;
mod sync;
mod tables;
mod tune;
mod watched;

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{Datelike, NaiveDate, TimeDelta, Utc};
use clap::{Parser, Subcommand, ValueEnum};

use crate::compute::Choice;
use crate::config::Pipeline;
use crate::engine::Library;
use crate::error::{Error, Kind, Result};
use crate::pipeline::Selection;
use crate::scratch;
use print::Printer;

/// Nightly recommendations from a shop's clickstream, and what each of them cost, exact to the bill's last digit.
#[derive(Debug, Parser)]
#[command(
    name = "recost",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// How progress and errors are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// How progress and errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Exports, pipeline, run and report, end to end, on generated data.
    Demo(demo::Args),
    /// Writes a commented project that runs as it is.
    Init(init::Args),
    /// Writes the exports of an invented shop, with known truth.
    Generate(generate::Args),
    /// Shows what a run would do, and why; writes nothing.
    Plan(plan::Args),
    /// Runs a night: ingest, features, train, score, evaluate, attribute, check, publish, report.
    Run(run::Args),
    /// Runs the nights of a range that are missing, failed or stale, in order.
    Backfill(backfill::Args),
    /// Searches for better hyperparameters of a model, within a budget.
    Tune(tune::Args),
    /// Runs the data checks on what is published.
    Check(check::Args),
    /// Closes a billing period: what comes later for it is restated, never changed.
    Close(close::Args),
    /// Holds two models or versions against each other: conversion with its uncertainty, cost, and what it cost to make.
    Compare(compare::Args),
    /// Shows where each cent of a charge went, or where the cost of a model, a version or a recommendation came from.
    Explain(explain::Args),
    /// Writes the cost report: a page, a workbook, CSV files.
    Report(report::Args),
    /// Writes the attributed cost as a FOCUS data set, for other cost tools.
    Export(export::Args),
    /// Brings the warehouse and its store together: fetches what was published elsewhere, sends what could not be sent.
    Sync(sync::Args),
    /// Takes people out of every table, snapshot, model file and report, and shows that they are gone.
    Forget(forget::Args),
    /// Gives the pseudonyms of user ids, read from standard input.
    Pseudonym(forget::Pseudonym),
    /// Queries the published tables.
    Sql(sql::Args),
    /// Describes the published tables: grain, columns, units, partitions.
    Tables(tables::Args),
    /// Lists what can compute here, and what auto would take.
    Devices(devices::Args),
    /// Shows nights, sources and runs: what is done, missing, late or stale; its exit code is for alerts.
    Status(status::Args),
}

/// A pipeline file and its night.
#[derive(Debug, clap::Args)]
struct Night {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The night: the last day of its data, UTC [default: yesterday].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    date: Option<NaiveDate>,
}

impl Night {
    fn load(&self) -> Result<(Pipeline, Library, NaiveDate)> {
        let (pipeline, library) = load(&self.pipeline)?;
        Ok((pipeline, library, self.date.unwrap_or_else(yesterday)))
    }
}

fn load(file: &std::path::Path) -> Result<(Pipeline, Library)> {
    let pipeline = Pipeline::load(file)?;
    let library = Library::load(&pipeline.sql)?;
    Ok((pipeline, library))
}

fn yesterday() -> NaiveDate {
    Utc::now().date_naive() - TimeDelta::days(1)
}

fn parse_date(text: &str) -> std::result::Result<NaiveDate, String> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| format!("`{text}` is no day; write it as 2026-10-31"))?;
    if !(2000..2100).contains(&day.year()) {
        return Err(format!("`{text}` is not between the years 2000 and 2100"));
    }
    Ok(day)
}

fn parse_choice(text: &str) -> std::result::Result<Choice, String> {
    text.parse().map_err(|e| format!("{e}"))
}

fn parse_selection(text: &str) -> std::result::Result<String, String> {
    if text.is_empty() {
        return Err("name a stage or a table".into());
    }
    Ok(text.to_string())
}

fn selection(text: Option<&String>) -> Result<Selection> {
    text.map_or_else(|| Ok(Selection::default()), |t| t.parse())
}

/// Parses the command line, does what it says, and gives the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version go to standard output and are no failure.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() {
                Kind::Config.exit_code()
            } else {
                0
            });
        }
    };
    let mut printer = Printer::new(cli.log_format);
    print::start_logging(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            printer.error(&Error::unexpected(format!("cannot start the runtime: {e}")));
            return ExitCode::from(Kind::Unexpected.exit_code());
        }
    };
    if let Err(e) = signals::listen(printer.another()) {
        printer.error(&Error::unexpected(format!(
            "cannot listen for signals: {e}"
        )));
        return ExitCode::from(Kind::Unexpected.exit_code());
    }
    let result = runtime.block_on(dispatch(cli.command, &mut printer));
    // After an error, work on blocking threads may still be under way; it is abandoned.
    runtime.shutdown_background();
    scratch::remove();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    };
    printer.account();
    code
}

async fn dispatch(command: Command, printer: &mut Printer) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(args, printer).await,
        Command::Init(args) => init::run(&args, printer),
        Command::Generate(args) => generate::run(&args, printer),
        Command::Plan(args) => plan::run(&args, printer).await,
        Command::Run(args) => run::run(&args, printer).await,
        Command::Backfill(args) => backfill::run(&args, printer).await,
        Command::Tune(args) => tune::run(&args, printer).await,
        Command::Check(args) => check::run(&args, printer).await,
        Command::Close(args) => close::run(&args, printer).await,
        Command::Compare(args) => compare::run(&args, printer).await,
        Command::Explain(args) => explain::run(&args, printer).await,
        Command::Report(args) => report::run(&args, printer).await,
        Command::Export(args) => export::run(&args, printer).await,
        Command::Sync(args) => sync::run(&args, printer),
        Command::Forget(args) => forget::run(&args, printer).await,
        Command::Pseudonym(args) => forget::pseudonyms(&args, printer),
        Command::Sql(args) => sql::run(&args, printer).await,
        Command::Tables(args) => tables::run(&args, printer),
        Command::Devices(args) => devices::run(&args, printer),
        Command::Status(args) => status::run(&args, printer).await,
    }
}

//! `recost generate`.

use std::path::PathBuf;

use chrono::NaiveDate;

use super::print::{Printer, thousands};
use super::{demo, parse_date};
use crate::error::{Error, Result};
use crate::generate::{GenerateError, Scale, Spec, generate};
use crate::watch::event::Said;

/// Arguments of `recost generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the exports; one that this command made before is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A ready-made size; the options below change single figures of it.
    #[arg(long, value_parser = parse_scale, default_value = "small")]
    scale: Scale,
    /// Users.
    #[arg(long)]
    users: Option<u64>,
    /// Items in the catalogue.
    #[arg(long)]
    items: Option<u64>,
    /// Events in all.
    #[arg(long)]
    events: Option<u64>,
    /// Days.
    #[arg(long)]
    days: Option<u32>,
    /// Last day [default: 2026-10-31].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    end: Option<NaiveDate>,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = demo::SEED)]
    seed: u64,
    /// Leave out malformed rows, duplicates and late events.
    #[arg(long)]
    clean: bool,
}

/// Reads a scale's name.
pub fn parse_scale(text: &str) -> std::result::Result<Scale, String> {
    match text {
        "small" => Ok(Scale::Small),
        "medium" => Ok(Scale::Medium),
        "large" => Ok(Scale::Large),
        _ => Err(format!("`{text}` is no scale; known: small, medium, large")),
    }
}

/// Runs the command.
pub fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let end = args
        .end
        .or(demo::LAST_DAY)
        .ok_or_else(|| Error::unexpected("no last day"))?;
    let mut spec = Spec::preset(args.scale, &args.out, end, args.seed);
    spec.users = args.users.unwrap_or(spec.users);
    spec.items = args.items.unwrap_or(spec.items);
    spec.events = args.events.unwrap_or(spec.events);
    spec.days = args.days.unwrap_or(spec.days);
    if args.clean {
        spec.rates = crate::generate::Rates::NONE;
    }
    let text = exports(&spec, printer)?;
    printer.result(&text);
    Ok(())
}

/// Generates exports, showing progress. Returns what to say about them.
pub fn exports(spec: &Spec, printer: &mut Printer) -> Result<String> {
    printer.begin("generate");
    let summary = generate(spec, &mut |p| {
        printer.update(format!(
            "generate {} {} of {}",
            p.stage,
            thousands(p.done),
            thousands(p.total)
        ));
    })
    .map_err(|e| match &e {
        GenerateError::Io { path, source, .. } => Error::io("cannot write", path, source),
        GenerateError::Spec { .. } => Error::config(e.to_string()),
        GenerateError::NotOurs(_) => {
            Error::config(e.to_string()).help("choose an empty folder with --out or --dir")
        }
        _ => Error::unexpected(e.to_string()),
    })?;
    let text = format!(
        "{:<10} {:>8.2} s {:>12} rows  events {} to {}, in {}",
        "generate",
        summary.seconds,
        thousands(summary.totals.events.rows),
        spec.start(),
        spec.end,
        spec.out.display()
    );
    printer.emit(&Said {
        name: "generate",
        text: &text,
        next: None,
    });
    Ok(format!(
        "{} events, {} files, {} MB in {}; the planted truth is in {}",
        thousands(summary.totals.events.rows),
        summary.files,
        summary.bytes / 1_000_000,
        spec.out.display(),
        spec.out.join("truth").display()
    ))
}

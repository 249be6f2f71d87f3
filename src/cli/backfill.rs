//! `recost backfill`: the nights of a range that are missing, failed or stale, in order.

use std::path::PathBuf;
use std::time::Instant;

use chrono::NaiveDate;

use super::print::{Printer, columns};
use super::run::{chosen_device, page, tables, watched, write_report};
use super::watched::stand;
use super::{load, parse_choice, parse_date, yesterday};
use crate::compute::Choice;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::pipeline::Selection;
use crate::pipeline::nights::{self, Nights};
use crate::pipeline::run::{Night as Run, Start};
use crate::report;
use crate::warehouse::Warehouse;

/// Arguments of `recost backfill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The first night.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    from: NaiveDate,
    /// The last night [default: yesterday].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    to: Option<NaiveDate>,
    /// Also the nights that are done.
    #[arg(long)]
    force: bool,
    /// Only say what would run, and why.
    #[arg(long)]
    dry_run: bool,
    /// Where to compute: auto, cpu, gpu, or part of a device's name [default: as in the pipeline file].
    #[arg(long, value_parser = parse_choice)]
    device: Option<Choice>,
}

/// One run of a backfill.
struct Step {
    night: NaiveDate,
    selection: Selection,
    why: String,
    /// Whether it is the newest night's costs at the end, and none of the nights asked for.
    closing: bool,
}

/// A backfill and how far it came.
struct Backfill<'a> {
    found: Nights<'a>,
    force: bool,
    steps: Vec<Step>,
    /// Seconds of the steps that were run, in their order.
    ran: Vec<f64>,
    /// Seconds until the step after them failed.
    failed: Option<f64>,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library) = load(&args.pipeline)?;
    let range = (args.from, args.to.unwrap_or_else(yesterday));
    if range.0 > range.1 {
        return Err(
            Error::config(format!("from {} to {} there is no night", range.0, range.1))
                .help("the first night comes first: --from 2026-10-01 --to 2026-10-31"),
        );
    }
    let device = chosen_device(args.device.as_ref(), &pipeline)?;
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let engine = Engine::open(
        &Options::of(&pipeline, range.1),
        warehouse.snapshot().as_deref(),
        Some(&warehouse.runs()),
    )?;
    let nights = (Some(range.0), range.1);
    let found = nights::nights(&pipeline, &engine, &warehouse, nights).await?;
    let mut backfill = Backfill::new(found, args.force);
    if args.dry_run || backfill.steps.is_empty() {
        let (due, done) = (backfill.due(), backfill.found.nights.len() - backfill.due());
        let head = format!(
            "Backfill of {} to {}: {} to run, {done} done",
            range.0,
            range.1,
            counted(due)
        );
        printer.result(&backfill.shown(head));
        return Ok(());
    }
    if pipeline.report.after_run {
        report::prepare(&pipeline.report.out)?;
    }
    printer.begin_backfill(&pipeline, range);
    let started = Instant::now();
    let mut error = None;
    for (n, step) in backfill.steps.iter().enumerate() {
        let place = format!("{} of {}", n + 1, backfill.steps.len());
        let said = format!("Night of {} ({place}): {}", step.night, step.why);
        let begun = Instant::now();
        let how = (&device, args.force, said.as_str());
        let outcome = night(&pipeline, &library, step, how, printer).await;
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => backfill.ran.push(seconds),
            Err(e) => {
                let doing = format!("the backfill stopped at the night of {}", step.night);
                error = Some(e.context(doing));
                backfill.failed = Some(seconds);
                break;
            }
        }
    }
    printer.end_backfill(error.as_ref());
    let head = format!(
        "Backfill of {} to {}: {} run, {} skipped, {:.1} s",
        range.0,
        range.1,
        counted(backfill.ran.len().min(backfill.due())),
        backfill.found.nights.len() - backfill.due(),
        started.elapsed().as_secs_f64()
    );
    printer.result(&backfill.shown(head));
    if pipeline.report.after_run {
        page(&pipeline, &library, printer);
    }
    stand(&pipeline, printer).await;
    if let Some(error) = error {
        return Err(error);
    }
    // Only the last night is of interest to a reader.
    if let Some(last) = backfill.steps.last().filter(|_| pipeline.report.after_run) {
        write_report(&pipeline, &library, last.night)
            .await
            .map_err(|e| e.context("the tables are published, but not the report"))?;
    }
    Ok(())
}

impl<'a> Backfill<'a> {
    /// What is to be run: the nights in their order, and the newest night's costs where an older night would be the last.
    fn new(found: Nights<'a>, force: bool) -> Self {
        let due = found.nights.iter().filter(|night| force || night.is_due());
        let mut steps: Vec<Step> = due
            .map(|night| Step {
                night: night.night,
                selection: if force {
                    Selection::default()
                } else {
                    night.selection()
                },
                why: format!("{}, {}", night.state.as_str(), night.why()),
                closing: false,
            })
            .collect();
        let last = steps.last().map(|step| step.night).or(found.last_run);
        if let Some(newest) = found
            .newest
            .filter(|newest| last.is_some_and(|last| last < *newest))
        {
            steps.push(Step {
                night: newest,
                selection: nights::costs(),
                why: "costs once more, for an older night was run after it".into(),
                closing: true,
            });
        }
        Backfill {
            found,
            force,
            steps,
            ran: vec![],
            failed: None,
        }
    }

    /// How many of the nights asked for are to be run.
    fn due(&self) -> usize {
        self.steps.iter().filter(|step| !step.closing).count()
    }

    /// The heading, a line for each night, and one for the newest night's costs.
    fn shown(&self, head: String) -> String {
        let mut rows = vec![];
        for night in &self.found.nights {
            if !self.force && !night.is_due() {
                let state = night.state.as_str().to_string();
                rows.push(vec![night.night.to_string(), "skipped".into(), state]);
            }
        }
        for (n, step) in self.steps.iter().enumerate() {
            let what = match (self.ran.get(n), self.failed) {
                (Some(seconds), _) => format!("run, {seconds:.1} s"),
                (None, Some(seconds)) if n == self.ran.len() => format!("failed, {seconds:.1} s"),
                _ => "to run".into(),
            };
            rows.push(vec![step.night.to_string(), what, step.why.clone()]);
        }
        // The newest night's costs come after what was skipped of the same night.
        rows.sort_by(|a, b| a[0].cmp(&b[0]));
        let mut lines = vec![head];
        lines.extend(columns(&rows, 3));
        lines.join("\n")
    }
}

async fn night(
    pipeline: &Pipeline,
    library: &Library,
    step: &Step,
    (device, force, said): (&Choice, bool, &str),
    printer: &mut Printer,
) -> Result<()> {
    let run = Run {
        pipeline,
        library: library.clone(),
        date: step.night,
        selection: step.selection.clone(),
        device: device.clone(),
        start: if force { Start::Anew } else { Start::Auto },
    };
    watched(&run).begin(Some(said), printer);
    tables(&run, printer).await.map(|_| printer.account())
}

fn counted(nights: usize) -> String {
    match nights {
        1 => "1 night".into(),
        n => format!("{n} nights"),
    }
}

//! `recost backfill`: the nights of a range that are missing, failed or stale, in order.

use std::collections::BTreeSet;
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
use crate::pipeline::nights::{self, Night, Nights, State};
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
}

impl Step {
    fn of(night: &Night, force: bool) -> Self {
        Step {
            night: night.night,
            selection: match force {
                true => Selection::default(),
                false => night.selection(),
            },
            why: format!("{}, {}", night.state.as_str(), night.why()),
        }
    }
}

/// A backfill and how far it came.
struct Backfill<'a> {
    found: Nights<'a>,
    /// The nights to be run.
    steps: Vec<Step>,
    /// The newest night's costs at the end, where an older night would be the last.
    closing: Option<Step>,
    /// Whether it is still to be seen if what was read made nights stale that were run before.
    looks_again: bool,
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
    let mut backfill = Backfill::new(look(&pipeline, &warehouse, range).await?, args.force);
    if args.dry_run || backfill.next().is_none() {
        let head = format!(
            "Backfill of {} to {}: {} to run, {} done",
            range.0,
            range.1,
            counted(backfill.steps.len()),
            backfill.skipped().count()
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
    loop {
        if backfill.looks_again && backfill.is_at_end() {
            match look(&pipeline, &warehouse, range).await {
                Ok(found) => backfill.add(&found),
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        let Some(step) = backfill.next() else { break };
        let place = format!("{} of {}", backfill.ran.len() + 1, backfill.all().count());
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
        counted(backfill.nights_run()),
        backfill.skipped().count(),
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
    if let Some(last) = backfill.all().last().filter(|_| pipeline.report.after_run) {
        write_report(&pipeline, &library, last.night)
            .await
            .map_err(|e| e.context("the tables are published, but not the report"))?;
    }
    Ok(())
}

/// How the nights of a range stand.
async fn look<'a>(
    pipeline: &'a Pipeline,
    warehouse: &Warehouse,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Nights<'a>> {
    let engine = Engine::open(
        &Options::of(pipeline, to),
        warehouse.snapshot().as_deref(),
        Some(&warehouse.runs()),
    )?;
    nights::nights(pipeline, &engine, warehouse, (Some(from), to)).await
}

impl<'a> Backfill<'a> {
    /// What is to be run: the nights in their order, and the newest night's costs where an older night would be the last.
    fn new(found: Nights<'a>, force: bool) -> Self {
        let due = found.nights.iter().filter(|night| force || night.is_due());
        let steps = due.map(|night| Step::of(night, force)).collect();
        let mut backfill = Backfill {
            found,
            steps,
            closing: None,
            looks_again: true,
            ran: vec![],
            failed: None,
        };
        backfill.close(backfill.found.newest);
        backfill
    }

    /// Adds the nights that were run, and that late events of exports read after them made stale.
    fn add(&mut self, found: &Nights<'_>) {
        self.looks_again = false;
        let stale = found.in_state(State::Stale);
        self.steps.extend(stale.map(|night| Step::of(night, false)));
        self.close(found.newest);
    }

    fn close(&mut self, newest: Option<NaiveDate>) {
        let last = self.steps.last().map(|step| step.night);
        let last = last.or(self.found.last_run);
        let newest = newest.filter(|newest| last.is_some_and(|last| last < *newest));
        self.closing = newest.map(|night| Step {
            night,
            selection: nights::costs(),
            why: "costs once more, for an older night was run after it".into(),
        });
    }

    /// All that is to be run.
    fn all(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.closing)
    }

    /// What is to be run next.
    fn next(&self) -> Option<&Step> {
        self.all().nth(self.ran.len())
    }

    /// Whether all nights were run that are known to be due.
    fn is_at_end(&self) -> bool {
        !self.steps.is_empty() && self.ran.len() == self.steps.len()
    }

    /// How many of the nights asked for were run.
    fn nights_run(&self) -> usize {
        let nights = self.steps.iter().zip(&self.ran).map(|(step, _)| step.night);
        nights.collect::<BTreeSet<_>>().len()
    }

    /// The nights asked for that are not run.
    fn skipped(&self) -> impl Iterator<Item = &Night> {
        let is_run = |night: &Night| self.steps.iter().any(|step| step.night == night.night);
        self.found.nights.iter().filter(move |night| !is_run(night))
    }

    /// The heading, a line for each night, and one for the newest night's costs.
    fn shown(&self, head: String) -> String {
        let mut rows = vec![];
        for night in self.skipped() {
            let state = night.state.as_str().to_string();
            rows.push(vec![night.night.to_string(), "skipped".into(), state]);
        }
        for (n, step) in self.all().enumerate() {
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

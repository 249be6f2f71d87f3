//! `recost run`.

use chrono::NaiveDate;

use super::print::{Printer, columns, size};
use super::watched::{Watched, stand};
use super::{Night, parse_choice, parse_selection, selection, signals};
use crate::compute::Choice;
use crate::config::Pipeline;
use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::money::{Currency, Money};
use crate::pipeline::interrupt;
use crate::pipeline::run::{Night as Run, Outcome, Published, Start};
use crate::pipeline::runs::Job;
use crate::pipeline::unchanged::Unchanged;
use crate::report;
use crate::watch::Observer;

/// Arguments of `recost run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// Only this stage or the stage that writes this table; with + also all stages after it.
    #[arg(long, value_name = "STAGE|TABLE[+]", value_parser = parse_selection)]
    select: Option<String>,
    /// Where to compute: auto, cpu, gpu, or part of a device's name [default: as in the pipeline file].
    #[arg(long, value_parser = parse_choice)]
    device: Option<Choice>,
    /// Go on with a run of this night that ended in the middle, as a run does anyway; without one, say so and run all.
    #[arg(long)]
    resume: bool,
    /// Run all stages anew: also those that are finished, and also when nothing has changed since the night was published.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let run = Run {
        pipeline: &pipeline,
        library,
        date,
        selection: selection(args.select.as_ref())?,
        device: chosen_device(args.device.as_ref(), &pipeline)?,
        start: match (args.resume, args.force) {
            (true, _) => Start::Resume,
            (_, true) => Start::Anew,
            _ => Start::Auto,
        },
    };
    show(&run, printer).await
}

/// The device that the command line names, else the pipeline file.
pub fn chosen_device(given: Option<&Choice>, pipeline: &Pipeline) -> Result<Choice> {
    if let Some(choice) = given {
        return Ok(choice.clone());
    }
    pipeline
        .run
        .device
        .parse()
        .map_err(|e| Error::config(format!("{}: [run] device: {e}", pipeline.file.display())))
}

/// Runs a night, writes its report, and prints the summary.
pub async fn night(
    pipeline: &Pipeline,
    library: Library,
    date: NaiveDate,
    selection: crate::pipeline::Selection,
    device: Choice,
    printer: &mut Printer,
) -> Result<()> {
    let run = Run {
        pipeline,
        library,
        date,
        selection,
        device,
        start: Start::default(),
    };
    show(&run, printer).await
}

/// Runs a night, and looks at how nights and sources stand after it, whatever became of it.
async fn show(run: &Run<'_>, printer: &mut Printer) -> Result<()> {
    let done = published_and_reported(run, printer).await;
    if run.pipeline.report.after_run {
        page(run.pipeline, &run.library, printer);
    }
    stand(run.pipeline, printer).await;
    done
}

async fn published_and_reported(run: &Run<'_>, printer: &mut Printer) -> Result<()> {
    let started = std::time::Instant::now();
    let (pipeline, date) = (run.pipeline, run.date);
    watched(run).begin(None, printer);
    if pipeline.report.after_run {
        report::prepare(&pipeline.report.out)?;
    }
    let outcome = tables(run, printer).await?;
    let outcome = match outcome {
        Outcome::Published(published) => published,
        Outcome::Unchanged(unchanged) => return nothing(run, &unchanged, printer).await,
    };
    let mut places = vec![format!(
        "tables   {}",
        pipeline.warehouse.join("current").display()
    )];
    if pipeline.report.after_run {
        let written = write_report(pipeline, &run.library, date)
            .await
            .map_err(|e| e.context("the tables are published, but not the report"))?;
        let files = [("report", &written.html), ("workbook", &written.xlsx)];
        for (what, path) in files {
            places.extend(
                path.iter()
                    .map(|path| format!("{what:<8} {}", path.display())),
            );
        }
    }
    let options = Options::of(pipeline, date);
    let money = reconciled(&options, &outcome).await?;
    printer.result(&summary(
        &outcome,
        &[busy(&outcome, pipeline.threads()), money, places],
        started.elapsed().as_secs_f64(),
    ));
    Ok(())
}

/// Writes the page on the last run, whatever became of it.
pub fn page(pipeline: &Pipeline, library: &Library, printer: &mut Printer) {
    if let Err(e) = report::run::write(pipeline, library, &pipeline.report.out) {
        printer.warning(&format!("run.html is not written: {e}"));
    }
}

/// How a night is watched.
pub fn watched<'a>(run: &'a Run<'_>) -> Watched<'a> {
    Watched {
        pipeline: run.pipeline,
        library: &run.library,
        job: Job::Night,
        date: run.date,
    }
}

/// Runs a night as far as its tables, with its progress shown and its deadline watched.
pub async fn tables(run: &Run<'_>, printer: &mut Printer) -> Result<Outcome> {
    let since = interrupt::begin();
    let deadline = run.pipeline.run.deadline;
    let deadline = deadline.map(|span| signals::deadline(span, since, printer.another()));
    let _deadline = deadline
        .transpose()
        .map_err(|e| Error::unexpected(format!("cannot watch the deadline: {e}")))?;
    let work = async |observer: &mut Observer<'_>| run.run(observer).await;
    watched(run)
        .observe(printer, work, |outcome| match outcome {
            Outcome::Published(published) => Some(published.snapshot.clone()),
            Outcome::Unchanged(_) => None,
        })
        .await
}

/// Says that the night is there already, and writes its report where that is missing.
async fn nothing(run: &Run<'_>, unchanged: &Unchanged, printer: &mut Printer) -> Result<()> {
    let report = &run.pipeline.report;
    let mut lines = vec![unchanged.describe()];
    if report.after_run && !report.out.join("report.html").exists() {
        let written = write_report(run.pipeline, &run.library, run.date).await?;
        let html = written.html.iter();
        lines.extend(html.map(|path| format!("report   {}", path.display())));
    }
    lines.push("With --force it is run all the same.".into());
    printer.result(&lines.join("\n"));
    Ok(())
}

/// Writes the report of a night.
pub async fn write_report(
    pipeline: &Pipeline,
    library: &Library,
    date: NaiveDate,
) -> Result<report::Written> {
    let data = report::load::load(pipeline, library, date, None).await?;
    Ok(report::write(
        &data,
        &pipeline.report.out,
        &report::Format::ALL,
    )?)
}

/// One line per currency of what the night's periods cost and where it went.
async fn reconciled(options: &Options, outcome: &Published) -> Result<Vec<String>> {
    if outcome.periods.is_empty() {
        return Ok(vec![]);
    }
    let engine = Engine::open(options, Some(&outcome.snapshot), None)?;
    let periods: Vec<String> = outcome.periods.iter().map(|p| format!("'{p}'")).collect();
    let sql = format!(
        "select currency, line, sum(billed) as billed, sum(effective) as effective from reconciliation
         where basis = 'usage' and billing_period in ({}) group by currency, line order by currency, line",
        periods.join(", ")
    );
    let rows = map(&engine.collect(&sql).await?, |row| {
        Ok((
            row.needed("currency")?,
            row.needed("line")?,
            row.decimal("billed", 18)?.map(Money),
            row.decimal("effective", 18)?.map(Money),
        ))
    })?;
    let mut currencies: Vec<&String> = rows.iter().map(|r| &r.0).collect();
    currencies.dedup();
    let mut lines = vec![];
    for currency in currencies {
        let find = |line: &str| rows.iter().find(|r| r.0 == *currency && r.1 == line);
        let digits = Currency::parse(currency).map_or(2, Currency::digits);
        let exact = |m: Option<Money>| m.map_or_else(|| "unknown".into(), |m| m.to_string());
        lines.push(match find("bill") {
            Some(bill) => format!(
                "{currency}  billed {}, effective {}",
                exact(bill.2),
                exact(bill.3)
            ),
            None => format!("{currency}  nothing billed"),
        });
        let mut parts = vec![];
        for line in [
            "attributed",
            "idle",
            "unallocated",
            "quarantined",
            "restated",
        ] {
            if let Some((.., amount)) = find(line) {
                let amount = amount.and_then(|m| m.fixed(digits).ok());
                parts.push(format!(
                    "{line} {}",
                    amount.unwrap_or_else(|| "unknown".into())
                ));
            }
        }
        let difference = find("difference").map_or_else(String::new, |d| {
            format!(
                "; difference {} billed, {} effective",
                exact(d.2),
                exact(d.3)
            )
        });
        lines.push(format!(
            "     effective, usage basis: {}{difference}",
            parts.join(", ")
        ));
    }
    Ok(lines)
}

/// How long each stage took, how busy it kept the cores that it may use, and what it spilled.
fn busy(outcome: &Published, threads: usize) -> Vec<String> {
    let stages = outcome.entries.iter().filter(|e| e.stage != "run");
    let rows = stages.map(|entry| {
        let used = entry.utilisation(threads);
        let spilled = entry.spilled.filter(|bytes| *bytes > 0);
        vec![
            entry.stage.clone(),
            entry
                .seconds()
                .map_or(String::new(), |s| format!("{s:.2} s")),
            used.map_or(String::new(), |used| format!("{:.0} %", 100.0 * used)),
            spilled.map_or(String::new(), |bytes| format!("{} spilled", size(bytes))),
        ]
    });
    let mut lines = vec![format!("Stages, and how busy they kept {threads} threads")];
    lines.extend(columns(&rows.collect::<Vec<_>>(), 1));
    lines
}

fn summary(outcome: &Published, parts: &[Vec<String>], seconds: f64) -> String {
    let mut lines = vec![format!(
        "Night of {} published in {seconds:.1} s on {}{}",
        outcome.date,
        outcome.device,
        outcome
            .peak_rss
            .map_or(String::new(), |b| format!(", peak memory {} MiB", b >> 20))
    )];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        lines.push(String::new());
        lines.extend(part.iter().cloned());
    }
    lines.join("\n")
}

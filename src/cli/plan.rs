//! `recost plan`: what a run would do, and why, and which rules would take how much of the bill.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::NaiveDate;

use super::print::Printer;
use super::run::chosen_device;
use super::{Night, parse_selection, rules, selection};
use crate::attribution;
use crate::attribution::preview::Preview;
use crate::attribution::stage::Work;
use crate::compute;
use crate::config::{Pipeline, SourceKind};
use crate::engine::{Engine, Library, Options};
use crate::error::Result;
use crate::ingest::{self, Planned, Survey};
use crate::model::former;
use crate::pipeline::run::{Start, window};
use crate::pipeline::runs::{self, Run};
use crate::pipeline::unchanged::Unchanged;
use crate::pipeline::{self, Selection, Stage};
use crate::warehouse::{Partition, Warehouse, store, table};

/// Tables that are written only when something comes for a closed billing period.
const OF_CLOSED: [&str; 2] = ["late_allocations", "restatements"];
/// The table of attribution that has the night alone.
const OF_THE_NIGHT: &str = "frontier";

/// Arguments of `recost plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// Only this stage or the stage that writes this table; with + also all stages after it.
    #[arg(long, value_name = "STAGE|TABLE[+]", value_parser = parse_selection)]
    select: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let selection = selection(args.select.as_ref())?;
    attribution::stage::routing(&pipeline, &library)?;
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.snapshot();
    let options = Options::of(&pipeline, date);
    let engine = Engine::open(&options, snapshot.as_deref(), Some(&warehouse.runs()))?;
    let last = runs::newest(&engine, &warehouse, 1).await?.pop();
    let survey = ingest::survey(&engine, &pipeline, &library, date).await?;
    let unchanged = unchanged(&pipeline, &library, date, &selection, &survey)?;
    let window = window(&pipeline, date);
    let ingests = selection.has(Stage::Ingest);
    let pending: Vec<_> = survey.pending().filter(|_| ingests).collect();
    let incomplete: Vec<_> = survey.incomplete().filter(|_| ingests).collect();
    let retired: Vec<_> = survey.retired().filter(|_| ingests).collect();
    let preview = match selection.has(Stage::Attribute) {
        true => Some(preview(&pipeline, &library, date, ingests.then_some(&survey)).await?),
        false => None,
    };
    let stages: Vec<Stage> = Stage::ALL
        .into_iter()
        .filter(|s| selection.has(*s) && s.applies(&pipeline))
        .collect();
    let folds = match stages.contains(&Stage::Train) {
        true => folds(&pipeline, snapshot.as_deref(), date)?,
        false => vec![],
    };
    if args.json {
        let stages: Vec<_> = stages
            .iter()
            .map(|s| serde_json::json!({"stage": s.name(), "writes": s.tables()}))
            .collect();
        let json = serde_json::json!({
            "pipeline": pipeline.file,
            "date": date,
            "window": [window.0, window.1],
            "snapshot": snapshot,
            "last_run": last.as_ref().map(Run::json),
            "published_by": unchanged.as_ref().map(|u| &u.run_id),
            "stages": stages,
            "ingest": pending.iter().map(|p| serde_json::json!({
                "source": p.source, "interval": p.interval, "files": p.files, "why": p.why.as_str(),
            })).collect::<Vec<_>>(),
            "incomplete": incomplete.iter().map(|(source, interval, reason)| serde_json::json!({
                "source": source, "interval": interval, "reason": reason,
            })).collect::<Vec<_>>(),
            "remove": retired.iter().map(|(source, interval)| serde_json::json!({
                "source": source, "interval": interval,
            })).collect::<Vec<_>>(),
            "fold_in": folds.iter().map(|(model, into)| serde_json::json!({
                "model_id": model, "folded_into": into.as_ref().ok(), "trained_because": into.as_ref().err(),
            })).collect::<Vec<_>>(),
            "attribution": preview.as_ref().map(rules::json),
            "unchanged": survey.unchanged().iter().map(|(source, interval)| serde_json::json!({
                "source": source, "interval": interval,
            })).collect::<Vec<_>>(),
        });
        printer.result(&format!("{json:#}"));
        return Ok(());
    }
    let mut lines = vec![format!(
        "Night of {date}: a run would see {} to {} and write to {}",
        window.0,
        window.1,
        pipeline.warehouse.display()
    )];
    if let Some(unchanged) = unchanged {
        let said = unchanged.describe();
        lines.insert(0, format!("{said}. With --force:"));
    }
    if let Some(run) = last.filter(|run| run.status != "done") {
        lines.push(format!(
            "The last run, {} of {}: {}",
            run.kind,
            run.of,
            run.how()
        ));
    }
    for stage in stages {
        lines.push(String::new());
        match stage {
            Stage::Ingest => {
                lines.push(format!(
                    "ingest     {} intervals new or changed, {} unchanged",
                    pending.len(),
                    survey.unchanged().len()
                ));
                lines.extend(listed(&pending));
                for (source, interval, reason) in &incomplete {
                    lines.push(format!(
                        "           {source} {interval}: not complete, {reason}"
                    ));
                }
                for (source, interval) in &retired {
                    lines.push(format!(
                        "           {source} {interval}: removed, the source is retired"
                    ));
                }
            }
            Stage::Check => lines.push(format!(
                "check      {} checks must hold before anything is published",
                library.folder("checks").count()
            )),
            _ => {
                lines.push(format!("{:<10} writes", stage.name()));
                for name in stage.tables() {
                    let Some(table) = table(name) else { continue };
                    let there = match &snapshot {
                        Some(s) => store::partitions(s, table)?,
                        None => vec![],
                    };
                    let what = match table.partition {
                        Partition::BillingPeriod if OF_CLOSED.contains(name) => {
                            "where the bill of a closed period came later".into()
                        }
                        Partition::Day if stage == Stage::Attribute && *name != OF_THE_NIGHT => {
                            format!("every day from {} to {}", window.0, window.1)
                        }
                        Partition::Day if there.contains(&date.to_string()) => {
                            format!("ds={date}, replacing it")
                        }
                        Partition::Day => format!("ds={date}, new"),
                        Partition::BillingPeriod => {
                            "the billing periods of the window, and those with changed bills".into()
                        }
                        Partition::None => "the whole table".into(),
                    };
                    lines.push(format!("           {name}: {what}"));
                }
                for (model, into) in folds.iter().filter(|_| stage == Stage::Train) {
                    lines.push(match into {
                        Ok(night) => {
                            format!("           `{model}` is folded into its version of {night}")
                        }
                        Err(reason) => format!("           `{model}` is trained: {reason}"),
                    });
                }
                if let Some(preview) = preview.as_ref().filter(|_| stage == Stage::Attribute) {
                    lines.push(String::new());
                    let rules = rules::lines(preview).into_iter();
                    lines.extend(rules.map(|line| format!("           {line}")));
                }
            }
        }
    }
    printer.result(&lines.join("\n"));
    Ok(())
}

/// The run that published the night, if a run for it would have nothing to do.
fn unchanged(
    pipeline: &Pipeline,
    library: &Library,
    date: NaiveDate,
    selection: &Selection,
    survey: &Survey<'_>,
) -> Result<Option<Unchanged>> {
    let night = pipeline::run::Night {
        pipeline,
        library: library.clone(),
        date,
        selection: selection.clone(),
        device: chosen_device(None, pipeline)?,
        start: Start::default(),
    };
    // Where nothing can compute, a run would say so.
    let Ok(device) = compute::open(&night.device) else {
        return Ok(None);
    };
    let warehouse = Warehouse::new(&pipeline.warehouse);
    night.unchanged(&warehouse, survey, device.info())
}

/// What the models that are not trained every night are folded into, or why they are trained.
fn folds<'a>(
    pipeline: &'a Pipeline,
    snapshot: Option<&Path>,
    date: NaiveDate,
) -> Result<Vec<(&'a str, std::result::Result<NaiveDate, String>)>> {
    let mut folds = vec![];
    for model in pipeline.models.iter().filter(|model| model.train_every > 1) {
        let found = match snapshot {
            None => Some(Err(former::NONE.to_string())),
            Some(snapshot) => former::tonight(snapshot, model, date)?,
        };
        folds.extend(found.map(|found| (model.id.as_str(), found)));
    }
    Ok(folds)
}

/// Reads new bills and telemetry into a draft of the warehouse, which is thrown away, and attributes there.
async fn preview(
    pipeline: &Pipeline,
    library: &Library,
    date: NaiveDate,
    survey: Option<&Survey<'_>>,
) -> Result<Preview> {
    let draft = Warehouse::new(&pipeline.warehouse).draft()?;
    let options = Options::of(pipeline, date);
    let mut changed = BTreeSet::new();
    if let Some(survey) = survey {
        let engine = Engine::open(&options, Some(draft.path()), None)?;
        let survey = survey.of_kinds(&[SourceKind::Usage, SourceKind::Charges]);
        let threads = pipeline.threads();
        let read = ingest::run(&engine, draft.path(), survey, date, threads).await?;
        changed.extend(read.charged_periods);
    }
    let work = Work {
        pipeline,
        library,
        options: &options,
        snapshot: draft.path(),
        window: window(pipeline, date),
    };
    attribution::preview::preview(work, &changed).await
}

/// One line for each run of intervals of one source that are to be read for the same reason.
fn listed(pending: &[Planned<'_>]) -> Vec<String> {
    pending
        .chunk_by(|a, b| a.source == b.source && a.why == b.why)
        .filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let intervals = match run.len() {
                1 => first.interval.to_string(),
                n => format!("{} to {} ({n} intervals)", first.interval, last.interval),
            };
            let files: usize = run.iter().map(|p| p.files).sum();
            let s = if files == 1 { "" } else { "s" };
            Some(format!(
                "           {} {intervals}: {}, {files} file{s}",
                first.source,
                first.why.as_str()
            ))
        })
        .collect()
}

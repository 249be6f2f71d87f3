//! `recost plan`: what a run would do, and why, and which rules would take how much of the bill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::NaiveDate;

use super::print::{Printer, size, thousands};
use super::run::chosen_device;
use super::{Night, parse_selection, rules, selection};
use crate::attribution;
use crate::attribution::preview::Preview;
use crate::attribution::stage::Work;
use crate::compute;
use crate::config::{Pipeline, SourceKind};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Kind, Result};
use crate::ingest::{self, Planned, Survey};
use crate::model::former;
use crate::pipeline::ledger::Entry;
use crate::pipeline::nights::{self, Nights, State};
use crate::pipeline::run::{Start, window};
use crate::pipeline::runs::{self, Run};
use crate::pipeline::unchanged::Unchanged;
use crate::pipeline::{self, Selection, Stage};
use crate::privacy::retention;
use crate::warehouse::{Partition, Warehouse, store, table};

/// Tables that are written only when something comes for a closed billing period.
const OF_CLOSED: [&str; 2] = ["late_allocations", "restatements"];
/// Newest runs among which the last one of each stage is looked for.
const LOOKED_AT: usize = 20;
/// Other nights that are named.
const NAMED: usize = 5;
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
    let survey = ingest::survey(&engine, &pipeline, &library, date).await;
    let survey = survey.inspect_err(|e| {
        if args.json && e.kind() == Kind::SourceMissing {
            printer.result(&format!("{:#}", lacking(&pipeline, date)));
        }
    })?;
    let nights = nights::nights(&pipeline, &engine, &warehouse, (None, date)).await?;
    let before = last_time(&engine, &warehouse).await?;
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
    let dropped = match &snapshot {
        Some(snapshot) => retention::due(&pipeline, snapshot, date)?,
        None => vec![],
    };
    if args.json {
        let mut shown = vec![];
        for stage in &stages {
            let last = before.get(stage.name());
            let mut replaces = serde_json::Map::new();
            let tables = tables(*stage, &pipeline, snapshot.as_deref(), date)?;
            for name in &tables {
                let written = written(*stage, name, (&window, date), snapshot.as_deref(), &survey)?;
                replaces.insert((*name).to_string(), written.json());
            }
            shown.push(serde_json::json!({
                "stage": stage.name(), "writes": tables, "why": why(*stage, &nights, &pending),
                "replaces": replaces,
                "last_time": last.map(|e| serde_json::json!({
                    "seconds": e.seconds(), "rows": e.rows, "started_at": e.started_at,
                    "read": e.read,
                })),
            }));
        }
        let json = serde_json::json!({
            "pipeline": pipeline.file,
            "date": date,
            "window": [window.0, window.1],
            "snapshot": snapshot,
            "last_run": last.as_ref().map(Run::json),
            "published_by": unchanged.as_ref().map(|u| &u.run_id),
            "stages": shown,
            "ingest": pending.iter().map(|p| serde_json::json!({
                "source": p.source, "interval": p.interval, "table": p.table, "files": p.files, "bytes": p.bytes,
                "why": p.why.as_str(),
                "replaces": p.replaces.as_ref().map(|r| serde_json::json!({
                    "rows_in": r.rows_in, "rows_out": r.rows_out, "partitions": r.partitions,
                })),
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
            "retention": dropped.iter().map(|d| serde_json::json!({
                "table": d.table, "days": d.days,
            })).collect::<Vec<_>>(),
            "unchanged": survey.unchanged().iter().map(|(source, interval)| serde_json::json!({
                "source": source, "interval": interval,
            })).collect::<Vec<_>>(),
            "nights": nights.nights.iter().filter(|n| n.is_due()).map(nights::Night::json).collect::<Vec<_>>(),
            "warnings": survey.warnings(),
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
        let last = before.get(stage.name()).map_or(String::new(), took);
        match stage {
            Stage::Ingest => {
                lines.push(format!(
                    "ingest     {} intervals new or changed, {} unchanged{last}",
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
                        "           {source} {interval}: removed, {}",
                        match pipeline.retired_sources.iter().any(|s| s == source) {
                            true => "the source is retired",
                            false => "it is withdrawn",
                        }
                    ));
                }
            }
            Stage::Check => lines.push(format!(
                "check      {} checks must hold before anything is published{last}",
                library.folder("checks").count()
            )),
            _ => {
                let why = why(stage, &nights, &pending);
                lines.push(format!("{:<10} {why}{last}; writes", stage.name()));
                for name in tables(stage, &pipeline, snapshot.as_deref(), date)? {
                    let what = written(stage, name, (&window, date), snapshot.as_deref(), &survey)?;
                    lines.push(format!("           {name}: {}", what.says));
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
    lines.extend(others(&nights, &pipeline, date));
    if !survey.warnings().is_empty() {
        lines.push(String::new());
        let warnings = survey.warnings().iter();
        lines.extend(warnings.map(|text| format!("warning: {text}")));
    }
    if !dropped.is_empty() {
        lines.push(String::new());
        for (n, dropped) in dropped.iter().enumerate() {
            let head = if n == 0 { "retention" } else { "" };
            lines.push(format!("{head:<10} drops {}", dropped.shown()));
        }
    }
    printer.result(&lines.join("\n"));
    Ok(())
}

/// For machines: the required sources that have nothing for the night.
fn lacking(pipeline: &Pipeline, date: NaiveDate) -> serde_json::Value {
    let lacking = pipeline.sources.iter().filter_map(|source| {
        let error = ingest::discover(source, date, 1).err()?;
        let missing = error.kind() == Kind::SourceMissing;
        missing.then(|| serde_json::json!({"source": source.name, "reason": error.to_string()}))
    });
    serde_json::json!({
        "pipeline": pipeline.file, "date": date, "missing": lacking.collect::<Vec<_>>(),
    })
}

/// The tables that a stage writes, without those that no model has rows for, unless what is there would go.
fn tables(
    stage: Stage,
    pipeline: &Pipeline,
    snapshot: Option<&Path>,
    date: NaiveDate,
) -> Result<Vec<&'static str>> {
    let ds = date.to_string();
    let mut tables = vec![];
    for name in stage.tables() {
        let there = || match snapshot.zip(table(name)) {
            Some((snapshot, table)) => Ok(store::partitions(snapshot, table)?.contains(&ds)),
            None => Ok::<_, Error>(false),
        };
        if pipeline::has_rows_for(pipeline, name) || there()? {
            tables.push(*name);
        }
    }
    Ok(tables)
}

/// What a run writes of a table.
struct Written {
    says: String,
    /// The partitions that are there and would be replaced; `None` where they are not known before the run.
    replaces: Option<Vec<String>>,
}

impl Written {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({"what": self.says, "partitions": self.replaces})
    }
}

fn written(
    stage: Stage,
    name: &str,
    (window, date): (&(NaiveDate, NaiveDate), NaiveDate),
    snapshot: Option<&Path>,
    survey: &Survey<'_>,
) -> Result<Written> {
    let Some(table) = table(name) else {
        return Err(Error::unexpected(format!("no table {name}")));
    };
    let there = match snapshot {
        Some(snapshot) => store::partitions(snapshot, table)?,
        None => vec![],
    };
    let some = |says: String, of: &dyn Fn(&str) -> bool| Written {
        says,
        replaces: Some(there.iter().filter(|p| of(p)).cloned().collect()),
    };
    let unknown = |says: &str| Written {
        says: says.into(),
        replaces: None,
    };
    if stage == Stage::Ingest {
        let of_table = survey.pending().filter(|p| p.table == name);
        let mut replaced: Vec<String> = of_table
            .filter_map(|p| p.replaces)
            .flat_map(|r| {
                r.partitions
                    .into_iter()
                    .map(str::to_string)
                    .collect::<Vec<_>>()
            })
            .collect();
        replaced.sort();
        replaced.dedup();
        return Ok(Written {
            says: "what is new or changed of its sources".into(),
            replaces: Some(replaced),
        });
    }
    Ok(match table.partition {
        Partition::BillingPeriod if OF_CLOSED.contains(&name) => {
            unknown("where the bill of a closed period came later")
        }
        Partition::Day if stage == Stage::Attribute && name != OF_THE_NIGHT => {
            let (first, last) = (window.0.to_string(), window.1.to_string());
            let says = format!("every day from {first} to {last}");
            some(says, &|ds| (first.as_str()..=last.as_str()).contains(&ds))
        }
        Partition::Day => {
            let ds = date.to_string();
            let replaces = if there.contains(&ds) {
                "replacing it"
            } else {
                "new"
            };
            some(format!("ds={ds}, {replaces}"), &|p| p == ds)
        }
        Partition::BillingPeriod => {
            unknown("the billing periods of the window, and those with changed bills")
        }
        Partition::None => some("the whole table".into(), &|_| true),
    })
}

/// Why a stage would do its work again.
fn why(stage: Stage, nights: &Nights<'_>, pending: &[Planned<'_>]) -> String {
    let night = nights.nights.last();
    match stage {
        Stage::Ingest if pending.is_empty() => "nothing is new or changed".into(),
        Stage::Ingest => "intervals are new or changed".into(),
        Stage::Check => "always".into(),
        Stage::Attribute if !pending.is_empty() => "intervals are new or changed".into(),
        Stage::Attribute => "as the rules and the data stand".into(),
        _ => night.map_or_else(String::new, |night| match night.state {
            State::Done => "made from the same deliveries before".into(),
            State::Stale => night.why(),
            State::Missing if night.run.is_none() => "the night is new".into(),
            state => format!("the night is {}", state.as_str()),
        }),
    }
}

/// The newest run of each stage that came to its end, by the stage's name.
async fn last_time(engine: &Engine, warehouse: &Warehouse) -> Result<BTreeMap<String, Entry>> {
    let runs = runs::newest(engine, warehouse, LOOKED_AT).await?;
    let mut found = BTreeMap::new();
    for run in runs
        .iter()
        .filter(|run| run.kind == "night" && run.status == "done")
    {
        let ledger = runs::of(warehouse, &run.id)?;
        for entry in ledger.into_iter().flat_map(|ledger| ledger.entries) {
            found.entry(entry.stage.clone()).or_insert(entry);
        }
    }
    Ok(found)
}

fn took(entry: &Entry) -> String {
    let seconds = entry.seconds().unwrap_or(0.0);
    let read = entry.read.map_or(String::new(), |read| {
        format!(" of {} read, {}", thousands(read.rows), size(read.bytes))
    });
    match entry.rows.filter(|rows| *rows > 0) {
        Some(1) => format!("; last time {seconds:.1} s, 1 row{read}"),
        Some(rows) => format!("; last time {seconds:.1} s, {} rows{read}", thousands(rows)),
        None => format!("; last time {seconds:.1} s"),
    }
}

/// A word on other nights that are not as they should be.
fn others(nights: &Nights<'_>, pipeline: &Pipeline, date: NaiveDate) -> Vec<String> {
    let due: Vec<_> = nights
        .nights
        .iter()
        .filter(|n| n.is_due() && n.night != date)
        .collect();
    let (Some(first), Some(last)) = (due.first(), due.last()) else {
        return vec![];
    };
    let mut lines = vec![
        String::new(),
        "Other nights that are not as they should be:".into(),
    ];
    for night in due.iter().rev().take(NAMED).rev() {
        lines.push(format!(
            "           {} {}: {}",
            night.night,
            night.state.as_str(),
            night.why()
        ));
    }
    lines.push(format!(
        "           recost backfill {} --from {} --to {}",
        pipeline.file.display(),
        first.night,
        last.night
    ));
    lines
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
            let bytes = size(run.iter().map(|p| p.bytes).sum());
            let s = if files == 1 { "" } else { "s" };
            let rows: u64 = run
                .iter()
                .flat_map(|p| &p.replaces)
                .map(|r| r.rows_in)
                .sum();
            let before = match rows {
                0 => String::new(),
                rows => format!("; last time {} rows", thousands(rows)),
            };
            Some(format!(
                "           {} {intervals}: {}, {files} file{s}, {bytes}{before}",
                first.source,
                first.why.as_str()
            ))
        })
        .collect()
}

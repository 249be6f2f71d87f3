//! `recost status`: nights, sources and runs, and whether somebody has to see to any of them.

use chrono::{DateTime, Utc};

use super::Night;
use super::print::{Printer, columns, thousands};
use crate::config::Pipeline;
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Kind, Result};
use crate::ingest::shortened;
use crate::pipeline::freshness::{Freshness, end_of};
use crate::pipeline::nights::{self, Nights, State};
use crate::pipeline::runs::{self, Run};
use crate::pipeline::stand::Stand;

/// Nights that are named one by one.
const NAMED: usize = 20;

/// Arguments of `recost status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// The first night to look at [default: the oldest that is published].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = super::parse_date)]
    from: Option<chrono::NaiveDate>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A delivery that is not what its manifest says.
struct Incomplete {
    source: String,
    interval: String,
    name: Option<String>,
    reason: String,
    /// Whether an earlier delivery of the interval counts.
    stands: bool,
}

/// Runs the command.
///
/// # Errors
/// When all could be read and something needs a human: `Kind::SourceMissing` for a source, else `Kind::Unfinished` for
/// nights.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, _, date) = args.night.load()?;
    let now = Utc::now();
    let Stand {
        warehouse,
        snapshot,
        engine,
        nights,
        sources,
    } = Stand::of(&pipeline, (args.from, date), now).await?;
    let runs = runs::newest(&engine, &warehouse, 10).await?;
    let incomplete = incomplete(&engine).await?;
    let alarms = alarms(&pipeline, &nights, &sources, &incomplete, now);
    if args.json {
        let json = serde_json::json!({
            "date": date,
            "snapshot": snapshot,
            "nights": nights.nights.iter().map(nights::Night::json).collect::<Vec<_>>(),
            "set_back": nights.set_back().map(|newest| serde_json::json!({
                "newest": newest, "last_run": nights.last_run,
            })),
            "sources": sources.iter().map(Freshness::json).collect::<Vec<_>>(),
            "incomplete": incomplete.iter().map(|i| serde_json::json!({
                "source": i.source, "interval": i.interval, "name": i.name, "reason": i.reason, "stands": i.stands,
            })).collect::<Vec<_>>(),
            "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
            "last_run": runs.first().map(Run::json),
            "alarms": alarms.iter().map(|a| &a.says).collect::<Vec<_>>(),
            "exit_code": worst(&alarms).map_or(0, Kind::exit_code),
        });
        printer.result(&format!("{json:#}"));
    } else {
        let mut lines = vec![match &snapshot {
            Some(path) => format!("Published: {}", path.display()),
            None => "Nothing was published yet".into(),
        }];
        lines.extend(nights_shown(&nights));
        lines.push(String::new());
        lines.extend(sources.iter().map(source_shown));
        for i in &incomplete {
            let name = i.name.as_ref().map_or(String::new(), |n| format!(" {n}"));
            let (source, interval) = (&i.source, &i.interval);
            lines.push(format!(
                "incomplete: {source} {interval}{name}: {}",
                i.reason
            ));
        }
        lines.push(String::new());
        for run in &runs {
            let (id, kind, of) = (&run.id, run.kind, &run.of);
            lines.push(format!("{id}  {kind} {of:<10}  {}", run.how()));
        }
        printer.result(&lines.join("\n"));
    }
    match worst(&alarms) {
        None => Ok(()),
        Some(kind) => {
            let says: Vec<&str> = alarms.iter().map(|a| a.says.as_str()).collect();
            let help: Vec<&str> = alarms.iter().map(|a| a.help.as_str()).collect();
            let mut once = help.clone();
            once.dedup();
            Err(Error::new(kind, says.join("; ")).help(once.join("; ")))
        }
    }
}

/// Something that somebody has to see to.
struct Alarm {
    kind: Kind,
    says: String,
    help: String,
}

/// The kind with which the command ends: a source that is missing comes first, for nights wait for it.
fn worst(alarms: &[Alarm]) -> Option<Kind> {
    let first = |kind| alarms.iter().map(|a| a.kind).find(|k| *k == kind);
    first(Kind::SourceMissing).or(first(Kind::Unfinished))
}

fn alarms(
    pipeline: &Pipeline,
    nights: &Nights<'_>,
    sources: &[Freshness<'_>],
    incomplete: &[Incomplete],
    now: DateTime<Utc>,
) -> Vec<Alarm> {
    let mut alarms = vec![];
    let mut source = |says: String| {
        alarms.push(Alarm {
            kind: Kind::SourceMissing,
            says,
            help: "have the export delivered; a day that never comes is named in `withdrawn` of its source".into(),
        });
    };
    sources
        .iter()
        .filter_map(Freshness::alarm)
        .for_each(&mut source);
    for i in incomplete.iter().filter(|i| !i.stands) {
        let required = |s: &&Freshness| s.source.name == i.source && s.source.required;
        if sources.iter().any(|s| required(&s)) {
            source(format!(
                "source `{}`, {} is not complete: {}",
                i.source, i.interval, i.reason
            ));
        }
    }
    let file = pipeline.file.display();
    for state in [State::Failed, State::Missing, State::Stale] {
        let late = |night: &&nights::Night| end_of(night.night) + pipeline.run.late_after.0 <= now;
        let of: Vec<String> = nights
            .in_state(state)
            .filter(late)
            .map(|n| n.night.to_string())
            .collect();
        if let (Some(first), Some(last)) = (of.first(), of.last()) {
            let (is, s) = if of.len() == 1 {
                ("is", "")
            } else {
                ("are", "s")
            };
            alarms.push(Alarm {
                kind: Kind::Unfinished,
                says: format!(
                    "night{s} {is} {}: {}",
                    state.as_str(),
                    shortened(&of, "nights")
                ),
                help: format!("recost backfill {file} --from {first} --to {last}"),
            });
        }
    }
    if let Some((newest, last)) = nights.set_back().zip(nights.last_run) {
        alarms.push(Alarm {
            kind: Kind::Unfinished,
            says: format!(
                "the night of {last} was run after that of {newest}, and costs are as of then"
            ),
            help: format!("recost backfill {file} --from {newest} --to {newest}"),
        });
    }
    alarms
}

/// The deliveries that are not what their manifests say.
async fn incomplete(engine: &Engine) -> Result<Vec<Incomplete>> {
    let sql = "select i.source, i.\"interval\", i.name, i.reason, count(a.source) > 0 as stands
               from deliveries as i
               left join deliveries as a
                   on a.source = i.source and a.\"interval\" = i.\"interval\" and a.status = 'active'
               where i.status = 'incomplete' group by 1, 2, 3, 4 order by 1, 2, 3";
    map(&engine.collect(sql).await?, |row| {
        Ok(Incomplete {
            source: row.needed("source")?,
            interval: row.needed("interval")?,
            name: row.text("name")?,
            reason: row.needed("reason")?,
            stands: row.text("stands")?.is_some_and(|s| s == "true"),
        })
    })
}

/// How many nights are in which state, and those that are not done.
fn nights_shown(nights: &Nights<'_>) -> Vec<String> {
    let counted: Vec<String> = State::ALL
        .into_iter()
        .map(|state| (nights.in_state(state).count(), state))
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{n} {}", state.as_str()))
        .collect();
    let (Some(first), Some(last)) = (nights.nights.first(), nights.nights.last()) else {
        return vec![];
    };
    let mut lines = vec![format!(
        "Nights of {} to {}: {}",
        first.night,
        last.night,
        counted.join(", ")
    )];
    let open: Vec<Vec<String>> = nights
        .nights
        .iter()
        .filter(|n| n.is_due())
        .map(|n| vec![n.night.to_string(), n.state.as_str().into(), n.why()])
        .collect();
    let more = open.len().saturating_sub(NAMED);
    lines.extend(columns(&open[more..], 3));
    if more > 0 {
        lines.push(format!("  and {more} before them; --json names all"));
    }
    if let Some((newest, last)) = nights.set_back().zip(nights.last_run) {
        lines.push(format!(
            "The night of {last} was run after that of {newest}: costs are as of then"
        ));
    }
    lines
}

fn source_shown(of: &Freshness<'_>) -> String {
    let mut line = format!(
        "{:<16} {:>4} intervals, newest {}, {} rows, {} quarantined",
        of.source.name,
        of.intervals,
        of.newest.as_deref().unwrap_or("none"),
        thousands(of.rows),
        thousands(of.quarantined),
    );
    if of.late_rows > 0 {
        let s = if of.late_rows == 1 { "" } else { "s" };
        let rows = thousands(of.late_rows);
        line.push_str(&format!(", the newest with {rows} late event{s}"));
    }
    let late: Vec<String> = of
        .late
        .iter()
        .map(|(interval, ..)| interval.clone())
        .collect();
    for (what, intervals) in [
        ("missing", &of.missing),
        ("not due yet", &of.awaited),
        ("late", &late),
        ("to be read", &of.waiting),
        ("export gone", &of.gone),
    ] {
        if !intervals.is_empty() {
            line.push_str(&format!("; {what} {}", shortened(intervals, "intervals")));
        }
    }
    if let Some(age) = of.outdated {
        line.push_str(&format!("; {} hours old", age.num_hours()));
    }
    line
}

//! `recost status`: runs, days present and missing, freshness, deliveries that are not complete.

use super::Night;
use super::print::{Printer, thousands};
use crate::engine::rows::map;
use crate::engine::{Engine, Options};
use crate::error::Result;
use crate::pipeline::run::window;
use crate::pipeline::runs::{self, Run};
use crate::warehouse::Warehouse;

/// Arguments of `recost status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, _, date) = args.night.load()?;
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.snapshot();
    let options = Options::of(&pipeline, date);
    let engine = Engine::open(&options, snapshot.as_deref(), Some(&warehouse.runs()))?;
    let runs = runs::newest(&engine, &warehouse, 10).await?;
    let deliveries = map(
        &engine
            .collect(
                "select source, \"interval\", sum(rows_out) as rows_out, sum(rows_quarantined) as rows_quarantined
                 from deliveries where status = 'active' group by 1, 2 order by 1, 2",
            )
            .await?,
        |row| {
            Ok((
                row.needed("source")?,
                row.needed("interval")?,
                row.count("rows_out")?,
                row.count("rows_quarantined")?,
            ))
        },
    )?;
    let incomplete = map(
        &engine
            .collect(
                "select source, \"interval\", name, reason from deliveries where status = 'incomplete' order by 1, 2, 3",
            )
            .await?,
        |row| {
            Ok((
                row.needed("source")?,
                row.needed("interval")?,
                row.text("name")?,
                row.needed("reason")?,
            ))
        },
    )?;
    let (first, last) = window(&pipeline, date);
    let mut sources = vec![];
    for source in &pipeline.sources {
        let of: Vec<_> = deliveries.iter().filter(|d| d.0 == source.name).collect();
        let newest = of.last().map(|d| d.1.clone());
        // Days before the oldest delivery were never there; only gaps after it are missing.
        let missing: Vec<String> = match (source.interval(), of.first()) {
            (crate::config::source::Interval::Day, Some(oldest)) => first
                .iter_days()
                .take_while(|d| *d <= last)
                .map(|d| d.to_string())
                .filter(|d| *d > oldest.1 && !of.iter().any(|o| o.1 == *d))
                .collect(),
            _ => vec![],
        };
        let rows: u64 = of.iter().map(|d| d.2).sum();
        let quarantined: u64 = of.iter().map(|d| d.3).sum();
        sources.push((
            source.name.clone(),
            of.len(),
            newest,
            missing,
            rows,
            quarantined,
        ));
    }
    if args.json {
        let json = serde_json::json!({
            "date": date,
            "snapshot": snapshot,
            "sources": sources.iter().map(|(name, intervals, newest, missing, rows, quarantined)| serde_json::json!({
                "source": name, "intervals": intervals, "newest": newest, "missing": missing,
                "rows": rows, "quarantined": quarantined,
            })).collect::<Vec<_>>(),
            "incomplete": incomplete.iter().map(|(source, interval, name, reason)| serde_json::json!({
                "source": source, "interval": interval, "name": name, "reason": reason,
            })).collect::<Vec<_>>(),
            "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
        });
        printer.result(&format!("{json:#}"));
        return Ok(());
    }
    let mut lines = vec![match &snapshot {
        Some(path) => format!("Published: {}", path.display()),
        None => "Nothing was published yet".into(),
    }];
    lines.push(String::new());
    for (name, intervals, newest, missing, rows, quarantined) in &sources {
        lines.push(format!(
            "{name:<16} {intervals:>4} intervals, newest {}, {} rows, {} quarantined{}",
            newest.as_deref().unwrap_or("none"),
            thousands(*rows),
            thousands(*quarantined),
            if missing.is_empty() {
                String::new()
            } else {
                format!("; missing {}", days(missing))
            }
        ));
    }
    for (source, interval, name, reason) in &incomplete {
        let name = name.as_ref().map_or(String::new(), |n| format!(" {n}"));
        lines.push(format!("incomplete: {source} {interval}{name}: {reason}"));
    }
    lines.push(String::new());
    for run in &runs {
        lines.push(format!(
            "{}  {} {:<10}  {}",
            run.id,
            run.kind,
            run.of,
            run.how()
        ));
    }
    printer.result(&lines.join("\n"));
    Ok(())
}

/// Few days by name, many as a range.
fn days(missing: &[String]) -> String {
    match missing {
        [first, .., last] if missing.len() > 4 => {
            format!("{} days from {first} to {last}", missing.len())
        }
        few => few.join(", "),
    }
}

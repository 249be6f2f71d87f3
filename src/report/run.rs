//! How the last run went, as a page of its own: its stages over time, what they took, and the runs before it. It is made from
//! the ledger alone, so that there is one of a run that failed, too.

use std::path::{Path, PathBuf};

use super::charts::{Segment, Stack, columns, key};
use super::html::{Frame, frame};
use super::marks::Mark;
use super::replace;
use super::section::{alert, section};
use super::svg::figure;
use super::table::{Cell, Row, Table};
use super::text::{bytes, count, counted, escape, label, seconds, shorten};
use super::timeline::{Bar, timeline};
use crate::config::Pipeline;
use crate::engine::Library;
use crate::error::Result;
use crate::money::{Money, SCALE};
use crate::pipeline::died::{DIED, is_alive};
use crate::pipeline::ledger::{Entry, Ledger, Status};
use crate::pipeline::runs::{Job, all, job};
use crate::pipeline::{Selection, Stage};
use crate::warehouse::Warehouse;

/// Runs that the page tells of.
const RUNS: usize = 10;

/// What the page shows.
pub struct RunPage {
    name: String,
    threads: usize,
    /// Names of the checks that a night must hold.
    checks: Vec<String>,
    /// The newest first.
    runs: Vec<Ledger>,
}

/// Writes `run.html` under `out`. `None` where no night was ever run.
///
/// # Errors
/// Those of reading the ledger and of writing.
pub fn write(pipeline: &Pipeline, library: &Library, out: &Path) -> Result<Option<PathBuf>> {
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let mut runs = all(&warehouse)?.take(RUNS).collect::<Result<Vec<_>>>()?;
    for run in &mut runs {
        // The ledger of a run that has just died says that it goes on.
        if !is_alive(&warehouse, &run.run_id) {
            let started = run.entries.iter_mut();
            for entry in started.filter(|e| e.status == Status::Started) {
                (entry.status, entry.message) = (Status::Killed, Some(DIED.into()));
            }
        }
    }
    let page = RunPage {
        name: pipeline.name.clone(),
        threads: pipeline.threads(),
        checks: library
            .folder("checks")
            .map(|(name, _)| name.to_string())
            .collect(),
        runs,
    };
    let Some(html) = page.html() else {
        return Ok(None);
    };
    let path = out.join("run.html");
    replace(&path, html.as_bytes())?;
    Ok(Some(path))
}

impl RunPage {
    /// The page, on the newest run of a night; `None` without one.
    fn html(&self) -> Option<String> {
        let run = self.runs.iter().find(|run| job(run) == Job::Night)?;
        let whole = run.entries.iter().find(|e| e.stage == "run")?;
        let parts = [
            ("summary", "Summary", self.summary(run, whole)),
            ("stages", "Stages", self.stages(run, whole)),
            ("checks", "Checks and warnings", self.checks(run)),
            ("runs", "The last runs", self.history()),
        ];
        let contents: Vec<(String, String)> = parts
            .iter()
            .map(|(id, title, _)| ((*id).to_owned(), (*title).to_owned()))
            .collect();
        let body: String = parts.iter().map(|part| part.2.as_str()).collect();
        let night = format!("Night of {}", run.date);
        let facts = [
            ("Run", label(&run.run_id)),
            ("Started", whole.started_at.format("%F %T").to_string()),
            ("Computed on", label(&run.device)),
            ("Made by", label(&format!("recost {}", run.version))),
        ];
        Some(frame(&Frame {
            kicker: "How the run went",
            name: &label(&self.name),
            period: &night,
            facts: &facts,
            contents: &contents,
            body: &body,
            foot: "All times are UTC. <a href=\"report.html\">report.html</a> beside this page has what the published night cost.",
            script: "",
        }))
    }

    fn summary(&self, run: &Ledger, whole: &Entry) -> String {
        let took = whole.seconds().map(|s| format!("{}\u{a0}s", seconds(s)));
        let within = took.as_ref().map_or(String::new(), |t| format!(" in {t}"));
        let after = took
            .as_ref()
            .map_or(String::new(), |t| format!(" after {t}"));
        let open = stages(run).find(|stage| stage.status != Status::Done);
        let last = label(open.map_or("publishing", |stage| &stage.stage));
        let answer = match whole.status {
            Status::Done => format!("Published{within}."),
            Status::Started => format!("Still running; it is in {last}."),
            Status::Failed => {
                format!("Failed in {last}{after}. The published tables are as they were.")
            }
            Status::Interrupted => {
                format!("Stopped in {last}{after}. The published tables are as they were.")
            }
            Status::Killed => format!("Died in {last}. The published tables are as they were."),
        };
        let mut body = format!("<p class=\"answer\">{answer}</p>\n");
        if !matches!(whole.status, Status::Done | Status::Started) {
            let why = whole.message.as_deref().unwrap_or_default();
            let why = escape(first_line(why));
            body.push_str(&format!(
                "<p class=\"warning\"><strong>▲ Not published.</strong> {why}</p>\n"
            ));
        }
        let here = || stages(run).filter(|stage| resumed(stage).is_none());
        let cpu: f64 = here().filter_map(|stage| stage.cpu_seconds).sum();
        let wall: f64 = here().filter_map(Entry::seconds).sum();
        let busy = (wall > 0.0).then(|| cpu / wall / self.threads as f64);
        let rows = stages(run).filter_map(|stage| stage.rows).sum();
        let resumed = stages(run).filter(|stage| resumed(stage).is_some()).count();
        let retried = stages(run).filter(|stage| retries(stage).is_some()).count();
        let warnings = stages(run)
            .map(|stage| warnings(stage).count())
            .sum::<usize>();
        let figures = [
            (
                "Took",
                took.unwrap_or_else(|| "n/a".into()),
                "start to end".to_string(),
            ),
            (
                "Cores busy",
                percent(busy),
                format!(
                    "of {} in its stages",
                    counted(self.threads as u64, "thread", "threads")
                ),
            ),
            ("Rows written", count(rows), "all stages".into()),
            (
                "Peak memory",
                whole.peak_rss.map_or_else(|| "n/a".into(), bytes),
                "resident".into(),
            ),
            (
                "Spilled",
                whole.spilled.map_or_else(|| "n/a".into(), bytes),
                "to disk, for want of memory".into(),
            ),
            (
                "Taken over",
                count(resumed as u64),
                "stages of an earlier run".into(),
            ),
            (
                "Begun again",
                count(retried as u64),
                "stages, after passing trouble".into(),
            ),
            ("Warnings", count(warnings as u64), "below".into()),
        ];
        body.push_str("<dl class=\"figures\">");
        for (what, value, note) in figures {
            body.push_str(&format!(
                "<div><dt>{what}</dt><dd>{value}</dd><dd class=\"note\">{note}</dd></div>"
            ));
        }
        body.push_str("</dl>\n");
        format!(
            "<section id=\"summary\" class=\"summary\"><h2 class=\"unseen\">Summary</h2>{body}</section>\n"
        )
    }

    fn stages(&self, run: &Ledger, whole: &Entry) -> String {
        let at = |time: chrono::DateTime<chrono::Utc>| {
            (time - whole.started_at).as_seconds_f64().max(0.0)
        };
        let mut bars = vec![];
        let mut reached = 0.0;
        for stage in stages(run).filter(|stage| resumed(stage).is_none()) {
            let from = at(stage.started_at);
            let end = stage.ended_at.or(whole.ended_at);
            let to = end.map_or(from, at);
            reached = to;
            let busy = stage.utilisation(self.threads);
            let took = format!("{} s", seconds(to - from));
            let class = match stage.status {
                Status::Done => mark(&stage.stage).class,
                _ => "open".to_owned(),
            };
            let note = match stage.status {
                Status::Done => took.clone(),
                status => format!("{status}, {took}"),
            };
            let of_cores = busy.map_or(String::new(), |b| {
                format!(", cores {} busy", percent(Some(b)))
            });
            bars.push(Bar {
                tip: format!("{}: {note}{of_cores}", stage.stage),
                label: stage.stage.clone(),
                note,
                class,
                from,
                to,
                busy: busy.filter(|_| stage.status == Status::Done),
            });
        }
        if let (Status::Done, Some(end)) = (whole.status, whole.ended_at) {
            let (from, to) = (reached, at(end));
            let note = format!("{} s", seconds((to - from).max(0.0)));
            bars.push(Bar {
                label: "publish".into(),
                tip: format!("publish: {note}"),
                note,
                class: "sx".into(),
                from,
                to,
                busy: None,
            });
        }
        let about =
            "One bar per stage, from its start to its end. The table below has the figures.";
        let mut body = figure("When each stage ran", about, "", |svg| timeline(svg, &bars));
        body.push_str("<p class=\"legend\">A bar is as long as its stage took, and filled as high as it kept the cores busy.</p>\n");
        let mut table = Table::new("Stages")
            .words("Stage")
            .words("Status")
            .numbers("Began", "s after start")
            .numbers("Took", "s")
            .numbers("Cores busy", "")
            .numbers("CPU", "s")
            .numbers("Written", "rows")
            .numbers("Peak memory", "so far")
            .numbers("Spilled", "to disk")
            .words("What it says");
        let total = std::iter::once(whole);
        for stage in stages(run).chain(total) {
            let is_whole = stage.stage == "run";
            let row = match stage.status {
                Status::Done | Status::Started if is_whole => Row::Total,
                Status::Done | Status::Started => Row::Leaf,
                _ => Row::Alert,
            };
            let began = resumed(stage)
                .is_none()
                .then(|| seconds(at(stage.started_at)));
            let busy = stage.utilisation(self.threads).filter(|_| !is_whole);
            table.row(
                row,
                vec![
                    Cell::Name(stage.stage.clone()),
                    Cell::Name(match resumed(stage) {
                        Some(_) => "taken over".into(),
                        None => stage.status.to_string(),
                    }),
                    Cell::number(began),
                    Cell::number(stage.seconds().map(seconds)),
                    Cell::number(busy.map(|busy| percent(Some(busy)))),
                    Cell::number(stage.cpu_seconds.map(seconds)),
                    Cell::number(stage.rows.map(count)),
                    Cell::number(stage.peak_rss.map(bytes)),
                    Cell::number(stage.spilled.map(bytes)),
                    Cell::Html(escape(&shorten(
                        first_line(stage.message.as_deref().unwrap_or_default()),
                        240,
                    ))),
                ],
            );
        }
        body.push_str(&table.html());
        section(
            "stages",
            "Stages",
            "A stage that an earlier run had finished is taken over with the time that it took there.",
            &body,
        )
    }

    fn checks(&self, run: &Ledger) -> String {
        let mut body = String::new();
        for stage in stages(run) {
            for warning in warnings(stage) {
                body.push_str(&alert(&format!(
                    "{}: {}",
                    label(&stage.stage),
                    escape(warning)
                )));
            }
            if let Some(met) = retries(stage) {
                body.push_str(&alert(&format!(
                    "{} was begun again after: {}",
                    label(&stage.stage),
                    escape(met)
                )));
            }
        }
        if body.is_empty() {
            body.push_str("<p class=\"proof\"><strong>✓</strong> Nothing was warned of.</p>\n");
        }
        let check = stages(run).find(|stage| stage.stage == Stage::Check.name());
        body.push_str(&match check.map(|check| (check.status, &check.message)) {
            Some((Status::Done, _)) => {
                let names = self.checks.iter().map(|name| format!("<li>✓ {}</li>", label(name)));
                format!(
                    "<p class=\"proof\"><strong>✓</strong> {} before the night was published.</p>\n<ul class=\"key\">{}</ul>\n",
                    match self.checks.len() {
                        1 => "1 check held".to_string(),
                        n => format!("{n} checks held"),
                    },
                    names.collect::<String>()
                )
            }
            Some((Status::Failed, message)) => {
                let message = message.as_deref().unwrap_or_default();
                let lines: Vec<String> = message.lines().map(escape).collect();
                format!(
                    "<div class=\"scroll\"><pre>{}</pre></div>\n",
                    lines.join("\n")
                )
            }
            _ => "<p>The run did not come as far as its checks.</p>\n".to_owned(),
        });
        section(
            "checks",
            "Checks and warnings",
            "Nothing is published unless every check holds. A warning stops nothing, and wants to be looked at.",
            &body,
        )
    }

    fn history(&self) -> String {
        let mut stacks: Vec<Stack> = vec![];
        let mut seen = vec![];
        for run in self.runs.iter().rev().filter(|run| job(run) == Job::Night) {
            let mut segments = vec![];
            for stage in stages(run).filter(|stage| resumed(stage).is_none()) {
                let took = stage.seconds().unwrap_or(0.0);
                let mark = mark(&stage.stage);
                if !seen.contains(&(mark.clone(), stage.stage.clone())) {
                    seen.push((mark.clone(), stage.stage.clone()));
                }
                segments.push(Segment {
                    mark,
                    amount: of_seconds(took),
                    tip: format!("{}, {}: {} s", run.date, stage.stage, seconds(took)),
                });
            }
            stacks.push(Stack {
                label: run.date.format("%m-%d").to_string(),
                note: String::new(),
                segments,
            });
        }
        // With few runs columns are as wide as with all.
        while stacks.len() < RUNS {
            stacks.push(Stack {
                label: String::new(),
                note: String::new(),
                segments: vec![],
            });
        }
        let order = |name: &str| {
            Stage::ALL
                .iter()
                .position(|s| s.name() == name)
                .unwrap_or(99)
        };
        seen.sort_by_key(|(_, name)| order(name));
        let about = "One column per run of a night, oldest first, stacked by stage. The table below has the figures.";
        let mut body = figure("Seconds of each run by stage", about, &key(&seen), |svg| {
            columns(svg, &stacks, "seconds")
        });
        let mut table = Table::new("Runs, newest first")
            .words("Run")
            .words("Of")
            .words("Status")
            .words("Started")
            .numbers("Took", "s")
            .numbers("Peak memory", "")
            .words("What it says");
        for run in &self.runs {
            let Some(whole) = run.entries.iter().find(|e| e.stage == "run") else {
                continue;
            };
            let lost = !matches!(whole.status, Status::Done | Status::Started);
            table.row(
                if lost { Row::Alert } else { Row::Leaf },
                vec![
                    Cell::Name(run.run_id.clone()),
                    Cell::Name(match job(run) {
                        Job::Night => run.date.to_string(),
                        other => format!("{} {}", other.as_str(), run.date),
                    }),
                    Cell::Name(whole.status.to_string()),
                    Cell::Name(whole.started_at.format("%F %T").to_string()),
                    Cell::number(whole.seconds().map(seconds)),
                    Cell::number(whole.peak_rss.map(bytes)),
                    Cell::Html(escape(&shorten(
                        first_line(whole.message.as_deref().unwrap_or_default()),
                        160,
                    ))),
                ],
            );
        }
        body.push_str(&table.html());
        section(
            "runs",
            "The last runs",
            "What a run took over from an earlier one is in the column of the run that did it.",
            &body,
        )
    }
}

/// The stages of a run, without the row of the whole.
fn stages(run: &Ledger) -> impl Iterator<Item = &Entry> {
    run.entries.iter().filter(|e| e.stage != "run")
}

/// What a message says in short; a check's goes on with the rows that break it.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The run that did the stage, where it was an earlier one.
fn resumed(stage: &Entry) -> Option<&str> {
    let rest = stage
        .message
        .as_deref()?
        .strip_prefix("resumed from run ")?;
    rest.split_once(':').map(|(run, _)| run)
}

/// What passing trouble the stage met before it began again.
fn retries(stage: &Entry) -> Option<&str> {
    let message = stage.message.as_deref()?;
    message
        .split_once("; begun again after: ")
        .map(|(_, met)| met)
}

fn warnings(stage: &Entry) -> impl Iterator<Item = &str> {
    stage.warnings.as_deref().unwrap_or_default().lines()
}

/// Stages have the same colour and letter on the whole page.
fn mark(stage: &str) -> Mark {
    let place = Selection::default()
        .0
        .iter()
        .position(|s| s.name() == stage);
    let class = match place {
        Some(place @ 0..6) => format!("s{place}"),
        _ => "sx".to_owned(),
    };
    let letter = stage.chars().take(1).flat_map(char::to_uppercase).collect();
    Mark { class, letter }
}

/// Charts take exact amounts: whole microseconds, in seconds.
fn of_seconds(value: f64) -> Money {
    #[allow(clippy::cast_possible_truncation)]
    let micros = (value.clamp(0.0, 1e9) * 1e6) as i128;
    Money(micros * 10_i128.pow(SCALE - 6))
}

/// `45 %`.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "n/a".into(),
        |share| format!("{:.0}\u{a0}%", 100.0 * share),
    )
}

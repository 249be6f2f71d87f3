//! Metrics of the last run of each kind, in the text format of Prometheus, for the textfile collector of its node exporter.
//!
//! The file is written when a run has ended, whatever way, and replaced in one step. What a run cannot tell (an interrupted
//! one does not look at the sources) stays as the file had it. Format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>; names and units:
//! <https://prometheus.io/docs/practices/naming/>.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::counts::{Counts, End};
use super::lineage::{Backfill, Lineage};
use super::standing::Standing;
use super::trace::Trace;
use crate::config::Pipeline;
use crate::disk::{make_dir, write_whole};
use crate::error::{Error, Kind, Result};
use crate::pipeline::freshness::end_of;
use crate::pipeline::runs::{Job, last_success};
use crate::warehouse::Warehouse;

/// Every metric, with its help.
pub const METRICS: [(&str, &str); 26] = [
    (
        "recost_build_info",
        "Version of the program that wrote this; always 1.",
    ),
    (
        "recost_last_run_end_timestamp_seconds",
        "When the last run ended, however it did.",
    ),
    (
        "recost_last_success_timestamp_seconds",
        "When a run last published a night.",
    ),
    (
        "recost_last_run_status",
        "How the last run ended: 1 for that status, 0 for the others.",
    ),
    (
        "recost_last_run_exit_code",
        "Exit code of the last run; 0 is well.",
    ),
    (
        "recost_run_seconds",
        "How long the last run took, to its publication or its failure.",
    ),
    (
        "recost_run_peak_memory_bytes",
        "Peak resident memory of the last run.",
    ),
    (
        "recost_run_threads",
        "Threads that the last run was allowed.",
    ),
    ("recost_run_warnings", "Warnings of the last run."),
    (
        "recost_run_retries",
        "How often the last run began a stage again after trouble that passes.",
    ),
    (
        "recost_stage_seconds",
        "How long a stage of the last run took.",
    ),
    (
        "recost_stage_cpu_seconds",
        "CPU time of a stage of the last run, all threads together.",
    ),
    (
        "recost_stage_rows",
        "Rows that a stage of the last run wrote.",
    ),
    (
        "recost_stage_spilled_bytes",
        "Bytes written to spill files in a stage of the last run.",
    ),
    (
        "recost_stage_resumed",
        "Whether a stage of the last run was taken over from an earlier one: 1 or 0.",
    ),
    (
        "recost_nights",
        "Nights by state, from the oldest that is published to yesterday.",
    ),
    (
        "recost_nights_overdue",
        "Nights that are not done although their time is over.",
    ),
    (
        "recost_newest_night_timestamp_seconds",
        "The end of the newest night that is published.",
    ),
    (
        "recost_source_newest_timestamp_seconds",
        "The end of the newest day of a source, or when its newest file was written.",
    ),
    (
        "recost_source_required",
        "Whether a run fails without the source: 1 or 0.",
    ),
    ("recost_source_rows", "Rows of a source in the tables."),
    (
        "recost_source_quarantined_rows",
        "Rows of a source that were rejected.",
    ),
    (
        "recost_source_missing_days",
        "Days of a source that should be there and are not.",
    ),
    (
        "recost_source_late_intervals",
        "Intervals of a source that came after their night was run.",
    ),
    (
        "recost_source_waiting_intervals",
        "Intervals of a source that are not in the tables as they lie there.",
    ),
    (
        "recost_effective_cost",
        "Effective cost on the usage basis, by line of the reconciliation, in the currency, exact as written.",
    ),
];

/// What is watched of the runs of this process.
#[derive(Debug, Default)]
pub struct Watch {
    /// What the events of the night add up to.
    pub counts: Counts,
    /// How nights and sources stand, once it was looked up.
    pub standing: Option<Standing>,
    /// Who tells of the datasets, where it is asked for.
    pub lineage: Option<Lineage>,
    /// The backfill that the runs are parts of, as long as it goes on.
    pub backfill: Option<Backfill>,
    /// Who sends traces.
    pub trace: Option<Trace>,
    target: Option<Target>,
}

/// Where the metrics of a pipeline go.
#[derive(Debug)]
struct Target {
    file: PathBuf,
    pipeline: String,
    threads: usize,
    warehouse: Warehouse,
}

impl Watch {
    /// From now on it is of the runs of `pipeline`.
    pub fn of(&mut self, pipeline: &Pipeline) {
        self.lineage = Lineage::of(pipeline, self.backfill.as_ref());
        self.trace = Some(Trace::of(pipeline));
        self.target = pipeline.run.metrics.clone().map(|file| Target {
            file,
            pipeline: pipeline.name.clone(),
            threads: pipeline.threads(),
            warehouse: Warehouse::new(&pipeline.warehouse),
        });
    }

    /// Whether there are metrics to be written.
    pub fn is_asked_for(&self) -> bool {
        self.target.is_some()
    }

    /// Writes the metrics, where the pipeline file asks for them and a run ended. One that found another at work did not run,
    /// and leaves them to the other. A search or a close that did not come to run is a matter of who asked for it.
    ///
    /// # Errors
    /// Those of reading the ledger and of writing.
    pub fn write(&self) -> Result<()> {
        let (Some(target), Some((_, code))) = (&self.target, self.counts.end) else {
            return Ok(());
        };
        let asked = self.counts.job != Job::Night && self.counts.run_id.is_none();
        if code == Kind::Locked.exit_code() || asked {
            return Ok(());
        }
        let before = match std::fs::read_to_string(&target.file) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("cannot read", &target.file, &e)),
        };
        let mut page = Page::new(&target.pipeline, self.counts.job);
        page.run(&self.counts, target.threads);
        page.success(last_success(&target.warehouse)?);
        if let Some(standing) = &self.standing {
            page.standing(standing);
        }
        if let Some(folder) = target.file.parent() {
            make_dir(folder)?;
        }
        // The collector reads names that end in `.prom` alone, so it never sees half of it.
        write_whole(&target.file, page.text(&before).as_bytes())
    }
}

/// The samples of each metric.
struct Page<'a> {
    pipeline: &'a str,
    kind: &'static str,
    samples: BTreeMap<&'static str, String>,
}

impl<'a> Page<'a> {
    fn new(pipeline: &'a str, job: Job) -> Self {
        Page {
            pipeline,
            kind: job.as_str(),
            samples: BTreeMap::new(),
        }
    }

    /// Adds a sample. The pipeline is a label of each, for one machine may run several.
    fn add(&mut self, name: &'static str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let samples = self.samples.entry(name).or_default();
        let _ = write!(samples, "{name}{{pipeline=\"{}\"", escaped(self.pipeline));
        for (label, text) in labels {
            let _ = write!(samples, ",{label}=\"{}\"", escaped(text));
        }
        let _ = writeln!(samples, "}} {value}");
    }

    /// Adds a sample of the last run of its kind.
    fn add_of_run(
        &mut self,
        name: &'static str,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        let labels = [&[("kind", self.kind)], labels].concat();
        self.add(name, &labels, value);
    }

    fn run(&mut self, counts: &Counts, threads: usize) {
        let version = env!("CARGO_PKG_VERSION");
        self.add("recost_build_info", &[("version", version)], 1);
        if let Some((end, code)) = counts.end {
            for status in End::ALL {
                let is = u8::from(status == end);
                let labels = [("status", status.as_str())];
                self.add_of_run("recost_last_run_status", &labels, is);
            }
            self.add_of_run("recost_last_run_exit_code", &[], code);
        }
        if let Some(at) = counts.ended_at {
            self.add_of_run("recost_last_run_end_timestamp_seconds", &[], stamp(at));
        }
        self.add_of_run("recost_run_warnings", &[], counts.warnings);
        self.add_of_run("recost_run_retries", &[], counts.retries);
        if matches!(counts.end, Some((End::Unchanged, _))) {
            // What the night took stays as the run that published it had it.
            return;
        }
        if let Some(seconds) = counts.seconds {
            self.add_of_run("recost_run_seconds", &[], seconds);
        }
        if let Some(bytes) = counts.peak_rss {
            self.add_of_run("recost_run_peak_memory_bytes", &[], bytes);
        }
        self.add_of_run("recost_run_threads", &[], threads);
        for stage in &counts.stages {
            let labels = [("stage", stage.stage.as_str())];
            self.add_of_run("recost_stage_seconds", &labels, stage.seconds);
            self.add_of_run("recost_stage_rows", &labels, stage.rows);
            let resumed = u8::from(stage.resumed);
            self.add_of_run("recost_stage_resumed", &labels, resumed);
            if let Some(bytes) = stage.spilled {
                self.add_of_run("recost_stage_spilled_bytes", &labels, bytes);
            }
            if let Some(seconds) = stage.cpu_seconds {
                self.add_of_run("recost_stage_cpu_seconds", &labels, seconds);
            }
        }
    }

    fn success(&mut self, at: Option<DateTime<Utc>>) {
        if let Some(at) = at {
            self.add("recost_last_success_timestamp_seconds", &[], stamp(at));
        }
    }

    fn standing(&mut self, standing: &Standing) {
        for (state, count) in &standing.nights {
            self.add("recost_nights", &[("state", state)], count);
        }
        self.add("recost_nights_overdue", &[], standing.overdue);
        if let Some(night) = standing.newest {
            let end = stamp(end_of(night));
            self.add("recost_newest_night_timestamp_seconds", &[], end);
        }
        for source in &standing.sources {
            let labels = [("source", source.name.as_str())];
            if let Some(at) = source.newest {
                let at = stamp(at);
                self.add("recost_source_newest_timestamp_seconds", &labels, at);
            }
            let required = u8::from(source.required);
            self.add("recost_source_required", &labels, required);
            self.add("recost_source_rows", &labels, source.rows);
            let quarantined = source.quarantined;
            self.add("recost_source_quarantined_rows", &labels, quarantined);
            self.add("recost_source_missing_days", &labels, source.missing);
            self.add("recost_source_late_intervals", &labels, source.late);
            self.add("recost_source_waiting_intervals", &labels, source.waiting);
        }
        for cost in &standing.costs {
            let labels = [
                ("currency", cost.currency.as_str()),
                ("billing_period", cost.period.as_str()),
                ("line", cost.line.as_str()),
            ];
            self.add("recost_effective_cost", &labels, cost.amount);
        }
    }

    /// The whole file. Metrics without a sample are as they were `before`, and so are those of runs of another kind.
    fn text(&self, before: &str) -> String {
        let mut out = String::new();
        for (name, help) in METRICS {
            let own = format!("\",kind=\"{}\"", self.kind);
            let new = self.samples.get(name);
            let stays = |line: &&str| {
                let of = line.split(['{', ' ']).next() == Some(name);
                let other = line.contains("\",kind=\"") && !line.contains(&own);
                of && (new.is_none() || other)
            };
            let before = before.lines().filter(stays);
            let mut samples: String = before.map(|line| format!("{line}\n")).collect();
            samples.push_str(new.map_or("", String::as_str));
            if !samples.is_empty() {
                let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{samples}");
            }
        }
        out
    }
}

/// Seconds since 1970, to the millisecond.
fn stamp(at: DateTime<Utc>) -> String {
    let ms = at.timestamp_millis();
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

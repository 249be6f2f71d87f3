//! What happens in a run: one struct per event, which says how it is logged and what it counts, so that a log and a metric
//! never disagree.

use std::fmt;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use serde_json::{Map, Value, json};

use super::counts::{Counts, End, Open, Stage};
use super::lineage::State;
use crate::error::{Error, Kind};
use crate::pipeline::meter::peak_rss;
use crate::pipeline::runs::Job;
use crate::report::text::count;

/// Fields of an event in the JSON log, beside `time`, `event`, `run_id` and `date`.
pub type Fields = Map<String, Value>;

/// Who is told what happens; the command line decides how to show it.
pub type Observer<'o> = dyn FnMut(&dyn Event) + Send + 'o;

/// Something that happened.
pub trait Event: fmt::Debug {
    /// Its name in the JSON log.
    fn name(&self) -> &str;

    /// Its line for people; `None` where they need not be told.
    fn text(&self) -> Option<String> {
        None
    }

    /// What the JSON log has of it.
    fn fields(&self) -> Fields;

    /// Takes it into account.
    fn count(&self, _counts: &mut Counts) {}

    /// What goes on from now on, in a word.
    fn begins(&self) -> Option<&str> {
        None
    }

    /// What a catalogue of lineage is told at once: in which state the run is, or a stage of it.
    fn state(&self) -> Option<(Option<&str>, State)> {
        None
    }
}

fn fields<const N: usize>(of: [(&str, Value); N]) -> Fields {
    of.map(|(name, value)| (name.to_string(), value))
        .into_iter()
        .collect()
}

/// A line of its own, which counts nothing.
#[derive(Debug)]
pub struct Said<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// What is said.
    pub text: &'a str,
    /// What goes on from now on, if anything new does.
    pub next: Option<&'a str>,
}

impl Event for Said<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn text(&self) -> Option<String> {
        Some(self.text.to_string())
    }

    fn fields(&self) -> Fields {
        fields([("message", json!(self.text))])
    }

    fn begins(&self) -> Option<&str> {
        self.next
    }
}

/// A night is about to be run, or other work on the tables done.
#[derive(Debug)]
pub struct Began<'a> {
    /// What it is.
    pub job: Job,
    /// The night; of a close, the last day of its billing period.
    pub date: NaiveDate,
    /// Why, where it is one of several.
    pub why: Option<&'a str>,
}

impl Event for Began<'_> {
    fn name(&self) -> &'static str {
        self.job.as_str()
    }

    fn text(&self) -> Option<String> {
        self.why.map(str::to_string)
    }

    fn fields(&self) -> Fields {
        fields([("message", json!(self.why))])
    }

    fn count(&self, counts: &mut Counts) {
        *counts = Counts::of(self.job, self.date);
    }
}

/// A run has its id and its ledger.
#[derive(Debug)]
pub struct RunStarted<'a> {
    /// Its id.
    pub run_id: &'a str,
    /// What computes.
    pub device: &'a str,
}

impl Event for RunStarted<'_> {
    fn name(&self) -> &'static str {
        "run_started"
    }

    fn fields(&self) -> Fields {
        let version = env!("CARGO_PKG_VERSION");
        fields([("device", json!(self.device)), ("version", json!(version))])
    }

    fn count(&self, counts: &mut Counts) {
        counts.run_id = Some(self.run_id.to_string());
    }

    fn state(&self) -> Option<(Option<&str>, State)> {
        Some((None, State::Start))
    }
}

/// What an earlier run did is taken over, or not.
#[derive(Debug)]
pub struct Resumed<'a>(pub &'a str);

impl Event for Resumed<'_> {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn fields(&self) -> Fields {
        fields([("message", json!(self.0))])
    }
}

/// A stage begins.
#[derive(Debug)]
pub struct StageBegan(pub &'static str);

impl Event for StageBegan {
    fn name(&self) -> &'static str {
        "stage_started"
    }

    fn fields(&self) -> Fields {
        fields([("stage", json!(self.0))])
    }

    fn count(&self, counts: &mut Counts) {
        counts.open = Some(Open {
            stage: self.0.to_string(),
            began_at: Utc::now(),
            retries: 0,
        });
    }

    fn state(&self) -> Option<(Option<&str>, State)> {
        Some((Some(self.0), State::Start))
    }

    fn begins(&self) -> Option<&str> {
        Some(self.0)
    }
}

/// A stage ended well, in this run or in an earlier one that this one goes on with.
#[derive(Debug)]
pub struct StageEnded<'a> {
    /// The stage.
    pub stage: &'a str,
    /// Wall clock.
    pub seconds: f64,
    /// CPU time of the process meanwhile.
    pub cpu_seconds: Option<f64>,
    /// Bytes that the process wrote to spill files meanwhile.
    pub spilled: Option<u64>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_rss: Option<u64>,
    /// Rows written.
    pub rows: u64,
    /// What it did.
    pub message: &'a str,
    /// The run that did it, where it was another.
    pub resumed_from: Option<&'a str>,
}

impl Event for StageEnded<'_> {
    fn name(&self) -> &'static str {
        match self.resumed_from {
            None => "stage",
            Some(_) => "stage_resumed",
        }
    }

    fn text(&self) -> Option<String> {
        if self.resumed_from.is_some() {
            return None;
        }
        let (stage, seconds, rows) = (self.stage, self.seconds, count(self.rows));
        let text = format!(
            "{stage:<10} {seconds:>8.2} s {rows:>12} rows  {}",
            self.message
        );
        Some(text.trim_end().to_string())
    }

    fn fields(&self) -> Fields {
        let mut fields = fields([
            ("stage", json!(self.stage)),
            ("seconds", json!(self.seconds)),
            ("cpu_seconds", json!(self.cpu_seconds)),
            ("spilled_bytes", json!(self.spilled)),
            ("rows", json!(self.rows)),
            ("message", json!(self.message)),
        ]);
        if let Some(run) = self.resumed_from {
            fields.insert("resumed_from".into(), json!(run));
        }
        fields
    }

    fn state(&self) -> Option<(Option<&str>, State)> {
        let here = self.resumed_from.is_none();
        here.then_some((Some(self.stage), State::Complete))
    }

    fn count(&self, counts: &mut Counts) {
        let open = counts.open.take();
        counts.stages.push(Stage {
            stage: self.stage.to_string(),
            seconds: self.seconds,
            cpu_seconds: self.cpu_seconds,
            spilled: self.spilled,
            peak_rss: self.peak_rss,
            retries: open.map_or(0, |open| open.retries),
            ended_at: Utc::now(),
            rows: self.rows,
            resumed: self.resumed_from.is_some(),
        });
    }
}

/// A stage met trouble that passes, and begins again.
#[derive(Debug)]
pub struct Retried<'a> {
    /// The trouble.
    pub error: &'a Error,
    /// How long it waits before.
    pub pause: Duration,
    /// For the how many-th time in this run.
    pub made: u32,
    /// How often it may.
    pub most: u32,
}

impl Retried<'_> {
    fn message(&self) -> String {
        format!(
            "{}; the stage begins again in {:.1} s, for the {}. time of {} at most",
            self.error,
            self.pause.as_secs_f64(),
            self.made,
            self.most
        )
    }
}

impl Event for Retried<'_> {
    fn name(&self) -> &'static str {
        "retry"
    }

    fn text(&self) -> Option<String> {
        Some(format!("warning: {}", self.message()))
    }

    fn fields(&self) -> Fields {
        fields([
            ("message", json!(self.message())),
            ("pause_seconds", json!(self.pause.as_secs_f64())),
            ("retry", json!(self.made)),
            ("most", json!(self.most)),
        ])
    }

    fn count(&self, counts: &mut Counts) {
        counts.retries += 1;
        if let Some(open) = &mut counts.open {
            open.retries += 1;
        }
    }
}

/// Something that the user should look at.
#[derive(Debug)]
pub struct Warned<'a>(pub &'a str);

impl Event for Warned<'_> {
    fn name(&self) -> &'static str {
        "warning"
    }

    fn text(&self) -> Option<String> {
        Some(format!("warning: {}", self.0))
    }

    fn fields(&self) -> Fields {
        fields([("message", json!(self.0))])
    }

    fn count(&self, counts: &mut Counts) {
        counts.warnings += 1;
    }
}

/// Days that a table drops, because they are older than `[retention]` lets it keep.
#[derive(Debug)]
pub struct DaysDropped(pub String);

impl Event for DaysDropped {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn text(&self) -> Option<String> {
        Some(format!("retention  {}", self.0))
    }

    fn fields(&self) -> Fields {
        fields([("message", json!(self.0))])
    }
}

/// The tables of a run are published.
#[derive(Debug)]
pub struct Published<'a> {
    /// The snapshot that is current now.
    pub snapshot: &'a str,
    /// From the start of the run.
    pub seconds: f64,
    /// Billing periods that were attributed.
    pub periods: &'a [String],
}

impl Event for Published<'_> {
    fn name(&self) -> &'static str {
        "published"
    }

    fn fields(&self) -> Fields {
        fields([
            ("snapshot", json!(self.snapshot)),
            ("seconds", json!(self.seconds)),
            ("periods", json!(self.periods)),
            ("peak_memory_bytes", json!(peak_rss())),
        ])
    }

    fn count(&self, counts: &mut Counts) {
        counts.seconds = Some(self.seconds);
        counts.end(End::Done, 0);
    }
}

/// A night is there already, and its run had nothing to do.
#[derive(Debug)]
pub struct RunSkipped<'a> {
    /// Why.
    pub message: &'a str,
    /// The run that published it.
    pub published_by: &'a str,
}

impl Event for RunSkipped<'_> {
    fn name(&self) -> &'static str {
        "unchanged"
    }

    fn fields(&self) -> Fields {
        fields([
            ("message", json!(self.message)),
            ("published_by", json!(self.published_by)),
        ])
    }

    fn count(&self, counts: &mut Counts) {
        counts.end(End::Unchanged, 0);
    }
}

/// The process ends with an error. For people it is shown with its place and remedy, which is no line.
#[derive(Debug)]
pub struct Failed<'a>(pub &'a Error);

impl Event for Failed<'_> {
    fn name(&self) -> &'static str {
        "error"
    }

    fn fields(&self) -> Fields {
        fields([
            ("message", json!(self.0.to_string())),
            ("help", json!(self.0.remedy())),
            ("exit_code", json!(self.0.kind().exit_code())),
            ("retryable", json!(self.0.retryable())),
        ])
    }

    fn count(&self, counts: &mut Counts) {
        let end = match self.0.kind() {
            Kind::Interrupted | Kind::Deadline => End::Interrupted,
            _ => End::Failed,
        };
        counts.end(end, self.0.kind().exit_code());
        counts.error = Some(self.0.to_string());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counted(events: &[&dyn Event]) -> Counts {
        let mut counts = Counts::default();
        events.iter().for_each(|event| event.count(&mut counts));
        counts
    }

    #[test]
    fn each_event_counts_once_and_a_new_night_begins_at_nothing() {
        let date = "2026-10-31".parse().unwrap();
        let night = Began {
            job: Job::Night,
            date,
            why: None,
        };
        let run = RunStarted {
            run_id: "a",
            device: "cpu",
        };
        let stage = |resumed_from| StageEnded {
            stage: "ingest",
            seconds: 1.5,
            cpu_seconds: None,
            spilled: None,
            peak_rss: None,
            rows: 1_000,
            message: "",
            resumed_from,
        };
        let trouble = Error::new(Kind::Io, "no");
        let retry = Retried {
            error: &trouble,
            pause: Duration::from_secs(1),
            made: 1,
            most: 3,
        };
        let warning = Warned("look");
        let (done, again) = (stage(None), stage(Some("b")));
        let events: [&dyn Event; 6] = [&night, &run, &again, &done, &retry, &warning];
        let counts = counted(&events);
        let resumed: Vec<bool> = counts.stages.iter().map(|s| s.resumed).collect();
        assert_eq!(resumed, [true, false]);
        assert_eq!((counts.retries, counts.warnings), (1, 1));
        assert_eq!((counts.run_id.as_deref(), counts.end), (Some("a"), None));
        assert!(
            retry
                .text()
                .unwrap()
                .contains("no; the stage begins again in 1.0 s, for the 1. time of 3 at most")
        );
        assert_eq!((again.text(), again.name()), (None, "stage_resumed"));
        assert_eq!(
            done.text().unwrap(),
            "ingest         1.50 s        1,000 rows"
        );

        let mut all = events.to_vec();
        all.push(&night);
        let counts = counted(&all);
        assert_eq!(
            (counts.stages.len(), counts.retries, counts.warnings),
            (0, 0, 0)
        );
        assert_eq!(counts.run_id, None);
    }

    #[test]
    fn what_fails_after_publishing_is_the_end_but_not_the_time() {
        let published = Published {
            snapshot: "s",
            seconds: 7.5,
            periods: &[],
        };
        let report = Error::config("no report");
        let counts = counted(&[&published, &Failed(&report)]);
        assert_eq!(counts.end, Some((End::Failed, 2)));
        assert_eq!(counts.seconds, Some(7.5));
        for kind in [Kind::Interrupted, Kind::Deadline] {
            let counts = counted(&[&Failed(&Error::new(kind, ""))]);
            assert_eq!(counts.end, Some((End::Interrupted, kind.exit_code())));
        }
    }
}

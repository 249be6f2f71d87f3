//! The one place that writes to the terminal: results to standard output, progress and errors to standard error.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use indicatif::{ProgressBar, ProgressStyle};
use miette::MietteHandlerOpts;
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use crate::config::Pipeline;
use crate::error::Error;
use crate::privacy::secrets::{Hiding, hidden};
use crate::watch::event::{Event, Failed, Warned};
use crate::watch::lineage::{Backfill, Run, State, Told};
use crate::watch::metrics::Watch;
use crate::watch::trace;

/// Writes to the terminal, and counts what it is told.
pub struct Printer {
    format: LogFormat,
    bar: Option<ProgressBar>,
    watch: Arc<Mutex<Watch>>,
}

/// Sends the program's log to standard error; `RECOST_LOG` sets its level (default: warn).
pub fn start_logging(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("RECOST_LOG").unwrap_or_else(|_| EnvFilter::new("recost=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| Hiding(std::io::stderr()));
    let result = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A second call (tests) keeps the first logger.
    drop(result);
    if !std::io::stderr().is_terminal() {
        // In a log an error's sentence is one line, however long its paths are.
        let lines = |_: &_| Box::new(MietteHandlerOpts::new().wrap_lines(false).build()) as _;
        drop(miette::set_hook(Box::new(lines)));
    }
}

impl Printer {
    /// A printer for this process's terminal.
    pub fn new(format: LogFormat) -> Self {
        Printer {
            format,
            bar: None,
            watch: Arc::default(),
        }
    }

    /// Another printer for another thread, which counts to the same.
    pub fn another(&self) -> Self {
        Printer {
            format: self.format,
            bar: None,
            watch: Arc::clone(&self.watch),
        }
    }

    /// What was counted. Only to be held for a moment: an interrupt waits for it.
    pub fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says to those outside how the run ended: writes its metrics and sends its trace, where they are asked for.
    pub fn account(&mut self) {
        let written = self.watch().write();
        if let Err(e) = written {
            self.warning(&format!("the metrics are not written: {e}"));
        }
        let mut watch = self.watch();
        let Watch { counts, trace, .. } = &mut *watch;
        let due = trace.as_mut().map(|trace| trace.due(counts));
        // Sending may take a while.
        drop(watch);
        let sent = due
            .transpose()
            .and_then(|due| due.flatten().map(trace::send).transpose());
        if let Err(e) = sent {
            self.warning(&format!("the trace is not sent: {e}"));
        }
    }

    /// Writes a result to standard output.
    pub fn result(&mut self, text: &str) {
        self.stop();
        // A closed pipe ends the reading side's interest; there is nobody to tell.
        let _ = writeln!(std::io::stdout().lock(), "{}", hidden(text.trim_end()));
    }

    /// Writes bytes to standard output as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.stop();
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Tells of the run where the pipeline file asks for lineage.
    pub fn tell(&mut self, told: &Told<'_>) {
        let watch = self.watch();
        let (job, of) = (watch.counts.job, &watch.counts);
        let run = of.run_id.clone().zip(of.date);
        let told_to = watch.lineage.clone().zip(run);
        // Sending may take a while.
        drop(watch);
        let sent = told_to.map(|(lineage, (id, date))| lineage.tell(&Run { job, id, date }, told));
        if let Some(Err(e)) = sent {
            self.warning(&format!("the lineage event is not sent: {e}"));
        }
    }

    /// Tells that the run, and the stage that it was in, ended with an error.
    pub fn tell_end(&mut self, error: &Error) {
        let (state, why) = (State::of(error), error.to_string());
        let open = self.watch().counts.open.clone();
        let open = open.as_ref().map(|open| Some(open.stage.as_str()));
        for stage in open.into_iter().chain([None]) {
            self.tell(&Told {
                error: Some(&why),
                ..Told::of(stage, state)
            });
        }
    }

    /// Tells that a backfill of these nights begins, of which the runs from now on are parts.
    pub fn begin_backfill(&mut self, pipeline: &Pipeline, nights: (NaiveDate, NaiveDate)) {
        let mut watch = self.watch();
        watch.backfill = Some(Backfill::begin(nights));
        watch.of(pipeline);
        drop(watch);
        self.tell_backfill(&Told::of(None, State::Start));
    }

    /// Tells how the backfill ended, if one goes on.
    pub fn end_backfill(&mut self, error: Option<&Error>) {
        let why = error.map(Error::to_string);
        self.tell_backfill(&Told {
            error: why.as_deref(),
            ..Told::of(None, error.map_or(State::Complete, State::of))
        });
        self.watch().backfill = None;
    }

    fn tell_backfill(&mut self, told: &Told<'_>) {
        let watch = self.watch();
        let lineage = watch.backfill.as_ref().and(watch.lineage.clone());
        // Sending may take a while.
        drop(watch);
        if let Some(Err(e)) = lineage.map(|lineage| lineage.tell_backfill(told)) {
            self.warning(&format!("the lineage event is not sent: {e}"));
        }
    }

    /// Says that something begins; on a terminal with a moving sign.
    pub fn begin(&mut self, what: &str) {
        if self.format == LogFormat::Json {
            return;
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what.to_string());
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bar = Some(bar);
        }
    }

    /// Changes the words of what goes on.
    pub fn update(&mut self, what: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(what);
        }
    }

    /// Says what happened, and counts it.
    pub fn emit(&mut self, event: &dyn Event) {
        let line = self.count(event);
        match self.format {
            LogFormat::Json => self.write(&line),
            LogFormat::Text => {
                if let Some(text) = event.text() {
                    self.write(&hidden(&text));
                }
            }
        }
        if let Some(what) = event.begins() {
            self.begin(what);
        }
    }

    /// Counts what happened, and gives it as a line of JSON.
    fn count(&mut self, event: &dyn Event) -> String {
        let mut watch = self.watch();
        event.count(&mut watch.counts);
        let mut line = event.fields();
        let mut add = |name: &str, value| line.insert(name.to_string(), value);
        add("time", chrono::Utc::now().to_rfc3339().into());
        add("event", event.name().into());
        if let Some(run_id) = &watch.counts.run_id {
            add("run_id", run_id.as_str().into());
        }
        if let Some(date) = watch.counts.date {
            add("date", date.to_string().into());
        }
        hidden(&serde_json::Value::Object(line).to_string()).into_owned()
    }

    fn write(&mut self, line: &str) {
        self.stop();
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// A warning.
    pub fn warning(&mut self, text: &str) {
        self.emit(&Warned(text));
    }

    /// An error, with the place in the user's file and the remedy.
    pub fn error(&mut self, error: &Error) {
        let line = self.count(&Failed(error));
        match self.format {
            LogFormat::Json => self.write(&line),
            LogFormat::Text => self.write(&format!("{:?}", miette::Report::new(Shown::of(error)))),
        }
    }

    /// An error while another printer may show on the terminal that something goes on.
    pub fn error_over_progress(&mut self, error: &Error) {
        let mut err = std::io::stderr();
        if self.format == LogFormat::Text && err.is_terminal() {
            let _ = err.write_all(b"\r\x1b[2K");
        }
        self.error(error);
    }

    fn stop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// An [`Error`] as the diagnostic printer wants it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Shown {
    message: String,
    help: Option<String>,
    source_code: Option<miette::NamedSource<String>>,
    place: Option<(usize, usize)>,
}

impl Shown {
    /// With the place in the text, where there is one.
    pub(crate) fn of(error: &Error) -> Self {
        Shown {
            message: hidden(&error.to_string()).into_owned(),
            help: error.remedy().map(|help| hidden(help).into_owned()),
            source_code: error
                .span()
                .map(|s| miette::NamedSource::new(&s.name, s.text.clone())),
            place: error.span().map(|s| (s.start, s.len)),
        }
    }
}

impl miette::Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as _)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source_code.as_ref().map(|s| s as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let (start, len) = self.place?;
        Some(Box::new(std::iter::once(miette::LabeledSpan::new(
            Some("here".into()),
            start,
            len,
        ))))
    }
}

/// An amount without the zeros that end it, but with two digits at least; nothing where there is none.
pub fn short(amount: &str) -> String {
    if amount.is_empty() {
        return String::new();
    }
    let (whole, digits) = amount.split_once('.').unwrap_or((amount, ""));
    format!("{whole}.{:0<2}", digits.trim_end_matches('0'))
}

/// Lines of columns, the first `left` of them flush left.
pub fn columns(rows: &[Vec<String>], left: usize) -> Vec<String> {
    let count = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(c, (cell, width))| {
                    let pad = " ".repeat(width - cell.chars().count());
                    if c < left {
                        format!("{cell}{pad}")
                    } else {
                        format!("{pad}{cell}")
                    }
                });
            format!("  {}", cells.collect::<Vec<_>>().join("  "))
                .trim_end()
                .to_string()
        })
        .collect()
}

/// A number with thousands apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A size in bytes, in the unit that suits it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut n, mut unit) = (bytes as f64, 0);
    while n >= 1024.0 && unit + 1 < UNITS.len() {
        n /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{n:.1} {}", UNITS[unit]),
    }
}

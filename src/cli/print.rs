//! The one place that writes to the terminal: results to standard output, progress and errors to standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use miette::MietteHandlerOpts;
use tracing_subscriber::EnvFilter;

use super::LogFormat;
use crate::error::Error;
use crate::pipeline::ledger::Entry;
use crate::pipeline::run::Progress;
use crate::privacy::secrets::{Hiding, hidden};

/// Writes to the terminal.
pub struct Printer {
    format: LogFormat,
    bar: Option<ProgressBar>,
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
        Printer { format, bar: None }
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

    /// What goes on in a night.
    pub fn progress(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Resume(text) => self.line("resume", text),
            Progress::Begin(stage) => self.begin(stage.name()),
            Progress::End(_, entry) => self.stage(entry),
            Progress::Warning(text) => self.warning(text),
            Progress::Dropped(dropped) => {
                for dropped in *dropped {
                    self.line("retention", &format!("retention  {}", dropped.shown()));
                }
            }
        }
    }

    /// One line of progress.
    pub fn line(&mut self, event: &str, text: &str) {
        self.stop();
        let text = &*hidden(text);
        let mut err = std::io::stderr().lock();
        let _ = match self.format {
            LogFormat::Text => writeln!(err, "{text}"),
            LogFormat::Json => {
                let line = serde_json::json!({
                    "time": chrono::Utc::now().to_rfc3339(),
                    "event": event,
                    "message": text,
                });
                writeln!(err, "{line}")
            }
        };
    }

    /// Something for machines that people read in the result.
    pub fn event(&mut self, event: &str, text: &str) {
        if self.format == LogFormat::Json {
            self.line(event, text);
        }
    }

    /// How progress is written.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// The end of a stage.
    pub fn stage(&mut self, entry: &Entry) {
        let (stage, seconds) = (&entry.stage, entry.seconds().unwrap_or(0.0));
        let (rows, message) = (
            entry.rows.unwrap_or(0),
            entry.message.as_deref().unwrap_or(""),
        );
        if self.format == LogFormat::Text {
            let rows = thousands(rows);
            let text = format!("{stage:<10} {seconds:>8.2} s {rows:>12} rows  {message}");
            return self.line("stage", text.trim_end());
        }
        let line = serde_json::json!({
            "time": chrono::Utc::now().to_rfc3339(),
            "event": "stage",
            "stage": stage,
            "seconds": seconds,
            "cpu_seconds": entry.cpu_seconds,
            "rows": rows,
            "message": hidden(message),
        });
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// A warning.
    pub fn warning(&mut self, text: &str) {
        let text = match self.format {
            LogFormat::Text => format!("warning: {text}"),
            LogFormat::Json => text.to_string(),
        };
        self.line("warning", &text);
    }

    /// An error, with the place in the user's file and the remedy.
    pub fn error(&mut self, error: &Error) {
        self.stop();
        let mut err = std::io::stderr().lock();
        let _ = match self.format {
            LogFormat::Text => writeln!(err, "{:?}", miette::Report::new(Shown::of(error))),
            LogFormat::Json => {
                let line = serde_json::json!({
                    "time": chrono::Utc::now().to_rfc3339(),
                    "event": "error",
                    "message": hidden(&error.to_string()),
                    "help": error.remedy().map(hidden),
                    "exit_code": error.kind().exit_code(),
                    "retryable": error.retryable(),
                });
                writeln!(err, "{line}")
            }
        };
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

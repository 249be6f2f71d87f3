//! What the events of a run add up to.

use std::time::Instant;

use chrono::{DateTime, NaiveDate, Utc};

use crate::pipeline::meter::peak_rss;
use crate::pipeline::runs::Job;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was published.
    Done,
    /// It was there already.
    Unchanged,
    /// With an error.
    Failed,
    /// By a signal or its deadline.
    Interrupted,
}

impl End {
    /// All of them.
    pub const ALL: [End; 4] = [End::Done, End::Unchanged, End::Failed, End::Interrupted];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Unchanged => "unchanged",
            End::Failed => "failed",
            End::Interrupted => "interrupted",
        }
    }
}

/// A stage that ended well.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Wall clock.
    pub seconds: f64,
    /// CPU time of the process meanwhile.
    pub cpu_seconds: Option<f64>,
    /// Bytes written to spill files meanwhile.
    pub spilled: Option<u64>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_rss: Option<u64>,
    /// Beginnings again.
    pub retries: u64,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// Rows written.
    pub rows: u64,
    /// Whether an earlier run did it.
    pub resumed: bool,
}

/// A stage that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its name.
    pub stage: String,
    /// Wall clock.
    pub began_at: DateTime<Utc>,
    /// Beginnings again.
    pub retries: u64,
}

/// What the events of a run add up to.
#[derive(Debug, Default)]
pub struct Counts {
    /// What it does.
    pub job: Job,
    /// Id of the run, once it has one.
    pub run_id: Option<String>,
    /// The night.
    pub date: Option<NaiveDate>,
    began: Option<Instant>,
    /// The same by the wall clock.
    pub began_at: Option<DateTime<Utc>>,
    /// From its beginning to its publication or end.
    pub seconds: Option<f64>,
    /// The stage that goes on.
    pub open: Option<Open>,
    /// Those that ended, in order.
    pub stages: Vec<Stage>,
    /// Warnings.
    pub warnings: u64,
    /// Beginnings again of stages.
    pub retries: u64,
    /// Peak resident memory of the process, bytes.
    pub peak_rss: Option<u64>,
    /// How it ended, and the process's exit code if it ends so.
    pub end: Option<(End, u8)>,
    /// When.
    pub ended_at: Option<DateTime<Utc>>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Counts {
    /// Of a run that begins now.
    pub fn of(job: Job, date: NaiveDate) -> Self {
        Counts {
            job,
            date: Some(date),
            began: Some(Instant::now()),
            began_at: Some(Utc::now()),
            ..Counts::default()
        }
    }

    /// Notes the end. What fails after the publication, such as the report, does not change how long that took.
    pub(super) fn end(&mut self, end: End, exit_code: u8) {
        let seconds = self.began.map(|began| began.elapsed().as_secs_f64());
        self.seconds = self.seconds.or(seconds);
        self.peak_rss = peak_rss();
        self.end = Some((end, exit_code));
        self.ended_at = Some(Utc::now());
    }
}

//! What the system says of this process: memory, CPU time.

use chrono::{DateTime, Utc};

use crate::scratch;

/// A moment, and what the process had used by then.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Wall clock.
    pub at: DateTime<Utc>,
    /// CPU time of the process, user and system, in nanoseconds, where the system tells.
    pub cpu_ns: Option<u64>,
    /// Bytes that the process had written to spill files.
    pub spilled: u64,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Moment {
            at: Utc::now(),
            cpu_ns: cpu_ns(),
            spilled: scratch::spilled(),
        }
    }

    /// CPU time since then in nanoseconds, where the system tells.
    pub fn cpu_ns_since(&self) -> Option<u64> {
        Some(cpu_ns()?.saturating_sub(self.cpu_ns?))
    }

    /// Bytes written to spill files since then.
    pub fn spilled_since(&self) -> u64 {
        scratch::spilled().saturating_sub(self.spilled)
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// CPU time of this process so far in nanoseconds, where the system tells.
pub fn cpu_ns() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold blanks; it ends with the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Linux counts these in hundredths of a second on every common system.
    Some((user + system) * 10_000_000)
}

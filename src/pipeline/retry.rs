//! When a stage that met passing trouble begins again: after a pause that grows, and is never the same for two runs.

use std::time::Duration;

use crate::error::Error;
use crate::watch::Observer;
use crate::watch::event::Retried;

/// Of the first pause, at most.
const FIRST: Duration = Duration::from_secs(4);
/// Of any pause, at most.
const LONGEST: Duration = Duration::from_secs(60);

/// How often a run may still try again.
#[derive(Debug)]
pub(super) struct Retries {
    left: u32,
    made: u32,
    run: String,
}

impl Retries {
    /// At most `most` of them in `run`, by a name that no other has.
    pub fn new(most: u32, run: String) -> Self {
        Retries {
            left: most,
            made: 0,
            run,
        }
    }

    /// Waits, if what ended with `error` is worth another try, and says so; `false` where it is not.
    pub async fn wait(&mut self, error: &Error, observer: &mut Observer<'_>) -> bool {
        let Some(pause) = self.pause(error) else {
            return false;
        };
        observer(&Retried {
            error,
            pause,
            made: self.made,
            most: self.made + self.left,
        });
        tokio::time::sleep(pause).await;
        true
    }

    /// How long to wait before trying again what ended with `error`; `None` where that would not help, or was tried often
    /// enough. Exponential backoff with full jitter: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
    fn pause(&mut self, error: &Error) -> Option<Duration> {
        if !error.is_passing() || self.left == 0 {
            return None;
        }
        let longest = FIRST.saturating_mul(1 << self.made.min(16)).min(LONGEST);
        self.left -= 1;
        self.made += 1;
        // Runs that fail together have other ids, and so come back one by one.
        let drawn = xxhash_rust::xxh3::xxh3_64(format!("{} {}", self.run, self.made).as_bytes());
        Some(longest.mul_f64(drawn as f64 / u64::MAX as f64))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn only_passing_trouble_is_tried_again_and_not_for_ever() {
        let of = |kind: io::ErrorKind| Error::io("cannot read", Path::new("x"), &kind.into());
        let gone = of(io::ErrorKind::NotFound);
        let mut retries = Retries::new(9, "a".into());
        let lasting = [
            of(io::ErrorKind::StorageFull),
            of(io::ErrorKind::QuotaExceeded),
            of(io::ErrorKind::PermissionDenied),
            Error::new(Kind::Check, "no"),
            Error::new(Kind::Locked, "no"),
            crate::compute::ComputeError::Lost {
                adapter: "card".into(),
                reason: "unplugged".into(),
            }
            .into(),
        ];
        for error in lasting {
            assert_eq!(retries.pause(&error), None, "{error}");
        }
        let pauses: Vec<Duration> = std::iter::from_fn(|| retries.pause(&gone)).collect();
        assert_eq!(pauses.len(), 9);
        for (pause, longest) in pauses.iter().zip([4, 8, 16, 32, 60, 60, 60, 60, 60]) {
            assert!(*pause <= Duration::from_secs(longest), "{pause:?}");
        }
        // Another run waits otherwise.
        assert_ne!(Retries::new(1, "b".into()).pause(&gone), Some(pauses[0]));
        assert_eq!(Retries::new(0, "a".into()).pause(&gone), None);
        // What was said on the way changes nothing.
        let context = of(io::ErrorKind::StorageFull)
            .context("ingest")
            .help("free it");
        assert!(!context.is_passing());
    }
}

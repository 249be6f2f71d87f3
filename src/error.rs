//! One error type for the whole program: what happened, where, what to do about it, and how it ends the process.
//!
//! The parts of the program that stand alone (`money`, `attribution`, `compute`, `model`, `generate`, `report`) have small
//! error enums of their own; they become an [`Error`] where they meet the pipeline.

use std::fmt;
use std::path::Path;

use crate::scratch::FULL;

/// What kind of failure this is. Each kind has one exit code, documented in `docs/operations.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A defect or an unforeseen state of the machine (1).
    Unexpected,
    /// The command line or the pipeline file is wrong (2).
    Config,
    /// A data check failed; running again will not help (3).
    Check,
    /// The selection matched nothing that could be done (4).
    NothingToDo,
    /// Nights are missing, failed or stale (5).
    Unfinished,
    /// A source is missing or stale (6).
    SourceMissing,
    /// Another run holds the lock (7).
    Locked,
    /// Data does not fit its contract (8).
    Contract,
    /// Passing input/output trouble: run again (9).
    Io,
    /// The run passed its deadline: the next goes on where it ended (9).
    Deadline,
    /// A GPU was required and there is none (10).
    NoGpu,
    /// The run was interrupted (130).
    Interrupted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 12] = [
        Kind::Unexpected,
        Kind::Config,
        Kind::Check,
        Kind::NothingToDo,
        Kind::Unfinished,
        Kind::SourceMissing,
        Kind::Locked,
        Kind::Contract,
        Kind::Io,
        Kind::Deadline,
        Kind::NoGpu,
        Kind::Interrupted,
    ];

    /// The process's exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Unexpected => 1,
            Kind::Config => 2,
            Kind::Check => 3,
            Kind::NothingToDo => 4,
            Kind::Unfinished => 5,
            Kind::SourceMissing => 6,
            Kind::Locked => 7,
            Kind::Contract => 8,
            Kind::Io | Kind::Deadline => 9,
            Kind::NoGpu => 10,
            Kind::Interrupted => 130,
        }
    }
}

/// A place in a text that the user wrote (a pipeline file or a SQL file).
#[derive(Debug, Clone)]
pub struct Span {
    /// The file's name as the user knows it.
    pub name: String,
    /// The whole text of the file.
    pub text: String,
    /// First byte of the place.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
}

/// What went wrong, in one sentence, with the remedy and, where there is one, the place in the user's text.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    help: Option<String>,
    span: Option<Span>,
    device_failed: bool,
    short_of_memory: bool,
    /// Whether it stays until somebody does something, though its kind is one that passes.
    lasting: bool,
}

/// The result type used throughout.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let inner = Inner {
            kind,
            message: message.into(),
            help: None,
            span: None,
            device_failed: false,
            short_of_memory: false,
            lasting: false,
        };
        Error {
            inner: Box::new(inner),
        }
    }

    /// Whether a device failed at what another may do.
    pub fn is_device_failure(&self) -> bool {
        self.inner.device_failed
    }

    /// Whether a query would have taken more than `[engine] memory`.
    pub fn is_short_of_memory(&self) -> bool {
        self.inner.short_of_memory
    }

    /// A wrong command line or pipeline file.
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(Kind::Config, message)
    }

    /// Data that does not fit its contract.
    pub fn contract(message: impl Into<String>) -> Self {
        Error::new(Kind::Contract, message)
    }

    /// A failed data check.
    pub fn check(message: impl Into<String>) -> Self {
        Error::new(Kind::Check, message)
    }

    /// An unforeseen state.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Error::new(Kind::Unexpected, message)
    }

    /// Spill files would take more than they may.
    pub fn spill_limit() -> Self {
        Error::unexpected(FULL)
            .help("raise `[engine] spill_limit` in the pipeline file, or `memory`, so that less is spilled")
    }

    /// A failed operation on a file: `Kind::Config` where the path or text itself is the trouble (permissions), else
    /// `Kind::Io`.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let message = format!("{doing} {}: {error}", path.display());
        match error.kind() {
            E::PermissionDenied | E::ReadOnlyFilesystem => Error::config(message)
                .help("give this user the right to it, or name another path in the pipeline file"),
            E::NotADirectory | E::IsADirectory | E::AlreadyExists | E::InvalidFilename => {
                Error::config(message).help("name another path in the pipeline file")
            }
            E::InvalidData => Error::config(message).help("save it as text in UTF-8"),
            _ => of_system(error, message),
        }
    }

    /// The same error with a remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.inner.help = Some(help.into());
        self
    }

    /// The same error with something more beside its remedy.
    pub fn also(mut self, more: impl fmt::Display) -> Self {
        let help = self.inner.help.take();
        self.inner.help =
            Some(help.map_or_else(|| more.to_string(), |help| format!("{help}; {more}")));
        self
    }

    /// The same error with the place in the user's text.
    pub fn at(mut self, span: Span) -> Self {
        self.inner.span = Some(span);
        self
    }

    /// The same error, its message led by what was being done.
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.inner.message = format!("{doing}: {}", self.inner.message);
        self
    }

    /// The same error in other words.
    pub fn reworded(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.inner.message = words(&self.inner.message);
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The remedy, where there is one.
    pub fn remedy(&self) -> Option<&str> {
        self.inner.help.as_deref()
    }

    /// The place in the user's text, where there is one.
    pub fn span(&self) -> Option<&Span> {
        self.inner.span.as_ref()
    }

    /// Whether the same may succeed in a moment, without anybody doing anything about it.
    pub fn is_passing(&self) -> bool {
        self.kind() == Kind::Io && !self.inner.device_failed && !self.inner.lasting
    }

    /// Whether the same command may succeed later without a change.
    pub fn retryable(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Io | Kind::Locked | Kind::SourceMissing | Kind::Deadline | Kind::Interrupted
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError as D;
        use datafusion::sql::sqlparser::parser::ParserError as P;
        match error.find_root() {
            D::External(e) => {
                if let Some(own) = e.downcast_ref::<Error>() {
                    let mut copy = Error::new(own.kind(), own.to_string());
                    copy.inner.device_failed = own.inner.device_failed;
                    copy.inner.short_of_memory = own.inner.short_of_memory;
                    copy.inner.lasting = own.inner.lasting;
                    copy.inner.help.clone_from(&own.inner.help);
                    copy.inner.span.clone_from(&own.inner.span);
                    return copy;
                }
                of_library(e.as_ref())
            }
            D::IoError(e) => of_system(e, e.to_string()),
            D::ParquetError(e) => of_library(e.as_ref()),
            D::ObjectStore(e) => of_library(e.as_ref()),
            D::ArrowError(e, _) => of_values(e),
            D::SQL(e, _) => Error::config(match e.as_ref() {
                P::ParserError(message) | P::TokenizerError(message) => message.clone(),
                P::RecursionLimitExceeded => "it is nested too deeply".into(),
            }),
            D::ResourcesExhausted(message) => {
                let mut error = Error::unexpected(message.clone());
                error.inner.short_of_memory = true;
                error.help("raise `[engine] memory` in the pipeline file")
            }
            other => Error::unexpected(other.strip_backtrace()),
        }
    }
}

/// What a library could not do: `Kind::Io` where the system did not let it read or write. What it makes an error of input and
/// output of itself, damaged bytes mostly, is none.
fn of_library(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(at) = cause {
        match at.downcast_ref::<std::io::Error>() {
            Some(io) if io.raw_os_error().is_some() => return of_system(io, error.to_string()),
            _ => cause = at.source(),
        }
    }
    let text = error.to_string();
    // Some of what writes Parquet keeps of such an error its text, which ends with the system's number.
    if let Some(number) = text
        .rsplit_once("(os error ")
        .and_then(|(_, end)| end.strip_suffix(')'))
        && let Ok(number) = number.parse()
    {
        return of_system(&std::io::Error::from_raw_os_error(number), text);
    }
    // The engine has no type for it.
    let of_engine = "during the spilling process has exceeded the allowable limit";
    match text.contains(of_engine) || text.contains(FULL) {
        true => Error::spill_limit(),
        false => Error::unexpected(text),
    }
}

/// What the system did not let be done.
fn of_system(error: &std::io::Error, message: String) -> Error {
    use std::io::ErrorKind as E;
    let mut of = Error::new(Kind::Io, message);
    if matches!(error.kind(), E::StorageFull | E::QuotaExceeded) {
        of.inner.lasting = true;
        of = of.help("free some space on that disk, then run again");
    }
    of
}

/// A value that the SQL cannot compute with.
fn of_values(error: &arrow::error::ArrowError) -> Error {
    use arrow::error::ArrowError as A;
    let remedy = match error {
        A::CastError(_) | A::ParseError(_) | A::InvalidArgumentError(_) => {
            "write try_cast in the SQL: what does not fit is null then, and a row that needs it goes to quarantine by file, row and column"
        }
        A::DivideByZero => "divide by nullif(…, 0)",
        A::ArithmeticOverflow(_) => "cast to a wider type before adding up",
        _ => return of_library(error),
    };
    Error::contract(error.to_string()).help(remedy)
}

impl From<crate::compute::ComputeError> for Error {
    fn from(error: crate::compute::ComputeError) -> Self {
        use crate::compute::ComputeError as C;
        let kind = match &error {
            C::NoGpu { .. } => Kind::NoGpu,
            C::UnknownDevice { .. } => Kind::Config,
            C::Lost { .. } => Kind::Io,
            _ => Kind::Unexpected,
        };
        let device_failed = matches!(
            error,
            C::Lost { .. } | C::OutOfMemory { .. } | C::Refused { .. } | C::TooLarge { .. }
        );
        let mut error = Error::new(kind, error.to_string());
        error.inner.device_failed = device_failed;
        error
    }
}

impl From<crate::model::ModelError> for Error {
    fn from(error: crate::model::ModelError) -> Self {
        use crate::model::ModelError as M;
        match error {
            M::Compute(e) => e.into(),
            M::UnknownFamily(_)
            | M::Parameter { .. }
            | M::Hyperparameters(_)
            | M::WarmStart { .. } => Error::config(error.to_string()),
            M::Interactions(_) | M::Compression(_) | M::Diverged { .. } => {
                Error::check(error.to_string())
            }
            M::Io { ref source, .. } => of_system(source, error.to_string()),
            _ => Error::unexpected(error.to_string()),
        }
    }
}

impl From<crate::report::ReportError> for Error {
    fn from(error: crate::report::ReportError) -> Self {
        match &error {
            crate::report::ReportError::Io { path, source } => {
                Error::io("the report cannot be written to", path, source)
            }
            _ => Error::unexpected(error.to_string()),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        datafusion::error::DataFusionError::from(error).into()
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        of_library(&error)
    }
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}

/// The candidate that is most like `name`, when one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| {
            (
                strsim::jaro_winkler(&name.to_lowercase(), &c.to_lowercase()),
                c,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_whichever_library_meets_it() {
        let full = || std::io::Error::from_raw_os_error(28);
        use parquet::errors::ParquetError;
        let parquet = ParquetError::from;
        let told = |e| ParquetError::General(format!("Could not write bloom filter bit set: {e}"));
        let found: [Error; 6] = [
            told(full()).into(),
            Error::io("cannot write", Path::new("x"), &full()),
            parquet(full()).into(),
            datafusion::error::DataFusionError::IoError(full()).into(),
            datafusion::error::DataFusionError::from(parquet(full())).into(),
            arrow::error::ArrowError::from(full()).into(),
        ];
        for error in found {
            assert_eq!(error.kind(), Kind::Io, "{error}");
            assert!(!error.is_passing() && error.remedy().is_some(), "{error}");
        }
        let broken = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: std::io::Error::from_raw_os_error(5).into(),
        };
        assert!(Error::from(datafusion::error::DataFusionError::from(broken)).is_passing());
        // Bytes that cannot be unpacked are no trouble of the disk, which might pass.
        let damaged = std::io::Error::from(std::io::ErrorKind::InvalidData);
        assert_eq!(Error::from(parquet(damaged)).kind(), Kind::Unexpected);
    }
}

//! Calls into the Parquet decoder, which answers some damaged files with a panic: a type in the Arrow schema that a footer
//! may hold, a width that no integer has. What can be told from outside is held against bounds before; the rest lies
//! between the decoder's own layers, and would otherwise end the run as a defect of this program and not name the file.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, Kind, Result};

/// A Parquet file that was opened: of which columns its [`rows`] are may still be chosen.
pub(crate) type Opened = ParquetRecordBatchReaderBuilder<File>;

/// Opens a Parquet file of the warehouse.
///
/// # Errors
/// `Kind::Io` when the system does not let it be read, `Kind::Contract` when it is damaged; both name it.
pub(crate) fn open(path: &Path) -> Result<Opened> {
    let file = File::open(path).map_err(|e| Error::io("cannot read", path, &e))?;
    decode(path, || Ok(Opened::try_new(file)?))
}

/// The rows of a file; none after an error.
///
/// # Errors
/// As [`open`], each row's too.
pub(crate) fn rows(
    path: &Path,
    of: Opened,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let path = path.to_path_buf();
    let mut reader = Some(decode(&path, || Ok(of.build()?))?);
    Ok(std::iter::from_fn(move || {
        let rows = reader.as_mut()?;
        let next = decode(&path, || Ok(rows.next().transpose()?)).transpose();
        if !matches!(next, Some(Ok(_))) {
            reader = None;
        }
        next
    }))
}

/// What `call` into the decoder gives of a file.
fn decode<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
    let broken = |what: &dyn fmt::Display| {
        Error::contract(format!(
            "{} cannot be read as Parquet: {what}",
            path.display()
        ))
    };
    guarded(Error::contract, call).map_err(|e| match e.kind() {
        Kind::Io => e.context(format_args!("cannot read {}", path.display())),
        _ => broken(&e),
    })
}

thread_local! {
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

/// What `call` gives; where it panics, the error that `broken` makes of what is to be said. Nothing that `call` changes may be
/// used after that.
///
/// # Errors
/// Those of the call.
pub(crate) fn guarded<T>(
    broken: impl FnOnce(&'static str) -> Error,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CALLED.get() {
                before(info);
            }
        }));
    });
    CALLED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    CALLED.set(false);
    outcome.unwrap_or_else(|_| Err(broken("the decoder cannot make sense of it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_gives_up_is_an_error_about_the_file() {
        let broken = |what: &str| Error::contract(format!("a.parquet: {what}"));
        let gave_up: Result<()> = guarded(broken, || panic!("no such type"));
        let error = gave_up.err().map(|e| (e.kind(), e.to_string()));
        let says = "a.parquet: the decoder cannot make sense of it";
        assert_eq!(error, Some((Kind::Contract, says.to_string())));
        assert_eq!(guarded(broken, || Ok(1)).ok(), Some(1));
    }
}

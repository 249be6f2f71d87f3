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

thread_local! {
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

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

/// All rows of a file of the warehouse.
///
/// # Errors
/// As [`open`], each row's too.
pub(crate) fn read(path: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    rows(path, open(path)?)
}

/// What `call` into the decoder gives of a file, be it that it panics. Nothing that `call` changes may be used after that.
///
/// # Errors
/// Those of the call, as of [`open`].
pub(crate) fn decode<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
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
    match outcome {
        Ok(Err(system)) if system.kind() == Kind::Io => {
            Err(system.context(format_args!("cannot read {}", path.display())))
        }
        Ok(given) => given.map_err(|e| broken(path, &e)),
        Err(_) => Err(broken(path, &"the decoder cannot make sense of it")),
    }
}

/// That a file is damaged.
pub(crate) fn broken(path: &Path, what: &dyn fmt::Display) -> Error {
    Error::contract(format!(
        "{} cannot be read as Parquet: {what}",
        path.display()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_decoder_that_gives_up_is_an_error_about_the_file() {
        let path = Path::new("a.parquet");
        let gave_up: Result<()> = decode(path, || panic!("no such type"));
        let error = gave_up.err().map(|e| (e.kind(), e.to_string()));
        let says = "a.parquet cannot be read as Parquet: the decoder cannot make sense of it";
        assert_eq!(error, Some((Kind::Contract, says.to_string())));
        assert_eq!(decode(path, || Ok(1)).ok(), Some(1));
    }

    #[test]
    fn a_damaged_file_is_named_and_gives_no_row_after_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let mut whole = vec![];
        let mut writer = ArrowWriter::try_new(&mut whole, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        std::fs::write(&path, &whole).unwrap();
        let all = read(&path).unwrap();
        let all: Vec<_> = all.map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!(all.iter().sum::<usize>(), 50_000);

        let named = |error: Error| {
            assert_eq!(error.kind(), Kind::Contract, "{error}");
            assert!(
                error.to_string().contains("a.parquet cannot be read"),
                "{error}"
            );
        };
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        named(open(&path).map(drop).unwrap_err());
        // The footer is whole, the pages are not.
        let middle = whole.len() / 2;
        whole[4..middle].fill(0xff);
        std::fs::write(&path, &whole).unwrap();
        let mut damaged = read(&path).unwrap();
        named(damaged.find_map(Result::err).unwrap());
        assert!(damaged.next().is_none());
        let absent = dir.path().join("b.parquet");
        assert_eq!(open(&absent).map(drop).unwrap_err().kind(), Kind::Io);
    }
}

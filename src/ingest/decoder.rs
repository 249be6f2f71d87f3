//! Calls into the Parquet decoder, which answers some damaged files with a panic: a type in the Arrow schema that a footer
//! may hold, a width that no integer has. What can be told from outside is held against `bounds` before; the rest lies
//! between the decoder's own layers, and would otherwise end the run as a defect of this program and not name the file.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use super::reader::broken;
use crate::error::Result;

thread_local! {
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

/// What `call` gives; a panic in it is an error about the file. Nothing that `call` changes may be used after that.
///
/// # Errors
/// `Kind::Contract` where the decoder gave up.
pub(super) fn guarded<T>(path: &Path, call: impl FnOnce() -> Result<T>) -> Result<T> {
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
    outcome.unwrap_or_else(|_| Err(broken(path, &"the decoder cannot make sense of it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_decoder_that_gives_up_is_an_error_about_the_file() {
        let path = Path::new("a.parquet");
        let gave_up: Result<()> = guarded(path, || panic!("no such type"));
        let error = gave_up.err().map(|e| (e.kind(), e.to_string()));
        let says = "a.parquet cannot be read as Parquet: the decoder cannot make sense of it";
        assert_eq!(error, Some((Kind::Contract, says.to_string())));
        assert_eq!(guarded(path, || Ok(1)).ok(), Some(1));
    }
}

//! Ctrl-C, SIGTERM and the deadline of a run. They are waited for on a thread of their own, which gets its turn however long the others compute.

use std::io;
use std::sync::MutexGuard;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::print::Printer;
use crate::config::TimeSpan;
use crate::error::{Error, Kind};
use crate::pipeline::interrupt::{Runs, expire, interrupt};
use crate::scratch;

/// From now on Ctrl-C and SIGTERM end the process with exit code 130 once the ledger says so, and a second one at once.
///
/// # Errors
/// When the handlers cannot be installed or the thread cannot be started.
pub fn listen(printer: Printer) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut int, mut term) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let listening = thread::Builder::new().name("signals".into());
    listening.spawn(move || {
        runtime.block_on(async {
            let name = either(&mut int, &mut term).await;
            let ending = thread::Builder::new().name("interrupt".into());
            if ending.spawn(move || end(name, printer)).is_ok() {
                either(&mut int, &mut term).await;
            }
            leave(Kind::Interrupted)
        });
    })?;
    Ok(())
}

async fn either(int: &mut Signal, term: &mut Signal) -> &'static str {
    tokio::select! {
        _ = int.recv() => "SIGINT",
        _ = term.recv() => "SIGTERM",
    }
}

/// A deadline, as long as it is held.
pub struct Deadline {
    _run: Sender<()>,
}

/// Ends the process, as a signal does but with exit code 9, when `span` has passed, unless what this gives is dropped before or
/// the night was published, before which something was as often as `since` says.
///
/// # Errors
/// When the thread that waits cannot be started.
pub fn deadline(span: TimeSpan, since: usize, printer: Printer) -> io::Result<Deadline> {
    let (run, ended) = channel();
    let time = span.0.to_std().unwrap_or_default();
    let waiting = thread::Builder::new().name("deadline".into());
    waiting.spawn(move || {
        let waited: Result<(), _> = ended.recv_timeout(time);
        if waited == Err(RecvTimeoutError::Timeout)
            && let Some((held, error)) = expire(span, since)
        {
            leave_saying(&error, held, printer)
        }
    })?;
    Ok(Deadline { _run: run })
}

fn end(signal: &str, printer: Printer) {
    let (held, error) = interrupt(signal);
    leave_saying(&error, held, printer)
}

/// Ends the process, in which nothing can be published as long as `_held` is.
fn leave_saying(error: &Error, _held: MutexGuard<'static, Runs>, mut printer: Printer) -> ! {
    scratch::remove();
    let unpublished = printer.watch().counts.end.is_none();
    printer.error_over_progress(error);
    if unpublished {
        printer.tell_end(error);
    }
    printer.end_backfill(Some(error));
    printer.account();
    leave(error.kind())
}

/// Ends the process without a word to its other threads, which are in the middle of something.
fn leave(kind: Kind) -> ! {
    // SAFETY: _exit may be called at any time. Unlike exit it runs no handlers, which would take from the other threads what
    // they compute with.
    unsafe { libc::_exit(i32::from(kind.exit_code())) }
}

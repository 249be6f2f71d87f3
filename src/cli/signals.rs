//! Ctrl-C and SIGTERM. They are waited for on a thread of their own, which gets its turn however long the others compute.

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::LogFormat;
use super::print::Printer;
use crate::error::Kind;
use crate::pipeline::interrupt::interrupt;
use crate::scratch;

/// From now on Ctrl-C and SIGTERM end the process with exit code 130 once the ledger says so, and a second one at once.
///
/// # Errors
/// When the handlers cannot be installed or the thread cannot be started.
pub fn listen(format: LogFormat) -> io::Result<()> {
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
            if ending.spawn(move || end(name, format)).is_ok() {
                either(&mut int, &mut term).await;
            }
            leave()
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

fn end(signal: &str, format: LogFormat) {
    let (_held, error) = interrupt(signal);
    scratch::remove();
    Printer::new(format).error_over_progress(&error);
    leave()
}

/// Ends the process without a word to its other threads, which are in the middle of something.
fn leave() -> ! {
    // SAFETY: _exit may be called at any time. Unlike exit it runs no handlers, which would take from the other threads what
    // they compute with.
    unsafe { libc::_exit(i32::from(Kind::Interrupted.exit_code())) }
}

//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    share_arenas();
    recost::cli::main()
}

/// Keeps the C library's allocator to two arenas. Batches are made on one thread and freed on another; with an arena for
/// every thread a night was seen to hold more than twice the memory that it used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_arenas() {
    // SAFETY: mallopt only sets a parameter of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_arenas() {}

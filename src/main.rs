//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    share_arenas();
    quiet_vulkan();
    recost::cli::main()
}

/// Keeps Mesa's device-select layer out: it asks the desktop which GPU it shows on, and on a server without one writes
/// an error to standard error, between our own lines. Which device computes is our choice anyway.
fn quiet_vulkan() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
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

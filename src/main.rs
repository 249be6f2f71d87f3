//! The binary: everything is in the library.

use std::process::ExitCode;

/// Batches are made on one thread and freed on another, and the largest go first: with the C library's allocator a night held
/// up to twice the memory that it used, and did not give it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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

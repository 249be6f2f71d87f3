//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    recost::heap::set_up();
    recost::descriptors::allow_all();
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

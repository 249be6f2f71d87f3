//! How many files the process may have open.

/// As many as an administrator allows, and not only as many as a shell gives every program: rows that do not fit the memory are
/// divided over hundreds of files.
pub fn allow_all() {
    #[cfg(unix)]
    // SAFETY: both calls take a pointer to a structure that lives until they return.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            // Where it is refused, what the shell gave stays.
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

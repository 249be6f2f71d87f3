//! The memory that the C library's allocator holds.

/// Keeps the allocator to two arenas. Batches are made on one thread and freed on another; with an arena for every thread a
/// night was seen to hold more than twice the memory that it used. (mimalloc holds four times as much.) To be called before
/// there are threads.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets a parameter of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives what was freed back to the system: after a step that held much, before one that needs it elsewhere.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

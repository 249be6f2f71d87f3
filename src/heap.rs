//! The memory that the C library's allocator holds.

/// Bytes of an allocation that goes back to the system when it is freed. The allocator would raise the bound itself, up to 32
/// MiB, with each large one that is freed: columns of a batch then lie among small ones that outlive them, and of 700 MiB that
/// were held five sevenths were seen to be free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 256 << 10;

/// Keeps the allocator to two arenas. Batches are made on one thread and freed on another; with an arena for every thread a
/// night was seen to hold more than twice the memory that it used. (mimalloc holds four times as much.) Large ones lie in
/// none. To be called before there are threads.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
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

//! Memory that is free, back to the system: after an index was built most of what the allocator holds is of no use.

/// Gives free memory back, where the allocator of the system can.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) may be called by any thread at any time, and changes nothing that is in use
    unsafe {
        libc::malloc_trim(0);
    }
}

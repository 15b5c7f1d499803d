//! Fault points: named places in a job's life at which a test stops this process, to end it right there.
//!
//! A test starts the daemon with [`VARIABLE`] naming a file and writes the name of a point into it. Whoever passes that
//! point next, daemon or supervisor, removes the file and stops as by SIGSTOP. Only debug builds have this: elsewhere
//! passing a point is nothing. This file reads no environment; who starts a process tells it where to look.

/// The variable by which a test says where it names points.
#[cfg(debug_assertions)]
pub const VARIABLE: &str = "RHIZOME_FAULT";

/// Passes the point `name`: the whole process stops here if a test wants it to.
#[inline]
pub fn pass(name: impl std::fmt::Display) {
    #[cfg(debug_assertions)]
    armed::pass(&name);
    #[cfg(not(debug_assertions))]
    let _never_asked = name;
}

#[cfg(debug_assertions)]
pub use armed::{file, look_at};

#[cfg(debug_assertions)]
mod armed {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    static FILE: OnceLock<PathBuf> = OnceLock::new();

    /// Has this process look for points in a file; the first call counts.
    pub fn look_at(file: PathBuf) {
        FILE.get_or_init(|| file);
    }

    /// Where this process looks, for those that it starts.
    pub fn file() -> Option<&'static Path> {
        FILE.get().map(PathBuf::as_path)
    }

    pub fn pass(name: &dyn std::fmt::Display) {
        let wanted = |file: &&Path| std::fs::read_to_string(file).is_ok_and(|wanted| wanted == name.to_string());
        let Some(file) = file().filter(wanted) else { return };
        // of several that pass at once, the one that removes it stops
        if std::fs::remove_file(file).is_ok() {
            // SAFETY: no memory is involved. To this thread, so that it goes no step further.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
    }
}

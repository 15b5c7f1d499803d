//! The one binary: `rhizome`, and by their names `rad-rhizome` and `rad-cob-job`.

use std::process::ExitCode;

fn main() -> ExitCode {
    for name in ["GIT_COMMITTER_DATE", "RAD_COMMIT_TIME"] {
        // SAFETY: no other thread exists yet. Radicle takes these for the time of what it signs, and panics at odd ones.
        unsafe { std::env::remove_var(name) };
    }
    #[cfg(debug_assertions)]
    if let Some(file) = std::env::var_os(scheduler::fault::VARIABLE) {
        scheduler::fault::look_at(file.into());
    }
    node::cli::main(std::env::args_os())
}

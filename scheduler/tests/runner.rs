//! Real runs in real sandboxes, with real supervisors.
//!
//! Has a main of its own, because this binary is also the supervisor and the sandbox's first process of the runs that
//! it starts, as `rhizome` is under hidden verbs. Needs bubblewrap; run as root it also shows the strict limits.

#![expect(clippy::unwrap_used, reason = "every function here is a test, which clippy cannot see without libtest")]
#![expect(clippy::disallowed_methods, reason = "a main of its own reads its arguments and the time")]

#[path = "runner/artifacts.rs"]
mod artifacts;
#[path = "runner/cost.rs"]
mod cost;
#[path = "runner/deadlines.rs"]
mod deadlines;
#[path = "runner/escapes.rs"]
mod escapes;
#[path = "runner/harness.rs"]
mod harness;
#[path = "runner/inputs.rs"]
mod inputs;
#[path = "runner/logs.rs"]
mod logs;
#[path = "runner/outcomes.rs"]
mod outcomes;
#[path = "runner/supervisors.rs"]
mod supervisors;
#[path = "runner/unprivileged.rs"]
mod unprivileged;

use std::path::Path;
use std::process::ExitCode;

use scheduler::runner;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [harness::SUPERVISE, run_dir] => runner::supervise(Path::new(run_dir), &[harness::INIT.to_owned()]),
        [harness::INIT] => runner::sandbox_init(),
        [harness::START, run_dir, request] => harness::start_and_leave(Path::new(run_dir), request),
        [unprivileged::VERB, dir] => unprivileged::body(Path::new(dir)),
        rest => harness::run_all(
            &[
                outcomes::TESTS,
                deadlines::TESTS,
                supervisors::TESTS,
                escapes::TESTS,
                logs::TESTS,
                artifacts::TESTS,
                inputs::TESTS,
                unprivileged::TESTS,
                cost::TESTS,
            ],
            rest,
        ),
    }
}

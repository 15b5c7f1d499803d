//! How a test says that it cannot run on this machine.

use std::io::Write;

/// Says that test `name` is skipped and why; the test then returns. `tests/run.sh` fails unless `tests/skips.txt` lists it.
pub fn skip(name: &str, reason: &str) {
    // not by `eprintln`, which the test runner captures; one write, so that no other line gets into it
    let line = format!("\nskipped: {name}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("the test runner reads the standard error");
}

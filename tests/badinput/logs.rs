//! A log of 100 MB against its limit.

use std::process::{Command, Stdio};

use super::machine::Machine;

/// What the job writes.
const WRITTEN_BYTES: u64 = 100_000_000;
/// What is kept of it.
const LIMIT: &str = "2M";
const LIMIT_BYTES: u64 = 2 << 20;
/// What the daemon may grow by: far less than the log, and than its limit times its readers.
const GROWTH_KIB_MAX: u64 = 48 << 10;

fn writes() -> String {
    format!("head -c {WRITTEN_BYTES} /dev/zero")
}

/// With a strict limit the run ends and says why; as best effort the job succeeds and its log says what was dropped.
/// Either way the daemon stays small.
#[test]
fn bounds_a_log_of_100_mb() {
    let machine = Machine::start("alpha");
    machine.run(&["run", "--", "true"]).ok();
    let before = machine.peak_kib();
    let script = writes();
    let strict = machine.run(&["run", "--log-limit", LIMIT, "--", "sh", "-c", &script]);
    assert_ne!(strict.code, 0, "the run was to end");
    assert!(strict.stdout.len() as u64 <= LIMIT_BYTES, "{} bytes", strict.stdout.len());
    assert!(strict.stderr.contains("log limit"), "no reason: {}", strict.stderr);
    let failed = machine.json(&["job", "list", "--outcome", "failed"])["items"][0].clone();
    let job = machine.json(&["job", "show", failed["id"].as_str().unwrap_or_else(|| panic!("it did not fail"))]);
    assert!(job["reason"].as_str().unwrap().contains("log limit"), "{}", job["reason"]);

    let loose = machine.run(&["run", "--log-limit", LIMIT, "--best-effort", "log", "--", "sh", "-c", &script]);
    assert_eq!(loose.code, 0, "{}", loose.stderr);
    assert_eq!(loose.stdout.len() as u64, LIMIT_BYTES);
    assert!(loose.stderr.contains("bytes dropped: the log limit is 2097152 bytes"), "no marker: {}", loose.stderr);
    let grown = machine.peak_kib() - before;
    assert!(grown < GROWTH_KIB_MAX, "the daemon grew by {grown} KiB");
}

/// A reader that takes nothing costs the daemon a bounded amount, and others are served meanwhile.
#[test]
fn a_reader_that_takes_nothing_holds_up_nobody() {
    let machine = Machine::start("alpha");
    let before = machine.peak_kib();
    let mut idle: Vec<_> = (0..8)
        .map(|number| {
            let mut command = machine.command(&["run", "--env"]);
            command.arg(format!("NUMBER={number}")).args(["--", "sh", "-c", "head -c 8000000 /dev/zero"]);
            // a pipe that nobody reads
            command.env_clear().env("HOME", machine.home.path()).stdout(Stdio::piped()).stderr(Stdio::null());
            start(&mut command)
        })
        .collect();
    machine.run(&["run", "--", "true"]).ok();
    machine.json(&["status"]);
    let grown = machine.peak_kib() - before;
    assert!(grown < GROWTH_KIB_MAX, "the daemon grew by {grown} KiB");
    for child in &mut idle {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn start(command: &mut Command) -> std::process::Child {
    command.stdin(Stdio::null()).spawn().expect("the binary starts")
}

//! Leases: kept on the boot-time clock by the supervisor, whatever the daemon does.

use cobs::job::outcome::RunOutcome;
use scheduler::runner::StopReason;
use scheduler::runner::clock::BootMs;
use scheduler::runner::request::Deadline;
use scheduler::runner::run::RunError;

use crate::harness::{Tests, any_process_has, await_log, exited, script, start};

pub const TESTS: Tests = &[
    ("deadlines::a_lease_that_passes_ends_the_run", a_lease_that_passes_ends_the_run),
    ("deadlines::a_renewed_lease_does_not", a_renewed_lease_does_not),
    ("deadlines::a_held_run_has_none", a_held_run_has_none),
    ("deadlines::a_stop_cannot_outlive_the_lease", a_stop_cannot_outlive_the_lease),
];

/// How late a kill may be on a busy machine; the design allows KILL_GRACE, 1 s.
const LATE_MS: u64 = 900;

fn a_lease_that_passes_ends_the_run() {
    // A command deaf to the polite signal, with a child in a session of its own, is dead at its deadline.
    let mut request = script("trap 'echo asked' TERM; setsid sleep 4712 & echo up; while :; do sleep 0.05; done");
    let deadline = BootMs::now().plus(1_500);
    request.deadline = Deadline::At(deadline);
    let kept = start(&request);
    await_log(&kept.run, "asked");
    assert!(BootMs::now() < deadline);
    let finished = kept.end();
    let now = BootMs::now();
    assert!(now >= deadline && now.0 < deadline.0 + LATE_MS, "{now:?} {deadline:?}");
    assert_eq!(finished.outcome, RunOutcome::Lost);
    assert!(finished.reason.unwrap().contains("lease"));
    assert!(!any_process_has("sleep\x004712"));
}

fn a_renewed_lease_does_not() {
    // Renewed in time it runs to its own end; an earlier deadline than the one it has changes nothing.
    // on an emulated machine with much to do it takes most of a second until the command runs
    let first = BootMs::now().plus(3_000);
    let mut request = script("echo up; sleep 4; echo done");
    request.deadline = Deadline::At(first);
    let kept = start(&request);
    await_log(&kept.run, "up");
    let later = first.plus(5_000);
    assert_eq!(kept.run.extend(later).unwrap(), later);
    assert_eq!(kept.run.extend(first).unwrap(), later);
    assert_eq!(kept.run.status().unwrap().deadline, Deadline::At(later));
    assert_eq!(kept.end().outcome, exited(0));
    assert!(matches!(kept.run.extend(later), Err(RunError::Ended)));
}

fn a_held_run_has_none() {
    // It cannot be given one either.
    let kept = start(&script("echo up; sleep 60"));
    await_log(&kept.run, "up");
    assert!(matches!(kept.run.extend(BootMs::now()), Err(RunError::Refused(_))));
    assert_eq!(kept.run.status().unwrap().deadline, Deadline::Held);
    kept.run.kill(StopReason::Cancelled).unwrap();
    assert_eq!(kept.end().outcome, RunOutcome::Cancelled);
}

fn a_stop_cannot_outlive_the_lease() {
    // A grace of a minute is cut at the deadline.
    let deadline = BootMs::now().plus(1_500);
    let mut request = script("trap '' TERM; echo up; while :; do sleep 60; done");
    request.deadline = Deadline::At(deadline);
    let kept = start(&request);
    await_log(&kept.run, "up");
    kept.run.stop(StopReason::Released, 60_000).unwrap();
    assert_eq!(kept.end().outcome, RunOutcome::Released);
    assert!(BootMs::now().0 < deadline.0 + LATE_MS);
}

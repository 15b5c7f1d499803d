//! Every way a run can end, told apart exactly.

use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Work;
use scheduler::runner::{LimitKind, Runner, StartError, StopReason};

use crate::harness::{Tests, await_log, command, exited, finish, sandbox, script, start, strict};

pub const TESTS: Tests = &[
    ("outcomes::exit_codes_are_the_commands", exit_codes_are_the_commands),
    ("outcomes::signals_are_told_from_codes", signals_are_told_from_codes),
    ("outcomes::what_is_not_there_could_not_start", what_is_not_there_could_not_start),
    ("outcomes::a_wall_limit_times_out", a_wall_limit_times_out),
    ("outcomes::memory_that_runs_out_is_told", memory_that_runs_out_is_told),
    ("outcomes::a_stop_is_polite_and_then_not", a_stop_is_polite_and_then_not),
    ("outcomes::what_the_command_left_behind_is_ended", what_the_command_left_behind_is_ended),
    ("outcomes::a_request_that_cannot_be_kept_is_refused", a_request_that_cannot_be_kept_is_refused),
    ("outcomes::the_smoke_run_tells_what_works", the_smoke_run_tells_what_works),
];

fn exit_codes_are_the_commands() {
    // 0, 3, and the codes that shells use for signals and missing programs, which here are the command's own.
    for code in [0, 3, 127, 137, 255] {
        let (finished, _) = finish(&script(&format!("exit {code}")));
        assert_eq!((finished.outcome, finished.reason), (exited(code), None));
        assert!(finished.first_instruction.unwrap() < finished.ended.unwrap());
    }
}

fn signals_are_told_from_codes() {
    // A command that a signal ends is no command that exits with 128 and the signal.
    let (finished, _) = finish(&script("kill -SEGV $$"));
    assert_eq!(finished.outcome, RunOutcome::Signalled { signal: 11 });
    let (finished, _) = finish(&script("kill -KILL $$"));
    assert_eq!(finished.outcome, RunOutcome::Signalled { signal: 9 });
}

fn what_is_not_there_could_not_start() {
    // A program, its interpreter or a working directory that is missing is named, and is no exit of anything.
    let (finished, _) = finish(&command(&["no-such-program"]));
    assert_eq!(finished.outcome, RunOutcome::CouldNotStart);
    assert!(finished.reason.unwrap().contains("'no-such-program' was not found"));
    assert_eq!(finished.first_instruction, None);
    let mut nowhere = command(&["true"]);
    let Work::Command { working_directory, .. } = &mut nowhere.work;
    *working_directory = Some("not/there".into());
    let (finished, _) = finish(&nowhere);
    assert_eq!(finished.outcome, RunOutcome::CouldNotStart);
    assert!(finished.reason.unwrap().contains("'not/there'"));
    let (finished, _) = finish(&command(&["/etc/passwd"]));
    assert!(finished.reason.unwrap().contains("Permission denied"));
}

fn a_wall_limit_times_out() {
    // Counted from the first instruction; a command that does not hear the polite signal is killed a grace later.
    for (text, least_ms) in [("sleep 60", 300), ("trap '' TERM; while :; do sleep 1; done", 1_300)] {
        let mut request = script(text);
        request.limits.wall_ms = strict(300);
        let (finished, _) = finish(&request);
        assert_eq!(finished.outcome, RunOutcome::TimedOut);
        let start = finished.first_instruction.unwrap().0 / 1_000_000;
        // A command that was killed never told its end.
        assert!(finished.ended.is_none_or(|end| end.0 / 1_000_000 - start >= least_ms));
    }
}

fn memory_that_runs_out_is_told() {
    // The kernel's kill in a child of the command explains the command's failure too.
    let eat = "python3 -c 'x = bytearray(1 << 30)'";
    for text in [format!("exec {eat}"), format!("{eat}; exit 5")] {
        let mut request = script(&text);
        request.limits.memory_bytes = strict(64 << 20);
        let (finished, log) = finish(&request);
        assert_eq!(finished.outcome, RunOutcome::OutOfMemory, "{log}");
    }
}

fn a_stop_is_polite_and_then_not() {
    // A command that hears the signal ends in its own way within the grace; one that does not is killed after it. The
    // outcome is the stop's, whatever the command said.
    // short sleeps: a signal that comes just before one starts is seen after it
    let polite = start(&script("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"));
    await_log(&polite.run, "up");
    polite.run.stop(StopReason::Cancelled, 30_000).unwrap();
    await_log(&polite.run, "bye");
    assert_eq!(polite.end().outcome, RunOutcome::Cancelled);
    let deaf = start(&script("trap '' TERM; echo up; while :; do sleep 60; done"));
    await_log(&deaf.run, "up");
    deaf.run.stop(StopReason::Released, 200).unwrap();
    assert_eq!(deaf.end().outcome, RunOutcome::Released);
    let fenced = start(&script("echo up; sleep 60"));
    await_log(&fenced.run, "up");
    fenced.run.kill(StopReason::Fenced).unwrap();
    assert_eq!(fenced.end().outcome, RunOutcome::Lost);
}

fn what_the_command_left_behind_is_ended() {
    // A process in a session of its own does not outlive the command, and does not hold up the outcome.
    let (finished, _) = finish(&script("setsid sleep 4711 >/dev/null 2>&1 & setsid sleep 4711 & exit 4"));
    assert_eq!(finished.outcome, exited(4));
    assert!(!crate::harness::any_process_has("sleep\x004711"));
}

fn a_request_that_cannot_be_kept_is_refused() {
    // Before anything is started: nothing to run, and paths that leave the work tree.
    let dir = tempfile::tempdir().unwrap();
    let refused = |request| sandbox().start(&dir.path().join("run"), &request).unwrap_err();
    assert!(matches!(refused(command(&[])), StartError::Request(_)));
    for pattern in ["../x", "/etc/passwd", "a/../../b"] {
        let mut request = script("true");
        request.artifacts = vec![pattern.to_owned()];
        let error = refused(request);
        assert!(matches!(&error, StartError::Request(source) if source.to_string().contains(pattern)), "{error:?}");
    }
    assert!(!dir.path().join("run").exists());
}

fn the_smoke_run_tells_what_works() {
    // Here, as root with writeable control groups, everything is strict; without bubblewrap nothing is usable.
    let dir = tempfile::tempdir().unwrap();
    let capability = sandbox().probe(dir.path());
    assert_eq!(capability.unusable, None);
    assert_eq!(capability.limits.len(), 6);
    assert!(capability.limits.contains_key(&LimitKind::MemoryBytes));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

//! Supervisors outlive their daemon and never their job.

use std::path::Path;
use std::process::Command;

use cobs::job::outcome::RunOutcome;
use rustix::process::{Pid, Signal, kill_process};
use scheduler::runner::Runner;
use scheduler::runner::StopReason;
use scheduler::runner::run::{Adopted, Run};

use crate::harness::{
    START, Tests, any_process_has, await_log, end, exited, finish, log, sandbox, sandbox_of, script, start,
};

pub const TESTS: Tests = &[
    ("supervisors::a_killed_supervisor_takes_the_job_with_it", a_killed_supervisor_takes_the_job_with_it),
    ("supervisors::a_run_outlives_the_daemon_that_started_it", a_run_outlives_the_daemon_that_started_it),
    ("supervisors::an_end_while_nobody_looked_is_kept", an_end_while_nobody_looked_is_kept),
    ("supervisors::another_boot_means_dead", another_boot_means_dead),
    ("supervisors::another_process_with_the_same_id_is_not_it", another_process_with_the_same_id_is_not_it),
    ("supervisors::a_second_supervisor_starts_nothing", a_second_supervisor_starts_nothing),
    ("supervisors::many_may_wait", many_may_wait),
    ("supervisors::what_belongs_to_no_run_is_reaped", what_belongs_to_no_run_is_reaped),
    ("supervisors::a_missing_bubblewrap_is_told", a_missing_bubblewrap_is_told),
];

fn kill_supervisor(run_dir: &Path) {
    let record = record(run_dir);
    let pid = record["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

fn record(run_dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(run_dir.join("record.json")).unwrap()).unwrap()
}

fn a_killed_supervisor_takes_the_job_with_it() {
    // By the parent-death signal and the namespace: sessions of its own do not save a process. Then it reads lost, once
    // and for all, and only when nothing is left alive.
    let kept = start(&script("setsid sleep 4713 & echo up; sleep 4713"));
    await_log(&kept.run, "up");
    kill_supervisor(kept.dir());
    let finished = kept.end();
    assert!(!any_process_has("sleep\x004713"));
    assert_eq!(finished.outcome, RunOutcome::Lost);
    assert_eq!(finished.reason.as_deref(), Some("its supervisor died"));
    assert!(matches!(sandbox().adopt(kept.dir()).unwrap(), Adopted::Ended(again) if again == finished));
}

/// Starts `text` from a process that is gone when this returns, as a daemon that was killed.
fn started_elsewhere(dir: &Path, text: &str) {
    let request = serde_json::to_string(&script(text)).unwrap();
    let argument = format!("test-{} {request}", std::process::id());
    let status = Command::new(crate::harness::program()).arg(START).arg(dir).arg(argument).status().unwrap();
    assert!(status.success());
}

fn adopted(dir: &Path) -> Run {
    match sandbox().adopt(dir).unwrap() {
        Adopted::Alive(run) => run,
        other => panic!("{other:?}"),
    }
}

fn a_run_outlives_the_daemon_that_started_it() {
    // Its log is followed, it can be stopped, and its outcome comes as if nothing had been.
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    started_elsewhere(&run_dir, "trap 'exit 9' TERM; echo up; while :; do sleep 60; done");
    let run = adopted(&run_dir);
    await_log(&run, "up");
    run.stop(StopReason::Released, 10_000).unwrap();
    assert_eq!(end(&run).outcome, RunOutcome::Released);
}

fn an_end_while_nobody_looked_is_kept() {
    // A daemon that comes back later finds outcome and log.
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    started_elsewhere(&run_dir, "echo hello; exit 6");
    let run = match sandbox().adopt(&run_dir).unwrap() {
        Adopted::Alive(run) => {
            assert_eq!(end(&run).outcome, exited(6));
            run
        }
        Adopted::Ended(finished) => {
            assert_eq!(finished.outcome, exited(6));
            assert!(finished.log.unwrap().tail.contains("hello"));
            return;
        }
        Adopted::Dead(finished) => panic!("{finished:?}"),
    };
    assert_eq!(log(&run), "hello\n");
}

/// A run directory whose supervisor was killed and whose end nobody has looked at, with its request changed.
fn dead_with(edit: impl Fn(&mut serde_json::Value)) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let run = sandbox().start(&run_dir, &script("echo up; sleep 4714")).unwrap();
    await_log(&run, "up");
    kill_supervisor(&run_dir);
    let path = run_dir.join("request.json");
    let mut request = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut request);
    std::fs::write(&path, request.to_string()).unwrap();
    (dir, run_dir)
}

fn another_boot_means_dead() {
    // After a restart of the machine there is nothing to end, and the run is lost.
    let (_dir, run_dir) = dead_with(|request| request["boot_id"] = "another".into());
    // The real group is still there, since this machine was not restarted.
    let groups = sandbox().reap_others(&[]);
    assert!(groups.len() <= 1, "{groups:?}");
    // The record is not synced, and may have been torn with the power.
    std::fs::write(run_dir.join("record.json"), "").unwrap();
    // Its lock goes with the supervisor, a moment after the signal.
    let finished = sandbox().reap(&run_dir).unwrap();
    assert_eq!((finished.outcome, finished.reason.unwrap().as_str()), (RunOutcome::Lost, "the machine was restarted"));
}

fn another_process_with_the_same_id_is_not_it() {
    // A record that names a living process with another start time is a dead supervisor's.
    let (_dir, run_dir) = dead_with(|_| ());
    let mut record = record(&run_dir);
    record["pid"] = std::process::id().into();
    std::fs::write(run_dir.join("record.json"), record.to_string()).unwrap();
    assert!(matches!(sandbox().adopt(&run_dir).unwrap(), Adopted::Dead(_)));
}

fn a_second_supervisor_starts_nothing() {
    // Neither beside a living one nor after the end, so a token starts at most once.
    let kept = start(&script("echo up; sleep 60"));
    await_log(&kept.run, "up");
    let second = || {
        let command = || Command::new(crate::harness::program());
        let output = command().arg(crate::harness::SUPERVISE).arg(kept.dir()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(second().contains("the run has a supervisor"));
    kept.run.kill(StopReason::Cancelled).unwrap();
    let finished = kept.end();
    // The lock is held until the first supervisor is gone, and the outcome from then on.
    let said = loop {
        let said = second();
        if !said.contains("the run has a supervisor") {
            break said;
        }
    };
    assert!(said.contains("the run has ended"), "{said}");
    assert_eq!(kept.end(), finished);
    assert_eq!(log(&kept.run), "up\n");
}

fn many_may_wait() {
    // All of them hear the same end.
    let kept = start(&script("echo up; sleep 0.3; exit 2"));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..20).map(|_| scope.spawn(|| kept.end().outcome)).collect();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    });
    assert!(outcomes.iter().all(|outcome| *outcome == exited(2)));
}

fn what_belongs_to_no_run_is_reaped() {
    // A home whose run directories are lost still finds what runs, by its control group.
    let home = format!("lost-{}", std::process::id());
    let lost = sandbox_of(&home);
    let dir = tempfile::tempdir().unwrap();
    let run = lost.start(&dir.path().join("run"), &script("echo up; sleep 60")).unwrap();
    await_log(&run, "up");
    assert!(lost.reap_others(std::slice::from_ref(&run)).is_empty());
    assert!(run.status().is_ok());
    assert_eq!(lost.reap_others(&[]).len(), 1);
    assert_eq!(end(&run).outcome, RunOutcome::Lost);
    lost.leave();
}

fn a_missing_bubblewrap_is_told() {
    // A machine without it says so in the outcome and in the capability, and nothing hangs.
    let program = crate::harness::program();
    let supervisor =
        scheduler::runner::sandbox::SupervisorCommand { program, args: vec![crate::harness::SUPERVISE.to_owned()] };
    let mut config = scheduler::runner::sandbox::SandboxConfig::new(format!("test-{}", std::process::id()), supervisor);
    config.bubblewrap = "/nowhere/bwrap".into();
    let dir = tempfile::tempdir().unwrap();
    let capability = scheduler::runner::sandbox::Sandbox::new(config).probe(dir.path());
    assert!(capability.unusable.unwrap().contains("bubblewrap '/nowhere/bwrap' is not there"));
    assert_eq!(finish(&script("true")).0.outcome, exited(0));
}

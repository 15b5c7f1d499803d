//! A daemon that is not root and may write no control group: it says what it cannot keep, refuses what must be kept, and
//! runs the rest in the same sandbox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use cobs::job::spec::Limit;
use scheduler::runner::request::RunRequest;
use scheduler::runner::{Enforcement, LimitKind, Runner, StartError, StopReason};

use crate::harness::{Tests, await_log, end, exited, log, program, sandbox_of, script};

pub const TESTS: Tests = &[("unprivileged::a_daemon_that_is_not_root", a_daemon_that_is_not_root)];

pub const VERB: &str = "unprivileged";
const USER: u32 = 1000;

fn a_daemon_that_is_not_root() {
    // The body is another process, since this one may be root.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("program");
    fs::copy(program(), &copy).unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let mut command = Command::new(&copy);
    command.arg(VERB).arg(&home).current_dir("/");
    if rustix::process::geteuid().is_root() {
        chown(&home, Some(USER), Some(USER)).unwrap();
        command.uid(USER).gid(USER);
    }
    assert!(command.status().unwrap().success());
}

fn lenient(text: &str) -> RunRequest {
    let mut request = script(text);
    for limit in [&mut request.limits.cpu_milli, &mut request.limits.memory_bytes, &mut request.limits.processes] {
        limit.strict = false;
    }
    request
}

/// The body.
pub fn body(dir: &Path) -> ExitCode {
    let sandbox = sandbox_of("unprivileged");
    let capability = sandbox.probe(dir);
    assert_eq!(capability.unusable, None);
    for kind in [LimitKind::CpuMilli, LimitKind::MemoryBytes, LimitKind::Processes] {
        assert!(matches!(&capability.limits[&kind], Enforcement::BestEffort { why } if why.contains("not writeable")));
    }
    assert_eq!(capability.limits[&LimitKind::DiskBytes], Enforcement::Strict);
    let refused = sandbox.start(&dir.join("strict"), &script("true")).unwrap_err();
    assert!(matches!(refused, StartError::NotEnforced { limit: LimitKind::CpuMilli, .. }), "{refused:?}");
    let text = "id -u; grep CapEff /proc/self/status; touch /x /usr/x; dd if=/dev/zero of=/tmp/x bs=1M count=99 2>/dev/null; \
                stat -c %s /tmp/x; i=0; while sleep 50 & do i=$((i+1)); [ $i -gt 99 ] && break; done; echo all";
    let mut request = lenient(text);
    request.limits.processes = Limit { value: 20, strict: false };
    request.limits.disk_bytes.value = 4 << 20;
    let run = sandbox.start(&dir.join("lenient"), &request).unwrap();
    let finished = end(&run);
    let log = log(&run);
    assert!(finished.first_instruction.is_some(), "{:?} {log}", finished.reason);
    assert!(log.starts_with("1000\nCapEff:\t0000000000000000\n"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
    assert!(log.contains("4194304") && log.contains("Cannot fork") && !log.contains("all"), "{log}");
    // Without a group to kill, the end of the namespace is the end of everything in it.
    let run = sandbox.start(&dir.join("killed"), &lenient("setsid sleep 60 & echo up; sleep 60")).unwrap();
    await_log(&run, "up");
    run.kill(StopReason::Fenced).unwrap();
    assert_ne!(end(&run).outcome, exited(0));
    ExitCode::SUCCESS
}

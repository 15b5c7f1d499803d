//! Version 1 and 2 as plain files, and the real hierarchies of this machine.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use cobs::job::spec::Limit;

use super::*;

fn limits() -> ResolvedLimits {
    let limit = |value| Limit { value, strict: true };
    ResolvedLimits {
        cpu_milli: limit(1500),
        memory_bytes: limit(64 << 20),
        processes: limit(30),
        disk_bytes: limit(1 << 20),
        wall_ms: limit(1000),
        log_bytes: limit(1000),
    }
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

/// A shell that begins with `script` once it is in the group.
fn member(group: &Group, script: &str) -> Child {
    let script = format!("read go; {script}");
    let quiet = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = quiet.unwrap();
    for file in group.procs_files() {
        fs::write(file, child.id().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child
}

#[test]
fn version_two_writes_its_own_spelling() {
    // On version 2 all caps go into one directory, swap is off and one process too many in memory ends them all.
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().to_owned();
    let all = [Controller::Memory, Controller::Cpu, Controller::Pids];
    let controllers: BTreeMap<_, _> = all.map(|controller| (controller, (dir.clone(), Version::Two))).into();
    let mut parent = GroupParent::default();
    (parent.controllers, parent.unified) = (controllers, Some(dir.clone()));
    let group = Group::of(&parent, "run");
    let run = dir.join("run");
    fs::create_dir(&run).unwrap();
    for file in ["memory.swap.max", "memory.oom.group"] {
        fs::write(run.join(file), "").unwrap();
    }
    group.create(&limits()).unwrap();
    assert_eq!(read(&run, "cpu.max"), "150000 100000");
    assert_eq!(read(&run, "memory.max"), (64 << 20).to_string());
    assert_eq!((read(&run, "memory.swap.max"), read(&run, "memory.oom.group")), ("0".into(), "1".into()));
    assert_eq!(read(&run, "pids.max"), "33");
    fs::write(run.join("memory.events"), "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n").unwrap();
    assert_eq!(group.oom_kills(), 3);
}

#[test]
fn a_real_group_is_capped_killed_and_removed() {
    // What this machine's kernel holds is what was asked for; a member and its child are killed, nothing is left.
    let parent = GroupParent::prepare(&format!("group-test-{}", std::process::id()));
    let group = Group::of(&parent, "one");
    group.create(&limits()).unwrap();
    let mut child = member(&group, "sleep 600 & sleep 600");
    assert!(!group.is_empty());
    // The group's zombie stays a member until its parent has waited for it.
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.empty();
    assert!(!reaper.join().unwrap().success());
    group.remove().unwrap();
    assert!(parent.groups().is_empty());
    parent.remove();
}

#[test]
fn without_cgroup_kill_a_forking_group_still_ends() {
    // The version 1 way alone: freeze, kill, thaw, until a group that keeps forking is empty.
    let mut parent = GroupParent::prepare(&format!("freeze-test-{}", std::process::id()));
    let unified = parent.unified.take();
    if !parent.controllers.contains_key(&Controller::Freezer) {
        // A pure version 2 machine has no such group to kill.
        return;
    }
    let group = Group::of(&parent, "one");
    group.create(&limits()).unwrap();
    let script = "while :; do (sleep 0.01; sleep 0.01) & sleep 0.005; done";
    let mut child = member(&group, script);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.empty();
    reaper.join().unwrap();
    group.remove().unwrap();
    parent.unified = unified;
    parent.remove();
}

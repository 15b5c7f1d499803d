//! How tests break a node: its processes are killed or stopped, also at the fault points of a job's life.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use super::wait;

/// The variable by which a daemon is told where points are named; release builds know none.
pub const VARIABLE: &str = "RHIZOME_FAULT";
/// What the command line of a supervisor holds.
pub const SUPERVISOR: &str = "supervise";

/// Where the points of a home are named.
pub fn file(home: &Home) -> PathBuf {
    home.join("fault")
}

/// From now on, the next process of the home that passes `point` stops.
pub fn arm(home: &Home, point: &str) {
    let partial = home.join("fault.partial");
    fs::write(&partial, point).and_then(|()| fs::rename(&partial, file(home))).expect("the home is writable");
}

/// Waits until a process of the home has stopped at the point that was armed.
#[track_caller]
pub fn reached(home: &Home, point: &str) {
    wait::until(&format!("a process stops at {point}"), wait::LIMIT, || {
        (!file(home).exists() && !stopped(home).is_empty()).then_some(())
    });
}

/// Lets every stopped process of the home go on.
pub fn go_on(home: &Home) {
    stopped(home).into_iter().for_each(|pid| signal(pid, Signal::CONT));
}

/// The processes of a home that are stopped.
pub fn stopped(home: &Home) -> Vec<u32> {
    let stopped = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    home.processes().into_iter().filter(stopped).collect()
}

/// The processes of a home that have `argument` among their arguments.
pub fn named(home: &Home, argument: &str) -> Vec<u32> {
    home.processes().into_iter().filter(|pid| has_argument(*pid, argument)).collect()
}

/// A zombie has none.
fn has_argument(pid: u32, argument: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
}

/// Kills the processes of a home that have `argument` among their arguments, and waits until they are gone.
#[track_caller]
pub fn kill_named(home: &Home, argument: &str) {
    wait::until("the named processes are gone", wait::LIMIT, || {
        let living = named(home, argument);
        living.iter().for_each(|pid| signal(*pid, Signal::KILL));
        living.is_empty().then_some(())
    });
}

/// Kills the child of a process that has `argument` among its arguments, and waits until it is gone.
#[track_caller]
pub fn kill_child(parent: u32, argument: &str) {
    let children = || -> Vec<u32> {
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_wanted = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            of == Some(parent) && has_argument(*pid, argument)
        };
        pids.filter(is_wanted).collect()
    };
    let killed = children();
    assert!(!killed.is_empty(), "process {parent} has no child {argument}");
    killed.iter().for_each(|pid| signal(*pid, Signal::KILL));
    wait::until("the child is gone", wait::LIMIT, || children().is_empty().then_some(()));
}

/// Kills all processes of a home, and waits until they are gone.
#[track_caller]
pub fn kill_all(home: &Home) {
    wait::until("all processes are gone", wait::LIMIT, || {
        let living = home.processes();
        living.iter().for_each(|pid| signal(*pid, Signal::KILL));
        living.is_empty().then_some(())
    });
}

/// Sends a signal to a process, which may have ended by itself in between.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the kernel's ids fit");
    let _gone = kill_process(pid, signal);
}

//! The sweeper of a demo: a process that waits until the demo is gone, however it went, and then ends and removes what
//! is left of it. It must be told nothing but where to look.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use scheduler::runner::group::GroupParent;

/// What the names of demos' directories begin with.
pub const PREFIX: &str = "rz-demo-";
/// Between two looks at what still lives.
const LOOK: Duration = Duration::from_millis(5);
/// How long processes may take to be gone.
const END_WAIT: Duration = Duration::from_secs(10);
/// Programs, besides this one, that a demo's processes run.
const PROGRAMS: [&str; 2] = ["bwrap", "git"];

/// The body of the hidden verb: standard input names control groups by line, and its end is the demo's.
pub fn sweep(site: &Path) -> ExitCode {
    let ours =
        site.is_absolute() && site.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()));
    if !ours {
        eprintln!("error: {} is no directory of a demo", site.display());
        return ExitCode::from(64);
    }
    // a line that cannot be read ends it as well
    let groups: BTreeSet<String> = std::io::stdin().lock().lines().map_while(Result::ok).collect();
    let until = Instant::now() + END_WAIT;
    let mut living = processes(site);
    while !living.is_empty() && Instant::now() < until {
        for pid in living.into_iter().filter_map(Pid::from_raw) {
            // one that is gone meanwhile is what was wanted
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(LOOK);
        living = processes(site);
    }
    for group in &groups {
        GroupParent::prepare(group).remove();
    }
    while site.exists() && Instant::now() < until {
        // what ends may still write
        if fs::remove_dir_all(site).is_err() {
            thread::sleep(LOOK);
        }
    }
    if site.exists() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The demo's living processes: they name its directory, and are no stranger's, such as an editor's.
fn processes(site: &Path) -> Vec<i32> {
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let us = std::process::id().cast_signed();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != us && names(*pid, site) && runs(*pid, &own)).collect()
}

/// Whether an argument of the process is the site or lies below it. A dead one's arguments read empty.
fn names(pid: i32, site: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let site = site.as_os_str().as_bytes();
    line.windows(site.len()).any(|window| window == site)
}

fn runs(pid: i32, own: &Path) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    program == own || program.file_name().is_some_and(|name| PROGRAMS.iter().any(|known| name == *known))
}

//! A throw-away home directory, and the end of every process that was started for it.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait;

/// Looks in a row that find no process before a home counts as left.
const EMPTY_LOOKS: u32 = 3;

/// A directory that one simulated machine or user calls home. Dropping it kills every process that names it in its
/// arguments or environment (a daemon's supervisors outlive the daemon), then removes it.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// An empty home, at a path short enough for a unix socket below it.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rz-").tempdir().expect("a temporary directory can be made");
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn join(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The living processes that belong to this home.
    pub fn processes(&self) -> Vec<u32> {
        let own = std::process::id();
        let entries = fs::read_dir("/proc").expect("/proc is mounted");
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != own && self.named_by(*pid)).collect()
    }

    fn named_by(&self, pid: u32) -> bool {
        let path = self.dir.path().as_os_str().as_encoded_bytes();
        // both read empty for a zombie, and not at all once it is gone
        ["cmdline", "environ"].iter().any(|file| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.windows(path.len()).any(|window| window == path)
        })
    }

    fn kill_all(&self) -> Option<()> {
        let living = self.processes();
        living.iter().copied().for_each(kill);
        living.is_empty().then_some(())
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the kernel's ids fit");
    // it may have ended by itself in between
    let _gone = kill_process(pid, Signal::KILL);
}

impl Drop for Home {
    fn drop(&mut self) {
        // a process that becomes another program at this moment reads empty too, so one look is not enough
        let mut looks = 0;
        let ended = wait::poll(wait::LIMIT, || {
            looks = if self.kill_all().is_some() { looks + 1 } else { 0 };
            (looks == EMPTY_LOOKS).then_some(())
        });
        if ended.is_none() && !std::thread::panicking() {
            panic!("processes of {} cannot be killed: {:?}", self.path().display(), self.processes());
        }
    }
}

/// A process that has left its parent's group still ends with the home it was started for, and the home is gone.
#[test]
fn nothing_outlives_a_home() {
    let home = Home::new();
    let path = home.path().to_owned();
    let mut child = std::process::Command::new("setsid").arg("sleep").arg("60").env("HOME", &path).spawn().unwrap();
    wait::until("the process runs", wait::LIMIT, || home.processes().contains(&child.id()).then_some(()));
    drop(home);
    let ended = wait::poll(wait::LIMIT, || child.try_wait().unwrap());
    child.kill().unwrap();
    assert!(ended.is_some_and(|status| !status.success()), "it outlived its home");
    assert!(!path.exists());
}

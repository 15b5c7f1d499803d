//! Control groups: one group per run, below one parent per home, on version 1, version 2 or both at once (hybrid).
//!
//! Knows nothing of sandboxes: it makes groups, sets caps, tells what happened in them, empties and removes them.
//! [`place`] decides where they go, once, in the daemon.

pub mod place;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use place::GroupParent;

use super::request::ResolvedLimits;

/// What a control group can cap or do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
    /// Stopping a whole group, on version 1.
    Freezer,
}

/// Which of the kernel's two interfaces a hierarchy speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Version {
    /// One hierarchy per controller.
    One,
    /// One for all.
    Two,
}

/// The group of one run: one directory in each hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    dirs: BTreeMap<PathBuf, Version>,
    memory: Option<(PathBuf, Version)>,
    cpu: Option<(PathBuf, Version)>,
    pids: Option<(PathBuf, Version)>,
    freezer: Option<PathBuf>,
    unified: Option<PathBuf>,
}

/// A step on a control group failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} control group '{}'", path.display())]
pub struct GroupError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The sandbox's own processes, which the job's cap is not to count: bubblewrap, the first process and its thread.
const OWN_PROCESSES: u64 = 3;
/// The period of the processor quota, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// The smallest quota the kernel takes, in microseconds.
const CPU_QUOTA_US_MIN: u64 = 1_000;
/// How long a killed group is given before it is looked at again, doubled up to [`EMPTY_WAIT_MAX`].
const EMPTY_WAIT: Duration = Duration::from_micros(500);
const EMPTY_WAIT_MAX: Duration = Duration::from_millis(50);
/// Most rounds of freeze and kill in one attempt.
const KILL_ROUNDS_MAX: u32 = 16;

impl Group {
    /// The group called `name` below `parent`, whether it exists or not.
    pub fn of(parent: &GroupParent, name: &str) -> Self {
        let at = |controller| {
            let (dir, version) = parent.controllers.get(&controller)?;
            Some((dir.join(name), *version))
        };
        let unified = parent.unified.as_ref().map(|dir| dir.join(name));
        let (memory, cpu, pids) = (at(Controller::Memory), at(Controller::Cpu), at(Controller::Pids));
        // Only to kill by; where the kernel kills a group itself, one hierarchy less makes a start faster.
        let freezer = at(Controller::Freezer).map(|(dir, _)| dir).filter(|_| unified.is_none());
        let mut dirs: BTreeMap<_, _> = [&memory, &cpu, &pids].into_iter().flatten().cloned().collect();
        dirs.extend(freezer.clone().map(|dir| (dir, Version::One)));
        dirs.extend(unified.clone().map(|dir| (dir, Version::Two)));
        Self { dirs, memory, cpu, pids, freezer, unified }
    }

    /// Makes the directories, where they are not there yet.
    pub fn make(&self) -> Result<(), GroupError> {
        for dir in self.dirs.keys() {
            fs::create_dir_all(dir).map_err(|source| GroupError { step: "create", path: dir.clone(), source })?;
        }
        Ok(())
    }

    /// Makes the directories and sets every cap that the hierarchies here can hold.
    pub fn create(&self, limits: &ResolvedLimits) -> Result<(), GroupError> {
        self.make()?;
        self.cap_memory(limits.memory_bytes.value)?;
        self.cap_cpu(limits.cpu_milli.value)?;
        if let Some((dir, _)) = &self.pids {
            set(dir, "pids.max", limits.processes.value.saturating_add(OWN_PROCESSES))?;
        }
        Ok(())
    }

    /// The files that a process writes `0` to in order to join; none where groups are not to be had.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.dirs.keys().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// How often the kernel killed for want of memory here.
    pub fn oom_kills(&self) -> u64 {
        let Some((dir, version)) = &self.memory else { return 0 };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether no process is left in any hierarchy.
    pub fn is_empty(&self) -> bool {
        self.dirs.keys().all(|dir| processes(dir).is_empty())
    }

    /// Kills every process once; they may take a moment to be gone.
    pub fn kill(&self) {
        let by_kernel = |dir: &PathBuf| fs::write(dir.join("cgroup.kill"), "1").is_ok();
        if !self.unified.as_ref().is_some_and(by_kernel) {
            self.freeze_and_kill();
        }
    }

    /// Kills until nothing is left. Returns only then: a process that the kernel cannot end yet is waited for.
    pub fn empty(&self) {
        let mut wait = EMPTY_WAIT;
        while !self.is_empty() {
            self.kill();
            std::thread::sleep(wait);
            wait = (wait * 2).min(EMPTY_WAIT_MAX);
        }
    }

    /// Removes the emptied group.
    pub fn remove(&self) -> Result<(), GroupError> {
        for dir in self.dirs.keys() {
            remove_dir(dir)?;
        }
        Ok(())
    }

    fn cap_memory(&self, bytes: u64) -> Result<(), GroupError> {
        match &self.memory {
            None => Ok(()),
            Some((dir, Version::One)) => {
                set(dir, "memory.limit_in_bytes", bytes)?;
                // Kernels without swap accounting lack the file; what is not there cannot be swapped to either.
                set_if_there(dir, "memory.memsw.limit_in_bytes", bytes)
            }
            Some((dir, Version::Two)) => {
                set(dir, "memory.max", bytes)?;
                set_if_there(dir, "memory.swap.max", 0)?;
                set_if_there(dir, "memory.oom.group", 1)
            }
        }
    }

    fn cap_cpu(&self, milli: u64) -> Result<(), GroupError> {
        let quota = (milli.saturating_mul(CPU_PERIOD_US) / 1000).max(CPU_QUOTA_US_MIN);
        match &self.cpu {
            None => Ok(()),
            Some((dir, Version::One)) => {
                set(dir, "cpu.cfs_period_us", CPU_PERIOD_US)?;
                set(dir, "cpu.cfs_quota_us", quota)
            }
            Some((dir, Version::Two)) => set(dir, "cpu.max", format_args!("{quota} {CPU_PERIOD_US}")),
        }
    }

    /// Without `cgroup.kill` a group that forks faster than it is read would never end, so it is stopped first.
    fn freeze_and_kill(&self) {
        self.freeze(Frozen::Yes);
        for _ in 0..KILL_ROUNDS_MAX {
            let pids: Vec<i32> = self.dirs.keys().flat_map(|dir| processes(dir)).collect();
            if pids.is_empty() {
                break;
            }
            for pid in pids.into_iter().filter_map(rustix::process::Pid::from_raw) {
                // A process that is gone meanwhile is what was wanted.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            // Frozen processes die only when they run again.
            self.freeze(Frozen::No);
            std::thread::yield_now();
        }
        self.freeze(Frozen::No);
    }

    fn freeze(&self, frozen: Frozen) {
        // A failure is seen by the caller: the group is then not empty and is killed again.
        if let Some(dir) = &self.freezer {
            let _ = fs::write(dir.join("freezer.state"), if frozen == Frozen::Yes { "FROZEN" } else { "THAWED" });
        }
        if let Some(dir) = &self.unified {
            let _ = fs::write(dir.join("cgroup.freeze"), if frozen == Frozen::Yes { "1" } else { "0" });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frozen {
    Yes,
    No,
}

fn processes(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn set(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), GroupError> {
    let path = dir.join(file);
    fs::write(&path, value.to_string()).map_err(|source| GroupError { step: "set a cap of", path, source })
}

fn set_if_there(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), GroupError> {
    if dir.join(file).exists() { set(dir, file, value) } else { Ok(()) }
}

/// An emptied group may stay busy for a moment while its last process is taken apart.
fn remove_dir(dir: &Path) -> Result<(), GroupError> {
    const TRIES_MAX: u32 = 200;
    let mut tries = 0;
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < TRIES_MAX => {
                tries += 1;
                std::thread::sleep(EMPTY_WAIT);
            }
            Err(source) => return Err(GroupError { step: "remove", path: dir.to_owned(), source }),
        }
    }
}

#[cfg(test)]
mod tests;

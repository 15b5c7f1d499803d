//! The files of a run directory that the supervisor and the daemon share: the request with what the daemon adds to
//! it, the record of the living supervisor, and the lock that says it lives.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cobs::id::RunId;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::clock::{self, BootNs};
use super::finished::write_durably;
use super::group::{Group, GroupParent};
use super::request::RunRequest;

/// The request's file in the run directory.
pub const REQUEST_FILE: &str = "request.json";
/// The record's file in the run directory.
pub const RECORD_FILE: &str = "record.json";
const LOCK_FILE: &str = "lock";

/// A request with what this machine adds to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    /// What is run.
    pub request: RunRequest,
    /// Where its control group goes.
    pub groups: GroupParent,
    /// The program.
    pub bubblewrap: PathBuf,
    /// Whom a supervisor that is root makes the job.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The boot in which it was asked for.
    pub boot_id: String,
}

/// Who supervises a run. Process ids come back; a boot and a start time do not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The kernel's id of the boot.
    pub boot_id: String,
    /// The supervisor.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// When it was ready.
    pub armed: BootNs,
}

impl Launch {
    pub fn write(&self, run_dir: &Path) -> io::Result<()> {
        write_durably(&run_dir.join(REQUEST_FILE), &serde_json::to_vec_pretty(self)?)
    }

    pub fn read(run_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(run_dir.join(REQUEST_FILE))?)?)
    }

    /// The control group of this run.
    pub fn group(&self) -> Group {
        Group::of(&self.groups, &group_name(&self.request.run))
    }
}

impl Record {
    /// Tells that the calling process supervises. Not synced: after a power cut the boot is another anyway.
    pub(super) fn write(run_dir: &Path) -> io::Result<()> {
        let pid = std::process::id();
        let start_ticks =
            clock::start_ticks(pid).ok_or_else(|| io::Error::other("/proc does not list this process"))?;
        let record = Self { boot_id: clock::boot_id()?, pid, start_ticks, armed: BootNs::now() };
        let partial = run_dir.join("record.partial");
        std::fs::write(&partial, serde_json::to_vec(&record)?)?;
        std::fs::rename(partial, run_dir.join(RECORD_FILE))
    }

    /// The record in `run_dir`; none while no supervisor was ready, and for what a power cut has torn: it was of another
    /// boot.
    pub fn read(run_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(run_dir.join(RECORD_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether that very process is alive.
    pub fn lives(&self) -> bool {
        let same_boot = clock::boot_id().is_ok_and(|boot| boot == self.boot_id);
        same_boot && clock::start_ticks(self.pid) == Some(self.start_ticks)
    }
}

/// What the control group of `run` is called.
pub(super) fn group_name(run: &RunId) -> String {
    format!("{}.{}", run.job, run.token)
}

/// Takes the lock of the run in `run_dir`; none while a supervisor has it. It is held until dropped, or death.
pub(super) fn lock(run_dir: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).open(run_dir.join(LOCK_FILE))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

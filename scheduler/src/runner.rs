//! Running a job: one contract for every way to do it, and the sandbox as its first.
//!
//! A runner never decides whether a job may run, and knows nothing of ledgers, leases or peers: it is given a
//! [`RunRequest`] with a deadline, and tells how the run ended. Each run has a supervisor process of its own that
//! outlives the daemon; daemon and supervisor meet in the run directory. All of it blocks: call it from a thread that
//! may.

mod artifacts;
mod bubblewrap;
pub mod clock;
pub mod finished;
pub mod group;
mod init;
mod inside;
mod launch;
mod life;
pub mod log;
pub mod measure;
pub mod request;
pub mod run;
pub mod sandbox;
mod seccomp;
mod smoke;
mod stage;
mod supervisor;
mod talk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cobs::job::spec::RunnerKind;
use serde::{Deserialize, Serialize};

use self::finished::Finished;
use self::request::{RequestError, RunRequest};
use self::run::{Adopted, Run, RunError};

pub use self::artifacts::{ARTIFACT_PATH_BYTES_MAX, ARTIFACTS_MAX};
pub use self::init::sandbox_init;
pub use self::launch::REQUEST_FILE;
pub use self::supervisor::supervise;
pub use self::talk::{Phase, Status, StopReason};

/// One way to run jobs.
///
/// Every run has a directory of its own, which the caller names, keeps and removes; what happens to a started run
/// is asked of its [`Run`]: `logs`, `wait`, `extend`, `stop`, `kill`. An implementation starts nothing that outlives
/// its supervisor, and says `Lost` only when nothing of the run is alive.
pub trait Runner {
    /// Which way.
    fn kind(&self) -> RunnerKind;

    /// Finds out by a run in `scratch` whether it works here. Takes up to some seconds; call it at start-up.
    fn probe(&self, scratch: &Path) -> Capability;

    /// Starts a run in `run_dir`, which is made if it is not there. When it returns, the request is durable and the
    /// supervisor armed; the command's first instruction is yet to come. A command that turns out not to be there is
    /// an outcome and no error.
    fn start(&self, run_dir: &Path, request: &RunRequest) -> Result<Run, StartError>;

    /// Takes up the run in `run_dir` after a restart.
    fn adopt(&self, run_dir: &Path) -> Result<Adopted, RunError>;

    /// Ends the run in `run_dir` however it stands, and returns when nothing of it is alive.
    fn reap(&self, run_dir: &Path) -> Result<Finished, RunError>;

    /// Ends whatever of this home is alive and belongs to none of `known`; gives the names of what it found. For
    /// runs whose directory is lost; call it at start-up, after adopting.
    fn reap_others(&self, known: &[Run]) -> Vec<String>;
}

/// What a runner can do here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Which runner.
    pub kind: RunnerKind,
    /// Why it cannot run anything; none if it can.
    pub unusable: Option<String>,
    /// How each limit is kept.
    pub limits: BTreeMap<LimitKind, Enforcement>,
}

/// The limits of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitKind {
    /// Thousandths of a core.
    CpuMilli,
    /// Memory.
    MemoryBytes,
    /// Processes and threads.
    Processes,
    /// Scratch space.
    DiskBytes,
    /// Wall-clock time.
    WallMs,
    /// Size of the log.
    LogBytes,
}

/// How a limit is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "level", rename_all = "camelCase")]
pub enum Enforcement {
    /// No job passes it.
    Strict,
    /// A job may pass it.
    BestEffort {
        /// Why it is not strict, and what is done instead.
        why: String,
    },
}

/// A run could not be started. Nothing of it is alive.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It asks for what no runner may do.
    #[error("the request is refused")]
    Request(#[from] RequestError),
    /// A strict limit that this machine cannot keep.
    #[error("limit {limit} cannot be enforced here: {why}")]
    NotEnforced {
        /// Which.
        limit: LimitKind,
        /// Why not.
        why: String,
    },
    /// Jobs would be root.
    #[error("jobs may not be run as root: set another user in the config")]
    Root,
    /// The run directory could not be made or written.
    #[error("run directory '{}' cannot be used", dir.display())]
    Io {
        /// The run directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor's program could not be run.
    #[error("the supervisor '{}' could not be started", program.display())]
    Supervisor {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor was started and never became ready.
    #[error("the supervisor did not become ready")]
    Run(#[source] RunError),
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CpuMilli => "cpuMilli",
            Self::MemoryBytes => "memoryBytes",
            Self::Processes => "processes",
            Self::DiskBytes => "diskBytes",
            Self::WallMs => "wallMs",
            Self::LogBytes => "logBytes",
        })
    }
}

/// An error with all that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

//! How a run ended: the outcome file, the artifacts' manifest, and writing both so that they survive a crash.
//!
//! An outcome file exists only when nothing of the run is left alive, and is never changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use cobs::digest::Blob;
use cobs::id::RunId;
use cobs::job::outcome::RunOutcome;
use serde::{Deserialize, Serialize};

use super::clock::BootNs;
use super::log::LogEnd;

/// The outcome's file in the run directory.
pub const OUTCOME_FILE: &str = "outcome.json";
/// Where artifacts and their manifest lie in the run directory, each under its digest.
pub const ARTIFACTS_DIR: &str = "artifacts";
/// Longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// Holds the room for the outcome from the start, so that a disk that fills up cannot take it.
const RESERVE_FILE: &str = "outcome.reserve";
const RESERVE_BYTES: u64 = 32 << 10;

/// How a run ended, in full.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// Which run.
    pub run: RunId,
    /// How.
    pub outcome: RunOutcome,
    /// For people, where the outcome alone does not say it; at most [`REASON_BYTES_MAX`] bytes.
    pub reason: Option<String>,
    /// When the supervisor started.
    pub supervised: Option<BootNs>,
    /// When the command's first instruction ran; none if it never did.
    pub first_instruction: Option<BootNs>,
    /// When the command ended.
    pub ended: Option<BootNs>,
    /// The log; none if the run died without its supervisor.
    pub log: Option<LogEnd>,
    /// The manifest of the artifacts, itself stored by digest; none if no patterns were given.
    pub artifacts: Option<Blob>,
}

/// What was kept of a run's files. Its JSON is stored under its own digest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Ordered by path.
    pub artifacts: Vec<Artifact>,
}

/// One file that was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Relative to the work tree.
    pub path: String,
    /// Its content.
    #[serde(flatten)]
    pub blob: Blob,
    /// Whether its owner could execute it.
    pub executable: bool,
}

impl Finished {
    /// An end without log or artifacts.
    pub(super) fn bare(run: RunId, outcome: RunOutcome, reason: String) -> Self {
        Self {
            run,
            outcome,
            reason: Some(cut(reason)),
            supervised: None,
            first_instruction: None,
            ended: None,
            log: None,
            artifacts: None,
        }
    }

    /// Reads the outcome in `run_dir`; none while there is none.
    pub fn read(run_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(run_dir.join(OUTCOME_FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the outcome durably, in one step, into the room that [`reserve`] kept.
    pub(super) fn write(&self, run_dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let reserve = run_dir.join(RESERVE_FILE);
        let mut file = File::options().write(true).create(true).truncate(false).open(&reserve)?;
        file.write_all(&json)?;
        file.set_len(json.len() as u64)?;
        file.sync_all()?;
        fs::rename(&reserve, run_dir.join(OUTCOME_FILE))?;
        File::open(run_dir)?.sync_all()
    }
}

impl Manifest {
    /// Reads the manifest that `blob` names in `run_dir`.
    pub fn read(run_dir: &Path, blob: &Blob) -> io::Result<Self> {
        let bytes = fs::read(run_dir.join(ARTIFACTS_DIR).join(blob.digest.to_string()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Keeps room for the outcome.
pub(super) fn reserve(run_dir: &Path) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(run_dir.join(RESERVE_FILE))?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES) {
        // Not every file system can promise room.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

/// Writes `bytes` to `path` durably and in one step.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().expect("files of a run lie in its directory");
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(dir)?.sync_all()
}

/// A reason that fits.
pub(super) fn cut(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

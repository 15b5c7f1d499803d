//! How a run ended, how a job was settled, and the one word that people see for both.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, Term, TreeId};

/// How one run ended, on any runner. Wire form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum RunOutcome {
    /// The command ended by itself.
    Exited {
        /// 0 to 255.
        code: u8,
    },
    /// The command was ended by a signal that was not ours.
    Signalled {
        /// The signal's number.
        signal: u8,
    },
    /// The memory limit ended it.
    OutOfMemory,
    /// The wall-clock limit ended it.
    TimedOut,
    /// A cancel ended it; never retried.
    Cancelled,
    /// The command's first instruction was never reached.
    CouldNotStart,
    /// The run ended without leaving its outcome: its lease passed, or its machine or supervisor died.
    Lost,
    /// The node gives the grant back and the job did not end; another term may be granted at once.
    Released,
}

/// How a job was settled. Wire form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Settlement {
    /// The run of `term` that reported by operation `done` is the job's one effective run.
    Result {
        /// The term that ran.
        term: Term,
        /// The tree of its Done operation.
        done: TreeId,
    },
    /// Cancelled by its author or a delegate.
    Cancelled,
    /// The lease of `term` passed, no Done came, and no attempt is left.
    Lost {
        /// The last term granted.
        term: Term,
    },
    /// `start_within_ms` ran out before any confirmation or held grant.
    Expired,
    /// A later job of the same author names this one in `supersedes`.
    Superseded {
        /// That job.
        by: JobId,
    },
}

/// The one word that people see for the end of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The command exited with 0.
    Succeeded,
    /// It ran and did not succeed, or could not start.
    Failed,
    /// A cancel ended it.
    Cancelled,
    /// It did not start in time.
    Expired,
    /// It was granted and nothing came back.
    Lost,
    /// A later job replaced it.
    Superseded,
}

impl RunOutcome {
    /// The word for this outcome; none for [`RunOutcome::Released`], which ends no job.
    pub fn word(&self) -> Option<Outcome> {
        match self {
            Self::Exited { code: 0 } => Some(Outcome::Succeeded),
            Self::Exited { .. } | Self::Signalled { .. } | Self::OutOfMemory | Self::TimedOut | Self::CouldNotStart => {
                Some(Outcome::Failed)
            }
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::Lost => Some(Outcome::Lost),
            Self::Released => None,
        }
    }

    /// The exit code of `rhizome run` for this outcome: the command's own, 128 + signal, 124 for a timeout, 125 for
    /// what never gave a result. Out of memory reads as the kernel's SIGKILL, 137.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited { code } => *code,
            Self::Signalled { signal } => 128u8.saturating_add(*signal),
            Self::OutOfMemory => 137,
            Self::TimedOut => 124,
            Self::Cancelled | Self::CouldNotStart | Self::Lost | Self::Released => 125,
        }
    }
}

//! What the writer is asked for.

use radicle_oid::Oid;

use crate::id::{JobId, RepoId};
use crate::job::action::{Action, Create};
use crate::peer::PeerRecord;

/// Something to be written.
#[derive(Clone, Debug)]
pub enum Draft {
    /// A new job.
    Create {
        /// Where.
        ledger: RepoId,
        /// Its root.
        create: Box<Create>,
    },
    /// An operation on a job; the writer sets its sequence number.
    Append {
        /// Where.
        ledger: RepoId,
        /// The job, which the action must name.
        job: JobId,
        /// What it says.
        action: Action,
        /// How soon peers should hear of it.
        urgency: Urgency,
    },
    /// This node's peer record, in place of the last one.
    PeerRecord {
        /// Where.
        ledger: RepoId,
        /// The record.
        record: PeerRecord,
    },
    /// Moves this node's live references of finished jobs into its archive; of more than
    /// [`crate::adapter::archive::ARCHIVE_JOBS_MAX`] the first.
    Archive {
        /// Where.
        ledger: RepoId,
        /// The jobs; one without a live reference is passed over.
        jobs: Vec<JobId>,
    },
    /// Takes back what a peer holds of this node and this home has lost; afterwards the ledger is open again.
    Recover {
        /// Where.
        ledger: RepoId,
        /// The signature over this node's references that the peer holds. Its objects are here.
        head: Oid,
    },
    /// Signs and announces what is stored and not signed: at start, and after another process signed.
    Publish {
        /// Where.
        ledger: RepoId,
    },
}

/// How soon peers should hear of what is written. Each announcement makes every peer fetch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// With the next announcement, or in a moment when there is none.
    Soon,
    /// At once.
    Now,
}

impl Draft {
    /// What it is called in the wire form, or here.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Append { action, .. } => action.name(),
            Self::PeerRecord { .. } => "record",
            Self::Archive { .. } => "archive",
            Self::Recover { .. } => "recover",
            Self::Publish { .. } => "publish",
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        match self {
            Self::Append { urgency, .. } => *urgency,
            // it says nothing new
            Self::Archive { .. } => Urgency::Soon,
            Self::Create { .. } | Self::PeerRecord { .. } | Self::Recover { .. } | Self::Publish { .. } => Urgency::Now,
        }
    }
}

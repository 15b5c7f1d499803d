//! Where a change is: the wire form of the answer, for a job and for all that is pending.

use serde::{Deserialize, Serialize};

use cobs::id::{JobId, NodeId, Oid, RepoId, Seq};

/// Whether a change has come so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// Nobody here knows.
    Unknown,
    /// It need not.
    NotNeeded,
}

/// Where the objects of a job are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReplication {
    /// The job.
    pub id: JobId,
    /// Its ledger.
    pub ledger: RepoId,
    /// When this was so; RFC 3339 UTC.
    pub at: String,
    /// Each of its objects.
    pub objects: Vec<ObjectReplication>,
}

/// What an object of a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// The operations that one node wrote.
    Operations,
    /// The commit of its source.
    Source,
    /// An input.
    Input,
    /// The log of a run.
    Log,
    /// What a run left.
    Artifacts,
}

/// Where one object of a job is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReplication {
    /// What it is.
    pub kind: ObjectKind,
    /// Which one, for people.
    pub name: String,
    /// Whose it is: the author of operations, the node of a run.
    pub author: NodeId,
    /// The operations, in their author's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationName>,
    /// Where they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tips: Vec<Oid>,
    /// Whether this node has it.
    pub here: bool,
    /// Whether this node has signed it; of this node's own operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// When this node announced the signed references that bring it; of this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<String>,
    /// Each peer that should have it.
    pub peers: Vec<PeerCopy>,
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperationName {
    /// Its number among its author's.
    pub seq: Seq,
    /// Its action; `unreadable` when it is none.
    pub action: String,
}

/// How far one peer has an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerCopy {
    /// The peer.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// Whether this node has told it; of this node's own.
    pub announced: Step,
    /// Whether its storage has it.
    pub fetched: Step,
    /// Whether its daemon has evaluated it.
    pub seen: Step,
    /// When that was so, if not just now; RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Why it is not further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What this node has written and not every peer has seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingChanges {
    /// When this was so; RFC 3339 UTC.
    pub at: String,
    /// By ledger.
    pub ledgers: Vec<PendingLedger>,
}

/// What of this node's own is pending in one ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingLedger {
    /// The ledger.
    pub ledger: RepoId,
    /// When this node last announced its signed references there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<String>,
    /// What no peer has seen, as far as it is known.
    pub unseen: Vec<Change>,
    /// How many more there are.
    pub unseen_more: usize,
    /// What each peer has not seen.
    pub peers: Vec<PendingPeer>,
}

/// What one peer has not seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingPeer {
    /// The peer.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// When that was so, if not just now; RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Why it is not further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// Each of them.
    pub changes: Vec<Change>,
    /// How many more there are.
    pub more: usize,
}

/// What a change is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// A job.
    Job,
    /// The archive of finished jobs.
    Archive,
    /// What this node says of itself.
    PeerRecord,
    /// Who belongs to the ledger.
    Identity,
    /// Anything else that was written there.
    Other,
}

/// One reference of this node that has changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What it is of.
    pub kind: ChangeKind,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Which one, for people: a job's title, or the name of the reference.
    pub name: String,
    /// Whether it is signed.
    pub signed: bool,
    /// Whether this node has announced it.
    pub announced: Step,
    /// Whether the peer's storage has it.
    pub fetched: Step,
    /// Whether the peer's daemon has read it.
    pub seen: Step,
}

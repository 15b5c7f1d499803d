//! What operations take and give. Wire form of the API; the command line prints the same with `--json`.

mod arbitration;
mod context;
mod explain;
mod node;
mod stream;
mod why;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use cobs::digest::{Blob, Digest};
use cobs::id::{JobId, NodeId, RepoId, RunId};
use cobs::job::action::GrantKind;
use cobs::job::outcome::{Outcome, RunOutcome};
use cobs::job::spec::{Limits, Mode, Requirements, Retry};
use cobs::job::state::{Job, Status};

pub use self::arbitration::{HandOver, TakeOver};
pub use self::context::{
    ContextQuery, ContextWish, Coverage, Ingest, Ingested, LinkShown, LinksQuery, NoteLinks, NotePatch, NoteQuery,
    NoteRename, NoteStatus, NoteText, OtherStatus, SearchQuery, VaultStatus, VaultStatusQuery,
};
pub use self::explain::{Explain, ExplainNode};
pub use self::node::{
    Addresses, Arbiter, AuditEntry, AuditQuery, ConfigValue, Health, HealthDetail, Invitation, Invite, Join, Joined,
    LedgerStatus, Peer, PeerChange, RadicleNode, Recovered, Removed, TokenCreate, TokenCreated, TokenInfo,
};
pub use self::stream::{LogPiece, StreamKind, StreamMessage, StreamStatus};
pub use self::why::{
    Change, ChangeKind, JobReplication, ObjectKind, ObjectReplication, OperationName, PeerCopy, PendingChanges,
    PendingLedger, PendingPeer, Step,
};
pub use crate::store::peers::Grant as PeerGrant;

/// A job to be submitted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submit {
    /// Program and arguments.
    pub command: Vec<String>,
    /// One line for people.
    #[serde(default)]
    pub title: Option<String>,
    /// More for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Added to the sandbox's clean environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Where it starts, relative to the work tree.
    #[serde(default)]
    pub working_directory: Option<String>,
    /// What the work tree holds; an empty directory without.
    #[serde(default)]
    pub source: Option<SubmitSource>,
    /// Input files, uploaded before.
    #[serde(default)]
    pub inputs: Vec<cobs::job::spec::Input>,
    /// Patterns of the files kept.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Caps.
    #[serde(default)]
    pub limits: Limits,
    /// What a node must have.
    #[serde(default)]
    pub requirements: Requirements,
    /// How many terms may run.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// When and where another attempt is made.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// Settled as expired when it has not started within this time.
    #[serde(default)]
    pub start_within_ms: Option<u64>,
    /// Earlier jobs that it replaces.
    #[serde(default)]
    pub supersedes: Vec<JobId>,
    /// A context pack out of this node's vault, for the job to read; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextWish>,
    /// The queue; `default` without.
    #[serde(default)]
    pub queue: Option<String>,
    /// Whether another node may run it without a grant.
    #[serde(default)]
    pub mode: Mode,
    /// A node id, alias or label: the only nodes that may run it.
    #[serde(default)]
    pub on: Option<String>,
    /// A node id or alias: who decides.
    #[serde(default)]
    pub arbiter: Option<String>,
    /// Node ids or aliases: to whom it may hand over, in this order.
    #[serde(default)]
    pub standby: Vec<String>,
    /// Whether another node than the arbiter may be granted it without a lease: it starts without a confirmation, and only
    /// its report, a cancel or a takeover ends the term.
    #[serde(default)]
    pub held_allowed: bool,
    /// Whether it stays on this node.
    #[serde(default)]
    pub privacy: cobs::job::spec::Privacy,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// For people and filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The ledger; the default one without.
    #[serde(default)]
    pub ledger: Option<RepoId>,
    /// How the first grant is made.
    #[serde(default)]
    pub first_grant: FirstGrant,
}

/// How the first grant of a job is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FirstGrant {
    /// In the root operation when the author decides and knows its peers' capacity.
    #[default]
    Auto,
    /// Always by bids.
    Bids,
}

/// Where a job's work tree comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum SubmitSource {
    /// A Radicle repository of this node.
    #[serde(rename_all = "camelCase")]
    Repository {
        /// Its id.
        repo: RepoId,
        /// A revision; the canonical head without.
        #[serde(default)]
        commit: Option<String>,
    },
    /// A git repository on this machine; for the owner alone.
    #[serde(rename_all = "camelCase")]
    Path {
        /// A path in its work tree.
        path: String,
        /// A revision; HEAD without.
        #[serde(default)]
        commit: Option<String>,
        /// What is done about changes that no commit holds.
        #[serde(default)]
        dirty: Dirty,
        /// What is done when it has no Radicle identity.
        #[serde(default)]
        publish: Publish,
    },
}

/// What is done about changes that no commit holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dirty {
    /// The job is refused.
    #[default]
    Refuse,
    /// They become a commit that only the job sees.
    Snapshot,
    /// The commit is taken without them.
    Ignore,
}

/// What is done when a repository has no Radicle identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Publish {
    /// The job is refused.
    #[default]
    Refuse,
    /// It is published privately to the members of the ledger.
    Private,
}

/// The answer to a submit: durable here, whatever the network does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The job.
    pub id: JobId,
    /// The ledger it is in.
    pub ledger: RepoId,
    /// The source that was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<cobs::job::spec::Source>,
    /// To whom the root grants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<NodeId>,
    /// Whether an earlier call with the same idempotency key made it.
    #[serde(default)]
    pub replayed: bool,
}

/// One job in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSummary {
    /// The job.
    pub id: JobId,
    /// Its ledger.
    pub ledger: RepoId,
    /// Its title, or its command.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// The word for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Its queue.
    pub queue: String,
    /// Who submitted it.
    pub author: NodeId,
    /// Who holds its highest grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// RFC 3339 UTC, as its author's clock told.
    pub created_at: String,
    /// When this node saw its last change.
    pub updated_at: String,
}

/// One job with all that is known of it here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// As in a list.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Why it stands where it stands.
    pub waits_for: String,
    /// Whether it runs: here, or by the link where this node is its arbiter. Elsewhere a run shows as granted.
    pub running: bool,
    /// The exit code of `rhizome run`, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// How its effective, or else its newest, run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_outcome: Option<RunOutcome>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A log that can be read here without its executor.
    pub log_is_local: bool,
    /// Its whole state.
    pub state: Job,
}

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// For the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which jobs to list; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobQuery {
    /// Only these.
    #[serde(default)]
    pub status: Option<Status>,
    /// Only these.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// Only this queue.
    #[serde(default)]
    pub queue: Option<String>,
    /// Only this author's.
    #[serde(default)]
    pub author: Option<NodeId>,
    /// Those of this ledger; of the default one without.
    #[serde(default)]
    pub ledger: Option<RepoId>,
    /// 1 to 500; 100 without.
    #[serde(default)]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// One run of this node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// The run.
    pub run: RunId,
    /// The runner's kind.
    pub runner: cobs::job::spec::RunnerKind,
    /// Leased or held.
    pub kind: GrantKind,
    /// `waiting`, `running` or `finished`.
    pub phase: String,
    /// RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Milliseconds of lease left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<u64>,
}

/// End a run here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evict {
    /// The job, or a unique prefix.
    pub id: String,
    /// Between the polite signal and the kill; 0 to 600,000, 10,000 without.
    #[serde(default)]
    pub grace_ms: Option<u64>,
}

/// Ask for the end of a job.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// The files that a job left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifacts {
    /// Each of them.
    pub files: Vec<Artifact>,
}

/// One file that a job left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to the work tree.
    pub path: String,
    /// SHA-256 of its content.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// An uploaded input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uploaded {
    /// What was stored.
    #[serde(flatten)]
    pub blob: Blob,
}

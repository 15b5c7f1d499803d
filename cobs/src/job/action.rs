//! The eight actions of a job object, in their final wire form, and their strict reading.
//!
//! An operation holds one action. Radicle signs only an operation's tree, so every action after the root names its
//! job and a sequence number of its author: a signed tree that is copied below another job means nothing there.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::JOB_VERSION;
use crate::canonical;
use crate::digest::Blob;
use crate::id::{Epoch, JobId, NodeId, Seq, Term, Token};
use crate::job::outcome::{RunOutcome, Settlement};
use crate::job::spec::{Mode, Spec};
use crate::job::spelling::{self, foreign};

/// Most bytes of one action.
pub const ACTION_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a log tail in a Done.
pub const TAIL_BYTES_MAX: usize = 4096;
/// Most bytes of a reason in a bid, a Done, a Cancel or a Takeover.
pub const REASON_BYTES_MAX: usize = 1024;
/// Most nodes in `arbiters`.
pub const ARBITERS_MAX: usize = 8;
/// Most nodes in `workers`.
pub const WORKERS_MAX: usize = 64;
/// Shortest and longest lease, in milliseconds.
pub const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;
/// Hex digits of a root's nonce.
pub const NONCE_DIGITS: usize = 32;

/// One action of a job object. Wire form: JSON with the action's name in `type`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Action {
    /// The root: what is asked, who decides, who may run it.
    Create(Box<Create>),
    /// A listed worker can run it. No effect by itself.
    Bid(Bid),
    /// The arbiter gives a term to a node.
    Grant(Grant),
    /// The node granted a token says how its run ended.
    Done(Done),
    /// The arbiter's final word.
    Settle(Settle),
    /// The author or a delegate asks for the end.
    Cancel(Cancel),
    /// The arbiter hands over to a later one of `arbiters`.
    StepDown(StepDown),
    /// A delegate replaces a dead arbiter by force.
    Takeover(Takeover),
}

/// The content of a root operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Create {
    /// [`JOB_VERSION`]; a node neither bids on nor arbitrates another.
    pub version: u32,
    /// What is asked.
    pub spec: Spec,
    /// [`NONCE_DIGITS`] random hex digits: equal content in one second would be one object.
    pub nonce: String,
    /// The queue it stands in; nodes name those they serve.
    pub queue: String,
    /// Whether a second node may run it without a grant.
    #[serde(default)]
    pub mode: Mode,
    /// Who decides, in the order of hand-over; 1 to [`ARBITERS_MAX`] different nodes.
    pub arbiters: Vec<NodeId>,
    /// Who may run it; 1 to [`WORKERS_MAX`] different nodes.
    pub workers: Vec<NodeId>,
    /// The first grant, term 1 of epoch 0, when the author is `arbiters[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<RootGrant>,
}

/// A grant inside a root operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootGrant {
    /// Who may run.
    pub node: NodeId,
    /// Leased or held.
    pub kind: GrantKind,
    /// The lease in milliseconds; of no effect when held.
    pub lease_ms: u64,
}

/// How a grant ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GrantKind {
    /// Starts only after a confirmation and ends at its lease.
    Leased,
    /// Needs no confirmation and never ends by time.
    Held,
}

/// A worker's offer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bid {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// 0 to 1000; higher is better.
    pub score: u32,
    /// Why that score.
    #[serde(default)]
    pub reason: String,
}

/// A term given to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// The arbiter's epoch.
    pub epoch: Epoch,
    /// The term; counted over all epochs.
    pub term: Term,
    /// Who may run.
    pub node: NodeId,
    /// Leased or held.
    pub kind: GrantKind,
    /// The lease in milliseconds; of no effect when held.
    pub lease_ms: u64,
}

/// A run's end, told by the node that was granted its token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// The token's epoch.
    pub epoch: Epoch,
    /// The token's term; 0 for a run that started by rank.
    pub term: Term,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it left, by digest; nothing for a private job.
    #[serde(default, skip_serializing_if = "Digests::is_empty", deserialize_with = "spelling::object")]
    pub digests: Digests,
    /// The end of its log, at most [`TAIL_BYTES_MAX`]; nothing for a private job.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tail: String,
    /// Why it ended so, where the outcome alone does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Milliseconds from the command's first instruction to its end, by the node's clock.
    #[serde(default)]
    pub duration_ms: u64,
}

/// What a run left, fetched from its node by digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Digests {
    /// The whole log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Blob>,
    /// The list of its artifacts with the digest of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Blob>,
}

/// The arbiter's final word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settle {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// The arbiter's epoch.
    pub epoch: Epoch,
    /// How it was settled.
    pub outcome: Settlement,
}

/// A wish for the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A hand-over by the arbiter itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepDown {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// The successor; stands later in `arbiters`.
    pub to: NodeId,
    /// The last term that counts of those granted so far.
    pub last: Term,
    /// That term was never confirmed, so no run of it can be alive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
}

/// A hand-over forced by a delegate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Takeover {
    /// The job.
    pub job: JobId,
    /// The author's sequence number.
    pub seq: Seq,
    /// The epoch that it opens.
    pub epoch: Epoch,
    /// The successor; any member.
    pub to: NodeId,
    /// The last term that counts of those granted so far.
    pub last: Term,
    /// A held term that is given up, outside P2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<Term>,
    /// The longest lease that the dead arbiter may have granted, in milliseconds, by the word of who forces the
    /// hand-over; the longest there is without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// Why the bytes of an operation are no action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum ActionError {
    /// More than [`ACTION_BYTES_MAX`].
    #[error("the action has {bytes} bytes; at most {ACTION_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not JSON of a known action.
    #[error("the action is malformed: {message}")]
    Malformed {
        /// What the reader said.
        message: String,
    },
    /// A root of a version that this build does not know.
    #[error("the job has version {version}; this build knows {JOB_VERSION}")]
    Version {
        /// Its version.
        version: u64,
    },
    /// A field breaks a bound of the wire form.
    #[error("the action's {field} is out of bounds")]
    Bounds {
        /// The field.
        field: &'static str,
    },
}

impl Action {
    /// Reads one action strictly; unknown fields are allowed, since `rad cob` adds a `parents` field.
    pub fn decode(bytes: &[u8]) -> Result<Self, ActionError> {
        if bytes.len() > ACTION_BYTES_MAX {
            return Err(ActionError::TooLarge { bytes: bytes.len() });
        }
        let malformed = |error: serde_json::Error| ActionError::Malformed { message: error.to_string() };
        let given: Value = serde_json::from_slice(bytes).map_err(malformed)?;
        // what a strange version holds is not for this build to judge
        if let (Some("create"), Some(version)) = (given["type"].as_str(), given["version"].as_u64())
            && version != u64::from(JOB_VERSION)
        {
            return Err(ActionError::Version { version });
        }
        // from the bytes, since a field that stands twice is refused
        let action: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        action.check()?;
        match foreign(&serde_json::to_value(&action).map_err(malformed)?, &given) {
            Some(value) => Err(ActionError::Malformed { message: format!("{value} has another spelling") }),
            None => Ok(action),
        }
    }

    /// The bytes written into the operation: canonical, so that equal actions are equal trees.
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// The job that the action names; none for a root.
    pub fn job(&self) -> Option<JobId> {
        self.addressed().map(|(job, _)| job)
    }

    /// The author's sequence number; a root is number 0.
    pub fn seq(&self) -> Seq {
        self.addressed().map_or(Seq(0), |(_, seq)| seq)
    }

    /// The same action under another sequence number; a root keeps its 0.
    pub fn with_seq(mut self, number: Seq) -> Self {
        match &mut self {
            Self::Create(_) => {}
            Self::Bid(Bid { seq, .. })
            | Self::Grant(Grant { seq, .. })
            | Self::Done(Done { seq, .. })
            | Self::Settle(Settle { seq, .. })
            | Self::Cancel(Cancel { seq, .. })
            | Self::StepDown(StepDown { seq, .. })
            | Self::Takeover(Takeover { seq, .. }) => *seq = number,
        }
        self
    }

    /// The action's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Bid(_) => "bid",
            Self::Grant(_) => "grant",
            Self::Done(_) => "done",
            Self::Settle(_) => "settle",
            Self::Cancel(_) => "cancel",
            Self::StepDown(_) => "stepDown",
            Self::Takeover(_) => "takeover",
        }
    }

    fn addressed(&self) -> Option<(JobId, Seq)> {
        match self {
            Self::Create(_) => None,
            Self::Bid(Bid { job, seq, .. })
            | Self::Grant(Grant { job, seq, .. })
            | Self::Done(Done { job, seq, .. })
            | Self::Settle(Settle { job, seq, .. })
            | Self::Cancel(Cancel { job, seq, .. })
            | Self::StepDown(StepDown { job, seq, .. })
            | Self::Takeover(Takeover { job, seq, .. }) => Some((*job, *seq)),
        }
    }
}

impl Digests {
    fn is_empty(&self) -> bool {
        self.log.is_none() && self.artifacts.is_none()
    }
}

impl Grant {
    /// Its token.
    pub fn token(&self) -> Token {
        Token { epoch: self.epoch, term: self.term }
    }
}

impl Done {
    /// Its token.
    pub fn token(&self) -> Token {
        Token { epoch: self.epoch, term: self.term }
    }
}

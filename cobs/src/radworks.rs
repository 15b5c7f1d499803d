//! `xyz.radworks.job`, by which Radicle's own tools show what was run at a commit: its three actions in the wire form of
//! `radicle-job` 0.6.0, and what of a job of ours is to be said in them.
//!
//! That crate pins another Radicle, so its types are written here again. It must not know storage.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::canonical;
use crate::id::{CommitId, JobId, NodeId, RepoId};
use crate::job::action::GrantKind;
use crate::job::outcome::{Outcome, RunOutcome, Settlement};
use crate::job::spec::{Privacy, Source};
use crate::job::state::Job;

/// The type name of the object.
pub const TYPE_NAME: &str = "xyz.radworks.job";
/// Most bytes of an action that are read.
pub const ACTION_BYTES_MAX: usize = 64 * 1024;

/// What a run's id is made from, besides the job's.
const RUN_OF: &[u8] = b"xyz.radworks.job run of io.rhizome.job ";
/// An action. Wire form; unknown fields are not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Runs at a commit are wanted: the first action of the object, whose commit has `oid` among its parents.
    Request {
        /// The commit.
        oid: CommitId,
    },
    /// The node that signs this has begun a run.
    Run {
        /// The run.
        uuid: RunUuid,
        /// Where more is told of it.
        log: String,
    },
    /// The run has ended; it counts only for a run that the same node has begun.
    Finished {
        /// The run.
        uuid: RunUuid,
        /// How; of several the last counts.
        reason: Reason,
    },
}

/// How a run ended: there are no more words for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// It did not succeed, whatever the reason.
    Failed,
    /// It succeeded.
    Succeeded,
}

/// A run of one node. Readers take any UUID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunUuid(String);

/// The runs of one node in an object, by what it has signed: how each ended, if it did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Runs(BTreeMap<RunUuid, Option<Reason>>);

/// How far a job is, in the words of this object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It has not run.
    Requested,
    /// A run of it may have begun.
    Started,
    /// It ran and is settled.
    Finished(Reason),
}

/// Who says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voice {
    /// The arbiter of the job's newest epoch.
    Arbiter,
    /// The arbiter of an earlier one: it ends what it said has begun, and begins nothing.
    Former,
}

/// What one node has to say of a job in its source repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The job.
    pub job: JobId,
    /// Where its objects are.
    pub ledger: RepoId,
    /// Who submitted it.
    pub author: NodeId,
    /// Where and of what it is said.
    pub source: Source,
    /// Who says it.
    pub voice: Voice,
    /// What.
    pub stage: Stage,
}

impl Action {
    /// The bytes stored.
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Reads an action; none for what is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What the operation's commit says to people, as `radicle-job` writes it.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Request { .. } => "Request job",
            Self::Run { .. } => "Run node job",
            Self::Finished { .. } => "Finished node job",
        }
    }
}

impl RunUuid {
    /// The one run of a job: the same at every node and after every restart, so that nothing is said twice. Version 8 of
    /// RFC 9562, from a digest of the job's id.
    pub fn of(job: JobId) -> Self {
        let digest = Sha256::new_with_prefix(RUN_OF).chain_update(job.to_string()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Self(parts.join("-"))
    }
}

impl fmt::Display for RunUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Runs {
    /// Takes in what the node signed next.
    pub fn apply(&mut self, action: Action) {
        match action {
            Action::Request { .. } => {}
            Action::Run { uuid, .. } => drop(self.0.entry(uuid).or_default()),
            Action::Finished { uuid, reason } => {
                if let Some(ended) = self.0.get_mut(&uuid) {
                    *ended = Some(reason);
                }
            }
        }
    }

    /// Whether there is such a run.
    pub fn contains(&self, run: &RunUuid) -> bool {
        self.0.contains_key(run)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Line {
    /// What `node` has to say of `job`; nothing of one without a source, of a private one, and of one that is never
    /// decided by it. `confirmed` says whether it may have confirmed a term of it over the link.
    pub fn of(job: &Job, ledger: RepoId, node: NodeId, confirmed: bool) -> Option<Self> {
        let source = job.create.spec.source.filter(|_| job.create.spec.privacy == Privacy::Shared)?;
        let decides = |opened: &crate::job::state::EpochOpened| opened.arbiter == node;
        let voice = match job.arbiter().1 == node {
            true => Voice::Arbiter,
            false if job.epochs.iter().any(decides) => Voice::Former,
            false => return None,
        };
        Some(Self { job: job.id, ledger, author: job.author, source, voice, stage: Stage::of(job, confirmed) })
    }

    /// The root of an object that this can be said in.
    pub fn request(&self) -> Action {
        Action::Request { oid: self.source.commit }
    }

    /// Whether it is worth an object of its own where there is none.
    pub fn founds(&self) -> bool {
        self.voice == Voice::Arbiter
    }

    /// What is missing from what the node has said already. Said again it is nothing.
    pub fn missing(&self, runs: &Runs) -> Vec<Action> {
        let uuid = RunUuid::of(self.job);
        let begun = runs.0.get(&uuid);
        let begins = begun.is_none() && self.voice == Voice::Arbiter && self.stage != Stage::Requested;
        let ended = match self.stage {
            Stage::Requested | Stage::Started => None,
            // a takeover by force may give the job another end than the one that was said
            Stage::Finished(reason) => (begins || begun.is_some_and(|ended| *ended != Some(reason))).then_some(reason),
        };
        let run = begins.then(|| Action::Run { uuid: uuid.clone(), log: self.log() });
        let finished = ended.map(|reason| Action::Finished { uuid, reason });
        run.into_iter().chain(finished).collect()
    }

    /// Where the job is: an address that names no machine, since its log is not for everyone who sees this.
    fn log(&self) -> String {
        // a repository's id has the scheme `rad:` before it
        format!("{}/{}", self.ledger, self.job)
    }
}

impl Stage {
    fn of(job: &Job, confirmed: bool) -> Self {
        let granted_held = job.grants.values().any(|granted| granted.kind == GrantKind::Held);
        let reported = job.dones.values().any(|report| report.outcome != RunOutcome::Released);
        let settled = job.settled.map(|settled| settled.outcome);
        let has_run = matches!(settled, Some(Settlement::Result { .. } | Settlement::Lost { .. }));
        if !(confirmed || granted_held || reported || !job.self_started.is_empty() || has_run) {
            return Self::Requested;
        }
        match job.outcome() {
            // not settled, or the report that the settle names is on its way
            None => Self::Started,
            Some(Outcome::Succeeded) => Self::Finished(Reason::Succeeded),
            Some(Outcome::Failed | Outcome::Cancelled | Outcome::Expired | Outcome::Lost | Outcome::Superseded) => {
                Self::Finished(Reason::Failed)
            }
        }
    }
}

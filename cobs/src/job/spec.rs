//! What a job asks for: the immutable content of its root operation. Wire form; integers with their unit in the
//! name, since Radicle's canonical JSON refuses floats.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{CommitId, JobId, RepoId};
use crate::job::spelling;

/// Most attempts a job may ask for.
pub const ATTEMPTS_MAX: u32 = 50;
/// Most input files of a job.
pub const INPUTS_MAX: usize = 256;
/// Most artifact patterns of a job.
pub const ARTIFACT_PATTERNS_MAX: usize = 64;

/// What to run, with what, within what limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// What is done; its `type` stands beside the other fields.
    #[serde(flatten)]
    pub work: Work,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// More for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Repository and commit whose work tree the job gets; an empty directory without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Files put into the work tree before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Patterns, relative to the work tree, of the files kept after the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// Caps on what the run may use.
    #[serde(default, skip_serializing_if = "Limits::is_empty", deserialize_with = "spelling::object")]
    pub limits: Limits,
    /// What a node must have.
    #[serde(default, skip_serializing_if = "Requirements::is_empty", deserialize_with = "spelling::object")]
    pub requirements: Requirements,
    /// How many terms may run, 1 to [`ATTEMPTS_MAX`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts: u32,
    /// When and where another attempt is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Whether a grant to another node may be held, that is without a lease.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held_allowed: bool,
    /// Settled as expired when it has not started within this time, in milliseconds on the arbiter's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// Earlier jobs of the same author that this one replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<JobId>,
    /// A context pack that travels as an input by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Digest>,
    /// How the job's calls of language models are routed and what they may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmUse>,
    /// W3C trace context of the submitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Who submitted it, as its author's node tells; unproved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    /// Higher goes first among jobs that wait on one node.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Who may see what the job reads and writes.
    #[serde(default, skip_serializing_if = "Privacy::is_shared", deserialize_with = "spelling::word")]
    pub privacy: Privacy,
    /// For people and filters; no meaning to the scheduler.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What is done, by kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Work {
    /// A command in the work tree.
    #[serde(rename_all = "camelCase")]
    Command {
        /// Program and arguments; never empty.
        command: Vec<String>,
        /// Added to the sandbox's clean environment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        environment: BTreeMap<String, String>,
        /// Where it starts, relative to the work tree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
    },
}

/// A commit of a Radicle repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The repository.
    pub repo: RepoId,
    /// The full commit.
    pub commit: CommitId,
}

/// An input file, fetched from the author's node by digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Where it is put, relative to the work tree.
    pub path: String,
    /// SHA-256 of its content.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// One cap: a value, and whether a node that cannot enforce it must refuse the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// In the unit of the field's name.
    pub value: u64,
    /// Strict, or best effort.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict: bool,
}

/// Caps on a run; an absent one is the node's default, best effort.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<Limit>,
    /// Memory, page cache of the scratch space included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<Limit>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Limit>,
    /// The work tree and temporary files together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<Limit>,
    /// Wall-clock time from the first instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<Limit>,
    /// Standard output and error together; beyond it a strict limit ends the run and another drops what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<Limit>,
}

/// What a node must have; an empty set asks for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// As `std::env::consts::ARCH` spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// As `std::env::consts::OS` spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Labels that the node's config must carry.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Runner kinds, any one of which will do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub runners: BTreeSet<RunnerKind>,
    /// Read-only directories that the node's config names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub directories: BTreeSet<String>,
    /// A graphics processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// What is asked of the graphics processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// How many.
    pub count: u32,
    /// Free memory of each.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub memory_bytes: u64,
}

/// The ways a node may run a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunnerKind {
    /// Namespaces, seccomp and control groups by bubblewrap.
    Sandbox,
    /// A container engine.
    Container,
    /// A Kubernetes pod.
    Pod,
    /// A virtual machine.
    Vm,
}

/// When and where another attempt is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Which node the next term goes to.
    #[serde(default)]
    pub place: RetryPlace,
    /// Wait before the second attempt, in milliseconds; doubled for each further one.
    #[serde(default)]
    pub backoff_ms: u64,
    /// The longest wait, in milliseconds.
    #[serde(default)]
    pub backoff_max_ms: u64,
    /// Exit codes worth another attempt; all but 0 when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exit_codes: BTreeSet<u8>,
}

/// Which node the next term goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryPlace {
    /// Whichever bids best.
    #[default]
    Any,
    /// The node that failed.
    SameNode,
    /// Another than the node that failed.
    OtherNode,
}

/// How the job's calls of language models are routed and what they may cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LlmUse {
    /// A policy of the node's router.
    pub policy: String,
    /// Most tokens, in and out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
    /// Most money, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
}

/// Who may see what a job reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Privacy {
    /// Members of the ledger.
    #[default]
    Shared,
    /// Its author's node alone: it runs there only, and no log tail or digest enters the ledger.
    Private,
}

/// Whether a second node may run the job without a grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Never on two nodes at once.
    #[default]
    Exclusive,
    /// May start by itself, by rank, while its arbiter is away.
    Idempotent,
}

impl Spec {
    /// A spec of `command` with everything else at its default.
    pub fn command(command: Vec<String>) -> Self {
        Self {
            work: Work::Command { command, environment: BTreeMap::new(), working_directory: None },
            title: None,
            description: None,
            source: None,
            inputs: Vec::new(),
            artifacts: Vec::new(),
            limits: Limits::default(),
            requirements: Requirements::default(),
            attempts: 1,
            retry: None,
            held_allowed: false,
            start_within_ms: None,
            supersedes: Vec::new(),
            context: None,
            llm: None,
            traceparent: None,
            submitted_by: None,
            priority: 0,
            privacy: Privacy::Shared,
            labels: BTreeMap::new(),
        }
    }
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Requirements {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Privacy {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

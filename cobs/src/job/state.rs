//! The state of a job: what its history means, as the scheduler, the view and people see it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{Epoch, JobId, NodeId, RevisionId, Seq, Term, Token, TreeId};
use crate::job::action::{Bid, Cancel, Create, Digests, GrantKind, StepDown, Takeover};
use crate::job::outcome::{Outcome, RunOutcome, Settlement};

/// A job as its history tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who wrote the root.
    pub author: NodeId,
    /// The identity revision by which authority is judged.
    pub pin: RevisionId,
    /// The root's content.
    pub create: Create,
    /// Each worker's newest bid.
    pub bids: BTreeMap<NodeId, Bid>,
    /// The arbiters so far, by epoch; never empty.
    pub epochs: Vec<EpochOpened>,
    /// The grants that count.
    #[serde(with = "pairs")]
    pub grants: BTreeMap<Token, Granted>,
    /// The reports of granted runs, each by the node granted.
    #[serde(with = "pairs")]
    pub dones: BTreeMap<Token, Report>,
    /// Reports of runs that started by rank, by epoch and node.
    #[serde(default, with = "pairs")]
    pub self_started: BTreeMap<(Epoch, NodeId), Report>,
    /// The wishes for its end.
    pub cancels: BTreeMap<NodeId, Cancel>,
    /// The settle that holds.
    pub settled: Option<Settled>,
    /// Settles of lower epochs and second settles of one epoch: alarms.
    pub other_settles: Vec<Settled>,
    /// The highest sequence number of each author, ignored operations included.
    pub last_seq: BTreeMap<NodeId, Seq>,
    /// Operations that mean nothing, by reason.
    pub ignored: BTreeMap<Ignored, u32>,
}

/// How an epoch came to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochOpened {
    /// The epoch.
    pub epoch: Epoch,
    /// Who decides in it.
    pub arbiter: NodeId,
    /// The last term that counts of the epochs before; 0 for epoch 0.
    pub last: Term,
    /// The operation that opened it; none for epoch 0.
    pub by: Option<HandOver>,
}

/// The operation that opened an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum HandOver {
    /// By the arbiter.
    StepDown(StepDown),
    /// By a delegate.
    Takeover(Takeover),
}

/// A grant that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// Who may run.
    pub node: NodeId,
    /// Leased or held.
    pub kind: GrantKind,
    /// The lease in milliseconds.
    pub lease_ms: u64,
}

/// A report that counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The tree of the Done, by which a settle names it.
    pub done: TreeId,
    /// Who ran.
    pub node: NodeId,
    /// The number of the Done among its author's operations.
    pub seq: Seq,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it left.
    pub digests: Digests,
    /// The end of its log.
    pub tail: String,
    /// Why it ended so.
    pub reason: String,
    /// Milliseconds it ran.
    pub duration_ms: u64,
}

/// A settle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// In which epoch.
    pub epoch: Epoch,
    /// By which operation.
    pub tree: TreeId,
    /// How.
    pub outcome: Settlement,
}

/// Where a job stands, as far as its history tells. `running` is known over the link only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waits for a grant.
    Queued,
    /// A node holds a grant and has not reported.
    Granted,
    /// A node has reported; the arbiter has not settled.
    Provisional,
    /// Final.
    Settled,
}

/// Why an operation means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ignored {
    /// No action, or one out of bounds.
    Malformed,
    /// Over the size of an action.
    TooLarge,
    /// More than one action.
    ManyActions,
    /// Names another job.
    WrongJob,
    /// A second root.
    SecondRoot,
    /// Its author has no part in the job.
    NotAdmitted,
    /// Its author used the sequence number for a smaller tree as well.
    SequenceReused,
    /// Beyond the last sequence number that counts.
    SequenceTooHigh,
    /// Pins no accepted revision.
    PinUnknown,
    /// Pins a revision older than the root's.
    PinTooOld,
    /// Only a listed worker may say this.
    NotWorker,
    /// Only the arbiter of the epoch may say this.
    NotArbiter,
    /// Only the author or a delegate may say this.
    NotDelegate,
    /// Only the node granted the token may say this.
    NotHolder,
    /// No grant with this token counts.
    NoGrant,
    /// Another grant or report holds this token.
    TokenTaken,
    /// A grant at or below the last term before its epoch, or above the last one that its epoch was left.
    TermOutOfRange,
    /// Held, and the node is not the arbiter, and the spec does not allow it.
    HeldNotAllowed,
    /// The hand-over goes to nobody who may take it.
    BadTarget,
    /// The epoch does not follow one that exists, or another operation opened it.
    BadEpoch,
    /// A step-down by an arbiter that had settled the job.
    AfterSettle,
    /// A term of 0 in a job that no node may start by itself.
    ModeForbids,
}

/// Why a root is no job.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoJob {
    /// The root is not a readable `create`.
    #[error("the root is no job: {0}")]
    Unreadable(String),
    /// The root has a version that this build does not know.
    #[error("the job has version {0}, which this build does not know")]
    Version(u64),
    /// The root pins no accepted revision of the ledger's identity.
    #[error("the root pins no accepted identity revision")]
    Pin,
    /// The root's grant is not the author's to give.
    #[error("the root grants what its author may not")]
    Grant,
}

impl Job {
    /// The arbiter of the newest epoch, and that epoch.
    pub fn arbiter(&self) -> (Epoch, NodeId) {
        let last = self.epochs.last().expect("epoch 0 is always there");
        (last.epoch, last.arbiter)
    }

    /// The arbiter of `epoch`.
    pub fn arbiter_of(&self, epoch: Epoch) -> Option<NodeId> {
        self.epochs.iter().find(|opened| opened.epoch == epoch).map(|opened| opened.arbiter)
    }

    /// The grant with the highest token.
    pub fn holder(&self) -> Option<(Token, &Granted)> {
        self.grants.last_key_value().map(|(token, granted)| (*token, granted))
    }

    /// The report that a settle would name: that of the highest token, unless it was given back or left no outcome; or
    /// else the one of the smallest rank among the runs that started by rank, under the token (epoch, 0).
    pub fn result(&self) -> Option<(Token, &Report)> {
        let granted = self.holder().and_then(|(token, _)| Some((token, self.dones.get(&token)?)));
        let granted = granted.filter(|(_, report)| report.outcome != RunOutcome::Released);
        let (lost, granted) = match granted {
            Some((_, report)) if report.outcome == RunOutcome::Lost => (granted, None),
            Some(_) | None => (None, granted),
        };
        granted.or_else(|| self.result_by_rank()).or(lost)
    }

    /// One that left no outcome is no result: another worker may still bring one.
    fn result_by_rank(&self) -> Option<(Token, &Report)> {
        let without = [RunOutcome::Released, RunOutcome::Lost];
        let counts = self.self_started.iter().filter(|(_, report)| !without.contains(&report.outcome));
        let (&(epoch, _), report) = counts.min_by_key(|((epoch, node), _)| (self.rank_key(*node), *epoch))?;
        Some((Token { epoch, term: Term(0) }, report))
    }

    /// The place of a worker in the order in which an idempotent job may start by itself: 0 is first. The order is that
    /// of the SHA-256 digests of the job id's 20 bytes followed by the node id's 32.
    pub fn rank(&self, node: NodeId) -> Option<usize> {
        let workers = &self.create.workers;
        let own = workers.contains(&node).then(|| self.rank_key(node))?;
        Some(workers.iter().filter(|worker| self.rank_key(**worker) < own).count())
    }

    fn rank_key(&self, node: NodeId) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(AsRef::<[u8]>::as_ref(&self.id.0));
        let key: &[u8; 32] = node.borrow();
        hasher.update(key);
        hasher.finalize().into()
    }

    /// The report that the settle names; none while it is on its way.
    pub fn settled_report(&self) -> Option<&Report> {
        let Settlement::Result { done, .. } = self.settled?.outcome else { return None };
        self.dones.values().chain(self.self_started.values()).find(|report| report.done == done)
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        if self.settled.is_some() {
            return Status::Settled;
        }
        if self.result().is_some() {
            return Status::Provisional;
        }
        match self.holder() {
            Some((token, _)) if !self.dones.contains_key(&token) => Status::Granted,
            Some(_) | None => Status::Queued,
        }
    }

    /// The word for its end; none while it is not settled, or its result is on its way.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.settled?.outcome {
            Settlement::Result { .. } => self.settled_report().and_then(|report| report.outcome.word()),
            Settlement::Cancelled => Some(Outcome::Cancelled),
            Settlement::Lost { .. } => Some(Outcome::Lost),
            Settlement::Expired => Some(Outcome::Expired),
            Settlement::Superseded { .. } => Some(Outcome::Superseded),
        }
    }

    /// Terms that ended with a report, other than those given back.
    pub fn attempts_used(&self) -> u32 {
        let reported = self.dones.values().filter(|report| report.outcome != RunOutcome::Released).count();
        u32::try_from(reported).unwrap_or(u32::MAX)
    }

    /// The bids that stand: those made after their author last gave a grant back.
    pub fn standing_bids(&self) -> impl Iterator<Item = (NodeId, &Bid)> {
        self.bids.iter().filter(|(node, bid)| !self.gave_back(**node, bid.seq)).map(|(node, bid)| (*node, bid))
    }

    fn gave_back(&self, node: NodeId, bid: Seq) -> bool {
        self.dones
            .values()
            .any(|report| report.node == node && report.outcome == RunOutcome::Released && report.seq > bid)
    }

    /// The longest lease among its leased grants, in milliseconds.
    pub fn longest_lease_ms(&self) -> Option<u64> {
        self.grants.values().filter(|granted| granted.kind == GrantKind::Leased).map(|granted| granted.lease_ms).max()
    }

    /// All who have a part in it by the root: author, arbiters, workers.
    pub fn named(&self) -> BTreeSet<NodeId> {
        let create = &self.create;
        [self.author].into_iter().chain(create.arbiters.iter().copied()).chain(create.workers.iter().copied()).collect()
    }
}

/// Maps with structured keys, as JSON arrays of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

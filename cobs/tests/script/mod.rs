//! What can be said of a job, honest and hostile, by a small cast of nodes. The tests of the fold give it made-up ids,
//! those of the storage real keys, trees and commits.

pub mod course;
pub mod garbage;
pub mod strategy;

use cobs::JOB_VERSION;
use cobs::id::{Epoch, JobId, NodeId, RevisionId, Seq, Term, TreeId};
use cobs::job::action::{
    ACTION_BYTES_MAX, Action, Bid, Cancel, Create, Digests, Done, Grant, GrantKind, RootGrant, Settle, StepDown,
    Takeover,
};
use cobs::job::history::{Content, Op, OpId};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Mode, Spec};

/// Writes the root, is its first arbiter, and a worker.
pub const AUTHOR: u8 = 1;
pub const WORKER1: u8 = 2;
pub const WORKER2: u8 = 3;
/// The second in `arbiters`, and no worker.
pub const ARBITER2: u8 = 4;
/// A delegate of every revision.
pub const DELEGATE: u8 = 5;
/// Has no part in anything.
pub const STRANGER: u8 = 6;
/// A delegate of the first revision only, which is older than the root's pin.
pub const FORMER: u8 = 7;
/// A delegate of the newest revision only.
pub const LATER: u8 = 8;

/// Everyone.
pub const NODES: [u8; 8] = [AUTHOR, WORKER1, WORKER2, ARBITER2, DELEGATE, STRANGER, FORMER, LATER];
/// Whose operations may count whatever happens.
pub const MEMBERS: [u8; 6] = [AUTHOR, WORKER1, WORKER2, ARBITER2, DELEGATE, LATER];

/// The revision that the root pins; 0 is older, 2 is later, and any other was never accepted.
pub const PINNED: u8 = 1;

/// The names of things where a script is played.
pub trait Cast {
    fn node(&self, seed: u8) -> NodeId;
    fn job(&self) -> JobId;
    fn other_job(&self) -> JobId;
    fn revision(&self, number: u8) -> RevisionId;
    /// The tree of an operation with these actions.
    fn tree(&self, actions: &[Vec<u8>]) -> TreeId;
}

/// What a root asks, as far as it changes what later operations mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct Root {
    pub idempotent: bool,
    pub held_allowed: bool,
    pub granted: bool,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Line {
    pub author: u8,
    pub pin: Option<u8>,
    pub body: Body,
}

/// What it holds.
#[derive(Clone, Debug)]
pub enum Body {
    /// An action on our job, or on another.
    Says { elsewhere: bool, seq: u32, say: Say },
    /// A second root.
    Root,
    /// As many actions.
    Many(u8),
    /// An action beyond its size.
    Large(u8),
    /// Bytes that are no action.
    Garbage(u8),
}

/// An action, without its job and number.
#[derive(Clone, Debug)]
pub enum Say {
    Bid { score: u32 },
    Grant { epoch: u32, term: u32, to: u8, held: bool },
    Done { epoch: u32, term: u32, outcome: RunOutcome },
    Settle { epoch: u32, how: How },
    Cancel,
    StepDown { epoch: u32, to: u8, last: u32 },
    Takeover { epoch: u32, to: u8, last: u32 },
}

/// A settlement; a result names the Done with this number and token.
#[derive(Clone, Debug)]
pub enum How {
    Result { seq: u32, epoch: u32, term: u32, outcome: RunOutcome },
    Cancelled,
    Lost(u32),
    Expired,
    Superseded,
}

impl Root {
    pub fn create(self, cast: &impl Cast, nonce: &str) -> Create {
        let node = cast.node(WORKER1);
        let mut spec = Spec::command(vec!["true".to_owned()]);
        spec.held_allowed = self.held_allowed;
        Create {
            version: JOB_VERSION,
            spec,
            nonce: nonce.to_owned(),
            queue: "default".to_owned(),
            mode: if self.idempotent { Mode::Idempotent } else { Mode::Exclusive },
            arbiters: [AUTHOR, ARBITER2].map(|seed| cast.node(seed)).to_vec(),
            workers: [AUTHOR, WORKER1, WORKER2].map(|seed| cast.node(seed)).to_vec(),
            grant: self.granted.then_some(RootGrant { node, kind: GrantKind::Leased, lease_ms: 30_000 }),
        }
    }
}

impl Line {
    /// The bytes of its actions; an honest operation has one.
    pub fn actions(&self, cast: &impl Cast) -> Vec<Vec<u8>> {
        match &self.body {
            Body::Says { elsewhere, seq, say } => {
                let job = if *elsewhere { cast.other_job() } else { cast.job() };
                vec![say.action(cast, job, *seq).encode()]
            }
            Body::Root => vec![Action::Create(Box::new(Root::default().create(cast, &"f".repeat(32)))).encode()],
            Body::Many(count) => {
                (0..u32::from(*count)).map(|score| Say::Bid { score }.action(cast, cast.job(), 1).encode()).collect()
            }
            Body::Large(salt) => {
                let mut bytes = Say::Cancel.action(cast, cast.job(), 1).encode();
                bytes.resize(ACTION_BYTES_MAX + 1 + usize::from(*salt), b' ');
                vec![bytes]
            }
            Body::Garbage(kind) => vec![garbage::bytes(*kind, cast)],
        }
    }

    /// The operation as a reader finds it.
    pub fn op(&self, cast: &impl Cast) -> Op {
        let actions = self.actions(cast);
        let content = match &actions[..] {
            [action] => Action::decode(action).map_or_else(Content::Unreadable, Content::Action),
            several => Content::Many(several.len()),
        };
        let id = OpId { author: cast.node(self.author), tree: cast.tree(&actions) };
        Op { id, pin: self.pin.map(|number| cast.revision(number)), content }
    }
}

impl Say {
    pub fn action(&self, cast: &impl Cast, job: JobId, seq: u32) -> Action {
        let seq = Seq(seq);
        match self.clone() {
            Self::Bid { score } => Action::Bid(Bid { job, seq, score, reason: String::new() }),
            Self::Grant { epoch, term, to, held } => {
                let (epoch, term, node) = (Epoch(epoch), Term(term), cast.node(to));
                let kind = if held { GrantKind::Held } else { GrantKind::Leased };
                Action::Grant(Grant { job, seq, epoch, term, node, kind, lease_ms: 30_000 })
            }
            Self::Done { epoch, term, outcome } => Action::Done(Done {
                job,
                seq,
                epoch: Epoch(epoch),
                term: Term(term),
                outcome,
                digests: Digests::default(),
                tail: String::new(),
                reason: String::new(),
                duration_ms: 1,
            }),
            Self::Settle { epoch, how } => {
                Action::Settle(Settle { job, seq, epoch: Epoch(epoch), outcome: how.settlement(cast) })
            }
            Self::Cancel => Action::Cancel(Cancel { job, seq, reason: "enough".to_owned() }),
            Self::StepDown { epoch, to, last } => {
                let (epoch, to, last) = (Epoch(epoch), cast.node(to), Term(last));
                Action::StepDown(StepDown { job, seq, epoch, to, last, unconfirmed: last.0.is_multiple_of(2) })
            }
            Self::Takeover { epoch, to, last } => {
                let (epoch, to, last, reason) = (Epoch(epoch), cast.node(to), Term(last), String::new());
                Action::Takeover(Takeover { job, seq, epoch, to, last, abandoned: None, lease_ms: None, reason })
            }
        }
    }
}

impl How {
    fn settlement(self, cast: &impl Cast) -> Settlement {
        match self {
            Self::Result { seq, epoch, term, outcome } => {
                let done = Say::Done { epoch, term, outcome }.action(cast, cast.job(), seq);
                Settlement::Result { term: Term(term), done: cast.tree(&[done.encode()]) }
            }
            Self::Cancelled => Settlement::Cancelled,
            Self::Lost(term) => Settlement::Lost { term: Term(term) },
            Self::Expired => Settlement::Expired,
            Self::Superseded => Settlement::Superseded { by: cast.other_job() },
        }
    }
}

//! A small cast for tests of the fold: six nodes, three identity revisions, one job, and short ways to write actions.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use cobs::id::{Epoch, JobId, NodeId, Oid, RevisionId, Seq, Term, TreeId};
use cobs::job::action::{Action, Bid, Cancel, Create, Digests, Done, Grant, GrantKind, Settle, StepDown, Takeover};
use cobs::job::fold::Identity;
use cobs::job::history::{Content, Op, OpId};
use cobs::job::outcome::{RunOutcome, Settlement};

use crate::script::{AUTHOR, Cast, DELEGATE, FORMER, LATER, PINNED, Root};

pub const JOB: JobId = JobId(Oid::Sha1([0xaa; 20]));
pub const OTHER_JOB: JobId = JobId(Oid::Sha1([0xbb; 20]));

pub fn node(seed: u8) -> NodeId {
    radicle_crypto::PublicKey::from([seed; 32])
}

pub fn revision(number: u8) -> RevisionId {
    RevisionId(Oid::from_sha1([number; 20]))
}

/// Revisions 0, 1 and 2; the root pins 1.
pub fn identity() -> Identity {
    let revisions = [(0, vec![DELEGATE, FORMER]), (1, vec![DELEGATE]), (2, vec![DELEGATE, LATER])];
    let accepted = revisions
        .into_iter()
        .map(|(number, delegates)| (revision(number), delegates.into_iter().map(node).collect::<BTreeSet<_>>()))
        .collect();
    Identity { accepted }
}

/// The names of the cast in the tests of the fold.
pub struct World;

impl Cast for World {
    fn node(&self, seed: u8) -> NodeId {
        node(seed)
    }

    fn job(&self) -> JobId {
        JOB
    }

    fn other_job(&self) -> JobId {
        OTHER_JOB
    }

    fn revision(&self, number: u8) -> RevisionId {
        revision(number)
    }

    fn tree(&self, actions: &[Vec<u8>]) -> TreeId {
        tree_of(actions)
    }
}

pub fn tree(action: &Action) -> TreeId {
    tree_of(&[action.encode()])
}

/// A tree id that is a function of the content, as git's is.
fn tree_of(actions: &[Vec<u8>]) -> TreeId {
    let mut bytes = [0; 20];
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (index, actions).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_be_bytes()[..chunk.len()]);
    }
    TreeId(Oid::from_sha1(bytes))
}

pub fn create() -> Create {
    Root::default().create(&World, &"0".repeat(32))
}

pub fn root() -> Op {
    root_of(create())
}

pub fn root_of(create: Create) -> Op {
    op(AUTHOR, Action::Create(Box::new(create)), Some(revision(PINNED)))
}

pub fn op(author: u8, action: Action, pin: Option<RevisionId>) -> Op {
    Op { id: OpId { author: node(author), tree: tree(&action) }, pin, content: Content::Action(action) }
}

/// An action on `job` under sequence number `seq`, about to be named.
pub fn act(job: JobId, seq: u32) -> Act {
    Act { job, seq: Seq(seq) }
}

#[derive(Clone, Copy)]
pub struct Act {
    job: JobId,
    seq: Seq,
}

impl Act {
    pub fn bid(self, score: u32) -> Action {
        Action::Bid(Bid { job: self.job, seq: self.seq, score, reason: String::new() })
    }

    pub fn grant(self, epoch: u32, term: u32, to: u8, kind: GrantKind) -> Action {
        let (epoch, term, node) = (Epoch(epoch), Term(term), node(to));
        Action::Grant(Grant { job: self.job, seq: self.seq, epoch, term, node, kind, lease_ms: 30_000 })
    }

    pub fn leased(self, epoch: u32, term: u32, to: u8) -> Action {
        self.grant(epoch, term, to, GrantKind::Leased)
    }

    pub fn done(self, epoch: u32, term: u32, outcome: RunOutcome) -> Action {
        Action::Done(Done {
            job: self.job,
            seq: self.seq,
            epoch: Epoch(epoch),
            term: Term(term),
            outcome,
            digests: Digests::default(),
            tail: String::new(),
            reason: String::new(),
            duration_ms: 1,
        })
    }

    pub fn settle(self, epoch: u32, outcome: Settlement) -> Action {
        Action::Settle(Settle { job: self.job, seq: self.seq, epoch: Epoch(epoch), outcome })
    }

    pub fn cancel(self, reason: &str) -> Action {
        Action::Cancel(Cancel { job: self.job, seq: self.seq, reason: reason.to_owned() })
    }

    pub fn step_down(self, epoch: u32, to: u8, last: u32) -> Action {
        let (epoch, to, last) = (Epoch(epoch), node(to), Term(last));
        Action::StepDown(StepDown { job: self.job, seq: self.seq, epoch, to, last, unconfirmed: false })
    }

    pub fn takeover(self, epoch: u32, to: u8, last: u32) -> Action {
        let (epoch, to, last, reason) = (Epoch(epoch), node(to), Term(last), String::new());
        Action::Takeover(Takeover {
            job: self.job,
            seq: self.seq,
            epoch,
            to,
            last,
            abandoned: None,
            lease_ms: None,
            reason,
        })
    }
}

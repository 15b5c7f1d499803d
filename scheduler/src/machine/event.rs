//! What goes into the machine and what comes out.

use std::collections::BTreeSet;
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::{Action, Digests};
use cobs::job::outcome::RunOutcome;
use cobs::job::state::Job;

use super::settings::Millis;
use super::wire::Message;
use crate::capacity::Capacity;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job's history changed, or is seen for the first time; it is durable in this node's storage.
    Job(Box<JobSeen>),
    /// The operation asked for by [`Effect::Sign`] is durable; the job's new state came before this.
    Signed {
        /// The job.
        job: JobId,
        /// Which of its operations.
        kind: Asked,
    },
    /// The operation asked for by [`Effect::Sign`] was not written and never will be; it is asked for again after a
    /// while. One that may yet turn up must not be told so: a second grant of its token could follow.
    NotSigned {
        /// The job.
        job: JobId,
        /// Which of its operations.
        kind: Asked,
    },
    /// The note asked for by [`Effect::Note`] is durable.
    Noted {
        /// The job.
        job: JobId,
        /// The token it is about.
        token: Token,
        /// What it says.
        note: Note,
    },
    /// A peer's message.
    Message {
        /// Who sent it, by its transport key.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The link to a peer is up.
    PeerUp {
        /// The peer.
        node: NodeId,
    },
    /// The link to a peer is down.
    PeerDown {
        /// The peer.
        node: NodeId,
    },
    /// What [`Effect::Prepare`] asked for is there.
    Prepared {
        /// The run.
        run: RunId,
    },
    /// What [`Effect::Prepare`] asked for cannot be had.
    NotPrepared {
        /// The run.
        run: RunId,
        /// `couldNotStart`, or `released` when it may be had later or elsewhere.
        outcome: RunOutcome,
        /// Why; told to people.
        reason: String,
    },
    /// A run that the last daemon left is still alive. Told at start, before any job: what is granted and runs already is
    /// not begun.
    Adopted {
        /// The run.
        run: RunId,
    },
    /// A run ended, whoever started it. Told again at start until its Done is durable.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        report: RunReport,
    },
    /// An operator wants a job off this node.
    Evict {
        /// The job.
        job: JobId,
        /// Time between the polite signal and the kill.
        grace: Millis,
    },
    /// An operator wants this node to hand a job over that it arbitrates.
    HandOver {
        /// The job.
        job: JobId,
        /// To whom: one that stands later in the job's list.
        to: NodeId,
    },
    /// What this node offers now.
    Capacity(Box<Capacity>),
    /// Whose jobs may run here.
    Admitted(BTreeSet<NodeId>),
    /// Whose jobs may name this node as their arbiter; jobs of others are not granted.
    Arbitrates(BTreeSet<NodeId>),
    /// Who may run this node's own jobs; a bid of anyone else is not granted.
    Workers(BTreeSet<NodeId>),
    /// Nothing but time.
    Tick,
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct JobSeen {
    /// Its state.
    pub job: Arc<Job>,
    /// When its root says it was written, in Unix milliseconds; for fairness in a queue and nothing else.
    pub created_ms: u64,
    /// Whether this is the scan at start, which holds every job that is not settled.
    pub origin: Origin,
    /// Tokens of the job about which this node has noted something, by what.
    pub notes: BTreeSet<(Note, Token)>,
    /// What was noted cannot be known: each term that is there may have been confirmed.
    pub unknown: bool,
    /// Its newest epoch is known from the link alone: who decides in it writes nothing before the operation that opened
    /// it is stored, since nobody else could make sense of it.
    pub shown: bool,
}

/// What an arbiter writes down about a token, so that its next life knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Note {
    /// It is never confirmed: another term may be granted at once. Durable before that grant.
    NeverConfirm,
    /// It may have been confirmed: a further term waits. Durable before the first confirmation.
    Confirmed,
}

/// Whether a job was there when the machine started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was: what this node confirmed before is forgotten.
    Start,
    /// It came later: what this node confirmed is remembered.
    Live,
}

/// How a run ended and what it left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunReport {
    /// How.
    pub outcome: RunOutcome,
    /// What it left.
    pub digests: Digests,
    /// The end of its log.
    pub tail: String,
    /// Why, where the outcome does not say.
    pub reason: String,
    /// Milliseconds it ran.
    pub duration_ms: u64,
}

/// What is to be done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Sign and store an operation; its sequence number is the writer's to set.
    Sign {
        /// The job.
        job: JobId,
        /// To be given back in [`Event::Signed`].
        kind: Asked,
        /// What to sign.
        action: Action,
        /// Why.
        why: String,
    },
    /// Write something down durably about a token; tried until it succeeds.
    Note {
        /// The job.
        job: JobId,
        /// The token.
        token: Token,
        /// What.
        note: Note,
    },
    /// Send a message over the link, now or never.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Fetch what the run needs.
    Prepare {
        /// The run.
        run: RunId,
    },
    /// Start the run, after a durable record that this token was started; ends at once as lost when there is one.
    Start {
        /// The run.
        run: RunId,
        /// When it dies, on the boot-time clock; none when held, or started by rank.
        deadline: Option<Millis>,
    },
    /// Let the run live longer.
    Extend {
        /// The run.
        run: RunId,
        /// The new deadline.
        deadline: Millis,
    },
    /// End the run: the polite signal now, the kill after the grace.
    Stop {
        /// The run.
        run: RunId,
        /// What its outcome shall say.
        reason: StopReason,
        /// Time between the two.
        grace: Millis,
    },
    /// Forget what was prepared for a run that will not start.
    Discard {
        /// The run.
        run: RunId,
    },
}

/// Why a run is ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// Its job was cancelled, or settled without it.
    Cancelled,
    /// A higher token was granted, or another arbiter took over.
    Replaced,
    /// An operator wants it off this node.
    Evicted,
}

/// The operations that the machine asks for; at most one of each kind is under way for a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asked {
    /// A bid.
    Bid,
    /// A grant.
    Grant,
    /// A Done.
    Done,
    /// A settle.
    Settle,
    /// A hand-over.
    StepDown,
}

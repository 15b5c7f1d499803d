//! What can happen in the simulated world.

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::Action;

use crate::machine::wire::Message;
use crate::machine::{Asked, Event, Note, RunReport};

/// What is cut between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cutting {
    pub link: bool,
    pub replication: bool,
}

/// What happens at a point of true time.
#[derive(Clone, Debug)]
pub enum Occur {
    /// For the machine of that life of the node.
    Event {
        node: NodeId,
        life: u32,
        event: Event,
    },
    Replicated {
        to: NodeId,
        author: NodeId,
        upto: usize,
    },
    Message {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    Durable {
        node: NodeId,
        life: u32,
        job: JobId,
        kind: Asked,
        action: Action,
    },
    Noted {
        node: NodeId,
        life: u32,
        job: JobId,
        token: Token,
        note: Note,
    },
    /// The supervisor looks at the deadline.
    KillCheck {
        node: NodeId,
        run: RunId,
    },
    RunEnds {
        node: NodeId,
        run: RunId,
        report: RunReport,
    },
    /// The arbiter of some run that is alive restarts and does not hear of it for a while.
    Sever,
    Crash {
        node: NodeId,
    },
    /// The machine loses its power: daemon and runs are gone, what was not synced as well.
    PowerLoss {
        node: NodeId,
    },
    /// The machine loses its disk, and goes on with a copy that knows the operations and nothing else.
    LoseState {
        node: NodeId,
    },
    /// The disk is full for so long: nothing can be signed, noted or started.
    Full {
        node: NodeId,
        lasts: u64,
    },
    /// A node does nothing for another any more, and lets it do nothing: it takes back what it granted.
    Distrust {
        node: NodeId,
        of: NodeId,
    },
    Trust {
        node: NodeId,
        of: NodeId,
    },
    /// The supervisor of some run dies, and its run with it.
    SupervisorDies,
    /// The arbiter of some run that is alive dies, and a delegate who may not know of that run's grant replaces it.
    Usurp,
    Boot {
        node: NodeId,
    },
    Leave {
        node: NodeId,
    },
    Cut {
        from: NodeId,
        to: NodeId,
        what: Cutting,
    },
    Heal {
        from: NodeId,
        to: NodeId,
    },
    Submit {
        job: JobId,
        author: NodeId,
        root: Action,
    },
    Cancel {
        job: JobId,
    },
    Evict {
        node: NodeId,
        job: JobId,
    },
    HandOver {
        job: JobId,
    },
    TakeOver {
        job: JobId,
    },
    Archive {
        node: NodeId,
    },
    Lie {
        from: NodeId,
        to: NodeId,
    },
    Forge {
        author: NodeId,
    },
}

impl Occur {
    pub const CUT_BOTH: Cutting = Cutting { link: true, replication: true };
    pub const CUT_LINK: Cutting = Cutting { link: true, replication: false };
    pub const CUT_REPLICATION: Cutting = Cutting { link: false, replication: true };
}

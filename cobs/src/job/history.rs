//! A set of operations below one root: what has arrived, as a join.
//!
//! Two histories of one root merge by set union, so the order, number and timing of arrivals leave no trace. What the
//! set means is [`crate::job::fold`].

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{JobId, NodeId, RevisionId, TreeId};
use crate::job::action::{Action, ActionError};

/// What one operation says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Its one action.
    Action(Action),
    /// It holds this many actions; an operation holds one.
    Many(usize),
    /// Its bytes are no action.
    Unreadable(ActionError),
}

/// Names an operation: its author and its signed tree. A commit id would not do, since anyone who copies the tree can
/// mint another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId {
    /// Whose signature the tree bears.
    pub author: NodeId,
    /// The tree.
    pub tree: TreeId,
}

/// One signed operation, as read from storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// Its name.
    pub id: OpId,
    /// The identity revision that its commit pins. The signature does not cover it.
    pub pin: Option<RevisionId>,
    /// What it says.
    pub content: Content,
}

/// An operation with all the pins under which copies of it were seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Every pin seen; any acceptable one will do.
    pub pins: BTreeSet<Option<RevisionId>>,
    /// What it says; a function of the tree.
    pub content: Content,
}

/// All operations known of one job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    pub(crate) job: JobId,
    pub(crate) root: Op,
    pub(crate) ops: BTreeMap<OpId, Entry>,
}

impl History {
    /// The history that holds only the root; `job` is the id of its commit, so its pin is the commit's own.
    pub fn new(job: JobId, root: Op) -> Self {
        Self { job, root, ops: BTreeMap::new() }
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The root's author.
    pub fn author(&self) -> NodeId {
        self.root.id.author
    }

    /// Adds an operation; adding it again, or a copy under another commit, changes nothing but its pins.
    pub fn insert(&mut self, op: Op) {
        if op.id == self.root.id {
            return;
        }
        let entry = self.ops.entry(op.id).or_insert_with(|| Entry { pins: BTreeSet::new(), content: op.content });
        entry.pins.insert(op.pin);
    }

    /// Adds all operations of another history of the same root.
    pub fn merge(&mut self, other: &Self) {
        for (id, entry) in &other.ops {
            for pin in &entry.pins {
                self.insert(Op { id: *id, pin: *pin, content: entry.content.clone() });
            }
        }
    }

    /// How many operations there are, the root included.
    pub fn len(&self) -> usize {
        self.ops.len() + 1
    }

    /// Each operation with what it says, the root first.
    pub fn operations(&self) -> impl Iterator<Item = (&OpId, &Content)> {
        let others = self.ops.iter().map(|(id, entry)| (id, &entry.content));
        std::iter::once((&self.root.id, &self.root.content)).chain(others)
    }

    /// Never true: a history has a root.
    pub fn is_empty(&self) -> bool {
        false
    }
}

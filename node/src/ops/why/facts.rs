//! What is known here of a ledger and of each peer before anybody is asked, and with it what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::adapter::repository;
use cobs::adapter::signed::{self, Refs};
use cobs::id::{NodeId, Oid, RepoId};

use super::reason::{Here, There};
use super::storage;
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::peering::copies::Told;
use crate::replication::Synced;

/// A ledger as this node has it.
pub struct Ledger {
    /// Who belongs to it.
    pub members: BTreeSet<NodeId>,
    /// The commit of this node's signed references.
    pub head: Option<Oid>,
    /// What that commit lists.
    pub signed: Refs,
    /// Radicle's book: how far each has them, and what this node announced.
    pub synced: BTreeMap<NodeId, Synced>,
    /// How this node stands to it.
    pub here: Here,
}

impl Ledger {
    /// Looks at the storage. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(node: &Arc<Node>, ledger: RepoId) -> Result<Self, Error> {
        let repository = repository::open(&node.home(), ledger).map_err(|error| storage(&error))?;
        let head = signed::head(&repository, &node.id).map_err(|error| storage(&error))?;
        let signed = head.map(|at| signed::listed(&repository, at)).transpose().map_err(|error| storage(&error))?;
        Ok(Self {
            members: node.members(ledger),
            head,
            signed: signed.flatten().unwrap_or_default(),
            synced: node.replication.synced(ledger).map_err(|error| storage(&error))?,
            here: Here {
                seeded: node.replication.seeds(ledger).unwrap_or(false),
                radicle_up: node.replication.is_running(),
            },
        })
    }

    /// How this node stands to a peer of the ledger. Blocks for a moment.
    pub fn there(&self, node: &Node, peer: NodeId, told: Option<Told>) -> There {
        There {
            member: self.members.contains(&peer),
            standing: node.state.peer(&peer).ok().flatten().map(|peer| peer.standing),
            unlinked: node.unlinked(peer),
            unreplicated: node.unreplicated(peer),
            told,
        }
    }
}

/// Runs what blocks, and gives what came of it.
///
/// # Errors
/// Its own, or when it panics.
pub async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Arc<Node>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let node = Arc::clone(node);
    let done = tokio::task::spawn_blocking(move || work(&node)).await;
    done.map_err(|error| Error::new(Code::Internal, error.to_string()))?
}

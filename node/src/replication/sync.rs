//! What Radicle's own book says: when we announced our references, and how far each peer told that it has them. The
//! book is on disk, so it knows of peers that are away, also after a restart.

use std::collections::BTreeMap;

use cobs::id::{NodeId, Oid, RepoId};
use radicle::node::SyncedAt;
use radicle::node::seed::Store as _;

use super::{Replication, ReplicationError, command};

/// A line of the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Synced {
    /// The commit of our signed references.
    pub at: Oid,
    /// When it was announced, in milliseconds since 1970 by the announcer's clock: by us, or by the peer that has it.
    pub since_ms: u64,
}

impl Replication {
    /// How far each node has our signed references of `rid`; the line of this node is what it announced itself.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn synced(&self, rid: RepoId) -> Result<BTreeMap<NodeId, Synced>, ReplicationError> {
        let home = self.home();
        let book = home.home.database(home.config.node.database).map_err(command("open its database"))?;
        let lines = book.seeds_for(&rid).map_err(command("read its database"))?;
        let mut synced = BTreeMap::new();
        for line in lines {
            let line = line.map_err(command("read its database"))?;
            let SyncedAt { oid, timestamp } = line.synced_at;
            synced.insert(line.nid, Synced { at: oid, since_ms: timestamp.as_millis() });
        }
        Ok(synced)
    }

    /// Whether this node takes part in the replication of `rid`.
    ///
    /// # Errors
    /// When the policies cannot be read.
    pub fn seeds(&self, rid: RepoId) -> Result<bool, ReplicationError> {
        self.is_seeded(rid)
    }
}

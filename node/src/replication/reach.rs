//! Peers by plain addresses, for callers that must not name Radicle's types.

use std::collections::BTreeSet;

use cobs::id::NodeId;

use super::peers::SessionStatus;
use super::{Reach, Replication, ReplicationError, lock};

impl Replication {
    /// The peers with a session.
    pub fn connected(&self) -> BTreeSet<NodeId> {
        let sessions = self.sessions().unwrap_or_default();
        sessions
            .iter()
            .filter(|session| session.status == SessionStatus::Connected)
            .map(|session| session.peer)
            .collect()
    }

    /// A peer may have gone: the node learns of a dead session now, and not by the next heartbeats, so that the peer finds
    /// no trace of itself when it comes back. Radicle would turn it away, and it would wait longer each time to dial again.
    pub fn doubt(&self) {
        self.pulse.doubt();
    }

    /// As [`Replication::connect_to`], for a `host:port`; nothing is done for a peer that is connected already.
    ///
    /// # Errors
    /// When the address is none, or the home cannot be written.
    pub fn connect_peer(&self, peer: NodeId, address: &str) -> Result<Reach, ReplicationError> {
        self.connect_to(peer, parsed(address)?)
    }

    /// Dials a peer that says where it listens. Nothing is written: its record tells the address to the next start.
    ///
    /// # Errors
    /// When the address is none, or the node cannot dial.
    pub fn redial_peer(&self, peer: NodeId, address: &str) -> Result<Reach, ReplicationError> {
        self.dial(peer, parsed(address)?)
    }

    /// Adds a peer that will dial us, by its `host:port`; it is dialled from the node's next start on.
    ///
    /// # Errors
    /// When the address is none, or the home cannot be written.
    pub fn expect_peer(&self, peer: NodeId, address: &str) -> Result<(), ReplicationError> {
        self.expect(peer, &parsed(address)?)
    }

    /// Makes room for a peer that dials us: its rate limits are lifted, which takes a restart where they were not.
    ///
    /// # Errors
    /// When the home cannot be written or the node not started.
    pub fn admit_peer(&self, peer: NodeId) -> Result<(), ReplicationError> {
        let changes = {
            let mut home = lock(&self.shared.home);
            let changes = home.plan_peer(peer, None);
            home.apply(&changes)?;
            changes
        };
        if changes.is_empty() { Ok(()) } else { self.reconfigured() }
    }
}

fn parsed(address: &str) -> Result<radicle::node::Address, ReplicationError> {
    address.parse().map_err(|error| ReplicationError::Command {
        action: "read the peer's address",
        source: format!("{address}: {error}").into(),
    })
}

//! The peers this node has met, and what each may do here. Local policy: nothing of it enters the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::state::State;
use super::{StoreError, UnixMs, decode, encode};

/// Node id to JSON of [`Peer`].
pub(super) const PEERS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("peers-v1");

/// What a peer may do here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grant {
    /// Read logs and artifacts.
    Read,
    /// Have its jobs run here.
    Submit,
    /// Run our jobs.
    Run,
    /// Name us as arbiter of its jobs.
    Arbitrate,
}

/// The text names no grant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is nothing a peer may be granted; there are read, submit, run and arbitrate")]
pub struct GrantError(String);

/// Whether a peer has been let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// A member of the ledger.
    Approved,
    /// It redeemed an invitation and waits for further delegates.
    Pending,
}

/// What is known of a peer, by its own signed record and our policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// What people call it.
    pub alias: Option<String>,
    /// The key its direct link must present; none until its record has been seen.
    pub transport_key: Option<TransportKey>,
    /// `host:port` of its direct link.
    pub link_addresses: Vec<String>,
    /// `host:port` of its Radicle node.
    pub radicle_addresses: Vec<String>,
    /// What it may do here.
    pub grants: BTreeSet<Grant>,
    /// When it was first written down.
    pub since: UnixMs,
    /// Whether it has been let in.
    pub standing: Standing,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Run => "run",
            Self::Arbitrate => "arbitrate",
        })
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read" => Ok(Self::Read),
            "submit" => Ok(Self::Submit),
            "run" => Ok(Self::Run),
            "arbitrate" => Ok(Self::Arbitrate),
            other => Err(GrantError(other.chars().take(80).collect())),
        }
    }
}

impl State {
    /// All peers, pending ones too.
    pub fn peers(&self) -> Result<BTreeMap<NodeId, Peer>, StoreError> {
        self.read(|txn| {
            let mut peers = BTreeMap::new();
            for entry in txn.open_table(PEERS)?.iter()? {
                let (node, peer) = entry?;
                peers.insert(NodeId::from(node.value()), decode("peers", peer.value())?);
            }
            Ok(peers)
        })
    }

    /// One peer.
    pub fn peer(&self, node: &NodeId) -> Result<Option<Peer>, StoreError> {
        self.read(|txn| {
            let peer = txn.open_table(PEERS)?.get(node.into_inner())?;
            peer.map(|peer| decode("peers", peer.value())).transpose()
        })
    }

    /// Writes a peer down, or anew.
    pub fn put_peer(&self, node: &NodeId, peer: &Peer) -> Result<(), StoreError> {
        self.write(|txn| {
            txn.open_table(PEERS)?.insert(node.into_inner(), encode(peer).as_slice())?;
            Ok(())
        })
    }

    /// Changes a known peer in one transaction and gives it as it is now; none when it is not known.
    pub fn update_peer(&self, node: &NodeId, change: impl FnOnce(&mut Peer)) -> Result<Option<Peer>, StoreError> {
        self.write(|txn| {
            let mut table = txn.open_table(PEERS)?;
            let known: Option<Peer> =
                table.get(node.into_inner())?.map(|peer| decode("peers", peer.value())).transpose()?;
            let Some(mut peer) = known else { return Ok(None) };
            change(&mut peer);
            table.insert(node.into_inner(), encode(&peer).as_slice())?;
            Ok(Some(peer))
        })
    }

    /// Forgets a peer and gives what was known of it.
    pub fn remove_peer(&self, node: &NodeId) -> Result<Option<Peer>, StoreError> {
        self.write(|txn| {
            let mut table = txn.open_table(PEERS)?;
            let peer = table.remove(node.into_inner())?;
            peer.map(|peer| decode("peers", peer.value())).transpose()
        })
    }
}

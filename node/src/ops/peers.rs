//! Peers: who they are, what each may do here, and how one comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use cobs::id::NodeId;

use super::Caller;
use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{Invitation, Invite, Join, Joined, Peer, PeerChange, PeerGrant, Removed};
use crate::node::Node;
use crate::pairing;
use crate::store::peers::Standing;

impl Node {
    /// All peers, approved and pending.
    ///
    /// # Errors
    /// For anyone but the owner.
    pub async fn peers(self: &Arc<Self>, caller: &Caller) -> Result<Vec<Peer>, Error> {
        caller.require_owner()?;
        Ok(self.peer_list())
    }

    /// All peers as they are shown.
    pub fn peer_list(&self) -> Vec<Peer> {
        let linked: BTreeSet<NodeId> =
            self.link().map(|link| link.sessions().iter().map(|session| session.node).collect()).unwrap_or_default();
        let replicating = self.replication.connected();
        let shown = |(node, peer): (NodeId, crate::store::peers::Peer)| Peer {
            node,
            alias: self.alias(&node),
            state: if peer.standing == Standing::Approved { "approved" } else { "pending" }.to_owned(),
            grants: peer.grants,
            transport_key: peer.transport_key,
            linked: linked.contains(&node),
            replicating: replicating.contains(&node),
            addresses: peer.link_addresses,
            capacity: self.peer_now(&node).map(|now| now.capacity),
        };
        self.peer_map().into_iter().map(shown).collect()
    }

    /// The peer that a text names: its id, its alias, or a unique beginning of its id.
    ///
    /// # Errors
    /// When it names none, or several.
    pub fn resolve_peer(&self, text: &str) -> Result<NodeId, Error> {
        if text == self.own_alias || text == self.id.to_string() {
            return Ok(self.id);
        }
        let peers = self.peer_map();
        let fits = |(node, peer): &(&NodeId, &crate::store::peers::Peer)| {
            peer.alias.as_deref() == Some(text)
                || node.to_string() == text
                || (text.len() >= 8 && node.to_string().starts_with(text))
        };
        let found: Vec<NodeId> = peers.iter().filter(fits).map(|(node, _)| *node).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(Error::new(Code::NotFound, format!("there is no peer '{text}'")).hint("see: rhizome peers")),
            _ => {
                Err(Error::new(Code::Ambiguous, format!("several peers are called '{text}'")).hint("give the node id"))
            }
        }
    }

    /// Changes what a peer may do here; granting anything approves a pending one.
    ///
    /// # Errors
    /// When there is no such peer, or for anyone but the owner.
    pub async fn change_peer(self: &Arc<Self>, caller: &Caller, peer: &str, change: PeerChange) -> Result<Peer, Error> {
        caller.require_owner()?;
        let id = self.resolve_peer(peer)?;
        let node = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let updated = node.state.update_peer(&id, |peer| {
                if !change.grant.is_empty() && peer.standing == Standing::Pending {
                    peer.standing = Standing::Approved;
                    peer.grants.insert(PeerGrant::Read);
                }
                peer.grants.extend(change.grant.iter().copied());
                peer.grants.retain(|grant| !change.revoke.contains(grant));
            });
            node.peers_changed();
            updated
        });
        let updated = done.await.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        updated.map_err(|error| storage(&error))?;
        crate::peering::tell_capacity(self, Some(id)).await;
        self.shown(&id)
    }

    fn shown(&self, id: &NodeId) -> Result<Peer, Error> {
        let peer = self.peer_list().into_iter().find(|peer| peer.node == *id);
        peer.ok_or_else(|| Error::new(Code::NotFound, format!("there is no peer '{id}'")))
    }

    /// Removes a peer: it fetches nothing more, its link is cut, and it is granted nothing. What it signed stays.
    ///
    /// # Errors
    /// When there is no such peer, or for anyone but the owner.
    pub async fn remove_peer(self: &Arc<Self>, caller: &Caller, peer: &str) -> Result<Removed, Error> {
        caller.require_owner()?;
        let id = self.resolve_peer(peer)?;
        let peer = self.shown(&id)?;
        let node = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || pairing::remove(&node, id));
        let stays_member_of = done.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
        Ok(Removed { peer, stays_member_of })
    }

    /// Makes a pairing link.
    ///
    /// # Errors
    /// When this node is no delegate of the ledger, or for anyone but the owner.
    pub async fn invite(self: &Arc<Self>, caller: &Caller, invite: Invite) -> Result<Invitation, Error> {
        caller.require_owner()?;
        let node = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || pairing::invite(&node, &invite));
        done.await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }

    /// Uses a pairing link.
    ///
    /// # Errors
    /// When the link is not good, the inviter cannot be reached or is another, or for anyone but the owner.
    pub async fn join(self: &Arc<Self>, caller: &Caller, join: Join) -> Result<Joined, Error> {
        caller.require_owner()?;
        pairing::join::join(self, join).await
    }

    /// After any change of the peers: the link, the machine and the submitter go by what holds now.
    pub fn peers_changed(&self) {
        let peers = pairing::link_peers(&self.peer_map());
        let authorized = peers.iter().map(|(node, peer)| (peer.key, *node)).collect();
        *self.authorized.write().unwrap_or_else(std::sync::PoisonError::into_inner) = authorized;
        if let Some(link) = self.link() {
            link.set_peers(peers);
        }
        self.tell_admitted();
    }
}

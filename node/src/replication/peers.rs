//! Peers of the running node: dial them, fetch from them, see who is there.
//!
//! It must not know what is fetched.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use cobs::id::{NodeId, RepoId};
use radicle::node::{Address, ConnectResult, FetchResult, Link, State};
use thiserror::Error;

use super::event::{self, FetchedRef};
use super::runtime::spawn;
use super::{Replication, ReplicationError, command, lock};
use cobs::adapter::profile::ConfigChange;

/// How much longer than the fetch's own timeout we wait for the node's answer.
const FETCH_GRACE_MS: u64 = 2_000;
/// How long dialling a peer may take before it is left to the node, which goes on trying.
const DIAL_TIMEOUT_MS: u64 = 5_000;

/// A peer that the node knows a session of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerSession {
    /// Who.
    pub peer: NodeId,
    /// Where, as `host:port`.
    pub address: String,
    /// Who dialled.
    pub dialled: Dialled,
    /// Whether it is up.
    pub status: SessionStatus,
}

/// Who dialled a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialled {
    /// We did.
    ByUs,
    /// The peer did.
    ByPeer,
}

/// Whether a session is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionStatus {
    /// Being dialled.
    Connecting,
    /// Up, as far as the node has noticed.
    Connected,
    /// Down; the node dials again by itself if the peer is in `connect`.
    Disconnected,
}

/// Whether a dialled peer was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It is connected.
    Connected,
    /// Not yet; the node goes on trying.
    Pending {
        /// What the first attempt met.
        reason: String,
    },
}

/// What a fetch brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The references that changed; none if we had everything.
    pub refs: Vec<FetchedRef>,
}

/// Why a fetch brought nothing.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No session with the peer is up.
    #[error("{peer} is not connected")]
    NotConnected {
        /// The peer.
        peer: NodeId,
    },
    /// We do not take part in the repository's replication: seed it first.
    #[error("repository {0} is not seeded here")]
    NotSeeded(RepoId),
    /// The peer did not serve it: it has no such repository, or does not let us fetch it. It does not say which.
    #[error("{peer} does not serve repository {rid} to us: {reason}")]
    Refused {
        /// The peer.
        peer: NodeId,
        /// The repository.
        rid: RepoId,
        /// Radicle's words.
        reason: String,
    },
    /// No answer in time.
    #[error("fetching {rid} from {peer} took longer than {timeout_ms} ms")]
    TimedOut {
        /// The peer.
        peer: NodeId,
        /// The repository.
        rid: RepoId,
        /// The limit.
        timeout_ms: u128,
    },
    /// The node cannot fetch at all.
    #[error(transparent)]
    Node(#[from] ReplicationError),
}

impl Replication {
    /// The sessions that the node has, by peer.
    pub fn sessions(&self) -> Result<Vec<PeerSession>, ReplicationError> {
        let sessions = self.shared.handle()?.sessions()?;
        let mut found: Vec<PeerSession> = sessions.into_iter().map(describe).collect();
        found.sort_by_key(|session| session.peer);
        Ok(found)
    }

    /// Whether a session with `peer` is up, as far as the node has noticed.
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.sessions().is_ok_and(|sessions| {
            sessions.iter().any(|session| session.peer == peer && session.status == SessionStatus::Connected)
        })
    }

    /// Adds `peer` to the home's `connect` and dials it.
    ///
    /// Where the rate limits are Radicle's defaults (a home of others) the node is restarted: it lifts the limits of
    /// the peers in `connect` only at its start.
    pub fn connect_to(&self, peer: NodeId, address: Address) -> Result<Reach, ReplicationError> {
        self.expect(peer, &address)?;
        self.dial(peer, address)
    }

    /// As [`Replication::connect_to`], without dialling before the node's next start.
    pub(super) fn expect(&self, peer: NodeId, address: &Address) -> Result<(), ReplicationError> {
        let (changes, raised) = {
            let mut home = lock(&self.shared.home);
            let changes = home.plan_peer(peer, Some(address.clone()));
            home.apply(&changes)?;
            (changes, home.plan_peer(peer, None).is_empty())
        };
        let moved = changes.iter().any(|change| matches!(change, ConfigChange::Disconnect(_)));
        if !changes.is_empty() && (moved || !raised) {
            self.reconfigured()?;
        }
        Ok(())
    }

    /// No longer dials `peer`, and closes the session with it. The node is restarted if it had been dialled; one that we
    /// are attached to goes on dialling it until its own next start.
    pub fn forget(&self, peer: NodeId) -> Result<(), ReplicationError> {
        let changes = {
            let mut home = lock(&self.shared.home);
            let changes = home.plan_removal(peer);
            home.apply(&changes)?;
            changes
        };
        if !changes.is_empty() || self.is_connected(peer) {
            if let Ok(handle) = self.shared.handle() {
                handle.hang_up(peer);
            }
            self.reconfigured()?;
        }
        Ok(())
    }

    /// Fetches `rid` from a connected peer. It must be seeded here.
    pub fn fetch(&self, rid: RepoId, from: NodeId, timeout: Duration) -> Result<Fetched, FetchError> {
        let started = Instant::now();
        if !self.is_seeded(rid)? {
            return Err(FetchError::NotSeeded(rid));
        }
        let mut handle = self.shared.handle()?;
        let sessions = handle.sessions()?;
        if !sessions.iter().any(|session| session.nid == from && session.state.is_connected()) {
            return Err(FetchError::NotConnected { peer: from });
        }
        // The handle waits without a limit, and a stalled fetch may outlast its own.
        let (sender, answer) = mpsc::sync_channel(1);
        spawn("radicle-fetch", move || {
            let _ = sender.send(handle.fetch(rid, from, timeout));
        })?;
        let patience = timeout + Duration::from_millis(FETCH_GRACE_MS);
        let timed_out = || FetchError::TimedOut { peer: from, rid, timeout_ms: timeout.as_millis() };
        let result = answer.recv_timeout(patience).map_err(|_| timed_out())?;
        match result? {
            FetchResult::Success { updated, .. } => Ok(Fetched { refs: event::changed(&updated) }),
            FetchResult::Failed { .. } if started.elapsed() >= timeout => Err(timed_out()),
            FetchResult::Failed { reason } => Err(FetchError::Refused { peer: from, rid, reason }),
        }
    }

    pub(super) fn is_seeded(&self, rid: RepoId) -> Result<bool, ReplicationError> {
        let home = self.home();
        let policies = home.home.policies_mut().map_err(command("open its policies"))?;
        policies.is_seeding(&rid).map_err(command("read its policies"))
    }

    pub(super) fn dial(&self, peer: NodeId, address: Address) -> Result<Reach, ReplicationError> {
        let mut handle = self.shared.handle()?;
        let pending = |reason: String| Ok(Reach::Pending { reason });
        match handle.connect(peer, address, Duration::from_millis(DIAL_TIMEOUT_MS))? {
            // Radicle also says so of a session that is down and waits to be dialled again.
            Some(ConnectResult::Connected) if self.is_connected(peer) => Ok(Reach::Connected),
            Some(ConnectResult::Connected) => pending("waiting to dial again".to_owned()),
            Some(ConnectResult::Disconnected { reason }) => pending(reason),
            None => pending("no answer yet".to_owned()),
        }
    }
}

fn describe(session: radicle::node::Session) -> PeerSession {
    PeerSession {
        peer: session.nid,
        address: session.addr.to_string(),
        dialled: match session.link {
            Link::Outbound => Dialled::ByUs,
            Link::Inbound => Dialled::ByPeer,
        },
        status: match session.state {
            State::Initial | State::Attempted => SessionStatus::Connecting,
            State::Connected { .. } => SessionStatus::Connected,
            State::Disconnected { .. } => SessionStatus::Disconnected,
        },
    }
}

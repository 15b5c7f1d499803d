//! The node that replicates for us: the embedded runtime, or one that runs in the home already.
//!
//! It must not know what is replicated.

use std::net::SocketAddr;
use std::time::Duration;

use cobs::adapter::profile::NodeHome;
use cobs::id::{NodeId, RepoId};
use radicle::node::policy::Scope;
use radicle::node::{Address, Command, ConnectOptions, ConnectResult, FetchResult, Handle as _, Session};

use super::attached::Attached;
use super::control::{Control, ControlError, Done};
use super::event::{Outlet, ReplicationEvent};
use super::runtime::{self, Embedded};
use super::{ReplicationError, command};

/// How much longer than what a command waits for its answer may take.
const GRACE: Duration = Duration::from_secs(2);
/// How long closing a session may take.
const HANG_UP: Duration = Duration::from_secs(1);

/// A node at work.
pub(super) enum Running {
    /// In this process.
    Embedded(Embedded),
    /// Somebody else's.
    Attached(Attached),
}

/// What commands are given to.
#[derive(Clone)]
pub(super) enum Handle {
    Embedded(runtime::Handle),
    Attached(Control),
}

impl Running {
    /// Attaches to the node of the home, or starts one that listens at what `listen` gives.
    pub(super) fn start(
        home: NodeHome,
        listen: impl FnOnce() -> Result<Vec<SocketAddr>, ReplicationError>,
        events: &Outlet,
    ) -> Result<Self, ReplicationError> {
        let running = match Attached::find(&home, events)? {
            Some(attached) => Self::Attached(attached),
            None => Self::Embedded(Embedded::start(home, listen()?, events.clone())?),
        };
        // it may have dialled before its events were listened to
        for session in running.handle().sessions()?.into_iter().filter(|session| session.state.is_connected()) {
            events.send(ReplicationEvent::PeerConnected { peer: session.nid });
        }
        Ok(running)
    }

    pub(super) fn handle(&self) -> Handle {
        match self {
            Self::Embedded(embedded) => Handle::Embedded(embedded.handle.clone()),
            Self::Attached(attached) => Handle::Attached(attached.control.clone()),
        }
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Embedded(embedded) => &embedded.addresses,
            Self::Attached(attached) => &attached.addresses,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.has_ended(),
            Self::Attached(attached) => attached.has_ended(),
        }
    }

    /// Ends our own, and lets go of somebody else's.
    pub(super) fn stop(self) -> Result<(), ReplicationError> {
        match self {
            Self::Embedded(embedded) => embedded.stop(),
            Self::Attached(attached) => attached.stop(),
        }
    }
}

impl Handle {
    pub(super) fn sessions(&self) -> Result<Vec<Session>, ReplicationError> {
        let failed = "list its sessions";
        match self {
            Self::Embedded(handle) => handle.sessions().map_err(command(failed)),
            Self::Attached(control) => control.ask(&Command::Sessions).map_err(command(failed)),
        }
    }

    /// Tells connected peers where the references of `namespace` stand.
    pub(super) fn announce(&mut self, rid: RepoId, namespace: NodeId) -> Result<(), ReplicationError> {
        let failed = "announce references";
        match self {
            Self::Embedded(handle) => handle.announce_refs_for(rid, [namespace]).map(drop).map_err(command(failed)),
            Self::Attached(control) => {
                let asked = Command::AnnounceRefsFor { rid, namespaces: [namespace].into() };
                control.ask::<Done>(&asked).map(drop).map_err(command(failed))
            }
        }
    }

    pub(super) fn seed(&mut self, rid: RepoId) -> Result<(), ReplicationError> {
        let failed = "seed a repository";
        match self {
            Self::Embedded(handle) => handle.seed(rid, Scope::All).map(drop).map_err(command(failed)),
            Self::Attached(control) => {
                let asked = Command::Seed { rid, scope: Scope::All };
                control.ask::<Done>(&asked).map(drop).map_err(command(failed))
            }
        }
    }

    /// Fetches from a connected peer. The embedded runtime may take longer than `timeout`, without a limit.
    pub(super) fn fetch(
        &mut self,
        rid: RepoId,
        from: NodeId,
        timeout: Duration,
    ) -> Result<FetchResult, ReplicationError> {
        match self {
            Self::Embedded(handle) => handle.fetch(rid, from, timeout, None).map_err(command("fetch")),
            Self::Attached(control) => {
                let asked = Command::Fetch { rid, nid: from, timeout, signed_references_minimum_feature_level: None };
                control.wait_for(&asked, timeout + GRACE).map_err(command("fetch"))
            }
        }
    }

    /// Dials a peer and has the node keep the connection up; none when nothing is known of it in time.
    pub(super) fn connect(
        &mut self,
        peer: NodeId,
        address: Address,
        timeout: Duration,
    ) -> Result<Option<ConnectResult>, ReplicationError> {
        let failed = "dial a peer";
        match self {
            Self::Embedded(handle) => {
                match handle.connect(peer, address, ConnectOptions { persistent: true, timeout }) {
                    Ok(result) => Ok(Some(result)),
                    Err(runtime::HandleError::Timeout) => Ok(None),
                    Err(error) => Err(command(failed)(error)),
                }
            }
            Self::Attached(control) => {
                // its own limit would end in words for an error
                let opts = ConnectOptions { persistent: true, timeout: timeout + GRACE };
                match control.wait_for(&Command::Connect { addr: (peer, address).into(), opts }, timeout) {
                    Ok(result) => Ok(Some(result)),
                    Err(ControlError::TimedOut(_)) => Ok(None),
                    Err(error) => Err(command(failed)(error)),
                }
            }
        }
    }

    /// Has somebody else's node close the session with a peer, which our own does by its restart.
    pub(super) fn hang_up(&self, peer: NodeId) {
        let Self::Attached(control) = self else { return };
        // it answers when the session is closed, and never where there is none
        match control.wait_for::<Done>(&Command::Disconnect { nid: peer }, HANG_UP) {
            Ok(_) | Err(ControlError::TimedOut(_)) => {}
            Err(error) => tracing::warn!(%peer, %error, "the session with a peer that is forgotten is not closed"),
        }
    }
}

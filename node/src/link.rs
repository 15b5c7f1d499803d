//! The direct link: requests between daemons, both ways over one connection that either side dialled.
//!
//! Transport only. TLS 1.3 with pinned keys (`tls`), streams over it (`mux`), and one HTTP exchange on each
//! (`exchange`). It knows nothing of jobs, ledgers or what a peer may do: the routers given to it do.
//!
//! Invariants. A peer is who proves to hold the key that the caller's set names, and is authorised at that
//! moment. There is at most one session with a node. What was cut ends at once, with every exchange on it.

mod accept;
mod client;
mod dial;
mod error;
mod exchange;
mod hello;
mod identity;
pub mod limits;
mod mux;
mod peers;
mod session;
mod stranger;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::client::{Client, dial_once};
pub use self::error::LinkError;
pub use self::identity::LinkIdentity;
pub use self::session::{Dialler, Parting};

use self::accept::Lobby;
use self::peers::Peers;
use self::stranger::Gate;

/// Says which node a transport key belongs to, if that node is a peer right now. It is asked at every connection
/// and every [`limits::PING_INTERVAL_MS`], so it must be quick.
pub type Authorize = Arc<dyn Fn(&TransportKey) -> Option<NodeId> + Send + Sync>;

/// Where a link listens.
#[derive(Debug, Clone, Default)]
pub struct LinkConfig {
    /// Port 0 takes a free one. With none at all the link only dials.
    pub listen: Vec<SocketAddr>,
}

/// Where a peer is found and by which key it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The key that its signed peer record names.
    pub key: TransportKey,
    /// Each `host:port`; the first are preferred. With none the peer has to dial.
    pub addresses: Vec<String>,
}

/// Who sent a request; every request that a router gets carries one as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An admitted peer.
    Peer {
        /// The node.
        node: NodeId,
        /// The key that it proved to hold.
        key: TransportKey,
    },
    /// Anyone.
    Stranger {
        /// The key that it proved to hold.
        key: TransportKey,
        /// Where it called from.
        address: SocketAddr,
    },
}

/// A request's extension: it may use the streams kept free for what must not wait behind long answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Urgent;

/// A connection as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The peer.
    pub node: NodeId,
    /// The other end of the connection.
    pub address: SocketAddr,
    /// When it was made.
    pub since: SystemTime,
    /// Who dialled.
    pub dialler: Dialler,
    /// As last measured; none before the first ping is answered.
    pub round_trip: Option<Duration>,
}

/// A change in who is connected, in the order of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// Requests to the node can be sent.
    Connected {
        /// The node.
        node: NodeId,
    },
    /// Requests to the node fail, and those that were open have.
    Disconnected {
        /// The node.
        node: NodeId,
        /// Why.
        parting: Parting,
    },
}

/// Gives this process what TLS is computed with, unless it has it: every client of HTTPS needs that before it is made, also
/// for an address without TLS.
pub fn install_tls() {
    tls::install_provider();
}

struct Shared {
    identity: Arc<LinkIdentity>,
    server: Arc<rustls::ServerConfig>,
    peers: Peers,
    router: Router,
    stranger_router: Router,
    lobby: Lobby,
    gate: Gate,
    runtime: Handle,
    /// Nothing new is taken.
    draining: CancellationToken,
    /// Connections say goodbye.
    closing: CancellationToken,
    /// Everything ends.
    root: CancellationToken,
    exchanges: TaskTracker,
    sessions: TaskTracker,
}

/// A running link. Clones are the same link; when the last is dropped, all ends at once.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    local_addresses: Arc<[SocketAddr]>,
    _root: Arc<DropGuard>,
}

impl Link {
    /// Listens. Until [`Link::set_peers`] is called everyone is a stranger, who reaches `stranger_router` alone.
    ///
    /// Must be called within a tokio runtime, on which all of the link runs.
    pub async fn start(
        config: LinkConfig,
        identity: Arc<LinkIdentity>,
        authorize: Authorize,
        router: Router,
        stranger_router: Router,
    ) -> Result<Self, LinkError> {
        let listeners = wire::listen(&config.listen)?;
        let local_addresses = listeners.iter().zip(&config.listen).map(|(listener, address)| {
            listener.local_addr().map_err(|source| LinkError::Listen { address: *address, source })
        });
        let local_addresses = local_addresses.collect::<Result<_, _>>()?;
        let root = CancellationToken::new();
        let shared = Arc::new(Shared {
            server: Arc::new(tls::server(&identity)?),
            peers: Peers::new(identity.key(), authorize),
            identity,
            router,
            stranger_router: stranger::limited(stranger_router),
            lobby: Lobby::new(),
            gate: Gate::new(),
            runtime: Handle::current(),
            draining: root.child_token(),
            closing: CancellationToken::new(),
            root: root.clone(),
            exchanges: TaskTracker::new(),
            sessions: TaskTracker::new(),
        });
        for listener in listeners {
            tokio::spawn(accept::accept(shared.clone(), listener));
        }
        Ok(Self { shared, local_addresses, _root: Arc::new(root.drop_guard()) })
    }

    /// What the link listens on, with the ports it got, in the order of the configuration.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The key that our peer record must name.
    pub fn local_key(&self) -> TransportKey {
        self.shared.identity.key()
    }

    /// Replaces the set of peers. Each is kept connected; whoever is in it no longer or under another key is cut.
    pub fn set_peers(&self, peers: BTreeMap<NodeId, PeerAddress>) {
        if self.shared.draining.is_cancelled() {
            return;
        }
        self.shared.peers.set(peers, |node, peer, signals| {
            let draining = self.shared.draining.clone();
            let kept = dial::keep_connected(self.shared.clone(), node, peer, signals);
            let task = async move { draining.run_until_cancelled(kept).await.unwrap_or_default() };
            AbortOnDropHandle::new(self.shared.runtime.spawn(task))
        });
    }

    /// Ends the session with a node and all that is open on it, and refuses the node until [`Link::set_peers`]
    /// names it again.
    pub fn cut(&self, node: &NodeId) {
        self.shared.peers.cut(node);
    }

    /// Dials a peer now instead of after the back-off, for instance because Radicle has just seen it.
    pub fn nudge(&self, node: &NodeId) {
        self.shared.peers.nudge(node);
    }

    /// Sends a request and waits for the head of its answer for at most `timeout`.
    ///
    /// Fails at once when there is no connection. Bodies stream both ways, with back-pressure. A body that is cut
    /// short ends in an error, never as if it were whole. Put [`Urgent`] into the extensions of what must not wait
    /// behind long answers.
    pub async fn request(
        &self,
        node: &NodeId,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Body>, LinkError> {
        if self.shared.draining.is_cancelled() {
            return Err(LinkError::ShuttingDown);
        }
        let session = self.shared.peers.session(node).ok_or(LinkError::NotConnected { node: *node })?;
        session.carrier.request(request, timeout).await
    }

    /// The connections there are now, by node.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let sessions = self.shared.peers.sessions();
        let info = sessions.iter().map(|session| SessionInfo {
            node: session.node,
            address: session.address,
            since: session.since,
            dialler: session.dialler,
            round_trip: session.round_trip(),
        });
        info.collect()
    }

    /// Why the last dial of a peer failed, while it is not connected.
    pub fn trouble(&self, node: &NodeId) -> Option<Arc<LinkError>> {
        self.shared.peers.trouble(node)
    }

    /// Changes from now on. A subscriber that lags more than [`limits::EVENTS_MAX`] behind reads
    /// [`Link::sessions`] anew.
    pub fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        self.shared.peers.subscribe()
    }

    /// Takes and sends nothing new, lets what is open finish within `drain`, then says goodbye and ends.
    pub async fn shutdown(&self, drain: Duration) {
        let Shared { draining, closing, root, exchanges, sessions, .. } = &*self.shared;
        draining.cancel();
        exchanges.close();
        if tokio::time::timeout(drain, exchanges.wait()).await.is_err() {
            tracing::info!(open = exchanges.len(), "link exchanges broken off at shutdown");
        }
        closing.cancel();
        sessions.close();
        let goodbye = Duration::from_millis(2 * limits::CLOSE_MS);
        if tokio::time::timeout(goodbye, sessions.wait()).await.is_err() {
            tracing::debug!("link connections dropped at shutdown");
        }
        root.cancel();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("key", &self.local_key()).field("listen", &self.local_addresses).finish()
    }
}

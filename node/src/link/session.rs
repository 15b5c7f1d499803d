//! A connection with an admitted peer: serves its streams, watches that it lives, and ends when told to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use yamux::ConnectionError;

use super::exchange::{self, Carrier};
use super::mux::{Driver, Streams};
use super::wire::Heard;
use super::{Caller, Shared, limits};

/// Streams of a peer's connection.
pub(super) const PEER_STREAMS: Streams =
    Streams { max: limits::STREAMS_MAX, receive_window_bytes: limits::RECEIVE_WINDOW_BYTES };

/// No round trip has been measured yet.
const UNMEASURED: u64 = u64::MAX;

/// Which side dialled a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialler {
    /// This node.
    Us,
    /// The peer.
    Them,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// [`super::Link::cut`], or the peer is in the set no longer, or under another key.
    Cut,
    /// The peer's key is authorised no longer.
    Revoked,
    /// A newer connection with the same peer took its place.
    Replaced,
    /// The peer was not heard for [`limits::SILENCE_MAX_MS`].
    Silent,
    /// The peer closed the connection, or the network did.
    Closed,
    /// This link shut down.
    ShutDown,
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "it was cut here",
            Self::Revoked => "its key is not let in any more",
            Self::Replaced => "another connection took its place",
            Self::Silent => "it was not heard any more",
            Self::Closed => "it or the network closed the connection",
            Self::ShutDown => "the link of this node was shut down",
        })
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) node: NodeId,
    pub(super) key: TransportKey,
    pub(super) address: SocketAddr,
    pub(super) since: SystemTime,
    pub(super) dialler: Dialler,
    pub(super) carrier: Carrier,
    round_trip_us: AtomicU64,
    parting: OnceLock<Parting>,
}

/// Who is at the other end of a new connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Party {
    pub(super) node: NodeId,
    pub(super) key: TransportKey,
    pub(super) address: SocketAddr,
    pub(super) dialler: Dialler,
}

impl Session {
    pub(super) fn new(id: u64, party: Party, carrier: Carrier) -> Self {
        let Party { node, key, address, dialler } = party;
        Self {
            id,
            node,
            key,
            address,
            since: SystemTime::now(),
            dialler,
            carrier,
            round_trip_us: AtomicU64::new(UNMEASURED),
            parting: OnceLock::new(),
        }
    }

    /// Ends the session and every exchange on it, at once; the first reason given stays.
    pub(super) fn part(&self, parting: Parting) {
        self.parting.get_or_init(|| parting);
        self.carrier.ended().cancel();
    }

    pub(super) fn parting(&self) -> Parting {
        *self.parting.get().unwrap_or(&Parting::Closed)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        match self.round_trip_us.load(Ordering::Relaxed) {
            UNMEASURED => None,
            measured => Some(Duration::from_micros(measured)),
        }
    }

    /// Whether the other side answers within `timeout`.
    pub(super) async fn lives(&self, timeout: Duration) -> bool {
        let asked = Instant::now();
        let answered = self.carrier.ping(timeout).await.is_ok();
        if answered {
            self.round_trip_us.store(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        answered
    }
}

/// Serves `session` in a task of its own until it ends, then has it forgotten.
pub(super) fn spawn(shared: &Arc<Shared>, session: Arc<Session>, driver: Driver, heard: Heard) {
    let kept = shared.clone();
    shared.sessions.spawn(async move {
        tracing::info!(node = %session.node, address = %session.address, dialler = ?session.dialler, "link connected");
        run(&session, driver, heard, &kept).await;
        kept.peers.leave(&session, session.parting());
        tracing::info!(node = %session.node, parting = ?session.parting(), "link disconnected");
    });
}

async fn run(session: &Arc<Session>, mut driver: Driver, heard: Heard, shared: &Arc<Shared>) {
    let silence_max = Duration::from_millis(limits::SILENCE_MAX_MS);
    let serving = Arc::new(Semaphore::new(limits::STREAMS_IN_MAX));
    let mut ticks = tokio::time::interval(Duration::from_millis(limits::PING_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = session.carrier.ended().cancelled() => return,
            () = shared.closing.cancelled() => {
                driver.close().await;
                return session.part(Parting::ShutDown);
            }
            _ = ticks.tick() => {
                if heard.silence() > silence_max {
                    return session.part(Parting::Silent);
                }
                if shared.peers.node_of(&session.key) != Some(session.node) {
                    return session.part(Parting::Revoked);
                }
                let pinged = session.clone();
                tokio::spawn(async move { pinged.lives(silence_max).await });
            }
            stream = driver.next() => match stream {
                Ok(stream) => serve(session, stream, &serving, shared),
                Err(error) => {
                    note_end(session, &error);
                    return session.part(Parting::Closed);
                }
            }
        }
    }
}

fn serve(session: &Session, stream: super::mux::Stream, serving: &Arc<Semaphore>, shared: &Shared) {
    // A stream dropped here is reset, which tells the other side.
    if shared.draining.is_cancelled() {
        return;
    }
    let Ok(permit) = serving.clone().try_acquire_owned() else {
        return tracing::warn!(node = %session.node, limit = limits::STREAMS_IN_MAX, "peer asks too much at once");
    };
    let caller = Caller::Peer { node: session.node, key: session.key };
    let served = exchange::serve(stream, shared.router.clone(), caller, session.carrier.ended().clone());
    shared.exchanges.spawn(async move {
        served.await;
        drop(permit);
    });
}

fn note_end(session: &Session, error: &ConnectionError) {
    match error {
        ConnectionError::Closed | ConnectionError::Io(_) => {
            tracing::debug!(node = %session.node, %error, "link connection ended");
        }
        other => tracing::warn!(node = %session.node, error = %other, "link connection failed"),
    }
}

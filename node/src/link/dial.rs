//! Dialling: one connection to one address, and the task that keeps a peer connected.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsConnector, TlsStream};
use yamux::Mode;

use super::error::LinkError;
use super::exchange::Carrier;
use super::hello::{self, Answer};
use super::identity::LinkIdentity;
use super::mux::Driver;
use super::peers::{Phase, Signals};
use super::session::{self, Dialler, PEER_STREAMS, Party, Session};
use super::tls::{self, Role};
use super::{PeerAddress, Shared, limits, wire};

/// A connection that the other side has admitted.
pub(super) struct Dialled {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) remote: SocketAddr,
}

/// Dials one address as `role` and waits until the other side, which must hold `expected`, has admitted us.
pub(super) async fn dial(
    identity: &LinkIdentity,
    address: &str,
    expected: TransportKey,
    role: Role,
) -> Result<Dialled, LinkError> {
    let tcp = timeout(Duration::from_millis(limits::CONNECT_MS), TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| LinkError::Connect { address: address.to_owned(), source })?;
    wire::tune(&tcp);
    let config = tls::client(identity, expected, role)?;
    let greeted = async {
        let remote = tcp.peer_addr()?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(tls::server_name(), tcp).await?.into();
        let answer = hello::receive(&mut stream).await?;
        Ok((Dialled { stream, remote }, answer))
    };
    let (dialled, answer) = timeout(Duration::from_millis(limits::HANDSHAKE_MS), greeted)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| handshake_error(address, source))?;
    let address = address.to_owned();
    match answer {
        Answer::Admitted => Ok(dialled),
        Answer::Unknown => Err(LinkError::NotAdmitted { address, key: identity.key() }),
        Answer::Duplicate => Err(LinkError::Duplicate { address }),
        Answer::Busy => Err(LinkError::TooManyAttempts { address }),
    }
}

fn handshake_error(address: &str, source: io::Error) -> LinkError {
    let address = address.to_owned();
    match tls::key_mismatch(&source) {
        Some(&tls::KeyMismatch { expected, found }) => LinkError::WrongKey { address, expected, found },
        None => LinkError::Handshake { address, source },
    }
}

/// Keeps one connection to a peer for as long as the task lives.
pub(super) async fn keep_connected(shared: Arc<Shared>, node: NodeId, peer: PeerAddress, mut signals: Signals) {
    let mut redials = 0;
    loop {
        let asked = Instant::now();
        if signals.phase.wait_for(|phase| *phase != Phase::Connected).await.is_err() {
            return;
        }
        if asked.elapsed() >= Duration::from_millis(limits::SESSION_STABLE_MS) {
            redials = redials.min(1);
        }
        if redials > 0 && !wait_to_redial(redials, &peer, &mut signals).await {
            continue;
        }
        redials += 1;
        if !shared.peers.begin_dial(&node) {
            continue;
        }
        let dialled = dial_peer(&shared, node, &peer).await;
        shared.peers.end_dial(&node);
        match dialled {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%node, redials, error = &error as &dyn std::error::Error, "dial failed");
                shared.peers.note_trouble(&node, error);
            }
        }
    }
}

/// Waits for the back-off or a nudge; false when a connection came about meanwhile.
async fn wait_to_redial(redials: u32, peer: &PeerAddress, signals: &mut Signals) -> bool {
    let backoff = async {
        if peer.addresses.is_empty() {
            std::future::pending::<()>().await;
        }
        sleep(backoff(redials)).await;
    };
    tokio::select! {
        connected = signals.phase.wait_for(|phase| *phase == Phase::Connected) => {
            let _ = connected;
            false
        }
        () = signals.nudge.notified() => true,
        () = backoff => true,
    }
}

fn backoff(redials: u32) -> Duration {
    let doubled = limits::REDIAL_FIRST_MS.saturating_mul(1 << (redials - 1).min(16));
    let max = if redials > limits::REDIALS_QUICK { limits::REDIAL_AWAY_MS } else { limits::REDIAL_MS };
    Duration::from_millis(doubled.min(max))
}

async fn dial_peer(shared: &Arc<Shared>, node: NodeId, peer: &PeerAddress) -> Result<(), LinkError> {
    let Dialled { stream, remote } = dial_any(&shared.identity, peer).await?;
    let (carrier, opens) = Carrier::new(shared.root.child_token(), shared.exchanges.clone());
    let party = Party { node, key: peer.key, address: remote, dialler: Dialler::Us };
    let session = Arc::new(Session::new(shared.peers.next_session_id(), party, carrier));
    let address = remote.to_string();
    shared.peers.keep(&session).map_err(|_| LinkError::Duplicate { address })?;
    let (wire, heard) = wire::wire(stream);
    let driver = Driver::new(wire, Mode::Client, PEER_STREAMS, opens);
    session::spawn(shared, session, driver, heard);
    Ok(())
}

/// Dials all addresses, each a little after the one before, and takes the first that admits us.
async fn dial_any(identity: &LinkIdentity, peer: &PeerAddress) -> Result<Dialled, LinkError> {
    let start = Instant::now();
    let mut dials: FuturesUnordered<_> = peer
        .addresses
        .iter()
        .take(limits::ADDRESSES_MAX)
        .zip(0..)
        .map(|(address, place)| async move {
            tokio::time::sleep_until(start + Duration::from_millis(limits::ADDRESS_STAGGER_MS) * place).await;
            dial(identity, address, peer.key, Role::Peer).await
        })
        .collect();
    let mut worst =
        LinkError::Connect { address: "no address".to_owned(), source: io::ErrorKind::AddrNotAvailable.into() };
    while let Some(dialled) = dials.next().await {
        match dialled {
            Ok(dialled) => return Ok(dialled),
            Err(error) if telling(&error) >= telling(&worst) => worst = error,
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Of several failures the one that says most about the peer is shown.
fn telling(error: &LinkError) -> u8 {
    match error {
        LinkError::Duplicate { .. } => 4,
        LinkError::NotAdmitted { .. } | LinkError::TooManyAttempts { .. } => 3,
        LinkError::WrongKey { .. } => 2,
        LinkError::Handshake { .. } => 1,
        LinkError::Connect { .. }
        | LinkError::KeyFile { .. }
        | LinkError::KeyMalformed { .. }
        | LinkError::KeyExposed { .. }
        | LinkError::Tls(_)
        | LinkError::AddressInUse { .. }
        | LinkError::Listen { .. }
        | LinkError::TimedOut { .. }
        | LinkError::NotConnected { .. }
        | LinkError::Ended
        | LinkError::Exchange(_)
        | LinkError::ShuttingDown => 0,
    }
}

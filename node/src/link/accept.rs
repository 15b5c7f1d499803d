//! Listening: greets who connects, and hands peers and strangers on.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cobs::transport_key::TransportKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::{TlsAcceptor, TlsStream};
use yamux::Mode;

use super::exchange::Carrier;
use super::hello::{self, Answer};
use super::mux::Driver;
use super::peers::Refusal;
use super::session::{self, Dialler, PEER_STREAMS, Parting, Party, Session};
use super::tls::{self, Role};
use super::{Shared, limits, stranger, wire};

/// Counts the connections that have shown no key yet.
pub(super) struct Lobby {
    places: Arc<Semaphore>,
    hosts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Lobby {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(limits::HANDSHAKES_MAX)), hosts: Arc::default() }
    }

    fn enter(&self, address: IpAddr) -> Option<Seat> {
        let host = stranger::host(address);
        let place = self.places.clone().try_acquire_owned().ok()?;
        let mut hosts = self.hosts.lock().expect("nothing panics while it holds the lock");
        let count = hosts.entry(host).or_default();
        if *count >= limits::HANDSHAKES_PER_HOST_MAX {
            return None;
        }
        *count += 1;
        Some(Seat { host, hosts: self.hosts.clone(), _place: place })
    }
}

/// One connection's place in the lobby.
struct Seat {
    host: IpAddr,
    hosts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().expect("nothing panics while it holds the lock");
        if let Some(count) = hosts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

/// Accepts until the link drains.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let acceptor = TlsAcceptor::from(shared.server.clone());
    while let Some(accepted) = shared.draining.run_until_cancelled(listener.accept()).await {
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept on the link");
                tokio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
                continue;
            }
        };
        let Some(seat) = shared.lobby.enter(address.ip()) else {
            tracing::debug!(%address, "too many connections that show no key");
            continue;
        };
        let greeting = greet(shared.clone(), acceptor.clone(), tcp, address, seat);
        let root = shared.root.clone();
        shared.sessions.spawn(async move { root.run_until_cancelled_owned(greeting).await });
    }
}

async fn greet(shared: Arc<Shared>, acceptor: TlsAcceptor, tcp: TcpStream, address: SocketAddr, seat: Seat) {
    wire::tune(&tcp);
    let limit = Duration::from_millis(limits::HANDSHAKE_MS);
    let greeted = tokio::time::timeout(limit, acceptor.accept(tcp)).await;
    let stream = match greeted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%address, "handshake took too long"),
    };
    let connection = stream.get_ref().1;
    let role = Role::of_protocol(connection.alpn_protocol());
    let key = tls::key_of(connection.peer_certificates().unwrap_or_default());
    let stream = TlsStream::from(stream);
    match (role, key) {
        (Some(Role::Peer), Ok(key)) => admit_peer(shared, stream, key, address, seat).await,
        (Some(Role::Stranger), Ok(key)) => admit_stranger(shared, stream, key, address, seat).await,
        (None, _) | (_, Err(_)) => tracing::debug!(%address, "speaks another protocol"),
    }
}

async fn admit_peer(
    shared: Arc<Shared>,
    mut stream: TlsStream<TcpStream>,
    key: TransportKey,
    address: SocketAddr,
    seat: Seat,
) {
    let Some(node) = shared.peers.node_of(&key) else {
        tracing::debug!(%address, %key, "no peer has this transport key");
        return answer(&mut stream, Answer::Unknown).await;
    };
    let (carrier, opens) = Carrier::new(shared.root.child_token(), shared.exchanges.clone());
    let party = Party { node, key, address, dialler: Dialler::Them };
    let session = Arc::new(Session::new(shared.peers.next_session_id(), party, carrier));
    match shared.peers.admit(&session).await {
        Ok(()) => {}
        Err(Refusal::Unknown) => return answer(&mut stream, Answer::Unknown).await,
        Err(Refusal::Duplicate) => return answer(&mut stream, Answer::Duplicate).await,
    }
    let limit = Duration::from_millis(limits::HANDSHAKE_MS);
    let told = tokio::time::timeout(limit, hello::send(&mut stream, Answer::Admitted)).await;
    drop(seat);
    if !matches!(told, Ok(Ok(()))) {
        return shared.peers.leave(&session, Parting::Closed);
    }
    let (wire, heard) = wire::wire(stream);
    let driver = Driver::new(wire, Mode::Server, PEER_STREAMS, opens);
    session::spawn(&shared, session, driver, heard);
}

async fn admit_stranger(
    shared: Arc<Shared>,
    mut stream: TlsStream<TcpStream>,
    key: TransportKey,
    address: SocketAddr,
    seat: Seat,
) {
    let Some(_place) = shared.gate.enter(address.ip()) else {
        tracing::info!(%address, "stranger refused: too many attempts");
        return answer(&mut stream, Answer::Busy).await;
    };
    answer(&mut stream, Answer::Admitted).await;
    drop(seat);
    stranger::serve(shared, wire::wire(stream).0, key, address).await;
}

/// Answers a dialler; one that has gone or does not read is not waited for.
async fn answer(stream: &mut TlsStream<TcpStream>, answer: Answer) {
    let limit = Duration::from_millis(limits::HANDSHAKE_MS);
    if !matches!(tokio::time::timeout(limit, hello::send(stream, answer)).await, Ok(Ok(()))) {
        tracing::debug!(?answer, "dialler left before it was answered");
    }
}

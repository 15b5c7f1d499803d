//! Two or three links in one process, over real sockets on loopback.

mod identity;
mod peers;
mod strangers;
mod streams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path};
use axum::http::{Request, Response};
use axum::routing::{get, post};
use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use rcgen::{KeyPair, PKCS_ED25519};
use tokio::sync::broadcast;

use super::{Caller, Link, LinkConfig, LinkError, LinkEvent, LinkIdentity, PeerAddress};

/// Far above what anything here takes, so that only a fault reaches it.
const LONG: Duration = Duration::from_secs(20);
const CHUNK: &[u8] = &[7; 64 * 1024];

/// Bytes that `/bytes` has been asked for and has made.
static MADE_BYTES: AtomicU64 = AtomicU64::new(0);

/// One daemon's worth of link.
struct Node {
    id: NodeId,
    identity: Arc<LinkIdentity>,
    admitted: Arc<Mutex<BTreeMap<TransportKey, NodeId>>>,
    link: Link,
}

impl Node {
    async fn start(number: u8) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let identity = Arc::new(LinkIdentity::from_pair(&pair).unwrap());
        Self::start_as(number, identity, "127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    async fn start_as(number: u8, identity: Arc<LinkIdentity>, listen: SocketAddr) -> Result<Self, LinkError> {
        let admitted: Arc<Mutex<BTreeMap<TransportKey, NodeId>>> = Arc::default();
        let known = admitted.clone();
        let link = Link::start(
            LinkConfig { listen: vec![listen] },
            identity.clone(),
            Arc::new(move |key| known.lock().unwrap().get(key).copied()),
            router(),
            Router::new().route("/pair", post(who)),
        );
        Ok(Self { id: NodeId::from([number; 32]), identity, admitted, link: link.await? })
    }

    /// The same daemon after a restart: its key, its address, nothing else.
    async fn restart(self) -> Self {
        let Self { id, identity, link, .. } = self;
        let listen = link.local_addresses()[0];
        drop(link);
        let number = id.as_ref()[0];
        loop {
            match Self::start_as(number, identity.clone(), listen).await {
                // The old listener closes as its task is dropped.
                Err(LinkError::AddressInUse { .. }) => tokio::task::yield_now().await,
                started => return started.unwrap(),
            }
        }
    }

    fn key(&self) -> TransportKey {
        self.link.local_key()
    }

    fn address(&self) -> String {
        self.link.local_addresses()[0].to_string()
    }

    /// This node's peers become `others`, which it dials.
    fn peers_with(&self, others: &[&Node]) {
        self.set(others.iter().map(|other| (other.id, other.key(), vec![other.address()])));
    }

    /// This node's peers become `others`, which have to dial.
    fn awaits(&self, others: &[&Node]) {
        self.set(others.iter().map(|other| (other.id, other.key(), vec![])));
    }

    fn set(&self, peers: impl Iterator<Item = (NodeId, TransportKey, Vec<String>)>) {
        let peers: Vec<_> = peers.collect();
        *self.admitted.lock().unwrap() = peers.iter().map(|(node, key, _)| (*key, *node)).collect();
        self.link.set_peers(
            peers.into_iter().map(|(node, key, addresses)| (node, PeerAddress { key, addresses })).collect(),
        );
    }

    async fn get(&self, to: &Node, path: &str) -> Result<Response<Body>, LinkError> {
        self.link.request(&to.id, request(path), LONG).await
    }

    async fn get_text(&self, to: &Node, path: &str) -> String {
        text(self.get(to, path).await.unwrap()).await
    }

    fn is_connected(&self, to: &Node) -> bool {
        self.link.sessions().iter().any(|session| session.node == to.id)
    }

    /// Waits until this node counts `to` as connected, or no longer.
    async fn until_connected(&self, to: &Node) {
        let mut events = self.link.subscribe();
        while !self.is_connected(to) {
            event(&mut events).await;
        }
    }

    async fn until_disconnected(&self, to: &Node) {
        let mut events = self.link.subscribe();
        while self.is_connected(to) {
            event(&mut events).await;
        }
    }
}

async fn event(events: &mut broadcast::Receiver<LinkEvent>) -> LinkEvent {
    tokio::time::timeout(LONG, events.recv()).await.expect("an event in time").unwrap()
}

/// Two nodes, of which the first dials the second.
async fn pair() -> (Node, Node) {
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    b.awaits(&[&a]);
    a.peers_with(&[&b]);
    a.until_connected(&b).await;
    b.until_connected(&a).await;
    (a, b)
}

fn request(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn router() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/echo", post(|body: Body| async { body }))
        .route("/sink", post(sink))
        .route("/bytes/{count}", get(|Path(count): Path<u64>| async move { bytes_body(count) }))
        .route("/endless", get(|| async { endless() }))
        .route("/gate", get(gate))
}

async fn who(Extension(caller): Extension<Caller>, _body: Bytes) -> String {
    match caller {
        Caller::Peer { node, key } => format!("peer {node} {key}"),
        Caller::Stranger { key, address } => format!("stranger {key} {}", address.ip()),
    }
}

async fn sink(body: Body) -> String {
    let mut count = 0;
    let mut data = body.into_data_stream();
    while let Some(chunk) = data.next().await {
        count += chunk.unwrap().len();
    }
    count.to_string()
}

/// Answers when the test lets it: the head at once, the rest when [`OPEN_GATE`] is told.
async fn gate() -> Body {
    let opened = async {
        OPEN_GATE.notified().await;
        Ok::<_, std::io::Error>(Bytes::from_static(b"opened"))
    };
    Body::from_stream(stream::once(opened))
}

static OPEN_GATE: tokio::sync::Notify = tokio::sync::Notify::const_new();

fn bytes_body(count: u64) -> Body {
    let chunks = count.div_ceil(CHUNK.len() as u64);
    Body::from_stream(stream::iter(0..chunks).map(|_| {
        MADE_BYTES.fetch_add(CHUNK.len() as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>(Bytes::from_static(CHUNK))
    }))
}

/// One chunk, then silence for ever.
fn endless() -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"first"))]);
    Body::from_stream(first.chain(stream::pending()))
}

//! Those whose key is not a peer's: few at a time, not often, not for long, and with little to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use cobs::transport_key::TransportKey;
use http_body_util::Limited;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use yamux::Mode;

use super::mux::{Driver, Streams};
use super::wire::Wire;
use super::{Caller, Shared, exchange, limits};

/// Streams of a stranger's connection; those it may not have are refused one by one before this limit is met.
pub(super) const STRANGER_STREAMS: Streams = Streams {
    max: 4 * limits::STRANGER_STREAMS_MAX,
    receive_window_bytes: 4 * limits::STRANGER_STREAMS_MAX * 256 * 1024,
};

/// Counts strangers.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    attempts: Mutex<BTreeMap<IpAddr, Attempts>>,
}

struct Attempts {
    since: Instant,
    count: u32,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(limits::STRANGERS_MAX)), attempts: Mutex::default() }
    }

    /// A place for one connection from `address`, if it may have one now.
    pub(super) fn enter(&self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        self.count(host(address), Instant::now()).then(|| self.places.clone().try_acquire_owned().ok()).flatten()
    }

    fn count(&self, host: IpAddr, now: Instant) -> bool {
        let window = Duration::from_millis(limits::STRANGER_WINDOW_MS);
        let mut attempts = self.attempts.lock().expect("nothing panics while it holds the lock");
        attempts.retain(|_, attempts| now.duration_since(attempts.since) < window);
        if !attempts.contains_key(&host) && attempts.len() >= limits::STRANGER_HOSTS_MAX {
            return false;
        }
        let entry = attempts.entry(host).or_insert(Attempts { since: now, count: 0 });
        entry.count = entry.count.saturating_add(1);
        entry.count <= limits::STRANGER_ATTEMPTS_MAX
    }
}

/// What counts as one host: an address, and of IPv6 the /64 that one host has for itself.
pub(super) fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// The strangers' router with the limit on what a request may carry.
pub(super) fn limited(router: Router) -> Router {
    router.layer(DefaultBodyLimit::disable()).layer(from_fn(limit_body))
}

async fn limit_body(request: Request<Body>, next: Next) -> Response {
    if request.body().size_hint().lower() > limits::STRANGER_BODY_BYTES as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, limits::STRANGER_BODY_BYTES)))).await
}

/// Serves one stranger, for as long as it may stay.
pub(super) async fn serve(shared: Arc<Shared>, wire: Wire, key: TransportKey, address: SocketAddr) {
    let ended = shared.root.child_token();
    let _gone = ended.clone().drop_guard();
    let (_opens, none) = mpsc::channel(1);
    let driver = Driver::new(wire, Mode::Server, STRANGER_STREAMS, none);
    let lifetime = Duration::from_millis(limits::STRANGER_LIFETIME_MS);
    let served = serve_streams(&shared, driver, Caller::Stranger { key, address }, ended);
    if tokio::time::timeout(lifetime, served).await.is_err() {
        tracing::debug!(%address, "stranger's time is over");
    }
}

async fn serve_streams(shared: &Shared, mut driver: Driver, caller: Caller, ended: CancellationToken) {
    let serving = Arc::new(Semaphore::new(limits::STRANGER_STREAMS_MAX));
    let mut requests = 0;
    loop {
        let stream = tokio::select! {
            () = shared.closing.cancelled() => return driver.close().await,
            stream = driver.next() => stream,
        };
        let Ok(stream) = stream else { return };
        requests += 1;
        if requests > limits::STRANGER_REQUESTS_MAX || shared.draining.is_cancelled() {
            continue;
        }
        let Ok(permit) = serving.clone().try_acquire_owned() else { continue };
        let served = exchange::serve(stream, shared.stranger_router.clone(), caller, ended.clone());
        shared.exchanges.spawn(async move {
            served.await;
            drop(permit);
        });
    }
}

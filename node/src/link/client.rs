//! One connection as a stranger, for pairing.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use cobs::transport_key::TransportKey;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use yamux::Mode;

use super::dial::{Dialled, dial};
use super::error::LinkError;
use super::exchange::Carrier;
use super::identity::LinkIdentity;
use super::mux::Driver;
use super::stranger::STRANGER_STREAMS;
use super::tls::Role;
use super::wire;

/// A connection as a stranger. Dropping it ends what is still open on it.
#[derive(Debug)]
pub struct Client {
    carrier: Carrier,
    _ended: DropGuard,
}

/// Connects once, as a stranger, to the daemon that holds `expected`; `address` is `host:port`.
pub async fn dial_once(
    identity: &LinkIdentity,
    address: &str,
    expected: TransportKey,
    timeout: Duration,
) -> Result<Client, LinkError> {
    let limit_ms = timeout.as_millis() as u64;
    let Dialled { stream, .. } = tokio::time::timeout(timeout, dial(identity, address, expected, Role::Stranger))
        .await
        .unwrap_or(Err(LinkError::TimedOut { what: "dialling", limit_ms }))?;
    let ended = CancellationToken::new();
    let (carrier, opens) = Carrier::new(ended.clone(), TaskTracker::new());
    let mut driver = Driver::new(wire::wire(stream).0, Mode::Client, STRANGER_STREAMS, opens);
    let driven = ended.clone();
    tokio::spawn(async move {
        // Streams that the other side opens are dropped, which resets them: a stranger serves nothing.
        let drive = async { while driver.next().await.is_ok() {} };
        driven.run_until_cancelled(drive).await;
        driver.close().await;
        driven.cancel();
    });
    Ok(Client { carrier, _ended: ended.drop_guard() })
}

impl Client {
    /// Sends a request and waits for the head of its answer for at most `timeout`.
    pub async fn request(&self, request: Request<Body>, timeout: Duration) -> Result<Response<Body>, LinkError> {
        self.carrier.request(request, timeout).await
    }
}

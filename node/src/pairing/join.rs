//! The joiner's side of pairing: a link is used, and what came of it written down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;

use cobs::adapter::statement;
use cobs::peer::ADDRESSES_MAX;

use super::{Introduction, Redeem, Welcome, introduction, parse, peer_of, to_be_signed};
use crate::clock::{rfc3339, unix_now};
use crate::link::{self, LinkError, LinkIdentity};
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::ops::types::{Arbiter, Join, Joined, PeerGrant};
use crate::store::peers::Standing;
use crate::store::settings::Settings;
use crate::store::state::State as Store;

/// How long the connection to one address of the inviter may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the inviter may take to answer: it signs, and restarts its Radicle node.
const PAIR_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Uses a pairing link: the daemon's side of `rhizome join`.
///
/// # Errors
/// When the link is not good, or the inviter cannot be reached or is another.
pub async fn join(node: &Arc<Node>, join: Join) -> Result<Joined, Error> {
    let own = introduction(node)?;
    let identity = node.identity()?;
    let welcome = ask(&identity, &node.home(), own, &join.link).await?;
    let joiner = Arc::clone(node);
    let grants = join.grants.clone();
    let remembered = welcome.clone();
    let arbiter = join.arbiter;
    let task = tokio::task::spawn_blocking(move || {
        let settings = remember(&joiner.state, &remembered, grants, arbiter)?;
        joiner.peers_changed();
        joiner.take_ledger(remembered.ledger);
        Ok::<_, Error>(settings)
    });
    let settings = task.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    Ok(joined(&welcome, join.grants, &settings))
}

/// Redeems a pairing link over a connection of its own.
///
/// # Errors
/// As [`join`].
pub async fn ask(
    identity: &LinkIdentity,
    home: &cobs::adapter::profile::NodeHome,
    own: Introduction,
    link: &str,
) -> Result<Welcome, Error> {
    let ticket = parse(link)?;
    if ticket.node == own.node {
        return Err(Error::new(Code::BadRequest, "this pairing link was made by this very node")
            .hint("use it on the other machine"));
    }
    if ticket.expires < unix_now() {
        let words = format!("this pairing link ended at {}", rfc3339(ticket.expires));
        return Err(Error::new(Code::InvitationExpired, words).hint("ask the inviter for a new one: rhizome invite"));
    }
    let signed = to_be_signed(&ticket.secret, &own.transport_key, &ticket.key);
    let signature = base64::engine::general_purpose::STANDARD.encode(statement::sign(home, &signed));
    let body = serde_json::to_vec(&Redeem { secret: ticket.secret.clone(), joiner: own, signature });
    let body = body.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let mut trouble = Error::new(Code::PeerUnreachable, "the pairing link names no address");
    for address in ticket.addresses.iter().take(ADDRESSES_MAX) {
        let client = match link::dial_once(identity, address, ticket.key, DIAL_TIMEOUT).await {
            Ok(client) => client,
            Err(error) => {
                trouble = dial_error(address, &error);
                continue;
            }
        };
        let request = Request::post("/pair").header("content-type", "application/json").body(Body::from(body.clone()));
        let request = request.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let response = client.request(request, PAIR_TIMEOUT).await.map_err(|error| dial_error(address, &error))?;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| Error::new(Code::PeerUnreachable, error.to_string()))?;
        if !status.is_success() {
            let odd = |_| Error::new(Code::PeerUnreachable, format!("the inviter answered with {status}"));
            return Err(serde_json::from_slice(&bytes).unwrap_or_else(odd));
        }
        let welcome: Welcome = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Code::PeerUnreachable, format!("the inviter's answer is malformed: {error}"))
        })?;
        welcome.inviter.check()?;
        if welcome.inviter.node != ticket.node || welcome.ledger != ticket.ledger {
            return Err(Error::new(Code::WrongTransportKey, "the inviter is not the node that the link names"));
        }
        return Ok(welcome);
    }
    Err(trouble)
}

fn dial_error(address: &str, error: &LinkError) -> Error {
    let words = format!("cannot pair with {address}: {}", crate::runs::chain(error));
    match error {
        LinkError::WrongKey { .. } => Error::new(Code::WrongTransportKey, words)
            .hint("another program answers there, or the inviter has a new key: ask it for a new link"),
        _ => Error::new(Code::PeerUnreachable, words)
            .hint("check that the inviter's daemon is up and that its address can be reached from here"),
    }
}

/// Writes down the inviter as a peer and its ledger as ours. Blocks.
///
/// # Errors
/// When the state cannot be written.
pub fn remember(
    state: &Store,
    welcome: &Welcome,
    grants: BTreeSet<PeerGrant>,
    arbiter: Arbiter,
) -> Result<Settings, Error> {
    let mut grants = grants;
    grants.insert(PeerGrant::Read);
    if arbiter == Arbiter::Inviter {
        grants.insert(PeerGrant::Arbitrate);
    }
    let peer = peer_of(&welcome.inviter, grants, Standing::Approved);
    state.put_peer(&welcome.inviter.node, &peer).map_err(|error| storage(&error))?;
    let ledger = welcome.ledger;
    let change = |settings: &mut Settings| {
        settings.ledgers.insert(ledger);
        settings.default_ledger.get_or_insert(ledger);
        if arbiter == Arbiter::Inviter {
            settings.arbiter = Some(welcome.inviter.node);
        }
    };
    state.update_settings(change).map_err(|error| storage(&error))
}

/// What a pairing came to.
pub fn joined(welcome: &Welcome, grants: BTreeSet<PeerGrant>, settings: &Settings) -> Joined {
    let mut grants = grants;
    grants.insert(PeerGrant::Read);
    Joined {
        node: welcome.inviter.node,
        alias: welcome.inviter.alias.clone(),
        ledger: welcome.ledger,
        grants,
        granted: welcome.granted.clone(),
        approved: welcome.approved,
        is_default: settings.default_ledger == Some(welcome.ledger),
    }
}

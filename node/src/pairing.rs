//! Pairing two machines: a link with a one-time secret, redeemed over the direct link, which makes the joiner a member
//! of the ledger and each a peer of the other. What each may do to the other is the word of each.

pub mod join;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use serde::{Deserialize, Serialize};

use cobs::adapter::identity::{self, Amendment, IdentityError};
use cobs::adapter::statement;
use cobs::id::{NodeId, RepoId};
use cobs::peer::ADDRESSES_MAX;
use cobs::transport_key::TransportKey;

use crate::clock::{rfc3339, unix_now};
use crate::link::{Caller, PeerAddress};
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::ops::types::{Invitation, Invite, PeerGrant};
use crate::peering::Refusal;
use crate::store::UnixMs;
use crate::store::invitations::{self, Redemption};
use crate::store::peers::{Peer, Standing};
use crate::store::secret::Secret;

/// What a pairing link begins with.
const SCHEME: &str = "rhizome://pair/1/";
/// Longest pairing link.
const LINK_BYTES_MAX: usize = 4096;
/// How long an invitation is good for without a wish.
const EXPIRES_MS: u64 = 60 * 60 * 1000;
/// The longest wish for it.
const EXPIRES_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// Longest alias of another machine.
const ALIAS_BYTES_MAX: usize = 255;
/// Longest address of another machine: a host name and a port.
const ADDRESS_BYTES_MAX: usize = 300;
/// How often an identity revision that another writer got in the way of is signed again.
const AMEND_ATTEMPTS_MAX: u32 = 5;

/// What a pairing link carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Ticket {
    #[serde(rename = "n")]
    node: NodeId,
    #[serde(rename = "k")]
    key: TransportKey,
    #[serde(rename = "l")]
    ledger: RepoId,
    #[serde(rename = "a")]
    addresses: Vec<String>,
    #[serde(rename = "s")]
    secret: String,
    #[serde(rename = "e")]
    expires: UnixMs,
}

/// What either side says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Introduction {
    node: NodeId,
    alias: String,
    transport_key: TransportKey,
    link_addresses: Vec<String>,
    radicle_addresses: Vec<String>,
}

/// The joiner's request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Redeem {
    secret: String,
    joiner: Introduction,
    /// By the joiner's node key, over the secret and both transport keys.
    signature: String,
}

/// The inviter's answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    inviter: Introduction,
    /// The ledger.
    pub ledger: RepoId,
    granted: BTreeSet<PeerGrant>,
    /// False while other delegates have to agree.
    approved: bool,
}

/// What strangers may ask.
pub fn router(node: &Arc<Node>) -> Router {
    Router::new().route("/pair", post(redeem)).with_state(Arc::clone(node))
}

/// The peers that the direct link keeps connected.
pub fn link_peers(peers: &BTreeMap<NodeId, Peer>) -> BTreeMap<NodeId, PeerAddress> {
    let address = |(node, peer): (&NodeId, &Peer)| {
        let key = peer.transport_key.filter(|_| peer.standing == Standing::Approved)?;
        Some((*node, PeerAddress { key, addresses: peer.link_addresses.clone() }))
    };
    peers.iter().filter_map(address).collect()
}

/// Makes a pairing link. Blocks.
///
/// # Errors
/// When this node has no ledger, or is none of its delegates.
pub fn invite(node: &Arc<Node>, invite: &Invite) -> Result<Invitation, Error> {
    let ledger = invite.ledger.map_or_else(|| node.default_ledger(), |ledger| node.own_ledger(ledger))?;
    let known = cobs::adapter::ledger::get(&node.home(), ledger);
    let known = known.map_err(|error| Error::new(Code::NoLedger, error.to_string()))?;
    if !known.members.delegates.contains(&node.id) {
        return Err(Error::new(
            Code::NotDelegate,
            format!("this node is no delegate of {ledger}, so it cannot invite"),
        )
        .hint("invite from the machine that made the ledger"));
    }
    let span = invite.expires_in_ms.unwrap_or(EXPIRES_MS);
    if !(1_000..=EXPIRES_MS_MAX).contains(&span) {
        return Err(Error::new(Code::BadRequest, "an invitation is good for one second to 30 days"));
    }
    let now = unix_now();
    let mut grants = invite.grants.clone();
    grants.insert(PeerGrant::Read);
    let expires = now.plus_ms(span);
    let stored = invitations::Invitation { ledger, grants: grants.clone(), created: now, expires, used_by: None };
    let secret = node.state.create_invitation(&stored).map_err(|error| storage(&error))?;
    let own = introduction(node)?;
    let ticket = Ticket {
        node: node.id,
        key: own.transport_key,
        ledger,
        addresses: own.link_addresses,
        secret: secret.expose().to_owned(),
        expires,
    };
    let json = serde_json::to_vec(&ticket).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let link = format!("{SCHEME}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json));
    Ok(Invitation { link, expires_at: rfc3339(expires), grants })
}

async fn redeem(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<Redeem>,
) -> Result<Json<Welcome>, Refusal> {
    let (Caller::Stranger { key, .. } | Caller::Peer { key, .. }) = caller;
    let task = tokio::task::spawn_blocking(move || {
        let welcome = admit(&node, key, &request)?;
        Ok::<_, Error>((node, welcome))
    });
    let (node, welcome) = task.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    node.block(Node::peers_changed_by_pairing);
    Ok(Json(welcome))
}

/// The inviter's side: proves the joiner, uses the invitation, makes it a member and a peer.
fn admit(node: &Arc<Node>, key: TransportKey, request: &Redeem) -> Result<Welcome, Error> {
    let joiner = &request.joiner;
    joiner.check()?;
    let own = introduction(node)?;
    let signed = to_be_signed(&request.secret, &joiner.transport_key, &own.transport_key);
    let signature = base64::engine::general_purpose::STANDARD.decode(&request.signature).unwrap_or_default();
    if joiner.transport_key != key || !statement::verify(&joiner.node, &signed, &signature) {
        return Err(Error::new(Code::Forbidden, "the joiner did not prove that it is the node it names"));
    }
    let secret = Secret::presented(request.secret.clone());
    let redeemed = node.state.redeem_invitation(&secret, joiner.node, unix_now()).map_err(|error| storage(&error))?;
    let invitation = match redeemed {
        Redemption::Accepted(invitation) | Redemption::Repeated(invitation) => invitation,
        Redemption::Used(_) => {
            return Err(Error::new(Code::InvitationUsed, "this pairing link was used before")
                .hint("ask the inviter for a new one: rhizome invite"));
        }
        Redemption::Expired(at) => {
            let words = format!("this pairing link ended at {}", rfc3339(at));
            return Err(
                Error::new(Code::InvitationExpired, words).hint("ask the inviter for a new one: rhizome invite")
            );
        }
        Redemption::Unknown => {
            return Err(Error::new(Code::Forbidden, "this pairing link is not of this node")
                .hint("ask the inviter for a new one: rhizome invite"));
        }
    };
    let approved = allow(node, invitation.ledger, joiner.node)?;
    node.sync_storage();
    let standing = if approved { Standing::Approved } else { Standing::Pending };
    let peer = peer_of(joiner, invitation.grants.clone(), standing);
    node.state.put_peer(&joiner.node, &peer).map_err(|error| storage(&error))?;
    tracing::info!(peer = %joiner.node, alias = %joiner.alias, approved, "peer joined");
    Ok(Welcome { inviter: own, ledger: invitation.ledger, granted: invitation.grants, approved })
}

/// A new identity revision that lets the joiner fetch the ledger. True when it holds at once.
fn allow(node: &Arc<Node>, ledger: RepoId, joiner: NodeId) -> Result<bool, Error> {
    node.may_sign(ledger)?;
    let home = node.home();
    for attempt in 1.. {
        let repository = cobs::adapter::repository::open(&home, ledger)
            .map_err(|error| Error::new(Code::NoLedger, error.to_string()))?;
        match identity::allow(&home, &repository, &BTreeSet::from([joiner])) {
            Ok(Amendment::Accepted(_) | Amendment::Unchanged) => return Ok(true),
            Ok(Amendment::Pending(_)) => return Ok(false),
            Err(IdentityError::Repository(error)) if attempt < AMEND_ATTEMPTS_MAX => {
                tracing::debug!(%error, "identity revision not signed; once more");
            }
            Err(error @ IdentityError::NotDelegate { .. }) => {
                return Err(Error::new(Code::NotDelegate, error.to_string()));
            }
            Err(error) => return Err(Error::new(Code::Storage, crate::runs::chain(&error))),
        }
    }
    Ok(false)
}

/// Removes a peer: from the ledger's members where this node may, from the link, from Radicle's `connect`. Returns the
/// ledgers of which it stays a member, since their delegates have not agreed. Blocks.
///
/// # Errors
/// When the state or the identity cannot be written.
pub fn remove(node: &Arc<Node>, peer: NodeId) -> Result<BTreeSet<RepoId>, Error> {
    node.state.remove_peer(&peer).map_err(|error| storage(&error))?;
    node.peers_changed();
    if let Some(link) = node.link() {
        link.cut(&peer);
    }
    let home = node.home();
    let mut stays = BTreeSet::new();
    for ledger in node.state.settings().unwrap_or_default().ledgers {
        let Ok(repository) = cobs::adapter::repository::open(&home, ledger) else { continue };
        node.may_sign(ledger)?;
        match identity::disallow(&home, &repository, peer) {
            Ok(Amendment::Accepted(_)) => node.announce(ledger),
            Ok(Amendment::Unchanged) => {}
            Ok(Amendment::Pending(_)) => {
                node.announce(ledger);
                stays.insert(ledger);
            }
            Err(error @ (IdentityError::NotDelegate { .. } | IdentityError::IsDelegate { .. })) => {
                tracing::warn!(%ledger, %error, "the peer stays a member of the ledger");
                stays.insert(ledger);
            }
            Err(error) => return Err(Error::new(Code::Storage, crate::runs::chain(&error))),
        }
    }
    node.replication.forget(peer).map_err(|error| Error::new(Code::Storage, crate::runs::chain(&error)))?;
    Ok(stays)
}

/// What this node says of itself.
///
/// # Errors
/// When the direct link is not up.
pub fn introduction(node: &Arc<Node>) -> Result<Introduction, Error> {
    let link = node.link().ok_or_else(|| Error::new(Code::Busy, "the daemon is starting").retry_after_ms(500))?;
    Ok(Introduction {
        node: node.id,
        alias: node.own_alias.clone(),
        transport_key: link.local_key(),
        link_addresses: node.link_addresses(),
        radicle_addresses: node.radicle_addresses(),
    })
}

impl Welcome {
    /// The inviter's Radicle node and where it is dialled.
    pub fn radicle_peers(&self) -> Vec<(NodeId, String)> {
        self.inviter.radicle_addresses.iter().map(|address| (self.inviter.node, address.clone())).collect()
    }
}

impl Introduction {
    /// Bounds what another machine says of itself before it is kept and shown.
    fn check(&self) -> Result<(), Error> {
        let addresses = [&self.link_addresses, &self.radicle_addresses];
        let alias = !self.alias.is_empty() && self.alias.len() <= ALIAS_BYTES_MAX;
        let fits = alias
            && !self.alias.contains(char::is_control)
            && addresses
                .iter()
                .all(|all| all.len() <= ADDRESSES_MAX && all.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX));
        if fits { Ok(()) } else { Err(Error::new(Code::BadRequest, "the other machine's alias or addresses are odd")) }
    }

    /// For a home without a daemon, which cannot be dialled yet.
    pub fn offline(node: NodeId, alias: String, transport_key: TransportKey) -> Self {
        Self { node, alias, transport_key, link_addresses: Vec::new(), radicle_addresses: Vec::new() }
    }
}

/// The addresses by which others can reach what listens here: for a wildcard, this machine's own address towards the
/// network, and loopback where there is no other.
pub fn reachable(listening: &[SocketAddr]) -> Vec<String> {
    let own = |address: &SocketAddr| {
        if !address.ip().is_unspecified() {
            return address.to_string();
        }
        let (any, far, loopback) = match address {
            SocketAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9", IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SocketAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9", IpAddr::V6(Ipv6Addr::LOCALHOST)),
        };
        // connecting a datagram socket chooses a route and sends nothing; the addresses are reserved for documents
        let route = UdpSocket::bind(any).and_then(|socket| socket.connect(far).and_then(|()| socket.local_addr()));
        SocketAddr::new(route.map_or(loopback, |route| route.ip()), address.port()).to_string()
    };
    listening.iter().map(own).collect()
}

fn peer_of(introduction: &Introduction, grants: BTreeSet<PeerGrant>, standing: Standing) -> Peer {
    Peer {
        alias: Some(introduction.alias.clone()),
        transport_key: Some(introduction.transport_key),
        link_addresses: introduction.link_addresses.clone(),
        radicle_addresses: introduction.radicle_addresses.clone(),
        grants,
        since: unix_now(),
        standing,
    }
}

/// Whether a text is a pairing link at all: looked at before anything is set up for it.
///
/// # Errors
/// When it is none.
pub fn check(link: &str) -> Result<(), Error> {
    parse(link).map(drop)
}

fn parse(link: &str) -> Result<Ticket, Error> {
    let bad = || {
        Error::new(Code::BadRequest, "this is no pairing link")
            .hint("a pairing link begins with rhizome://pair/1/ and is made by: rhizome invite")
    };
    let text = link.trim();
    let encoded = text.strip_prefix(SCHEME).filter(|_| text.len() <= LINK_BYTES_MAX).ok_or_else(bad)?;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).map_err(|_| bad())?;
    serde_json::from_slice(&json).map_err(|_| bad())
}

fn to_be_signed(secret: &str, joiner: &TransportKey, inviter: &TransportKey) -> Vec<u8> {
    format!("rhizome-pair-1\n{secret}\n{joiner}\n{inviter}\n").into_bytes()
}

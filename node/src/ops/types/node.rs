//! Wire types of the node itself: health, peers, pairing, tokens, configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use cobs::id::{NodeId, RepoId};
use cobs::job::state::Status;
use cobs::transport_key::TransportKey;
use scheduler::capacity::Capacity;

use crate::ops::Scope;
use crate::store::peers::Grant as PeerGrant;

/// How a node is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok` or `degraded`.
    pub status: String,
    /// The rest, for those who may read jobs.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub detail: Option<HealthDetail>,
}

/// The part of health that needs `read:jobs`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthDetail {
    /// This node.
    pub node: NodeId,
    /// Its alias.
    pub alias: String,
    /// Of the program.
    pub version: String,
    /// Milliseconds since the daemon started.
    pub uptime_ms: u64,
    /// What it offers.
    pub capacity: Option<Capacity>,
    /// Its ledgers.
    pub ledgers: Vec<LedgerStatus>,
    /// Those it knows.
    pub peers: Vec<Peer>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Who runs its Radicle node.
    #[serde(default)]
    pub radicle_node: RadicleNode,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Who runs a node's Radicle node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RadicleNode {
    /// The daemon, in its own process.
    #[default]
    Embedded,
    /// Somebody else; the daemon is attached to the `radicle-node` that runs in its home.
    Attached {
        /// Whether it does not answer at the moment.
        is_silent: bool,
        /// Whether some of the home's configuration takes effect only when it is started again.
        is_outdated: bool,
    },
    /// Nobody, since it could not be started; the daemon tries again.
    Stopped,
}

/// One ledger of this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerStatus {
    /// Its id.
    pub id: RepoId,
    /// Whether it is the default one.
    pub default: bool,
    /// Whether it is here, or still to be fetched.
    pub present: bool,
    /// Jobs by status.
    pub jobs: BTreeMap<Status, u64>,
}

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// The HTTP API.
    pub api: Vec<String>,
    /// The direct link.
    pub link: Vec<String>,
    /// The Radicle node.
    pub radicle: Vec<String>,
    /// The unix socket.
    pub socket: String,
}

/// A peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its id.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// `approved` or `pending`.
    pub state: String,
    /// What it may do here.
    pub grants: BTreeSet<PeerGrant>,
    /// The key its link presents.
    pub transport_key: Option<TransportKey>,
    /// Whether the direct link is up.
    pub linked: bool,
    /// Whether the Radicle nodes are connected.
    pub replicating: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its last capacity, when it is recent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// A peer that was removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// As it was.
    #[serde(flatten)]
    pub peer: Peer,
    /// Ledgers that it may still fetch and write, since their delegates have not agreed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stays_member_of: BTreeSet<RepoId>,
}

/// Change what a peer may do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerChange {
    /// Added.
    #[serde(default)]
    pub grant: BTreeSet<PeerGrant>,
    /// Taken away.
    #[serde(default)]
    pub revoke: BTreeSet<PeerGrant>,
}

/// Ask for a pairing link.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invite {
    /// What the joiner may do here, besides reading.
    #[serde(default)]
    pub grants: BTreeSet<PeerGrant>,
    /// Milliseconds it is good for; an hour without.
    #[serde(default)]
    pub expires_in_ms: Option<u64>,
    /// The ledger; the default one without.
    #[serde(default)]
    pub ledger: Option<RepoId>,
}

/// A pairing link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Given to the joiner over a channel that both trust.
    pub link: String,
    /// RFC 3339 UTC.
    pub expires_at: String,
    /// What the joiner may do here.
    pub grants: BTreeSet<PeerGrant>,
}

/// Use a pairing link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The link.
    pub link: String,
    /// What the inviter may do here, besides reading.
    #[serde(default)]
    pub grants: BTreeSet<PeerGrant>,
    /// Who decides about this node's jobs from now on.
    #[serde(default)]
    pub arbiter: Arbiter,
}

/// Who decides about the jobs of a node that joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Arbiter {
    /// The node itself, or whom it chose before.
    #[default]
    Unchanged,
    /// The inviter, which is always on: the joiner may sleep.
    Inviter,
}

/// A pairing that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The inviter.
    pub node: NodeId,
    /// Its alias.
    pub alias: String,
    /// The ledger that was joined.
    pub ledger: RepoId,
    /// What the inviter may do here.
    pub grants: BTreeSet<PeerGrant>,
    /// What we may do there.
    pub granted: BTreeSet<PeerGrant>,
    /// False while the ledger's other delegates have to agree.
    pub approved: bool,
    /// Whether jobs go to this ledger without a wish.
    pub is_default: bool,
}

/// What was taken back from peers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recovered {
    /// The ledgers that were behind, with the alias of the peer that held more.
    pub ledgers: BTreeMap<RepoId, String>,
}

/// Make a token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenCreate {
    /// Its name; unique on the node.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Milliseconds it is good for; for ever without.
    #[serde(default)]
    pub expires_in_ms: Option<u64>,
}

/// A token that was made; its secret is shown this once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenCreated {
    /// Its name.
    pub name: String,
    /// The bearer token.
    pub secret: String,
}

/// A token in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// RFC 3339 UTC.
    pub created_at: String,
    /// RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// One value of the configuration and where it came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigValue {
    /// Dotted.
    pub key: String,
    /// As it would stand in the file.
    pub value: String,
    /// `default`, a file, an environment variable or a flag.
    pub from: String,
}

/// Which records of the audit to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// How many; 100 without.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// One operation that was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// RFC 3339 UTC.
    pub at: String,
    /// The owner, or the name of a token.
    pub caller: String,
    /// Its name.
    pub operation: String,
    /// The job, peer, token or blob that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `ok`, the code of its error, or `abandoned` when the caller hung up.
    pub result: String,
}

//! The peer record: what a node says of itself, replaced and never appended, at `refs/rhizome/peer` of its namespace.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::job::spec::RunnerKind;
use crate::transport_key::TransportKey;

/// The type name of the signed commit that carries the record.
pub const TYPE_NAME: &str = "io.rhizome.peer";
/// Most bytes of a record.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Most addresses in a record.
pub const ADDRESSES_MAX: usize = 16;

/// What a node says of itself. Wire form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerRecord {
    /// [`crate::PROTOCOL_VERSION`] of its daemon.
    pub protocol: u32,
    /// What people call it.
    pub alias: String,
    /// `host:port` of its direct link.
    #[serde(default)]
    pub link_addresses: Vec<String>,
    /// `host:port` of its Radicle node.
    #[serde(default)]
    pub radicle_addresses: Vec<String>,
    /// The key its direct link presents.
    pub transport_key: TransportKey,
    /// Labels of its config.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Runner kinds that its smoke runs found to work. A kind that this build does not know is left out: a peer with a
    /// newer one is a peer all the same.
    #[serde(default, deserialize_with = "known")]
    pub runners: BTreeSet<RunnerKind>,
}

/// Why bytes are no peer record.
#[derive(Debug, thiserror::Error)]
pub enum PeerRecordError {
    /// Over a bound.
    #[error("the peer record's {field} is over its limit of {limit}")]
    Bounds {
        /// The field.
        field: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not JSON of a record.
    #[error("the peer record is malformed")]
    Malformed(#[source] serde_json::Error),
}

impl PeerRecord {
    /// Reads a record strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, PeerRecordError> {
        let bound = |value: usize, limit, field| {
            if value <= limit { Ok(()) } else { Err(PeerRecordError::Bounds { field, limit }) }
        };
        bound(bytes.len(), RECORD_BYTES_MAX, "size")?;
        let record: Self = serde_json::from_slice(bytes).map_err(PeerRecordError::Malformed)?;
        bound(record.link_addresses.len(), ADDRESSES_MAX, "link addresses")?;
        bound(record.radicle_addresses.len(), ADDRESSES_MAX, "radicle addresses")?;
        Ok(record)
    }

    /// The bytes stored.
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<RunnerKind>, D::Error> {
    let kinds = BTreeSet::<String>::deserialize(deserializer)?;
    Ok(kinds.into_iter().filter_map(|kind| serde_json::from_value(Value::String(kind)).ok()).collect())
}

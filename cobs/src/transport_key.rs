//! The key that a node's direct link presents. Kept here because the signed peer record names it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The Ed25519 public key of a daemon's TLS certificate; written as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TransportKey(pub [u8; 32]);

/// The text is not a transport key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a transport key of 64 hex digits")]
pub struct TransportKeyError(String);

impl fmt::Display for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportKey({self})")
    }
}

impl FromStr for TransportKey {
    type Err = TransportKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest: Digest = text.parse().map_err(|_| TransportKeyError(text.chars().take(80).collect()))?;
        Ok(Self(digest.0))
    }
}

impl From<TransportKey> for String {
    fn from(key: TransportKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for TransportKey {
    type Error = TransportKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

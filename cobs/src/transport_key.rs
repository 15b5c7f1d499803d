//! The transport key: what a daemon's TLS certificate carries and its signed peer record names.
//!
//! It says nothing of who holds it: only the peer record binds it to a node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of an Ed25519 public key.
pub const TRANSPORT_KEY_BYTES: usize = 32;

/// An Ed25519 public key. Written as 64 lower-case hex digits, its only spelling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportKey([u8; TRANSPORT_KEY_BYTES]);

/// Why a text is no transport key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a transport key is 64 lower-case hex digits, not {text:?}")]
pub struct TransportKeyError {
    text: String,
}

impl TransportKey {
    /// The key of these bytes; whether they are a point on the curve shows at the first signature.
    pub const fn from_bytes(bytes: [u8; TRANSPORT_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw key.
    pub const fn as_bytes(&self) -> &[u8; TRANSPORT_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Display for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
        parse(text.as_bytes()).map(Self).ok_or_else(|| TransportKeyError { text: text.chars().take(80).collect() })
    }
}

impl Serialize for TransportKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransportKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(text: &[u8]) -> Option<[u8; TRANSPORT_KEY_BYTES]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut key = [0; TRANSPORT_KEY_BYTES];
    if pairs.len() != key.len() {
        return None;
    }
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_spelling() {
        // A key reads back as it is written, and no other text reads as a key.
        let key = TransportKey::from_bytes(std::array::from_fn(|i| (i * 37) as u8));
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<TransportKey>(&format!("\"{text}\"")).unwrap(), key);
        for wrong in [text.to_uppercase(), text[1..].to_owned(), format!("{text}00"), text.replacen('0', "g", 1)] {
            assert!(wrong.parse::<TransportKey>().is_err(), "{wrong}");
        }
    }
}

//! Random secrets that are shown once and kept as their hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cobs::digest::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How a bearer token begins, so that scanners for leaked secrets can know it.
const TOKEN_PREFIX: &str = "rhz_";
/// How the one-time secret of an invitation begins.
const INVITATION_PREFIX: &str = "rhi_";

/// A secret in the clear. Never stored; its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// SHA-256 of a secret's text; what is stored. 256 random bits need no salt and no slow hash.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(Digest);

impl Secret {
    /// A new bearer token.
    pub fn token() -> Self {
        Self::random(TOKEN_PREFIX)
    }

    /// A new one-time secret of an invitation.
    pub fn invitation() -> Self {
        Self::random(INVITATION_PREFIX)
    }

    /// What a caller presented, whatever it is.
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Digest(Sha256::digest(self.0.as_bytes()).into()))
    }

    fn random(prefix: &str) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).expect("the kernel gives randomness once it has booted");
        Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl SecretHash {
    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn same_as(&self, other: &Self) -> Choice {
        self.0.0.ct_eq(&other.0.0)
    }

    /// The bytes, as a key of a table.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0.0
    }
}

//! Identifiers. Every id, unit and token has a type of its own, so that two of them cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use radicle_core::{NodeId, RepoId};
pub use radicle_oid::Oid;

macro_rules! oid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub Oid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = OidError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_oid(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = OidError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

/// The text is not an object id.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not an object id of 40 lowercase hex digits")]
pub struct OidError(String);

/// Reads 40 lowercase hex digits. `Oid::from_str` alone would panic on some text of another alphabet, and take
/// several spellings for one id.
pub(crate) fn parse_oid(text: &str) -> Result<Oid, OidError> {
    let strict = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let error = || OidError(text.chars().take(80).collect());
    if strict { Oid::from_str(text).map_err(|_| error()) } else { Err(error()) }
}

oid_newtype!(
    /// A job: the object id, which is the commit id of its root operation. 40 hex digits, always whole on the wire.
    JobId
);
oid_newtype!(
    /// The tree of an operation: what its author's signature covers, and with the author its identity.
    TreeId
);
oid_newtype!(
    /// A git commit in a source repository.
    CommitId
);
oid_newtype!(
    /// A revision of the ledger's identity document, which an operation pins.
    RevisionId
);

/// Counts the hand-overs between arbiters of a job; 0 is `arbiters[0]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// Counts the grants of a job over all its epochs; the first is 1, and 0 is a run that needs no grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u32);

/// What a run is fenced by: compared by epoch, then term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Token {
    /// The epoch of the arbiter that granted it.
    pub epoch: Epoch,
    /// The term granted.
    pub term: Term,
}

impl Token {
    /// The token of `epoch` and `term`.
    pub const fn new(epoch: u32, term: u32) -> Self {
        Self { epoch: Epoch(epoch), term: Term(term) }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.term.0)
    }
}

/// One run: a job under a token on a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RunId {
    /// The job.
    pub job: JobId,
    /// The token it runs under.
    pub token: Token,
    /// Where it runs.
    pub node: NodeId,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.job, self.token, self.node)
    }
}

/// Numbers the operations of one author on one job, from 0. Of each author 0 to [`Seq::MAX`] count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u32);

impl Seq {
    /// The last sequence number that counts; an arbiter keeps it for its settle.
    pub const MAX: Seq = Seq(255);
}

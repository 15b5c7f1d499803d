//! The operations of a node, once. REST, WebSocket and the command line are spellings of them; scope, idempotency and
//! error codes are decided here.

pub mod error;
pub mod types;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// See jobs, logs, artifacts, runs, and the whole of `/health`.
    #[serde(rename = "read:jobs")]
    ReadJobs,
    /// Submit, cancel, evict, upload inputs.
    #[serde(rename = "write:jobs")]
    WriteJobs,
}

/// Whether a log goes on after what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// Up to what there is.
    No,
    /// Until the job ends.
    Yes,
}

/// Who calls an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Whoever opened the unix socket is the node.
    Owner,
    /// A bearer token of this node.
    Token {
        /// Its name.
        name: String,
        /// What it may do.
        scopes: BTreeSet<Scope>,
    },
    /// Nobody in particular.
    Anonymous,
}

impl Caller {
    /// Refuses a caller without the scope.
    pub fn require(&self, scope: Scope) -> Result<(), error::Error> {
        match self {
            Self::Owner => Ok(()),
            Self::Token { scopes, .. } if scopes.contains(&scope) => Ok(()),
            Self::Token { .. } => Err(error::Error::forbidden(scope)),
            Self::Anonymous => Err(error::Error::unauthorized()),
        }
    }

    /// Refuses everyone but the owner.
    pub fn require_owner(&self) -> Result<(), error::Error> {
        match self {
            Self::Owner => Ok(()),
            Self::Token { .. } | Self::Anonymous => Err(error::Error::owner_only()),
        }
    }

    /// The name that scopes an idempotency key and that `submitted_by` shows.
    pub fn name(&self) -> &str {
        match self {
            Self::Owner => "owner",
            Self::Token { name, .. } => name,
            Self::Anonymous => "anonymous",
        }
    }
}

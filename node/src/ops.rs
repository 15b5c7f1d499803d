//! The operations of a node, once. REST, WebSocket and the command line are spellings of them; scope, idempotency,
//! error codes, audit and metrics are decided here.

mod arbitration;
mod audit;
mod candidates;
pub mod context;
mod context_of_job;
pub mod error;
mod explain;
pub mod health;
pub mod jobs;
pub mod logs;
pub mod peers;
mod reach;
pub mod runs;
pub mod stream;
pub mod submit;
pub mod tokens;
pub mod transfer;
pub mod types;
pub mod unfinished;
pub mod upload;
mod why;

use std::collections::BTreeSet;

pub(crate) use self::audit::{Ended, Kind, Record};
pub use crate::store::tokens::Scope;

/// Whether a log is read to its present end, or to the end of its run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// What is there.
    No,
    /// All there will be.
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

//! What a node remembers on its own disk: [`state`], small and precious, and [`view`], which can be rebuilt.
//!
//! The only module that names `redb`. Everything here blocks: call it from a thread that may. It must not know
//! jobs beyond the row by which they are listed, nor the network.

pub mod audit;
pub mod claims;
pub mod idempotency;
pub mod invitations;
pub mod peers;
pub mod secret;
pub mod settings;
pub mod state;
pub mod tokens;
pub mod view;

mod file;
mod group;
mod handle;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 in UTC, by this machine's wall clock; never a ground for who may run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The time `ms` later; stops at the end of time.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file, where one was expected.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a file already, where one was to be created.
    #[error("{path} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version of this program; no record was changed.
    #[error("home of a newer version: {path} has schema {found}, this program knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// Its content is damaged; nothing was changed.
    #[error("{path} is corrupt: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another process has it open.
    #[error("{path} is open in another process")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The system refused to read or write it; a full disk is one reason.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A stored record does not decode.
    #[error("the record of {what} does not decode")]
    Record {
        /// The table.
        what: &'static str,
        /// Where it broke.
        #[source]
        source: serde_json::Error,
    },
    /// A name is in use.
    #[error("there is a {what} named '{name}' already")]
    Taken {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A table holds all it may.
    #[error("there are {limit} {what} already, which is the limit")]
    Full {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The engine failed in another way.
    #[error("the storage engine failed")]
    Engine(#[source] Box<redb::Error>),
}

impl StoreError {
    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some("run `rhizome init` first"),
            Self::Exists { .. } => Some("this home is initialised already; choose another with `--home`"),
            Self::Newer { .. } => Some("install the newer rhizome that wrote this home, or choose another home"),
            Self::Corrupt { .. } => Some(
                "the file was left as it is; look for disk errors, and move the node to a new home: jobs and results are in the ledger",
            ),
            Self::Busy { .. } => Some("stop the other daemon of this home, or choose another home"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some("free some disk space"),
            Self::Io { .. } => Some("check the disk and the permissions of the home"),
            Self::Taken { .. } => Some("choose another name"),
            Self::Full { .. } => Some("remove some that are no longer needed"),
            Self::Record { .. } | Self::Engine(_) => None,
        }
    }

    /// The same error with the file it happened to.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Engine(error) => match *error {
                redb::Error::Corrupted(reason) => Self::Corrupt { path: path.into(), reason },
                redb::Error::Io(source) => file::io_error(path, source),
                redb::Error::DatabaseAlreadyOpen => Self::Busy { path: path.into() },
                other => Self::Engine(Box::new(other)),
            },
            other => other,
        }
    }
}

macro_rules! from_engine {
    ($($error:ty),+) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Engine(Box::new(error.into()))
            }
        })+
    };
}

from_engine!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// The bytes of a record.
fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold string keys and integers only")
}

/// The record in `bytes` of table `what`.
fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Record { what, source })
}

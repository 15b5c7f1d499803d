//! What the thread that indexes shows to those that search.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::index::catalog::Catalog;
use crate::index::words::Words;

/// An index that is searched: its words, and what is in memory of the same documents.
pub struct Serving {
    /// The words.
    pub words: Words,
    catalog: RwLock<Catalog>,
}

impl Serving {
    /// Puts both together.
    pub(super) fn new(words: Words, catalog: Catalog) -> Self {
        Self { words, catalog: RwLock::new(catalog) }
    }

    /// The documents.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is searched, and how the work on it stands.
pub struct Shared {
    serving: RwLock<Arc<Serving>>,
    status: Mutex<Status>,
}

impl Shared {
    pub(super) fn new(serving: Arc<Serving>) -> Self {
        Self { serving: RwLock::new(serving), status: Mutex::default() }
    }

    /// The index as it is now; it stays whole while it is held.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn serve(&self, serving: Arc<Serving>) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    /// How the work stands.
    pub fn status(&self) -> Status {
        self.tell().clone()
    }

    pub(super) fn tell(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the work on the index stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What is being done.
    pub phase: Phase,
    /// How changes are noticed.
    pub watch: WatchState,
    /// Files that are not indexed though they might be expected to be, with the reason.
    pub skipped: BTreeMap<String, String>,
    /// How many more there are than are listed.
    pub skipped_more: u64,
    /// What is wrong with the rules of what is indexed.
    pub faults: Vec<String>,
    /// Why the last attempt to write the index failed; none since one succeeded.
    pub failure: Option<String>,
    /// When the last scan of the whole vault ended, in milliseconds of Unix time.
    pub scanned_at_ms: Option<u64>,
    /// Bytes that have been read of the vault since the start.
    pub bytes_read: u64,
}

/// What the indexing thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Phase {
    /// The vault is looked through for the first time since the start.
    #[default]
    Starting,
    /// An index is built.
    Building {
        /// Documents that it has.
        documents: u64,
    },
    /// The index has what the vault has, but for what changes now.
    Ready,
}

/// How changes are noticed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "by")]
pub enum WatchState {
    /// Not yet, or there is no vault.
    #[default]
    Nothing,
    /// The system tells.
    Events,
    /// By looking, because the system does not tell.
    Scanning {
        /// Why.
        why: String,
        /// How often, in seconds.
        every_s: u64,
    },
}

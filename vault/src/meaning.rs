//! The vectors of documents, kept as the index changes: what lacks them is embedded, what went is forgotten.
//!
//! A collection is of one embedder. Another embedder has another collection, which is built beside the first and searched when
//! it is complete.

mod keeper;
pub mod stamps;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::embed::{Embedder, Reach};
use crate::search::Meaning;
use crate::vectors::{Collection, PointId, VectorStore};

pub use keeper::{FALL_BACK, Keeper, KeeperError, Open, Setup};

/// When what failed is tried again, and how often all is compared although nothing was told.
const RETRY: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_secs(60);

/// What is searched by meaning.
#[derive(Clone)]
pub struct Ready {
    /// Where the vectors are.
    pub store: Arc<dyn VectorStore>,
    /// Whether that is on this machine.
    pub store_reach: Reach,
    /// Which of them.
    pub collection: Collection,
    /// What made them.
    pub embedder: Arc<dyn Embedder>,
}

impl Ready {
    /// As a search takes it.
    pub fn meaning(&self) -> Meaning<'_> {
        let Self { store, store_reach, collection, embedder } = self;
        Meaning { store: &**store, store_reach: *store_reach, collection, embedder: &**embedder }
    }
}

/// How the vectors stand.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeaningStatus {
    /// Where the vectors are.
    pub store: String,
    /// The collection that is searched.
    pub collection: Option<String>,
    /// The one that is built beside it.
    pub building: Option<String>,
    /// Documents with all their vectors in the one that is built or searched.
    pub documents: u64,
    /// Documents that shall have them.
    pub of: u64,
    /// Documents that shall not, because they are private and the embedder is on another machine.
    pub private: u64,
    /// Passages that were embedded since the start, not out of the cache.
    pub embedded: u64,
    /// Why there are fewer than there shall be; none while all is well.
    pub failure: Option<String>,
}

/// What the thread shows.
#[derive(Default)]
pub(crate) struct Shown {
    pub status: MeaningStatus,
    pub ready: Option<Ready>,
    /// When each document had its vectors, in milliseconds of Unix time, with a digest of which.
    pub stamped: BTreeMap<String, stamps::Stamp>,
}

/// Tells the thread that the index has changed.
#[derive(Clone)]
pub struct Nudge(SyncSender<()>);

/// What the thread is told by.
pub struct Nudged(Receiver<()>);

/// A way to tell a thread that is yet to be started.
pub fn nudge() -> (Nudge, Nudged) {
    let (nudge, nudged) = sync_channel(1);
    (Nudge(nudge), Nudged(nudged))
}

impl Nudge {
    /// Tells that something changed. One that waits already is enough.
    pub fn send(&self) {
        match self.0.try_send(()) {
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// The thread that keeps vectors; it ends when this is dropped.
pub struct Meanings {
    nudge: Nudge,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    shown: Arc<Mutex<Shown>>,
}

impl Meanings {
    /// Begins to keep vectors.
    ///
    /// # Errors
    /// When what is kept of them cannot be opened.
    pub fn start(setup: Setup, nudge: Nudge, nudged: Nudged) -> Result<Self, KeeperError> {
        let (shown, stop) = (Arc::new(Mutex::new(Shown::default())), Arc::new(AtomicBool::new(false)));
        let mut keeper = Keeper::open(setup, Arc::clone(&shown), Arc::clone(&stop))?;
        let run = move || run(&mut keeper, &nudged);
        let thread = Builder::new().name("vectors".to_owned()).spawn(run).map_err(KeeperError::System)?;
        nudge.send();
        Ok(Self { nudge, stop, thread: Some(thread), shown })
    }

    /// What is searched by meaning now; none while there is nothing, and the status says why.
    pub fn ready(&self) -> Option<Ready> {
        self.shown().ready.clone()
    }

    /// Why nothing is searched by meaning, where [`Self::ready`] is none.
    pub fn missing(&self) -> String {
        let status = self.status();
        let being_made =
            || format!("vectors are being made: {} of {} documents have theirs", status.documents, status.of);
        status.failure.clone().unwrap_or_else(being_made)
    }

    /// How the vectors stand.
    pub fn status(&self) -> MeaningStatus {
        self.shown().status.clone()
    }

    /// Since when a document has its vectors as it is, in milliseconds of Unix time; `digests` are those of its passages.
    pub fn stamped(&self, document: &str, digests: &[String]) -> Option<u64> {
        let shown = self.shown();
        let stamp = shown.stamped.get(document)?;
        digests.iter().all(|digest| stamp.digests.contains(digest)).then_some(stamp.at_ms)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Meanings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.nudge.send();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps vectors had panicked");
        }
    }
}

fn run(keeper: &mut Keeper, nudged: &Nudged) {
    let mut wait = PERIOD;
    while !matches!(nudged.0.recv_timeout(wait), Err(RecvTimeoutError::Disconnected)) && !keeper.is_stopped() {
        wait = match keeper.pass() {
            Ok(()) => PERIOD,
            Err(error) => {
                tracing::info!(%error, "vectors are missing, which is tried again");
                RETRY
            }
        };
    }
}

/// The name of a passage's point.
fn point_id(document: &str, digest: &str) -> PointId {
    let hash = Sha256::new().chain_update(document).chain_update([0]).chain_update(digest).finalize();
    let (begin, _) = hash.split_at(16);
    PointId(u128::from_be_bytes(begin.try_into().expect("it has 16 bytes")))
}

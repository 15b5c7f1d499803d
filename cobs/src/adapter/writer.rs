//! The one thread of a home that writes: operations, peer records, archives.
//!
//! It signs at once when idle; what arrives meanwhile is the next batch: one signature, one sync of the file system,
//! one announcement, and only then the replies. It never reads a clock for what it writes and knows no network:
//! announcing is a callback.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use radicle::Storage;
use radicle::crypto::Signer;
use radicle_oid::Oid;

use crate::id::{JobId, NodeId, RepoId, Seq, TreeId};
use crate::job::action::ActionError;
use crate::peer::PeerRecordError;

mod draft;
mod ledger;
mod lock;
mod thread;

pub use draft::{Draft, Urgency};
pub use lock::LOCK_FILE;

/// Most drafts that wait for the writer.
pub const QUEUE_DRAFTS_MAX: usize = 1024;
/// Most drafts under one signature.
pub const BATCH_DRAFTS_MAX: usize = 64;
/// How often a reference is moved again after another process moved it.
pub const MOVE_ATTEMPTS_MAX: u32 = 16;
/// How often references are signed again after another process signed them.
pub const SIGN_ATTEMPTS_MAX: u32 = 10;
/// Wait before the second attempt at a signature or a reference, in milliseconds; doubled for each further one.
pub const RETRY_MS: u64 = 1;
/// The longest wait between two attempts, in milliseconds.
pub const RETRY_MS_MAX: u64 = 64;
/// How soon stored operations that could not be signed are tried again, in milliseconds.
pub const UNSIGNED_RETRY_MS: u64 = 1_000;
/// Live jobs of this node in one ledger, its own and others', finished and not, at which no more are created.
pub const LIVE_MAX: usize = 3_000;
/// When to try again to create a job in a full ledger, in milliseconds.
pub const LEDGER_FULL_RETRY_MS: u64 = 60_000;

/// What the writer works with.
pub struct WriterConfig<S> {
    /// The storage of the home.
    pub storage: Storage,
    /// The node's key.
    pub signer: S,
    /// The home, in which the lock file lies.
    pub home: PathBuf,
    /// Told how far each draft of a batch is; [`nobody`] where nobody asks.
    pub passed: Passed,
}

/// Called on the writer's thread with a draft's name and how far it is: `asked`, `stored`, `signed`, `synced`, then
/// `announced`, after which it is answered. Tests end the process there.
pub type Passed = fn(&'static str, &'static str);

/// Asks for nothing.
pub fn nobody(_draft: &'static str, _how_far: &'static str) {}

/// Something written, signed and on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// An operation of a job.
    Operation(Operation),
    /// The peer record.
    PeerRecord {
        /// Where.
        ledger: RepoId,
        /// Its commit.
        commit: Oid,
    },
    /// An archive.
    Archived {
        /// Where.
        ledger: RepoId,
        /// How many jobs moved.
        jobs: usize,
    },
    /// What a peer held is here again.
    Recovered {
        /// Where.
        ledger: RepoId,
    },
    /// What was unsigned is signed.
    Published {
        /// Where.
        ledger: RepoId,
    },
}

/// An operation that is signed and on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Where.
    pub ledger: RepoId,
    /// The job.
    pub job: JobId,
    /// What a settle names it by.
    pub tree: TreeId,
    /// The sequence number it got.
    pub seq: Seq,
    /// Its commit.
    pub commit: Oid,
}

/// A cause that several waiting replies share.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a draft was not written. All but [`WriteError::Unconfirmed`] leave nothing behind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The queue is full.
    #[error("the writer is busy: {QUEUE_DRAFTS_MAX} operations wait")]
    Busy,
    /// The writer has ended.
    #[error("the writer has stopped")]
    Stopped,
    /// A peer holds newer operations of this node than this home does.
    #[error("a peer holds newer operations of this node in {0} than this home does: it was restored from a copy")]
    Behind(RepoId),
    /// The ledger is not in this storage, or cannot be opened.
    #[error("cannot open ledger {ledger}")]
    Ledger {
        /// The ledger.
        ledger: RepoId,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The ledger does not hold the job.
    #[error("there is no job {0} in this ledger")]
    UnknownJob(JobId),
    /// The action breaks a bound of the wire form.
    #[error("the action cannot be written")]
    Invalid(#[source] ActionError),
    /// The peer record breaks a bound.
    #[error("the peer record cannot be written")]
    Record(#[source] Arc<PeerRecordError>),
    /// This node's operations on the job are used up; the last one is kept for a settle.
    #[error("no sequence number is left for job {0}")]
    SequenceExhausted(JobId),
    /// An equal root exists: the nonce was used before.
    #[error("job {0} exists already: its nonce was used before")]
    Exists(JobId),
    /// This node has too many live jobs here.
    #[error("the ledger is full: {live} live jobs of this node; try again in {retry_after_ms} ms")]
    LedgerFull {
        /// Live jobs of this node.
        live: usize,
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Another process goes on moving the job's reference.
    #[error("another process keeps writing job {0}")]
    Contended(JobId),
    /// The disk is full.
    #[error("the disk of the storage is full")]
    DiskFull(#[source] Cause),
    /// The storage fails.
    #[error("cannot {doing} in the ledger's storage")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// The operation is stored, and could be neither signed and made durable nor taken back. It will be published
    /// with the next signature: read the job before writing it again.
    #[error("the operation is stored but not confirmed")]
    Unconfirmed(#[source] Cause),
}

/// Why there is no writer.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// Another daemon writes to this home.
    #[error("another daemon uses {home}{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The home.
        home: String,
        /// The other daemon's process, where it is known.
        pid: Option<u32>,
    },
    /// The home or its storage cannot be used.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Called once with what became of a draft: on the writer's thread, or at once on the caller's when it was not taken.
pub type Reply = Box<dyn FnOnce(Result<Written, WriteError>) + Send>;
/// Called once for each ledger of a batch, when the batch is durable.
pub type Announce = Box<dyn FnMut(RepoId, Urgency) + Send>;
/// Called for everything written, when it is durable and before its reply.
pub type OnWritten = Box<dyn FnMut(&Written) + Send>;

/// Starts writers.
pub struct Writer;

/// The way to a writer; the writer ends when it is stopped or all handles are gone.
#[derive(Clone)]
pub struct WriterHandle {
    node: NodeId,
    queue: SyncSender<Message>,
    live: Arc<Mutex<BTreeMap<RepoId, usize>>>,
    closed: Closed,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Ledgers that are not written to.
pub(crate) type Closed = Arc<Mutex<BTreeSet<RepoId>>>;

/// What goes through the queue.
pub(crate) enum Message {
    Draft(Box<Draft>, Reply),
    Stop,
}

impl Writer {
    /// Locks the home and starts its writer.
    ///
    /// # Errors
    /// When another daemon holds the home, or the home or its storage cannot be used.
    pub fn spawn<S: Signer + Send + 'static>(
        config: WriterConfig<S>,
        announce: Announce,
        written: OnWritten,
    ) -> Result<WriterHandle, WriterError> {
        let lock = lock::HomeLock::take(&config.home)?;
        let node = *config.signer.public_key();
        let live = Arc::new(Mutex::new(BTreeMap::new()));
        let closed = Closed::default();
        let (queue, drafts) = sync_channel(QUEUE_DRAFTS_MAX);
        let worker = thread::Worker::new(config, announce, written, Arc::clone(&live), Arc::clone(&closed))?;
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                worker.run(&drafts);
                drop(lock);
            })
            .map_err(|source| WriterError::Io { doing: "start a thread for", path: "the writer".to_owned(), source })?;
        Ok(WriterHandle { node, queue, live, closed, thread: Arc::new(Mutex::new(Some(thread))) })
    }
}

impl WriterHandle {
    /// Queues a draft. Never blocks; `reply` is called exactly once.
    pub fn submit(&self, draft: Draft, reply: Reply) {
        match self.queue.try_send(Message::Draft(Box::new(draft), reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Draft(_, reply))) => reply(Err(WriteError::Busy)),
            Err(TrySendError::Disconnected(Message::Draft(_, reply))) => reply(Err(WriteError::Stopped)),
            Err(TrySendError::Full(Message::Stop) | TrySendError::Disconnected(Message::Stop)) => {}
        }
    }

    /// Queues a draft and waits for what becomes of it. Not for asynchronous callers.
    ///
    /// # Errors
    /// As the reply says.
    pub fn write(&self, draft: Draft) -> Result<Written, WriteError> {
        let (sender, receiver) = sync_channel(1);
        // the receiver waits below, so the send cannot fail
        self.submit(draft, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or(Err(WriteError::Stopped))
    }

    /// Live jobs of this node in a ledger; none before the writer has opened it.
    pub fn live(&self, ledger: &RepoId) -> Option<usize> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).get(ledger).copied()
    }

    /// Writes nothing more to a ledger, not even what waits, until it is recovered. What is under way may still be.
    pub fn close(&self, ledger: RepoId) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(ledger);
    }

    /// Whether a ledger was closed and has not been recovered.
    pub fn is_closed(&self, ledger: &RepoId) -> bool {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(ledger)
    }

    /// The node whose key signs.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Lets the writer finish what is queued and waits for its end. The home is free afterwards.
    pub fn stop(&self) {
        // a writer that is gone already is as good as stopped
        drop(self.queue.send(Message::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

impl Draft {
    /// The ledger that it goes to.
    pub fn ledger(&self) -> RepoId {
        match self {
            Self::Create { ledger, .. }
            | Self::Append { ledger, .. }
            | Self::PeerRecord { ledger, .. }
            | Self::Archive { ledger, .. }
            | Self::Recover { ledger, .. }
            | Self::Publish { ledger } => *ledger,
        }
    }
}

impl Written {
    /// The operation, if it is one.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Operation(operation) => Some(*operation),
            Self::PeerRecord { .. } | Self::Archived { .. } | Self::Recovered { .. } | Self::Published { .. } => None,
        }
    }
}

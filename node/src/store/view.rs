//! `view.redb`: the jobs as this node last evaluated them, so that no query walks git. All of it can be rebuilt.
//!
//! Commits are not durable one by one: every [`COMMITS_PER_SYNC`] and at [`View::flush`]. What a crash takes away, the
//! scan at start brings back, since an object's tips are written in the transaction of what was read at them.
//! A damaged file, or one of another version, stays until a new one beside it is whole. What a job is, is the caller's: rows here are what listing needs.

mod counts;
mod index;
pub mod list;
mod open;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, Oid, RepoId};
use cobs::job::outcome::Outcome;
use cobs::job::state::Status;
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use self::counts::COUNTS;
use self::index::INDEX;
pub use self::open::Opened;
use self::open::Rebuilding;
use super::handle::Handle;
use super::{StoreError, UnixMs, file};

/// Format of the file; another one is rebuilt.
const FORMAT: u64 = 2;
/// Commits after which the view writes itself to disk.
pub const COMMITS_PER_SYNC: u32 = 256;
/// Most jobs that a prefix is looked up to.
pub const PREFIX_MATCHES_MAX: usize = 16;

/// `format`.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("view-numbers-v1");
/// Job to its row and JSON.
const JOBS: TableDefinition<[u8; 20], JobValue> = TableDefinition::new("view-jobs-v1");
/// Job to the JSON of its summary.
const SUMMARIES: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("view-summaries-v1");
/// Ledger and object to the tips at which it was read.
const TIPS: TableDefinition<([u8; 20], [u8; 20]), [u8; 32]> = TableDefinition::new("view-tips-v1");

/// Ledger, created, updated, status, outcome, author, queue, JSON.
type JobValue = ([u8; 20], u64, u64, u8, u8, [u8; 32], &'static str, &'static [u8]);

/// What a job is listed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// The ledger that holds it.
    pub ledger: RepoId,
    /// When its author says it was created.
    pub created: UnixMs,
    /// When this node last saw it change.
    pub updated: UnixMs,
    /// Where it stands.
    pub status: Status,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Its queue.
    pub queue: String,
    /// Who wrote it.
    pub author: NodeId,
}

/// A job as it is put into the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobRecord {
    /// What it is listed by.
    pub row: JobRow,
    /// One JSON value, spliced into lists as it is.
    pub summary: Vec<u8>,
    /// The evaluated job, as the caller encodes it.
    pub full: Vec<u8>,
    /// Fingerprint of the object's tips at which it was read.
    pub tips: Digest,
}

/// A job as the view holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredJob {
    /// What it is listed by.
    pub row: JobRow,
    /// The evaluated job, as the caller encoded it.
    pub full: Vec<u8>,
}

/// One change of the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A job that is new or has changed.
    Put(Box<JobRecord>),
    /// An object that means nothing at these tips; it is not read again until they change.
    Ignore {
        /// The ledger that holds it.
        ledger: RepoId,
        /// The object.
        object: JobId,
        /// Fingerprint of its tips.
        tips: Digest,
    },
    /// An object that is gone.
    Remove {
        /// The ledger that held it.
        ledger: RepoId,
        /// The object.
        object: JobId,
    },
}

/// An open `view.redb`. Share it by reference or `Arc`: all methods take `&self`.
#[derive(Debug)]
pub struct View {
    handle: Handle,
    unsynced: AtomicU32,
    /// What takes the place of the old file once it is whole.
    rebuilding: Mutex<Option<Rebuilding>>,
}

impl View {
    /// A view in memory, for tests and throw-away nodes.
    pub fn in_memory() -> Self {
        let database = file::in_memory();
        create_tables(&database).expect("a new database in memory has nothing that can fail");
        Self::of(Handle::memory(database))
    }

    fn of(handle: Handle) -> Self {
        Self { handle, unsynced: AtomicU32::new(0), rebuilding: Mutex::new(None) }
    }

    /// Makes the changes in one transaction: readers see all of them or none. After an error (a full disk) earlier
    /// changes may be gone too: scan again.
    pub fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.handle.write_soon(|txn| {
            for change in changes {
                match change {
                    Change::Put(record) => put(txn, record)?,
                    Change::Ignore { ledger, object, tips } => {
                        remove(txn, *object)?;
                        txn.open_table(TIPS)?.insert((ledger_bytes(*ledger), job_bytes(*object)), tips.0)?;
                    }
                    Change::Remove { ledger, object } => {
                        remove(txn, *object)?;
                        txn.open_table(TIPS)?.remove((ledger_bytes(*ledger), job_bytes(*object)))?;
                    }
                }
            }
            Ok(())
        })?;
        if self.unsynced.fetch_add(1, Ordering::Relaxed) + 1 >= COMMITS_PER_SYNC { self.flush() } else { Ok(()) }
    }

    /// Puts everything on disk. Call it by period and before the end.
    pub fn flush(&self) -> Result<(), StoreError> {
        let commits = self.unsynced.swap(0, Ordering::Relaxed);
        if commits == 0 {
            return Ok(());
        }
        self.handle.write(|_| Ok(())).inspect_err(|_| {
            self.unsynced.fetch_add(commits, Ordering::Relaxed);
        })
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Option<StoredJob>, StoreError> {
        self.handle.read(|txn| {
            let Some(value) = txn.open_table(JOBS)?.get(job_bytes(id))? else { return Ok(None) };
            Ok(Some(StoredJob { row: row_of(id, value.value())?, full: value.value().7.to_vec() }))
        })
    }

    /// The jobs whose hex id begins with `prefix`, at most [`PREFIX_MATCHES_MAX`]; none when it is no hex.
    pub fn jobs_by_prefix(&self, prefix: &str) -> Result<Vec<JobId>, StoreError> {
        let Some((first, last)) = prefix_range(prefix) else { return Ok(Vec::new()) };
        self.handle.read(|txn| {
            let table = txn.open_table(JOBS)?;
            let mut jobs = Vec::new();
            for entry in table.range(first..=last)?.take(PREFIX_MATCHES_MAX) {
                jobs.push(job_id(entry?.0.value()));
            }
            Ok(jobs)
        })
    }

    /// The tips at which each object of a ledger was read.
    pub fn tips(&self, ledger: RepoId) -> Result<BTreeMap<JobId, Digest>, StoreError> {
        let ledger = ledger_bytes(ledger);
        self.handle.read(|txn| {
            let mut tips = BTreeMap::new();
            for entry in txn.open_table(TIPS)?.range((ledger, [0; 20])..=(ledger, [0xff; 20]))? {
                let (key, digest) = entry?;
                tips.insert(job_id(key.value().1), Digest(digest.value()));
            }
            Ok(tips)
        })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // Nothing is lost when it fails: the next start scans for what is missing.
        let _ = self.flush();
    }
}

fn put(txn: &WriteTransaction, record: &JobRecord) -> Result<(), StoreError> {
    let row = &record.row;
    remove(txn, row.id)?;
    let (id, ledger) = (job_bytes(row.id), ledger_bytes(row.ledger));
    let (status, outcome) = (status_code(row.status), outcome_code(row.outcome));
    let author = row.author.into_inner();
    txn.open_table(JOBS)?.insert(
        id,
        (ledger, row.created.0, row.updated.0, status, outcome, author, row.queue.as_str(), record.full.as_slice()),
    )?;
    txn.open_table(SUMMARIES)?.insert(id, record.summary.as_slice())?;
    index::change(&mut txn.open_table(INDEX)?, row, true)?;
    counts::change(&mut txn.open_table(COUNTS)?, row, true)?;
    txn.open_table(TIPS)?.insert((ledger, id), record.tips.0)?;
    Ok(())
}

/// Takes a job out of all tables but the tips.
fn remove(txn: &WriteTransaction, object: JobId) -> Result<(), StoreError> {
    let id = job_bytes(object);
    let mut jobs = txn.open_table(JOBS)?;
    let before = match jobs.remove(id)? {
        Some(value) => row_of(object, value.value())?,
        None => return Ok(()),
    };
    txn.open_table(SUMMARIES)?.remove(id)?;
    index::change(&mut txn.open_table(INDEX)?, &before, false)?;
    counts::change(&mut txn.open_table(COUNTS)?, &before, false)
}

fn row_of(id: JobId, value: <JobValue as redb::Value>::SelfType<'_>) -> Result<JobRow, StoreError> {
    let (ledger, created, updated, status, outcome, author, queue, _) = value;
    Ok(JobRow {
        id,
        ledger: ledger_id(ledger),
        created: UnixMs(created),
        updated: UnixMs(updated),
        status: code_status(status)?,
        outcome: code_outcome(outcome)?,
        queue: queue.to_owned(),
        author: NodeId::from(author),
    })
}

fn create_tables(database: &Database) -> Result<(), StoreError> {
    let txn = database.begin_write()?;
    txn.open_table(NUMBERS)?.insert("format", FORMAT)?;
    txn.open_table(JOBS)?;
    txn.open_table(SUMMARIES)?;
    txn.open_table(INDEX)?;
    txn.open_table(COUNTS)?;
    txn.open_table(TIPS)?;
    Ok(txn.commit()?)
}

fn check_format(database: &Database, path: &Path) -> Result<(), StoreError> {
    let found = database.begin_read()?.open_table(NUMBERS)?.get("format")?.map_or(0, |format| format.value());
    if found == FORMAT {
        return Ok(());
    }
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    Err(StoreError::Newer { path: path.into(), found, known: FORMAT as u32 })
}

/// The first and last id that begin with a hex prefix.
fn prefix_range(prefix: &str) -> Option<([u8; 20], [u8; 20])> {
    let whole = |fill: char| {
        let text: String = prefix.chars().chain(std::iter::repeat(fill)).take(40).collect();
        text.parse::<JobId>().ok().map(job_bytes)
    };
    if prefix.is_empty() || prefix.len() > 40 {
        return None;
    }
    Some((whole('0')?, whole('f')?))
}

/// The bytes of a job's id, as a key of tables.
pub(super) fn job_bytes(job: JobId) -> [u8; 20] {
    job.0.into_sha1().expect("radicle's object ids are SHA-1")
}

/// The job whose id has these bytes.
pub(super) fn job_id(bytes: [u8; 20]) -> JobId {
    JobId(Oid::from_sha1(bytes))
}

fn ledger_bytes(ledger: RepoId) -> [u8; 20] {
    ledger.into_sha1().expect("radicle's repository ids are SHA-1")
}

fn ledger_id(bytes: [u8; 20]) -> RepoId {
    RepoId::from(Oid::from_sha1(bytes))
}

fn status_code(status: Status) -> u8 {
    match status {
        Status::Queued => 1,
        Status::Granted => 2,
        Status::Provisional => 3,
        Status::Settled => 4,
    }
}

fn code_status(code: u8) -> Result<Status, StoreError> {
    match code {
        1 => Ok(Status::Queued),
        2 => Ok(Status::Granted),
        3 => Ok(Status::Provisional),
        4 => Ok(Status::Settled),
        other => Err(bad_code("status", other)),
    }
}

fn outcome_code(outcome: Option<Outcome>) -> u8 {
    match outcome {
        None => 0,
        Some(Outcome::Succeeded) => 1,
        Some(Outcome::Failed) => 2,
        Some(Outcome::Cancelled) => 3,
        Some(Outcome::Expired) => 4,
        Some(Outcome::Lost) => 5,
        Some(Outcome::Superseded) => 6,
    }
}

fn code_outcome(code: u8) -> Result<Option<Outcome>, StoreError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(Outcome::Succeeded)),
        2 => Ok(Some(Outcome::Failed)),
        3 => Ok(Some(Outcome::Cancelled)),
        4 => Ok(Some(Outcome::Expired)),
        5 => Ok(Some(Outcome::Lost)),
        6 => Ok(Some(Outcome::Superseded)),
        other => Err(bad_code("outcome", other)),
    }
}

fn bad_code(what: &str, code: u8) -> StoreError {
    redb::StorageError::Corrupted(format!("there is no {what} {code}")).into()
}

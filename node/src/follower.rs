//! The thread that reads ledgers: turns changed references into evaluated jobs, puts them into the view, and tells the
//! node. The only reader of job objects, so what the machine sees of a job never goes backwards.

mod shown;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use cobs::adapter::open::OpenLedger;
use cobs::adapter::profile::NodeHome;
use cobs::adapter::reader::{Archives, ReadError, Tips};
use cobs::adapter::shown::Shown;
use cobs::digest::Digest;
use cobs::id::{JobId, Oid, RepoId};
use cobs::job::state::Job;
use scheduler::machine::Origin;

use self::shown::HandOvers;
use crate::clock::unix_now;
use crate::store::UnixMs;
use crate::store::view::{Change, JobRecord, JobRow, View};

/// Most requests that wait for the thread.
const ASKS_MAX: usize = 16_384;
/// Most requests read in one batch.
const BATCH_ASKS_MAX: usize = 512;
/// Most jobs that are read before they are told of.
const READ_AT_ONCE: usize = 256;

/// What is asked of the thread.
pub enum Ask {
    /// A job's references changed.
    Changed {
        /// Where.
        ledger: RepoId,
        /// The job.
        job: JobId,
    },
    /// This node wrote an operation: `then` is called once the view and the machine have seen it.
    Written {
        /// Where.
        ledger: RepoId,
        /// The job.
        job: JobId,
        /// What follows.
        then: Box<dyn FnOnce() + Send>,
    },
    /// A peer has shown hand-overs of a job.
    Shown {
        /// Where.
        ledger: RepoId,
        /// The job.
        job: JobId,
        /// The operations, whatever they are worth.
        operations: BTreeSet<Shown>,
    },
    /// Everything in a ledger may have changed.
    Scan {
        /// Where.
        ledger: RepoId,
        /// Whether it is the scan at start.
        origin: Origin,
        /// What follows.
        then: Box<dyn FnOnce() + Send>,
    },
    /// End the thread.
    Stop,
}

/// A job that was read.
pub struct Seen {
    /// Its ledger.
    pub ledger: RepoId,
    /// Its state.
    pub job: Arc<Job>,
    /// When its root says it was written.
    pub created: UnixMs,
    /// Whether this is the scan at start.
    pub origin: Origin,
    /// Whether it has a hand-over that is not in the storage.
    pub shown: bool,
}

/// A handle on the thread.
#[derive(Clone)]
pub struct Follower {
    sender: SyncSender<Ask>,
    /// What peers have shown that counts.
    pub hand_overs: HandOvers,
}

/// What the thread keeps between two batches.
#[derive(Default)]
struct Known {
    open: BTreeMap<RepoId, OpenLedger>,
    /// Unsettled jobs that the view has of an earlier life and that were not read in this one: a scan may have failed.
    /// Whatever brings one of them later, this node may have confirmed it before.
    unread: BTreeSet<(RepoId, JobId)>,
    /// What an object of the present scan is kept by, should it be ignored; one that no scan has listed is looked at
    /// once more by the next.
    listed: BTreeMap<(RepoId, JobId), Digest>,
    /// Where the archives stood at the last scan: what is archived and unchanged since is not looked at again.
    archives: BTreeMap<RepoId, Archives>,
    /// What was shown since the last batch.
    offered: BTreeMap<JobId, BTreeSet<Shown>>,
}

/// The thread before it runs.
pub struct FollowerThread {
    receiver: Receiver<Ask>,
    home: NodeHome,
    view: Arc<View>,
    hand_overs: HandOvers,
}

impl Follower {
    /// A handle and the thread to be.
    pub fn new(home: NodeHome, view: Arc<View>) -> (Self, FollowerThread) {
        let (sender, receiver) = sync_channel(ASKS_MAX);
        let hand_overs = HandOvers::default();
        let thread = FollowerThread { receiver, home, view, hand_overs: hand_overs.clone() };
        (Self { sender, hand_overs }, thread)
    }

    /// Hands a request to the thread; waits while its queue is full.
    pub fn ask(&self, ask: Ask) {
        // the thread ends only when the node does
        self.sender.send(ask).ok();
    }
}

impl FollowerThread {
    /// Runs the thread; `tell` is called for every job read, after the view has it.
    pub fn spawn(self, tell: impl FnMut(Seen) + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("ledgers".into()).spawn(move || self.run(tell))
    }

    fn run(self, mut tell: impl FnMut(Seen)) {
        let mut known = Known::default();
        while let Ok(first) = self.receiver.recv() {
            let mut asks = vec![first];
            while asks.len() < BATCH_ASKS_MAX {
                let Ok(ask) = self.receiver.try_recv() else { break };
                asks.push(ask);
            }
            if !self.batch(asks, &mut known, &mut tell) {
                break;
            }
        }
        if let Err(error) = self.view.flush() {
            tracing::warn!(%error, "the view is not written to disk; it is rebuilt at the next start");
        }
    }

    /// Reads each job of a batch once, then calls what waits for it. False at the end.
    fn batch(&self, asks: Vec<Ask>, known: &mut Known, tell: &mut impl FnMut(Seen)) -> bool {
        let mut jobs: BTreeSet<(RepoId, JobId)> = BTreeSet::new();
        let mut after: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        let mut goes_on = true;
        for ask in asks {
            match ask {
                Ask::Changed { ledger, job } => {
                    jobs.insert((ledger, job));
                }
                Ask::Written { ledger, job, then } => {
                    jobs.insert((ledger, job));
                    after.push(then);
                }
                Ask::Shown { ledger, job, operations } => {
                    jobs.insert((ledger, job));
                    known.offered.entry(job).or_default().extend(operations);
                }
                Ask::Scan { ledger, origin, then } => {
                    self.scan(ledger, origin, known, tell);
                    after.push(then);
                }
                Ask::Stop => goes_on = false,
            }
        }
        self.read(&jobs, Origin::Live, known, tell);
        known.offered.clear();
        after.into_iter().for_each(|then| then());
        goes_on
    }

    fn scan(&self, ledger: RepoId, origin: Origin, known: &mut Known, tell: &mut impl FnMut(Seen)) {
        if origin == Origin::Start {
            let unfinished = self.view.unfinished(ledger).unwrap_or_default();
            known.unread.extend(unfinished.into_iter().map(|job| (ledger, job)));
        }
        // another identity may change what a job's operations are worth; else an unchanged job reads as it did
        let again = origin == Origin::Start || !known.open.get(&ledger).is_some_and(OpenLedger::is_current);
        let Some(open) = self.open(ledger, &mut known.open) else { return };
        let since = known.archives.remove(&ledger).filter(|_| !again).unwrap_or_default();
        let (listed, archives) = match open.list_since(&since) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(%ledger, %error, "cannot list the jobs of the ledger");
                return;
            }
        };
        let seen = self.view.tips(ledger).unwrap_or_default();
        let unfinished = if again { self.view.unfinished(ledger).unwrap_or_default() } else { BTreeSet::new() };
        let wanted: BTreeMap<JobId, &Tips> = listed
            .iter()
            .filter(|(job, tips)| {
                let due = unfinished.contains(*job) || known.unread.contains(&(ledger, **job));
                due || seen.get(*job).is_none_or(|print| !self.reads_the_same(**job, tips, print, open))
            })
            .map(|(job, tips)| (*job, tips))
            .collect();
        tracing::debug!(%ledger, jobs = listed.len(), read = wanted.len(), "ledger scanned");
        let at = open.identity_at();
        known.listed = wanted.iter().map(|(job, tips)| ((ledger, *job), ignored_print(at, tips))).collect();
        let wanted = wanted.keys().map(|job| (ledger, *job)).collect();
        known.archives.insert(ledger, archives);
        self.read(&wanted, origin, known, tell);
        known.listed.clear();
    }

    /// Whether an object whose tips are listed so would be read as it was: the same, but for what strangers put there.
    fn reads_the_same(&self, job: JobId, tips: &Tips, print: &Digest, open: &OpenLedger) -> bool {
        if *print == fingerprint(tips) || *print == ignored_print(open.identity_at(), tips) {
            return true;
        }
        let Ok(Some(stored)) = self.view.job(job) else { return false };
        let Ok(job) = serde_json::from_slice::<Job>(&stored.full) else { return false };
        let admitted = open.admitted(&job);
        let among = tips.iter().filter(|(node, _)| admitted.contains(*node));
        *print == fingerprint(&among.map(|(node, tips)| (*node, tips.clone())).collect())
    }

    /// Reads jobs and tells of them, some at a time: what a ledger holds need not fit into memory.
    fn read(&self, jobs: &BTreeSet<(RepoId, JobId)>, origin: Origin, known: &mut Known, tell: &mut impl FnMut(Seen)) {
        let mut left = jobs.iter().copied().peekable();
        while left.peek().is_some() {
            self.read_some(left.by_ref().take(READ_AT_ONCE), origin, known, tell);
        }
    }

    fn read_some(
        &self,
        jobs: impl Iterator<Item = (RepoId, JobId)>,
        origin: Origin,
        known: &mut Known,
        tell: &mut impl FnMut(Seen),
    ) {
        let mut changes = Vec::new();
        let mut seen = Vec::new();
        for (ledger, job) in jobs {
            let Some(open) = self.open(ledger, &mut known.open) else { continue };
            let offered = known.offered.remove(&job);
            // an object that our reading fails at must not end the reading of all others
            let work = AssertUnwindSafe(|| self.read_one(ledger, job, open, offered));
            let Ok(read) = catch_unwind(work) else {
                tracing::error!(%job, %ledger, "reading an object failed; it is left out");
                continue;
            };
            match read {
                Ok((change, job, created, shown)) => {
                    let earlier = known.unread.remove(&(ledger, job.id));
                    let origin = if earlier { Origin::Start } else { origin };
                    changes.push(change);
                    seen.push(Seen { ledger, job: Arc::new(job), created, origin, shown });
                }
                Err(error @ ReadError::Storage { .. }) => tracing::error!(%error, "cannot read a job"),
                Err(error) => {
                    metrics::counter!("rhizome_objects_ignored_total").increment(1);
                    tracing::warn!(%job, %ledger, %error, "object ignored");
                    let print = known.listed.get(&(ledger, job)).copied();
                    changes.push(Change::Ignore { ledger, object: job, tips: print.unwrap_or(Digest([0; 32])) });
                }
            }
        }
        if let Err(error) = self.view.apply(&changes) {
            tracing::error!(%error, "cannot write the view");
            known.archives.clear();
        }
        seen.into_iter().for_each(tell);
    }

    /// What the view keeps of a job, which is what the storage has; and the job, with what was shown of it, if anything.
    fn read_one(
        &self,
        ledger: RepoId,
        job: JobId,
        open: &OpenLedger,
        offered: Option<BTreeSet<Shown>>,
    ) -> Result<(Change, Job, UnixMs, bool), ReadError> {
        let (read, written) = open.read(job)?;
        let created = UnixMs(written.saturating_mul(1000));
        let full = serde_json::to_vec(&read.job).expect("a job is plain data");
        // where it moves into an archive, or a stranger adds to it, nothing happened to the job
        let before = self.view.job(job).ok().flatten().filter(|before| before.full == full);
        let updated = before.map_or_else(unix_now, |before| before.row.updated);
        let summary = crate::ops::jobs::summary(ledger, &read.job, created, updated);
        let row = JobRow {
            id: job,
            ledger,
            created,
            updated,
            status: read.job.status(),
            outcome: read.job.outcome(),
            queue: read.job.create.queue.clone(),
            author: read.job.author,
        };
        let record = JobRecord {
            row,
            summary: serde_json::to_vec(&summary).expect("a summary is plain data"),
            full,
            tips: fingerprint(&read.reading.tips),
        };
        let shown = self.hand_overs.evaluate(open, &read.job, offered);
        let is_shown = shown.is_some();
        Ok((Change::Put(Box::new(record)), shown.unwrap_or(read.job), created, is_shown))
    }

    /// The ledger's repository, with its accepted identity as of now.
    fn open<'a>(&self, ledger: RepoId, open: &'a mut BTreeMap<RepoId, OpenLedger>) -> Option<&'a OpenLedger> {
        if !open.get(&ledger).is_some_and(OpenLedger::is_current) {
            match OpenLedger::open(&self.home, ledger) {
                Ok(fresh) => drop(open.insert(ledger, fresh)),
                Err(error) => {
                    tracing::debug!(%ledger, %error, "the ledger cannot be opened");
                    return None;
                }
            }
        }
        open.get(&ledger)
    }
}

/// A digest of where an object's tips stand.
fn fingerprint(tips: &Tips) -> Digest {
    let mut hash = Sha256::new();
    for (node, oids) in tips {
        hash.update(node.to_string());
        for oid in oids {
            hash.update(AsRef::<[u8]>::as_ref(oid));
        }
    }
    Digest(hash.finalize().into())
}

/// What an ignored object is kept by: other tips or another identity may make it count.
fn ignored_print(identity_at: Oid, tips: &Tips) -> Digest {
    let mut hash = Sha256::new();
    hash.update(AsRef::<[u8]>::as_ref(&identity_at));
    hash.update(fingerprint(tips).0);
    Digest(hash.finalize().into())
}

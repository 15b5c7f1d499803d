//! Shows the jobs of a commit in the source repository, where Radicle's own tools look for them, when this node decides
//! about them.
//!
//! By nudge and by period, off the path of claims: what is missing is told from the job's state and from what stands in
//! the repository, so a look is idempotent and the next one is its retry. It must not know how it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use cobs::adapter::radworks::{Known, SourceObjects, Stored};
use cobs::adapter::repository::RepositoryFault;
use cobs::id::{JobId, RepoId};
use cobs::job::state::Job;
use cobs::radworks::Line;
use scheduler::fault;
use scheduler::machine::Note;

use crate::node::Node;
use crate::store::peers::Grant;
use crate::store::view::list::Query;

/// Most jobs that wait to be looked at; beyond, the newest of each ledger are looked at instead.
pub const WAITING_MAX: usize = 4_096;
/// The newest jobs of a ledger that are looked at when the daemon starts.
pub const LOOK_BACK_JOBS: usize = 500;
/// From a change to the look, so that a short job is one signature.
const PAUSE: Duration = Duration::from_millis(250);
/// From a look that left something to do to the next, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(300)];

/// Jobs that wait to be looked at.
pub struct Waiting {
    jobs: Mutex<Jobs>,
    changed: Notify,
}

struct Jobs {
    some: BTreeSet<JobId>,
    /// Whether the newest of each ledger are to be looked at too: at start, and when there were too many.
    newest: bool,
}

/// What a look leaves to the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { jobs: Mutex::new(Jobs { some: BTreeSet::new(), newest: true }), changed: Notify::new() }
    }
}

impl Waiting {
    /// A job has changed. Never waits.
    pub fn add(&self, job: &Job) {
        if job.create.spec.source.is_some() {
            self.put(job.id);
            self.changed.notify_one();
        }
    }

    fn put(&self, job: JobId) {
        let mut jobs = self.lock();
        if jobs.some.len() >= WAITING_MAX {
            *jobs = Jobs { some: BTreeSet::new(), newest: true };
        }
        jobs.some.insert(job);
    }

    fn take(&self) -> Jobs {
        std::mem::replace(&mut *self.lock(), Jobs { some: BTreeSet::new(), newest: false })
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at what has changed, at first at the newest jobs, and again at what could not be done. Never ends.
pub async fn run(node: Arc<Node>) {
    let mut known = Known::default();
    let mut retry = RETRY[0];
    loop {
        let worker = Arc::clone(&node);
        let looked = tokio::task::spawn_blocking(move || {
            let left = look(&worker, &mut known);
            (left, known)
        });
        let left = match looked.await {
            Ok((left, kept)) => {
                known = kept;
                left
            }
            Err(error) => {
                tracing::error!(%error, "showing jobs in their source repositories failed; it goes on with the next");
                known = Known::default();
                Left::Nothing
            }
        };
        if left == Left::Nothing {
            retry = RETRY[0];
            node.radworks.changed.notified().await;
        } else {
            tokio::time::timeout(retry, node.radworks.changed.notified()).await.ok();
            retry = (retry * 2).min(RETRY[1]);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says what is missing of the jobs that wait, a repository at a time. Blocks.
fn look(node: &Arc<Node>, known: &mut Known) -> Left {
    let Jobs { mut some, newest } = node.radworks.take();
    if newest {
        some.extend(newest_jobs(node));
    }
    let ledgers = node.ledgers();
    let mut by_repository: BTreeMap<RepoId, Vec<Due>> = BTreeMap::new();
    for due in some.into_iter().filter_map(|id| Due::of(node, id)) {
        // a ledger has its one writer, and shows its jobs itself
        if !ledgers.contains(&due.line.source.repo) {
            by_repository.entry(due.line.source.repo).or_default().push(due);
        }
    }
    let mut left = Left::Nothing;
    for (repo, all) in by_repository {
        let mut later = BTreeSet::new();
        if let Err(error) = say(node, known, repo, &all, &mut later) {
            let error = crate::runs::chain(&error);
            tracing::warn!(%repo, jobs = all.len(), error, "jobs not shown in their source repository; it is tried again");
            later.extend(all.iter().map(|due| due.line.job));
        }
        for job in later {
            node.radworks.put(job);
            left = Left::Something;
        }
    }
    left
}

/// What this node has to say of a job now.
struct Due {
    line: Line,
    is_settled: bool,
}

impl Due {
    fn of(node: &Node, id: JobId) -> Option<Self> {
        let (job, ledger) = (node.known_job(id)?, node.ledger_of(id)?);
        job.create.spec.source?;
        // of what the machine refuses to decide nothing is said
        if job.author != node.id && !node.grants(&job.author).contains(&Grant::Arbitrate) {
            return None;
        }
        let confirmed = node.notes_of(&job).0.iter().any(|(note, _)| *note == Note::Confirmed);
        let line = Line::of(&job, ledger, node.id, confirmed)?;
        Some(Self { line, is_settled: job.settled.is_some() })
    }
}

/// Stores, signs, syncs and announces. `later` is told the jobs of which more can be said soon.
fn say(
    node: &Arc<Node>,
    known: &mut Known,
    repo: RepoId,
    all: &[Due],
    later: &mut BTreeSet<JobId>,
) -> Result<(), RepositoryFault> {
    let Some(objects) = SourceObjects::open(&node.home(), repo)? else { return Ok(()) };
    let (mut is_there, mut failed) = (false, None);
    for Due { line, is_settled } in all {
        // of a home that was restored peers would refuse what it writes
        if node.writer.is_closed(&line.ledger) {
            later.insert(line.job);
            continue;
        }
        match objects.store(known, line) {
            Ok(Stored::Now) => {
                fault::pass("radworks.stored");
                is_there = true;
            }
            Ok(Stored::Before) => is_there = true,
            // its author keeps it there a moment after the job is written
            Ok(Stored::NoCommit) if !is_settled => drop(later.insert(line.job)),
            Ok(Stored::NoCommit | Stored::Nothing) => {}
            Ok(Stored::Full) => {
                tracing::info!(job = %line.job, %repo, "not shown: its commit has as many runs as may be")
            }
            Ok(Stored::Unpublished) => {
                tracing::debug!(job = %line.job, %repo, "not shown: no branch of a public repository has its commit")
            }
            Ok(Stored::NotTheirs) => tracing::debug!(job = %line.job, %repo, "not shown: its author is no member"),
            Err(error) => {
                later.insert(line.job);
                failed = Some(error);
            }
        }
    }
    // also when nothing is new: a crash may have left it unsigned
    if is_there && objects.sign(known)? {
        fault::pass("radworks.signed");
        node.replication.announce_soon(repo, &node.runtime);
        tracing::debug!(%repo, jobs = all.len(), "jobs shown in their source repository");
    }
    failed.map_or(Ok(()), Err)
}

/// The newest jobs, settled or not: a daemon that was killed may have settled one and said nothing of it.
fn newest_jobs(node: &Node) -> BTreeSet<JobId> {
    let mut found = BTreeSet::new();
    for ledger in node.ledgers() {
        match node.view.list(&Query::newest(ledger, LOOK_BACK_JOBS)) {
            Ok(page) => {
                let items: Vec<crate::ops::types::JobSummary> = serde_json::from_slice(&page.json).unwrap_or_default();
                found.extend(items.iter().map(|item| item.id));
            }
            Err(error) => {
                tracing::warn!(%ledger, %error, "the newest jobs are not looked at for their source repositories")
            }
        }
    }
    found
}

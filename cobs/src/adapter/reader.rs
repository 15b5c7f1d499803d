//! Reads jobs out of a ledger's storage, from any thread, in time that no stranger can stretch.
//!
//! It looks at the namespaces of admitted authors alone, by name and never by a search over all references, walks
//! without recursion, and leaves every judgement of what the operations mean to [`crate::job::fold`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use radicle::storage::git::Repository;
use radicle_oid::Oid;

use crate::adapter::archive::{self, target};
use crate::adapter::commit::{Commits, Found, Signed};
use crate::adapter::refs;
use crate::id::{JobId, NodeId};
use crate::job::TYPE_NAME;
use crate::job::fold::Identity;
use crate::job::history::{Content, History, Op, OpId};
use crate::job::state::{Job, NoJob};

/// Most commits that are read from the tips of one author: four for each operation that can count.
pub const WALK_COMMITS_MAX: usize = 1024;
/// Most bytes of actions that are read from the tips of one author.
pub const WALK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The tips of one object, by namespace, live and archived together. Two readings with equal tips of the same
/// namespaces read the same operations.
pub type Tips = BTreeMap<NodeId, BTreeSet<Oid>>;

/// What was read of a job.
#[derive(Clone, Debug)]
pub struct Reading {
    /// All operations found.
    pub history: History,
    /// The namespaces that were looked at: those whose operations may count.
    pub admitted: BTreeSet<NodeId>,
    /// Where those namespaces stood; the ones that do not hold the job are left out.
    pub tips: Tips,
    /// Commits below the tips that are no operations.
    pub unreadable: usize,
    /// Objects that the tips need and the storage lacks: a peer sent half of them, or the disk is damaged.
    pub missing: usize,
    /// Authors whose commits were more than are read.
    pub truncated: BTreeSet<NodeId>,
}

/// A job as read and evaluated.
#[derive(Clone, Debug)]
pub struct Read {
    /// What its history means.
    pub job: Job,
    /// Operations read, the root included.
    pub ops: usize,
    /// The history and where it stood.
    pub reading: Reading,
}

/// Why there is no job to read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such commit, or none that is a signed operation of a job.
    #[error("there is no job {0} in this ledger")]
    NotFound(JobId),
    /// A copied root: its author's own namespace does not hold it.
    #[error("job {job} is not held by its author {author}, so it is a copy")]
    NotHeldByAuthor {
        /// The job.
        job: JobId,
        /// Who signed the root.
        author: NodeId,
    },
    /// Its root is no job.
    #[error("job {job} cannot be evaluated")]
    NoJob {
        /// The job.
        job: JobId,
        /// Why.
        #[source]
        source: NoJob,
    },
    /// The storage fails.
    #[error("cannot read job {job} from the ledger's storage")]
    Storage {
        /// The job.
        job: JobId,
        /// What git said.
        #[source]
        source: git2::Error,
    },
}

/// Reads a job and evaluates it.
///
/// # Errors
/// When the root is no job of this ledger, and when the storage fails; never for any operation below the root.
pub fn read_job(repo: &Repository, job: JobId, identity: &Identity) -> Result<Read, ReadError> {
    read_with(repo, job, identity, &[])
}

/// As [`read_job`], with operations that are not in the storage.
pub(crate) fn read_with(repo: &Repository, job: JobId, identity: &Identity, shown: &[Op]) -> Result<Read, ReadError> {
    let reading = history_with(repo, job, identity, shown)?;
    let evaluated = reading.history.evaluate(identity).map_err(|source| ReadError::NoJob { job, source })?;
    Ok(Read { job: evaluated, ops: reading.history.len(), reading })
}

/// Reads the operations of a job that may count.
///
/// # Errors
/// As [`read_job`].
pub fn read_history(repo: &Repository, job: JobId, identity: &Identity) -> Result<Reading, ReadError> {
    history_with(repo, job, identity, &[])
}

fn history_with(repo: &Repository, job: JobId, identity: &Identity, shown: &[Op]) -> Result<Reading, ReadError> {
    let storage = |source| ReadError::Storage { job, source };
    let commits = Commits::new(&repo.backend, TYPE_NAME).map_err(storage)?;
    let root = root(&commits, job).map_err(storage)?.ok_or(ReadError::NotFound(job))?;
    let author = root.id.author;
    if tips_of(&repo.backend, &author, job).map_err(storage)?.is_empty() {
        return Err(ReadError::NotHeldByAuthor { job, author });
    }
    let mut reading = Reading {
        history: History::new(job, root),
        admitted: BTreeSet::new(),
        tips: Tips::new(),
        unreadable: 0,
        missing: 0,
        truncated: BTreeSet::new(),
    };
    shown.iter().for_each(|op| reading.history.insert(op.clone()));
    let mut faulty = Faulty::default();
    loop {
        let admitted = reading.history.admitted(identity).map_err(|source| ReadError::NoJob { job, source })?;
        let fresh: Vec<NodeId> = admitted.difference(&reading.admitted).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for node in fresh {
            let tips = tips_of(&repo.backend, &node, job).map_err(storage)?;
            if !tips.is_empty() {
                let walk = Walk::new(&commits, job, node);
                let whole = walk.run(&tips, &mut reading.history, &mut faulty).map_err(storage)?;
                commits.forget();
                if !whole {
                    reading.truncated.insert(node);
                }
                reading.tips.insert(node, tips);
            }
            reading.admitted.insert(node);
        }
    }
    reading.unreadable = faulty.unreadable.len();
    reading.missing = faulty.missing.len();
    Ok(reading)
}

/// Where each namespace's archive stood when a ledger was listed.
pub type Archives = BTreeMap<NodeId, Oid>;

/// All jobs of a ledger with their tips, live and archived, for the comparison at start. The one search over all
/// references; strangers' namespaces are in it too.
///
/// # Errors
/// When the storage fails.
pub fn list_jobs(repo: &Repository) -> Result<BTreeMap<JobId, Tips>, git2::Error> {
    Ok(list_since(repo, &Archives::new())?.0)
}

/// As [`list_jobs`], without the jobs that are only archived and were so, with the same tips, at `since`: so its cost
/// is that of the live jobs, however many are archived. With it, where the archives stand now.
///
/// # Errors
/// When the storage fails.
pub fn list_since(repo: &Repository, since: &Archives) -> Result<(BTreeMap<JobId, Tips>, Archives), git2::Error> {
    let mut jobs: BTreeMap<JobId, Tips> = BTreeMap::new();
    // before the archives, as in `tips_of`
    for reference in repo.backend.references_glob(&refs::live_glob())? {
        let reference = reference?;
        let (Ok(name), Some(tip)) = (reference.name(), reference.target()) else { continue };
        let (Some((node, rest)), tip) = (refs::split(name), Oid::from(tip)) else { continue };
        if let Some(job) = refs::job_of(rest) {
            jobs.entry(job).or_default().entry(node).or_default().insert(tip);
        }
    }
    let archives = archive::heads(&repo.backend)?;
    let odb = repo.backend.odb()?;
    for (node, head) in &archives {
        for job in archive::changed(&odb, since.get(node).copied(), *head)? {
            jobs.entry(job).or_default();
        }
    }
    for (node, head) in &archives {
        let mut index = archive::Index::open(&odb, *head)?;
        for (job, tips) in &mut jobs {
            let archived = index.tips(*job)?;
            if !archived.is_empty() {
                tips.entry(*node).or_default().extend(archived);
            }
        }
    }
    Ok((jobs, archives))
}

/// The jobs with a live reference in one namespace.
///
/// # Errors
/// When the storage fails.
pub fn live_jobs(repo: &Repository, node: &NodeId) -> Result<BTreeSet<JobId>, git2::Error> {
    let mut jobs = BTreeSet::new();
    for name in repo.backend.references_glob(&refs::live_glob_of(node))?.names() {
        jobs.extend(name.ok().and_then(refs::job_of));
    }
    Ok(jobs)
}

/// The tips of `job` in one namespace, live and archived. The live one is looked at first: a job on its way into the
/// archive is in the archive before it is live no more.
pub(crate) fn tips_of(repo: &git2::Repository, node: &NodeId, job: JobId) -> Result<BTreeSet<Oid>, git2::Error> {
    let live = target(repo, &refs::live(node, job))?;
    let mut tips = archive::tips(repo, node, job)?;
    tips.extend(live);
    Ok(tips)
}

/// The root operation; none when it is no signed operation of a job.
pub(crate) fn root(commits: &Commits<'_>, job: JobId) -> Result<Option<Op>, git2::Error> {
    operation(commits, job.0)
}

/// The operation at a commit; none when it is no signed operation of a job.
pub(crate) fn operation(commits: &Commits<'_>, at: Oid) -> Result<Option<Op>, git2::Error> {
    let Found::Signed(signed) = &*commits.find(at)? else { return Ok(None) };
    let content = commits.content(signed)?;
    Ok(content.map(|(content, _)| op(signed, content)))
}

fn op(signed: &Signed, content: Content) -> Op {
    Op { id: OpId { author: signed.author, tree: signed.tree }, pin: signed.pin, content }
}

/// Commits that were met and are no operations.
#[derive(Default)]
pub(crate) struct Faulty {
    pub unreadable: BTreeSet<Oid>,
    pub missing: BTreeSet<Oid>,
}

/// A walk from the tips of one author, his own commits first: what strangers hang below them cannot starve them.
/// Its order is a function of the commits alone, so every node stops at the same place.
pub(crate) struct Walk<'a, 'r> {
    commits: &'a Commits<'r>,
    author: NodeId,
    pub seen: BTreeSet<Oid>,
    own: VecDeque<(Oid, Rc<Found>)>,
    others: VecDeque<(Oid, Rc<Found>)>,
    bytes: usize,
}

impl<'a, 'r> Walk<'a, 'r> {
    pub fn new(commits: &'a Commits<'r>, job: JobId, author: NodeId) -> Self {
        let (own, others) = (VecDeque::new(), VecDeque::new());
        Self { commits, author, seen: BTreeSet::from([job.0]), own, others, bytes: 0 }
    }

    /// Adds what it finds to `history`; false when it stopped at a cap.
    fn run(mut self, tips: &BTreeSet<Oid>, history: &mut History, faulty: &mut Faulty) -> Result<bool, git2::Error> {
        let mut whole = true;
        for tip in tips {
            whole &= self.queue(*tip, faulty)?;
        }
        while let Some((_, found, content)) = self.next(faulty)? {
            let Found::Signed(signed) = &*found else { continue };
            history.insert(op(signed, content));
            for parent in &signed.parents {
                whole &= self.queue(*parent, faulty)?;
            }
        }
        Ok(whole && self.bytes <= WALK_BYTES_MAX)
    }

    /// Looks at a commit once, unless the cap is reached; false when it is.
    pub fn queue(&mut self, id: Oid, faulty: &mut Faulty) -> Result<bool, git2::Error> {
        if self.seen.contains(&id) {
            return Ok(true);
        }
        // the job itself is in `seen` from the start
        if self.seen.len() > WALK_COMMITS_MAX {
            return Ok(false);
        }
        self.seen.insert(id);
        let found = self.commits.find(id)?;
        match &*found {
            Found::Signed(signed) if signed.author == self.author => self.own.push_back((id, found)),
            Found::Signed(_) => self.others.push_back((id, found)),
            Found::Unreadable => {
                faulty.unreadable.insert(id);
            }
            Found::Missing => {
                faulty.missing.insert(id);
            }
        }
        Ok(true)
    }

    /// The next operation.
    pub fn next(&mut self, faulty: &mut Faulty) -> Result<Option<(Oid, Rc<Found>, Content)>, git2::Error> {
        while self.bytes <= WALK_BYTES_MAX {
            let Some((id, found)) = self.own.pop_front().or_else(|| self.others.pop_front()) else { return Ok(None) };
            let Found::Signed(signed) = &*found else { continue };
            let Some((content, bytes)) = self.commits.content(signed)? else {
                faulty.missing.insert(signed.tree.0);
                continue;
            };
            self.bytes += bytes;
            return Ok(Some((id, found, content)));
        }
        Ok(None)
    }
}

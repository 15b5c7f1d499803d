//! A ledger that is kept open for reading, with its accepted identity as of the last look.

use std::collections::{BTreeMap, BTreeSet};

use radicle::storage::ReadRepository as _;
use radicle::storage::git::Repository;

use super::identity::accepted_revisions;
use super::profile::NodeHome;
use super::reader::{self, Archives, Read, ReadError, Tips};
use super::repository::{self, RepositoryFault};
use super::shown::{self, Shown};
use crate::id::{JobId, NodeId, Oid, RepoId};
use crate::job::fold::Identity;
use crate::job::state::Job;

/// A ledger open for reading; of one thread.
pub struct OpenLedger {
    repository: Repository,
    identity: Identity,
    identity_at: Oid,
}

impl OpenLedger {
    /// Opens a ledger.
    ///
    /// # Errors
    /// When it is not here, or its identity cannot be read.
    pub fn open(home: &NodeHome, ledger: RepoId) -> Result<Self, RepositoryFault> {
        let repository = repository::open(home, ledger)?;
        let identity_at = head(&repository)?;
        let identity = Identity { accepted: accepted_revisions(&repository)? };
        Ok(Self { repository, identity, identity_at })
    }

    /// Whether its identity is still the one that was read.
    pub fn is_current(&self) -> bool {
        head(&self.repository).is_ok_and(|head| head == self.identity_at)
    }

    /// The revision of the identity that was read.
    pub fn identity_at(&self) -> Oid {
        self.identity_at
    }

    /// Whose namespaces are looked at for a job that was evaluated: what stands in any other is no reason to read it again.
    pub fn admitted(&self, job: &Job) -> BTreeSet<NodeId> {
        self.identity.admitted(job)
    }

    /// Reads and evaluates a job; with it, the second since 1970 at which its root says it was written.
    ///
    /// # Errors
    /// As [`reader::read_job`].
    pub fn read(&self, job: JobId) -> Result<(Read, u64), ReadError> {
        let read = reader::read_job(&self.repository, job, &self.identity)?;
        let written = self.repository.commit(job.0).map(|commit| commit.time().seconds()).unwrap_or_default();
        Ok((read, u64::try_from(written).unwrap_or_default()))
    }

    /// What a job means with hand-overs that a peer has shown, before they are in the storage, and those of them that
    /// opened an epoch; none when they are nothing to it.
    ///
    /// # Errors
    /// As [`reader::read_job`].
    pub fn read_shown(&self, job: &Job, shown: &BTreeSet<Shown>) -> Result<Option<(Job, BTreeSet<Shown>)>, ReadError> {
        shown::read(&self.repository, &self.identity, job, shown)
    }

    /// The operations that opened the epochs of a job, to be shown to a peer that lacks them.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn hand_overs(&self, job: &Job) -> Result<BTreeSet<Shown>, git2::Error> {
        shown::hand_overs(&self.repository, job, &self.identity)
    }

    /// The repository itself.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Whether a commit is here.
    pub fn holds(&self, commit: Oid) -> bool {
        self.repository.backend.find_commit(commit.into()).is_ok()
    }

    /// All jobs with their tips but those that were archived, and as they are, at `since`; and where the archives stand.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn list_since(&self, since: &Archives) -> Result<(BTreeMap<JobId, Tips>, Archives), git2::Error> {
        reader::list_since(&self.repository, since)
    }

    /// The jobs with a live reference in the namespace of `node`.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn live_jobs(&self, node: &NodeId) -> Result<BTreeSet<JobId>, git2::Error> {
        reader::live_jobs(&self.repository, node)
    }
}

fn head(repository: &Repository) -> Result<Oid, RepositoryFault> {
    repository.identity_head().map_err(RepositoryFault::storage("read the identity of", repository.id))
}

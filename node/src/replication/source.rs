//! Source repositories: where jobs get their commits from.
//!
//! It must not know jobs beyond their ids. A person's repository is only read: not a reference, not a line of its
//! configuration is written.

mod publish;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobs::adapter::identity::IdentityError;
use cobs::adapter::ledger::Members;
use cobs::adapter::profile::NodeHome;
use cobs::adapter::repository::{self, RepositoryFault};
use cobs::id::{CommitId, JobId, NodeId, RepoId};
use radicle::storage::RemoteRepository as _;
use radicle::storage::git::Repository;
use thiserror::Error;

pub use super::git::GitError;
use super::git::{self, History};
use super::{FetchError, Replication, ReplicationError, command};
pub use publish::{Audience, Publication, SourceRepository, name_of};
pub use tree::{export_tree, tree_fits};

/// Where a job's commit is kept, in its author's namespace.
const SOURCE_REFS: &str = "refs/rhizome/source";

/// Why a source cannot be published, kept or used.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no git repository.
    #[error("{0} is not a git repository")]
    NotGit(PathBuf, #[source] git2::Error),
    /// A shallow clone lacks the history that peers would ask for.
    #[error("{0} is a shallow clone")]
    Shallow(PathBuf),
    /// The repository names a Radicle identity that is not in this home.
    #[error("{path} belongs to {rid}, which is not in this home")]
    IdentityNotHere {
        /// The repository of a person.
        path: PathBuf,
        /// Its identity.
        rid: RepoId,
    },
    /// The commit is not in the repository that should have it.
    #[error("commit {commit} is not in {place}")]
    NoCommit {
        /// The commit.
        commit: CommitId,
        /// A repository id, or a path.
        place: String,
    },
    /// We have no such repository.
    #[error("repository {0} is not in this home")]
    NotHere(RepoId),
    /// The repository's identity does not let us fetch it.
    #[error("repository {rid} may not be fetched by {node}: it is not among its members")]
    NotAllowed {
        /// The repository.
        rid: RepoId,
        /// Us.
        node: NodeId,
    },
    /// It cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is something already where the tree should go.
    #[error("{0} is not empty")]
    NotEmpty(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What we were doing.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Git failed.
    #[error("cannot {action}")]
    Git {
        /// What we were doing.
        action: &'static str,
        /// What git said.
        #[source]
        source: GitError,
    },
    /// Reading a repository failed.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        #[source]
        source: git2::Error,
    },
    /// The identity of the repository cannot be changed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The storage failed us.
    #[error(transparent)]
    Repository(#[from] RepositoryFault),
    /// The node failed us.
    #[error(transparent)]
    Node(#[from] ReplicationError),
}

impl SourceError {
    /// Whether the same fetch may succeed in a moment: the peer is connected, or has announced what it is about to.
    pub fn may_pass(&self) -> bool {
        let fetch = |error: &FetchError| matches!(error, FetchError::NotConnected { .. } | FetchError::TimedOut { .. });
        matches!(self, Self::NoCommit { .. }) || matches!(self, Self::Fetch(error) if fetch(error))
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Shallow(_) => Some("fetch the whole history with `git fetch --unshallow`"),
            Self::IdentityNotHere { .. } => Some("bring it here with `rad seed`, or use the home that it came from"),
            Self::NotAllowed { .. } | Self::Fetch(FetchError::Refused { .. }) => {
                Some("ask a delegate of the repository to allow this node: `rad id update --allow`")
            }
            Self::Fetch(FetchError::NotConnected { .. }) => Some("try again when the peer is connected"),
            Self::Fetch(FetchError::Node(error)) | Self::Node(error) => error.hint(),
            Self::NotGit(..)
            | Self::NoCommit { .. }
            | Self::NotHere(_)
            | Self::Fetch(FetchError::NotSeeded(_) | FetchError::TimedOut { .. })
            | Self::NotEmpty(_)
            | Self::Io { .. }
            | Self::Git { .. }
            | Self::Read { .. }
            | Self::Identity(_)
            | Self::Repository(_) => None,
        }
    }
}

impl Replication {
    /// Copies `commit` of the repository at `from` into the source repository `rid`, unless what is signed there brings it.
    /// Nothing is published by this, and what no job is kept for is collected an hour later.
    pub fn bring_commit(&self, rid: RepoId, commit: CommitId, from: &Path) -> Result<(), SourceError> {
        let home = self.home();
        let repository = open(&home, rid)?;
        if is_signed(&home, &repository, commit) {
            return Ok(());
        }
        let work = open_work(from)?;
        require_commit(&work, commit, &from.display().to_string())?;
        copy_commit(&repository, work.commondir(), &commit.to_string())
    }

    /// Keeps a commit that is in the source repository `rid` until [`Replication::drop_commits`]. Signed and announced,
    /// unless peers can have the commit by what is signed already: then the next signing tells.
    pub fn keep_commit(&self, rid: RepoId, job: JobId, commit: CommitId) -> Result<(), SourceError> {
        let home = self.home();
        let repository = open(&home, rid)?;
        require_commit(&repository.backend, commit, &rid.to_string())?;
        let was_signed = is_signed(&home, &repository, commit);
        let kept = repository.backend.reference(&source_ref(&home, job), commit.0.into(), true, "keep for a job");
        kept.map_err(reading(&rid))?;
        if !was_signed {
            repository::sign(&home, &repository)?;
            self.announce_source(rid);
        }
        Ok(())
    }

    /// Lets go of what was kept for `jobs`. Nothing kept is no error.
    pub fn drop_commits(&self, rid: RepoId, jobs: &[JobId]) -> Result<(), SourceError> {
        let home = self.home();
        let repository = open(&home, rid)?;
        let mut dropped = false;
        for job in jobs {
            match repository.backend.find_reference(&source_ref(&home, *job)) {
                Ok(mut kept) => kept.delete().map_err(reading(&rid))?,
                Err(error) if error.code() == git2::ErrorCode::NotFound => continue,
                Err(error) => return Err(reading(&rid)(error)),
            }
            dropped = true;
        }
        if dropped {
            repository::sign(&home, &repository)?;
            self.announce_source(rid);
        }
        Ok(())
    }

    /// Brings `commit` of `rid` here from a connected peer, unless it is here already.
    pub fn obtain_commit(
        &self,
        rid: RepoId,
        commit: CommitId,
        from: NodeId,
        timeout: Duration,
    ) -> Result<(), SourceError> {
        let home = self.home();
        match has_commit(&home, rid, commit) {
            Ok(true) => return Ok(()),
            Ok(false) | Err(SourceError::NotHere(_)) => {}
            Err(error) => return Err(error),
        }
        self.seed(rid)?;
        self.fetch(rid, from, timeout).map_err(|error| explain_refusal(&home, rid, error))?;
        match has_commit(&home, rid, commit)? {
            true => Ok(()),
            false => Err(SourceError::NoCommit { commit, place: rid.to_string() }),
        }
    }

    /// A failed announcement costs time, not the commit: the node announces what changed at its next start.
    fn announce_source(&self, rid: RepoId) {
        if let Err(error) = self.announce(rid) {
            tracing::warn!(%rid, %error, "cannot announce the source repository");
        }
    }
}

/// Who may fetch `rid`; none when everyone may.
pub fn readers(home: &NodeHome, rid: RepoId) -> Result<Option<BTreeSet<NodeId>>, SourceError> {
    let document = repository::current_document(&open(home, rid)?)?;
    Ok(document.is_private().then(|| Members::of(&document).all()))
}

/// Whether `commit` is in our copy of `rid`.
pub fn has_commit(home: &NodeHome, rid: RepoId, commit: CommitId) -> Result<bool, SourceError> {
    let repository = open(home, rid)?;
    match repository.backend.find_commit(commit.0.into()) {
        Ok(_) => Ok(true),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(false),
        Err(error) => Err(reading(&rid)(error)),
    }
}

/// A copy that we have says who may fetch it; without one only the peer knows.
fn explain_refusal(home: &NodeHome, rid: RepoId, error: FetchError) -> SourceError {
    let members = open(home, rid).and_then(|repository| {
        let doc = repository::current_document(&repository)?;
        Ok((doc.is_private(), Members::of(&doc)))
    });
    match (error, members) {
        (FetchError::Refused { .. }, Ok((true, members))) if !members.contains(&home.public_key) => {
            SourceError::NotAllowed { rid, node: home.public_key }
        }
        (error, _) => SourceError::Fetch(error),
    }
}

/// Whether a branch or a kept commit that we have signed brings `commit` along. When in doubt it does not.
fn is_signed(home: &NodeHome, repository: &Repository, commit: CommitId) -> bool {
    let Ok(remote) = repository.remote(&home.public_key) else { return false };
    let commit: git2::Oid = commit.0.into();
    let brings = |name: &str| name.starts_with("refs/heads/") || name.starts_with(SOURCE_REFS);
    let tips = || remote.refs.iter().filter(|(name, _)| brings(name.as_str())).map(|(_, tip)| git2::Oid::from(*tip));
    // a walk through a history costs far more
    tips().any(|tip| tip == commit)
        || tips().any(|tip| repository.backend.graph_descendant_of(tip, commit).unwrap_or(false))
}

fn open(home: &NodeHome, rid: RepoId) -> Result<Repository, SourceError> {
    repository::open(home, rid).map_err(|error| match error {
        RepositoryFault::NotHere(rid) => SourceError::NotHere(rid),
        error => SourceError::Repository(error),
    })
}

/// Opens a person's repository, whole histories only.
fn open_work(path: &Path) -> Result<git2::Repository, SourceError> {
    let work = git2::Repository::discover(path).map_err(|error| SourceError::NotGit(path.to_owned(), error))?;
    match work.is_shallow() {
        true => Err(SourceError::Shallow(path.to_owned())),
        false => Ok(work),
    }
}

fn require_commit(work: &git2::Repository, commit: CommitId, place: &str) -> Result<(), SourceError> {
    match work.find_commit(commit.0.into()) {
        Ok(_) => Ok(()),
        Err(error) if error.code() == git2::ErrorCode::NotFound => {
            Err(SourceError::NoCommit { commit, place: place.to_owned() })
        }
        Err(source) => Err(SourceError::Read { what: place.to_owned(), source }),
    }
}

fn copy_commit(repository: &Repository, from: &Path, refspec: &str) -> Result<(), SourceError> {
    git::fetch(repository.backend.path(), from, refspec, History::Whole)
        .map_err(|source| SourceError::Git { action: "copy the commit", source })
}

fn source_ref(home: &NodeHome, job: JobId) -> String {
    format!("refs/namespaces/{}/{SOURCE_REFS}/{job}", home.public_key)
}

fn reading(rid: &RepoId) -> impl Fn(git2::Error) -> SourceError + use<> {
    let what = rid.to_string();
    move |source| SourceError::Read { what: what.clone(), source }
}

//! Where a job's work tree comes from: a revision becomes a full commit of a Radicle repository, and the commit is kept
//! until the job is settled. A person's repository is read, and at most published; its files and references stay.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use git2::{ErrorCode, Repository, StatusOptions};

use cobs::id::{CommitId, JobId, NodeId, RepoId};
use cobs::job::spec::Source;
use radicle::storage::ReadStorage as _;

use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::ops::types::{Dirty, Publish, SubmitSource};
use crate::replication::source::{SourceError, name_of};

/// Changed files that an error names.
const DIRTY_NAMES_MAX: usize = 5;

/// A source that was resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What the job names.
    pub source: Source,
    /// A repository that holds the commit.
    pub from: PathBuf,
    /// Who may have it from this node; everyone without.
    pub readers: Option<BTreeSet<NodeId>>,
}

/// Finds the commit, and the Radicle repository that peers will have it from. Blocks.
///
/// # Errors
/// Each with what to do next.
pub fn resolve(node: &Arc<Node>, ledger: RepoId, wanted: &SubmitSource) -> Result<Resolved, Error> {
    match wanted {
        SubmitSource::Repository { repo, commit } => {
            let from = node.home().storage.path_of(repo);
            let repository = Repository::open(&from).map_err(|_| {
                Error::new(Code::RepositoryNotFound, format!("repository {repo} is not on this node"))
                    .hint("give --repo with a path on this machine, or seed it: rad seed RID")
            })?;
            let revision = commit.clone().unwrap_or_else(|| "HEAD".into());
            let commit = revision_of(&repository, &revision, &repo.to_string())?;
            Ok(Resolved { source: Source { repo: *repo, commit }, from, readers: readers(node, *repo)? })
        }
        SubmitSource::Path { path, commit, dirty, publish } => {
            let repository = open(Path::new(path))?;
            let work = repository.workdir().unwrap_or_else(|| repository.path()).to_owned();
            let revision = commit.as_deref().unwrap_or("HEAD");
            let base = revision_of(&repository, revision, path)?;
            if commit.is_some() && *dirty == Dirty::Snapshot {
                return Err(Error::new(
                    Code::BadRequest,
                    "changes are taken along with HEAD, and not with another commit",
                )
                .hint("leave out the commit, or the changes"));
            }
            let commit = match (changes(&repository)?, dirty) {
                (changed, _) if changed.is_empty() || commit.is_some() => base,
                (_, Dirty::Ignore) => base,
                (_, Dirty::Snapshot) => snapshot(&work, base)?,
                (changed, Dirty::Refuse) => return Err(dirty_error(path, &changed)),
            };
            let repo = published(node, ledger, &repository, &work, commit, *publish)?;
            Ok(Resolved { source: Source { repo, commit }, from: work, readers: readers(node, repo)? })
        }
    }
}

fn readers(node: &Node, repo: RepoId) -> Result<Option<BTreeSet<NodeId>>, Error> {
    crate::replication::source::readers(&node.home(), repo).map_err(|error| source_error(&error))
}

/// Brings the commit into the source repository. Before the job is written: this node may be the one that runs it. Blocks.
///
/// # Errors
/// When the storage or the repository that holds it fails.
pub fn bring(node: &Node, resolved: &Resolved) -> Result<(), Error> {
    let Source { repo, commit } = resolved.source;
    node.replication.bring_commit(repo, commit, &resolved.from).map_err(|error| source_error(&error))
}

/// Keeps the commit of a job of this node until the job is settled, and lets its workers have it. Also after a start: the
/// daemon may have ended as soon as the job was written. Blocks.
pub fn keep(node: &Node, job: JobId, Source { repo, commit }: Source) {
    if let Err(error) = node.replication.keep_commit(repo, job, commit) {
        // the job is durable; a worker that cannot have the commit says so
        let error = crate::runs::chain(&error);
        tracing::warn!(%job, error, "the job's commit is not kept for its workers");
    }
}

/// The error of a source repository, in words.
pub fn source_error(error: &SourceError) -> Error {
    let code = match error {
        SourceError::NotGit(..) | SourceError::NotHere(_) | SourceError::IdentityNotHere { .. } => {
            Code::RepositoryNotFound
        }
        SourceError::NotAllowed { .. } | SourceError::Fetch(_) => Code::RepositoryUnreadable,
        SourceError::NoCommit { .. } => Code::CommitNotFound,
        SourceError::Shallow(_) => Code::BadRequest,
        SourceError::NotEmpty(_)
        | SourceError::Io { .. }
        | SourceError::Git { .. }
        | SourceError::Read { .. }
        | SourceError::Identity(_)
        | SourceError::Repository(_)
        | SourceError::Node(_) => Code::Storage,
    };
    let words = Error::new(code, crate::runs::chain(error));
    match error.hint() {
        Some(hint) => words.hint(hint),
        None => words,
    }
}

fn open(path: &Path) -> Result<Repository, Error> {
    Repository::discover(path).map_err(|_| {
        Error::new(Code::RepositoryNotFound, format!("{} is in no git repository", path.display()))
            .hint("give --repo with the path of a git repository, or leave it out to run in an empty directory")
    })
}

fn revision_of(repository: &Repository, revision: &str, place: &str) -> Result<CommitId, Error> {
    let found = repository.revparse_single(revision).and_then(|object| object.peel_to_commit());
    found.map(|commit| CommitId(commit.id().into())).map_err(|error| {
        let words = match error.code() {
            ErrorCode::Ambiguous => format!("'{revision}' fits several commits of {place}"),
            _ => format!("there is no commit '{revision}' in {place}"),
        };
        Error::new(Code::CommitNotFound, words).hint("name a commit, branch or tag that git log shows there")
    })
}

/// Files that differ from HEAD, or that no commit holds; ignored ones aside.
fn changes(repository: &Repository) -> Result<Vec<String>, Error> {
    if repository.is_bare() {
        return Ok(Vec::new());
    }
    let mut options = StatusOptions::new();
    options.include_untracked(true).exclude_submodules(true);
    let statuses = repository.statuses(Some(&mut options));
    let statuses = statuses.map_err(|error| Error::new(Code::Storage, format!("cannot look for changes: {error}")))?;
    Ok(statuses.iter().map(|status| String::from_utf8_lossy(status.path_bytes()).into_owned()).collect())
}

fn dirty_error(path: &str, changed: &[String]) -> Error {
    let names: Vec<&str> = changed.iter().take(DIRTY_NAMES_MAX).map(String::as_str).collect();
    let more = if changed.len() > DIRTY_NAMES_MAX { ", ..." } else { "" };
    let words = format!("{path} has changes that no commit holds: {}{more}", names.join(", "));
    Error::new(Code::DirtyTree, words).hint("commit them, name a commit with --commit, or take them along with --dirty")
}

/// A commit of the work tree as it is, on no branch. Only objects are added to the repository, as by `git stash create`.
fn snapshot(work: &Path, base: CommitId) -> Result<CommitId, Error> {
    let index = tempfile::tempdir().map_err(|error| Error::new(Code::Storage, error.to_string()))?;
    let index = index.path().join("index");
    let git = |arguments: &[&str]| -> Result<String, Error> {
        let output = Command::new("git")
            .arg("-C")
            .arg(work)
            .args(["-c", "user.name=rhizome", "-c", "user.email=rhizome@localhost", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_INDEX_FILE", &index)
            .output();
        let output = output.map_err(|error| Error::new(Code::Storage, format!("cannot run git: {error}")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::new(Code::Storage, format!("git {}: {words}", arguments[0])));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let base = base.to_string();
    git(&["read-tree", &base])?;
    git(&["add", "-A"])?;
    let tree = git(&["write-tree"])?;
    let commit = git(&["commit-tree", &tree, "-p", &base, "-m", "Work tree as submitted"])?;
    commit.parse().map_err(|_| Error::new(Code::Internal, format!("git made no commit: {commit}")))
}

/// The Radicle repository of a person's repository; published privately to the ledger's members when asked for.
fn published(
    node: &Arc<Node>,
    ledger: RepoId,
    repository: &Repository,
    work: &Path,
    commit: CommitId,
    publish: Publish,
) -> Result<RepoId, Error> {
    let known = repository.find_remote("rad").is_ok();
    let before = node.state.settings().unwrap_or_default().published.contains(&work.to_string_lossy().into_owned());
    if !known && !before && publish == Publish::Refuse {
        let words = format!("{} has no Radicle identity, so no peer can have its commits", work.display());
        return Err(Error::new(Code::NotPublished, words).hint(
            "publish it privately to the members of the ledger with --publish, or once with: rad init --private",
        ));
    }
    let allow: BTreeSet<_> = cobs::adapter::ledger::get(&node.home(), ledger)
        .map(|ledger| ledger.members.all())
        .map_err(|error| Error::new(Code::NoLedger, error.to_string()))?;
    let source = node.replication.publish_private(work, &name_of(work), commit, &allow);
    let source = source.map_err(|error| source_error(&error))?;
    if !known {
        let path = work.to_string_lossy().into_owned();
        node.state
            .update_settings(|settings| settings.published.extend([path]))
            .map_err(|error| crate::ops::jobs::storage(&error))?;
    }
    Ok(source.rid)
}

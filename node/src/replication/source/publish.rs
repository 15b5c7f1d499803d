//! Giving a person's repository a place that the ledger's members can fetch it from.
//!
//! It must not know jobs.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr as _;

use cobs::adapter::identity;
use cobs::adapter::profile::NodeHome;
use cobs::adapter::repository::{self, Founding};
use cobs::id::{CommitId, NodeId, Oid, RepoId};
use radicle::identity::Did;
use radicle::identity::doc::PayloadId;
use serde_json::json;

use super::{Replication, SourceError, command, copy_commit, git, open, open_work, require_commit};

/// The payload by which a source that we published is found again: the person's repository is not marked.
const PAYLOAD: &str = "io.rhizome.source";
/// Version of that payload.
const PAYLOAD_VERSION: u32 = 1;
/// The default branch of a source whose head is on no branch.
const DEFAULT_BRANCH: &str = "main";
/// Radicle's limit for a project's name.
const NAME_BYTES_MAX: usize = 255;

/// Where a source repository stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceRepository {
    /// Its id.
    pub rid: RepoId,
    /// How it came to be.
    pub publication: Publication,
    /// Who can see what is kept in it.
    pub audience: Audience,
}

/// How a source repository came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publication {
    /// The repository has a Radicle identity of its own, by its remote `rad`.
    Own,
    /// We published it before.
    Earlier,
    /// We have just published it.
    Now,
}

/// Who can see what is kept in a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Its members.
    Members,
    /// The whole network: an unpushed commit kept there is published.
    Everyone,
}

impl Replication {
    /// Finds the Radicle repository of the one at `work`, or publishes it privately to `allow`.
    ///
    /// `commit` becomes the head of the default branch where it is published now. A repository with an identity of
    /// its own is used as it is: its members are not changed. One that we published before admits `allow` too.
    pub fn publish_private(
        &self,
        work: &Path,
        name: &str,
        commit: CommitId,
        allow: &BTreeSet<NodeId>,
    ) -> Result<SourceRepository, SourceError> {
        let home = self.home();
        let repository = open_work(work)?;
        require_commit(&repository, commit, &work.display().to_string())?;
        if let Some(rid) = own_identity(&repository) {
            return use_own(&home, work, rid);
        }
        let root = root_of(&repository, commit)?;
        let mut allow = allow.clone();
        allow.remove(&home.public_key);
        let (rid, publication) = match find_earlier(&home, root)? {
            Some(rid) => {
                admit(&home, rid, &allow)?;
                (rid, Publication::Earlier)
            }
            None => (publish(&home, &repository, name, commit, root, allow)?, Publication::Now),
        };
        self.seed(rid)?;
        self.announce_source(rid);
        Ok(SourceRepository { rid, publication, audience: Audience::Members })
    }
}

/// A name for the repository at `path` that Radicle takes.
pub fn name_of(path: &Path) -> String {
    let directory = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(allowed).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "source".to_owned() } else { name }
}

/// What the remote `rad` names, if there is one.
fn own_identity(work: &git2::Repository) -> Option<RepoId> {
    radicle::rad::remote(work).ok().map(|(_, rid)| rid)
}

fn use_own(home: &NodeHome, work: &Path, rid: RepoId) -> Result<SourceRepository, SourceError> {
    let repository = open(home, rid).map_err(|error| match error {
        SourceError::NotHere(rid) => SourceError::IdentityNotHere { path: work.to_owned(), rid },
        error => error,
    })?;
    let audience = match repository::current_document(&repository)?.is_public() {
        true => Audience::Everyone,
        false => Audience::Members,
    };
    Ok(SourceRepository { rid, publication: Publication::Own, audience })
}

/// The first commit of the history, the smallest id if there are several: the same in every clone.
fn root_of(work: &git2::Repository, commit: CommitId) -> Result<Oid, SourceError> {
    let printed = git::run(work.commondir(), ["rev-list", "--max-parents=0", &commit.to_string()])
        .map_err(|source| SourceError::Git { action: "find the first commit", source })?;
    let roots: BTreeSet<Oid> = printed.lines().filter_map(|line| line.parse().ok()).collect();
    let missing = || SourceError::NoCommit { commit, place: work.path().display().to_string() };
    roots.first().copied().ok_or_else(missing)
}

fn payload_id() -> PayloadId {
    PayloadId::from_str(PAYLOAD).expect("it has the form of a type name")
}

/// Other people's publications of the same project are theirs: only one that we may change is ours.
fn find_earlier(home: &NodeHome, root: Oid) -> Result<Option<RepoId>, SourceError> {
    let us = Did::from(home.public_key);
    let published = repository::with_payload(home, &payload_id()).map_err(command("list its repositories"))?;
    Ok(published
        .into_iter()
        .find(|(_, doc, payload)| doc.is_delegate(&us) && payload["root"] == root.to_string())
        .map(|(rid, _, _)| rid))
}

fn admit(home: &NodeHome, rid: RepoId, allow: &BTreeSet<NodeId>) -> Result<(), SourceError> {
    let repository = open(home, rid)?;
    identity::allow(home, &repository, allow)?;
    Ok(())
}

fn publish(
    home: &NodeHome,
    work: &git2::Repository,
    name: &str,
    commit: CommitId,
    root: Oid,
    allow: BTreeSet<NodeId>,
) -> Result<RepoId, SourceError> {
    let branch = current_branch(work);
    let founding = Founding {
        name,
        description: "",
        default_branch: &branch,
        allow,
        payload: (payload_id(), json!({ "version": PAYLOAD_VERSION, "root": root.to_string() })),
    };
    let head = format!("refs/namespaces/{}/refs/heads/{branch}", home.public_key);
    repository::found(home, founding, |repository| {
        copy_commit(repository, work.commondir(), &format!("+{commit}:{head}"))?;
        Ok::<Oid, SourceError>(commit.0)
    })
}

fn current_branch(work: &git2::Repository) -> String {
    let head = work.find_reference("HEAD").ok();
    let target = head.as_ref().and_then(|head| head.symbolic_target().ok().flatten());
    let branch = target.and_then(|target| target.strip_prefix("refs/heads/"));
    branch.unwrap_or(DEFAULT_BRANCH).to_owned()
}

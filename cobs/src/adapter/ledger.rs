//! A ledger: the private repository that holds a group's jobs, and who belongs to it.
//!
//! It must not know what is written in a ledger.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::str::FromStr as _;

use radicle::git::Oid;
use radicle::identity::doc::{Doc, PayloadId, Visibility};
use radicle::node::NodeId;
use radicle::prelude::RepoId;
use radicle::storage::git::Repository;
use serde_json::json;
use thiserror::Error;

use super::profile::NodeHome;
use super::repository::{self, Founding, RepositoryFault};

/// The payload of the identity document by which a repository is known as a ledger, whatever its name.
const PAYLOAD: &str = "io.rhizome.ledger";
/// Version of that payload; a reader takes any, as there is nothing to misread yet.
const PAYLOAD_VERSION: u32 = 1;
/// The branch that Radicle asks for.
const DEFAULT_BRANCH: &str = "main";
/// What a person finds who checks the ledger out.
const README: &str = "The jobs in this repository are Radicle collaborative objects, not files.\n";

/// A ledger to be.
#[derive(Clone, Copy, Debug)]
pub struct NewLedger<'a> {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: &'a str,
    /// At most 255 bytes.
    pub description: &'a str,
}

/// A ledger in our storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Its repository.
    pub rid: RepoId,
    /// Its name, unique only by habit.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who belongs to it.
    pub members: Members,
}

/// Who belongs to a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// May change the identity: invite and remove.
    pub delegates: BTreeSet<NodeId>,
    /// May fetch it, besides the delegates.
    pub allowed: BTreeSet<NodeId>,
}

impl Members {
    /// The members that a document names.
    pub fn of(doc: &Doc) -> Self {
        let delegates = doc.delegates().iter().map(|did| *did.as_key()).collect();
        let allowed = match doc.visibility() {
            Visibility::Public => BTreeSet::new(),
            Visibility::Private { allow } => allow.iter().map(|did| *did.as_key()).collect(),
        };
        Self { delegates, allowed }
    }

    /// Every member once.
    pub fn all(&self) -> BTreeSet<NodeId> {
        self.delegates.union(&self.allowed).copied().collect()
    }

    /// Whether `node` belongs to it.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.delegates.contains(node) || self.allowed.contains(node)
    }
}

/// Why a ledger cannot be created or read.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The repository failed us.
    #[error(transparent)]
    Repository(#[from] RepositoryFault),
    /// The storage cannot be listed.
    #[error("cannot list the repositories of this home")]
    List(#[source] radicle::storage::Error),
    /// The repository is none of ours.
    #[error("repository {0} is not a ledger")]
    NotALedger(RepoId),
}

/// Creates a private ledger with us as its delegate and nobody else in it.
///
/// A ledger of the same name and description by us is the same repository: creating it again is
/// [`RepositoryFault::Exists`].
pub fn create(home: &NodeHome, new: NewLedger<'_>) -> Result<RepoId, LedgerError> {
    let founding = Founding {
        name: new.name,
        description: new.description,
        default_branch: DEFAULT_BRANCH,
        allow: BTreeSet::new(),
        payload: (payload_id(), json!({ "version": PAYLOAD_VERSION })),
    };
    repository::found(home, founding, |repository| Ok(first_commit(home, repository)?))
}

/// The ledgers in our storage, ours and others', by repository id.
pub fn list(home: &NodeHome) -> Result<Vec<Ledger>, LedgerError> {
    let found = repository::with_payload(home, &payload_id()).map_err(LedgerError::List)?;
    Ok(found.into_iter().map(|(rid, doc, _)| describe(rid, &doc)).collect())
}

/// One ledger.
pub fn get(home: &NodeHome, rid: RepoId) -> Result<Ledger, LedgerError> {
    let repository = repository::open(home, rid)?;
    let doc = repository::current_document(&repository)?;
    if !doc.payload().contains_key(&payload_id()) {
        return Err(LedgerError::NotALedger(rid));
    }
    Ok(describe(rid, &doc))
}

/// Who belongs to a repository now.
pub fn members(repository: &Repository) -> Result<Members, RepositoryFault> {
    Ok(Members::of(&repository::current_document(repository)?))
}

fn payload_id() -> PayloadId {
    PayloadId::from_str(PAYLOAD).expect("it has the form of a type name")
}

fn describe(rid: RepoId, doc: &Doc) -> Ledger {
    let (name, description) = match doc.project() {
        Ok(project) => (project.name().to_string(), project.description().to_owned()),
        Err(_) => (rid.to_string(), String::new()),
    };
    Ledger { rid, name, description, members: Members::of(doc) }
}

fn first_commit(home: &NodeHome, repository: &Repository) -> Result<Oid, RepositoryFault> {
    let write = || -> Result<Oid, git2::Error> {
        let git = &repository.backend;
        let signature = git2::Signature::now(home.config.alias().as_ref(), &format!("{}@radicle", home.public_key))?;
        let mut tree = git.treebuilder(None)?;
        tree.insert("README.md", git.blob(README.as_bytes())?, 0o100_644)?;
        let tree = git.find_tree(tree.write()?)?;
        Ok(git.commit(None, &signature, &signature, "Open the ledger", &tree, &[])?.into())
    };
    write().map_err(RepositoryFault::storage("write the first commit of", repository.id))
}

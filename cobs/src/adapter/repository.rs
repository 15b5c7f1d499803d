//! A repository in Radicle's storage: found a private one, open one, sign its references.
//!
//! It must not know what a repository is for. Nothing here runs `git push` or reads a person's git configuration,
//! as `rad::init` would.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use radicle::cob::identity::Identity;
use radicle::git::Oid;
use radicle::identity::Did;
use radicle::identity::doc::{Doc, Payload, PayloadId, Visibility};
use radicle::identity::project::{Project, ProjectName};
use radicle::node::policy::Scope;
use radicle::node::{NodeId, policy};
use radicle::prelude::{ReadRepository as _, ReadStorage as _, RepoId, WriteRepository as _};
use radicle::storage::git::Repository;
use radicle::storage::refs::SignedRefs;
use radicle::storage::{self, RepositoryError};
use thiserror::Error;

use super::profile::NodeHome;
use super::signing;

/// How often signing is tried again when another writer moved the references meanwhile.
const SIGN_ATTEMPTS_MAX: u32 = 8;

/// A private repository to be.
pub struct Founding<'a> {
    /// Radicle's project name: letters, digits, `-`, `_` and `.`.
    pub name: &'a str,
    /// At most 255 bytes.
    pub description: &'a str,
    /// The default branch, without `refs/heads/`.
    pub default_branch: &'a str,
    /// Who may fetch it, besides us.
    pub allow: BTreeSet<NodeId>,
    /// What the identity document says the repository is for.
    pub payload: (PayloadId, serde_json::Value),
}

/// Why a repository cannot be founded, opened or signed.
#[derive(Debug, Error)]
pub enum RepositoryFault {
    /// It is not in our storage.
    #[error("no repository {0} here")]
    NotHere(RepoId),
    /// The same founding (author, name, description and purpose) has been made before.
    #[error("repository {0} exists already")]
    Exists(RepoId),
    /// A name, description or branch breaks Radicle's rules.
    #[error("invalid {what} {text:?}: {reason}")]
    Invalid {
        /// Which one.
        what: &'static str,
        /// What was asked for.
        text: String,
        /// Radicle's rule.
        reason: String,
    },
    /// Radicle's storage failed.
    #[error("cannot {action} repository {rid}")]
    Storage {
        /// What we were doing.
        action: &'static str,
        /// To what.
        rid: RepoId,
        /// Radicle's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RepositoryFault {
    /// Says what we were doing to `rid` when Radicle failed; for `map_err`.
    pub fn storage<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        action: &'static str,
        rid: RepoId,
    ) -> impl Fn(E) -> Self + use<E> {
        move |source| Self::Storage { action, rid, source: source.into() }
    }
}

/// Opens a repository of this home. Open one per thread.
pub fn open(home: &NodeHome, rid: RepoId) -> Result<Repository, RepositoryFault> {
    if !home.storage.path_of(&rid).exists() {
        return Err(RepositoryFault::NotHere(rid));
    }
    home.storage.repository(rid).map_err(RepositoryFault::storage("open", rid))
}

/// Founds a private repository, seeded with scope `all`, with us as its only delegate.
///
/// `place` puts the default branch's first commit into the new repository and returns it. On an error nothing is left.
pub fn found<E: From<RepositoryFault>>(
    home: &NodeHome,
    founding: Founding<'_>,
    place: impl FnOnce(&Repository) -> Result<Oid, E>,
) -> Result<RepoId, E> {
    let doc = document(home, &founding)?;
    let rid = id_of(&doc)?;
    clear_unfinished(home, rid)?;
    let (repository, identity) =
        Repository::init(&doc, &home.storage, &home.signer).map_err(RepositoryFault::storage("create", rid))?;
    let placed = place(&repository)
        .and_then(|head| finish(home, &repository, &founding, identity, head).map_err(E::from))
        .and_then(|()| seed(home, rid).map_err(E::from));
    if let Err(error) = placed {
        // Best effort: what is left has no signed references, and the next attempt clears it.
        if let Err(source) = repository.remove() {
            tracing::warn!(%rid, %source, "cannot remove the unfinished repository");
        }
        return Err(error);
    }
    Ok(rid)
}

/// Takes part in a repository's replication with scope `all`: every admitted peer's references, not only delegates'.
pub fn seed(home: &NodeHome, rid: RepoId) -> Result<(), RepositoryFault> {
    let mut policies: policy::store::StoreWriter =
        home.home.policies_mut().map_err(RepositoryFault::storage("open the policies for", rid))?;
    policies.seed(&rid, Scope::All).map_err(RepositoryFault::storage("seed", rid))?;
    Ok(())
}

/// Signs our references, again if another writer of this home (`rad`, `git push`) moved them meanwhile. Of this process one
/// thread signs at a time, and signs what all of them have moved by then.
pub fn sign(home: &NodeHome, repository: &Repository) -> Result<SignedRefs, RepositoryFault> {
    // a list from before another's reference moved must not be signed after it
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut attempt = 1;
    loop {
        match signing::sign(repository, &home.signer) {
            Ok(signed) => return Ok(signed),
            Err(source) if attempt >= SIGN_ATTEMPTS_MAX => {
                return Err(RepositoryFault::storage("sign the references of", repository.id)(source));
            }
            Err(source) => {
                tracing::debug!(rid = %repository.id, attempt, %source, "signing again");
                attempt += 1;
            }
        }
    }
}

fn document(home: &NodeHome, founding: &Founding<'_>) -> Result<Doc, RepositoryFault> {
    let invalid = |what, text: &str, reason: String| RepositoryFault::Invalid { what, text: text.to_owned(), reason };
    let name = ProjectName::try_from(founding.name)
        .map_err(|error| invalid("repository name", founding.name, error.to_string()))?;
    let branch = radicle::git::fmt::RefString::try_from(founding.default_branch)
        .map_err(|error| invalid("branch", founding.default_branch, error.to_string()))?;
    let project = Project::new(name, founding.description.to_owned(), branch).map_err(|errors| {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        invalid("description", founding.description, reasons.join(", "))
    })?;
    let visibility = Visibility::private(founding.allow.iter().map(Did::from));
    let (id, value) = founding.payload.clone();
    Doc::initial(project, Did::from(home.public_key), visibility)
        .with_edits(|doc| {
            doc.payload.insert(id, Payload::from(value));
        })
        .map_err(|error| invalid("identity document", founding.name, error.to_string()))
}

fn id_of(doc: &Doc) -> Result<RepoId, RepositoryFault> {
    let (oid, _) = doc.encode().map_err(|error| RepositoryFault::Invalid {
        what: "identity document",
        text: String::new(),
        reason: error.to_string(),
    })?;
    Ok(RepoId::from(oid))
}

/// A founding that was interrupted has no signed references of ours, and nobody else can have it.
fn clear_unfinished(home: &NodeHome, rid: RepoId) -> Result<(), RepositoryFault> {
    let path = home.storage.path_of(&rid);
    if !path.exists() {
        return Ok(());
    }
    let finished = home
        .storage
        .repository(rid)
        .is_ok_and(|repository| !matches!(SignedRefs::load(home.public_key, &repository), Ok(None)));
    if finished {
        return Err(RepositoryFault::Exists(rid));
    }
    std::fs::remove_dir_all(&path).map_err(RepositoryFault::storage("clear the unfinished", rid))
}

fn finish(
    home: &NodeHome,
    repository: &Repository,
    founding: &Founding<'_>,
    identity: Oid,
    head: Oid,
) -> Result<(), RepositoryFault> {
    let rid = repository.id;
    let branch = format!("refs/namespaces/{}/refs/heads/{}", home.public_key, founding.default_branch);
    repository
        .backend
        .reference(&branch, head.into(), true, "default branch (rhizome)")
        .map_err(RepositoryFault::storage("set the default branch of", rid))?;
    let settle = || -> Result<(), RepositoryError> {
        repository.set_remote_identity_root_to(&home.public_key, identity)?;
        repository.set_identity_head_to(identity)?;
        repository.set_canonical_symbolic_refs("set canonical (rhizome)")?;
        repository.set_default_branch_to_canonical_head()?;
        Ok(())
    };
    settle().map_err(RepositoryFault::storage("initialise", rid))?;
    sign(home, repository)?;
    Ok(())
}

/// The current identity document of a repository.
pub fn current_document(repository: &Repository) -> Result<Doc, RepositoryFault> {
    let doc = repository.identity_doc();
    Ok(doc.map_err(RepositoryFault::storage("read the identity of", repository.id))?.into())
}

/// The whole history of a repository's identity.
pub fn identity(repository: &Repository) -> Result<Identity, RepositoryFault> {
    Identity::load(repository).map_err(RepositoryFault::storage("read the identity of", repository.id))
}

/// The purpose payload of every repository in storage that has one of this kind.
pub fn with_payload(
    home: &NodeHome,
    kind: &PayloadId,
) -> Result<Vec<(RepoId, Doc, serde_json::Value)>, storage::Error> {
    let mut found = Vec::new();
    for info in home.storage.repositories()? {
        if let Some(payload) = info.doc.payload().get(kind) {
            let value = (**payload).clone();
            found.push((info.rid, info.doc, value));
        }
    }
    found.sort_by_key(|(rid, _, _)| *rid);
    Ok(found)
}

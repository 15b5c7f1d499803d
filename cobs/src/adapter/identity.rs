//! The identity of a ledger: whose word counted when, and who is admitted now.
//!
//! It must not know jobs; the pure fold is given what this module reads.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use radicle::cob::Title;
use radicle::cob::identity::{Identity, Revision};
use radicle::identity::Did;
use radicle::identity::doc::{Doc, RawDoc, Visibility};
use radicle::prelude::{RepoId, WriteRepository as _};
use radicle::storage::git::Repository;
use thiserror::Error;

use super::profile::NodeHome;
use super::repository::{self, RepositoryFault};
use crate::id::{NodeId, RevisionId};

/// What became of a change to an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amendment {
    /// It holds: the canonical identity is this revision.
    Accepted(RevisionId),
    /// It waits for the votes of other delegates (`rad id accept`).
    Pending(RevisionId),
    /// It was so already.
    Unchanged,
}

/// Why an identity cannot be changed.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Only a delegate may propose.
    #[error("{node} is not a delegate of {rid} and cannot change who belongs to it")]
    NotDelegate {
        /// Us.
        node: NodeId,
        /// The repository.
        rid: RepoId,
    },
    /// A delegate always may fetch; removing one takes a change of delegates.
    #[error("{node} is a delegate of {rid}: it cannot be removed by disallowing it")]
    IsDelegate {
        /// The peer.
        node: NodeId,
        /// The repository.
        rid: RepoId,
    },
    /// Everyone may fetch a public repository.
    #[error("repository {0} is public: it has no list of who may fetch it")]
    Public(RepoId),
    /// We may have one open proposal at a time.
    #[error("our revision {revision} of {rid} still waits for votes: it must be accepted or redacted first")]
    PendingFirst {
        /// The one that waits.
        revision: RevisionId,
        /// The repository.
        rid: RepoId,
    },
    /// The repository failed us.
    #[error(transparent)]
    Repository(#[from] RepositoryFault),
}

/// The accepted revisions, oldest first, with the delegates that each names.
pub fn accepted_revisions(repository: &Repository) -> Result<Vec<(RevisionId, BTreeSet<NodeId>)>, RepositoryFault> {
    let identity = repository::identity(repository)?;
    let mut accepted = Vec::new();
    let mut next = Some(identity.current());
    while let Some(revision) = next {
        let delegates = revision.doc.delegates().iter().map(|did| *did.as_key()).collect();
        accepted.push((RevisionId(revision.id), delegates));
        next = revision.parent.and_then(|parent| identity.revision(&parent));
    }
    accepted.reverse();
    Ok(accepted)
}

/// Lets `peers` fetch the repository.
///
/// Accepted at once where we are the only delegate; where more than half of the delegates must agree it is pending.
/// Announce the repository afterwards. Call it where the home is written from: signing may race otherwise.
pub fn allow(home: &NodeHome, repository: &Repository, peers: &BTreeSet<NodeId>) -> Result<Amendment, IdentityError> {
    amend(home, repository, "Allow peers", |_, allowed| {
        allowed.extend(peers.iter().map(Did::from));
        Ok(())
    })
}

/// Lets `peer` fetch no more. What it has it keeps, and what it validly signed stays.
pub fn disallow(home: &NodeHome, repository: &Repository, peer: NodeId) -> Result<Amendment, IdentityError> {
    let did = Did::from(peer);
    amend(home, repository, "Disallow a peer", |delegates, allowed| {
        if delegates.contains(&did) {
            return Err(IdentityError::IsDelegate { node: peer, rid: repository.id });
        }
        allowed.remove(&did);
        Ok(())
    })
}

fn amend(
    home: &NodeHome,
    repository: &Repository,
    title: &str,
    edit: impl FnOnce(&[Did], &mut BTreeSet<Did>) -> Result<(), IdentityError>,
) -> Result<Amendment, IdentityError> {
    let rid = repository.id;
    let identity = repository::identity(repository)?;
    let current = identity.current();
    let us = Did::from(home.public_key);
    if !current.doc.is_delegate(&us) {
        return Err(IdentityError::NotDelegate { node: home.public_key, rid });
    }
    let mut raw = current.doc.clone().edit();
    let RawDoc { delegates, visibility: Visibility::Private { allow }, .. } = &mut raw else {
        return Err(IdentityError::Public(rid));
    };
    edit(delegates, allow)?;
    for did in delegates.iter() {
        allow.remove(did);
    }
    let wanted = raw.verified().map_err(RepositoryFault::storage("amend the identity of", rid))?;
    if wanted == current.doc {
        return Ok(Amendment::Unchanged);
    }
    if let Some(open) = open_proposal(&identity, &us) {
        return match open.doc == wanted {
            true => Ok(Amendment::Pending(RevisionId(open.id))),
            false => Err(IdentityError::PendingFirst { revision: RevisionId(open.id), rid }),
        };
    }
    propose(home, repository, title, &wanted)
}

/// Our vote counts for one child of the current revision only, so a second proposal would start without ours.
fn open_proposal<'a>(identity: &'a Identity, us: &Did) -> Option<&'a Revision> {
    identity.revisions().find(|revision| {
        revision.is_active() && revision.parent == Some(identity.current) && revision.accepted().any(|did| did == *us)
    })
}

fn propose(home: &NodeHome, repository: &Repository, title: &str, wanted: &Doc) -> Result<Amendment, IdentityError> {
    let rid = repository.id;
    let title = Title::new(title).expect("our titles are one non-empty line");
    let mut identity =
        Identity::load_mut(repository, &home.signer).map_err(RepositoryFault::storage("read the identity of", rid))?;
    let before = (*identity).clone();
    let proposed = identity.update(title, "", wanted);
    let now = repository::identity(repository)?;
    // The operation is stored before the references are signed: if only the signing failed, sign again.
    let stored = now.revisions().rev().find(|revision| {
        revision.doc == *wanted
            && revision.author.id() == &Did::from(home.public_key)
            && before.revision(&revision.id).is_none()
    });
    let id = match (proposed, stored) {
        (Ok(id), _) => id,
        (Err(_), Some(revision)) => {
            repository::sign(home, repository)?;
            revision.id
        }
        (Err(source), None) => return Err(RepositoryFault::storage("amend the identity of", rid)(source).into()),
    };
    if now.current != id {
        return Ok(Amendment::Pending(RevisionId(id)));
    }
    repository
        .set_identity_head_to(now.current)
        .map_err(RepositoryFault::storage("move the canonical identity of", rid))?;
    Ok(Amendment::Accepted(RevisionId(id)))
}

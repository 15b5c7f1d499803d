//! Whether this home is older than what others have of it: restored from a copy, it must not write, since what it would
//! sign diverges from what its peers hold, and they would take nothing of it any more.

use radicle::storage::git::Repository;
use radicle_oid::Oid;

use crate::adapter::archive::target;
use crate::adapter::refs;
use crate::id::NodeId;

/// Where the signature over the references of `node` stands in this storage.
///
/// # Errors
/// When the storage fails.
pub fn signed_at(repo: &Repository, node: &NodeId) -> Result<Option<Oid>, git2::Error> {
    target(&repo.backend, &refs::in_namespace(node, refs::SIGNED))
}

/// Whether a signature of `node` that somebody else holds is one that this home, which is `node`'s, does not have below
/// its own.
///
/// # Errors
/// When the storage fails.
pub fn is_behind(repo: &Repository, node: &NodeId, theirs: Oid) -> Result<bool, git2::Error> {
    match signed_at(repo, node)? {
        Some(ours) => Ok(ours != theirs && !is_below(&repo.backend, theirs, ours)?),
        None => Ok(true),
    }
}

/// Whether `ancestor` is an ancestor of `of`; what is not here is none.
pub(crate) fn is_below(repo: &git2::Repository, ancestor: Oid, of: Oid) -> Result<bool, git2::Error> {
    if !repo.odb()?.exists(ancestor.into()) {
        return Ok(false);
    }
    repo.graph_descendant_of(of.into(), ancestor.into())
}

//! One signature over all references of our namespace, whole even while git packs references.
//!
//! References are listed loose ones first. Git moves them into `packed-refs` and removes the loose ones then, so a
//! listing at that moment misses some; signed so, they would be gone at every peer.

use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use radicle::crypto::Signer;
use radicle::storage::git::Repository;
use radicle::storage::refs::SignedRefs;
use radicle::storage::{RepositoryError, SignRepository as _};

/// Why references were not signed; another attempt may do.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Radicle's storage failed, or another process signed at the same moment.
    #[error(transparent)]
    Storage(#[from] RepositoryError),
    /// They were packed while they were listed.
    #[error("the references were packed while they were listed")]
    Packed,
}

/// Signs once. What was signed on a listing that may miss something is an error, and is mended by the next attempt.
pub(crate) fn sign(repo: &Repository, signer: &impl Signer) -> Result<SignedRefs, SignError> {
    let before = packed(repo);
    // where Radicle is built with its own checks, a listing without the identity is one that it stops at
    let signed = catch_unwind(AssertUnwindSafe(|| repo.sign_refs(signer))).map_err(|_| SignError::Packed)?;
    let signed = signed?;
    if packed(repo) == before { Ok(signed) } else { Err(SignError::Packed) }
}

/// Which file of packed references there is: git replaces it whole.
fn packed(repo: &Repository) -> Option<(u64, i64, i64, u64)> {
    let meta = std::fs::metadata(repo.backend.path().join("packed-refs")).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
}

/// Keeps git's collections from packing references: where settled jobs are archived there are few, and loose ones are
/// dropped without writing the packed ones again.
pub(crate) fn keep_loose(repo: &Repository) -> Result<(), git2::Error> {
    const KEY: &str = "gc.packRefs";
    let mut config = repo.backend.config()?;
    if config.snapshot()?.get_bool(KEY).is_ok_and(|packs| !packs) {
        return Ok(());
    }
    config.open_level(git2::ConfigLevel::Local)?.set_bool(KEY, false)
}

//! What a namespace's signed references list, at any of their commits: by this two nodes tell how far one of them has
//! what the other wrote. It verifies nothing: Radicle does before it takes a commit over.

use std::collections::BTreeMap;

use git2::ObjectType;
use radicle::storage::git::Repository;
use radicle_oid::Oid;

use crate::adapter::archive::target;
use crate::adapter::commit::{parse_tree, read_object, tree_of};
use crate::adapter::refs::{self, ARCHIVE};
use crate::id::{JobId, NodeId, parse_oid};

/// The reference of a namespace's signed references.
pub const SIGNED: &str = "refs/rad/sigrefs";
/// What Radicle keeps for itself beside what is written: the identity, and the list before.
const OWN: &str = "refs/rad/";
/// Where Radicle keeps what is signed, in the tree of each of their commits.
const LIST: &[u8] = b"refs";
/// Most bytes of a list: 107 or so for each reference.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
const COMMIT_BYTES_MAX: usize = 64 * 1024;
const TREE_BYTES_MAX: usize = 4 * 1024;

/// References of one namespace by name, without the namespace and without Radicle's own.
pub type Refs = BTreeMap<String, Oid>;

/// The commit at which a namespace's signed references stand; none when it has none here.
///
/// # Errors
/// When the storage fails.
pub fn head(repository: &Repository, node: &NodeId) -> Result<Option<Oid>, git2::Error> {
    target(&repository.backend, &refs::in_namespace(node, SIGNED))
}

/// What was signed at a commit; none when the commit is not here or is no list.
///
/// # Errors
/// When the storage fails.
pub fn listed(repository: &Repository, at: Oid) -> Result<Option<Refs>, git2::Error> {
    listed_in(&repository.backend, at)
}

/// As [`listed`], of a bare repository.
pub(crate) fn listed_in(repository: &git2::Repository, at: Oid) -> Result<Option<Refs>, git2::Error> {
    let odb = repository.odb()?;
    let commit = read_object(&odb, at, ObjectType::Commit, COMMIT_BYTES_MAX)?;
    let Some(tree) = commit.and_then(|bytes| tree_of(&bytes)) else { return Ok(None) };
    let Some(bytes) = read_object(&odb, tree, ObjectType::Tree, TREE_BYTES_MAX)? else { return Ok(None) };
    let list = parse_tree(&bytes).unwrap_or_default().iter().find(|entry| entry.name == LIST).map(|entry| entry.id);
    let Some(list) = list else { return Ok(None) };
    let bytes = read_object(&odb, list, ObjectType::Blob, LIST_BYTES_MAX)?;
    Ok(bytes.map(|bytes| parse(&String::from_utf8_lossy(&bytes))))
}

/// What a namespace holds now, signed or not.
///
/// # Errors
/// When the storage fails.
pub fn present(repository: &Repository, node: &NodeId) -> Result<Refs, git2::Error> {
    present_in(&repository.backend, node)
}

/// As [`present`], of a bare repository.
pub(crate) fn present_in(repository: &git2::Repository, node: &NodeId) -> Result<Refs, git2::Error> {
    let mut found = Refs::new();
    for reference in repository.references_glob(&refs::in_namespace(node, "refs/*"))? {
        let reference = reference?;
        let (Ok(name), Some(at)) = (reference.name(), reference.target()) else { continue };
        if let Some((_, name)) = refs::split(name).filter(|(_, name)| !name.starts_with(OWN)) {
            found.insert(name.to_owned(), at.into());
        }
    }
    Ok(found)
}

/// Whether a list brings the operations of a job up to `tip` along: by the job's reference, or by the archive.
///
/// # Errors
/// When the storage fails.
pub fn brings(repository: &Repository, listed: &Refs, job: JobId, tip: Oid) -> Result<bool, git2::Error> {
    for name in [refs::live_name(job), ARCHIVE.to_owned()] {
        let Some(at) = listed.get(&name) else { continue };
        if follows(repository, *at, tip)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `later` is `earlier` or was written after it; a commit that is not here follows nothing.
///
/// # Errors
/// When the storage fails.
pub fn follows(repository: &Repository, later: Oid, earlier: Oid) -> Result<bool, git2::Error> {
    if later == earlier {
        return Ok(true);
    }
    match repository.backend.graph_descendant_of(later.into(), earlier.into()) {
        Ok(follows) => Ok(follows),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse(list: &str) -> Refs {
    let lines = list.lines().filter_map(|line| line.split_once(' '));
    let others = lines.filter(|(_, name)| !name.starts_with(OWN));
    others.filter_map(|(at, name)| Some((name.to_owned(), parse_oid(at).ok()?))).collect()
}

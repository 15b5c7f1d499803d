//! This node's own namespace after a power cut. What was not synced may be half there: a reference whose operation was
//! never written, a signature over it. It goes back to the newest signature that is whole; nobody was told of what is
//! dropped so, since the writer tells after its sync, and what it told of is below a signature that is on disk.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use git2::{ErrorCode, ObjectType, Repository};
use radicle_oid::Oid;

use crate::adapter::refs;
use crate::adapter::{signed, synced};
use crate::id::NodeId;

/// How deep the trees of an operation or of an archive are.
const TREE_DEPTH_MAX: usize = 8;
/// Most objects looked at; far more than one batch writes. What was pushed beside may be a whole history: beyond, all is
/// taken to be here.
const OBJECTS_MAX: usize = 50_000;
/// References of operations; what others point at is not looked into.
const OPERATIONS: &str = "refs/cobs/";

/// Mends the namespace; gives what was removed or put back. What cannot be mended stays as it is.
pub(super) fn mend(repository: &Repository, node: &NodeId, mended: &mut Vec<PathBuf>) -> Result<(), git2::Error> {
    let own = Own { repository, looked: Cell::new(0) };
    let signed = refs::in_namespace(node, refs::SIGNED);
    let head = own.target(&signed)?;
    let candidates: BTreeSet<Oid> = synced::named(repository.path()).into_iter().chain(head).collect();
    let mut lists: Vec<(Oid, signed::Refs)> =
        candidates.into_iter().filter_map(|at| Some((at, own.list(at)?))).collect();
    // the newest first: none follows it
    let all: Vec<Oid> = lists.iter().map(|(at, _)| *at).collect();
    lists.sort_by_cached_key(|(at, _)| all.iter().filter(|other| own.follows(**other, *at)).count());
    let whole = (0..lists.len()).find(|index| own.is_whole(&lists[*index..]));
    let Some((chosen, list)) = whole.map(|index| &lists[index]) else { return Ok(()) };
    let stops: BTreeSet<Oid> = list.values().copied().collect();
    let mut extra = signed::present_in(repository, node)?;
    for (name, at) in list {
        let now = extra.remove(name);
        let stays = |now: Oid| !own.follows(*at, now) && own.has(name, now, &stops);
        if now != Some(*at) && !now.is_some_and(stays) {
            own.put(&refs::in_namespace(node, name), *at, mended)?;
        }
    }
    for (name, at) in extra {
        if !own.has(&name, at, &stops) {
            let name = refs::in_namespace(node, &name);
            repository.find_reference(&name)?.delete()?;
            mended.push(repository.path().join(name));
        }
    }
    if head != Some(*chosen) {
        own.put(&signed, *chosen, mended)?;
    }
    Ok(())
}

struct Own<'a> {
    repository: &'a Repository,
    looked: Cell<usize>,
}

impl Own<'_> {
    fn target(&self, name: &str) -> Result<Option<Oid>, git2::Error> {
        match self.repository.find_reference(name) {
            Ok(reference) => Ok(reference.target().map(Oid::from)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&self, name: &str, at: Oid, mended: &mut Vec<PathBuf>) -> Result<(), git2::Error> {
        self.repository.reference(name, at.into(), true, "rhizome: after a power cut")?;
        mended.push(self.repository.path().join(name));
        Ok(())
    }

    /// What a signature lists; none when it cannot be read.
    fn list(&self, at: Oid) -> Option<signed::Refs> {
        let whole = self.has_commit(at, None);
        whole.then(|| signed::listed_in(self.repository, at).ok().flatten()).flatten()
    }

    /// Whether all that the first of these signatures lists beyond the next one is here.
    fn is_whole(&self, lists: &[(Oid, signed::Refs)]) -> bool {
        let Some((_, list)) = lists.first() else { return false };
        let before = lists.get(1).map(|(_, before)| before);
        let stops: BTreeSet<Oid> = before.into_iter().flat_map(BTreeMap::values).copied().collect();
        let odb = self.repository.odb();
        list.iter().all(|(name, at)| match before {
            Some(before) => before.get(name) == Some(at) || self.has(name, *at, &stops),
            None => odb.as_ref().is_ok_and(|odb| odb.exists((*at).into())),
        })
    }

    fn follows(&self, later: Oid, earlier: Oid) -> bool {
        later != earlier && self.repository.graph_descendant_of(later.into(), earlier.into()).unwrap_or(false)
    }

    /// Whether what a reference points at is here, as far as it is ours.
    fn has(&self, name: &str, at: Oid, known: &BTreeSet<Oid>) -> bool {
        match name.starts_with(OPERATIONS) || name == refs::ARCHIVE || name == refs::PEER {
            true => self.reaches(at, known),
            false => self.repository.find_object(at.into(), None).is_ok(),
        }
    }

    /// Whether all that lies between a commit and those that are known is here.
    fn reaches(&self, at: Oid, known: &BTreeSet<Oid>) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![at]);
        while let Some(at) = next.pop() {
            if known.contains(&at) || !seen.insert(at) || self.is_spent() {
                continue;
            }
            let Some(parents) = self.parents(at) else { return false };
            let before = parents.iter().copied().find(|parent| known.contains(parent));
            if !self.has_commit(at, before) {
                return false;
            }
            next.extend(parents);
        }
        true
    }

    /// Counts an object; whether it is one too many.
    fn is_spent(&self) -> bool {
        self.looked.set(self.looked.get() + 1);
        self.looked.get() > OBJECTS_MAX
    }

    fn parents(&self, at: Oid) -> Option<Vec<Oid>> {
        let commit = self.repository.find_commit(at.into()).ok()?;
        Some(commit.parent_ids().map(Oid::from).collect())
    }

    /// Whether a commit and its tree are here, but for what an earlier commit has too.
    fn has_commit(&self, at: Oid, before: Option<Oid>) -> bool {
        let Ok(commit) = self.repository.find_commit(at.into()) else { return false };
        let before = before.and_then(|before| self.repository.find_commit(before.into()).ok());
        self.has_tree(commit.tree_id().into(), before.map(|before| before.tree_id().into()), 0)
    }

    fn has_tree(&self, at: Oid, before: Option<Oid>, depth: usize) -> bool {
        let Ok(tree) = self.repository.find_tree(at.into()) else { return false };
        let before = before.and_then(|before| self.repository.find_tree(before.into()).ok());
        let earlier = |name: &[u8]| before.as_ref()?.get_name_bytes(name).map(|entry| Oid::from(entry.id()));
        depth < TREE_DEPTH_MAX
            && tree.iter().all(|entry| {
                let (at, old) = (Oid::from(entry.id()), earlier(entry.name_bytes()));
                match entry.kind() {
                    _ if old == Some(at) || self.is_spent() => true,
                    Some(ObjectType::Tree) => self.has_tree(at, old, depth + 1),
                    Some(ObjectType::Blob) => self.repository.find_blob(at.into()).is_ok(),
                    // what an entry of another kind names lies elsewhere
                    _ => true,
                }
            })
    }
}

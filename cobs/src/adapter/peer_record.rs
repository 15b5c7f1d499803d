//! Peer records in storage: a signed commit at `refs/rhizome/peer` of each namespace, replaced and never appended.

use std::collections::BTreeMap;

use radicle::storage::git::Repository;

use crate::adapter::archive::target;
use crate::adapter::commit::{Commits, Found};
use crate::adapter::refs;
use crate::id::NodeId;
use crate::peer::{PeerRecord, RECORD_BYTES_MAX, TYPE_NAME};

/// The peer record of every node that has one. One that is malformed, or signed by another than its namespace's
/// node, is left out.
///
/// # Errors
/// When the storage fails.
pub fn read_peer_records(repo: &Repository) -> Result<BTreeMap<NodeId, PeerRecord>, git2::Error> {
    let mut records = BTreeMap::new();
    for reference in repo.backend.references_glob(&format!("refs/namespaces/*/{}", refs::PEER))? {
        let reference = reference?;
        let Some((node, _)) = reference.name().ok().and_then(refs::split) else { continue };
        if let Some(record) = read_peer_record(repo, &node)? {
            records.insert(node, record);
        }
    }
    Ok(records)
}

/// The peer record of one node.
///
/// # Errors
/// When the storage fails.
pub fn read_peer_record(repo: &Repository, node: &NodeId) -> Result<Option<PeerRecord>, git2::Error> {
    let Some(commit) = target(&repo.backend, &refs::in_namespace(node, refs::PEER))? else { return Ok(None) };
    let commits = Commits::new(&repo.backend, TYPE_NAME)?;
    let found = commits.find(commit)?;
    let Found::Signed(signed) = &*found else { return Ok(None) };
    if signed.author != *node {
        return Ok(None);
    }
    let bytes = commits.raw_content(signed, RECORD_BYTES_MAX)?;
    Ok(bytes.and_then(|bytes| PeerRecord::decode(&bytes).ok()))
}

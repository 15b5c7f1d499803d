//! What a peer holds of this node's namespace, taken back by a home that was restored from a copy.
//!
//! Only what this node itself has signed counts. Nothing of either side is lost: where both went on, the peer's takes the
//! reference, since others know it, and ours stays beside it in the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use radicle::storage::refs::SignedRefs;
use radicle_oid::Oid;

use super::{Ledger, Step};
use crate::adapter::archive::{self, target};
use crate::adapter::refs;
use crate::adapter::restored::is_below;
use crate::adapter::writer::{WriteError, Written};
use crate::id::JobId;

/// Why what a peer sent is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is not signed by this node")]
    NotSigned,
    #[error("the peer did not send {0}")]
    Missing(Oid),
}

impl Ledger {
    /// Takes over the references that this node signed at `head`, whose objects are here.
    pub(super) fn recover(&mut self, head: Oid) -> Result<Step, WriteError> {
        let refused =
            |refused: Refused| WriteError::Storage { doing: "take back what a peer holds", source: Arc::new(refused) };
        let signed = SignedRefs::load_at(head, self.node, &self.repo)
            .map_err(|error| WriteError::failed("verify what a peer holds", error))?
            .ok_or_else(|| refused(Refused::NotSigned))?;
        let wanted: BTreeMap<String, Oid> = signed.refs().iter().map(|(name, at)| (name.to_string(), *at)).collect();
        let odb = self.repo.backend.odb().map_err(|error| WriteError::failed("read the storage", error))?;
        if let Some(missing) = wanted.values().find(|at| !odb.exists((**at).into())) {
            return Err(refused(Refused::Missing(*missing)));
        }
        self.take_over(&wanted, head).map_err(|error| WriteError::failed("take over references", error))?;
        self.chains.clear();
        let live = self.repo.backend.references_glob(&refs::live_glob_of(&self.node));
        self.live = live.map_err(|error| WriteError::failed("count references", error))?.names().count();
        Ok(Step { written: Written::Recovered { ledger: self.repo.id }, undo: None })
    }

    fn take_over(&self, wanted: &BTreeMap<String, Oid>, head: Oid) -> Result<(), git2::Error> {
        let repo = &self.repo.backend;
        let mut beside: BTreeMap<JobId, BTreeSet<Oid>> = BTreeMap::new();
        for (name, at) in wanted.iter().filter(|(name, _)| name.as_str() != refs::SIGNED) {
            let local = refs::in_namespace(&self.node, name);
            let Some(here) = target(repo, &local)? else {
                repo.reference(&local, (*at).into(), false, "rhizome: recover")?;
                continue;
            };
            // ours is as new, or newer
            if here == *at || is_below(repo, *at, here)? {
                continue;
            }
            if !is_below(repo, here, *at)? {
                beside.extend(refs::job_of(name).map(|job| (job, BTreeSet::from([here]))));
                if refs::is_archive(name) {
                    let odb = repo.odb()?;
                    let mut index = archive::Index::open(&odb, here)?;
                    for job in archive::changed(&odb, Some(*at), here)? {
                        beside.entry(job).or_default().extend(index.tips(job)?);
                    }
                }
            }
            repo.reference_matching(&local, (*at).into(), true, here.into(), "rhizome: recover")?;
        }
        archive::add(repo, &self.node, &beside)?;
        for reference in repo.references_glob(&refs::live_glob_of(&self.node))? {
            let mut reference = reference?;
            let name = reference.name().ok().and_then(refs::split).map(|(_, rest)| rest.to_owned());
            let (Some(name), Some(tip)) = (name, reference.target()) else { continue };
            if wanted.contains_key(&name) {
                continue;
            }
            let archived = refs::job_of(&name).map(|job| archive::tips(repo, &self.node, job)).transpose()?;
            for kept in archived.unwrap_or_default() {
                if kept == Oid::from(tip) || is_below(repo, tip.into(), kept)? {
                    reference.delete()?;
                    break;
                }
            }
        }
        repo.reference(&refs::in_namespace(&self.node, refs::SIGNED), head.into(), true, "rhizome: recover")?;
        Ok(())
    }
}

//! Which nodes may run a job of this node, and who decides about it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cobs::id::{NodeId, RepoId};
use cobs::job::spec::Spec;
use scheduler::place::choice::{Candidate, NoWorker, Reachable};

use super::error::{Code, Error};
use crate::node::Node;
use crate::offers::PeerNow;
use crate::store::peers::{Grant, Standing};

impl Node {
    /// Who decides: the wish, or the config's, or this node.
    pub(super) fn arbiter(&self, wish: Option<&str>) -> Result<NodeId, Error> {
        let Some(wish) = wish else { return Ok(self.standing_arbiter()) };
        let node = self.resolve_peer(wish)?;
        if node != self.id && !self.grants(&node).contains(&Grant::Arbitrate) {
            let words = format!("{wish} may not arbitrate jobs of this node");
            return Err(Error::new(Code::Forbidden, words).hint(format!("rhizome peers grant {wish} arbitrate")));
        }
        Ok(node)
    }

    /// The config's arbiter, or the one chosen at a pairing while it may still arbitrate, or this node.
    fn standing_arbiter(&self) -> NodeId {
        let chosen = self.state.settings().unwrap_or_default().arbiter;
        let chosen = chosen.filter(|node| self.grants(node).contains(&Grant::Arbitrate));
        self.config.arbiter.or(chosen).unwrap_or(self.id)
    }

    /// Every node that may run this node's jobs of a ledger, itself first.
    pub(super) async fn candidates(self: &Arc<Self>, ledger: RepoId) -> Result<Vec<Candidate>, Error> {
        let sampler = Arc::clone(self);
        let own = tokio::task::spawn_blocking(move || sampler.capacity()).await;
        let mut own = own.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        own.slots_used = own.slots_used.saturating_add(self.promised.load(Ordering::Relaxed));
        let mut candidates = vec![Candidate {
            node: self.id,
            alias: self.own_alias.clone(),
            labels: self.config.node.labels.clone(),
            capacity: Some(own),
            reachable: Reachable::Itself,
        }];
        let linked: BTreeSet<NodeId> =
            self.link().map(|link| link.sessions().iter().map(|session| session.node).collect()).unwrap_or_default();
        let members = self.other_members(ledger)?;
        for (node, peer) in self.peer_map() {
            let known = members.as_ref().is_none_or(|members| members.contains(&node));
            if !known || peer.standing != Standing::Approved || !peer.grants.contains(&Grant::Run) {
                continue;
            }
            let now = self.peer_now(&node);
            let reachable = match &now {
                Some(now) if !now.admits => Reachable::Refuses,
                Some(_) if linked.contains(&node) => Reachable::Linked,
                Some(_) | None => Reachable::Away,
            };
            let capacity = now.map(PeerNow::left);
            let labels = capacity.as_ref().map(|capacity| capacity.labels.clone()).unwrap_or_default();
            let alias = peer.alias.unwrap_or_else(|| node.to_string());
            candidates.push(Candidate { node, alias, labels, capacity, reachable });
        }
        Ok(candidates)
    }

    /// Who else belongs to a ledger. A node of one ledger has no peers but its members, and looks nothing up.
    fn other_members(&self, ledger: RepoId) -> Result<Option<BTreeSet<NodeId>>, Error> {
        if self.ledgers() == BTreeSet::from([ledger]) {
            return Ok(None);
        }
        let known = cobs::adapter::ledger::get(&self.home(), ledger);
        let known = known.map_err(|error| Error::new(Code::NoLedger, crate::runs::chain(&error)))?;
        Ok(Some(known.members.all()))
    }
}

/// Nobody can run it: in words, and with what to do about it.
pub(super) fn no_worker(error: &NoWorker, spec: &Spec) -> Error {
    let unread = error.without_source();
    match (unread.first(), spec.source) {
        (Some(alias), Some(source)) => Error::new(Code::RepositoryUnreadable, error.to_string()).hint(format!(
            "allow {alias} to read it: rad id update --repo {} --allow did:key:NODE, with the node id that rhizome \
             peers shows",
            source.repo
        )),
        _ => Error::new(Code::Infeasible, error.to_string())
            .hint("loosen its limits or requirements, or let a peer run it: rhizome peers grant PEER run"),
    }
}

//! Who could run a job: every node that has a part in it or in its ledger, what is made of it, and what stands against
//! it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cobs::id::{NodeId, RepoId};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Privacy;
use cobs::job::state::Job;
use scheduler::capacity::Capacity;
use scheduler::place;

use super::error::{Code, Error};
use super::reach;
use super::types::{Explain, ExplainNode};
use super::{Caller, Scope};
use crate::node::Node;
use crate::store::peers::{Grant, Standing};
use crate::whereabouts::{Away, Way};

/// What decides beside its capacity whether a node can be given a job.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Standpoint {
    alias: String,
    /// Who wrote the job, as people call them.
    author: String,
    worker: bool,
    /// Whether it belongs to the ledger.
    member: bool,
    /// Whether it may read the job's repository, where that is known.
    reads_source: bool,
    /// Whether the job stays on another node.
    private: bool,
    /// Why it gave its last grant back.
    gave_back: Option<String>,
    place: Place,
}

/// Seen from here.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// This node; whether the author's jobs may run here.
    Here { admits: bool },
    /// A peer.
    There {
        standing: Option<Standing>,
        /// For a job of this node: whether the peer may run it, by our word.
        may_run: bool,
        /// For a job of this node: whether it takes it, by the peer's word.
        admits: bool,
        unlinked: Option<Away>,
    },
}

impl Node {
    /// Who could run a job, and why or why not.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn explain(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<Explain, Error> {
        caller.require(Scope::ReadJobs)?;
        let job = self.find(id)?;
        let node = Arc::clone(self);
        let work = move || {
            let ledger = node.ledger_of(job.id);
            node.explained(&job, ledger)
        };
        let explained = tokio::task::spawn_blocking(work).await;
        explained.map_err(|error| Error::new(Code::Internal, error.to_string()))
    }

    fn explained(&self, job: &Job, ledger: Option<RepoId>) -> Explain {
        let ignored = job.ignored.iter().map(|(reason, count)| {
            let word = serde_json::to_value(reason).ok().and_then(|word| word.as_str().map(str::to_owned));
            (word.unwrap_or_default(), *count)
        });
        let members = ledger.map(|ledger| self.members(ledger)).unwrap_or_default();
        let readers = job.create.spec.source.and_then(|source| {
            // a repository that is not here cannot be asked
            crate::replication::source::readers(&self.home(), source.repo).ok().flatten()
        });
        let workers: BTreeSet<NodeId> = job.create.workers.iter().copied().collect();
        // those who may run it come first
        let others: Vec<NodeId> = members.difference(&workers).copied().collect();
        let nodes = workers.iter().copied().chain(others);
        Explain {
            id: job.id,
            waits_for: self.waits_for(job),
            arbiter: job.arbiter().1,
            nodes: nodes.map(|node| self.explained_node(job, node, &members, readers.as_ref())).collect(),
            ignored: ignored.collect(),
            alarms: super::jobs::alarms(job),
        }
    }

    fn explained_node(
        &self,
        job: &Job,
        node: NodeId,
        members: &BTreeSet<NodeId>,
        readers: Option<&BTreeSet<NodeId>>,
    ) -> ExplainNode {
        let (capacity, capacity_age_ms) = self.offered(&node);
        let bid = job.bids.get(&node);
        let standpoint = Standpoint {
            alias: self.alias(&node),
            author: self.alias(&job.author),
            worker: job.create.workers.contains(&node),
            member: members.contains(&node),
            reads_source: readers.is_none_or(|readers| readers.contains(&node)),
            private: job.create.spec.privacy == Privacy::Private && node != job.author,
            gave_back: gave_back(job, node),
            place: self.place_of(job, node),
        };
        ExplainNode {
            node,
            worker: standpoint.worker,
            bid: bid.map(|bid| bid.score),
            bid_reason: bid.map(|bid| bid.reason.clone()).filter(|reason| !reason.is_empty()),
            token: job.grants.iter().rev().find(|(_, granted)| granted.node == node).map(|(token, _)| *token),
            verdict: capacity.map(|capacity| place::judge(&job.create.spec, &job.create.queue, &capacity)),
            capacity_age_ms,
            why_not: against(&standpoint),
            alias: standpoint.alias,
        }
    }

    fn place_of(&self, job: &Job, node: NodeId) -> Place {
        let own_job = job.author == self.id;
        if node == self.id {
            return Place::Here { admits: own_job || self.grants(&job.author).contains(&Grant::Submit) };
        }
        let peer = self.state.peer(&node).ok().flatten();
        Place::There {
            standing: peer.as_ref().map(|peer| peer.standing),
            may_run: !own_job || peer.is_some_and(|peer| peer.grants.contains(&Grant::Run)),
            admits: !own_job || self.last_offer(&node).is_none_or(|offer| offer.admits),
            unlinked: self.unlinked(node),
        }
    }

    /// What a node offered last, and how old that is in milliseconds.
    fn offered(&self, node: &NodeId) -> (Option<Capacity>, Option<u64>) {
        if *node == self.id {
            return (Some(self.capacity()), Some(0));
        }
        let Some(offer) = self.last_offer(node) else { return (None, None) };
        let age_ms = u64::try_from(offer.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        (Some(offer.left()), Some(age_ms))
    }

    /// Who belongs to a ledger, this node included; nobody while it is not here.
    pub(super) fn members(&self, ledger: RepoId) -> BTreeSet<NodeId> {
        cobs::adapter::ledger::get(&self.home(), ledger).map(|known| known.members.all()).unwrap_or_default()
    }
}

/// Why a node gave its newest grant of a job back, if it did.
fn gave_back(job: &Job, node: NodeId) -> Option<String> {
    let (token, _) = job.grants.iter().rev().find(|(_, granted)| granted.node == node)?;
    let report = job.dones.get(token).filter(|report| report.outcome == RunOutcome::Released)?;
    Some(report.reason.clone())
}

/// All that stands against a node besides its capacity.
fn against(node: &Standpoint) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |stands: bool, text: String| words.extend(stands.then_some(text));
    say(node.private, "the job is private to its author's node".into());
    say(!node.worker, "it is not among the job's workers".into());
    say(!node.member, "it is no member of the ledger".into());
    match &node.place {
        Place::Here { admits } => say(!admits, format!("jobs of {} may not run here", node.author)),
        Place::There { standing, may_run, admits, unlinked } => {
            let (alias, known) = (&node.alias, standing.is_some());
            say(!known, "it is no peer of this node: it was removed, or never approved".into());
            let pending = *standing == Some(Standing::Pending);
            say(pending, format!("it waits to be approved: rhizome peers grant {alias} run"));
            say(known && !pending && !may_run, format!("it may not run ours: rhizome peers grant {alias} run"));
            say(!admits, "it takes no jobs of this node".into());
            if let Some(away) = unlinked.as_ref().filter(|_| known) {
                say(true, reach::down(Way::Link, away));
            }
        }
    }
    say(!node.reads_source, "it may not read the job's repository".into());
    if let Some(reason) = &node.gave_back {
        say(true, format!("it gave the job back: {reason}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UnixMs;

    fn worker(place: Place) -> Standpoint {
        Standpoint {
            alias: "bob".into(),
            author: "ann".into(),
            worker: true,
            member: true,
            reads_source: true,
            private: false,
            gave_back: None,
            place,
        }
    }

    fn peer() -> Place {
        Place::There { standing: Some(Standing::Approved), may_run: true, admits: true, unlinked: None }
    }

    fn check(node: &Standpoint, wanted: &[&str]) {
        assert_eq!(against(node), wanted, "{node:?}");
    }

    /// Nothing stands against a worker that may have the job; each hindrance has words of its own.
    #[test]
    fn each_hindrance_is_said() {
        check(&worker(Place::Here { admits: true }), &[]);
        check(&worker(Place::Here { admits: false }), &["jobs of ann may not run here"]);
        check(&worker(peer()), &[]);
        let there = |standing, may_run, admits| {
            let away = Away { since: UnixMs(1_700_000_000_000), reason: "refused".into() };
            worker(Place::There { standing, may_run, admits, unlinked: Some(away) })
        };
        let since = "not linked since 2023-11-14T22:13:20.000Z: refused";
        let approved = Some(Standing::Approved);
        check(&there(approved, true, true), &[since]);
        check(&there(approved, false, true), &["it may not run ours: rhizome peers grant bob run", since]);
        check(&there(approved, true, false), &["it takes no jobs of this node", since]);
        let pending = "it waits to be approved: rhizome peers grant bob run";
        check(&there(Some(Standing::Pending), false, true), &[pending, since]);
        check(&there(None, false, true), &["it is no peer of this node: it was removed, or never approved"]);
        let others = Standpoint { worker: false, member: false, reads_source: false, ..worker(peer()) };
        let wanted = ["it is not among the job's workers", "it is no member of the ledger"];
        check(&others, &[wanted[0], wanted[1], "it may not read the job's repository"]);
        let private = Standpoint { private: true, ..worker(peer()) };
        check(&private, &["the job is private to its author's node"]);
        let gave_back = Standpoint { gave_back: Some("no room".into()), ..worker(peer()) };
        check(&gave_back, &["it gave the job back: no room"]);
    }
}

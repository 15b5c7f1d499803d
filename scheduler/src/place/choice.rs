//! Whom a submitter names as workers, and to whom it grants in the root operation.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::NodeId;
use cobs::job::action::{GrantKind, WORKERS_MAX};
use cobs::job::spec::{Privacy, Spec};

use super::{Verdict, judge};
use crate::capacity::Capacity;

/// What stands against a candidate that could not have the job's work tree.
const UNREADABLE: &str = "it may not read the job's repository";

/// A node that may run this node's jobs, the node itself included.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// Its labels, as its peer record or capacity tells.
    pub labels: BTreeSet<String>,
    /// Its capacity, when it is recent, less what was granted to it since.
    pub capacity: Option<Capacity>,
    /// Whether it can be asked to confirm now: the link is up, and it takes jobs of this node.
    pub reachable: Reachable,
}

/// Whether a candidate can be granted a job in the root operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reachable {
    /// The node itself.
    Itself,
    /// Its link is up and it says that it takes jobs of this node.
    Linked,
    /// It may come later.
    Away,
    /// It said that it takes no jobs of this node.
    Refuses,
}

/// What the submitter asks of the choice.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The job.
    pub spec: &'a Spec,
    /// Its queue.
    pub queue: &'a str,
    /// A node id, alias or label that narrows the choice.
    pub on: Option<&'a str>,
    /// Who may read the job's repository, where not everyone may.
    pub readers: Option<&'a BTreeSet<NodeId>>,
}

/// The choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Who may run it, in the order of their ids.
    pub workers: Vec<NodeId>,
    /// The best of those that can run it now.
    pub grant: Option<(NodeId, GrantKind)>,
    /// What was made of each candidate.
    pub verdicts: BTreeMap<NodeId, Verdict>,
}

/// No candidate can run the job.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", words(.reasons))]
pub struct NoWorker {
    /// What stands against each candidate, by alias.
    pub reasons: Vec<(String, String)>,
}

impl NoWorker {
    /// Candidates that may not read the job's repository, by alias.
    pub fn without_source(&self) -> Vec<&str> {
        self.reasons.iter().filter(|(_, reason)| reason == UNREADABLE).map(|(alias, _)| alias.as_str()).collect()
    }
}

fn words(reasons: &[(String, String)]) -> String {
    if reasons.is_empty() {
        return "no node that may run it was found".into();
    }
    let each: Vec<String> = reasons.iter().map(|(alias, reason)| format!("{alias}: {reason}")).collect();
    format!("no node can run it: {}", each.join("; "))
}

/// Chooses workers among the candidates, and the node for a grant in the root operation.
///
/// # Errors
/// When no candidate fits the wish, with the reasons of each.
pub fn choose(wish: &Wish<'_>, candidates: &[Candidate]) -> Result<Choice, NoWorker> {
    let mut choice = Choice { workers: Vec::new(), grant: None, verdicts: BTreeMap::new() };
    let mut reasons = Vec::new();
    let mut best: Option<(u32, std::cmp::Reverse<NodeId>, GrantKind)> = None;
    for candidate in candidates {
        if let Some(against) = outside(wish, candidate) {
            reasons.push((candidate.alias.clone(), against));
            continue;
        }
        let Some(capacity) = &candidate.capacity else {
            choice.workers.push(candidate.node);
            continue;
        };
        let verdict = judge(wish.spec, wish.queue, capacity);
        match &verdict {
            Verdict::Infeasible { reasons: against } => reasons.push((candidate.alias.clone(), against.join(", "))),
            Verdict::Busy { .. } => choice.workers.push(candidate.node),
            Verdict::Feasible { score, .. } => {
                choice.workers.push(candidate.node);
                let kind = match candidate.reachable {
                    Reachable::Itself => Some(GrantKind::Held),
                    Reachable::Linked => Some(GrantKind::Leased),
                    Reachable::Away | Reachable::Refuses => None,
                };
                best = best.max(kind.map(|kind| (*score, std::cmp::Reverse(candidate.node), kind)));
            }
        }
        choice.verdicts.insert(candidate.node, verdict);
    }
    choice.workers.sort();
    choice.workers.truncate(WORKERS_MAX);
    choice.grant =
        best.map(|(_, std::cmp::Reverse(node), kind)| (node, kind)).filter(|(node, _)| choice.workers.contains(node));
    if choice.workers.is_empty() { Err(NoWorker { reasons }) } else { Ok(choice) }
}

/// Why the candidate is not even asked.
fn outside(wish: &Wish<'_>, candidate: &Candidate) -> Option<String> {
    if wish.spec.privacy == Privacy::Private && candidate.reachable != Reachable::Itself {
        return Some("a private job stays on its author's node".into());
    }
    if let Some(on) = wish.on
        && candidate.alias != on
        && candidate.node.to_string() != on
        && !candidate.labels.contains(on)
    {
        return Some(format!("it is not '{on}' and has no such label"));
    }
    if wish.readers.is_some_and(|readers| !readers.contains(&candidate.node)) {
        return Some(UNREADABLE.to_owned());
    }
    (candidate.reachable == Reachable::Refuses).then(|| "it takes no jobs of this node".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::{Gpus, RunnerCapability};
    use cobs::job::spec::{Limit, RunnerKind};

    fn node(text: &str) -> NodeId {
        text.parse().expect("a node id")
    }

    fn capacity(node: NodeId, slots_used: u32) -> Capacity {
        Capacity {
            node,
            alias: "n".into(),
            protocol: 1,
            architecture: "x86_64".into(),
            system: "linux".into(),
            labels: BTreeSet::new(),
            queues: BTreeSet::from(["default".into()]),
            runners: BTreeMap::from([(RunnerKind::Sandbox, RunnerCapability::default())]),
            directories: BTreeSet::new(),
            cpu_milli: 4000,
            load_milli: 0,
            memory_bytes: 8 << 30,
            memory_free_bytes: 8 << 30,
            disk_free_bytes: 8 << 30,
            slots: 4,
            slots_used,
            gpus: Gpus::None,
            on_battery: false,
        }
    }

    fn candidate(id: &str, slots_used: u32, reachable: Reachable) -> Candidate {
        let node = node(id);
        let labels = BTreeSet::from([format!("label-{slots_used}")]);
        Candidate { node, alias: id[..12].into(), labels, capacity: Some(capacity(node, slots_used)), reachable }
    }

    const A: &str = "z6MknSLrJoTcukLrE435hVNQT4JUhbvWLX4kUzqkEStBU8Vi";
    const B: &str = "z6MktaNvN1KVFMkSRAiN4qK5yvX1zuEEaseeX5sffhzPZRZW";

    #[test]
    fn the_freest_reachable_node_is_granted_and_all_that_can_are_workers() {
        let spec = Spec::command(vec!["true".into()]);
        let wish = Wish { spec: &spec, queue: "default", on: None, readers: None };
        let both = [candidate(A, 3, Reachable::Itself), candidate(B, 0, Reachable::Linked)];
        let choice = choose(&wish, &both).expect("both can");
        assert_eq!(choice.workers.len(), 2);
        assert_eq!(choice.grant, Some((node(B), GrantKind::Leased)));
        let away = [candidate(A, 3, Reachable::Itself), candidate(B, 0, Reachable::Away)];
        let choice = choose(&wish, &away).expect("both can");
        assert_eq!(choice.grant, Some((node(A), GrantKind::Held)));
    }

    #[test]
    fn a_wish_narrows_and_a_private_job_stays() {
        let mut spec = Spec::command(vec!["true".into()]);
        let both = [candidate(A, 1, Reachable::Itself), candidate(B, 0, Reachable::Linked)];
        let wish = Wish { spec: &spec, queue: "default", on: Some("label-1"), readers: None };
        assert_eq!(choose(&wish, &both).expect("A has the label").workers, vec![node(A)]);
        let nobody = choose(&Wish { on: Some("nobody"), ..wish }, &both).expect_err("no such node");
        assert_eq!(nobody.reasons.len(), 2);
        spec.privacy = Privacy::Private;
        let wish = Wish { spec: &spec, queue: "default", on: None, readers: None };
        assert_eq!(choose(&wish, &both).expect("here").workers, vec![node(A)]);
    }

    #[test]
    fn who_may_not_read_the_source_is_no_worker() {
        let spec = Spec::command(vec!["true".into()]);
        let both = [candidate(A, 1, Reachable::Itself), candidate(B, 0, Reachable::Linked)];
        let readers = BTreeSet::from([node(A)]);
        let wish = Wish { spec: &spec, queue: "default", on: None, readers: Some(&readers) };
        let choice = choose(&wish, &both).expect("A may");
        assert_eq!((choice.workers, choice.grant), (vec![node(A)], Some((node(A), GrantKind::Held))));
        let error = choose(&Wish { on: Some(B), ..wish }, &both).expect_err("B may not");
        assert_eq!(error.without_source(), [&B[..12]]);
    }

    #[test]
    fn a_strict_limit_beyond_every_machine_says_so_for_each() {
        let mut spec = Spec::command(vec!["true".into()]);
        spec.limits.memory_bytes = Some(Limit { value: 1 << 50, strict: true });
        let both = [candidate(A, 0, Reachable::Itself), candidate(B, 0, Reachable::Linked)];
        let error =
            choose(&Wish { spec: &spec, queue: "default", on: None, readers: None }, &both).expect_err("beyond");
        assert!(error.to_string().contains("beyond"), "{error}");
    }
}

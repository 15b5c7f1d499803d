//! Where the rest of a job is: the commit of its source, its inputs, and what its runs left. Who needs none of it is not
//! asked for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cobs::adapter::{repository, signed};
use cobs::id::{NodeId, RepoId, Token};
use cobs::job::state::{Job, Report};

use super::reason::{self, Evidence, There};
use super::{Asked, peer_copy};
use crate::clock::rfc3339;
use crate::node::Node;
use crate::ops::types::{ObjectKind, ObjectReplication, PeerCopy, Step};
use crate::peering::copies::{self, Part, Told};
use crate::store::UnixMs;

/// All that a job has besides its operations.
pub fn parts(node: &Arc<Node>, asked: &Asked) -> Vec<ObjectReplication> {
    let job = &asked.job;
    let here = copies::parts(node, job);
    let all = copies::all_parts(job).into_iter();
    all.map(|part| {
        let (kind, name, author) = describe(node, job, &part);
        let announced_at = if part == Part::Source { source_announced(node, job) } else { None };
        let peers = who_needs(job, &part).into_iter().filter(|peer| *peer != node.id);
        ObjectReplication {
            kind,
            name,
            author,
            operations: Vec::new(),
            tips: Vec::new(),
            here: here.contains(&part),
            signed: None,
            peers: peers.filter_map(|peer| part_at(node, asked, &part, peer, announced_at.is_some())).collect(),
            announced_at: announced_at.map(rfc3339),
        }
    })
    .collect()
}

fn describe(node: &Node, job: &Job, part: &Part) -> (ObjectKind, String, NodeId) {
    let ran = |token: &Token| job.dones.get(token).map_or(job.author, |report| report.node);
    match part {
        Part::Source => {
            let source = job.create.spec.source.map(|source| format!("commit {} of {}", source.commit, source.repo));
            (ObjectKind::Source, source.unwrap_or_default(), job.author)
        }
        Part::Input { digest } => {
            let input = job.create.spec.inputs.iter().find(|input| input.digest == *digest);
            (ObjectKind::Input, input.map(|input| input.path.clone()).unwrap_or_default(), job.author)
        }
        Part::Log { token } => {
            (ObjectKind::Log, format!("log of run {token} on {}", node.alias(&ran(token))), ran(token))
        }
        Part::Artifacts { token } => {
            (ObjectKind::Artifacts, format!("files of run {token} on {}", node.alias(&ran(token))), ran(token))
        }
    }
}

/// The nodes that should have a part: what a run needs goes to the workers, what it left to the author.
fn who_needs(job: &Job, part: &Part) -> BTreeSet<NodeId> {
    let mut all = BTreeSet::from([job.author]);
    match part {
        Part::Source | Part::Input { .. } => all.extend(job.create.workers.iter().copied()),
        Part::Log { token } | Part::Artifacts { token } => {
            all.extend(job.dones.get(token).map(|report: &Report| report.node));
        }
    }
    all
}

/// When this node announced the repository of a job's source as it is now; none for another's job.
fn source_announced(node: &Arc<Node>, job: &Job) -> Option<UnixMs> {
    let source = job.create.spec.source.filter(|_| job.author == node.id)?;
    let head = signed::head(&repository::open(&node.home(), source.repo).ok()?, &node.id).ok()??;
    let book = node.replication.synced(source.repo).ok()?;
    book.get(&node.id).filter(|line| line.at == head).map(|line| UnixMs(line.since_ms))
}

fn part_at(node: &Arc<Node>, asked: &Asked, part: &Part, peer: NodeId, announced: bool) -> Option<PeerCopy> {
    let there = asked.there.get(&peer)?;
    let evidence = |at, copy: &copies::JobCopy| {
        let fetched = match (copy.parts.contains(part), &copy.refuses) {
            (true, _) => Step::Yes,
            (false, None) => Step::No,
            (false, Some(_)) => Step::Unknown,
        };
        Evidence { at, fetched, seen: Step::NotNeeded }
    };
    let mut all = Vec::new();
    if let Some(copy) = asked.copy_at(peer) {
        all.push(evidence(None, copy));
    } else if let Some((at, copy)) = node.whereabouts.said_of(peer, asked.job.id) {
        all.push(evidence(Some(at), &copy));
    }
    let mut steps = reason::steps(Step::NotNeeded, &all);
    steps.seen = Step::NotNeeded;
    if *part == Part::Source && asked.job.author == node.id {
        let told = announced && there.unreplicated.is_none();
        steps.announced = if told || steps.fetched == Step::Yes { Step::Yes } else { Step::No };
    }
    let readers = readers(node, &asked.job, part);
    let missing = (steps.fetched != Step::Yes).then(|| why_missing(&asked.job, part, peer, there, readers.as_ref()));
    Some(peer_copy(node, peer, &steps, missing))
}

/// Who may read the repository of a job's source, where not everyone may.
fn readers(node: &Node, job: &Job, part: &Part) -> Option<BTreeSet<NodeId>> {
    let repo: RepoId = job.create.spec.source.filter(|_| *part == Part::Source)?.repo;
    crate::replication::source::readers(&node.home(), repo).ok().flatten()
}

fn why_missing(job: &Job, part: &Part, peer: NodeId, there: &There, readers: Option<&BTreeSet<NodeId>>) -> String {
    if readers.is_some_and(|readers| !readers.contains(&peer)) {
        return "it may not read the job's repository".into();
    }
    if !copies::travels(job) && peer != job.author {
        return "the job is private to its author's node".into();
    }
    let answer = match &there.told {
        Some(Told::Answer(answer)) => answer,
        Some(Told::Refused(why)) => return format!("it refuses: {why}"),
        Some(Told::Silent(why)) => return format!("it does not answer: {why}"),
        None => return reason::unreachable(there),
    };
    if let Some(why) = answer.job.as_ref().and_then(|copy| copy.refuses.as_ref()) {
        return format!("it does not tell what it has: {why}");
    }
    let granted = job.holder().is_some_and(|(_, granted)| granted.node == peer);
    match part {
        Part::Source | Part::Input { .. } if peer == job.author => "it is not kept there any more".into(),
        Part::Source | Part::Input { .. } if granted => "the run there has not fetched it, or let it go".into(),
        Part::Source | Part::Input { .. } => "it is fetched when the job is granted to it".into(),
        Part::Log { .. } | Part::Artifacts { .. } if peer == job.author => {
            "it has not been brought home yet, or is not kept any more".into()
        }
        Part::Log { .. } | Part::Artifacts { .. } => "it is not kept there any more".into(),
    }
}

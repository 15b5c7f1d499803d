//! Where is my change: for each object of a job and each peer, whether it was announced, fetched and seen, or why not.

mod facts;
mod parts;
mod pending;
mod reason;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::adapter::open::OpenLedger;
use cobs::adapter::reader::Read;
use cobs::adapter::signed;
use cobs::id::{NodeId, Oid, RepoId, Seq};
use cobs::job::history::Content;
use cobs::job::state::Job;

use self::facts::{Ledger, blocking};
use self::reason::{Evidence, Steps, There};
use super::error::{Code, Error};
use super::types::{JobReplication, ObjectKind, ObjectReplication, OperationName, PeerCopy, Step};
use super::{Caller, Scope};
use crate::clock::{rfc3339, unix_now};
use crate::node::Node;
use crate::peering::copies::{self, JobCopy, Question, Told};
use crate::runs::chain;
use crate::store::UnixMs;

/// The operations of one author, as this node has them.
struct Written {
    author: NodeId,
    operations: Vec<OperationName>,
    tips: BTreeSet<Oid>,
    /// The highest number among them.
    last: Seq,
    /// Whether this node has signed them; of its own.
    signed: bool,
}

/// A job as this node has it, and what was said of it.
struct Asked {
    job: Arc<Job>,
    rid: RepoId,
    ledger: Ledger,
    /// How this node stands to each other one, with what that one said.
    there: BTreeMap<NodeId, There>,
}

impl Asked {
    /// What a peer said of the job just now.
    fn copy_at(&self, peer: NodeId) -> Option<&JobCopy> {
        match &self.there.get(&peer)?.told {
            Some(Told::Answer(answer)) => answer.job.as_ref(),
            Some(Told::Refused(_) | Told::Silent(_)) | None => None,
        }
    }
}

impl Node {
    /// Where the objects of a job are.
    ///
    /// # Errors
    /// When there is no such job, or the storage cannot be read.
    pub async fn job_replication(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<JobReplication, Error> {
        caller.require(Scope::ReadJobs)?;
        let job = self.find(id)?;
        let rid = self.ledger_of(job.id);
        let rid = rid.ok_or_else(|| Error::new(Code::NotFound, format!("the ledger of {} is not here", job.id)))?;
        let ledger = blocking(self, move |node| Ledger::look(node, rid)).await?;
        let peers = concerned(self, &ledger, &job.named());
        let question = Question { ledger: rid, job: Some(job.id), at: ledger.head };
        let told = copies::ask_all(self, &peers, &question).await;
        blocking(self, move |node| {
            // an answer may have come of what was written meanwhile
            let ledger = Ledger::look(node, rid)?;
            let stands = |peer: &NodeId| (*peer, ledger.there(node, *peer, told.get(peer).cloned()));
            let there = peers.iter().map(stands).collect();
            let asked = Asked { job, rid, ledger, there };
            let mut objects = operations(node, &asked)?;
            objects.extend(parts::parts(node, &asked));
            Ok(JobReplication { id: asked.job.id, ledger: rid, at: rfc3339(unix_now()), objects })
        })
        .await
    }
}

/// The storage's error, in words.
fn storage(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Storage, chain(error)).hint("look at the disk of this node; nothing was changed")
}

/// All others that belong to the ledger, have a part in the job, or are peers.
fn concerned(node: &Node, ledger: &Ledger, named: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut all: BTreeSet<NodeId> = ledger.members.union(named).copied().collect();
    all.extend(node.peer_map().into_keys());
    all.remove(&node.id);
    all
}

fn operations(node: &Arc<Node>, asked: &Asked) -> Result<Vec<ObjectReplication>, Error> {
    let open = OpenLedger::open(&node.home(), asked.rid).map_err(|error| storage(&error))?;
    let (read, _) = open.read(asked.job.id).map_err(|error| storage(&error))?;
    let mut objects = Vec::new();
    for written in written(node, asked, &open, &read) {
        let own = written.author == node.id;
        let announced = if own { announced(node, asked, &open, &written) } else { None };
        let mut copies = Vec::new();
        for (peer, there) in &asked.there {
            copies.push(operations_at(node, asked, &open, &written, (*peer, there), announced.is_some()));
        }
        objects.push(ObjectReplication {
            kind: ObjectKind::Operations,
            name: format!("operations of {}", node.alias(&written.author)),
            author: written.author,
            operations: written.operations,
            tips: written.tips.into_iter().collect(),
            here: true,
            signed: own.then_some(written.signed),
            announced_at: announced.map(rfc3339),
            peers: copies,
        });
    }
    Ok(objects)
}

/// When this node first announced its operations, as far as it is known: by its own memory, or by Radicle's book, which
/// knows of the last announcement alone, that of another's references included.
fn announced(node: &Node, asked: &Asked, open: &OpenLedger, written: &Written) -> Option<UnixMs> {
    let line = asked.ledger.synced.get(&node.id).filter(|line| brought(asked, open, line.at, &written.tips));
    let first = node.whereabouts.first_announced(asked.rid, |at| brought(asked, open, at, &written.tips));
    first.into_iter().chain(line.map(|line| UnixMs(line.since_ms))).min()
}

/// The operations of each author, the job's author first.
fn written(node: &Node, asked: &Asked, open: &OpenLedger, read: &Read) -> Vec<Written> {
    let mut by_author: BTreeMap<NodeId, Vec<OperationName>> = BTreeMap::new();
    for (id, content) in read.reading.history.operations() {
        let (seq, action) = match content {
            Content::Action(action) => (action.seq(), action.name()),
            Content::Many(_) | Content::Unreadable(_) => (Seq(0), "unreadable"),
        };
        by_author.entry(id.author).or_default().push(OperationName { seq, action: action.to_owned() });
    }
    let mut all: Vec<Written> = by_author
        .into_iter()
        .map(|(author, mut operations)| {
            operations.sort_by_key(|operation| operation.seq);
            let tips = read.reading.tips.get(&author).cloned().unwrap_or_default();
            let signed = author != node.id || listed(open, &asked.ledger.signed, read.job.id, &tips);
            let last = operations.last().map_or(Seq(0), |operation| operation.seq);
            Written { author, operations, tips, last, signed }
        })
        .collect();
    all.sort_by_key(|written| written.author != read.job.author);
    all
}

fn listed(open: &OpenLedger, refs: &signed::Refs, job: cobs::id::JobId, tips: &BTreeSet<Oid>) -> bool {
    tips.iter().all(|tip| signed::brings(open.repository(), refs, job, *tip).unwrap_or(false))
}

/// Whether this node's signed references as of a commit bring these tips along.
fn brought(asked: &Asked, open: &OpenLedger, at: Oid, tips: &BTreeSet<Oid>) -> bool {
    if Some(at) == asked.ledger.head {
        return listed(open, &asked.ledger.signed, asked.job.id, tips);
    }
    let refs = signed::listed(open.repository(), at).ok().flatten();
    refs.is_some_and(|refs| listed(open, &refs, asked.job.id, tips))
}

fn operations_at(
    node: &Arc<Node>,
    asked: &Asked,
    open: &OpenLedger,
    written: &Written,
    (peer, there): (NodeId, &There),
    announced: bool,
) -> PeerCopy {
    let evidence = evidence(node, asked, open, written, peer);
    let mut steps = reason::steps(Step::NotNeeded, &evidence);
    if written.author == node.id {
        let told = steps.fetched == Step::Yes || (announced && there.member && there.unreplicated.is_none());
        steps.announced = if told { Step::Yes } else { Step::No };
    }
    let why_not = reason::why_not(&asked.ledger.here, there, written.signed, &steps);
    peer_copy(node, peer, &steps, why_not)
}

/// All that is known of how far a peer has the operations of an author.
fn evidence(node: &Node, asked: &Asked, open: &OpenLedger, written: &Written, peer: NodeId) -> Vec<Evidence> {
    let of_copy = |at: Option<UnixMs>, copy: &JobCopy| {
        let held = copy.tips.get(&written.author);
        let has = |tip: &Oid| {
            // one that is not here was written later by the same author
            held.into_iter()
                .flatten()
                .any(|held| signed::follows(open.repository(), *held, *tip).unwrap_or(false) || !open.holds(*held))
        };
        let fetched = if written.tips.iter().all(has) { Step::Yes } else { Step::No };
        let seen = copy.seen.get(&written.author).is_some_and(|seen| *seen >= written.last);
        Evidence { at, fetched, seen: if seen { Step::Yes } else { Step::No } }
    };
    let mut all = Vec::new();
    if let Some(copy) = asked.copy_at(peer) {
        all.push(of_copy(None, copy));
    } else if let Some((at, copy)) = node.whereabouts.said_of(peer, asked.job.id) {
        all.push(of_copy(Some(at), &copy));
    }
    if peer == written.author {
        all.push(Evidence { at: None, fetched: Step::Yes, seen: Step::Yes });
    }
    if written.author == node.id {
        all.extend(of_references(node, asked, open, written, peer));
    }
    all
}

/// What follows from how far a peer has this node's signed references as a whole.
fn of_references(node: &Node, asked: &Asked, open: &OpenLedger, written: &Written, peer: NodeId) -> Vec<Evidence> {
    let mut all = Vec::new();
    let step = |at: Oid| if brought(asked, open, at, &written.tips) { Step::Yes } else { Step::No };
    if let Some(said) = node.whereabouts.said(peer, asked.rid) {
        let (fetched, seen) = (said.held.map_or(Step::Unknown, step), said.read.map_or(Step::Unknown, step));
        all.push(Evidence { at: Some(said.at), fetched, seen });
    }
    if let Some(line) = asked.ledger.synced.get(&peer) {
        all.push(Evidence { at: Some(UnixMs(line.since_ms)), fetched: step(line.at), seen: Step::Unknown });
    }
    all
}

fn peer_copy(node: &Node, peer: NodeId, steps: &Steps, why_not: Option<String>) -> PeerCopy {
    let Steps { announced, fetched, seen, as_of } = *steps;
    let as_of = as_of.map(rfc3339);
    PeerCopy { node: peer, alias: node.alias(&peer), announced, fetched, seen, as_of, why_not }
}

//! What this node has written and not every peer has seen: its references in each ledger against the lists of them that
//! each peer is known to hold and to have read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::adapter::signed::{self, Refs};
use cobs::adapter::{refs, repository};
use cobs::id::{NodeId, Oid, RepoId};
use cobs::job::state::Job;

use super::facts::{Ledger, blocking};
use super::reason::{self, Evidence, Steps, There};
use super::{concerned, storage};
use crate::clock::{rfc3339, unix_now};
use crate::node::Node;
use crate::ops::error::Error;
use crate::ops::types::{Change, ChangeKind, PendingChanges, PendingLedger, PendingPeer, Step};
use crate::ops::{Caller, Scope, jobs};
use crate::peering::copies::{self, Question, Told};
use crate::store::UnixMs;

/// Changes that are listed for one peer; of the rest only the count is told.
const CHANGES_MAX: usize = 100;

/// A list of references that a peer held, or had read, at some time.
struct Known<'a> {
    at: Option<UnixMs>,
    held: Option<&'a Refs>,
    read: Option<&'a Refs>,
}

/// How far a peer is with each of this node's references.
struct Progress {
    node: NodeId,
    there: There,
    as_of: Option<UnixMs>,
    steps: BTreeMap<String, Steps>,
}

/// This node's side of a ledger.
struct Own {
    rid: RepoId,
    ledger: Ledger,
    present: Refs,
    /// What the lists hold that peers are known to have, by commit.
    lists: BTreeMap<Oid, Refs>,
}

impl Node {
    /// What this node has written and not every peer has seen.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub async fn pending(self: &Arc<Self>, caller: &Caller) -> Result<PendingChanges, Error> {
        caller.require(Scope::ReadJobs)?;
        let mut ledgers = Vec::new();
        for rid in self.ledgers() {
            // one that has not been fetched yet holds nothing of ours
            let Ok(ledger) = blocking(self, move |node| Ledger::look(node, rid)).await else { continue };
            let peers = concerned(self, &ledger, &BTreeSet::new());
            let question = Question { ledger: rid, job: None, at: ledger.head };
            let told = copies::ask_all(self, &peers, &question).await;
            ledgers.push(blocking(self, move |node| pending_in(node, rid, &peers, &told)).await?);
        }
        Ok(PendingChanges { at: rfc3339(unix_now()), ledgers })
    }
}

fn pending_in(
    node: &Arc<Node>,
    rid: RepoId,
    peers: &BTreeSet<NodeId>,
    told: &BTreeMap<NodeId, Told>,
) -> Result<PendingLedger, Error> {
    let own = look(node, rid, peers, told)?;
    let all: Vec<Progress> = peers.iter().map(|peer| progress(node, &own, *peer, told.get(peer))).collect();
    let announced = own.ledger.synced.get(&node.id);
    let unseen = unseen(&own, &all);
    Ok(PendingLedger {
        ledger: rid,
        announced_at: announced.map(|line| rfc3339(UnixMs(line.since_ms))),
        unseen_more: unseen.len().saturating_sub(CHANGES_MAX),
        unseen: unseen.iter().take(CHANGES_MAX).map(|(name, steps)| change(node, &own, name, steps)).collect(),
        peers: all.iter().map(|progress| pending_at(node, &own, progress)).collect(),
    })
}

fn look(node: &Arc<Node>, rid: RepoId, peers: &BTreeSet<NodeId>, told: &BTreeMap<NodeId, Told>) -> Result<Own, Error> {
    let ledger = Ledger::look(node, rid)?;
    let repository = repository::open(&node.home(), rid).map_err(|error| storage(&error))?;
    let present = signed::present(&repository, &node.id).map_err(|error| storage(&error))?;
    let mut commits: BTreeSet<Oid> = ledger.synced.values().map(|line| line.at).collect();
    for peer in peers {
        commits.extend(
            heard(node, rid, *peer, told.get(peer)).into_iter().flat_map(|(_, held, read)| [held, read]).flatten(),
        );
    }
    let mut lists = BTreeMap::new();
    for at in commits {
        if let Some(list) = signed::listed(&repository, at).map_err(|error| storage(&error))? {
            lists.insert(at, list);
        }
    }
    Ok(Own { rid, ledger, present, lists })
}

/// What a peer says now, or else said last, of our signed references: when, what it holds and what it has read.
type Heard = (Option<UnixMs>, Option<Oid>, Option<Oid>);

fn heard(node: &Node, rid: RepoId, peer: NodeId, told: Option<&Told>) -> Option<Heard> {
    if let Some(Told::Answer(answer)) = told {
        return Some((None, answer.held, answer.read));
    }
    node.whereabouts.said(peer, rid).map(|said| (Some(said.at), said.held, said.read))
}

fn progress(node: &Arc<Node>, own: &Own, peer: NodeId, told: Option<&Told>) -> Progress {
    let list = |at: Option<Oid>| at.and_then(|at| own.lists.get(&at));
    let mut known = Vec::new();
    if let Some((at, held, read)) = heard(node, own.rid, peer, told) {
        known.push(Known { at, held: list(held), read: list(read) });
    }
    if let Some(line) = own.ledger.synced.get(&peer) {
        known.push(Known { at: Some(UnixMs(line.since_ms)), held: list(Some(line.at)), read: None });
    }
    let now = matches!(told, Some(Told::Answer(_)));
    let as_of = known.iter().filter_map(|known| known.at).max().filter(|_| !now);
    let there = own.ledger.there(node, peer, told.cloned());
    let announced = own.ledger.synced.get(&node.id).and_then(|line| own.lists.get(&line.at));
    let told_of = announced.filter(|_| there.member && there.unreplicated.is_none());
    let steps = own.present.iter().map(|(name, at)| (name.clone(), stands(name, *at, told_of, &known)));
    Progress { node: peer, as_of, steps: steps.collect(), there }
}

/// How far a peer is with one reference.
fn stands(name: &str, at: Oid, announced: Option<&Refs>, known: &[Known<'_>]) -> Steps {
    let in_list = |list: Option<&Refs>| match list {
        None => Step::Unknown,
        Some(list) if list.get(name) == Some(&at) => Step::Yes,
        Some(_) => Step::No,
    };
    let evidence =
        known.iter().map(|known| Evidence { at: known.at, fetched: in_list(known.held), seen: in_list(known.read) });
    let mut steps = reason::steps(Step::No, &evidence.collect::<Vec<_>>());
    if in_list(announced) == Step::Yes || steps.fetched == Step::Yes {
        steps.announced = Step::Yes;
    }
    steps
}

/// What no member has seen; nothing where there is no other member.
fn unseen(own: &Own, all: &[Progress]) -> Vec<(String, Steps)> {
    let members: Vec<&Progress> = all.iter().filter(|progress| progress.there.member).collect();
    let furthest = |name: &String| {
        let steps = members.iter().filter_map(|progress| progress.steps.get(name));
        steps.copied().min_by_key(|steps| (steps.seen, steps.fetched, steps.announced))
    };
    let found = own.present.keys().filter_map(|name| Some((name.clone(), furthest(name)?)));
    found.filter(|(_, steps)| steps.seen != Step::Yes).collect()
}

fn pending_at(node: &Arc<Node>, own: &Own, progress: &Progress) -> PendingPeer {
    let there = &progress.there;
    let left: Vec<_> = progress.steps.iter().filter(|(_, steps)| there.member && steps.seen != Step::Yes).collect();
    // the first that stands still by no fault of ours says the most
    let signed = |name: &String| own.ledger.signed.get(name) == own.present.get(name);
    let telling = left.iter().max_by_key(|(name, steps)| (signed(name), steps.fetched));
    let none = Steps { announced: Step::No, fetched: Step::No, seen: Step::No, as_of: None };
    let why_not = match telling {
        Some((name, steps)) => reason::why_not(&own.ledger.here, there, signed(name), steps),
        None if !there.member => reason::why_not(&own.ledger.here, there, true, &none),
        None => None,
    };
    PendingPeer {
        node: progress.node,
        alias: node.alias(&progress.node),
        as_of: progress.as_of.map(rfc3339),
        why_not,
        more: left.len().saturating_sub(CHANGES_MAX),
        changes: left.iter().take(CHANGES_MAX).map(|(name, steps)| change(node, own, name, steps)).collect(),
    }
}

fn change(node: &Arc<Node>, own: &Own, name: &str, steps: &Steps) -> Change {
    let job = refs::job_of(name);
    let kind = match job {
        Some(_) => ChangeKind::Job,
        None if refs::is_archive(name) => ChangeKind::Archive,
        None if refs::is_peer_record(name) => ChangeKind::PeerRecord,
        None if name.starts_with("refs/cobs/xyz.radicle.id/") => ChangeKind::Identity,
        None => ChangeKind::Other,
    };
    let title = job.and_then(|job| node.known_job(job)).map(|job: Arc<Job>| {
        let unset = UnixMs::default();
        jobs::summary(own.rid, &job, unset, unset).title
    });
    Change {
        kind,
        job,
        name: title.unwrap_or_else(|| name.to_owned()),
        signed: own.ledger.signed.get(name) == own.present.get(name),
        announced: steps.announced,
        fetched: steps.fetched,
        seen: steps.seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(seed: u8) -> Oid {
        Oid::from_sha1([seed; 20])
    }

    fn list(entries: &[(&str, u8)]) -> Refs {
        entries.iter().map(|(name, at)| ((*name).to_owned(), oid(*at))).collect()
    }

    /// A reference is as far as the lists say that hold it at this very commit.
    #[test]
    fn a_reference_stands_where_its_lists_say() {
        use Step::{No, Unknown, Yes};
        let (old, new) = (list(&[("a", 1)]), list(&[("a", 2), ("b", 1)]));
        let known = [Known { at: Some(UnixMs(5)), held: Some(&new), read: Some(&old) }];
        let check = |name, at, announced, wanted| {
            let steps = stands(name, oid(at), announced, &known);
            assert_eq!((steps.announced, steps.fetched, steps.seen), wanted, "{name} {at}");
        };
        check("a", 2, None, (Yes, Yes, No));
        check("a", 3, Some(&new), (No, No, No));
        check("b", 1, Some(&new), (Yes, Yes, No));
        let nothing = stands("a", oid(2), Some(&new), &[]);
        assert_eq!((nothing.announced, nothing.fetched, nothing.seen), (Yes, Unknown, Unknown));
    }
}

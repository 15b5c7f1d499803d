//! One numbered message to each arbiter for all terms of this node, and what becomes of the answers.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, NodeId, RunId};

use super::entry::Holding;
use super::mutation::{self, Mutation};
use super::settings::Millis;
use super::wire::{Confirmation, ITEMS_MAX, Message, Phase, Renewal, RenewalItem};
use super::{Effect, Machine};

/// Least time between two renewals, whatever the leases.
const GAP_MIN: Millis = Millis(100);
/// Renewals in one lease.
const PER_LEASE: u64 = 6;

/// Which jobs are renewed with whom, and what is unanswered.
#[derive(Debug)]
pub(super) struct Renewals {
    /// The last number; the upper half counts the starts of this node, so that none is used again.
    number: u64,
    /// When each renewal was sent, by peer and number.
    sent: BTreeMap<(NodeId, u64), Millis>,
    peers: BTreeMap<NodeId, Peer>,
    peers_of: BTreeMap<JobId, BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Peer {
    /// When the next renewal is due.
    next: Millis,
    jobs: BTreeSet<JobId>,
    /// Those of them that no renewal has named yet; asked for at once, without all the others.
    fresh: BTreeSet<JobId>,
}

impl Renewals {
    pub fn new(incarnation: u32) -> Self {
        let number = if mutation::is_on(Mutation::NumbersBeginAnew) { 0 } else { u64::from(incarnation) << 32 };
        Self { number, sent: BTreeMap::new(), peers: BTreeMap::new(), peers_of: BTreeMap::new() }
    }

    /// Sets with whom a job is renewed.
    pub fn index(&mut self, job: JobId, peers: BTreeSet<NodeId>) {
        let before = self.peers_of.get(&job).cloned().unwrap_or_default();
        if before == peers {
            return;
        }
        for gone in before.difference(&peers) {
            if let Some(peer) = self.peers.get_mut(gone) {
                peer.jobs.remove(&job);
                peer.fresh.remove(&job);
                if peer.jobs.is_empty() {
                    self.peers.remove(gone);
                    self.forget_sent(*gone, 0);
                }
            }
        }
        for new in peers.difference(&before) {
            let blank = Peer { next: Millis(u64::MAX), jobs: BTreeSet::new(), fresh: BTreeSet::new() };
            let peer = self.peers.entry(*new).or_insert(blank);
            peer.jobs.insert(job);
            peer.fresh.insert(job);
        }
        if peers.is_empty() {
            self.peers_of.remove(&job);
        } else {
            self.peers_of.insert(job, peers);
        }
    }

    /// The next renewal to a peer is due now.
    pub fn hurry(&mut self, node: NodeId, now: Millis) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.next = peer.next.min(now);
        }
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.peers.values().map(|peer| if peer.fresh.is_empty() { peer.next } else { Millis(0) }).min()
    }

    #[cfg(any(test, feature = "simulation"))]
    pub fn len(&self) -> usize {
        self.sent.len() + self.peers.len() + self.peers_of.len()
    }

    /// The next number, remembered as sent now. Of each peer the newest few are kept; an answer to an older one comes
    /// too late to be worth anything.
    fn take_number(&mut self, peer: NodeId, now: Millis, keep: usize) -> u64 {
        self.number += 1;
        self.sent.insert((peer, self.number), now);
        self.forget_sent(peer, keep);
        self.number
    }

    fn forget_sent(&mut self, peer: NodeId, keep: usize) {
        let of_peer = || (peer, 0)..=(peer, u64::MAX);
        let extra = self.sent.range(of_peer()).count().saturating_sub(keep);
        let oldest: Vec<(NodeId, u64)> = self.sent.range(of_peer()).take(extra).map(|(key, _)| *key).collect();
        for key in oldest {
            self.sent.remove(&key);
        }
    }
}

impl Machine {
    /// Sends one numbered message to each arbiter whose renewal is due, for all its terms, and one for those that are
    /// new. This node's own answers come at once.
    pub(super) fn renew(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let due = self.renewals.peers.iter().filter(|(_, peer)| peer.next <= now || !peer.fresh.is_empty());
        for id in due.map(|(id, _)| *id).collect::<Vec<NodeId>>() {
            let Some(peer) = self.renewals.peers.get_mut(&id) else { continue };
            let fresh = std::mem::take(&mut peer.fresh);
            let whole = peer.next <= now;
            let jobs = if whole { &peer.jobs } else { &fresh };
            let holdings: Vec<&Holding> =
                jobs.iter().filter_map(|job| self.entries.get(job)?.holding.as_ref()).collect();
            let next = now + gap(&holdings, self.settings.ask_again);
            peer.next = if whole { next } else { peer.next.min(next) };
            let items = self.renewal_items(&holdings);
            let number = self.renewals.take_number(id, now, self.settings.renewals_open_max);
            let renewal = Renewal { number, items };
            if id == self.node {
                self.answer(id, &renewal, now, effects);
            } else {
                effects.push(Effect::Send { to: id, message: Message::Renewal(renewal) });
            }
        }
    }

    pub(super) fn confirmed(&mut self, from: NodeId, answers: &Confirmation, now: Millis, effects: &mut Vec<Effect>) {
        // one question may have two answers: first confirmations come apart
        let Some(sent) = self.renewals.sent.get(&(from, answers.number)).copied() else { return };
        for item in answers.items.iter().take(ITEMS_MAX) {
            self.take_answer(from, item, sent, now, effects);
        }
    }

    /// Those that end without an answer come first, should there be too many for a message.
    fn renewal_items(&self, holdings: &[&Holding]) -> Vec<RenewalItem> {
        let item = |holding: &&Holding| {
            let RunId { job, token, .. } = holding.run;
            let epoch = self.entries.get(&job).map(|entry| entry.job.arbiter().0).unwrap_or_default();
            RenewalItem { job, token, phase: holding.phase(), epoch }
        };
        let mut items: Vec<RenewalItem> = holdings.iter().map(item).collect();
        if items.len() > ITEMS_MAX {
            items.sort_by_key(|item| (item.phase == Phase::Finished, item.job));
            items.truncate(ITEMS_MAX);
        }
        items
    }
}

/// A sixth of the shortest lease; quicker while a run waits for its first confirmation.
fn gap(holdings: &[&Holding], ask_again: Millis) -> Millis {
    let gaps = holdings.iter().map(|holding| {
        let sixth = Millis(holding.lease.0 / PER_LEASE);
        if holding.is_unconfirmed() { sixth.min(ask_again) } else { sixth }
    });
    gaps.min().unwrap_or(ask_again).max(GAP_MIN)
}

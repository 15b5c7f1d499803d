//! One numbered message to each arbiter for all terms of this node, and what becomes of the answers.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, NodeId};

use super::settings::Millis;
use super::wire::{Confirmation, ITEMS_MAX, Message, Renewal, RenewalItem};
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
    /// When each unanswered renewal was sent, by peer and number.
    sent: BTreeMap<(NodeId, u64), Millis>,
    peers: BTreeMap<NodeId, Peer>,
    peers_of: BTreeMap<JobId, BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Peer {
    /// When the next renewal is due.
    next: Millis,
    jobs: BTreeSet<JobId>,
}

impl Renewals {
    pub fn new(incarnation: u32) -> Self {
        let number = u64::from(incarnation) << 32;
        Self { number, sent: BTreeMap::new(), peers: BTreeMap::new(), peers_of: BTreeMap::new() }
    }

    /// Sets with whom a job is renewed. What is new there is renewed at once.
    pub fn index(&mut self, job: JobId, peers: BTreeSet<NodeId>) {
        let before = self.peers_of.get(&job).cloned().unwrap_or_default();
        if before == peers {
            return;
        }
        for gone in before.difference(&peers) {
            if let Some(peer) = self.peers.get_mut(gone) {
                peer.jobs.remove(&job);
                if peer.jobs.is_empty() {
                    self.peers.remove(gone);
                    self.forget_sent(*gone, 0);
                }
            }
        }
        for new in peers.difference(&before) {
            let peer = self.peers.entry(*new).or_insert(Peer { next: Millis(0), jobs: BTreeSet::new() });
            peer.next = Millis(0);
            peer.jobs.insert(job);
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
        self.peers.values().map(|peer| peer.next).min()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sent.len() + self.peers.len() + self.peers_of.len()
    }

    /// Keeps the newest few; an answer to an older one comes too late to be worth anything.
    fn forget_sent(&mut self, peer: NodeId, keep: usize) {
        let numbers: Vec<u64> = self.sent.range((peer, 0)..=(peer, u64::MAX)).map(|((_, number), _)| *number).collect();
        for number in numbers.iter().rev().skip(keep) {
            self.sent.remove(&(peer, *number));
        }
    }
}

impl Machine {
    /// Sends one numbered message to each arbiter whose renewal is due. This node's own answers come at once.
    pub(super) fn renew(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let due = self.renewals.peers.iter().filter(|(_, peer)| peer.next <= now).map(|(id, _)| *id);
        for peer in due.collect::<Vec<NodeId>>() {
            let gap = self.gap(peer);
            let items = self.renewal_items(peer);
            let renewals = &mut self.renewals;
            renewals.number += 1;
            renewals.sent.insert((peer, renewals.number), now);
            renewals.forget_sent(peer, self.settings.renewals_open_max);
            if let Some(peer) = renewals.peers.get_mut(&peer) {
                peer.next = now + gap;
            }
            let renewal = Renewal { number: renewals.number, items };
            if peer == self.node {
                let confirmation = self.answers(peer, &renewal, now);
                self.confirmed(peer, &confirmation, now, effects);
            } else {
                effects.push(Effect::Send { to: peer, message: Message::Renewal(renewal) });
            }
        }
    }

    /// The terms renewed with a peer: those that end without an answer first, should there be too many for a message.
    fn renewal_items(&self, peer: NodeId) -> Vec<RenewalItem> {
        let jobs = self.renewals.peers.get(&peer).into_iter().flat_map(|peer| &peer.jobs);
        let holdings = jobs.filter_map(|job| self.entries.get(job)?.holding.as_ref());
        let mut items: Vec<RenewalItem> = holdings
            .map(|holding| RenewalItem { job: holding.run.job, token: holding.run.token, phase: holding.phase() })
            .collect();
        if items.len() > ITEMS_MAX {
            items.sort_by_key(|item| (item.phase == super::wire::Phase::Finished, item.job));
            items.truncate(ITEMS_MAX);
        }
        items
    }

    /// A sixth of the shortest lease on that peer; quicker while a run waits for its first confirmation.
    fn gap(&self, peer: NodeId) -> Millis {
        let jobs = self.renewals.peers.get(&peer).into_iter().flat_map(|peer| &peer.jobs);
        let holdings = jobs.filter_map(|job| self.entries.get(job)?.holding.as_ref());
        let gaps = holdings.map(|holding| {
            let sixth = Millis(holding.lease.0 / PER_LEASE);
            if holding.is_unconfirmed() { sixth.min(self.settings.ask_again) } else { sixth }
        });
        gaps.min().unwrap_or(self.settings.ask_again).max(GAP_MIN)
    }

    pub(super) fn confirmed(&mut self, from: NodeId, answers: &Confirmation, now: Millis, effects: &mut Vec<Effect>) {
        let Some(sent) = self.renewals.sent.remove(&(from, answers.number)) else { return };
        for item in answers.items.iter().take(ITEMS_MAX) {
            self.take_answer(from, item, sent, now, effects);
        }
    }
}

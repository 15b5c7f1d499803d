//! The machine as arbiter: grants, confirms, replaces, settles.
//!
//! Hand-overs are not carried out yet: in a later epoch than the first it neither grants nor confirms nor calls a run
//! lost, since it may not know every grant of the arbiter before it, and settles only what is reported or cancelled.

use std::collections::BTreeSet;

use cobs::id::{Epoch, JobId, NodeId, Seq, Term, Token};
use cobs::job::action::{Action, Grant, GrantKind, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::state::Status;

use super::agenda::Room;
use super::entry::{Confirmed, Entry, TermSeen};
use super::settings::Millis;
use super::wire::{Answer, Confirmation, ConfirmationItem, ITEMS_MAX, Message, Renewal, RenewalItem};
use super::{Asked, Effect, Machine};
use crate::place::Verdict;

/// Sequence numbers that an arbiter keeps from its grants: for its settle, and for its Done and Cancel before it.
const NUMBERS_KEPT_FOR_SETTLE: u32 = 8;

impl Machine {
    /// Answers a holder's renewal.
    pub(super) fn answer(&mut self, from: NodeId, renewal: &Renewal, now: Millis, effects: &mut Vec<Effect>) {
        let confirmation = self.answers(from, renewal, now);
        effects.push(Effect::Send { to: from, message: Message::Confirmation(confirmation) });
    }

    /// The answer to a renewal, term by term.
    pub(super) fn answers(&mut self, from: NodeId, renewal: &Renewal, now: Millis) -> Confirmation {
        let mut items = Vec::with_capacity(renewal.items.len().min(ITEMS_MAX));
        for item in renewal.items.iter().take(ITEMS_MAX) {
            let mut first = false;
            let answer = match self.entries.get_mut(&item.job) {
                Some(entry) => {
                    let before = entry.term.map(|term| term.confirmed);
                    let answer = answer(self.node, from, entry, item, now);
                    // later ones only put off what is due, and waking too early for it does no harm
                    first =
                        entry.term.map(|term| term.confirmed) != before && !matches!(before, Some(Confirmed::At(_)));
                    answer
                }
                None if self.settled.contains_key(&item.job) => Answer::Settled,
                None => Answer::Unknown,
            };
            if first {
                self.touch(item.job);
            }
            items.push(ConfirmationItem { job: item.job, token: item.token, answer });
        }
        Confirmation { number: renewal.number, items }
    }

    /// Takes the next step of a job that this node arbitrates.
    pub(super) fn arbitrate(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let busy = entry.is_asked(Asked::Settle, now) || entry.is_asked(Asked::Grant, now);
        let (epoch, arbiter) = entry.job.arbiter();
        if arbiter != self.node || entry.job.status() == Status::Settled || busy || entry.numbers_left(self.node) == 0 {
            return;
        }
        if let Some((outcome, why)) = settlement(entry, now, self.settings.cancel_wait) {
            settle(entry, outcome, why, effects);
            return;
        }
        let author = entry.job.author;
        if entry.cancel_seen.is_some() || epoch != Epoch(0) {
            return;
        }
        match entry.job.status() {
            Status::Queued if self.arbitrates.contains(&author) => self.grant_queued(id, now, effects),
            Status::Granted => self.replace_unconfirmed(id, now, effects),
            Status::Queued | Status::Provisional | Status::Settled => {}
        }
    }

    /// Grants a waiting job to the best offer: BID_WINDOW after the first one, or once no other worker is left to bid.
    fn grant_queued(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if is_overdue(entry, now) {
            settle(entry, Settlement::Expired, "it did not start in time", effects);
            return;
        }
        let bidders: BTreeSet<NodeId> = entry.job.standing_bids().map(|(node, _)| node).collect();
        let all_bid = entry.job.create.workers.iter().all(|worker| *worker == self.node || bidders.contains(worker));
        let window_over = entry.first_bid_at.is_some_and(|at| at + self.settings.bid_window <= now);
        let alone_long_enough = entry.queued_since + self.settings.own_bid_wait <= now;
        if !all_bid && !window_over && (entry.first_bid_at.is_some() || !alone_long_enough) {
            return;
        }
        if let Some((node, score)) = self.best_offer(id, None, now) {
            self.grant(id, node, &format!("best of its offers, with a score of {score}"), effects);
        }
    }

    /// The best standing bid, this node's own offer included. Nodes that left a term unconfirmed are passed over until
    /// they are heard again.
    fn best_offer(&mut self, id: JobId, beside: Option<NodeId>, now: Millis) -> Option<(NodeId, u32)> {
        let entry = self.entries.get(&id)?;
        let bids = entry.job.standing_bids().map(|(node, bid)| (node, bid.score));
        let may = entry.bid_after.is_none_or(|after| after <= now) && beside != Some(self.node);
        let mine = may.then(|| self.verdict(entry));
        let own = match &mine {
            Some(Verdict::Feasible { score, .. }) => Some((self.node, *score)),
            Some(Verdict::Busy { .. } | Verdict::Infeasible { .. }) | None => None,
        };
        let best = bids
            .filter(|(node, _)| *node != self.node && beside != Some(*node) && !entry.passed_over.contains(node))
            .filter(|(node, _)| self.may_be_granted(entry, *node))
            .chain(own)
            .max_by_key(|(node, score)| (*score, std::cmp::Reverse(*node)));
        let starved = best.is_none() && matches!(mine, Some(Verdict::Busy { .. }));
        if starved && let Some(entry) = self.entries.get_mut(&id) {
            entry.wants = Some(Room::Slot);
        }
        best
    }

    /// Grants the next term, while numbers last; then the job can only end.
    fn grant(&mut self, id: JobId, node: NodeId, why: &str, effects: &mut Vec<Effect>) {
        let (me, lease) = (self.node, self.settings.lease);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let kind = if node == me { GrantKind::Held } else { GrantKind::Leased };
        let opened = entry.job.epochs.last().map_or(Term(0), |opened| opened.last);
        let last = entry.job.grants.keys().map(|token| token.term).max().unwrap_or_default().max(opened);
        if entry.numbers_left(me) <= NUMBERS_KEPT_FOR_SETTLE {
            settle(entry, Settlement::Lost { term: last }, "it was granted as often as can be", effects);
            return;
        }
        let (epoch, _) = entry.job.arbiter();
        let term = Term(last.0 + 1);
        let action = Action::Grant(Grant { job: id, seq: Seq(0), epoch, term, node, kind, lease_ms: lease.0 });
        entry.ask(Asked::Grant);
        entry.granting = Some((node, Token { epoch, term }));
        effects.push(Effect::Sign { job: id, kind: Asked::Grant, action, why: why.to_owned() });
    }

    /// Replaces a leased term that nobody asks to confirm, once a durable note forbids confirming it. One that may have
    /// been confirmed is never replaced: it is reported, or ends by its wait.
    fn replace_unconfirmed(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(TermSeen { token, seen_at, confirmed, .. }) = entry.term else { return };
        let Some(granted) = entry.job.grants.get(&token).copied() else { return };
        let overdue = is_overdue(entry, now);
        let (noting, noted) = (entry.never_confirm.contains(&token), entry.noted.contains(&token));
        let waited = noting || overdue || seen_at + entry.grant_wait(&self.settings) <= now;
        // what was noted in an earlier life was not confirmed in it
        let unconfirmed = confirmed == Confirmed::Never || noted;
        if granted.kind != GrantKind::Leased || !waited || !unconfirmed || noting != noted {
            return;
        }
        if !noted {
            if overdue || self.next_grantee(id, Some(granted.node), now).is_some() {
                self.forbid(id, token, granted.node, effects);
            }
        } else if overdue {
            if let Some(entry) = self.entries.get_mut(&id) {
                settle(entry, Settlement::Expired, "it did not start in time", effects);
            }
        } else if let Some(node) = self.next_grantee(id, None, now) {
            self.grant(id, node, "the last grantee did not ask to confirm", effects);
        }
    }

    /// Who is granted after a silent grantee: the best offer, or else the next listed worker that was not passed over,
    /// since a job that is granted is not bid for. One that cannot run it gives it back at once.
    fn next_grantee(&mut self, id: JobId, beside: Option<NodeId>, now: Millis) -> Option<NodeId> {
        if let Some((node, _)) = self.best_offer(id, beside, now) {
            return Some(node);
        }
        let entry = self.entries.get(&id)?;
        let others = entry.job.create.workers.iter().filter(|worker| **worker != self.node && beside != Some(**worker));
        others.copied().find(|worker| !entry.passed_over.contains(worker) && self.may_be_granted(entry, *worker))
    }

    /// Whether its author, where that is this node, still lets a worker run its jobs.
    fn may_be_granted(&self, entry: &Entry, worker: NodeId) -> bool {
        entry.job.author != self.node || self.workers.as_ref().is_none_or(|workers| workers.contains(&worker))
    }

    fn forbid(&mut self, id: JobId, token: Token, grantee: NodeId, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.never_confirm.insert(token);
            entry.passed_over.insert(grantee);
            self.passed_over.entry(grantee).or_default().insert(id);
            effects.push(Effect::Note { job: id, token });
        }
    }
}

/// Only the highest token is ever confirmed, to the node it was granted, and never one that was noted or reported.
fn answer(me: NodeId, from: NodeId, entry: &mut Entry, item: &RenewalItem, now: Millis) -> Answer {
    let (epoch, arbiter) = entry.job.arbiter();
    if arbiter != me {
        return Answer::Unknown;
    }
    if entry.job.status() == Status::Settled {
        return Answer::Settled;
    }
    let Some((token, granted)) = entry.job.holder() else { return Answer::Unknown };
    if item.token > token || epoch != Epoch(0) {
        return Answer::Unknown;
    }
    if item.token < token || granted.node != from || entry.never_confirm.contains(&token) {
        return Answer::Replaced;
    }
    let lease_ms = granted.lease_ms;
    if entry.cancel_seen.is_some() {
        return Answer::Cancel;
    }
    if entry.job.dones.contains_key(&token) {
        return Answer::Reported;
    }
    // a grant or settle that is being signed ends this term: too late to confirm
    if entry.granting.is_some() || entry.asked.contains_key(&Asked::Settle) {
        return Answer::Unknown;
    }
    if let Some(term) = &mut entry.term {
        term.confirmed = Confirmed::At(now);
        term.phase = item.phase;
    }
    entry.started = true;
    Answer::Confirmed { lease_ms }
}

/// The settle that the state calls for, with its reason.
fn settlement(entry: &Entry, now: Millis, cancel_wait: Millis) -> Option<(Settlement, &'static str)> {
    let job = &entry.job;
    if let Some((token, report)) = job.result() {
        let result = Settlement::Result { term: token.term, done: report.done };
        let cancelled = report.outcome == RunOutcome::Cancelled && entry.cancel_seen.is_some();
        return Some(if cancelled {
            (Settlement::Cancelled, "its run was cancelled")
        } else {
            (result, "its run ended")
        });
    }
    if let Some(by) = entry.superseded_by {
        return Some((Settlement::Superseded { by }, "a later job replaces it"));
    }
    if let Some(seen) = entry.cancel_seen {
        // not lost: its holder is told to end it and is confirmed no more, and may still be heard
        let may_run = job.status() == Status::Granted && entry.started;
        return (!may_run || seen + cancel_wait <= now).then_some((Settlement::Cancelled, "it is cancelled"));
    }
    is_lost(entry, now).then(|| {
        let term = job.holder().map_or(Term(0), |(token, _)| token.term);
        (Settlement::Lost { term }, "its lease passed without a report")
    })
}

/// A leased term that was confirmed and whose wait is over. One that only an earlier life may have confirmed is waited
/// for, since its grantee may just have been away, but not beyond the time to start.
fn is_lost(entry: &Entry, now: Millis) -> bool {
    let (epoch, _) = entry.job.arbiter();
    let leased = entry.job.holder().is_some_and(|(_, granted)| granted.kind == GrantKind::Leased);
    if entry.job.status() != Status::Granted || !leased || epoch != Epoch(0) {
        return false;
    }
    match entry.term.map(|term| (term.confirmed, entry.noted.contains(&term.token))) {
        Some((Confirmed::At(last), _)) => entry.over_at(last) <= now,
        Some((Confirmed::Perhaps { before }, false)) => {
            entry.over_at(before) <= now && entry.start_by().is_some_and(|by| by <= now)
        }
        Some((Confirmed::Perhaps { .. }, true) | (Confirmed::Never, _)) | None => false,
    }
}

fn settle(entry: &mut Entry, outcome: Settlement, why: &str, effects: &mut Vec<Effect>) {
    let (epoch, _) = entry.job.arbiter();
    let job = entry.job.id;
    entry.ask(Asked::Settle);
    let action = Action::Settle(Settle { job, seq: Seq(0), epoch, outcome });
    effects.push(Effect::Sign { job, kind: Asked::Settle, action, why: why.to_owned() });
}

/// Its time to start ran out before any confirmation or held grant.
fn is_overdue(entry: &Entry, now: Millis) -> bool {
    !entry.started && entry.start_by().is_some_and(|by| by <= now)
}

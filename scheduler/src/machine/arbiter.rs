//! The machine as arbiter: grants, confirms, replaces, settles.

use cobs::id::{JobId, NodeId, Seq, Term};
use cobs::job::action::{Action, Grant, GrantKind, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::state::Status;

use super::entry::{Entry, TermSeen};
use super::settings::{Millis, wait_after};
use super::wire::{Answer, Confirmation, ConfirmationItem, ITEMS_MAX, Message, Renewal, RenewalItem};
use super::{Asked, Effect, Machine};
use crate::place::Verdict;

impl Machine {
    /// Answers a holder's renewal, term by term.
    pub(super) fn answer(&mut self, from: NodeId, renewal: &Renewal, now: Millis, effects: &mut Vec<Effect>) {
        let items = renewal.items.iter().take(ITEMS_MAX);
        let items = items.map(|item| ConfirmationItem {
            job: item.job,
            token: item.token,
            answer: self
                .entries
                .get_mut(&item.job)
                .map_or(Answer::Unknown, |entry| answer(self.node, from, entry, item, now)),
        });
        let confirmation = Confirmation { number: renewal.number, items: items.collect() };
        effects.push(Effect::Send { to: from, message: Message::Confirmation(confirmation) });
    }

    /// Takes the next step of a job that this node arbitrates.
    pub(super) fn arbitrate(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let busy = entry.is_asked(Asked::Settle, now) || entry.is_asked(Asked::Grant, now);
        if entry.job.arbiter().1 != self.node || entry.job.status() == Status::Settled || busy {
            return;
        }
        if let Some((outcome, why)) = settlement(entry, now, self.settings.cancel_wait) {
            settle(entry, outcome, why, effects);
            return;
        }
        if entry.cancel_seen.is_some() {
            return;
        }
        match entry.job.status() {
            Status::Queued => self.grant_queued(id, now, effects),
            Status::Granted => self.replace_unconfirmed(id, now, effects),
            Status::Provisional | Status::Settled => {}
        }
    }

    /// Grants a waiting job to the best offer, BID_WINDOW after the first one.
    fn grant_queued(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        if is_overdue(entry, now) {
            self.expire(id, effects);
            return;
        }
        let others = entry.job.create.workers.iter().any(|worker| *worker != self.node);
        let window_over = entry.first_bid_at.is_some_and(|at| at + self.settings.bid_window <= now);
        let alone_long_enough = entry.queued_since + self.settings.own_bid_wait <= now;
        if others && !window_over && (entry.first_bid_at.is_some() || !alone_long_enough) {
            return;
        }
        let Some((node, score)) = self.best_offer(entry) else { return };
        self.grant(id, node, &format!("best of its offers, with a score of {score}"), effects);
    }

    /// The best standing bid, this node's own offer included. Nodes that left a term unconfirmed are passed over.
    fn best_offer(&self, entry: &Entry) -> Option<(NodeId, u32)> {
        let failed = |node: &NodeId| {
            entry.never_confirm.iter().any(|token| entry.job.grants.get(token).is_some_and(|term| term.node == *node))
        };
        let bids = entry.job.standing_bids().map(|(node, bid)| (node, bid.score));
        let own = match self.verdict(entry) {
            Verdict::Feasible { score, .. } => Some((self.node, score)),
            Verdict::Busy { .. } | Verdict::Infeasible { .. } => None,
        };
        let own = own.filter(|_| entry.bid_after.is_none());
        bids.filter(|(node, _)| *node != self.node && !failed(node))
            .chain(own)
            .max_by_key(|(node, score)| (*score, std::cmp::Reverse(*node)))
    }

    fn grant(&mut self, id: JobId, node: NodeId, why: &str, effects: &mut Vec<Effect>) {
        let (me, lease) = (self.node, self.settings.lease);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let kind = if node == me { GrantKind::Held } else { GrantKind::Leased };
        let opened = entry.job.epochs.last().map_or(Term(0), |opened| opened.last);
        let last = entry.job.grants.keys().map(|token| token.term).max().unwrap_or_default().max(opened);
        let (epoch, _) = entry.job.arbiter();
        let action =
            Action::Grant(Grant { job: id, seq: Seq(0), epoch, term: Term(last.0 + 1), node, kind, lease_ms: lease.0 });
        entry.asked.insert(Asked::Grant, None);
        entry.granting_to = Some(node);
        effects.push(Effect::Sign { job: id, kind: Asked::Grant, action, why: why.to_owned() });
    }

    /// Replaces a leased term that nobody asks to confirm, once a durable note forbids confirming it. One that may have
    /// been confirmed ends by its wait.
    fn replace_unconfirmed(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(TermSeen { token, seen_at, received: None }) = entry.term else { return };
        let leased = entry.job.grants.get(&token).is_some_and(|granted| granted.kind == GrantKind::Leased);
        let overdue = is_overdue(entry, now);
        if !leased || (!overdue && seen_at + self.settings.grant_wait > now) {
            return;
        }
        let other = self
            .best_offer(entry)
            .filter(|(node, _)| entry.job.grants.get(&token).is_some_and(|granted| granted.node != *node));
        let (noting, noted) = (entry.never_confirm.contains(&token), entry.noted.contains(&token));
        if !noting && (overdue || other.is_some()) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.never_confirm.insert(token);
            }
            effects.push(Effect::Note { job: id, token });
        } else if noted && overdue {
            self.expire(id, effects);
        } else if noted && let Some((node, _)) = other {
            self.grant(id, node, "the last grantee did not ask to confirm", effects);
        }
    }

    fn expire(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            settle(entry, Settlement::Expired, "it did not start in time", effects);
        }
    }
}

/// Only the highest token of the newest epoch is ever confirmed, and never one that was noted.
fn answer(me: NodeId, from: NodeId, entry: &mut Entry, item: &RenewalItem, now: Millis) -> Answer {
    let (_, arbiter) = entry.job.arbiter();
    if arbiter != me {
        return Answer::Unknown;
    }
    if entry.job.status() == Status::Settled {
        return Answer::Settled;
    }
    let Some((token, granted)) = entry.job.holder() else { return Answer::Unknown };
    if item.token > token {
        return Answer::Unknown;
    }
    if item.token < token || granted.node != from || entry.never_confirm.contains(&token) {
        return Answer::Replaced;
    }
    let lease_ms = granted.lease_ms;
    if entry.cancel_seen.is_some() {
        return Answer::Cancel;
    }
    // a grant or settle that is being signed ends this term: too late to confirm
    if entry.granting_to.is_some() || entry.asked.contains_key(&Asked::Settle) {
        return Answer::Unknown;
    }
    if let Some(term) = &mut entry.term {
        term.received = Some(now);
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
        let may_run = job.status() == Status::Granted && entry.started;
        if !may_run || seen + cancel_wait <= now {
            return Some((Settlement::Cancelled, "it is cancelled"));
        }
    }
    let term = entry.term.filter(|_| job.status() == Status::Granted)?;
    let received = term.received?;
    let granted = job.grants.get(&term.token)?;
    let over = received + wait_after(Millis(job.longest_lease_ms().unwrap_or(granted.lease_ms))) <= now;
    (granted.kind == GrantKind::Leased && over)
        .then_some((Settlement::Lost { term: term.token.term }, "its lease passed without a report"))
}

fn settle(entry: &mut Entry, outcome: Settlement, why: &str, effects: &mut Vec<Effect>) {
    let (epoch, _) = entry.job.arbiter();
    let job = entry.job.id;
    entry.asked.insert(Asked::Settle, None);
    let action = Action::Settle(Settle { job, seq: Seq(0), epoch, outcome });
    effects.push(Effect::Sign { job, kind: Asked::Settle, action, why: why.to_owned() });
}

/// Its time to start ran out before any confirmation or held grant.
fn is_overdue(entry: &Entry, now: Millis) -> bool {
    let within = entry.job.create.spec.start_within_ms;
    !entry.started && within.is_some_and(|span| entry.first_seen + Millis(span) <= now)
}

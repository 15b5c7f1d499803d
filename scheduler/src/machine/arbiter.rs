//! The machine as arbiter: grants, replaces, tries again, hands over, settles. It does nothing about a job before it knows
//! what was granted and confirmed before its time.

use std::collections::BTreeSet;

use cobs::id::{JobId, NodeId, Seq, Term, Token};
use cobs::job::action::{Action, Grant, GrantKind, Settle, StepDown};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::state::Status;

use super::again::Back;
use super::agenda::Room;
use super::entry::{Confirmed, Entry, TermSeen};
use super::mutation::{self, Mutation};
use super::settings::{Millis, Settings};
use super::{Asked, Effect, Machine, Note};
use crate::place::Verdict;

/// Sequence numbers that an arbiter keeps from its grants: for its settle, and for its Done and Cancel before it.
const NUMBERS_KEPT_FOR_SETTLE: u32 = 8;

impl Machine {
    /// Takes the next step of a job that this node arbitrates.
    pub(super) fn arbitrate(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let asked = [Asked::Settle, Asked::Grant, Asked::StepDown];
        let busy = asked.iter().any(|kind| entry.is_asked(*kind, now)) || entry.numbers_left(self.node) == 0;
        let settled = entry.job.status() == Status::Settled && !mutation::is_on(Mutation::SettlesAgain);
        if entry.job.arbiter().1 != self.node || entry.shown || settled || busy {
            return;
        }
        if let Some((outcome, why)) = settlement(entry, &self.settings, now) {
            settle(entry, outcome, why, effects);
            return;
        }
        if hand_over(entry, effects) {
            return;
        }
        let cancelled = entry.cancel_seen.is_some() && !mutation::is_on(Mutation::GrantsCancelled);
        if cancelled || entry.held_back(&self.settings, now).is_some() {
            return;
        }
        let author = entry.job.author;
        match entry.job.status() {
            Status::Queued if self.arbitrates.contains(&author) => self.grant_queued(id, now, effects),
            Status::Granted => self.replace(id, now, effects),
            Status::Provisional => self.try_again(id, now, effects),
            Status::Queued | Status::Settled => {}
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
        let early = !all_bid && !window_over && (entry.first_bid_at.is_some() || !alone_long_enough);
        if early || entry.may_run_by_rank(&self.settings, now) {
            return;
        }
        // one that is linked may have been too slow to ask only for what reached it late, and says nothing more by itself
        let offer = self.best_offer(id, None, now).or_else(|| self.linked_offer(id, now));
        if let Some((node, score)) = offer {
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
            Some(Verdict::Feasible { score, .. }) if self.may_be_granted(entry, self.node, now) => {
                Some((self.node, *score))
            }
            Some(Verdict::Feasible { .. }) => None,
            Some(Verdict::Busy { .. } | Verdict::Infeasible { .. }) | None => None,
        };
        let best = bids
            .filter(|(node, _)| *node != self.node && beside != Some(*node) && !entry.passed_over.contains(node))
            .filter(|(node, _)| self.may_be_granted(entry, *node, now))
            .chain(own)
            .max_by_key(|(node, score)| (*score, std::cmp::Reverse(*node)));
        let starved = best.is_none() && matches!(mine, Some(Verdict::Busy { .. }));
        if starved && let Some(entry) = self.entries.get_mut(&id) {
            entry.wants = Some(Room::Slot);
        }
        best
    }

    /// The best standing bid of those that are linked, passed over or not.
    fn linked_offer(&self, id: JobId, now: Millis) -> Option<(NodeId, u32)> {
        let entry = self.entries.get(&id)?;
        let bids = entry.job.standing_bids().map(|(node, bid)| (node, bid.score));
        bids.filter(|(node, _)| self.linked.contains(node) && self.may_be_granted(entry, *node, now))
            .max_by_key(|(node, score)| (*score, std::cmp::Reverse(*node)))
    }

    /// Grants the next term, while numbers last; then the job can only end.
    fn grant(&mut self, id: JobId, node: NodeId, why: &str, effects: &mut Vec<Effect>) {
        let (me, lease) = (self.node, self.settings.lease);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let held = node == me || entry.job.create.spec.held_allowed;
        let kind = if held { GrantKind::Held } else { GrantKind::Leased };
        let last = entry.last_term();
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

    /// Replaces a term that stands: one whose run is over, as an attempt that failed, or a leased one that nobody asks
    /// to confirm, once a durable note forbids confirming it.
    fn replace(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(TermSeen { token, seen_at, confirmed, .. }) = entry.term else { return };
        if entry.is_over(&self.settings, now) {
            self.give_up(id, token);
            self.try_again(id, now, effects);
            return;
        }
        let Some(granted) = entry.job.grants.get(&token).copied() else { return };
        let overdue = is_overdue(entry, now);
        let (noting, noted) = (entry.is_stopped(token), entry.is_forbidden(token));
        let waited = noting || overdue || seen_at + entry.grant_wait(&self.settings) <= now;
        let unconfirmed = confirmed == Confirmed::Never && !entry.confirming.contains_key(&token);
        let waits_for_note = noting != noted && !mutation::is_on(Mutation::ReplacesWithoutNote);
        let by_rank = entry.may_run_by_rank(&self.settings, now);
        if granted.kind != GrantKind::Leased || !waited || !unconfirmed || waits_for_note || by_rank {
            return;
        }
        if !noting {
            let beside = Some(granted.node);
            let other = self.next_grantee(id, beside, now).or_else(|| self.other_linked(id, beside, now));
            if overdue || other.is_some() {
                self.forbid(id, token, granted.node, effects);
            }
        } else if overdue {
            if let Some(entry) = self.entries.get_mut(&id) {
                settle(entry, Settlement::Expired, "it did not start in time", effects);
            }
        } else if let Some(node) =
            self.next_grantee(id, None, now).or_else(|| self.other_linked(id, Some(granted.node), now))
        {
            self.grant(id, node, "the last grantee did not ask to confirm", effects);
        }
    }

    /// The next attempt, after the wait that the job's policy sets and where it says.
    fn try_again(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let waited = entry.retry_at(&self.settings).is_none_or(|at| at <= now);
        if !waited || entry.may_run_by_rank(&self.settings, now) {
            return;
        }
        // where all others are silent, it waits for one of them
        let node = self.next_grantee(id, None, now).or_else(|| self.any_other(id, now));
        if let Some(node) = node {
            self.grant(id, node, "its last run did not succeed and an attempt is left", effects);
        }
    }

    /// Who is granted after another: the best offer, or else the next listed worker that was not passed over, since a job
    /// that is granted is not bid for. One that cannot run it gives it back at once.
    fn next_grantee(&mut self, id: JobId, beside: Option<NodeId>, now: Millis) -> Option<NodeId> {
        if let Some((node, _)) = self.best_offer(id, beside, now) {
            return Some(node);
        }
        let entry = self.entries.get(&id)?;
        let others = entry.job.create.workers.iter().filter(|worker| **worker != self.node && beside != Some(**worker));
        others.copied().find(|worker| !entry.passed_over.contains(worker) && self.may_be_granted(entry, *worker, now))
    }

    /// A listed worker that did not ask before and is linked: what it was granted may not have reached it in time.
    fn other_linked(&self, id: JobId, beside: Option<NodeId>, now: Millis) -> Option<NodeId> {
        let entry = self.entries.get(&id)?;
        let mut others = entry.job.create.workers.iter().copied();
        others
            .find(|node| self.linked.contains(node) && beside != Some(*node) && self.may_be_granted(entry, *node, now))
    }

    /// A listed worker, silent or not.
    fn any_other(&self, id: JobId, now: Millis) -> Option<NodeId> {
        let entry = self.entries.get(&id)?;
        let mut others = entry.job.create.workers.iter().copied();
        others.find(|node| *node != self.node && self.may_be_granted(entry, *node, now))
    }

    /// Whether its author, where that is this node, still lets a worker run its jobs, and the job's policy lets it.
    fn may_be_granted(&self, entry: &Entry, worker: NodeId, now: Millis) -> bool {
        let own = entry.job.author == self.node;
        let trusted = !own || self.workers.as_ref().is_none_or(|workers| workers.contains(&worker));
        trusted && entry.place_allows(worker, &self.settings, now)
    }

    fn forbid(&mut self, id: JobId, token: Token, grantee: NodeId, effects: &mut Vec<Effect>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.never_confirm.insert(token);
            effects.push(Effect::Note { job: id, token, note: Note::NeverConfirm });
        }
        self.pass_over(id, grantee);
    }

    /// The holder of a term that is over was silent for all of its lease. Once it is heard again it counts as any other.
    fn give_up(&mut self, id: JobId, token: Token) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let holder = entry.job.grants.get(&token).map(|granted| granted.node);
        if let Some(holder) = holder.filter(|holder| *holder != self.node && entry.given_up != Some(token)) {
            entry.given_up = Some(token);
            self.pass_over(id, holder);
        }
    }

    fn pass_over(&mut self, id: JobId, node: NodeId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.passed_over.insert(node);
            self.passed_over.entry(node).or_default().insert(id);
        }
    }
}

/// Hands over to whom an operator named. From the asking on nothing is confirmed any more.
fn hand_over(entry: &mut Entry, effects: &mut Vec<Effect>) -> bool {
    let Some(to) = entry.hand_over_to else { return false };
    let (epoch, _) = entry.job.arbiter();
    let (job, last) = (entry.job.id, entry.last_term());
    let unasked = |term: TermSeen| {
        let leased = entry.job.grants.get(&term.token).is_some_and(|granted| granted.kind == GrantKind::Leased);
        leased && term.confirmed == Confirmed::Never && !entry.confirming.contains_key(&term.token)
    };
    let unconfirmed = entry.term.is_some_and(unasked);
    let action = Action::StepDown(StepDown { job, seq: Seq(0), epoch, to, last, unconfirmed });
    entry.ask(Asked::StepDown);
    effects.push(Effect::Sign { job, kind: Asked::StepDown, action, why: "an operator hands it over".into() });
    true
}

/// The settle that the state calls for, with its reason.
fn settlement(entry: &Entry, settings: &Settings, now: Millis) -> Option<(Settlement, &'static str)> {
    let job = &entry.job;
    if let Some((token, report)) = job.result() {
        let cancelled = report.outcome == RunOutcome::Cancelled && entry.cancel_seen.is_some();
        if cancelled {
            return Some((Settlement::Cancelled, "its run was cancelled"));
        }
        // what ran by rank is not tried again: whether a grant was made before or after it nobody can tell
        let by_rank = token.term == Term(0);
        // a term that is missing here may stand above it; and one that started by rank may bring what was lost
        let missing = entry.held_back(settings, now) == Some(Back::Grants);
        let lost = report.outcome == RunOutcome::Lost && entry.may_run_by_rank(settings, now);
        if missing || lost {
            return None;
        }
        if by_rank || !entry.may_try_again(Some(&report.outcome), settings, now) || !has_place(entry, settings, now) {
            return Some((Settlement::Result { term: token.term, done: report.done }, "its run ended"));
        }
    }
    if let Some(by) = entry.superseded_by {
        return Some((Settlement::Superseded { by }, "a later job replaces it"));
    }
    if let Some(seen) = entry.cancel_seen {
        // not lost: its holder is told to end it and is confirmed no more, and may still be heard
        let may_run = job.status() == Status::Granted && entry.started;
        return (!may_run || seen + settings.cancel_wait <= now).then_some((Settlement::Cancelled, "it is cancelled"));
    }
    let over = entry.is_over(settings, now) && entry.held_back(settings, now).is_none();
    // its holder may have given the grant up for a start by rank, and then brings the result
    let lost = over && !entry.may_run_by_rank(settings, now);
    (lost && (!entry.may_try_again(None, settings, now) || !has_place(entry, settings, now))).then(|| {
        let term = job.holder().map_or(Term(0), |(token, _)| token.term);
        (Settlement::Lost { term }, "its lease passed without a report")
    })
}

/// Whether a node is left where the job's policy allows the next attempt.
fn has_place(entry: &Entry, settings: &Settings, now: Millis) -> bool {
    entry.job.create.workers.iter().any(|worker| entry.place_allows(*worker, settings, now))
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

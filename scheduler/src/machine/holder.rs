//! The machine as bidder and holder: offers to run, takes grants, starts on a confirmation, renews, ends, reports.

use std::collections::BTreeMap;

use cobs::id::{Epoch, JobId, NodeId, RunId, Seq};
use cobs::job::action::{Action, Bid, Digests, Done, GrantKind};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Privacy;
use cobs::job::state::Status;

use super::entry::{Entry, Holding, Stage};
use super::settings::Millis;
use super::wire::{Answer, ConfirmationItem};
use super::{Asked, Effect, Machine, RunReport, StopReason};
use crate::place::Verdict;

/// Sequence numbers that a worker keeps for its reports instead of bids.
const SEQ_KEPT_FOR_REPORTS: u32 = 64;

/// A run left by this node's last daemon, whose job is not seen yet.
#[derive(Clone, Debug)]
pub(super) enum Orphan {
    Alive { run: RunId },
    Ended { run: RunId, report: RunReport },
}

impl RunReport {
    /// A report without a run.
    fn without_run(outcome: RunOutcome, reason: &str) -> Self {
        Self { outcome, digests: Digests::default(), tail: String::new(), reason: reason.to_owned(), duration_ms: 0 }
    }
}

impl Machine {
    /// Makes a holding of a grant to this node that it does not have yet.
    pub(super) fn take_grant(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let node = self.node;
        self.take_orphan(id);
        let Some(entry) = self.entries.get(&id) else { return };
        let Some((token, granted)) = entry.grant_to(node) else { return };
        if entry.holding.is_some() {
            return;
        }
        let run = RunId { job: id, token, node };
        let lease = Millis(granted.lease_ms);
        let mut holding =
            Holding { run, kind: granted.kind, lease, prepared: false, confirmed_until: None, stage: Stage::Waiting };
        match self.verdict(entry) {
            Verdict::Infeasible { reasons } => {
                let report = RunReport::without_run(RunOutcome::Released, &reasons.join("; "));
                holding.stage = Stage::Finished { report };
            }
            Verdict::Feasible { .. } | Verdict::Busy { .. } => effects.push(Effect::Prepare { run }),
        }
        for arbiter in entry.job.create.arbiters.clone() {
            self.renew_at.insert(arbiter, now);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.granting_to = None;
            entry.holding = Some(holding);
        }
    }

    fn take_orphan(&mut self, id: JobId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(orphan) = self.orphans.remove(&id) else { return };
        let (run, stage) = match orphan {
            Orphan::Alive { run } => (run, Stage::Running { stopping: None }),
            Orphan::Ended { run, report } => (run, Stage::Finished { report }),
        };
        let Some(granted) = entry.job.grants.get(&run.token) else { return };
        let lease = Millis(granted.lease_ms);
        entry.holding = Some(Holding { run, kind: granted.kind, lease, prepared: true, confirmed_until: None, stage });
    }

    /// Brings a holding on: ends what must end, starts what may start, reports what ended.
    pub(super) fn hold(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let free = self.capacity.as_ref().map_or(0, |capacity| capacity.slots).saturating_sub(self.runs());
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(run) = entry.holding.as_ref().map(|holding| holding.run) else { return };
        if entry.job.status() == Status::Settled {
            self.end(id, StopReason::Cancelled, effects);
        } else if is_replaced(entry, run) {
            self.end(id, StopReason::Replaced, effects);
        } else if !entry.job.cancels.is_empty() {
            self.end(id, StopReason::Cancelled, effects);
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(holding) = &mut entry.holding else {
            self.drop_settled(id);
            return;
        };
        match &holding.stage {
            Stage::Waiting if holding.prepared && free > 0 => {
                let deadline = holding.confirmed_until;
                if holding.kind == GrantKind::Held || deadline.is_some_and(|until| until > now) {
                    let deadline = deadline.filter(|_| holding.kind == GrantKind::Leased);
                    holding.stage = Stage::Running { stopping: None };
                    effects.push(Effect::Start { run, deadline });
                }
            }
            Stage::Finished { report } => {
                let report = report.clone();
                report_done(entry, run, report, now, effects);
            }
            Stage::Waiting | Stage::Running { .. } => {}
        }
    }

    fn runs(&self) -> u32 {
        let started = |entry: &&Entry| entry.holding.as_ref().is_some_and(Holding::is_started);
        u32::try_from(self.entries.values().filter(started).count()).unwrap_or(u32::MAX)
    }

    /// Ends a holding whatever its stage. A finished one goes once its report is durable and nobody can ask for it.
    fn end(&mut self, id: JobId, reason: StopReason, effects: &mut Vec<Effect>) {
        let grace = self.settings.stop_grace;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let settled = entry.job.status() == Status::Settled;
        let Some(holding) = &mut entry.holding else { return };
        let run = holding.run;
        match &mut holding.stage {
            Stage::Running { stopping: Some(_) } => {}
            Stage::Running { stopping } => {
                *stopping = Some(reason);
                effects.push(Effect::Stop { run, reason, grace });
            }
            Stage::Waiting => {
                effects.push(Effect::Discard { run });
                if reason == StopReason::Cancelled && !settled {
                    let report = RunReport::without_run(RunOutcome::Cancelled, "cancelled before it started");
                    holding.stage = Stage::Finished { report };
                } else {
                    entry.holding = None;
                }
            }
            Stage::Finished { .. } => {
                let reported = entry.job.dones.contains_key(&run.token);
                if reported && (settled || reason == StopReason::Replaced) {
                    entry.holding = None;
                }
            }
        }
    }

    pub(super) fn prepared(&mut self, run: RunId, _now: Millis, effects: &mut Vec<Effect>) {
        match self.holding_of(run) {
            Some(holding) => holding.prepared = true,
            None => effects.push(Effect::Discard { run }),
        }
    }

    pub(super) fn not_prepared(&mut self, run: RunId, reason: &str, effects: &mut Vec<Effect>) {
        if let Some(holding) = self.holding_of(run) {
            holding.stage = Stage::Finished { report: RunReport::without_run(RunOutcome::CouldNotStart, reason) };
        }
        effects.push(Effect::Discard { run });
    }

    fn holding_of(&mut self, run: RunId) -> Option<&mut Holding> {
        self.entries.get_mut(&run.job)?.holding.as_mut().filter(|holding| holding.run == run)
    }

    pub(super) fn adopted(&mut self, run: RunId) {
        self.orphans.insert(run.job, Orphan::Alive { run });
        self.take_orphan(run.job);
    }

    pub(super) fn ended(&mut self, run: RunId, mut report: RunReport, _effects: &mut Vec<Effect>) {
        let bid_again = self.settings.bid_again;
        let Some(holding) = self.holding_of(run) else {
            self.orphans.insert(run.job, Orphan::Ended { run, report });
            self.take_orphan(run.job);
            return;
        };
        let Stage::Running { stopping } = &holding.stage else { return };
        let by_us = matches!(
            report.outcome,
            RunOutcome::Cancelled | RunOutcome::Signalled { .. } | RunOutcome::Lost | RunOutcome::Released
        );
        let evicted = *stopping == Some(StopReason::Evicted);
        if by_us {
            match stopping {
                Some(StopReason::Evicted) => report.outcome = RunOutcome::Released,
                Some(StopReason::Cancelled) => report.outcome = RunOutcome::Cancelled,
                Some(StopReason::Replaced) => report.outcome = RunOutcome::Lost,
                None => {}
            }
        }
        holding.stage = Stage::Finished { report };
        if evicted && let Some(entry) = self.entries.get_mut(&run.job) {
            entry.bid_after = Some(entry.first_seen + bid_again);
        }
    }

    pub(super) fn evict(&mut self, job: JobId, grace: Millis, now: Millis, effects: &mut Vec<Effect>) {
        let bid_again = self.settings.bid_again;
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.bid_after = Some(now + bid_again);
        let Some(holding) = &mut entry.holding else { return };
        let run = holding.run;
        match &mut holding.stage {
            Stage::Running { stopping: stopping @ None } => {
                *stopping = Some(StopReason::Evicted);
                effects.push(Effect::Stop { run, reason: StopReason::Evicted, grace });
            }
            Stage::Waiting => {
                let report = RunReport::without_run(RunOutcome::Released, "evicted before it started");
                holding.stage = Stage::Finished { report };
                effects.push(Effect::Discard { run });
            }
            Stage::Running { .. } | Stage::Finished { .. } => {}
        }
    }

    /// One term of an arbiter's answer to the renewal that was sent at `sent`.
    pub(super) fn take_answer(
        &mut self,
        from: NodeId,
        item: &ConfirmationItem,
        sent: Millis,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.entries.get_mut(&item.job) else { return };
        let arbiter = entry.job.arbiter().1;
        let Some(holding) = &mut entry.holding else { return };
        if arbiter != from || holding.run.token != item.token {
            return;
        }
        match item.answer {
            Answer::Confirmed { lease_ms } => {
                let until = sent + Millis(lease_ms).min(holding.lease);
                let newer = holding.confirmed_until.is_none_or(|before| until > before);
                if newer && until > now {
                    holding.confirmed_until = Some(until);
                    if let Stage::Running { .. } = holding.stage {
                        effects.push(Effect::Extend { run: holding.run, deadline: until });
                    }
                }
            }
            Answer::Cancel => self.end(item.job, StopReason::Cancelled, effects),
            Answer::Replaced => self.end(item.job, StopReason::Replaced, effects),
            Answer::Settled => self.settled_elsewhere(item.job, effects),
            Answer::Unknown => {}
        }
    }

    /// The settle is known before it is replicated: the run ends, and a report that is durable need not be renewed.
    fn settled_elsewhere(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        self.end(id, StopReason::Cancelled, effects);
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(holding) = &entry.holding
            && matches!(holding.stage, Stage::Finished { .. })
            && entry.job.dones.contains_key(&holding.run.token)
        {
            entry.holding = None;
        }
    }

    /// Offers to run a job that waits, while this node has room for it.
    pub(super) fn bid(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let node = self.node;
        let Some(entry) = self.entries.get(&id) else { return };
        let job = &entry.job;
        let waits = job.status() == Status::Queued && job.cancels.is_empty() && job.create.workers.contains(&node);
        let spent = job.last_seq.get(&node).is_some_and(|last| last.0 + SEQ_KEPT_FOR_REPORTS >= Seq::MAX.0);
        let too_soon = entry.bid_after.is_some_and(|after| after > now);
        let stands = job.standing_bids().any(|(bidder, _)| bidder == node);
        if !waits || spent || too_soon || stands || job.arbiter().1 == node || entry.is_asked(Asked::Bid, now) {
            return;
        }
        let Verdict::Feasible { score, parts } = self.verdict(entry) else { return };
        let slots = self.capacity.as_ref().map_or(0, |capacity| capacity.slots);
        if self.slots_used() + self.bids_open() >= slots.saturating_mul(2) {
            return;
        }
        let reason = parts.iter().map(|part| part.reason.as_str()).collect::<Vec<_>>().join("; ");
        let action = Action::Bid(Bid { job: id, seq: Seq(0), score, reason });
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.asked.insert(Asked::Bid, None);
        }
        effects.push(Effect::Sign { job: id, kind: Asked::Bid, action, why: "it can run here".into() });
    }

    fn bids_open(&self) -> u32 {
        let open = |entry: &&Entry| {
            let waits = entry.job.status() == Status::Queued;
            waits && (entry.asked.contains_key(&Asked::Bid) || entry.job.standing_bids().any(|(by, _)| by == self.node))
        };
        u32::try_from(self.entries.values().filter(open).count()).unwrap_or(u32::MAX)
    }
}

/// A higher token was granted, or an epoch was opened whose `last` is below this term.
fn is_replaced(entry: &Entry, run: RunId) -> bool {
    let higher = entry.job.holder().is_some_and(|(token, _)| token > run.token);
    let (Epoch(newest), _) = entry.job.arbiter();
    let cut = entry.job.epochs.last().is_some_and(|opened| run.token.term > opened.last);
    higher || (newest > run.token.epoch.0 && cut)
}

fn report_done(entry: &mut Entry, run: RunId, report: RunReport, now: Millis, effects: &mut Vec<Effect>) {
    if entry.job.dones.contains_key(&run.token) {
        let released = report.outcome == RunOutcome::Released;
        if released || entry.holding.as_ref().is_some_and(|holding| holding.kind == GrantKind::Held) {
            entry.holding = None;
        }
        return;
    }
    if entry.is_asked(Asked::Done, now) {
        return;
    }
    let private = entry.job.create.spec.privacy == Privacy::Private;
    let action = Action::Done(Done {
        job: run.job,
        seq: Seq(0),
        epoch: run.token.epoch,
        term: run.token.term,
        outcome: report.outcome,
        digests: if private { Digests::default() } else { report.digests },
        tail: if private { String::new() } else { report.tail },
        reason: report.reason,
        duration_ms: report.duration_ms,
    });
    entry.asked.insert(Asked::Done, None);
    effects.push(Effect::Sign { job: run.job, kind: Asked::Done, action, why: "its run ended".into() });
}

/// Orphans by job.
pub(super) type Orphans = BTreeMap<JobId, Orphan>;

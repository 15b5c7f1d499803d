//! The machine as bidder and holder: offers to run, takes grants, starts on a confirmation, renews, ends, reports.

use cobs::id::{JobId, NodeId, RunId, Seq, Term};
use cobs::job::action::{Action, Digests, Done, GrantKind, REASON_BYTES_MAX, TAIL_BYTES_MAX};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Privacy;
use cobs::job::state::{Job, Status};

use super::agenda::Room;
use super::entry::{Entry, Holding, Stage};
use super::mutation::{self, Mutation};
use super::orphan::Orphan;
use super::settings::Millis;
use super::wire::{Answer, ConfirmationItem};
use super::{Asked, Effect, Machine, RunReport, StopReason};
use crate::place::Verdict;

impl RunReport {
    /// A report without a run.
    fn without_run(outcome: RunOutcome, reason: &str) -> Self {
        Self { outcome, digests: Digests::default(), tail: String::new(), reason: reason.to_owned(), duration_ms: 0 }
    }
}

impl Machine {
    /// Brings a holding on: ends what must end, reports what ended, takes a new grant, starts what may start.
    pub(super) fn hold(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        self.end_what_must(id, effects);
        self.yield_to_arbiter(id, now, effects);
        self.report(id, now, effects);
        if self.take_grant(id, now, effects) {
            self.end_what_must(id, effects);
            self.report(id, now, effects);
        }
        self.start(id, now, effects);
    }

    fn end_what_must(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(run) = entry.holding.as_ref().map(|holding| holding.run) else { return };
        if entry.job.status() == Status::Settled {
            self.end(id, StopReason::Cancelled, effects);
        } else if is_replaced(entry, run) {
            self.end(id, StopReason::Replaced, effects);
        } else if !entry.job.cancels.is_empty() {
            self.end(id, StopReason::Cancelled, effects);
        }
    }

    /// Makes a holding of a grant to this node that it does not have yet. What is not probed yet waits for the probe.
    fn take_grant(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) -> bool {
        let node = self.node;
        let Some(entry) = self.entries.get(&id) else { return false };
        let Some((token, granted)) = entry.grant_to(node) else { return false };
        let abandoned = entry.is_abandoned(token) && !mutation::is_on(Mutation::StartsAbandoned);
        let given_up = entry.refused == Some(token) || abandoned;
        // a run by rank that left no result stands in no grant's way
        let free = entry.holding.as_ref().is_none_or(|holding| {
            let finished = matches!(holding.stage, Stage::Finished { .. });
            holding.is_by_rank() && finished && entry.is_reported(holding.run)
        });
        if !free || given_up || self.capacity.is_none() {
            return false;
        }
        let run = RunId { job: id, token, node };
        let (kind, lease) = (granted.kind, Millis(granted.lease_ms));
        let stage = match self.verdict(entry) {
            Verdict::Infeasible { reasons } => {
                Stage::Finished { report: RunReport::without_run(RunOutcome::Released, &reasons.join("; ")) }
            }
            Verdict::Feasible { .. } | Verdict::Busy { .. } => {
                effects.push(Effect::Prepare { run });
                Stage::Waiting
            }
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holding =
                Some(Holding { run, kind, lease, prepared: false, taken_at: now, confirmed_until: None, stage });
        }
        true
    }

    fn start(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let room = self.agenda.has(Room::Start);
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.granting.is_none()) else { return };
        let Some(holding) = &mut entry.holding else { return };
        let deadline = holding.confirmed_until.filter(|_| holding.kind == GrantKind::Leased);
        let confirmed = deadline.is_some_and(|until| until > now) || mutation::is_on(Mutation::StartsUnconfirmed);
        let may = holding.kind == GrantKind::Held || confirmed;
        if !may || !holding.prepared || !matches!(holding.stage, Stage::Waiting) {
            return;
        }
        if room {
            holding.stage = Stage::Running { stopping: None };
            let deadline = deadline.filter(|_| !mutation::is_on(Mutation::NoDeadline));
            effects.push(Effect::Start { run: holding.run, deadline });
        } else {
            entry.wants = Some(Room::Start);
        }
    }

    /// Ends a holding whatever its stage. A finished one goes once its report is durable and nobody can ask for it.
    fn end(&mut self, id: JobId, reason: StopReason, effects: &mut Vec<Effect>) {
        let grace = self.settings.stop_grace;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let settled = entry.job.status() == Status::Settled;
        let reported = entry.holding.as_ref().is_some_and(|holding| entry.is_reported(holding.run));
        let Some(holding) = &mut entry.holding else { return };
        let run = holding.run;
        match &mut holding.stage {
            Stage::Running { .. } if mutation::is_on(Mutation::RunsOn) => {}
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
                if reported && (settled || reason == StopReason::Replaced) {
                    entry.holding = None;
                }
            }
        }
    }

    /// What was prepared for a run that ended meanwhile is let go, and one that started needs none.
    pub(super) fn prepared(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        match self.holding_of(run) {
            Some(holding) if holding.is_started() => {}
            Some(holding) if matches!(holding.stage, Stage::Waiting) => holding.prepared = true,
            Some(_) | None => effects.push(Effect::Discard { run }),
        }
        self.touch(run.job);
    }

    pub(super) fn not_prepared(
        &mut self,
        run: RunId,
        outcome: RunOutcome,
        reason: &str,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let bid_again = self.settings.bid_again;
        let released = outcome == RunOutcome::Released;
        match self.holding_of(run) {
            Some(holding) if holding.is_started() => return,
            Some(holding) if matches!(holding.stage, Stage::Waiting) => {
                holding.stage = Stage::Finished { report: RunReport::without_run(outcome, reason) };
                if released && let Some(entry) = self.entries.get_mut(&run.job) {
                    entry.bid_after = Some(now + bid_again);
                }
            }
            Some(_) | None => {}
        }
        effects.push(Effect::Discard { run });
        self.touch(run.job);
    }

    fn holding_of(&mut self, run: RunId) -> Option<&mut Holding> {
        self.entries.get_mut(&run.job)?.holding.as_mut().filter(|holding| holding.run == run)
    }

    /// A run that waits here and is told to have ended was started by an earlier life.
    pub(super) fn ended(&mut self, run: RunId, mut report: RunReport, now: Millis, effects: &mut Vec<Effect>) {
        let bid_again = self.settings.bid_again;
        let Some(holding) = self.holding_of(run) else {
            self.add_orphan(run, Orphan::Ended { report }, effects);
            return;
        };
        let stopping = match &holding.stage {
            Stage::Running { stopping } => *stopping,
            Stage::Waiting => None,
            Stage::Finished { .. } => return,
        };
        let by_us = matches!(
            report.outcome,
            RunOutcome::Cancelled | RunOutcome::Signalled { .. } | RunOutcome::Lost | RunOutcome::Released
        );
        if by_us {
            match stopping {
                Some(StopReason::Evicted) => report.outcome = RunOutcome::Released,
                Some(StopReason::Cancelled) => report.outcome = RunOutcome::Cancelled,
                Some(StopReason::Replaced) => report.outcome = RunOutcome::Lost,
                None => {}
            }
        }
        let released = report.outcome == RunOutcome::Released;
        holding.stage = Stage::Finished { report };
        if released && let Some(entry) = self.entries.get_mut(&run.job) {
            entry.bid_after = Some(now + bid_again);
        }
        self.touch(run.job);
    }

    pub(super) fn evict(&mut self, job: JobId, grace: Millis, now: Millis, effects: &mut Vec<Effect>) {
        let bid_again = self.settings.bid_again;
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.bid_after = Some(now + bid_again);
        self.agenda.touch(entry.rank());
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
        let (arbiter, rank) = (entry.job.arbiter().1, entry.rank());
        let Some(holding) = &mut entry.holding else { return };
        if arbiter != from || holding.run.token != item.token {
            return;
        }
        self.agenda.touch(rank);
        match item.answer {
            Answer::Confirmed { .. } if holding.kind == GrantKind::Held => {}
            Answer::Confirmed { lease_ms } => {
                let from = if mutation::is_on(Mutation::LeaseFromTheAnswer) { now } else { sent };
                let until = from + Millis(lease_ms).min(holding.lease);
                self.late += u64::from(until <= now);
                let newer = holding.confirmed_until.is_none_or(|before| until > before);
                if newer && until > now {
                    holding.confirmed_until = Some(until);
                    if let Stage::Running { .. } = holding.stage {
                        effects.push(Effect::Extend { run: holding.run, deadline: until });
                    }
                }
            }
            Answer::Cancel => self.end(item.job, StopReason::Cancelled, effects),
            Answer::Replaced => {
                entry.refused = Some(item.token);
                self.end(item.job, StopReason::Replaced, effects);
            }
            Answer::Settled => self.settled_elsewhere(item.job, effects),
            // it is renewed until its settle or a higher token is seen: a successor may lack the report
            Answer::Reported => {}
            // what opened the newer epoch comes with the message, and the job is seen anew
            Answer::HandedOver { .. } | Answer::Unknown => {}
        }
    }

    /// The settle is known before it is replicated: the run ends, and a report that is durable need not be renewed.
    fn settled_elsewhere(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        self.end(id, StopReason::Cancelled, effects);
        if let Some(entry) = self.entries.get_mut(&id)
            && let Some(holding) = &entry.holding
            && matches!(holding.stage, Stage::Finished { .. })
            && entry.is_reported(holding.run)
        {
            entry.holding = None;
        }
    }

    /// Asks for the Done of a run that ended, and lets go what is reported and need not be renewed. A finished leased
    /// term is renewed until its settle or a higher token is seen, so that a report on its way is not taken for a loss.
    fn report(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(holding) = &entry.holding else { return };
        let Stage::Finished { report } = &holding.stage else { return };
        let (run, renewed, reported) = (holding.run, holding.is_renewed(), entry.is_reported(holding.run));
        if reported || !(holding.is_by_rank() || entry.job.grants.contains_key(&run.token)) {
            if !reported || !renewed {
                entry.holding = None;
            }
            return;
        }
        if entry.is_asked(Asked::Done, now) || entry.numbers_left(self.node) == 0 {
            return;
        }
        let action = Action::Done(done(&entry.job, run, report.clone()));
        entry.ask(Asked::Done);
        effects.push(Effect::Sign { job: id, kind: Asked::Done, action, why: "its run ended".into() });
    }
}

/// The Done of a run within the bounds of its wire form; a private job tells nothing but its outcome.
fn done(job: &Job, run: RunId, mut report: RunReport) -> Done {
    if job.create.spec.privacy == Privacy::Private {
        report.digests = Digests::default();
        report.tail.clear();
    }
    cut(&mut report.reason);
    keep_end(&mut report.tail);
    Done {
        job: run.job,
        seq: Seq(0),
        epoch: run.token.epoch,
        term: run.token.term,
        outcome: report.outcome,
        digests: report.digests,
        tail: report.tail,
        reason: report.reason,
        duration_ms: report.duration_ms,
    }
}

pub(super) fn cut(reason: &mut String) {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
}

fn keep_end(tail: &mut String) {
    tail.drain(..tail.ceil_char_boundary(tail.len().saturating_sub(TAIL_BYTES_MAX)));
}

/// A higher token was granted, or this one to another node, or an epoch was opened whose `last` is below this term, so
/// that its grant is no more, or by a takeover that gives this term up.
fn is_replaced(entry: &Entry, run: RunId) -> bool {
    // one that started by rank gives way to a granted run that is done
    if run.token.term == Term(0) {
        let done = entry.job.result().filter(|(_, report)| report.outcome != RunOutcome::Lost);
        return done.is_some_and(|(token, _)| token.term > Term(0));
    }
    let abandoned = entry.is_abandoned(run.token) && !mutation::is_on(Mutation::StartsAbandoned);
    let higher = entry.job.holder().is_some_and(|(token, _)| token > run.token) || abandoned;
    // another grant of the same token counts where its tree is smaller
    higher || entry.job.grants.get(&run.token).is_none_or(|granted| granted.node != run.node)
}

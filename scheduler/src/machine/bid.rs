//! The machine as bidder: offers to run what waits, and by rank starts what its arbiter does not decide.

use cobs::id::{JobId, RunId, Seq, Term, Token};
use cobs::job::action::{Action, Bid, GrantKind};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Mode;
use cobs::job::state::Status;

use super::agenda::Room;
use super::entry::{Entry, Holding, Stage};
use super::holder::cut;
use super::mutation::{self, Mutation};
use super::settings::Millis;
use super::{Asked, Effect, Machine};
use crate::place::Verdict;

/// Sequence numbers that a worker keeps for its reports instead of bids.
const NUMBERS_KEPT_FOR_REPORTS: u32 = 64;

impl Machine {
    /// Offers to run a job that waits, while this node has room for it.
    pub(super) fn bid(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let node = self.node;
        let Some(entry) = self.entries.get(&id) else { return };
        let job = &entry.job;
        let waits = job.status() == Status::Queued && job.cancels.is_empty() && job.create.workers.contains(&node);
        let spent = entry.numbers_left(node) <= NUMBERS_KEPT_FOR_REPORTS;
        let too_soon = entry.bid_after.is_some_and(|after| after > now);
        // whether a later job replaces it is its arbiter's to say, who may not know of that one
        let idle = !waits || spent || too_soon || job.arbiter().1 == node;
        if idle || entry.is_asked(Asked::Bid, now) || entry.is_bid_by(node) {
            return;
        }
        // a failed bid counts as open already
        let free = self.agenda.has(Room::Bid);
        let room = free || entry.asked.contains_key(&Asked::Bid);
        let verdict = if room { self.verdict(entry) } else { Verdict::Busy { reason: String::new() } };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Verdict::Feasible { score, parts } = verdict else {
            entry.wants = (!free).then_some(Room::Bid);
            return;
        };
        let mut reason = parts.iter().map(|part| part.reason.as_str()).collect::<Vec<_>>().join("; ");
        cut(&mut reason);
        let action = Action::Bid(Bid { job: id, seq: Seq(0), score, reason });
        entry.ask(Asked::Bid);
        entry.bid_at = Some(now);
        effects.push(Effect::Sign { job: id, kind: Asked::Bid, action, why: "it can run here".into() });
    }

    /// Starts an idempotent job without a grant once its arbiter has been silent for as long as this node's rank asks.
    /// What it may hold of a leased grant that nobody confirms gives way.
    pub(super) fn start_by_rank(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        if self.by_rank_at(entry).is_none_or(|at| at > now) {
            return;
        }
        // what it waits with now makes room
        let room = self.agenda.has(Room::Slot) || entry.uses_slot(&self.settings, now);
        match self.verdict(entry) {
            Verdict::Infeasible { .. } => return,
            Verdict::Feasible { .. } | Verdict::Busy { .. } if room => {}
            Verdict::Feasible { .. } | Verdict::Busy { .. } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.wants = Some(Room::Slot);
                }
                return;
            }
        }
        let lease = self.settings.lease;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(waiting) = entry.holding.as_ref().filter(|holding| matches!(holding.stage, Stage::Waiting)) {
            effects.push(Effect::Discard { run: waiting.run });
        }
        let token = Token { epoch: entry.job.arbiter().0, term: Term(0) };
        let run = RunId { job: id, token, node: self.node };
        let (kind, stage) = (GrantKind::Held, Stage::Waiting);
        entry.holding =
            Some(Holding { run, kind, lease, prepared: false, taken_at: now, confirmed_until: None, stage });
        effects.push(Effect::Prepare { run });
    }

    /// When this node may start the job by rank; none while somebody decides about it or runs it, or nobody may.
    pub(super) fn by_rank_at(&self, entry: &Entry) -> Option<Millis> {
        let job = &entry.job;
        let (epoch, arbiter) = job.arbiter();
        let lost = job.result().is_none_or(|(_, report)| report.outcome == RunOutcome::Lost);
        let open = job.status() != Status::Settled && lost && job.cancels.is_empty();
        // what nobody confirms any more, or was given back, holds nothing up
        let free_at = entry.holding.as_ref().map_or(Some(Millis(0)), |holding| match &holding.stage {
            Stage::Waiting if holding.kind == GrantKind::Leased => Some(holding.confirmed_until.unwrap_or_default()),
            Stage::Waiting | Stage::Running { .. } => None,
            // what the job holds counts: a runner may have said another end since
            Stage::Finished { .. } => {
                let report = entry.report_of(holding.run)?;
                [RunOutcome::Released, RunOutcome::Lost].contains(&report.outcome).then_some(Millis(0))
            }
        })?;
        let tried = job.self_started.contains_key(&(epoch, self.node));
        let decided = entry.shown || arbiter == self.node;
        if job.create.mode != Mode::Idempotent || !open || tried || decided {
            return None;
        }
        self.away_at(entry).map(|at| at.max(free_at))
    }

    /// When the job's arbiter counts as away for this node's rank.
    fn away_at(&self, entry: &Entry) -> Option<Millis> {
        if mutation::is_on(Mutation::StartsByRankAtOnce) {
            return Some(Millis(0));
        }
        let (_, arbiter) = entry.job.arbiter();
        let rank = u64::try_from(entry.job.rank(self.node)?).unwrap_or(u64::MAX).saturating_add(1);
        let heard = self.heard.get(&arbiter).copied().unwrap_or_default();
        let silent_since = entry.arbiter_wrote.max(entry.epoch_seen).max(heard);
        let wait = Millis(self.settings.hold_off.0.saturating_mul(rank));
        Some(silent_since + wait)
    }

    /// Lets a run by rank go that has not started when its arbiter is heard again: it decides.
    pub(super) fn yield_to_arbiter(&mut self, id: JobId, now: Millis, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(holding) = &entry.holding else { return };
        let waits = holding.is_by_rank() && matches!(holding.stage, Stage::Waiting);
        if waits && self.away_at(entry).is_none_or(|at| at > now) {
            effects.push(Effect::Discard { run: holding.run });
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.holding = None;
            }
        }
    }
}

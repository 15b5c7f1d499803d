//! When a job may be granted again: what its arbiter, an arbiter that restarted or a successor must wait for first, and
//! how the retry policy of the job goes on from there.

use cobs::id::{Epoch, NodeId, Term, Token};
use cobs::job::action::GrantKind;
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::{Mode, Retry, RetryPlace};
use cobs::job::state::{HandOver, Status};

use super::entry::{Confirmed, Entry};
use super::mutation::{self, Mutation};
use super::settings::{LEASE_MAX, Millis, Settings, wait_after};

/// The longest wait between two attempts where a job names none.
const BACKOFF_MAX: Millis = Millis(3_600_000);
/// Most doublings of it.
const BACKOFF_DOUBLINGS_MAX: u32 = 32;

/// What keeps a successor, or an arbiter that was away, from granting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Back {
    /// Grants of an earlier arbiter that are not here yet.
    Grants,
    /// A term of an earlier arbiter that never ends by time.
    Held,
    /// A run may be alive until then.
    Until(Millis),
}

impl Entry {
    /// When no run of the newest term can be alive any more; none while it was never confirmed, and for a held one.
    pub fn over_at(&self, settings: &Settings) -> Option<Millis> {
        let leased = self.job.holder().is_some_and(|(_, granted)| granted.kind == GrantKind::Leased);
        match self.term.map(|term| term.confirmed)? {
            Confirmed::Never => None,
            _ if !leased => None,
            Confirmed::Perhaps { before } if mutation::is_on(Mutation::RestartWaitsNothing) => Some(before),
            Confirmed::Perhaps { before } if mutation::is_on(Mutation::RestartWaitsTheBareLease) => {
                Some(before + Millis(self.job.longest_lease_ms().unwrap_or(0)))
            }
            Confirmed::Perhaps { before: at } | Confirmed::At(at) => {
                // one that has not started and asks is confirmed once the wait is over
                let asked = self.term.and_then(|term| term.asked_early).map(|at| at + settings.grant_wait);
                Some((at + self.wait(settings)).max(asked.unwrap_or_default()))
            }
        }
    }

    /// The wait after a confirmation, by the longest lease that was granted.
    fn wait(&self, settings: &Settings) -> Millis {
        let granted = Millis(self.job.longest_lease_ms().unwrap_or(0));
        wait_after(if mutation::is_on(Mutation::WaitsByItsOwnSetting) { settings.lease } else { granted })
    }

    /// Whether the newest term has no report and can have no run any more.
    pub fn is_over(&self, settings: &Settings, now: Millis) -> bool {
        let Some((token, granted)) = self.job.holder() else { return false };
        // one that is about to be confirmed is not given up meanwhile
        let open = self.is_forbidden(token) || self.confirming.contains_key(&token);
        if self.job.status() != Status::Granted || open {
            return false;
        }
        match granted.kind {
            GrantKind::Held if mutation::is_on(Mutation::ReplacesHeld) => true,
            GrantKind::Held => self.is_abandoned(token),
            GrantKind::Leased if mutation::is_on(Mutation::GivesUpWithoutWaiting) => {
                self.term.is_some_and(|term| term.confirmed != Confirmed::Never)
            }
            GrantKind::Leased => self.over_at(settings).is_some_and(|at| at <= now),
        }
    }

    /// Whether a takeover gives up a held term, by the word of who forced it.
    pub fn is_abandoned(&self, token: Token) -> bool {
        self.job.epochs.iter().any(|opened| match &opened.by {
            Some(HandOver::Takeover(takeover)) => opened.epoch > token.epoch && takeover.abandoned == Some(token.term),
            Some(HandOver::StepDown(_)) | None => false,
        })
    }

    /// Whether nobody ever confirms a term: by this node's durable note, unless another has been its arbiter since.
    pub fn is_forbidden(&self, token: Token) -> bool {
        self.noted.contains(&token) && self.is_own(token)
    }

    /// Whether this node stopped confirming a term, its note being durable or not.
    pub fn is_stopped(&self, token: Token) -> bool {
        self.never_confirm.contains(&token) && self.is_own(token)
    }

    fn is_own(&self, token: Token) -> bool {
        token.epoch == self.job.arbiter().0 || self.is_known_unconfirmed(token)
    }

    /// Whether the arbiter before this one said that it never confirmed a term.
    pub fn is_known_unconfirmed(&self, token: Token) -> bool {
        match self.job.epochs.last().and_then(|opened| opened.by.as_ref()) {
            Some(HandOver::StepDown(step)) => step.unconfirmed && step.last == token.term,
            Some(HandOver::Takeover(_)) | None => false,
        }
    }

    /// What keeps this arbiter from a further grant and from confirming a first start, because it cannot know all that
    /// was confirmed before it: nothing in the first epoch, where [`Entry::over_at`] says it all.
    pub fn held_back(&self, settings: &Settings, now: Millis) -> Option<Back> {
        let opened = self.job.epochs.last().filter(|opened| opened.epoch > Epoch(0))?;
        if mutation::is_on(Mutation::SuccessorWaitsNothing) {
            return None;
        }
        let known = self.job.grants.keys().filter(|token| token.term <= opened.last).count();
        if u32::try_from(known).unwrap_or(u32::MAX) < opened.last.0 {
            return Some(Back::Grants);
        }
        let open = self.job.holder().filter(|(token, _)| {
            token.epoch < opened.epoch && !self.job.dones.contains_key(token) && !self.is_abandoned(*token)
        });
        if open.is_some_and(|(_, granted)| granted.kind == GrantKind::Held) {
            return Some(Back::Held);
        }
        self.back_at(settings).filter(|at| *at > now).map(Back::Until)
    }

    /// When a run that an earlier arbiter confirmed is over; none when there can be none.
    pub fn back_at(&self, settings: &Settings) -> Option<Millis> {
        let newest = self.job.arbiter().0;
        let last_granted = self.job.holder().map(|(token, _)| token);
        let forced =
            self.job.epochs.iter().filter(|opened| last_granted.is_none_or(|token| token.epoch < opened.epoch));
        let forced = forced.filter_map(|opened| match &opened.by {
            // a grant above its `last` may have been confirmed, so every job counts as having had a holder
            Some(HandOver::Takeover(takeover)) => Some(takeover.lease_ms.map_or(LEASE_MAX, Millis)),
            Some(HandOver::StepDown(_)) | None => None,
        });
        let stepped = last_granted.filter(|token| {
            token.epoch < newest && !self.job.dones.contains_key(token) && !self.is_known_unconfirmed(*token)
        });
        let stepped = stepped.and(self.job.longest_lease_ms()).map(Millis);
        let lease = forced.chain(stepped).max()?;
        Some(self.epoch_seen + self.wait(settings).max(wait_after(lease)))
    }

    /// Whether its own first grant of an idempotent job must wait, since a worker may have started it by rank while this
    /// arbiter was away, or goes on with it.
    pub fn may_run_by_rank(&self, settings: &Settings, now: Millis) -> bool {
        self.job.create.mode == Mode::Idempotent && self.by_rank_until(settings).is_some_and(|at| at > now)
    }

    /// Until when that is so, as far as is known.
    pub fn by_rank_until(&self, settings: &Settings) -> Option<Millis> {
        if self.job.create.mode != Mode::Idempotent {
            return None;
        }
        let away = self.was_away.then_some(self.epoch_seen);
        self.by_rank.values().copied().chain(away).max().map(|at| at + wait_after(settings.lease))
    }

    /// Runs that took place, or may have: those reported, and terms that passed without a report after a confirmation
    /// that was given, or may have been.
    pub fn attempts_used(&self, settings: &Settings, now: Millis) -> u32 {
        let newest = self.job.holder().map(|(token, _)| token);
        let lost = self.job.grants.keys().filter(|token| {
            let silent = !self.job.dones.contains_key(token) && !self.is_forbidden(**token);
            silent && (newest > Some(**token) || self.is_over(settings, now))
        });
        self.job.attempts_used() + u32::try_from(lost.count()).unwrap_or(u32::MAX)
    }

    /// Whether the job's attempts and its policy allow a further term after how the last one ended; none is known of
    /// one that was lost.
    pub fn may_try_again(&self, ended: Option<&RunOutcome>, settings: &Settings, now: Millis) -> bool {
        let spec = &self.job.create.spec;
        let left = self.attempts_used(settings, now) < spec.attempts || mutation::is_on(Mutation::IgnoresAttempts);
        let worth = ended.is_none_or(|outcome| is_worth(outcome, spec.retry.as_ref()));
        left && worth && self.cancel_seen.is_none()
    }

    /// The end of the wait between the last attempt and the next one; none when nothing has ended.
    pub fn retry_at(&self, settings: &Settings) -> Option<Millis> {
        let (token, ended) = match self.result_seen {
            Some(seen) => seen,
            None => (self.job.holder()?.0, self.over_at(settings)?),
        };
        let used = self.attempts_used(settings, ended).max(1);
        Some(ended + backoff(self.job.create.spec.retry.as_ref(), used, jitter(self.job.id.0.as_ref(), token)))
    }

    /// The node of the last attempt: of the newest term that was neither given back nor left unconfirmed for good.
    pub fn tried_last_by(&self, settings: &Settings, now: Millis) -> Option<NodeId> {
        let newest = self.job.holder().map(|(token, _)| token);
        let tried = |token: &Token| match self.job.dones.get(token) {
            Some(report) => report.outcome != RunOutcome::Released,
            None => !self.is_forbidden(*token) && (Some(*token) < newest || self.is_over(settings, now)),
        };
        self.job.grants.iter().rev().find(|(token, _)| tried(token)).map(|(_, granted)| granted.node)
    }

    /// Whether the job's policy lets the next attempt be made by a node; the first may be made by any.
    pub fn place_allows(&self, node: NodeId, settings: &Settings, now: Millis) -> bool {
        let place = self.job.create.spec.retry.as_ref().map(|retry| retry.place).unwrap_or_default();
        self.tried_last_by(settings, now).is_none_or(|last| match place {
            RetryPlace::Any => true,
            RetryPlace::SameNode => node == last,
            RetryPlace::OtherNode => node != last,
        })
    }

    /// The highest term so far, over all epochs.
    pub fn last_term(&self) -> Term {
        let opened = self.job.epochs.last().map_or(Term(0), |opened| opened.last);
        self.job.grants.keys().map(|token| token.term).max().unwrap_or_default().max(opened)
    }
}

/// Whether another attempt may end otherwise. A policy that names exit codes says nothing of runs that did not exit.
fn is_worth(outcome: &RunOutcome, retry: Option<&Retry>) -> bool {
    match outcome {
        RunOutcome::Exited { code: 0 } => false,
        RunOutcome::Exited { code } => {
            retry.is_none_or(|retry| retry.exit_codes.is_empty() || retry.exit_codes.contains(code))
        }
        RunOutcome::Cancelled => mutation::is_on(Mutation::RetriesCancelled),
        RunOutcome::Signalled { .. }
        | RunOutcome::OutOfMemory
        | RunOutcome::TimedOut
        | RunOutcome::CouldNotStart
        | RunOutcome::Lost
        | RunOutcome::Released => true,
    }
}

/// The wait before the attempt after `used`: doubled for each, and then between a half and the whole of it by chance, so
/// that jobs that failed together do not come back together.
fn backoff(retry: Option<&Retry>, used: u32, chance: u64) -> Millis {
    let Some(retry) = retry.filter(|retry| retry.backoff_ms > 0) else { return Millis(0) };
    let most = if retry.backoff_max_ms == 0 { BACKOFF_MAX } else { Millis(retry.backoff_max_ms) };
    let whole = Millis(retry.backoff_ms).doubled(used.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX)).min(most);
    Millis(whole.0 - chance % (whole.0 / 2 + 1))
}

/// A number that differs from job to job and from term to term, the same in every life of the arbiter.
fn jitter(job: &[u8], token: Token) -> u64 {
    let seed = u64::from(token.epoch.0) << 32 | u64::from(token.term.0);
    job.iter().fold(seed, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::{Millis, Retry, RetryPlace, RunOutcome, backoff, is_worth};

    fn retry(backoff_ms: u64, backoff_max_ms: u64) -> Retry {
        Retry { place: RetryPlace::Any, backoff_ms, backoff_max_ms, exit_codes: [3].into() }
    }

    #[test]
    fn a_wait_doubles_up_to_its_bound_and_differs_by_half() {
        let waits = |used, chance| backoff(Some(&retry(1_000, 5_000)), used, chance).0;
        assert_eq!([1, 2, 3, 4, 99].map(|used| waits(used, 0)), [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert!((0..10_000).map(|chance| waits(2, chance)).all(|wait| (1_000..=2_000).contains(&wait)));
        assert_ne!(waits(2, 1), waits(2, 2));
        assert_eq!(backoff(Some(&retry(1, 0)), u32::MAX, 0), Millis(3_600_000));
        assert_eq!(backoff(None, 1, 7), Millis(0));
    }

    #[test]
    fn exit_codes_choose_among_exits_alone() {
        let named = retry(0, 0);
        for (outcome, by_default, by_code) in [
            (RunOutcome::Exited { code: 0 }, false, false),
            (RunOutcome::Exited { code: 3 }, true, true),
            (RunOutcome::Exited { code: 4 }, true, false),
            (RunOutcome::Signalled { signal: 9 }, true, true),
            (RunOutcome::Lost, true, true),
            (RunOutcome::Cancelled, false, false),
        ] {
            assert_eq!((is_worth(&outcome, None), is_worth(&outcome, Some(&named))), (by_default, by_code));
        }
    }
}

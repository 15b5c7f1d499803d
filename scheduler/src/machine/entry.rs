//! What the machine remembers of one job: as its arbiter, as a bidder, and as the holder of a grant.

mod holding;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Seq, Term, Token};
use cobs::job::action::GrantKind;
use cobs::job::state::{Granted, Job, Report, Status};

pub(super) use holding::{Holding, Stage};

use super::agenda::{Count, Plan, Rank, Room};
use super::mutation::{self, Mutation};
use super::settings::{Millis, Settings};
use super::wire::{Phase, RenewalItem};
use super::{Asked, JobSeen, Note, Origin};

/// Most doublings of the wait after an operation that could not be written.
const RETRY_DOUBLINGS_MAX: u32 = 6;
/// Most doublings of the wait after a grant that nobody took: then a job's numbers last for weeks.
const GRANT_DOUBLINGS_MAX: u32 = 10;

/// One unsettled job, or a settled one that still has a run here.
#[derive(Debug)]
pub(super) struct Entry {
    pub job: Arc<Job>,
    pub created_ms: u64,
    /// Tokens that are not confirmed any more: the note for them is durable, or being written.
    pub never_confirm: BTreeSet<Token>,
    /// Those of them whose note is durable, so that another term may be granted.
    pub noted: BTreeSet<Token>,
    /// Tokens of which a durable note says that this node may have confirmed them.
    pub confirmed: BTreeSet<Token>,
    /// Tokens that were there when it could not be known what was noted.
    pub doubtful: BTreeSet<Token>,
    /// First confirmations that wait for that note, with the question that they answer.
    pub confirming: BTreeMap<Token, Question>,
    /// Operations under way, or failed.
    pub asked: BTreeMap<Asked, Tried>,
    pub holding: Option<Holding>,
    /// A token of this node that its arbiter will not confirm.
    pub refused: Option<Token>,
    pub superseded_by: Option<JobId>,
    /// When this node bid for it last. A bid keeps room only for a while: its arbiter may be gone.
    pub bid_at: Option<Millis>,
    /// Not to be bid for before this time, since this node gave it back.
    pub bid_after: Option<Millis>,
    pub first_seen: Millis,
    pub queued_since: Millis,
    pub first_bid_at: Option<Millis>,
    /// The grant that is being signed.
    pub granting: Option<(NodeId, Token)>,
    pub term: Option<TermSeen>,
    pub cancel_seen: Option<Millis>,
    /// A leased term was confirmed, or a grant held.
    pub started: bool,
    /// Nodes that did not ask to confirm a grant, or whose lease passed, and were not heard since.
    pub passed_over: BTreeSet<NodeId>,
    /// When this life saw the newest epoch.
    pub epoch_seen: Millis,
    /// This life of the node, or its time as the job's arbiter, began when the job was there already.
    pub was_away: bool,
    /// A term that passed without a report, whose holder was passed over for it.
    pub given_up: Option<Token>,
    /// Its newest epoch is not stored yet.
    pub shown: bool,
    /// To whom an operator wants it handed over.
    pub hand_over_to: Option<NodeId>,
    /// When the result that a settle would name was first seen, by its token.
    pub result_seen: Option<(Token, Millis)>,
    /// When its arbiter's last operation was seen.
    pub arbiter_wrote: Millis,
    /// Runs that started by rank, by when they were last renewed here.
    pub by_rank: BTreeMap<NodeId, Millis>,
    /// The room on this node that alone it waits for, by the last look.
    pub wants: Option<Room>,
}

/// A holder's question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub from: NodeId,
    pub number: u64,
    pub item: RenewalItem,
}

/// An operation that was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    /// When it is asked for again; none while it is under way.
    pub again: Option<Millis>,
    failures: u32,
}

/// What the arbiter knows of the term with the highest token.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermSeen {
    pub token: Token,
    pub seen_at: Millis,
    pub confirmed: Confirmed,
    /// Where its run stood when its holder last asked.
    pub phase: Phase,
    /// When its holder last asked for a first start that this arbiter may not confirm yet.
    pub asked_early: Option<Millis>,
}

/// Whether a term was ever confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Confirmed {
    /// It never was.
    Never,
    /// An earlier life of this node may have done so, for the last time before this life began.
    Perhaps { before: Millis },
    /// For the last time then.
    At(Millis),
}

impl Entry {
    pub fn new(seen: JobSeen, me: NodeId, now: Millis) -> Self {
        let mut entry = Self {
            job: Arc::clone(&seen.job),
            created_ms: seen.created_ms,
            never_confirm: BTreeSet::new(),
            noted: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            confirming: BTreeMap::new(),
            asked: BTreeMap::new(),
            holding: None,
            refused: None,
            superseded_by: None,
            bid_at: None,
            bid_after: None,
            first_seen: now,
            queued_since: now,
            first_bid_at: None,
            granting: None,
            term: None,
            cancel_seen: None,
            started: false,
            passed_over: BTreeSet::new(),
            epoch_seen: now,
            was_away: seen.origin == Origin::Start,
            given_up: None,
            shown: false,
            hand_over_to: None,
            result_seen: None,
            arbiter_wrote: now,
            by_rank: BTreeMap::new(),
            wants: None,
        };
        if seen.unknown {
            entry.doubtful = seen.job.grants.keys().copied().collect();
        }
        entry.update(seen, me, now);
        entry
    }

    pub fn update(&mut self, seen: JobSeen, me: NodeId, now: Millis) {
        let was = self.job.status();
        let before = std::mem::replace(&mut self.job, seen.job);
        self.shown = seen.shown;
        for (note, token) in seen.notes {
            self.take_note(note, token);
        }
        if seen.unknown && seen.origin == Origin::Start {
            self.forget(now);
        }
        let (epoch, arbiter) = self.job.arbiter();
        if before.last_seq.get(&arbiter) != self.job.last_seq.get(&arbiter) {
            self.arbiter_wrote = now;
        }
        // another operation may open the same epoch: a takeover outranks a step-down
        if before.epochs.last() != self.job.epochs.last() {
            self.epoch_seen = now;
            self.was_away = true;
            self.hand_over_to = None;
            // what another arbiter confirmed is not known here
            let known = self.term.map(|term| self.confirmed_before(term.token, me, now));
            if let (Some(term), Some(known), true) = (&mut self.term, known, arbiter == me) {
                term.confirmed = known;
            }
        }
        let result = self.job.result().map(|(token, _)| token);
        if self.result_seen.map(|(token, _)| token) != result {
            self.result_seen = result.map(|token| (token, now));
        }
        if self.job.status() == Status::Queued && was != Status::Queued {
            self.queued_since = now;
            self.first_bid_at = None;
        }
        if self.first_bid_at.is_none() && self.job.standing_bids().next().is_some() {
            self.first_bid_at = Some(now);
        }
        if self.cancel_seen.is_none() && !self.job.cancels.is_empty() {
            self.cancel_seen = Some(now);
        }
        if let Some((token, granted)) = self.job.holder() {
            let inherited = arbiter == me && token.epoch < epoch && !self.is_known_unconfirmed(token);
            self.started |= granted.kind == GrantKind::Held || inherited;
            if self.term.is_none_or(|term| term.token != token) {
                let confirmed = self.confirmed_before(token, me, now);
                let (seen_at, phase) = (now, Phase::Waiting);
                self.term = Some(TermSeen { token, seen_at, confirmed, phase, asked_early: None });
            }
        }
        self.started |= !self.confirmed.is_empty() || !self.doubtful.is_empty();
    }

    /// What this life knew is not to be relied on any more: the home's state was lost.
    fn forget(&mut self, now: Millis) {
        self.doubtful.extend(self.job.grants.keys());
        (self.epoch_seen, self.was_away) = (now, true);
        if let Some(term) = self.term.as_mut().filter(|term| term.confirmed == Confirmed::Never) {
            term.confirmed = Confirmed::Perhaps { before: now };
        }
    }

    /// What this life knows of confirmations of a term that it sees for the first time.
    fn confirmed_before(&self, token: Token, me: NodeId, now: Millis) -> Confirmed {
        let (epoch, arbiter) = self.job.arbiter();
        let said = self.confirmed.contains(&token) || self.doubtful.contains(&token);
        let noted = said && !self.is_forbidden(token);
        let own = noted && !mutation::is_on(Mutation::ForgetsConfirmations);
        if own || (arbiter == me && token.epoch < epoch && !self.is_known_unconfirmed(token)) {
            Confirmed::Perhaps { before: now }
        } else {
            Confirmed::Never
        }
    }

    pub fn take_note(&mut self, note: Note, token: Token) {
        match note {
            Note::NeverConfirm => {
                self.never_confirm.insert(token);
                self.noted.insert(token);
            }
            Note::Confirmed => {
                self.confirmed.insert(token);
            }
        }
    }

    pub fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.job.create.spec.priority), created_ms: self.created_ms, job: self.job.id }
    }

    pub fn plan(&self, me: NodeId, settings: &Settings, now: Millis) -> Plan {
        let waits = self.job.status() == Status::Queued && self.job.create.workers.contains(&me);
        let keeps_room = self.bid_at.is_some_and(|at| at + settings.grant_wait > now);
        Plan {
            due: self.due(me, settings, now),
            wants: self.wants,
            slot: Count::when(|| self.uses_slot(settings, now) || self.granting.is_some_and(|(node, _)| node == me)),
            bid: Count::when(|| waits && keeps_room && (self.asked.contains_key(&Asked::Bid) || self.is_bid_by(me))),
            run: Count::when(|| self.holding.as_ref().is_some_and(Holding::is_started)),
        }
    }

    /// The highest grant, when it is this node's to run: unreported and not settled.
    pub fn grant_to(&self, node: NodeId) -> Option<(Token, Granted)> {
        let (token, granted) = self.job.holder()?;
        let open = self.job.status() == Status::Granted && granted.node == node;
        open.then_some((token, *granted))
    }

    /// Whether a bid of the node stands.
    pub fn is_bid_by(&self, node: NodeId) -> bool {
        self.job.bids.contains_key(&node) && self.job.standing_bids().any(|(bidder, _)| bidder == node)
    }

    /// Whether the operation is under way or was tried too short a time ago.
    pub fn is_asked(&self, kind: Asked, now: Millis) -> bool {
        self.asked.get(&kind).is_some_and(|tried| tried.again.is_none_or(|at| at > now))
    }

    /// Whether the operation is being written. One that failed never will be.
    pub fn is_under_way(&self, kind: Asked) -> bool {
        self.asked.get(&kind).is_some_and(|tried| tried.again.is_none())
    }

    pub fn ask(&mut self, kind: Asked) {
        self.asked.entry(kind).or_default().again = None;
    }

    pub fn ask_later(&mut self, kind: Asked, retry: Millis, now: Millis) {
        let tried = self.asked.entry(kind).or_default();
        tried.again = Some(now + retry.doubled(tried.failures.min(RETRY_DOUBLINGS_MAX)));
        tried.failures += 1;
    }

    /// Whether the job's state shows that an operation of this node was written.
    pub fn shows(&self, kind: Asked, me: NodeId) -> bool {
        match kind {
            Asked::Bid => self.job.status() != Status::Queued || self.is_bid_by(me),
            Asked::Grant => self.granting.is_none_or(|(_, token)| self.job.grants.contains_key(&token)),
            Asked::Done => self.holding.as_ref().is_none_or(|holding| self.is_reported(holding.run)),
            Asked::Settle => self.job.settled.is_some(),
            Asked::StepDown => self.job.arbiter().1 != me,
        }
    }

    /// How many sequence numbers are left to a node.
    pub fn numbers_left(&self, node: NodeId) -> u32 {
        self.job.last_seq.get(&node).map_or(Seq::MAX.0 + 1, |last| Seq::MAX.0.saturating_sub(last.0))
    }

    /// A grant held and unreported takes a slot; one that its arbiter does not confirm only for a while, since that
    /// arbiter may be gone.
    pub fn uses_slot(&self, settings: &Settings, now: Millis) -> bool {
        self.holding.as_ref().is_some_and(|holding| match &holding.stage {
            Stage::Waiting if holding.is_renewed() && holding.confirmed_until.is_none_or(|until| until <= now) => {
                holding.taken_at + settings.grant_wait > now
            }
            Stage::Waiting | Stage::Running { .. } => true,
            Stage::Finished { .. } => false,
        })
    }

    /// The nodes that this node's term of the job is renewed with; itself, where it arbitrates its own leased run.
    pub fn renewed_with(&self, me: NodeId) -> BTreeSet<NodeId> {
        let renewed = |holding: &Holding| {
            let finished = matches!(holding.stage, Stage::Finished { .. });
            holding.is_renewed() && !(finished && mutation::is_on(Mutation::NoRenewalAfterDone))
        };
        if !self.holding.as_ref().is_some_and(renewed) {
            return BTreeSet::new();
        }
        let newest = self.job.arbiter().1;
        let listed = self.job.create.arbiters.iter().copied();
        listed.filter(|node| *node != me).chain([newest]).collect()
    }

    /// From a grant to its replacement: longer with each round that all workers let pass.
    pub fn grant_wait(&self, settings: &Settings) -> Millis {
        let rounds = self.never_confirm.len() / self.job.create.workers.len().max(1);
        settings.grant_wait.doubled(u32::try_from(rounds).unwrap_or(u32::MAX).min(GRANT_DOUBLINGS_MAX))
    }

    /// Whether the report of a run is durable.
    pub fn is_reported(&self, run: RunId) -> bool {
        self.report_of(run).is_some()
    }

    /// What the job holds of the end of a run.
    pub fn report_of(&self, run: RunId) -> Option<&Report> {
        if run.token.term == Term(0) {
            return self.job.self_started.get(&(run.token.epoch, run.node));
        }
        self.job.dones.get(&run.token)
    }

    /// The arbiter's time for the first start.
    pub fn start_by(&self) -> Option<Millis> {
        self.job.create.spec.start_within_ms.map(|span| self.first_seen + Millis(span))
    }

    /// The next time at which something is to be looked at.
    fn due(&self, me: NodeId, settings: &Settings, now: Millis) -> Option<Millis> {
        let room_again = self.bid_at.map(|at| at + settings.grant_wait);
        let waiting = self.holding.as_ref().filter(|holding| matches!(holding.stage, Stage::Waiting));
        let slot_again = waiting.map(|holding| holding.taken_at + settings.grant_wait);
        let room_again = room_again.into_iter().chain(slot_again);
        let retries = self.asked.values().filter_map(|tried| tried.again).chain(self.bid_after).chain(room_again);
        let decides = (self.job.arbiter().1 == me).then(|| self.arbiter_due(settings)).into_iter().flatten();
        retries.chain(decides).filter(|at| *at > now).min()
    }

    fn arbiter_due(&self, settings: &Settings) -> Vec<Millis> {
        let unasked = self.term.filter(|term| term.confirmed == Confirmed::Never);
        let due = [
            self.first_bid_at.map(|at| at + settings.bid_window),
            Some(self.queued_since + settings.own_bid_wait),
            self.cancel_seen.map(|at| at + settings.cancel_wait),
            unasked.map(|term| term.seen_at + self.grant_wait(settings)),
            self.over_at(settings),
            self.retry_at(settings),
            self.by_rank_until(settings),
            self.start_by(),
        ];
        due.into_iter().flatten().chain(self.back_at(settings)).collect()
    }
}

//! What the machine remembers of one job: as its arbiter, as a bidder, and as the holder of a grant.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Seq, Token};
use cobs::job::action::GrantKind;
use cobs::job::state::{Granted, Job, Status};

use super::agenda::{Count, Plan, Rank, Room};
use super::settings::{Millis, Settings, wait_after};
use super::wire::Phase;
use super::{Asked, JobSeen, Origin, RunReport, StopReason};
use crate::place::Verdict;

/// Most doublings of the wait after an operation that could not be written, and after a grant that nobody took.
const DOUBLINGS_MAX: u32 = 6;

/// One unsettled job, or a settled one that still has a run here.
#[derive(Debug)]
pub(super) struct Entry {
    pub job: Arc<Job>,
    pub created_ms: u64,
    /// Tokens that are not confirmed any more: the note for them is durable, or being written.
    pub never_confirm: BTreeSet<Token>,
    /// Those of them whose note is durable, so that another term may be granted.
    pub noted: BTreeSet<Token>,
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
    /// Nodes that did not ask to confirm a grant and were not heard since.
    pub passed_over: BTreeSet<NodeId>,
    /// The room on this node that alone it waits for, by the last look.
    pub wants: Option<Room>,
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

/// A grant that this node holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub run: RunId,
    pub kind: GrantKind,
    pub lease: Millis,
    pub prepared: bool,
    pub confirmed_until: Option<Millis>,
    pub stage: Stage,
}

/// Where the run of a grant stands.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Waiting,
    Running { stopping: Option<StopReason> },
    Finished { report: RunReport },
}

impl Entry {
    pub fn new(seen: JobSeen, me: NodeId, now: Millis) -> Self {
        // grants of ours that this life did not make are those of an earlier one, whatever the driver says
        let made_here = seen.job.grants.len() <= usize::from(seen.job.create.grant.is_some());
        let earlier = seen.origin == Origin::Start || (seen.job.arbiter().1 == me && !made_here);
        let mut entry = Self {
            job: Arc::clone(&seen.job),
            created_ms: seen.created_ms,
            never_confirm: BTreeSet::new(),
            noted: BTreeSet::new(),
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
            wants: None,
        };
        entry.update(seen, now);
        if earlier && let Some(term) = &mut entry.term {
            term.confirmed = Confirmed::Perhaps { before: now };
            entry.started = true;
        }
        entry
    }

    pub fn update(&mut self, seen: JobSeen, now: Millis) {
        let was = self.job.status();
        self.job = seen.job;
        self.never_confirm.extend(seen.never_confirm.iter().copied());
        self.noted.extend(seen.never_confirm);
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
            self.started |= granted.kind == GrantKind::Held;
            if self.term.is_none_or(|term| term.token != token) {
                self.term = Some(TermSeen { token, seen_at: now, confirmed: Confirmed::Never, phase: Phase::Waiting });
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
            slot: Count::when(|| self.uses_slot() || self.granting.is_some_and(|(node, _)| node == me)),
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

    pub fn ask(&mut self, kind: Asked) {
        self.asked.entry(kind).or_default().again = None;
    }

    pub fn ask_later(&mut self, kind: Asked, retry: Millis, now: Millis) {
        let tried = self.asked.entry(kind).or_default();
        tried.again = Some(now + retry.doubled(tried.failures.min(DOUBLINGS_MAX)));
        tried.failures += 1;
    }

    /// Whether the job's state shows that an operation of this node was written.
    pub fn shows(&self, kind: Asked, me: NodeId) -> bool {
        match kind {
            Asked::Bid => self.job.status() != Status::Queued || self.is_bid_by(me),
            Asked::Grant => self.granting.is_none_or(|(_, token)| self.job.grants.contains_key(&token)),
            Asked::Done => self.holding.as_ref().is_none_or(|holding| self.job.dones.contains_key(&holding.run.token)),
            Asked::Settle => self.job.settled.is_some(),
        }
    }

    /// How many sequence numbers are left to a node.
    pub fn numbers_left(&self, node: NodeId) -> u32 {
        self.job.last_seq.get(&node).map_or(Seq::MAX.0 + 1, |last| Seq::MAX.0.saturating_sub(last.0))
    }

    /// A grant held and unreported takes a slot.
    pub fn uses_slot(&self) -> bool {
        self.holding.as_ref().is_some_and(|holding| !matches!(holding.stage, Stage::Finished { .. }))
    }

    /// The nodes that this node's term of the job is renewed with; itself, where it arbitrates its own leased run.
    pub fn renewed_with(&self, me: NodeId) -> BTreeSet<NodeId> {
        if self.holding.as_ref().is_none_or(|holding| holding.kind != GrantKind::Leased) {
            return BTreeSet::new();
        }
        let newest = self.job.arbiter().1;
        let listed = self.job.create.arbiters.iter().copied();
        listed.filter(|node| *node != me).chain([newest]).collect()
    }

    /// From a grant to its replacement: longer with each round that all workers let pass.
    pub fn grant_wait(&self, settings: &Settings) -> Millis {
        let rounds = self.never_confirm.len() / self.job.create.workers.len().max(1);
        settings.grant_wait.doubled(u32::try_from(rounds).unwrap_or(DOUBLINGS_MAX).min(DOUBLINGS_MAX))
    }

    /// When no run of a term that was last confirmed then can be alive any more.
    pub fn over_at(&self, confirmed: Millis) -> Millis {
        confirmed + wait_after(Millis(self.job.longest_lease_ms().unwrap_or(0)))
    }

    /// The arbiter's time for the first start.
    pub fn start_by(&self) -> Option<Millis> {
        self.job.create.spec.start_within_ms.map(|span| self.first_seen + Millis(span))
    }

    /// The next time at which something is to be looked at.
    fn due(&self, me: NodeId, settings: &Settings, now: Millis) -> Option<Millis> {
        let room_again = self.bid_at.map(|at| at + settings.grant_wait);
        let retries = self.asked.values().filter_map(|tried| tried.again).chain(self.bid_after).chain(room_again);
        let decides = (self.job.arbiter().1 == me).then(|| self.arbiter_due(settings)).into_iter().flatten().flatten();
        retries.chain(decides).filter(|at| *at > now).min()
    }

    fn arbiter_due(&self, settings: &Settings) -> [Option<Millis>; 5] {
        let term = self.term.map(|term| match term.confirmed {
            Confirmed::Never => term.seen_at + self.grant_wait(settings),
            Confirmed::Perhaps { before: at } | Confirmed::At(at) => self.over_at(at),
        });
        [
            self.first_bid_at.map(|at| at + settings.bid_window),
            Some(self.queued_since + settings.own_bid_wait),
            self.cancel_seen.map(|at| at + settings.cancel_wait),
            term,
            self.start_by(),
        ]
    }

    /// One sentence for people: what the job waits for.
    pub fn waits_for(&self, me: NodeId, verdict: &Verdict) -> String {
        let (_, arbiter) = self.job.arbiter();
        match self.job.status() {
            Status::Settled => "it is settled".into(),
            Status::Provisional => format!("waits for its arbiter {arbiter} to settle the result"),
            Status::Granted => match (&self.holding, self.job.holder()) {
                (Some(holding), _) => holding.waits_for(),
                (None, Some((token, granted))) if arbiter == me && self.is_doubtful() => format!(
                    "granted to {} as {token} before this node restarted; waits for that node to be heard again, or to be \
                     cancelled",
                    granted.node
                ),
                (None, Some(_)) => "waits for its holder to run it and to report".into(),
                (None, None) => "waits for a grant".into(),
            },
            Status::Queued if arbiter != me && self.job.create.workers.contains(&me) => {
                format!("waits for a grant by its arbiter {arbiter}; here {}", self.here(me, verdict))
            }
            Status::Queued if arbiter != me => format!("waits for a grant by its arbiter {arbiter}"),
            Status::Queued => {
                let bids = self.job.standing_bids().count();
                let workers = self.job.create.workers.len();
                format!("waits for a bid: {bids} of {workers} workers have bid; here {}", self.here(me, verdict))
            }
        }
    }

    /// Whether an earlier life of this node may have confirmed the newest term, and this one has not.
    fn is_doubtful(&self) -> bool {
        self.term.is_some_and(|term| matches!(term.confirmed, Confirmed::Perhaps { .. }))
    }

    /// How this node stands to a job that waits.
    fn here(&self, me: NodeId, verdict: &Verdict) -> String {
        let offered = self.job.standing_bids().any(|(node, _)| node == me);
        match verdict {
            Verdict::Feasible { .. } if self.wants == Some(Room::Bid) => {
                "it can run, and is offered once fewer offers are open".into()
            }
            Verdict::Feasible { .. } if self.bid_after.is_some() && !offered => {
                "it was given back, and is offered again after a pause".into()
            }
            Verdict::Feasible { score, .. } => format!("it can run (score {score})"),
            Verdict::Busy { reason } => reason.clone(),
            Verdict::Infeasible { reasons } => format!("it cannot run: {}", reasons.join("; ")),
        }
    }
}

impl Holding {
    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::Waiting => Phase::Waiting,
            Stage::Running { .. } => Phase::Running,
            Stage::Finished { .. } => Phase::Finished,
        }
    }

    pub fn is_started(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    pub fn is_unconfirmed(&self) -> bool {
        matches!(self.stage, Stage::Waiting) && self.confirmed_until.is_none()
    }

    fn waits_for(&self) -> String {
        match &self.stage {
            Stage::Running { stopping: None } => "runs here".into(),
            Stage::Running { stopping: Some(_) } => "is being stopped here".into(),
            Stage::Finished { .. } => "ended here; its report is on its way".into(),
            Stage::Waiting if !self.prepared => "waits here for its source and inputs".into(),
            Stage::Waiting if self.kind == GrantKind::Leased && self.confirmed_until.is_none() => {
                "waits here for its arbiter's confirmation".into()
            }
            Stage::Waiting => "waits here for a free slot".into(),
        }
    }
}

//! What the machine remembers of one job: as its arbiter, as a bidder, and as the holder of a grant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::GrantKind;
use cobs::job::state::{Granted, Job, Status};

use super::settings::{Millis, Settings, wait_after};
use super::wire::{Phase, RenewalItem};
use super::{Asked, JobSeen, Origin, RunReport, StopReason};
use crate::place::Verdict;

/// One unsettled job, or a settled one that still has a run here.
#[derive(Debug)]
pub(super) struct Entry {
    pub job: Arc<Job>,
    pub created_ms: u64,
    /// Tokens that are not confirmed any more: the note for them is durable, or being written.
    pub never_confirm: BTreeSet<Token>,
    /// Those of them whose note is durable, so that another term may be granted.
    pub noted: BTreeSet<Token>,
    /// Operations under way; with a time: failed, and asked for again then.
    pub asked: BTreeMap<Asked, Option<Millis>>,
    pub holding: Option<Holding>,
    pub superseded_by: Option<JobId>,
    /// Not to be bid for before this time, since this node gave it back.
    pub bid_after: Option<Millis>,
    pub first_seen: Millis,
    pub queued_since: Millis,
    pub first_bid_at: Option<Millis>,
    /// To whom a grant is being signed.
    pub granting_to: Option<NodeId>,
    pub term: Option<TermSeen>,
    pub cancel_seen: Option<Millis>,
    /// A leased term was confirmed, or a grant held.
    pub started: bool,
}

/// What the arbiter knows of the term with the highest token.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermSeen {
    pub token: Token,
    pub seen_at: Millis,
    /// When a renewal of it was last answered with a confirmation; for a term of an earlier life, when that life's
    /// answers were last possible, which is this machine's start.
    pub received: Option<Millis>,
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
    pub fn new(seen: JobSeen, now: Millis) -> Self {
        let origin = seen.origin;
        let mut entry = Self {
            job: Arc::clone(&seen.job),
            created_ms: seen.created_ms,
            never_confirm: BTreeSet::new(),
            noted: BTreeSet::new(),
            asked: BTreeMap::new(),
            holding: None,
            superseded_by: None,
            bid_after: None,
            first_seen: now,
            queued_since: now,
            first_bid_at: None,
            granting_to: None,
            term: None,
            cancel_seen: None,
            started: false,
        };
        entry.update(seen, now);
        if origin == Origin::Start
            && let Some(term) = &mut entry.term
        {
            term.received = Some(now);
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
                self.term = Some(TermSeen { token, seen_at: now, received: None });
            }
        }
    }

    /// The highest grant, when it is this node's to run: unreported, and the job neither settled nor cancelled.
    pub fn grant_to(&self, node: NodeId) -> Option<(Token, Granted)> {
        let (token, granted) = self.job.holder()?;
        let open = self.job.status() == Status::Granted && granted.node == node;
        open.then_some((token, *granted))
    }

    /// Whether the operation is under way or was tried too short a time ago.
    pub fn is_asked(&self, kind: Asked, now: Millis) -> bool {
        self.asked.get(&kind).is_some_and(|again| again.is_none_or(|at| at > now))
    }

    /// A grant held and unreported takes a slot, and so does one that this node is giving itself.
    pub fn uses_slot_of(&self, node: NodeId) -> bool {
        self.uses_slot() || self.granting_to == Some(node)
    }

    pub fn uses_slot(&self) -> bool {
        self.holding.as_ref().is_some_and(|holding| !matches!(holding.stage, Stage::Finished { .. }))
    }

    /// The nodes that this node's term of the job is renewed with.
    pub fn renews_with(&self, me: NodeId) -> impl Iterator<Item = NodeId> {
        let leased = self.holding.as_ref().is_some_and(|holding| holding.kind == GrantKind::Leased);
        let newest = self.job.arbiter().1;
        let listed = self.job.create.arbiters.iter().copied();
        let all: BTreeSet<NodeId> = listed.chain([newest]).filter(|node| leased && *node != me).collect();
        all.into_iter()
    }

    pub fn renewal_item(&self, me: NodeId, peer: NodeId) -> Option<RenewalItem> {
        let holding = self.holding.as_ref()?;
        self.renews_with(me).any(|arbiter| arbiter == peer).then_some(RenewalItem {
            job: holding.run.job,
            token: holding.run.token,
            phase: holding.phase(),
        })
    }

    /// The times at which something is to be looked at again, some of them past.
    pub fn wakes(&self, settings: &Settings) -> impl Iterator<Item = Millis> {
        let retries = self.asked.values().flatten().copied();
        let term = self.term.map(|term| match term.received {
            Some(received) => received + wait_after(Millis(self.job.longest_lease_ms().unwrap_or(0))),
            None => term.seen_at + settings.grant_wait,
        });
        let within = self.job.create.spec.start_within_ms.map(|span| self.first_seen + Millis(span));
        let others = [
            self.first_bid_at.map(|at| at + settings.bid_window),
            Some(self.queued_since + settings.own_bid_wait),
            self.bid_after,
            self.cancel_seen.map(|at| at + settings.cancel_wait),
            term,
            within,
        ];
        retries.chain(others.into_iter().flatten()).collect::<Vec<_>>().into_iter()
    }

    /// One sentence for people: what the job waits for.
    pub fn waits_for(&self, me: NodeId, verdict: &Verdict) -> String {
        let (_, arbiter) = self.job.arbiter();
        match self.job.status() {
            Status::Settled => "it is settled".into(),
            Status::Provisional => format!("waits for its arbiter {arbiter} to settle the result"),
            Status::Granted => match (&self.holding, self.job.holder()) {
                (Some(holding), _) => holding.waits_for(),
                (None, Some((token, granted))) => {
                    format!("granted to {} as {token}; waits for its report", granted.node)
                }
                (None, None) => "waits for a grant".into(),
            },
            Status::Queued if arbiter != me && self.job.create.workers.contains(&me) => {
                format!("waits for a grant by its arbiter {arbiter}; here {}", verdict_words(verdict))
            }
            Status::Queued if arbiter != me => format!("waits for a grant by its arbiter {arbiter}"),
            Status::Queued => {
                let bids = self.job.standing_bids().count();
                let workers = self.job.create.workers.len();
                format!("waits for a bid: {bids} of {workers} workers have bid; here {}", verdict_words(verdict))
            }
        }
    }
}

fn verdict_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Feasible { score, .. } => format!("it can run (score {score})"),
        Verdict::Busy { reason } => reason.clone(),
        Verdict::Infeasible { reasons } => format!("it cannot run: {}", reasons.join("; ")),
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

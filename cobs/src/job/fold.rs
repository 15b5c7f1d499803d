//! What a history means: a pure function of the set of its operations and the ledger's accepted identity revisions.
//!
//! It never fails for an operation that means nothing, never looks at order or time, and leaves nothing to arrival:
//! what is ambiguous is decided by the smaller tree. Rules and numbers are in `cobs/PROTOCOL.md`.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Epoch, NodeId, RevisionId, Seq, Term, Token, TreeId};
use crate::job::action::{Action, ActionError, Create, Done, Grant, GrantKind, Settle};
use crate::job::history::{Content, Entry, History, OpId};
use crate::job::outcome::Settlement;
use crate::job::spec::Mode;
use crate::job::state::{EpochOpened, Granted, HandOver, Ignored, Job, NoJob, Report, Settled};

mod epochs;

/// Most hand-overs of one job that are followed.
pub const EPOCHS_MAX: u32 = 64;

/// The accepted revisions of the ledger's identity, oldest first, with the delegates of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Revision and delegates.
    pub accepted: Vec<(RevisionId, BTreeSet<NodeId>)>,
}

impl Identity {
    /// Whose operations count for a job that was evaluated: those it names, its arbiters, and the delegates since its pin.
    pub fn admitted(&self, job: &Job) -> BTreeSet<NodeId> {
        let mut admitted = job.named();
        admitted.extend(job.epochs.iter().map(|opened| opened.arbiter));
        let since = self.position(job.pin).unwrap_or_default();
        admitted.extend(self.accepted[since..].iter().flat_map(|(_, delegates)| delegates));
        admitted
    }

    fn position(&self, revision: RevisionId) -> Option<usize> {
        self.accepted.iter().position(|(id, _)| *id == revision)
    }
}

/// An action that passed what can be judged of it alone.
struct Candidate<'a> {
    id: OpId,
    action: &'a Action,
    /// Positions of the acceptable revisions that it pins.
    pins: BTreeSet<usize>,
}

/// The fold at work.
struct Fold<'a> {
    identity: &'a Identity,
    job: Job,
    base_pin: usize,
}

impl History {
    /// What the history means.
    ///
    /// # Errors
    /// Only for a root that is no job; no later operation can cause one.
    pub fn evaluate(&self, identity: &Identity) -> Result<Job, NoJob> {
        let (create, base_pin) = self.root(identity)?;
        let mut fold = Fold { identity, job: self.blank(create, identity.accepted[base_pin].0), base_pin };
        let candidates = fold.candidates(&self.ops);
        let candidates = fold.in_sequence(candidates);
        fold.open_epochs(&candidates);
        let candidates = fold.of_admitted(candidates);
        fold.grants(&candidates);
        fold.dones(&candidates);
        fold.settles(&candidates);
        fold.bids_and_cancels(&candidates);
        Ok(fold.job)
    }

    /// Whose operations count: those the root names, the delegates, and whoever a takeover made arbiter. Storage is
    /// read by the tips of these alone, again when the set has grown.
    ///
    /// # Errors
    /// As [`History::evaluate`].
    pub fn admitted(&self, identity: &Identity) -> Result<BTreeSet<NodeId>, NoJob> {
        let (create, base_pin) = self.root(identity)?;
        let mut fold = Fold { identity, job: self.blank(create, identity.accepted[base_pin].0), base_pin };
        let candidates = fold.candidates(&self.ops);
        let candidates = fold.in_sequence(candidates);
        fold.open_epochs(&candidates);
        Ok(fold.admitted())
    }

    fn root(&self, identity: &Identity) -> Result<(&Create, usize), NoJob> {
        let create = match &self.root.content {
            Content::Action(Action::Create(create)) => create,
            Content::Action(other) => return Err(NoJob::Unreadable(format!("it is a {}", other.name()))),
            Content::Many(count) => return Err(NoJob::Unreadable(format!("it holds {count} actions"))),
            Content::Unreadable(ActionError::Version { version }) => return Err(NoJob::Version(*version)),
            Content::Unreadable(error) => return Err(NoJob::Unreadable(error.to_string())),
        };
        let pin = self.root.pin.and_then(|pin| identity.position(pin)).ok_or(NoJob::Pin)?;
        if let Some(grant) = &create.grant {
            let own = create.arbiters[0] == self.root.id.author;
            let held = grant.kind == GrantKind::Leased || grant.node == create.arbiters[0] || create.spec.held_allowed;
            if !own || !held || !create.workers.contains(&grant.node) {
                return Err(NoJob::Grant);
            }
        }
        Ok((create, pin))
    }

    fn blank(&self, create: &Create, pin: RevisionId) -> Job {
        let grant = create.grant.map(|grant| {
            let granted = Granted { node: grant.node, kind: grant.kind, lease_ms: grant.lease_ms };
            (Token::new(0, 1), granted)
        });
        Job {
            id: self.job,
            author: self.root.id.author,
            pin,
            create: create.clone(),
            bids: BTreeMap::new(),
            epochs: vec![EpochOpened { epoch: Epoch(0), arbiter: create.arbiters[0], last: Term(0), by: None }],
            grants: grant.into_iter().collect(),
            dones: BTreeMap::new(),
            self_started: BTreeMap::new(),
            cancels: BTreeMap::new(),
            settled: None,
            other_settles: Vec::new(),
            last_seq: BTreeMap::from([(self.root.id.author, Seq(0))]),
            ignored: BTreeMap::new(),
        }
    }
}

impl<'a> Fold<'a> {
    fn ignore(&mut self, reason: Ignored) {
        *self.job.ignored.entry(reason).or_default() += 1;
    }

    /// Everything that can be judged of an operation alone: readable, of this job, in the sequence's bounds, pinned.
    fn candidates(&mut self, ops: &'a BTreeMap<OpId, Entry>) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for (id, entry) in ops {
            match self.judge(*id, entry) {
                Ok(candidate) => candidates.push(candidate),
                Err(reason) => self.ignore(reason),
            }
        }
        candidates
    }

    fn judge(&self, id: OpId, entry: &'a Entry) -> Result<Candidate<'a>, Ignored> {
        let action = match &entry.content {
            Content::Action(action) => action,
            Content::Many(_) => return Err(Ignored::ManyActions),
            Content::Unreadable(ActionError::TooLarge { .. }) => return Err(Ignored::TooLarge),
            Content::Unreadable(_) => return Err(Ignored::Malformed),
        };
        match action.job() {
            None => return Err(Ignored::SecondRoot),
            Some(job) if job != self.job.id => return Err(Ignored::WrongJob),
            Some(_) => {}
        }
        if action.seq() > Seq::MAX {
            return Err(Ignored::SequenceTooHigh);
        }
        Ok(Candidate { id, action, pins: self.pins(entry)? })
    }

    /// An operation without a pin, as `rad cob` writes it, is judged by the root's.
    fn pins(&self, entry: &Entry) -> Result<BTreeSet<usize>, Ignored> {
        let known: BTreeSet<usize> = entry
            .pins
            .iter()
            .filter_map(|pin| pin.map_or(Some(self.base_pin), |revision| self.identity.position(revision)))
            .collect();
        if known.is_empty() {
            return Err(Ignored::PinUnknown);
        }
        let recent: BTreeSet<usize> = known.into_iter().filter(|position| *position >= self.base_pin).collect();
        if recent.is_empty() { Err(Ignored::PinTooOld) } else { Ok(recent) }
    }

    fn is_delegate(&self, candidate: &Candidate<'_>) -> bool {
        candidate.pins.iter().any(|position| self.identity.accepted[*position].1.contains(&candidate.id.author))
    }

    fn admitted(&self) -> BTreeSet<NodeId> {
        self.identity.admitted(&self.job)
    }

    /// Of several operations under one number of one author, the smallest tree counts: also for opening an epoch, so
    /// that what lost its number has no effect at all.
    fn in_sequence(&mut self, candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        let mut taken = BTreeSet::from([(self.job.author, Seq(0))]);
        let mut kept = Vec::new();
        // candidates are in the order of (author, tree)
        for candidate in candidates {
            let (author, seq) = (candidate.id.author, candidate.action.seq());
            let last = self.job.last_seq.entry(author).or_default();
            *last = (*last).max(seq);
            if taken.insert((author, seq)) {
                kept.push(candidate);
            } else {
                self.ignore(Ignored::SequenceReused);
            }
        }
        kept
    }

    fn of_admitted(&mut self, candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        let admitted = self.admitted();
        self.job.last_seq.retain(|author, _| admitted.contains(author));
        let (kept, strange): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| admitted.contains(&candidate.id.author));
        for _ in strange {
            self.ignore(Ignored::NotAdmitted);
        }
        kept
    }

    fn grants(&mut self, candidates: &[Candidate<'a>]) {
        // a root's grant above the last term that its epoch was left counts no more than another
        if self.left_at(Epoch(0)).is_some_and(|last| last < Term(1))
            && self.job.grants.remove(&Token::new(0, 1)).is_some()
        {
            self.ignore(Ignored::TermOutOfRange);
        }
        // the smaller tree holds a token, so go by tree
        let mut grants: Vec<(TreeId, NodeId, &Grant)> = candidates
            .iter()
            .filter_map(|candidate| match candidate.action {
                Action::Grant(grant) => Some((candidate.id.tree, candidate.id.author, grant)),
                _ => None,
            })
            .collect();
        grants.sort_by_key(|(tree, author, _)| (*tree, *author));
        for (_, author, grant) in grants {
            match self.judge_grant(author, grant) {
                Ok(granted) => {
                    self.job.grants.insert(grant.token(), granted);
                }
                Err(reason) => self.ignore(reason),
            }
        }
    }

    /// The last term that counts of an epoch that was ended.
    fn left_at(&self, epoch: Epoch) -> Option<Term> {
        self.job.epochs.iter().find(|next| next.epoch.0 == epoch.0 + 1).map(|next| next.last)
    }

    fn judge_grant(&self, author: NodeId, grant: &Grant) -> Result<Granted, Ignored> {
        let job = &self.job;
        let Some(opened) = job.epochs.iter().find(|opened| opened.epoch == grant.epoch) else {
            return Err(Ignored::BadEpoch);
        };
        if opened.arbiter != author {
            return Err(Ignored::NotArbiter);
        }
        if !job.create.workers.contains(&grant.node) {
            return Err(Ignored::NotWorker);
        }
        if grant.term <= opened.last || self.left_at(grant.epoch).is_some_and(|last| grant.term > last) {
            return Err(Ignored::TermOutOfRange);
        }
        if grant.kind == GrantKind::Held && grant.node != author && !job.create.spec.held_allowed {
            return Err(Ignored::HeldNotAllowed);
        }
        if job.grants.contains_key(&grant.token()) {
            return Err(Ignored::TokenTaken);
        }
        Ok(Granted { node: grant.node, kind: grant.kind, lease_ms: grant.lease_ms })
    }

    fn dones(&mut self, candidates: &[Candidate<'a>]) {
        let mut dones: Vec<(Seq, TreeId, NodeId, &Done)> = candidates
            .iter()
            .filter_map(|candidate| match candidate.action {
                Action::Done(done) => Some((done.seq, candidate.id.tree, candidate.id.author, done)),
                _ => None,
            })
            .collect();
        dones.sort_by_key(|(seq, tree, author, _)| (*seq, *tree, *author));
        for (_, tree, author, done) in dones {
            if let Err(reason) = self.take_done(tree, author, done) {
                self.ignore(reason);
            }
        }
    }

    /// The first report by its author's own numbers counts for a token.
    fn take_done(&mut self, tree: TreeId, author: NodeId, done: &Done) -> Result<(), Ignored> {
        let report = Report {
            done: tree,
            node: author,
            seq: done.seq,
            outcome: done.outcome.clone(),
            digests: done.digests,
            tail: done.tail.clone(),
            reason: done.reason.clone(),
            duration_ms: done.duration_ms,
        };
        if done.term == Term(0) {
            return self.take_self_started(author, done, report);
        }
        let granted = self.job.grants.get(&done.token()).ok_or(Ignored::NoGrant)?;
        if granted.node != author {
            return Err(Ignored::NotHolder);
        }
        if self.job.dones.contains_key(&done.token()) {
            return Err(Ignored::TokenTaken);
        }
        self.job.dones.insert(done.token(), report);
        Ok(())
    }

    fn take_self_started(&mut self, author: NodeId, done: &Done, report: Report) -> Result<(), Ignored> {
        if self.job.create.mode != Mode::Idempotent {
            return Err(Ignored::ModeForbids);
        }
        if !self.job.create.workers.contains(&author) {
            return Err(Ignored::NotWorker);
        }
        if self.job.arbiter_of(done.epoch).is_none() {
            return Err(Ignored::BadEpoch);
        }
        let key = (done.epoch, author);
        if self.job.self_started.contains_key(&key) {
            return Err(Ignored::TokenTaken);
        }
        self.job.self_started.insert(key, report);
        Ok(())
    }

    /// The highest epoch's settle holds, and of two in one epoch the smaller tree; the others are alarms.
    fn settles(&mut self, candidates: &[Candidate<'a>]) {
        let mut settles: Vec<Settled> = Vec::new();
        for candidate in candidates {
            let Action::Settle(Settle { epoch, outcome, .. }) = candidate.action else { continue };
            let (arbiter, author) = (self.job.arbiter_of(*epoch), candidate.id.author);
            if arbiter.is_none() {
                self.ignore(Ignored::BadEpoch);
            } else if arbiter != Some(author) {
                self.ignore(Ignored::NotArbiter);
            } else if self.forbidden(outcome) {
                self.ignore(Ignored::ModeForbids);
            } else {
                settles.push(Settled { epoch: *epoch, tree: candidate.id.tree, outcome: *outcome });
            }
        }
        settles.sort_by_key(|settled| (std::cmp::Reverse(settled.epoch), settled.tree));
        let mut settles = settles.into_iter();
        self.job.settled = settles.next();
        self.job.other_settles = settles.collect();
    }

    /// A result of term 0 is one that started by rank.
    fn forbidden(&self, outcome: &Settlement) -> bool {
        matches!(outcome, Settlement::Result { term: Term(0), .. }) && self.job.create.mode != Mode::Idempotent
    }

    fn bids_and_cancels(&mut self, candidates: &[Candidate<'a>]) {
        for candidate in candidates {
            let author = candidate.id.author;
            match candidate.action {
                Action::Bid(bid) if self.job.create.workers.contains(&author) => {
                    let newest = self.job.bids.entry(author).or_insert_with(|| bid.clone());
                    if bid.seq > newest.seq {
                        *newest = bid.clone();
                    }
                }
                Action::Bid(_) => self.ignore(Ignored::NotWorker),
                Action::Cancel(cancel) if author == self.job.author || self.is_delegate(candidate) => {
                    let first = self.job.cancels.entry(author).or_insert_with(|| cancel.clone());
                    if cancel.seq < first.seq {
                        *first = cancel.clone();
                    }
                }
                Action::Cancel(_) => self.ignore(Ignored::NotDelegate),
                Action::StepDown(step) => self.note_unused(HandOver::StepDown(*step), candidate, candidates),
                Action::Takeover(takeover) => {
                    self.note_unused(HandOver::Takeover(takeover.clone()), candidate, candidates)
                }
                Action::Create(_) | Action::Grant(_) | Action::Done(_) | Action::Settle(_) => {}
            }
        }
    }
}

//! The claim machine: what this node does next about every job, as author, arbiter, bidder and holder.
//!
//! Pure: [`Machine::handle`] takes one event and the boot-time clock and returns effects, which the driver carries out
//! in order and without a choice. It reads no clock, file or socket and iterates only ordered maps, so a run replays
//! from its events. The rules are those of `cobs/PROTOCOL.md` and the design; the limits below are its timing.

mod arbiter;
mod entry;
mod holder;
mod settings;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::{Action, Digests};
use cobs::job::outcome::RunOutcome;
use cobs::job::state::{Job, Status};

use crate::capacity::Capacity;
use entry::Entry;
pub use settings::{Millis, Settings};
use wire::{Confirmation, Message, Renewal};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job's history changed, or is seen for the first time; it is durable in this node's storage.
    Job(Box<JobSeen>),
    /// The operation asked for by [`Effect::Sign`] is durable; the job's new state came before this.
    Signed {
        /// The job.
        job: JobId,
        /// Which of its operations.
        kind: Asked,
    },
    /// The operation asked for by [`Effect::Sign`] could not be written; it is asked for again after a while.
    NotSigned {
        /// The job.
        job: JobId,
        /// Which of its operations.
        kind: Asked,
    },
    /// The note asked for by [`Effect::Note`] is durable.
    Noted {
        /// The job.
        job: JobId,
        /// The token never to confirm.
        token: Token,
    },
    /// A peer's message.
    Message {
        /// Who sent it, by its transport key.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The link to a peer is up.
    PeerUp {
        /// The peer.
        node: NodeId,
    },
    /// What [`Effect::Prepare`] asked for is there.
    Prepared {
        /// The run.
        run: RunId,
    },
    /// What [`Effect::Prepare`] asked for cannot be had.
    NotPrepared {
        /// The run.
        run: RunId,
        /// Why; told to people.
        reason: String,
    },
    /// A run that the last daemon left is still alive.
    Adopted {
        /// The run.
        run: RunId,
    },
    /// A run ended, whoever started it.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        report: RunReport,
    },
    /// An operator wants a job off this node.
    Evict {
        /// The job.
        job: JobId,
        /// Time between the polite signal and the kill.
        grace: Millis,
    },
    /// What this node offers now.
    Capacity(Box<Capacity>),
    /// Whose jobs may run here.
    Admitted(BTreeSet<NodeId>),
    /// Nothing but time.
    Tick,
}

/// A job as it is now.
#[derive(Clone, Debug)]
pub struct JobSeen {
    /// Its state.
    pub job: Arc<Job>,
    /// When its root says it was written, in Unix milliseconds; for fairness in a queue and nothing else.
    pub created_ms: u64,
    /// Whether this is the scan at start.
    pub origin: Origin,
    /// Tokens of the job that this node has noted never to confirm.
    pub never_confirm: BTreeSet<Token>,
}

/// Whether a job was there when the machine started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was: what this node confirmed before is forgotten.
    Start,
    /// It came later: what this node confirmed is remembered.
    Live,
}

/// How a run ended and what it left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunReport {
    /// How.
    pub outcome: RunOutcome,
    /// What it left.
    pub digests: Digests,
    /// The end of its log.
    pub tail: String,
    /// Why, where the outcome does not say.
    pub reason: String,
    /// Milliseconds it ran.
    pub duration_ms: u64,
}

/// What is to be done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Sign and store an operation; its sequence number is the writer's to set.
    Sign {
        /// The job.
        job: JobId,
        /// To be given back in [`Event::Signed`].
        kind: Asked,
        /// What to sign.
        action: Action,
        /// Why.
        why: String,
    },
    /// Write down durably that a token is never to be confirmed.
    Note {
        /// The job.
        job: JobId,
        /// The token.
        token: Token,
    },
    /// Send a message over the link, now or never.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Fetch what the run needs.
    Prepare {
        /// The run.
        run: RunId,
    },
    /// Start the run, after a durable record that this token was started; ends at once as lost when there is one.
    Start {
        /// The run.
        run: RunId,
        /// When it dies, on the boot-time clock; none when held.
        deadline: Option<Millis>,
    },
    /// Let the run live longer.
    Extend {
        /// The run.
        run: RunId,
        /// The new deadline.
        deadline: Millis,
    },
    /// End the run: the polite signal now, the kill after the grace.
    Stop {
        /// The run.
        run: RunId,
        /// What its outcome shall say.
        reason: StopReason,
        /// Time between the two.
        grace: Millis,
    },
    /// Forget what was prepared for a run that will not start.
    Discard {
        /// The run.
        run: RunId,
    },
}

/// Why a run is ended from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// Its job was cancelled, or settled without it.
    Cancelled,
    /// A higher token was granted, or another arbiter took over.
    Replaced,
    /// An operator wants it off this node.
    Evicted,
}

/// The operations that the machine asks for; at most one of each kind is under way for a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asked {
    /// A bid.
    Bid,
    /// A grant.
    Grant,
    /// A Done.
    Done,
    /// A settle.
    Settle,
}

/// The machine. One per node, for all its ledgers.
#[derive(Debug)]
pub struct Machine {
    node: NodeId,
    settings: Settings,
    entries: BTreeMap<JobId, Entry>,
    capacity: Option<Capacity>,
    admitted: BTreeSet<NodeId>,
    /// The last number of a renewal; the upper half counts the starts of this node, so that none is used again.
    number: u64,
    /// When each unanswered renewal was sent, by peer and number.
    sent: BTreeMap<(NodeId, u64), Millis>,
    /// When the next renewal to each arbiter is due.
    renew_at: BTreeMap<NodeId, Millis>,
    /// Runs of the last daemon whose jobs are not seen yet.
    orphans: holder::Orphans,
}

impl Machine {
    /// A machine that knows no job yet. `incarnation` is a durable count of this node's starts.
    pub fn new(node: NodeId, settings: Settings, incarnation: u32) -> Self {
        Self {
            node,
            settings,
            entries: BTreeMap::new(),
            capacity: None,
            admitted: BTreeSet::from([node]),
            number: u64::from(incarnation) << 32,
            sent: BTreeMap::new(),
            renew_at: BTreeMap::new(),
            orphans: holder::Orphans::new(),
        }
    }

    /// Takes one event at boot time `now` and says what to do.
    pub fn handle(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Job(seen) => self.see(*seen, now, &mut effects),
            Event::Signed { job, kind } => self.signed(job, kind),
            Event::NotSigned { job, kind } => self.not_signed(job, kind, now),
            Event::Noted { job, token } => self.noted(job, token),
            Event::Message { from, message: Message::Renewal(renewal) } => {
                self.answer(from, &renewal, now, &mut effects)
            }
            Event::Message { from, message: Message::Confirmation(confirmation) } => {
                self.confirmed(from, &confirmation, now, &mut effects);
            }
            Event::PeerUp { node } => {
                self.renew_at.insert(node, now);
            }
            Event::Prepared { run } => self.prepared(run, now, &mut effects),
            Event::NotPrepared { run, reason } => self.not_prepared(run, &reason, &mut effects),
            Event::Adopted { run } => self.adopted(run),
            Event::Ended { run, report } => self.ended(run, report, &mut effects),
            Event::Evict { job, grace } => self.evict(job, grace, now, &mut effects),
            Event::Capacity(capacity) => self.capacity = Some(*capacity),
            Event::Admitted(nodes) => {
                self.admitted = nodes;
                self.admitted.insert(self.node);
            }
            Event::Tick => {}
        }
        self.review(now, &mut effects);
        self.renew(now, &mut effects);
        effects
    }

    /// When the machine next wants a tick, if nothing happens before.
    pub fn next_wake(&self, now: Millis) -> Option<Millis> {
        let renewals = self.renew_at.iter().filter(|(peer, _)| self.renews_with(**peer)).map(|(_, at)| *at);
        let entries = self.entries.values().flat_map(|entry| entry.wakes(&self.settings));
        // what was due is done by now
        renewals.chain(entries).filter(|at| *at > now).min()
    }

    /// Runs that this node holds a grant for and has not reported, waiting ones included.
    pub fn slots_used(&self) -> u32 {
        let used = self.entries.values().filter(|entry| entry.uses_slot_of(self.node)).count();
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// Why a job stands where it stands, for people; none for a job the machine has let go.
    pub fn waits_for(&self, job: JobId) -> Option<String> {
        let entry = self.entries.get(&job)?;
        Some(entry.waits_for(self.node, &self.verdict(entry)))
    }

    /// The run of this node for a job that has started and not ended.
    pub fn running(&self, job: JobId) -> Option<RunId> {
        let entry = self.entries.get(&job)?;
        entry.holding.as_ref().filter(|holding| holding.is_started()).map(|holding| holding.run)
    }

    fn see(&mut self, seen: JobSeen, now: Millis, effects: &mut Vec<Effect>) {
        let id = seen.job.id;
        let supersedes = (seen.job.status() != Status::Settled).then(|| seen.job.create.spec.supersedes.clone());
        let author = seen.job.author;
        match self.entries.get_mut(&id) {
            Some(entry) => entry.update(seen, now),
            None if seen.job.status() == Status::Settled => return,
            None => {
                self.entries.insert(id, Entry::new(seen, now));
            }
        }
        for old in supersedes.into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(&old).filter(|entry| entry.job.author == author && old != id) {
                entry.superseded_by = Some(id);
            }
        }
        self.take_grant(id, now, effects);
        self.drop_settled(id);
    }

    fn signed(&mut self, job: JobId, kind: Asked) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.asked.remove(&kind);
            if kind == Asked::Grant {
                entry.granting_to = None;
            }
        }
        self.drop_settled(job);
    }

    fn not_signed(&mut self, job: JobId, kind: Asked, now: Millis) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.asked.insert(kind, Some(now + self.settings.sign_retry));
            if kind == Asked::Grant {
                entry.granting_to = None;
            }
        }
    }

    fn noted(&mut self, job: JobId, token: Token) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.never_confirm.insert(token);
            entry.noted.insert(token);
        }
    }

    /// A settled job is let go once nothing of it runs here.
    fn drop_settled(&mut self, job: JobId) {
        let gone = |entry: &Entry| entry.job.status() == Status::Settled && entry.holding.is_none();
        if self.entries.get(&job).is_some_and(gone) {
            self.entries.remove(&job);
        }
    }

    /// Looks at every job in the order of its queue: priority first, then age.
    fn review(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let mut order: Vec<(i32, u64, JobId)> =
            self.entries.iter().map(|(id, entry)| (-entry.job.create.spec.priority, entry.created_ms, *id)).collect();
        order.sort_unstable();
        for (_, _, id) in order {
            self.hold(id, now, effects);
            self.arbitrate(id, now, effects);
            self.bid(id, now, effects);
        }
    }

    fn verdict(&self, entry: &Entry) -> crate::place::Verdict {
        let infeasible = |reason: &str| crate::place::Verdict::Infeasible { reasons: vec![reason.to_owned()] };
        if !entry.job.create.workers.contains(&self.node) {
            return infeasible("it is not among the job's workers");
        }
        if !self.admitted.contains(&entry.job.author) {
            return infeasible("jobs of their author may not run here");
        }
        let Some(capacity) = &self.capacity else { return infeasible("its capacity is not probed yet") };
        let mut capacity = capacity.clone();
        capacity.slots_used = self.slots_used();
        crate::place::judge(&entry.job.create.spec, &entry.job.create.queue, &capacity)
    }

    /// Sends one numbered message to each arbiter whose renewal is due, for all its terms.
    fn renew(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let peers: BTreeSet<NodeId> = self.entries.values().flat_map(|entry| entry.renews_with(self.node)).collect();
        self.renew_at.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            if self.renew_at.get(&peer).is_some_and(|at| *at > now) {
                continue;
            }
            let items: Vec<wire::RenewalItem> =
                self.entries.values().filter_map(|entry| entry.renewal_item(self.node, peer)).collect();
            self.number += 1;
            self.sent.insert((peer, self.number), now);
            self.forget_sent(peer);
            let gap = self.gap(peer);
            self.renew_at.insert(peer, now + gap);
            effects.push(Effect::Send { to: peer, message: Message::Renewal(Renewal { number: self.number, items }) });
        }
    }

    fn renews_with(&self, peer: NodeId) -> bool {
        self.entries.values().any(|entry| entry.renews_with(self.node).any(|arbiter| arbiter == peer))
    }

    /// A sixth of the shortest lease on that peer; quicker while a run waits for its first confirmation.
    fn gap(&self, peer: NodeId) -> Millis {
        self.entries
            .values()
            .filter(|entry| entry.renews_with(self.node).any(|arbiter| arbiter == peer))
            .filter_map(|entry| entry.holding.as_ref())
            .map(|holding| {
                let sixth = Millis(holding.lease.0 / 6);
                if holding.is_unconfirmed() { sixth.min(self.settings.ask_again) } else { sixth }
            })
            .min()
            .unwrap_or(self.settings.ask_again)
    }

    /// Keeps the newest few; an answer to an older one comes too late to be worth anything.
    fn forget_sent(&mut self, peer: NodeId) {
        let numbers: Vec<u64> = self.sent.range((peer, 0)..=(peer, u64::MAX)).map(|((_, number), _)| *number).collect();
        for number in numbers.iter().rev().skip(self.settings.renewals_open_max) {
            self.sent.remove(&(peer, *number));
        }
    }

    fn confirmed(&mut self, from: NodeId, confirmation: &Confirmation, now: Millis, effects: &mut Vec<Effect>) {
        let Some(sent) = self.sent.remove(&(from, confirmation.number)) else { return };
        for item in &confirmation.items {
            self.take_answer(from, item, sent, now, effects);
        }
    }
}

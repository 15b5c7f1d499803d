//! The claim machine: what this node does next about every job, as author, arbiter, bidder and holder.
//!
//! Pure: [`Machine::handle`] takes one event and the boot-time clock and returns effects, which the driver carries out
//! in order and without a choice. It reads no clock, file or socket and iterates only ordered maps, so a run replays
//! from its events. The rules are those of `cobs/PROTOCOL.md` and the design; the limits below are its timing.
//!
//! An event touches a few jobs; only these, those that are due and those that waited for room which is there now are
//! looked at, in the order of their queue.

mod again;
mod agenda;
mod arbiter;
mod bid;
mod confirm;
mod entry;
mod event;
mod holder;
pub mod mutation;
mod news;
mod orphan;
mod renewal;
mod settings;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, NodeId, RunId};
use cobs::job::state::Status;

use crate::capacity::Capacity;
use crate::place::Verdict;
use agenda::Agenda;
use entry::Entry;
pub use event::{Asked, Effect, Event, JobSeen, Note, Origin, RunReport, StopReason};
use renewal::Renewals;
pub use settings::{Millis, Settings};
use wire::Message;

/// The machine. One per node, for all its ledgers.
#[derive(Debug)]
pub struct Machine {
    node: NodeId,
    settings: Settings,
    entries: BTreeMap<JobId, Entry>,
    agenda: Agenda,
    renewals: Renewals,
    /// `slots_used` in it is the machine's own count.
    capacity: Option<Capacity>,
    admitted: BTreeSet<NodeId>,
    arbitrates: BTreeSet<NodeId>,
    /// Who may run this node's own jobs; whoever they list until that is known.
    workers: Option<BTreeSet<NodeId>>,
    /// Runs of the last daemon whose jobs are not seen yet.
    orphans: orphan::Orphans,
    /// The jobs here that name an earlier one in `supersedes`, by that one.
    superseders: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Jobs that are not seen yet, with who must have written them, and were replaced by one that is settled.
    replaced: BTreeMap<(JobId, NodeId), JobId>,
    /// Jobs passed over for a node that did not ask to confirm, until it is heard again.
    passed_over: BTreeMap<NodeId, BTreeSet<JobId>>,
    /// Nodes whose link is up.
    linked: BTreeSet<NodeId>,
    /// When each node was last heard over the link.
    heard: BTreeMap<NodeId, Millis>,
    /// Jobs settled here, the newest with the highest number.
    settled: BTreeMap<JobId, u64>,
    settled_order: BTreeMap<u64, JobId>,
    /// Confirmations that were worth nothing any more.
    late: u64,
}

impl Machine {
    /// A machine that knows no job yet. `incarnation` is a durable count of this node's starts.
    pub fn new(node: NodeId, settings: Settings, incarnation: u32) -> Self {
        Self {
            node,
            settings,
            entries: BTreeMap::new(),
            agenda: Agenda::default(),
            renewals: Renewals::new(incarnation),
            capacity: None,
            admitted: BTreeSet::from([node]),
            arbitrates: BTreeSet::from([node]),
            workers: None,
            orphans: orphan::Orphans::new(),
            superseders: BTreeMap::new(),
            replaced: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            linked: BTreeSet::new(),
            heard: BTreeMap::new(),
            settled: BTreeMap::new(),
            settled_order: BTreeMap::new(),
            late: 0,
        }
    }

    /// Takes one event at boot time `now` and says what to do.
    pub fn handle(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Job(seen) => self.see(*seen, now, &mut effects),
            Event::Signed { job, kind } => self.signed(job, kind, now),
            Event::NotSigned { job, kind } => self.not_signed(job, kind, now),
            Event::Noted { job, token, note } => self.noted(job, token, note, now, &mut effects),
            Event::Message { from, message } => {
                self.heard(from, now);
                match message {
                    Message::Renewal(renewal) => self.answer(from, &renewal, now, &mut effects),
                    Message::Confirmation(confirmation) => self.confirmed(from, &confirmation, now, &mut effects),
                }
            }
            Event::PeerUp { node } => {
                self.linked.insert(node);
                self.heard(node, now);
                self.renewals.hurry(node, now);
            }
            Event::PeerDown { node } => {
                self.linked.remove(&node);
            }
            Event::Prepared { run } => self.prepared(run, &mut effects),
            Event::NotPrepared { run, outcome, reason } => self.not_prepared(run, outcome, &reason, now, &mut effects),
            Event::Adopted { run } => self.adopted(run, &mut effects),
            Event::Ended { run, report } => self.ended(run, report, now, &mut effects),
            Event::Evict { job, grace } => self.evict(job, grace, now, &mut effects),
            Event::HandOver { job, to } => self.asked_to_hand_over(job, to),
            Event::Capacity(capacity) => self.offers(*capacity),
            Event::Admitted(nodes) => {
                self.admitted = nodes;
                self.admitted.insert(self.node);
                self.touch_open(|_| true);
            }
            Event::Arbitrates(nodes) => {
                self.arbitrates = nodes;
                self.arbitrates.insert(self.node);
                self.touch_arbitrated();
            }
            Event::Workers(nodes) => {
                self.workers = Some(nodes.into_iter().chain([self.node]).collect());
                self.touch_arbitrated();
            }
            Event::Tick => {}
        }
        self.review(now, &mut effects);
        self.renew(now, &mut effects);
        self.review(now, &mut effects);
        effects
    }

    /// When the machine next wants a tick, if nothing happens before; always after `now`.
    pub fn next_wake(&self, now: Millis) -> Option<Millis> {
        let next = [self.agenda.next_due(), self.renewals.next_due()].into_iter().flatten().min()?;
        // `now` may be later than the last event's, and what fell due since is still to be done
        Some(next.max(now + Millis(1)))
    }

    /// Runs that this node holds a grant for and has not reported, waiting ones included.
    pub fn slots_used(&self) -> u32 {
        self.agenda.slots_used()
    }

    /// Confirmations that came when the lease they gave was over, since it counts from the asking.
    pub fn late_confirmations(&self) -> u64 {
        self.late
    }

    /// Why a job stands where it stands, for people; none for a job the machine has let go.
    pub fn waits_for(&self, job: JobId, now: Millis) -> Option<String> {
        let entry = self.entries.get(&job)?;
        let unasked = entry.job.arbiter().1 == self.node && !self.arbitrates.contains(&entry.job.author);
        if unasked && entry.job.status() == Status::Queued {
            return Some("jobs of its author may not name this node as their arbiter".into());
        }
        Some(entry.waits_for(self.node, &self.verdict(entry), &self.settings, now))
    }

    /// The run of this node for a job that has started and not ended.
    pub fn running(&self, job: JobId) -> Option<RunId> {
        let entry = self.entries.get(&job)?;
        entry.holding.as_ref().filter(|holding| holding.is_started()).map(|holding| holding.run)
    }

    /// Whether a job runs here, or, as its holder last told this arbiter, there.
    pub fn is_running(&self, job: JobId) -> bool {
        let Some(entry) = self.entries.get(&job) else { return false };
        let told = entry.term.is_some_and(|term| term.phase == wire::Phase::Running);
        self.running(job).is_some() || (told && entry.job.status() == Status::Granted)
    }

    /// Load and free memory change all the time and only move scores; what else is new is news to some jobs, or all.
    fn offers(&mut self, mut capacity: Capacity) {
        capacity.slots_used = self.agenda.slots_used();
        self.agenda.set_slots(capacity.slots);
        let before = self.capacity.replace(capacity.clone());
        match before.filter(|before| before.shape() == capacity.shape()) {
            Some(before) => self.touch_open(|entry| capacity.differs_for(&before, &entry.job.create.spec)),
            None => self.touch_open(|_| true),
        }
    }

    fn touch(&mut self, id: JobId) {
        if let Some(entry) = self.entries.get(&id) {
            self.agenda.touch(entry.rank());
        }
    }

    /// Touches the jobs that this node decides about; also one that was granted or has failed may wait for somebody to run it.
    fn touch_arbitrated(&mut self) {
        for entry in self.entries.values() {
            if entry.job.status() != Status::Settled && entry.job.arbiter().1 == self.node {
                self.agenda.touch(entry.rank());
            }
        }
    }

    /// Touches those of the jobs that this node may be able to run and does not yet; as its arbiter also again.
    fn touch_open(&mut self, concerned: impl Fn(&Entry) -> bool) {
        for entry in self.entries.values() {
            let open = entry.job.status() != Status::Settled;
            if open && concerned(entry) && entry.job.create.workers.contains(&self.node) {
                self.agenda.touch(entry.rank());
            }
        }
    }

    /// Looks at the jobs that may go on now, in the order of their queue: priority first, then age.
    fn review(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.agenda.wake(now);
        // an event may have freed room, which the first in the queue takes
        for id in self.agenda.touched() {
            self.index(id, now);
        }
        while let Some(id) = self.agenda.take_next() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.wants = None;
            }
            self.hold(id, now, effects);
            self.arbitrate(id, now, effects);
            self.bid(id, now, effects);
            self.start_by_rank(id, now, effects);
            self.index(id, now);
        }
    }

    /// Brings what the agenda knows of a job up to date; a settled one is let go once nothing of it runs here.
    fn index(&mut self, id: JobId, now: Millis) {
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.job.status() == Status::Settled && entry.holding.is_none() {
            self.let_go(id);
        } else {
            let mut plan = entry.plan(self.node, &self.settings, now);
            let by_rank = self.by_rank_at(entry).filter(|at| *at > now);
            plan.due = [plan.due, by_rank].into_iter().flatten().min();
            self.agenda.index(entry.rank(), plan);
            self.renewals.index(id, entry.renewed_with(self.node));
        }
        if let Some(capacity) = &mut self.capacity {
            capacity.slots_used = self.agenda.slots_used();
        }
    }

    fn let_go(&mut self, id: JobId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.agenda.forget(entry.rank());
        self.renewals.index(id, BTreeSet::new());
        self.remember_replaced(&entry.job);
        for old in &entry.job.create.spec.supersedes {
            if let Some(new) = self.superseders.get_mut(old) {
                new.remove(&id);
                if new.is_empty() {
                    self.superseders.remove(old);
                }
            }
        }
        for node in entry.passed_over {
            self.consider(id, node);
        }
    }

    /// Whether a job may run here; what is not probed yet may turn out either way.
    fn verdict(&self, entry: &Entry) -> Verdict {
        let infeasible = |reason: &str| Verdict::Infeasible { reasons: vec![reason.to_owned()] };
        if !entry.job.create.workers.contains(&self.node) {
            return infeasible("it is not among the job's workers");
        }
        if !self.admitted.contains(&entry.job.author) {
            return infeasible("jobs of their author may not run here");
        }
        let Some(capacity) = &self.capacity else {
            return Verdict::Busy { reason: "its capacity is not probed yet".into() };
        };
        crate::place::judge(&entry.job.create.spec, &entry.job.create.queue, capacity)
    }

    /// Jobs and renewals in memory.
    #[cfg(any(test, feature = "simulation"))]
    fn memory(&self) -> (usize, usize) {
        let indexes = self.agenda.len() + self.superseders.len() + self.passed_over.len() + self.orphans.len();
        (self.entries.len() + indexes, self.renewals.len())
    }
}

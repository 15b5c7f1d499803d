//! What the machine learns: jobs as they change, what was written of its wishes, who is heard.

use cobs::id::{JobId, NodeId};
use cobs::job::fold::EPOCHS_MAX;
use cobs::job::state::{Job, Status};

use super::entry::Entry;
use super::settings::Millis;
use super::{Asked, Effect, JobSeen, Machine};

/// Settled jobs remembered, so that a holder who still asks is told.
const SETTLED_KEPT_MAX: usize = 4096;
/// Nodes whose last message is remembered; far more than a team has.
const HEARD_MAX: usize = 4096;

impl Machine {
    pub(super) fn see(&mut self, seen: JobSeen, now: Millis, effects: &mut Vec<Effect>) {
        let job = std::sync::Arc::clone(&seen.job);
        let (id, settled) = (job.id, job.status() == Status::Settled);
        for old in &job.create.spec.supersedes {
            self.supersede(*old, id, job.author);
        }
        if settled {
            self.remember_settled(id);
        }
        let kept = !settled || self.has_orphan(id);
        match self.entries.get_mut(&id) {
            Some(entry) => {
                let (before, numbers) = (entry.job.epochs.last().cloned(), entry.job.last_seq.clone());
                entry.update(seen, self.node, now);
                // an operation is a sign of life as well
                let wrote = |node: &NodeId| entry.job.last_seq.get(node) != numbers.get(node);
                let heard: Vec<NodeId> = entry.passed_over.iter().copied().filter(wrote).collect();
                let arbiter = entry.job.arbiter().1;
                if entry.job.epochs.last() != before.as_ref() {
                    self.renewals.hurry(arbiter, now);
                }
                heard.into_iter().for_each(|node| self.consider(id, node));
            }
            None if !kept => return self.remember_replaced(&job),
            None => {
                self.entries.insert(id, Entry::new(seen, self.node, now));
                if let Some(new) = self.replaced.remove(&(id, job.author)) {
                    self.supersede(id, new, job.author);
                }
                for old in &job.create.spec.supersedes {
                    self.superseders.entry(*old).or_default().insert(id);
                }
                for new in self.superseders.get(&id).cloned().unwrap_or_default() {
                    if let Some(author) = self.entries.get(&new).map(|entry| entry.job.author) {
                        self.supersede(id, new, author);
                    }
                }
            }
        }
        self.touch(id);
        self.take_orphans(id, effects);
    }

    /// What a settled job replaces may arrive after it.
    pub(super) fn remember_replaced(&mut self, new: &Job) {
        for old in new.create.spec.supersedes.iter().filter(|old| **old != new.id) {
            if !self.entries.contains_key(old) && !self.settled.contains_key(old) {
                self.replaced.insert((*old, new.author), new.id);
            }
        }
        while self.replaced.len() > SETTLED_KEPT_MAX {
            self.replaced.pop_first();
        }
    }

    fn supersede(&mut self, old: JobId, new: JobId, author: NodeId) {
        if let Some(entry) = self.entries.get_mut(&old).filter(|entry| entry.job.author == author && old != new) {
            entry.superseded_by.get_or_insert(new);
            self.touch(old);
        }
    }

    /// An operation that left no trace in the job's state is not asked for again at once, lest it be for ever.
    pub(super) fn signed(&mut self, job: JobId, kind: Asked, now: Millis) {
        let (node, retry) = (self.node, self.settings.sign_retry);
        let Some(entry) = self.entries.get_mut(&job) else { return };
        if entry.shows(kind, node) {
            entry.asked.remove(&kind);
        } else {
            entry.ask_later(kind, retry, now);
        }
        if kind == Asked::Grant {
            entry.granting = None;
        }
        self.touch(job);
    }

    pub(super) fn not_signed(&mut self, job: JobId, kind: Asked, now: Millis) {
        let retry = self.settings.sign_retry;
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.ask_later(kind, retry, now);
        if kind == Asked::Grant {
            entry.granting = None;
        }
        self.touch(job);
    }

    /// An operator's wish; of no effect where the operation would have none.
    pub(super) fn asked_to_hand_over(&mut self, job: JobId, to: NodeId) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        let place = |node: NodeId| entry.job.create.arbiters.iter().position(|listed| *listed == node);
        let later = to != self.node && place(to).is_some() && place(to) > place(self.node);
        let room = entry.job.epochs.len() <= EPOCHS_MAX as usize;
        if later && room && entry.job.arbiter().1 == self.node && entry.job.status() != Status::Settled {
            entry.hand_over_to = Some(to);
            self.touch(job);
        }
    }

    /// A node that was passed over is considered again.
    pub(super) fn heard(&mut self, from: NodeId, now: Millis) {
        self.heard.insert(from, now);
        if self.heard.len() > HEARD_MAX {
            self.heard.pop_first();
        }
        for job in self.passed_over.get(&from).cloned().unwrap_or_default() {
            self.consider(job, from);
            self.touch(job);
        }
    }

    /// A node is passed over no more for a job.
    pub(super) fn consider(&mut self, job: JobId, node: NodeId) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.passed_over.remove(&node);
        }
        if let Some(jobs) = self.passed_over.get_mut(&node) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.passed_over.remove(&node);
            }
        }
    }

    pub(super) fn remember_settled(&mut self, id: JobId) {
        let next = self.settled_order.last_key_value().map_or(0, |(number, _)| number + 1);
        if self.settled.contains_key(&id) {
            return;
        }
        self.settled.insert(id, next);
        self.settled_order.insert(next, id);
        if self.settled.len() > SETTLED_KEPT_MAX
            && let Some((_, oldest)) = self.settled_order.pop_first()
        {
            self.settled.remove(&oldest);
        }
    }
}

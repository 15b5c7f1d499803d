//! Which jobs are looked at next, and what room there is on this node. It knows no rule of the protocol.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cobs::id::JobId;

use super::settings::Millis;

/// Bids and runs together that a node has open, for each of its slots.
const OPEN_PER_SLOT: u32 = 2;

/// A job's place in the queue: priority first, then age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    pub priority: Reverse<i32>,
    pub created_ms: u64,
    pub job: JobId,
}

/// What a job can wait for on this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Room {
    /// To start a run that is granted.
    Start,
    /// To take a grant.
    Slot,
    /// To bid.
    Bid,
}

/// What the agenda knows of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Plan {
    /// When it is to be looked at in any case.
    pub due: Option<Millis>,
    /// The room that alone it waits for.
    pub wants: Option<Room>,
    /// It takes a slot.
    pub slot: Count,
    /// It is bid for.
    pub bid: Count,
    /// It runs.
    pub run: Count,
}

/// Whether a job counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Count(u32);

impl Count {
    pub fn when(holds: impl FnOnce() -> bool) -> Self {
        Self(u32::from(holds()))
    }
}

/// The agenda.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    slots: u32,
    plans: BTreeMap<JobId, Plan>,
    touched: BTreeSet<Rank>,
    due: BTreeSet<(Millis, Rank)>,
    starved: BTreeMap<Room, BTreeSet<Rank>>,
    used: Used,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    slots: u32,
    bids: u32,
    runs: u32,
}

impl Agenda {
    pub fn slots_used(&self) -> u32 {
        self.used.slots
    }

    pub fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    pub fn has(&self, room: Room) -> bool {
        let slot = self.used.slots < self.slots;
        match room {
            Room::Start => self.used.runs < self.slots,
            Room::Slot => slot,
            Room::Bid => slot && self.used.slots + self.used.bids < self.slots.saturating_mul(OPEN_PER_SLOT),
        }
    }

    pub fn touch(&mut self, rank: Rank) {
        self.touched.insert(rank);
    }

    /// Touches what is due.
    pub fn wake(&mut self, now: Millis) {
        while let Some((at, rank)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, rank));
            self.touched.insert(rank);
        }
    }

    pub fn touched(&self) -> Vec<JobId> {
        self.touched.iter().map(|rank| rank.job).collect()
    }

    /// Takes the first in the queue of those touched and those that wait for room that is there.
    pub fn take_next(&mut self) -> Option<JobId> {
        let starved = self.starved.iter().filter(|(room, _)| self.has(**room)).filter_map(|(_, ranks)| ranks.first());
        let rank = *starved.chain(self.touched.first()).min()?;
        self.touched.remove(&rank);
        for ranks in self.starved.values_mut() {
            ranks.remove(&rank);
        }
        Some(rank.job)
    }

    pub fn index(&mut self, rank: Rank, plan: Plan) {
        let before = self.plans.insert(rank.job, plan);
        self.unlist(rank, before);
        if let Some(at) = plan.due {
            self.due.insert((at, rank));
        }
        if let Some(room) = plan.wants {
            self.starved.entry(room).or_default().insert(rank);
        }
        self.used.slots += plan.slot.0;
        self.used.bids += plan.bid.0;
        self.used.runs += plan.run.0;
    }

    pub fn forget(&mut self, rank: Rank) {
        let before = self.plans.remove(&rank.job);
        self.unlist(rank, before);
        self.touched.remove(&rank);
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    #[cfg(any(test, feature = "simulation"))]
    pub fn len(&self) -> usize {
        let starved: usize = self.starved.values().map(BTreeSet::len).sum();
        self.plans.len() + self.touched.len() + self.due.len() + starved
    }

    fn unlist(&mut self, rank: Rank, plan: Option<Plan>) {
        let Some(plan) = plan else { return };
        if let Some(at) = plan.due {
            self.due.remove(&(at, rank));
        }
        for ranks in self.starved.values_mut() {
            ranks.remove(&rank);
        }
        self.used.slots -= plan.slot.0;
        self.used.bids -= plan.bid.0;
        self.used.runs -= plan.run.0;
    }
}

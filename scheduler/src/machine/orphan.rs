//! Runs that the last daemon left: adopted by the job they belong to, ended when nothing speaks for them.

use std::collections::BTreeMap;

use cobs::id::{JobId, NodeId, RunId, Term, Token};
use cobs::job::action::GrantKind;
use cobs::job::state::Granted;

use super::entry::{Holding, Stage};
use super::settings::Millis;
use super::{Effect, Machine, RunReport, StopReason};

/// Runs kept until their job is seen; a driver has told of more only by mistake.
const ORPHANS_MAX: usize = 4096;

/// A run whose job is not seen yet.
#[derive(Clone, Debug)]
pub(super) enum Orphan {
    Alive,
    Ended { report: RunReport },
}

/// Orphans by run.
pub(super) type Orphans = BTreeMap<RunId, Orphan>;

impl Machine {
    pub(super) fn adopted(&mut self, run: RunId, effects: &mut Vec<Effect>) {
        self.add_orphan(run, Orphan::Alive, effects);
    }

    pub(super) fn add_orphan(&mut self, run: RunId, orphan: Orphan, effects: &mut Vec<Effect>) {
        if self.settled.contains_key(&run.job) && !self.entries.contains_key(&run.job) {
            if matches!(orphan, Orphan::Alive) {
                let grace = self.settings.stop_grace;
                effects.push(Effect::Stop { run, reason: StopReason::Cancelled, grace });
            }
            return;
        }
        self.orphans.insert(run, orphan);
        if self.orphans.len() > ORPHANS_MAX {
            self.orphans.pop_first();
        }
        self.take_orphans(run.job, effects);
    }

    pub(super) fn has_orphan(&self, job: JobId) -> bool {
        self.orphans_of(job).next().is_some()
    }

    fn orphans_of(&self, job: JobId) -> impl Iterator<Item = RunId> {
        let first = RunId { job, token: Token::default(), node: NodeId::from([0; 32]) };
        self.orphans.range(first..).map(|(run, _)| *run).take_while(move |run| run.job == job)
    }

    /// Gives the runs of a job that is seen to it. A run that no grant speaks for, or that a higher one of this node
    /// replaced, is ended.
    pub(super) fn take_orphans(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        if !self.entries.contains_key(&id) {
            return;
        }
        for run in self.orphans_of(id).collect::<Vec<RunId>>() {
            let Some(orphan) = self.orphans.remove(&run) else { continue };
            self.take_orphan(run, orphan, effects);
        }
        self.touch(id);
    }

    fn take_orphan(&mut self, run: RunId, orphan: Orphan, effects: &mut Vec<Effect>) {
        let grace = self.settings.stop_grace;
        let Some(entry) = self.entries.get_mut(&run.job) else { return };
        let granted = entry.job.grants.get(&run.token).filter(|granted| granted.node == run.node).copied();
        // one that started by rank needs no grant
        let by_rank = Granted { node: run.node, kind: GrantKind::Held, lease_ms: self.settings.lease.0 };
        let granted = granted.or((run.token.term == Term(0)).then_some(by_rank));
        let held = entry.holding.as_ref();
        let waits = |holding: &Holding| holding.run == run && matches!(holding.stage, Stage::Waiting);
        // one that is reported gives way to what is alive
        let spent = matches!(orphan, Orphan::Ended { .. }) && entry.is_reported(run);
        let outranks = |holding: &Holding| holding.run.token < run.token && !(spent && holding.is_started());
        let free = held.is_none_or(|holding| waits(holding) || outranks(holding));
        let Some(granted) = granted.filter(|_| free) else {
            if matches!(orphan, Orphan::Alive) && held.is_none_or(|holding| holding.run != run) {
                effects.push(Effect::Stop { run, reason: StopReason::Replaced, grace });
            }
            return;
        };
        if let Some(lower) = held.filter(|holding| holding.is_started() && holding.run != run) {
            effects.push(Effect::Stop { run: lower.run, reason: StopReason::Replaced, grace });
        }
        let stage = match orphan {
            Orphan::Alive => Stage::Running { stopping: None },
            Orphan::Ended { report } => Stage::Finished { report },
        };
        let (kind, lease) = (granted.kind, Millis(granted.lease_ms));
        entry.holding =
            Some(Holding { run, kind, lease, prepared: true, taken_at: Millis(0), confirmed_until: None, stage });
    }
}

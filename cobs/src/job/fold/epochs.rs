//! The hand-overs of a job: which of them open an epoch. It knows nothing of grants and reports.

use super::{Candidate, EPOCHS_MAX, Fold};
use crate::id::{Epoch, NodeId, Term, TreeId};
use crate::job::action::{Action, StepDown};
use crate::job::history::OpId;
use crate::job::state::{EpochOpened, HandOver, Ignored};

impl<'a> Fold<'a> {
    /// Follows the hand-overs from epoch 0. Of the operations that open one epoch a Takeover outranks a StepDown, and
    /// of two alike the smaller tree holds.
    pub(super) fn open_epochs(&mut self, candidates: &[Candidate<'a>]) {
        for _ in 0..EPOCHS_MAX {
            let (epoch, arbiter) = self.job.arbiter();
            let takeover = candidates.iter().filter_map(|candidate| match candidate.action {
                Action::Takeover(takeover) if takeover.epoch.0 == epoch.0 + 1 && self.is_delegate(candidate) => {
                    Some((candidate.id.tree, takeover.to, takeover.last, HandOver::Takeover(takeover.clone())))
                }
                _ => None,
            });
            let step_down = candidates.iter().filter_map(|candidate| match candidate.action {
                Action::StepDown(step)
                    if step.epoch == epoch
                        && self.may_step_down(candidate.id, step, arbiter)
                        && !self.settled_before(candidates, arbiter, step) =>
                {
                    Some((candidate.id.tree, step.to, step.last, HandOver::StepDown(*step)))
                }
                _ => None,
            });
            let by_tree = |a: &(TreeId, NodeId, Term, HandOver), b: &(TreeId, NodeId, Term, HandOver)| a.0.cmp(&b.0);
            let Some((_, to, last, by)) = takeover.min_by(by_tree).or_else(|| step_down.min_by(by_tree)) else {
                return;
            };
            let last = last.max(self.job.epochs.last().map_or(Term(0), |opened| opened.last));
            self.job.epochs.push(EpochOpened { epoch: Epoch(epoch.0 + 1), arbiter: to, last, by: Some(by) });
        }
    }

    /// A StepDown counts from the arbiter of the epoch that it ends, to one that stands later in `arbiters`. Behind an
    /// arbiter that is not listed, since a takeover named it, everyone listed stands later.
    fn may_step_down(&self, id: OpId, step: &StepDown, arbiter: NodeId) -> bool {
        let arbiters = &self.job.create.arbiters;
        let place = |node| arbiters.iter().position(|listed| *listed == node);
        id.author == arbiter && step.to != arbiter && place(step.to).is_some_and(|to| Some(to) > place(arbiter))
    }

    /// An arbiter never steps down a settled job: by its own numbers the settle came first, and a successor's would
    /// change the result.
    fn settled_before(&self, candidates: &[Candidate<'a>], arbiter: NodeId, step: &StepDown) -> bool {
        candidates.iter().any(|candidate| match candidate.action {
            Action::Settle(settle) => {
                let of_epoch = candidate.id.author == arbiter && settle.epoch == step.epoch;
                of_epoch && settle.seq < step.seq && !self.forbidden(&settle.outcome)
            }
            _ => false,
        })
    }

    /// Hand-overs that opened no epoch are counted with the reason.
    pub(super) fn note_unused(&mut self, by: HandOver, candidate: &Candidate<'a>, all: &[Candidate<'a>]) {
        if self.job.epochs.iter().any(|opened| opened.by.as_ref() == Some(&by)) {
            return;
        }
        let reason = match &by {
            HandOver::Takeover(_) if !self.is_delegate(candidate) => Ignored::NotDelegate,
            HandOver::Takeover(_) => Ignored::BadEpoch,
            HandOver::StepDown(step) => match self.job.arbiter_of(step.epoch) {
                None => Ignored::BadEpoch,
                Some(arbiter) if arbiter != candidate.id.author => Ignored::NotArbiter,
                Some(arbiter) if !self.may_step_down(candidate.id, step, arbiter) => Ignored::BadTarget,
                Some(arbiter) if self.settled_before(all, arbiter, step) => Ignored::AfterSettle,
                Some(_) => Ignored::BadEpoch,
            },
        };
        self.ignore(reason);
    }
}

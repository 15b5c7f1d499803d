//! The bounds of the wire form that no type holds.

use crate::id::{Epoch, NodeId, Term};
use crate::job::action::{
    ARBITERS_MAX, Action, ActionError, Create, LEASE_MS, NONCE_DIGITS, REASON_BYTES_MAX, TAIL_BYTES_MAX, WORKERS_MAX,
};
use crate::job::spec::{ARTIFACT_PATTERNS_MAX, ATTEMPTS_MAX, INPUTS_MAX, Work};

impl Action {
    /// Refuses an action with a field out of bounds.
    ///
    /// # Errors
    /// [`ActionError::Bounds`], naming the field.
    pub fn check(&self) -> Result<(), ActionError> {
        let bound = |holds: bool, field| if holds { Ok(()) } else { Err(ActionError::Bounds { field }) };
        match self {
            Self::Create(create) => create.check(),
            Self::Bid(bid) => {
                bound(bid.score <= 1000, "score")?;
                bound(bid.reason.len() <= REASON_BYTES_MAX, "reason")
            }
            Self::Grant(grant) => {
                bound(grant.term >= Term(1), "term")?;
                bound(LEASE_MS.contains(&grant.lease_ms), "leaseMs")
            }
            Self::Done(done) => {
                bound(done.tail.len() <= TAIL_BYTES_MAX, "tail")?;
                bound(done.reason.len() <= REASON_BYTES_MAX, "reason")
            }
            Self::Cancel(cancel) => bound(cancel.reason.len() <= REASON_BYTES_MAX, "reason"),
            Self::Takeover(takeover) => {
                bound(takeover.epoch >= Epoch(1), "epoch")?;
                bound(takeover.lease_ms.is_none_or(|lease| LEASE_MS.contains(&lease)), "leaseMs")?;
                bound(takeover.reason.len() <= REASON_BYTES_MAX, "reason")
            }
            Self::Settle(_) | Self::StepDown(_) => Ok(()),
        }
    }
}

impl Create {
    fn check(&self) -> Result<(), ActionError> {
        let bound = |holds: bool, field| if holds { Ok(()) } else { Err(ActionError::Bounds { field }) };
        let distinct = |nodes: &[NodeId], most: usize| {
            let set: std::collections::BTreeSet<_> = nodes.iter().collect();
            !nodes.is_empty() && nodes.len() <= most && set.len() == nodes.len()
        };
        bound(self.nonce.len() == NONCE_DIGITS && self.nonce.bytes().all(|b| b.is_ascii_hexdigit()), "nonce")?;
        bound(!self.queue.is_empty() && self.queue.len() <= 64, "queue")?;
        bound(distinct(&self.arbiters, ARBITERS_MAX), "arbiters")?;
        bound(distinct(&self.workers, WORKERS_MAX), "workers")?;
        if let Some(grant) = &self.grant {
            bound(LEASE_MS.contains(&grant.lease_ms), "leaseMs")?;
        }
        bound((1..=ATTEMPTS_MAX).contains(&self.spec.attempts), "attempts")?;
        bound(self.spec.inputs.len() <= INPUTS_MAX, "inputs")?;
        bound(self.spec.artifacts.len() <= ARTIFACT_PATTERNS_MAX, "artifacts")?;
        let Work::Command { command, .. } = &self.spec.work;
        bound(!command.is_empty() && !command[0].is_empty(), "command")
    }
}

//! The runs of this node, and how an operator ends one.

use std::sync::Arc;

use cobs::job::spec::RunnerKind;
use cobs::job::state::Status;
use scheduler::machine::{Event, Millis};

use super::error::{Code, Error};
use super::types::{Evict, JobSummary, Pod};
use super::{Caller, Scope};
use crate::clock::{boot_now, rfc3339};
use crate::node::Node;

/// Between the polite signal and the kill, without a wish.
const EVICT_GRACE_MS: u64 = 10_000;
/// The longest wish for it.
const EVICT_GRACE_MS_MAX: u64 = 600_000;

impl Node {
    /// Ends a run here after its grace, with a report that gives the grant back.
    ///
    /// # Errors
    /// When no run of the job is here.
    pub async fn evict(self: &Arc<Self>, caller: &Caller, evict: Evict) -> Result<JobSummary, Error> {
        caller.require(Scope::WriteJobs)?;
        let grace = evict.grace_ms.unwrap_or(EVICT_GRACE_MS);
        if grace > EVICT_GRACE_MS_MAX {
            let words = format!("graceMs is {grace}; it is 0 to {EVICT_GRACE_MS_MAX}");
            return Err(Error::new(Code::BadRequest, words));
        }
        let job = self.find(&evict.id)?;
        let here = job.holder().is_some_and(|(_, granted)| granted.node == self.id) && job.status() == Status::Granted;
        if !here {
            return Err(
                Error::new(Code::NotFound, "no run of that job is on this node").hint("see: rhizome job show ID")
            );
        }
        self.claims.send(Event::Evict { job: job.id, grace: Millis(grace) });
        Ok(self.view_of(&Caller::Owner, job.id).await?.summary)
    }

    /// The runs of this node that have not been let go.
    ///
    /// # Errors
    /// Without the scope.
    pub async fn pods(self: &Arc<Self>, caller: &Caller) -> Result<Vec<Pod>, Error> {
        caller.require(Scope::ReadJobs)?;
        let now = boot_now();
        let pod = |(run, active): (cobs::id::RunId, crate::runs::Active)| {
            let job = self.known_job(run.job)?;
            let granted = job.grants.get(&run.token)?;
            let phase = match (&active.run, &active.finished) {
                (_, Some(_)) => "finished",
                (Some(_), None) => "running",
                (None, None) => "waiting",
            };
            let unreported = !job.dones.contains_key(&run.token) && job.status() != Status::Settled;
            (unreported || phase == "running").then(|| Pod {
                run,
                runner: RunnerKind::Sandbox,
                kind: granted.kind,
                phase: phase.into(),
                started_at: active.started.map(rfc3339),
                lease_left_ms: active.deadline.map(|at| at.0.saturating_sub(now.0)),
            })
        };
        Ok(self.runs.active().into_iter().filter_map(pod).collect())
    }
}

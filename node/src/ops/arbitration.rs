//! Who decides about a job from now on: a hand-over by its arbiter, or by a delegate for one that is dead.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use cobs::adapter::writer::{Draft, Urgency};
use cobs::id::{Epoch, JobId, NodeId, Seq, Term};
use cobs::job::action::{Action, GrantKind, LEASE_MS, REASON_BYTES_MAX, Takeover};
use cobs::job::fold::EPOCHS_MAX;
use cobs::job::state::{Job, Status};
use scheduler::machine::Event;

use super::error::{Code, Error};
use super::types::{HandOver, JobView, TakeOver};
use super::{Caller, Scope};
use crate::node::Node;

/// How long a hand-over may take before it is called under way.
const HAND_OVER_MAX: std::time::Duration = std::time::Duration::from_secs(5);

impl Node {
    /// Hands a job over that this node decides about, to one that stands by for it.
    ///
    /// # Errors
    /// When this node does not decide about it, or nobody stands by.
    pub async fn hand_over(self: &Arc<Self>, caller: &Caller, id: &str, wish: HandOver) -> Result<JobView, Error> {
        caller.require(Scope::WriteJobs)?;
        let job = self.find(id)?;
        unsettled(&job)?;
        let arbiter = job.arbiter().1;
        if arbiter != self.id {
            let other = self.alias(&arbiter);
            return Err(Error::new(Code::Forbidden, format!("{other} decides about the job, not this node"))
                .hint(format!("on {other}: rhizome job handover {}", job.id)));
        }
        let place = |node: NodeId| job.create.arbiters.iter().position(|listed| *listed == node);
        let to = match wish.to.as_deref() {
            Some(name) => Some(self.resolve_peer(name)?),
            None => job.create.arbiters.iter().copied().find(|node| place(*node) > place(self.id)),
        };
        let Some(to) = to.filter(|to| place(*to).is_some() && place(*to) > place(self.id)) else {
            return Err(Error::new(Code::BadRequest, "nobody stands by for the job after this node")
                .hint("name who does when you submit: rhizome run --standby NODE"));
        };
        let mut changes = self.changes.subscribe();
        self.claims.send(Event::HandOver { job: job.id, to });
        let handed_over = async {
            loop {
                if self.known_job(job.id).is_some_and(|job| job.arbiter().1 != self.id) {
                    return;
                }
                if let Err(RecvError::Closed) = changes.recv().await {
                    return;
                }
            }
        };
        tokio::time::timeout(HAND_OVER_MAX, handed_over).await.map_err(|_| {
            Error::new(Code::Busy, "the hand-over is not written yet; it will be").retry_after_ms(1_000)
        })?;
        self.view_of(&Caller::Owner, job.id).await
    }

    /// Makes another node decide about a job whose arbiter is dead.
    ///
    /// # Errors
    /// When this node is no delegate of the ledger, or the caller does not say that the arbiter is dead.
    pub async fn take_over(self: &Arc<Self>, caller: &Caller, id: &str, wish: TakeOver) -> Result<JobView, Error> {
        caller.require_owner()?;
        let job = self.find(id)?;
        unsettled(&job)?;
        let ledger = self.ledger_of(job.id).ok_or_else(|| Error::new(Code::NotFound, "the job is in no ledger"))?;
        let known = cobs::adapter::ledger::get(&self.home(), ledger);
        if !known.is_ok_and(|known| known.members.delegates.contains(&self.id)) {
            return Err(Error::new(Code::Forbidden, "only a delegate of the ledger can replace a job's arbiter")
                .hint("ask one: rhizome status names them"));
        }
        let arbiter = self.alias(&job.arbiter().1);
        if job.arbiter().1 == self.id {
            return Err(Error::new(Code::BadRequest, "this node decides about the job itself, and is not dead")
                .hint(format!("hand it over: rhizome job handover {}", job.id)));
        }
        if !wish.arbiter_is_dead {
            let risk = format!(
                "if {arbiter} still runs, or comes back before it has heard of this, the job may run on two nodes at once"
            );
            return Err(Error::new(Code::BadRequest, risk)
                .hint(format!("make sure that {arbiter} is down, and say so with --dead")));
        }
        if wish.reason.len() > REASON_BYTES_MAX {
            return Err(Error::new(Code::TooLarge, format!("the reason has more than {REASON_BYTES_MAX} bytes")));
        }
        if let Some(lease) = wish.lease_ms.filter(|lease| !LEASE_MS.contains(lease)) {
            let (least, most) = (LEASE_MS.start(), LEASE_MS.end());
            return Err(Error::new(Code::BadRequest, format!("leaseMs is {lease}; it is {least} to {most}")));
        }
        let to = wish.to.as_deref().map(|name| self.resolve_peer(name)).transpose()?.unwrap_or(self.id);
        if to == job.arbiter().1 {
            return Err(Error::new(Code::BadRequest, format!("{arbiter} decides about the job already"))
                .hint("name another with --to"));
        }
        let takeover = takeover(&job, to, wish)?;
        let action = Action::Takeover(takeover);
        let job: JobId = job.id;
        self.write(ledger, Draft::Append { ledger, job, action, urgency: Urgency::Now }).await?;
        self.view_of(&Caller::Owner, job).await
    }
}

/// Whether there is something left to decide, and a hand-over that would count.
fn unsettled(job: &Job) -> Result<(), Error> {
    if job.epochs.len() > EPOCHS_MAX as usize {
        let words = format!("the job was handed over {EPOCHS_MAX} times, and no more of them count");
        return Err(Error::new(Code::BadRequest, words).hint("cancel it, and submit it again"));
    }
    if job.status() == Status::Settled {
        return Err(Error::new(Code::BadRequest, "the job is settled; nothing is left to decide"));
    }
    Ok(())
}

/// Opens the next epoch; what was granted so far counts on.
fn takeover(job: &Job, to: NodeId, wish: TakeOver) -> Result<Takeover, Error> {
    let granted = job.grants.keys().map(|token| token.term).max().unwrap_or_default();
    let last = granted.max(job.epochs.last().map_or(Term(0), |opened| opened.last));
    let held =
        job.holder().filter(|(token, granted)| granted.kind == GrantKind::Held && !job.dones.contains_key(token));
    if wish.abandon && held.is_none() {
        return Err(Error::new(Code::BadRequest, "no run holds the job without a lease, so none can be given up")
            .hint("leave out --abandon"));
    }
    let abandoned = held.map(|(token, _)| token.term).filter(|_| wish.abandon);
    let epoch = Epoch(job.arbiter().0.0 + 1);
    let (seq, lease_ms, reason) = (Seq(0), wish.lease_ms, wish.reason);
    Ok(Takeover { job: job.id, seq, epoch, to, last, abandoned, lease_ms, reason })
}

//! What a job waits for, in words for people.

use cobs::id::NodeId;
use cobs::job::action::GrantKind;
use cobs::job::state::Status;

use super::{Confirmed, Entry, Holding, Stage};
use crate::machine::again::Back;
use crate::machine::agenda::Room;
use crate::machine::settings::{Millis, Settings};
use crate::place::Verdict;

impl Entry {
    /// One sentence for people: what the job waits for.
    pub fn waits_for(&self, me: NodeId, verdict: &Verdict, settings: &Settings, now: Millis) -> String {
        let (_, arbiter) = self.job.arbiter();
        if let Some(words) = self.arbiter_waits_for(me, settings, now) {
            return words;
        }
        match self.job.status() {
            Status::Settled => "it is settled".into(),
            Status::Provisional => format!("waits for its arbiter {arbiter} to settle the result"),
            Status::Granted => match (&self.holding, self.job.holder()) {
                (Some(holding), _) => holding.waits_for(now),
                (None, Some((token, granted))) if arbiter == me && self.is_doubtful() => format!(
                    "granted to {} as {token} before this node began to decide about it; waits until a run of it is \
                     surely over, or for that node to be heard again",
                    granted.node
                ),
                (None, Some(_)) => "waits for its holder to run it and to report".into(),
                (None, None) => "waits for a grant".into(),
            },
            Status::Queued if arbiter != me && self.job.create.workers.contains(&me) => {
                format!("waits for a grant by its arbiter {arbiter}; here {}", self.here(me, verdict))
            }
            Status::Queued if arbiter != me => format!("waits for a grant by its arbiter {arbiter}"),
            Status::Queued => {
                let bids = self.job.standing_bids().count();
                let workers = self.job.create.workers.len();
                format!("waits for a bid: {bids} of {workers} workers have bid; here {}", self.here(me, verdict))
            }
        }
    }

    /// What this node, where it decides about the job, waits for before it may.
    fn arbiter_waits_for(&self, me: NodeId, settings: &Settings, now: Millis) -> Option<String> {
        let status = self.job.status();
        if self.job.arbiter().1 != me || status == Status::Settled || self.cancel_seen.is_some() {
            return None;
        }
        let seconds = |at: Millis| at.0.saturating_sub(now.0).div_ceil(1_000);
        if self.shown {
            return Some("waits for the hand-over to this node to be fetched".into());
        }
        let holds = self.holding.as_ref().is_some_and(|holding| holding.is_started());
        match self.held_back(settings, now) {
            Some(Back::Grants) => return Some("waits for grants of an earlier arbiter that have not arrived".into()),
            Some(Back::Held) if !holds => {
                let holder = self.job.holder().map(|(_, granted)| granted.node.to_string()).unwrap_or_default();
                return Some(format!("waits for the report of {holder}, which holds it without a lease"));
            }
            Some(Back::Until(at)) if status != Status::Granted => {
                let left = seconds(at);
                return Some(format!("waits {left} s, until nothing that an earlier arbiter confirmed can be running"));
            }
            Some(Back::Held | Back::Until(_)) | None => {}
        }
        if self.may_run_by_rank(settings, now) && status != Status::Granted {
            let nodes: Vec<String> = self.by_rank.keys().map(ToString::to_string).collect();
            let who = if nodes.is_empty() { "a worker".to_owned() } else { nodes.join(", ") };
            return Some(format!("waits for the run that {who} may have started while its arbiter was away"));
        }
        let ended = self.job.result().filter(|_| status == Status::Provisional);
        let again = ended.is_some_and(|(_, report)| self.may_try_again(Some(&report.outcome), settings, now));
        again.then(|| match self.retry_at(settings).filter(|at| *at > now) {
            Some(at) => format!("waits {} s before another attempt", seconds(at)),
            None => "waits for a node that may make another attempt".into(),
        })
    }

    /// Whether an earlier life of this node may have confirmed the newest term, and this one has not.
    fn is_doubtful(&self) -> bool {
        self.term.is_some_and(|term| matches!(term.confirmed, Confirmed::Perhaps { .. }))
    }

    /// How this node stands to a job that waits.
    fn here(&self, me: NodeId, verdict: &Verdict) -> String {
        let offered = self.job.standing_bids().any(|(node, _)| node == me);
        match verdict {
            Verdict::Feasible { .. } if self.wants == Some(Room::Bid) => {
                "it can run, and is offered once fewer offers are open".into()
            }
            Verdict::Feasible { .. } if self.bid_after.is_some() && !offered => {
                "it was given back, and is offered again after a pause".into()
            }
            Verdict::Feasible { score, .. } => format!("it can run (score {score})"),
            Verdict::Busy { reason } => reason.clone(),
            Verdict::Infeasible { reasons } => format!("it cannot run: {}", reasons.join("; ")),
        }
    }
}

impl Holding {
    fn waits_for(&self, now: Millis) -> String {
        match &self.stage {
            Stage::Running { stopping: None } => "runs here".into(),
            Stage::Running { stopping: Some(_) } => "is being stopped here".into(),
            Stage::Finished { .. } => "ended here; its report is on its way".into(),
            Stage::Waiting if !self.prepared => "waits here for its source and inputs".into(),
            Stage::Waiting
                if self.kind == GrantKind::Leased && self.confirmed_until.is_none_or(|until| until <= now) =>
            {
                "waits here for its arbiter's confirmation".into()
            }
            Stage::Waiting => "waits here for a free slot".into(),
        }
    }
}

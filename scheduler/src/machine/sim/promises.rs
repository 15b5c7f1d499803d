//! What must hold at every step, and at the end. P1 to P6 are those of the design.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Term, Token};
use cobs::job::action::{Action, GrantKind, Settle};
use cobs::job::history::{Content, History, Op};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Mode, RetryPlace};
use cobs::job::state::{HandOver, Job, Status};

use super::world::World;
use crate::machine::wire::{Answer, Confirmation};
use crate::machine::{Asked, Machine, Millis, Note};

/// How far two clocks that are counted in whole milliseconds may be off.
const ROUNDING: u64 = 2;

impl World {
    /// An operation that a machine asks for: within its bounds, and worth something.
    pub fn check_action(&mut self, id: NodeId, job: JobId, kind: Asked, action: &Action) {
        action.check().expect("an action within its bounds");
        let told = self.nodes[&id].told[&job];
        assert!(kind == Asked::Done || told != Status::Settled, "{kind:?} of a settled job");
        if let Action::Grant(grant) = action {
            let state = self.evaluate(id, job).expect("its root is here");
            check_place(&state, grant.node);
            if !self.nodes[&id].untold.contains(&job) {
                self.check_grant(id, &state);
            }
        }
    }

    /// What stands below a new grant is reported, durably forbidden, or over.
    fn check_grant(&mut self, id: NodeId, job: &Job) {
        assert!(job.cancels.is_empty(), "grants a cancelled job");
        let cancelled = job.result().is_some_and(|(_, report)| report.outcome == RunOutcome::Cancelled);
        assert!(!cancelled, "tries again what was cancelled");
        let notes = self.nodes[&id].notes.get(&job.id);
        let noted = |token: &Token| notes.is_some_and(|notes| notes.contains(&(Note::NeverConfirm, *token)));
        let own = |token: &&Token| token.epoch == job.arbiter().0;
        let confirmed = |token: &Token| notes.is_some_and(|notes| notes.contains(&(Note::Confirmed, *token)));
        let mut silent = job.grants.keys().filter(|token| !job.dones.contains_key(token) && !noted(token));
        let lost = self.nodes[&id].unknown.contains(&job.id);
        let standing = silent.clone().filter(own).find(|token| !confirmed(token) && !lost);
        assert_eq!(standing, None, "grants above a term that it neither gave up nor forbade");
        let open = silent.next().is_some();
        let newest = job.holder().filter(|(token, _)| !job.dones.contains_key(token) && !noted(token));
        if newest.is_some() {
            self.count("re-grant after expiry");
        } else if open || !job.grants.is_empty() {
            self.count("re-grant");
        }
        self.check_idle(job.id, "another term is granted");
    }

    /// An operation that is written now.
    pub fn check_durable(&mut self, id: NodeId, job: JobId, action: &Action) {
        let Action::Settle(Settle { outcome, .. }) = action else { return };
        match outcome {
            Settlement::Lost { term } => {
                self.check_idle(job, "it is called lost");
                self.count("lost");
                assert!(!self.faults.calm, "term {term:?} of {job:?} is called lost while its holder renews");
            }
            Settlement::Expired => self.check_idle(job, "it is called expired"),
            Settlement::Cancelled | Settlement::Superseded { .. } | Settlement::Result { .. } => {}
        }
        let known = self.evaluate(id, job).expect("it knows the job");
        assert!(known.settled.is_none(), "settles again");
    }

    /// An arbiter confirms its highest token and no other, none that it noted, and none before it is written down.
    pub fn check_confirmation(&mut self, id: NodeId, to: NodeId, confirmation: &Confirmation) {
        for item in &confirmation.items {
            let Answer::Confirmed { lease_ms } = item.answer else { continue };
            let job = self.evaluate(id, item.job).expect("it knows the job");
            assert_eq!(job.arbiter().1, id, "confirms what another decides");
            if item.token.term == Term(0) {
                assert_eq!(job.create.mode, Mode::Idempotent);
                continue;
            }
            let highest = job.holder().map(|(token, _)| token);
            assert_eq!(highest, Some(item.token), "confirms another than its highest token");
            let notes = self.nodes[&id].notes.get(&item.job).cloned().unwrap_or_default();
            let forbidden = notes.contains(&(Note::NeverConfirm, item.token)) && item.token.epoch == job.arbiter().0;
            assert!(!forbidden, "confirms the forbidden {}", item.token);
            assert!(notes.contains(&(Note::Confirmed, item.token)), "confirms {} without a note", item.token);
            let grant = job.grants.get(&item.token).expect("it was granted");
            assert_eq!((grant.node, grant.lease_ms), (to, lease_ms));
            self.confirmed.insert((item.job, item.token, to), self.now);
        }
    }

    /// P2, and who may start what: by a grant of its own, by rank, within its slots, as often as the job allows.
    pub fn check_start(&self, id: NodeId, run: RunId, deadline: Option<Millis>) {
        let job = self.evaluate(id, run.job).expect("it knows the job");
        assert_eq!(run.node, id);
        assert!(self.submitted.contains(&run.job), "P5: runs what nobody submitted");
        if run.token.term == Term(0) {
            self.check_rank(id, &job);
        } else {
            let grant = job.grants.get(&run.token).expect("it was granted");
            assert_eq!(grant.node, id);
            assert_eq!(
                grant.kind == GrantKind::Held,
                deadline.is_none(),
                "a leased run has a deadline, a held one none"
            );
            self.check_deadline(run, deadline);
        }
        let node = &self.nodes[&id];
        let running = node.live.values().filter(|live| !live.stopping).count();
        assert!(running < node.member.slots as usize, "more runs than slots");
        let given_back =
            |run: &RunId| job.dones.get(&run.token).is_some_and(|report| report.outcome == RunOutcome::Released);
        let runs: BTreeSet<RunId> = self.nodes.values().flat_map(|node| node.began.iter().copied()).collect();
        // what left with its node, or was granted above a takeover's `last`, nobody can count
        let counts = |other: &RunId| other.job == run.job && *other != run && job.grants.contains_key(&other.token);
        let spent = runs.iter().filter(|other| counts(other));
        let spent = spent.filter(|other| !given_back(other) && !self.gave_back(other)).count();
        assert!(run.token.term == Term(0) || spent < job.create.spec.attempts as usize, "more runs than attempts");
    }

    fn gave_back(&self, run: &RunId) -> bool {
        self.logs[&run.node].iter().any(|(of, op)| match &op.content {
            Content::Action(Action::Done(done)) => {
                *of == run.job && done.token() == run.token && done.outcome == RunOutcome::Released
            }
            _ => false,
        })
    }

    fn check_rank(&self, id: NodeId, job: &Job) {
        assert_eq!(job.create.mode, Mode::Idempotent, "an exclusive job is started by rank");
        let rank = u64::try_from(job.rank(id).expect("a worker")).expect("small") + 1;
        let member = &self.nodes[&id].member;
        let wait = member.settings.hold_off.0 * rank * 1000 / member.rate_permille;
        let heard = self.heard.get(&(id, job.arbiter().1)).copied().unwrap_or(0);
        assert!(heard + wait <= self.now + ROUNDING, "starts by rank while its arbiter was heard");
    }

    /// A lease counts from the question, so it ends a lease after the answer left, or before.
    pub fn check_deadline(&self, run: RunId, deadline: Option<Millis>) {
        let job = self.evaluate(run.node, run.job).expect("it knows the job");
        let Some(deadline) = deadline else { return };
        // what it confirmed itself, as arbiter then or now
        if job.epochs.iter().any(|opened| opened.arbiter == run.node) {
            return;
        }
        let answered = self.confirmed.get(&(run.job, run.token, run.node));
        let answered = *answered.expect("a leased run without a confirmation");
        let Some(grant) = job.grants.get(&run.token) else { return };
        let until = self.nodes[&run.node].when(deadline);
        assert!(
            until <= answered + grant.lease_ms + ROUNDING,
            "a lease ends at {until}, its answer left at {answered}"
        );
    }

    /// No run of an exclusive job is alive.
    pub fn check_idle(&self, job: JobId, why: &str) {
        let runs = self.nodes.values().flat_map(|node| node.live.keys()).filter(|run| run.job == job);
        let alive: Vec<&RunId> = runs.collect();
        let Some(run) = alive.first() else { return };
        let exclusive = self.evaluate(run.node, job).is_some_and(|job| job.create.mode == Mode::Exclusive);
        assert!(!exclusive, "{why} while {run} is alive");
    }

    /// P2.
    pub fn check_exclusive(&self, job: JobId) {
        let on: Vec<NodeId> =
            self.nodes.values().filter(|node| node.live.keys().any(|run| run.job == job)).map(|node| node.id).collect();
        let exclusive = |node: &NodeId| self.evaluate(*node, job).is_some_and(|job| job.create.mode == Mode::Exclusive);
        assert!(on.len() <= 1 || !exclusive(&on[0]), "P2: {job} runs on {on:?} at once");
    }

    /// P1: a settle never changes, save by a takeover.
    pub fn check_settled(&mut self, state: &Arc<Job>) {
        let forced = state.epochs.iter().any(|opened| matches!(opened.by, Some(HandOver::Takeover(_))));
        assert!(forced || state.other_settles.is_empty(), "P1: two settles: {:?}", state.other_settles);
        let Some(settled) = state.settled else { return };
        match self.settled.get(&state.id) {
            Some(first) if *first == settled => {}
            Some(first) if forced && settled.epoch > first.epoch => {
                self.settled.insert(state.id, settled);
            }
            // a view that lags behind a takeover
            Some(first) if first.epoch > settled.epoch => {}
            Some(first) => panic!("P1: the settle of {} changed from {first:?} to {settled:?}", state.id),
            None => {
                self.settled.insert(state.id, settled);
            }
        }
    }

    /// P3: an idempotent job has a result while a worker lives, whether its arbiter does or not, and has room for it.
    pub fn check_idempotent(&self) {
        for id in self.staying() {
            let node = &self.nodes[&id];
            let has_room = |machine: &&Machine| machine.slots_used() < node.member.slots;
            let Some(machine) = node.machine.as_ref().filter(has_room) else { continue };
            for job in self.jobs() {
                let Some(job) = self.evaluate(id, job).filter(|job| job.create.mode == Mode::Idempotent) else {
                    continue;
                };
                let (epoch, arbiter) = job.arbiter();
                let open = job.settled.is_none() && job.cancels.is_empty() && job.create.workers.contains(&id);
                let gone = self.nodes.get(&arbiter).is_some_and(|node| node.gone);
                let tried = job.self_started.contains_key(&(epoch, id));
                let result = job.result().is_some_and(|(_, report)| report.outcome != RunOutcome::Lost);
                let why = machine.waits_for(job.id, node.clock(self.now));
                assert!(!open || !gone || tried || result, "P3: {} has no result on {id}: {why:?}", job.id);
            }
        }
    }

    pub fn staying(&self) -> Vec<NodeId> {
        self.nodes.values().filter(|node| !node.gone).map(|node| node.id).collect()
    }

    /// P6: what waits says why.
    fn check_reasons(&self) {
        for node in self.nodes.values() {
            let Some(machine) = &node.machine else { continue };
            for (job, status) in &node.told {
                let reason = machine.waits_for(*job, node.clock(self.now));
                let told = *status == Status::Settled || reason.as_ref().is_some_and(|reason| !reason.is_empty());
                assert!(told, "P6: {job} is {status:?} on {} and says nothing", node.id);
            }
        }
    }

    /// Everything is settled, the same everywhere, nothing acknowledged is lost, nothing is left in memory or running.
    pub fn check_end(&mut self) {
        self.check_reasons();
        let staying = self.staying();
        let known: Vec<JobId> =
            self.jobs().into_iter().filter(|job| staying.iter().any(|id| self.evaluate(*id, *job).is_some())).collect();
        for id in &staying {
            let node = &self.nodes[id];
            let machine = node.machine.as_ref().expect("it is up");
            for job in &known {
                let state = self.evaluate(*id, *job).expect("it arrived");
                let why = machine.waits_for(*job, node.clock(self.now));
                assert_eq!(state.status(), Status::Settled, "{job} on {id}: {why:?}\n{state:#?}");
                assert_eq!(state.settled, self.settled.get(job).copied(), "P1: {job} differs on {id}");
                self.check_authority(*id, &state);
            }
            for author in &staying {
                let (known, written) = (node.known.get(author).copied().unwrap_or(0), self.logs[author].len());
                assert_eq!(known, written, "P4: {id} has lost what {author} wrote");
            }
            assert_eq!(machine.slots_used(), 0, "slots of {id} are free again");
            assert!(node.live.is_empty(), "runs on {id} when all is settled: {:?}", node.live.keys());
            assert_eq!(machine.memory(), (0, 0), "entries and renewals of {id} are let go");
            let clock = node.clock(self.now);
            assert_eq!(machine.next_wake(clock), None, "nothing is left to do on {id}");
        }
    }

    /// P5: without the operations that their authors had no right to, the job is the same.
    fn check_authority(&self, id: NodeId, state: &Job) {
        let Some(forged) = self.forged.get(&state.id) else { return };
        let known = &self.nodes[&id].known;
        let ops = self.logs.iter().flat_map(|(author, log)| {
            let upto = known.get(author).copied().unwrap_or(0);
            log[..upto].iter().filter(|(of, op)| *of == state.id && !forged.contains(&op.id.tree)).map(|(_, op)| op)
        });
        let mut ops: Vec<Op> = ops.cloned().collect();
        let root = ops.iter().position(|op| matches!(&op.content, Content::Action(Action::Create(_))));
        let mut history = History::new(state.id, ops.remove(root.expect("the root is honest")));
        ops.into_iter().for_each(|op| history.insert(op));
        let mut honest = history.evaluate(&self.identity).expect("a good root");
        honest.ignored = state.ignored.clone();
        honest.last_seq = BTreeMap::clone(&state.last_seq);
        assert_eq!(&honest, state, "P5: {} means another thing by what nobody may write", state.id);
    }
}

/// After a run that was reported last of all terms, another is made where the job's policy says.
fn check_place(job: &Job, node: NodeId) {
    let Some((_, report)) = job.dones.iter().rev().find(|(_, report)| report.outcome != RunOutcome::Released) else {
        return;
    };
    let silent = job.grants.keys().any(|token| !job.dones.contains_key(token));
    let place = job.create.spec.retry.as_ref().map(|retry| retry.place).unwrap_or_default();
    let wrong = match place {
        RetryPlace::Any => false,
        RetryPlace::SameNode => node != report.node,
        RetryPlace::OtherNode => node == report.node,
    };
    assert!(silent || !wrong, "another attempt after {} is made on {node}, against {place:?}", report.node);
}

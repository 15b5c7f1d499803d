//! What people and the world do to a job: cancels, hand-overs, restarts at the worst time, power that fails, messages and
//! operations that nobody honest sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use cobs::id::{Epoch, JobId, NodeId, RunId, Seq, Term, Token};
use cobs::job::action::{Action, Bid, Cancel, Digests, Done, Grant, GrantKind, Settle, StepDown, Takeover};
use cobs::job::history::{Content, History, Op};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::RetryPlace;
use cobs::job::state::Job;

use super::common::job_id;
use super::driver::report;
use super::occur::Occur;
use super::world::World;
use crate::machine::Event;
use crate::machine::wire::{Answer, Confirmation, ConfirmationItem, Message, Phase, Renewal, RenewalItem};

/// Most hand-overs of one job.
const EPOCHS: usize = 5;
/// The longest lease of these worlds, in milliseconds.
const LEASE_LONGEST: u64 = 8_000;
/// From one try to cancel what hangs to the next.
const CANCEL_AGAIN: u64 = 5_000;

impl World {
    pub fn sever(&mut self) {
        let runs = self.nodes.values().flat_map(|node| node.live.keys().copied());
        let arbiters = runs.filter_map(|run| Some((run.node, self.evaluate(run.node, run.job)?.arbiter().1)));
        let found = arbiters.filter(|(holder, arbiter)| holder != arbiter && self.is_up(*arbiter)).min();
        if let Some((a, b)) = found {
            for (from, to) in [(a, b), (b, a)] {
                self.at(self.now, Occur::Cut { from, to, what: Occur::CUT_BOTH });
                self.at(self.now + 12_000, Occur::Heal { from, to });
            }
            self.crash(b);
            self.at(self.now + 100, Occur::Boot { node: b });
        }
    }

    pub fn count_crash(&mut self, id: NodeId) {
        self.count("crash");
        let runs: Vec<RunId> = self.nodes.values().flat_map(|node| node.live.keys().copied()).collect();
        let leased = runs.iter().any(|run| {
            let live = &self.nodes[&run.node].live[run];
            live.deadline.is_some() && self.evaluate(run.node, run.job).is_some_and(|job| job.arbiter().1 == id)
        });
        if leased {
            self.count("restart in mid-lease");
        }
    }

    /// The supervisor of some run dies; the run goes with it, and its daemon finds out.
    pub fn supervisor_dies(&mut self) {
        let runs: Vec<RunId> = self.nodes.values().flat_map(|node| node.live.keys().copied()).collect();
        if !runs.is_empty() {
            let run = runs[self.random.index(runs.len())];
            self.count("supervisor dies");
            self.run_ends(run.node, run, report(RunOutcome::Lost));
        }
    }

    /// All runs of a machine end with it, and its clock begins anew.
    pub fn power_loss(&mut self, id: NodeId) {
        if self.nodes[&id].gone {
            return;
        }
        self.count("power loss");
        self.crash(id);
        let offset = self.random.between(0, 1_000_000);
        let node = self.nodes.get_mut(&id).expect("a node");
        for run in std::mem::take(&mut node.live).into_keys() {
            // what a run has left beside the record of its start may be gone as well
            if self.random.percent(50) {
                node.reports.insert(run, report(RunOutcome::Lost));
            }
        }
        node.offset = offset;
    }

    /// A machine whose disk was lost goes on with a copy of its home, and takes back from its peers what it had written:
    /// it does not know any more what it started, noted or ran.
    pub fn lose_state(&mut self, id: NodeId) {
        if self.nodes[&id].gone {
            return;
        }
        self.power_loss(id);
        self.count("state lost");
        let jobs = self.jobs();
        let node = self.nodes.get_mut(&id).expect("a node");
        node.unknown.extend(jobs);
        node.notes.clear();
        node.started.clear();
        node.reports.clear();
    }

    pub fn trust(&mut self, id: NodeId, of: NodeId, does: bool) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let changed = if does { node.distrusts.remove(&of) } else { node.distrusts.insert(of) };
        if changed {
            self.count(if does { "trusted again" } else { "trusted no more" });
            self.tell_trusted(id);
        }
    }

    pub fn leave(&mut self, id: NodeId) {
        self.power_loss(id);
        self.nodes.get_mut(&id).expect("a node").gone = true;
        self.count("leave");
    }

    /// The job as it would be known to who knew all that has not left with its nodes.
    pub fn truth(&self, job: JobId) -> Option<Arc<Job>> {
        let mut all: Vec<Op> = Vec::new();
        for (author, log) in &self.logs {
            let stay = self.nodes.values().filter(|node| !node.gone);
            let upto = stay.filter_map(|node| node.known.get(author)).max().copied().unwrap_or(0);
            all.extend(log[..upto].iter().filter(|(of, _)| *of == job).map(|(_, op)| op.clone()));
        }
        let root = all.iter().position(|op| matches!(&op.content, Content::Action(Action::Create(_))))?;
        let mut history = History::new(job, all.remove(root));
        all.into_iter().for_each(|op| history.insert(op));
        Some(Arc::new(history.evaluate(&self.identity).expect("a good root")))
    }

    /// Its author asks for the end, or a delegate where the author is away.
    pub fn cancel(&mut self, job: JobId) {
        let Some(truth) = self.truth(job) else { return };
        let asks = std::iter::once(truth.author).chain(self.delegates.iter().copied());
        let Some(by) = asks.into_iter().find(|id| self.is_up(*id) && self.evaluate(*id, job).is_some()) else { return };
        if truth.settled.is_none() && !truth.cancels.contains_key(&by) {
            self.count("cancel");
            self.append(by, job, Action::Cancel(Cancel { job, seq: Seq(0), reason: String::new() }));
            self.tell_job(by, job);
        }
    }

    /// Runs that would never end by themselves are cancelled, and held terms of nodes that are gone.
    pub fn end_what_hangs(&mut self) {
        let runs = self.nodes.values().flat_map(|node| node.live.keys().map(|run| run.job));
        let held = self.jobs().into_iter().filter(|job| {
            let holder = self.truth(*job).and_then(|truth| truth.holder().map(|(_, granted)| *granted));
            holder.is_some_and(|granted| granted.kind == GrantKind::Held && self.nodes[&granted.node].gone)
        });
        let jobs: Vec<JobId> = runs.chain(held).collect();
        for job in jobs {
            for again in 0..8 {
                self.after(30_000 + again * CANCEL_AGAIN, Occur::Cancel { job });
            }
        }
    }

    pub fn hand_over(&mut self, job: JobId) {
        let Some(truth) = self.truth(job) else { return };
        let (_, arbiter) = truth.arbiter();
        let place = truth.create.arbiters.iter().position(|listed| *listed == arbiter);
        let later = &truth.create.arbiters[place.map_or(0, |place| place + 1)..];
        if self.is_up(arbiter) && !later.is_empty() && truth.epochs.len() < EPOCHS {
            let to = later[self.random.index(later.len())];
            let life = self.nodes[&arbiter].life;
            self.dispatch(arbiter, life, Event::HandOver { job, to });
        }
    }

    /// A delegate replaces an arbiter that is down. What the protocol asks of people is kept: it is really down, hears of
    /// it before it acts again, no held grant of it is overlooked, and no run that is given up is alive.
    pub fn take_over(&mut self, job: JobId) {
        let Some(truth) = self.truth(job) else { return };
        let (epoch, arbiter) = truth.arbiter();
        let up: Vec<NodeId> = self.staying().into_iter().filter(|id| self.is_up(*id)).collect();
        let delegate = self.delegates.iter().copied().find(|id| self.is_up(*id));
        let Some(delegate) = delegate.filter(|_| !self.is_up(arbiter) && truth.epochs.len() < EPOCHS) else { return };
        let Some(view) = self.evaluate_stored(delegate, job).filter(|view| view.settled.is_none()) else { return };
        let held = |job: &Job| job.grants.values().filter(|granted| granted.kind == GrantKind::Held).count();
        if view.arbiter().0 != epoch || held(&view) != held(&truth) || truth.settled.is_some() {
            return;
        }
        let alive = self.nodes.values().any(|node| node.live.keys().any(|run| run.job == job));
        let open = view.holder().filter(|(token, granted)| {
            granted.kind == GrantKind::Held && !view.dones.contains_key(token) && !truth.dones.contains_key(token)
        });
        let abandoned = open.map(|(token, _)| token.term).filter(|_| !alive);
        let last = view.grants.keys().map(|token| token.term).max().unwrap_or_default();
        let last = last.max(view.epochs.last().map_or(Term(0), |opened| opened.last));
        let to = up[self.random.index(up.len())];
        let lease_ms = (!self.random.percent(5)).then_some(LEASE_LONGEST);
        let (seq, epoch, reason) = (Seq(0), Epoch(epoch.0 + 1), "it is dead".into());
        let takeover = Takeover { job, seq, epoch, to, last, abandoned, lease_ms, reason };
        self.append(delegate, job, Action::Takeover(takeover));
        self.tell_job(delegate, job);
    }

    pub fn usurp(&mut self) {
        let runs = self.nodes.values().flat_map(|node| node.live.iter());
        let leased = runs.filter(|(_, live)| live.deadline.is_some()).map(|(run, _)| *run);
        let arbiters = leased.filter_map(|run| Some((run, self.truth(run.job)?.arbiter().1)));
        let found = arbiters.filter(|(run, arbiter)| run.node != *arbiter && self.is_up(*arbiter)).min();
        if let Some((run, arbiter)) = found {
            self.crash(arbiter);
            self.take_over(run.job);
        }
        // or one that holds its own job and has not begun
        let unbegun = self.jobs().into_iter().find_map(|job| {
            let truth = self.truth(job)?;
            let ((token, granted), (_, arbiter)) = (truth.holder()?, truth.arbiter());
            let own = granted.kind == GrantKind::Held && granted.node == arbiter && self.is_up(arbiter);
            let begun = self.nodes[&arbiter].began.iter().any(|run| run.job == job && run.token == token);
            (own && !begun && truth.settled.is_none()).then_some((job, arbiter))
        });
        if let Some((job, arbiter)) = unbegun {
            self.crash(arbiter);
            self.take_over(job);
        }
    }

    /// Who was replaced by force hears of it before it acts again.
    pub fn hear_of_takeovers(&mut self, id: NodeId) {
        let mut upto: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (author, log) in &self.logs {
            let last = log.iter().rposition(|(_, op)| matches!(&op.content, Content::Action(Action::Takeover(_))));
            if let Some(index) = last {
                upto.insert(*author, index + 1);
            }
        }
        for (author, upto) in upto {
            self.learn(id, author, upto);
        }
    }

    /// Delegates replace the arbiters that are gone for good, and end what only those could.
    pub fn replace_the_gone(&mut self) {
        self.end_what_hangs();
        for job in self.jobs() {
            let Some(truth) = self.truth(job) else { continue };
            if self.nodes.get(&truth.arbiter().1).is_some_and(|node| node.gone) {
                // one that was known to those alone who left is never heard of again
                for again in 0..3 {
                    self.at(self.now + 1_000 + again * 1_000, Occur::TakeOver { job });
                }
            }
        }
        for job in self.jobs() {
            if self.truth(job).is_some_and(|truth| self.waits_for_the_gone(&truth)) {
                self.at(self.now + 300_000, Occur::Cancel { job });
            }
        }
    }

    /// Whether a job can only be run, or by its policy only be tried again, by nodes that will not come back.
    fn waits_for_the_gone(&self, job: &Job) -> bool {
        let gone = |id: &NodeId| self.nodes[id].gone;
        let left = job.create.workers.iter().filter(|worker| !gone(worker)).count();
        left == 0
            || match job.create.spec.retry.as_ref().map(|retry| retry.place).unwrap_or_default() {
                RetryPlace::Any => false,
                // which of them counts as tried last only its arbiter knows
                RetryPlace::SameNode => job.grants.values().any(|granted| gone(&granted.node)),
                RetryPlace::OtherNode => left == 1 && job.create.workers.len() > 1,
            }
    }

    pub fn count_written(&mut self, author: NodeId, job: JobId, action: &Action) {
        match action {
            Action::StepDown(_) => self.count("hand-over"),
            Action::Takeover(_) => self.count("takeover"),
            Action::Done(done) if self.nodes.contains_key(&author) => {
                let late = self.truth(job).is_some_and(|truth| {
                    truth.settled.is_some() || truth.holder().is_some_and(|(token, _)| token > done.token())
                });
                if late {
                    self.count("late done");
                }
            }
            Action::Create(_)
            | Action::Bid(_)
            | Action::Grant(_)
            | Action::Done(_)
            | Action::Settle(_)
            | Action::Cancel(_) => {}
        }
    }

    /// A message that nobody honest sends: tokens of others and of the future, answers never asked for.
    pub fn lie(&mut self, from: NodeId, to: NodeId) {
        let job = job_id(self.random.between(0, 5));
        let term = u32::try_from(self.random.between(0, 4)).expect("small");
        let token = Token::new(u32::try_from(self.random.between(0, 2)).expect("small"), term);
        let number = if self.random.percent(50) { self.random.between(0, 20) + (1 << 32) } else { self.random.draw() };
        let message = if self.random.percent(50) {
            let phase = [Phase::Waiting, Phase::Running, Phase::Finished][self.random.index(3)];
            let epoch = Epoch(u32::try_from(self.random.between(0, 3)).expect("small"));
            Message::Renewal(Renewal { number, items: vec![RenewalItem { job, token, phase, epoch }; 3] })
        } else {
            let answers = [
                Answer::Confirmed { lease_ms: u64::MAX },
                Answer::Settled,
                Answer::Replaced,
                Answer::Cancel,
                Answer::HandedOver { epoch: Epoch(9) },
            ];
            let answer = answers[self.random.index(5)];
            Message::Confirmation(Confirmation { number, items: vec![ConfirmationItem { job, token, answer }; 3] })
        };
        // an honest arbiter is a premise, so it does not confirm what it never decided
        let decides = |state: &Job| state.epochs.iter().any(|opened| opened.arbiter == from);
        let arbiter = self.truth(job).is_some_and(|truth| decides(&truth));
        // whoever renews by rank has started by rank
        let by_rank = token.term == Term(0);
        if (matches!(message, Message::Renewal(_)) && !by_rank) || !arbiter {
            self.after(1, Occur::Message { from, to, message });
        }
    }

    /// Another's root under an id of its own: a signature covers no more than the content.
    fn copy_root(&mut self, by: NodeId, job: JobId) {
        let is_root = |op: &Op| matches!(&op.content, Content::Action(Action::Create(_)));
        let found = self.logs.values().flatten().find(|(of, op)| *of == job && is_root(op) && op.id.author != by);
        let Some(root) = found.map(|(_, op)| op.clone()) else { return };
        let copy = job_id(1_000 + self.ops);
        self.count("copied root");
        self.ops += 1;
        self.logs.entry(by).or_default().push((copy, root));
        self.announce(by);
    }

    /// An operation that its author has no right to.
    pub fn forge(&mut self, author: NodeId) {
        let jobs = self.jobs();
        if jobs.is_empty() || (self.nodes.contains_key(&author) && !self.is_up(author)) {
            return;
        }
        let job = jobs[self.random.index(jobs.len())];
        let Some(truth) = self.truth(job) else { return };
        let (seq, epoch, me) = (Seq(0), Epoch(0), author);
        let arbiter = truth.arbiter_of(epoch) == Some(me);
        let delegate = self.delegates.contains(&me);
        let theirs = truth.grants.iter().find(|(_, granted)| granted.node != me).map(|(token, _)| *token);
        let last = truth.grants.keys().map(|token| token.term.0).max().unwrap_or(0);
        let (kind, lease_ms, worker) = (GrantKind::Leased, 1_000, truth.create.workers.contains(&me));
        let action = match self.random.between(0, 7) {
            7 => {
                self.copy_root(author, job);
                return;
            }
            0 if !arbiter => Action::Grant(Grant { job, seq, epoch, term: Term(last + 1), node: me, kind, lease_ms }),
            1 if !arbiter => Action::Settle(Settle { job, seq, epoch, outcome: Settlement::Cancelled }),
            2 if !arbiter => {
                Action::StepDown(StepDown { job, seq, epoch, to: me, last: Term(last), unconfirmed: true })
            }
            3 if !delegate => {
                let (abandoned, lease_ms, reason) = (Some(Term(last)), Some(1_000), String::new());
                let epoch = Epoch(truth.arbiter().0.0 + 1);
                Action::Takeover(Takeover { job, seq, epoch, to: me, last: Term(last), abandoned, lease_ms, reason })
            }
            4 if !delegate && truth.author != me => Action::Cancel(Cancel { job, seq, reason: String::new() }),
            5 if !worker => Action::Bid(Bid { job, seq, score: 1_000, reason: String::new() }),
            6 => {
                let Some(token) = theirs else { return };
                let (epoch, term, outcome) = (token.epoch, token.term, RunOutcome::Exited { code: 0 });
                let (digests, tail, reason, duration_ms) = (Digests::default(), String::new(), String::new(), 1);
                Action::Done(Done { job, seq, epoch, term, outcome, digests, tail, reason, duration_ms })
            }
            _ => return,
        };
        self.count("forged");
        self.append(author, job, action);
        let tree = self.logs[&author].last().expect("just written").1.id.tree;
        self.forged.entry(job).or_default().insert(tree);
        if self.nodes.contains_key(&author) {
            self.tell_job(author, job);
        }
    }
}

//! The driver of one simulated node: carries effects out strictly, checks what it is told to do, loses its memory in a
//! crash and keeps its disk.

use std::collections::BTreeSet;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::{Action, Digests, GrantKind, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::Mode;
use cobs::job::state::{Job, Status};

use super::common::capacity;
use super::world::{Live, Occur, World};
use crate::machine::wire::{Answer, Confirmation, Message};
use crate::machine::{Asked, Effect, Event, JobSeen, Machine, Millis, Origin, RunReport, StopReason};

/// Most effects of one event in these small worlds.
const EFFECTS_MAX: usize = 60;
/// How late a kill may land, in true time: within KILL_GRACE on the fastest clock.
const KILL_LATE_MAX: u64 = 800;

fn report(outcome: RunOutcome) -> RunReport {
    RunReport { outcome, digests: Digests::default(), tail: "tail".into(), reason: String::new(), duration_ms: 1 }
}

impl World {
    /// Gives one event to a machine and does what it says.
    pub fn dispatch(&mut self, id: NodeId, life: u32, event: Event) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.life != life {
            return;
        }
        let clock = node.clock(self.now);
        let Some(machine) = &mut node.machine else { return };
        let effects = machine.handle(event.clone(), clock);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of {event:?}: {effects:?}", effects.len());
        for effect in effects {
            self.carry_out(id, life, effect);
        }
        // the driver asks a little later than it handled
        let later = self.now + self.random.between(0, 20);
        let node = &self.nodes[&id];
        let clock = node.clock(later);
        if let Some(wake) = node.machine.as_ref().and_then(|machine| machine.next_wake(clock)) {
            assert!(wake > clock, "a wake at {wake:?}, not after {clock:?}");
            let at = node.when(wake).max(self.now);
            if node.wake.is_none_or(|queued| queued <= self.now || queued > at) {
                self.nodes.get_mut(&id).expect("a node").wake = Some(at);
                self.at(at, Occur::Event { node: id, life, event: Event::Tick });
            }
        }
    }

    fn carry_out(&mut self, id: NodeId, life: u32, effect: Effect) {
        match effect {
            Effect::Sign { job, kind, action, why } => self.sign(id, life, job, kind, action, &why),
            Effect::Note { job, token } => {
                self.check_idle(job);
                let most = if self.random.percent(30) { 2_000 } else { 40 };
                let delay = self.random.between(1, most);
                self.after(delay, Occur::Noted { node: id, life, job, token });
            }
            Effect::Send { to, message } => {
                if let Message::Confirmation(confirmation) = &message {
                    self.check_confirmation(id, to, confirmation);
                }
                self.send(id, to, &message);
            }
            Effect::Prepare { run } => {
                let fails = self.random.percent(self.faults.prepare_fails);
                let event = if fails {
                    Event::NotPrepared { run, outcome: RunOutcome::CouldNotStart, reason: "gone".into() }
                } else {
                    Event::Prepared { run }
                };
                let delay = self.random.between(1, 400);
                self.after(delay, Occur::Event { node: id, life, event });
            }
            Effect::Start { run, deadline } => self.start(id, life, run, deadline),
            Effect::Extend { run, deadline } => {
                self.check_deadline(run, deadline);
                let node = self.nodes.get_mut(&id).expect("a node");
                if let Some(live) = node.live.get_mut(&run) {
                    live.deadline = live.deadline.max(Some(deadline));
                    self.watch(id, run, deadline);
                }
            }
            Effect::Stop { run, reason, grace } => self.stop(id, run, reason, grace),
            Effect::Discard { run } => assert!(!self.nodes[&id].live.contains_key(&run), "discards a live run"),
        }
    }

    fn sign(&mut self, id: NodeId, life: u32, job: JobId, kind: Asked, action: Action, why: &str) {
        assert!(!why.is_empty());
        let node = self.nodes.get_mut(&id).expect("a node");
        assert!(node.asking.insert((job, kind)), "{kind:?} of {job:?} is asked for twice");
        assert!(kind == Asked::Done || node.told[&job] != Status::Settled, "{kind:?} of a settled job");
        let state = self.evaluate(id, job).expect("its root is here");
        if kind == Asked::Grant {
            self.check_grant(id, &state);
        }
        action.check().expect("an action within its bounds");
        let delay = if self.random.percent(5) { self.random.between(100, 900) } else { self.random.between(1, 30) };
        if self.random.percent(self.faults.sign_fails) {
            self.after(delay, Occur::Event { node: id, life, event: Event::NotSigned { job, kind } });
            let node = self.nodes.get_mut(&id).expect("a node");
            node.asking.remove(&(job, kind));
            return;
        }
        self.after(delay, Occur::Durable { node: id, life, job, kind, action });
    }

    pub fn durable(&mut self, id: NodeId, life: u32, job: JobId, kind: Asked, action: Action) {
        if let Action::Settle(Settle { outcome: Settlement::Lost { .. } | Settlement::Expired, .. }) = &action {
            self.check_idle(job);
        }
        if let Action::Settle(Settle { outcome: Settlement::Lost { term }, .. }) = &action {
            self.count("lost");
            let faults = self.faults;
            let calm = faults.loss == 0 && faults.crashes == 0 && faults.partitions == 0;
            assert!(!calm, "term {term:?} of {job:?} is settled as lost while its holder renews");
        }
        self.append(id, job, action);
        self.nodes.get_mut(&id).expect("a node").asking.remove(&(job, kind));
        self.tell_job(id, job);
        self.dispatch(id, life, Event::Signed { job, kind });
    }

    pub fn noted(&mut self, id: NodeId, life: u32, job: JobId, token: Token) {
        self.count("note");
        self.nodes.get_mut(&id).expect("a node").notes.entry(job).or_default().insert(token);
        self.dispatch(id, life, Event::Noted { job, token });
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let faults = self.faults;
        let copies = if self.random.percent(faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.random.percent(faults.loss) {
                let delay = self.random.between(1, faults.link_delay_max);
                self.after(delay, Occur::Message { from, to, message: message.clone() });
            }
        }
    }

    /// An arbiter confirms its highest token and no other, and none that it noted.
    fn check_confirmation(&mut self, id: NodeId, to: NodeId, confirmation: &Confirmation) {
        for item in &confirmation.items {
            let Answer::Confirmed { lease_ms } = item.answer else { continue };
            let granted = self.logs[&id].iter().filter_map(|(job, op)| match &op.content {
                cobs::job::history::Content::Action(Action::Grant(grant)) if *job == item.job => Some(grant.token()),
                _ => None,
            });
            assert!(granted.max() <= Some(item.token), "confirms {} below its highest token", item.token);
            let noted = self.nodes[&id].notes.get(&item.job).is_some_and(|tokens| tokens.contains(&item.token));
            assert!(!noted, "confirms the noted {}", item.token);
            let job = self.evaluate(id, item.job).expect("it knows the job");
            let (_, arbiter) = job.arbiter();
            let grant = job.grants.get(&item.token).expect("it granted the token");
            assert_eq!((arbiter, grant.node, grant.lease_ms), (id, to, lease_ms));
            self.confirmed.insert((item.job, item.token, to), self.now);
        }
    }

    fn start(&mut self, id: NodeId, life: u32, run: RunId, deadline: Option<Millis>) {
        let job = self.evaluate(id, run.job).expect("it knows the job");
        let grant = job.grants.get(&run.token).expect("it was granted");
        assert_eq!((grant.node, run.node), (id, id));
        match grant.kind {
            GrantKind::Held => assert_eq!(deadline, None),
            GrantKind::Leased => {
                assert!(deadline.is_some(), "a leased run without a deadline");
                self.check_deadline(run, deadline.expect("just seen"));
            }
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        assert!(node.live.len() < node.slots as usize, "more runs than slots");
        if !node.started.insert(run) {
            let event = Event::Ended { run, report: report(RunOutcome::Lost) };
            self.after(0, Occur::Event { node: id, life, event });
            return;
        }
        node.live.insert(run, Live { deadline });
        self.count("start");
        self.check_exclusive(run.job, job.create.mode);
        if let Some(deadline) = deadline {
            self.watch(id, run, deadline);
        }
        let lasts =
            if self.random.percent(70) { self.random.between(5, 4_000) } else { self.random.between(5, 30_000) };
        let code = u8::try_from(self.random.between(0, 1)).expect("a bit");
        self.after(lasts, Occur::RunEnds { node: id, run, report: report(RunOutcome::Exited { code }) });
    }

    /// A lease counts from the question, so it ends a lease after the answer left, or before.
    fn check_deadline(&self, run: RunId, deadline: Millis) {
        let job = self.evaluate(run.node, run.job).expect("it knows the job");
        if job.arbiter().1 == run.node {
            return;
        }
        let answered = self.confirmed.get(&(run.job, run.token, run.node));
        let answered = *answered.expect("a leased run without a confirmation");
        let lease = job.grants[&run.token].lease_ms;
        let until = self.nodes[&run.node].when(deadline);
        assert!(until <= answered + lease + 2, "a lease ends at {until}, its last answer left at {answered}");
    }

    /// What stands below a new grant is reported, or durably forbidden.
    fn check_grant(&self, id: NodeId, job: &Job) {
        assert!(job.cancels.is_empty(), "grants a cancelled job");
        let noted = |token| self.nodes[&id].notes.get(&job.id).is_some_and(|tokens| tokens.contains(token));
        let open = job.grants.keys().find(|token| !job.dones.contains_key(token) && !noted(token));
        assert_eq!(open, None, "grants above a term that is open");
        self.check_idle(job.id);
    }

    fn check_idle(&self, job: JobId) {
        let alive = self.nodes.values().any(|node| node.live.keys().any(|run| run.job == job));
        assert!(!alive, "{job:?} is given up or away while it runs");
    }

    fn check_exclusive(&self, job: JobId, mode: Mode) {
        let on = |node: &&super::world::Node| node.live.keys().any(|run| run.job == job);
        let nodes = self.nodes.values().filter(on).count();
        assert!(mode == Mode::Idempotent || nodes <= 1, "{job:?} runs on {nodes} nodes at once");
    }

    /// The supervisor wakes at the deadline, or up to its grace later.
    fn watch(&mut self, id: NodeId, run: RunId, deadline: Millis) {
        let late = if self.random.percent(50) { KILL_LATE_MAX } else { self.random.between(0, KILL_LATE_MAX) };
        let at = self.nodes[&id].when(deadline) + late;
        self.at(at, Occur::KillCheck { node: id, run });
    }

    pub fn kill_check(&mut self, id: NodeId, run: RunId) {
        let node = &self.nodes[&id];
        let clock = node.clock(self.now);
        if node.live.get(&run).is_some_and(|live| live.deadline.is_some_and(|deadline| deadline <= clock)) {
            self.count("killed at the deadline");
            self.run_ends(id, run, report(RunOutcome::Lost));
        }
    }

    fn stop(&mut self, id: NodeId, run: RunId, _reason: StopReason, grace: Millis) {
        self.count("stop");
        let outcome = match self.random.between(0, 3) {
            0 => RunOutcome::Exited { code: 0 },
            1 => RunOutcome::Cancelled,
            _ => RunOutcome::Signalled { signal: 15 },
        };
        let delay = self.random.between(0, grace.0);
        self.after(delay, Occur::RunEnds { node: id, run, report: report(outcome) });
    }

    pub fn run_ends(&mut self, id: NodeId, run: RunId, report: RunReport) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.live.remove(&run).is_none() {
            return;
        }
        node.reports.insert(run, report.clone());
        let life = node.life;
        let delay = self.random.between(0, 50);
        self.after(delay, Occur::Event { node: id, life, event: Event::Ended { run, report } });
    }

    /// Tells the machine of a job as its node's storage has it, and checks what may never change.
    pub fn tell_job(&mut self, id: NodeId, job: JobId) {
        self.tell_job_of(id, job, Origin::Live);
    }

    fn tell_job_of(&mut self, id: NodeId, job: JobId, origin: Origin) {
        let Some(state) = self.evaluate(id, job) else { return };
        assert!(state.other_settles.is_empty(), "two settles: {:?}", state.other_settles);
        if let Some(settled) = state.settled {
            let first = *self.settled.entry(job).or_insert(settled);
            assert_eq!(first, settled, "the settle of {job:?} changed");
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        node.told.insert(job, state.status());
        let node = &self.nodes[&id];
        let never_confirm = node.notes.get(&job).cloned().unwrap_or_default();
        let seen = JobSeen { job: state, created_ms: 0, origin, never_confirm };
        self.dispatch(id, node.life, Event::Job(Box::new(seen)));
    }

    /// The daemon dies: what it was writing is there or not, and nobody knows which.
    pub fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.machine.take().is_none() {
            return;
        }
        node.asking.clear();
        node.told.clear();
        self.count("crash");
        for occur in self.take_pending(id) {
            match occur {
                Occur::Durable { job, action, .. } if self.random.percent(50) => self.append(id, job, action),
                Occur::Noted { job, token, .. } if self.random.percent(50) => {
                    self.nodes.get_mut(&id).expect("a node").notes.entry(job).or_default().insert(token);
                }
                _ => {}
            }
        }
        let down =
            if self.random.percent(60) { self.random.between(50, 2_000) } else { self.random.between(50, 30_000) };
        self.after(down, Occur::Boot { node: id });
    }

    /// A new life: a machine that remembers nothing, the runs that the supervisors kept, the jobs on disk.
    pub fn boot(&mut self, id: NodeId) {
        if self.is_up(id) {
            return;
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        node.life += 1;
        node.wake = None;
        let life = node.life;
        node.machine = Some(Machine::new(id, node.settings, life));
        let slots = node.slots;
        let admitted: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        self.dispatch(id, life, Event::Capacity(Box::new(capacity(id, slots))));
        self.dispatch(id, life, Event::Arbitrates(admitted.clone()));
        self.dispatch(id, life, Event::Admitted(admitted));
        let first = self.random.percent(50);
        if first {
            self.tell_runs(id, life);
        }
        for job in self.jobs() {
            self.tell_job_of(id, job, Origin::Start);
        }
        if !first {
            self.tell_runs(id, life);
        }
        for peer in self.ids() {
            self.greet(id, peer);
        }
    }

    pub fn jobs(&self) -> Vec<JobId> {
        let roots = self.logs.values().flatten();
        let mut jobs: Vec<JobId> = roots.map(|(job, _)| *job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    fn tell_runs(&mut self, id: NodeId, life: u32) {
        let node = &self.nodes[&id];
        let runs: Vec<RunId> = node.started.iter().copied().collect();
        for run in runs {
            let node = &self.nodes[&id];
            if node.live.contains_key(&run) {
                self.count("adopted");
                self.dispatch(id, life, Event::Adopted { run });
            } else if let Some(report) = node.reports.get(&run).cloned() {
                // a run that is reported already may be told again
                let done = self.evaluate(id, run.job).is_some_and(|job| job.dones.contains_key(&run.token));
                if !done || self.random.percent(30) {
                    self.count("ended while the daemon was down");
                    self.dispatch(id, life, Event::Ended { run, report });
                }
            }
        }
    }
}

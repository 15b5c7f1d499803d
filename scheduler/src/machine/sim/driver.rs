//! The driver of one node: carries effects out strictly, loses its memory in a crash and keeps its disk.

use std::collections::BTreeSet;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::{Action, Digests};
use cobs::job::outcome::RunOutcome;

use super::common::capacity;
use super::occur::Occur;
use super::world::{Live, World};
use crate::machine::mutation::{self, Mutation};
use crate::machine::wire::{Answer, Message};
use crate::machine::{Asked, Effect, Event, JobSeen, Machine, Millis, Note, Origin, RunReport};

/// Most effects of one event in these small worlds.
const EFFECTS_MAX: usize = 60;
/// How late a kill may land, in true time: within KILL_GRACE on the fastest clock.
const KILL_LATE_MAX: u64 = 800;
/// True time after which a run that hangs is ended by nobody but its cancel.
const HANGS: u64 = 100_000_000;

pub fn report(outcome: RunOutcome) -> RunReport {
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
        let effects = machine.handle(event, clock);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of one event: {effects:?}", effects.len());
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
            Effect::Note { job, token, note } => {
                if note == Note::NeverConfirm {
                    self.check_idle(job, "a term is given up");
                }
                let most = if self.random.percent(30) { 2_000 } else { 40 };
                let delay = self.random.between(1, most);
                // tried until it is written
                let delay = delay + self.nodes[&id].full_until.saturating_sub(self.now);
                self.after(delay, Occur::Noted { node: id, life, job, token, note });
            }
            Effect::Send { to, message } => {
                if let Message::Confirmation(confirmation) = &message {
                    self.check_confirmation(id, to, confirmation);
                }
                self.send(id, to, &message);
            }
            Effect::Prepare { run } => {
                let event = if self.random.percent(self.faults.prepare_fails) {
                    let outcome =
                        if self.random.percent(50) { RunOutcome::CouldNotStart } else { RunOutcome::Released };
                    Event::NotPrepared { run, outcome, reason: "gone".into() }
                } else {
                    Event::Prepared { run }
                };
                let delay = self.random.between(1, 400);
                self.after(delay, Occur::Event { node: id, life, event });
            }
            Effect::Start { run, deadline } => self.start(id, life, run, deadline),
            Effect::Extend { run, deadline } => {
                self.check_deadline(run, Some(deadline));
                let node = self.nodes.get_mut(&id).expect("a node");
                if let Some(live) = node.live.get_mut(&run) {
                    live.deadline = live.deadline.max(Some(deadline));
                    self.watch(id, run, deadline);
                }
            }
            Effect::Stop { run, grace, .. } => self.stop(id, run, grace),
            Effect::Discard { run } => assert!(!self.nodes[&id].live.contains_key(&run), "discards a live run"),
        }
    }

    fn sign(&mut self, id: NodeId, life: u32, job: JobId, kind: Asked, action: Action, why: &str) {
        assert!(!why.is_empty());
        let node = self.nodes.get_mut(&id).expect("a node");
        assert!(node.asking.insert((job, kind)), "{kind:?} of {job:?} is asked for twice");
        self.check_action(id, job, kind, &action);
        let delay = if self.random.percent(5) { self.random.between(100, 900) } else { self.random.between(1, 30) };
        if self.random.percent(self.faults.sign_fails) || self.nodes[&id].full_until > self.now {
            self.after(delay, Occur::Event { node: id, life, event: Event::NotSigned { job, kind } });
            self.nodes.get_mut(&id).expect("a node").asking.remove(&(job, kind));
            return;
        }
        self.after(delay, Occur::Durable { node: id, life, job, kind, action });
    }

    pub fn durable(&mut self, id: NodeId, life: u32, job: JobId, kind: Asked, action: Action) {
        self.check_durable(id, job, &action);
        self.append(id, job, action);
        self.nodes.get_mut(&id).expect("a node").asking.remove(&(job, kind));
        self.tell_job(id, job);
        self.dispatch(id, life, Event::Signed { job, kind });
    }

    pub fn noted(&mut self, id: NodeId, life: u32, job: JobId, token: Token, note: Note) {
        self.count("note");
        self.nodes.get_mut(&id).expect("a node").notes.entry(job).or_default().insert((note, token));
        self.dispatch(id, life, Event::Noted { job, token, note });
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let faults = self.faults;
        let copies = if self.random.percent(faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.random.percent(faults.loss) && self.linked(from, to) {
                let delay = self.random.between(1, faults.link_delay_max);
                self.after(delay, Occur::Message { from, to, message: message.clone() });
            } else if is_first_confirmation(message) {
                self.count("lost confirmation");
            }
        }
    }

    fn start(&mut self, id: NodeId, life: u32, run: RunId, deadline: Option<Millis>) {
        self.check_start(id, run, deadline);
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        let refused = if node.full_until > now {
            Some((RunOutcome::CouldNotStart, "start not noted"))
        } else if !node.started.insert(run) {
            assert!(!mutation::is_on(Mutation::ForgetsStarts), "{run} starts twice");
            Some((RunOutcome::Lost, "started before"))
        } else {
            node.unknown.contains(&run.job).then_some((RunOutcome::Lost, "perhaps started before"))
        };
        if let Some((outcome, why)) = refused {
            self.count(why);
            let event = Event::Ended { run, report: report(outcome) };
            self.after(0, Occur::Event { node: id, life, event });
            return;
        }
        assert!(node.began.insert(run), "{run} starts twice");
        node.live.insert(run, Live { deadline, stopping: false });
        self.count(if run.token.term.0 == 0 { "start by rank" } else { "start" });
        self.check_exclusive(run.job);
        if let Some(deadline) = deadline {
            self.watch(id, run, deadline);
        }
        let lasts = match self.random.between(0, 99) {
            hangs if hangs < self.faults.hangs => HANGS,
            short if short < 70 => self.random.between(5, 4_000),
            _ => self.random.between(5, 30_000),
        };
        let outcome = match self.random.between(0, 9) {
            0 => RunOutcome::Signalled { signal: 11 },
            1 => RunOutcome::OutOfMemory,
            other => RunOutcome::Exited { code: u8::try_from(other % 3).expect("small") },
        };
        self.after(lasts, Occur::RunEnds { node: id, run, report: report(outcome) });
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

    fn stop(&mut self, id: NodeId, run: RunId, grace: Millis) {
        self.count("stop");
        if let Some(live) = self.nodes.get_mut(&id).and_then(|node| node.live.get_mut(&run)) {
            live.stopping = true;
        }
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
        // a runner may say it twice, and otherwise the second time
        for again in 0..=u64::from(self.random.percent(10)) {
            let delay = again * 20 + self.random.between(0, 50);
            let mut report = report.clone();
            if again > 0 {
                report.outcome = RunOutcome::Exited { code: 7 };
            }
            self.after(delay, Occur::Event { node: id, life, event: Event::Ended { run, report } });
        }
    }

    /// Tells the machine of a job as its node's storage has it, and checks what may never change.
    pub fn tell_job(&mut self, id: NodeId, job: JobId) {
        self.tell_job_of(id, job, Origin::Live);
    }

    fn tell_job_of(&mut self, id: NodeId, job: JobId, origin: Origin) {
        let Some(state) = self.evaluate(id, job) else { return };
        self.check_settled(&state);
        // what is archived and never ran here is not looked at again at start
        let node = &self.nodes[&id];
        let ran = node.started.iter().any(|run| run.job == job);
        if origin == Origin::Start && state.settled.is_some() && node.archived.contains(&job) && !ran {
            return;
        }
        let shown = self.evaluate_stored(id, job).is_none_or(|stored| stored.arbiter() != state.arbiter());
        let node = self.nodes.get_mut(&id).expect("a node");
        node.told.insert(job, state.status());
        let notes = node.notes.get(&job).cloned().unwrap_or_default();
        let unknown = node.unknown.contains(&job);
        let (life, seen) = (node.life, JobSeen { job: state, created_ms: 0, origin, notes, unknown, shown });
        self.dispatch(id, life, Event::Job(Box::new(seen)));
    }

    /// The daemon dies: what it was writing is there or not, and nobody knows which.
    pub fn crash(&mut self, id: NodeId) {
        if !self.is_up(id) {
            return;
        }
        self.count_crash(id);
        let node = self.nodes.get_mut(&id).expect("a node");
        node.machine = None;
        node.asking.clear();
        node.told.clear();
        for peer in self.ids() {
            self.part(id, peer);
        }
        for occur in self.take_pending(id) {
            match occur {
                Occur::Durable { job, action, .. } if self.random.percent(50) => {
                    self.check_durable(id, job, &action);
                    self.append(id, job, action);
                }
                Occur::Noted { job, token, note, .. } if self.random.percent(50) => {
                    self.nodes.get_mut(&id).expect("a node").notes.entry(job).or_default().insert((note, token));
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
        if self.is_up(id) || self.nodes[&id].gone {
            return;
        }
        self.hear_of_takeovers(id);
        let node = self.nodes.get_mut(&id).expect("a node");
        node.life += 1;
        node.wake = None;
        let life = node.life;
        node.machine = Some(Machine::new(id, node.member.settings, life));
        let slots = node.member.slots;
        self.dispatch(id, life, Event::Capacity(Box::new(capacity(id, slots))));
        self.tell_trusted(id);
        self.tell_runs(id, life);
        for job in self.jobs() {
            self.tell_job_of(id, job, Origin::Start);
        }
        for peer in self.ids() {
            self.greet(id, peer);
        }
        self.catch_up(id);
    }

    /// Tells the machine whom it does something for, and who may do something for it.
    pub fn tell_trusted(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        let life = node.life;
        let trusted: BTreeSet<NodeId> = self.nodes.keys().copied().filter(|of| !node.distrusts.contains(of)).collect();
        let others = trusted.iter().copied().filter(|of| *of != id).collect();
        self.dispatch(id, life, Event::Arbitrates(trusted.clone()));
        self.dispatch(id, life, Event::Workers(others));
        self.dispatch(id, life, Event::Admitted(trusted));
    }

    fn tell_runs(&mut self, id: NodeId, life: u32) {
        let runs: Vec<RunId> = self.nodes[&id].started.iter().copied().collect();
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

fn is_first_confirmation(message: &Message) -> bool {
    match message {
        Message::Renewal(_) => false,
        Message::Confirmation(confirmation) => {
            confirmation.items.iter().any(|item| matches!(item.answer, Answer::Confirmed { .. }))
        }
    }
}

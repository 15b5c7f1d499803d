//! The world: one true time, nodes with clocks of their own, what is on its way between them, and what happens next.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Token, TreeId};
use cobs::job::action::Action;
use cobs::job::fold::Identity;
use cobs::job::history::Op;
use cobs::job::state::{Job, Settled, Status};

use super::common::{Random, identity};
use super::occur::{Cutting, Occur};
use super::plan::{END, Faults, HEALED, LATE, Member, Plan, REPLACED};
use super::{Counts, random_of};
use crate::machine::wire::Message;
use crate::machine::{Asked, Event, Machine, Millis, Note, RunReport};

/// Most events of one run; more is a livelock.
const EVENTS_MAX: u64 = 400_000;

/// A run that is alive.
#[derive(Clone, Debug)]
pub struct Live {
    pub deadline: Option<Millis>,
    /// It was told to end.
    pub stopping: bool,
}

/// One node: its clock, what it keeps on disk, and its machine while it is up.
pub struct Node {
    pub id: NodeId,
    pub member: Member,
    /// Of its boot-time clock; another after a power loss.
    pub offset: u64,
    pub life: u32,
    pub machine: Option<Machine>,
    /// It has left for good.
    pub gone: bool,
    /// How many operations of each author are here.
    pub known: BTreeMap<NodeId, usize>,
    /// Operations that came over the link, by author and place in the author's log.
    pub shown: BTreeSet<(NodeId, usize)>,
    pub archived: BTreeSet<JobId>,
    pub notes: BTreeMap<JobId, BTreeSet<(Note, Token)>>,
    pub started: BTreeSet<RunId>,
    /// All that it ever started, whether it still knows or not.
    pub began: BTreeSet<RunId>,
    /// Jobs from before it lost its state.
    pub unknown: BTreeSet<JobId>,
    /// True time until which its disk is full.
    pub full_until: u64,
    /// For whom it does nothing.
    pub distrusts: BTreeSet<NodeId>,
    pub reports: BTreeMap<RunId, RunReport>,
    pub live: BTreeMap<RunId, Live>,
    pub asking: BTreeSet<(JobId, Asked)>,
    /// Where each job stood when the machine was last told of it; its storage may be ahead.
    pub told: BTreeMap<JobId, Status>,
    /// Jobs of which its storage knows more, and its machine is told in a moment.
    pub untold: BTreeSet<JobId>,
    /// True time of the tick that is queued.
    pub wake: Option<u64>,
}

type Evaluated = BTreeMap<(JobId, Vec<(NodeId, usize)>), Option<Arc<Job>>>;

pub struct World {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub nodes: BTreeMap<NodeId, Node>,
    pub logs: BTreeMap<NodeId, Vec<(JobId, Op)>>,
    pub cut: BTreeMap<(NodeId, NodeId), Cutting>,
    pub identity: Identity,
    pub delegates: BTreeSet<NodeId>,
    /// When an arbiter last confirmed a token to a node, in true time.
    pub confirmed: BTreeMap<(JobId, Token, NodeId), u64>,
    /// When each job's arbiter was last heard by a node, in true time.
    pub heard: BTreeMap<(NodeId, NodeId), u64>,
    /// Jobs that their authors have submitted.
    pub submitted: BTreeSet<JobId>,
    pub settled: BTreeMap<JobId, Settled>,
    /// Operations that nobody may write, by job; the others mean the same without them.
    pub forged: BTreeMap<JobId, BTreeSet<TreeId>>,
    pub ops: u64,
    pub steps: u64,
    /// What the run has exercised.
    pub seen: Counts,
    queue: BTreeMap<(u64, u64), Occur>,
    queued: u64,
    /// What a job means, by which operations of whom are known.
    pub evaluated: RefCell<Evaluated>,
}

impl Node {
    fn new(member: Member) -> Self {
        Self {
            id: member.id,
            member,
            offset: member.offset,
            life: 0,
            machine: None,
            gone: false,
            known: BTreeMap::new(),
            shown: BTreeSet::new(),
            archived: BTreeSet::new(),
            notes: BTreeMap::new(),
            started: BTreeSet::new(),
            began: BTreeSet::new(),
            unknown: BTreeSet::new(),
            full_until: 0,
            distrusts: BTreeSet::new(),
            reports: BTreeMap::new(),
            live: BTreeMap::new(),
            asking: BTreeSet::new(),
            told: BTreeMap::new(),
            untold: BTreeSet::new(),
            wake: None,
        }
    }

    /// Its boot-time clock at a true time.
    pub fn clock(&self, now: u64) -> Millis {
        Millis(self.offset + now * self.member.rate_permille / 1000)
    }

    /// The first true time at which its clock shows `at` or more.
    pub fn when(&self, at: Millis) -> u64 {
        (at.0.saturating_sub(self.offset) * 1000).div_ceil(self.member.rate_permille)
    }
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        Self {
            now: 0,
            random: random_of(plan.seed, 2),
            faults: plan.faults,
            nodes: plan.members.iter().map(|member| (member.id, Node::new(*member))).collect(),
            logs: plan.members.iter().map(|member| (member.id, Vec::new())).collect(),
            cut: BTreeMap::new(),
            identity: identity(&plan.delegates.iter().copied().collect::<Vec<NodeId>>()),
            delegates: plan.delegates.clone(),
            confirmed: BTreeMap::new(),
            heard: BTreeMap::new(),
            submitted: BTreeSet::new(),
            settled: BTreeMap::new(),
            forged: BTreeMap::new(),
            ops: 0,
            steps: 0,
            seen: Counts::new(),
            queue: BTreeMap::new(),
            queued: 0,
            evaluated: RefCell::default(),
        }
    }

    /// The whole run: the plan, then a world that is healed, then one in which arbiters that left are replaced.
    pub fn play(&mut self, plan: &Plan) {
        for member in &plan.members {
            self.at(member.joins_at, Occur::Boot { node: member.id });
            if let Some(at) = member.leaves_at {
                self.at(at, Occur::Leave { node: member.id });
            }
        }
        for (at, occur) in &plan.schedule {
            self.at(*at, occur.clone());
        }
        self.run_until(HEALED);
        self.faults = Faults { loss: 0, sign_fails: 0, announcement_loss: 0, hangs: 0, ..self.faults };
        let cut: Vec<(NodeId, NodeId)> = self.cut.keys().copied().collect();
        for (from, to) in cut {
            self.heal(from, to);
        }
        for id in self.ids() {
            self.catch_up(id);
            for of in self.ids() {
                self.trust(id, of, true);
            }
        }
        self.end_what_hangs();
        self.run_until(REPLACED);
        self.check_idempotent();
        self.replace_the_gone();
        self.run_until(LATE);
        self.end_what_hangs();
        self.run_until(END);
        self.check_end();
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn at(&mut self, time: u64, occur: Occur) {
        self.queued += 1;
        self.queue.insert((time.max(self.now), self.queued), occur);
    }

    pub fn after(&mut self, span: u64, occur: Occur) {
        self.at(self.now + span, occur);
    }

    /// Lets everything up to `end` happen.
    pub fn run_until(&mut self, end: u64) {
        while let Some((&key, _)) = self.queue.first_key_value()
            && key.0 <= end
        {
            let occur = self.queue.remove(&key).expect("it is the first");
            self.now = key.0;
            self.steps += 1;
            assert!(self.steps < EVENTS_MAX, "livelock: {} events by {} ms, now {occur:?}", self.steps, self.now);
            self.happen(occur);
        }
        self.now = end;
    }

    fn happen(&mut self, occur: Occur) {
        match occur {
            Occur::Event { node, life, event } => {
                if let (Event::PeerUp { node: peer }, true) = (&event, self.nodes[&node].life == life) {
                    self.heard.insert((node, *peer), self.now);
                }
                self.dispatch(node, life, event);
            }
            Occur::Replicated { to, author, upto } => self.replicated(to, author, upto),
            Occur::Message { from, to, message } => self.deliver(from, to, message),
            Occur::Durable { node, life, job, kind, action } => self.durable(node, life, job, kind, action),
            Occur::Noted { node, life, job, token, note } => self.noted(node, life, job, token, note),
            Occur::KillCheck { node, run } => self.kill_check(node, run),
            Occur::RunEnds { node, run, report } => self.run_ends(node, run, report),
            Occur::Crash { node } => self.crash(node),
            Occur::PowerLoss { node } => self.power_loss(node),
            Occur::LoseState { node } => self.lose_state(node),
            Occur::Full { node, lasts } => {
                self.count("disk full");
                let until = (self.now + lasts).min(HEALED);
                self.nodes.get_mut(&node).expect("a node").full_until = until;
            }
            Occur::Distrust { node, of } => self.trust(node, of, false),
            Occur::Trust { node, of } => self.trust(node, of, true),
            Occur::Sever => self.sever(),
            Occur::SupervisorDies => self.supervisor_dies(),
            Occur::Usurp => self.usurp(),
            Occur::Boot { node } => self.boot(node),
            Occur::Leave { node } => self.leave(node),
            Occur::Cut { from, to, what } => {
                self.cut.insert((from, to), what);
                self.count("cut");
                self.part(from, to);
            }
            Occur::Heal { from, to } => self.heal(from, to),
            Occur::Submit { job, author, root } => self.submit(job, author, root),
            Occur::Cancel { job } => self.cancel(job),
            Occur::Evict { node, job } => {
                let life = self.nodes[&node].life;
                self.dispatch(node, life, Event::Evict { job, grace: Millis(500) });
            }
            Occur::HandOver { job } => self.hand_over(job),
            Occur::TakeOver { job } => self.take_over(job),
            Occur::Archive { node } => self.archive(node),
            Occur::Lie { from, to } => self.lie(from, to),
            Occur::Forge { author } => self.forge(author),
        }
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: Message) {
        if self.nodes.contains_key(&to) && self.linked(from, to) {
            self.show_epochs(from, to, &message);
            self.heard.insert((to, from), self.now);
            let life = self.nodes[&to].life;
            self.dispatch(to, life, Event::Message { from, message });
        }
    }

    fn submit(&mut self, job: JobId, author: NodeId, root: Action) {
        if self.is_up(author) {
            self.submitted.insert(job);
            self.append(author, job, root);
            self.tell_job(author, job);
        } else if !self.nodes[&author].gone {
            self.after(500, Occur::Submit { job, author, root });
        }
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.machine.is_some())
    }

    /// Whether a message gets from one node to another; one that is no node is always there.
    pub fn linked(&self, from: NodeId, to: NodeId) -> bool {
        let there = |id: NodeId| !self.nodes.contains_key(&id) || self.is_up(id);
        there(from) && there(to) && !self.cut.get(&(from, to)).is_some_and(|cut| cut.link)
    }

    /// Whether operations get from one node to another; what was fetched once is passed on by whoever has it.
    pub fn replicates(&self, from: NodeId, to: NodeId) -> bool {
        let cut = |key: (NodeId, NodeId)| self.cut.get(&key).is_some_and(|cut| cut.replication);
        self.is_up(from) && self.is_up(to) && !cut((from, to)) && !cut((to, from))
    }

    fn heal(&mut self, from: NodeId, to: NodeId) {
        if self.cut.remove(&(from, to)).is_some() {
            self.greet(from, to);
        }
    }

    /// Both ends see the link come up and tell each other what they have.
    pub fn greet(&mut self, a: NodeId, b: NodeId) {
        if a == b || !self.linked(a, b) || !self.linked(b, a) {
            return;
        }
        for (at, peer) in [(a, b), (b, a)] {
            let life = self.nodes[&at].life;
            let delay = self.random.between(1, 300);
            self.after(delay, Occur::Event { node: at, life, event: Event::PeerUp { node: peer } });
            self.catch_up(at);
        }
    }

    /// Both ends see that the link is down.
    pub fn part(&mut self, a: NodeId, b: NodeId) {
        if a == b || (self.linked(a, b) && self.linked(b, a)) {
            return;
        }
        for (at, peer) in [(a, b), (b, a)] {
            let life = self.nodes[&at].life;
            let delay = self.random.between(1, 300);
            self.after(delay, Occur::Event { node: at, life, event: Event::PeerDown { node: peer } });
        }
    }

    /// Takes away what is queued for one life of a node and was not done yet.
    pub fn take_pending(&mut self, node: NodeId) -> Vec<Occur> {
        let of_node = |occur: &Occur| match occur {
            Occur::Durable { node: of, .. } | Occur::Noted { node: of, .. } => *of == node,
            _ => false,
        };
        let keys: Vec<_> = self.queue.iter().filter(|(_, occur)| of_node(occur)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.queue.remove(&key)).collect()
    }
}

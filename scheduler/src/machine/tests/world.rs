//! A small world: one true time, nodes with clocks of their own, replication in order of each author, a lossy link.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Token};
use cobs::job::action::Action;
use cobs::job::fold::Identity;
use cobs::job::history::{Content, History, Op};
use cobs::job::state::{Job, Settled, Status};

use super::common::{Random, identity, node, op};
use crate::machine::wire::Message;
use crate::machine::{Asked, Event, Machine, Millis, RunReport, Settings};

/// Most events of one run; more is a livelock.
const EVENTS_MAX: u64 = 150_000;

/// How bad the world is, in percent and true milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: u64,
    pub duplicate: u64,
    pub link_delay_max: u64,
    pub replication_delay_max: u64,
    pub sign_fails: u64,
    pub prepare_fails: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub lies: u64,
}

/// What happens at a point of true time.
#[derive(Clone, Debug)]
pub enum Occur {
    /// For the machine of that life of the node.
    Event {
        node: NodeId,
        life: u32,
        event: Event,
    },
    Replicated {
        to: NodeId,
        author: NodeId,
        upto: usize,
    },
    Message {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    Durable {
        node: NodeId,
        life: u32,
        job: JobId,
        kind: Asked,
        action: Action,
    },
    Noted {
        node: NodeId,
        life: u32,
        job: JobId,
        token: Token,
    },
    /// The supervisor looks at the deadline.
    KillCheck {
        node: NodeId,
        run: RunId,
    },
    RunEnds {
        node: NodeId,
        run: RunId,
        report: RunReport,
    },
    /// The arbiter of some run that is alive restarts and does not hear of it for a while.
    Sever,
    Crash {
        node: NodeId,
    },
    Boot {
        node: NodeId,
    },
    Cut {
        a: NodeId,
        b: NodeId,
    },
    Heal {
        a: NodeId,
        b: NodeId,
    },
    Submit {
        job: JobId,
        author: NodeId,
        root: Action,
    },
    Cancel {
        job: JobId,
    },
    Evict {
        node: NodeId,
        job: JobId,
    },
    Lie {
        from: NodeId,
        to: NodeId,
    },
}

/// A run that is alive.
#[derive(Clone, Debug)]
pub struct Live {
    pub deadline: Option<Millis>,
}

/// One node: its clock, what it keeps on disk, and its machine while it is up.
pub struct Node {
    pub id: NodeId,
    pub offset: u64,
    pub rate_permille: u64,
    pub slots: u32,
    pub settings: Settings,
    pub life: u32,
    pub machine: Option<Machine>,
    /// How many operations of each author are here.
    pub known: BTreeMap<NodeId, usize>,
    pub notes: BTreeMap<JobId, BTreeSet<Token>>,
    pub started: BTreeSet<RunId>,
    pub reports: BTreeMap<RunId, RunReport>,
    pub live: BTreeMap<RunId, Live>,
    pub asking: BTreeSet<(JobId, Asked)>,
    /// Where each job stood when the machine was last told of it; its storage may be ahead.
    pub told: BTreeMap<JobId, Status>,
    /// True time of the tick that is queued.
    pub wake: Option<u64>,
}

type Evaluated = BTreeMap<(JobId, Vec<usize>), Arc<Job>>;

pub struct World {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub nodes: BTreeMap<NodeId, Node>,
    pub logs: BTreeMap<NodeId, Vec<(JobId, Op)>>,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub identity: Identity,
    /// When an arbiter last confirmed a token to a node, in true time.
    pub confirmed: BTreeMap<(JobId, Token, NodeId), u64>,
    pub settled: BTreeMap<JobId, Settled>,
    pub ops: u64,
    pub events: u64,
    /// What the run has exercised, for the tests of the simulation itself.
    pub seen: BTreeMap<&'static str, u32>,
    queue: BTreeMap<(u64, u64), Occur>,
    queued: u64,
    /// What a job means, by how many operations of each author are known.
    evaluated: RefCell<Evaluated>,
}

impl Node {
    /// Its boot-time clock at a true time.
    pub fn clock(&self, now: u64) -> Millis {
        Millis(self.offset + now * self.rate_permille / 1000)
    }

    /// The first true time at which its clock shows `at` or more.
    pub fn when(&self, at: Millis) -> u64 {
        (at.0.saturating_sub(self.offset) * 1000).div_ceil(self.rate_permille)
    }
}

impl World {
    pub fn new(seed: u64, faults: Faults, nodes: u8) -> Self {
        let mut random = Random::new(seed);
        let ids: Vec<NodeId> = (1..=nodes).map(node).collect();
        let make = |id: NodeId, random: &mut Random| Node {
            id,
            offset: random.between(0, 1_000_000_000),
            rate_permille: [1000, 1200, random.between(1000, 1200)][random.index(3)],
            slots: u32::try_from(random.between(1, 2)).expect("small"),
            settings: Settings {
                lease: Millis(random.between(1_000, 8_000)),
                grant_wait: Millis(random.between(300, 3_000)),
                bid_again: Millis(4_000),
                cancel_wait: Millis(3_000),
                stop_grace: Millis(1_000),
                ..Settings::default()
            },
            life: 0,
            machine: None,
            known: BTreeMap::new(),
            notes: BTreeMap::new(),
            started: BTreeSet::new(),
            reports: BTreeMap::new(),
            live: BTreeMap::new(),
            asking: BTreeSet::new(),
            told: BTreeMap::new(),
            wake: None,
        };
        let nodes = ids.iter().map(|id| (*id, make(*id, &mut random))).collect();
        Self {
            now: 0,
            random,
            faults,
            nodes,
            logs: ids.iter().map(|id| (*id, Vec::new())).collect(),
            cut: BTreeSet::new(),
            identity: identity(&ids),
            confirmed: BTreeMap::new(),
            evaluated: RefCell::default(),
            settled: BTreeMap::new(),
            ops: 0,
            events: 0,
            seen: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
        }
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
            self.events += 1;
            assert!(self.events < EVENTS_MAX, "livelock: {} events by {} ms, now {occur:?}", self.events, self.now);
            self.happen(occur);
        }
        self.now = end;
    }

    fn happen(&mut self, occur: Occur) {
        match occur {
            Occur::Event { node, life, event } => self.dispatch(node, life, event),
            Occur::Replicated { to, author, upto } => self.replicated(to, author, upto),
            Occur::Message { from, to, message } => {
                if self.nodes.contains_key(&to) && self.linked(from, to) {
                    let life = self.nodes[&to].life;
                    self.dispatch(to, life, Event::Message { from, message });
                }
            }
            Occur::Durable { node, life, job, kind, action } => self.durable(node, life, job, kind, action),
            Occur::Noted { node, life, job, token } => self.noted(node, life, job, token),
            Occur::KillCheck { node, run } => self.kill_check(node, run),
            Occur::RunEnds { node, run, report } => self.run_ends(node, run, report),
            Occur::Crash { node } => self.crash(node),
            Occur::Sever => self.sever(),
            Occur::Boot { node } => self.boot(node),
            Occur::Cut { a, b } => {
                self.cut.extend([(a, b), (b, a)]);
                self.count("cut");
            }
            Occur::Heal { a, b } => self.heal(a, b),
            Occur::Submit { job, author, root } => {
                if self.is_up(author) {
                    self.append(author, job, root);
                    self.tell_job(author, job);
                } else {
                    self.after(500, Occur::Submit { job, author, root });
                }
            }
            Occur::Cancel { job } => self.cancel(job),
            Occur::Evict { node, job } => {
                let life = self.nodes[&node].life;
                self.dispatch(node, life, Event::Evict { job, grace: Millis(500) });
            }
            Occur::Lie { from, to } => self.lie(from, to),
        }
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.machine.is_some())
    }

    /// Whether the direct link between two nodes works; one that is no node is always there.
    pub fn linked(&self, a: NodeId, b: NodeId) -> bool {
        let there = |id: NodeId| !self.nodes.contains_key(&id) || self.is_up(id);
        there(a) && there(b) && !self.cut.contains(&(a, b))
    }

    fn heal(&mut self, a: NodeId, b: NodeId) {
        if self.cut.remove(&(a, b)) {
            self.cut.remove(&(b, a));
            self.greet(a, b);
        }
    }

    /// Both ends see the link come up.
    pub fn greet(&mut self, a: NodeId, b: NodeId) {
        if a != b && self.linked(a, b) {
            for (at, peer) in [(a, b), (b, a)] {
                let life = self.nodes[&at].life;
                let delay = self.random.between(1, 300);
                self.after(delay, Occur::Event { node: at, life, event: Event::PeerUp { node: peer } });
            }
        }
    }

    /// Stores an operation of `author` and sends it on its way to everyone.
    pub fn append(&mut self, author: NodeId, job: JobId, action: Action) {
        let log = self.logs.get_mut(&author).expect("a node");
        let seq = log.iter().filter(|(of, _)| *of == job).count();
        self.ops += 1;
        // tree ids in no order of time
        let tree = self.ops.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let action = action.with_seq(cobs::id::Seq(u32::try_from(seq).expect("few")));
        log.push((job, op(author, tree, action)));
        let upto = log.len();
        self.nodes.get_mut(&author).expect("a node").known.insert(author, upto);
        for to in self.ids() {
            if to != author {
                let delay = self.replication_delay();
                self.after(delay, Occur::Replicated { to, author, upto });
            }
        }
    }

    fn replication_delay(&mut self) -> u64 {
        let most = self.faults.replication_delay_max;
        if self.random.percent(70) { self.random.between(5, 150) } else { self.random.between(5, most) }
    }

    /// Arrives from whoever has it and can be reached; tried again otherwise.
    fn replicated(&mut self, to: NodeId, author: NodeId, upto: usize) {
        let has = |node: &Node| node.known.get(&author).is_some_and(|known| *known >= upto);
        if has(&self.nodes[&to]) {
            return;
        }
        let source = self.nodes.values().any(|node| node.id != to && has(node) && self.linked(node.id, to));
        if !source {
            self.after(700, Occur::Replicated { to, author, upto });
            return;
        }
        let node = self.nodes.get_mut(&to).expect("a node");
        let before = node.known.insert(author, upto).unwrap_or(0);
        let jobs: BTreeSet<JobId> = self.logs[&author][before..upto].iter().map(|(job, _)| *job).collect();
        for job in jobs {
            self.tell_job(to, job);
        }
    }

    /// The job as a node's storage tells it; none while its root is not there.
    pub fn evaluate(&self, at: NodeId, job: JobId) -> Option<Arc<Job>> {
        let node = &self.nodes[&at];
        let here = |author: &NodeId| {
            let known = node.known.get(author).copied().unwrap_or(0);
            self.logs[author][..known].iter().filter(|(of, _)| *of == job).map(|(_, op)| op)
        };
        let key = (job, self.logs.keys().map(|author| here(author).count()).collect::<Vec<usize>>());
        if let Some(known) = self.evaluated.borrow().get(&key) {
            return Some(Arc::clone(known));
        }
        let mut all: Vec<Op> = self.logs.keys().flat_map(here).cloned().collect();
        let is_root = |op: &Op| matches!(&op.content, Content::Action(Action::Create(_)));
        let root = all.remove(all.iter().position(is_root)?);
        let mut history = History::new(job, root);
        all.into_iter().for_each(|op| history.insert(op));
        let state = Arc::new(history.evaluate(&self.identity).expect("a good root"));
        self.evaluated.borrow_mut().insert(key, Arc::clone(&state));
        Some(state)
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

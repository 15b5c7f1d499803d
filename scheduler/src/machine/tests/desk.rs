//! One machine by itself, driven step by step, and short words for what is done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{Epoch, JobId, NodeId, RunId, Seq, Term, Token};
use cobs::job::action::{Action, Bid, Cancel, Create, Digests, Done, Grant, GrantKind, RootGrant};
use cobs::job::history::History;
use cobs::job::outcome::{RunOutcome, Settlement};

use crate::machine::sim::common::{capacity, create, identity, job_id, node, op};
use crate::machine::wire::{Answer, Confirmation, ConfirmationItem, Message, Phase, Renewal, RenewalItem};
use crate::machine::{Asked, Effect, Event, JobSeen, Machine, Millis, Note, Origin, RunReport, Settings};

pub const LEASE: u64 = 6_000;

/// One machine, its clock, and the jobs as its storage has them.
pub struct Desk {
    pub me: NodeId,
    pub machine: Machine,
    pub now: Millis,
    pub jobs: BTreeMap<JobId, History>,
    pub notes: BTreeSet<(Note, Token)>,
    pub ops: u64,
    /// Signed operations are durable at once.
    pub signs: bool,
}

impl Desk {
    pub fn new(me: u8, slots: u32) -> Self {
        let settings = Settings { lease: Millis(LEASE), ..Settings::default() };
        let mut machine = Machine::new(node(me), settings, 1);
        machine.handle(Event::Capacity(Box::new(capacity(node(me), slots))), Millis(1_000));
        machine.handle(Event::Arbitrates((1..9).map(node).collect()), Millis(1_000));
        machine.handle(Event::Admitted((1..9).map(node).collect()), Millis(1_000));
        let jobs = BTreeMap::new();
        Self { me: node(me), machine, now: Millis(1_000), jobs, notes: BTreeSet::new(), ops: 0, signs: true }
    }

    /// A later life of the node with the same storage, and what it does about it.
    pub fn restart(&mut self) -> Vec<Effect> {
        let mut next = Self::new(1, 2);
        next.machine = Machine::new(self.me, Settings { lease: Millis(LEASE), ..Settings::default() }, 2);
        self.machine = next.machine;
        let mut all = self.event(Event::Capacity(Box::new(capacity(self.me, 2))));
        all.extend(self.event(Event::Arbitrates((1..9).map(node).collect())));
        all.extend(self.event(Event::Admitted((1..9).map(node).collect())));
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            all.extend(self.tell(job, Origin::Start));
        }
        all
    }

    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.machine.handle(event, self.now);
        let mut all = effects.clone();
        for effect in effects {
            match effect {
                Effect::Sign { job, kind, action, .. } if self.signs => {
                    all.extend(self.write(self.me, job, action));
                    all.extend(self.event(Event::Signed { job, kind }));
                }
                // what may be confirmed is written down at once
                Effect::Note { job, token, note: note @ Note::Confirmed } => {
                    self.notes.insert((note, token));
                    all.extend(self.event(Event::Noted { job, token, note }));
                }
                _ => {}
            }
        }
        all
    }

    pub fn submit(&mut self, number: u64, author: u8, content: Create) -> Vec<Effect> {
        self.ops += 1;
        let root = op(node(author), self.ops, Action::Create(Box::new(content)));
        self.jobs.insert(job_id(number), History::new(job_id(number), root));
        self.tell(job_id(number), Origin::Live)
    }

    /// An operation of anyone arrives.
    pub fn write(&mut self, author: NodeId, job: JobId, action: Action) -> Vec<Effect> {
        self.ops += 1;
        let history = self.jobs.get_mut(&job).unwrap();
        let before = history.evaluate(&identity(&[node(1)])).unwrap().last_seq.get(&author).copied();
        let seq = Seq(before.map_or(0, |seq| seq.0 + 1));
        history.insert(op(author, self.ops, action.with_seq(seq)));
        self.tell(job, Origin::Live)
    }

    pub fn tell(&mut self, job: JobId, origin: Origin) -> Vec<Effect> {
        let state = self.jobs[&job].evaluate(&identity(&[node(1)])).unwrap();
        let created_ms = state.create.nonce.len() as u64;
        let seen = JobSeen {
            job: Arc::new(state),
            created_ms,
            origin,
            notes: self.notes.clone(),
            unknown: false,
            shown: false,
        };
        self.event(Event::Job(Box::new(seen)))
    }

    pub fn settled(&self, number: u64) -> Option<Settlement> {
        let state = self.jobs[&job_id(number)].evaluate(&identity(&[node(1)])).unwrap();
        state.settled.map(|settled| settled.outcome)
    }

    pub fn pass(&mut self, span: u64) -> Vec<Effect> {
        self.now = self.now + Millis(span);
        self.event(Event::Tick)
    }

    pub fn says(&mut self, from: u8, items: Vec<RenewalItem>) -> Vec<Answer> {
        let message = Message::Renewal(Renewal { number: 9, items });
        let effects = self.event(Event::Message { from: node(from), message });
        let answers = effects.iter().filter_map(|effect| match effect {
            Effect::Send { to, message: Message::Confirmation(answer) } if *to == node(from) => {
                Some(answer.items.clone())
            }
            _ => None,
        });
        answers.flatten().map(|item| item.answer).collect()
    }

    pub fn ask(&mut self, from: u8, token: Token) -> Answer {
        self.says(from, vec![RenewalItem { job: job_id(1), token, phase: Phase::Waiting, epoch: Epoch(0) }])[0]
    }

    pub fn answer(&mut self, from: u8, number: u64, token: Token, answer: Answer) -> Vec<Effect> {
        let items = vec![ConfirmationItem { job: job_id(1), token, answer }];
        let message = Message::Confirmation(Confirmation { number, items });
        self.event(Event::Message { from: node(from), message })
    }

    pub fn run(&self, token: Token) -> RunId {
        RunId { job: job_id(1), token, node: self.me }
    }
}

pub const FIRST: Token = Token::new(0, 1);
pub const CONFIRMED: Answer = Answer::Confirmed { lease_ms: LEASE };

pub fn ended(run: RunId, outcome: RunOutcome) -> Event {
    let (tail, reason) = (String::new(), String::new());
    Event::Ended { run, report: RunReport { outcome, digests: Digests::default(), tail, reason, duration_ms: 1 } }
}

pub fn bid(score: u32) -> Action {
    Action::Bid(Bid { job: job_id(1), seq: Seq(0), score, reason: String::new() })
}

pub fn done(token: Token, outcome: RunOutcome) -> Action {
    Action::Done(Done {
        job: job_id(1),
        seq: Seq(0),
        epoch: token.epoch,
        term: token.term,
        outcome,
        digests: Digests::default(),
        tail: String::new(),
        reason: String::new(),
        duration_ms: 1,
    })
}

pub fn grant(term: u32, to: u8) -> Action {
    let (epoch, kind) = (cobs::id::Epoch(0), GrantKind::Leased);
    let (job, seq, node) = (job_id(1), Seq(0), node(to));
    Action::Grant(Grant { job, seq, epoch, term: Term(term), node, kind, lease_ms: LEASE })
}

pub fn cancel() -> Action {
    Action::Cancel(Cancel { job: job_id(1), seq: Seq(0), reason: String::new() })
}

pub fn leased(to: u8) -> Option<RootGrant> {
    Some(RootGrant { node: node(to), kind: GrantKind::Leased, lease_ms: LEASE })
}

pub fn nodes(numbers: &[u8]) -> Vec<NodeId> {
    numbers.iter().map(|number| node(*number)).collect()
}

pub fn content(arbiter: u8, workers: &[u8], grant: Option<RootGrant>) -> Create {
    create(&[node(arbiter)], &nodes(workers), grant)
}

pub fn grants(effects: &[Effect]) -> Vec<(NodeId, GrantKind)> {
    let grant = |effect: &Effect| match effect {
        Effect::Sign { action: Action::Grant(grant), .. } => Some((grant.node, grant.kind)),
        _ => None,
    };
    effects.iter().filter_map(grant).collect()
}

pub fn signs(effects: &[Effect], wanted: Asked) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Sign { kind, .. } if *kind == wanted)).count()
}

/// Number and phase of the renewal sent to a node.
pub fn renewal(effects: &[Effect], to: u8) -> Option<(u64, Phase)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { to: peer, message: Message::Renewal(sent) } if *peer == node(to) => {
            Some((sent.number, sent.items[0].phase))
        }
        _ => None,
    })
}

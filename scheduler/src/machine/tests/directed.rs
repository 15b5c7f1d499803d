//! One machine by itself, step by step: each role's main path, each answer, the waits, the bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cobs::id::{JobId, NodeId, RunId, Seq, Term, Token};
use cobs::job::action::{Action, Bid, Cancel, Create, Digests, Done, Grant, GrantKind, RootGrant, Settle, StepDown};
use cobs::job::history::History;
use cobs::job::outcome::{RunOutcome, Settlement};

use super::common::{capacity, create, identity, job_id, node, op};
use crate::machine::settings::wait_after;
use crate::machine::wire::{Answer, Confirmation, ConfirmationItem, ITEMS_MAX, Message, Phase, Renewal, RenewalItem};
use crate::machine::{Asked, Effect, Event, JobSeen, Machine, Millis, Origin, RunReport, Settings, StopReason};

const LEASE: u64 = 6_000;

/// One machine, its clock, and the jobs as its storage has them.
struct Desk {
    me: NodeId,
    machine: Machine,
    now: Millis,
    jobs: BTreeMap<JobId, History>,
    notes: BTreeSet<Token>,
    ops: u64,
    /// Signed operations are durable at once.
    signs: bool,
}

impl Desk {
    fn new(me: u8, slots: u32) -> Self {
        let settings = Settings { lease: Millis(LEASE), ..Settings::default() };
        let mut machine = Machine::new(node(me), settings, 1);
        machine.handle(Event::Capacity(Box::new(capacity(node(me), slots))), Millis(1_000));
        machine.handle(Event::Admitted((1..9).map(node).collect()), Millis(1_000));
        let jobs = BTreeMap::new();
        Self { me: node(me), machine, now: Millis(1_000), jobs, notes: BTreeSet::new(), ops: 0, signs: true }
    }

    /// A later life of the node with the same storage, and what it does about it.
    fn restart(&mut self) -> Vec<Effect> {
        let mut next = Self::new(1, 2);
        next.machine = Machine::new(self.me, Settings { lease: Millis(LEASE), ..Settings::default() }, 2);
        self.machine = next.machine;
        let mut all = self.event(Event::Capacity(Box::new(capacity(self.me, 2))));
        all.extend(self.event(Event::Admitted((1..9).map(node).collect())));
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            all.extend(self.tell(job, Origin::Start));
        }
        all
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.machine.handle(event, self.now);
        let mut all = effects.clone();
        for effect in effects {
            match effect {
                Effect::Sign { job, kind, action, .. } if self.signs => {
                    all.extend(self.write(self.me, job, action));
                    all.extend(self.event(Event::Signed { job, kind }));
                }
                _ => {}
            }
        }
        all
    }

    fn submit(&mut self, number: u64, author: u8, content: Create) -> Vec<Effect> {
        self.ops += 1;
        let root = op(node(author), self.ops, Action::Create(Box::new(content)));
        self.jobs.insert(job_id(number), History::new(job_id(number), root));
        self.tell(job_id(number), Origin::Live)
    }

    /// An operation of anyone arrives.
    fn write(&mut self, author: NodeId, job: JobId, action: Action) -> Vec<Effect> {
        self.ops += 1;
        let history = self.jobs.get_mut(&job).unwrap();
        let before = history.evaluate(&identity(&[node(1)])).unwrap().last_seq.get(&author).copied();
        let seq = Seq(before.map_or(0, |seq| seq.0 + 1));
        history.insert(op(author, self.ops, action.with_seq(seq)));
        self.tell(job, Origin::Live)
    }

    fn tell(&mut self, job: JobId, origin: Origin) -> Vec<Effect> {
        let state = self.jobs[&job].evaluate(&identity(&[node(1)])).unwrap();
        let created_ms = state.create.nonce.len() as u64;
        let seen = JobSeen { job: Arc::new(state), created_ms, origin, never_confirm: self.notes.clone() };
        self.event(Event::Job(Box::new(seen)))
    }

    fn settled(&self, number: u64) -> Option<Settlement> {
        let state = self.jobs[&job_id(number)].evaluate(&identity(&[node(1)])).unwrap();
        state.settled.map(|settled| settled.outcome)
    }

    fn pass(&mut self, span: u64) -> Vec<Effect> {
        self.now = self.now + Millis(span);
        self.event(Event::Tick)
    }

    fn says(&mut self, from: u8, items: Vec<RenewalItem>) -> Vec<Answer> {
        let message = Message::Renewal(Renewal { number: 9, items });
        let effects = self.event(Event::Message { from: node(from), message });
        let answers = effects.iter().find_map(|effect| match effect {
            Effect::Send { to, message: Message::Confirmation(answer) } if *to == node(from) => Some(answer.clone()),
            _ => None,
        });
        answers.unwrap().items.iter().map(|item| item.answer).collect()
    }

    fn ask(&mut self, from: u8, token: Token) -> Answer {
        self.says(from, vec![RenewalItem { job: job_id(1), token, phase: Phase::Waiting }])[0]
    }

    fn answer(&mut self, from: u8, number: u64, token: Token, answer: Answer) -> Vec<Effect> {
        let items = vec![ConfirmationItem { job: job_id(1), token, answer }];
        let message = Message::Confirmation(Confirmation { number, items });
        self.event(Event::Message { from: node(from), message })
    }

    fn run(&self, token: Token) -> RunId {
        RunId { job: job_id(1), token, node: self.me }
    }
}

const FIRST: Token = Token::new(0, 1);
const CONFIRMED: Answer = Answer::Confirmed { lease_ms: LEASE };

fn ended(run: RunId, outcome: RunOutcome) -> Event {
    let (tail, reason) = (String::new(), String::new());
    Event::Ended { run, report: RunReport { outcome, digests: Digests::default(), tail, reason, duration_ms: 1 } }
}

fn bid(score: u32) -> Action {
    Action::Bid(Bid { job: job_id(1), seq: Seq(0), score, reason: String::new() })
}

fn done(token: Token, outcome: RunOutcome) -> Action {
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

fn grant(term: u32, to: u8) -> Action {
    let (epoch, kind) = (cobs::id::Epoch(0), GrantKind::Leased);
    let (job, seq, node) = (job_id(1), Seq(0), node(to));
    Action::Grant(Grant { job, seq, epoch, term: Term(term), node, kind, lease_ms: LEASE })
}

fn cancel() -> Action {
    Action::Cancel(Cancel { job: job_id(1), seq: Seq(0), reason: String::new() })
}

fn leased(to: u8) -> Option<RootGrant> {
    Some(RootGrant { node: node(to), kind: GrantKind::Leased, lease_ms: LEASE })
}

fn nodes(numbers: &[u8]) -> Vec<NodeId> {
    numbers.iter().map(|number| node(*number)).collect()
}

fn content(arbiter: u8, workers: &[u8], grant: Option<RootGrant>) -> Create {
    create(&[node(arbiter)], &nodes(workers), grant)
}

fn grants(effects: &[Effect]) -> Vec<(NodeId, GrantKind)> {
    let grant = |effect: &Effect| match effect {
        Effect::Sign { action: Action::Grant(grant), .. } => Some((grant.node, grant.kind)),
        _ => None,
    };
    effects.iter().filter_map(grant).collect()
}

fn signs(effects: &[Effect], wanted: Asked) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Sign { kind, .. } if *kind == wanted)).count()
}

/// Number and phase of the renewal sent to a node.
fn renewal(effects: &[Effect], to: u8) -> Option<(u64, Phase)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { to: peer, message: Message::Renewal(sent) } if *peer == node(to) => {
            Some((sent.number, sent.items[0].phase))
        }
        _ => None,
    })
}

#[test]
fn a_node_alone_grants_to_itself_runs_and_settles() {
    // held, so no confirmation and no deadline; the settle names the report
    let mut desk = Desk::new(1, 1);
    let effects = desk.submit(1, 1, content(1, &[1], None));
    assert_eq!(grants(&effects), [(node(1), GrantKind::Held)]);
    let run = desk.run(FIRST);
    assert!(effects.contains(&Effect::Prepare { run }));
    assert_eq!(desk.event(Event::Prepared { run }), [Effect::Start { run, deadline: None }]);
    assert_eq!(desk.machine.running(job_id(1)), Some(run));
    desk.event(ended(run, RunOutcome::Exited { code: 3 }));
    assert!(matches!(desk.settled(1), Some(Settlement::Result { term: Term(1), .. })));
    assert_eq!(desk.machine.memory(), (0, 0));
}

#[test]
fn an_arbiter_grants_to_the_best_bid_after_its_window() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], None));
    desk.write(node(2), job_id(1), bid(400));
    assert!(grants(&desk.pass(20)).is_empty());
    desk.write(node(3), job_id(1), bid(600));
    assert_eq!(grants(&desk.pass(30)), [(node(3), GrantKind::Leased)]);
    assert_eq!(desk.ask(3, FIRST), CONFIRMED);
    desk.write(node(3), job_id(1), done(FIRST, RunOutcome::Exited { code: 0 }));
    assert!(matches!(desk.settled(1), Some(Settlement::Result { .. })));
}

#[test]
fn a_worker_bids_starts_on_a_confirmation_and_renews_until_the_settle() {
    let mut desk = Desk::new(2, 1);
    assert_eq!(signs(&desk.submit(1, 1, content(1, &[2], None)), Asked::Bid), 1);
    let run = desk.run(FIRST);
    let effects = desk.write(node(1), job_id(1), grant(1, 2));
    let (number, phase) = renewal(&effects, 1).unwrap();
    assert_eq!(phase, Phase::Waiting);
    assert!(desk.event(Event::Prepared { run }).is_empty(), "no start without a confirmation");
    // the lease counts from the sending, not from the answer
    let sent = desk.now;
    desk.now = desk.now + Millis(400);
    let deadline = sent + Millis(LEASE);
    assert!(desk.answer(1, number, FIRST, CONFIRMED).contains(&Effect::Start { run, deadline: Some(deadline) }));
    assert!(desk.answer(1, number, FIRST, CONFIRMED).is_empty(), "an answer counts once");
    let (number, phase) = renewal(&desk.pass(LEASE / 6), 1).unwrap();
    let deadline = desk.now + Millis(LEASE);
    assert_eq!(phase, Phase::Running);
    assert_eq!(desk.answer(1, number, FIRST, CONFIRMED), [Effect::Extend { run, deadline }]);
    assert_eq!(signs(&desk.event(ended(run, RunOutcome::Exited { code: 0 })), Asked::Done), 1);
    assert_eq!(desk.machine.slots_used(), 0);
    assert_eq!(renewal(&desk.pass(LEASE / 6), 1).unwrap().1, Phase::Finished);
    let state = desk.jobs[&job_id(1)].evaluate(&identity(&[node(1)])).unwrap();
    let outcome = Settlement::Result { term: Term(1), done: state.dones[&FIRST].done };
    let settle = Settle { job: job_id(1), seq: Seq(0), epoch: cobs::id::Epoch(0), outcome };
    desk.write(node(1), job_id(1), Action::Settle(settle));
    assert_eq!(desk.machine.memory(), (0, 0));
    assert_eq!(desk.machine.next_wake(desk.now), None);
}

#[test]
fn each_question_has_its_answer() {
    let mut desk = Desk::new(1, 1);
    assert_eq!(desk.ask(2, FIRST), Answer::Unknown, "a job never seen");
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    assert_eq!(desk.ask(2, FIRST), CONFIRMED);
    assert_eq!(desk.ask(3, FIRST), Answer::Replaced, "the wrong node");
    assert_eq!(desk.ask(2, Token::new(0, 2)), Answer::Unknown, "a token of the future");
    assert_eq!(desk.ask(2, Token::new(7, 1)), Answer::Unknown, "an epoch of the future");
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Released));
    assert_eq!(desk.ask(2, FIRST), Answer::Unknown, "what was given back is not confirmed");
    desk.write(node(3), job_id(1), bid(500));
    desk.pass(60);
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced, "a lower token");
    assert_eq!(desk.ask(3, Token::new(0, 2)), CONFIRMED);
    desk.write(node(1), job_id(1), cancel());
    assert_eq!(desk.ask(3, Token::new(0, 2)), Answer::Cancel);
    desk.write(node(3), job_id(1), done(Token::new(0, 2), RunOutcome::Cancelled));
    assert_eq!(desk.settled(1), Some(Settlement::Cancelled));
    assert_eq!(desk.ask(3, Token::new(0, 2)), Answer::Settled);
    let mut other = Desk::new(3, 1);
    other.submit(1, 1, content(1, &[2], leased(2)));
    assert_eq!(other.ask(2, FIRST), Answer::Unknown, "not its arbiter");
}

#[test]
fn a_confirmed_term_is_lost_after_the_whole_wait_and_not_before() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    desk.write(node(3), job_id(1), bid(500));
    assert_eq!(desk.ask(2, FIRST), CONFIRMED);
    let wait = wait_after(Millis(LEASE)).0;
    desk.pass(wait - 1);
    assert_eq!(desk.settled(1), None, "nobody else gets it meanwhile");
    desk.pass(1);
    assert_eq!(desk.settled(1), Some(Settlement::Lost { term: Term(1) }));
}

#[test]
fn an_arbiter_that_restarted_waits_and_never_replaces_what_it_may_have_confirmed() {
    // without a limit to its start the job goes on waiting for its node; with one it is lost, not expired
    for (limit, end) in [(None, None), (Some(1), Some(Settlement::Lost { term: Term(1) }))] {
        let mut desk = Desk::new(1, 2);
        let mut root = content(1, &[1, 2, 3], leased(2));
        root.spec.start_within_ms = limit;
        desk.submit(1, 1, root);
        assert_eq!(desk.ask(2, FIRST), CONFIRMED);
        desk.write(node(3), job_id(1), bid(900));
        assert_eq!(desk.restart(), []);
        let wait = wait_after(Millis(LEASE)).0;
        assert_eq!(desk.pass(wait - 1), []);
        assert_eq!(desk.settled(1), None);
        let effects = desk.pass(1);
        assert_eq!((grants(&effects), desk.settled(1)), (vec![], end));
        if end.is_none() {
            assert_eq!(desk.pass(3_600_000), []);
            assert_eq!(desk.ask(2, FIRST), CONFIRMED, "its node comes back");
        }
    }
}

#[test]
fn a_term_is_noted_before_it_is_replaced() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    desk.write(node(3), job_id(1), bid(100));
    assert_eq!(desk.pass(9_999), []);
    assert_eq!(desk.pass(1), [Effect::Note { job: job_id(1), token: FIRST }]);
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced, "from the asking on, not from the note");
    assert_eq!(desk.pass(5_000), [], "no grant while the note is not durable");
    let effects = desk.event(Event::Noted { job: job_id(1), token: FIRST });
    assert_eq!(grants(&effects), [(node(3), GrantKind::Leased)]);
    // after a restart the note still holds
    desk.notes.insert(FIRST);
    desk.restart();
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced);
}

#[test]
fn a_node_that_was_passed_over_is_granted_again_once_it_is_heard() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], None));
    desk.write(node(2), job_id(1), bid(900));
    desk.write(node(3), job_id(1), bid(100));
    assert_eq!(grants(&desk.pass(50)), [(node(2), GrantKind::Leased)]);
    desk.pass(10_000);
    assert_eq!(grants(&desk.event(Event::Noted { job: job_id(1), token: FIRST })), [(node(3), GrantKind::Leased)]);
    // node 3 is silent as well, and node 2 stays passed over
    assert_eq!(desk.pass(10_000), []);
    let token = Token::new(0, 2);
    let effects = desk.event(Event::PeerUp { node: node(2) });
    assert_eq!(effects, [Effect::Note { job: job_id(1), token }]);
    assert_eq!(grants(&desk.event(Event::Noted { job: job_id(1), token })), [(node(2), GrantKind::Leased)]);
}

#[test]
fn a_job_that_does_not_start_in_time_expires() {
    for granted in [None, leased(2)] {
        let mut desk = Desk::new(1, 1);
        let mut root = content(1, &[2], granted);
        root.spec.start_within_ms = Some(500);
        desk.submit(1, 1, root);
        desk.pass(499);
        assert_eq!(desk.settled(1), None);
        let effects = desk.pass(1);
        assert_eq!(effects.contains(&Effect::Note { job: job_id(1), token: FIRST }), granted.is_some());
        desk.event(Event::Noted { job: job_id(1), token: FIRST });
        assert_eq!(desk.settled(1), Some(Settlement::Expired));
    }
}

#[test]
fn a_cancel_ends_a_job_wherever_it_stands() {
    // waiting, granted and never confirmed: at once
    for granted in [None, leased(2)] {
        let mut desk = Desk::new(1, 1);
        desk.submit(1, 1, content(1, &[2], granted));
        desk.write(node(1), job_id(1), cancel());
        assert_eq!(desk.settled(1), Some(Settlement::Cancelled));
    }
    // confirmed: after the holder's report, or without it after a while; never a grant
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    desk.ask(2, FIRST);
    desk.write(node(3), job_id(1), bid(500));
    desk.write(node(1), job_id(1), cancel());
    assert_eq!(desk.settled(1), None);
    assert_eq!(grants(&desk.pass(4_999)), []);
    desk.pass(1);
    assert_eq!(desk.settled(1), Some(Settlement::Cancelled));
}

#[test]
fn a_holder_ends_its_run_on_a_cancel() {
    // before the start it reports at once, after it the run is stopped first; by operation or by answer
    for by_answer in [false, true] {
        for started in [false, true] {
            let mut desk = Desk::new(2, 1);
            let number = renewal(&desk.submit(1, 1, content(1, &[2], leased(2))), 1).unwrap().0;
            let run = desk.run(FIRST);
            desk.event(Event::Prepared { run });
            let mut number = number;
            if started {
                desk.answer(1, number, FIRST, CONFIRMED);
                number = renewal(&desk.pass(LEASE), 1).unwrap().0;
            }
            let effects = match by_answer {
                true => desk.answer(1, number, FIRST, Answer::Cancel),
                false => desk.write(node(1), job_id(1), cancel()),
            };
            if started {
                let grace = Settings::default().stop_grace;
                assert!(effects.contains(&Effect::Stop { run, reason: StopReason::Cancelled, grace }));
                desk.event(ended(run, RunOutcome::Signalled { signal: 15 }));
            } else {
                assert!(effects.contains(&Effect::Discard { run }));
            }
            let state = desk.jobs[&job_id(1)].evaluate(&identity(&[node(1)])).unwrap();
            assert_eq!(state.dones[&FIRST].outcome, RunOutcome::Cancelled);
        }
    }
}

#[test]
fn a_refused_grant_is_dropped_and_not_taken_again() {
    let mut desk = Desk::new(2, 1);
    let number = renewal(&desk.submit(1, 1, content(1, &[2], leased(2))), 1).unwrap().0;
    let run = desk.run(FIRST);
    assert_eq!(desk.answer(1, number, FIRST, Answer::Replaced), [Effect::Discard { run }]);
    assert_eq!(desk.tell(job_id(1), Origin::Live), []);
    let effects = desk.write(node(1), job_id(1), grant(2, 2));
    assert!(effects.contains(&Effect::Prepare { run: desk.run(Token::new(0, 2)) }), "the next one is");
}

#[test]
fn a_grant_that_cannot_run_here_is_given_back() {
    let mut desk = Desk::new(2, 1);
    let mut root = content(1, &[2], leased(2));
    root.spec.requirements.labels.insert("gpu-farm".into());
    desk.submit(1, 1, root);
    let state = desk.jobs[&job_id(1)].evaluate(&identity(&[node(1)])).unwrap();
    assert_eq!(state.dones[&FIRST].outcome, RunOutcome::Released);
    assert!(state.dones[&FIRST].reason.contains("gpu-farm"));
}

#[test]
fn a_grant_waits_for_the_first_probe() {
    // at start the jobs may come before the capacity: nothing is given back for want of it
    let mut desk = Desk::new(2, 1);
    desk.machine = Machine::new(node(2), Settings::default(), 2);
    desk.event(Event::Admitted(BTreeSet::from([node(1)])));
    assert_eq!(desk.submit(1, 1, content(1, &[2], leased(2))), []);
    let effects = desk.event(Event::Capacity(Box::new(capacity(node(2), 1))));
    assert!(effects.contains(&Effect::Prepare { run: desk.run(FIRST) }));
}

#[test]
fn slots_and_bids_are_bounded_and_go_by_priority() {
    // two slots: four open bids; two held runs; the freed slot goes to the highest priority
    let mut desk = Desk::new(2, 2);
    let bids = (1..=10).map(|number| signs(&desk.submit(number, 1, content(1, &[2], None)), Asked::Bid)).sum::<usize>();
    assert_eq!(bids, 4);

    let mut desk = Desk::new(1, 2);
    let mut started = Vec::new();
    for number in 1..=6 {
        let mut root = content(1, &[1], None);
        root.spec.priority = i32::try_from(number).unwrap();
        started.extend(grants(&desk.submit(number, 1, root)));
    }
    assert_eq!((started.len(), desk.machine.slots_used()), (2, 2));
    for next in [6, 5, 4] {
        let busy = (1..=6).find(|number| desk.settled(*number).is_none() && desk.machine.waits_for(job_id(*number)).is_some_and(|why| why.contains("source")));
        let run = RunId { job: job_id(busy.unwrap()), token: FIRST, node: node(1) };
        let effects = desk.event(Event::NotPrepared { run, reason: "gone".into() });
        assert!(effects.contains(&Effect::Prepare { run: RunId { job: job_id(next), ..run } }), "{next} is next");
    }
}

#[test]
fn an_eviction_gives_the_job_back_and_bids_again_later() {
    let mut desk = Desk::new(2, 1);
    let number = renewal(&desk.submit(1, 1, content(1, &[2], leased(2))), 1).unwrap().0;
    let run = desk.run(FIRST);
    desk.event(Event::Prepared { run });
    desk.answer(1, number, FIRST, CONFIRMED);
    let grace = Millis(100);
    let effects = desk.event(Event::Evict { job: job_id(1), grace });
    assert_eq!(effects, [Effect::Stop { run, reason: StopReason::Evicted, grace }]);
    let effects = desk.event(ended(run, RunOutcome::Signalled { signal: 15 }));
    assert_eq!((signs(&effects, Asked::Done), signs(&effects, Asked::Bid)), (1, 0));
    assert_eq!(signs(&desk.pass(59_999), Asked::Bid), 0);
    assert_eq!(signs(&desk.pass(1), Asked::Bid), 1);
}

#[test]
fn what_leaves_no_trace_is_asked_for_ever_more_rarely() {
    // a bid that is written and means nothing, and one that is never written
    for fails in [false, true] {
        let mut desk = Desk::new(2, 1);
        desk.signs = false;
        assert_eq!(signs(&desk.submit(1, 1, content(1, &[2], None)), Asked::Bid), 1);
        let mut gaps = Vec::new();
        for _ in 0..9 {
            let (job, kind) = (job_id(1), Asked::Bid);
            let event = if fails { Event::NotSigned { job, kind } } else { Event::Signed { job, kind } };
            assert_eq!(desk.event(event), []);
            let wake = desk.machine.next_wake(desk.now).unwrap();
            gaps.push(wake.0 - desk.now.0);
            desk.now = wake;
            assert_eq!(signs(&desk.event(Event::Tick), Asked::Bid), 1);
        }
        assert_eq!(gaps, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000, 64_000]);
    }
}

#[test]
fn hostile_messages_change_nothing() {
    let mut desk = Desk::new(2, 1);
    let (number, _) = renewal(&desk.submit(1, 1, content(1, &[2], leased(2))), 1).unwrap();
    let run = desk.run(FIRST);
    desk.event(Event::Prepared { run });
    assert_eq!(desk.answer(3, number, FIRST, CONFIRMED), [], "from the wrong node");
    assert_eq!(desk.answer(1, number + 1, FIRST, CONFIRMED), [], "never asked");
    let other = desk.answer(1, number, Token::new(0, 9), CONFIRMED);
    assert_eq!(other, [], "another token");
    let item = RenewalItem { job: job_id(7), token: Token::new(u32::MAX, u32::MAX), phase: Phase::Running };
    assert_eq!(desk.says(3, vec![item; 10 * ITEMS_MAX]).len(), ITEMS_MAX);
    // an arbiter cannot lengthen a lease beyond its grant
    let (number, _) = renewal(&desk.pass(1_000), 1).unwrap();
    let deadline = desk.now + Millis(LEASE);
    let effects = desk.answer(1, number, FIRST, Answer::Confirmed { lease_ms: u64::MAX });
    assert_eq!(effects, [Effect::Start { run, deadline: Some(deadline) }]);
}

#[test]
fn an_arbiter_that_never_answers_costs_bounded_memory() {
    let mut desk = Desk::new(2, 1);
    desk.submit(1, 1, content(1, &[2], leased(2)));
    for _ in 0..1_000 {
        desk.pass(500);
    }
    assert!(desk.machine.memory().1 <= Settings::default().renewals_open_max + 2);
}

#[test]
fn a_successor_neither_grants_nor_confirms() {
    // hand-overs are not carried out yet, so the new arbiter must not act on what it may not know
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), leased(2)));
    let (job, seq, epoch) = (job_id(1), Seq(0), cobs::id::Epoch(0));
    let step = StepDown { job, seq, epoch, to: node(3), last: Term(1) };
    desk.write(node(1), job_id(1), Action::StepDown(step));
    desk.write(node(4), job_id(1), bid(900));
    assert_eq!(desk.ask(2, FIRST), Answer::Unknown);
    assert_eq!(desk.pass(3_600_000), []);
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Exited { code: 0 }));
    assert!(matches!(desk.settled(1), Some(Settlement::Result { .. })), "a report is a report");
}

#[test]
fn a_job_is_superseded_whichever_is_seen_first() {
    for old_first in [true, false] {
        let mut desk = Desk::new(1, 0);
        let mut new = content(1, &[1], None);
        new.spec.supersedes = vec![job_id(1)];
        if old_first {
            desk.submit(1, 2, content(1, &[1], None));
            desk.submit(2, 2, new);
        } else {
            desk.submit(2, 2, new);
            desk.submit(1, 2, content(1, &[1], None));
        }
        assert_eq!(desk.settled(1), Some(Settlement::Superseded { by: job_id(2) }));
    }
}

#[test]
fn an_arbiter_confirms_its_own_leased_run() {
    // such a root is legal, and no link leads to oneself
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[1], leased(1)));
    let run = desk.run(FIRST);
    let deadline = Some(desk.now + Millis(LEASE));
    assert_eq!(desk.event(Event::Prepared { run }), [Effect::Start { run, deadline }]);
    let deadline = desk.now + Millis(LEASE / 6 + LEASE);
    assert_eq!(desk.pass(LEASE / 6), [Effect::Extend { run, deadline }]);
}

#[test]
fn a_run_without_a_grant_is_ended_after_a_restart() {
    // its job was settled while the daemon was down, or never granted the token
    let mut desk = Desk::new(2, 1);
    let run = desk.run(Token::new(0, 3));
    assert_eq!(desk.event(Event::Adopted { run }), []);
    let effects = desk.submit(1, 1, content(1, &[2], None));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop { run: stopped, .. } if *stopped == run)));
}

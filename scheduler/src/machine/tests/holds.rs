//! The machine as bidder and holder, step by step.

use std::collections::BTreeSet;

use cobs::id::{Epoch, RunId, Seq, Term, Token};
use cobs::job::action::{Action, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};

use super::desk::{CONFIRMED, Desk, FIRST, LEASE, cancel, content, ended, grant, grants, leased, renewal, signs};
use crate::machine::sim::common::{capacity, identity, job_id, node};
use crate::machine::wire::{Answer, ITEMS_MAX, Phase, RenewalItem};
use crate::machine::{Asked, Effect, Event, Machine, Millis, Origin, Settings, StopReason};

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
    assert!(desk.answer(1, number, FIRST, CONFIRMED).is_empty(), "an answer that comes again changes nothing");
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
        let busy = (1..=6).find(|number| {
            desk.settled(*number).is_none()
                && desk.machine.waits_for(job_id(*number), desk.now).is_some_and(|why| why.contains("source"))
        });
        let run = RunId { job: job_id(busy.unwrap()), token: FIRST, node: node(1) };
        let effects = desk.event(Event::NotPrepared { run, outcome: RunOutcome::CouldNotStart, reason: "gone".into() });
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
            let asked_at = desk.now;
            // between two tries it also gives its room back
            while signs(&desk.event(Event::Tick), Asked::Bid) == 0 {
                desk.now = desk.machine.next_wake(desk.now).unwrap();
            }
            gaps.push(desk.now.0 - asked_at.0);
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
    let item =
        RenewalItem { job: job_id(7), token: Token::new(u32::MAX, u32::MAX), phase: Phase::Running, epoch: Epoch(0) };
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
fn a_run_without_a_grant_is_ended_after_a_restart() {
    // its job was settled while the daemon was down, or never granted the token
    let mut desk = Desk::new(2, 1);
    let run = desk.run(Token::new(0, 3));
    assert_eq!(desk.event(Event::Adopted { run }), []);
    let effects = desk.submit(1, 1, content(1, &[2], None));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop { run: stopped, .. } if *stopped == run)));
}

#[test]
fn bids_that_nobody_answers_give_their_room_back() {
    let mut desk = Desk::new(2, 1);
    for number in 1..=2 {
        assert_eq!(signs(&desk.submit(number, 1, content(1, &[2], None)), Asked::Bid), 1);
    }
    assert_eq!(signs(&desk.submit(3, 1, content(1, &[2], None)), Asked::Bid), 0, "two are open for one slot");
    let words = desk.machine.waits_for(job_id(3), desk.now).unwrap();
    assert!(words.contains("once fewer offers are open"), "{words}");
    assert_eq!(signs(&desk.pass(9_999), Asked::Bid), 0);
    assert_eq!(signs(&desk.pass(1), Asked::Bid), 1, "an arbiter that is away keeps no room");
}

#[test]
fn what_cannot_be_had_now_is_given_back_and_not_offered_at_once() {
    let mut desk = Desk::new(2, 1);
    desk.submit(1, 1, content(1, &[2], None));
    desk.write(node(1), job_id(1), grant(1, 2));
    let (run, reason) = (desk.run(FIRST), String::from("its author is away"));
    let effects = desk.event(Event::NotPrepared { run, outcome: RunOutcome::Released, reason });
    assert_eq!(signs(&effects, Asked::Done), 1);
    assert_eq!(signs(&effects, Asked::Bid), 0);
    assert_eq!(desk.machine.slots_used(), 0);
    assert_eq!(signs(&desk.pass(59_999), Asked::Bid), 0);
    assert_eq!(signs(&desk.pass(1), Asked::Bid), 1);
}

#[test]
fn a_term_that_was_given_back_is_renewed_until_another_is_granted() {
    // found by the simulation: a report on its way for longer than the lease was settled as lost, also by a successor
    // of the arbiter that had it already
    let mut desk = Desk::new(2, 1);
    desk.submit(1, 1, content(1, &[2, 3], None));
    desk.write(node(1), job_id(1), grant(1, 2));
    assert_eq!(signs(&desk.event(Event::Evict { job: job_id(1), grace: Millis(0) }), Asked::Done), 1);
    let (number, phase) = renewal(&desk.pass(LEASE), 1).unwrap();
    assert_eq!(phase, Phase::Finished);
    assert_eq!(desk.answer(1, number, FIRST, Answer::Unknown), []);
    let (number, _) = renewal(&desk.pass(LEASE), 1).unwrap();
    desk.answer(1, number, FIRST, Answer::Reported);
    assert_eq!(renewal(&desk.pass(LEASE), 1).unwrap().1, Phase::Finished);
    desk.write(node(1), job_id(1), grant(2, 3));
    assert_eq!(renewal(&desk.pass(LEASE), 1), None);
    // its arbiter says so once it has it
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2], leased(2)));
    assert_eq!(desk.ask(2, FIRST), CONFIRMED);
    desk.write(node(2), job_id(1), super::desk::done(FIRST, RunOutcome::Released));
    assert_eq!(desk.ask(2, FIRST), Answer::Reported);
}

#[test]
fn a_run_whose_token_counts_for_another_node_is_ended() {
    // an arbiter that signed one token twice: the smaller tree holds it
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[1, 2], None));
    let run = desk.run(FIRST);
    desk.pass(1_000);
    assert!(desk.event(Event::Prepared { run }).contains(&Effect::Start { run, deadline: None }));
    let mut state = desk.jobs[&job_id(1)].evaluate(&identity(&[node(1)])).unwrap();
    state.grants.get_mut(&FIRST).unwrap().node = node(2);
    let seen = crate::machine::JobSeen {
        job: std::sync::Arc::new(state),
        created_ms: 0,
        origin: Origin::Live,
        notes: BTreeSet::new(),
        unknown: false,
        shown: false,
    };
    let grace = Settings::default().stop_grace;
    let stop = Effect::Stop { run, reason: StopReason::Replaced, grace };
    assert!(desk.event(Event::Job(Box::new(seen))).contains(&stop));
}

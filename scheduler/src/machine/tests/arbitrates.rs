//! The machine as arbiter, step by step.

use std::collections::BTreeSet;

use cobs::id::{Epoch, Seq, Term, Token};
use cobs::job::action::{Action, GrantKind, RootGrant, Settle};
use cobs::job::outcome::{RunOutcome, Settlement};

use super::desk::{CONFIRMED, Desk, FIRST, LEASE, bid, cancel, content, done, ended, grants, leased};
use crate::machine::settings::wait_after;
use crate::machine::sim::common::{job_id, node};
use crate::machine::wire::Answer;
use crate::machine::{Effect, Event, Millis, Note};

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
    desk.submit(1, 1, content(1, &[2, 3, 4], None));
    desk.write(node(2), job_id(1), bid(400));
    assert!(grants(&desk.pass(20)).is_empty());
    desk.write(node(3), job_id(1), bid(600));
    assert_eq!(grants(&desk.pass(30)), [(node(3), GrantKind::Leased)]);
    assert_eq!(desk.ask(3, FIRST), CONFIRMED);
    desk.write(node(3), job_id(1), done(FIRST, RunOutcome::Exited { code: 0 }));
    assert!(matches!(desk.settled(1), Some(Settlement::Result { .. })));
}

#[test]
fn an_arbiter_waits_for_no_bid_when_each_worker_has_bid() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], None));
    assert!(grants(&desk.write(node(2), job_id(1), bid(400))).is_empty());
    assert_eq!(grants(&desk.write(node(3), job_id(1), bid(600))), [(node(3), GrantKind::Leased)]);
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
    assert_eq!(desk.ask(2, FIRST), Answer::Reported, "what was given back is not confirmed");
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
fn an_arbiter_that_restarted_waits_for_what_it_confirmed_and_for_nothing_else() {
    for (confirmed, attempts) in [(true, 1), (true, 2), (false, 1)] {
        let mut desk = Desk::new(1, 2);
        let mut root = content(1, &[2, 3], leased(2));
        root.spec.attempts = attempts;
        desk.submit(1, 1, root);
        if confirmed {
            assert_eq!(desk.ask(2, FIRST), CONFIRMED);
        }
        assert_eq!(desk.restart(), []);
        let wait = wait_after(Millis(LEASE)).0;
        let effects = desk.pass(wait - 1);
        assert_eq!((grants(&effects), desk.settled(1)), (vec![], None));
        let effects = desk.pass(1);
        let lost = (confirmed && attempts == 1).then_some(Settlement::Lost { term: Term(1) });
        let again = (confirmed && attempts == 2).then_some((node(3), GrantKind::Leased));
        assert_eq!((grants(&effects), desk.settled(1)), (again.into_iter().collect(), lost));
        if !confirmed {
            // nobody was ever told to start, so it waits for its node however long that is away
            desk.pass(3_600_000);
            assert_eq!(desk.settled(1), None);
        }
    }
}

#[test]
fn a_term_is_noted_before_it_is_replaced() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    desk.write(node(3), job_id(1), bid(100));
    assert_eq!(desk.pass(9_999), []);
    assert_eq!(desk.pass(1), [Effect::Note { job: job_id(1), token: FIRST, note: Note::NeverConfirm }]);
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced, "from the asking on, not from the note");
    assert_eq!(desk.pass(5_000), [], "no grant while the note is not durable");
    let effects = desk.event(Event::Noted { job: job_id(1), token: FIRST, note: Note::NeverConfirm });
    assert_eq!(grants(&effects), [(node(3), GrantKind::Leased)]);
    // after a restart the note still holds
    desk.notes.insert((Note::NeverConfirm, FIRST));
    desk.restart();
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced);
}

#[test]
fn a_node_that_was_passed_over_is_granted_again_once_it_is_heard() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], None));
    desk.write(node(2), job_id(1), bid(900));
    assert_eq!(grants(&desk.write(node(3), job_id(1), bid(100))), [(node(2), GrantKind::Leased)]);
    desk.pass(10_000);
    assert_eq!(
        grants(&desk.event(Event::Noted { job: job_id(1), token: FIRST, note: Note::NeverConfirm })),
        [(node(3), GrantKind::Leased)]
    );
    // node 3 is silent as well, and node 2 stays passed over
    assert_eq!(desk.pass(10_000), []);
    let token = Token::new(0, 2);
    let effects = desk.event(Event::PeerUp { node: node(2) });
    assert_eq!(effects, [Effect::Note { job: job_id(1), token, note: Note::NeverConfirm }]);
    assert_eq!(
        grants(&desk.event(Event::Noted { job: job_id(1), token, note: Note::NeverConfirm })),
        [(node(2), GrantKind::Leased)]
    );
}

/// A grant may come to a node later than it is replaced; what it bid stands, so the node says nothing of its own accord.
#[test]
fn a_linked_bidder_that_was_passed_over_is_granted_where_no_other_is_left() {
    for linked in [true, false] {
        let mut desk = Desk::new(1, 1);
        if linked {
            desk.event(Event::PeerUp { node: node(2) });
        }
        desk.submit(1, 1, content(1, &[2, 3], None));
        desk.write(node(2), job_id(1), bid(900));
        desk.write(node(3), job_id(1), bid(100));
        desk.pass(10_000);
        let effects = desk.event(Event::Noted { job: job_id(1), token: FIRST, note: Note::NeverConfirm });
        assert_eq!(grants(&effects), [(node(3), GrantKind::Leased)]);
        desk.write(node(3), job_id(1), done(Token::new(0, 2), RunOutcome::Released));
        let effects = desk.pass(1_000);
        let again = linked.then_some((node(2), GrantKind::Leased));
        assert_eq!(grants(&effects), again.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_silent_grantee_is_replaced_by_a_worker_that_could_not_bid() {
    // a job with a grant in its root is bid for by nobody
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2, 3], leased(2)));
    assert_eq!(desk.pass(10_000), [Effect::Note { job: job_id(1), token: FIRST, note: Note::NeverConfirm }]);
    assert_eq!(
        grants(&desk.event(Event::Noted { job: job_id(1), token: FIRST, note: Note::NeverConfirm })),
        [(node(3), GrantKind::Leased)]
    );
    // with nobody else to ask it stays with whom it has
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2], leased(2)));
    assert_eq!(desk.pass(10_000), []);
    assert_eq!(desk.ask(2, FIRST), CONFIRMED);
}

#[test]
fn a_worker_that_may_not_run_our_jobs_any_more_is_not_granted() {
    let mut desk = Desk::new(1, 1);
    desk.event(Event::Workers(BTreeSet::from([node(3)])));
    desk.submit(1, 1, content(1, &[2, 3], None));
    desk.write(node(2), job_id(1), bid(900));
    assert!(grants(&desk.pass(1_000)).is_empty());
    assert_eq!(grants(&desk.write(node(3), job_id(1), bid(100))), [(node(3), GrantKind::Leased)]);
    // what another author lists is that author's to say
    let mut desk = Desk::new(1, 1);
    desk.event(Event::Workers(BTreeSet::new()));
    desk.submit(1, 2, content(1, &[2], None));
    assert_eq!(grants(&desk.write(node(2), job_id(1), bid(900))), [(node(2), GrantKind::Leased)]);
}

#[test]
fn a_failed_job_goes_on_once_a_worker_may_run_it_again() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], None);
    root.spec.attempts = 2;
    desk.submit(1, 1, root);
    assert_eq!(grants(&desk.write(node(2), job_id(1), bid(900))), [(node(2), GrantKind::Leased)]);
    desk.event(Event::Workers(BTreeSet::new()));
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Exited { code: 1 }));
    assert!(grants(&desk.pass(60_000)).is_empty());
    let effects = desk.event(Event::Workers(BTreeSet::from([node(2)])));
    assert_eq!(grants(&effects), [(node(2), GrantKind::Leased)]);
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
        assert_eq!(
            effects.contains(&Effect::Note { job: job_id(1), token: FIRST, note: Note::NeverConfirm }),
            granted.is_some()
        );
        desk.event(Event::Noted { job: job_id(1), token: FIRST, note: Note::NeverConfirm });
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
    // also when its lease ends before that: found by the simulation, which was told that it is lost
    let mut desk = Desk::new(1, 1);
    let short = leased(2).map(|grant| RootGrant { lease_ms: 1_000, ..grant });
    desk.submit(1, 1, content(1, &[2], short));
    desk.ask(2, FIRST);
    desk.write(node(1), job_id(1), cancel());
    desk.pass(4_999);
    assert_eq!(desk.settled(1), None);
    desk.pass(1);
    assert_eq!(desk.settled(1), Some(Settlement::Cancelled));
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

/// A node that was away may learn of the new job's end before it learns of the old job.
#[test]
fn a_job_is_superseded_by_one_that_is_settled() {
    for (author, replaced) in [(2, true), (3, false)] {
        let mut desk = Desk::new(1, 1);
        let mut new = content(2, &[4], leased(4));
        new.spec.supersedes = vec![job_id(1)];
        desk.submit(2, 2, new);
        let outcome = Settlement::Lost { term: Term(1) };
        let settle = Settle { job: job_id(2), seq: Seq(0), epoch: Epoch(0), outcome };
        desk.write(node(2), job_id(2), Action::Settle(settle));
        assert_eq!(desk.machine.memory(), (0, 0));
        desk.submit(1, author, content(1, &[1], None));
        let by = replaced.then_some(Settlement::Superseded { by: job_id(2) });
        assert_eq!(desk.settled(1), by, "of its own author alone");
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
fn a_job_whose_author_may_not_name_this_arbiter_waits_and_says_why() {
    let mut desk = Desk::new(1, 1);
    desk.event(Event::Arbitrates(BTreeSet::from([node(3)])));
    assert!(grants(&desk.submit(1, 2, content(1, &[1], None))).is_empty());
    assert!(desk.machine.waits_for(job_id(1), desk.now).is_some_and(|words| words.contains("may not name this node")));
    assert_eq!(grants(&desk.event(Event::Arbitrates(BTreeSet::from([node(2)])))), [(node(1), GrantKind::Held)]);
}

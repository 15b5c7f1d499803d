//! Attempts, hand-overs and starts by rank, step by step.

use std::collections::BTreeSet;

use cobs::id::{Epoch, Seq, Term, Token};
use cobs::job::action::{Action, GrantKind, StepDown, Takeover};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Mode, Retry, RetryPlace};

use super::desk::{
    CONFIRMED, Desk, FIRST, LEASE, bid, cancel, content, done, ended, grants, leased, nodes, renewal, signs,
};
use crate::machine::settings::wait_after;
use crate::machine::sim::common::{create, job_id, node};
use crate::machine::wire::{Answer, Phase, RenewalItem};
use crate::machine::{Asked, Effect, Event, Millis, Note, Settings};

fn retry(place: RetryPlace) -> Retry {
    Retry { place, backoff_ms: 0, backoff_max_ms: 0, exit_codes: BTreeSet::new() }
}

fn step_down(last: u32, unconfirmed: bool) -> Action {
    let (job, seq, epoch, to) = (job_id(1), Seq(0), Epoch(0), node(3));
    Action::StepDown(StepDown { job, seq, epoch, to, last: Term(last), unconfirmed })
}

fn ask_in(desk: &mut Desk, token: Token, phase: Phase, epoch: u32) -> Vec<Answer> {
    desk.says(2, vec![RenewalItem { job: job_id(1), token, phase, epoch: Epoch(epoch) }])
}

#[test]
fn a_failed_run_is_tried_again_where_the_policy_says() {
    for (place, next) in [(RetryPlace::SameNode, 2), (RetryPlace::OtherNode, 3), (RetryPlace::Any, 3)] {
        let mut desk = Desk::new(1, 1);
        let mut root = content(1, &[2, 3], None);
        (root.spec.attempts, root.spec.retry) = (2, Some(retry(place)));
        desk.submit(1, 1, root);
        desk.write(node(2), job_id(1), bid(500));
        assert_eq!(grants(&desk.pass(50)), [(node(2), GrantKind::Leased)]);
        desk.write(node(3), job_id(1), bid(600));
        desk.ask(2, FIRST);
        let effects = desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Exited { code: 1 }));
        assert_eq!(grants(&effects), [(node(next), GrantKind::Leased)]);
        // the second one is the last
        let token = Token::new(0, 2);
        desk.write(node(next), job_id(1), done(token, RunOutcome::Exited { code: 1 }));
        assert!(matches!(desk.settled(1), Some(Settlement::Result { term: Term(2), .. })));
    }
}

#[test]
fn the_place_of_another_attempt_holds_beyond_who_is_silent_or_gives_it_back() {
    for (place, silent, last) in
        [(RetryPlace::SameNode, 2, None), (RetryPlace::OtherNode, 3, None), (RetryPlace::Any, 3, Some(2))]
    {
        let mut desk = Desk::new(1, 1);
        let mut root = content(1, &[2, 3], leased(2));
        (root.spec.attempts, root.spec.retry) = (3, Some(retry(place)));
        desk.submit(1, 1, root);
        desk.write(node(3), job_id(1), bid(600));
        desk.ask(2, FIRST);
        let effects = desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Exited { code: 1 }));
        assert_eq!(grants(&effects), [(node(silent), GrantKind::Leased)], "{place:?}");
        // nobody asks to confirm it
        let token = Token::new(0, 2);
        let mut effects = desk.pass(Settings::default().grant_wait.0);
        if effects.iter().any(|effect| matches!(effect, Effect::Note { .. })) {
            effects.extend(desk.event(Event::Noted { job: job_id(1), token, note: Note::NeverConfirm }));
        }
        assert_eq!(grants(&effects).first().map(|(to, _)| *to), last.map(node), "{place:?}");
    }
    // one that gave it back is waited for, however well another would do
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2, 3], leased(2));
    (root.spec.attempts, root.spec.retry) = (3, Some(retry(RetryPlace::SameNode)));
    desk.submit(1, 1, root);
    desk.ask(2, FIRST);
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Exited { code: 1 }));
    desk.write(node(2), job_id(1), done(Token::new(0, 2), RunOutcome::Released));
    desk.write(node(3), job_id(1), bid(900));
    assert!(grants(&desk.pass(3_600_000)).is_empty());
    assert_eq!(grants(&desk.write(node(2), job_id(1), bid(1))), [(node(2), GrantKind::Leased)]);
}

#[test]
fn an_arbiter_says_what_it_waits_for() {
    let says = |desk: &Desk, word: &str| {
        let words = desk.machine.waits_for(job_id(1), desk.now).unwrap();
        assert!(words.contains(word), "{words}");
    };
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], leased(2));
    (root.spec.attempts, root.spec.retry) = (2, Some(Retry { backoff_ms: 60_000, ..retry(RetryPlace::Any) }));
    desk.submit(1, 1, root);
    desk.ask(2, FIRST);
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::TimedOut));
    says(&desk, "before another attempt");
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), None));
    desk.write(node(1), job_id(1), step_down(1, false));
    says(&desk, "have not arrived");
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), None));
    let (job, seq, epoch, to, last) = (job_id(1), Seq(0), Epoch(1), node(3), Term(0));
    let (abandoned, lease_ms, reason) = (None, None, String::new());
    desk.write(
        node(1),
        job_id(1),
        Action::Takeover(Takeover { job, seq, epoch, to, last, abandoned, lease_ms, reason }),
    );
    says(&desk, "waits 721 s");
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], None);
    root.mode = Mode::Idempotent;
    desk.submit(1, 1, root);
    desk.restart();
    says(&desk, "may have started");
}

#[test]
fn another_attempt_waits_for_its_backoff() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], leased(2));
    root.spec.attempts = 3;
    root.spec.retry = Some(Retry { backoff_ms: 8_000, ..retry(RetryPlace::Any) });
    desk.submit(1, 1, root);
    desk.ask(2, FIRST);
    assert_eq!(grants(&desk.write(node(2), job_id(1), done(FIRST, RunOutcome::TimedOut))), []);
    assert!(grants(&desk.pass(3_999)).is_empty(), "half of it at least");
    assert_eq!(grants(&desk.pass(4_001)).len(), 1, "and all of it at most");
}

#[test]
fn what_succeeded_was_cancelled_or_exits_otherwise_is_not_tried_again() {
    for outcome in [RunOutcome::Exited { code: 0 }, RunOutcome::Cancelled, RunOutcome::Exited { code: 9 }] {
        let mut desk = Desk::new(1, 1);
        let mut root = content(1, &[2, 3], leased(2));
        root.spec.attempts = 5;
        root.spec.retry = Some(Retry { exit_codes: [1].into(), ..retry(RetryPlace::Any) });
        desk.submit(1, 1, root);
        desk.ask(2, FIRST);
        desk.write(node(2), job_id(1), done(FIRST, outcome));
        assert!(matches!(desk.settled(1), Some(Settlement::Result { term: Term(1), .. })));
    }
}

#[test]
fn a_lost_run_is_granted_again_after_the_whole_wait_and_while_attempts_are_left() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2, 3], leased(2));
    root.spec.attempts = 2;
    desk.submit(1, 1, root);
    desk.ask(2, FIRST);
    let wait = wait_after(Millis(LEASE)).0;
    assert!(grants(&desk.pass(wait - 1)).is_empty());
    assert_eq!(grants(&desk.pass(1)), [(node(3), GrantKind::Leased)]);
    assert_eq!(desk.ask(2, FIRST), Answer::Replaced);
    assert_eq!(desk.ask(3, Token::new(0, 2)), CONFIRMED);
    desk.pass(wait);
    assert_eq!(desk.settled(1), Some(Settlement::Lost { term: Term(2) }));
}

#[test]
fn a_grant_to_another_is_held_where_the_job_allows_it() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], None);
    root.spec.held_allowed = true;
    desk.submit(1, 1, root);
    assert_eq!(grants(&desk.write(node(2), job_id(1), bid(1))), [(node(2), GrantKind::Held)]);
    assert!(grants(&desk.pass(86_400_000)).is_empty(), "it never ends by time");
    assert_eq!(desk.settled(1), None);
}

#[test]
fn a_confirmation_waits_for_its_note() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, content(1, &[2], leased(2)));
    let item = RenewalItem { job: job_id(1), token: FIRST, phase: Phase::Waiting, epoch: Epoch(0) };
    let message =
        crate::machine::wire::Message::Renewal(crate::machine::wire::Renewal { number: 4, items: vec![item] });
    let effects = desk.machine.handle(Event::Message { from: node(2), message }, desk.now);
    assert_eq!(effects, [Effect::Note { job: job_id(1), token: FIRST, note: Note::Confirmed }]);
    let noted = Event::Noted { job: job_id(1), token: FIRST, note: Note::Confirmed };
    let effects = desk.machine.handle(noted, desk.now);
    assert!(matches!(&effects[..], [Effect::Send { to, .. }] if *to == node(2)), "{effects:?}");
}

#[test]
fn an_arbiter_hands_over_and_confirms_nothing_more() {
    let mut desk = Desk::new(1, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2]), leased(2)));
    desk.ask(2, FIRST);
    assert!(desk.event(Event::HandOver { job: job_id(1), to: node(2) }).is_empty(), "it is no arbiter");
    desk.signs = false;
    let effects = desk.event(Event::HandOver { job: job_id(1), to: node(3) });
    assert_eq!(signs(&effects, Asked::StepDown), 1);
    assert_eq!(desk.ask(2, FIRST), Answer::Unknown, "from the asking on");
    desk.signs = true;
    desk.write(node(1), job_id(1), step_down(1, false));
    desk.event(Event::Signed { job: job_id(1), kind: Asked::StepDown });
    assert_eq!(desk.ask(2, FIRST), Answer::HandedOver { epoch: Epoch(1) });
    assert_eq!(desk.pass(3_600_000), []);
}

#[test]
fn a_successor_answers_what_runs_at_once_and_the_rest_after_its_wait() {
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), leased(2)));
    desk.write(node(1), job_id(1), step_down(1, false));
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Running, 0), [Answer::HandedOver { epoch: Epoch(1) }]);
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Waiting, 1), [Answer::Unknown]);
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Running, 1), [CONFIRMED]);
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), leased(2)));
    desk.write(node(1), job_id(1), step_down(1, false));
    let wait = wait_after(Millis(LEASE)).0;
    desk.pass(wait - 1);
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Waiting, 1), [Answer::Unknown]);
    desk.pass(1);
    assert_eq!(desk.settled(1), None, "one that asks is not lost");
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Waiting, 1), [CONFIRMED]);
}

#[test]
fn a_successor_waits_for_grants_that_are_not_here_and_not_for_what_was_never_confirmed() {
    let mut desk = Desk::new(3, 1);
    desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), None));
    desk.write(node(4), job_id(1), bid(900));
    desk.write(node(1), job_id(1), step_down(1, true));
    assert!(grants(&desk.pass(3_600_000)).is_empty(), "term 1 is missing");
    desk.write(node(1), job_id(1), super::desk::grant(1, 2));
    assert_eq!(ask_in(&mut desk, FIRST, Phase::Waiting, 1), [CONFIRMED], "nobody confirmed it before");
}

#[test]
fn a_successor_by_force_waits_for_the_longest_lease_there_may_be() {
    for (lease_ms, wait) in [(None, 721_000), (Some(2_000), wait_after(Millis(LEASE)).0)] {
        let mut desk = Desk::new(3, 1);
        desk.submit(1, 1, create(&nodes(&[1, 3]), &nodes(&[2, 4]), leased(2)));
        desk.write(node(2), job_id(1), done(FIRST, RunOutcome::Released));
        desk.write(node(4), job_id(1), bid(900));
        let (job, seq, epoch, to, last) = (job_id(1), Seq(0), Epoch(1), node(3), Term(1));
        let takeover = Takeover { job, seq, epoch, to, last, abandoned: None, lease_ms, reason: "it is dead".into() };
        desk.write(node(1), job_id(1), Action::Takeover(takeover));
        assert!(grants(&desk.pass(wait - 1)).is_empty());
        assert_eq!(grants(&desk.pass(1)), [(node(4), GrantKind::Leased)]);
    }
}

#[test]
fn an_idempotent_job_starts_by_rank_when_its_arbiter_is_away() {
    let mut desk = Desk::new(2, 1);
    let mut root = content(1, &[2], None);
    root.mode = Mode::Idempotent;
    desk.submit(1, 1, root);
    let hold_off = Settings::default().hold_off.0;
    assert!(!desk.pass(hold_off - 1).iter().any(|effect| matches!(effect, Effect::Prepare { .. })));
    desk.event(Event::PeerUp { node: node(1) });
    assert!(!desk.pass(hold_off - 1).iter().any(|effect| matches!(effect, Effect::Prepare { .. })), "it was heard");
    let run = desk.run(Token::new(0, 0));
    assert!(desk.pass(1).contains(&Effect::Prepare { run }));
    assert!(desk.event(Event::Prepared { run }).contains(&Effect::Start { run, deadline: None }));
    let effects = desk.event(ended(run, RunOutcome::Exited { code: 0 }));
    assert_eq!(signs(&effects, Asked::Done), 1);
    assert_eq!(renewal(&desk.pass(30_000), 1).map(|(_, phase)| phase), Some(Phase::Finished));
}

/// What was confirmed while its node had no room, and its arbiter left before there was some, is started by rank.
#[test]
fn a_confirmation_that_is_over_keeps_nobody_from_starting_by_rank() {
    let mut desk = Desk::new(2, 1);
    let mut root = content(1, &[2], leased(2));
    root.mode = Mode::Idempotent;
    let (number, _) = renewal(&desk.submit(1, 1, root), 1).unwrap();
    assert!(desk.answer(1, number, FIRST, CONFIRMED).is_empty(), "not prepared yet");
    let by_rank = desk.run(Token::new(0, 0));
    let wait = Settings::default().hold_off.0;
    assert!(LEASE < wait);
    assert!(!desk.pass(wait - 1).contains(&Effect::Prepare { run: by_rank }));
    assert!(desk.pass(1).contains(&Effect::Prepare { run: by_rank }));
}

#[test]
fn an_arbiter_that_was_away_waits_for_what_started_by_rank() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2, 3], None);
    root.mode = Mode::Idempotent;
    desk.submit(1, 1, root);
    desk.signs = false;
    desk.write(node(3), job_id(1), bid(900));
    desk.restart();
    desk.signs = true;
    let wait = wait_after(Millis(LEASE)).0;
    assert!(grants(&desk.pass(wait - 1)).is_empty(), "once, whether it hears of one or not");
    let token = Token::new(0, 0);
    assert_eq!(ask_in(&mut desk, token, Phase::Running, 0), [CONFIRMED]);
    assert!(grants(&desk.pass(wait - 1)).is_empty());
    desk.write(node(2), job_id(1), done(token, RunOutcome::Exited { code: 0 }));
    assert!(matches!(desk.settled(1), Some(Settlement::Result { term: Term(0), .. })));
}

/// A holder that did not hear its arbiter for long runs by rank, and asks no more for its grant.
#[test]
fn a_term_is_not_lost_while_its_job_runs_by_rank() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], leased(2));
    root.mode = Mode::Idempotent;
    desk.submit(1, 1, root);
    assert_eq!(desk.ask(2, FIRST), CONFIRMED);
    let (wait, by_rank) = (wait_after(Millis(LEASE)).0, Token::new(0, 0));
    for _ in 0..5 {
        assert_eq!(ask_in(&mut desk, by_rank, Phase::Running, 0), [CONFIRMED]);
        desk.pass(wait - 1);
        assert_eq!(desk.settled(1), None);
    }
    desk.pass(1);
    assert_eq!(desk.settled(1), Some(Settlement::Lost { term: Term(1) }), "nobody has said anything for too long");
}

#[test]
fn nothing_is_granted_after_a_cancel_also_between_two_attempts() {
    let mut desk = Desk::new(1, 1);
    let mut root = content(1, &[2], leased(2));
    (root.spec.attempts, root.spec.retry) = (3, Some(Retry { backoff_ms: 60_000, ..retry(RetryPlace::Any) }));
    desk.submit(1, 1, root);
    desk.ask(2, FIRST);
    desk.write(node(2), job_id(1), done(FIRST, RunOutcome::OutOfMemory));
    assert_eq!(desk.settled(1), None);
    desk.write(node(1), job_id(1), cancel());
    assert!(matches!(desk.settled(1), Some(Settlement::Result { .. })), "its last run is its result");
}
